"""What still has to leave: rows that `hits.ledger` queued, drained to their sinks by any worker.

A row is taken for a minute, sent, and deleted once it has left, so the table is as long as what is owed. A row that
fails waits: twice as long each time if it may pass, the longest wait at once if it was refused. After days of failing it
is set aside as dead, where `earmark outbox` shows it and brings it back.

At least once: a worker that dies between sending and deleting leaves the row to another. S3 takes a repeat for what it
is; a repeated alert carries the same `hit_id` and `revision`. A hit's JSON is in S3 before its alert goes out; but a
bucket that is down does not silence the alerts for longer than `outbox.alert_wait_s`.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import structlog

from earmark.errors import DatabaseUnavailable, EarmarkError, Postponed, Transient
from earmark.hits.record import Outgoing, Target
from earmark.hits.sinks import Sink
from earmark.postgres import Connection, Pool, statement
from earmark.settings import Outbox

_log = structlog.get_logger(__name__)

#: A row is another worker's to take after this: longer than a send with all its retries normally takes (milliseconds),
#: short enough that a worker's death does not hold back alerts.
_TAKEN_S = 60
#: A row that was taken longer ago than this is not sent any more: whoever was paused in between leaves it to others, to whom
#: it falls before a send that was begun at the last moment can take its time.
_SENT_WITHIN_S = 40
#: A row that waited for days with no worker at all is old, but has hardly been tried: it is not dead before this many
#: attempts (at the first back-offs of 1, 2, 4, ... s some two minutes).
_DEAD_ATTEMPTS_MIN = 8
_OWED_EVERY_S = 15.0
_DATABASE_WAIT_MAX_S = 30.0


class PublisherMetrics(Protocol):
    """What is counted of the things that leave."""

    def published(self, *, target: Target, result: Literal["sent", "failed", "dead"], seconds: float, delay_s: float | None = None) -> None:
        """One attempt, and how long it took: it left, `delay_s` after it was decided; is tried again; or was given up (somebody has to look)."""
        ...

    def owed(self, *, waiting: int, dead: int, oldest_s: float) -> None:
        """How much the whole outbox owes; `oldest_s` is the age of the oldest that still waits."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class _Taken:
    outbox_id: int
    item: Outgoing
    attempts: int
    #: By our own clock, before the database was asked.
    taken_at: float
    #: How long it had waited by then, by the database's.
    waited_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Outcome:
    taken: _Taken
    seconds: float
    #: By our own clock.
    done_at: float
    error: str = ""
    refused: bool = False
    #: What the receiver asked for; 0: nothing.
    retry_after_s: float = 0.0
    #: It did not fail: it is to be tried again after so long.
    again_s: float | None = None


