"""`earmark run` on Fargate."""

from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_secretsmanager as secrets
from constructs import Construct

ROOT = Path(__file__).resolve().parents[2]
METRICS_PORT = 9100
#: The longest that Fargate waits between SIGTERM and SIGKILL; leases.drain_s is below it.
STOP_S = 120


class DaemonService(Construct):
    """One core per task, because one process is one core; ARM, because it is cheaper for the same work."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        vpc: ec2.IVpc,
        environment: Mapping[str, str],
        database_secret: secrets.ISecret,
    ) -> None:
        super().__init__(scope, name)
        cluster = ecs.Cluster(self, "Cluster", vpc=vpc, container_insights_v2=ecs.ContainerInsights.ENABLED)
        task = ecs.FargateTaskDefinition(
            self,
            "Task",
            cpu=1024,
            memory_limit_mib=2048,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.ARM64,
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
        )
        task.add_container(
            "Daemon",
            image=ecs.ContainerImage.from_asset(str(ROOT), platform=assets.Platform.LINUX_ARM64, ignore_mode=cdk.IgnoreMode.DOCKER),
            environment=dict(environment),
            secrets={
                "PGHOST": ecs.Secret.from_secrets_manager(database_secret, "host"),
                "PGPORT": ecs.Secret.from_secrets_manager(database_secret, "port"),
                "PGUSER": ecs.Secret.from_secrets_manager(database_secret, "username"),
                "PGPASSWORD": ecs.Secret.from_secrets_manager(database_secret, "password"),
            },
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix="earmark",
                log_group=logs.LogGroup(self, "Log", retention=logs.RetentionDays.ONE_MONTH, removal_policy=cdk.RemovalPolicy.DESTROY),
            ),
            health_check=ecs.HealthCheck(
                command=["CMD", "python", "-c", f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{METRICS_PORT}/healthz', timeout=4)"],
                interval=cdk.Duration.seconds(15),
                timeout=cdk.Duration.seconds(5),
                start_period=cdk.Duration.seconds(60),
                retries=4,
            ),
            port_mappings=[ecs.PortMapping(container_port=METRICS_PORT, name="metrics")],
            readonly_root_filesystem=True,
            linux_parameters=ecs.LinuxParameters(self, "Init", init_process_enabled=True),
            stop_timeout=cdk.Duration.seconds(STOP_S),
        )
        self.service = ecs.FargateService(
            self,
            "Service",
            cluster=cluster,
            task_definition=task,
            desired_count=1,
            # A new task claims what the old one hands over: never fewer than there were.
            min_healthy_percent=100,
            max_healthy_percent=200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            # Moving tasks about for balance would hand streams over for nothing.
            availability_zone_rebalancing=ecs.AvailabilityZoneRebalancing.DISABLED,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS),
        )

    @property
    def task_role(self) -> iam.IRole:
        return self.service.task_definition.task_role
