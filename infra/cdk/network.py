"""Where the daemon and its database live: nothing can be reached from the internet."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from context import BadContext

#: Aurora takes no subnets of a single zone, and tasks in one would go with it.
ZONES_MIN = 2


class Network(Construct):
    """A VPC of two zones, or one that is there.

    Tasks reach out, because IVS playback is a public service: through one NAT gateway, or (`natless`) with public addresses
    of their own, which costs nothing by the hour and a public IPv4 address each. The database reaches nowhere.
    """

    def __init__(self, scope: Construct, name: str, *, vpc_id: str, natless: bool, makes_database: bool, key: kms.IKey) -> None:
        super().__init__(scope, name)
        self.vpc = ec2.Vpc.from_lookup(self, "Vpc", vpc_id=vpc_id) if vpc_id else self._made(key, natless=natless)
        outward = ec2.SubnetType.PUBLIC if natless else ec2.SubnetType.PRIVATE_WITH_EGRESS
        #: Where the tasks are; with public addresses if `natless`.
        self.tasks = ec2.SubnetSelection(subnet_type=outward)
        #: Where a database may be.
        self.database = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
        if vpc_id:
            self._check(vpc_id, natless=natless)
            if makes_database:
                self.database = ec2.SubnetSelection(subnet_type=self._for_a_database(vpc_id))

    def _made(self, key: kms.IKey, *, natless: bool) -> ec2.IVpc:
        public = ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=20 if natless else 28)
        private = ec2.SubnetConfiguration(name="tasks", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=20)
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

    def _check(self, vpc_id: str, *, natless: bool) -> None:
        zones = _zones(self.vpc.public_subnets if natless else self.vpc.private_subnets)
        if zones < ZONES_MIN:
            kind = "public subnets, as natless wants them," if natless else "private subnets with a way out"
            other = "leave natless out" if natless else "say natless=true, to put the tasks into its public ones"
            raise BadContext(f"vpcId ({vpc_id}) has {kind} in {_counted(zones)}, and two are needed: add them, or {other}")

    def _for_a_database(self, vpc_id: str) -> ec2.SubnetType:
        """Where nothing gets out, if there are such; else where nothing gets in."""
        if _zones(self.vpc.isolated_subnets) >= ZONES_MIN:
            return ec2.SubnetType.PRIVATE_ISOLATED
        if _zones(self.vpc.private_subnets) >= ZONES_MIN:
            return ec2.SubnetType.PRIVATE_WITH_EGRESS
        raise BadContext(f"vpcId ({vpc_id}) has no isolated or private subnets in two zones, where Aurora would be: add them, or name a database that is there")


def _zones(subnets: list[ec2.ISubnet]) -> int:
    return len({subnet.availability_zone for subnet in subnets})


def _counted(zones: int) -> str:
    return {0: "no zone", 1: "one zone"}[zones]
