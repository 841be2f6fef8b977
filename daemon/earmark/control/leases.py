"""Who listens to what: rows of `stream` that are claimed, renewed and released.

A lease is the right to run one session until `lease_until`, by the database's clock and nobody else's. Every claim raises
the row's fencing token, and every later write of a session carries it, so that a worker that was only paused changes
nothing. All statements skip rows that somebody has locked: no worker waits for another.

Three counters tell kinds of trouble apart. `attempts` is raised by a claim and taken back by everything that proves the
process alive (a release, ten minutes of survival): what is left over are claims whose worker died. That says nothing of
which of its streams killed it; one of two such claims is heard alone, in a process of its own, and one of a single such
claim as well while there is room, so that whoever was beside the guilty one is not beside it again. `deaths_alone` counts
how often that died, or came upon a bug: then it was the stream, and it is quarantined.
`failures` is raised by runs that failed, and spaces them out.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, assert_never

import structlog
from psycopg.rows import dict_row

from earmark.control import wanted
from earmark.model import Checkpoint, EndReason, Lease, SourceKind, Stream
from earmark.postgres import Connection, Pool, statement, transaction
from earmark.reserved import CANARY
from earmark.settings import Leases as LeaseSettings

#: A session that has lived so long did not kill its process, and starts with a clean slate.
SURVIVED_S = 600
#: After this many unexplained deaths a stream is heard alone or not at all, so that the next death says more.
SUSPECT_ATTEMPTS = 2
_NEVER, _ONCE, _OFTEN = (0, 0), (1, SUSPECT_ATTEMPTS - 1), (SUSPECT_ATTEMPTS, 1_000_000)
#: Heard alone at once by one worker: each is a process of some 100 MB.
ALONE_MAX = 8


@dataclass(frozen=True, slots=True)
class Ended:
    """The stream is over, or cannot be listened to at all."""

    reason: EndReason
    error: str = ""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The stream goes on, with another owner."""

    #: It did not kill its process; of one that is heard alone that is known only after a while.
    proven: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """This run failed; there will be another, after a back-off."""

    error: str
    #: The stream is to blame: a bug that it brings to light, the death of the process that heard it alone.
    #: Not to blame: whatever will pass.
    blamed: bool = False


Outcome: TypeAlias = Ended | HandedOver | Failed


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal:
    """What the rows of a worker's streams said, by stream_id."""

    lost: frozenset[str] = field(default_factory=frozenset)
    stop: frozenset[str] = field(default_factory=frozenset)
    #: Segments lie in the inbox.
    inbox: frozenset[str] = field(default_factory=frozenset)


class Waiting(NamedTuple):
    """Streams that are wanted and have no owner: what the fleet is scaled by."""

    streams: int
    oldest_age_s: float
    #: Streams set aside, until somebody looks at them.
    quarantined: int
    #: The first two without canaries: None, as they are.
    told_streams: int | None = None
    told_oldest_age_s: float | None = None

    @property
    def told(self) -> "Waiting":
        """As the fleet is scaled by it: a canary is claimed like any stream, and calls for no task."""
        if self.told_streams is None or self.told_oldest_age_s is None:
            return self
        return Waiting(self.told_streams, self.told_oldest_age_s, self.quarantined)


