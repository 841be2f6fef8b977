"""Streams that no event announces: wanted always, and cut into sessions so that something is finished every day.

Those of the settings, and those that somebody added (`control.registry`). A name is one stream's: where both have it, the
settings' is heard.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import structlog

from earmark.control import registry, traces, wanted
from earmark.control.messages import compact
from earmark.control.registry import Added
from earmark.model import SourceKind, Stream
from earmark.postgres import Connection, Pool, statement, transaction
from earmark.settings import StaticStream

DAY_S = 86_400.0
#: A session goes on where the one before it was cut, if that is no longer ago: the seconds between are a gap of its own.
CARRIED_ON_S = 600
#: A session that could not be listened to at all is tried again after this: an address may have been a maintenance page.
REFUSED_RETRY_S = 900


class StaticStreams:
    """Keeps a session of each of these streams wanted; any number of workers may do so at once."""

    def __init__(self, *, pool: Pool, streams: Sequence[StaticStream], max_s: float = DAY_S, retry_s: float) -> None:
        """`max_s`: `session.max_s`. `retry_s`: a session that ended because its origin was silent is tried again after it."""
        self._pool = pool
        self._streams = streams
        self._max_s = max_s
        self._retry_s = retry_s
        self._names = frozenset(stream.name for stream in streams)
        #: Of those that the settings have, too: it was said.
        self._told: set[str] = set()
        self._log = structlog.get_logger()

    def ensure(self, now: datetime) -> list[str]:
        """Open what is missing; returns the stream_ids of what was opened. Raises DatabaseUnavailable.

        The session of yesterday goes on until it is cut: a new one is opened only where none is on, and begins behind the
        last segment that yesterday's heard, so that nothing is heard twice at midnight, and nothing is left out.
        """
        opened: list[str] = []
        for static in self._streams:
            with transaction(self._pool) as connection:
                if not _is_on(connection, static.name):
                    opened += self._open(connection, static, static_session(static, now, self._max_s))
        with statement(self._pool) as connection:
            missing = registry.unheard(connection)
        for one in missing:
            if self._is_of_the_settings(one):
                continue
            with transaction(self._pool) as connection:
                if registry.still_wanted(connection, one) and not _is_on(connection, one.stream.name):
                    opened += self._open(connection, one.stream, self._session(connection, one, now))
        if opened:
            with statement(self._pool) as connection:
                all_named = traces.of(connection, opened)
            for named in all_named.values():
                self._log.info("stream.wanted", **named)
        return opened

    def _open(self, connection: Connection, static: StaticStream, stream: Stream) -> list[str]:
        position = _cut_position(connection, static)
        opened = wanted.open_stream(connection, stream, source_position=position) or _wake(connection, stream.stream_id, self._retry_s)
        return [stream.stream_id] if opened else []

    def _session(self, connection: Connection, one: Added, now: datetime) -> Stream:
        """Today's; but one that was stopped before the stream was added again is over, and another has its own name."""
        stream = static_session(one.stream, now, self._max_s)
        row = connection.execute("select 1 from stream where stream_id = %s and stop_at < %s", [stream.stream_id, one.added_at]).fetchone()
        if row is None:
            return stream
        mark = compact(one.added_at)
        return replace(stream, stream_id=f"{one.stream.name}-{mark}", session_id=mark)

    def _is_of_the_settings(self, one: Added) -> bool:
        name = one.stream.name
        if name in self._names and name not in self._told:
            self._told.add(name)
            self._log.warning("stream.named_twice", name=name, reason=named_twice(name))
        return name in self._names


def named_twice(name: str) -> str:
    return f"{name} is in streams.static of the settings and was added to the database, too: the settings' is heard; give one of them another name"


def _is_on(connection: Connection, name: str) -> bool:
    row = connection.execute(
        "select 1 from stream where source in ('hls', 'radio') and url is not null and channel_name = %s and state in ('wanted', 'running') limit 1", [name]
    ).fetchone()
    return row is not None


def _cut_position(connection: Connection, static: StaticStream) -> str:
    """Where the session before was cut; empty if there is none, or not of late."""
    row = connection.execute(
        """
        select coalesce(checkpoint->>'source_position', '') from stream
         where source = %s and url = %s and channel_name = %s and state = 'ended' and end_reason = 'cut' and ended_at > now() - make_interval(secs => %s)
         order by ended_at desc limit 1""",
        [source_of(static), static.url, static.name, CARRIED_ON_S],
    ).fetchone()
    return row[0] if row else ""


def _wake(connection: Connection, stream_id: str, retry_s: float) -> bool:
    """It ended only because its origin had nothing to say, or nothing that could be listened to."""
    row = connection.execute(
        """
        update stream set state = 'wanted', ended_at = null, end_reason = null, attempts = 0, failures = 0, not_before = now()
         where stream_id = %s and state = 'ended' and stop_at is null and end_reason in ('silent_origin', 'not_live', 'failed')
           and ended_at <= now() - make_interval(secs => case end_reason when 'failed' then greatest(%s, %s) else %s end)
        returning stream_id""",
        [stream_id, retry_s, REFUSED_RETRY_S, retry_s],
    ).fetchone()
    if row:
        wanted.notify(connection)
    return row is not None


def cut_at(stream: Stream, max_s: float = DAY_S) -> datetime | None:
    """When a session ends at the latest: the next multiple of `max_s` since midnight UTC, or midnight. IVS and files: None."""
    if stream.source not in ("hls", "radio", "medialive") or stream.started_at is None:
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
    return Stream(
        stream_id=f"{static.name}-{mark}",
        source=source_of(static),
        channel_name=static.name,
        session_id=mark,
        url=static.url,
        tags=static.tags,
        started_at=now,
    )


def source_of(static: StaticStream) -> SourceKind:
    """A playlist in a bucket is a playlist."""
    return "radio" if static.known_kind == "radio" else "hls"


def _midnight(at: datetime) -> datetime:
    return datetime.combine(at.astimezone(UTC).date(), time(), UTC)
