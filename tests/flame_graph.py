"""A flame graph from folded stacks, as a picture that needs no script: who called is above whom it called.

The width of a box is its share of the samples; those beside one another stand in the order of their size. Opened by itself, the
picture says a box's whole name and share under the pointer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from xml.sax.saxutils import escape

from pictures import card, text

_OURS: Final = "earmark."
#: Packages and modules by what they are about; and how it looks, in full for ours, pale for what is called from there.
_ROOMS: Final[Mapping[str, str]] = {
    "audio": "audio",
    "fingerprint": "fingerprint",
    "hearing": "matching",
    "identification": "matching",
    "matching": "matching",
    "index": "index",
    "hits": "hits",
}
_REST: Final = "the rest of Earmark"
_COLOURS: Final[Mapping[str, tuple[str, str]]] = {
    "audio": ("#7fb3e6", "#dbe9f7"),
    "fingerprint": ("#f2a65a", "#fce7d2"),
    "matching": ("#7cc49a", "#dcf0e4"),
    "index": ("#c3a5dd", "#efe6f6"),
    "hits": ("#e79aa8", "#fae3e7"),
    _REST: ("#b9bec4", "#ececee"),
}
_LEFT, _RIGHT, _TOP, _ROW = 24, 936, 70, 20
_SIZE: Final = 12
#: Of a character of that size, on average.
_CHAR: Final = 6.9
#: A box of less is not drawn: 1.4 pixels.
_SHARE_MIN: Final = 0.0015


@dataclass
class _Box:
    """A function as it was called by the boxes above it; samples, those of what it called included."""

    samples: int = 0
    called: dict[str, Self] = field(default_factory=dict)

    def add(self, names: list[str], samples: int) -> None:
        box = self
        box.samples += samples
        for name in names:
            box = box.called.setdefault(name, type(self)())
            box.samples += samples


def read(folded: str) -> dict[str, int]:
    """Lines of names joined by semicolons, and after the last blank how many samples; ValueError: it is something else."""
    stacks = dict[str, int]()
    for line in folded.splitlines():
        stack, _, samples = line.rpartition(" ")
        if not stack or not samples.isdecimal():
            raise ValueError(f"{line!r} is no folded stack: names joined by semicolons, a blank and a number are")
        stacks[stack] = stacks.get(stack, 0) + int(samples)
    return stacks


def svg(stacks: Mapping[str, int], *, title: str, subtitle: str) -> str:
    """The whole picture. ValueError: there are no samples."""
    whole = _Box()
    for stack, samples in stacks.items():
        whole.add([name for name in stack.split(";") if name], samples)
    if not whole.samples:
        raise ValueError("there are no samples to draw")
    boxes = list(_boxes(whole, _LEFT, 0, _REST, (_RIGHT - _LEFT) / whole.samples))
    deepest = max((row for row, _ in boxes), default=0)
    below = _TOP + (deepest + 1) * _ROW
    return card(below + 62, title, subtitle, [*(drawn for _, drawn in boxes), *_key(below + 16)])


def _boxes(caller: _Box, left: float, row: int, room: str, pixels: float) -> Iterator[tuple[int, str]]:
    """Rows and drawings of what is called, and of all below; `pixels` of a sample."""
    whole = (_RIGHT - _LEFT) / pixels
    for name, box in sorted(caller.called.items(), key=lambda item: (-item[1].samples, item[0])):
        if box.samples >= _SHARE_MIN * whole:
            within = _room(name) or room
            yield row, _drawn(name, box, left, row, _COLOURS[within][not name.startswith(_OURS)], whole)
            yield from _boxes(box, left, row + 1, within, pixels)
        left += box.samples * pixels


def _room(name: str) -> str:
    """Empty: it is none of ours."""
    return _ROOMS.get(name.removeprefix(_OURS).partition(".")[0], _REST) if name.startswith(_OURS) else ""


def _drawn(name: str, box: _Box, left: float, row: int, colour: str, whole: float) -> str:
    width, top = box.samples / whole * (_RIGHT - _LEFT), _TOP + row * _ROW
    itself = box.samples - sum(called.samples for called in box.called.values())
    said = f"{name.removeprefix(_OURS)}: {box.samples / whole:.1%}" + (f", {itself / whole:.1%} of it itself" if box.called and itself else "")
    # Half a pixel of the card is left between neighbours.
    rectangle = f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.5, 0.5):.1f}" height="{_ROW - 1}" fill="{colour}"/>'
    short = fitting(name.removeprefix(_OURS), chars := int((width - 6) / _CHAR))
    if short and len(percent := f"{short} {box.samples / whole:.0%}") <= chars:
        short = percent
    return f"<g><title>{escape(said)}</title>{rectangle}{text(left + 3, top + 14, short, size=_SIZE) if short else ''}</g>"


def fitting(name: str, chars: int) -> str:
    """As much of a name as there is room for, from its end, which says the most; empty when that would be next to nothing."""
    parts = name.split(".")
    for first in range(len(parts)):
        if len(short := ".".join(parts[first:])) <= chars:
            return short
    return f"{parts[-1][: chars - 1]}…" if chars >= 4 else ""


def _key(y: float) -> list[str]:
    drawn, x = list[str](), float(_LEFT)
    for room, (colour, _) in _COLOURS.items():
        drawn += [f'<rect x="{x:.1f}" y="{y:.1f}" width="14" height="14" fill="{colour}"/>', text(x + 20, y + 12, room)]
        x += 20 + _CHAR * len(room) + 24
    said = "pale: Python’s and other libraries called from there; with parentheses, C (FFmpeg, NumPy, the system)"
    return [*drawn, text(_LEFT, y + 32, said, colour="#6b7075", size=_SIZE)]
