"""Streams are shared: each worker tells the others how many it has, takes no more than its part, and hands over what is beyond it.

Taking is first come, first served, so that without this the worker that hears of a burst first has it all, and one that
comes later has nothing until streams end. A part is what all have that would take more, and what waits, over their number.
It is a courtesy, not a lock: what it goes by is some seconds old, and a stream that waits too long is taken by anybody.
"""

import math
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final

from earmark.postgres import Pool, statement

#: A stream that has waited for so long is taken by whoever has room: who should have taken it may be gone.
PATIENCE_S: Final = 6.0
#: What is handed over for the sake of balance costs a new connection to its origin: not for a tenth more or less than a part, and four.
SLACK, SLACK_STREAMS = 0.1, 4
#: In one round at most so much of what a worker has, so that others settle and are counted before the next.
MOVED_SHARE: Final = 0.05
#: Workers that are gone are forgotten after so many leases' time.
_FORGOTTEN_TTLS: Final = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Others:
    """The workers that were seen within a lease's time and would take more, without us."""

    workers: int = 0
    sessions: int = 0
    #: Of the one that has the fewest.
    fewest: int = 0


def part(own: int, others: Others, waiting: int) -> int:
    """Of so many sessions each would have as many as the others."""
    return math.ceil((own + others.sessions + waiting) / (1 + others.workers))


def claimable(own: int, others: Others, *, waiting: int, oldest_age_s: float, most: int) -> int:
    """Streams to take now, of `most` that there is room for."""
    if not others.workers or oldest_age_s > PATIENCE_S:
        return most
    return max(0, min(most, part(own, others, waiting) - own))


def surplus(own: int, others: Others, waiting: int) -> int:
    """Streams to hand over now: none while everybody has about a part, or while streams wait, which are moved more easily."""
    fair = part(own, others, waiting)
    slack = fair * SLACK + SLACK_STREAMS
    even = own <= fair + slack and others.fewest >= fair - slack
    if waiting or not others.workers or even:
        return 0
    return max(0, min(own - fair, max(1, int(own * MOVED_SHARE))))


class Fleet:
    """This worker among the others, by the database's clock. For the supervisor's thread alone."""

    def __init__(self, *, pool: Pool, worker: str, ttl_s: float, release: str | None = None) -> None:
        """`release`: the version that this worker is of; None: the one that is installed. A new one's first worker is told as a deploy."""
        self._pool, self._worker, self._ttl_s = pool, worker, ttl_s
        self._release = version("earmark") if release is None else release

    def tell(self, *, sessions: int, room: bool) -> Others:
        """Say how it is here; what the others said last. Raises DatabaseUnavailable."""
        terms = {"worker": self._worker, "sessions": sessions, "room": room, "ttl_s": self._ttl_s, "forgotten_s": _FORGOTTEN_TTLS * self._ttl_s}
        terms |= {"release": self._release}
        with statement(self._pool) as connection:
            row = connection.execute(_TELL, terms).fetchone()
        return Others(workers=row[0], sessions=row[1], fewest=row[2]) if row else Others()

    def leave(self) -> None:
        """Its part is the others' from now on. Raises DatabaseUnavailable."""
        with statement(self._pool) as connection:
            connection.execute("delete from worker where worker = %s", [self._worker])


_TELL = """
with told as (
  insert into worker (worker, sessions, room, version) values (%(worker)s, %(sessions)s, %(room)s, %(release)s)
  on conflict (worker) do update set seen_at = now(), sessions = excluded.sessions, room = excluded.room, version = excluded.version),
forgotten as (
  delete from worker where worker <> %(worker)s and seen_at < now() - make_interval(secs => %(forgotten_s)s))
select count(*)::int, coalesce(sum(sessions), 0)::int, coalesce(min(sessions), 0)::int
  from worker where worker <> %(worker)s and room and seen_at > now() - make_interval(secs => %(ttl_s)s)"""
