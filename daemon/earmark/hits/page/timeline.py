"""The timeline of `report.html`: bands of equal length, one below the other, each also told in words. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from earmark.hits.page.seconds import Seen
from earmark.hits.page.words import recording, why
from earmark.hits.record import Line, Timebase
from earmark.hits.text import clock_time, counted
from earmark.model import Gap, Stretch

#: Colours of recordings, in turn; two neighbours never share one.
COLOURS = 8
#: The timeline is cut into at most this many bands, one below the other.
_BANDS_MAX = 12
_BAND_LENGTHS_S = (300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
#: Marks at round times, this many to a band.
_MARKS = 6
#: Units across a band of the drawing, and down.
_WIDE, _HIGH = 1000, 24
_MUSIC_HIGH, _TALK_HIGH, _QUIET_HIGH = 7, 6, 3
#: What is left of speech between other things is drawn from here on: a bar is as wide as seconds, at least.
_TALK_S_MIN = 2.0
#: Of more plays than this the bars say nothing and lead nowhere: they are thinner than a pointer.
_TITLED_MAX = 2_000

#: What a gap and speech are filled with, to be told apart without colours; once a page.
_PATTERNS = (
    '<svg class="defs" width="0" height="0" aria-hidden="true"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><path class="hatched" d="M0 0h6v6h-6z"/><path class="hatching" d="M0 0v6"/></pattern>'
    '<pattern id="voice" width="4" height="6" patternUnits="userSpaceOnUse"><path class="voice" d="M1 0v6"/></pattern></defs></svg>'
)


def colours_of(plays: Sequence[Line]) -> dict[str, int]:
    """A colour for each recording, in order of first appearance."""
    colours: dict[str, int] = {}
    for line in plays:
        colours.setdefault(line.track_id, len(colours) % COLOURS)
    return colours


def timeline(
    total_s: float,
    timebase: Timebase,
    *,
    plays: Sequence[Line],
    gaps: Sequence[Gap],
    music: Sequence[Stretch],
    silence: Sequence[Stretch],
    seen: Seen,
    colours: dict[str, int],
) -> Iterator[str]:
    """The section; nothing of a stream without length."""
    if total_s <= 0:
        return
    band_s = next((length for length in _BAND_LENGTHS_S if total_s <= length * _BANDS_MAX), total_s / _BANDS_MAX)
    # A stream shorter than one band fills the width.
    width_s = min(band_s, total_s)
    talk = [one for one in seen.spoken if one.end_s - one.begin_s >= _TALK_S_MIN]
    bars = [
        *(_Bar(one.begin_s, one.end_s, "talk", f"speech, {_from_to(one)}", top=_HIGH - _TALK_HIGH, height=_TALK_HIGH) for one in talk),
        *(_Bar(one.begin_s, one.end_s, "quiet", f"silence, {_from_to(one)}", top=_HIGH - _QUIET_HIGH, height=_QUIET_HIGH) for one in silence),
        *_music_bars(music),
        *_play_bars(plays, colours),
        *(_Bar(gap.begin_s, gap.end_s, "gap", f"not heard: {why(gap.reason)}") for gap in gaps),
    ]
    yield f'<section aria-labelledby="timeline">\n<h2 id="timeline">Timeline</h2>\n{_PATTERNS if gaps or talk else ""}<ol class="bands">'
    for n in range(math.ceil(total_s / width_s)):
        begin_s, end_s = n * width_s, min((n + 1) * width_s, total_s)
        moment = timebase.at(begin_s)
        wall = f"<small>{moment:%H:%M} UTC</small>" if moment else ""
        words = _words(begin_s, end_s, plays, seen)
        yield f'<li><span class="when">{clock_time(begin_s)}{wall}</span>{_band(begin_s, end_s, width_s, bars)}<span class="sr">{words}</span></li>'
    yield f'</ol>\n<p class="legend soft">{_legend(plays, gaps, music, talk, silence)}</p>\n</section>'


def _legend(plays: Sequence[Line], gaps: Sequence[Gap], music: Sequence[Stretch], talk: Sequence[Stretch], silence: Sequence[Stretch]) -> str:
    keys = [("c0", "a recording, each in a colour of its own", plays), ("music", "music, unidentified", music)]
    keys += [("talk", "speech", talk), ("quiet", "silence", silence), ("gap", "not heard", gaps)]
    shown = [(style, what) for style, what, some in keys if some]
    return "".join(f'<span><i class="key {style}"></i>{what}</span>' for style, what in [*shown, ("heard", "heard, nothing recognised")])


def _words(begin_s: float, end_s: float, plays: Sequence[Line], seen: Seen) -> str:
    """What the drawing of a band shows, for those who do not see it."""
    here, inside = seen.between(begin_s, end_s), sum(line.begin_s < end_s and line.end_s > begin_s for line in plays)
    parts = [
        f"{counted(inside, 'play')} of catalogued recordings, {clock_time(here.catalogued_s)}" if inside else "",
        f"unidentified music {clock_time(here.music_s)}" if here.music_s >= 0.5 else "",
        f"speech {clock_time(here.speech_s)}" if here.speech_s >= 0.5 else "",
        f"silence {clock_time(here.silence_s)}" if here.silence_s >= 0.5 else "",
        f"not heard {clock_time(here.gap_s)}" if here.gap_s >= 0.5 else "",
    ]
    return f"to {clock_time(end_s)}: {'; '.join(part for part in parts if part) or 'nothing recognised'}"


@dataclass(frozen=True, slots=True)
class _Bar:
    """Something with a place on the timeline."""

    begin_s: float
    end_s: float
    style: str
    title: str
    #: Units from the top of the band, and down.
    top: float = 0.0
    height: float = _HIGH
    #: Where a click leads on this page; empty: nowhere.
    anchor: str = ""


def _play_bars(plays: Sequence[Line], colours: dict[str, int]) -> Iterator[_Bar]:
    titled = len(plays) <= _TITLED_MAX
    for number, (line, (lane, lanes)) in enumerate(zip(plays, _lanes(plays), strict=True), 1):
        height = _HIGH / lanes
        title = f"{recording(line)}, {_from_to(line)}" if titled else ""
        style = f"c{colours[line.track_id]}"
        yield _Bar(line.begin_s, line.end_s, style, title, top=lane * height + 1, height=height - 2, anchor=f"play{number}" if titled else "")


def _music_bars(music: Sequence[Stretch]) -> Iterator[_Bar]:
    """A lane of its own along the bottom."""
    for number, stretch in enumerate(music, 1):
        title = f"music, unidentified, {_from_to(stretch)}"
        yield _Bar(stretch.begin_s, stretch.end_s, "music", title, top=_HIGH - _MUSIC_HIGH, height=_MUSIC_HIGH, anchor=f"music{number}")


def _from_to(some: Line | Stretch) -> str:
    return f"{clock_time(some.begin_s)} to {clock_time(some.end_s)}"


def _band(begin_s: float, end_s: float, width_s: float, bars: Sequence[_Bar]) -> str:
    """The stretch of the timeline from begin_s to end_s, where width_s would fill the width. The table has all that it leads to."""
    scale = _WIDE / width_s
    whole = (end_s - begin_s) * scale
    marks = "".join(f"M{_WIDE * n / _MARKS:.1f} 0v{_HIGH}" for n in range(1, _MARKS) if _WIDE * n / _MARKS < whole)
    out = [f'<rect x="0" y="0" width="{whole:.1f}" height="{_HIGH}" class="heard"/>', f'<path class="mark" d="{marks}"/>' if marks else ""]
    for bar in bars:
        if bar.begin_s >= end_s or bar.end_s <= begin_s:
            continue
        left = (max(bar.begin_s, begin_s) - begin_s) * scale
        # At least two units wide: three seconds in two hours are still seen.
        width = max(2.0, (min(bar.end_s, end_s) - begin_s) * scale - left)
        place = f'<rect x="{left:.1f}" y="{bar.top:.1f}" width="{width:.1f}" height="{bar.height:.1f}" class="{bar.style}"'
        shape = f"{place}><title>{escape(bar.title)}</title></rect>" if bar.title else f"{place}/>"
        out.append(f'<a href="#{bar.anchor}" tabindex="-1">{shape}</a>' if bar.anchor else shape)
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" aria-hidden="true">{"".join(out)}</svg>'


def _lanes(plays: Sequence[Line]) -> list[tuple[int, int]]:
    """For each play, in order of begin_s, its lane and how many there are: plays that overlap, even through others, share the height."""
    placed: list[tuple[int, int]] = []
    ends_s: list[float] = []  # of the lanes of the present heap of overlapping plays
    heap: list[int] = []
    for line in plays:
        if all(end_s <= line.begin_s for end_s in ends_s):
            placed += [(lane, len(ends_s)) for lane in heap]
            ends_s, heap = [], []
        lane = next((n for n, end_s in enumerate(ends_s) if end_s <= line.begin_s), len(ends_s))
        ends_s[lane : lane + 1] = [line.end_s]
        heap.append(lane)
    return placed + [(lane, len(ends_s)) for lane in heap]
