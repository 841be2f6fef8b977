"""What MediaLive's events, and S3's, forgot: both are sent at best effort, as those of IVS are.

Two sweeps, each on one worker of all per interval. One holds the runs on record against the channels that there are: a
channel that runs and writes an archive is adopted, and a run whose channel stands still, seen twice, is over. The other
lists the places of the runs that are on, and puts what is there and never was announced into the inbox.
"""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from earmark.aws import asking
from earmark.control import traces, wanted
from earmark.control.messages import ObjectArrived, StartStream, StopStream, archive_counter, as_listed, medialive_run
from earmark.control.reconcile import take_turn
from earmark.errors import AwsRefused, EarmarkError, SourceUnsupported, StreamNotFound, Transient
from earmark.model import Stream
from earmark.postgres import Connection, Pool, statement, transaction
from earmark.settings import Reconcile as ReconcileSettings

#: The channel may write: STARTING and STOPPING are on the way, RECOVERING means that a pipeline restarts.
_ON = {"STARTING", "RUNNING", "RECOVERING", "STOPPING"}
#: S3's event is here by then, nearly always.
SETTLED_S = 20.0
#: Files without a run that are older than this are not taken for the beginning of one that is on.
_BEGAN_DAYS_MAX = 1
#: Of one run and sweep; S3 gives a thousand objects a page. What is beyond is seen in later sweeps, as what is heard moves on.
PAGES_MAX = 10
PAGE_MAX = 1_000
#: What was written at the same time by S3's clock may have been announced a moment earlier.
_SAME_S = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedChannel:
    """A MediaLive channel, as ListChannels has it."""

    channel_arn: str
    channel_id: str
    #: `RUNNING`, `IDLE`, ...
    state: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SweptChannels:
    """What a sweep put right, by stream_id."""

    adopted: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


class ChannelsPort(Protocol):
    """`channels.Channels`."""

    def list_channels(self) -> list[ListedChannel]: ...


class S3(Protocol):
    """boto3's `s3` client, as far as it is used."""

    def list_objects_v2(self, **arguments: Any) -> Mapping[str, Any]: ...


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def swept(self, *, adopted: int, reopened: int, stopped: int) -> None: ...
    def segments_found(self, count: int) -> None: ...


# ------------------------------------------------------------------------------------------------ channels


class ChannelSweep:
    """Runs on record and channels agree. `archive_places`: channel ARN -> s3://bucket/prefix of each pipeline (`Channels.archive_places`)."""

    def __init__(
        self, *, pool: Pool, channels: ChannelsPort, archive_places: Callable[[str], Sequence[str]], settings: ReconcileSettings, meter: Meter
    ) -> None:
        self._pool = pool
        self._channels = channels
        self._archive_places = archive_places
        self._settings = settings
        self._meter = meter
        #: Running channels that write no archive: they are not asked again until they have stopped.
        self._without_archive: set[str] = set()
        self._log = structlog.get_logger()

    def sweep(self) -> SweptChannels | None:
        """None if it is another worker's turn. Raises AwsUnavailable, AwsRefused or DatabaseUnavailable."""
        with transaction(self._pool) as connection:
            if not take_turn(connection, "channels", self._settings.every_s):
                return None
            as_of = _now(connection)
        listed = self._channels.list_channels()
        with transaction(self._pool) as connection:
            stopped = _stop_idle(connection, listed, as_of=as_of, every_s=self._settings.every_s)
            named = traces.of(connection, stopped)
        swept = SweptChannels(stopped=stopped)
        try:
            if self._settings.adopt:
                swept = SweptChannels(stopped=stopped, adopted=tuple(self._adopt(listed, as_of)))
        finally:
            self._meter.swept(adopted=len(swept.adopted), reopened=0, stopped=len(stopped))
            for stream_id in stopped:
                self._log.warning("stream.missed", **named[stream_id])
        return swept

    def _adopt(self, listed: Sequence[ListedChannel], as_of: datetime) -> list[str]:
        running = {channel.channel_arn: channel for channel in listed if channel.state == "RUNNING"}
        self._without_archive &= running.keys()
        with statement(self._pool) as connection:
            unknown = [arn for (arn,) in connection.execute(_UNKNOWN, {"arns": sorted(running.keys() - self._without_archive), "as_of": as_of})]
        adopted = []
        for arn in unknown:
            try:
                places = self._archive_places(arn)
            except (SourceUnsupported, StreamNotFound):
                self._without_archive.add(arn)
                continue
            with transaction(self._pool) as connection:
                stream_id = _open(connection, running[arn], places, as_of=as_of)
                named = traces.of(connection, [stream_id]) if stream_id else {}
            if stream_id:
                adopted.append(stream_id)
                self._log.warning("stream.adopted", **named[stream_id], channel_arn=arn)
        return adopted


