"""A hit from its stream to a receiver that does not answer at first, and to a rule on an event bus; and to S3 and by mail, which wait for neither."""

import json
from pathlib import Path

from standardwebhooks import Webhook as Library

from earmark.local import music
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from service_daemon import catalogued, go_on_air, log_lines, programme, rows, run_sql, until
from webhook_receiver import SECRET, Receiver, Says

STREAM_ID = "st-outward"
#: A hit that is owed to the webhook again.
_ONE_MORE = """
insert into outbox (target, stream_id, key, revision, content_type, body, attributes)
select 'webhook', stream_id, hit_id, revision, 'application/json', body, '{"occasion": "closed"}' from play"""


def queue_behind(aws: AwsStandIn, bus: str) -> str:
    """An event bus, a rule of its owner's, and the queue that the rule fills."""
    events, sqs = aws.client("events"), aws.client("sqs")
    events.create_event_bus(Name=bus)
    queue: str = sqs.create_queue(QueueName=bus)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="plays", EventBusName=bus, EventPattern=json.dumps({"source": ["earmark"]}))
    events.put_targets(Rule="plays", EventBusName=bus, Targets=[{"Id": "plays", "Arn": arn}])
    return queue


def test_a_hit_reaches_a_webhook_and_an_event_bus_once_each_and_says_so(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    (samples,) = catalogued(dsn)
    deployed, queue = aws.deploy(), queue_behind(aws, "plays")
    secret = aws.client("secretsmanager").create_secret(Name="webhook", SecretString=SECRET)["ARN"]
    with Origin() as origin, Receiver().running() as receiver:
        receiver.says = [Says(hangs=True), Says()]
        environment = {
            **deployed.environment(),
            "EARMARK_DATABASE__DSN": dsn,
            "EARMARK_HLS__ALLOW_PRIVATE": origin.address,
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_QUEUE__WAIT_S": "1",
            "EARMARK_SESSION__END_GRACE_S": "2",
            "EARMARK_WEBHOOK__MODE": "on",
            "EARMARK_WEBHOOK__URL": f"http://127.0.0.1:{receiver.port}/hits?token=unguessable",
            "EARMARK_WEBHOOK__SECRET": secret,
            "EARMARK_WEBHOOK__ALLOW_PRIVATE": f"127.0.0.1:{receiver.port}",
            "EARMARK_WEBHOOK__DEADLINE_S": "8",
            "EARMARK_EVENTBRIDGE__MODE": "on",
            "EARMARK_EVENTBRIDGE__BUS": "plays",
        }
        with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
            channel_arn = go_on_air(aws, origin, STREAM_ID, programme(samples, begin_s=20, music_s=16))
            receiver.wait_for(1)
            until(aws.mails, "the mail has left, while the receiver still hangs", worker)
            assert receiver.said_all == 0
            aws.put_stream_event(channel_arn, STREAM_ID, "Stream End")
            until(lambda: rows(dsn, "select from stream where state = 'ended'"), "the session has ended", worker)
            until(lambda: not rows(dsn, "select from outbox"), "everything has left", worker)
            receiver.says = [Says(hangs=True)]
            run_sql(dsn, _ONE_MORE)
            receiver.wait_for(4)
            # And is asked to go while it waits for an answer.
    assert [(row["target"], row["taken"]) for row in rows(dsn, "select target, taken_until is not null as taken from outbox")] == [("webhook", False)]
    known = {posted.headers["webhook-id"]: Library(SECRET).verify(posted.body, dict(posted.headers)) for posted in receiver.posted[:3]}
    (hit_id,) = {told["hit_id"] for told in known.values()}
    hit = json.loads(aws.client("s3").get_object(Bucket=deployed.results_bucket, Key=f"{STREAM_ID}/hits/{hit_id}.json")["Body"].read())
    assert hit["reference"]["track_id"] == music.catalogue(1)[0].track.track_id
    assert sorted((told["hit_id"], told["state"]) for told in known.values()) == [(hit_id, "closed"), (hit_id, "open")]
    assert len(known) == 2, "the one that was not answered came twice, by the same id"
    received = aws.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    details = [json.loads(message["Body"])["detail"] for message in received]
    assert sorted((told["hit_id"], told["state"]) for told in details) == sorted((told["hit_id"], told["state"]) for told in known.values())

    assert {(told["kind"], told["occasion"]): told["state"] for told in hit["actions"]} == {
        (kind, state): "done" for kind in ("webhook", "eventbridge") for state in ("open", "closed")
    }
    lines = log_lines(tmp_path / "daemon.log")
    assert [line for line in lines if line["level"] == "error"] == []
    assert lines[-1]["event"] == "service.stopped"
    said = "".join(json.dumps(line) for line in lines)
    assert "the webhook 127.0.0.1 did not answer within 8 s" in said
    assert "unguessable" not in said
    assert SECRET not in said
