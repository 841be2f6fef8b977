"""What MediaLive's and S3's events forgot, put right by sweeps: once, by one worker, and so that a late event changes nothing."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

import control_events as events
from control_ivs import refusal
from control_rows import leases_of, pass_time, row, rows, run, want
from earmark.control import medialive as module
from earmark.control.channels import Channels
from earmark.control.leases import Ended
from earmark.control.medialive import ArchiveSweep, ChannelSweep, ListedChannel, SweptChannels, not_before
from earmark.control.messages import parse
from earmark.control.places import Places
from earmark.control.reconcile import Reconcile
from earmark.control.wanted import record
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnsupported, StreamNotFound
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool, transaction
from earmark.settings import Aws
from earmark.settings import Reconcile as ReconcileSettings

ARN = events.MEDIALIVE_CHANNEL
PLACE = "s3://archive/channel59/concert"
DENIED = AwsRefused("medialive:ListChannels of this account was refused: AccessDeniedException; allow medialive:ListChannels in the role's policy")


class Counted:
    def __init__(self) -> None:
        self.adopted = self.stopped = self.found = self.failed = 0

    def swept(self, *, adopted: int, reopened: int, stopped: int) -> None:
        assert reopened == 0
        self.adopted += adopted
        self.stopped += stopped

    def segments_found(self, count: int) -> None:
        self.found += count

    def sweep_failed(self) -> None:
        self.failed += 1


class World:
    """An account with these channels, and sweeps a minute apart."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.counted = pool, Counted()
        self.states: dict[str, str] = {}
        self.places: dict[str, str | tuple[str, ...] | Exception] = {}
        self.described: list[str] = []
        self.error: Exception | None = None
        self.while_listing: Callable[[], None] = lambda: None
        self._sweeps: dict[bool, ChannelSweep] = {}

    def list_channels(self) -> list[ListedChannel]:
        if self.error:
            raise self.error
        listed = [ListedChannel(channel_arn=arn, channel_id=arn.rpartition(":")[2], state=state) for arn, state in self.states.items()]
        self.while_listing()
        return listed

    def archive_places(self, channel_arn: str) -> tuple[str, ...]:
        self.described.append(channel_arn)
        place = self.places.get(channel_arn, PLACE)
        if isinstance(place, Exception):
            raise place
        return (place,) if isinstance(place, str) else place

    def sweep(self, *, adopt: bool = True, **states: str) -> SweptChannels | None:
        """`states`: of the channels whose ids these are, with a letter before."""
        self.states = {ARN.replace("123456", name.lstrip("c")): state for name, state in states.items()}
        pass_time(self.pool, 60)
        if adopt not in self._sweeps:
            settings = ReconcileSettings(every_s=60, adopt=adopt)
            self._sweeps[adopt] = ChannelSweep(pool=self.pool, channels=self, archive_places=self.archive_places, settings=settings, meter=self.counted)
        return self._sweeps[adopt].sweep()

    def hear(self, event: dict[str, Any]) -> list[str]:
        with transaction(self.pool) as connection:
            return [record(connection, message, places=Places()) for message in parse(json.dumps(event))]

    def channel_event(self, state: str, *, ago_s: float = 0) -> list[str]:
        at = f"{datetime.now(UTC) - timedelta(seconds=ago_s):%Y-%m-%dT%H:%M:%SZ}"
        return self.hear(events.medialive(state, time=at))

    def runs(self) -> list[dict[str, Any]]:
        return rows(self.pool, "select * from stream order by created_at, stream_id")


@pytest.fixture
def world(pool: Pool) -> World:
    return World(pool)


# Channels


def test_a_running_channel_that_no_event_announced_is_adopted_once(world: World) -> None:
    swept = world.sweep(c123456="RUNNING")
    (adopted,) = world.runs()
    assert swept == SweptChannels(adopted=(adopted["stream_id"],))
    assert (adopted["source"], adopted["channel_arn"], adopted["url"], adopted["state"]) == ("medialive", ARN, PLACE, "wanted")
    assert adopted["stream_id"] == f"123456-{adopted['started_at'].astimezone(UTC):%Y%m%dT%H%M%SZ}"
    assert adopted["session_id"] == f"{adopted['started_at'].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    assert [world.sweep(c123456="RUNNING") for _ in range(2)] == [SweptChannels()] * 2
    assert world.described == [ARN]
    assert [lease.stream.stream_id for lease in leases_of(world.pool, "one").claim(1)] == [adopted["stream_id"]]
    assert (world.counted.adopted, world.counted.stopped) == (1, 0)


