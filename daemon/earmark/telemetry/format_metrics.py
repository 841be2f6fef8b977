"""What the daemon says about copies of recordings in other formats: what was made, what went, what waits."""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge

from earmark.telemetry.declared import metric


@dataclass(frozen=True, kw_only=True)
class FormatMetrics:
    """The metrics of `stocking.formats`, a part of `Metrics`."""

    formats_total: Counter = metric(
        "Copies of recordings in other formats that were made, removed, refused by the recording's licence after they had been there, or failed; postponed: "
        "recordings that are tried again.",
        "failed: `earmark catalogue show ID` has the reason. postponed, and growing: look for formats.postponed in the logs; may the role write there?",
        labels={"outcome": ("made", "removed", "refused", "failed", "postponed")},
    )
    formats_bytes_total: Counter = metric(
        "Bytes of copies written to S3.", "Half a megabyte for each minute at 64 kbit/s: see formats.targets, and prices of S3."
    )
    formats_due: Gauge = metric(
        "Recordings whose copies wait to be looked at, in the whole fleet.",
        "Growing for hours: copies are made in the time that others leave; add workers with the role catalogue, or raise formats.jobs.",
    )
    formats_due_oldest_age_seconds: Gauge = metric(
        "Seconds for which the recording that has waited longest is due.",
        "Hours, behind a large delivery, are no harm: nobody hears a copy. Else: as formats_due.",
    )
    formats_failed: Gauge = metric(
        "Copies that could not be made, now.", "The reason is in `earmark catalogue show ID`; `earmark catalogue formats --again ID` tries it again."
    )

    def copied(self, outcome: Literal["made", "removed", "refused", "failed", "postponed"], *, size_bytes: int = 0) -> None:
        self.formats_total.labels(outcome).inc()
        self.formats_bytes_total.inc(size_bytes)

    def copies_due(self, *, due: int, oldest_s: float, failed: int) -> None:
        self.formats_due.set(due)
        self.formats_due_oldest_age_seconds.set(max(0.0, oldest_s))
        self.formats_failed.set(failed)
