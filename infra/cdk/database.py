"""The catalogue, the leases and the outbox."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct


class Database(Construct):
    """Aurora Serverless v2. It never pauses: a daemon that renews leases keeps it awake, so half a unit is the least that makes sense."""

    def __init__(self, scope: Construct, name: str, *, vpc: ec2.IVpc) -> None:
        super().__init__(scope, name)
        self.cluster = rds.DatabaseCluster(
            self,
            "Cluster",
            # The major version that the tests run on.
            engine=rds.DatabaseClusterEngine.aurora_postgres(version=rds.AuroraPostgresEngineVersion.VER_18_4),
            credentials=rds.Credentials.from_generated_secret("earmark"),
            default_database_name="earmark",
            writer=rds.ClusterInstance.serverless_v2("Writer"),
            serverless_v2_min_capacity=0.5,
            serverless_v2_max_capacity=8,
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            parameters={"rds.force_ssl": "1"},
            storage_encrypted=True,
            backup=rds.BackupProps(retention=cdk.Duration.days(7)),
            deletion_protection=True,
            removal_policy=cdk.RemovalPolicy.SNAPSHOT,
        )

    @property
    def secret(self) -> secrets.ISecret:
        """host, port, username, password."""
        secret = self.cluster.secret
        if secret is None:
            raise RuntimeError("the cluster was made with a generated secret, and has none")
        return secret
