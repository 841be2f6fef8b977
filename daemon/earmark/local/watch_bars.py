"""Little pictures made of signs, each a line of text: how far, how it grew, what was when. Every one can be told apart without colours."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from rich.text import Text

from earmark.local.watch_timeline import Kind

_EIGHTHS: Final = "▁▂▃▄▅▆▇█"
_FULL, _HALF, _REST = "━", "╸", "─"
_LEVEL: Final = "╌"
SIGNS: Final = {
    Kind.UNKNOWN: (" ", ""),
    Kind.GAP: ("×", "bold red"),
    Kind.PLAY: ("█", "green"),
    Kind.SILENCE: ("·", "dim"),
    Kind.MUSIC: ("▓", "yellow"),
    Kind.SPEECH: ("▒", "blue"),
    Kind.OTHER: ("░", "dim"),
}
#: Where a terminal has no more than ASCII: one sign for one sign.
_PLAINER: Final = str.maketrans(_EIGHTHS + "━╸─╌×·▓▒░♪●○…–−↑↓", ".:-=+*##" + "=>--x.mso*oo~--^v")


def bar(share: float, width: int, *, style: str) -> Text:
    """How far something is, 0 to 1."""
    halves = round(min(1.0, max(0.0, share)) * width * 2)
    done = _FULL * (halves // 2) + _HALF * (halves % 2)
    return Text.assemble((done, style), (_REST * (width - len(done)), "dim"))


def graph(values: Sequence[float], width: int, height: int, *, top: float, level: float) -> list[Text]:
    """The newest `width` values, from 0 to `top`, as columns some lines high; the highest line first, and a broken one where `level` is."""
    newest = list(values[-width:])
    lines = []
    for row in reversed(range(height)):
        eighths = [round(min(1.0, max(0.0, value) / top) * height * 8) - row * 8 for value in newest]
        signs = [" " if eighth <= 0 else _EIGHTHS[min(eighth, 8) - 1] for eighth in eighths]
        lines.append(_runs((sign, "green" if value >= level else "yellow") for sign, value in zip(signs, newest, strict=True)))
    at = lines[height - 1 - min(height - 1, int(level / top * height))]
    at.append(_LEVEL * max(0, width - at.cell_len), "dim")
    return lines


def strip(kinds: Sequence[Kind]) -> Text:
    """What was when, a cell each."""
    return _runs(SIGNS[kind] for kind in kinds)


def _runs(signs: Iterable[tuple[str, str]]) -> Text:
    """Signs and their styles; those of one style that follow one another are one, which is less to send."""
    return Text.assemble(*(("".join(sign for sign, _ in run), style) for style, run in groupby(signs, key=lambda sign: sign[1])))


def plainer(text: Text, encoding: str) -> Text:
    """The same for a terminal that knows no more than an old encoding; what that has not is a question mark."""
    plain = text.plain.translate(_PLAINER).encode(encoding, "replace").decode(encoding)
    return Text(plain, style=text.style, spans=text.spans, no_wrap=True)
