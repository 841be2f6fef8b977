"""Templates of the stack, made without an account: a second or two each, once node runs."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

if shutil.which("node") is None:
    pytest.skip("infra/cdk needs node, which is not installed on this machine", allow_module_level=True)
try:
    import aws_cdk as cdk
    from aws_cdk.assertions import Template
except ModuleNotFoundError:
    pytest.skip("infra/cdk needs aws-cdk-lib: `make cdk` adds it to .venv", allow_module_level=True)

INFRA = Path(__file__).parents[1] / "infra" / "cdk"
ACCOUNT, REGION = "123456789012", "eu-west-1"
VPC = "vpc-0123456789abcdef0"
#: What the CLI tells the app of the credentials that it was given.
CREDENTIALS = {"CDK_DEFAULT_ACCOUNT": ACCOUNT, "CDK_DEFAULT_REGION": REGION}


def synthesised(folder: Path, **context: Any) -> Template:
    """What `cdk deploy -c name=value ...` would deploy. Raises BadContext."""
    from app import make

    written = json.loads((INFRA / "cdk.json").read_text(encoding="utf-8"))["context"]
    app = cdk.App(outdir=str(folder), context={**written, **context})
    return Template.from_stack(make(app, CREDENTIALS))


def looked_up(*, public: int = 2, private: int = 2, isolated: int = 2, zones: str = "abc") -> Mapping[str, Any]:
    """The context in which the CLI remembers what it found of a VPC: so many subnets of each kind, in zones one after the other."""

    def group(name: str, kind: str, count: int) -> dict[str, Any]:
        subnets = [
            {"subnetId": subnet_id(kind, n), "cidr": f"10.0.{n}.0/24", "availabilityZone": f"{REGION}{zones[n]}", "routeTableId": f"rtb-{n:017x}"}
            for n in range(count)
        ]
        return {"name": name, "type": kind, "subnets": subnets}

    groups = [group("Public", "Public", public), group("Private", "Private", private), group("Isolated", "Isolated", isolated)]
    found = {
        "vpcId": VPC,
        "vpcCidrBlock": "10.0.0.0/16",
        "ownerAccountId": ACCOUNT,
        "availabilityZones": [],
        "subnetGroups": [one for one in groups if one["subnets"]],
    }
    return {"vpcId": VPC, f"vpc-provider:account={ACCOUNT}:filter.vpc-id={VPC}:region={REGION}:returnAsymmetricSubnets=true": found}


def subnet_id(kind: str, number: int) -> str:
    """Of one that was looked up: Public, Private or Isolated."""
    return f"subnet-{len(kind):x}{number:016x}"


def of_type(resources: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    return [resource for resource in resources.values() if resource["Type"] == kind]


def container(resources: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The only one of that name in any task definition."""
    tasks = of_type(resources, "AWS::ECS::TaskDefinition")
    (found,) = (one for task in tasks for one in task["Properties"]["ContainerDefinitions"] if one["Name"] == name)
    assert isinstance(found, dict)
    return found


def statements(resources: Mapping[str, Any], role: str) -> list[dict[str, Any]]:
    """Of the policies attached to the role whose logical id contains `role`."""
    policies = (resource["Properties"] for resource in resources.values() if resource["Type"] == "AWS::IAM::Policy")
    attached = (policy for policy in policies if any(role in str(reference.get("Ref", "")) for reference in policy["Roles"]))
    return [statement for policy in attached for statement in policy["PolicyDocument"]["Statement"]]


def actions(statement: Mapping[str, Any]) -> set[str]:
    found = statement["Action"]
    return {found} if isinstance(found, str) else set(found)
