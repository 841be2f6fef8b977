"""From a message on a real queue to a row: in any order, any number of times, whatever else lies there."""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from structlog.testing import capture_logs

from control_events import IVS_CHANNEL, STREAM_ID, event, ivs, medialive, s3_event, sns
from control_rows import pool_of, row, rows, run
from earmark.audio.order import ArchiveItem
from earmark.control.inbox import Inbox
from earmark.control.places import Places
from earmark.control.queue import ControlQueue, Intake
from earmark.errors import AwsRefused, AwsUnavailable, DatabaseUnavailable
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool
from earmark.settings import Queue

NOW = datetime(2026, 11, 20, 19, tzinfo=UTC)


class Counted:
    """Meter that remembers."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.effects: list[str] = []

    def message_received(self, kind: str, *, age_s: float) -> None:
        assert age_s >= 0
        self.kinds.append(kind)

    def message_recorded(self, effect: str) -> None:
        self.effects.append(effect)


class Desk:
    """A queue in the stand-in with its dead-letter queue, and an intake that reads it."""

    def __init__(self, aws: AwsStandIn, pool: Pool) -> None:
        self.deployed = aws.deploy()
        self.sqs = aws.client("sqs")
        self.pool = pool
        self.counted = Counted()
        self.stop = threading.Event()
        self.places: dict[str, str | tuple[str, ...] | Exception] = {}
        self.settings = Queue(url=self.deployed.queue_url, wait_s=0)

    def put(self, *bodies: Any) -> None:
        for body in bodies:
            self.sqs.send_message(QueueUrl=self.deployed.queue_url, MessageBody=body if isinstance(body, str) else json.dumps(body))

    def intake(self, sqs: Any = None, *, beat: Callable[[], None] = lambda: None, **archives: str) -> Intake:
        return Intake(
            queue=ControlQueue(sqs=sqs or self.sqs, settings=self.settings),
            pool=self.pool,
            settings=self.settings,
            places=Places(archives=archives or {"s3://archive/songs_to_check/streams/": "*", "s3://archive/fixed": "fixed"}),
            archive_places=self._place,
            meter=self.counted,
            stop=self.stop,
            beat=beat,
            now=lambda: NOW,
        )

    def take(self, *bodies: Any) -> list[str]:
        """Put these, read until nothing is left, and say what they changed."""
        self.put(*bodies)
        self.counted.effects.clear()
        intake = self.intake()
        while intake.step():
            pass
        return self.counted.effects

    def left(self) -> int:
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.deployed.queue_url, AttributeNames=["All"])["Attributes"]
        return int(attributes["ApproximateNumberOfMessages"]) + int(attributes["ApproximateNumberOfMessagesNotVisible"])

    def _place(self, channel_arn: str) -> tuple[str, ...]:
        place = self.places.get(channel_arn, AwsRefused("medialive:DescribeChannel was refused"))
        if isinstance(place, Exception):
            raise place
        return (place,) if isinstance(place, str) else place


@pytest.fixture
def desk(aws: AwsStandIn, pool: Pool) -> Desk:
    return Desk(aws, pool)


CHANNEL = "arn:aws:medialive:us-west-2:111122223333:channel:123456"


def at(clock: str) -> str:
    return f"2026-11-20T{clock}Z"


def streams(pool: Pool) -> dict[str, str]:
    """stream_id -> what is wanted of it."""
    found = rows(pool, "select * from stream order by stream_id")
    return {r["stream_id"]: ("wanted" if r["wanted_at"] else "unheard") + (" stop" if r["stop_at"] else "") for r in found}


def inbox(pool: Pool) -> dict[str, str | None]:
    return {r["key"]: r["stream_id"] for r in rows(pool, "select * from inbox order by key")}


# IVS


def test_a_start_is_a_row_and_its_message_is_gone(desk: Desk) -> None:
    assert desk.take(ivs("Stream Start")) == ["opened"]
    wanted = row(desk.pool, STREAM_ID)
    assert (wanted["source"], wanted["channel_arn"], wanted["channel_name"], wanted["state"]) == ("ivs", IVS_CHANNEL, "Your Channel", "wanted")
    assert wanted["started_at"] == datetime(2026, 11, 20, 10, 23, 43, tzinfo=UTC)
    assert desk.left() == 0


def test_fifty_starts_are_one(desk: Desk) -> None:
    assert sorted(desk.take(*[ivs("Stream Start")] * 50)) == ["opened"] + ["repeat"] * 49
    assert desk.left() == 0


def test_a_start_that_comes_after_everything_opens_nothing_again(desk: Desk) -> None:
    desk.take(ivs("Stream Start"))
    run(desk.pool, "update stream set state = 'ended', ended_at = now(), end_reason = 'stream_end'")
    assert desk.take(ivs("Stream Start")) == ["repeat"]
    assert row(desk.pool, STREAM_ID)["state"] == "ended"


@pytest.mark.parametrize("events", [("Stream Start", "Stream End"), ("Stream End", "Stream Start")])
def test_start_and_end_may_come_in_any_order(desk: Desk, events: tuple[str, str]) -> None:
    for name in events:
        desk.take(ivs(name))
    assert streams(desk.pool) == {STREAM_ID: "wanted stop"}
    stopped = row(desk.pool, STREAM_ID)
    assert (stopped["stop_reason"], stopped["state"]) == ("stream_end", "wanted")


def test_an_end_whose_start_was_never_heard_is_kept(desk: Desk) -> None:
    assert desk.take(ivs("Stream Failure")) == ["stopped"]
    assert desk.take(ivs("Stream End")) == ["repeat"]
    assert streams(desk.pool) == {STREAM_ID: "unheard stop"}
    assert row(desk.pool, STREAM_ID)["stop_reason"] == "stream_failure"


def test_a_start_of_a_day_ago_is_recorded_and_said_to_be_stale(desk: Desk) -> None:
    with capture_logs() as logs:
        assert desk.take(ivs("Stream Start", time="2026-11-19T10:00:00Z")) == ["opened"]
    (wanted,) = [line for line in logs if line["event"] == "stream.wanted"]
    assert wanted["stale"] is True
    assert row(desk.pool, STREAM_ID)["started_at"] == datetime(2026, 11, 19, 10, tzinfo=UTC)


def test_what_is_known_and_uninteresting_and_what_is_unknown_is_deleted(desk: Desk) -> None:
    desk.take(ivs("Session Ended"), event("MediaLive Channel Alert", "aws.medialive", {}), event("Something New", "aws.new", {}), sns(ivs("Stream Start")))
    assert sorted(desk.counted.kinds) == ["ignored", "ignored", "start", "unknown"]
    assert desk.left() == 0


# What is wrong with a message, or with the world


def test_what_cannot_be_understood_goes_to_the_dead_letter_queue_and_is_told_once(desk: Desk) -> None:
    desk.put("not JSON", ivs("Stream Start", stream_id=None), ivs("Stream Start"))
    with capture_logs() as logs:
        for _ in range(8):  # more often than the queue's maxReceiveCount
            desk.intake(AtOnce(desk.sqs)).step()
    refused = [line for line in logs if line["event"] == "message.not_understood"]
    assert sorted(line["reason"] for line in refused) == [
        "the IVS event has no stream_id",
        "the message is not JSON: Expecting value: line 1 column 1 (char 0)",
    ]
    assert desk.counted.kinds.count("bad") > 2
    assert desk.left() == 0
    dead = [
        message["Body"]
        for _ in range(2)
        for message in desk.sqs.receive_message(QueueUrl=desk.deployed.dead_letter_url, MaxNumberOfMessages=10).get("Messages", [])
    ]
    assert len(dead) == 2
    assert "not JSON" in dead
    assert streams(desk.pool) == {STREAM_ID: "wanted"}


class AtOnce:
    """The queue, with a visibility timeout that has passed as soon as a message is received."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs

    def receive_message(self, **arguments: Any) -> dict[str, Any]:
        return self._sqs.receive_message(**{**arguments, "VisibilityTimeout": 0})

    def delete_message_batch(self, **arguments: Any) -> dict[str, Any]:
        return self._sqs.delete_message_batch(**arguments)


