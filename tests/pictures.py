"""The pictures of docs/how-it-hears.md, from what Earmark makes of generated music, and those of screens: `make pictures` writes them.

Nothing in them is drawn by hand: the peaks, landmarks, coincidences and figures are those that the product computed. No
image is embedded, so that they show wherever SVG does; a white card, so that they can be read on any page.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from scipy.signal import resample_poly

from earmark.fingerprint import pairs, triples
from earmark.fingerprint.constellation import BIN_HZ, BOX_BINS, DENSE_FRAMES, SPARSE_FRAMES
from earmark.fingerprint.spectrogram import BINS, PASS_FRAMES, Spectrogram, frames_in
from earmark.fingerprint.targets import TARGET_FRAMES, TARGET_OCTAVES, most_salient
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.local import music, sound
from earmark.local.speech import speech
from earmark.matching.explanation import explain
from earmark.matching.lines import frame_at, seconds
from earmark.matching.verification import Constellation, Line, align, judge
from earmark.model import FRAMES_PER_S, RATE_HZ, Explanation, Float32, Float64, MatchParams, Peaks, Play, Track
from fakes import MemoryIndex
from fleet_picture import fleet
from hearing_sounds import chunks
from watch_picture import watch

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs"

_INK, _FAINT, _BLUE, _ORANGE, _GREEN = "#1d1d1f", "#6b7075", "#0b62b5", "#c2410c", "#15803d"
_GREYS: Final = ("#f1f1f1", "#e2e2e2", "#d2d2d2", "#c0c0c0", "#adadad", "#999999")
_WIDTH: Final = 960


# ---------------------------------------------------------------------------------------------------- drawing


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A rectangle of the card, in pixels, and what its edges mean."""

    left: float
    right: float
    top: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (
            self.left + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left),
            self.bottom - (y - self.y[0]) / (self.y[1] - self.y[0]) * (self.bottom - self.top),
        )

    def box(self, x: tuple[float, float], y: tuple[float, float], look: str) -> str:
        """A rectangle between two values of each axis, cut off at the plot's edges."""
        (left, top), (right, bottom) = (self.at(max(x[0], self.x[0]), min(y[1], self.y[1])), self.at(min(x[1], self.x[1]), max(y[0], self.y[0])))
        return f'<rect x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" {look}/>'

    def line(self, points: Iterable[tuple[float, float]], look: str, *, closed: bool = False) -> str:
        path = "L".join("{:.1f} {:.1f}".format(*self.at(*point)) for point in points)
        return f'<path d="M{path}{"z" if closed else ""}" {look}/>'

    def dots(self, x: Float64, y: Float64, radius: float, look: str) -> list[str]:
        return ['<circle cx="{:.1f}" cy="{:.1f}" r="{:g}" {}/>'.format(*self.at(*point), radius, look) for point in zip(x.tolist(), y.tolist(), strict=True)]

    def axes(self, x_label: str, y_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float]) -> list[str]:
        drawn = [self.box(self.x, self.y, f'fill="none" stroke="{_FAINT}"')]
        for tick in x_ticks:
            at, _ = self.at(tick, 0)
            drawn += [f'<path d="M{at:.1f} {self.bottom}v5" stroke="{_FAINT}"/>', text(at, self.bottom + 20, f"{tick:g}", anchor="middle")]
        for tick in y_ticks:
            _, at = self.at(0, tick)
            drawn += [f'<path d="M{self.left} {at:.1f}h-5" stroke="{_FAINT}"/>', text(self.left - 9, at + 4.5, f"{tick:g}", anchor="end")]
        middle = (self.top + self.bottom) / 2
        drawn.append(text((self.left + self.right) / 2, self.bottom + 40, x_label, anchor="middle"))
        turned = f'transform="rotate(-90 {self.left - 50} {middle:.1f})"'
        return [*drawn, text(self.left - 50, middle, y_label, anchor="middle", more=turned)]


