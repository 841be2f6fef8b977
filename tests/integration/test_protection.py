"""Task scale-in protection, against an HTTP server that behaves as the ECS agent does, well and badly."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from structlog.testing import capture_logs

from control_ecs import ARN, EcsAgent, answer
from earmark.control import protection as module
from earmark.control.protection import Agent, Protection
from earmark.errors import AwsUnavailable, BadSettings
from earmark.settings import Ecs

THROTTLED = {"requestID": "1", "error": {"Arn": ARN, "Code": "ThrottlingException", "Message": "Rate exceeded"}}
DENIED = {"requestID": "1", "error": {"Arn": ARN, "Code": "AccessDeniedException", "Message": "not authorized\nto perform"}}
INVALID = {"failure": {"Arn": ARN, "Detail": None, "Reason": "TASK_NOT_VALID"}}


@pytest.fixture
def ecs() -> Iterator[EcsAgent]:
    agent = EcsAgent()
    yield agent
    agent.close()


class Counted:
    def __init__(self) -> None:
        self.results: list[str] = []

    def task_protection(self, result: str) -> None:
        self.results.append(result)


class Worker:
    """A worker with so many sessions, whose clock the test sets."""

    def __init__(self, uri: str, **settings: Any) -> None:
        self.sessions, self.now_s, self.counted = 0, 1_000.0, Counted()
        self.agent = Agent(uri, timeout_s=5)
        self.protection = Protection(agent=self.agent, sessions=lambda: self.sessions, settings=Ecs(**settings), meter=self.counted, clock=lambda: self.now_s)

    def look(self, *, sessions: int, after_s: float = 5) -> None:
        self.sessions, self.now_s = sessions, self.now_s + after_s
        self.protection.look(self.agent)


def test_protected_with_the_first_session_and_released_after_the_last(ecs: EcsAgent) -> None:
    worker = Worker(ecs.uri)
    for sessions in (0, 1, 5, 3, 0, 0):
        worker.look(sessions=sessions)
    assert ecs.calls == [
        ("/api/0123/task-protection/v1/state", {"ProtectionEnabled": True, "ExpiresInMinutes": 60}),
        ("/api/0123/task-protection/v1/state", {"ProtectionEnabled": False}),
    ]
    assert worker.counted.results == ["protected", "released"]


def test_renewed_at_half_its_time(ecs: EcsAgent) -> None:
    worker = Worker(ecs.uri, protection_minutes=20)
    worker.look(sessions=1)
    worker.look(sessions=1, after_s=599)
    assert len(ecs.calls) == 1
    worker.look(sessions=1, after_s=1)
    worker.look(sessions=1, after_s=599)
    assert ecs.asked == [{"ProtectionEnabled": True, "ExpiresInMinutes": 20}] * 2
    worker.look(sessions=1, after_s=1)
    assert len(ecs.calls) == 3


def test_a_worker_that_goes_releases_its_task(ecs: EcsAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    worker = Worker(ecs.uri)
    worker.sessions = 2
    thread = threading.Thread(target=worker.protection.run)
    thread.start()
    while worker.counted.results != ["protected"]:
        assert thread.is_alive()
    worker.protection.close()
    thread.join(20)
    assert ecs.asked[1:] == [{"ProtectionEnabled": False}]
    assert worker.counted.results == ["protected", "released"]


@pytest.mark.parametrize("protect", [True, False])
def test_elsewhere_and_where_it_is_switched_off_nothing_happens(ecs: EcsAgent, protect: bool) -> None:
    counted = Counted()
    agent = None if protect else Agent(ecs.uri, timeout_s=5)
    Protection(agent=agent, sessions=lambda: 3, settings=Ecs(protect=protect), meter=counted).run()
    assert (ecs.calls, counted.results) == ([], [])


def test_a_worker_that_never_had_a_session_has_nothing_to_release(ecs: EcsAgent) -> None:
    worker = Worker(ecs.uri)
    worker.protection.close()
    worker.protection.run()
    assert ecs.calls == []


def _dribble(handler: BaseHTTPRequestHandler) -> None:
    """A byte now and then, for ever: no single read of it is slow."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        try:
            handler.wfile.write(b" ")
        except OSError:
            return
        threading.Event().wait(0.02)


def _dribble_headers(handler: BaseHTTPRequestHandler) -> None:
    while True:
        try:
            handler.wfile.write(b"H")
        except OSError:
            return
        threading.Event().wait(0.02)


