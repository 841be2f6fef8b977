"""The AWS stand-in behaves as AWS where the daemon can tell the difference, moto's gaps included."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import botocore.exceptions
import pytest

from earmark.local.aws import AwsStandIn, credentials


def _body(aws: AwsStandIn, queue_url: str) -> Any:
    return json.loads(aws.client("sqs").receive_message(QueueUrl=queue_url)["Messages"][0]["Body"])


def test_a_stream_event_on_the_bus_reaches_the_queue_in_the_documented_shape(aws: AwsStandIn) -> None:
    deployed = aws.deploy()
    channel = aws.put_channel("demo")
    aws.put_stream_event(channel, "st-1", "Stream Start", time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    event = _body(aws, deployed.queue_url)
    assert event["source"] == "aws.ivs"
    assert event["detail-type"] == "IVS Stream State Change"
    assert event["time"] == "2026-01-02T03:04:05Z"
    assert event["resources"] == [channel]
    assert event["detail"] == {"event_name": "Stream Start", "channel_name": "demo", "stream_id": "st-1"}


def test_what_the_rule_does_not_name_stays_off_the_queue(aws: AwsStandIn) -> None:
    deployed = aws.deploy()
    aws.client("events").put_events(Entries=[{"Source": "aws.ivs", "DetailType": "IVS Limit Breach", "Detail": "{}"}])
    assert "Messages" not in aws.client("sqs").receive_message(QueueUrl=deployed.queue_url)


def test_an_archived_segment_is_announced_on_the_same_queue(aws: AwsStandIn) -> None:
    deployed = aws.deploy()
    aws.client("s3").put_object(Bucket=deployed.archive_bucket, Key="show 1/run.000001.ts", Body=b"x")
    assert _body(aws, deployed.queue_url)["detail"]["object"]["key"] == "show 1/run.000001.ts"


def test_a_channel_that_is_not_live_is_an_error_as_on_aws(aws: AwsStandIn) -> None:
    ivs = aws.client("ivs")
    channel = aws.put_channel("demo", playback_url="http://127.0.0.1:9/m.m3u8")
    with pytest.raises(ivs.exceptions.ChannelNotBroadcasting):
        ivs.get_stream(channelArn=channel)
    assert ivs.list_streams()["streams"] == []
    assert ivs.get_channel(arn=channel)["channel"]["playbackUrl"] == "http://127.0.0.1:9/m.m3u8"
    aws.go_live(channel, "st-1", "http://127.0.0.1:9/live.m3u8")
    assert ivs.get_stream(channelArn=channel)["stream"]["playbackUrl"] == "http://127.0.0.1:9/live.m3u8"
    assert [(stream["channelArn"], stream["streamId"]) for stream in ivs.list_streams()["streams"]] == [(channel, "st-1")]
    aws.go_offline(channel)
    with pytest.raises(ivs.exceptions.ChannelNotBroadcasting):
        ivs.get_stream(channelArn=channel)


def test_an_unknown_channel_is_an_error_and_half_an_answer(aws: AwsStandIn) -> None:
    ivs = aws.client("ivs")
    known = aws.put_channel("known")
    with pytest.raises(ivs.exceptions.ResourceNotFoundException):
        ivs.get_channel(arn=known + "x")
    both = ivs.batch_get_channel(arns=[known, known + "x"])
    assert [channel["arn"] for channel in both["channels"]] == [known]
    assert [error["arn"] for error in both["errors"]] == [known + "x"]


def test_live_streams_are_listed_in_pages(aws: AwsStandIn) -> None:
    for number in range(5):
        aws.go_live(aws.put_channel(f"c{number}"), f"st-{number}", "")
    listed, token = [], {}
    while True:
        page = aws.client("ivs").list_streams(maxResults=2, **token)
        listed += [stream["streamId"] for stream in page["streams"]]
        if "nextToken" not in page:
            break
        token = {"nextToken": page["nextToken"]}
    assert listed == [f"st-{number}" for number in range(5)]


def test_each_subscriber_reads_its_own_text(aws: AwsStandIn) -> None:
    deployed = aws.deploy()
    message = json.dumps({"default": '{"a": 1}', "email": "Dear reader,\nit was played."})
    attributes = {name: {"DataType": "String", "StringValue": value} for name, value in {"action": "monitor", "state": "closed"}.items()}
    aws.client("sns").publish(TopicArn=deployed.topic_arn, Subject="Played", Message=message, MessageStructure="json", MessageAttributes=attributes)
    (mail,) = aws.mails()
    assert (mail.to, mail.subject, mail.text) == (deployed.mail_address, "Played", "Dear reader,\nit was played.")
    assert mail.attributes == {"action": "monitor", "state": "closed"}
    assert _body(aws, deployed.alerts_queue_url) == {"a": 1}


def test_what_is_for_people_alone_does_not_get_to_the_queue(aws: AwsStandIn) -> None:
    deployed = aws.deploy()
    attributes = {"state": {"DataType": "String", "StringValue": "ended"}}
    aws.client("sns").publish(TopicArn=deployed.topic_arn, Message="x", MessageAttributes=attributes)
    assert [mail.text for mail in aws.mails()] == ["x"]
    assert "Messages" not in aws.client("sqs").receive_message(QueueUrl=deployed.alerts_queue_url)


def test_filter_policies_hold_for_mail_too(aws: AwsStandIn) -> None:
    deployed = aws.deploy()
    policy = {"FilterPolicy": json.dumps({"action": ["block"]})}
    aws.client("sns").subscribe(TopicArn=deployed.topic_arn, Protocol="email", Endpoint="blockers@example.com", Attributes=policy)
    for action in ("monitor", "block"):
        aws.client("sns").publish(TopicArn=deployed.topic_arn, Message=action, MessageAttributes={"action": {"DataType": "String", "StringValue": action}})
    assert [mail.text for mail in aws.mails() if mail.to == "blockers@example.com"] == ["block"]


def test_a_subject_that_aws_would_refuse_is_refused(aws: AwsStandIn) -> None:
    deployed = aws.deploy()
    with pytest.raises(botocore.exceptions.ClientError, match="InvalidParameter"):
        aws.client("sns").publish(TopicArn=deployed.topic_arn, Subject="two\nlines", Message="x")


def test_reset_forgets_everything(aws: AwsStandIn) -> None:
    aws.deploy()
    aws.go_live(aws.put_channel("demo"), "st-1", "")
    aws.reset()
    assert aws.client("s3").list_buckets()["Buckets"] == []
    assert aws.client("ivs").list_streams()["streams"] == []
    assert aws.mails() == []


def test_the_environment_is_all_that_boto3_needs() -> None:
    with AwsStandIn() as own:
        own.go_live(own.put_channel("demo"), "st-1", "")
        script = "import boto3; print(boto3.client('ivs').list_streams()['streams'][0]['streamId'])"
        done = subprocess.run([sys.executable, "-c", script], env=credentials(own.endpoint_url), capture_output=True, text=True, check=True)
    assert done.stdout == "st-1\n"


def test_the_process_goes_with_its_parent_even_when_that_is_killed() -> None:
    script = "from earmark.local.aws import AwsStandIn\nwith AwsStandIn() as aws:\n    print(aws.endpoint_url, flush=True)\n    input()\n"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        process.kill()
        # The stand-in shares this pipe's writing end: it closes only once the stand-in has ended too.
        assert process.stderr
        assert process.stderr.read() == ""
