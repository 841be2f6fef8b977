"""`earmark hits send`: somebody who sets a webhook up sees what comes of it, in one sentence, before a play depends on it."""

import json

import pytest
from standardwebhooks import Webhook as Library

import hits_samples as samples
from earmark.cli import main
from earmark.hits.ledger import Ledger
from earmark.postgres import transaction
from earmark.settings import Alerts, Results
from webhook_receiver import SECRET, Receiver, Says


@pytest.fixture
def hit_id(pool):
    with transaction(pool) as connection:
        lease = samples.insert_stream(connection)
    ledger = Ledger(
        pool=pool,
        lease=lease,
        tracks=samples.Catalogue(samples.TRACK),
        results=Results(bucket="results"),
        alerts=Alerts(),
        nudge=lambda: None,
        now=samples.Clock(),
    )
    ledger.commit(samples.checkpoint(), [samples.play()])
    return samples.play().hit_id


@pytest.fixture
def typed(dsn, aws, monkeypatch, capsys):
    """`typed("hits", ...)` with settings; its exit code, and what it said on both ways out."""
    for name, value in {"AWS_ENDPOINT_URL": aws.endpoint_url, "AWS_REGION": "us-east-1", "EARMARK_DATABASE__DSN": dsn}.items():
        monkeypatch.setenv(name, value)

    def type_(*words, **settings):
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(f"EARMARK_{name.upper()}", value)
            code = main(words)
        said = capsys.readouterr()
        return code, said.out + said.err

    return type_


def to(receiver):
    return {
        "webhook__url": f"http://127.0.0.1:{receiver.port}/hits?token=unguessable",
        "webhook__secret": SECRET,
        "webhook__allow_private": f"127.0.0.1:{receiver.port}",
        "webhook__deadline_s": "0.5",
    }


def test_a_hit_is_sent_while_the_webhook_is_off(typed, hit_id):
    with Receiver().running() as receiver:
        assert typed("hits", "send", hit_id, "--to", "webhook", **to(receiver)) == (0, f"revision 1 of {hit_id} has gone to the webhook 127.0.0.1\n")
        (posted,) = receiver.posted
    assert Library(SECRET).verify(posted.body, dict(posted.headers))["hit_id"] == hit_id


@pytest.mark.parametrize(
    "says, sentence",
    [
        (Says(401, b"who are you?"), "earmark: the webhook 127.0.0.1 answered 401: who are you?; does it know webhook.secret?\n"),
        (Says(hangs=True), "earmark: the webhook 127.0.0.1 did not answer within 0.5 s\n"),
        (Says(302, headers={"Location": "http://169.254.169.254/"}), "points to 169.254.169.254, which is a metadata service: redirects are not followed"),
    ],
)
def test_what_comes_of_it_is_one_sentence(typed, hit_id, says, sentence):
    with Receiver().running() as receiver:
        receiver.says = [says]
        code, said = typed("hits", "send", hit_id, "--to", "webhook", **to(receiver))
    assert code == 1
    assert sentence in said
    assert said.count("\n") == 1
    assert "unguessable" not in said


def test_a_hit_goes_to_an_event_bus(typed, aws, hit_id):
    events, sqs = aws.client("events"), aws.client("sqs")
    queue = sqs.create_queue(QueueName="plays")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="plays", EventPattern=json.dumps({"source": ["earmark"]}))
    events.put_targets(Rule="plays", Targets=[{"Id": "plays", "Arn": arn}])

    assert typed("hits", "send", hit_id, "--to", "eventbridge") == (0, f"revision 1 of {hit_id} has gone to the event bus default\n")
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    assert json.loads(message["Body"])["detail"]["hit_id"] == hit_id
    code, said = typed("hits", "send", hit_id, "--to", "eventbridge", eventbridge__bus="gone")
    assert (code, said.count("\n")) == (1, 1)
    assert "events:PutEvents of gone was refused" in said


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({}, "webhook.url is empty: hits are posted signed, or not at all; set it"),
        ({"webhook__url": "https://hooks.example.com/"}, "webhook.secret is empty"),
        ({"webhook__url": "https://hooks.example.com/", "webhook__secret": "hunter2"}, "webhook.secret holds a secret that is not whsec_ and base64 after it"),
        ({"webhook__url": "http://hooks.example.com/"}, "is plain http, by which everybody on the way reads hits"),
        ({"webhook__url": "https://169.254.169.254/"}, "is a metadata service: nothing is ever posted there"),
    ],
)
def test_what_cannot_be_right_is_one_sentence(typed, hit_id, settings, sentence):
    code, said = typed("hits", "send", hit_id, "--to", "webhook", **settings)
    assert code == 2
    assert sentence in said
    assert said.count("\n") == 1
    assert "hunter2" not in said


def test_a_hit_that_there_is_not_is_not_sent(typed):
    with Receiver().running() as receiver:
        code, said = typed("hits", "send", "NOSUCHHIT", "--to", "webhook", **to(receiver))
        assert receiver.posted == []
    assert code == 2
    assert "NOSUCHHIT" in said
