"""Does this stretch of sound follow this stretch of a recording? The whole constellation answers, in nats against chance.

A few matching landmarks only *propose* where in a recording the stream might be. Verification then lays every peak the
recording has there over every peak that was heard, finds the straight line in time and the shift in pitch along which
most of them coincide, and asks how surprising that number of coincidences is. The null hypothesis comes from the same
two constellations: their coincidences a little earlier and a little later than the line (the *sidelobes*), where they
cannot mean anything. Music that resembles itself shifted in time raises that bar, and rightly so: it is unclear then
*which second* is heard. *Which recording* is heard may still be certain, and is judged by the share of the
constellation that is explained (`_cover`): another recording never explained more than a quarter of it.

Heard peaks have stream frames, stored peaks reference frames; frequencies are octaves (log2 of hertz). All functions
are pure; a constellation of 12 seconds holds about 400 peaks on either side.
"""

import math
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from earmark.matching.histograms import EDGE_FRAMES, GUARD_FRAMES, HALF_CELLS, NARROW, WIDE, Index, against_sidelobes, where
from earmark.model import EIGHTHS, Bool, Float32, Float64, Peaks

#: Frames by which a proposed line may be off, and the width in which the sidelobes are counted.
REACH_FRAMES = 40.0
_SLACK_FRAMES = 6.0
#: Octaves by which the pitch may be off the hypothesis: a look-up under one hypothesis finds speeds within 3 %.
PITCH_OCTAVES = 0.045
#: The same for a line that was found already: five times cheaper.
KNOWN_PITCH_OCTAVES = 0.009
_PITCH_STEP, _PITCH_HALF_CELL = 0.001, 0.0015
#: Pairs this close to the proposed line tell the pitch.
_ON_LINE_FRAMES = 4.0
#: Frequencies agree within this many octaves, or hertz where that is more (the interpolation's error is in hertz).
_TOLERANCE_OCTAVES, _TOLERANCE_HZ = 0.0012, 2.0
# What the tolerance in hertz is at the lowest peak, 180 Hz.
_TOLERANCE_OCTAVES_MAX = _TOLERANCE_HZ / 180 / math.log(2)
#: Fewer pairs than this on one line of three frames cannot give 8 nats, whatever the sidelobes: not worth scoring.
_TOGETHER_LEAST = 5
#: Slopes tried around the proposed one: votes tell it to about 1 % over 12 s.
_SLOPE_STEPS = (1 + np.arange(-0.012, 0.0121, 0.002)).tolist()
_SLOPE_NEAR = 0.035
# Frames from -8 to 8, and one that stays empty.
_DENSEST_CELLS = 18
#: By so much may the slope found be off that keeps a 12 s line within three frames; least squares put it right.
_TILT_MAX = 0.008

#: The largest share of a constellation that another recording was seen to explain (synthetic music of one synthesiser,
#: key and tempo reached .24), how many peaks count as one independent observation, and the smallest constellation.
_SHARE_BY_CHANCE, _PEAKS_PER_OBSERVATION, _COVER_PEAKS_LEAST = 0.25, 4.0, 30
_COVER_FRAMES = 0.5

#: A heard peak this close to the line dates the play.
HIT_FRAMES = 0.75


@cache
def _octaves() -> Float64:
    # A table, so that a frequency has the same logarithm wherever in an array it stands.
    return np.concatenate([[0.0], np.log2(np.arange(1, 1 << 15) / EIGHTHS)])


