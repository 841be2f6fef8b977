"""What the daemon says of delays that fall between two rooms: from a decision to its having left, and since the queue was last read."""

from dataclasses import dataclass

from prometheus_client import Gauge, Histogram

from earmark.telemetry.declared import metric

#: What leaves, and to where: `hits.outgoing.Target`.
TARGETS = ("s3", "sns", "check", "clip", "webhook", "eventbridge", "ivs_metadata", "ivs_stop")
#: From one round of the publisher to the three days after which a row is set aside.
_DELAY_S = (0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21_600, 86_400)


@dataclass(frozen=True, kw_only=True)
class DelayMetrics:
    """A part of `Metrics`."""

    publish_delay_seconds: Histogram = metric(
        "Seconds from the transaction that decided something to its having left, attempts that failed included, by target.",
        "Above 30 s: S3 or SNS refused meanwhile (published_total), or the workers were away; see outbox_oldest_age_seconds for what still waits.",
        labels={"target": TARGETS},
        buckets=_DELAY_S,
    )
    queue_read_age_seconds: Gauge = metric(
        "Seconds since the queue was last read here; 0 where it is not.",
        "Above queue.wait_s and a minute: the log line intake.failed has the reason; may the role receive from it?",
    )

    def left(self, target: str, *, delay_s: float) -> None:
        """By the database's clock, which may be set back meanwhile."""
        self.publish_delay_seconds.labels(target).observe(max(0.0, delay_s))
