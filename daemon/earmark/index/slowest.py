"""The slowest look-up of each hour, on record for `earmark db status`: a histogram says how often it is slow, this says what it was."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from earmark.index.lookups import Turn
from earmark.postgres import Pool, transaction

#: What is faster is slow for nobody.
LEAST_S: Final = 0.02

_PUT: Final = """
insert into slow_look_up (worker, hour, at, seconds, hashes, postings) values (%s, %s, %s, %s, %s, %s)
on conflict (worker, hour) do update
set at = excluded.at, seconds = excluded.seconds, hashes = excluded.hashes, postings = excluded.postings where slow_look_up.seconds < excluded.seconds
"""


@dataclass(frozen=True, slots=True)
class _Slow:
    at: datetime
    turn: Turn


class Slowest:
    """`observe` on any thread, `write` now and then on one."""

    def __init__(self, *, worker: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._worker = worker
        self._clock = clock
        self._lock = threading.Lock()
        #: By the hour in which they ended; an hour that was written stays until the next one is, so that nothing faster is written.
        self._kept: dict[datetime, _Slow] = {}
        self._unwritten: set[datetime] = set()

    def observe(self, turn: Turn) -> None:
        if turn.seconds < LEAST_S:
            return
        at = self._clock()
        hour = at.replace(minute=0, second=0, microsecond=0)
        with self._lock:
            kept = self._kept.get(hour)
            if kept is None or kept.turn.seconds < turn.seconds:
                self._kept[hour] = _Slow(at, turn)
                self._unwritten.add(hour)

    def write(self, pool: Pool) -> None:
        """What is slower than what was written before. Raises DatabaseUnavailable; then it is written the next time."""
        with self._lock:
            slow = {hour: self._kept[hour] for hour in self._unwritten}
        if not slow:
            return
        with transaction(pool) as connection:
            for hour, of_hour in sorted(slow.items()):
                turn = of_hour.turn
                connection.execute(_PUT, [self._worker, hour, of_hour.at, turn.seconds, turn.hashes, turn.postings])
        with self._lock:
            self._unwritten -= {hour for hour, written in slow.items() if self._kept[hour] is written}
            last = max(self._kept)
            self._kept = {hour: kept for hour, kept in self._kept.items() if hour in self._unwritten or hour == last}
