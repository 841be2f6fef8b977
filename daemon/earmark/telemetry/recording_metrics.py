"""What the daemon says about IVS's recordings: what was heard from them, and what asking S3 for it took."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from prometheus_client import Counter

from earmark.telemetry.cost_metrics import CostMetrics
from earmark.telemetry.declared import metric

#: A stream in place of its playback, seconds that a session had missed, a whole archive.
Heard: TypeAlias = Literal["stream", "gap", "archive"]


@dataclass(frozen=True, kw_only=True)
class RecordingMetrics(CostMetrics):
    """The metrics of recordings, a part of `Metrics`."""

    recording_seconds_total: Counter = metric(
        "Seconds of media heard from IVS's recordings in S3: of a stream in place of its playback, where its session had gaps (with the seconds around them), "
        "of a whole archive.",
        "gap, and much of it: why are there gaps (media_seconds_total)?",
        labels={"of": ("stream", "gap", "archive")},
    )
    recording_requests_total: Counter = metric(
        "Requests to S3 for recordings: an object, or a page of a listing, which costs twelve times as much.",
        "list, and more than a few for each stream: segments are missing, or their names do not follow one another.",
        labels={"operation": ("get", "list")},
    )
    recordings_absent_total: Counter = metric(
        "Streams that were to be heard from their recording and are played instead, because none turned up within auto_record.wait_s.",
        "Is recording on for the channel, do the events of recordings reach the queue, may the role list and read the bucket?",
    )

    def recorded(self, of: Heard, *, media_s: float) -> None:
        self.recording_seconds_total.labels(of).inc(media_s)

    def recording_asked(self, operation: Literal["get", "list"]) -> None:
        self.recording_requests_total.labels(operation).inc()
        self.requested(gets=operation == "get", lists=operation == "list")

    def recording_absent(self) -> None:
        self.recordings_absent_total.inc()