@dataclass(frozen=True, slots=True, eq=False)
class Constellation:
    """Peaks as verification sees them: columns of equal length n, ascending in time."""

    #: float64 [n], frames.
    frame: Float64
    #: float64 [n], log2 of the frequency in hertz.
    octave: Float64
    #: float32 [n], nepers by which a heard peak stands out; of stored ones it is not known.
    salience: Float32

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def of(cls, peaks: Peaks, origin_frame: float = 0.0) -> "Constellation":
        """The peaks with `origin_frame` added to their times."""
        return cls(peaks.frames + origin_frame, _octaves()[peaks.eighth_hz], peaks.salience)

    @classmethod
    def none(cls) -> "Constellation":
        return cls(np.zeros(0), np.zeros(0), np.zeros(0, np.float32))

    @classmethod
    def join(cls, *parts: "Constellation") -> "Constellation":
        """Parts that follow one another in time, as one."""
        columns = zip(*((part.frame, part.octave, part.salience) for part in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def between(self, begin_frame: float, end_frame: float) -> "Constellation":
        """The peaks with ``begin_frame <= frame < end_frame``, as views."""
        low, high = self.frame.searchsorted((begin_frame, end_frame))
        return self.take(slice(int(low), int(high)))

    def take(self, which: "slice | Index | Bool") -> "Constellation":
        return Constellation(self.frame[which], self.octave[which], self.salience[which])


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Where in a recording the stream is: ``reference frame = slope * stream frame + offset``."""

    #: Stream pitch over reference pitch.
    pitch: float
    #: Reference frames per stream frame.
    slope: float
    #: Reference frame at stream frame 0.
    offset: float

    def reference(self, frame: float) -> float:
        return self.slope * frame + self.offset


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Heard peaks that lie on a line, in a stretch of the stream."""

    #: float64 [n], stream frames, ascending.
    frame: Float64
    #: How many a frame there would be by chance: as many as lie beside the line.
    chance: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """Pairs of a heard and a stored peak of about the same frequency around a line, columns of equal length n."""

    line: Line
    #: Stream frames that were compared.
    begin_frame: float
    end_frame: float
    #: What was heard between them, and what the recording has along the line.
    heard: Constellation
    stored: Constellation
    #: intp [n], into `heard`, and into the stored peaks that were compared (numbers without a meaning elsewhere).
    query: Index
    reference: Index
    #: float64 [n], reference frames between the pair and the line; within ±46.
    off: Float64
    #: float64 [n], what the frequencies differ by, in tolerances; within ±1.
    miss: Float64

    @cached_property
    def evidence(self) -> "Evidence":
        """What it is worth; asked for by several who decide about it."""
        return _worth(self.query, self.reference, self.off, self.miss, heard=len(self.heard), stored=len(self.stored))

    @property
    def query_frame(self) -> Float64:
        return self.heard.frame[self.query]

    def explained(self) -> Bool:
        """bool [len(heard)]: the peaks that count for this line, so that they cannot count for another."""
        mask = np.zeros(len(self.heard), np.bool_)
        mask[self.query[np.abs(self.off) <= HALF_CELLS[-1]]] = True
        return mask

    def hits(self, begin_frame: float = -math.inf) -> Hits:
        """The heard peaks, from a stream frame on, that lie on the line."""
        begin_frame = max(begin_frame, self.begin_frame)
        frame = self.heard.frame[self.query]
        return _hits(frame, np.where(frame >= begin_frame, np.abs(self.off), np.inf), self.end_frame - begin_frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an alignment, or a part of it, is worth."""

    #: Nats that this recording is heard: the greater of `second_nats` and what the explained share says.
    nats: float
    #: Nats that this very second of it is heard, against the alignment's own sidelobes.
    second_nats: float
    #: Share of the smaller constellation that is explained.
    share: float


NO_EVIDENCE = Evidence(nats=0.0, second_nats=0.0, share=0.0)


def align(
    heard: Constellation, reference: Constellation, line: Line, begin_frame: float, end_frame: float, *, pitch_octaves: float = PITCH_OCTAVES
) -> Alignment | None:
    """Refine a proposed line by all the peaks of some seconds.

    Args:
        heard: peaks of the stream; those in ``[begin_frame, end_frame)`` are compared.
        reference: peaks of the recording; must reach `REACH_FRAMES` beyond the line's ends, as far as there are any.
        line: right within 1.2 % in slope and 4 frames,
        pitch_octaves: and within this in pitch.

    Returns:
        The pairs around the refined line, or None where too few coincide to mean anything.
    """
    heard = heard.between(begin_frame, end_frame)
    at, span = line.reference(begin_frame), line.slope * (end_frame - begin_frame)
    stored = reference.between(at - REACH_FRAMES, at + span + REACH_FRAMES)
    time, wanted = heard.frame - begin_frame, heard.octave - math.log2(line.pitch)
    expected = line.slope * time + at
    shift = _pitch_shift(_residuals(expected, wanted, stored, pitch_octaves), pitch_octaves)
    query, matched = _same_frequency(wanted - shift, stored)
    near = where(np.abs(stored.frame.take(matched) - expected.take(query)) <= REACH_FRAMES + _SLACK_FRAMES)
    query, matched = query.take(near), matched.take(near)
    residual, tolerance = wanted.take(query) - stored.octave.take(matched), _tolerance(stored.octave.take(matched))
    agree = where((np.abs(residual - shift) <= tolerance) & (np.abs(residual) <= pitch_octaves))
    query, matched = query.take(agree), matched.take(agree)
    miss = (residual.take(agree) - shift) / tolerance.take(agree)
    pitch = line.pitch * 2.0**shift

    middle = (end_frame - begin_frame) / 2
    lever = time.take(query) - middle
    rise = stored.frame.take(matched) - at - line.slope * middle
    found = _densest(rise, lever, line.slope, _slopes(line.slope, pitch), middle)
    if found is None:
        return None
    slope, height = found
    off, slope, height = _refit(rise - slope * lever - height, lever, slope, height)
    on = where(np.abs(off) <= _COVER_FRAMES)
    if len(on) >= 5:
        miss = miss - median(miss.take(on))
        agree = where(np.abs(miss) <= WIDE)
        query, matched, off, miss = query.take(agree), matched.take(agree), off.take(agree), miss.take(agree)

    offset = float(at + height + (line.slope - slope) * middle - slope * begin_frame)
    refined = Line(pitch=pitch, slope=slope, offset=offset)
    return Alignment(
        line=refined,
        begin_frame=begin_frame,
        end_frame=end_frame,
        heard=heard,
        stored=reference.between(refined.reference(begin_frame), refined.reference(end_frame)),
        query=query,
        reference=matched,
        off=off,
        miss=miss,
    )


def hits_along(heard: Constellation, reference: Constellation, line: Line, begin_frame: float, end_frame: float) -> Hits:
    """The heard peaks that lie on a line, taken as it is."""
    return _along(heard.between(begin_frame, end_frame), reference, line, begin_frame, end_frame)[0]


def glance(heard: Constellation, reference: Constellation, line: Line, begin_frame: float, end_frame: float) -> tuple[Hits, Bool]:
    """The same, and which of the heard peaks, bool [heard between the frames], the line explains."""
    heard = heard.between(begin_frame, end_frame)
    hits, on = _along(heard, reference, line, begin_frame, end_frame)
    explained = np.zeros(len(heard), np.bool_)
    explained[on] = True
    return hits, explained


def _along(heard: Constellation, reference: Constellation, line: Line, begin_frame: float, end_frame: float) -> tuple[Hits, Index]:
    """Hits, and the numbers of the heard peaks that are explained."""
    low, high = line.reference(begin_frame), line.reference(end_frame)
    stored = reference.between(low - REACH_FRAMES, high + REACH_FRAMES)
    wanted = heard.octave - math.log2(line.pitch)
    query, matched = _same_frequency(wanted, stored)
    off = np.abs(stored.frame[matched] - line.slope * heard.frame[query] - line.offset)
    off[np.abs(wanted[query] - stored.octave[matched]) > _tolerance(stored.octave[matched])] = np.inf
    return _hits(heard.frame[query], off, end_frame - begin_frame), query[off <= HALF_CELLS[-1]]


def _hits(frame: Float64, off: Float64, frames: float) -> Hits:
    """From pairs: each one's stream frame and distance from the line, and how many frames they are taken from."""
    beside = np.count_nonzero((off > GUARD_FRAMES) & (off < EDGE_FRAMES))
    chance = beside * HIT_FRAMES / (EDGE_FRAMES - GUARD_FRAMES) / max(frames, 1.0)
    # A heard peak may pair with two stored ones: it is one hit.
    return Hits(np.unique(frame[off <= HIT_FRAMES]), chance)


def _tolerance(octave: Float64) -> Float64:
    """By how many octaves the frequencies of a pair may differ, at the stored peak's frequency."""
    return np.maximum(_TOLERANCE_OCTAVES, _TOLERANCE_HZ / math.log(2) * np.exp2(-octave))


def _residuals(expected: Float64, wanted: Float64, stored: Constellation, within: float) -> Float64:
    """By how many octaves the frequencies of pairs right on the line differ, if within so many."""
    low = stored.frame.searchsorted(expected - _ON_LINE_FRAMES)
    query, matched = paired(low, stored.frame.searchsorted(expected + _ON_LINE_FRAMES, "right") - low)
    residual = wanted.take(query) - stored.octave.take(matched)
    return residual.take(where(np.abs(residual) <= within))


def _same_frequency(wanted: Float64, stored: Constellation) -> tuple[Index, Index]:
    """All pairs whose frequencies agree, and some that do not quite: heard, stored."""
    order, rising = stored.octave.argsort(), wanted.argsort()
    ladder, wanted = stored.octave.take(order), wanted.take(rising)
    # The tolerance is that of the stored peak, and greatest at the lowest that may agree.
    within = _tolerance(wanted - _TOLERANCE_OCTAVES_MAX) + 1e-9
    low, high = np.empty((2, len(wanted)), np.intp)
    # What is sought in rising order is found in half the time.
    low[rising] = ladder.searchsorted(wanted - within)
    high[rising] = ladder.searchsorted(wanted + within)
    query, place = paired(low, high - low)
    return query, order.take(place)


def paired(low: Index, count: Index) -> tuple[Index, Index]:
    """Each heard peak with `count` others from number `low` on: the heard ones, the others."""
    query = np.arange(len(low)).repeat(count)
    return query, np.arange(len(query)) + (low + count - count.cumsum()).take(query)


@cache
def _pitch_cells(within: float) -> tuple[Float64, Float64, Float64]:
    """Middles, lower and upper ends."""
    grid = np.arange(-within, within + 1e-9, _PITCH_STEP)
    return grid, grid - _PITCH_HALF_CELL, grid + _PITCH_HALF_CELL


def _pitch_shift(residual: Float64, within: float) -> float:
    """Where the residuals of the pairs near the line pile up, in octaves; 0 where they do not."""
    residual.sort()
    grid, low, high = _pitch_cells(within)
    count = residual.searchsorted(high, "right") - residual.searchsorted(low)
    best = int(count.argmax())
    return float(grid[best]) if count[best] >= 3 else 0.0


def _slopes(slope: float, pitch: float) -> list[float]:
    """Slopes worth trying, the likely ones first: as recorded, the one that a changed speed gives with the pitch, then all around."""
    likely = [1.0] if abs(slope - 1.0) < _SLOPE_NEAR else []
    if abs(slope - pitch) < _SLOPE_NEAR:
        likely += [pitch, pitch * 0.999, pitch * 1.001]
    return likely + [slope * step for step in _SLOPE_STEPS]


def _densest(rise: Float64, lever: Float64, slope: float, slopes: list[float], lever_max: float) -> tuple[float, float] | None:
    """The slope, and the height in the middle, at which most pairs fall into three adjacent frames; of equals, the first."""
    # Most pairs are near none of the lines.
    most = 8.5 + max(abs(other - slope) for other in slopes) * lever_max
    near = where(np.abs(rise - slope * lever) <= most)
    if len(near) < _TOGETHER_LEAST:
        return None
    height = rise.take(near) - np.array(slopes)[:, None] * lever.take(near)
    origin = np.arange(len(slopes))[:, None] * _DENSEST_CELLS + 8.5
    cell = (height + origin).astype(np.intp)
    np.copyto(cell, len(slopes) * _DENSEST_CELLS, where=np.abs(height) > 8)
    count = np.bincount(cell.ravel(), minlength=len(slopes) * _DENSEST_CELLS + 1)[:-1].reshape(-1, _DENSEST_CELLS)
    together = count[:, :-2] + count[:, 1:-1] + count[:, 2:]
    row, column = divmod(int(together.argmax()), together.shape[1])
    if together[row, column] < _TOGETHER_LEAST:
        return None
    return slopes[row], float(column - 7)


def _refit(off: Float64, lever: Float64, slope: float, height: float) -> tuple[Float64, float, float]:
    """The line through the pairs near it: median first, then least squares through ever closer ones."""
    near = where(np.abs(off) <= 1.5)
    shift = median(off.take(near)) if len(near) else 0.0
    off, height = off - shift, height + shift
    for tolerance in (1.0, 0.6, 0.4):
        near = where(np.abs(off) <= tolerance)
        if len(near) < 8:
            break
        x, y = lever.take(near), off.take(near)
        centre = float(x.sum()) / len(near)
        x -= centre
        tilt = float(x @ y / max(float(x @ x), 1e-9))
        tilt = tilt if abs(tilt) < _TILT_MAX else 0.0
        shift = float(y.sum()) / len(near) - tilt * centre
        off = off - shift - tilt * lever
        slope, height = slope + tilt, height + shift
    return off, slope, height


def median(values: Float64) -> float:
    """As NumPy's, without its overhead."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


# ---------------------------------------------------------------------------------------------------- scoring


def judge(alignment: Alignment) -> Evidence:
    """What the alignment is worth."""
    return alignment.evidence


def judge_last(alignment: Alignment, frames: float) -> Evidence:
    """What its last so many frames alone are worth."""
    begin = alignment.end_frame - frames
    return _judge_part(alignment, alignment.heard.frame > begin, _stored_in(alignment, begin, alignment.end_frame))


def judge_without_best(alignment: Alignment, frames: float) -> Evidence:
    """What is left without its richest so many frames: of a short quotation, nothing."""
    hits = np.sort(alignment.query_frame[np.abs(alignment.off) <= HIT_FRAMES])
    if len(hits) < 4:
        return NO_EVIDENCE
    inside = np.searchsorted(hits, hits + frames, "right") - np.arange(len(hits))
    begin = float(hits[int(np.argmax(inside))])
    kept = (alignment.heard.frame < begin) | (alignment.heard.frame > begin + frames)
    return _judge_part(alignment, kept, len(alignment.stored) - _stored_in(alignment, begin, begin + frames))


def without(alignment: Alignment, ignored: Bool) -> Alignment:
    """The alignment as if some of the heard peaks, bool [len(heard)], had not been heard: those that another play explains."""
    if not ignored.any():
        return alignment
    kept = ~ignored
    pairs = kept[alignment.query]
    return replace(
        alignment,
        heard=alignment.heard.take(kept),
        query=(np.cumsum(kept) - 1)[alignment.query[pairs]],
        reference=alignment.reference[pairs],
        off=alignment.off[pairs],
        miss=alignment.miss[pairs],
    )


def _judge_part(alignment: Alignment, kept: Bool, stored: int) -> Evidence:
    pairs = where(kept.take(alignment.query))
    query, reference = alignment.query.take(pairs), alignment.reference.take(pairs)
    return _worth(query, reference, alignment.off.take(pairs), alignment.miss.take(pairs), heard=int(np.count_nonzero(kept)), stored=stored)


def _worth(query: Index, reference: Index, off: Float64, miss: Float64, *, heard: int, stored: int) -> Evidence:
    """What pairs are worth, with the number of peaks they are taken from."""
    if len(query) < _TOGETHER_LEAST:
        return NO_EVIDENCE
    miss = np.abs(miss)
    second_nats = against_sidelobes(query, reference, off, miss)
    cover_nats, share = _cover(query, reference, off, miss, heard, stored)
    return Evidence(nats=max(second_nats, cover_nats), second_nats=second_nats, share=share)


def _stored_in(alignment: Alignment, begin_frame: float, end_frame: float) -> int:
    return len(alignment.stored.between(alignment.line.reference(begin_frame), alignment.line.reference(end_frame)))


def _cover(query: Index, reference: Index, off: Float64, miss: Float64, heard: int, stored: int) -> tuple[float, float]:
    """Nats for the recording, and the share of the smaller constellation that is explained.

    The null is the best that another recording was ever seen to do, not the alignment's own sidelobes: a loop, whose
    every bar is like the next, does not raise this bar.
    """
    on = where((miss <= NARROW) & (np.abs(off) <= _COVER_FRAMES))
    peaks = max(min(heard, stored), _COVER_PEAKS_LEAST)
    share = min(int(np.count_nonzero(np.bincount(peak.take(on)))) for peak in (query, reference)) / peaks
    if share <= _SHARE_BY_CHANCE:
        return 0.0, share
    c = min(share, 0.999)
    divergence = c * math.log(c / _SHARE_BY_CHANCE) + (1 - c) * math.log((1 - c) / (1 - _SHARE_BY_CHANCE))
    return peaks / _PEAKS_PER_OBSERVATION * divergence, share