class Leases:
    """The leases of one worker. Not thread-safe: the supervisor's thread alone uses it."""

    def __init__(
        self,
        *,
        pool: Pool,
        worker: str,
        settings: LeaseSettings,
        set_aside: Callable[[Connection, str], None] = lambda *_: None,
        background_max: Mapping[SourceKind, int] = MappingProxyType({}),
    ) -> None:
        """`set_aside` is called in the transaction that puts a stream into quarantine, with its id.

        `background_max`: sessions that have no hurry, by kind: so many of each are held at once, and of others none.
        """
        self._pool = pool
        self._background_max = background_max
        self._set_aside = set_aside
        self._worker = worker
        self._settings = settings
        self._held: dict[str, Lease] = {}
        self._in_background: set[str] = set()
        self._log = structlog.get_logger()

    @property
    def held(self) -> Collection[str]:
        return self._held.keys()

    def claim(self, count: int, *, live_max: int | None = None, but_not: Collection[str] = (), takeovers: bool = True) -> list[Lease]:
        """Take up to so many streams that nobody listens to, the longest waiting first, and what is in the background last. Raises DatabaseUnavailable.

        Args:
            live_max: of them so many live streams at most.
            but_not: streams to leave to others.
            takeovers: also those whose owner's lease has expired; otherwise only those that have no owner.
        """
        if count <= 0:
            return []
        but_not, background = [*but_not, *self._held], set[str]()
        with transaction(self._pool) as connection:
            leases = self._take_kind(connection, count if live_max is None else min(count, live_max), but_not, takeovers=takeovers)
            self._in_background &= self._held.keys()  # a recording may be heard while it grows as well, which has no limit of its own
            for kind, most in self._background_max.items():
                left = most - sum(self._held[stream_id].stream.source == kind for stream_id in self._in_background)
                found = self._take_kind(connection, min(left, count - len(leases)), but_not, takeovers=takeovers, kind=kind, alone=leases)
                background.update(lease.stream.stream_id for lease in found)
                leases += found
        self._in_background |= background
        for lease in leases:
            self._held[lease.stream.stream_id] = lease
            self._log.info("lease.claimed", **lease.stream.in_logs, fencing=lease.fencing, position_s=round(lease.checkpoint.position_s, 3), alone=lease.alone)
        return leases

    def renew(self) -> Renewal:
        """Prolong all leases and read what is new about their streams, in one statement. Raises DatabaseUnavailable.

        A row that is locked just now (its session is writing) is left for the next time; it is not lost. A worker
        without streams asks all the same: whether it is ready is judged by this.
        """
        with statement(self._pool) as connection:
            rows = connection.execute(
                _RENEW, {**self._terms(), "ids": list(self._held), "fencings": [lease.fencing for lease in self._held.values()]}
            ).fetchall()
        lost = frozenset(stream_id for stream_id, ours, _, _ in rows if not ours)
        for stream_id in lost:
            del self._held[stream_id]
        return Renewal(
            lost=lost,
            stop=frozenset(stream_id for stream_id, ours, stop, _ in rows if ours and stop),
            inbox=frozenset(stream_id for stream_id, ours, _, inbox in rows if ours and inbox),
        )

    def release(self, lease: Lease, outcome: Outcome) -> bool:
        """Give a stream back, with what became of it. False: it was not ours any more. Raises DatabaseUnavailable."""
        stream_id = lease.stream.stream_id
        parameters = {**self._terms(), "stream_id": stream_id, "fencing": lease.fencing}
        with transaction(self._pool) as connection:
            match outcome:
                case Ended(reason=reason, error=error):
                    row = connection.execute(_END, {**parameters, "reason": reason, "error": error}).fetchone()
                    if row and reason == "cut" and lease.stream.source == "medialive":
                        wanted.succeed(connection, stream_id, row[1], cut=True)
                case HandedOver(proven=proven):
                    row = connection.execute(_HAND_OVER, {**parameters, "proven": proven}).fetchone()
                case Failed(error=error, blamed=blamed):
                    row = connection.execute(_FAIL, {**parameters, "error": error, "blamed": blamed, "alone": lease.alone}).fetchone()
                case _:
                    assert_never(outcome)
            if row and row[0] == "wanted":
                wanted.notify(connection)
            if row and row[0] == "quarantined":
                self._set_aside(connection, stream_id)
        if (held := self._held.get(stream_id)) and held.fencing == lease.fencing:
            del self._held[stream_id]
        if row and row[0] == "quarantined":
            self._log.error("stream.quarantined", **lease.stream.in_logs, error=outcome.error if isinstance(outcome, Failed) else "")
        return row is not None

    def waiting(self) -> Waiting:
        with statement(self._pool) as connection:
            row = connection.execute(_WAITING.encode()).fetchone()
        return Waiting(*row) if row else Waiting(0, 0.0, 0)

    def end_quarantine(self, stream_id: str) -> bool:
        """Let a stream be claimed again; False if it is not in quarantine."""
        with transaction(self._pool) as connection:
            freed = connection.execute(
                """
                update stream set state = 'wanted', attempts = 0, deaths_alone = 0, failures = 0, not_before = now()
                 where stream_id = %s and state = 'quarantined' returning stream_id""",
                [stream_id],
            ).fetchone()
            wanted.notify(connection)
        return freed is not None

    def _terms(self) -> dict[str, Any]:
        return {
            "worker": self._worker,
            "ttl_s": self._settings.ttl_s,
            "survived_s": SURVIVED_S,
            "deaths_alone_max": self._settings.attempts_max - SUSPECT_ATTEMPTS,
            "initial_s": self._settings.restart_initial_s,
            "max_s": self._settings.restart_max_s,
        }

    def _take_kind(
        self, connection: Connection, count: int, but_not: Collection[str], *, takeovers: bool, kind: str = "", alone: Collection[Lease] = ()
    ) -> list[Lease]:
        """Live streams, or one kind of those in the background. `alone`: claimed with them, and perhaps to be heard alone."""
        room = ALONE_MAX - sum(lease.alone for lease in (*self._held.values(), *alone))
        leases: list[Lease] = []
        for attempts, apart in ((_NEVER, False), (_OFTEN, True), (_ONCE, True), (_ONCE, False)):
            left = min(count - len(leases), room - sum(lease.alone for lease in leases) if apart else count)
            leases += self._take(connection, left, but_not, takeovers=takeovers, attempts=attempts, alone=apart, kind=kind)
        return leases

    def _take(
        self, connection: Connection, count: int, but_not: Collection[str], *, takeovers: bool, attempts: tuple[int, int], alone: bool, kind: str = ""
    ) -> list[Lease]:
        if count <= 0:
            return []
        least, most = attempts
        parameters = {**self._terms(), "count": count, "but_not": list(but_not), "takeovers": takeovers, "least": least, "most": most, "kind": kind}
        with connection.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute((_CLAIM_BACKGROUND if kind else _CLAIM).encode(), parameters).fetchall()
        leases = []
        for row in sorted(rows, key=lambda row: row["not_before"]):
            try:
                leases.append(_lease(row, self._worker, alone=alone))
            except ValueError as error:  # a checkpoint that this version cannot read: going on from zero would rewrite what is on record
                self._log.exception("checkpoint.unreadable", stream_id=row["stream_id"], trace_id=row["trace_id"])
                connection.execute(
                    "update stream set state = 'quarantined', owner = null, lease_until = null, last_error = %s where stream_id = %s",
                    [f"the checkpoint cannot be read: {str(error)[:500]}", row["stream_id"]],
                )
        return leases


