"""`earmark db migrate` as a task of its own, run to its end before the service gets its new task definition."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from acknowledged import allow

FUNCTION = Path(__file__).resolve().parent / "migration_function"
#: Lambda allows no more; a migration that takes longer is started again by the next deployment, and goes on where it was.
WAIT_MINUTES = 15


class Migration(Construct):
    """A function that starts the task, waits for it, and tells CloudFormation how it ended: a migration that fails fails the deployment."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        cluster: ecs.ICluster,
        task: ecs.FargateTaskDefinition,
        subnets: ec2.SelectedSubnets,
        group: ec2.ISecurityGroup,
        public: bool,
        key: kms.IKey,
    ) -> None:
        super().__init__(scope, name)
        log = logs.LogGroup(self, "Log", retention=logs.RetentionDays.ONE_MONTH, encryption_key=key, removal_policy=cdk.RemovalPolicy.DESTROY)
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"), description="starts Earmark's migrations, and waits for them")
        log.grant_write(role)
        of_cluster = {"ArnEquals": {"ecs:cluster": cluster.cluster_arn}}
        allow(role, [task.task_definition_arn], "ecs:RunTask", conditions=of_cluster)
        to_tasks = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
        allow(role, [task.task_role.role_arn, task.obtain_execution_role().role_arn], "iam:PassRole", conditions=to_tasks)
        tasks = cdk.Stack.of(self).format_arn(service="ecs", resource="task", resource_name=f"{cluster.cluster_name}/*")
        allow(role, [tasks], "ecs:DescribeTasks", because="a task's id is not known before it runs", conditions=of_cluster)
        function = lambda_.Function(
            self,
            "Function",
            code=lambda_.Code.from_asset(str(FUNCTION)),
            handler="migrations.handle",
            runtime=lambda_.Runtime.PYTHON_3_14,
            timeout=cdk.Duration.minutes(WAIT_MINUTES),
            memory_size=256,
            role=role,
            log_group=log,
            description="Earmark: migrations before the service",
        )
        self.resource = cdk.CustomResource(
            self,
            "Run",
            service_token=function.function_arn,
            resource_type="Custom::EarmarkMigration",
            properties={
                "Cluster": cluster.cluster_arn,
                # A new image is a new revision, and with it an update.
                "TaskDefinition": task.task_definition_arn,
                "Subnets": subnets.subnet_ids,
                "SecurityGroup": group.security_group_id,
                "PublicAddress": "ENABLED" if public else "DISABLED",
            },
            service_timeout=cdk.Duration.minutes(WAIT_MINUTES + 1),
        )
        # What the task may do and how it gets out have to be there before it is run, which is not seen from its definition's address.
        self.resource.node.add_dependency(role, task, subnets.internet_connectivity_established)
