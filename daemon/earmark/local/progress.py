"""How far a long command is: a bar on a terminal, a line now and then otherwise; on standard error, results keep standard output."""

import sys
import time
from types import TracebackType
from typing import Any, Self

from earmark.ingest import Result

#: Without a bar: one line at most this often.
LINE_EVERY_S = 5.0


class Progress:
    """`advance` is what `ingest` calls with each result."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = self._bar.add_task(title, total=None, file="") if self._bar else None
        self._said_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def advance(self, done: int, of: int, result: Result) -> None:
        self.at(result.path.name, done, of)

    def at(self, what: str, done: int, of: int) -> None:
        if self._bar:
            self._bar.update(self._task, completed=done, total=of, file=what[:40])
        elif time.monotonic() - self._said_at > LINE_EVERY_S:
            self._said_at = time.monotonic()
            print(f"{self._title}: {done} of {of}, {what}", file=sys.stderr)


def _bar() -> Any:
    """None where rich is not installed: the image has no desk extra, and adds recordings all the same."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
    except ImportError:
        return None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[file]}"))
    return Bar(*columns, console=Console(stderr=True), transient=True)
