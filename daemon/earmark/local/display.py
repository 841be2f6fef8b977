"""What one sees while the demo plays: rows that follow it on a terminal, plain lines anywhere else."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from earmark.hits.sure import sure_in_brief
from earmark.hits.text import clock_time, speed_change
from earmark.local.aws import Mail
from earmark.local.terminal import can_draw
from earmark.local.watch_history import name, row
from earmark.local.watch_lines import hit_line, line
from earmark.local.watch_state import Entry, words

_COLOURS: Final = {"provisional": "yellow", "open": "green", "closed": ""}


class Display(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def on_air(self, stream_s: float, what: str) -> None:
        """What is being sent, without a word about what it is called: called several times a second."""
        ...

    def hit(self, stream_s: float, document: Mapping[str, Any]) -> None:
        """A new revision of a hit is in S3."""
        ...

    def mail(self, stream_s: float, mail: Mail) -> None: ...

    def note(self, stream_s: float, text: str) -> None: ...


def display() -> Display:
    return Screen() if can_draw() else Lines()


class Lines:
    """One line per thing that happens."""

    def __init__(self) -> None:
        self._what = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def on_air(self, stream_s: float, what: str) -> None:
        if what != self._what:
            self._what = what
            self._say(stream_s, "on air", what)

    def hit(self, stream_s: float, document: Mapping[str, Any]) -> None:
        print(hit_line(stream_s, document), flush=True)

    def mail(self, stream_s: float, mail: Mail) -> None:
        self._say(stream_s, "mail", mail.subject)

    def note(self, stream_s: float, text: str) -> None:
        self._say(stream_s, "note", text)

    def _say(self, stream_s: float, kind: str, text: str) -> None:
        print(line(stream_s, kind, text), flush=True)


class Screen:
    """A row for each hit, between what is on air and what is sent; written anew when something changes, and left on the terminal at the end."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._hits: dict[str, Entry] = {}
        self._mails = 0
        self._now = (0.0, "")
        self._note = ""
        self._drawn: object = None
        self._live = Live(console=self._console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)

    def on_air(self, stream_s: float, what: str) -> None:
        self._now = (max(0.0, stream_s), what)
        self._draw()

    def hit(self, _stream_s: float, document: Mapping[str, Any]) -> None:
        self._hits[document["hit_id"]] = Entry.of(document)

    def mail(self, _stream_s: float, _mail: Mail) -> None:
        self._mails += 1

    def note(self, stream_s: float, text: str) -> None:
        self._note = f"{clock_time(max(0.0, stream_s))}  {words(text)}"
        self._draw()

    def _draw(self) -> None:
        """What is on air is told several times a second: only what changes is drawn."""
        stream_s, what = self._now
        state = (round(stream_s), what, self._note, self._mails, self._console.width, tuple(self._hits.values()))
        if state != self._drawn:
            self._drawn = state
            self._live.update(Group(*self._lines(max(1, self._console.width - 1))), refresh=True)

    def _lines(self, width: int) -> list[Text]:
        stream_s, what = self._now
        wide = max(4, len(clock_time(stream_s)))
        lines = [
            Text(f"{clock_time(stream_s)}  on air: {words(what)}", style="bold"),
            row(wide, width, ("from", "to", "speed", "false alarms"), Text("heard"), style="underline"),
        ]
        for entry in sorted(self._hits.values(), key=lambda entry: entry.begin_s):
            end = clock_time(entry.end_s) if entry.state == "closed" else "…"
            sure = "provisional" if entry.state == "provisional" else "quotation" if entry.quotation else sure_in_brief(entry.false_alarms_per_hour)
            cells = clock_time(entry.begin_s), end, speed_change(entry.speed), sure
            lines.append(row(wide, width, cells, name(entry, width), style=_COLOURS[entry.state]))
        lines.append(Text("   ".join(filter(None, [f"mails sent: {self._mails}", self._note])), style="dim"))
        for each in lines:
            each.no_wrap = True
            each.truncate(width, overflow="ellipsis")
        return lines
