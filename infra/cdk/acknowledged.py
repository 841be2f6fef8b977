"""Findings of cdk-nag's AwsSolutions rules that stay, each with its reason. Any other fails the synthesis."""

from collections.abc import Mapping, Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct, IConstruct

#: Made by CDK for `enable_event_bridge_notification`, under a name of its own.
_BUCKET_NOTIFICATIONS = "BucketNotificationsHandler"


def allow(role: iam.IRole, resources: Sequence[str], *actions: str, because: str = "", conditions: Mapping[str, Any] | None = None) -> None:
    """Grants; a resource with an asterisk in it takes a reason."""
    role.add_to_principal_policy(iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions))
    for resource in resources:
        named = _as_the_rules_write_it(cdk.Stack.of(role).resolve(resource))
        if "*" in named:
            if not because:
                raise ValueError(f"{', '.join(actions)} on {named} has no reason")
            acknowledge(role, f"AwsSolutions-IAM5[Resource::{named}]", because)


def acknowledge(construct: IConstruct, rule: str, because: str) -> None:
    cdk.Validations.of(construct).acknowledge(cdk.Acknowledgment(id=f"AwsSolutions::{rule}", reason=because))


def acknowledge_what_cdk_makes(stack: cdk.Stack) -> None:
    """Roles and functions that its constructs bring along."""
    for child in stack.node.children:
        if isinstance(child, Construct) and child.node.id.startswith(_BUCKET_NOTIFICATIONS):
            managed = "Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
            acknowledge(child, f"AwsSolutions-IAM4[{managed}]", "CDK's own function, which runs at deployments and writes its log by that policy")
            acknowledge(child, "AwsSolutions-IAM5[Resource::*]", "CDK's own function, which sets the notifications of whatever bucket a stack names")


def _as_the_rules_write_it(resolved: object) -> str:
    match resolved:
        case str(text) | {"Fn::Sub": str(text)}:
            return text
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::Join": ["", parts]}:
            return "".join(map(_as_the_rules_write_it, parts))
    raise ValueError(f"no address: {resolved}")
