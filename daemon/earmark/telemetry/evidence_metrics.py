"""What the daemon says about evidence: the clips that it cuts out of streams."""

from dataclasses import dataclass

from prometheus_client import Counter

from earmark.telemetry.declared import metric


@dataclass(frozen=True, kw_only=True)
class EvidenceMetrics:
    """The metric of `excerpts`, a part of `Metrics`."""

    evidence_clips_total: Counter = metric(
        "Clips of streams (evidence.clip) that were cut for plays: kept, and on their way to S3; left_out, and their hits go without.",
        "left_out: S3 takes none, and evidence.waiting_bytes_max of them wait (`earmark outbox list`); or they could not be encoded: "
        "the log line evidence.clip_left_out has the reason.",
        labels={"result": ("kept", "left_out")},
    )

    def clipped(self, *, kept: int = 0, left_out: int = 0) -> None:
        self.evidence_clips_total.labels("kept").inc(kept)
        self.evidence_clips_total.labels("left_out").inc(left_out)
