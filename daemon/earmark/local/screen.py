"""What `earmark watch` shows on a terminal: where the stream is, and what was heard in it."""

from types import TracebackType
from typing import Any, Self

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from earmark.hits.alert import sure_in_brief
from earmark.hits.record import Document
from earmark.hits.text import called, clock_time, speed_change
from earmark.model import Checkpoint

#: The newest so many; a terminal of 24 lines shows them all.
PLAYS_MAX = 16
_COLOURS = {"provisional": "yellow", "open": "bold green", "closed": "default"}


class Screen:
    """`tell` it each hit document, `show` it each checkpoint; `silent` does neither."""

    def __init__(self, title: str, *, silent: bool = False) -> None:
        self._title = title
        self._live = None if silent else Live(auto_refresh=False)
        self._hits: dict[str, Document] = {}
        self._checkpoint = Checkpoint()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
            self._draw()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def tell(self, document: Document) -> None:
        self._hits[document["hit_id"]] = document
        self._draw()

    def show(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._draw()

    def _draw(self) -> None:
        if self._live:
            self._live.update(Group(self._head(), self._table()), refresh=True)

    def _head(self) -> Text:
        at = self._checkpoint
        heard = f"heard {at.heard_s / at.position_s:.1%}" if at.position_s else "waiting for media"
        return Text(f"{self._title}  {clock_time(at.position_s)}  {heard}  {at.rendition}", style="bold", no_wrap=True, overflow="ellipsis")

    def _table(self) -> Table:
        table = Table(expand=True)
        for column, options in _COLUMNS.items():
            table.add_column(column, **options)
        ends = {play.hit_id: play.end_s for play in self._checkpoint.plays}
        for hit in list(self._hits.values())[-PLAYS_MAX:]:
            table.add_row(*_row(hit, ends.get(hit["hit_id"], hit["query"]["end_s"])), style=_COLOURS[hit["state"]])
        return table


_COLUMNS: dict[str, dict[str, Any]] = {
    "from": {"justify": "right"},
    "to": {"justify": "right"},
    "what": {"ratio": 1, "no_wrap": True, "overflow": "ellipsis"},
    "speed": {"justify": "right"},
    "state": {},
    "false alarms": {"no_wrap": True},
}


def _row(hit: Document, end_s: float) -> list[str]:
    track = hit["track"]
    what = called(track["artists"], track["title"], between=" – ") or hit["reference"]["track_id"]
    state = "quotation" if hit["quotation"] else hit["state"]
    speed, sure = speed_change(hit["transform"]["speed"]), sure_in_brief(hit["score"]["false_alarms_per_hour"])
    return [clock_time(hit["query"]["begin_s"]), clock_time(end_s), what, speed, state, sure]
