"""Who is told."""

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct


class Topics(Construct):
    """Alerts of plays, for people and programs; and of the stack's own alarms, for who runs it.

    Filter policies on the message attributes (action, state, stream_id, track_id) choose what a subscriber gets.
    """

    def __init__(self, scope: Construct, name: str, *, key: kms.IKey, email: str, operator_email: str, notifications: sqs.IQueue | None) -> None:
        super().__init__(scope, name)
        self.alerts = sns.Topic(self, "Alerts", display_name="Earmark", enforce_ssl=True, master_key=key)
        self.alarms = sns.Topic(self, "Alarms", display_name="Earmark alarms", enforce_ssl=True, master_key=key)
        # A policy of a topic's own takes the place of the one that SNS gives to each, by which its account's alarms might publish.
        of_this_account = {"StringEquals": {"aws:SourceAccount": cdk.Stack.of(self).account}}
        self.alarms.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[self.alarms.topic_arn],
                conditions=of_this_account,
            )
        )
        # Nothing arrives until an address confirms the mail that SNS sends it.
        if email:
            # As an example of a filter: not what the policy says to let pass in silence.
            silent = sns.SubscriptionFilter.string_filter(denylist=["allow"])
            self.alerts.add_subscription(subscriptions.EmailSubscription(email, filter_policy={"action": silent}))
        if operator_email:
            self.alarms.add_subscription(subscriptions.EmailSubscription(operator_email))
        if notifications:
            self._fill(notifications)

    def _fill(self, queue: sqs.IQueue) -> None:
        """As `SqsSubscription` does, but for the key, whose policy would name the topic that is encrypted with it. Of hits alone: digests are for people."""
        sns.Subscription(
            self,
            "Notifications",
            topic=self.alerts,
            endpoint=queue.queue_arn,
            protocol=sns.SubscriptionProtocol.SQS,
            raw_message_delivery=True,
            filter_policy={"state": sns.SubscriptionFilter.string_filter(allowlist=["provisional", "open", "closed"])},
        )
        queue.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("sns.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[queue.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": self.alerts.topic_arn}},
            )
        )
