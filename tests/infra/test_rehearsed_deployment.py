"""The rehearsal's ECS does to tasks what ECS does, as far as its guide says: otherwise a deployment that went well here would prove nothing."""

from typing import Any

import pytest

import stack_synthesis  # first: it skips this module where CDK is not installed
from faults.fleet import Diary
from rehearsal.ecs import Service, Task
from rehearsal.task import Terms

assert stack_synthesis


class FakeTask:
    """Healthy when it is said so; ends as soon as it is asked, if it is not stubborn."""

    def __init__(self, name: str) -> None:
        self.name, self.healthy, self.unhealthy, self.protected, self.stubborn = name, False, False, False, False
        self.asked_at: float | None = None
        self.exit_code: int | None = None

    def look(self) -> None: ...

    def ask_to_stop(self) -> None:
        self.asked_at = 0.0  # long ago
        self.exit_code = None if self.stubborn else 0

    def end(self) -> None:
        self.exit_code = -9 if self.exit_code is None else self.exit_code


class Deployed:
    """Two tasks that are healthy, and another deployment begun."""

    def __init__(self, *, least: int, most: int) -> None:
        self.tasks: list[Any] = []
        self.diary = Diary()
        self.service = Service(Terms({"StopTimeout": 120}, 2, least, most), start=self._started, diary=self.diary)
        self.service.tick()
        self.all_healthy()
        assert self.service.is_done
        self.service.deploy()

    def _started(self, name: str) -> Task:
        self.tasks.append(FakeTask(name))
        return self.tasks[-1]

    def all_healthy(self) -> None:
        for task in self.tasks:
            task.healthy = True
        self.service.tick()

    @property
    def running(self) -> list[str]:
        return [task.name for task in self.tasks if task.asked_at is None]


def test_old_tasks_go_once_new_ones_are_healthy() -> None:
    deployed = Deployed(least=100, most=200)
    deployed.service.tick()
    assert deployed.running == ["task-1", "task-2", "task-3", "task-4"]
    deployed.tasks[2].healthy = True
    deployed.service.tick()
    assert deployed.running == ["task-2", "task-3", "task-4"]
    deployed.all_healthy()
    deployed.service.tick()
    assert deployed.running == ["task-3", "task-4"]
    assert deployed.service.is_done
    assert [entry.worker for entry in deployed.diary.of("gone")] == ["task-1", "task-2"]


def test_where_no_more_may_run_old_ones_go_first() -> None:
    deployed = Deployed(least=50, most=100)
    deployed.service.tick()
    assert deployed.running == ["task-2"]
    deployed.service.tick()
    assert deployed.running == ["task-2", "task-3"]


def test_a_protected_task_holds_a_deployment_up() -> None:
    deployed = Deployed(least=100, most=200)
    deployed.tasks[0].protected = True
    for _ in range(5):
        deployed.service.tick()
        deployed.all_healthy()
    assert deployed.running == ["task-1", "task-3", "task-4"]
    assert not deployed.service.is_done
    assert deployed.service.state == "2 new tasks, 2 of them healthy; 1 old ones, 1 of them protected"


def test_who_does_not_go_in_time_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    deployed = Deployed(least=100, most=200)
    deployed.tasks[0].stubborn = True
    monkeypatch.setattr("rehearsal.ecs.time.monotonic", lambda: 121.0)
    for _ in range(4):
        deployed.service.tick()
        deployed.all_healthy()
    assert deployed.service.killed == ["task-1"]
    assert deployed.service.is_done
