"""A terminal's other screen, on which only lines that changed are written: nothing is cleared between two drawings, so nothing flickers."""

import io
import re
from html import escape
from types import TracebackType
from typing import Final, Self

from rich.console import Console, RenderableType
from rich.control import Control
from rich.segment import ControlType, Segment, Segments
from rich.terminal_theme import DIMMED_MONOKAI

_TO_THE_END: Final = Control((ControlType.ERASE_IN_LINE, 0)).segment
#: DECAWM: what is wider than a terminal was taken for is cut off at its edge, and moves no other line.
_WRAP, _NO_WRAP = "\x1b[?7h", "\x1b[?7l"


class Canvas:
    """As a context, or by `open` and `close`, which may be called again; `draw` only while it is open. `NO_COLOR` is Rich's to heed."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._drawn: list[list[Segment]] = []
        self._width = 0

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows there are to draw on, as of now. The last column is left free: some terminals begin a new line behind it."""
        width, height = self._console.size
        return max(1, width - 1), max(1, height)

    @property
    def encoding(self) -> str:
        return self._console.encoding

    def open(self) -> None:
        self._console.set_alt_screen(True)
        self._console.show_cursor(False)
        self._write(_NO_WRAP)
        self.forget()

    def close(self) -> None:
        """The screen from before; on a terminal that has only one, what follows is written below."""
        self._console.control(Control.move_to(0, self._console.height - 1))
        self._write(_WRAP)
        self._console.show_cursor(True)
        self._console.set_alt_screen(False)

    def forget(self) -> None:
        """Somebody else may have written to the terminal: all is drawn anew, over what is there."""
        self._drawn = []

    def draw(self, drawing: RenderableType) -> None:
        """From the first line on; what does not fit is left out."""
        width, height = self.size
        if width != self._width:
            self._drawn, self._width = [], width
        options = self._console.options.update(width=width, height=None)
        lines = self._console.render_lines(drawing, options, pad=False)[:height]
        lines += [[]] * (height - len(lines))
        changed: list[Segment] = []
        for row, line in enumerate(lines):
            if row >= len(self._drawn) or line != self._drawn[row]:
                changed += [Control.move_to(0, row).segment, *line, _TO_THE_END]
        self._drawn = lines
        if changed:
            self._console.print(Segments(changed), end="", crop=False)

    def _write(self, order: str) -> None:
        self._console.file.write(order)
        self._console.file.flush()


def picture(drawing: RenderableType, *, width: int, height: int, title: str, name: str) -> str:
    """The same as SVG, which loads nothing: Rich's own has a font from elsewhere, this takes whatever monospaced one there is. `name`: unique on a page."""
    out = Console(file=io.StringIO(), width=width, height=height, record=True, force_terminal=True, color_system="truecolor", no_color=False)
    out.print(drawing)
    svg = out.export_svg(title=escape(title), theme=DIMMED_MONOKAI, unique_id=name)
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "ui-monospace")
