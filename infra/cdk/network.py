"""Where the daemon and its database live: nothing can be reached from the internet."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from context import BadContext

_TASKS = "tasks"


class Network(Construct):
    """A VPC of two zones, or one that is there.

    Tasks reach out, because IVS playback is a public service: through one NAT gateway, or (`natless`) with public addresses
    of their own, which costs nothing by the hour and a public IPv4 address each. The database reaches nowhere.
    """

    def __init__(self, scope: Construct, name: str, *, vpc_id: str, natless: bool, key: kms.IKey) -> None:
        super().__init__(scope, name)
        self.vpc = ec2.Vpc.from_lookup(self, "Vpc", vpc_id=vpc_id) if vpc_id else self._made(key, natless=natless)
        outward = ec2.SubnetType.PUBLIC if natless else ec2.SubnetType.PRIVATE_WITH_EGRESS
        #: Where the tasks are; with public addresses if `natless`.
        self.tasks = ec2.SubnetSelection(subnet_type=outward)
        if vpc_id:
            _wanted(self.vpc.public_subnets if natless else self.vpc.private_subnets, vpc_id, natless=natless)
        #: Where a database may be.
        self.database = ec2.SubnetSelection(subnet_type=_database_subnets(self.vpc) if vpc_id else ec2.SubnetType.PRIVATE_ISOLATED)

    def _made(self, key: kms.IKey, *, natless: bool) -> ec2.IVpc:
        public = ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=20 if natless else 28)
        private = ec2.SubnetConfiguration(name=_TASKS, subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=20)
        isolated = ec2.SubnetConfiguration(name="database", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24)
        vpc = ec2.Vpc(
            self,
            "Vpc",
            max_azs=2,
            nat_gateways=0 if natless else 1,
            subnet_configuration=[public, *([] if natless else [private]), isolated],
            # Free, and keeps evidence and archive files off the NAT gateway's bill.
            gateway_endpoints={"S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)},
        )
        # Who spoke with whom, for the day on which somebody asks; refused packets alone are few.
        log = logs.LogGroup(self, "Refused", retention=logs.RetentionDays.ONE_MONTH, encryption_key=key, removal_policy=cdk.RemovalPolicy.DESTROY)
        vpc.add_flow_log("FlowLog", traffic_type=ec2.FlowLogTrafficType.REJECT, destination=ec2.FlowLogDestination.to_cloud_watch_logs(log))
        return vpc


def _wanted(subnets: list[ec2.ISubnet], vpc_id: str, *, natless: bool) -> None:
    if len(subnets) < 2:
        kind = "public subnets, as natless wants them" if natless else "private subnets with a way out"
        other = "leave natless out" if natless else "say natless=true, to put the tasks into its public ones"
        raise BadContext(f"vpcId ({vpc_id}) has {len(subnets)} {kind}, and two in different zones are needed: add them, or {other}")


def _database_subnets(vpc: ec2.IVpc) -> ec2.SubnetType:
    return ec2.SubnetType.PRIVATE_ISOLATED if len(vpc.isolated_subnets) >= 2 else ec2.SubnetType.PRIVATE_WITH_EGRESS
