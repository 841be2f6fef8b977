"""What gets somebody out of bed, and one thing that can wait until morning. Each names the section of the runbook to open."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from metrics import Measured

BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD


class Alarms(Construct):
    """Of the daemon's own metrics, and of the dead letters."""

    def __init__(self, scope: Construct, name: str, *, measured: Measured, dead_letters: sqs.IQueue, topic: sns.ITopic, mail: bool) -> None:
        super().__init__(scope, name)
        self._action = actions.SnsAction(topic)
        nobody = "No task has reported for five minutes: no stream is listened to, or nobody sees it."
        self.alarm("NobodyListens", nobody, measured.tasks, below=1, minutes=5, missing=cloudwatch.TreatMissingData.BREACHING)
        self.alarm("StreamsUnheard", "A stream has been live for three minutes and no task has taken it.", measured.unowned_age_s, above=120, minutes=3)
        away = "A task has not reached the database for three minutes; what it takes in is kept for five."
        self.alarm("DatabaseAway", away, measured.database_up, below=1, minutes=3)
        self.alarm("HitsLate", "Hits wait for S3 or SNS for more than five minutes.", measured.outbox_age_s, above=300, minutes=5)
        letters = dead_letters.metric_approximate_number_of_messages_visible(period=cdk.Duration.minutes(1), statistic="Maximum")
        self.alarm("DeadLetters", "Messages were not understood, or could not be recorded five times over.", letters, above=0, minutes=1)
        given_up = "Hits were given up after three days of failures; they wait for `earmark outbox retry`."
        self.alarm("HitsSetAside", given_up, measured.outbox_dead, above=0, minutes=1)
        if mail:
            unconfirmed = "Nobody has confirmed the mail subscription of the alerts: look into that address's inbox and junk."
            self.alarm("NobodyIsTold", unconfirmed, measured.mail_subscribers, below=1, minutes=60)

    def alarm(
        self,
        name: str,
        says: str,
        metric: cloudwatch.IMetric,
        *,
        minutes: int,
        below: float | None = None,
        above: float = 0,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            metric=metric,
            comparison_operator=ABOVE if below is None else BELOW,
            threshold=above if below is None else below,
            evaluation_periods=minutes,
            alarm_description=f"{says} README, Runbook: {name}.",
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)
