"""The workers of a run: kept alive, killed, paused, asked to go; and a diary of what was done to whom."""

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from faults.crash_points import NEVER_RAN, POINTS, VARIABLE, Plan
from faults.launching import Launcher

#: A worker that was asked to go and has not gone by then is killed, as ECS does.
STOP_S = 30.0
#: Between two starts of one that ends by itself.
RESTART_S = 1.0
#: Why a worker was killed when all of them were.
BLACK_OUT = "with all others"

Deed = Literal["started", "crashed", "killed", "paused", "woken", "asked to go", "gone", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Something that happened to a worker."""

    at: float
    deed: Deed
    worker: str
    #: The crash point, or the exit status.
    what: str = ""


@dataclass(frozen=True, kw_only=True)
class Temper:
    """How workers end. Of each hundred so many die at a crash point, are killed at any time, paused (and then go on), asked to go."""

    percent: Mapping[Literal["crash", "kill", "pause", "stop"], float]
    #: When it happens, after the worker's start.
    after_s: tuple[float, float] = (2.0, 9.0)
    #: Longer than a lease lives.
    pause_s: tuple[float, float] = (2.5, 6.0)


@dataclass(kw_only=True)
class _Worker:
    name: str
    slot: int
    pid: int = 0
    fate: str = ""
    due_at: float = float("inf")
    paused_until: float | None = None
    asked_at: float | None = None
    plan: Plan


@dataclass(kw_only=True)
class Diary:
    entries: list[Entry] = field(default_factory=list)

    def add(self, deed: Deed, worker: str, what: str = "", *, at: float | None = None) -> None:
        self.entries.append(Entry(at=time.time() if at is None else at, deed=deed, worker=worker, what=what))

    def of(self, *deeds: Deed) -> list[Entry]:
        return [entry for entry in self.entries if entry.deed in deeds]

    @property
    def kills(self) -> list[Entry]:
        """SIGKILLs: at a crash point and at any time."""
        return self.of("crashed", "killed")

    def crashes_by_point(self) -> Counter[str]:
        return Counter(dict.fromkeys(POINTS, 0) | Counter(entry.what for entry in self.of("crashed")))


class Fleet:
    """`size` workers in slots; a slot whose worker has ended gets another one. `tick` does what is due; all on one thread."""

    def __init__(self, *, environment: Mapping[str, str], folder: Path, size: int, seed: int, temper: Temper, plan: Mapping[str, Any] | None = None) -> None:
        """`plan`: what is the same in each worker's plan (see `crash_points.Plan`)."""
        self.diary = Diary()
        self._environment, self._folder, self._temper, self._plan = environment, folder, temper, dict(plan or {})
        self._random = random.Random(f"{seed}/fleet")
        self._slots: list[_Worker | None] = [None] * size
        self._not_before = [0.0] * size
        self._starts = 0
        self._calm = False
        self._dark_until = 0.0
        self._crashes = folder / "crashes.jsonl"
        self._crashes_read = 0
        self._launcher: Launcher | None = None

    def __enter__(self) -> Self:
        self._launcher = Launcher(log=self._folder / "launcher.log")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._launcher is not None:
            self._launcher.close()

    @property
    def pids(self) -> list[int]:
        return [worker.pid for worker in self._slots if worker is not None]

    def names(self) -> list[str]:
        """Of the workers that run now, and are not paused."""
        return [worker.name for worker in self._slots if worker is not None and worker.paused_until is None]

    def calm(self) -> None:
        """Nobody is killed from now on. Who might kill itself is asked to go, and followed by one that does not."""
        self._calm = True
        for worker in self._slots:
            if worker is not None:
                self._wake(worker)
                if worker.plan.points:
                    self._ask_to_go(worker)
                else:
                    worker.fate = ""

    def stop(self) -> None:
        """All of them, within their time."""
        for worker in self._slots:
            if worker is not None:
                self._wake(worker)
                self._ask_to_go(worker)
        until = time.time() + STOP_S
        while any(self._slots) and time.time() < until:
            self._settle(restart=False)
            time.sleep(0.05)
        for worker in self._slots:
            if worker is not None:
                self._kill(worker)

    def tick(self) -> None:
        self._settle(restart=True)
        now = time.time()
        for worker in self._slots:
            if worker is not None:
                self._treat(worker, now)

    def black_out(self, seconds: float) -> None:
        """Kill all of them, and start none for so long."""
        for worker in self._slots:
            if worker is not None:
                self._wake(worker)
                self._kill(worker, BLACK_OUT)
        self._dark_until = time.time() + seconds

    def kill(self, name: str) -> None:
        for worker in self._slots:
            if worker is not None and worker.name == name:
                self._kill(worker)

    def ask_to_go(self, name: str) -> None:
        for worker in self._slots:
            if worker is not None and worker.name == name:
                self._ask_to_go(worker)

    # ------------------------------------------------------------------------------------------------ fates

    def _treat(self, worker: _Worker, now: float) -> None:
        if worker.paused_until is not None:
            if now >= worker.paused_until:
                self._wake(worker)
        elif worker.asked_at is not None:
            if now - worker.asked_at > STOP_S:
                self._kill(worker)
        elif now >= worker.due_at and worker.fate and not self._calm:
            self._befall(worker, now)

    def _befall(self, worker: _Worker, now: float) -> None:
        fate, worker.fate = worker.fate, ""
        match fate:
            case "kill" | "crash":  # the latter has come by none of its points for long: it is not spared
                self._kill(worker)
            case "stop":
                self._ask_to_go(worker)
            case "pause":
                os.kill(worker.pid, signal.SIGSTOP)
                worker.paused_until = now + self._random.uniform(*self._temper.pause_s)
                self.diary.add("paused", worker.name)
                worker.fate, worker.due_at = "kill", worker.paused_until + self._random.uniform(*self._temper.after_s)

    def _wake(self, worker: _Worker) -> None:
        if worker.paused_until is not None:
            worker.paused_until = None
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGCONT)
                self.diary.add("woken", worker.name)

    def _kill(self, worker: _Worker, why: str = "") -> None:
        with suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
            late = "" if worker.asked_at is None else f"it did not go within {time.time() - worker.asked_at:.0f} s"
            self.diary.add("killed", worker.name, why or late)
        worker.fate = ""

    def _ask_to_go(self, worker: _Worker) -> None:
        if worker.asked_at is None:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGTERM)
            worker.asked_at = time.time()
            self.diary.add("asked to go", worker.name)

    # ------------------------------------------------------------------------------------------------ lives

    def _settle(self, *, restart: bool) -> None:
        """What the launcher says; empty slots are filled."""
        assert self._launcher is not None
        for said in self._launcher.said():
            worker = next((worker for worker in self._slots if worker is not None and worker.pid == said["ended"]), None)
            if worker is not None:
                self._slots[worker.slot] = None
                self._not_before[worker.slot] = time.time() + (RESTART_S if os.WIFEXITED(said["status"]) else 0.0)
                self._note_end(worker, said["status"])
        self._read_crashes()
        if restart and time.time() >= self._dark_until:
            for slot, there in enumerate(self._slots):
                if there is None and time.time() >= self._not_before[slot]:
                    self._slots[slot] = self._start(slot)

    def _note_end(self, worker: _Worker, status: int) -> None:
        log = self._folder / f"{worker.name}.log"
        assert not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == NEVER_RAN), f"a worker could not be started: {log.read_text()[-2_000:]}"
        asked_too_early = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM and worker.asked_at is not None
        if (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0) or asked_too_early:  # before it listens to signals, it has nothing to hand over
            self.diary.add("gone", worker.name)
        elif os.WIFEXITED(status):
            self.diary.add("failed", worker.name, f"exit code {os.WEXITSTATUS(status)}")
        elif os.WTERMSIG(status) != signal.SIGKILL:
            self.diary.add("failed", worker.name, f"signal {os.WTERMSIG(status)}")

    def _read_crashes(self) -> None:
        if not self._crashes.exists():
            return
        with self._crashes.open("rb") as file:
            file.seek(self._crashes_read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._crashes_read += len(line)
                said = json.loads(line)
                self.diary.add("crashed", said["worker"], said["point"], at=said["at"])

    def _start(self, slot: int) -> _Worker:
        assert self._launcher is not None
        self._starts += 1
        name, begin_s = f"w{slot}.{self._starts}", self._random.uniform(*self._temper.after_s)
        fate = "" if self._calm else self._random.choices(list(self._temper.percent), list(self._temper.percent.values()))[0] if self._temper.percent else ""
        points: tuple[str, ...] = ()
        if fate == "crash":
            points = self._points()
            if any(POINTS[point].leaving for point in points):
                fate = "stop"
        plan = Plan(worker=name, crashes=str(self._crashes), points=points, not_before=time.time() + begin_s, **self._plan)
        worker = _Worker(name=name, slot=slot, fate=fate, plan=plan, due_at=time.time() + begin_s + (15.0 if fate == "crash" else 0.0))
        environment = {**self._environment, "EARMARK_LEASES__WORKER": name, "AWS_SDK_UA_APP_ID": name, VARIABLE: plan.to_json()}
        worker.pid = self._launcher.start(environment, self._folder / f"{name}.log")
        self.diary.add("started", name)
        return worker

    def _points(self) -> tuple[str, ...]:
        """One of those that were hit least, those counted that somebody is about to hit."""
        hit = self.diary.crashes_by_point()
        planned = Counter(point for worker in self._slots if worker is not None for point in worker.plan.points[:1])
        rarest = sorted(POINTS, key=lambda name: (hit[name] + planned[name], self._random.random()))
        return (rarest[0],)
