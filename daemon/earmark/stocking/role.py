"""`earmark run --role catalogue`: the loops that it is made of."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from earmark.control.catalogue_objects import CHANNEL
from earmark.control.patience import Patience
from earmark.control.wakeups import Wakeups
from earmark.errors import BadSettings
from earmark.index.answers import Index
from earmark.postgres import Pool
from earmark.settings import Settings
from earmark.stocking import formats, profiling, reconcile, stock
from earmark.stocking.bucket import S3

_WATCH_S: Final = 15.0

#: Its name, what a thread of its own runs, and what ends that when the worker's `stop` is set.
Loop = tuple[str, Callable[[], None], Callable[[], None]]


class Meter(stock.Meter, reconcile.Meter, profiling.Meter, formats.Meter, Protocol):
    """What is counted: `telemetry`."""


def stock_loops(*, settings: Settings, pool: Pool, index: Index, s3: S3, worker: str, meter: Meter, stop: threading.Event) -> list[Loop]:
    """Jobs, what wakes them, and what goes on beside them; any number of workers may have the role, and take turns.

    Raises BadSettings without a place for the catalogue.
    """
    of = settings.catalogue
    if not of.place:
        raise BadSettings("the role catalogue needs the place of the recordings: set catalogue.place to s3://bucket/catalogue/")
    stocked = stock.Stock(pool=pool, index=index, s3=s3, settings=of, worker=worker, meter=meter, stop=stop)
    comparison = reconcile.Comparison(pool=pool, s3=s3, settings=of, meter=meter)
    copied = formats.Formats(pool=pool, s3=s3, settings=settings, worker=worker, meter=meter, stop=stop)

    def wake(payload: str = "") -> None:
        stocked.wake(payload)
        copied.wake(payload)

    wakeups = Wakeups(database=settings.database, woken=wake, stop=stop, channel=CHANNEL)
    measuring = profiling.Profiling(pool=pool, s3=lambda: s3, settings=of, worker=worker, meter=meter, stop=stop)
    rounds: dict[str, Callable[[], object]] = {
        "comparison": comparison.nightly,
        "metrics": stocked.watch,
        "formats": copied.nightly,
        "metrics of formats": copied.watch,
    }
    return [
        *((f"stock {job}", partial(stocked.run, job), stocked.wake) for job in range(of.jobs)),
        *((f"formats {job}", partial(copied.run, job), copied.wake) for job in range(settings.formats.jobs)),
        ("stock wakeups", wakeups.run, wake),
        ("stock watch", partial(_watch, rounds, stop), wake),
        *([("stock profiles", measuring.run, stop.set)] if of.profiles else []),
    ]


def _watch(rounds: dict[str, Callable[[], object]], stop: threading.Event) -> None:
    """The nightly comparison in its turn, and what waits, to the metrics."""
    patience = Patience(event="catalogue.not_watched", of="what", failed=lambda: None)
    while not stop.is_set():
        for name, look in rounds.items():
            patience.call(name, look)
        stop.wait(_WATCH_S)
