"""Where a daemon's process can kill itself, as named points of its own functions; nothing in the daemon knows of them.

`arm` wraps the functions of a plan's points in this process. From `not_before` on, the plan's `calls`-th arrival at
any of its points writes one line (which point, which process) and kills the process, as if the machine had lost power:
no clean-up, no good-bye. In a process that a daemon has started, the daemon dies with it. The functions are looked up by
name, so that one which is renamed is missed at once.
"""

import functools
import importlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

#: A plan for a process, as JSON.
VARIABLE = "FAULTS_PLAN"
#: The exit code of a fork that never got as far as `earmark run`.
NEVER_RAN = 70
#: Bytes of a segment that kill whoever decodes it: what stands for a bug in a codec.
POISON = b"this segment kills whoever decodes it"


@dataclass(frozen=True, kw_only=True)
class Point:
    #: `module:name` or `module:Class.name`.
    of: str
    when: Literal["before", "after"]
    #: Whether this call, by its arguments and (after it) its result, is meant.
    counts: Callable[[Sequence[Any], Any], bool] = lambda _arguments, _result: True
    #: Reached soonest by a worker that is asked to go.
    leaving: bool = False


def _some(_arguments: Sequence[Any], result: Any) -> bool:
    return bool(result)


def _given(arguments: Sequence[Any], _result: Any) -> bool:
    """What it is called with is not empty."""
    return bool(arguments[-1])


#: By name, in the order of the pipeline.
POINTS: Mapping[str, Point] = {
    "received, nothing recorded": Point(of="earmark.control.queue:ControlQueue.receive", when="after", counts=_some),
    "recorded, not deleted": Point(of="earmark.control.queue:ControlQueue.delete", when="before", counts=_given),
    "claimed, no session yet": Point(of="earmark.control.leases:Leases.claim", when="after", counts=_some),
    "session begins": Point(of="earmark.session:Session.run", when="before"),
    "segment fetched": Point(of="earmark.audio.segments:Segments.fetch", when="after"),
    "segment decoded": Point(of="earmark.audio.decode:StreamDecoder.push", when="after"),
    "before a commit of plays": Point(of="earmark.hits.ledger:Ledger.commit", when="before", counts=_given),
    "inside a commit": Point(of="earmark.hits.ledger:Ledger._write_summary", when="after"),
    "inside a commit of plays": Point(of="earmark.hits.ledger:Ledger._write_play", when="after"),
    "positions on record": Point(of="earmark.hits.positions:Positions._update", when="after"),
    "committed": Point(of="earmark.hits.ledger:Ledger.commit", when="after"),
    "committed plays, publisher not told": Point(of="earmark.hits.outbox:Publisher.nudge", when="before"),
    "outbox rows taken": Point(of="earmark.hits.outbox:Publisher._take", when="after", counts=_some),
    "in S3, not settled": Point(of="earmark.hits.sinks:S3Sink.send", when="after"),
    "on SNS, not settled": Point(of="earmark.hits.sinks:SnsSink.send", when="after"),
    "settled": Point(of="earmark.hits.outbox:Publisher._settle", when="after", counts=_some),
    "renewed": Point(of="earmark.control.leases:Leases.renew", when="after"),
    "before a stream is given back": Point(of="earmark.control.leases:Leases.release", when="before", leaving=True),
    "stream given back": Point(of="earmark.control.leases:Leases.release", when="after", leaving=True),
    "asked to go, nothing handed over": Point(of="earmark.control.supervisor:Supervisor._drain", when="before", leaving=True),
    "handed over": Point(of="earmark.control.supervisor:Supervisor._drain", when="after", leaving=True),
    "sweep begun": Point(of="earmark.control.reconcile:take_turn", when="after", counts=_some),
    "sweep agreed, not committed": Point(of="earmark.control.reconcile:agree", when="after"),
    "before an upkeep step": Point(of="earmark.keeping:step", when="before"),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    worker: str
    #: A file that takes one line for each process that killed itself.
    crashes: str
    points: tuple[str, ...] = ()
    #: In Unix time.
    not_before: float = 0.0
    #: At the so-many-th arrival.
    calls: int = 1
    #: Kill whoever decodes a segment with POISON in it.
    poison: bool = False
    #: Constants of the daemon's modules, by `module:NAME`, that are other ones in this process.
    constants: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> "Plan":
        said = json.loads(text)
        return Plan(**{**said, "points": tuple(said["points"])})


def arm(plan: Plan, *, group: bool = False) -> None:
    """Wrap the functions of the plan's points, in this process, for good; `group`: all of its process group die there."""
    for name, value in plan.constants.items():
        module, _, constant = name.partition(":")
        _owner_of(name)
        setattr(importlib.import_module(module), constant, value)
    trap = _Trap(plan, group=group)
    for name in plan.points:
        wrap(POINTS[name], functools.partial(trap.reached, name))
    if plan.poison:
        poisoned = Point(of="earmark.audio.decode:StreamDecoder.push", when="before", counts=lambda arguments, _: POISON in getattr(arguments[-1], "data", b""))
        wrap(poisoned, functools.partial(trap.die, "poison decoded", group=False))


def arm_from_environment() -> None:
    """For processes that a daemon starts. One that dies alone is what the daemon blames a stream for: only poison is to be."""
    plan = os.environ.get(VARIABLE)
    if plan:
        arm(Plan.from_json(plan), group=True)


def wrap(point: Point, reached: Callable[[], None]) -> None:
    owner, name = _owner_of(point.of)
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def before(*arguments: Any, **named: Any) -> Any:
        if point.counts(arguments, None):
            reached()
        return inner(*arguments, **named)

    @functools.wraps(inner)
    def after(*arguments: Any, **named: Any) -> Any:
        result = inner(*arguments, **named)
        if point.counts(arguments, result):
            reached()
        return result

    setattr(owner, name, before if point.when == "before" else after)


def _owner_of(named: str) -> tuple[Any, str]:
    """Raises AttributeError when there is no such thing any more."""
    module, _, path = named.partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    getattr(owner, name)
    return owner, name


class _Trap:
    def __init__(self, plan: Plan, *, group: bool) -> None:
        self._worker, self._group = plan.worker, group
        self._left, self._not_before = plan.calls, plan.not_before
        self._lock = threading.Lock()
        self._file = os.open(plan.crashes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def reached(self, name: str) -> None:
        if time.time() < self._not_before:
            return
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                self.die(name, group=self._group)

    def die(self, name: str, *, group: bool) -> None:
        line = json.dumps({"at": time.time(), "point": name, "worker": self._worker, "pid": os.getpid()})
        os.write(self._file, line.encode() + b"\n")
        if group:
            os.killpg(0, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