def test_a_message_that_the_database_did_not_take_stays(desk: Desk) -> None:
    desk.put(ivs("Stream Start", stream_id="st-1"), ivs("Stream Start", stream_id="st-2"))
    intake = desk.intake()
    with psycopg.connect(desk.pool.conninfo, autocommit=True) as admin:
        admin.execute("create function nope() returns trigger language plpgsql as $$ begin raise exception using errcode = '57P03'; end $$")
        admin.execute("create trigger nope before insert on stream for each row when (new.stream_id = 'st-2') execute function nope()")
    with pytest.raises(DatabaseUnavailable):
        _ = [intake.step() for _ in range(2)]
    assert streams(desk.pool) == {"st-1": "wanted"}
    assert desk.left() == 1


def test_a_message_that_brings_a_bug_to_light_stays_and_the_others_pass(desk: Desk) -> None:
    with psycopg.connect(desk.pool.conninfo, autocommit=True) as admin:
        admin.execute("alter table stream add check (stream_id <> 'st-1')")
    with capture_logs() as logs:
        desk.take(ivs("Stream Start", stream_id="st-1"), ivs("Stream Start", stream_id="st-2"))
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["message.not_recorded"]
    assert streams(desk.pool) == {"st-2": "wanted"}
    assert desk.left() == 1


