"""Which fault comes when: drawn from a seed, counted as it is injected.

Each proxy, and each way through it, has a generator of its own (the seed and its name), so that one which is asked more
often does not move the faults of another. What the threads of real daemons do in between is theirs: a seed repeats the
faults that are drawn, not the nanosecond at which they meet.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

#: `refuse` says an error of the server's own (5xx), `throttle`, `expire` and `gone` one of AWS's (a limit, a credential, a
#: bucket or topic that was deleted); `half` and `forget` answer only in part or not at all, after the request was carried
#: out; `reset` and `hole` come before it is.
Kind: TypeAlias = Literal["delay", "reset", "refuse", "throttle", "expire", "gone", "hole", "half", "forget"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    kind: Kind
    #: How long a delay or a black hole lasts.
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Odds:
    """Of a hundred requests (for PostgreSQL: of as many pieces of traffic) so many meet a fault of a kind."""

    percent: Mapping[Kind, float]
    delay_s: tuple[float, float] = (0.05, 0.6)
    hole_s: tuple[float, float] = (0.5, 4.0)

    def scaled(self, factor: float) -> "Odds":
        return Odds(percent={kind: share * factor for kind, share in self.percent.items()}, delay_s=self.delay_s, hole_s=self.hole_s)


class Injected:
    """How many faults there were, by proxy and kind; for many threads."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def add(self, where: str, kind: str) -> None:
        with self._lock:
            self._counts[where, kind] += 1

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        with self._lock:
            return dict(self._counts)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class Schedule:
    """Draws faults; `calm` and `resume` switch it off and on, `strike` makes a way fail for a while. For many threads."""

    def __init__(self, *, seed: int, injected: Injected, odds: Mapping[str, Odds], clock: Callable[[], float] = time.monotonic) -> None:
        """`odds` by way: `s3`, `sns`, `sqs`, `ivs`, `playlist`, `segment`, `postgres`; a way without any has no faults."""
        self._odds = dict(odds)
        self._injected = injected
        self._random = {way: random.Random(f"{seed}/{way}") for way in self._odds}
        self._lock = threading.Lock()
        self._clock = clock
        self._outages: dict[str, tuple[Kind, float]] = {}
        self._calm = False

    def calm(self) -> None:
        self._calm = True

    def resume(self) -> None:
        self._calm = False

    def strike(self, way: str, kind: Kind, seconds: float) -> None:
        """An outage: until then each request of this way meets this."""
        self._outages[way] = (kind, self._clock() + seconds)

    def draw(self, way: str) -> Fault | None:
        """What the next request of this way meets; it is counted."""
        odds = self._odds.get(way)
        if odds is None or self._calm:
            return None
        kind, until = self._outages.get(way, ("reset", 0.0))
        with self._lock:
            fault = Fault(kind=kind) if self._clock() < until else _drawn(self._random[way], odds)
        if fault is not None:
            self._injected.add(way, fault.kind)
        return fault


def _drawn(generator: random.Random, odds: Odds) -> Fault | None:
    # Both numbers are drawn each time, so that the next request's do not depend on this one's.
    place, share = generator.uniform(0, 100), generator.random()
    for kind, percent in odds.percent.items():
        if place < percent:
            low_s, high_s = {"delay": odds.delay_s, "hole": odds.hole_s}.get(kind, (0.0, 0.0))
            return Fault(kind=kind, seconds=low_s + share * (high_s - low_s))
        place -= percent
    return None