class Publisher:
    """Drains the outbox until `stop` is set. `run` is the whole of it, on the caller's thread; `nudge` is for any thread.

    One thread talks to the database, `settings.threads` to the sinks, so one slow object does not hold up the others.
    Only rows whose target has a sink are taken.
    After setting `stop`, call `nudge`: what is being sent is finished, the rest is left to others.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        sinks: Mapping[Target, Sink],
        settings: Outbox,
        stop: threading.Event,
        metrics: PublisherMetrics,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._pool, self._sinks, self._settings, self._stop, self._metrics = pool, sinks, settings, stop, metrics
        self._clock, self._jitter = clock, jitter
        self._condition = threading.Condition()
        self._woken = False
        self._finished: list[_Outcome] = []
        self._sending = 0
        self._turned_at = clock()

    @property
    def age_s(self) -> float:
        """Seconds since `run` last came round: far above `poll_s` and the database's time-outs, something is stuck."""
        return self._clock() - self._turned_at

    def nudge(self) -> None:
        """There is something new, or a reason to stop: look at once."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def run(self) -> None:
        """Returns when `stop` is set and nothing is being sent any more. Raises only for a bug, or a schema that does not fit."""
        failures, tell_owed_at = 0, self._clock()
        with ThreadPoolExecutor(self._settings.threads, thread_name_prefix="publish") as senders:
            while not self._stop.is_set():
                try:
                    busy = self._turn(senders)
                    if self._clock() >= tell_owed_at:
                        self._tell_owed()
                        tell_owed_at = self._clock() + _OWED_EVERY_S
                    failures = 0
                except DatabaseUnavailable as error:
                    self._turned_at = self._clock()
                    busy, failures = False, failures + 1
                    _log.warning("outbox.database_unavailable", error=str(error), failures=failures)
                if not busy:
                    self._wait(min(_DATABASE_WAIT_MAX_S, self._settings.poll_s * 2.0 ** min(failures, 10)) if failures else self._settings.poll_s)
        self._settle_last()

    def drain(self, *, limit_s: float) -> bool:
        """Instead of `run`, for commands that end: send what is due until nothing waits (True), or `limit_s` is over (False).

        Raises DatabaseUnavailable.
        """
        until, empty = self._clock() + limit_s, False
        with ThreadPoolExecutor(self._settings.threads, thread_name_prefix="publish") as senders:
            while not empty and self._clock() < until and not self._stop.is_set():
                if not self._turn(senders):
                    empty = self._is_empty()
                    if not empty:
                        self._wait(min(self._settings.poll_s, max(0.0, until - self._clock())))
        self._settle_last()
        return empty

    def _turn(self, senders: ThreadPoolExecutor) -> bool:
        """Settle what was sent, take what is due and start sending it; whether there was anything."""
        self._turned_at = self._clock()
        settled = self._settle()
        with self._condition:
            room = min(self._settings.batch, self._settings.threads - self._sending)
        taken = self._take(room) if room > 0 else []
        with self._condition:
            self._sending += len(taken)
        for row in taken:
            senders.submit(self._send, row)
        return bool(settled or taken)

    def _wait(self, timeout_s: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._woken or self._stop.is_set(), timeout_s)
            self._woken = False

    # -------------------------------------------------------------------------------------------- sending, on its threads

    def _send(self, taken: _Taken) -> None:
        outcome = self._attempt(taken) if self._clock() - taken.taken_at < _SENT_WITHIN_S else None
        with self._condition:
            if outcome:
                self._finished.append(outcome)
            self._sending -= 1
            self._woken = True
            self._condition.notify()

    def _attempt(self, taken: _Taken) -> _Outcome:
        began = self._clock()
        error, refused, again_s, retry_after_s = "", False, None, 0.0
        try:
            self._sinks[taken.item.target].send(taken.item)
        except Postponed as later:
            error, again_s = str(later), later.after_s
        except EarmarkError as known:
            error, refused = str(known), not isinstance(known, Transient)
            retry_after_s = known.retry_after_s if isinstance(known, Transient) else 0.0
        except Exception as bug:  # noqa: BLE001 - a bug must not stop all the others, nor lose this one: it is loud, and the row stays
            _log.exception("outbox.crashed", **_in_logs(taken.item))
            error, refused = f"a bug: {bug!r}", True
        done_at = self._clock()
        return _Outcome(taken=taken, seconds=done_at - began, done_at=done_at, error=error, refused=refused, retry_after_s=retry_after_s, again_s=again_s)

    # -------------------------------------------------------------------------------------------- the table

    def _take(self, rows_max: int) -> list[_Taken]:
        taken_at = self._clock()
        parameters = {"rows_max": rows_max, "taken_s": _TAKEN_S, "alert_wait_s": self._settings.alert_wait_s, "targets": list(self._sinks)}
        with statement(self._pool) as connection:
            rows = connection.execute(TAKE, parameters).fetchall()
        return [
            _Taken(
                outbox_id=outbox_id,
                item=Outgoing(
                    target=target,
                    stream_id=stream_id,
                    key=key,
                    revision=revision,
                    content_type=content_type,
                    body=body,
                    content=bytes(content or b""),
                    attributes=attributes,
                    trace_id=trace_id,
                ),
                attempts=attempts,
                taken_at=taken_at,
                waited_s=waited_s,
            )
            for outbox_id, target, stream_id, key, revision, content_type, body, content, attributes, trace_id, attempts, waited_s in sorted(rows)
        ]

    def _settle(self) -> int:
        """Write down what became of what was sent; if the database is away it is tried again in the next turn."""
        with self._condition:
            finished = list(self._finished)
        if finished:
            with statement(self._pool) as connection:
                self._delete(connection, [outcome for outcome in finished if not outcome.error])
                for outcome in finished:
                    if outcome.error:
                        self._postpone(connection, outcome)
            with self._condition:
                del self._finished[: len(finished)]
        return len(finished)

    def _settle_last(self) -> None:
        """After the executor has waited for what was under way."""
        try:
            self._settle()
        except DatabaseUnavailable as error:
            _log.warning("outbox.unsettled", rows=len(self._finished), error=str(error))  # they are sent once more, by whoever is next

    def _delete(self, connection: Connection, sent: Sequence[_Outcome]) -> None:
        if not sent:
            return
        rows = [outcome.taken for outcome in sent]
        connection.execute(_LEFT, {"ids": [row.outbox_id for row in rows], "revisions": [row.item.revision for row in rows]})
        for outcome in sent:
            delay_s = outcome.taken.waited_s + outcome.done_at - outcome.taken.taken_at
            self._metrics.published(target=outcome.taken.item.target, result="sent", seconds=outcome.seconds, delay_s=delay_s)

    def _postpone(self, connection: Connection, outcome: _Outcome) -> None:
        taken, settings = outcome.taken, self._settings
        doubled_s = settings.retry_initial_s * 2.0 ** min(taken.attempts - 1, 30)
        longest_s = settings.retry_max_s if outcome.refused else min(settings.retry_max_s, doubled_s)
        again_s = outcome.again_s
        parameters = {
            "outbox_id": taken.outbox_id,
            "revision": taken.item.revision,
            "wait_s": max(longest_s * (0.5 + 0.5 * self._jitter()), outcome.retry_after_s) if again_s is None else min(settings.retry_max_s, again_s),
            "tried": 1 if again_s is None else 0,
            "error": outcome.error[:1_000].replace("\x00", ""),
            "old": taken.attempts >= _DEAD_ATTEMPTS_MIN,
            "dead_after_s": settings.dead_after_s,
        }
        row = connection.execute(_FAILED, parameters).fetchone()
        if again_s is not None:
            return
        dead = bool(row and row[0])
        self._metrics.published(target=taken.item.target, result="dead" if dead else "failed", seconds=outcome.seconds)
        _log.warning("outbox.failed", **_in_logs(taken.item), attempts=taken.attempts, error=outcome.error, dead=dead)

    def _tell_owed(self) -> None:
        with statement(self._pool) as connection:
            now_owed = owed(connection)
        self._metrics.owed(waiting=now_owed.waiting, dead=now_owed.dead, oldest_s=now_owed.oldest_s)

    def _is_empty(self) -> bool:
        """Nothing waits that this publisher could send."""
        with statement(self._pool) as connection:
            query = "select not exists (select 1 from outbox where dead_at is null and target = any(%s))"
            return bool(connection.execute(query, [list(self._sinks)]).fetchall()[0][0])


def _in_logs(item: Outgoing) -> dict[str, object]:
    return {name: getattr(item, name) for name in ("stream_id", "trace_id", "target", "key", "revision")}


TAKE = """
update outbox set taken_until = now() + make_interval(secs => %(taken_s)s), attempts = attempts + 1
 where outbox_id = any(array(
   select o.outbox_id from outbox o
    where o.target = any(%(targets)s) and o.dead_at is null and o.due_at <= now() and (o.taken_until is null or o.taken_until < now())
      and (o.after_id is null
           or o.created_at < now() - make_interval(secs => %(alert_wait_s)s)
           or not exists (select 1 from outbox first where first.outbox_id = o.after_id and first.dead_at is null))
    order by o.due_at, o.outbox_id limit %(rows_max)s for update of o skip locked))
