"""Is anybody there to hear the alerts? A mail subscription that nobody confirmed gets nothing, and says nothing."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import structlog

from earmark.aws import asking
from earmark.errors import AwsRefused, AwsUnavailable

#: People confirm within hours: ten minutes tell soon enough, at six calls an hour and worker.
EVERY_S: Final = 600.0
#: SNS tells of a hundred at a time; who has a thousand is not waiting for the first.
PAGES_MAX: Final = 10
#: In place of an address, until its owner has confirmed (SNS API reference, "ListSubscriptionsByTopic").
_PENDING: Final = "PendingConfirmation"


class SnsClient(Protocol):
    """What is used of boto3's SNS client."""

    @property
    def list_subscriptions_by_topic(self) -> Callable[..., Any]: ...


class Meter(Protocol):
    """What is measured: `telemetry`."""

    def subscribed(self, counts: Mapping[tuple[str, str], int]) -> None: ...


class Subscribers:
    """`run` in a thread of its own until `stop`."""

    def __init__(self, *, sns: SnsClient, topic_arn: str, meter: Meter, stop: threading.Event) -> None:
        self._sns, self._topic_arn, self._meter, self._stop = sns, topic_arn, meter, stop
        self._told = False
        self._log = structlog.get_logger()

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                self._meter.subscribed(self.count())
                self._told = False
            except (AwsRefused, AwsUnavailable) as error:
                if not self._told:
                    self._log.warning("subscribers.unknown", reason=str(error))
                self._told = True
            self._stop.wait(EVERY_S)

    def count(self) -> Mapping[tuple[str, str], int]:
        """By ("email" or "other", "confirmed" or "pending"); all four, at least 0 each. Raises AwsRefused, AwsUnavailable."""
        counts: Counter[tuple[str, str]] = Counter()
        more: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            with asking("sns:ListSubscriptionsByTopic", self._topic_arn, absent="create the topic or correct alerts.topic_arn"):
                page = self._sns.list_subscriptions_by_topic(TopicArn=self._topic_arn, **more)
            for subscription in page["Subscriptions"]:
                by_mail = subscription["Protocol"] in ("email", "email-json")
                counts["email" if by_mail else "other", "pending" if subscription["SubscriptionArn"] == _PENDING else "confirmed"] += 1
            if not page.get("NextToken"):
                break
            more = {"NextToken": page["NextToken"]}
        return {(protocol, state): counts[protocol, state] for protocol in ("email", "other") for state in ("confirmed", "pending")}
