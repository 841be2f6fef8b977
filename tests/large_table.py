"""The tables of docs/beyond-one-machine.md: what sizes of a deployment take and cost; `make config` writes them.

Measured: what a stream takes (`make bench-streams`, medians of three runs on a virtual AMD EPYC, the slower of the two machines in
README), what a look-up takes in larger catalogues (`make bench-catalogue`, docs/catalogue.json). The rest is arithmetic.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from earmark.cost import HOURS_PER_MONTH, viewing
from earmark.settings import Prices
from earmark.telemetry.metrics import Metrics

ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = ROOT / "docs" / "catalogue.json"

#: Of a stream-second with 10,000 recordings, in ms: the daemon; the database's look-ups and its records; look-ups in a second.
DAEMON_MS, LOOKUPS_MS, RECORDS_MS, LOOKUPS_PER_S = 6.0, 0.63, 0.20, 0.38
#: infra/cdk's service.BUSY_TARGET: a task takes streams up to that share of its core.
BUSY = 0.55
#: Aurora: about a quarter of a vCPU in a unit.
UNITS_PER_VCPU = 4
#: List prices of us-east-1 as others quote them, with those in the settings: Aurora's GB a month, a NAT gateway's hour, ten million
#: samples in Managed Prometheus.
STORAGE_USD, NAT_USD_PER_HOUR, SAMPLES_USD_PER_10M = 0.10, 0.045, 0.90
SCRAPE_S = 15
AUDIO_ONLY, LINES_360 = "audio only, 80 kbit/s", "640x360, 700 kbit/s"
KBPS_TO_GB_PER_HOUR = 1e3 / 8 * 3600 / 1e9


@dataclass(frozen=True)
class Size:
    streams: int
    recordings: int

    @property
    def _known(self) -> dict[str, dict[str, float]]:
        """The measured catalogue at least as large; of larger ones none was measured."""
        found = {int(size): figures for size, figures in json.loads(FIGURES.read_text(encoding="utf-8")).items()}
        fitting: dict[str, dict[str, float]] = found[min(size for size in found if size >= self.recordings)]
        return fitting

    @staticmethod
    def _look_up_ms(figures: dict[str, dict[str, float]]) -> tuple[float, float]:
        client = figures["of it, client"]["value"]
        return client, figures["CPU of a stream-second, 256 at once, client and server"]["value"] - client

    @property
    def daemon_ms(self) -> float:
        """What a larger catalogue sends back takes longer to count, too."""
        return DAEMON_MS + LOOKUPS_PER_S * (self._look_up_ms(self._known)[0] - self._look_up_ms(Size(1, 10_000)._known)[0])

    @property
    def database_ms(self) -> float:
        return LOOKUPS_MS * self._look_up_ms(self._known)[1] / self._look_up_ms(Size(1, 10_000)._known)[1] + RECORDS_MS

    @property
    def tasks(self) -> int:
        return math.ceil(self.streams * self.daemon_ms / 1000 / BUSY)

    @property
    def units(self) -> float:
        """Of Aurora, on average: half a unit at least."""
        return max(0.5, self.streams * self.database_ms / 1000 * UNITS_PER_VCPU)

    @property
    def gigabytes(self) -> float:
        figures = self._known
        return figures["in all, on disk"]["value"] * self.recordings / figures["recordings"]["value"]


SIZES: Final = (Size(50, 10_000), Size(1_000, 30_000), Size(10_000, 100_000))


def as_markdown() -> str:
    prices = Prices()
    unit_usd = prices.database_vcpu_usd_per_hour / UNITS_PER_VCPU
    samples = sum(len(family.samples) for family in Metrics.build().registry.collect())

    def row(says: str, *values: str) -> str:
        return f"| {says} | {' | '.join(values)} |"

    def dollars(says: str, *per_hour: float) -> str:
        return row(says, *(f"{usd * HOURS_PER_MONTH:,.0f}" for usd in per_hour))

    compute = [size.tasks * prices.worker_usd_per_hour for size in SIZES]
    database = [size.units * unit_usd for size in SIZES]
    storage = [size.gigabytes * STORAGE_USD / HOURS_PER_MONTH for size in SIZES]
    metrics = [size.tasks * samples * 3600 / SCRAPE_S / 1e7 * SAMPLES_USD_PER_10M for size in SIZES]
    sums = [sum(parts) for parts in zip(compute, database, storage, metrics, strict=True)]
    audio, lines = ((viewing(prices, rendition, media_s=3600) or 0.0) for rendition in (AUDIO_ONLY, LINES_360))
    return "\n".join(
        [
            row("", *(f"{size.streams:,} streams, {size.recordings:,} recordings" for size in SIZES)),
            f"| --- |{' ---: |' * len(SIZES)}",
            row("CPU of a stream-second, ms: daemon, database", *(f"{size.daemon_ms:.1f}, {size.database_ms:.2f}" for size in SIZES)),
            row("tasks of one core", *(f"{size.tasks:,}" for size in SIZES)),
            row("Aurora's capacity units, on average", *(f"{size.units:.1f}" for size in SIZES)),
            row("look-ups a second", *(f"{size.streams * LOOKUPS_PER_S:,.0f}" for size in SIZES)),
            row("database on disk, GB", *(f"{size.gigabytes:.0f}" for size in SIZES)),
            row("from origins, sound alone, GB an hour", *(f"{size.streams * 80 * KBPS_TO_GB_PER_HOUR:,.0f}" for size in SIZES)),
            dollars("US$ a month: compute", *compute),
            dollars("database", *database),
            dollars("its storage", *storage),
            dollars("metrics", *metrics),
            dollars("together, without transfer and viewing", *sums),
            row("of a stream and hour", *(f"{total / size.streams:.4f}" for total, size in zip(sums, SIZES, strict=True))),
            dollars(
                "a NAT gateway, sound alone through it",
                *(NAT_USD_PER_HOUR + size.streams * 80 * KBPS_TO_GB_PER_HOUR * prices.transfer_usd_per_gb for size in SIZES),
            ),
            dollars("IVS viewing, sound alone", *(size.streams * audio for size in SIZES)),
            dollars("IVS viewing, 360 lines", *(size.streams * lines for size in SIZES)),
        ]
    )
