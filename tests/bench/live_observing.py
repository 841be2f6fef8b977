"""Inside the daemon that is measured: what it does is noted and not changed. See `live_observed/sitecustomize.py`.

Processor time is that of the thread, so that waiting (for the GIL, too) is nobody's. A clocked call costs a microsecond; a
second of a stream makes some twenty of them.
"""

import ctypes
import importlib
import importlib.abc
import importlib.util
import inspect
import json
import os
import struct
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from bench.live_profile import Profile

#: A segment was heard: Unix time, seconds since its last sample was on air and since it was in hand, of stream number.
LAG: Final = struct.Struct("<dffi")
#: Stages and what they call: module, name, stage. What is called inside of another stage counts for itself alone.
STAGES: Final = (
    ("earmark.audio.fetch", "Http.get", "fetch"),
    ("earmark.audio.follow", "Follower.read", "playlist"),
    ("earmark.audio.decode", "StreamDecoder.push", "decode"),
    ("earmark.audio.decode", "Downsampler._take", "resample"),
    ("earmark.fingerprint.window", "Window.push", "fingerprint"),
    ("earmark.hearing", "triple_questions", "fingerprint"),
    ("earmark.hearing", "pair_questions", "fingerprint"),
    ("earmark.fingerprint.musicness", "Musicness.push", "music or not"),
    ("earmark.matching.alignment", "Votes.add", "voting"),
    ("earmark.hearing", "verify", "verification"),
    ("earmark.matching.plays", "PlayTracker.adopt", "verification"),
    ("earmark.matching.plays", "PlayTracker.follow", "following"),
    ("earmark.index.answers", "Index.answer", "look-up"),
    ("earmark.compute", "Compute._run", "other computing"),
    ("earmark.hits.ledger", "Ledger.commit", "record"),
    ("earmark.hits.outbox", "Publisher._turn", "publishing"),
    ("earmark.hits.outbox", "Publisher._attempt", "publishing"),
)
#: Its jobs are clocked, where they run; not the waiting for them.
_HANDED_OVER: Final = ("earmark.compute", "Compute._run")
_ID: Final = "st-live"
_SAID_EVERY_S: Final = 1.0
_PR_SET_NAME: Final = 15


def observe(folder: str, *, stages: bool, profile: bool = False) -> None:
    """From now on, in this process, of modules that are imported from now on."""
    _name_threads(Profile(Path(folder)) if profile else None)
    notes = _Notes(Path(folder))
    patches: dict[str, list[Callable[[ModuleType], None]]] = {"earmark.telemetry.metrics": [notes.heed]}
    if stages:
        for module, name, stage in STAGES:
            patches.setdefault(module, []).append(_clocking(name, stage, handed_over=(module, name) == _HANDED_OVER))
    sys.meta_path.insert(0, _Patching(patches))


# ------------------------------------------------------------------------------------------------ threads


def _name_threads(profile: Profile | None) -> None:
    """As Python 3.14 does by itself; with a profile, what they compute is sampled, and what this thread does."""
    name = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" and sys.version_info < (3, 14) else lambda *_: 0
    bootstrap = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

    def named(thread: threading.Thread) -> None:
        name(_PR_SET_NAME, thread.name.encode()[:15], 0, 0, 0)
        with profile.of_this_thread() if profile else nullcontext():
            bootstrap(thread)

    if profile:
        profile.begin()
    threading.Thread._bootstrap_inner = named  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ stages


class _Spent(threading.local):
    """Of one thread: processor time by stage, and what stages inside of the present one took."""

    def __init__(self) -> None:
        self.by_stage: dict[str, float] = defaultdict(float)
        self.inside_s = 0.0
        _threads.append(self.by_stage)


_threads: list[dict[str, float]] = []
_spent = _Spent()


