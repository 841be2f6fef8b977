"""What IVS records, on record: where it lies, of which streams it is, and which sessions are to hear it afterwards.

Events of recordings may be missing, repeated, hours late and out of order, as all of IVS's are, and may come before or
after those of their stream: what is known is a row for each recording, and what follows from it is worked out anew each
time something changes.

A session that hears a recording afterwards is a stream's row like any other, in the background: its leases, back-off,
fencing and hand-over are those of live streams, behind which it waits. With a *parent* it hears only what its parent's
session did not, and what it finds is filed under the parent; without, all of the recording, under its own name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

from earmark.control import traces
from earmark.control.messages import RecordingChanged, compact
from earmark.control.reconcile import take_turn
from earmark.control.wanted import Effect, notify
from earmark.model import Checkpoint, ClockSource, Gap, Stream
from earmark.postgres import Connection, Pool, transaction
from earmark.settings import Reconcile as ReconcileSettings

#: Ends of recordings are looked at so long after they were told: their streams have ended by then, or are still on.
LOOKED_AT_DAYS = 3
_GAPS = TypeAdapter(tuple[Gap, ...])


@dataclass(frozen=True, kw_only=True)
class Told:
    """A recording, as far as its events say."""

    #: s3://bucket/prefix
    place: str
    started_at: datetime | None
    ended: bool


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A session that has ended, and what it did not hear."""

    stream: Stream
    #: Nobody hears it (again) now.
    ended: bool
    gaps: tuple[Gap, ...]
    #: Wall clock of its stream time `position_s`, and where that comes from.
    position_s: float
    clock: datetime | None
    clock_source: ClockSource


# ------------------------------------------------------------------------------------------------ what events say


def record(connection: Connection, message: RecordingChanged, *, fill_gaps: bool) -> Effect:
    """`fill_gaps`: what was missed of its streams is heard from it, once it has ended, and they have."""
    ended_at = message.at if message.status == "ended" else None
    began = message.at if ended_at is None else ended_at - timedelta(seconds=message.duration_s) if message.duration_s else None
    changed = connection.execute(
        """
        insert into recording (place, channel_arn, stream_ids, started_at, ended_at) values (%(place)s, %(channel_arn)s, %(ids)s, %(began)s, %(ended_at)s)
        on conflict (place) do update
           set stream_ids = array(select distinct unnest(recording.stream_ids || excluded.stream_ids) order by 1), told_at = now(),
               started_at = least(recording.started_at, excluded.started_at), ended_at = coalesce(recording.ended_at, excluded.ended_at)
         where recording.channel_arn = excluded.channel_arn
           and (not recording.stream_ids @> excluded.stream_ids or recording.ended_at is null and excluded.ended_at is not null
                or recording.started_at is null and excluded.started_at is not null)
        returning 1""",
        {"place": message.place, "channel_arn": message.channel_arn, "ids": list(message.stream_ids), "began": began, "ended_at": ended_at},
    ).fetchone()
    if changed is None:
        return "repeat"
    for stream_id in message.stream_ids:
        notify(connection, stream_id)
    if ended_at and fill_gaps:
        open_fills(connection)
    return "recorded"


def told(connection: Connection, stream_id: str) -> Told | None:
    """The newest recording of a stream."""
    row = connection.execute(
        "select place, started_at, ended_at is not null from recording where stream_ids @> array[%s] order by started_at desc nulls last, place limit 1",
        [stream_id],
    ).fetchone()
    return Told(place=row[0], started_at=row[1], ended=row[2]) if row else None


def ended(connection: Connection, place: str) -> bool:
    row = connection.execute("select ended_at is not null from recording where place = %s", [place]).fetchone()
    return bool(row and row[0])


# ------------------------------------------------------------------------------------------------ sessions of recordings


def hear_instead(connection: Connection, stream: Stream, *, fencing: int) -> bool:
    """From now on the stream is one that is heard from its recording, whose place is its address; False: it is another worker's."""
    changed = connection.execute(
        "update stream set source = %s, url = %s where stream_id = %s and fencing = %s and owner is not null",
        [stream.source, stream.url, stream.stream_id, fencing],
    )
    return changed.rowcount == 1


def open_fills(connection: Connection, *, places: Sequence[str] | None = None) -> list[str]:
    """Open a session for the gaps of each stream that has ended, and whose recording has; returns their ids.

    `places`: of these recordings, however old; None: of all that were told of lately. One that was heard is opened again
    only if its parent was, after it. One that was given up is, when its place is named.
    """
    opened = [
        stream_id
        for (stream_id,) in connection.execute(
            _OPEN_FILLS, {"places": None if places is None else list(places), "days": LOOKED_AT_DAYS, "again": places is not None}
        )
    ]
    if opened:
        notify(connection)
    return opened