def _lease(row: dict[str, Any], worker: str, *, alone: bool) -> Lease:
    stream = Stream(
        stream_id=row["stream_id"],
        source=row["source"],
        channel_arn=row["channel_arn"],
        channel_name=row["channel_name"],
        session_id=row["session_id"],
        url=row["url"],
        tags=row["tags"],
        started_at=row["started_at"],
        trace_id=row["trace_id"],
    )
    checkpoint = Checkpoint.from_json(row["checkpoint"]) if row["checkpoint"] else Checkpoint()
    return Lease(
        stream=stream,
        owner=worker,
        fencing=row["fencing"],
        checkpoint=checkpoint,
        stop_wanted=row["stop_at"] is not None,
        failures=row["failures"],
        over_at=row["over_at"] if row["stop_at"] else None,
        alone=alone,
    )


_CLAIM = """
with free as (
  select stream_id from stream
   where state in ('wanted', 'running') and wanted_at is not null and not_before <= now()
     and (owner is null or (lease_until < now() and %(takeovers)s))
     and not stream_id = any(%(but_not)s) and attempts between %(least)s and %(most)s
   order by attempts, not_before
   limit %(count)s
     for update skip locked)
update stream s
   set owner = %(worker)s, lease_until = now() + make_interval(secs => %(ttl_s)s), state = 'running', claimed_at = now(),
       fencing = fencing + 1, attempts = attempts + 1, trace_id = coalesce(trace_id, gen_random_uuid()::text)
  from free where s.stream_id = free.stream_id
returning s.stream_id, source, channel_arn, channel_name, session_id, url, tags, started_at, stop_at, fencing, not_before, attempts, failures,
          trace_id, least(stop_at, unlisted_at) as over_at,
          checkpoint::text as checkpoint"""

