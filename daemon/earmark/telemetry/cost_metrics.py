"""What the daemon says about its cost: seconds, bytes and views at the prices of the settings."""

from dataclasses import dataclass, field

from prometheus_client import Counter

from earmark import cost
from earmark.settings import Prices
from earmark.telemetry.declared import metric
from earmark.telemetry.server import Pulse


@dataclass(frozen=True, kw_only=True)
class CostMetrics:
    """The metric of cost, a part of `Metrics`, which says what was heard and fetched."""

    prices: Prices = Prices()
    #: Up to when this process is paid for.
    paid: Pulse = field(default_factory=Pulse)

    cost_usd_total: Counter = metric(
        "US$ that this worker cost, by kind, at the prices in the settings: an estimate. compute: its life, busy or idle. "
        "database: what its streams asked of it. transfer: what origins sent. viewing: IVS streams, by rendition. requests: to S3, for IVS's recordings.",
        "compute alone: it listens to nothing. viewing, far above the rest, is what each viewer costs; sound alone is a fifth of the smallest picture. "
        "`earmark streams list` has it by stream.",
        labels={"kind": cost.KINDS},
    )

    def lived(self) -> None:
        """Time has passed, and is paid for."""
        self.cost_usd_total.labels("compute").inc(cost.compute(self.prices, seconds=self.paid.age_s))
        self.paid.beat()

    def asked_database(self, *, media_s: float) -> None:
        self.cost_usd_total.labels("database").inc(cost.database(self.prices, media_s=media_s))

    def transferred(self, *, size_bytes: int) -> None:
        self.cost_usd_total.labels("transfer").inc(cost.transfer(self.prices, size_bytes=size_bytes))

    def requested(self, *, gets: int, lists: int) -> None:
        self.cost_usd_total.labels("requests").inc(cost.requests(self.prices, gets=gets, lists=lists))

    def viewed(self, *, rendition: str, media_s: float) -> None:
        """An IVS stream; one whose rendition does not say what it is, is not counted."""
        self.cost_usd_total.labels("viewing").inc(cost.viewing(self.prices, rendition, media_s=media_s) or 0.0)
