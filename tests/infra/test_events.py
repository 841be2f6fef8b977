"""The template's own event patterns, in the stand-in's EventBridge, against events as AWS documents them: what the daemon wants comes, and no more."""

import json
from typing import Any

import pytest

from control_events import IVS_CHANNEL, MEDIALIVE_CHANNEL, event, ivs, medialive, s3_event
from earmark.control.messages import Ignored, ObjectArrived, ObjectRemoved, RecordingChanged, StartStream, StopStream, parse
from earmark.local.aws import AwsStandIn
from stack_synthesis import synthesised


def recorded(status: str) -> dict[str, Any]:
    detail = {
        "channel_name": "Your Channel",
        "stream_id": "st-1A2b3c4D5e6F78ghij9Klmn",
        "recording_status": status,
        "recording_status_reason": "",
        "recording_s3_bucket_name": "recordings-one",
        "recording_s3_key_prefix": "ivs/v1/123456789012/AbCdef1G2hij/2020/6/23/20/12/j8Z9O91ndcVs",
        "recording_duration_ms": 0,
        "recording_session_id": "a6RfV23ES97iyfoQ",
    }
    return event("IVS Recording State Change", "aws.ivs", detail, resources=[IVS_CHANNEL])


def health(name: str) -> dict[str, Any]:
    return {**ivs(name), "detail-type": "IVS Stream Health Change"}


def alert(state: str) -> dict[str, Any]:
    detail = {
        "alarm_state": state,
        "alarm_id": "123",
        "alert_type": "Video Not Detected",
        "pipeline": "0",
        "channel_arn": MEDIALIVE_CHANNEL,
        "message": "Video not detected",
    }
    return event("MediaLive Channel Alert", "aws.medialive", detail, resources=[MEDIALIVE_CHANNEL])


def otherwise(detail_type: str, sent: dict[str, Any]) -> dict[str, Any]:
    return {**sent, "detail-type": detail_type}


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
    "another encoder fails to": (ivs("Stream Takeover Failure", code="x"), "IvsStreams"),
    "a stream key is accepted": (ivs("Session Created"), "IvsStreams"),
    "an encoder is gone": (ivs("Session Ended"), "IvsStreams"),
    "something new in IVS": (ivs("Stream Teleported"), None),
    "an account's limit": (
        event("IVS Limit Breach", "aws.ivs", {"limit_name": "Concurrent Viewers", "limit_value": 15_000, "exceeded_by": 1, "limit_unit": "Count"}),
        None,
    ),
    "an advertisement": (otherwise("IVS Ad State Change", ivs("Ad Start")), None),
    "an encoder starves": (health("Starvation Start"), "IvsHealth"),
    "it starves no more": (health("Starvation End"), "IvsHealth"),
    "a recording begins": (recorded("Recording Start"), "IvsRecordings"),
    "a recording cannot begin": (recorded("Recording Start Failure"), "IvsRecordings"),
    "a recording has ended": (recorded("Recording End"), "IvsRecordings"),
    "a recording ended badly": (recorded("Recording End Failure"), "IvsRecordings"),
    "what IVS has recorded": (s3_event("ivs/v1/123456789012/AbC/2020/6/23/20/12/j8Z/media/hls/master.m3u8", bucket="recordings-one"), None),
    "a channel runs": (medialive("RUNNING"), "MediaLiveChannels"),
    "a channel is idle": (medialive("IDLE"), "MediaLiveChannels"),
    "a channel recovers": (medialive("RECOVERING"), "MediaLiveChannels"),
    "a channel is deleted": (medialive("DELETED"), "MediaLiveChannels"),
    "a channel alerts": (alert("SET"), "MediaLiveChannels"),
    "an alert is over": (alert("CLEARED"), "MediaLiveChannels"),
    "another input": (otherwise("MediaLive Channel Input Change", medialive("RUNNING")), None),
    "a multiplex": (event("MediaLive Multiplex State Change", "aws.medialive", {"state": "RUNNING"}), None),
    "an archive file": (s3_event("a/b.000000.m2ts", bucket="archive-one"), "ArchiveFiles"),
    "an archive file goes": (s3_deleted("a/b.000000.m2ts", "archive-one"), None),
    "a file in a stranger's bucket": (s3_event("a/b.000000.m2ts", bucket="other"), None),
    "a recording for the catalogue": (brought("catalogue/song.flac"), "Brought"),
    "a recording is taken away": (s3_deleted("catalogue/song.flac", "catalogue-one"), "Brought"),
    "in many parts": (s3_event("a/b.000000.m2ts", bucket="archive-one", **{"version-id": "IYV3p"}), "ArchiveFiles"),
    "an archive file of another name": (s3_event("ä ö/b+c%20.000000.ts", bucket="archive-two"), "ArchiveFiles"),
    "its tags": (otherwise("Object Tags Added", brought("catalogue/song.flac")), None),
    "its class": (otherwise("Object Storage Class Changed", brought("catalogue/song.flac")), None),
    "a file to check": (brought("check/show.mp4"), "Brought"),
    "a file that was to be checked goes": (s3_deleted("check/show.mp4", "catalogue-one"), "Brought"),
    "a folder": (brought("catalogue/"), "Brought"),
    "a name as people write it": (brought('catalogue/Ärger & "Ruhe" + 100%/01 – söng\u2028.flac'), "Brought"),
    "a name without one": (brought("catalogue//.flac"), "Brought"),
    "a name that looks like a path": (brought("catalogue/../notes/song.flac"), "Brought"),
    "a name as long as S3 has them": (brought("catalogue/" + "x" * 1_014), "Brought"),
    "the place in capitals": (brought("Catalogue/song.flac"), None),
    "the place behind a slash": (brought("/catalogue/song.flac"), None),
    "the place further down": (brought("a/catalogue/song.flac"), None),
    "the place itself": (brought("check"), None),
    "something beside both": (brought("notes/song.flac"), None),
    "a place that only begins like it": (brought("catalogues/song.flac"), None),
    "an instance": (event("EC2 Instance State-change Notification", "aws.ec2", {"state": "running"}), None),
    "a stream by somebody who says he is IVS": ({**ivs("Stream Start"), "source": "my.ivs"}, None),
}


@pytest.fixture(scope="module")
def patterns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Of each rule, by its construct's name."""
    template = synthesised(
        tmp_path_factory.mktemp("cdk"), medialiveArchiveBucket="archive-one,archive-two", recordingBuckets="recordings-one", catalogueBucket="catalogue-one"
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


def test_what_comes_is_understood_and_what_is_of_consequence_comes() -> None:
    """What the daemon cannot read ends among the dead letters, and alarms; what no rule lets through is never heard of."""
    for what, (sent, rule) in EVENTS.items():
        (said,) = parse(json.dumps(sent))
        if rule:
            assert isinstance(said, StartStream | StopStream | RecordingChanged | ObjectArrived | ObjectRemoved | Ignored), what
        elif sent["source"].startswith("aws."):  # who else may write to the bus is kept out by the rules alone
            assert not isinstance(said, StartStream | StopStream | RecordingChanged), what


def test_every_rule_is_tried(patterns: dict[str, str]) -> None:
    assert set(patterns) == {rule for _, rule in EVENTS.values() if rule}
