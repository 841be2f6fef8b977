"""What happens elsewhere, on its way to the daemon; and what the daemon found, on its way to programs."""

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from acknowledged import acknowledge

#: SQS keeps no message longer.
DEAD_DAYS = 14
#: As often is a message handed out before it is put aside.
RECEIVES_MAX = 5


class Queues(Construct):
    """Standard queues: order and repeats do no harm, because a message is recorded in the stream's row, then deleted."""

    def __init__(self, scope: Construct, name: str, *, key: kms.IKey, notifications: bool) -> None:
        super().__init__(scope, name)
        self.dead_letters = self._queue("DeadLetters", key, days=DEAD_DAYS)
        self.events = self._queue("Events", key, days=4, dead_letters=self.dead_letters)
        self.notifications = self._queue("Notifications", key, days=4) if notifications else None
        if self.notifications:
            theirs = "its reader is not ours, and says itself what becomes of alerts that it cannot take; each hit is in S3 as well"
            acknowledge(self.notifications, "AwsSolutions-SQS3", theirs)

    def _queue(self, name: str, key: kms.IKey, *, days: int, dead_letters: sqs.IQueue | None = None) -> sqs.Queue:
        return sqs.Queue(
            self,
            name,
            enforce_ssl=True,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=key,
            data_key_reuse=cdk.Duration.hours(1),
            retention_period=cdk.Duration.days(days),
            visibility_timeout=cdk.Duration.seconds(60),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=RECEIVES_MAX) if dead_letters else None,
        )