def test_its_announcement_changes_nothing_however_late(world: World) -> None:
    world.sweep(c123456="RUNNING")
    assert world.channel_event("RUNNING", ago_s=40) == ["repeat"]
    assert world.channel_event("IDLE") == ["stopped"]
    one = leases_of(world.pool, "one")
    one.release(one.claim(1)[0], Ended("stream_end"))
    assert world.channel_event("RUNNING", ago_s=45) == ["repeat"]
    assert len(world.runs()) == 1


def test_the_run_before_an_adopted_one_is_still_another(world: World) -> None:
    world.channel_event("RUNNING", ago_s=7_200)
    world.channel_event("IDLE", ago_s=3_600)
    world.sweep(c123456="RUNNING")
    run(world.pool, "update stream set state = 'ended', stop_at = coalesce(stop_at, now()), ended_at = now()")
    assert world.channel_event("RUNNING", ago_s=7_000) == ["repeat"]
    assert len(world.runs()) == 2


def test_files_that_waited_for_it_are_the_adopted_runs(world: World) -> None:
    for n, ago_s in ((0, 50), (1, 40)):
        key = f"channel59/concert.{n:06d}.ts"
        run(world.pool, "insert into inbox (bucket, key, counter, made_at) values ('archive', %s, %s, now() - make_interval(secs => %s))", key, n, ago_s)
    run(world.pool, "insert into inbox (bucket, key, made_at) values ('archive', 'channel59/concert.000009.ts', now() - interval '2 days')")  # of another run
    (stream_id,) = (world.sweep(c123456="RUNNING") or SweptChannels()).adopted
    began = row(world.pool, stream_id)["started_at"]
    assert began == rows(world.pool, "select date_trunc('second', min(made_at)) as at from inbox where made_at > now() - interval '1 day'")[0]["at"]
    homes = {r["key"][-4:]: r["stream_id"] for r in rows(world.pool, "select * from inbox")}
    assert [r["stream_id"] for r in rows(world.pool, "select * from inbox order by made_at")] == [None, stream_id, stream_id], homes


def test_an_adopted_run_has_both_its_places_and_begins_with_the_first_file_of_either(world: World) -> None:
    world.places[ARN] = (PLACE, "s3://archive/other/concert")
    for n, ago_s in ((0, 50), (1, 40)):
        key = f"other/concert.{n:06d}.ts"
        run(world.pool, "insert into inbox (bucket, key, counter, made_at) values ('archive', %s, %s, now() - make_interval(secs => %s))", key, n, ago_s)
    (stream_id,) = (world.sweep(c123456="RUNNING") or SweptChannels()).adopted
    adopted = row(world.pool, stream_id)
    assert (adopted["url"], adopted["spare_url"]) == world.places[ARN]
    assert 48 <= (datetime.now(UTC) - adopted["started_at"]).total_seconds() < 70
    assert [(r["stream_id"], r["spare_of"]) for r in rows(world.pool, "select * from inbox order by key")] == [(None, stream_id)] * 2


@pytest.mark.parametrize("state", ["IDLE", "STARTING", "STOPPING", "CREATING", "DELETING"])
def test_a_channel_that_does_not_run_is_not_adopted(world: World, state: str) -> None:
    assert world.sweep(c123456=state) == SweptChannels()


def test_a_channel_without_an_archive_is_asked_about_once_while_it_runs(world: World) -> None:
    other = ARN.replace("123456", "7")
    world.places = {ARN: SourceUnsupported("it has no archive output group"), other: StreamNotFound("it is gone")}
    for _ in range(3):
        assert world.sweep(c123456="RUNNING", c7="RUNNING") == SweptChannels()
    assert sorted(world.described) == sorted([ARN, other])
    world.sweep(c123456="IDLE")
    world.places = {}
    assert len((world.sweep(c123456="RUNNING") or SweptChannels()).adopted) == 1


def test_without_adoption_nothing_is_opened(world: World) -> None:
    assert world.sweep(adopt=False, c123456="RUNNING") == SweptChannels()
    assert world.runs() == []


