"""What processes and their threads have used, from /proc: processor time, memory. Linux only.

Times are counted in steps of 10 ms, by the kernel's own exact account of the run time.
"""

import os
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stat:
    """One line of /proc/PID/stat or /proc/PID/task/TID/stat, as far as it is used."""

    name: str
    parent: int
    cpu_s: float
    #: Of children that have ended and were waited for.
    ended_cpu_s: float
    resident_bytes: int

    @classmethod
    def parse(cls, line: str) -> "Stat":
        # The name is in parentheses, and may hold some.
        head, _, rest = line.rpartition(")")
        columns = rest.split()
        user, system, ended_user, ended_system = (int(columns[n]) for n in range(11, 15))
        return cls(
            name=head.partition("(")[2],
            parent=int(columns[1]),
            cpu_s=(user + system) / _TICKS_PER_S,
            ended_cpu_s=(ended_user + ended_system) / _TICKS_PER_S,
            resident_bytes=int(columns[21]) * _PAGE_BYTES,
        )


def stat(pid: int) -> Stat | None:
    """None: it has ended."""
    try:
        return Stat.parse((PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None


def cpu_s(*pids: int) -> float:
    """Of processes that live, without their children."""
    return sum(found.cpu_s for pid in pids if (found := stat(pid)))


def cores_busy_s(cores: Collection[int], text: str = "") -> float:
    """What these have worked so far, for anybody, hypervisors included. `text`: of /proc/stat, if it is known."""
    total = 0
    for line in (text or (PROC / "stat").read_text(encoding="ascii")).splitlines():
        name, _, rest = line.partition(" ")
        if name.startswith("cpu") and name[3:].isdecimal() and int(name[3:]) in cores:
            # user, nice, system, idle, iowait, irq, softirq, steal
            columns = [int(column) for column in rest.split()]
            total += sum(columns[:3]) + sum(columns[5:8])
    return total / _TICKS_PER_S


def family(pid: int) -> list[int]:
    """It, its children, their children and so on."""
    parents = {int(entry.name): found.parent for entry in PROC.iterdir() if entry.name.isdecimal() and (found := stat(int(entry.name)))}
    members, new = [pid], [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        members += new
    return members


def family_cpu_s(pid: int) -> float:
    """Of a process, its children that live, and those that have ended."""
    return sum(found.cpu_s + found.ended_cpu_s for member in family(pid) if (found := stat(member)))


def threads_cpu_s(pid: int) -> dict[str, float]:
    """Of the threads that live, by their names without what numbers them; threads that have ended are in `ended`."""
    by_kind: dict[str, float] = defaultdict(float)
    for task in (PROC / str(pid) / "task").iterdir():
        try:
            found = Stat.parse((task / "stat").read_text(encoding="utf-8", errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        by_kind[kind(found.name)] += found.cpu_s
    by_kind["ended"] = max(0.0, cpu_s(pid) - sum(by_kind.values()))
    return by_kind


def kind(name: str) -> str:
    """What threads of one kind share: `publish_0` and `publish_7` are `publish`, `st-live17` is `st-live`."""
    shared = name.rstrip("0123456789").rstrip("-_ (")
    return shared or name


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Between two readings; a thread that ended meanwhile is taken off its kind and found in `ended`."""
    return {name: after.get(name, 0.0) - before.get(name, 0.0) for name in sorted({*before, *after})}
