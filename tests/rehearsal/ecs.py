"""As much of ECS as a rolling deployment takes, with processes for tasks.

By its developer guide ("Deploy Amazon ECS services by replacing tasks", "Determine Amazon ECS task health using container
health checks", "Protect your Amazon ECS tasks from being terminated by scale-in events"): new tasks start as far as the
greatest percentage of all allows; a task counts as healthy once its container's check has passed; an old one is asked to
stop as soon as that leaves the least percentage of healthy ones, unless it is protected; SIGKILL follows SIGTERM after
the container's time to stop.
"""

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from control_ecs import EcsAgent
from faults.fleet import Diary
from rehearsal.task import Terms


class Task:
    """A container that runs, and what its agent knows of it."""

    def __init__(self, name: str, *, command: Sequence[str], health: Sequence[str], environment: Mapping[str, str], terms: Terms, log: Path) -> None:
        self.name, self._health, self._check = name, health, terms.definition["HealthCheck"]
        self.agent = EcsAgent()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EARMARK_", "PG"))}
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command,
                env={**kept, **environment, "ECS_AGENT_URI": self.agent.uri},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._started_at, self._look_at = time.monotonic(), time.monotonic() + self._check["Interval"]
        self._looking: subprocess.Popen[bytes] | None = None
        self.healthy, self._failures = False, 0
        self.asked_at: float | None = None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    @property
    def protected(self) -> bool:
        return bool(self.agent.asked) and bool(self.agent.asked[-1]["ProtectionEnabled"])

    @property
    def unhealthy(self) -> bool:
        """So often in a row that ECS would take another one in its place; what fails at first is not counted."""
        return self._failures >= self._check["Retries"]

    def look(self) -> None:
        """At its health, by the template's command, as often as the template says."""
        now = time.monotonic()
        if self._looking is None and now >= self._look_at:
            self._look_at = now + self._check["Interval"]
            self._looking = subprocess.Popen(self._health, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        elif self._looking is not None and (code := self._looking.poll()) is not None:
            self._looking = None
            self.healthy = self.healthy or code == 0
            starting = now < self._started_at + self._check["StartPeriod"] and not self.healthy
            self._failures = 0 if code == 0 or starting else self._failures + 1

    def ask_to_stop(self) -> None:
        self.asked_at = time.monotonic()
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Now, if it still runs; its agent, too."""
        for process in (self._looking, self._process):
            if process is not None and process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL) if process is self._process else process.kill()
                process.wait()
        self.agent.close()


class Service:
    """As many tasks as the template says, of the newest deployment. `tick` does what is due; all on one thread."""

    def __init__(self, terms: Terms, *, start: Callable[[str], Task], diary: Diary) -> None:
        self._terms, self._start, self._diary = terms, start, diary
        self._old: list[Task] = []
        self._new: list[Task] = []
        self._number = 0
        #: From SIGTERM to the end, in seconds.
        self.stops_s: list[float] = []
        self.killed: list[str] = []
        self.unhealthy: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in (*self._old, *self._new):
            task.end()

    @property
    def is_done(self) -> bool:
        """The newest tasks are there and healthy, the others gone."""
        return not self._old and len(self._new) == self._terms.tasks and all(task.healthy for task in self._new)

    @property
    def state(self) -> str:
        protected = sum(task.protected for task in self._old)
        return (
            f"{len(self._new)} new tasks, {sum(task.healthy for task in self._new)} of them healthy; {len(self._old)} old ones, {protected} of them protected"
        )

    def deploy(self) -> None:
        self._old, self._new = [*self._old, *self._new], []

    def stop(self) -> None:
        """As a service that is removed."""
        self.deploy()
        for task in self._old:
            self._ask(task)
        while self._old:
            self._settle()
            time.sleep(0.05)

    def tick(self) -> None:
        self._settle()
        terms, running = self._terms, [task for task in self._old if task.asked_at is None]
        while len(self._new) < terms.tasks and len(self._new) + len(running) < math.floor(terms.tasks * terms.healthy_percent_max / 100):
            self._number += 1
            self._new.append(self._start(f"task-{self._number}"))
            self._diary.add("started", self._new[-1].name)
        for task in (*running, *self._new):
            task.look()
            if task.unhealthy:
                self.unhealthy.add(task.name)
        healthy, least = sum(task.healthy for task in (*running, *self._new)), math.ceil(terms.tasks * terms.healthy_percent_min / 100)
        for task in running:
            if not task.protected and healthy - task.healthy >= least:
                healthy -= task.healthy
                self._ask(task)

    def _ask(self, task: Task) -> None:
        task.ask_to_stop()
        self._diary.add("asked to go", task.name)

    def _settle(self) -> None:
        """Who has ended is gone; who should have is killed."""
        now = time.monotonic()
        for tasks in (self._old, self._new):
            for task in list(tasks):
                if task.exit_code is not None:
                    tasks.remove(task)
                    self._note(task, now)
                elif task.asked_at is not None and now - task.asked_at > self._terms.definition["StopTimeout"]:
                    self.killed.append(task.name)
                    self._diary.add("killed", task.name)
                    task.end()

    def _note(self, task: Task, now: float) -> None:
        if task.asked_at is not None and task.exit_code == 0:
            self.stops_s.append(now - task.asked_at)
            self._diary.add("gone", task.name)
        elif task.name not in self.killed:
            self._diary.add("failed", task.name, f"exit code {task.exit_code}")
        task.end()
