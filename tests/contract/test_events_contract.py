"""Hits on an event bus of the AWS stand-in, with a rule that hands them to a queue; and what PutEvents says when it takes nothing."""

import json

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

import hits_samples as samples
from earmark.actions.eventbridge import ENTRY_BYTES_MAX, EventBridgeSink, entry, size
from earmark.errors import AwsRefused, AwsUnavailable
from earmark.hits.record import Outgoing
from earmark.hits.text import TEXT_MAX, dumps

BUS = "arn:aws:events:us-east-1:123456789012:event-bus/music"


def told(revision=1, **changes):
    hit = {**samples.hit(), "revision": revision, **changes}
    return Outgoing(target="eventbridge", stream_id=hit["stream"]["id"], key=hit["hit_id"], revision=revision, content_type="application/json", body=dumps(hit))


class Bus:
    """A bus, a rule of its owner's, and the queue that the rule fills."""

    def __init__(self, aws, name, pattern):
        self.events, self.sqs = aws.client("events"), aws.client("sqs")
        self.arn = self.events.create_event_bus(Name=name)["EventBusArn"] if name != "default" else name
        self.queue = self.sqs.create_queue(QueueName="plays")["QueueUrl"]
        queue_arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        self.events.put_rule(Name="plays", EventBusName=name, EventPattern=json.dumps(pattern))
        self.events.put_targets(Rule="plays", EventBusName=name, Targets=[{"Id": "plays", "Arn": queue_arn}])

    def arrived(self):
        received = self.sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages", [])
        return [json.loads(message["Body"]) for message in received]


OURS = {"source": ["earmark"], "detail-type": ["Earmark Play"]}


@pytest.mark.parametrize("name", ["default", "music"])
def test_a_rule_hands_a_hit_on_as_it_is(aws, name):
    bus = Bus(aws, name, OURS)

    assert EventBridgeSink(client=bus.events, bus=name).send(told()) == "stored"
    (event,) = bus.arrived()
    assert event["detail"] == json.loads(told().body)
    assert (event["source"], event["detail-type"], event["resources"]) == ("earmark", "Earmark Play", [samples.STREAM.channel_arn])
    samples.validator("hit").validate(event["detail"])


def test_a_bus_may_be_named_by_its_arn(aws):
    bus = Bus(aws, "music", OURS)

    EventBridgeSink(client=bus.events, bus=bus.arn).send(told())
    assert len(bus.arrived()) == 1


def test_a_rule_picks_by_what_is_in_the_hit(aws):
    bus = Bus(aws, "music", {**OURS, "detail": {"policy": {"action": ["block"]}, "state": ["open"]}})
    sink = EventBridgeSink(client=bus.events, bus="music")
    sink.send(told())
    sink.send(told(2, policy={**samples.hit()["policy"], "action": "block"}))

    assert [event["detail"]["revision"] for event in bus.arrived()] == [2]


def test_a_repeat_is_known_by_hit_and_revision(aws):
    """EventBridge knows none."""
    bus = Bus(aws, "music", OURS)
    sink = EventBridgeSink(client=bus.events, bus="music")
    for _ in range(2):
        sink.send(told(3))

    assert [(event["detail"]["hit_id"], event["detail"]["revision"]) for event in bus.arrived()] == [(told().key, 3)] * 2


def test_a_stream_that_is_no_resource_of_aws_has_none():
    hit = samples.hit()

    assert entry(told(stream={**hit["stream"], "channel_arn": None}))["Resources"] == []
    assert entry(told(stream={**hit["stream"], "channel_arn": "radio-one"}))["Resources"] == []


def test_what_is_too_large_for_targets_is_shortened_and_says_so(aws):
    hit = samples.hit()
    long = "🎵" * TEXT_MAX
    tags = {f"tag-{n}": long for n in range(50)}
    item = told(stream={**hit["stream"], "tags": tags}, track={**hit["track"], "title": long, "artists": [long] * 100, "isrc": [long] * 100})
    assert len(item.body.encode()) > ENTRY_BYTES_MAX

    bus = Bus(aws, "music", OURS)
    EventBridgeSink(client=bus.events, bus="music").send(item)
    (event,) = bus.arrived()
    assert size(entry(item)) < ENTRY_BYTES_MAX / 4
    assert event["detail"]["truncated"] is True
    assert (event["detail"]["hit_id"], event["detail"]["query"]) == (hit["hit_id"], hit["query"])
    samples.validator("hit").validate(event["detail"])


