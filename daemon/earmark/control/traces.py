"""What lines about streams say when no session writes them: each with its stream's id and trace, as a session's lines have it."""

from collections.abc import Iterable, Mapping

from earmark.control.messages import Message, StartStream, StopStream
from earmark.postgres import Connection


def of(connection: Connection, stream_ids: Iterable[str]) -> dict[str, Mapping[str, str]]:
    """As `Stream.in_logs`, by stream_id, in their order; without those that are not on record. Raises DatabaseUnavailable."""
    ids = list(stream_ids)
    rows = connection.execute("select stream_id, trace_id from stream where stream_id = any(%s)", [ids]).fetchall() if ids else []
    traces: dict[str, str | None] = dict(rows)
    return {stream_id: _in_logs(stream_id, traces[stream_id]) for stream_id in ids if stream_id in traces}


def told_of(connection: Connection, message: Message) -> list[Mapping[str, str]]:
    """The streams that a message has begun or ended, in the transaction that put it on record; of a MediaLive channel's stop, all its runs."""
    match message:
        case StartStream(stream=stream):
            return list(of(connection, [stream.stream_id]).values())
        case StopStream(stream_id=str(stream_id)):
            return list(of(connection, [stream_id]).values())
        case StopStream():
            return _runs(connection, message)
    return []


def _runs(connection: Connection, message: StopStream) -> list[Mapping[str, str]]:
    rows = connection.execute(
        "select stream_id, trace_id from stream where channel_arn = %s and source = 'medialive' and stop_at = %s order by stream_id",
        [message.channel_arn, message.at],
    )
    return [_in_logs(stream_id, trace_id) for stream_id, trace_id in rows]


def _in_logs(stream_id: str, trace_id: str | None) -> Mapping[str, str]:
    return {"stream_id": stream_id, "trace_id": trace_id or ""}
