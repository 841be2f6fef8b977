"""The template in the stand-in's CloudFormation: what it can make is made and looked at; what it does not know is listed."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moto.cloudformation.parsing import get_model_map

from earmark.local.aws import AwsStandIn
from stack_synthesis import synthesised

NAME = "Earmark"
#: A word that is a number as well: some places take nothing else.
NOT_MADE = "0"
#: What the stand-in would have to run in a container engine, and Aurora's instances, which it knows of MySQL alone.
NEEDS_AN_ENGINE = ("Custom::", "AWS::CloudFormation::CustomResource", "AWS::Lambda::", "AWS::RDS::DBInstance")


def run(out: Path) -> bool:
    context = {
        "alertEmail": "rights@example.com",
        "medialiveArchiveBucket": "archive-one",
        "recordingBuckets": "recordings-one",
        "catalogueBucket": "catalogue-one",
    }
    template = synthesised(out / "cdk" / "cloudformation", **context).to_json()
    with _errors_in(out / "cloudformation.log"), AwsStandIn() as aws:
        for bucket in ("archive-one", "recordings-one", "catalogue-one"):
            aws.client("s3").create_bucket(Bucket=bucket)
        # What `cdk bootstrap` leaves in an account.
        aws.client("ssm").put_parameter(Name=template["Parameters"]["BootstrapVersion"]["Default"], Value="21", Type="String")
        return _deployed(aws, template)


@contextmanager
def _errors_in(log: Path) -> Iterator[None]:
    """The stand-in says of each resource that it does not know, and says so often."""
    kept = os.dup(2)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _deployed(aws: AwsStandIn, template: dict[str, Any]) -> bool:
    wanted = Counter(resource["Type"] for resource in template["Resources"].values())
    client = aws.client("cloudformation")
    client.create_stack(StackName=NAME, TemplateBody=json.dumps(_as_far_as_it_goes(template)), Capabilities=["CAPABILITY_NAMED_IAM"])
    (stack,) = client.describe_stacks(StackName=NAME)["Stacks"]
    made = Counter(
        one["ResourceType"] for page in client.get_paginator("list_stack_resources").paginate(StackName=NAME) for one in page["StackResourceSummaries"]
    )
    unknown = {kind: count - made[kind] for kind, count in wanted.items() if made[kind] < count}
    print(f"  {stack['StackStatus']}: {sum(made.values())} of {sum(wanted.values())} resources of {len(made)} of {len(wanted)} kinds were made")
    print(f"  not known to the stand-in, or in need of a container engine: {', '.join(f'{count} {kind}' for kind, count in sorted(unknown.items()))}")
    return stack["StackStatus"] == "CREATE_COMPLETE" and _at_work(aws, stack)


def _at_work(aws: AwsStandIn, stack: dict[str, Any]) -> bool:
    """An event through the deployed rule, by the deployed policy, into the deployed queue."""
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    channel = aws.put_channel("rehearsed")
    aws.put_stream_event(channel, "st-1Rehearsed", "Stream Start")
    sqs = aws.client("sqs")
    queues = [url for url in sqs.list_queues().get("QueueUrls", []) if url != outputs["DeadLetters"]]
    came = [json.loads(message["Body"]) for url in queues for message in sqs.receive_message(QueueUrl=url).get("Messages", [])]
    right = [event["detail"]["stream_id"] for event in came] == ["st-1Rehearsed"]
    print(f"  a stream's start {'came' if right else 'did not come'} through the deployed rule into the deployed queue")
    return right


def _as_far_as_it_goes(template: dict[str, Any]) -> dict[str, Any]:
    """Without what takes a container engine, and with a word in place of what only a resource that is not made would know."""
    known = get_model_map()
    engine = {name for name, resource in template["Resources"].items() if resource["Type"].startswith(NEEDS_AN_ENGINE)}
    unmade = engine | {name for name, resource in template["Resources"].items() if resource["Type"] not in known}

    def without(value: Any) -> Any:
        match value:
            case {"Ref": name} if name in unmade:
                return NOT_MADE
            case {"Fn::GetAtt": [name, attribute]} if name in unmade:
                return f"arn:aws:not-made:::{name}" if attribute.endswith("Arn") else NOT_MADE
            case dict():
                return {key: without(part) for key, part in value.items()}
            case list():
                return [without(part) for part in value]
        return value

    made = {name: without({**resource, "DependsOn": []}) for name, resource in template["Resources"].items() if name not in engine}
    return {**template, "Resources": made, "Outputs": without(template["Outputs"])}
