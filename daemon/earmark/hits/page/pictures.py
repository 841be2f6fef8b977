"""Two small drawings that show why a hit is believed, for `report.html`: a kilobyte each, of hundreds that a page may have. Pure.

On the left the matched peaks, each where the stream had it and where the recording has it: one line. On the right how many peaks
coincide there, and how many if the recording is shifted a little: one spike. What is drawn is what `evidence.v1.json` says.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from earmark.hits.text import clock_time

#: Units across a drawing, and down.
_WIDE, _HIGH = 320, 120
#: Dots of the line: an even choice of the peaks.
_DOTS_MAX = 80
#: Columns on either side of the spike.
_SIDE = 32


def pictures(evidence: Mapping[str, Any]) -> str:
    """Both, with what they show in words. Raises KeyError, TypeError or ValueError if it is no evidence."""
    return f'<div class="proofs">{_line(evidence)}{_spike(evidence["histogram"])}</div>'


def _line(evidence: Mapping[str, Any]) -> str:
    query, line = evidence["query"], evidence["line"]
    stream_s, reference_s = evidence["matched"]["stream_s"], evidence["matched"]["reference_s"]
    begin_s, end_s = float(query["begin_s"]), max(float(query["end_s"]), float(query["begin_s"]) + 1.0)
    low_s, high_s = (float(line["speed"]) * second + float(line["offset_s"]) for second in (begin_s, end_s))
    chosen = range(0, len(stream_s), -(-len(stream_s) // _DOTS_MAX) or 1)
    across = [_unit((stream_s[n] - begin_s) / (end_s - begin_s), _WIDE) for n in chosen]
    up = [_HIGH - _unit((reference_s[n] - low_s) / ((high_s - low_s) or 1.0), _HIGH) for n in chosen]
    stream, recording = f"{clock_time(begin_s)}–{clock_time(end_s)}", f"{clock_time(low_s)}–{clock_time(high_s)}"
    shown = f'<path class="dots" d="{_dots(sorted(set(zip(across, up, strict=True))))}"/>'
    return _figure(shown, f"{stream} of the stream (across) lies on one line through {recording} of the recording (up)")


def _spike(histogram: Mapping[str, Any]) -> str:
    counts = [int(count) for count in histogram["coincidences"]]
    half = len(counts) // 2
    shared = max(1, -(-half // _SIDE))
    # The line's own column holds its cell alone; of the others each is as high as its highest.
    left = [max(counts[max(0, end - shared) : end]) for end in range(half, 0, -shared)][::-1]
    right = [max(counts[begin : begin + shared]) for begin in range(half + 1, len(counts), shared)]
    heights, highest = [*left, counts[half], *right], max(*counts, 1)
    wide = _WIDE / len(heights)
    tops = [_HIGH - round((_HIGH - 8) * height / highest) for height in heights]
    away_s = abs(float(histogram["first_offset_frames"])) / float(histogram["frames_per_s"])
    elsewhere = max([*left, *right], default=0)
    begin = len(left) * wide
    spike = f"M{begin:.0f} {_HIGH}V{tops[len(left)]}h{max(wide, 3):.0f}V{_HIGH}z"
    shown = f'<path class="sides" d="{_steps(tops, wide)}"/><path class="spike" d="{spike}"/>'
    return _figure(shown, f"{counts[half]} peaks coincide on the line, at most {elsewhere} within {away_s:.1f} s of it")


def _figure(shown: str, caption: str) -> str:
    """The caption says what the drawing shows, so that nobody has to see it."""
    return f'<figure><svg viewBox="-4 -4 {_WIDE + 8} {_HIGH + 8}" aria-hidden="true">{shown}</svg><figcaption>{caption}</figcaption></figure>'


def _unit(share: float, units: int) -> int:
    return round(min(max(share, 0.0), 1.0) * units)


def _dots(points: Sequence[tuple[int, int]]) -> str:
    """Lines of no length with round ends, each relative to the one before: six characters a dot."""
    out, here = [], (0, 0)
    for x, y in points:
        out.append(f"m{x - here[0]} {y - here[1]}h0".replace(" -", "-"))
        here = (x, y)
    return "".join(out)


def _steps(tops: Sequence[int], wide: float) -> str:
    """The outline of columns that stand side by side."""
    out, x = [f"M0 {_HIGH}"], 0
    edge = 0.0
    for top, columns in groupby(tops):
        edge += wide * sum(1 for _ in columns)
        out.append(f"V{top}h{round(edge) - x}")
        x = round(edge)
    return "".join([*out, f"V{_HIGH}z"])
