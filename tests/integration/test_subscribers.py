"""Who gets the alerts, as SNS tells it over HTTP; a subscription that waits for its owner, as only the real SNS has one."""

import threading
from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from earmark.hits.subscribers import Subscribers
from earmark.local.aws import AwsStandIn
from earmark.telemetry.metrics import Metrics

NONE = {("email", "confirmed"): 0, ("email", "pending"): 0, ("other", "confirmed"): 0, ("other", "pending"): 0}


class Pages:
    """SNS's answers as its API reference has them; the stand-in confirms every address at once."""

    def __init__(self, *pages: list[tuple[str, str]]) -> None:
        self._pages = pages
        self.asked: list[str | None] = []

    def list_subscriptions_by_topic(self, *, TopicArn: str, NextToken: str | None = None) -> Mapping[str, Any]:  # noqa: N803 - boto3's names
        self.asked.append(NextToken)
        n = int(NextToken or 0)
        subscriptions = [
            {"TopicArn": TopicArn, "Protocol": protocol, "SubscriptionArn": arn, "Endpoint": "x"} for protocol, arn in self._pages[n % len(self._pages)]
        ]
        return {"Subscriptions": subscriptions, **({"NextToken": str(n + 1)} if n + 1 < len(self._pages) else {})}


def counted(sns: Any, topic_arn: str = "arn:aws:sns:eu-west-1:123456789012:alerts") -> Mapping[tuple[str, str], int]:
    return Subscribers(sns=sns, topic_arn=topic_arn, meter=Metrics.build(), stop=threading.Event()).count()


def test_those_who_are_there_are_counted_by_how_they_are_told(aws: AwsStandIn) -> None:
    sns = aws.client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    assert counted(sns, topic) == NONE
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="rights@example.com")
    for n in range(120):  # more than one page
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:123456789012:queue-{n}")
    assert counted(sns, topic) == {**NONE, ("email", "confirmed"): 1, ("other", "confirmed"): 120}


def test_an_address_that_has_not_confirmed_is_no_subscriber_yet() -> None:
    sns = Pages(
        [("email", "PendingConfirmation"), ("email-json", "PendingConfirmation")], [("email", "arn:aws:sns:x:1:alerts:a"), ("https", "PendingConfirmation")]
    )
    assert counted(sns) == {("email", "confirmed"): 1, ("email", "pending"): 2, ("other", "confirmed"): 0, ("other", "pending"): 1}
    assert sns.asked == [None, "1"]


def test_a_topic_of_very_many_is_not_read_to_its_end() -> None:
    sns = Pages(*([[("email", "arn")]] * 50))
    assert counted(sns)["email", "confirmed"] == 10


def test_a_topic_that_is_not_there_is_said_once_and_the_daemon_goes_on(aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    gone = "arn:aws:sns:us-east-1:123456789012:gone"
    asked = threading.Semaphore(0)
    monkeypatch.setattr("earmark.hits.subscribers.EVERY_S", 0.01)
    sns = aws.client("sns")

    class Counting:
        def list_subscriptions_by_topic(self, **arguments: Any) -> Any:
            asked.release()
            return sns.list_subscriptions_by_topic(**arguments)

    with capture_logs() as logs:
        running = threading.Thread(target=Subscribers(sns=Counting(), topic_arn=gone, meter=Metrics.build(), stop=stop).run)
        running.start()
        for _ in range(3):
            assert asked.acquire(timeout=20)
        stop.set()
        running.join(20)
    assert not running.is_alive()
    (said,) = [line for line in logs if line["event"] == "subscribers.unknown"]
    assert gone in said["reason"] and "alerts.topic_arn" in said["reason"]


def test_what_was_counted_is_what_prometheus_reads(aws: AwsStandIn) -> None:
    sns = aws.client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="rights@example.com")
    stop = threading.Event()
    metrics = Metrics.build()
    registry = metrics.registry
    running = threading.Thread(target=Subscribers(sns=sns, topic_arn=topic, meter=metrics, stop=stop).run)
    running.start()
    labels = {"protocol": "email", "state": "confirmed"}
    for _ in range(200):
        if registry.get_sample_value("earmark_alert_subscriptions", labels) == 1:  # NaN until SNS was asked
            break
        stop.wait(0.05)
    stop.set()
    running.join(20)
    assert registry.get_sample_value("earmark_alert_subscriptions", labels) == 1
    assert registry.get_sample_value("earmark_alert_subscriptions", {**labels, "state": "pending"}) == 0