def test_a_queue_that_does_not_exist_is_one_sentence(desk: Desk) -> None:
    desk.settings = Queue(url=desk.deployed.queue_url + "-gone", wait_s=0)
    with pytest.raises(AwsRefused, match=r"^sqs:ReceiveMessage of \S+-gone was refused: \w*(NonExistentQueue|QueueDoesNotExist): "):
        desk.intake().run()


class Broken:
    """An SQS client that fails so many times, then says that it is time to stop."""

    def __init__(self, error: Exception, *, times: int, then: Callable[[], None]) -> None:
        self.error, self.times, self.then = error, times, then

    def receive_message(self, **_: Any) -> dict[str, Any]:
        self.times -= 1
        if self.times >= 0:
            raise self.error
        self.then()
        return {}

    def delete_message_batch(self, **_: Any) -> dict[str, Any]:
        raise AssertionError("nothing was received")


def _client_error(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "Because."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "ReceiveMessage")


def test_being_denied_says_what_to_allow(desk: Desk) -> None:
    broken = Broken(_client_error("AccessDenied", 403), times=1, then=desk.stop.set)
    with pytest.raises(AwsRefused, match=r"AccessDenied: Because; allow sqs:ReceiveMessage in the role's policy$"):
        desk.intake(broken).run()


@pytest.mark.parametrize(
    "error", [_client_error("InternalError", 500), _client_error("RequestThrottled", 400), EndpointConnectionError(endpoint_url="http://x")]
)
def test_a_failure_that_passes_is_told_once_and_tried_again(desk: Desk, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.control.queue.sleep_using_event", lambda _: lambda _: None)
    with capture_logs() as logs:
        desk.intake(Broken(error, times=3, then=desk.stop.set)).run()
    assert [line["event"] for line in logs] == ["intake.failed"]


def test_a_round_is_told_only_when_the_queue_answered(desk: Desk) -> None:
    beats: list[None] = []

    def intake(sqs: Any) -> Intake:
        return desk.intake(sqs, beat=lambda: beats.append(None))

    with pytest.raises(AwsUnavailable):
        intake(Broken(_client_error("InternalError", 500), times=1, then=desk.stop.set)).step()
    assert beats == []
    assert intake(desk.sqs).step() == 0
    assert beats == [None]


def test_while_the_database_is_away_no_message_is_taken(desk: Desk, dsn: str) -> None:
    """Each taking is counted, and after five a message goes to the dead letters, however good it is."""

    class Untouched:
        def receive_message(self, **_: Any) -> dict[str, Any]:
            raise AssertionError("a message was taken that cannot be recorded")

    with pool_of(dsn) as closed:
        desk.pool = closed
    with pytest.raises(DatabaseUnavailable):
        desk.intake(Untouched()).step()


def test_a_stop_wakes_the_wait_between_two_tries(desk: Desk) -> None:
    broken = Broken(_client_error("InternalError", 500), times=1_000_000, then=desk.stop.set)
    thread = threading.Thread(target=desk.intake(broken).run)
    thread.start()
    desk.stop.set()
    thread.join(10)
    assert not thread.is_alive()


# MediaLive


def test_a_channel_that_runs_is_a_stream_and_a_channel_that_idles_ends_it(desk: Desk) -> None:
    desk.places[CHANNEL] = "s3://archive/show"
    assert desk.take(medialive("RUNNING", time=at("18:00:00"))) == ["opened"]
    assert desk.take(medialive("RECOVERING", time=at("18:10:00")), medialive("RUNNING", time=at("18:10:09"))) == ["repeat"]
    assert desk.take(medialive("IDLE", time=at("18:30:00"))) == ["stopped"]
    assert desk.take(medialive("IDLE", time=at("18:30:00"))) == ["repeat"]
    assert streams(desk.pool) == {"123456-20261120T180000Z": "wanted stop"}
    assert row(desk.pool, "123456-20261120T180000Z")["url"] == "s3://archive/show"


def test_a_channel_that_runs_again_is_another_stream(desk: Desk) -> None:
    for state, clock in (("RUNNING", "18:00:00"), ("IDLE", "18:30:00"), ("RUNNING", "18:40:00")):
        desk.take(medialive(state, time=at(clock)))
    assert streams(desk.pool) == {"123456-20261120T180000Z": "wanted stop", "123456-20261120T184000Z": "wanted"}


@pytest.mark.parametrize(
    "order",
    [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)],
    ids=lambda order: " ".join(("running", "idle", "running again")[n] for n in order),
)
def test_the_events_of_two_runs_may_come_in_any_order(desk: Desk, order: tuple[int, int, int]) -> None:
    events = [medialive("RUNNING", time=at("18:00:00")), medialive("IDLE", time=at("18:30:00")), medialive("RUNNING", time=at("18:40:00"))]
    for n in order:
        desk.take(events[n])
    assert streams(desk.pool)["123456-20261120T184000Z"] == "wanted"
    assert streams(desk.pool).get("123456-20261120T180000Z", "wanted stop") == "wanted stop"


