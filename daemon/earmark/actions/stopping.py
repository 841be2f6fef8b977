"""The broadcast of an Amazon IVS channel is ended, if its play still goes on when the grace is over; at most once for a play.

Whether it goes on is read off the session's place on record: there has to be evidence of the play behind the end of its
grace, in the last seconds that were heard, and those have to have been heard just now. Nobody is cut off for what a worker
that has died knew: somebody else takes the stream up first.

StopStream is asked for by channel and names no stream (Amazon IVS API reference), so it is asked first which stream is live:
a row that was begun by a worker that has died since is done if that stream is gone, and tried again if it is not. Between
the question and the stop there are some milliseconds in which a broadcaster could come back with a new stream.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TypeAlias

from botocore.exceptions import ClientError

from earmark.actions.telling import Telling
from earmark.aws import asking, code
from earmark.errors import AwsRefused, AwsUnavailable, Postponed, StreamNotFound
from earmark.hits.outgoing import Outgoing
from earmark.hits.sinks import Sent
from earmark.hits.text import counted
from earmark.postgres import Connection, Pool, transaction
from earmark.settings.actions import StopStream

#: Evidence of a play is that old at most while it sounds; and a session's place, on record once a second or with each segment.
_SOUNDS_S: Final = 8.0
_HEARD_S: Final = 30.0
#: Nobody knows whether the play goes on: looked at again after this, and given up when it was due so long ago.
AGAIN_S: Final = 2.0
LATE_S: Final = 900.0
#: A channel has one key, or a handful.
_KEYS_MAX: Final = 50
#: Two workers that count at once would both find one left.
_COUNT_LOCK: Final = 0x6561726D53746F70  # "earmStop"

State: TypeAlias = Literal["done", "refused", "withdrawn", "failed"]


class Ivs(Protocol):
    """boto3's `ivs` client, as far as it is used."""

    def stop_stream(self, *, channelArn: str) -> Mapping[str, Any]: ...  # noqa: N803 -- boto3's name
    def list_stream_keys(self, *, channelArn: str, maxResults: int) -> Mapping[str, Any]: ...  # noqa: N803
    def delete_stream_key(self, *, arn: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Told:
    """What is to be put on record; nothing else is done."""

    state: State
    detail: str


@dataclass(frozen=True, slots=True)
class _Go:
    """It may be stopped. `again`: somebody had begun it before, and nobody knows how that ended."""

    again: bool
    played_s: float


@dataclass(frozen=True, slots=True)
class _Over:
    """The play is over. Whoever had begun to stop the stream before may have done that."""

    why: str


class IvsStop:
    """Implements `hits.sinks.Sink` for `ivs_stop`.

    `live_stream_id`: of a channel's ARN, asked afresh (`control.channels.Channels`). `ivs` makes boto3's client.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        ivs: Callable[[], Ivs],
        live_stream_id: Callable[[str], str | None],
        settings: StopStream,
        telling: Telling,
    ) -> None:
        self._pool, self._ivs, self._live_stream_id = pool, ivs, live_stream_id
        self._settings, self._telling = settings, telling

    def send(self, item: Outgoing) -> Sent:
        """Raises Postponed while it is not known whether the play goes on, AwsUnavailable, DatabaseUnavailable."""
        with transaction(self._pool) as connection:
            verdict = self._judge(connection, item)
        if isinstance(verdict, _Go | _Over):
            verdict = self._stop(item, verdict)
        if verdict is None:
            return "superseded"
        self._telling.tell(item, verdict.state, verdict.detail)
        return "stored" if verdict.state == "done" else "superseded"

    # -------------------------------------------------------------------------------------------- may it be stopped?

    def _judge(self, connection: Connection, item: Outgoing) -> _Go | _Over | _Told | None:
        """With the stream's row locked, so that its session's next commit waits. None: there is nothing to be done any more."""
        connection.execute("select from stream where stream_id = %s for update", [item.stream_id])
        row = connection.execute(_LOOK, {"hit_id": item.key}).fetchone()
        if row is None:
            return None
        state, begun, due_s, late_s, play, action, stream, position_s, heard_s_ago, begin_s, end_s = row
        if state != "waiting":
            return None
        over = self._over(play, action, stream)
        if over:
            return _Over(over) if begun else _Told("withdrawn", f"{over}: the stream was left alone")
        if end_s is None or end_s < max(begin_s, due_s) or position_s - end_s > _SOUNDS_S or heard_s_ago > _HEARD_S:
            if late_s > LATE_S:
                return _Told("withdrawn", f"for {LATE_S / 60:.0f} min nobody has heard whether it goes on: the stream was left alone")
            raise Postponed(f"nobody has heard yet whether the play goes on, behind {due_s:.0f} s of the stream and now", after_s=AGAIN_S)
        if not begun and self._begun(connection) >= self._settings.per_hour_max:
            return _Told("refused", f"{counted(self._settings.per_hour_max, 'stream')} stopped in an hour is as many as stop_stream.per_hour_max allows")
        if not begun:
            connection.execute("update action set begun_at = now() where hit_id = %s and kind = 'ivs_stop'", [item.key])
        return _Go(again=begun, played_s=end_s - begin_s)

    def _over(self, play: str, action: str, stream: str) -> str:
        """Why it is not to be stopped any more."""
        if play == "closed":
            return "the play had ended"
        if stream == "ended":
            return "the stream had ended"
        return "" if action in self._settings.on else f"the play is decided about otherwise by now ({action})"

    def _begun(self, connection: Connection) -> int:
        """How many were, or are about to be, stopped in this hour, by all workers; until this transaction ends nobody else counts."""
        connection.execute("select pg_advisory_xact_lock(%s)", [_COUNT_LOCK])
        return int(connection.execute(_COUNT).fetchall()[0][0])

    # -------------------------------------------------------------------------------------------- it is stopped

    def _stop(self, item: Outgoing, verdict: _Go | _Over) -> _Told:
        channel_arn = str(item.attributes["channel_arn"])
        try:
            if self._live_stream_id(channel_arn) != item.stream_id:
                return self._gone(verdict)
            if isinstance(verdict, _Over):
                return _Told("withdrawn", f"{verdict.why} before the stream could be stopped")
            keys = self._revoke(channel_arn) if self._settings.revoke_key else ""
            with asking("ivs:StopStream", channel_arn, absent="it was deleted meanwhile"):
                try:
                    self._ivs().stop_stream(channelArn=channel_arn)
                except ClientError as error:
                    if code(error) == "ChannelNotBroadcasting":
                        return self._gone(verdict)
                    raise
        except StreamNotFound:
            return _Told("failed", f"the channel {channel_arn} does not exist any more")
        except AwsRefused as error:
            return _Told("failed", str(error))
        return _Told("done", f"the stream was stopped when it had played for {verdict.played_s:.0f} s{keys}")

    @staticmethod
    def _gone(verdict: _Go | _Over) -> _Told:
        if isinstance(verdict, _Over) or verdict.again:
            return _Told("done", "the stream has stopped; whoever asked for that did not hear the answer")
        return _Told("withdrawn", "the stream was over before it was stopped")

    def _revoke(self, channel_arn: str) -> str:
        """First, or an encoder is back before its key is gone. The stream is stopped even if this is refused; what is told of it."""
        try:
            with asking("ivs:ListStreamKeys", channel_arn):
                keys = self._ivs().list_stream_keys(channelArn=channel_arn, maxResults=_KEYS_MAX)["streamKeys"]
            for key in keys:
                with asking("ivs:DeleteStreamKey", key["arn"]):
                    self._delete(key["arn"])
        except (AwsRefused, AwsUnavailable) as error:
            return f"; its key was not revoked: {error}"
        return f", and {counted(len(keys), 'key')} of the channel revoked: its broadcaster needs a new one" if keys else "; the channel had no key to revoke"

    def _delete(self, arn: str) -> None:
        try:
            self._ivs().delete_stream_key(arn=arn)
        except ClientError as error:
            if code(error) != "ResourceNotFoundException":  # another row's doing
                raise


_COUNT = """
select count(*) from action where kind = 'ivs_stop' and state in ('waiting', 'done') and begun_at > now() - interval '1 hour'"""
_LOOK = """
select a.state, a.begun_at is not null, coalesce(a.due_s, 0), extract(epoch from now() - a.due_at)::float8,
       p.state, p.body #>> '{policy,action}', s.state, coalesce((s.checkpoint->>'position_s')::float8, 0),
       coalesce(extract(epoch from now() - s.heard_at)::float8, 'infinity'), p.begin_s,
       (select (playing->>'end_s')::float8 from jsonb_array_elements(coalesce(s.checkpoint->'plays', '[]')) playing where playing->>'hit_id' = a.hit_id)
  from action a join play p using (hit_id) join stream s on s.stream_id = a.stream_id
 where a.hit_id = %(hit_id)s and a.kind = 'ivs_stop'"""
