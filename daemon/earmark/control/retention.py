"""What is too old is removed: in small batches, by one worker of all, and never anything that somebody still needs.

Needed is what is wanted or listened to, what is in quarantine (until somebody has looked at it), and what still has to
leave. All else has an age in `retention`. Evidence goes first, because it is a likeness of what people said and sang:
from PostgreSQL and from S3. What else lies in S3 is the bucket owner's to keep.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from earmark.control.patience import Patience
from earmark.control.reconcile import take_turn
from earmark.errors import AwsRefused
from earmark.postgres import Pool, statement, transaction
from earmark.settings import Retention as RetentionSettings

#: Of one table and turn: half a million rows at the default batch. What is left waits for the next turn.
BATCHES_MAX = 1_000
#: Sessions in one transaction: their plays are many more.
SESSIONS_MAX = 50
#: Removed from several tables by one rule: sessions with their plays.
TABLES = ("stream", "play", "evidence", "inbox", "outbox", "medialive_channel", "recording", "sweep", "kept")


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def removed(self, table: str, rows: int) -> None: ...
    def removal_failed(self) -> None: ...
    def oldest(self, table: str, age_s: float) -> None: ...


class Erasure(Protocol):
    """Where evidence lies besides: `forgetting.Results`."""

    def erase_evidence(self, plays: Sequence[tuple[str, str]]) -> None:
        """Of these plays, as (stream_id, hit_id). Raises AwsUnavailable, or AwsRefused."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """One transaction's worth."""

    removed: Mapping[str, int]
    #: There may be more.
    more: bool