def text(x: float, y: float, said: str, *, anchor: str = "start", colour: str = _INK, size: int = 13, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" font-size="{size}" {more}>{escape(said)}</text>'


def card(height: int, title: str, subtitle: str, drawn: Iterable[str]) -> str:
    """A whole picture."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img"'
        f' font-family="-apple-system, Segoe UI, Roboto, Helvetica, Arial, DejaVu Sans, sans-serif">'
    )
    frame = f'<rect x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1}" rx="8" fill="#ffffff" stroke="#d0d0d0"/>'
    said = [text(24, 32, title, size=18, more='font-weight="600"'), text(24, 53, subtitle, colour=_FAINT)]
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<desc>{escape(subtitle)}</desc>", frame, *said, *drawn, "</svg>", ""])


# ---------------------------------------------------------------------------------------------------- sound


@cache
def _recordings() -> Mapping[str, Float32]:
    """Three generated pieces at music.RATE_HZ, by title."""
    pieces = music.catalogue(7)
    return {piece.track.title: music.render(piece) for piece in (pieces[6], pieces[1], pieces[4])}


def _cut(samples: Float32, begin_s: float, length_s: float) -> Float32:
    return samples[round(begin_s * music.RATE_HZ) : round((begin_s + length_s) * music.RATE_HZ)]


def _heard(samples: Float32) -> Float32:
    return np.asarray(resample_poly(samples, RATE_HZ // 100, music.RATE_HZ // 100), np.float32)


# ---------------------------------------------------------------------------------------------- constellation


def constellation(*, begin_s: float = 31.4, length_s: float = 3.0) -> str:
    """Three seconds of music: what is loud, the peaks, and some of the landmarks that they make."""
    title, samples = next(iter(_recordings().items()))
    # A second more on either side: peaks, targets and frames at the edges are then as they are in the whole.
    samples, origin_s = _heard(_cut(samples, begin_s - 1, length_s + 2)), begin_s - 1
    peaks = fingerprint(samples)
    plot = Plot(left=78, right=936, top=76, bottom=500, x=(begin_s, begin_s + length_s), y=(0, 4_000))
    sparse = peaks.take(peaks.hashed)
    drawn = [
        *_spectrogram(plot, samples, origin_s),
        *_some_pairs(plot, peaks, origin_s),
        *_some_triples(plot, sparse, origin_s),
        *_points(plot, peaks.take(~peaks.hashed), origin_s, 2.6, f'fill="#ffffff" stroke="{_INK}"'),
        *_points(plot, sparse, origin_s, 3.0, f'fill="{_INK}"'),
        *_boxes(plot, peaks, origin_s),
        *plot.axes("time in the recording, s", "frequency, Hz", _ticks(plot.x, 0.5), _ticks(plot.y, 500)),
        *_legend(),
    ]
    inside = [int(np.count_nonzero((t >= begin_s) & (t < begin_s + length_s))) for t in (_times(peaks, origin_s), _times(sparse, origin_s))]
    said = f"{length_s:g} s of “{title}” (generated): {inside[0]} peaks, {inside[1]} of them in the sparse set; landmarks of some of them"
    return card(600, "The constellation and its landmarks", said, drawn)


def _times(peaks: Peaks, origin_s: float) -> Float64:
    return np.array([seconds(frame) for frame in peaks.frames.tolist()]) + origin_s


def _hz(peaks: Peaks) -> Float64:
    return peaks.eighth_hz / 8.0


def _points(plot: Plot, peaks: Peaks, origin_s: float, radius: float, look: str) -> list[str]:
    time = _times(peaks, origin_s)
    shown = (time >= plot.x[0]) & (time <= plot.x[1])
    return plot.dots(time[shown], _hz(peaks)[shown], radius, look)


def _spectrogram(plot: Plot, samples: Float32, origin_s: float) -> list[str]:
    """Levels as peaks are picked from them, louder is darker: a path for each grey, of runs of cells of 16 Hz and a frame."""
    spectrogram, count = Spectrogram(), frames_in(len(samples))
    level = np.concatenate([spectrogram.levels(samples, k, min(PASS_FRAMES, count - k)).copy() for k in range(0, count, PASS_FRAMES)])
    level += np.log(np.arange(1, BINS + 1, dtype=np.float32))
    cell = level.reshape(count, BINS // 4, 4).max(axis=2).T  # [rows, frames]
    first, last = (round(frame_at(edge - origin_s)) for edge in plot.x)
    cell = cell[:, first : last + 1]
    edges = np.quantile(cell, [0.60, 0.72, 0.82, 0.90, 0.955, 0.985])
    grey = np.searchsorted(edges, cell)
    left, top = plot.at(seconds(first - 0.5) + origin_s, 2 * BIN_HZ)
    wide = plot.at(seconds(1.0), 0)[0] - plot.at(seconds(0.0), 0)[0]
    high = plot.at(0, 0)[1] - plot.at(0, 4 * BIN_HZ)[1]
    clip = f'<clipPath id="plot">{plot.box(plot.x, plot.y, "")}</clipPath>'
    paths = [f'<path stroke="{colour}" d="{_runs(grey == k)}"/>' for k, colour in enumerate(_GREYS, 1)]
    place = f'transform="translate({left:.2f} {top:.2f}) scale({wide:.4f} {-high:.4f})" shape-rendering="crispEdges"'
    return [clip, f'<g clip-path="url(#plot)"><g {place}>', *paths, "</g></g>"]


def _runs(cells: "np.ndarray[tuple[int, int], np.dtype[np.bool_]]") -> str:
    """Horizontal runs of true cells, as a path."""
    padded = np.pad(cells, ((0, 0), (1, 1))).astype(np.int8)
    row, begin = np.nonzero(np.diff(padded, axis=1) == 1)
    _, end = np.nonzero(np.diff(padded, axis=1) == -1)
    return "".join(f"M{b} {r}h{e - b}" for r, b, e in zip(row.tolist(), begin.tolist(), end.tolist(), strict=True))


def _anchors(plot: Plot, peaks: Peaks, origin_s: float, targets: int, wanted: Sequence[tuple[float, float]]) -> list[tuple[int, list[int]]]:
    """Near each place, (s into the plot, Hz), an anchor in the plot with as many targets as it can have, and those."""
    found = most_salient(peaks, slice(0, len(peaks)), targets)
    time, hz = _times(peaks, origin_s), _hz(peaks)
    full = np.flatnonzero((found[:, -1] >= 0) & (time > plot.x[0] + 0.02) & (time < plot.x[1] - (TARGET_FRAMES[1] + 1) / FRAMES_PER_S))
    chosen = [int(full[np.argmin(_apart(time[full] - plot.x[0] - at_s, hz[full] - at_hz))]) for at_s, at_hz in wanted]
    return [(anchor, found[anchor].tolist()) for anchor in dict.fromkeys(chosen)]


def _some_triples(plot: Plot, sparse: Peaks, origin_s: float) -> list[str]:
    time, hz = _times(sparse, origin_s), _hz(sparse)
    wanted = ((0.25, 700.0), (1.35, 1_500.0), (2.1, 600.0))
    drawn = []
    for number, (anchor, targets) in enumerate(_anchors(plot, sparse, origin_s, triples.TARGETS, wanted)):
        if number == 1:
            zone = (time[anchor] + TARGET_FRAMES[0] / FRAMES_PER_S, time[anchor] + TARGET_FRAMES[1] / FRAMES_PER_S)
            band = (hz[anchor] / 2**TARGET_OCTAVES, hz[anchor] * 2**TARGET_OCTAVES)
            drawn.append(plot.box(zone, band, f'fill="none" stroke="{_BLUE}" stroke-dasharray="5 4"'))
        look = f'fill="{_BLUE}" fill-opacity=".10" stroke="{_BLUE}" stroke-width="1.4"'
        drawn += [plot.line([(time[k], hz[k]) for k in (anchor, *two)], look, closed=True) for two in combinations(targets, 2)]
        drawn += plot.dots(time[[anchor]], hz[[anchor]], 6.5, f'fill="none" stroke="{_BLUE}" stroke-width="1.6"')
    return drawn


def _some_pairs(plot: Plot, peaks: Peaks, origin_s: float) -> list[str]:
    time, hz = _times(peaks, origin_s), _hz(peaks)
    wanted = ((0.1, 3_100.0), (0.85, 2_000.0), (1.2, 300.0), (1.6, 3_300.0), (1.8, 2_350.0), (2.2, 2_900.0))
    drawn = []
    for anchor, targets in _anchors(plot, peaks, origin_s, pairs.TARGETS, wanted):
        look = f'fill="none" stroke="{_ORANGE}" stroke-width="2"'
        drawn += [plot.line([(time[anchor], hz[anchor]), (time[target], hz[target])], look) for target in targets]
        drawn += plot.dots(time[[anchor]], hz[[anchor]], 6.5, f'fill="none" stroke="{_ORANGE}" stroke-width="1.6"')
    return drawn


def _apart(time_s: Float64, hz: Float64) -> Float64:
    return np.abs(time_s) + np.abs(hz) / 2_000


def _boxes(plot: Plot, peaks: Peaks, origin_s: float) -> list[str]:
    """The boxes of which a dense and a sparse peak are the greatest value."""
    drawn = []
    for sparse, frames, at in ((False, DENSE_FRAMES, (0.45, 3_400.0)), (True, SPARSE_FRAMES, (2.75, 2_000.0))):
        some = peaks.take(peaks.hashed == sparse)
        time, hz = _times(some, origin_s), _hz(some)
        k = int(np.argmin(_apart(time - plot.x[0] - at[0], hz - at[1])))
        wide, high = (frames + 0.5) / FRAMES_PER_S, BOX_BINS * BIN_HZ
        drawn.append(plot.box((time[k] - wide, time[k] + wide), (hz[k] - high, hz[k] + high), f'fill="none" stroke="{_GREEN}" stroke-width="1.6"'))
    return drawn


def _legend() -> list[str]:
    def mark(x: float, y: float, shape: str, said: str) -> list[str]:
        return [f'<g transform="translate({x} {y})">{shape}</g>', text(x + 26, y + 4.5, said)]

    triangle = f'<path d="M0 6L9 -6L20 3z" fill="{_BLUE}" fill-opacity=".10" stroke="{_BLUE}" stroke-width="1.4"/>'
    box = f'<rect x="6" y="-8" width="7" height="16" fill="none" stroke="{_GREEN}" stroke-width="1.6"/>'
    return [
        *mark(78, 562, f'<circle cx="10" r="3" fill="{_INK}"/>', "sparse peak (also dense)"),
        *mark(78, 582, f'<circle cx="10" r="2.6" fill="#ffffff" stroke="{_INK}"/>', "dense peak"),
        *mark(288, 562, triangle, "triples of an anchor (ringed)"),
        *mark(288, 582, f'<rect y="-6" width="20" height="12" fill="none" stroke="{_BLUE}" stroke-dasharray="5 4"/>', "where its targets may lie"),
        *mark(532, 562, f'<path d="M0 5L20 -5" stroke="{_ORANGE}" stroke-width="2"/>', "pairs of an anchor (ringed)"),
        *mark(532, 582, box, "box whose greatest value is a dense, a sparse peak"),
    ]


# -------------------------------------------------------------------------------------------------- alignment


def alignment(*, before_s: float = 5.0, begin_s: float = 31.0, length_s: float = 20.0) -> str:
    """Speech, then music under speech as loud: the pairs of peaks of the 12 s when the play opened, and their distances from its line."""
    title = next(iter(_recordings()))
    references = {name: fingerprint(_heard(samples)) for name, samples in _recordings().items()}
    spoken = speech(before_s, seed=11)
    over = sound.under_speech(_cut(_recordings()[title], begin_s, length_s), 0, seed=12)
    on_air = _heard(np.concatenate([spoken, over]))
    play, opened_s = _open(on_air, references)
    if play.track_id != title:
        raise ValueError(f"it heard {play.track_id}, and {title} was played")
    params = MatchParams()
    line = Line(pitch=1.0, slope=play.speed, offset=frame_at(play.reference_begin_s) - play.speed * frame_at(play.begin_s))
    heard, stored = Constellation.of(fingerprint(on_air)), Constellation.of(references[title])
    end = opened_s * FRAMES_PER_S
    found = align(heard, stored, line, end - params.window_s * FRAMES_PER_S, end)
    if found is None or play.explanation is None:
        raise ValueError(f"{title} was told, and cannot be aligned")
    shown = explain(found, judge(found), play.explanation.threshold_nats)
    return _proof(title, shown, found.heard, stored)


def _open(on_air: Float32, references: Mapping[str, Peaks]) -> tuple[Play, float]:
    """The first play that opens in a live stream, and when."""
    index = MemoryIndex()
    for name, peaks in references.items():
        index.add(Track(track_id=name, title=name, duration_s=float(peaks.frames[-1]) / FRAMES_PER_S + 1), peaks)
    hearing = Hearing(params=MatchParams(), size=index.size(), stream_id="picture", source="file")
    for chunk in chunks(on_air, RATE_HZ):
        for play in drive(hearing.push(chunk), index.answer):
            if play.state == "open":
                return play, chunk.start_s + 1
    raise ValueError("no play opened")


def _proof(title: str, shown: Explanation, heard: Constellation, stored: Constellation) -> str:
    begin, end = shown.begin_s, shown.end_s
    low, high = (shown.speed * edge + shown.offset_s for edge in (begin, end))
    left = Plot(left=78, right=486, top=92, bottom=500, x=(begin, end), y=(low, high))
    stream_s, reference_s = _same_frequency(heard, stored.between(frame_at(low), frame_at(high)))
    matched = f"{shown.matched_n} pairs on the line"
    drawn = [
        *left.dots(stream_s, reference_s, 1.3, 'fill="#9aa0a6"'),
        left.line([(begin, low), (end, high)], f'stroke="{_BLUE}" stroke-width="1"'),
        *left.dots(shown.stream_ms / 1_000, shown.reference_ms / 1_000, 3.0, f'fill="{_BLUE}" fill-opacity=".75"'),
        *left.axes("time in the stream, s", "time in the recording, s", _ticks(left.x, 2), _ticks(left.y, 2)),
        text(78, 82, f"peaks of one frequency: {matched}", more='font-weight="600"'),
        *_histogram(shown),
    ]
    said = f"{end - begin:.0f} s of a live stream when the play opened; {shown.heard_n} peaks heard, {shown.stored_n} in the recording (“{title}”, generated)"
    return card(600, "Music under speech as loud, and how sure that is", said, drawn)


def _same_frequency(heard: Constellation, stored: Constellation) -> tuple[Float64, Float64]:
    """All pairs of a heard and a stored peak of one frequency, wherever they lie: their times."""
    near = np.abs(np.exp2(heard.octave)[:, None] - np.exp2(stored.octave)) <= np.maximum(2.0, 0.0012 * np.log(2) * np.exp2(stored.octave))
    query, reference = np.nonzero(near)
    return heard.frame[query] / FRAMES_PER_S + seconds(0.0), stored.frame[reference] / FRAMES_PER_S + seconds(0.0)


def _histogram(shown: Explanation) -> list[str]:
    count = shown.coincidences
    half, cell_s = len(count) // 2, shown.cell_frames / FRAMES_PER_S
    edge, top = (half + 0.5) * cell_s, 10 * (int(count.max()) // 10 + 1)
    plot = Plot(left=560, right=936, top=92, bottom=500, x=(-edge, edge), y=(0, top))
    guard = int(np.ceil(shown.guard_frames / shown.cell_frames))
    away = np.abs(np.arange(-half, half + 1))
    side = float(count[away >= guard].mean())
    drawn = [plot.box((-(guard - 0.5) * cell_s, (guard - 0.5) * cell_s), plot.y, 'fill="#eef2f6"')]
    for k, coincide in zip(range(-half, half + 1), count.tolist(), strict=True):
        colour = _BLUE if k == 0 else _ORANGE if abs(k) >= guard else "#9aa0a6"
        if coincide:
            drawn.append(plot.box(((k - 0.5) * cell_s, (k + 0.5) * cell_s), (0, coincide), f'fill="{colour}"'))
    nats = [
        (_BLUE, f"main lobe: {count[half]}"),
        (_ORANGE, f"sidelobes: {side:.1f} on average"),
        (_INK, f"evidence: {shown.evidence_nats:.0f} nats"),
        (_INK, f"asked for: {shown.threshold_nats:.0f} nats"),
    ]
    said = [text(plot.right - 10, 118 + 22 * k, line, anchor="end", colour=colour) for k, (colour, line) in enumerate(nats)]
    return [
        *drawn,
        *said,
        *plot.axes("distance from the line, s", f"coincidences in {1_000 * cell_s:.0f} ms", (-1, -0.5, 0, 0.5, 1), _ticks(plot.y, 20)),
        text(560, 82, "how many coincide, by distance from the line", more='font-weight="600"'),
        *_key(),
    ]


def _key() -> list[str]:
    marks = (
        (78, f'<circle cx="6" r="3" fill="{_BLUE}"/>', "on the line"),
        (182, '<circle cx="6" r="1.5" fill="#9aa0a6"/>', "elsewhere: a note comes back, or chance"),
        (560, f'<rect y="-6" width="12" height="12" fill="{_ORANGE}"/>', "sidelobes: by chance, or shifted"),
        (806, '<rect y="-6" width="12" height="12" fill="#eef2f6" stroke="#c5ccd3"/>', "guard: neither"),
    )
    return [f'<g transform="translate({x} 572)">{shape}</g>{text(x + 20, 576.5, said)}' for x, shape, said in marks]


def _ticks(span: tuple[float, float], step: float) -> list[float]:
    return [round(k * step, 6) for k in range(int(np.ceil(span[0] / step)), int(np.floor(span[1] / step)) + 1)]


PICTURES: Final[Mapping[str, Callable[[], str]]] = {"constellation.svg": constellation, "alignment.svg": alignment, "fleet.svg": fleet}
#: Of what takes its time: a stream is heard as it is sent.
LIVE: Final[Mapping[str, Callable[[], str]]] = {"watch.svg": watch}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, made in {**PICTURES, **LIVE}.items():
        picture = made()
        (FOLDER / name).write_text(picture, encoding="utf-8")
        print(f"wrote docs/{name}, {len(picture):,} bytes")
