"""What is done about a play, on record: rows of `action`, and the list `actions` that a hit tells of them.

Most actions are over when the session has long moved on, or has ended: the hit is then written anew, as a revision behind
all that there are, in PostgreSQL and to S3. The session goes on counting its own revisions; how many there were besides
stands with the play (`told_besides`), so that a later one of the session is the later one for everybody, and has the
actions in it as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from psycopg.rows import class_row
from psycopg.types.json import Json

from earmark.hits.outgoing import Outgoing, s3_document
from earmark.hits.queueing import enqueue
from earmark.hits.record import Document, Place
from earmark.hits.text import dumps, one_line, rfc3339
from earmark.postgres import Connection
from earmark.settings import Results

#: Told only, and nothing came of it; to be done; done; not done for a reason of ours; because the play was over, or is decided
#: about otherwise; because whoever was asked refused.
ActionState: TypeAlias = Literal["dry_run", "waiting", "done", "refused", "withdrawn", "failed"]
#: A refusal is told whole: some have a role's ARN and a channel's in them.
DETAIL_MAX = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionRow:
    """One action of one play."""

    kind: str
    #: The play's state that was the reason; empty: it is done once, whenever that is.
    occasion: str
    state: ActionState
    detail: str
    due_at: datetime
    #: Since when state and detail are these.
    at: datetime
    #: Somebody is about to do it, or has.
    begun: bool

    def told(self) -> Document:
        """As a hit lists it."""
        return {
            "kind": self.kind,
            "state": self.state,
            "occasion": self.occasion or None,
            "due_at": rfc3339(self.due_at),
            "at": rfc3339(self.at),
            "detail": self.detail,
        }


#: What a play leads to, in the transaction that puts it on record: of the hit as the session tells it, of how many revisions
#: there were besides (None: it never had an action) and of the stream time, the hit as it is told, and what is to leave for it.
Act: TypeAlias = Callable[[Connection, Document, int | None, float], tuple[Document, Sequence[Outgoing]]]


def nothing(connection: Connection, hit: Document, besides: int | None, position_s: float) -> tuple[Document, Sequence[Outgoing]]:  # noqa: ARG001 -- an `Act`
    """No action; those that there were before stay in the hit."""
    return (hit if besides is None else merged(connection, hit, besides)), ()


def rows(connection: Connection, hit_id: str) -> list[ActionRow]:
    """In the order in which they were asked for."""
    query = "select kind, occasion, state, detail, due_at, at, begun_at is not null as begun from action where hit_id = %s order by action_no"
    with connection.cursor(row_factory=class_row(ActionRow)) as cursor:
        return cursor.execute(query, [hit_id]).fetchall()


def merged(connection: Connection, hit: Document, besides: int) -> Document:
    """The session's own hit, which was just written, with its actions; on record."""
    actions = [row.told() for row in rows(connection, hit["hit_id"])]
    whole = {**hit, "revision": hit["revision"] + besides, **({"actions": actions} if actions else {})}
    connection.execute("update play set body = %s, told_besides = %s where hit_id = %s", [Json(whole, dumps=dumps), besides, hit["hit_id"]])
    return whole


def tell(
    connection: Connection,
    *,
    hit_id: str,
    kind: str,
    occasion: str,
    state: ActionState,
    detail: str = "",
    overdue_s: float = 0.0,
    results: Results,
    now: datetime,
) -> bool:
    """What became of an action, and the hit anew; False if that, or how it ended, is on record already, or the hit is forgotten.

    `overdue_s`: it may still be done, and is told of only if it was due so long ago, and once.

    The stream's row is locked, as by its session's commits. Call it in a transaction of its own.
    """
    row = connection.execute("select stream_id from play where hit_id = %s", [hit_id]).fetchone()
    if row is None:
        return False
    (stream_id,) = row
    connection.execute("select from stream where stream_id = %s for update", [stream_id])
    told = connection.execute("select body, revision from play where hit_id = %s for update", [hit_id]).fetchone()
    said = {"hit_id": hit_id, "kind": kind, "occasion": occasion, "state": state, "detail": one_line(detail, DETAIL_MAX), "overdue_s": overdue_s}
    if told is None or connection.execute(_TELL, said).rowcount == 0:
        return False
    body, revision = told
    hit: dict[str, Any] = {
        **body,
        "revision": revision + 1,
        "detection": {**body["detection"], "published_at": rfc3339(now)},
        "actions": [action.told() for action in rows(connection, hit_id)],
    }
    connection.execute(
        "update play set revision = %s, told_besides = coalesce(told_besides, 0) + 1, body = %s, updated_at = now() where hit_id = %s",
        [revision + 1, Json(hit, dumps=dumps), hit_id],
    )
    if results.bucket:
        place = Place(bucket=results.bucket, prefix=results.prefix, stream_id=stream_id)
        enqueue(connection, s3_document(stream_id, place.hit_key(hit_id), dumps(hit, indent=2), revision + 1))
    return True


def make_room(connection: Connection, hit_ids: Sequence[str]) -> None:
    """For one revision of each besides the session's own: the ledger writes it next; if it does not, the session's next one has a number greater by one."""
    connection.execute("update play set told_besides = coalesce(told_besides, 0) + 1 where hit_id = any(%s)", [list(hit_ids)])


#: Who was refused may still succeed, by `earmark outbox retry`; all else is the end of it. The first refusal's words stay: who gives other ones
#: each time (a request's number in them) would have the hit written anew with each try.
_TELL = """
update action set state = %(state)s, detail = %(detail)s, at = now()
 where hit_id = %(hit_id)s and kind = %(kind)s and occasion = %(occasion)s and state in ('waiting', 'failed')
   and state <> %(state)s
   and (%(overdue_s)s = 0 or (state = 'waiting' and due_at < now() - make_interval(secs => %(overdue_s)s)))"""
