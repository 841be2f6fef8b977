"""What is logged while a screen is shown, as sentences for it: the log's own lines would be written across it."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from earmark.settings import Log
from earmark.telemetry import configure_logging


@contextmanager
def noting(note: Callable[[str], None], settings: Log) -> Iterator[None]:
    """Warnings, and what is worse, go to `note`; from any thread."""
    configure_logging(level="warning", style="json", repeats_max=settings.repeats_max, stream=_Notes(note))
    try:
        yield
    finally:
        configure_logging(level="warning", style=settings.format, repeats_max=settings.repeats_max)


class _Notes(io.StringIO):
    """A file of lines of the log, JSON, which keeps none."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def write(self, text: str) -> int:
        for line in text.splitlines():
            self._note(sentence(line))
        return len(text)


def sentence(line: str) -> str:
    """What a line of the log says: its event and why; without a reason, its fields."""
    try:
        said = json.loads(line)
    except ValueError:
        return line
    if not isinstance(said, dict):
        return line
    event = str(said.pop("event", ""))
    fields = {name: value for name, value in said.items() if name not in ("level", "timestamp", "logger")}
    why = fields.get("why") or fields.get("reason") or "  ".join(f"{name}={value}" for name, value in fields.items())
    return f"{event}: {why}" if why else event
