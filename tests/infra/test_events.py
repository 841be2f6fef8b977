"""The template's own event patterns, in the stand-in's EventBridge, against events as AWS documents them: what the daemon wants comes, and no more."""

import json
from typing import Any

import pytest

from control_events import event, ivs, medialive, s3_event
from earmark.local.aws import AwsStandIn
from stack_synthesis import synthesised

RECORDED = {"recording_status": "Recording End", "stream_id": "st-1", "recording_s3_bucket_name": "recordings-one"}


def s3_deleted(key: str, bucket: str) -> dict[str, Any]:
    return {**s3_event(key, bucket=bucket), "detail-type": "Object Deleted"}


def brought(key: str) -> dict[str, Any]:
    return s3_event(key, bucket="catalogue-one")


#: What happened -> the rule that lets it through; None: none does.
EVENTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "a stream starts": (ivs("Stream Start"), "IvsStreams"),
    "a stream ends": (ivs("Stream End"), "IvsStreams"),
    "a stream fails": (ivs("Stream Failure", reason="x"), "IvsStreams"),
    "another encoder takes over": (ivs("Stream Takeover"), "IvsStreams"),
    "something new in IVS": (ivs("Stream Teleported"), None),
    "an account's limit": (event("IVS Limit Breach", "aws.ivs", {"limit_name": "Concurrent Viewers"}), None),
    "an encoder starves": (event("IVS Stream Health Change", "aws.ivs", {"event_name": "Starvation Start"}), "IvsHealth"),
    "a recording has ended": (event("IVS Recording State Change", "aws.ivs", RECORDED), "IvsRecordings"),
    "a channel runs": (medialive("RUNNING"), "MediaLiveChannels"),
    "a channel is idle": (medialive("IDLE"), "MediaLiveChannels"),
    "a channel alerts": (event("MediaLive Channel Alert", "aws.medialive", {"alarm_state": "SET"}), "MediaLiveChannels"),
    "a multiplex": (event("MediaLive Multiplex State Change", "aws.medialive", {"state": "RUNNING"}), None),
    "an archive file": (s3_event("a/b.000000.m2ts", bucket="archive-one"), "ArchiveFiles"),
    "an archive file goes": (s3_deleted("a/b.000000.m2ts", "archive-one"), None),
    "a file in a stranger's bucket": (s3_event("a/b.000000.m2ts", bucket="other"), None),
    "a recording for the catalogue": (brought("catalogue/song.flac"), "Brought"),
    "a recording is taken away": (s3_deleted("catalogue/song.flac", "catalogue-one"), "Brought"),
    "a file to check": (brought("check/show.mp4"), "Brought"),
    "something beside both": (brought("notes/song.flac"), None),
    "a place that only begins like it": (brought("catalogues/song.flac"), None),
    "an instance": (event("EC2 Instance State-change Notification", "aws.ec2", {"state": "running"}), None),
    "a stream by somebody who says he is IVS": ({**ivs("Stream Start"), "source": "my.ivs"}, None),
}


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of each rule, by its construct's name."""
    template = synthesised(
        tmp_path_factory.mktemp("cdk"), medialiveArchiveBucket="archive-one", recordingBuckets="recordings-one", catalogueBucket="catalogue-one"
    )
    found = {
        name: resource["Properties"]["EventPattern"] for name, resource in template.to_json()["Resources"].items() if resource["Type"] == "AWS::Events::Rule"
    }
    return {name.removeprefix("Events")[:-8]: json.dumps(pattern) for name, pattern in found.items()}


@pytest.fixture
def arrived(aws: AwsStandIn, patterns: dict[str, str]) -> Any:
    """Sends an event; says whose queues it reached."""
    sqs, bridge = aws.client("sqs"), aws.client("events")
    queues = {}
    for name, pattern in patterns.items():
        queues[name] = sqs.create_queue(QueueName=name)["QueueUrl"]
        bridge.put_rule(Name=name, EventPattern=pattern)
        arn = sqs.get_queue_attributes(QueueUrl=queues[name], AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        bridge.put_targets(Rule=name, Targets=[{"Id": name, "Arn": arn}])

    def send(sent: dict[str, Any]) -> list[str]:
        entry = {"Source": sent["source"], "DetailType": sent["detail-type"], "Detail": json.dumps(sent["detail"]), "Resources": sent["resources"]}
        assert bridge.put_events(Entries=[entry])["FailedEntryCount"] == 0
        reached = []
        for name, url in queues.items():
            messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
            reached += [name] * len(messages)
            for message in messages:
                assert json.loads(message["Body"])["detail-type"] == sent["detail-type"]
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return reached

    return send


def test_what_the_daemon_wants_comes_through_one_rule_and_nothing_else_does(arrived: Any) -> None:
    wrong = {what: reached for what, (sent, rule) in EVENTS.items() if (reached := arrived(sent)) != ([rule] if rule else [])}
    assert wrong == {}


def test_every_rule_is_tried(patterns: dict[str, str]) -> None:
    assert set(patterns) == {rule for _, rule in EVENTS.values() if rule}
