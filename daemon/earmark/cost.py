"""What listening costs, by kind: an estimate, from the prices in the settings. Pure.

Compute and database are paid whether they are busy or not, so that a stream's share of them is the smaller the more
streams there are. Viewing, transfer and requests are paid by the stream: an IVS stream that is listened to has a viewer
more, and what comes from an origin comes through a NAT gateway; one that is heard from its recording is asked for in S3.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias, get_args

from earmark.settings import Prices

Kind: TypeAlias = Literal["compute", "database", "transfer", "viewing", "requests"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: As AWS reckons months.
HOURS_PER_MONTH = 730
_SECONDS_PER_HOUR = 3600
#: Amazon IVS records in segments of some ten seconds, and some are asked for before they have landed.
_RECORDED_SEGMENT_S, _GETS_PER_SEGMENT = 10.5, 3
#: What `audio.playlist.Rendition` says of itself; behind this come foreign words.
_RENDITION = re.compile(r"(?:(?P<width>\d{1,6})x(?P<height>\d{1,6})|(?P<sound>audio only)|unnamed)(?:, (?P<kbps>\d{1,7}) kbit/s)?(?:, .*)?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """US$ an hour. None: what it depends on is not known, or not yet."""

    compute: float
    database: float
    transfer: float | None
    viewing: float | None
    #: To S3, for what IVS has recorded.
    requests: float | None = 0.0

    @property
    def known(self) -> float:
        """Of all kinds together, as far as they are known."""
        return sum(getattr(self, kind) or 0.0 for kind in KINDS)

    @property
    def whole(self) -> bool:
        return all(getattr(self, kind) is not None for kind in KINDS)


def of_stream(prices: Prices, *, source: str, rendition: str, beside: int, streams: int) -> Cost:
    """One stream, now.

    Args:
        source: ivs, medialive, hls, recording.
        rendition: `Checkpoint.rendition`; empty before one is chosen.
        beside: streams of its worker, itself included.
        streams: streams that use the database, itself included.
    """
    return Cost(
        compute=prices.worker_usd_per_hour / beside,
        database=max(prices.database_usd_per_hour_min / streams, database(prices, media_s=_SECONDS_PER_HOUR)),
        transfer=_transfer(prices, source, rendition),
        viewing=viewing(prices, rendition, media_s=_SECONDS_PER_HOUR) if source == "ivs" else 0.0,
        requests=requests(prices, gets=_GETS_PER_SEGMENT * _SECONDS_PER_HOUR / _RECORDED_SEGMENT_S) if source == "recording" else 0.0,
    )


def together(costs: Iterable[Cost]) -> Cost:
    """The sum; of what is not known the part that is."""
    costs = list(costs)
    return Cost(**{field.name: sum(getattr(cost, field.name) or 0.0 for cost in costs) for field in fields(Cost)})


def compute(prices: Prices, *, seconds: float) -> float:
    """US$ for a worker that lives so long, whatever it does."""
    return prices.worker_usd_per_hour * seconds / _SECONDS_PER_HOUR


def database(prices: Prices, *, media_s: float) -> float:
    """US$ for so much of a stream, by what it asks; the least that a database costs is not in it."""
    return prices.database_vcpu_usd_per_hour * prices.database_cpu_ms_per_s / 1000 * media_s / _SECONDS_PER_HOUR


def transfer(prices: Prices, *, size_bytes: float) -> float:
    """US$ for so many bytes from an origin."""
    return prices.transfer_usd_per_gb * size_bytes / 1e9


def requests(prices: Prices, *, gets: float = 0, lists: float = 0) -> float:
    """US$ for asking S3 for so many objects, and pages of listings."""
    return (prices.s3_usd_per_million_gets * gets + prices.s3_usd_per_million_lists * lists) / 1e6


def viewing(prices: Prices, rendition: str, *, media_s: float) -> float | None:
    """US$ for so much of an IVS stream in this rendition; None if its size is not said.

    IVS bills by resolution: SD up to 480 lines, HD up to 720, Full HD above, and sound alone by itself
    (aws.amazon.com/ivs/pricing). The shorter side is taken for the lines: phones stream upright.
    """
    said = _RENDITION.fullmatch(rendition)
    if said is None or not (said["sound"] or said["width"]):
        return None
    lines = 0 if said["sound"] else max(1, min(int(said["width"]), int(said["height"])))
    sized = ((0, prices.ivs_audio_usd_per_hour), (480, prices.ivs_sd_usd_per_hour), (720, prices.ivs_hd_usd_per_hour))
    return next((price for most, price in sized if lines <= most), prices.ivs_full_hd_usd_per_hour) * media_s / _SECONDS_PER_HOUR


def _transfer(prices: Prices, source: str, rendition: str) -> float | None:
    """By the bits per second that the playlist says, which are the most there may be."""
    if source in ("medialive", "recording") or not prices.transfer_usd_per_gb:
        return 0.0  # S3 is reached through an endpoint that is free
    said = _RENDITION.fullmatch(rendition)
    return transfer(prices, size_bytes=int(said["kbps"]) * 1000 / 8 * _SECONDS_PER_HOUR) if said and said["kbps"] else None
