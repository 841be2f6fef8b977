"""What the daemon says about what recordings are like: how many were measured, and how many are to be."""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge

from earmark.telemetry.declared import metric


@dataclass(frozen=True, kw_only=True)
class ProfileMetrics:
    """The metrics of `stocking.profiling`, a part of `Metrics`."""

    profiles_total: Counter = metric(
        "Recordings that were measured when nothing else was to be done about the bucket; dropped: their objects were gone, or others, by then.",
        "failed: `earmark catalogue show ID` has the reason under not_computed. postponed, and growing: look for catalogue.not_profiled in the logs.",
        labels={"outcome": ("measured", "failed", "postponed", "dropped")},
    )
    profiles_due: Gauge = metric(
        "Recordings of the bucket that are still to be measured, in the whole fleet.",
        "Growing for hours: workers with the role catalogue are never idle, add some; or `earmark catalogue profile` on another machine.",
    )

    def profiled(self, outcome: Literal["measured", "failed", "postponed", "dropped"]) -> None:
        self.profiles_total.labels(outcome).inc()

    def to_profile(self, due: int) -> None:
        self.profiles_due.set(due)