def test_a_stop_that_is_heard_late_parts_the_two_runs_it_lay_between(desk: Desk) -> None:
    desk.places[CHANNEL] = "s3://archive/show"
    desk.take(medialive("RUNNING", time=at("18:00:00")), medialive("RUNNING", time=at("18:40:00")))
    desk.take(s3_event("show.000000.ts", time=at("18:29:00")), s3_event("show.000001.ts", time=at("18:40:12")))
    assert set(streams(desk.pool).values()) == {"wanted"}
    desk.take(medialive("IDLE", time=at("18:30:00")))
    assert streams(desk.pool) == {"123456-20261120T180000Z": "wanted stop", "123456-20261120T184000Z": "wanted"}
    assert inbox(desk.pool) == {"show.000000.ts": "123456-20261120T180000Z", "show.000001.ts": "123456-20261120T184000Z"}
    assert row(desk.pool, "123456-20261120T184000Z")["url"] == "s3://archive/show"


def test_segments_find_their_run_by_the_place_its_channel_writes_to(desk: Desk) -> None:
    desk.places = {CHANNEL: "s3://archive/show", CHANNEL + "7": "s3://archive/show/late"}
    desk.take(medialive("RUNNING", time=at("18:00:00")), medialive("RUNNING", channel=CHANNEL + "7", time=at("18:00:00")))
    segments = [s3_event(key) for key in ("show-a.000000.ts", "show/late-a.000000.ts", "other/x.000000.ts", "show/thumbnail.jpg")]
    assert sorted(desk.take(*segments)) == ["delivered", "delivered", "foreign", "homeless"]
    assert inbox(desk.pool) == {"other/x.000000.ts": None, "show-a.000000.ts": "123456-20261120T180000Z", "show/late-a.000000.ts": "1234567-20261120T180000Z"}


def test_a_segment_twice_is_one_and_a_new_object_under_its_key_is_another(desk: Desk) -> None:
    desk.places[CHANNEL] = "s3://archive/show"
    desk.take(medialive("RUNNING", time=at("18:00:00")))
    assert sorted(desk.take(*[s3_event("show.000000.ts")] * 3)) == ["delivered", "repeat", "repeat"]
    assert desk.take(s3_event("show.000000.ts", sequencer="617f08299329d190")) == ["delivered"]
    run(desk.pool, "update stream set state = 'ended', ended_at = now(), end_reason = 'silent_origin'")
    assert desk.take(s3_event("show.000000.ts")) == ["repeat"]
    assert len(streams(desk.pool)) == 1


