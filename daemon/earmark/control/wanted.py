"""What is wanted, on record: the rows that messages, sweeps and settings write and that leases are claimed from.

SQS hands a message to any worker, so nothing is remembered in a process: start and stop are columns of the stream's row,
a segment is a row of the inbox. Every function runs in the caller's transaction, and doing it twice changes nothing.

NOTIFY on CHANNEL tells who listens: the payload is the stream that has news, or empty when one waits for an owner.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal, NamedTuple, TypeAlias

from psycopg.types.json import Jsonb

from earmark.control import checks
from earmark.control.catalogue_objects import heard
from earmark.control.messages import LISTED, ObjectArrived, ObjectRemoved, StartStream, StopStream, archive_counter, compact
from earmark.control.places import Places
from earmark.model import Stream
from earmark.postgres import Connection

CHANNEL = "earmark_control"
#: A value of `medialive.archives`: the folder below the prefix is the stream's name.
FOLDER = "*"

#: What a message changed. A closed list: it is a metric label.
Effect: TypeAlias = Literal[
    "opened",  # a stream is wanted that was not, or a file is to be checked
    "stopped",  # a stream's end was not known before
    "delivered",  # a segment lies in its stream's inbox
    "homeless",  # a segment of a run that nobody has announced (yet)
    "recorded",  # IVS records a stream, or has: that was not known
    "stock",  # there is news of an object of the catalogue
    "foreign",  # an object that concerns nobody: no archive segment, in no place of the settings
    "repeat",  # nothing
]


def record(connection: Connection, message: StartStream | StopStream | ObjectArrived | ObjectRemoved, *, places: Places) -> Effect:
    match message:
        case StartStream():
            return start(connection, message)
        case StopStream():
            return stop(connection, message)
        case ObjectArrived() if places.of(message.bucket, message.key) == "archive":
            return segment(connection, message, archives=places.archives)
        case ObjectArrived() | ObjectRemoved() if places.of(message.bucket, message.key) == "catalogue":
            return heard(connection, message, place=places.catalogue)
        case ObjectArrived() if places.of(message.bucket, message.key) == "check":
            return checks.arrived(connection, message, notify=notify)
        case ObjectArrived() | ObjectRemoved():
            return "foreign"


def notify(connection: Connection, stream_id: str = "") -> None:
    connection.execute("select pg_notify(%s, %s)", [CHANNEL, stream_id])


def start(connection: Connection, message: StartStream) -> Effect:
    """The stream is wanted. A row that has ended stays ended: the event is a repeat, or late."""
    stopped_at = None
    if message.stream.source == "medialive":
        heard = _lock_channel(connection, message.stream.channel_arn)
        connection.execute(
            "update medialive_channel set running_at = greatest(running_at, %s) where channel_arn = %s", [message.at, message.stream.channel_arn]
        )
        if _same_run(connection, message, heard.stopped_at):
            return "repeat"
        stopped_at = heard.stopped_at if heard.stopped_at >= message.at else None
    if not open_stream(connection, replace(message.stream, trace_id=message.event_id), stopped_at=stopped_at):
        return "repeat"
    if message.stream.url:
        collect(connection)
    return "opened"


def open_stream(connection: Connection, stream: Stream, *, stopped_at: datetime | None = None, source_position: str = "") -> bool:
    """False if it was wanted before. `source_position`: where another session of the same source stopped, and this one goes on.

    A stream without a `trace_id` gets one; one whose end was heard of before its start keeps that event's.
    """
    opened = connection.execute(
        """
        insert into stream (stream_id, source, channel_arn, channel_name, session_id, url, spare_url, tags, started_at, wanted_at,
                            stop_at, stop_reason, checkpoint, trace_id)
        values (%(stream_id)s, %(source)s, %(channel_arn)s, %(channel_name)s, %(session_id)s, %(url)s, %(spare_url)s, %(tags)s, %(started_at)s, now(),
                %(stop_at)s, %(stop_reason)s, %(checkpoint)s, coalesce(nullif(%(trace_id)s, ''), gen_random_uuid()::text))
        on conflict (stream_id) do update
           set wanted_at = now(), started_at = excluded.started_at, channel_name = excluded.channel_name, not_before = now()
         where stream.wanted_at is null
        returning stream_id""",
        {
            "stream_id": stream.stream_id,
            "source": stream.source,
            "channel_arn": stream.channel_arn,
            "channel_name": stream.channel_name,
            "session_id": stream.session_id,
            "url": stream.url,
            "spare_url": stream.spare_url,
            "tags": Jsonb(dict(stream.tags)),
            "started_at": stream.started_at,
            "stop_at": stopped_at,
            "stop_reason": "channel_stopped" if stopped_at else None,
            "checkpoint": Jsonb({"source_position": source_position}) if source_position else None,
            "trace_id": stream.trace_id,
        },
    ).fetchone()
    if opened:
        notify(connection)
    return opened is not None


def stop(connection: Connection, message: StopStream) -> Effect:
    """The end is known. Of an IVS stream it is kept even if its start was never heard: that may still come."""
    if message.stream_id is None:
        return _stop_channel(connection, message)
    stopped = connection.execute(
        """
        insert into stream (stream_id, source, channel_arn, stop_at, stop_reason, trace_id)
        values (%(stream_id)s, 'ivs', %(channel_arn)s, %(at)s, %(reason)s, coalesce(nullif(%(event_id)s, ''), gen_random_uuid()::text))
        on conflict (stream_id) do update set stop_at = excluded.stop_at, stop_reason = excluded.stop_reason where stream.stop_at is null
        returning stream_id""",
        {"stream_id": message.stream_id, "channel_arn": message.channel_arn, "at": message.at, "reason": message.reason, "event_id": message.event_id},
    ).fetchone()
    if stopped:
        notify(connection, message.stream_id)
    return "stopped" if stopped else "repeat"


def _stop_channel(connection: Connection, message: StopStream) -> Effect:
    """Every run of the channel that began by then is over; a run that began later is another one."""
    heard = _lock_channel(connection, message.channel_arn)
    connection.execute("update medialive_channel set stopped_at = greatest(stopped_at, %s) where channel_arn = %s", [message.at, message.channel_arn])
    stopped = connection.execute(
        """
        update stream set stop_at = %(at)s, stop_reason = %(reason)s
         where channel_arn = %(channel_arn)s and source = 'medialive' and stop_at is null and started_at <= %(at)s
        returning stream_id, ended_at is null""",
        {"channel_arn": message.channel_arn, "at": message.at, "reason": message.reason},
    ).fetchall()
    for stream_id, on in stopped:
        notify(connection, stream_id)
        if on and heard.running_at > message.at:  # what we took for a recovery was the next run
            succeed(connection, stream_id, heard.running_at)
    return "stopped" if stopped or heard.stopped_at < message.at else "repeat"


class _Heard(NamedTuple):
    running_at: datetime
    stopped_at: datetime


def _lock_channel(connection: Connection, channel_arn: str | None) -> _Heard:
    """What was last heard of the channel; holds its row until the transaction ends, so that its events take turns."""
    rows = connection.execute(
        """
        insert into medialive_channel (channel_arn) values (%s)
        on conflict (channel_arn) do update set channel_arn = excluded.channel_arn
        returning running_at, stopped_at""",
        [channel_arn],
    )
    return _Heard(*next(iter(rows)))


def _same_run(connection: Connection, message: StartStream, stopped_at: datetime) -> bool:
    """RUNNING comes again after every recovery, and in any order: it begins another run only after a stop.

    A run that a sweep adopted began before it was seen: its own announcement may come at any time, after its end too.
    """
    known = connection.execute(
        """
        select 1 from stream
         where channel_arn = %(channel_arn)s and source = 'medialive'
           and case when started_at <= %(at)s then coalesce(stop_at, ended_at, 'infinity') >= %(at)s
                    else (state <> 'ended' or adopted) and not (%(stopped_at)s >= %(at)s and %(stopped_at)s < started_at)
                         and not exists (select from stream earlier where earlier.channel_arn = stream.channel_arn
                                            and earlier.stop_at >= %(at)s and earlier.stop_at < stream.started_at) end
         limit 1""",
        {"channel_arn": message.stream.channel_arn, "at": message.at, "stopped_at": stopped_at},
    ).fetchone()
    return known is not None


def segment(connection: Connection, message: ObjectArrived, *, archives: Mapping[str, str]) -> Effect:
    """An archive file goes to the inbox of its run: an announced one, one that goes on, or one of a known folder."""
    named = archive_counter(message.key)
    if named is None:
        return "foreign"
    # The event of a file, and the sweep that misses it, take turns.
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 1))", [_address(message)])
    known = connection.execute(
        """
        select 1 from inbox
         where (bucket, key) = (%s, %s) and ((version, sequencer) = (%s, %s) or (starts_with(sequencer, %s) and arrived_at >= %s))
         limit 1""",
        [message.bucket, message.key, message.version, message.sequencer, LISTED, message.at],
    ).fetchone()
    if known:
        return "repeat"
    base, counter = named
    home = _announced(connection, message)
    if home is None:
        # Two files of one run, met by two workers, open it once.
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"s3://{message.bucket}/{base}"])
        home = _announced(connection, message) or _continued(connection, message) or _of_folder(connection, message, base, archives)
    stream_id, spare = home or (None, False)
    inserted = connection.execute(
        """
        insert into inbox (stream_id, spare_of, bucket, key, version, sequencer, size, counter, made_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        on conflict do nothing returning 1""",
        [
            *((None, stream_id) if spare else (stream_id, None)),
            *(message.bucket, message.key, message.version, message.sequencer, message.size, counter, message.at),
        ],
    ).fetchone()
    if inserted is None:
        return "repeat"
    if stream_id is None:
        return "homeless"
    notify(connection, stream_id)
    return "delivered"


class _Home(NamedTuple):
    """The run that a file is of, and whether its other pipeline wrote it."""

    stream_id: str
    spare: bool


#: Runs by both their places, as far as an address begins with one.
_PLACES = """
  select stream_id, channel_arn, state, started_at, stop_at, end_reason, url as place, false as spare
    from stream where url = any(%(beginnings)s) and source = 'medialive'
  union all
  select stream_id, channel_arn, state, started_at, stop_at, end_reason, spare_url, true
    from stream where spare_url = any(%(beginnings)s) and source = 'medialive'"""

#: A file that was made before a run began, in the time of one that is over, is that one's, and late.
_ANNOUNCED = f"""
with places as materialized ({_PLACES})
select stream_id, spare from places
 where state <> 'ended'
   and not (started_at > %(at)s + interval '5 s'
            and exists (select from places earlier where earlier.state = 'ended' and earlier.started_at <= %(at)s and earlier.stop_at < places.started_at))
 order by length(place) desc, started_at <= %(at)s + interval '5 s' desc, state = 'quarantined', started_at desc limit 1"""  # noqa: S608 -- no input in it

_CONTINUED = f"""
with places as materialized ({_PLACES})
select stream_id, spare from places
 where state = 'ended' and stop_at is null and end_reason = 'silent_origin'
 order by length(place) desc, started_at desc limit 1"""  # noqa: S608


def _home(connection: Connection, query: str, message: ObjectArrived) -> _Home | None:
    row = connection.execute(query.encode(), {"beginnings": _beginnings(_address(message)), "at": message.at}).fetchone()
    return _Home(*row) if row else None


def _announced(connection: Connection, message: ObjectArrived) -> _Home | None:
    """The run with the longest place that the object's address begins with; of several the newest that had begun by then."""
    return _home(connection, _ANNOUNCED, message)


def _continued(connection: Connection, message: ObjectArrived) -> _Home | None:
    """A run that we took for over (nothing came for long) and whose channel was never heard to stop: it goes on."""
    ended = _home(connection, _CONTINUED, message)
    return ended._replace(stream_id=succeed(connection, ended.stream_id, message.at)) if ended else None


def _of_folder(connection: Connection, message: ObjectArrived, base: str, archives: Mapping[str, str]) -> _Home | None:
    """A run in a folder of `medialive.archives`: opened by its first file.

    Two folders of one name are those of a channel's two pipelines.
    """
    address = _address(message)
    prefix = max((prefix for prefix in archives if address.startswith(prefix)), key=len, default=None)
    if prefix is None:
        return None
    run = base.rpartition("/")[2]
    name = archives[prefix]
    url, spare_url = f"s3://{message.bucket}/{base}", None
    if name == FOLDER:
        folder, below, _ = address.removeprefix(prefix).lstrip("/").partition("/")
        name = folder if below else run
    elif len(both := [place for place, named in archives.items() if named == name]) > 1:
        url, spare_url = both[:2]
        connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 0))", [url])
        if home := _announced(connection, message):
            return home
    # $dt$ in the file's name is when the channel started: that is the run. Without it a day has to do.
    began = re.search(r"[0-9]{8}T[0-9]{6}", run)
    mark = began[0] if began else f"{message.at:%Y-%m-%d}"
    for stem in (name, f"{name}-{run.replace(mark, '').strip('-_.')}"):
        stream_id = f"{_identifier(stem)}-{mark}"
        stream = Stream(
            stream_id=stream_id,
            source="medialive",
            channel_name=name,
            session_id=mark,
            url=url,
            spare_url=spare_url,
            started_at=message.at,
            trace_id=message.event_id,
        )
        if open_stream(connection, stream) or _one(connection, "select url from stream where stream_id = %s", [stream_id]) == url:
            return _Home(stream_id, prefix == spare_url)
    return None


