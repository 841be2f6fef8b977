"""`earmark run` on Fargate, the collector beside it, and the migrations that go before both."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_applicationautoscaling as scaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from acknowledged import acknowledge
from context import Context
from database import Database, ExistingDatabase
from metrics import Collector, Measured

ROOT = Path(__file__).resolve().parents[2]
METRICS_PORT = 9100
#: The longest that Fargate waits between SIGTERM and SIGKILL; leases.drain_s is below it.
STOP_S = 120
#: One process is one core; 2 GB hold some 1,200 streams, far more than a core hears.
CPU, MEMORY_MIB = 1024, 2048
#: The one place that the numbered user of the Dockerfile may write to. Fargate gives a volume to root, unless the image has a VOLUME there:
#: then it is made as the image's folder is (ECS developer guide, "Use bind mounts with Amazon ECS").
SCRATCH = "/tmp"  # noqa: S108 - of the container, mounted for it alone
#: Above leases.busy_share_max (.7) a worker claims nothing more: new tasks come before that.
BUSY_TARGET = 0.55


class DaemonService(Construct):
    """One core per task, because one process is one core."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        context: Context,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection,
        database: Database | ExistingDatabase,
        environment: Mapping[str, str],
        roles: Sequence[str],
        collector: Collector,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, name)
        self.cluster = ecs.Cluster(self, "Cluster", vpc=vpc, container_insights_v2=ecs.ContainerInsights.ENABLED)
        self._platform = assets.Platform.LINUX_ARM64 if context.arm64 else assets.Platform.LINUX_AMD64
        self._architecture = ecs.CpuArchitecture.ARM64 if context.arm64 else ecs.CpuArchitecture.X86_64
        self._image = ecs.ContainerImage.from_asset(str(ROOT), platform=self._platform, ignore_mode=cdk.IgnoreMode.DOCKER)
        self._log = logs.LogGroup(self, "Log", retention=logs.RetentionDays.ONE_MONTH, encryption_key=key, removal_policy=cdk.RemovalPolicy.DESTROY)
        #: One rule lets out, none lets in: it asks, and is never asked.
        self.group = ec2.SecurityGroup(self, "Tasks", vpc=vpc, description="Tasks of Earmark: outward alone", allow_all_outbound=True)

        self.migration = self._task("Migration")
        self._container(
            self.migration,
            "Migration",
            command=["db", "migrate", *database.migration_arguments],
            environment={"EARMARK_DATABASE__DSN": environment["EARMARK_DATABASE__DSN"], "EARMARK_LOG__FORMAT": "json", **database.owner_environment},
            secrets=database.owner_secrets,
        )
        self.task = self._task("Task")
        daemon = self._container(
            self.task,
            "Daemon",
            command=["run", "--role", ",".join(roles)],
            environment={**environment, **database.environment},
            secrets=database.secrets,
            health_check=ecs.HealthCheck(
                command=["CMD", "python", "-c", f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{METRICS_PORT}/healthz', timeout=4)"],
                interval=cdk.Duration.seconds(15),
                timeout=cdk.Duration.seconds(5),
                start_period=cdk.Duration.seconds(60),
                retries=4,
            ),
        )
        daemon.add_port_mappings(ecs.PortMapping(container_port=METRICS_PORT, name="metrics"))
        collector.beside(self.task, log=self._log)
        for task in (self.task, self.migration):
            acknowledge(task, "AwsSolutions-ECS2", "what stands there is addresses and numbers; passwords come from Secrets Manager, or there is none")
            acknowledge(task.obtain_execution_role(), "AwsSolutions-IAM5[Resource::*]", "ecr:GetAuthorizationToken knows no resource")
        self.service = ecs.FargateService(
            self,
            "Service",
            cluster=self.cluster,
            task_definition=self.task,
            # How many is scaling's to say (one, then capacityMin at once): a number here would be gone back to with each deployment.
            # A new task claims what the old one hands over: never fewer than there were.
            min_healthy_percent=100,
            max_healthy_percent=200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            # Moving tasks about for balance would hand streams over for nothing.
            availability_zone_rebalancing=ecs.AvailabilityZoneRebalancing.DISABLED,
            assign_public_ip=context.natless,
            vpc_subnets=subnets,
            security_groups=[self.group],
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
        )

    def scale(self, measured: Measured, *, least: int, most: int) -> None:
        """By how busy the tasks are (streams over what they can hold), and out at once on streams that nobody has.

        In by one task at a time: a task that hears streams is protected, so what goes is idle or hands over.
        """
        count = self.service.auto_scale_task_count(min_capacity=least, max_capacity=most)
        count.scale_to_track_custom_metric(
            "Busy",
            metric=measured.busy,
            target_value=BUSY_TARGET,
            scale_out_cooldown=cdk.Duration.minutes(1),
            scale_in_cooldown=cdk.Duration.minutes(15),
        )
        count.scale_on_metric(
            "Unowned",
            metric=measured.unowned,
            # One to fifty streams without an owner: a task; more: a quarter as many tasks again, or five.
            scaling_steps=[
                scaling.ScalingInterval(upper=0, change=0),
                scaling.ScalingInterval(lower=1, upper=50, change=1),
                scaling.ScalingInterval(lower=50, change=5),
            ],
            adjustment_type=scaling.AdjustmentType.CHANGE_IN_CAPACITY,
            cooldown=cdk.Duration.minutes(2),
            evaluation_periods=1,
        )

    @property
    def task_role(self) -> iam.IRole:
        return self.task.task_role

    def _task(self, name: str) -> ecs.FargateTaskDefinition:
        platform = ecs.RuntimePlatform(cpu_architecture=self._architecture, operating_system_family=ecs.OperatingSystemFamily.LINUX)
        task = ecs.FargateTaskDefinition(self, name, cpu=CPU, memory_limit_mib=MEMORY_MIB, runtime_platform=platform)
        task.add_volume(name="scratch")
        return task

    def _container(
        self,
        task: ecs.FargateTaskDefinition,
        name: str,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        secrets: Mapping[str, ecs.Secret],
        health_check: ecs.HealthCheck | None = None,
    ) -> ecs.ContainerDefinition:
        parameters = ecs.LinuxParameters(self, f"{name}Linux", init_process_enabled=True)
        parameters.drop_capabilities(ecs.Capability.ALL)
        container = task.add_container(
            name,
            image=self._image,
            command=list(command),
            environment=dict(environment),
            secrets=dict(secrets),
            logging=ecs.LogDrivers.aws_logs(stream_prefix=name.lower(), log_group=self._log),
            health_check=health_check,
            readonly_root_filesystem=True,
            linux_parameters=parameters,
            stop_timeout=cdk.Duration.seconds(STOP_S),
        )
        container.add_mount_points(ecs.MountPoint(container_path=SCRATCH, source_volume="scratch", read_only=False))
        return container