def open_whole(connection: Connection, stream: Stream) -> bool:
    """A recording of a stream that is not on record is to be heard, all of it; False: it is, or was."""
    opened = connection.execute(
        """
        insert into stream (stream_id, source, channel_arn, channel_name, session_id, url, tags, started_at, stop_at, stop_reason, background)
        values (%s, 'recording', %s, %s, %s, %s, %s, %s, now(), 'recording_end', true)
        on conflict (stream_id) do update set state = 'wanted', ended_at = null, end_reason = null, attempts = 0, failures = 0, not_before = now()
         where stream.background and stream.state = 'ended' and stream.end_reason = 'failed'
        returning 1""",
        [stream.stream_id, stream.channel_arn, stream.channel_name, stream.session_id, stream.url, Jsonb(dict(stream.tags)), stream.started_at],
    ).fetchone()
    if opened:
        notify(connection)
    return opened is not None


def parent_of(connection: Connection, stream_id: str) -> Parent | None:
    """Whose gaps a session hears; None if it is none of that kind."""
    row = connection.execute(
        """
        select p.stream_id, p.channel_arn, p.channel_name, p.session_id, p.tags, p.started_at, coalesce(p.trace_id, f.trace_id), p.state = 'ended',
               f.unheard::text, p.checkpoint::text
          from stream f join stream p on p.stream_id = f.parent where f.stream_id = %s""",
        [stream_id],
    ).fetchone()
    if row is None:
        return None
    parent_id, channel_arn, channel_name, session_id, tags, started_at, trace_id, has_ended, unheard, kept = row
    checkpoint = Checkpoint.from_json(kept) if kept else Checkpoint()
    return Parent(
        # What is found so is not found in the stream as it was played.
        stream=Stream(
            stream_id=parent_id,
            source="recording",
            channel_arn=channel_arn,
            channel_name=channel_name,
            session_id=session_id,
            tags=tags,
            started_at=started_at,
            trace_id=trace_id,
        ),
        ended=has_ended,
        gaps=_GAPS.validate_json(unheard) if unheard else (),
        position_s=checkpoint.position_s,
        clock=checkpoint.clock,
        clock_source=checkpoint.clock_source,
    )


def filled_in(connection: Connection, stream_id: str) -> tuple[Gap, ...]:
    """What of a stream was looked for in its recordings, because its own session did not hear it."""
    rows = connection.execute("select unheard::text from stream where parent = %s and unheard is not null order by stream_id", [stream_id]).fetchall()
    return tuple(gap for (unheard,) in rows for gap in _GAPS.validate_json(unheard))


def is_background(connection: Connection, stream_id: str) -> bool:
    row = connection.execute("select background from stream where stream_id = %s", [stream_id]).fetchone()
    return bool(row and row[0])


class FillSweep:
    """Recordings that ended before their streams' sessions did, or whose stream had not been heard of: looked at once per interval."""

    def __init__(self, *, pool: Pool, settings: ReconcileSettings) -> None:
        self._pool = pool
        self._settings = settings

    def sweep(self) -> list[str] | None:
        """What was opened; None if it is another worker's turn. Raises DatabaseUnavailable."""
        with transaction(self._pool) as connection:
            if not take_turn(connection, "recordings", self._settings.every_s):
                return None
            opened = open_fills(connection)
            all_named = traces.of(connection, opened)
        for named in all_named.values():
            structlog.get_logger().info("recording.gaps_wanted", **named)
        return opened


def archived_id(channel_id: str, started_at: datetime | None, recording_id: str) -> str:
    """What a session of a whole recording is called: IVS's files do not say of which stream they are."""
    return "-".join(filter(None, [channel_id, compact(started_at) if started_at else "", recording_id]))


#: A gap is placed in the recording by the wall clock: without one it cannot be.
_OPEN_FILLS = """
insert into stream as fill (stream_id, source, channel_arn, channel_name, session_id, url, tags, started_at, stop_at, stop_reason, background, parent, unheard,
                            trace_id)
select distinct on (1) s.stream_id || '.' || regexp_replace(r.place, '^.*/', ''), 'recording', s.channel_arn, s.channel_name, s.session_id, r.place, s.tags,
       s.started_at, coalesce(s.stop_at, s.ended_at), coalesce(s.stop_reason, 'stream_end'), true, s.stream_id, s.checkpoint->'gaps',
       s.trace_id
  from recording r join stream s on s.stream_id = any(r.stream_ids) and s.channel_arn = r.channel_arn
 where r.ended_at is not null and (r.place = any(%(places)s) or %(places)s::text[] is null and r.told_at > now() - make_interval(days => %(days)s))
   and s.state = 'ended' and not s.background and jsonb_array_length(coalesce(s.checkpoint->'gaps', '[]')) > 0 and s.checkpoint->>'clock' is not null
 order by 1
on conflict (stream_id) do update
   set state = 'wanted', owner = null, lease_until = null, checkpoint = null, unheard = excluded.unheard, ended_at = null, end_reason = null,
       attempts = 0, failures = 0, not_before = now()
 where fill.state = 'ended' and (fill.ended_at < (select p.ended_at from stream p where p.stream_id = fill.parent)
                                 or %(again)s and fill.end_reason = 'failed')
returning stream_id"""
