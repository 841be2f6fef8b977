"""From a hit to the actions that it asks for: rows on record and in the outbox, in the transaction that puts the hit on record."""

from collections.abc import Sequence

import structlog

from earmark.actions.overlay import metadata
from earmark.actions.telling import Meter
from earmark.actions.wanted import Change, Known, Offer, changes
from earmark.hits import audit
from earmark.hits.outgoing import Outgoing
from earmark.hits.record import Document
from earmark.hits.text import dumps
from earmark.postgres import Connection

_log = structlog.get_logger(__name__)
#: Evidence of a second is there some two seconds after it: who asks at once finds that nobody knows yet.
HEARD_AFTER_S = 2.0


class Acting:
    """`hits.audit.Act` of the actions that the settings offer."""

    def __init__(self, offers: Sequence[Offer], *, meter: Meter) -> None:
        self._offers, self._meter = tuple(offers), meter

    def __call__(self, connection: Connection, hit: Document, besides: int | None, position_s: float) -> tuple[Document, Sequence[Outgoing]]:
        rows = [] if besides is None else audit.rows(connection, hit["hit_id"])
        changed = list(changes(self._offers, hit, {(row.kind, row.occasion): Known(state=row.state, begun=row.begun) for row in rows}))
        if not changed and besides is None:
            return hit, ()
        for change in changed:
            self._write(connection, hit, change, position_s)
        told = audit.merged(connection, hit, besides or 0)
        return told, [_outgoing(told, change, position_s) for change in changed if change.state == "waiting"]

    def _write(self, connection: Connection, hit: Document, change: Change, position_s: float) -> None:
        parameters = {
            "hit_id": hit["hit_id"],
            "stream_id": hit["stream"]["id"],
            "kind": change.kind,
            "occasion": change.occasion,
            "state": change.state,
            "detail": change.detail,
            "due_s": change.due_s,
            "wait_s": 0.0 if change.due_s is None else max(0.0, change.due_s - position_s),
        }
        connection.execute(_WITHDRAW if change.state == "withdrawn" else _ASK, parameters)
        if change.state == "withdrawn":
            connection.execute(_TAKE_BACK, parameters)
        if change.state in ("dry_run", "withdrawn"):  # that it is no stream of Amazon IVS is no news
            self._meter.acted(kind=change.kind, result=change.state)
        _log.info("action.asked", hit_id=hit["hit_id"], kind=change.kind, state=change.state, says=change.detail)


def _outgoing(hit: Document, change: Change, position_s: float) -> Outgoing:
    attributes: dict[str, str] = {"occasion": change.occasion}
    wait_s = 0.0
    match change.kind:
        case "ivs_stop":
            attributes["channel_arn"], body = hit["stream"]["channel_arn"], "{}"
            wait_s = max(0.0, (change.due_s or 0.0) - position_s) + HEARD_AFTER_S
        case "ivs_metadata":
            attributes["channel_arn"], body = hit["stream"]["channel_arn"], metadata(hit)
        case _:
            body = dumps(hit)
    return Outgoing(
        target=change.kind,
        stream_id=hit["stream"]["id"],
        key=hit["hit_id"],
        revision=hit["revision"],
        content_type="application/json",
        body=body,
        attributes=attributes,
        wait_s=wait_s,
    )


_ASK = """
insert into action (hit_id, kind, occasion, stream_id, state, detail, due_at, due_s)
values (%(hit_id)s, %(kind)s, %(occasion)s, %(stream_id)s, %(state)s, %(detail)s, now() + make_interval(secs => %(wait_s)s), %(due_s)s)
on conflict (hit_id, kind, occasion) do update
   set state = excluded.state, detail = excluded.detail, due_at = excluded.due_at, due_s = excluded.due_s, at = now(), begun_at = null"""

_WITHDRAW = """
update action set state = 'withdrawn', detail = %(detail)s, at = now() where hit_id = %(hit_id)s and kind = %(kind)s and occasion = %(occasion)s"""

#: What is being sent just now finds out by itself that it is not wanted any more.
_TAKE_BACK = """
delete from outbox
 where target = %(kind)s and key = %(hit_id)s and attributes->>'occasion' = %(occasion)s and (taken_until is null or taken_until < now())"""