def test_a_run_that_we_took_for_over_is_left_to_its_next_file(world: World) -> None:
    """Else each long silence of a running channel would open another, empty session."""
    world.channel_event("RUNNING")
    one = leases_of(world.pool, "one")
    one.release(one.claim(1)[0], Ended("silent_origin"))
    assert [world.sweep(c123456="RUNNING") for _ in range(3)] == [SweptChannels()] * 3


def test_a_run_whose_channel_stands_still_is_ended_by_the_second_sweep_that_sees_it(world: World) -> None:
    world.channel_event("RUNNING", ago_s=600)
    assert world.sweep(c123456="IDLE") == SweptChannels()
    first_seen = world.runs()[0]["unlisted_at"]
    assert first_seen is not None
    assert world.sweep(c123456="IDLE") == SweptChannels(stopped=(world.runs()[0]["stream_id"],))
    (stopped,) = world.runs()
    assert (stopped["stop_reason"], stopped["state"]) == ("channel_stopped", "wanted")  # what is in the bucket is still heard
    assert stopped["stop_at"] <= first_seen
    assert world.sweep(c123456="IDLE") == SweptChannels()
    assert world.channel_event("IDLE", ago_s=300) == ["repeat"]
    assert world.counted.stopped == 1


def test_a_channel_that_runs_again_was_never_idle_long(world: World) -> None:
    world.channel_event("RUNNING", ago_s=600)
    for state in ("IDLE", "RUNNING", "IDLE", "RECOVERING", "IDLE", "STARTING"):
        assert world.sweep(c123456=state) == SweptChannels()
    assert world.runs()[0]["stop_at"] is None


def test_a_run_that_began_after_the_list_was_made_is_not_ended_by_it(world: World) -> None:
    world.while_listing = lambda: world.channel_event("RUNNING", ago_s=-1) and None
    world.sweep(c123456="IDLE")
    assert world.runs()[0]["unlisted_at"] is None


def test_a_stop_that_came_while_the_list_was_made_is_believed(world: World) -> None:
    world.while_listing = lambda: world.channel_event("IDLE", ago_s=-1) and None
    assert world.sweep(c123456="RUNNING") == SweptChannels()


def test_a_stale_start_of_a_channel_that_is_idle_is_ended(world: World) -> None:
    assert world.channel_event("RUNNING", ago_s=7_200) == ["opened"]
    world.sweep(c123456="IDLE")
    assert len((world.sweep(c123456="IDLE") or SweptChannels()).stopped) == 1


def test_the_next_run_after_an_end_that_no_event_told_is_adopted(world: World) -> None:
    world.channel_event("RUNNING", ago_s=7_200)
    for state in ("IDLE", "IDLE"):
        world.sweep(c123456=state)
    one = leases_of(world.pool, "one")
    one.release(one.claim(1)[0], Ended("stream_end"))
    (adopted,) = (world.sweep(c123456="RUNNING") or SweptChannels()).adopted
    assert [r["state"] for r in world.runs()] == ["ended", "wanted"]
    assert world.runs()[1]["stream_id"] == adopted


def test_an_ended_run_is_closed_for_the_next_too(world: World) -> None:
    """It ended by silence, its channel's stop was lost: nothing may go on with it once the channel was seen idle."""
    world.channel_event("RUNNING", ago_s=7_200)
    one = leases_of(world.pool, "one")
    one.release(one.claim(1)[0], Ended("silent_origin"))
    assert [world.sweep(c123456="IDLE") for _ in range(2)] == [SweptChannels()] * 2  # nothing that was on has ended
    assert world.runs()[0]["stop_at"] is not None
    assert len((world.sweep(c123456="RUNNING") or SweptChannels()).adopted) == 1


def test_a_channel_that_is_gone_ends_its_run_if_its_account_is_the_one_that_is_listed(world: World) -> None:
    far = "arn:aws:medialive:eu-central-1:999999999999:channel:5"
    world.channel_event("RUNNING", ago_s=600)
    want(world.pool, "5-far", source="medialive", channel_arn=far, url="s3://far/away", started_at=datetime.now(UTC) - timedelta(hours=1))
    assert [world.sweep(c7="IDLE") for _ in range(3)][1:] == [SweptChannels(stopped=(world.runs()[0]["stream_id"],)), SweptChannels()]
    assert row(world.pool, "5-far")["unlisted_at"] is None