def test_segments_that_come_before_their_run_is_announced_are_kept_for_it(desk: Desk) -> None:
    desk.places[CHANNEL] = "s3://archive/show"
    assert desk.take(s3_event("show.000000.ts", time=at("17:00:00")), s3_event("show.000001.ts", time=at("18:00:12"))) == ["homeless", "homeless"]
    desk.take(medialive("RUNNING", time=at("18:00:00")))
    assert inbox(desk.pool) == {"show.000000.ts": None, "show.000001.ts": "123456-20261120T180000Z"}


def test_a_run_that_was_taken_for_over_goes_on_under_a_new_id(desk: Desk) -> None:
    desk.places[CHANNEL] = "s3://archive/show"
    desk.take(medialive("RUNNING", time=at("18:00:00")), s3_event("show.000000.ts", time=at("18:00:12")))
    run(desk.pool, "update stream set state = 'ended', ended_at = now(), end_reason = 'silent_origin'")
    assert desk.take(s3_event("show.000001.ts", time=at("18:50:00"))) == ["delivered"]
    assert streams(desk.pool) == {"123456-20261120T180000Z": "wanted", "123456-20261120T185000Z": "wanted"}
    assert inbox(desk.pool)["show.000001.ts"] == "123456-20261120T185000Z"
    desk.take(medialive("IDLE", time=at("18:55:00")))
    assert streams(desk.pool)["123456-20261120T185000Z"] == "wanted stop"


def test_a_folder_of_archives_opens_its_streams_by_itself(desk: Desk) -> None:
    base = "songs_to_check/streams"
    keys = [
        f"{base}/NAME/out-20261120T180000.000000.ts",
        f"{base}/NAME/out-20261120T180000.000001.ts",
        f"{base}/NAME/out-20261120T190000.000000.ts",
        f"{base}/O ther/x.000000.ts",
        "fixed/a.000000.ts",
    ]
    assert desk.take(*[s3_event(key) for key in keys]) == ["delivered"] * 5
    assert inbox(desk.pool) == {
        keys[0]: "NAME-20261120T180000",
        keys[1]: "NAME-20261120T180000",
        keys[2]: "NAME-20261120T190000",
        keys[3]: "O-ther-2026-11-20",
        keys[4]: "fixed-2026-11-20",
    }
    opened = row(desk.pool, "NAME-20261120T180000")
    assert (opened["source"], opened["url"], opened["channel_name"]) == ("medialive", f"s3://archive/{base}/NAME/out-20261120T180000", "NAME")


def test_two_pipelines_of_one_name_are_two_streams(desk: Desk) -> None:
    keys = [f"songs_to_check/streams/NAME/{pipeline}-20261120T180000.000000.ts" for pipeline in ("p0", "p1")]
    desk.take(*[s3_event(key) for key in keys])
    assert sorted(filter(None, inbox(desk.pool).values())) == ["NAME-20261120T180000", "NAME-p1-20261120T180000"]


def spares(pool: Pool) -> dict[str, str | None]:
    return {r["key"]: r["spare_of"] for r in rows(pool, "select * from inbox where stream_id is null order by key")}


def test_the_files_of_the_other_pipeline_are_the_runs_too_and_told_apart(desk: Desk) -> None:
    desk.places[CHANNEL] = ("s3://archive/p0/show", "s3://elsewhere/p1/show")
    early = s3_event("p1/show.000000.ts", bucket="elsewhere", time=at("18:00:12"))
    assert desk.take(early) == ["homeless"]
    desk.take(medialive("RUNNING", time=at("18:00:00")))
    own, others = s3_event("p0/show.000000.ts", time=at("18:00:12")), s3_event("p1/show.000001.ts", bucket="elsewhere", time=at("18:00:22"))
    assert desk.take(own, others) == ["delivered"] * 2
    run_id = "123456-20261120T180000Z"
    assert (row(desk.pool, run_id)["url"], row(desk.pool, run_id)["spare_url"]) == desk.places[CHANNEL]
    assert inbox(desk.pool)["p0/show.000000.ts"] == run_id
    assert spares(desk.pool) == {"p1/show.000000.ts": run_id, "p1/show.000001.ts": run_id}, "a daemon that knows of one pipeline never meets them"
    waiting = Inbox(pool=desk.pool, stream_id=run_id, item=ArchiveItem)
    items = waiting.waiting()
    assert [(item.key, item.spare, item.made_at is not None) for item in items] == [
        ("p0/show.000000.ts", False, True),
        ("p1/show.000000.ts", True, True),
        ("p1/show.000001.ts", True, True),
    ]
    waiting.heard(items[:2])
    assert [item.key for item in waiting.waiting()] == ["p1/show.000001.ts"]


