"""Which mails a stream has: one a play, or one for several that come close together, so many an hour, and one at its end.

A mail goes at once where none went for `alerts.group_s`. Plays that come sooner wait for one another in a row of the outbox,
which leaves when that time is over: it is written in the transaction that puts the play on record, and whoever drains the
outbox sends it, so none is lost with the worker that heard it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from psycopg.types.json import Json

from earmark.hits.mail import alert, digest, group
from earmark.hits.mail.letter import Manner
from earmark.hits.outgoing import Outgoing
from earmark.hits.record import Place
from earmark.model import Stream
from earmark.postgres import Connection
from earmark.reserved import is_canary
from earmark.settings import Alerts

_log = structlog.get_logger(__name__)


class Work(Protocol):
    """A transaction under way."""

    connection: Connection
    now: datetime

    def queue(self, item: Outgoing, after_id: int | None = None) -> int:
        """It leaves once this is committed; its row."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Posted:
    """What is known of a stream's mails, as of the last commit."""

    budget: alert.Budget
    #: When the last one went, or is to go.
    mailed_at: datetime | None = None
    #: The row in which plays wait for that.
    outbox_id: int | None = None

    def row(self, now: datetime) -> int | None:
        """In which plays wait now."""
        return self.outbox_id if self.mailed_at is not None and self.mailed_at > now else None

    @classmethod
    def recalled(cls, opened_at: Iterable[datetime], now: datetime, alerts: Alerts) -> "Posted":
        """About what it must have been, by when in this hour the plays began to be told that somebody was to be told of."""
        mails, last = 0, None
        for at in sorted(opened_at):
            if last is None or at >= last + timedelta(seconds=alerts.group_s):
                mails, last = mails + 1, at
            elif at >= last:
                mails, last = mails + 1, last + timedelta(seconds=alerts.group_s)
        sent = min(mails, alerts.per_stream_hour_max)
        return cls(budget=replace(alert.Budget.at(now), sent=sent, withheld=mails - sent), mailed_at=last if alerts.group_s else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Mailing:
    """The mails of one stream."""

    alerts: Alerts
    stream: Stream
    place: Place
    #: Its plays are told when it is long over: a digest only takes the place of one that there was.
    late: bool = False

    def tell(self, work: Work, posted: Posted, hit: Mapping[str, Any], after_id: int | None) -> Posted:
        """Somebody is to be told of this play. `after_id`: the row that has to leave first."""
        row = posted.row(work.now)
        if row is not None and self._join(work.connection, row, hit, after_id):
            return posted
        budget, note = posted.budget.spend(work.now, self.alerts.per_stream_hour_max, zone=self.alerts.zone, listed=self.alerts.digest)
        if note is None:
            _log.info("alert.withheld", **self.stream.in_logs, hit_id=hit["hit_id"], withheld=budget.withheld)
            return replace(posted, budget=budget)
        item = alert.outgoing(hit, place=self.place, manner=self._manner, note=note)
        waits_s = self._waits_s(posted, work.now)
        if not waits_s:
            work.queue(item, after_id)
            return Posted(budget=budget, mailed_at=work.now)
        waiting = replace(item, wait_s=waits_s, attributes={**item.attributes, "plays": [hit["hit_id"]], "note": note})
        return Posted(budget=budget, mailed_at=work.now + timedelta(seconds=waits_s), outbox_id=work.queue(waiting, after_id))

    def end(self, work: Work, posted: Posted, revision: int) -> None:
        """What still waits goes now, and the digest behind it, unless there is nothing that one before did not say. `revision`: greater than any before."""
        if not self.alerts.topic_arn or is_canary(self.stream.stream_id):
            return
        work.connection.execute(_GO_NOW, [self.stream.stream_id])
        if not self.alerts.digest:
            return
        told = digest.load(work.connection, self.stream.stream_id)
        if not told.wanted:
            return
        before = work.connection.execute("select digest_of from stream where stream_id = %s", [self.stream.stream_id]).fetchall()[0][0]
        if before == told.mark or (self.late and before is None):
            return
        work.connection.execute("update stream set digest_of = %s where stream_id = %s", [told.mark, self.stream.stream_id])
        item = digest.outgoing(told, place=self.place, manner=self._manner, revision=revision, withheld=posted.budget.withheld, again=before is not None)
        work.queue(item, self._report_id(work.connection))

    @property
    def _manner(self) -> Manner:
        return Manner(zone=self.alerts.zone, link=self.alerts.link, began_at=self.stream.started_at)

    def _waits_s(self, posted: Posted, now: datetime) -> float:
        """How long a play has to wait that is told now; 0: not at all."""
        if not self.alerts.group_s or posted.mailed_at is None:
            return 0.0
        due = posted.mailed_at if posted.mailed_at > now else posted.mailed_at + timedelta(seconds=self.alerts.group_s)
        return min(self.alerts.group_s, max(0.0, (due - now).total_seconds()))

    def _join(self, connection: Connection, outbox_id: int, hit: Mapping[str, Any], after_id: int | None) -> bool:
        """Into the row that waits; whether it still did, and had room."""
        row = connection.execute(_STILL_WAITS, [outbox_id]).fetchone()
        if row is None:
            return False
        plays, note = list(row[0]["plays"]), row[0]["note"]
        if hit["hit_id"] not in plays:
            plays.append(hit["hit_id"])
        if len(plays) > group.PLAYS_MAX:
            return False
        bodies = connection.execute("select body from play where hit_id = any(%(ids)s) order by array_position(%(ids)s, hit_id)", {"ids": plays}).fetchall()
        hits = [body for (body,) in bodies]
        item = (
            group.outgoing(hits, place=self.place, manner=self._manner, note=note)
            if len(hits) > 1
            else alert.outgoing(hits[0], place=self.place, manner=self._manner, note=note)
        )
        attributes = Json({**item.attributes, "plays": plays, "note": note})
        connection.execute(
            "update outbox set body = %s, attributes = %s, after_id = coalesce(%s, after_id) where outbox_id = %s", [item.body, attributes, after_id, outbox_id]
        )
        return True

    def _report_id(self, connection: Connection) -> int | None:
        """The row of the report, which the digest has a link to."""
        if not self.place.bucket:
            return None
        query = "select max(outbox_id) from outbox where target = 's3' and key = %s and dead_at is null"
        found: int | None = connection.execute(query, [self.place.report_key]).fetchall()[0][0]
        return found


_STILL_WAITS = """
select attributes from outbox
 where outbox_id = %s and attempts = 0 and dead_at is null and due_at > now() and attributes ? 'plays' for update skip locked"""

_GO_NOW = """
update outbox set due_at = now(), not_before = now()
 where stream_id = %s and target = 'sns' and attempts = 0 and due_at > now() and attributes ? 'plays'"""