def _now(connection: Connection) -> datetime:
    now: datetime = next(iter(connection.execute("select now()")))[0]
    return now


def _stop_idle(connection: Connection, listed: Sequence[ListedChannel], *, as_of: datetime, every_s: float) -> tuple[str, ...]:
    """End the runs whose channels the second sweep in a row finds idle, or gone, as of the first.

    A channel that is not listed may be another account's or region's, whose events are forwarded: only one of an account
    and region that is listed is believed to be gone.
    """
    parameters = {
        "on": [channel.channel_arn for channel in listed if channel.state in _ON],
        "off": [channel.channel_arn for channel in listed if channel.state not in _ON],
        "owners": sorted({channel.channel_arn.rpartition(":")[0] for channel in listed}),
        "as_of": as_of,
        "every_s": every_s,
    }
    connection.execute(_SEEN_ON, parameters)
    stopped: list[str] = []
    for arn, at in connection.execute(_SEEN_OFF, parameters).fetchall():
        over = connection.execute(
            "select stream_id from stream where channel_arn = %s and source = 'medialive' and stop_at is null and state <> 'ended' and started_at <= %s",
            [arn, at],
        )
        stopped += [stream_id for (stream_id,) in over]
        wanted.stop(connection, StopStream(channel_arn=arn, at=at, reason="channel_stopped"))
    return tuple(sorted(stopped))


def _open(connection: Connection, channel: ListedChannel, places: Sequence[str], *, as_of: datetime) -> str | None:
    """The run that is on, from the first of its files that has come; None if an event was quicker."""
    stopped = connection.execute("select stopped_at >= %s from medialive_channel where channel_arn = %s for update", [as_of, channel.channel_arn]).fetchone()
    if stopped and stopped[0]:
        return None
    began = next(iter(connection.execute(_BEGAN, {"arn": channel.channel_arn, "places": list(places), "days": _BEGAN_DAYS_MAX})))[0]
    stream = placed(medialive_run(channel.channel_arn, channel.channel_id, began), places)
    if wanted.start(connection, StartStream(stream=stream, at=began)) != "opened":
        return None
    connection.execute("update stream set adopted = true where stream_id = %s", [stream.stream_id])
    return stream.stream_id


def placed(run: Stream, places: Sequence[str]) -> Stream:
    """A run, with where its pipelines write."""
    return replace(run, url=places[0], spare_url=places[1] if len(places) > 1 else None)


_SEEN_ON = "update stream set unlisted_at = null where source = 'medialive' and stop_at is null and channel_arn = any(%(on)s) and unlisted_at is not null"

#: Marked by the first sweep that finds it idle; told by the next.
_SEEN_OFF = """
with off as materialized (
  select stream_id, channel_arn, unlisted_at from stream
   where source = 'medialive' and stop_at is null and wanted_at is not null and started_at <= %(as_of)s
     and not channel_arn = any(%(on)s)
     and (channel_arn = any(%(off)s) or regexp_replace(channel_arn, ':[^:]*$', '') = any(%(owners)s))),
marked as (
  update stream set unlisted_at = %(as_of)s from off where stream.stream_id = off.stream_id and off.unlisted_at is null)
select channel_arn, min(unlisted_at) from off where unlisted_at <= %(as_of)s - make_interval(secs => 0.5 * %(every_s)s) group by channel_arn"""

#: A run that was never heard to stop is still the one that is on, or was given up for a reason: a file reopens it.
_UNKNOWN = """
select arn from unnest(%(arns)s::text[]) arn
 where not exists (select from stream where channel_arn = arn and source = 'medialive' and stop_at is null)
   and not exists (select from medialive_channel where channel_arn = arn and stopped_at >= %(as_of)s)
 order by arn"""

#: In whole seconds, as events have it.
_BEGAN = """
select date_trunc('second', coalesce((select min(made_at) from unnest(%(places)s::text[]) place join inbox
                     on stream_id is null and spare_of is null and heard_at is null
                    and address >= place collate "C" and address < (place || chr(1114111)) collate "C"
                    and made_at > greatest(now() - make_interval(days => %(days)s),
                                           (select max(stopped_at) from medialive_channel where channel_arn = %(arn)s),
                                           (select max(coalesce(stop_at, ended_at)) from stream where channel_arn = %(arn)s))),
                now()))"""


# ------------------------------------------------------------------------------------------------ archives


