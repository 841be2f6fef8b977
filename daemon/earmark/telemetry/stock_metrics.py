"""What the daemon says about the catalogue's bucket: what became of its objects, how soon, and what waits."""

from dataclasses import dataclass
from typing import Literal

from prometheus_client import Counter, Gauge, Histogram

from earmark.telemetry.declared import metric

#: From a second for a short recording to the hours of one that is tried again and again.
_STOCK_S = (0.5, 1, 2, 3, 4, 5, 7.5, 10, 20, 30, 60, 120, 300, 900, 3600)

#: What became of an object that was taken up.
Stocked = Literal["added", "replaced", "described", "unchanged", "removed", "rejected", "overtaken", "failed"]


@dataclass(frozen=True, kw_only=True)
class StockMetrics:
    """The metrics of `stocking`, a part of `Metrics`."""

    stock_objects_total: Counter = metric(
        "Objects of catalogue.place that were taken up, by what became of them; overtaken: there was news of it meanwhile, it is taken up again.",
        "rejected: `earmark catalogue list --rejected` has the reasons. failed, and growing: look for catalogue.postponed in the logs.",
        labels={"outcome": ("added", "replaced", "described", "unchanged", "removed", "rejected", "overtaken", "failed")},
    )
    stock_seconds: Histogram = metric(
        "Seconds from an object's event, by S3's clock to the second, to its recording in the catalogue; readers see it within another second.",
        "Above 5 s for recordings of minutes: many at once (stock_due), a full core, or a slow queue (queue_message_age_seconds).",
        buckets=_STOCK_S,
    )
    stock_due: Gauge = metric("Objects that wait to be taken up, in the whole fleet.", "Growing: add workers with the role catalogue, or raise catalogue.jobs.")
    stock_due_oldest_age_seconds: Gauge = metric(
        "Seconds for which the object that has waited longest is due.",
        "Above a minute: more comes than is taken up, or nobody has the role catalogue.",
    )
    stock_rejected: Gauge = metric(
        "Objects that are rejected now.", "The reasons are in `earmark catalogue list --rejected`, and below catalogue/_rejected/ in the bucket."
    )
    stock_reconciled_total: Counter = metric(
        "Objects that a comparison of bucket and catalogue found different from what was known: new, changed, gone; refused: comparisons that found too many "
        "gone; failed: that could not be made.",
        "new, changed or gone: events are lost; is EventBridge switched on for the bucket, and the rule there? refused: see catalogue.remove_share_max.",
        labels={"result": ("new", "changed", "gone", "refused", "failed")},
    )

    def stocked(self, outcome: Stocked, *, seconds: float | None = None) -> None:
        self.stock_objects_total.labels(outcome).inc()
        if seconds is not None:
            self.stock_seconds.observe(seconds)

    def in_stock(self, *, due: int, oldest_s: float, rejected: int) -> None:
        self.stock_due.set(due)
        self.stock_due_oldest_age_seconds.set(max(0.0, oldest_s))
        self.stock_rejected.set(rejected)

    def reconciled(self, result: Literal["new", "changed", "gone", "refused", "failed"], count: int = 1) -> None:
        self.stock_reconciled_total.labels(result).inc(count)