def test_a_run_goes_on_with_the_files_of_both_pipelines(desk: Desk) -> None:
    desk.places[CHANNEL] = ("s3://archive/p0/show", "s3://archive/p1/show")
    desk.take(medialive("RUNNING", time=at("18:00:00")), s3_event("p1/show.000000.ts", time=at("18:00:12")))
    run(desk.pool, "update stream set state = 'ended', ended_at = now(), end_reason = 'silent_origin'")
    assert desk.take(s3_event("p1/show.000009.ts", time=at("18:50:00"))) == ["delivered"], "the one of which only the other pipeline is left, too"
    successor = "123456-20261120T185000Z"
    assert row(desk.pool, successor)["spare_url"] == "s3://archive/p1/show"
    assert spares(desk.pool) == {"p1/show.000000.ts": successor, "p1/show.000009.ts": successor}


def test_a_late_file_of_a_run_that_is_over_is_not_the_next_runs(desk: Desk) -> None:
    """Without $dt$ in their names both have the same place, and counters that begin at 000000."""
    desk.places[CHANNEL] = "s3://archive/show"
    desk.take(medialive("RUNNING", time=at("18:00:00")), medialive("IDLE", time=at("18:30:00")), medialive("RUNNING", time=at("18:40:00")))
    first, second = sorted(streams(desk.pool))
    assert desk.take(s3_event("show.000123.ts", time=at("18:30:02"))) == ["delivered"]
    assert inbox(desk.pool)["show.000123.ts"] == first, "while the first run's session waits for it"
    run(desk.pool, "update stream set state = 'ended', ended_at = now() where stream_id = %s", first)
    assert desk.take(s3_event("show.000124.ts", time=at("18:30:12"))) == ["homeless"]
    assert desk.take(s3_event("show.000000.ts", time=at("18:40:02"))) == ["delivered"]
    assert inbox(desk.pool)["show.000000.ts"] == second


def test_two_folders_of_one_name_are_the_two_pipelines_of_one_stream(desk: Desk) -> None:
    archives = {"s3://archive/p0/": "concert", "s3://archive/p1/": "concert"}
    desk.put(*[s3_event(f"p{p}/show-20261120T18000{p}.{n:06d}.{ext}", time=at("18:00:12")) for p, ext in ((1, "ts"), (0, "m2ts")) for n in (0, 1)])
    intake = desk.intake(**archives)
    while intake.step():
        pass
    (only,) = rows(desk.pool, "select * from stream")
    assert (only["channel_name"], only["url"], only["spare_url"]) == ("concert", "s3://archive/p0/", "s3://archive/p1/")
    assert set(spares(desk.pool).values()) == {only["stream_id"]}
    assert len(spares(desk.pool)) == 2


def test_a_channel_that_cannot_be_described_is_a_stream_without_a_place(desk: Desk) -> None:
    with capture_logs() as logs:
        assert desk.take(medialive("RUNNING")) == ["opened"]
    assert [line["reason"] for line in logs if line["event"] == "channel.without_place"] == ["medialive:DescribeChannel was refused"]
    assert row(desk.pool, "123456-20261120T184059Z")["url"] is None


def test_a_channel_that_cannot_be_described_just_now_is_left_for_later_and_holds_up_nothing(desk: Desk) -> None:
    desk.places[CHANNEL] = AwsUnavailable("medialive:DescribeChannel failed for now")
    assert desk.take(medialive("RUNNING"), ivs("Stream Start")) == ["opened"]
    assert streams(desk.pool) == {STREAM_ID: "wanted"}
    assert desk.left() == 1