def test_an_empty_list_ends_nothing(world: World) -> None:
    world.channel_event("RUNNING", ago_s=600)
    assert [world.sweep() for _ in range(3)] == [SweptChannels()] * 3


def test_streams_of_other_sources_are_not_expected_among_the_channels(world: World) -> None:
    want(world.pool, "st-1", channel_arn=ARN, started_at=datetime.now(UTC) - timedelta(hours=1))
    assert [world.sweep(c123456="IDLE") for _ in range(3)] == [SweptChannels()] * 3
    assert row(world.pool, "st-1")["unlisted_at"] is None


def test_one_worker_of_all_sweeps_per_interval(world: World) -> None:
    assert world.sweep(c123456="IDLE") == SweptChannels()
    assert world._sweeps[True].sweep() is None


def test_a_role_that_may_not_list_channels_is_told_once_and_ivs_is_swept_all_the_same(world: World) -> None:
    world.error = DENIED
    ivs: list[int] = []

    class AfterThree(threading.Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            pass_time(world.pool, 60)
            self.waits += 1
            if self.waits == 3:
                self.set()
            return self.is_set()

    settings = ReconcileSettings(every_s=60)
    channels = ChannelSweep(pool=world.pool, channels=world, archive_places=world.archive_places, settings=settings, meter=world.counted)
    reconcile = Reconcile(
        pool=world.pool,
        list_live=lambda: ivs.append(0) or [],
        settings=settings,
        meter=world.counted,
        stop=AfterThree(),
        others={"channels": channels.sweep},
    )
    with capture_logs() as logs:
        reconcile.run()
    assert len(ivs) == 3
    assert [(line["event"], line["sweep"], line["reason"]) for line in logs] == [("sweep.failed", "channels", str(DENIED))]
    assert world.counted.failed == 3


def test_a_role_that_may_not_describe_a_channel_adopts_those_it_may(world: World) -> None:
    world.places = {ARN.replace("123456", "9"): DENIED}
    with pytest.raises(AwsRefused):
        world.sweep(c123456="RUNNING", c9="RUNNING")
    assert [r["channel_arn"] for r in world.runs()] == [ARN]


def test_the_stand_ins_channels_are_adopted(pool: Pool, aws: AwsStandIn) -> None:
    """Over HTTP, from ListChannels to the row."""
    client = aws.client("medialive")
    group = {"OutputGroupSettings": {"ArchiveGroupSettings": {"Destination": {"DestinationRefId": "a"}, "RolloverInterval": 12}}, "Outputs": []}
    encoder = {"AudioDescriptions": [], "VideoDescriptions": [], "OutputGroups": [group], "TimecodeConfig": {"Source": "EMBEDDED"}}
    ids = [
        client.create_channel(Name=name, Destinations=[{"Id": "a", "Settings": [{"Url": f"s3ssl://archive/{name}"}]}], EncoderSettings=encoder)["Channel"]["Id"]
        for name in ("one", "two")
    ]
    client.start_channel(ChannelId=ids[0])
    client.describe_channel(ChannelId=ids[0])  # by looking, its state moves on

    class Uncounted:
        def ivs_called(self, operation: str, *, waited_s: float) -> None: ...

    channels = Channels(ivs=None, medialive=client, settings=Aws(medialive_calls_per_s=1_000), meter=Uncounted(), wait=lambda _: False)  # type: ignore[arg-type]
    sweep = ChannelSweep(pool=pool, channels=channels, archive_places=channels.archive_places, settings=ReconcileSettings(), meter=Counted())
    (adopted,) = (sweep.sweep() or SweptChannels()).adopted
    assert adopted.startswith(f"{ids[0]}-")
    assert row(pool, adopted)["url"] == "s3://archive/one"


# Archives


@pytest.fixture
def s3(aws: AwsStandIn) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket="archive")
    return client


@pytest.fixture(autouse=True)
def _settled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's objects are of this very second."""
    monkeypatch.setattr(module, "SETTLED_S", -5.0)


