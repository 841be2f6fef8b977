"""The function behind Custom::EarmarkMigration: runs a task to its end, and answers CloudFormation.

Custom resources: AWS CloudFormation user guide, "Custom resource request objects" and "response objects".
"""

import json
import time
import traceback
import urllib.request
from typing import Any

import boto3

#: Before Lambda ends us, so that CloudFormation hears of it from us, and not after its own hour.
MARGIN_S = 30.0
LOOK_S = 5.0


def handle(event: dict[str, Any], context: Any) -> None:
    """Answers whatever happens: what CloudFormation does not hear of, it waits for. Nothing is raised, or Lambda would run it again."""
    try:
        until = time.monotonic() + context.get_remaining_time_in_millis() / 1000 - MARGIN_S
        reason = "" if event["RequestType"] == "Delete" else run(event["ResourceProperties"], until)
    except Exception as error:  # noqa: BLE001 - it is told: in the answer, and in the log
        traceback.print_exc()
        reason = f"the migrations could not be run: {type(error).__name__}: {error}"
    _answer(event, context, reason)


def run(wanted: dict[str, Any], until: float) -> str:
    """Why it failed; empty: it did not."""
    ecs = boto3.client("ecs")
    network = {"subnets": wanted["Subnets"], "securityGroups": [wanted["SecurityGroup"]], "assignPublicIp": wanted["PublicAddress"]}
    answer = ecs.run_task(
        cluster=wanted["Cluster"],
        taskDefinition=wanted["TaskDefinition"],
        launchType="FARGATE",
        count=1,
        startedBy="earmark-migration",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    if not answer["tasks"]:
        return f"ECS did not start the migrations: {'; '.join(failure.get('reason', 'no reason given') for failure in answer['failures'])}"
    arn = answer["tasks"][0]["taskArn"]
    while time.monotonic() < until:
        (task,) = ecs.describe_tasks(cluster=wanted["Cluster"], tasks=[arn])["tasks"] or [{}]
        if task.get("lastStatus") == "STOPPED":
            return _ended(task)
        time.sleep(LOOK_S)
    return f"the migrations ({arn}) go on, and CloudFormation cannot wait for them any longer: deploy again once the task has ended"


def _ended(task: dict[str, Any]) -> str:
    codes = [container.get("exitCode") for container in task["containers"]]
    if codes == [0]:
        return ""
    why = task["containers"][0].get("reason") or task.get("stoppedReason") or "no reason given"
    return f"the migrations ended with {codes[0]}: {why}; its log stream migration/ has the sentence, and nothing was rolled out"


def _answer(event: dict[str, Any], context: Any, reason: str) -> None:
    body = {
        "Status": "FAILED" if reason else "SUCCESS",
        "Reason": reason or "done",
        "PhysicalResourceId": event.get("PhysicalResourceId", "earmark-migration"),
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
    }
    # The address is CloudFormation's, signed, and wants no content type.
    request = urllib.request.Request(event["ResponseURL"], json.dumps(body).encode(), {"Content-Type": ""}, method="PUT")  # noqa: S310
    with urllib.request.urlopen(request, timeout=20):  # noqa: S310
        print(json.dumps({"answered": body["Status"], "reason": body["Reason"], "by": context.log_stream_name}))  # noqa: T201 - Lambda's log