def test_what_just_fits_is_sent_whole():
    hit, room = samples.hit(), ENTRY_BYTES_MAX - size(entry(told()))
    fits = told(note="x" * (room - len(',"note":""')))
    assert size(entry(fits)) == ENTRY_BYTES_MAX
    assert entry(fits)["Detail"] == fits.body
    assert json.loads(entry(told(note="x" * room))["Detail"])["truncated"] is True
    assert "truncated" not in hit


@pytest.mark.parametrize(
    "title",
    ["<script>alert(1)</script>", '=HYPERLINK("http://evil.example")', "\u202eevil\u202c", "a\nb\r\nc\td", "🎵" * 500, "x" * 2_000, '"\\\u2028', "\ufffd"],
)
def test_what_strangers_wrote_arrives_as_they_wrote_it(aws, title):
    bus = Bus(aws, "music", OURS)
    EventBridgeSink(client=bus.events, bus="music").send(told(track={**samples.hit()["track"], "title": title}))

    assert [event["detail"]["track"]["title"] for event in bus.arrived()] == [title]


def test_a_bus_that_does_not_exist_is_one_sentence(aws):
    with pytest.raises(AwsRefused, match="events:PutEvents of gone was refused: ") as caught:
        EventBridgeSink(client=aws.client("events"), bus="gone").send(told())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "code, message, error, says",
    [
        ("InternalFailure", "We encountered an internal error.", AwsUnavailable, "failed for now: InternalFailure: We encountered an internal error"),
        ("InternalException", "", AwsUnavailable, "failed for now: InternalException"),
        ("ThrottlingException", "Rate exceeded", AwsUnavailable, "failed for now: ThrottlingException: Rate exceeded"),
        ("AccessDeniedException", "no", AwsRefused, "was refused: AccessDeniedException: no; allow events:PutEvents in the role's policy"),
        ("NotAuthorizedForSourceException", "Not authorized for the source.", AwsRefused, "and in the bus's if it is another account's"),
        ("MalformedDetail", "Detail is\nmalformed.", AwsRefused, "was refused: MalformedDetail: Detail is malformed"),
        ("SomethingNew", "x" * 5_000, AwsRefused, "SomethingNew"),
        ("", "", AwsRefused, "was refused: no reason given"),
    ],
)
def test_an_answer_of_200_that_took_nothing_is_a_failure(code, message, error, says):
    client = boto3.client("events", region_name="us-east-1")
    failed = {"ErrorCode": code, "ErrorMessage": message} if code else {}
    with Stubber(client) as stub:
        stub.add_response("put_events", {"FailedEntryCount": 1, "Entries": [failed]})
        with pytest.raises(error) as caught:
            EventBridgeSink(client=client, bus=BUS).send(told())
    assert says in str(caught.value)
    assert BUS in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "code, status, error",
    [("ThrottlingException", 400, AwsUnavailable), ("InternalException", 500, AwsUnavailable), ("AccessDeniedException", 400, AwsRefused)],
)
def test_a_request_that_is_refused_as_a_whole_is_told_as_elsewhere(code, status, error):
    client = boto3.client("events", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))
    with Stubber(client) as stub:
        stub.add_client_error("put_events", code, "of it", status)
        with pytest.raises(error, match=r"events:PutEvents of .*event-bus/music"):
            EventBridgeSink(client=client, bus=BUS).send(told())


def test_an_entry_is_as_large_as_eventbridge_counts_it():
    made = {"Source": "earmark", "DetailType": "Earmark Play", "Detail": '{"ü":1}', "Resources": ["arn:x", "y"]}
    assert size(made) == 7 + 12 + 8 + 6
