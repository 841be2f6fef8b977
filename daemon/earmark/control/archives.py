"""Whole archives of recordings: which there are, which of them somebody has heard already, and what there is left to hear."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from earmark.control import recordings
from earmark.model import Stream
from earmark.postgres import Connection

#: What there is to do with a recording. A closed list.
Plan: TypeAlias = Literal[
    "whole",  # of a stream that is not on record: all of it is heard
    "gaps",  # its stream is on record, and did not hear all of it
    "heard",  # nothing: its stream heard all of it, or this was done before
    "waits",  # nothing now: it is being heard, or waits for its turn
    "live",  # nothing now: its stream is still on
    "empty",  # nothing: it says that it is over, and how long it lasted, and that is nothing
]
#: The clocks of a stream's start and of its recording's differ by less.
TOGETHER = timedelta(minutes=2)


class Said(Protocol):
    """`audio.recording.About`."""

    @property
    def started_at(self) -> datetime | None: ...
    @property
    def ended_at(self) -> datetime | None: ...
    @property
    def over(self) -> bool: ...
    @property
    def duration_s(self) -> float | None: ...
    @property
    def channel_arn(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Shelved:
    """A recording in a bucket, as its documents have it."""

    #: s3://bucket/prefix
    place: str
    channel_arn: str
    started_at: datetime | None
    ended_at: datetime | None
    duration_s: float


@dataclass(frozen=True, kw_only=True)
class Planned:
    recording: Shelved
    plan: Plan
    #: Sessions that will hear it, or have: of a stream not on record its own, of others one for each.
    stream_ids: tuple[str, ...]
    #: Seconds left to be heard.
    hear_s: float


def shelved(place: str, said: Said) -> Shelved:
    lasted_s = (said.ended_at - said.started_at).total_seconds() if said.started_at and said.ended_at else 0.0
    return Shelved(
        place=place,
        channel_arn=said.channel_arn,
        started_at=said.started_at,
        ended_at=said.ended_at if said.over else None,
        duration_s=lasted_s if said.duration_s is None else said.duration_s,
    )


def plan(connection: Connection, recording: Shelved) -> Planned:
    """What is to be done with a recording. Changes nothing.

    Which streams it is of, the events of recordings say; without them those that were on its channel at its time.
    """
    if recording.ended_at is None and recording.duration_s == 0:
        return Planned(recording=recording, plan="live", stream_ids=(), hear_s=0)
    parents = _parents(connection, recording)
    if not parents:
        return _plan_whole(connection, recording)
    name = recording.place.rpartition("/")[2]
    fills = tuple(f"{parent.stream_id}.{name}" for parent in parents if parent.gaps_s > 0)
    if not all(parent.ended for parent in parents):
        return Planned(recording=recording, plan="live", stream_ids=tuple(parent.stream_id for parent in parents), hear_s=0)
    if not fills:
        return Planned(recording=recording, plan="heard", stream_ids=tuple(parent.stream_id for parent in parents), hear_s=0)
    rows = connection.execute(
        "select stream_id, case when state = 'ended' and end_reason = 'failed' then 'failed' else state end from stream where stream_id = any(%s)",
        [list(fills)],
    )
    states: dict[str, str] = dict(rows.fetchall())
    if all(states.get(fill) == "ended" for fill in fills):
        return Planned(recording=recording, plan="heard", stream_ids=fills, hear_s=0)
    what: Plan = "waits" if all(states.get(fill) in ("wanted", "running", "quarantined", "ended") for fill in fills) else "gaps"
    left_s = sum(min(parent.gaps_s, recording.duration_s or parent.gaps_s) for parent in parents if states.get(f"{parent.stream_id}.{name}") != "ended")
    return Planned(recording=recording, plan=what, stream_ids=fills, hear_s=left_s)


def _plan_whole(connection: Connection, recording: Shelved) -> Planned:
    stream_id = session_of(recording).stream_id
    row = connection.execute("select state, coalesce(end_reason, '') from stream where stream_id = %s", [stream_id]).fetchone()
    state, end_reason = row or ("", "")
    what: Plan = "whole" if not state or (state == "ended" and end_reason == "failed") else "heard" if state == "ended" else "waits"
    if what == "whole" and recording.duration_s <= 0:
        what = "empty"
    return Planned(recording=recording, plan=what, stream_ids=(stream_id,), hear_s=0 if what in ("heard", "empty") else recording.duration_s)


def open_planned(connection: Connection, planned: Planned) -> list[str]:
    """Have it heard; the sessions that were opened for it, none if somebody else was quicker."""
    recording = planned.recording
    if planned.plan == "whole":
        stream = session_of(recording)
        return [stream.stream_id] if recordings.open_whole(connection, stream) else []
    if planned.plan != "gaps":
        return []
    parents = [stream_id.rpartition(".")[0] for stream_id in planned.stream_ids]
    connection.execute(
        """
        insert into recording (place, channel_arn, stream_ids, started_at, ended_at) values (%s, %s, %s, %s, coalesce(%s, now()))
        on conflict (place) do update
           set stream_ids = array(select distinct unnest(recording.stream_ids || excluded.stream_ids) order by 1),
               ended_at = coalesce(recording.ended_at, excluded.ended_at)""",
        [recording.place, recording.channel_arn, parents, recording.started_at, recording.ended_at],
    )
    return recordings.open_fills(connection, places=[recording.place])


def session_of(recording: Shelved) -> Stream:
    """What hears a whole recording of a stream that nobody knows."""
    name, channel_id = recording.place.rpartition("/")[2], recording.channel_arn.rpartition("/")[2] or "recording"
    stream_id = recordings.archived_id(channel_id, recording.started_at, name)
    return Stream(
        stream_id=stream_id,
        source="recording",
        channel_arn=recording.channel_arn or None,
        session_id=name,
        url=recording.place,
        started_at=recording.started_at,
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far sessions are."""

    done: int
    of: int
    heard_s: float
    failed: int


