"""The picture that explains a hit: one SVG, in need of nothing else, for a browser, a report, a slide. Pure.

    above    what was heard, by time and pitch: the recording's peaks in it, and the others
    left     each of the recording's peaks, where the stream has it and where the recording has it: one straight line
    right    how many coincide on that line, and how many when the recording is shifted by a little: one spike

It is drawn from the hit and its evidence (`evidence.v1.json`) alone. Names in it come from strangers: they are text, one line of it,
and cut to the width there is. Colours follow the reader's: light, or dark.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from xml.sax.saxutils import escape

from earmark.hits.sure import sure_in_words
from earmark.hits.text import called, clock_time, columns, counted, one_line, speed_change

_WIDE, _HIGH = 960, 780
_STYLE: Final = """
svg{--page:#fff;--ink:#1b2733;--soft:#5b6875;--rule:#d5dbe1;--guard:#eef2f6;--found:#1763b8;--other:#9aa4ae;--side:#c05a00}
@media(prefers-color-scheme:dark){svg{--page:#12171c;--ink:#e8edf2;--soft:#a3b0bc;--rule:#323c46;--guard:#1f272f;--found:#6cb2ff;--other:#6b7781;--side:#ff9d4a}}
svg{background:var(--page)}text{font:14px system-ui,sans-serif;fill:var(--ink);unicode-bidi:plaintext}.name{font-size:26px;font-weight:650}
.soft{fill:var(--soft)}.head{font-weight:650}.sure{font-size:17px}
path,line{fill:none}.dots{stroke-linecap:round}.found{stroke:var(--found);stroke-width:5}.other{stroke:var(--other);stroke-width:4}
.way{stroke:var(--found);stroke-width:1;opacity:.6}.rule{stroke:var(--rule)}.axis{stroke:var(--soft)}
.guard{fill:var(--guard)}.spike{fill:var(--found)}.side{fill:var(--side)}.near{fill:var(--other)}
"""
#: Hertz that are marked on the axis of pitch.
_MARKED_HZ: Final = (200, 500, 1_000, 2_000, 4_000)
_BAND_HZ: Final = (160.0, 4_000.0)
#: How many columns of a terminal fit into the picture's width, in its two sizes of text: letters are narrower than that.
_NAME_COLUMNS, _LINE_COLUMNS = 60, 110


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plot:
    """Where on the picture values lie; top and bottom are of its y, which grows downwards."""

    left: float
    right: float
    top: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def across(self, value: float) -> float:
        return self.left + (self.right - self.left) * _share(value, self.x)

    def up(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * _share(value, self.y)

    def dots(self, points: Iterable[tuple[float, float]], kind: str) -> str:
        """Lines of no length with round ends; those outside of the plot are left out."""
        inside = ((x, y) for x, y in points if self.x[0] <= x <= self.x[1] and self.y[0] <= y <= self.y[1])
        drawn = "".join(f"M{self.across(x):.1f} {self.up(y):.1f}h0" for x, y in inside)
        return f'<path class="dots {kind}" d="{drawn}"/>' if drawn else ""

    def frame(self, xs: Sequence[tuple[float, str]], ys: Sequence[tuple[float, str]]) -> Iterator[str]:
        """Axes, with marks at these values."""
        for value, said in ys:
            yield f'<line class="rule" x1="{self.left:g}" x2="{self.right:g}" y1="{self.up(value):.1f}" y2="{self.up(value):.1f}"/>'
            yield _text(self.left - 8, self.up(value) + 5, said, "soft", anchor="end")
        for value, said in xs:
            yield f'<line class="axis" x1="{self.across(value):.1f}" x2="{self.across(value):.1f}" y1="{self.bottom:g}" y2="{self.bottom + 5:g}"/>'
            yield _text(self.across(value), self.bottom + 21, said, "soft", anchor="middle")
        yield f'<path class="axis" d="M{self.left:g} {self.top:g}V{self.bottom:g}H{self.right:g}"/>'


def picture(hit: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    """An SVG document, some 30 kB."""
    name, where = _name(hit, evidence), _where(hit)
    parts = [
        _text(40, 52, _cut(name, _NAME_COLUMNS), "name"),
        _text(40, 80, _cut(where, _LINE_COLUMNS), "soft"),
        _text(40, 116, _sure(hit), "sure"),
        _text(40, 140, _worth(evidence), "soft"),
        *_heard(evidence),
        *_aligned(evidence),
        *_coincidences(evidence["histogram"]),
        *_foot(hit, evidence),
    ]
    described = escape(f"{_sure(hit)} {_worth(evidence)} {_on_the_line(evidence['histogram'])}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-labelledby="t d">'
        f'<title id="t">{escape(f"Why it is believed that this is {name}, {where}")}</title><desc id="d">{described}</desc>'
        f"<style>{_STYLE}</style>" + "\n".join(part for part in parts if part) + "</svg>\n"
    )


# ------------------------------------------------------------------------------------------------ words


def _name(hit: Mapping[str, Any], evidence: Mapping[str, Any]) -> str:
    said = called(hit["track"]["artists"], hit["track"]["title"])
    return one_line(said or evidence["track_id"], 160)


def _where(hit: Mapping[str, Any]) -> str:
    stream, query = hit["stream"], hit["query"]
    began = f", from {hit['started_at'][:19].replace('T', ' ')} UTC" if hit["started_at"] else ""
    name = one_line(stream["channel_name"] or stream["id"], 60)
    return f"in the stream {name}, {clock_time(query['begin_s'])}–{clock_time(query['end_s'])}{began}"


def _sure(hit: Mapping[str, Any]) -> str:
    said = sure_in_words(hit["score"]["false_alarms_per_hour"])
    return f"By chance: {said}."


def _worth(evidence: Mapping[str, Any]) -> str:
    score, peaks = evidence["score"], evidence["peaks"]
    begin, end = (clock_time(evidence["query"][edge]) for edge in ("begin_s", "end_s"))
    share = f"{peaks['matched']:,} of {counted(peaks['heard'], 'peak')} heard in {begin}–{end}"
    return f"{share} are the recording's: worth {score['evidence_nats']:,.0f} nats against chance, where {score['threshold_nats']:.0f} are asked for."


def _on_the_line(histogram: Mapping[str, Any]) -> str:
    counts, half, guard = histogram["coincidences"], len(histogram["coincidences"]) // 2, _guard_cells(histogram)
    beside = [*counts[: max(0, half - guard + 1)], *counts[half + guard :]]
    return f"{counts[half]:,} on it, {max(beside, default=0):,} at most beside it"


def _foot(hit: Mapping[str, Any], evidence: Mapping[str, Any]) -> Iterator[str]:
    line = evidence["line"]
    speed = "as recorded" if abs(line["speed"] - 1) < 0.0005 else f"{speed_change(line['speed'])} in speed"
    pitch = "" if abs(line["pitch_cents"]) < 1 else f", {line['pitch_cents']:+.0f} cents in pitch"
    alias = f"; heard as {one_line(evidence['heard_as'], 60)}" if "heard_as" in evidence else ""
    yield _text(40, _HIGH - 42, _cut(f"Recording {one_line(evidence['track_id'], 80)}{alias}; played {speed}{pitch}.", _LINE_COLUMNS), "soft")
    yield _text(40, _HIGH - 20, f"Hit {one_line(hit['hit_id'], 64)}, as of revision {evidence['revision']}.", "soft")


# ------------------------------------------------------------------------------------------------ drawings


def _heard(evidence: Mapping[str, Any]) -> Iterator[str]:
    query, line, matched = evidence["query"], evidence["line"], evidence["matched"]
    others = evidence.get("others", {"stream_s": [], "frequency_hz": []})
    plot = _Plot(left=84, right=920, top=192, bottom=372, x=_span(query), y=(math.log2(_BAND_HZ[0]), math.log2(_BAND_HZ[1])))
    yield _text(40, 178, "What was heard, by pitch in hertz", "head")
    yield from _key(700, 173, "dots found", "the recording's")
    yield from _key(838, 173, "dots other", "others")
    yield from plot.frame(_clock_marks(plot.x), [(math.log2(hz), f"{hz:,}") for hz in _MARKED_HZ])
    yield plot.dots(_in_octaves(others), "other")
    yield plot.dots(_in_octaves(matched), "found")
    low, high = (_reference_s(line, edge) for edge in plot.x)
    yield _text(502, 410, f"time in the stream; in the recording that is {clock_time(low)}–{clock_time(high)}", "soft", anchor="middle")


def _aligned(evidence: Mapping[str, Any]) -> Iterator[str]:
    line, matched = evidence["line"], evidence["matched"]
    x = _span(evidence["query"])
    low, high = (_reference_s(line, edge) for edge in x)
    plot = _Plot(left=104, right=470, top=470, bottom=672, x=x, y=(low, max(high, low + 0.001)))
    yield _text(40, 450, "Where the recording has them: on one straight line", "head")
    yield from plot.frame(_clock_marks(plot.x), _clock_marks(plot.y))
    yield f'<path class="way" d="M{plot.left:g} {plot.bottom:g}L{plot.right:g} {plot.top:g}"/>'
    yield plot.dots(zip(matched["stream_s"], matched["reference_s"], strict=False), "found")
    yield _text(287, 712, "time in the stream →  time in the recording ↑", "soft", anchor="middle")


def _coincidences(histogram: Mapping[str, Any]) -> Iterator[str]:
    counts = histogram["coincidences"]
    half, cell_s, guard = len(counts) // 2, histogram["cell_frames"] / histogram["frames_per_s"], _guard_cells(histogram)
    edge, step = (half + 0.5) * cell_s, _step(max(*counts, 1) / 4)
    top = step * math.ceil(max(*counts, 1) / step)
    plot = _Plot(left=560, right=920, top=470, bottom=672, x=(-edge, edge), y=(0.0, top))
    yield _text(520, 450, f"How many coincide: {_on_the_line(histogram)}", "head")
    near = max((guard - 0.5) * cell_s, 0.0)
    yield _box(plot, -near, near, top, "guard")
    seconds = [n * _step(edge / 2) for n in range(-2, 3)]
    yield from plot.frame([(s, f"{s:+.2g}" if s else "0") for s in seconds if abs(s) <= edge], [(y, f"{y:,.0f}") for y in _marks((0.0, top), step)])
    for cell, count in enumerate(counts):
        if count:
            away = cell - half
            kind = "spike" if away == 0 else "side" if abs(away) >= guard else "near"
            yield _box(plot, (away - 0.5) * cell_s, (away + 0.5) * cell_s, count, kind, wide_min=1.2 if away else 4.0)
    yield _text(740, 712, "seconds by which the recording is shifted", "soft", anchor="middle")


def _key(x: float, y: float, kind: str, said: str) -> Iterator[str]:
    yield f'<path class="{kind}" d="M{x:g} {y:g}h0"/>'
    yield _text(x + 10, y + 5, said, "soft")


def _box(plot: _Plot, begin: float, end: float, height: float, kind: str, *, wide_min: float = 0.0) -> str:
    wide, top = max(plot.across(end) - plot.across(begin), wide_min), plot.up(height)
    left = (plot.across(begin) + plot.across(end) - wide) / 2
    return f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{plot.bottom - top:.1f}"/>'


def _text(x: float, y: float, said: str, kind: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(said)}</text>'


# ------------------------------------------------------------------------------------------------ numbers


def _share(value: float, span: tuple[float, float]) -> float:
    return (value - span[0]) / (span[1] - span[0])


def _span(query: Mapping[str, float]) -> tuple[float, float]:
    return query["begin_s"], max(query["end_s"], query["begin_s"] + 0.001)


def _reference_s(line: Mapping[str, float], stream_s: float) -> float:
    return line["speed"] * stream_s + line["offset_s"]


def _in_octaves(peaks: Mapping[str, Sequence[float]]) -> Iterator[tuple[float, float]]:
    return ((second, math.log2(hz)) for second, hz in zip(peaks["stream_s"], peaks["frequency_hz"], strict=False))


def _guard_cells(histogram: Mapping[str, Any]) -> int:
    """From so many cells beside the line on, they are sidelobes."""
    return max(1, math.ceil(float(histogram["guard_frames"]) / float(histogram["cell_frames"])))


def _step(about: float) -> float:
    """1, 2 or 5 of some power of ten, not less."""
    power = 10.0 ** math.floor(math.log10(about)) if about > 0 else 1.0
    return next(n * power for n in (1, 2, 5, 10) if n * power >= about * 0.999)


def _marks(span: tuple[float, float], step: float) -> list[float]:
    return [n * step for n in range(math.ceil(span[0] / step - 1e-9), math.floor(span[1] / step + 1e-9) + 1)]


def _clock_marks(span: tuple[float, float]) -> list[tuple[float, str]]:
    """Whole seconds, half a dozen of them."""
    return [(second, clock_time(second)) for second in _marks(span, max(1.0, _step((span[1] - span[0]) / 7))) if second >= 0]


def _cut(text: str, wide: int) -> str:
    """To so many columns."""
    if columns(text) <= wide:
        return text
    kept, used = "", 1
    for character in text:
        used += columns(character)
        if used > wide:
            break
        kept += character
    return kept.rstrip() + "…"