#: What has no hurry is not wanted as live streams are.
_CLAIM_BACKGROUND = _CLAIM.replace("wanted_at is not null", "background and source = %(kind)s")

_RENEW = """
with held as (
  select * from unnest(%(ids)s::text[], %(fencings)s::bigint[]) as held (stream_id, fencing)),
free as (
  select s.stream_id from stream s join held using (stream_id, fencing) where s.owner = %(worker)s for update of s skip locked),
renewed as (
  update stream s
     set lease_until = now() + make_interval(secs => %(ttl_s)s),
         attempts = case when claimed_at < now() - make_interval(secs => %(survived_s)s) then 0 else attempts end,
         deaths_alone = case when claimed_at < now() - make_interval(secs => %(survived_s)s) then 0 else deaths_alone end,
         failures = case when claimed_at < now() - make_interval(secs => %(survived_s)s) then 0 else failures end
    from free where s.stream_id = free.stream_id)
select held.stream_id, coalesce(s.owner = %(worker)s and s.fencing = held.fencing, false), s.stop_at is not null,
       exists (select from inbox i where i.stream_id = held.stream_id and i.heard_at is null)
  from held left join stream s on s.stream_id = held.stream_id"""

_END = """
update stream
   set state = 'ended', owner = null, lease_until = null, attempts = 0, deaths_alone = 0, failures = 0,
       ended_at = now(), end_reason = %(reason)s, last_error = %(error)s
 where stream_id = %(stream_id)s and owner = %(worker)s and fencing = %(fencing)s
returning state, now()"""

_HAND_OVER = """
update stream
   set state = 'wanted', owner = null, lease_until = null, not_before = now(),
       attempts = case when %(proven)s then 0 else attempts end, deaths_alone = case when %(proven)s then 0 else deaths_alone end
 where stream_id = %(stream_id)s and owner = %(worker)s and fencing = %(fencing)s
returning state"""

_FAIL = """
update stream
   set owner = null, lease_until = null, last_error = %(error)s, failures = failures + 1,
       attempts = case when %(blamed)s or %(alone)s then attempts else 0 end,
       deaths_alone = deaths_alone + case when %(blamed)s and %(alone)s then 1 else 0 end,
       not_before = now() + (0.5 + random() / 2) * make_interval(secs => least(%(max_s)s, %(initial_s)s * power(2, least(failures, 30)))),
       state = case when %(blamed)s and %(alone)s and deaths_alone + 1 >= %(deaths_alone_max)s then 'quarantined' else 'wanted' end
 where stream_id = %(stream_id)s and owner = %(worker)s and fencing = %(fencing)s
returning state"""

_WAITING = f"""
select count(*), coalesce(extract(epoch from now() - min(greatest(wanted_at, not_before, lease_until))), 0)::float8,
       (select count(*) from stream where state = 'quarantined' and not starts_with(stream_id, '{CANARY}')),
       count(*) filter (where not starts_with(stream_id, '{CANARY}')),
       coalesce(extract(epoch from now() - min(greatest(wanted_at, not_before, lease_until)) filter (where not starts_with(stream_id, '{CANARY}'))), 0)::float8
  from stream
 where state in ('wanted', 'running') and wanted_at is not null and not_before <= now() and (owner is null or lease_until < now())"""  # noqa: S608 -- our own word