def progress(connection: Connection, stream_ids: Sequence[str]) -> Progress:
    row = connection.execute(
        """
        select count(*) filter (where state in ('ended', 'quarantined')), count(*), coalesce(sum((checkpoint->>'heard_s')::float8), 0),
               count(*) filter (where state = 'quarantined' or end_reason = 'failed')
          from stream where stream_id = any(%s)""",
        [list(stream_ids)],
    ).fetchone()
    return Progress(*row) if row else Progress(0, 0, 0.0, 0)


def failures(connection: Connection, stream_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Sessions that failed, and why."""
    yield from connection.execute(
        "select stream_id, last_error from stream where stream_id = any(%s) and (state = 'quarantined' or end_reason = 'failed') order by 1", [list(stream_ids)]
    ).fetchall()


def listeners(connection: Connection) -> int:
    """Workers that have renewed a lease lately, or that wait for one: without any nothing is heard."""
    row = connection.execute("select count(*) from pg_stat_activity where datname = current_database() and application_name like 'earmark %'").fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class _Parent:
    stream_id: str
    ended: bool
    gaps_s: float


def _parents(connection: Connection, recording: Shelved) -> list[_Parent]:
    """Sessions of the recording's streams that have heard anything, or hear now."""
    rows = connection.execute(
        """
        select stream_id, state = 'ended',
               coalesce((select sum((gap->>'end_s')::float8 - (gap->>'begin_s')::float8) from jsonb_array_elements(checkpoint->'gaps') gap), 0)
          from stream
         where not background and source in ('ivs', 'recording') and wanted_at is not null and (state <> 'ended' or (checkpoint->>'position_s')::float8 > 0)
           and (stream_id = any(select unnest(stream_ids) from recording where place = %(place)s)
                or channel_arn = %(channel_arn)s and started_at between %(began)s::timestamptz - %(together)s and %(ended)s::timestamptz)
         order by started_at""",
        {
            "place": recording.place,
            "channel_arn": recording.channel_arn,
            "began": recording.started_at,
            "ended": recording.ended_at or recording.started_at,
            "together": TOGETHER,
        },
    )
    return [_Parent(*row) for row in rows.fetchall()]
