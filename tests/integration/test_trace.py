"""One id from the event to the hit: the first event's stays, whoever opens, goes on with or takes over a stream."""

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from structlog.testing import capture_logs

from control_events import IVS_CHANNEL, MEDIALIVE_CHANNEL, STREAM_ID, ivs, medialive, s3_event, sns
from control_rows import leases_of, pass_time, row, rows, run, want
from earmark.control import listing, recordings, traces, wanted
from earmark.control.leases import HandedOver
from earmark.control.messages import RecordingChanged, parse
from earmark.control.places import Places
from earmark.control.queue import ControlQueue, Intake
from earmark.control.reconcile import LiveStream, Reconcile
from earmark.hits.outbox import Publisher
from earmark.hits.record import Outgoing
from earmark.model import Checkpoint, Gap
from earmark.postgres import Pool, transaction
from earmark.settings import Outbox, Prices, Queue
from earmark.settings import Reconcile as ReconcileSettings

FIRST, SECOND, THIRD = (str(uuid.UUID(int=number)) for number in (1, 2, 3))
NOW = datetime(2026, 11, 20, 19, tzinfo=UTC)


class OneByOne:
    """SQS that gives what it was given, once."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies = [json.dumps(body) for body in bodies]

    def receive_message(self, **_: Any) -> dict[str, Any]:
        messages = [{"MessageId": f"m-{n}", "ReceiptHandle": "r", "Body": body, "Attributes": {"SentTimestamp": "0"}} for n, body in enumerate(self.bodies)]
        self.bodies = []
        return {"Messages": messages}

    def delete_message_batch(self, **_: Any) -> dict[str, Any]:
        return {}


class Uncounted:
    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


def heard(pool: Pool, *bodies: dict[str, Any], check: str = "") -> list[Any]:
    """What the log says of these messages."""
    settings = Queue(url="http://queue", wait_s=0)
    intake = Intake(
        queue=ControlQueue(sqs=OneByOne(*bodies), settings=settings),
        pool=pool,
        settings=settings,
        places=Places(archives={"s3://archive/": "*"}, check=check),
        archive_places=lambda _: ("s3://archive/run",),
        meter=Uncounted(),
        stop=threading.Event(),
        now=lambda: NOW,
    )
    with capture_logs() as lines:
        intake.step()
    return lines


def said(event_id: str, body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "id": event_id}


def trace(pool: Pool, stream_id: str = STREAM_ID) -> Any:
    return row(pool, stream_id)["trace_id"]


def is_made(trace_id: Any) -> bool:
    return str(uuid.UUID(trace_id)) == trace_id and uuid.UUID(trace_id).version == 4


def test_the_event_of_its_start_is_its_trace_whatever_comes_later(pool: Pool) -> None:
    start, again, end = said(FIRST, ivs("Stream Start")), said(SECOND, ivs("Stream Start")), said(THIRD, ivs("Stream End"))
    opened, stopped = heard(pool, start, start, again, end, end)
    assert trace(pool) == FIRST
    assert (opened["event"], opened["stream_id"], opened["trace_id"], opened["event_id"]) == ("stream.wanted", STREAM_ID, FIRST, FIRST)
    assert (stopped["event"], stopped["stream_id"], stopped["trace_id"], stopped["event_id"]) == ("stream.stopped", STREAM_ID, FIRST, THIRD)


def test_an_end_that_comes_first_is_the_first_event(pool: Pool) -> None:
    stopped, opened = heard(pool, said(SECOND, ivs("Stream End")), said(FIRST, ivs("Stream Start")))
    assert trace(pool) == SECOND
    assert (stopped["trace_id"], stopped["event_id"]) == (SECOND, SECOND)
    assert (opened["trace_id"], opened["event_id"]) == (SECOND, FIRST)


def test_what_is_no_id_of_an_event_is_not_taken_for_one(pool: Pool) -> None:
    bad = (None, 7, "", "short", "x" * 65, "0123\n4567-89", "';drop table--", "\x1b[31m-red-red", ["a"], "ümlaut-ümlaut")
    for number, event_id in enumerate(bad):
        (opened,) = heard(pool, {**ivs("Stream Start", stream_id=f"st-{number}"), "id": event_id})
        assert is_made(trace(pool, f"st-{number}"))
        assert (opened["trace_id"], opened["event_id"]) == (trace(pool, f"st-{number}"), "")


def test_an_event_inside_an_sns_notification_keeps_its_id(pool: Pool) -> None:
    heard(pool, sns(said(FIRST, ivs("Stream Start"))))
    assert trace(pool) == FIRST


def test_who_says_a_thing_does_not_change_it() -> None:
    one, two = (parse(json.dumps(said(event_id, ivs("Stream Start")))) for event_id in (FIRST, SECOND))
    assert one == two
    assert [message.event_id for message in (*one, *two)] == [FIRST, SECOND]  # type: ignore[union-attr]


def test_the_stop_of_a_medialive_channel_is_told_of_each_of_its_runs(pool: Pool) -> None:
    channel = {"channel": MEDIALIVE_CHANNEL}
    began, stopped, nothing = heard(
        pool,
        said(FIRST, medialive("RUNNING", time="2026-11-20T18:40:59Z", **channel)),
        said(SECOND, medialive("STOPPED", time="2026-11-20T18:50:00Z", **channel)),
        said(THIRD, medialive("STOPPED", time="2026-11-20T18:55:00Z", channel=MEDIALIVE_CHANNEL[:-1])),
    )
    (run_id,) = (found["stream_id"] for found in rows(pool, "select stream_id from stream"))
    assert (began["stream_id"], began["trace_id"]) == (run_id, FIRST)
    assert (stopped["stream_id"], stopped["trace_id"], stopped["event_id"]) == (run_id, FIRST, SECOND)
    assert "stream_id" not in nothing and nothing["event_id"] == THIRD


def test_a_run_that_goes_on_under_another_id_keeps_its_trace(pool: Pool) -> None:
    heard(pool, said(FIRST, medialive("RUNNING", time="2026-11-20T18:40:59Z")))
    (run_id,) = (found["stream_id"] for found in rows(pool, "select stream_id from stream"))
    with transaction(pool) as connection:
        successor = wanted.succeed(connection, run_id, NOW, cut=True)
    assert trace(pool, successor) == FIRST


def test_an_object_that_opens_a_stream_gives_it_the_id_of_its_event(pool: Pool) -> None:
    heard(pool, said(FIRST, s3_event("folder/run-20261120T184059.000000.ts")), said(SECOND, s3_event("file.mp3", bucket="check")), check="s3://check/")
    assert {found["source"]: found["trace_id"] for found in rows(pool, "select source, trace_id from stream")} == {"medialive": FIRST, "file": SECOND}


def test_what_a_sweep_adopts_and_misses_has_a_trace_of_its_own_in_the_log(pool: Pool) -> None:
    heard(pool, said(FIRST, ivs("Stream Start", stream_id="st-over")))
    run(pool, "update stream set unlisted_at = now() - interval '1 hour'")
    live = [LiveStream(stream_id="st-forgotten", channel_arn=IVS_CHANNEL, started_at=NOW)]
    sweep = Reconcile(pool=pool, list_live=lambda: live, settings=ReconcileSettings(), meter=Uncounted(), stop=threading.Event())
    with capture_logs() as lines:
        sweep.sweep()
    told = {line["event"]: (line["stream_id"], line["trace_id"]) for line in lines}
    assert told == {"stream.adopted": ("st-forgotten", trace(pool, "st-forgotten")), "stream.missed": ("st-over", FIRST)}
    assert is_made(trace(pool, "st-forgotten"))


def test_it_survives_owners_and_a_row_of_before_gets_one_when_it_is_claimed(pool: Pool) -> None:
    want(pool, "st-new")
    want(pool, "st-old")
    run(pool, "update stream set trace_id = null where stream_id = 'st-old'")
    one, two = leases_of(pool, "one"), leases_of(pool, "two")
    with capture_logs() as lines:
        first = {lease.stream.stream_id: lease.stream.trace_id for lease in one.claim(10)}
    assert {line["stream_id"]: line["trace_id"] for line in lines} == first
    assert all(map(is_made, first.values()))
    pass_time(pool, 3_600)  # the first owner is gone
    taken_over = two.claim(10)
    assert {lease.stream.stream_id: lease.stream.trace_id for lease in taken_over} == first
    for lease in taken_over:
        two.release(lease, HandedOver())
    assert {lease.stream.stream_id: lease.stream.trace_id for lease in leases_of(pool, "three").claim(10)} == first


def test_what_fills_gaps_has_the_trace_of_its_stream(pool: Pool) -> None:
    heard(pool, said(FIRST, ivs("Stream Start")))
    gap = Gap(begin_s=2.0, end_s=4.0, reason="worker_lost")
    checkpoint = Checkpoint(state="ended", position_s=10.0, heard_s=8.0, gaps=(gap,), clock=NOW, clock_source="program_date_time")
    run(pool, "update stream set state = 'ended', ended_at = now(), end_reason = 'endlist', checkpoint = %s::jsonb", checkpoint.to_json())
    place = {"bucket": "recordings", "prefix": "ivs/v1/123456789012/AbCdef1G2hij/2026/11/20/19/0/Ab1"}
    ended = RecordingChanged(status="ended", channel_arn=IVS_CHANNEL, stream_ids=(STREAM_ID,), duration_s=10.0, at=NOW + timedelta(minutes=1), **place)
    with transaction(pool) as connection:
        recordings.record(connection, ended, fill_gaps=True)
    (fill,) = rows(pool, "select stream_id, trace_id from stream where parent = %s", STREAM_ID)
    assert fill["trace_id"] == FIRST
    with transaction(pool) as connection:
        parent = recordings.parent_of(connection, fill["stream_id"])
    assert parent is not None and parent.stream.trace_id == FIRST


def test_a_document_that_cannot_leave_says_whose_it_is(pool: Pool) -> None:
    heard(pool, said(FIRST, ivs("Stream Start")))
    run(pool, "insert into outbox (stream_id, target, key, revision, body, trace_id) values (%s, 's3', 'k', 1, '{}', %s)", STREAM_ID, FIRST)

    class Down:
        def send(self, item: Outgoing) -> Any:
            raise ValueError(item.key)

    stop = threading.Event()
    publisher = Publisher(pool=pool, sinks={"s3": Down()}, settings=Outbox(), stop=stop, metrics=Uncounted())
    with capture_logs() as lines:
        publisher.drain(limit_s=0.5)
    assert {line["event"] for line in lines} == {"outbox.crashed", "outbox.failed"}
    assert {(line["stream_id"], line["trace_id"], line["target"], line["key"]) for line in lines} == {(STREAM_ID, FIRST, "s3", "k")}


def test_it_is_listed(pool: Pool) -> None:
    heard(pool, said(FIRST, ivs("Stream Start")))
    (listed,) = listing.streams(pool, prices=Prices())
    assert (listed.stream_id, listed.trace_id) == (STREAM_ID, FIRST)


def test_traces_of_streams_that_are_not_on_record_are_left_out(pool: Pool) -> None:
    want(pool, "st-1")
    with transaction(pool) as connection:
        assert list(traces.of(connection, ["st-none", "st-1"])) == ["st-1"]
        assert traces.of(connection, []) == {}
