"""Every context that README speaks of, synthesised as `cdk deploy` would; and every wrong value, refused in one sentence."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from context import BadContext
from stack_synthesis import looked_up, synthesised

SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:music-AbCdEf"
THERE = {"databaseArn": "arn:aws:rds:eu-west-1:123456789012:cluster:music", "databaseSecretArn": SECRET, "databaseSecurityGroup": "sg-01234567"}

RIGHT: Mapping[str, Mapping[str, Any]] = {
    "nothing said": {},
    "an address": {"alertEmail": "rights@example.com"},
    "two addresses": {"alertEmail": "rights@example.com", "operatorEmail": "ops@example.com"},
    "no queue of alerts": {"notificationQueue": "false"},
    "MediaLive's archives": {"medialiveArchiveBucket": "archive-one,archive-two"},
    "IVS's recordings": {"recordingBuckets": "recordings-one"},
    "playlists in S3": {"playlistBuckets": "playlists-one"},
    "a bucket that is there": {"catalogueBucket": "catalogue-one"},
    "private channels": {"playbackKeyArn": SECRET},
    "no NAT gateway": {"natless": "true"},
    "x86-64": {"arm64": "false"},
    "large": {"capacityMin": "4", "capacityMax": "60", "databaseUnitsMin": "8", "databaseUnitsMax": "64"},
    "a VPC that is there": {**looked_up()},
    "a VPC that is there, no NAT gateway": {**looked_up(private=0), "natless": "true"},
    "a VPC and a database that are there": {**looked_up(), **THERE},
}
WRONG: Mapping[str, Mapping[str, Any]] = {
    "a word too many": {"alertMail": "rights@example.com"},
    "no address": {"alertEmail": "rights team"},
    "a path for a bucket": {"catalogueBucket": "s3://mine/catalogue"},
    "MediaLive and a dot": {"medialiveArchiveBucket": "my.archive"},
    "no VPC's id": {"vpcId": "main"},
    "a VPC without private subnets": {**looked_up(private=0)},
    "a VPC without public ones": {**looked_up(public=1), "natless": "true"},
    "half a database": {"databaseArn": THERE["databaseArn"]},
    "more than the most": {"capacityMin": "20"},
    "neither true nor false": {"arm64": "yes"},
}
WIDTH = 38


def run(out: Path) -> bool:
    wrong = 0
    print(f"  {'context':{WIDTH}}  resources  kinds  IAM statements   s")
    for name, context in RIGHT.items():
        began = time.monotonic()
        resources = synthesised(out / "cdk" / name.replace(" ", "-"), **context).to_json()["Resources"]
        kinds = Counter(resource["Type"] for resource in resources.values())
        statements = sum(len(one["Properties"]["PolicyDocument"]["Statement"]) for one in resources.values() if one["Type"] == "AWS::IAM::Policy")
        print(f"  {name:{WIDTH}}  {len(resources):9}  {len(kinds):5}  {statements:14}  {time.monotonic() - began:4.1f}", flush=True)
    print()
    for name, context in WRONG.items():
        try:
            synthesised(out / "cdk" / "wrong", **context)
        except BadContext as error:
            print(f"  {name:{WIDTH}}  {error}")
        else:
            wrong += 1
            print(f"  {name:{WIDTH}}  was taken: {json.dumps(dict(context))[:80]}")
    return not wrong
