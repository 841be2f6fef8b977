"""Everything that a fleet needs in one account and region. It composes, and holds every grant: both sides are in sight here."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_sqs as sqs
from constructs import Construct

import actions
import canary
from acknowledged import allow
from alarms import Alarms
from buckets import Buckets
from context import Context
from database import DSN, Database, ExistingDatabase
from events import CATALOGUE, CHECK, Events
from metrics import Collector, Measured
from migration import Migration
from network import Network
from queues import Queues
from service import METRICS_PORT, DaemonService
from topic import Topics


class EarmarkStack(cdk.Stack):
    """Buckets that are named in the context exist already; everything else is made."""

    def __init__(self, scope: Construct, name: str, *, context: Context, env: cdk.Environment | None = None) -> None:
        super().__init__(scope, name, env=env, description="Earmark: which catalogued recording is playing in these live streams")
        self._context = context
        self._policies = s3_assets.Asset(self, "Policies", path=context.policyFile) if context.policyFile else None
        key = self._key()
        network = Network(self, "Network", vpc_id=context.vpcId, natless=context.natless, makes_database=not context.databaseArn, key=key)
        buckets = Buckets(self, "Buckets", key=key, retention_days=context.retentionDays, catalogue_bucket=context.catalogueBucket)
        archives = [s3.Bucket.from_bucket_name(self, f"Archive{n}", bucket) for n, bucket in enumerate(context.medialiveArchiveBucket)]
        queues = Queues(self, "Queues", key=key, notifications=context.notificationQueue)
        Events(self, "Events", queues=queues, brought=buckets.brought, archives=archives, recordings=bool(context.recordingBuckets))
        operator_email = context.operatorEmail or context.alertEmail
        topics = Topics(self, "Topics", key=key, email=context.alertEmail, operator_email=operator_email, notifications=queues.notifications)
        database = self._database(network, key)
        collector = Collector(self, "Metrics", metrics_port=METRICS_PORT, key=key)
        daemon = DaemonService(
            self,
            "Daemon",
            context=context,
            vpc=network.vpc,
            subnets=network.tasks,
            database=database,
            environment=self._environment(queues, buckets, topics),
            roles=canary.roles(context.canaryMinutes),
            collector=collector,
            key=key,
        )
        database.admit(daemon.group, daemon.task_role)
        migration = Migration(
            self,
            "Migration",
            cluster=daemon.cluster,
            task=daemon.migration,
            subnets=network.vpc.select_subnets(subnet_type=network.tasks.subnet_type),
            group=daemon.group,
            public=context.natless,
            key=key,
        )
        migration.resource.node.add_dependency(database)
        daemon.service.node.add_dependency(migration.resource)
        measured = Measured()
        daemon.scale(measured, least=context.capacityMin, most=context.capacityMax)
        alarms = Alarms(self, "Alarms", measured=measured, dead_letters=queues.dead_letters, topic=topics.alarms, mail=bool(context.alertEmail))
        if context.canaryMinutes:
            canary.watch(context.canaryMinutes, alarms=alarms, measured=measured)

        self._grant(daemon.task_role, queues, buckets, topics, key)
        collector.grant(daemon.task_role)
        self._say(buckets, topics, queues, collector)

    # -------------------------------------------------------------------------------------------- parts

    def _key(self) -> kms.Key:
        key = kms.Key(
            self, "Key", enable_key_rotation=True, description="Earmark: its database, buckets, queues and topics", removal_policy=cdk.RemovalPolicy.RETAIN
        )
        # CloudWatch sends alarms to a topic, SNS alerts to a queue, for this account alone.
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com"), iam.ServicePrincipal("sns.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        # The daemon's and the migrations' log groups (CloudWatch Logs user guide, "Encrypt log data").
        groups = self.format_arn(service="logs", resource="log-group", resource_name="*", arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME)
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal(f"logs.{self.region}.{self.url_suffix}")],
                actions=["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"],
                resources=["*"],
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": groups}},
            )
        )
        return key

    def _database(self, network: Network, key: kms.IKey) -> Database | ExistingDatabase:
        context = self._context
        if context.databaseArn:
            return ExistingDatabase(self, "Database", secret_arn=context.databaseSecretArn, security_group_id=context.databaseSecurityGroup)
        return Database(
            self, "Database", vpc=network.vpc, subnets=network.database, key=key, units_min=context.databaseUnitsMin, units_max=context.databaseUnitsMax
        )

    def _environment(self, queues: Queues, buckets: Buckets, topics: Topics) -> dict[str, str]:
        context = self._context
        return {
            # Host, port and user are libpq's own variables; what is said here goes before them.
            "EARMARK_DATABASE__DSN": DSN,
            "EARMARK_QUEUE__URL": queues.events.queue_url,
            "EARMARK_RESULTS__BUCKET": buckets.results.bucket_name,
            "EARMARK_ALERTS__TOPIC_ARN": topics.alerts.topic_arn,
            "EARMARK_CATALOGUE__PLACE": f"s3://{buckets.brought.bucket_name}/{CATALOGUE}",
            "EARMARK_CHECK__PLACE": f"s3://{buckets.brought.bucket_name}/{CHECK}",
            "EARMARK_RETENTION__SESSIONS_DAYS": str(context.retentionDays),
            "EARMARK_METRICS__PORT": str(METRICS_PORT),
            "EARMARK_LOG__FORMAT": "json",
            # A task that listens always does, as streams are shared: protected, none would ever be scaled in, and a deployment would wait until
            # CloudFormation gives it up. To hand streams over costs them next to nothing.
            "EARMARK_ECS__PROTECT": str(context.protectTasks).lower(),
            **canary.environment(context.canaryMinutes),
            **({"EARMARK_POLICY__FILE": self._policies.s3_object_url} if self._policies else {}),
            **actions.environment(context),
            **({"EARMARK_IVS__PLAYBACK_KEY": context.playbackKeyArn} if context.playbackKeyArn else {}),
            **({"EARMARK_PRICES__TRANSFER_USD_PER_GB": "0"} if context.natless else {}),
        }

    # -------------------------------------------------------------------------------------------- grants

    def _grant(self, task: iam.IRole, queues: Queues, buckets: Buckets, topics: Topics, key: kms.IKey) -> None:
        """What one task role may do. README has the same as a table, and a test that the two agree."""
        results, brought, context = buckets.results, buckets.brought, self._context
        allow(task, [queues.events.queue_arn], "sqs:ReceiveMessage", "sqs:DeleteMessage")
        # A write names the ETag that it replaces, which takes reading; without ListBucket an object that is not there is "denied".
        allow(
            task,
            [results.arn_for_objects("*")],
            "s3:GetObject",
            "s3:PutObject",
            because="a stream's results have its id in their keys, and ids are not known before",
        )
        allow(task, [results.bucket_arn], "s3:ListBucket", "s3:ListBucketVersions")
        evidence = results.arn_for_objects("*/evidence/*")
        allow(
            task,
            [evidence],
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            because="evidence of any stream goes after retention.evidence_days, all its versions with it",
        )
        allow(
            task,
            [results.arn_for_objects("canary/*")],
            "s3:DeleteObject",
            "s3:DeleteObjectVersion",
            because="the canary's streams and hits have their rounds in their keys, and go when those are over",
        )
        # Recordings and files are read with their tags; what became of them is written beside them, and taken away with them.
        places = [brought.arn_for_objects(f"{place}*") for place in (CATALOGUE, CHECK)]
        people = "people name what they bring"
        allow(task, places, "s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:PutObject", because=people)
        allow(task, [brought.arn_for_objects(f"{CATALOGUE}*")], "s3:DeleteObject", because=people)
        allow(task, [brought.bucket_arn], "s3:ListBucket")
        # In an order of their own: a template that is another one with each synthesis would be deployed each time.
        for bucket in sorted({*context.medialiveArchiveBucket, *context.recordingBuckets, *context.playlistBuckets}):
            arn = f"arn:{self.partition}:s3:::{bucket}"
            allow(task, [f"{arn}/*"], "s3:GetObject", "s3:GetObjectVersion", because="MediaLive, IVS and origins name what they write")
            allow(task, [arn], "s3:ListBucket")
        allow(task, [topics.alerts.topic_arn], "sns:Publish", "sns:ListSubscriptionsByTopic")
        allow(task, [key.key_arn], "kms:Decrypt", "kms:GenerateDataKey")
        come = "channels come and go, and are not this stack's to list: every one of this account and region"
        allow(task, [self._arn("ivs", "channel", "/")], "ivs:BatchGetChannel", "ivs:GetChannel", "ivs:GetStream", "ivs:ListStreams", because=come)
        allow(task, [self._arn("ivs", "recording-configuration", "/")], "ivs:GetRecordingConfiguration", because=come)
        allow(task, [self._arn("medialive", "channel", ":")], "medialive:DescribeChannel", because=come)
        allow(task, ["*"], "medialive:ListChannels", because="it knows no narrower resource (service authorization reference)")
        if self._policies:
            allow(task, [self._policies.bucket.arn_for_objects(self._policies.s3_object_key)], "s3:GetObject")
        if context.playbackKeyArn:
            allow(task, [context.playbackKeyArn], "secretsmanager:GetSecretValue")
        self._grant_actions(task, because=come)
        if context.protectTasks:
            allow(task, [self._arn("ecs", "task", "/")], "ecs:GetTaskProtection", "ecs:UpdateTaskProtection", because="a task's id is not known before it runs")

    def _grant_actions(self, task: iam.IRole, *, because: str) -> None:
        """What acts on a stream acts on whichever is heard."""
        context = self._context
        bus = context.eventBus or "default"
        named: Mapping[actions.On, str] = {
            "channels": self._arn("ivs", "channel", "/"),
            "stream keys": self._arn("ivs", "stream-key", "/"),
            "secret": context.webhookSecretArn,
            "bus": bus if bus.startswith("arn:") else self.format_arn(service="events", resource="event-bus", resource_name=bus),
        }
        for grant in actions.grants(context):
            allow(task, [named[grant.on]], *grant.actions, because=because if grant.on in ("channels", "stream keys") else "")

    def _arn(self, service: str, resource: str, separator: str) -> str:
        """Every resource of that kind in this account and region: channels come and go, and are not ours to list."""
        kind = cdk.ArnFormat.SLASH_RESOURCE_NAME if separator == "/" else cdk.ArnFormat.COLON_RESOURCE_NAME
        return self.format_arn(service=service, resource=resource, resource_name="*", arn_format=kind)

    # -------------------------------------------------------------------------------------------- what is said

    def _say(self, buckets: Buckets, topics: Topics, queues: Queues, collector: Collector) -> None:
        cdk.CfnOutput(
            self, "ResultsBucket", value=buckets.results.bucket_name, description="hits, summaries, cue sheets and reports; stays when the stack goes"
        )
        cdk.CfnOutput(
            self, "CatalogueBucket", value=buckets.brought.bucket_name, description=f"recordings under {CATALOGUE}, files to be heard once under {CHECK}"
        )
        cdk.CfnOutput(self, "AlertsTopic", value=topics.alerts.topic_arn, description="subscribe an address, a queue or a function")
        cdk.CfnOutput(self, "AlarmsTopic", value=topics.alarms.topic_arn, description="what the stack itself complains of")
        cdk.CfnOutput(self, "DeadLetters", value=queues.dead_letters.queue_url, description="messages that were not understood")
        cdk.CfnOutput(self, "Redrive", value=self._redrive(queues.dead_letters), description="brings them back once the cause is mended")
        cdk.CfnOutput(self, "Prometheus", value=collector.workspace.attr_prometheus_endpoint, description="for Grafana's data source, with SigV4")
        cdk.CfnOutput(self, "AfterDestroy", value=self._left(), description="what `cdk destroy` leaves, and what is paid for it; all else goes")
        if queues.notifications:
            cdk.CfnOutput(self, "NotificationQueue", value=queues.notifications.queue_url, description="every alert as JSON, for programs")

    def _left(self) -> str:
        buckets = "the buckets of results and of what you brought" if not self._context.catalogueBucket else "the bucket of results"
        return f"{buckets}; the key{'' if self._context.databaseArn else ', and a last snapshot of the database'}"

    def _redrive(self, dead_letters: sqs.IQueue) -> str:
        return f"aws sqs start-message-move-task --source-arn {dead_letters.queue_arn}"
