"""What the daemon says about its housekeeping: what was too old and went, what events forgot, whether ECS lets the task be, who gets the alerts."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from earmark.telemetry.declared import metric


@dataclass(frozen=True, kw_only=True)
class HousekeepingMetrics:
    """The metrics of `control.retention`, `control.medialive`, `control.protection` and `hits.subscribers`, a part of `Metrics`."""

    removed_rows_total: Counter = metric(
        "Rows that this process removed because they were older than the settings allow, by table; evidence: taken from its play; kept: for hunts.",
        "None for days, while oldest_row_age_seconds grows: nobody removes; look for retention.failed in the logs.",
        labels={"table": ("stream", "play", "evidence", "inbox", "outbox", "medialive_channel", "recording", "sweep", "kept")},
    )
    removals_failed_total: Counter = metric(
        "Times that something too old could not be removed.", "The log line retention.failed has the reason: the database, or what the role may not do in S3."
    )
    oldest_row_age_seconds: Gauge = metric(
        "Age of the oldest row, by table: sessions since their end, evidence, arrivals in the inbox, given-up rows of the outbox, channels, what hunts search.",
        "Beyond the setting of retention by more than a day: something still has to leave for that stream, or is in quarantine; or nobody removes.",
        labels={"table": ("stream", "evidence", "inbox", "outbox", "medialive_channel", "kept")},
    )
    archive_segments_found_total: Counter = metric(
        "Archive segments that a sweep found in S3 and whose event had not come.",
        "Growing: S3's events do not arrive; is EventBridge switched on for the bucket, and the rule there?",
    )
    task_protected: Gauge = metric(
        "1 while ECS is asked to leave this task alone, 0 if not.", "0 while streams run, on ECS: see task_protection_total; elsewhere it is always 0."
    )
    task_protection_total: Counter = metric(
        "Calls to the ECS agent for scale-in protection, by what came of them.",
        "failed: the task's role needs ecs:UpdateTaskProtection; the log line protection.failed has the agent's words.",
        labels={"result": ("protected", "released", "failed")},
    )

    alert_subscriptions: Gauge = metric(
        "Subscriptions of the alerts' topic, every ten minutes: by mail or otherwise, confirmed by their owner or still waiting for that.",
        "No confirmed one: nobody is told; look for SNS's mail in the address's inbox and junk, or subscribe again. "
        "NaN: there is no topic, or SNS does not say; subscribers.unknown in the logs.",
        labels={"protocol": ("email", "other"), "state": ("confirmed", "pending")},
    )

    def removed(self, table: str, rows: int) -> None:
        self.removed_rows_total.labels(table).inc(rows)

    def removal_failed(self) -> None:
        self.removals_failed_total.inc()

    def oldest(self, table: str, age_s: float) -> None:
        self.oldest_row_age_seconds.labels(table).set(max(0.0, age_s))

    def segments_found(self, count: int) -> None:
        self.archive_segments_found_total.inc(count)

    def task_protection(self, result: str) -> None:
        self.task_protection_total.labels(result).inc()
        if result != "failed":
            self.task_protected.set(result == "protected")

    def subscribers_unknown(self) -> None:
        """Until SNS has said something: no number is none, and 0 would mean that nobody is told."""
        for protocol in ("email", "other"):
            for state in ("confirmed", "pending"):
                self.alert_subscriptions.labels(protocol, state).set(math.nan)

    def subscribed(self, counts: Mapping[tuple[str, str], int]) -> None:
        for labels, count in counts.items():
            self.alert_subscriptions.labels(*labels).set(count)
