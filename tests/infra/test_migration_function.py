"""The function that runs the migrations, against the stand-in's ECS, and what it tells CloudFormation over HTTP."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from migration_function import migrations


class Stack:
    """CloudFormation's end: an address that takes one PUT."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        told = self.told

        class Taking(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

        self.server = HTTPServer(("127.0.0.1", 0), Taking)
        self.url = f"http://127.0.0.1:{self.server.server_port}/answer"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def stack() -> Iterator[Stack]:
    stack = Stack()
    yield stack
    stack.server.shutdown()
    stack.server.server_close()


class Lambda:
    log_stream_name = "2026/11/22/[$LATEST]0"

    def __init__(self, seconds: float = 900) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


class Ecs:
    """ECS's answers, as its API reference has them: one task, and how it gets on."""

    def __init__(self, *states: dict[str, Any], failures: list[dict[str, str]] | None = None) -> None:
        self._states, self._failures = list(states), failures or []
        self.ran: list[dict[str, Any]] = []

    def run_task(self, **asked: Any) -> dict[str, Any]:
        self.ran.append(asked)
        return {"tasks": [] if self._failures else [{"taskArn": "arn:task"}], "failures": self._failures}

    def describe_tasks(self, *, cluster: str, tasks: list[str]) -> dict[str, Any]:
        assert (cluster, tasks) == ("arn:cluster", ["arn:task"])
        return {"tasks": [self._states.pop(0) if len(self._states) > 1 else self._states[0]]}


RUNNING = {"lastStatus": "RUNNING", "containers": [{}]}
WANTED = {"Cluster": "arn:cluster", "TaskDefinition": "arn:definition:3", "Subnets": ["subnet-1"], "SecurityGroup": "sg-1", "PublicAddress": "DISABLED"}


def stopped(code: int | None, **more: Any) -> dict[str, Any]:
    return {"lastStatus": "STOPPED", "containers": [{"exitCode": code, **more}], "stoppedReason": "Essential container in task exited"}


def told(stack: Stack, ecs: Ecs, monkeypatch: pytest.MonkeyPatch, *, kind: str = "Create", seconds: float = 900) -> dict[str, Any]:
    monkeypatch.setattr(migrations.boto3, "client", lambda service: {"ecs": ecs}[service])
    monkeypatch.setattr(migrations, "LOOK_S", 0.01)
    asked = {"RequestType": kind, "ResponseURL": stack.url, "StackId": "s", "RequestId": "r", "LogicalResourceId": "l", "ResourceProperties": WANTED}
    migrations.handle(asked, Lambda(seconds))
    (answer,) = stack.told
    assert (answer["StackId"], answer["RequestId"], answer["LogicalResourceId"], answer["PhysicalResourceId"]) == ("s", "r", "l", "earmark-migration")
    return answer


def test_a_task_that_ends_well_lets_the_deployment_go_on(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    ecs = Ecs(RUNNING, RUNNING, stopped(0))
    assert told(stack, ecs, monkeypatch)["Status"] == "SUCCESS"
    (asked,) = ecs.ran
    assert asked["networkConfiguration"]["awsvpcConfiguration"] == {"subnets": ["subnet-1"], "securityGroups": ["sg-1"], "assignPublicIp": "DISABLED"}
    assert (asked["taskDefinition"], asked["launchType"], asked["count"]) == ("arn:definition:3", "FARGATE", 1)


@pytest.mark.parametrize(
    "ecs, says",
    [
        (Ecs(stopped(1)), "the migrations ended with 1: Essential container in task exited; its log stream migration/ has the sentence"),
        (Ecs(stopped(None, reason="CannotPullContainerError: no such image")), "ended with None: CannotPullContainerError: no such image"),
        (Ecs(failures=[{"arn": "x", "reason": "RESOURCE:FARGATE"}]), "ECS did not start the migrations: RESOURCE:FARGATE"),
    ],
)
def test_one_that_does_not_fails_it_in_one_sentence(stack: Stack, monkeypatch: pytest.MonkeyPatch, ecs: Ecs, says: str) -> None:
    answer = told(stack, ecs, monkeypatch)
    assert answer["Status"] == "FAILED"
    assert says in answer["Reason"]


def test_one_that_does_not_end_is_told_before_the_function_is_ended(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = told(stack, Ecs(RUNNING), monkeypatch, seconds=migrations.MARGIN_S + 0.1)
    assert answer["Status"] == "FAILED"
    assert "deploy again once the task has ended" in answer["Reason"]


def test_what_was_not_foreseen_is_told_too(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = told(stack, Ecs({"lastStatus": "STOPPED"}), monkeypatch)
    assert (answer["Status"], answer["Reason"]) == ("FAILED", "the migrations could not be run: KeyError: 'containers'")


def test_taking_the_stack_away_runs_nothing(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    ecs = Ecs(stopped(0))
    assert told(stack, ecs, monkeypatch, kind="Delete")["Status"] == "SUCCESS"
    assert ecs.ran == []