class ArchiveSweep:
    """What lies in the places of the runs that are on, and was not announced, is put into their inboxes."""

    def __init__(self, *, pool: Pool, s3: S3, archives: Mapping[str, str], settings: ReconcileSettings, meter: Meter, stop: threading.Event) -> None:
        """`archives`: `medialive.archives`."""
        self._pool = pool
        self._s3 = s3
        self._archives = archives
        self._settings = settings
        self._meter = meter
        self._stop = stop
        self._log = structlog.get_logger()

    def sweep(self) -> int | None:
        """How many were found; None if it is another worker's turn.

        A place that cannot be listed keeps no other from it. Raises AwsUnavailable, AwsRefused (the last one's), or
        DatabaseUnavailable.
        """
        with transaction(self._pool) as connection:
            if not take_turn(connection, "archives", self._settings.every_s):
                return None
            until = _now(connection) - timedelta(seconds=SETTLED_S)
            runs = connection.execute(_RUNS).fetchall()
        total, failed = 0, list[EarmarkError]()
        for stream_id, trace_id, url, started_at, heard_key in runs:
            if self._stop.is_set():
                break
            try:
                found = self._find(url, started_at, heard_key or "", until)
            except (Transient, AwsRefused) as error:
                failed.append(error)
                continue
            if found:
                total += len(found)
                self._log.warning("segments.found", stream_id=stream_id, trace_id=trace_id or "", segments=len(found), first=found[0])
        self._meter.segments_found(total)
        if failed:
            raise failed[-1]
        return total

    def _find(self, url: str, since: datetime, heard_key: str, until: datetime) -> list[str]:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        there = [arrived for arrived in self._listed(bucket, prefix, heard_key, since) if since <= arrived.at <= until]
        with statement(self._pool) as connection:
            columns = {"bucket": bucket, "keys": [arrived.key for arrived in there], "ats": [arrived.at for arrived in there], "same_s": _SAME_S}
            missed = {key for (key,) in connection.execute(_MISSED, columns)} if there else set()
        found = []
        for arrived in (arrived for arrived in there if arrived.key in missed):
            with transaction(self._pool) as connection:  # each for itself: an event takes the same locks in the same order
                if wanted.segment(connection, arrived, archives=self._archives) != "repeat":
                    found.append(arrived.key)
        return found

    def _listed(self, bucket: str, prefix: str, after: str, since: datetime) -> Iterator[ObjectArrived]:
        """The archive files behind a key, as their events would have told of them."""
        for _ in range(PAGES_MAX):
            with asking("s3:ListBucket", f"s3://{bucket}/{prefix}"):
                page = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=PAGE_MAX, **({"StartAfter": after} if after else {}))
            objects = page.get("Contents", ())
            for entry in objects:
                if archive_counter(entry["Key"]):
                    yield as_listed(bucket, entry)
            if not page.get("IsTruncated") or not objects:
                return
            after = max(objects[-1]["Key"], not_before(objects[-1]["Key"], len(prefix), since), key=str.encode)
        self._log.warning("archive.not_listed_whole", place=f"s3://{bucket}/{prefix}", pages=PAGES_MAX)


def not_before(key: str, prefix_length: int, since: datetime) -> str:
    """Where keys like this one begin that can be of a run since then: `$dt$` in a name, the time the channel started, sorts.

    A day is left for the time zone, of which the user guide says nothing. "" if there is no such time in the key.
    """
    began = re.search(r"[0-9]{8}T[0-9]{6}", key[prefix_length:])
    return key[: prefix_length + began.start()] + f"{since - timedelta(days=1):%Y%m%dT%H%M%S}" if began else ""


#: Each by both its places.
_RUNS = """
with runs as materialized (
  select * from stream where source = 'medialive' and state in ('wanted', 'running') and wanted_at is not null and started_at is not null)
select stream_id, trace_id, url, started_at, (select max(key) from inbox i where i.stream_id = runs.stream_id and i.heard_at is not null)
  from runs where url is not null
union all
select stream_id, trace_id, spare_url, started_at, (select max(key) from inbox i where i.spare_of = runs.stream_id and i.heard_at is not null)
  from runs where spare_url is not null
 order by 1"""

#: What was written over a file that is known is another one.
_MISSED = """
select listed.key from unnest(%(keys)s::text[], %(ats)s::timestamptz[]) as listed (key, at)
 where not exists (select from inbox i where i.bucket = %(bucket)s and i.key = listed.key
                      and coalesce(i.made_at, i.arrived_at) >= listed.at - make_interval(secs => %(same_s)s))"""