class Retention:
    """`run` on a thread of its own; `prune` is one turn."""

    def __init__(
        self,
        *,
        pool: Pool,
        settings: RetentionSettings,
        erasure: Erasure | None,
        keep_days: int | None = None,
        meter: Meter,
        stop: threading.Event,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`erasure`: None without a bucket. `keep_days`: `hunt.keep_days`; None: what was heard is kept as long as it is."""
        self._pool = pool
        self._settings = settings
        self._erasure = erasure
        self._keep_days = keep_days
        self._meter = meter
        self._stop = stop
        self._clock = clock
        self._patience = Patience(event="retention.failed", of="what", failed=meter.removal_failed)
        #: The bucket did not let us delete, the last time.
        self._erasure_refused = False
        self._log = structlog.get_logger()

    def run(self) -> None:
        """Until `stop`. What fails is counted each time, told when it begins to, and tried again in the next turn."""
        while not self._stop.is_set():
            self._patience.call("turn", self.prune)
            self._patience.call("ages", self.tell_ages)
            self._stop.wait(self._settings.every_s)

    def prune(self) -> dict[str, int] | None:
        """Remove what is too old, table by table; how many rows of each, or None if it is another worker's turn.

        Raises DatabaseUnavailable when not even the turn could be asked for; a table that cannot be pruned is told, and
        keeps no other from it.
        """
        with transaction(self._pool) as connection:
            if not take_turn(connection, "retention", self._settings.every_s):
                return None
        removed = dict.fromkeys(TABLES, 0)
        for table, batch in self._rules().items():
            self._patience.call(table, lambda batch=batch: self._prune(batch, removed))  # type: ignore[misc]
        if any(removed.values()):
            self._log.info("retention.removed", **{table: rows for table, rows in removed.items() if rows})
        return removed

    def tell_ages(self) -> None:
        """How old the oldest of each table is. Raises DatabaseUnavailable."""
        with statement(self._pool) as connection:
            for table, age_s in connection.execute(_AGES):
                self._meter.oldest(table, age_s)

    def _rules(self) -> dict[str, Callable[[], Batch]]:
        settings = self._settings
        return {
            "evidence": self._evidence,
            "outbox": self._older("outbox", _OUTBOX, settings.dead_days),
            "stream": self._sessions,
            "unannounced": self._older("stream", _UNANNOUNCED, settings.inbox_days),
            "inbox": self._older("inbox", _INBOX, settings.inbox_days),
            "medialive_channel": self._older("medialive_channel", _CHANNELS, settings.inbox_days),
            "recording": self._older("recording", _RECORDINGS, settings.sessions_days),
            "sweep": self._older("sweep", _SWEEPS, settings.inbox_days),
        } | self._kept()

    def _kept(self) -> dict[str, Callable[[], Batch]]:
        """What was heard; with 0 days all of it, for nothing is kept any more."""
        if self._keep_days is None:
            return {}
        return {table: self._older("kept", _KEPT.format(table), self._keep_days) for table in ("kept_block", "kept_group")}

    def _prune(self, batch: Callable[[], Batch], removed: dict[str, int]) -> None:
        """Batch after batch, with as long a pause after each as it took."""
        for _ in range(BATCHES_MAX):
            began = self._clock()
            done = batch()
            for table, rows in done.removed.items():
                removed[table] += rows
                self._meter.removed(table, rows)
            if not done.more or self._stop.wait(self._clock() - began):
                return

    def _older(self, table: str, query: str, days: int) -> Callable[[], Batch]:
        def batch() -> Batch:
            with transaction(self._pool) as connection:
                rows = connection.execute(query.encode(), {"days": days, "batch": self._settings.batch}).rowcount
            return Batch(removed={table: rows}, more=rows == self._settings.batch)

        return batch

    def _sessions(self) -> Batch:
        """Sessions with their plays; one with very many plays takes several batches, and goes with the last."""
        with transaction(self._pool) as connection:
            ids = [stream_id for (stream_id,) in connection.execute(_SESSIONS, {"days": self._settings.sessions_days, "sessions": SESSIONS_MAX})]
            plays = connection.execute(_PLAYS, {"ids": ids, "batch": self._settings.batch}).rowcount
            sessions = connection.execute(_EMPTY_SESSIONS, [ids]).rowcount
        return Batch(removed={"stream": sessions, "play": plays}, more=bool(ids))

    def _evidence(self) -> Batch:
        """From S3 first: what is forgotten here would never be found there again."""
        with statement(self._pool) as connection:
            parameters = {"days": self._settings.evidence_days, "batch": self._settings.batch}
            found: list[tuple[str, str]] = connection.execute(_EVIDENCE, parameters).fetchall()
        if self._erasure and found:
            self._erase(self._erasure, found)
        with statement(self._pool) as connection:
            rows = connection.execute("update play set evidence = null where hit_id = any(%s)", [[hit_id for _, hit_id in found]]).rowcount
        return Batch(removed={"evidence": rows}, more=len(found) == self._settings.batch)

    def _erase(self, erasure: Erasure, plays: Sequence[tuple[str, str]]) -> None:
        """A bucket that we may not delete from is its owner's to tidy: that is said once, and what is here goes all the same."""
        try:
            erasure.erase_evidence(plays)
            self._erasure_refused = False
        except AwsRefused as error:
            self._meter.removal_failed()
            if not self._erasure_refused:
                self._erasure_refused = True
                self._log.warning("retention.failed", what="evidence in S3", reason=f"{error}; or give the bucket a lifecycle rule")


# Each finds the oldest by an index, takes what nobody has locked, and is bounded.

_EVIDENCE = """
select stream_id, hit_id from play p
 where evidence is not null and updated_at < now() - make_interval(days => %(days)s)
   and exists (select from stream s where s.stream_id = p.stream_id and s.state = 'ended')
   and not exists (select from outbox o where o.stream_id = p.stream_id)
 order by updated_at limit %(batch)s"""

_SESSIONS = """
select stream_id from stream s
 where state = 'ended' and ended_at < now() - make_interval(days => %(days)s)
   and not exists (select from outbox o where o.stream_id = s.stream_id)
 order by ended_at limit %(sessions)s for update skip locked"""

_PLAYS = "delete from play where ctid = any(array(select ctid from play where stream_id = any(%(ids)s) limit %(batch)s))"

_EMPTY_SESSIONS = "delete from stream s where stream_id = any(%s) and not exists (select from play p where p.stream_id = s.stream_id)"

#: Only their end was heard, and longer ago than the queue could still bring the start.
_UNANNOUNCED = """
delete from stream where ctid = any(array(
  select ctid from stream
   where wanted_at is null and not background and created_at < now() - make_interval(days => %(days)s) and owner is null and state = 'wanted'
   order by created_at limit %(batch)s for update skip locked))"""

_INBOX = """
delete from inbox where ctid = any(array(
  select ctid from inbox i
   where arrived_at < now() - make_interval(days => %(days)s)
     and (heard_at is not null or not exists (select from stream s where s.stream_id = i.stream_id and s.state <> 'ended'))
   order by arrived_at limit %(batch)s for update skip locked))"""

_OUTBOX = """
delete from outbox where ctid = any(array(
  select ctid from outbox where dead_at < now() - make_interval(days => %(days)s) order by dead_at limit %(batch)s for update skip locked))"""

#: A row for each channel there ever was.
_CHANNELS = """
delete from medialive_channel where ctid = any(array(
  select ctid from medialive_channel c
   where greatest(running_at, stopped_at) < now() - make_interval(days => %(days)s)
     and not exists (select from stream s where s.channel_arn = c.channel_arn and s.state <> 'ended')
   limit %(batch)s for update skip locked))"""

#: As long as their streams: until then gaps of these may be heard from them.
_RECORDINGS = """
delete from recording where ctid = any(array(
  select ctid from recording where told_at < now() - make_interval(days => %(days)s) order by told_at limit %(batch)s for update skip locked))"""

#: Kinds of sweeps that there are no more.
_SWEEPS = """
delete from sweep where ctid = any(array(
  select ctid from sweep where swept_at < now() - make_interval(days => %(days)s) limit %(batch)s for update skip locked))"""

_KEPT = """
delete from {0} where ctid = any(array(
  select ctid from {0} where kept_at < now() - make_interval(days => %(days)s) order by kept_at limit %(batch)s for update skip locked))"""

_AGES = """
select name, coalesce(extract(epoch from now() - oldest), 0)::float8
  from (values ('stream', (select min(ended_at) from stream where state = 'ended')),
               ('evidence', (select min(updated_at) from play where evidence is not null)),
               ('inbox', (select min(arrived_at) from inbox)),
               ('outbox', (select min(dead_at) from outbox where dead_at is not null)),
               ('kept', (select min(kept_at) from kept_block)),
               ('medialive_channel', (select min(greatest(running_at, stopped_at)) from medialive_channel))) ages (name, oldest)"""
