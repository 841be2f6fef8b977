"""Task scale-in protection: while sessions run, ECS is asked to stop some other task.

    PUT $ECS_AGENT_URI/task-protection/v1/state   {"ProtectionEnabled": true, "ExpiresInMinutes": 60}

(Amazon ECS developer guide, "Task scale-in protection endpoint".) It holds against scale-in and deployments, not against
the end of a Spot instance or of a host. It is a courtesy: a task that is stopped all the same hands its streams over, so
nothing here that fails is more than counted, and told once.
"""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

import structlog

from earmark.errors import AwsUnavailable, BadSettings
from earmark.settings import Ecs

#: How often it is looked whether sessions run.
LOOK_S = 5.0
#: First wait after a call that failed, doubled by each that follows; and the longest.
RETRY_S = 5.0
RETRY_S_MAX = 300.0
#: An answer has some 200 bytes.
_BYTES_MAX = 65_536
_PATH = "/task-protection/v1/state"


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def task_protection(self, result: Literal["protected", "released", "failed"]) -> None: ...


class Agent:
    """The ECS agent of this machine, at the address that it put into ECS_AGENT_URI."""

    def __init__(self, uri: str, *, timeout_s: float) -> None:
        """Raises BadSettings for what is no http address."""
        parts = urlsplit(uri)
        if parts.scheme != "http" or not parts.hostname:
            raise BadSettings(f"ECS_AGENT_URI is {uri!r}, which is no http address: leave it as ECS sets it, or unset it")
        self._host, self._port = parts.hostname, parts.port or 80
        self._path = parts.path.rstrip("/") + _PATH
        self._timeout_s = timeout_s

    def protect(self, minutes: int) -> None:
        """From now on, for so long. Raises AwsUnavailable, in the agent's words, within about the time-out."""
        self._put({"ProtectionEnabled": True, "ExpiresInMinutes": minutes}, protected=True)

    def release(self) -> None:
        """Raises AwsUnavailable."""
        self._put({"ProtectionEnabled": False}, protected=False)

    def _put(self, asked: dict[str, Any], *, protected: bool) -> None:
        """What it says counts, not its status: a refusal may come with 200."""
        try:
            said = json.loads(self._call(json.dumps(asked)))
        except (OSError, http.client.HTTPException) as error:
            raise AwsUnavailable(f"the ECS agent did not answer within {self._timeout_s:g} s: {str(error) or type(error).__name__}") from error
        except (ValueError, RecursionError) as error:
            raise AwsUnavailable("the ECS agent's answer is not JSON") from error
        protection = said.get("protection") if isinstance(said, dict) else None
        if not isinstance(protection, dict) or protection.get("ProtectionEnabled") is not protected:
            raise AwsUnavailable(f"the ECS agent refused: {_reason(said)}")

    def _call(self, body: str) -> bytes:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.connect()
            # By itself: of an answer without a length the connection lets go before it is read.
            with _cut_off(connection.sock, self._timeout_s):
                connection.request("PUT", self._path, body, {"Content-Type": "application/json"})
                with connection.getresponse() as response:
                    return response.read(_BYTES_MAX)
        finally:
            connection.close()


@contextmanager
def _cut_off(connected: socket.socket, after_s: float) -> Iterator[None]:
    """A time-out of the socket is for each read: an answer that dribbles would never end."""

    def cut() -> None:
        with suppress(OSError):  # it has just been closed
            connected.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(after_s, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _reason(said: object) -> str:
    """`failure` has a Reason, `error` a Code and a Message."""
    for kind in ("failure", "error"):
        told = said.get(kind) if isinstance(said, dict) else None
        if isinstance(told, dict):
            words = [str(told[name]) for name in ("Code", "Reason", "Message", "Detail") if told.get(name)]
            remedy = "; allow ecs:UpdateTaskProtection in the task's role" if told.get("Code") == "AccessDeniedException" else ""
            return " ".join(": ".join(words).split())[:300] + remedy
    return ascii(said)[:300]


class Protection:
    """`run` on a thread of its own until `close`, which is to come after the last session was handed over."""

    def __init__(self, *, agent: Agent | None, sessions: Callable[[], int], settings: Ecs, meter: Meter, clock: Callable[[], float] = time.monotonic) -> None:
        """`agent`: None elsewhere than on ECS: then nothing happens. `sessions`: how many run."""
        self._agent = agent if settings.protect else None
        self._sessions = sessions
        self._settings = settings
        self._meter = meter
        self._clock = clock
        self._closed = threading.Event()
        self._protected = False
        self._renew_at = 0.0
        self._failures = 0
        self._failing = ""
        self._again_at = 0.0
        self._log = structlog.get_logger()

    def close(self) -> None:
        """`run` releases the task, if it must, and returns."""
        self._closed.set()

    def run(self) -> None:
        agent = self._agent
        if agent is None:
            return
        while not self._closed.is_set():
            self.look(agent)
            self._closed.wait(LOOK_S)
        if self._protected:
            self._ask(agent.release, protected=False)

    def look(self, agent: Agent) -> None:
        """Ask for what is due: protection with the first session, again after half its time, its end after the last."""
        now, wanted = self._clock(), self._sessions() > 0
        due = wanted != self._protected or (wanted and now >= self._renew_at)
        if not due or now < self._again_at:
            return
        self._ask(lambda: agent.protect(self._settings.protection_minutes) if wanted else agent.release(), protected=wanted)

    def _ask(self, call: Callable[[], None], *, protected: bool) -> None:
        try:
            call()
        except AwsUnavailable as error:
            self._meter.task_protection("failed")
            self._again_at = self._clock() + min(RETRY_S_MAX, RETRY_S * 2.0 ** min(self._failures, 10))
            self._failures += 1
            if str(error) != self._failing:
                self._failing = str(error)
                self._log.warning("protection.failed", protected=protected, reason=self._failing)
            return
        self._meter.task_protection("protected" if protected else "released")
        self._protected, self._failures, self._failing = protected, 0, ""
        self._renew_at = self._clock() + self._settings.protection_minutes * 60 / 2
