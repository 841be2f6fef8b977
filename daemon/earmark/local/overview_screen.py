"""The table of `earmark streams list --watch` on a terminal: drawn over itself on a screen of its own, as large as the terminal is now."""

from dataclasses import replace
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from earmark.control.overview import Overview, Row
from earmark.hits.text import one_line, shown
from earmark.local.canvas import Canvas
from earmark.local.overview import Look, coverage_of, heading, lag_of, more, name_of, says, state_of

#: Beside the rows: two lines of heading (three with the database away), the columns' names, what is left out.
_BESIDE: Final = 4
_COLOURS: Final = {"quarantined": "bold red", "lost": "bold red", "fails": "red", "waits": "yellow", "silent": "yellow", "failed before": "yellow", "": ""}
#: Where the terminal is narrower than this, the worker is left out; then the share heard.
_WITH_OWNER, _WITH_COVERAGE = 76, 56


class Screen:
    """`show` it each look."""

    def __init__(self, console: Console | None = None) -> None:
        self._canvas = Canvas(console)

    def __enter__(self) -> Self:
        self._canvas.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._canvas.close()

    def rows(self) -> int:
        return max(1, self._canvas.size[1] - _BESIDE)

    def show(self, look: Look) -> None:
        width, height = self._canvas.size
        self._canvas.draw(drawn(look, width=width, height=height))


def drawn(look: Look, *, width: int, height: int) -> RenderableType:
    """One look, not higher than the terminal: what does not fit is counted."""
    *away, streams, fleet = heading(look)
    head = [*(_one(line, style="bold red") for line in away), _one(streams, style="bold"), _one(fleet)]
    overview = replace(look.overview, rows=look.overview.rows[: max(1, height - len(head) - 2)])
    return Group(*head, _table(overview, width), *(_one(line, style="dim") for line in more(overview)))


def _table(overview: Overview, width: int) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 2, 0, 0), header_style="underline")
    table.add_column("stream", ratio=4, no_wrap=True, overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    if width >= _WITH_OWNER:
        table.add_column("worker", max_width=max(10, width // 7), no_wrap=True, overflow="ellipsis")
    table.add_column("lag", justify="right", no_wrap=True)
    if width >= _WITH_COVERAGE:
        table.add_column("heard", justify="right", no_wrap=True)
    table.add_column("playing, or last error", ratio=6, no_wrap=True, overflow="ellipsis")
    for row in overview.rows:
        table.add_row(*_cells(row, width))
    return table


def _cells(row: Row, width: int) -> list[Text]:
    colour = _COLOURS.get(row.trouble, "")
    cells = [_one(name_of(row)), _one(state_of(row), style=colour or "green" * (row.state == "running"))]
    if width >= _WITH_OWNER:
        cells.append(_one(one_line(row.owner)))
    cells.append(_one(lag_of(row)))
    if width >= _WITH_COVERAGE:
        cells.append(_one(coverage_of(row)))
    return [*cells, _one(says(row), style=colour)]


def _one(text: str, *, style: str = "") -> Text:
    """A line as it is: Rich reads no mark-up in it, and a terminal no orders."""
    return Text(shown(text), style=style, no_wrap=True, overflow="ellipsis")
