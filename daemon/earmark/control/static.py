"""Streams that no event announces: wanted always, and cut into sessions so that something is finished every day."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

from earmark.control import wanted
from earmark.model import Stream
from earmark.postgres import Connection, Pool, transaction
from earmark.settings import StaticStream

DAY_S = 86_400.0


class StaticStreams:
    """Keeps a session of each of these streams wanted; any number of workers may do so at once."""

    def __init__(self, *, pool: Pool, streams: Sequence[StaticStream], max_s: float = DAY_S, retry_s: float) -> None:
        """`max_s`: `session.max_s`. `retry_s`: a session that ended because its origin was silent is tried again after it."""
        self._pool = pool
        self._streams = streams
        self._max_s = max_s
        self._retry_s = retry_s

    def ensure(self, now: datetime) -> list[str]:
        """Open what is missing; returns the stream_ids of what was opened. Raises DatabaseUnavailable.

        The session of yesterday goes on until it is cut, so that nothing is heard twice at midnight: a new one is opened
        only where none is on.
        """
        opened: list[str] = []
        for static in self._streams:
            stream = static_session(static, now, self._max_s)
            with transaction(self._pool) as connection:
                if _is_on(connection, static.name):
                    continue
                if wanted.open_stream(connection, stream) or _wake(connection, stream.stream_id, self._retry_s):
                    opened.append(stream.stream_id)
        return opened


def _is_on(connection: Connection, name: str) -> bool:
    row = connection.execute(
        "select 1 from stream where source = 'hls' and url is not null and channel_name = %s and state in ('wanted', 'running') limit 1", [name]
    ).fetchone()
    return row is not None


def _wake(connection: Connection, stream_id: str, retry_s: float) -> bool:
    """It ended only because its origin had nothing to say."""
    row = connection.execute(
        """
        update stream set state = 'wanted', ended_at = null, end_reason = null, attempts = 0, failures = 0, not_before = now()
         where stream_id = %s and state = 'ended' and stop_at is null and end_reason in ('silent_origin', 'not_live')
           and ended_at <= now() - make_interval(secs => %s)
        returning stream_id""",
        [stream_id, retry_s],
    ).fetchone()
    if row:
        wanted.notify(connection)
    return row is not None


def cut_at(stream: Stream, max_s: float = DAY_S) -> datetime | None:
    """When a session ends at the latest: the next multiple of `max_s` since midnight UTC, or midnight. IVS and files: None."""
    if stream.source not in ("hls", "medialive") or stream.started_at is None:
        return None
    begin = period_begin(stream.started_at, max_s)
    return min(begin + timedelta(seconds=max_s), _midnight(begin) + timedelta(days=1))


def period_begin(at: datetime, max_s: float = DAY_S) -> datetime:
    """The last multiple of `max_s` since midnight UTC."""
    midnight = _midnight(at)
    return midnight + (at - midnight) // timedelta(seconds=max_s) * timedelta(seconds=max_s)


def static_session(static: StaticStream, now: datetime, max_s: float = DAY_S) -> Stream:
    """The session of a static stream that is on now: `radio-2026-11-21`, or, with several a day, `radio-20261121T060000Z`."""
    begin = period_begin(now, max_s)
    mark = f"{begin:%Y-%m-%d}" if begin.time() == time() else f"{begin:%Y%m%dT%H%M%SZ}"
    return Stream(stream_id=f"{static.name}-{mark}", source="hls", channel_name=static.name, session_id=mark, url=static.url, tags=static.tags, started_at=now)


def _midnight(at: datetime) -> datetime:
    return datetime.combine(at.astimezone(UTC).date(), time(), UTC)
