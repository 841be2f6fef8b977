"""Sinks against the AWS stand-in over HTTP, and what each way of failing means."""

import json
import socket

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber

import hits_samples as samples
from earmark.errors import AwsRefused, AwsUnavailable
from earmark.hits.mail import alert
from earmark.hits.record import Outgoing
from earmark.hits.sinks import FileSink, S3Sink, SnsSink


def document(revision=1, body="{}", key="st-1/stream.json", content_type="application/json"):
    return Outgoing(target="s3", stream_id="st-1", key=key, revision=revision, content_type=content_type, body=body)


@pytest.fixture
def bucket(aws):
    client = aws.client("s3")
    client.create_bucket(Bucket="results")
    return client


def test_an_object_tells_its_type_and_revision(bucket):
    S3Sink(client=bucket, bucket="results").send(document(12, "a,b", "st-1/cue-sheet.csv", "text/csv; charset=utf-8"))

    head = bucket.head_object(Bucket="results", Key="st-1/cue-sheet.csv")
    assert head["ContentType"] == "text/csv; charset=utf-8"
    assert head["Metadata"] == {"earmark-revision": "12"}
    assert head["CacheControl"] == "no-cache"


class Counting:
    """A client that keeps count of its calls, and can answer in the server's stead."""

    def __init__(self, client):
        self.client, self.calls, self.before_put = client, [], lambda: None

    def put_object(self, **asked):
        self.calls.append("put")
        self.before_put()
        return self.client.put_object(**asked)

    def head_object(self, **asked):
        self.calls.append("head")
        return self.client.head_object(**asked)


def test_rewriting_ones_own_object_takes_one_call(bucket):
    client = Counting(bucket)
    sink = S3Sink(client=client, bucket="results")

    for revision in (1, 2, 3):
        sink.send(document(revision))

    assert client.calls == ["put", "put", "put"]


def test_an_overtaken_writer_looks_again_and_gives_way(bucket):
    """Between our looking and our writing somebody writes a newer revision."""
    other, client = S3Sink(client=bucket, bucket="results"), Counting(bucket)
    sink = S3Sink(client=client, bucket="results")
    sink.send(document(1, "ours"))
    client.before_put = lambda: other.send(document(9, "theirs"))

    assert sink.send(document(2, "ours, late")) == "superseded"
    assert bucket.get_object(Bucket="results", Key="st-1/stream.json")["Body"].read() == b"theirs"


def refused(code, status, operation="PutObject"):
    return ClientError({"Error": {"Code": code, "Message": f"about {code}"}, "ResponseMetadata": {"HTTPStatusCode": status}}, operation)


def test_a_conflict_is_looked_at_again(bucket):
    client = Counting(bucket)
    conflicts = [refused("ConditionalRequestConflict", 409), refused("ConditionalRequestConflict", 409)]

    def conflict():
        if conflicts:
            raise conflicts.pop()

    client.before_put = conflict

    assert S3Sink(client=client, bucket="results").send(document(1, "in the end")) == "stored"
    assert bucket.get_object(Bucket="results", Key="st-1/stream.json")["Body"].read() == b"in the end"


def test_an_object_that_changes_for_ever_is_left_for_later(bucket):
    client = Counting(bucket)

    def conflict():
        raise refused("ConditionalRequestConflict", 409)

    client.before_put = conflict

    with pytest.raises(AwsUnavailable, match="changed by others"):
        S3Sink(client=client, bucket="results").send(document())
    assert len(client.calls) < 20