def _clocked(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        spent, begin = _spent, time.thread_time()
        outer_s, spent.inside_s = spent.inside_s, 0.0
        try:
            return function(*arguments, **named)
        finally:
            took = time.thread_time() - begin
            spent.by_stage[stage] += took - spent.inside_s
            spent.inside_s = outer_s + took

    @wraps(function)
    def steps(*arguments: Any, **named: Any) -> Generator[Any, Any, Any]:
        """What a generator takes, and not what whoever asks it takes in between."""
        made, reply = function(*arguments, **named), None
        send = _clocked(stage, made.send)
        try:
            while True:
                reply = yield send(reply)
        except StopIteration as end:
            return end.value
        finally:
            made.close()

    return steps if inspect.isgeneratorfunction(function) else call


def _clocking(name: str, stage: str, *, handed_over: bool) -> Callable[[ModuleType], None]:
    def patch(module: ModuleType) -> None:
        *owners, last = name.split(".")
        owner: Any = module
        for part in owners:
            owner = getattr(owner, part)
        function = getattr(owner, last)
        setattr(owner, last, _jobs_clocked(stage, function) if handed_over else _clocked(stage, function))

    return patch


def _jobs_clocked(stage: str, run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def call(self: Any, jobs: Any, function: Callable[[], Any]) -> Any:
        return run(self, jobs, _clocked(stage, function))

    return call


class _Patching(importlib.abc.MetaPathFinder):
    """Modules are patched once they have been imported."""

    def __init__(self, patches: dict[str, list[Callable[[ModuleType], None]]]) -> None:
        self._patches = patches

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        patches = self._patches.pop(fullname, None)
        spec = importlib.util.find_spec(fullname) if patches else None
        if spec is None or spec.loader is None or not patches:
            return None
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            for patch in patches:
                patch(module)

        spec.loader.exec_module = execute_and_patch  # type: ignore[method-assign]
        return spec


# ------------------------------------------------------------------------------------------------ notes


class _Notes:
    """lags-PID and stages-PID in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lags = bytearray()
        self._said_at = 0.0
        self._lock = threading.Lock()

    def heed(self, module: ModuleType) -> None:
        """Of the module of the metrics: what they are told."""
        heard = module.Metrics.heard

        def noted(metrics: Any, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None:
            heard(metrics, media_s=media_s, lag_s=lag_s, clock_lag_s=clock_lag_s)
            if clock_lag_s is not None:
                self._note(clock_lag_s, lag_s or 0.0, threading.current_thread().name)

        module.Metrics.heard = noted

    def _note(self, clock_lag_s: float, lag_s: float, thread: str) -> None:
        now = time.time()
        with self._lock:
            self._lags += LAG.pack(now, clock_lag_s, lag_s, stream_number(thread))
            if now - self._said_at >= _SAID_EVERY_S:
                self._said_at = now
                self._write(now)

    def _write(self, now: float) -> None:
        pid = os.getpid()
        with (self._folder / f"lags-{pid}").open("ab") as file:
            file.write(self._lags)
        self._lags.clear()
        spent: dict[str, float] = defaultdict(float)
        for by_stage in _threads.copy():
            for stage, seconds in by_stage.copy().items():
                spent[stage] += seconds
        with (self._folder / f"stages-{pid}").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": now, **spent}) + "\n")


def stream_id(number: int) -> str:
    return f"{_ID}{number}"


def stream_number(thread: str) -> int:
    """Sessions' threads are called as their streams are; -1: it is no stream of ours."""
    number = thread.removeprefix(_ID)
    return int(number) if number != thread and number.isdecimal() else -1


# ------------------------------------------------------------------------------------------------ read by the measurement


@dataclass(frozen=True, slots=True)
class Lag:
    at: float
    #: Since its last sample was on air; and of it, since it was in hand.
    clock_s: float
    hand_s: float
    stream: int


def lags(folder: Path) -> Iterator[Lag]:
    """So far, of all processes."""
    for path in sorted(folder.glob("lags-*")):
        data = path.read_bytes()
        yield from (Lag(*columns) for columns in LAG.iter_unpack(data[: len(data) - len(data) % LAG.size]))


def stages(folder: Path, begin: float, end: float) -> dict[str, float]:
    """Processor seconds by stage between two moments, to a second or so, of all processes."""
    total: dict[str, float] = defaultdict(float)
    for path in sorted(folder.glob("stages-*")):
        said = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        within = [one for one in said if begin <= one["at"] <= end]
        if len(within) > 1:
            first, last = within[0], within[-1]
            scale = (end - begin) / (last["at"] - first["at"])
            for stage in last.keys() - {"at"}:
                total[stage] += scale * (last[stage] - first.get(stage, 0.0))
    return total