returning outbox_id, target, stream_id, key, revision, content_type, body, content, attributes, trace_id, attempts,
          extract(epoch from now() - coalesce(not_before, created_at))::float8
"""

#: The row, unless it was given a newer body meanwhile; and, for documents, older ones of the same key, dead ones too.
_LEFT = """
with gone as (
  delete from outbox o using unnest(%(ids)s::bigint[], %(revisions)s::bigint[]) as s (outbox_id, revision)
   where o.outbox_id = s.outbox_id and o.revision = s.revision
  returning o.target, o.key, o.revision
)
delete from outbox o using gone where o.target = 's3' and gone.target = 's3' and o.key = gone.key and o.revision < gone.revision
"""

_FAILED = """
update outbox set taken_until = null, due_at = now() + make_interval(secs => %(wait_s)s), last_error = %(error)s,
                  attempts = attempts - 1 + %(tried)s,
                  dead_at = case when %(old)s and created_at < now() - make_interval(secs => %(dead_after_s)s) then now() end
 where outbox_id = %(outbox_id)s and revision = %(revision)s
returning dead_at is not null
"""


# ------------------------------------------------------------------------------------------------ `earmark outbox`


@dataclass(frozen=True, kw_only=True, slots=True)
class Owed:
    waiting: int
    dead: int
    #: Age of the oldest that still waits; 0 when nothing does. But for the webhook: somebody is woken by this, whom another's server does not concern.
    oldest_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """A row as people see it."""

    outbox_id: int
    stream_id: str
    target: Target
    key: str
    revision: int
    attempts: int
    last_error: str
    created_at: datetime
    due_at: datetime
    dead_at: datetime | None


def owed(connection: Connection) -> Owed:
    query = """
        select count(*) filter (where dead_at is null), count(*) filter (where dead_at is not null),
               coalesce(extract(epoch from now() - min(coalesce(not_before, created_at)) filter (where dead_at is null and target <> 'webhook')),
                        0)::double precision
          from outbox where not_before is null or not_before <= now()"""
    waiting, dead, oldest_s = connection.execute(query).fetchall()[0]
    return Owed(waiting=waiting, dead=dead, oldest_s=oldest_s)


def list_waiting(pool: Pool, *, rows_max: int = 100) -> list[OutboxRow]:
    """What still waits, the oldest first."""
    return _list(pool, "dead_at is null", rows_max)


def list_dead(pool: Pool, *, rows_max: int = 100) -> list[OutboxRow]:
    """What was given up, the oldest first."""
    return _list(pool, "dead_at is not null", rows_max)


def _list(pool: Pool, which: str, rows_max: int) -> list[OutboxRow]:
    columns = "outbox_id, stream_id, target, key, revision, attempts, last_error, created_at, due_at, dead_at"
    with statement(pool) as connection:
        query = f"select {columns} from outbox where {which} order by created_at, outbox_id limit %s"  # noqa: S608 - both are our own text
        rows = connection.execute(query.encode(), [rows_max]).fetchall()
    return [OutboxRow(**dict(zip(columns.split(", "), row, strict=True))) for row in rows]


def retry(pool: Pool, outbox_ids: Sequence[int] | None = None) -> int:
    """Make rows due now, the dead among them alive: those named, or all that are dead. How many it were."""
    with statement(pool) as connection:
        done = connection.execute(
            """
            update outbox set dead_at = null, due_at = now(), attempts = 0
             where (taken_until is null or taken_until < now()) and case when %(all)s then dead_at is not null else outbox_id = any(%(ids)s) end
            """,
            {"all": outbox_ids is None, "ids": list(outbox_ids or ())},
        )
    return done.rowcount
