"""What can be done to a live stream: the stand-in answers as Amazon IVS documents it (API reference, "PutMetadata", "StopStream", "DeleteStreamKey")."""

import json

import pytest

from earmark.local.aws import AwsStandIn

ABSENT = "arn:aws:ivs:us-east-1:123456789012:channel/none"


@pytest.fixture
def live(aws: AwsStandIn) -> str:
    channel = aws.put_channel("on-air")
    aws.go_live(channel, "st-1", "")
    return channel


def test_metadata_goes_into_a_live_stream(aws: AwsStandIn, live: str) -> None:
    answer = aws.client("ivs").put_metadata(channelArn=live, metadata='{"title": "Ä 🎵"}')
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    (done,) = aws.broadcasts()
    assert (done["operation"], done["channel_arn"], done["stream_id"], done["metadata"]) == ("PutMetadata", live, "st-1", '{"title": "Ä 🎵"}')


def test_metadata_is_a_kilobyte_at_most_in_bytes(aws: AwsStandIn, live: str) -> None:
    ivs = aws.client("ivs")
    ivs.put_metadata(channelArn=live, metadata="é" * 512)
    with pytest.raises(ivs.exceptions.ValidationException):
        ivs.put_metadata(channelArn=live, metadata="é" * 512 + "x")
    assert len(aws.broadcasts()) == 1


def test_the_sixth_request_of_a_second_is_throttled(aws: AwsStandIn, live: str) -> None:
    ivs = aws.client("ivs")
    other = aws.put_channel("other")
    aws.go_live(other, "st-2", "")
    with pytest.raises(ivs.exceptions.ThrottlingException):
        for number in range(20):
            ivs.put_metadata(channelArn=live, metadata=str(number))
    assert len(aws.broadcasts()) >= 5
    ivs.put_metadata(channelArn=other, metadata="each channel has its own five")


def test_what_is_not_live_cannot_be_stopped_nor_told_anything(aws: AwsStandIn) -> None:
    ivs, channel = aws.client("ivs"), aws.put_channel("idle")
    for call in (lambda arn: ivs.stop_stream(channelArn=arn), lambda arn: ivs.put_metadata(channelArn=arn, metadata="x")):
        with pytest.raises(ivs.exceptions.ChannelNotBroadcasting):
            call(channel)
        with pytest.raises(ivs.exceptions.ResourceNotFoundException):
            call(ABSENT)
    assert aws.broadcasts() == []


def test_a_stream_that_is_stopped_is_over_and_its_end_is_announced(aws: AwsStandIn, live: str) -> None:
    deployed, ivs = aws.deploy(), aws.client("ivs")
    ivs.stop_stream(channelArn=live)
    with pytest.raises(ivs.exceptions.ChannelNotBroadcasting):
        ivs.get_stream(channelArn=live)
    with pytest.raises(ivs.exceptions.ChannelNotBroadcasting):
        ivs.stop_stream(channelArn=live)
    assert [(done["operation"], done["stream_id"]) for done in aws.broadcasts()] == [("StopStream", "st-1")]
    event = json.loads(aws.client("sqs").receive_message(QueueUrl=deployed.queue_url)["Messages"][0]["Body"])
    assert (event["source"], event["resources"], event["detail"]["event_name"], event["detail"]["stream_id"]) == ("aws.ivs", [live], "Stream End", "st-1")


def test_without_its_key_nobody_comes_back(aws: AwsStandIn, live: str) -> None:
    ivs = aws.client("ivs")
    (key,) = ivs.list_stream_keys(channelArn=live, maxResults=50)["streamKeys"]
    assert key["channelArn"] == live
    ivs.delete_stream_key(arn=key["arn"])
    assert ivs.get_stream(channelArn=live)["stream"]["streamId"] == "st-1"  # whoever is on stays on
    with pytest.raises(ivs.exceptions.ResourceNotFoundException):
        ivs.delete_stream_key(arn=key["arn"])
    assert ivs.list_stream_keys(channelArn=live)["streamKeys"] == []
    ivs.stop_stream(channelArn=live)
    with pytest.raises(Exception, match="no stream key"):
        aws.go_live(live, "st-2", "")


def test_a_channel_that_is_live_is_not_deleted(aws: AwsStandIn, live: str) -> None:
    ivs = aws.client("ivs")
    with pytest.raises(ivs.exceptions.ConflictException):
        ivs.delete_channel(arn=live)
    ivs.stop_stream(channelArn=live)
    ivs.delete_channel(arn=live)
    with pytest.raises(ivs.exceptions.ResourceNotFoundException):
        ivs.get_channel(arn=live)


def test_a_refusal_that_was_asked_for_comes_once(aws: AwsStandIn, live: str) -> None:
    ivs = aws.client("ivs")
    aws.refuse("StopStream", "AccessDeniedException", message="User is not authorized")
    with pytest.raises(ivs.exceptions.AccessDeniedException) as refused:
        ivs.stop_stream(channelArn=live)
    assert refused.value.response["exceptionMessage"] == "User is not authorized"
    ivs.stop_stream(channelArn=live)
