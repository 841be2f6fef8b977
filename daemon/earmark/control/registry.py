"""Streams that are always wanted because somebody added them: rows of the database, beside those of the settings.

A row that is stopped is kept, and may be added again. Whoever opens a session of an added stream holds its row meanwhile
(`still_wanted`), and whoever stops it changes that row first: no session is opened of a stream that was just stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from earmark.control import wanted
from earmark.errors import BadSettings, StreamNotFound
from earmark.hits.text import one_line
from earmark.postgres import Connection
from earmark.settings import StaticStream


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    stream: StaticStream
    added_at: datetime
    stopped_at: datetime | None = None


def added(connection: Connection) -> list[Added]:
    """All of them, those that were stopped too, by name. Raises DatabaseUnavailable."""
    # What a newer version may add besides is left to it.
    return _read(connection.execute("select name, url, kind, tags, added_at, stopped_at from added_stream where kind in ('hls', 'radio', 's3') order by name"))


def unheard(connection: Connection) -> list[Added]:
    """Those that are wanted and of which no session is on. Raises DatabaseUnavailable."""
    rows = connection.execute(
        """
        select name, url, kind, tags, added_at, stopped_at from added_stream
         where stopped_at is null and kind in ('hls', 'radio', 's3') and not exists (
               select from stream where channel_name = added_stream.name and state in ('wanted', 'running') and source in ('hls', 'radio'))
         order by added_at, name"""
    )
    return _read(rows)


def still_wanted(connection: Connection, one: Added) -> bool:
    """Nobody has stopped it, and nobody can before this transaction ends."""
    row = connection.execute("select 1 from added_stream where name = %s and added_at = %s and stopped_at is null for share", [one.stream.name, one.added_at])
    return row.fetchone() is not None


def add(connection: Connection, stream: StaticStream) -> bool:
    """False: it was there already, just so. Raises BadSettings when another stream has the name."""
    columns = {"name": stream.name, "url": stream.url, "kind": stream.known_kind, "tags": Jsonb(stream.tags)}
    new = connection.execute(
        "insert into added_stream (name, url, kind, tags) values (%(name)s, %(url)s, %(kind)s, %(tags)s) on conflict do nothing", columns
    ).rowcount
    if not new:
        # Behind whoever adds or stops it at this moment.
        (there,) = _read(connection.execute("select name, url, kind, tags, added_at, stopped_at from added_stream where name = %(name)s for update", columns))
        if there.stopped_at is None:
            if (there.stream.url, there.stream.known_kind, there.stream.tags) == (stream.url, stream.known_kind, stream.tags):
                return False
            raise BadSettings(
                f"{stream.name} is added already, with another address, kind or tags: `earmark streams stop {stream.name}` first, or choose another name"
            )
        connection.execute(
            """
            update added_stream set url = %(url)s, kind = %(kind)s, tags = %(tags)s, added_at = clock_timestamp(), stopped_at = null
             where name = %(name)s""",
            columns,
        )
    wanted.notify(connection)
    return True


def stop(connection: Connection, name: str, *, sessions: bool = True) -> list[str] | None:
    """It is not wanted any more; the sessions that end by it. None: nothing was ever added under this name.

    `sessions`: those of that name are its own, and not those of a stream of the settings.
    """
    known = connection.execute("update added_stream set stopped_at = coalesce(stopped_at, clock_timestamp()) where name = %s", [name]).rowcount
    return (_end(connection, name=name) if sessions else []) if known else None


def stop_session(connection: Connection, stream_id: str) -> bool:
    """A session, of whatever source, ends; False: it has ended, or was stopped before. Raises StreamNotFound when there is none."""
    if connection.execute("select 1 from stream where stream_id = %s", [stream_id]).fetchone() is None:
        raise StreamNotFound(f"neither a stream that was added nor a session is called {one_line(stream_id)!r}: `earmark streams list` shows what there is")
    return bool(_end(connection, stream_id=stream_id))


def name_of(connection: Connection, stream_id: str) -> str:
    """What a session is of, if that is a stream that is always wanted; else empty."""
    row = connection.execute("select channel_name from stream where stream_id = %s and source in ('hls', 'radio')", [stream_id]).fetchone()
    return row[0] if row else ""


def _end(connection: Connection, *, name: str | None = None, stream_id: str | None = None) -> list[str]:
    """As an end that was announced: what is still to be had is heard, and the session is finished."""
    rows = connection.execute(
        """
        update stream set stop_at = clock_timestamp(), stop_reason = 'stopped'
         where (stream_id = %(stream_id)s or (channel_name = %(name)s and source in ('hls', 'radio'))) and state <> 'ended' and stop_at is null
        returning stream_id""",
        {"name": name, "stream_id": stream_id},
    ).fetchall()
    for (ended,) in rows:
        wanted.notify(connection, ended)
    return [ended for (ended,) in rows]


def _read(rows: Any) -> list[Added]:
    found: Sequence[tuple[Any, ...]] = rows.fetchall()
    return [
        Added(stream=StaticStream(name=name, url=url, kind=kind, tags=tags), added_at=added_at, stopped_at=stopped_at)
        for name, url, kind, tags, added_at, stopped_at in found
    ]