@pytest.mark.parametrize(
    "code, status, error, says",
    [
        ("SlowDown", 503, AwsUnavailable, "failed for now"),
        ("InternalError", 500, AwsUnavailable, "failed for now"),
        ("RequestTimeout", 400, AwsUnavailable, "failed for now"),
        ("ThrottlingException", 400, AwsUnavailable, "failed for now"),
        ("ExpiredToken", 400, AwsUnavailable, "failed for now"),
        ("NoSuchBucket", 404, AwsRefused, "results.bucket"),
        ("AccessDenied", 403, AwsRefused, "s3:PutObject"),
        ("InvalidAccessKeyId", 403, AwsRefused, "credentials"),
        ("PermanentRedirect", 301, AwsRefused, "aws.region"),
        ("SomethingNew", 400, AwsRefused, "SomethingNew"),
    ],
)
def test_what_s3_answers_means(code, status, error, says):
    client = boto3.client("s3", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))
    with Stubber(client) as stub:
        stub.add_client_error("put_object", code, f"The {code}\nof it.", status)
        with pytest.raises(error) as caught:
            S3Sink(client=client, bucket="results").send(document())

    assert says in str(caught.value)
    assert "s3://results/st-1/stream.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reading_may_be_refused_too():
    client = boto3.client("s3", region_name="us-east-1")
    with Stubber(client) as stub:
        stub.add_client_error("put_object", "PreconditionFailed", "", 412)
        stub.add_client_error("head_object", "403", "Forbidden", 403)
        with pytest.raises(AwsRefused, match="s3:GetObject"):
            S3Sink(client=client, bucket="results").send(document())


def unreachable(service):
    """A client whose server hung up for good: the port was ours a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return boto3.client(service, endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))


def test_a_network_that_is_away_may_come_back():
    with pytest.raises(AwsUnavailable, match="got no answer"):
        S3Sink(client=unreachable("s3"), bucket="results").send(document())
    with pytest.raises(AwsUnavailable, match="got no answer"):
        SnsSink(client=unreachable("sns"), topic_arn="arn:aws:sns:us-east-1:123456789012:alerts").send(alert.outgoing(samples.hit(), place=samples.PLACE))


def test_without_credentials_nothing_will_succeed(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    client = boto3.session.Session().client("s3", region_name="us-east-1", endpoint_url="http://127.0.0.1:9")

    with pytest.raises(AwsRefused, match="credentials"):
        S3Sink(client=client, bucket="results").send(document())


def test_an_alert_arrives_as_mail_as_json_and_with_attributes(aws):
    deployed = aws.deploy()
    sent = alert.outgoing(samples.hit(), place=samples.PLACE)

    SnsSink(client=aws.client("sns"), topic_arn=deployed.topic_arn).send(sent)

    (mail,) = aws.mails()
    assert mail.subject == sent.attributes["subject"]
    assert mail.text == json.loads(sent.body)["email"]
    received = aws.client("sqs").receive_message(QueueUrl=deployed.alerts_queue_url, MessageAttributeNames=["All"])["Messages"]
    assert [json.loads(message["Body"])["hit_id"] for message in received] == [sent.key]
    assert {name: value["StringValue"] for name, value in received[0]["MessageAttributes"].items()} == {
        "action": "track",
        "state": "open",
        "stream_id": "st-1A2B3C",
        "track_id": "isrc:GBAYE0601498",
    }


def test_a_topic_that_does_not_exist_is_refused(aws):
    sink = SnsSink(client=aws.client("sns"), topic_arn="arn:aws:sns:us-east-1:123456789012:gone")

    with pytest.raises(AwsRefused, match=r"alerts\.topic_arn"):
        sink.send(alert.outgoing(samples.hit(), place=samples.PLACE))


@pytest.mark.parametrize("key", ["../out.json", "/etc/out.json", "a/../../out.json", ".revisions/a.json"])
def test_a_key_cannot_lead_out_of_the_folder(tmp_path, key):
    with pytest.raises(AwsRefused, match="leads out"):
        FileSink(folder=tmp_path / "results").send(document(key=key))

    assert not list(tmp_path.rglob("*.json"))


def test_a_folder_holds_nothing_half_written(tmp_path):
    sink = FileSink(folder=tmp_path)
    sink.send(document(1, "x" * 100_000))

    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()) == [
        ".revisions/st-1/stream.json",
        "st-1/stream.json",
    ]