def collect(connection: Connection) -> int:
    """Segments that came before their run was on record find their way to it; returns how many."""
    # From the few runs that are on to their files, by a range of addresses; `offset 0` keeps the planner from the other way round.
    return connection.execute(
        """
        with runs as materialized (
          select stream_id, url collate "C" as url, started_at, false as spare from stream
           where state in ('wanted', 'running') and wanted_at is not null and source = 'medialive' and url is not null
          union all
          select stream_id, spare_url collate "C", started_at, true from stream
           where state in ('wanted', 'running') and wanted_at is not null and source = 'medialive' and spare_url is not null),
        homes as (
          select distinct on (i.place) i.place, runs.stream_id, runs.spare
            from runs cross join lateral (
                   select ctid as place from inbox
                    where stream_id is null and spare_of is null and heard_at is null
                      and address >= runs.url and address < runs.url || chr(1114111) and made_at >= runs.started_at
                   offset 0) i
           order by i.place, length(runs.url) desc, runs.started_at desc)
        update inbox set stream_id = case when not homes.spare then homes.stream_id end, spare_of = case when homes.spare then homes.stream_id end
          from homes where inbox.ctid = homes.place and inbox.stream_id is null and inbox.spare_of is null"""
    ).rowcount


def succeed(connection: Connection, stream_id: str, at: datetime, *, cut: bool = False) -> str:
    """The session that goes on from `at`, where this one stops: the same source under a new id, with the segments not yet heard, and the same trace.

    `cut`: in the midst of the source's media, so that it begins at the very place.
    """
    stem = re.sub(r"-([0-9]{8}T[0-9]{6}Z?|[0-9]{4}-[0-9]{2}-[0-9]{2})$", "", stream_id)
    successor = f"{stem}-{compact(at)}"
    connection.execute(
        """
        insert into stream (stream_id, source, channel_arn, channel_name, session_id, url, spare_url, tags, started_at, wanted_at, trace_id,
                            stop_at, stop_reason, checkpoint)
        select %(successor)s, source, channel_arn, channel_name, session_id, url, spare_url, tags, %(at)s, now(), trace_id,
               case when stop_at >= %(at)s then stop_at end, case when stop_at >= %(at)s then stop_reason end,
               case when %(cut)s then jsonb_build_object('source_position', coalesce(checkpoint->>'source_position', '')) end
          from stream where stream_id = %(stream_id)s
        on conflict do nothing""",
        {"successor": successor, "stream_id": stream_id, "at": at, "cut": cut},
    )
    connection.execute(
        """
        update inbox set stream_id = case when stream_id is not null then %(successor)s end, spare_of = case when spare_of is not null then %(successor)s end
         where (stream_id = %(stream_id)s or spare_of = %(stream_id)s) and heard_at is null
           and (made_at >= %(at)s or (select state = 'ended' from stream where stream_id = %(stream_id)s))""",
        {"successor": successor, "stream_id": stream_id, "at": at},
    )
    notify(connection)
    return successor


def _address(message: ObjectArrived) -> str:
    return f"s3://{message.bucket}/{message.key}"


def _beginnings(address: str) -> list[str]:
    """What a place may be: equality finds it in an index, where "begins with" would have to try every place there is."""
    return [address[:length] for length in range(len("s3://b"), len(address) + 1)]


def _identifier(name: str) -> str:
    """A folder's name as part of a stream_id."""
    return re.sub(r"[^A-Za-z0-9._=+@-]+", "-", name).strip("-.")[:96] or "archive"


def _one(connection: Connection, query: str, parameters: Sequence[object]) -> str | None:
    row = connection.execute(query.encode(), parameters).fetchone()
    return row[0] if row else None
