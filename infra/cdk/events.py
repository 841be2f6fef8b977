"""How a stream that starts becomes known: EventBridge rules, one queue, and a place for what was not understood."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class Events(Construct):
    """A standard queue: order and repeats do no harm, because a message is recorded in the stream's row, then deleted."""

    def __init__(self, scope: Construct, name: str, *, archive_buckets: Sequence[str]) -> None:
        super().__init__(scope, name)
        self.dead_letters = sqs.Queue(self, "DeadLetters", enforce_ssl=True, retention_period=cdk.Duration.days(14))
        self.queue = sqs.Queue(
            self,
            "Queue",
            enforce_ssl=True,
            retention_period=cdk.Duration.days(4),
            visibility_timeout=cdk.Duration.seconds(60),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self.dead_letters, max_receive_count=5),
        )
        self._rule("IvsStreams", events.EventPattern(source=["aws.ivs"], detail_type=["IVS Stream State Change", "IVS Recording State Change"]))
        self._rule("MediaLiveChannels", events.EventPattern(source=["aws.medialive"], detail_type=["MediaLive Channel State Change"]))
        if archive_buckets:
            created = events.EventPattern(source=["aws.s3"], detail_type=["Object Created"], detail={"bucket": {"name": list(archive_buckets)}})
            self._rule("ArchiveFiles", created)

    def _rule(self, name: str, pattern: events.EventPattern) -> None:
        """What EventBridge cannot hand to the queue within a day goes to the dead letters, too, instead of nowhere."""
        target = targets.SqsQueue(self.queue, dead_letter_queue=self.dead_letters, max_event_age=cdk.Duration.hours(24), retry_attempts=185)
        events.Rule(self, name, event_pattern=pattern, targets=[target])
