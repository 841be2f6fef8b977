"""What plays, put into an Amazon IVS stream for its player to show: soon, in order, or not at all.

A player shows what it was told last. So of one stream one request is under way at a time; what began later, or the end of
the same, has gone or is about to go, and what comes before it is not sent any more; nor is what has become old. (API
reference, "PutMetadata": 5 requests a second and channel, 155 an account.)
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError

from earmark.actions.telling import Telling
from earmark.aws import asking, code
from earmark.errors import AwsRefused, Postponed
from earmark.hits.audit import ActionState
from earmark.hits.outgoing import Outgoing
from earmark.hits.sinks import Sent
from earmark.postgres import Connection, Pool, transaction

#: A request that was begun so long ago has ended, one way or the other.
_UNDER_WAY_S: Final = 20.0
_PER_S_MAX: Final = 4
#: A title that comes later is that of something else by then.
LATE_S: Final = 30.0
_SOON_S: Final = 0.5


class Ivs(Protocol):
    """boto3's `ivs` client, as far as it is used."""

    def put_metadata(self, *, channelArn: str, metadata: str) -> Any: ...  # noqa: N803 -- boto3's name


class IvsMetadata:
    """Implements `hits.sinks.Sink` for `ivs_metadata`. `ivs` makes boto3's client."""

    def __init__(self, *, pool: Pool, ivs: Callable[[], Ivs], telling: Telling) -> None:
        self._pool, self._ivs, self._telling = pool, ivs, telling

    def send(self, item: Outgoing) -> Sent:
        """Raises Postponed while another is under way, AwsUnavailable, DatabaseUnavailable."""
        occasion = str(item.attributes["occasion"])
        with transaction(self._pool) as connection:
            dropped = self._judge(connection, item, occasion)
        if dropped is None:
            return "superseded"
        state, detail = self._put(item) if not dropped else ("withdrawn", dropped)
        self._telling.tell(item, state, detail)
        return "stored" if state == "done" else "superseded"

    def _judge(self, connection: Connection, item: Outgoing, occasion: str) -> str | None:
        """Why it is not sent any more; empty: it is to be sent. None: it is told already. The stream's row is locked: one at a time."""
        connection.execute("select from stream where stream_id = %s for update", [item.stream_id])
        row = connection.execute(_LOOK, {"hit_id": item.key, "occasion": occasion, "under_way_s": _UNDER_WAY_S}).fetchone()
        if row is None:
            return None
        state, late_s, stream, followed, under_way, lately = row
        if state != "waiting":
            return None
        if stream == "ended":
            return "the stream had ended"
        if followed:
            return "something newer was to be shown by then"
        if late_s > LATE_S:
            return f"it could not be sent within {LATE_S:.0f} s"
        if under_way or lately >= _PER_S_MAX:
            raise Postponed("what was to be shown before is being sent just now", after_s=_SOON_S)
        connection.execute("update action set begun_at = now() where hit_id = %s and kind = 'ivs_metadata' and occasion = %s", [item.key, occasion])
        return ""

    def _put(self, item: Outgoing) -> tuple[ActionState, str]:
        channel_arn = str(item.attributes["channel_arn"])
        try:
            with asking("ivs:PutMetadata", channel_arn, absent="the channel was deleted meanwhile"):
                try:
                    self._ivs().put_metadata(channelArn=channel_arn, metadata=item.body)
                except ClientError as error:
                    if code(error) == "ChannelNotBroadcasting":
                        return "withdrawn", "the stream was over"
                    raise
        except AwsRefused as error:
            return "failed", str(error)
        return "done", ""


_LOOK = """
select a.state, extract(epoch from now() - a.due_at)::float8, s.state,
       exists (select from action later where later.stream_id = a.stream_id and later.kind = a.kind and later.action_no > a.action_no
                                          and later.state in ('waiting', 'done') and (later.occasion = 'open' or later.hit_id = a.hit_id)),
       exists (select from action other where other.stream_id = a.stream_id and other.kind = a.kind and other.action_no <> a.action_no
                                          and other.state = 'waiting' and other.begun_at > now() - make_interval(secs => %(under_way_s)s)),
       (select count(*) from action other where other.stream_id = a.stream_id and other.kind = a.kind and other.begun_at > now() - interval '1 second')
  from action a join stream s on s.stream_id = a.stream_id
 where a.hit_id = %(hit_id)s and a.kind = 'ivs_metadata' and a.occasion = %(occasion)s"""
