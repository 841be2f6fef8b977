"""What one sees while the demo plays: a live table on a terminal, plain lines anywhere else."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from earmark.hits.alert import sure_in_words
from earmark.hits.text import clock_time
from earmark.local.aws import Mail


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
    return Screen() if sys.stdout.isatty() else Lines()


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
        track, query = document["track"], document["query"]
        since = f"from {query['begin_s']:.1f} s" + (f" to {query['end_s']:.1f} s" if document["state"] == "closed" else "")
        self._say(stream_s, document["state"], f"{track['title']} by {', '.join(track['artists'])}, {since}")

    def mail(self, stream_s: float, mail: Mail) -> None:
        self._say(stream_s, "mail", mail.subject)

    def note(self, stream_s: float, text: str) -> None:
        self._say(stream_s, "note", text)

    def _say(self, stream_s: float, kind: str, text: str) -> None:
        print(f"  {clock_time(max(0.0, stream_s)):>8}  {kind:<12}{text}", flush=True)


class Screen:
    """A table that is drawn again as things change."""

    def __init__(self) -> None:
        self._hits: dict[str, Mapping[str, Any]] = {}
        self._mails = 0
        self._now = (0.0, "")
        self._note = ""
        self._live = Live(console=Console(), refresh_per_second=4, get_renderable=self._table)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.__exit__(kind, error, trace)

    def on_air(self, stream_s: float, what: str) -> None:
        self._now = (max(0.0, stream_s), what)

    def hit(self, _stream_s: float, document: Mapping[str, Any]) -> None:
        self._hits[document["hit_id"]] = document

    def mail(self, _stream_s: float, _mail: Mail) -> None:
        self._mails += 1

    def note(self, stream_s: float, text: str) -> None:
        self._note = f"{clock_time(max(0.0, stream_s))}  {text}"

    def _table(self) -> Table:
        stream_s, what = self._now
        caption = "   ".join(filter(None, [self._note, f"mails sent: {self._mails}"]))
        # Text, not strings: a title may hold what Rich takes for mark-up.
        table = Table(title=Text(f"{clock_time(stream_s)}  on air: {what}"), caption=Text(caption), expand=True)
        for heading in ("Heard", "From", "To", "Speed", "State", "How sure"):
            table.add_column(heading, justify="right" if heading in ("From", "To", "Speed") else "left")
        for hit in sorted(self._hits.values(), key=lambda hit: float(hit["query"]["begin_s"])):
            query, artists = hit["query"], ", ".join(hit["track"]["artists"])
            ending = clock_time(query["end_s"]) if hit["state"] == "closed" else "…"
            sure = sure_in_words(hit["score"]["false_alarms_per_hour"])
            title = Text.assemble(hit["track"]["title"], "\n", (artists, "dim"))
            table.add_row(title, clock_time(query["begin_s"]), ending, f"{hit['transform']['speed']:.3f}", hit["state"], sure)
        return table
