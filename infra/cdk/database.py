"""The catalogue, the leases and the outbox."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

from acknowledged import acknowledge

PORT = 5432
#: Who the daemon is there; who owns the cluster makes it, with all tables its own.
DAEMON_ROLE = "earmark"
#: In the image: the root certificates of Amazon RDS, so that the server is known to be the one that was asked for.
DSN = "dbname=earmark sslmode=verify-full sslrootcert=/etc/earmark/rds-ca.pem"


class Database(Construct):
    """Aurora Serverless v2. It never pauses: a daemon that renews leases keeps it awake, so half a unit is the least that makes sense.

    The daemon comes with a token of its task role in place of a password (Aurora user guide, "IAM database
    authentication"); the owner's password is made and changed by RDS, and read by the migrations' task alone.
    """

    def __init__(self, scope: Construct, name: str, *, vpc: ec2.IVpc, subnets: ec2.SubnetSelection, key: kms.IKey, units_min: float, units_max: float) -> None:
        super().__init__(scope, name)
        self.cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            # The major version that the tests run on.
            engine=rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_18_4),
            manage_master_user_password=True,
            credentials=rds.Credentials.from_username("owner", encryption_key=key),
            iam_authentication=True,
            default_database_name="earmark",
            writer=rds.ClusterInstance.serverless_v2("Writer"),
            serverless_v2_min_capacity=units_min,
            serverless_v2_max_capacity=units_max,
            vpc=vpc,
            vpc_subnets=subnets,
            security_groups=[ec2.SecurityGroup(self, "Group", vpc=vpc, description="Database of Earmark: asked by the tasks alone", allow_all_outbound=False)],
            # Its log stays with RDS, for a week (in minutes): a group in CloudWatch that RDS makes would outlive the stack, and keep everything.
            parameters={"rds.force_ssl": "1", "log_min_duration_statement": "5000", "rds.log_retention_period": "10080"},
            storage_encrypted=True,
            storage_encryption_key=key,
            backup=rds.BackupProps(retention=cdk.Duration.days(7)),
            copy_tags_to_snapshot=True,
            deletion_protection=False,
            removal_policy=cdk.RemovalPolicy.SNAPSHOT,
        )
        acknowledge(self.cluster, "AwsSolutions-RDS10", "`cdk destroy` is meant to work: it leaves a snapshot, and backups of a week")
        endpoint = self.cluster.cluster_endpoint
        #: Of the daemon's container.
        self.environment: Mapping[str, str] = {"PGHOST": endpoint.hostname, "PGPORT": str(PORT), "PGUSER": DAEMON_ROLE, "EARMARK_DATABASE__IAM": "true"}
        self.secrets: Mapping[str, ecs.Secret] = {}
        #: Of the migrations' container, which is the owner.
        self.owner_environment: Mapping[str, str] = {"PGHOST": endpoint.hostname, "PGPORT": str(PORT)}
        self.owner_secrets = _user_of(_present(self.cluster.secret))
        self.migration_arguments = ["--owner", DAEMON_ROLE]

    def admit(self, tasks: ec2.IConnectable, role: iam.IGrantable) -> None:
        self.cluster.connections.allow_default_port_from(tasks, "the daemon")
        self.cluster.grant_connect(role, DAEMON_ROLE)


class ExistingDatabase(Construct):
    """A cluster that is there: its secret is given to the tasks as they start, so one that is changed takes a new deployment."""

    def __init__(self, scope: Construct, name: str, *, secret_arn: str, security_group_id: str) -> None:
        super().__init__(scope, name)
        secret = secrets.Secret.from_secret_complete_arn(self, "Secret", secret_arn)
        self._group = ec2.SecurityGroup.from_security_group_id(self, "SecurityGroup", security_group_id)
        self.environment: Mapping[str, str] = {}
        self.secrets: Mapping[str, ecs.Secret] = {
            "PGHOST": ecs.Secret.from_secrets_manager(secret, "host"),
            "PGPORT": ecs.Secret.from_secrets_manager(secret, "port"),
            **_user_of(secret),
        }
        self.owner_environment, self.owner_secrets = self.environment, self.secrets
        self.migration_arguments: list[str] = []

    def admit(self, tasks: ec2.IConnectable, _role: iam.IGrantable) -> None:
        self._group.connections.allow_from(tasks, ec2.Port.tcp(PORT), "the daemon")


def _user_of(secret: secrets.ISecret) -> dict[str, ecs.Secret]:
    return {"PGUSER": ecs.Secret.from_secrets_manager(secret, "username"), "PGPASSWORD": ecs.Secret.from_secrets_manager(secret, "password")}


def _present(secret: secrets.ISecret | None) -> secrets.ISecret:
    if secret is None:
        raise RuntimeError("RDS was asked to make the owner's password, and there is no secret")
    return secret
