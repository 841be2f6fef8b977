"""Everything that a fleet needs in one account and region. It composes, and holds every grant: both sides are in sight here."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from alerts import Alerts
from daemon_service import METRICS_PORT, DaemonService
from database import Database
from events import Events
from network import Network
from results import Results


class EarmarkStack(cdk.Stack):
    """`archive_buckets` already exist, with EventBridge switched on, and receive MediaLive's archive files; `recording_buckets` what IVS records."""

    def __init__(self, scope: Construct, name: str, *, alert_email: str, archive_buckets: Sequence[str], recording_buckets: Sequence[str] = ()) -> None:
        super().__init__(scope, name, description="Earmark: which catalogued recording is playing in these live streams")
        network = Network(self, "Network")
        events = Events(self, "Events", archive_buckets=archive_buckets)
        results = Results(self, "Results")
        alerts = Alerts(self, "Alerts", email=alert_email)
        database = Database(self, "Database", vpc=network.vpc)
        daemon = DaemonService(
            self,
            "Daemon",
            vpc=network.vpc,
            # Host, user and password are libpq's own variables, from the secret; what is said here goes before them.
            environment={
                "EARMARK_DATABASE__DSN": "dbname=earmark sslmode=require",
                "EARMARK_QUEUE__URL": events.queue.queue_url,
                "EARMARK_RESULTS__BUCKET": results.bucket.bucket_name,
                "EARMARK_ALERTS__TOPIC_ARN": alerts.topic.topic_arn,
                "EARMARK_METRICS__PORT": str(METRICS_PORT),
                "EARMARK_LOG__FORMAT": "json",
            },
            database_secret=database.secret,
        )

        database.cluster.connections.allow_default_port_from(daemon.service, "the daemon")
        task = daemon.task_role
        _allow(task, [events.queue.queue_arn], "sqs:ReceiveMessage", "sqs:DeleteMessage")
        # A write names the ETag that it replaces, which takes reading; without ListBucket an object that is not there is "denied".
        _allow(task, [results.bucket.arn_for_objects("*")], "s3:GetObject", "s3:PutObject")
        _allow(task, [results.bucket.bucket_arn], "s3:ListBucket")
        # Evidence goes after retention.evidence_days; what it was before, with the bucket's own rule for versions.
        _allow(task, [results.bucket.arn_for_objects("*/evidence/*")], "s3:DeleteObject")
        _allow(task, [alerts.topic.topic_arn], "sns:Publish")
        _allow(task, [self._arn("ivs", "channel", "/")], "ivs:BatchGetChannel", "ivs:GetChannel", "ivs:GetStream", "ivs:ListStreams")
        _allow(task, [self._arn("medialive", "channel", ":")], "medialive:DescribeChannel")
        _allow(task, ["*"], "medialive:ListChannels")  # it knows no narrower resource
        _allow(task, [self._arn("ivs", "recording-configuration", "/")], "ivs:GetRecordingConfiguration")
        for buckets in filter(None, (archive_buckets, recording_buckets)):
            _allow(task, [f"arn:{self.partition}:s3:::{bucket}/*" for bucket in buckets], "s3:GetObject")
            _allow(task, [f"arn:{self.partition}:s3:::{bucket}" for bucket in buckets], "s3:ListBucket")
        _allow(task, [self._arn("ecs", "task", "/")], "ecs:GetTaskProtection", "ecs:UpdateTaskProtection")

        cdk.CfnOutput(self, "ResultsBucket", value=results.bucket.bucket_name, description="hits, summaries, cue sheets and reports")
        cdk.CfnOutput(self, "AlertsTopic", value=alerts.topic.topic_arn, description="subscribe an address, a queue or a function")
        cdk.CfnOutput(self, "DeadLetters", value=events.dead_letters.queue_url, description="messages that were not understood")

    def _arn(self, service: str, resource: str, separator: str) -> str:
        """Every resource of that kind in this account and region: channels come and go, and are not ours to list."""
        kind = cdk.ArnFormat.SLASH_RESOURCE_NAME if separator == "/" else cdk.ArnFormat.COLON_RESOURCE_NAME
        return self.format_arn(service=service, resource=resource, resource_name="*", arn_format=kind)


def _allow(role: iam.IRole, resources: list[str], *actions: str) -> None:
    role.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), resources=resources))