@pytest.mark.parametrize(
    "misbehave, sentence",
    [
        (lambda h: answer(h, 400, THROTTLED), "the ECS agent refused: ThrottlingException: Rate exceeded"),
        (lambda h: answer(h, 400, DENIED), "refused: AccessDeniedException: not authorized to perform; allow ecs:UpdateTaskProtection in the task's role"),
        (lambda h: answer(h, 200, INVALID), "the ECS agent refused: TASK_NOT_VALID"),
        (lambda h: answer(h, 200, {"protection": {"ProtectionEnabled": False}}), "refused: {'protection': {'ProtectionEnabled': False}}"),
        (lambda h: answer(h, 200, []), r"refused: \[\]"),
        (lambda h: answer(h, 404, b"<html>not found</html>"), "the ECS agent's answer is not JSON"),
        (lambda h: answer(h, 200, b"[" * 60_000), "the ECS agent's answer is not JSON"),
        (lambda h: answer(h, 200, b'"' + b"x" * 100_000 + b'"'), "the ECS agent's answer is not JSON"),
        (lambda h: h.connection.shutdown(socket.SHUT_RDWR), "did not answer within"),
        (_dribble, "did not answer within|is not JSON"),
        (_dribble_headers, "did not answer within"),
    ],
    ids=["throttled", "denied", "invalid", "not done", "nonsense", "no page", "deep", "long", "hangs up", "dribbles", "dribbles headers"],
)  # fmt: skip
def test_what_goes_wrong_is_one_sentence(ecs: EcsAgent, misbehave: Callable[[BaseHTTPRequestHandler], None], sentence: str) -> None:
    ecs.misbehave = misbehave
    with pytest.raises(AwsUnavailable, match=sentence) as caught:
        Agent(ecs.uri, timeout_s=0.3).protect(60)
    assert "\n" not in str(caught.value)


def test_an_agent_that_says_nothing_is_not_waited_for(ecs: EcsAgent) -> None:
    ecs.misbehave = lambda _: ecs.over.wait(60) and None
    with pytest.raises(AwsUnavailable, match=r"^the ECS agent did not answer within 0\.2 s: "):
        Agent(ecs.uri, timeout_s=0.2).protect(60)


def test_an_agent_that_is_not_there_is_one_sentence() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(AwsUnavailable, match="Connection refused"):
        Agent(uri, timeout_s=5).release()


@pytest.mark.parametrize("uri", ["", "https://169.254.170.2/api", "file:///etc/passwd", "169.254.170.2"])
def test_what_is_no_agents_address_is_a_wrong_setting(uri: str) -> None:
    with pytest.raises(BadSettings, match="^ECS_AGENT_URI is .* which is no http address"):
        Agent(uri, timeout_s=5)


def test_failures_are_counted_told_once_and_asked_again_ever_more_rarely(ecs: EcsAgent) -> None:
    worker = Worker(ecs.uri)
    ecs.misbehave = lambda handler: answer(handler, 400, THROTTLED)
    with capture_logs() as logs:
        for _ in range(200):
            worker.look(sessions=1)  # a thousand seconds
    assert [(line["event"], line["protected"]) for line in logs] == [("protection.failed", True)]
    assert worker.counted.results == ["failed"] * 9  # after 0, 5, 15, 35, 75, 155, 315, 615 and 915 s
    ecs.misbehave = None
    for _ in range(60):
        worker.look(sessions=1)
    assert worker.counted.results[9:] == ["protected"]
    ecs.misbehave = lambda handler: answer(handler, 400, THROTTLED)
    with capture_logs() as logs:
        worker.look(sessions=0)
        worker.look(sessions=0)
    assert [line["protected"] for line in logs] == [False]  # told anew, once, after it had worked
    assert worker.counted.results[10:] == ["failed"] * 2


def test_a_release_that_fails_at_the_end_is_told_and_nothing_more(ecs: EcsAgent) -> None:
    worker = Worker(ecs.uri)
    worker.look(sessions=1)
    ecs.misbehave = lambda handler: answer(handler, 400, THROTTLED)
    worker.protection.close()
    with capture_logs() as logs:
        worker.protection.run()
    assert [line["event"] for line in logs] == ["protection.failed"]
    assert worker.counted.results == ["protected", "failed"]
