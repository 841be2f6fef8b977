"""Hits that go out as messages: once for each state, and what became of them is on record in the hit."""

import json
import threading

import pytest

from action_stage import Stage
from earmark.actions.audited import Audited
from earmark.actions.telling import Telling
from earmark.aws import Clients
from earmark.errors import AwsRefused, AwsUnavailable
from earmark.hits.outbox import Publisher, retry
from earmark.hits.outgoing import Outgoing
from earmark.hits.sinks import S3Sink
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool
from earmark.publishing import Publishing
from earmark.settings import Outbox
from earmark.telemetry import Metrics
from webhook_receiver import Receiver as WebhookReceiver

BUS = {"eventbridge": {"mode": "on", "on": ["block"], "states": ["open", "closed"]}}


class Receiver:
    """Takes what it is sent, or raises what it was given."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.errors: list[Exception] = []

    def send(self, item: Outgoing) -> str:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(item)
        return "stored"


class Counted:
    def __init__(self) -> None:
        self.results: list[tuple[str, str]] = []

    def published(self, *, target: str, result: str, seconds: float, delay_s: float | None = None) -> None:
        self.results.append((target, result))

    def owed(self, *, waiting: int, dead: int, oldest_s: float) -> None: ...


@pytest.fixture
def stage(pool: Pool, aws: AwsStandIn) -> Stage:
    return Stage(pool, aws, **BUS)


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def sink(stage: Stage, receiver: Receiver) -> Audited:
    return Audited(receiver, Telling(pool=stage.pool, results=stage.settings.results, meter=stage.meter))  # type: ignore[arg-type]


def test_each_state_is_told_once_and_the_hit_says_that_it_was(stage: Stage, sink: Audited, receiver: Receiver) -> None:
    stage.heard(stage.play(), until_s=112.0)
    stage.heard(stage.play(revision=2), until_s=120.0)
    (item,) = stage.waiting("eventbridge")
    sink.send(item)
    stage.heard(stage.play("closed", revision=3), until_s=140.0)
    sink.send(stage.waiting("eventbridge")[1])
    assert [(sent.attributes["occasion"], sent.revision) for sent in receiver.sent] == [("open", 1), ("closed", 4)]
    assert stage.told() == [("eventbridge", "open", "done", ""), ("eventbridge", "closed", "done", "")]
    assert stage.hit()["policy"]["dry_run"] is False
    sink.send(item)  # whoever sent it died before it was crossed out: the receiver knows its id
    assert len(receiver.sent) == 3
    assert stage.hit()["revision"] == 5


def test_a_refusal_is_told_and_may_still_be_mended(stage: Stage, sink: Audited, receiver: Receiver) -> None:
    stage.heard(stage.play(), until_s=112.0)
    (item,) = stage.waiting("eventbridge")
    receiver.errors = [AwsUnavailable("events:PutEvents failed for now"), *[AwsRefused("allow events:PutEvents in the role's policy")] * 2]
    with pytest.raises(AwsUnavailable):
        sink.send(item)
    assert stage.told() == [("eventbridge", "open", "waiting", "")]
    for _ in range(2):
        with pytest.raises(AwsRefused):
            sink.send(item)
    assert stage.told() == [("eventbridge", "open", "failed", "allow events:PutEvents in the role's policy")]
    assert stage.hit()["revision"] == 2  # told once, however often it is tried
    sink.send(item)
    assert stage.told() == [("eventbridge", "open", "done", "")]
    assert stage.meter.results == [("eventbridge", "failed"), ("eventbridge", "done")]


def test_a_receiver_that_refuses_in_other_words_each_time_has_the_hit_written_anew_once(stage: Stage, sink: Audited, receiver: Receiver) -> None:
    stage.heard(stage.play(), until_s=112.0)
    (item,) = stage.waiting("eventbridge")
    receiver.errors = [AwsRefused(f"request {number} was refused") for number in range(3)]
    for _ in range(3):
        with pytest.raises(AwsRefused):
            sink.send(item)
    assert stage.told() == [("eventbridge", "open", "failed", "request 0 was refused")]
    assert stage.hit()["revision"] == 2


def test_what_fails_for_an_hour_is_told_once_and_goes_on_being_tried(stage: Stage, sink: Audited, receiver: Receiver) -> None:
    stage.heard(stage.play(), until_s=112.0)
    (item,) = stage.waiting("eventbridge")
    receiver.errors = [AwsUnavailable(f"no answer for {number} s") for number in range(3)]
    with pytest.raises(AwsUnavailable):
        sink.send(item)
    assert stage.told()[0][2] == "waiting"
    stage.execute("update action set due_at = now() - interval '61 minutes'")
    for _ in range(2):
        with pytest.raises(AwsUnavailable):
            sink.send(item)
    assert stage.told() == [("eventbridge", "open", "failed", "not yet: no answer for 1 s")]
    sink.send(item)
    assert stage.told()[0][2] == "done"


def test_the_message_has_what_is_to_be_done_in_it_and_follows_its_document(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    ((before,),) = stage.execute("select first.key from outbox o join outbox first on first.outbox_id = o.after_id where o.target = 'eventbridge'")
    assert before.endswith("/hits/st-on-air-100.json")
    assert '"actions":[{"kind":"eventbridge","state":"waiting","occasion":"open"' in stage.waiting("eventbridge")[0].body


def test_what_is_off_by_now_is_taken_back(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    assert stage.sinks(eventbridge={"mode": "off"})["eventbridge"].send(stage.waiting("eventbridge")[0]) == "superseded"
    assert stage.told() == [("eventbridge", "open", "withdrawn", "it was switched off meanwhile")]


def test_a_stop_on_its_way_through_the_publisher(pool: Pool, aws: AwsStandIn) -> None:
    """What is not due is not taken; what is put off is no failure, and comes again."""
    stage = Stage(pool, aws, stop_stream={"mode": "on"})
    aws.client("s3").create_bucket(Bucket="results")
    counted = Counted()
    sinks = {"s3": S3Sink(client=aws.client("s3"), bucket="results"), **stage.sinks()}
    publisher = Publisher(pool=pool, sinks=sinks, settings=Outbox(poll_s=0.05), stop=threading.Event(), metrics=counted)  # type: ignore[arg-type]
    stage.heard(stage.play(), until_s=112.0)
    assert not publisher.drain(limit_s=0.5)
    assert ("ivs_stop", "sent") not in counted.results
    assert retry(pool, [outbox_id for (outbox_id,) in stage.execute("select outbox_id from outbox where target = 'ivs_stop'")]) == 1
    assert not publisher.drain(limit_s=0.5)
    ((attempts, dead, waits),) = stage.execute("select attempts, dead_at is not null, due_at > now() from outbox where target = 'ivs_stop'")
    assert (attempts, dead, waits) == (0, False, True)
    assert not [result for target, result in counted.results if target == "ivs_stop"]
    stage.heard(until_s=125.0, playing=[stage.play(length_s=24.0)])
    stage.execute("update outbox set due_at = now() where target = 'ivs_stop'")
    assert publisher.drain(limit_s=10)
    assert stage.done() == ["StopStream"]
    assert ("ivs_stop", "sent") in counted.results
    stored = aws.client("s3").get_object(Bucket="results", Key="eu/st-on-air/hits/st-on-air-100.json")["Body"].read().decode()
    assert '"state": "done"' in stored


def test_a_hit_on_its_way_to_a_webhook_and_an_event_bus(pool: Pool, aws: AwsStandIn) -> None:
    deployed = aws.deploy()
    aws.client("events").put_rule(Name="plays", EventPattern='{"source": ["earmark"]}')
    aws.client("events").put_targets(Rule="plays", Targets=[{"Id": "queue", "Arn": deployed.queue_arn}])
    with WebhookReceiver().running() as receiver:
        webhook = receiver.settings().model_dump() | {"mode": "on", "on": ["block"]}
        stage = Stage(pool, aws, eventbridge=BUS["eventbridge"], webhook=webhook)
        stage.heard(stage.play(), until_s=112.0)
        sinks = stage.sinks()
        for target in ("webhook", "eventbridge"):
            (item,) = stage.waiting(target)
            assert sinks[target].send(item) == "stored"
        (posted,) = receiver.posted
    event = json.loads(aws.client("sqs").receive_message(QueueUrl=deployed.queue_url)["Messages"][0]["Body"])
    assert json.loads(posted.body)["hit_id"] == event["detail"]["hit_id"] == stage.play().hit_id
    assert [(kind, state) for kind, _, state, _ in stage.told()] == [("webhook", "done"), ("eventbridge", "done")]


def test_what_is_done_to_streams_waits_for_no_bucket(pool: Pool, aws: AwsStandIn) -> None:
    settings = Stage(pool, aws, now_playing={"mode": "on"}).settings
    made = Publishing(
        settings=settings, pool=pool, clients=Clients(settings.aws), live_stream_id=lambda _arn: None, stop=threading.Event(), metrics=Metrics.build()
    )
    assert [name for name, *_ in made.loops()] == ["publisher", "broadcasts"]


def test_a_session_and_those_who_tell_of_actions_do_not_lose_each_others_words(pool: Pool, aws: AwsStandIn) -> None:
    """Revisions of both follow one another, none is lost, and the last one has it all."""
    stage = Stage(pool, aws, eventbridge=BUS["eventbridge"], now_playing={"mode": "on"}, stop_stream={"mode": "on"})
    stage.heard(stage.play(), until_s=112.0)
    told = Telling(pool=pool, results=stage.settings.results, meter=stage.meter)
    items = [*stage.waiting("eventbridge"), *stage.waiting("ivs_metadata"), *stage.waiting("ivs_stop")]

    def tell(item: Outgoing) -> None:
        for attempt in range(8):
            told.tell(item, "failed", f"refused {attempt}")
            stage.execute(f"update action set state = 'waiting' where kind = '{item.target}'")
        told.tell(item, "done")

    threads = [threading.Thread(target=tell, args=(item,)) for item in items]
    for thread in threads:
        thread.start()
    for revision in range(2, 20):
        stage.heard(stage.play(revision=revision), until_s=112.0 + revision)
    for thread in threads:
        thread.join(60)
    stage.heard(stage.play("closed", revision=20, length_s=40.0), until_s=152.0)

    assert stage.hit()["revision"] == 20 + 3 * 9
    assert stage.execute("select told_besides from play") == [(27,)]
    assert sorted((kind, occasion or "", state) for kind, occasion, state, _ in stage.told()) == [
        ("eventbridge", "closed", "waiting"),
        ("eventbridge", "open", "done"),
        ("ivs_metadata", "closed", "waiting"),
        ("ivs_metadata", "open", "done"),
        ("ivs_stop", "", "done"),
    ]
