"""What is said again and again is said some times, and then counted. Pure: lines go in and come out, and the time is told.

The same event about the same stream is written `times_max` times in a minute. What comes beyond that in this minute is held
back; at its end one line says how often, and what the last of them said. As long as that goes on, each further minute is one
such line. Nothing is lost in count: the lines that were written and the `repeated` of those that tell of others add up.
"""

from collections import OrderedDict
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

Line: TypeAlias = MutableMapping[str, Any]

WINDOW_S: Final = 60.0
#: Events of streams that are watched at once, a few kilobytes each: with 300 streams there are some thousands in the worst of times.
RUNS_MAX: Final = 4_096


@dataclass(slots=True)
class _Run:
    """One event about one stream, in one window."""

    begun_s: float
    left: int
    held: int = 0
    #: Of those that were held back.
    since: object = None
    last: Line | None = None


class Repeats:
    """`take` each line in turn; `due` and `rest` give what is to be said of those that were held back. Not thread-safe."""

    def __init__(self, *, times_max: int, window_s: float = WINDOW_S, runs_max: int = RUNS_MAX) -> None:
        self._times_max, self._window_s, self._runs_max = times_max, window_s, runs_max
        #: In the order in which their windows end.
        self._runs: OrderedDict[tuple[str, str], _Run] = OrderedDict()

    def take(self, line: Line, now_s: float, *, event: str = "") -> tuple[list[Line], bool]:
        """What is to be written before it, of others; and whether it is to be written itself. `event`: instead of the line's own."""
        key = (event or str(line.get("event")), str(line.get("stream_id", "")))
        told = self.due(now_s)
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = _Run(now_s, self._times_max)
            while len(self._runs) > self._runs_max:
                told += _summary(self._runs.popitem(last=False)[1])
        if run.left > 0:
            run.left -= 1
            return told, True
        run.held += 1
        run.since, run.last = (line.get("timestamp") if run.held == 1 else run.since), line
        return told, False

    def due(self, now_s: float) -> list[Line]:
        """What was held back in windows that are over. Where it was much, the next window begins at once, and holds back everything."""
        told: list[Line] = []
        while self._runs:
            key, run = next(iter(self._runs.items()))
            if now_s - run.begun_s < self._window_s:
                break
            del self._runs[key]
            told += _summary(run)
            if run.held > self._times_max:
                self._runs[key] = _Run(now_s, 0)
        return told

    def rest(self) -> list[Line]:
        """All that is held back now: at the end."""
        told = [line for run in self._runs.values() for line in _summary(run)]
        self._runs.clear()
        return told

    def due_in_s(self, now_s: float) -> float | None:
        """Until something of what is held back may be told; None: there is nothing."""
        begun_s = next((run.begun_s for run in self._runs.values() if run.held), None)
        return None if begun_s is None else max(0.0, begun_s + self._window_s - now_s)


def _summary(run: _Run) -> list[Line]:
    """The last of them, and how many it stands for, itself included."""
    if run.last is None:
        return []
    more: Mapping[str, Any] = {"repeated": run.held, "repeated_since": run.since}
    return [{**run.last, **more}]
