"""Who is told."""

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct


class Alerts(Construct):
    """One topic; filter policies on the message attributes (action, state, stream_id, track_id) choose what a subscriber gets."""

    def __init__(self, scope: Construct, name: str, *, email: str) -> None:
        super().__init__(scope, name)
        self.topic = sns.Topic(self, "Topic", display_name="Earmark", enforce_ssl=True)
        if email:
            # Nothing arrives until the address confirms the mail that SNS sends it.
            self.topic.add_subscription(subscriptions.EmailSubscription(email))
