"""The catalogue kept in order by the daemon itself: packed and merged a step at a time, and looked at once a minute."""

import threading
import time
from collections.abc import Callable

import structlog

from earmark.canary import rounds
from earmark.errors import Transient
from earmark.index.lookups import Turn
from earmark.index.slowest import Slowest
from earmark.index.statistics import Glances
from earmark.index.upkeep import step
from earmark.postgres import Pool
from earmark.telemetry import Metrics

#: Nothing to do costs a few small statements.
EVERY_S = 60.0


class Keeping:
    """A loop of its own, until `stop`; any number of workers may have one, and take turns."""

    def __init__(self, *, pool: Pool, reading: Pool, worker: str, share_max: float, metrics: Metrics, stop: threading.Event) -> None:
        """`share_max`: `catalogue.upkeep_share_max`."""
        self._pool = pool
        self._slowest = Slowest(worker=worker)
        self._glances = Glances(pool=reading)
        self._share_max = share_max
        self._metrics = metrics
        self._stop = stop
        #: Of the catalogue's recordings so many are the canary's: none, or one.
        self.canary_recordings = 0
        self._log = structlog.get_logger()

    def looked_up(self, turn: Turn) -> None:
        self._slowest.observe(turn)
        self._metrics.looked_up(questions=turn.questions, stopped=turn.stopped)

    def run(self) -> None:
        """A step is a second or two; together they take no more than their share of the time."""
        self._watch()
        watched_at, wait_s = time.monotonic(), EVERY_S
        while not self._stop.wait(wait_s):
            began, done = time.monotonic(), None
            try:
                done = step(self._pool)
            except Transient as error:
                self._log.warning("catalogue.not_kept_up", reason=str(error))
            took_s = time.monotonic() - began
            wait_s = min(EVERY_S, took_s / self._share_max - took_s) if done else EVERY_S
            if done:
                self._metrics.kept_up(done.did, postings=done.postings, damaged=done.damaged, took_s=took_s)
                self._log.info(f"catalogue.{done.did}", postings=done.postings, took_s=round(took_s, 2))
            if time.monotonic() - watched_at >= EVERY_S:
                self._watch()
                watched_at = time.monotonic()

    def _watch(self) -> None:
        """The slowest look-up on record; what the catalogue is like, to the metrics."""
        watches: tuple[Callable[[], None], ...] = (lambda: self._slowest.write(self._pool), self._glance, self._canary)
        for watch in watches:
            try:
                watch()
            except Transient as error:
                self._log.warning("catalogue.not_watched", reason=str(error))

    def _canary(self) -> None:
        """By every worker, whoever runs its rounds: that may be a command of which nobody asks for metrics."""
        seen = rounds.seen(self._pool)
        self.canary_recordings = seen.recordings
        self._metrics.canary_seen(seen)

    def _glance(self) -> None:
        seen = self._glances.look()
        self._metrics.glanced(
            runs=seen.runs,
            merge_done=seen.merge_done,
            part_bytes=seen.bytes,
            cache_hits=seen.cache_hits,
            standby=seen.replication.standby,
            lag_s=seen.replication.lag_s,
        )
