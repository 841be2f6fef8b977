"""Contexts, synthesised as `cdk deploy` would: each value both ways, beside each value of every other; and every wrong one, refused in one sentence."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from context import BadContext
from rehearsal.figures import figure
from rehearsal.pairs import all_pairs, covering
from stack_synthesis import INFRA, container, looked_up, of_type, synthesised

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:music-AbCdEf"
THERE = {"databaseArn": "arn:aws:rds:eu-west-1:123456789012:cluster:music", "databaseSecretArn": SECRET, "databaseSecurityGroup": "sg-01234567"}
#: Where it all is: what belongs together, or excludes one another.
PLACES: Final[Mapping[str, Mapping[str, Any]]] = {
    "of its own": {},
    "of its own, natless": {"natless": "true"},
    "of its own, its database large": {"databaseUnitsMin": "8", "databaseUnitsMax": "64"},
    "a VPC that is there": {**looked_up()},
    "a VPC, natless": {**looked_up(private=0), "natless": "true"},
    "a VPC and a database": {**looked_up(), **THERE},
    "a VPC and a database, natless": {**looked_up(private=0, isolated=0), **THERE, "natless": "true"},
}
#: Another value than the default of each that stands for itself.
OTHERWISE: Final[Mapping[str, str]] = {
    "alertEmail": "rights@example.com",
    "operatorEmail": "ops@example.com",
    "notificationQueue": "false",
    "medialiveArchiveBucket": "archive-one,archive-two",
    "recordingBuckets": "recordings-one",
    "playlistBuckets": "playlists-one",
    "catalogueBucket": "catalogue-one",
    "playbackKeyArn": SECRET,
    "capacityMin": "4",
    "capacityMax": "60",
    "arm64": "false",
    "protectTasks": "true",
    "canaryMinutes": "0",
    "retentionDays": "3650",
    "policyFile": str(INFRA.parents[1] / "config" / "policy.toml"),
    "nowPlaying": "on",
    "stopStream": "on",
    "webhook": "on",
    "eventBridge": "on",
}
#: What is said along with one of those.
ALONG: Final[Mapping[str, Mapping[str, str]]] = {
    "stopStream": {"revokeStreamKeys": "true"},
    "webhook": {"webhookUrl": "https://hooks.example.com/hits", "webhookSecretArn": SECRET},
    "eventBridge": {"eventBus": "music"},
}
#: What each action takes, besides what hearing does.
ACTS: Final[Mapping[str, tuple[str, ...]]] = {
    "nowPlaying": ("ivs:PutMetadata",),
    "stopStream": ("ivs:StopStream", "ivs:ListStreamKeys", "ivs:DeleteStreamKey"),
    "webhook": ("https://hooks.example.com/hits",),
    "eventBridge": ("events:PutEvents",),
}
#: What can only be said with others, and is said in PLACES.
IN_PLACES: Final = {"vpcId", "natless", "databaseUnitsMin", "databaseUnitsMax", *THERE}
VALUES: Final[Mapping[str, tuple[str, ...]]] = {"place": tuple(PLACES), **{name: ("", value) for name, value in OTHERWISE.items()}}

WRONG: Mapping[str, Mapping[str, Any]] = {
    "a word too many": {"alertMail": "rights@example.com"},
    "no address": {"alertEmail": "rights team"},
    "a path for a bucket": {"catalogueBucket": "s3://mine/catalogue"},
    "MediaLive and a dot": {"medialiveArchiveBucket": "my.archive"},
    "no VPC's id": {"vpcId": "main"},
    "a VPC without private subnets": {**looked_up(private=0)},
    "a VPC of one zone": {**looked_up(zones="aa")},
    "a VPC without public ones": {**looked_up(public=1), "natless": "true"},
    "a VPC without a place for a database": {**looked_up(private=0, isolated=0), "natless": "true"},
    "half a database": {"databaseArn": THERE["databaseArn"]},
    "a database that is there, and larger": {**looked_up(), **THERE, "databaseUnitsMax": "64"},
    "a secret of another region": {"playbackKeyArn": SECRET.replace("eu-west-1", "us-east-1")},
    "more than the most": {"capacityMin": "20"},
    "neither true nor false": {"arm64": "yes"},
    "neither off nor on": {"stopStream": "yes"},
    "half a webhook": {"webhook": "on", "webhookUrl": "https://hooks.example.com/hits"},
    "keys of streams that go on": {"revokeStreamKeys": "true"},
    "a bus of another region": {"eventBridge": "on", "eventBus": "arn:aws:events:us-east-1:123456789012:event-bus/music"},
}
WIDTH = 38
#: In the table each value has one.
LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def context_of(row: Mapping[str, str]) -> dict[str, Any]:
    said = {name: value for name, value in row.items() if name != "place" and value}
    along = {name: value for one in said for name, value in ALONG.get(one, {}).items()}
    return {**PLACES[row["place"]], **said, **along}


def run(out: Path) -> list[dict[str, Any]]:
    usual = dict.fromkeys(VALUES, "") | {"place": "of its own"}
    rows = [usual, *(row for row in covering(VALUES) if row != usual)]
    wrong, took_s = 0, []
    print(f"  {', '.join(f'{letter} {name}' for letter, name in zip(LETTERS, OTHERWISE, strict=False))}: said, or as it is by default (.)")
    print(f"  {'place':{WIDTH}}  {'said':{len(OTHERWISE)}}  resources  kinds  IAM statements    s  but")
    for number, row in enumerate(rows):
        began = time.monotonic()
        resources = synthesised(out / "cdk" / f"context-{number}", **context_of(row)).to_json()["Resources"]
        took_s.append(time.monotonic() - began)
        but = complaints(row, resources)
        wrong += bool(but)
        kinds = Counter(resource["Type"] for resource in resources.values())
        statements = sum(len(one["Properties"]["PolicyDocument"]["Statement"]) for one in of_type(resources, "AWS::IAM::Policy"))
        said = "".join(letter if row[name] else "." for letter, name in zip(LETTERS, OTHERWISE, strict=False))
        print(f"  {row['place']:{WIDTH}}  {said}  {len(resources):9}  {len(kinds):5}  {statements:14}  {took_s[-1]:3.1f}  {'; '.join(but)}", flush=True)
    taken = _refused(out)
    pairs = len(all_pairs(VALUES))
    return [
        figure("contexts", "contexts synthesised", len(rows), "contexts", against=f"all {pairs} pairs of values of {len(VALUES)} things"),
        figure("contexts", "of them that do not mean what they say", wrong, "contexts", bar=0),
        figure("contexts", "wrong contexts that were taken", taken, "contexts", bar=0, against=f"of {len(WRONG)}"),
        figure("contexts", "a synthesis, the first (it loads CDK)", took_s[0], "s"),
        figure("contexts", "a synthesis, the others on average", sum(took_s[1:]) / len(took_s[1:]), "s"),
    ]


def _refused(out: Path) -> int:
    taken = 0
    print()
    for name, context in WRONG.items():
        try:
            synthesised(out / "cdk" / "wrong", **context)
        except BadContext as error:
            print(f"  {name:{WIDTH}}  {error}")
        else:
            taken += 1
            print(f"  {name:{WIDTH}}  was taken: {json.dumps(dict(context))[:80]}")
    return taken


# ------------------------------------------------------------------------------------------------ what each value means


def complaints(row: Mapping[str, str], resources: Mapping[str, Any]) -> list[str]:
    """What was said and is not so, or is so and was not said."""
    # But for Prometheus's rules, whose prose names alarms and permissions.
    text = json.dumps({name: one for name, one in resources.items() if one["Type"] != "AWS::APS::RuleGroupsNamespace"})
    place = PLACES[row["place"]]
    natless, made, database = "natless" in place, "vpcId" not in place, "databaseArn" not in place
    said = {name: bool(row[name]) for name in OTHERWISE}
    so: dict[str, tuple[object, object]] = {
        "a NAT gateway": (len(of_type(resources, "AWS::EC2::NatGateway")), int(made and not natless)),
        "a VPC": (len(of_type(resources, "AWS::EC2::VPC")), int(made)),
        "a database": (len(of_type(resources, "AWS::RDS::DBCluster")), int(database)),
        "public addresses": ('"AssignPublicIp": "ENABLED"' in text, natless),
        "doors that anybody finds": (
            [group for group in of_type(resources, "AWS::EC2::SecurityGroup") if group["Properties"].get("SecurityGroupIngress")],
            [],
        ),
        "buckets": (len(of_type(resources, "AWS::S3::Bucket")), 1 if said["catalogueBucket"] else 2),
        "queues": (len(of_type(resources, "AWS::SQS::Queue")), 2 if said["notificationQueue"] else 3),
        "addresses": (
            sorted(one["Properties"]["Endpoint"] for one in of_type(resources, "AWS::SNS::Subscription") if one["Properties"]["Protocol"] == "email"),
            sorted(filter(None, [row["alertEmail"], row["operatorEmail"] or row["alertEmail"]])),
        ),
        "an alarm that nobody is told": ("NobodyIsTold" in text, said["alertEmail"]),
        "processors": (_of_each_task(resources, lambda task: task["RuntimePlatform"]["CpuArchitecture"]), {"X86_64" if said["arm64"] else "ARM64"}),
        "tasks": (
            [(one["Properties"]["MinCapacity"], one["Properties"]["MaxCapacity"]) for one in of_type(resources, "AWS::ApplicationAutoScaling::ScalableTarget")],
            [(int(row["capacityMin"] or 1), int(row["capacityMax"] or 10))],
        ),
        "units of the database": (
            [one["Properties"]["ServerlessV2ScalingConfiguration"] for one in of_type(resources, "AWS::RDS::DBCluster")],
            [{"MinCapacity": float(place.get("databaseUnitsMin", 0.5)), "MaxCapacity": float(place.get("databaseUnitsMax", 8))}] * database,
        ),
        "days": (f'"ExpirationInDays": {row["retentionDays"] or 400}' in text, True),
        "protection": ("ecs:UpdateTaskProtection" in text, said["protectTasks"]),
        "a canary": ("canary" in container(resources, "Daemon")["Command"][-1] if resources else None, not said["canaryMinutes"]),
        "rules and licences": ("EARMARK_POLICY__FILE" in text, said["policyFile"]),
        "the playback key": ("EARMARK_IVS__PLAYBACK_KEY" in text, said["playbackKeyArn"]),
        **{f"{act} for {name}": (act in text, said[name]) for name, acts in ACTS.items() for act in acts},
        **{
            name: (bucket in text, bool(row[name]))
            for name in ("medialiveArchiveBucket", "recordingBuckets", "playlistBuckets", "catalogueBucket")
            for bucket in OTHERWISE[name].split(",")
        },
    }
    return [f"{what} is {is_so}, not {should}" for what, (is_so, should) in so.items() if is_so != should]


def _of_each_task(resources: Mapping[str, Any], of: Callable[[Mapping[str, Any]], str]) -> set[str]:
    return {of(task["Properties"]) for task in of_type(resources, "AWS::ECS::TaskDefinition")}