class Bucket:
    """A run of a channel whose files lie in the stand-in, and sweeps of them."""

    def __init__(self, pool: Pool, s3: Any) -> None:
        self.pool, self.s3, self.counted, self.stop = pool, s3, Counted(), threading.Event()
        self.calls: list[dict[str, Any]] = []
        want(pool, "run", source="medialive", channel_arn=ARN, url=PLACE, started_at=datetime.now(UTC) - timedelta(minutes=5))

    def list_objects_v2(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        return self.s3.list_objects_v2(**arguments)

    def put(self, *counters: int, base: str = "channel59/concert") -> None:
        for counter in counters:
            self.s3.put_object(Bucket="archive", Key=f"{base}.{counter:06d}.ts", Body=b"x" * (counter + 1))

    def event(self, counter: int, *, base: str = "channel59/concert", at: datetime | None = None, **object_: Any) -> list[str]:
        body = events.s3_event(f"{base}.{counter:06d}.ts", time=f"{at or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", **object_)
        with transaction(self.pool) as connection:
            return [record(connection, message, places=Places()) for message in parse(json.dumps(body))]

    def sweep(self) -> int | None:
        pass_time(self.pool, 60)
        run(self.pool, "update inbox set arrived_at = arrived_at + interval '60 s'")
        return ArchiveSweep(pool=self.pool, s3=self, archives={}, settings=ReconcileSettings(), meter=self.counted, stop=self.stop).sweep()

    def inbox(self) -> list[tuple[str, str | None, int]]:
        return [(r["key"][-9:-3], r["stream_id"], r["size"]) for r in rows(self.pool, "select * from inbox order by key, sequencer")]


@pytest.fixture
def bucket(pool: Pool, s3: Any) -> Bucket:
    return Bucket(pool, s3)


def test_a_segment_whose_event_never_came_is_found_once(bucket: Bucket) -> None:
    bucket.put(0, 1, 2)
    bucket.event(1)
    assert bucket.sweep() == 2
    assert bucket.inbox() == [("000000", "run", 1), ("000001", "run", 5), ("000002", "run", 3)]
    assert rows(bucket.pool, "select counter, made_at is not null as dated from inbox order by counter") == [{"counter": n, "dated": True} for n in range(3)]
    assert [bucket.sweep() for _ in range(2)] == [0, 0]
    assert bucket.counted.found == 2


def test_what_the_other_pipeline_wrote_is_found_too(bucket: Bucket) -> None:
    run(bucket.pool, "update stream set spare_url = 's3://archive/other/concert'")
    bucket.put(0, 1)
    bucket.put(0, 1, base="other/concert")
    bucket.event(0)
    bucket.event(1, base="other/concert")
    assert bucket.sweep() == 2
    found = rows(bucket.pool, "select key, stream_id, spare_of from inbox order by key")
    assert [(r["key"], r["stream_id"], r["spare_of"]) for r in found] == [
        ("channel59/concert.000000.ts", "run", None),
        ("channel59/concert.000001.ts", "run", None),
        ("other/concert.000000.ts", None, "run"),
        ("other/concert.000001.ts", None, "run"),
    ]
    assert bucket.sweep() == 0


@pytest.mark.parametrize("version", [{}, {"version-id": "v1"}], ids=["plain", "versioned"])
def test_its_event_changes_nothing_when_it_comes_after_all(bucket: Bucket, version: dict[str, str]) -> None:
    bucket.put(0)
    made = datetime.now(UTC)
    assert bucket.sweep() == 1
    assert bucket.event(0, at=made, **version) == ["repeat"]
    assert bucket.event(0, at=made, sequencer="617f08299329d18a", **version) == ["repeat"]
    assert len(bucket.inbox()) == 1


def test_a_file_that_is_written_over_what_was_found_is_another(bucket: Bucket) -> None:
    bucket.put(0)
    assert bucket.sweep() == 1
    assert bucket.event(0, at=datetime.now(UTC) + timedelta(minutes=10)) == ["delivered"]
    assert len(bucket.inbox()) == 2


def test_a_file_that_was_written_over_one_that_is_known_is_found(bucket: Bucket) -> None:
    bucket.put(0)
    bucket.event(0, at=datetime.now(UTC) - timedelta(minutes=4))
    assert bucket.sweep() == 1
    assert bucket.sweep() == 0


def test_only_archive_files_of_the_run_since_it_began_are_found(bucket: Bucket) -> None:
    bucket.put(0)
    bucket.put(0, base="elsewhere/concert")
    bucket.s3.put_object(Bucket="archive", Key="channel59/concert.m3u8", Body=b"")
    bucket.s3.put_object(Bucket="archive", Key="channel59/concert.00.ts", Body=b"")
    run(bucket.pool, "update stream set started_at = now() + interval '1 minute'")
    assert bucket.sweep() == 0
    run(bucket.pool, "update stream set started_at = now() - interval '1 minute'")
    assert bucket.sweep() == 1


def test_a_file_of_this_moment_is_left_to_its_event(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_S", 20.0)
    bucket.put(0)
    assert bucket.sweep() == 0


@pytest.mark.parametrize("change", ["state = 'ended'", "state = 'quarantined'", "wanted_at = null", "url = null"])
def test_what_is_not_on_is_not_listed(bucket: Bucket, change: str) -> None:
    bucket.put(0)
    run(bucket.pool, f"update stream set {change}")
    assert bucket.sweep() == 0
    assert bucket.calls == []


def test_many_pages_are_walked_and_what_was_heard_is_passed_over(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_MAX", 3)
    bucket.put(*range(8))
    assert bucket.sweep() == 8
    run(bucket.pool, "update inbox set heard_at = now() where counter < 6")
    bucket.calls.clear()
    assert bucket.sweep() == 0
    assert [call["StartAfter"] for call in bucket.calls] == ["channel59/concert.000005.ts"]


def test_a_place_with_too_many_files_is_listed_as_far_as_it_goes(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_MAX", 2)
    monkeypatch.setattr(module, "PAGES_MAX", 2)
    bucket.put(*range(6))
    with capture_logs() as logs:
        assert bucket.sweep() == 4
    assert [line["event"] for line in logs] == ["archive.not_listed_whole", "segments.found"]
    run(bucket.pool, "update inbox set heard_at = now()")
    assert bucket.sweep() == 2


def test_runs_of_long_ago_are_passed_over_where_names_tell_their_time(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_MAX", 2)
    now = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    for began in ("20240101T000000", "20250101T000000", "20260101T000000", now):
        bucket.put(0, 1, 2, base=f"channel59/concert-{began}")
    assert bucket.sweep() == 12 - 6 - 1  # of the first run one page was seen, and it is of this minute too
    assert len(bucket.calls) == 3


def test_where_names_tell_no_time_nothing_is_passed_over() -> None:
    since = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert not_before("a/b.000001.ts", 3, since) == ""
    assert not_before("a/b-20250101T000000.000001.ts", 3, since) == "a/b-20261120T120000"
    assert not_before("a/20240101T000000/b-20250101T000000.000001.ts", 20, since) == "a/20240101T000000/b-20261120T120000"


def test_a_place_that_cannot_be_listed_keeps_no_other_from_it(bucket: Bucket, s3: Any) -> None:
    want(bucket.pool, "a-run", source="medialive", url="s3://nobodys-bucket/x", started_at=datetime.now(UTC) - timedelta(minutes=5))
    bucket.put(0)
    with pytest.raises(AwsRefused, match="s3:ListBucket of s3://nobodys-bucket/x was refused: NoSuchBucket"):
        bucket.sweep()
    assert len(bucket.inbox()) == 1
    assert bucket.counted.found == 1


def test_what_passes_is_unavailable_and_what_does_not_is_refused(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, status, meaning in (("SlowDown", 503, AwsUnavailable), ("AccessDenied", 403, AwsRefused)):
        error = refusal(kind, "ListObjectsV2", status=status)

        def fail(error: Exception = error, **_: Any) -> Any:
            raise error

        monkeypatch.setattr(bucket, "list_objects_v2", fail)
        with pytest.raises(meaning):
            bucket.sweep()


def test_a_stop_ends_it_between_two_runs(bucket: Bucket) -> None:
    bucket.put(0)
    bucket.stop.set()
    assert bucket.sweep() == 0


def test_the_turn_is_one_workers(bucket: Bucket) -> None:
    assert bucket.sweep() == 0
    assert ArchiveSweep(pool=bucket.pool, s3=bucket, archives={}, settings=ReconcileSettings(), meter=bucket.counted, stop=bucket.stop).sweep() is None
