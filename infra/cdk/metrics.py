"""What the daemon measures, on its way to Amazon Managed Prometheus, and the little of it that CloudWatch needs."""

from pathlib import Path
from typing import Any, Final

import aws_cdk as cdk
from aws_cdk import aws_aps as aps
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

NAMESPACE: Final = "Earmark"
SERVICE: Final = "earmark"
#: What Prometheus computes of them, and when it says that something is wrong.
RULES: Final = Path(__file__).parents[2] / "config" / "prometheus"
#: The AWS Distro for OpenTelemetry; its releases are listed at github.com/aws-observability/aws-otel-collector.
COLLECTOR_IMAGE: Final = "public.ecr.aws/aws-observability/aws-otel-collector:v0.43.3"
#: What alarms and scaling look at; everything goes to Prometheus.
IN_CLOUDWATCH: Final = (
    "earmark_compute_busy_ratio",
    "earmark_streams",
    "earmark_streams_unowned_oldest_age_seconds",
    "earmark_outbox_oldest_age_seconds",
    "earmark_outbox_dead",
    "earmark_database_up",
    "earmark_alert_subscriptions",
    "earmark_canary_last_success_age_seconds",
)


class Measured:
    """The daemon's own metrics in CloudWatch, each over a minute."""

    def __init__(self) -> None:
        self.busy = _metric("earmark_compute_busy_ratio", "Average")
        self.tasks = _metric("earmark_compute_busy_ratio", "SampleCount")
        self.unowned = _metric("earmark_streams", "Maximum", state="wanted_unowned")
        self.unowned_age_s = _metric("earmark_streams_unowned_oldest_age_seconds", "Maximum")
        self.outbox_age_s = _metric("earmark_outbox_oldest_age_seconds", "Maximum")
        self.outbox_dead = _metric("earmark_outbox_dead", "Maximum")
        self.database_up = _metric("earmark_database_up", "Minimum")
        self.canary_age_s = _metric("earmark_canary_last_success_age_seconds", "Maximum")
        self.mail_subscribers = _metric("earmark_alert_subscriptions", "Maximum", protocol="email", state="confirmed")


class Collector(Construct):
    """A container beside the daemon that scrapes it each 15 s (ADOT developer guide, "Amazon ECS task definition")."""

    def __init__(self, scope: Construct, name: str, *, metrics_port: int, key: kms.IKey) -> None:
        super().__init__(scope, name)
        self._port = metrics_port
        self.workspace = aps.CfnWorkspace(self, "Workspace", alias="earmark")
        # Without the recorded ones dashboards lack their objectives.
        for rules in ("recording", "alerts"):
            data = (RULES / f"{rules}.yml").read_text(encoding="utf-8")
            aps.CfnRuleGroupsNamespace(self, rules.title(), name=f"earmark-{rules}", workspace=self.workspace.attr_arn, data=data)
        self._emf = logs.LogGroup(self, "Emf", retention=logs.RetentionDays.ONE_WEEK, encryption_key=key, removal_policy=cdk.RemovalPolicy.DESTROY)

    def beside(self, task: ecs.FargateTaskDefinition, *, log: logs.ILogGroup) -> None:
        """If it ends, the task goes on: a daemon that nobody sees still hears, and an alarm says that nobody sees it."""
        task.add_container(
            "Collector",
            image=ecs.ContainerImage.from_registry(COLLECTOR_IMAGE),
            essential=False,
            cpu=64,
            memory_limit_mib=256,
            environment={"AOT_CONFIG_CONTENT": cdk.Stack.of(self).to_json_string(self._configuration())},
            logging=ecs.LogDrivers.aws_logs(stream_prefix="collector", log_group=log),
            readonly_root_filesystem=True,
        )

    def grant(self, role: iam.IRole) -> None:
        role.add_to_principal_policy(iam.PolicyStatement(actions=["aps:RemoteWrite"], resources=[self.workspace.attr_arn]))
        self._emf.grant(role, "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents")

    def _configuration(self) -> dict[str, Any]:
        """OpenTelemetry collector configuration; JSON is YAML."""
        region = cdk.Stack.of(self).region
        scrape = {"job_name": "earmark", "scrape_interval": "15s", "static_configs": [{"targets": [f"localhost:{self._port}"], "labels": {"service": SERVICE}}]}
        dimensions = [["service"], ["service", "state"], ["service", "protocol", "state"]]
        declarations = [{"dimensions": dimensions, "metric_name_selectors": [f"^({'|'.join(IN_CLOUDWATCH)})$"]}]
        return {
            "extensions": {"health_check": {}, "sigv4auth": {"region": region, "service": "aps"}},
            "receivers": {"prometheus": {"config": {"scrape_configs": [scrape]}}},
            "processors": {
                "resourcedetection": {"detectors": ["env", "ecs"]},
                "batch": {"timeout": "15s"},
                "filter/cloudwatch": {"metrics": {"include": {"match_type": "strict", "metric_names": list(IN_CLOUDWATCH)}}},
            },
            "exporters": {
                "prometheusremotewrite": {
                    "endpoint": f"{self.workspace.attr_prometheus_endpoint}api/v1/remote_write",
                    "auth": {"authenticator": "sigv4auth"},
                    "resource_to_telemetry_conversion": {"enabled": True},
                },
                "awsemf": {
                    "region": region,
                    "namespace": NAMESPACE,
                    "log_group_name": self._emf.log_group_name,
                    "dimension_rollup_option": "NoDimensionRollup",
                    "metric_declarations": declarations,
                },
            },
            "service": {
                "extensions": ["health_check", "sigv4auth"],
                "pipelines": {
                    "metrics": {"receivers": ["prometheus"], "processors": ["resourcedetection", "batch"], "exporters": ["prometheusremotewrite"]},
                    "metrics/cloudwatch": {"receivers": ["prometheus"], "processors": ["filter/cloudwatch", "batch"], "exporters": ["awsemf"]},
                },
            },
        }


def _metric(name: str, statistic: str, **labels: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=NAMESPACE, metric_name=name, statistic=statistic, period=cdk.Duration.minutes(1), dimensions_map={"service": SERVICE, **labels}
    )
