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
from functools import cache

import numpy as np
import numpy.typing as npt

from earmark.model import EIGHTHS, Bool, Float64, Peaks

Index = npt.NDArray[np.intp]

#: Frames by which a proposed line may be off, and the width in which the sidelobes are counted.
REACH_FRAMES = 40.0
_SLACK_FRAMES = 6.0
#: Octaves by which the pitch may be off the hypothesis: a look-up under one hypothesis finds speeds within 3 %.
PITCH_OCTAVES = 0.045
#: The same for a line that was found already: five times cheaper.
KNOWN_PITCH_OCTAVES = 0.009
_PITCH_STEP, _PITCH_HALF_CELL = 0.001, 0.0015
#: Frequencies agree within this many octaves, or hertz where that is more (the interpolation's error is in hertz).
_TOLERANCE_OCTAVES, _TOLERANCE_HZ = 0.0012, 2.0
# What the tolerance in hertz is at the lowest peak, 180 Hz.
_TOLERANCE_OCTAVES_MAX = _TOLERANCE_HZ / 180 / math.log(2)
#: Fewer pairs than this on one line of three frames cannot give 8 nats, whatever the sidelobes: not worth scoring.
_TOGETHER_LEAST = 5
#: Slopes tried around the proposed one: votes tell it to about 1 % over 12 s.
_SLOPE_STEPS = np.arange(-0.012, 0.0121, 0.002)
_SLOPE_NEAR = 0.035
#: By so much may the slope found be off that keeps a 12 s line within three frames; least squares put it right.
_TILT_MAX = 0.008

#: Half cells of the coincidence histograms, in frames: sharp recordings win in the first, reverberant ones in the last.
_HALF_CELLS = np.array([0.25, 0.5, 1.0, 1.5])
#: Fractions of the frequency tolerance; each is combined with each half cell.
_NARROW, _WIDE = 0.35, 1.0
_EDGE_FRAMES, _GUARD_FRAMES = 38.0, 5.0
#: The best of eight histograms is taken: what that is worth by chance, in nats.
_CHOICE_NATS = 1.5
#: The null's mean is never taken to be less than this many coincidences.
_MEAN_LEAST = 0.25

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

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def of(cls, peaks: Peaks, origin_frame: float = 0.0) -> "Constellation":
        """The peaks with `origin_frame` added to their times."""
        return cls(peaks.frames + origin_frame, _octaves()[peaks.eighth_hz])

    @classmethod
    def none(cls) -> "Constellation":
        return cls(np.zeros(0), np.zeros(0))

    def between(self, begin_frame: float, end_frame: float) -> "Constellation":
        """The peaks with ``begin_frame <= frame < end_frame``, as views."""
        low, high = self.frame.searchsorted((begin_frame, end_frame))
        return Constellation(self.frame[low:high], self.octave[low:high])


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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

    @property
    def query_frame(self) -> Float64:
        return self.heard.frame[self.query]

    def explained(self) -> Bool:
        """bool [len(heard)]: the peaks that count for this line, so that they cannot count for another."""
        mask = np.zeros(len(self.heard), np.bool_)
        mask[self.query[np.abs(self.off) <= _HALF_CELLS[-1]]] = True
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
    query, matched, residual = _same_frequency(heard, stored, math.log2(line.pitch), pitch_octaves)
    time = heard.frame - begin_frame
    off = stored.frame[matched] - line.slope * time[query] - at
    near = np.abs(off) <= REACH_FRAMES + _SLACK_FRAMES
    query, matched, residual, off = query[near], matched[near], residual[near], off[near]
    if len(query) < _TOGETHER_LEAST:
        return None

    shift = _pitch_shift(residual[np.abs(off) <= 4], pitch_octaves)
    tolerance = _tolerance(stored.octave[matched])
    ok = np.abs(residual - shift) <= tolerance
    query, matched = query[ok], matched[ok]
    miss = (residual[ok] - shift) / tolerance[ok]
    pitch = line.pitch * 2.0**shift

    middle = (end_frame - begin_frame) / 2
    lever = time[query] - middle
    rise = stored.frame[matched] - at - line.slope * middle
    found = _densest(rise, lever, _slopes(line.slope, pitch))
    if found is None:
        return None
    slope, height = found
    off, slope, height = _refit(rise - slope * lever - height, lever, slope, height)
    on = np.abs(off) <= _COVER_FRAMES
    if np.count_nonzero(on) >= 5:
        miss = miss - _median(miss[on])
        ok = np.abs(miss) <= _WIDE
        query, matched, off, miss = query[ok], matched[ok], off[ok], miss[ok]

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
    heard = heard.between(begin_frame, end_frame)
    low, high = line.reference(begin_frame), line.reference(end_frame)
    stored = reference.between(low - REACH_FRAMES, high + REACH_FRAMES)
    query, matched, residual = _same_frequency(heard, stored, math.log2(line.pitch), _TOLERANCE_OCTAVES_MAX)
    off = np.abs(stored.frame[matched] - line.slope * heard.frame[query] - line.offset)
    off[np.abs(residual) > _tolerance(stored.octave[matched])] = np.inf
    return _hits(heard.frame[query], off, end_frame - begin_frame)


def _hits(frame: Float64, off: Float64, frames: float) -> Hits:
    """From pairs: each one's stream frame and distance from the line, and how many frames they are taken from."""
    beside = np.count_nonzero((off > _GUARD_FRAMES) & (off < _EDGE_FRAMES))
    chance = beside * HIT_FRAMES / (_EDGE_FRAMES - _GUARD_FRAMES) / max(frames, 1.0)
    # A heard peak may pair with two stored ones: it is one hit.
    return Hits(np.unique(frame[off <= HIT_FRAMES]), chance)


def _tolerance(octave: Float64) -> Float64:
    """By how many octaves the frequencies of a pair may differ, at the stored peak's frequency."""
    return np.maximum(_TOLERANCE_OCTAVES, _TOLERANCE_HZ / math.log(2) * np.exp2(-octave))


def _same_frequency(heard: Constellation, stored: Constellation, shift: float, within: float) -> tuple[Index, Index, Float64]:
    """All pairs whose frequencies differ by `shift` octaves: heard, stored, and what is missing to it, at most `within`."""
    order = stored.octave.argsort()
    ladder = stored.octave[order]
    wanted = heard.octave - shift
    low = ladder.searchsorted(wanted - within)
    count = ladder.searchsorted(wanted + within) - low
    query = np.repeat(np.arange(len(heard)), count)
    first = np.cumsum(count) - count
    matched = order[np.arange(len(query)) + np.repeat(low - first, count)]
    return query, matched, wanted[query] - stored.octave[matched]


def _pitch_shift(residual: Float64, within: float) -> float:
    """Where the residuals of the pairs near the line pile up, in octaves; 0 where they do not."""
    residual = np.sort(residual)
    grid = np.arange(-within, within + 1e-9, _PITCH_STEP)
    high = residual.searchsorted(grid + _PITCH_HALF_CELL, "right")
    count = high - residual.searchsorted(grid - _PITCH_HALF_CELL)
    best = int(np.argmax(count))
    return float(grid[best]) if count[best] >= 3 else 0.0


def _slopes(slope: float, pitch: float) -> Float64:
    """Slopes worth trying, the likely ones first: as recorded, the one that a changed speed gives with the pitch, then all around."""
    likely = [1.0] if abs(slope - 1.0) < _SLOPE_NEAR else []
    if abs(slope - pitch) < _SLOPE_NEAR:
        likely += [pitch, pitch * 0.999, pitch * 1.001]
    return np.concatenate([likely, slope * (1 + _SLOPE_STEPS)])


def _densest(rise: Float64, lever: Float64, slopes: Float64) -> tuple[float, float] | None:
    """The slope, and the height in the middle, at which most pairs fall into three adjacent frames; of equals, the first."""
    height = rise - slopes[:, None] * lever
    inside = np.abs(height) <= 8
    cell = np.floor(height + 8.5).astype(np.intp) + np.arange(len(slopes))[:, None] * 18
    count = np.bincount(cell[inside], minlength=18 * len(slopes)).reshape(-1, 18)
    together = count[:, :-2] + count[:, 1:-1] + count[:, 2:]
    row, column = divmod(int(np.argmax(together)), together.shape[1])
    if together[row, column] < _TOGETHER_LEAST:
        return None
    return float(slopes[row]), float(column - 7)


def _refit(off: Float64, lever: Float64, slope: float, height: float) -> tuple[Float64, float, float]:
    """The line through the pairs near it: median first, then least squares through ever closer ones."""
    near = np.abs(off) <= 1.5
    shift = _median(off[near]) if near.any() else 0.0
    off, height = off - shift, height + shift
    for tolerance in (1.0, 0.6, 0.4):
        near = np.abs(off) <= tolerance
        count = np.count_nonzero(near)
        if count < 8:
            break
        x, y = lever[near], off[near]
        centre = float(x.sum()) / count
        x = x - centre
        tilt = float(x @ y / max(float(x @ x), 1e-9))
        tilt = tilt if abs(tilt) < _TILT_MAX else 0.0
        shift = float(y.sum()) / count - tilt * centre
        off = off - shift - tilt * lever
        slope, height = slope + tilt, height + shift
    return off, slope, height


def _median(values: Float64) -> float:
    """As NumPy's, without its overhead."""
    ordered = np.sort(values)
    return float(ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


# ---------------------------------------------------------------------------------------------------- scoring


def judge(alignment: Alignment, pairs: Bool | None = None, *, heard: int | None = None, stored: int | None = None) -> Evidence:
    """What the alignment is worth, or those of its pairs that are named, with the number of peaks they are taken from."""
    query, reference, off, miss = alignment.query, alignment.reference, alignment.off, alignment.miss
    if pairs is not None:
        query, reference, off, miss = query[pairs], reference[pairs], off[pairs], miss[pairs]
    if len(query) < _TOGETHER_LEAST:
        return NO_EVIDENCE
    second_nats = _against_sidelobes(query, reference, off, np.abs(miss))
    cover_nats, share = _cover(
        query, reference, off, miss, len(alignment.heard) if heard is None else heard, len(alignment.stored) if stored is None else stored
    )
    return Evidence(nats=max(second_nats, cover_nats), second_nats=second_nats, share=share)


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
    kept = ~ignored
    pairs = kept[alignment.query]
    return replace(
        alignment,
        heard=Constellation(alignment.heard.frame[kept], alignment.heard.octave[kept]),
        query=(np.cumsum(kept) - 1)[alignment.query[pairs]],
        reference=alignment.reference[pairs],
        off=alignment.off[pairs],
        miss=alignment.miss[pairs],
    )


def _judge_part(alignment: Alignment, kept: Bool, stored: int) -> Evidence:
    return judge(alignment, kept[alignment.query], heard=int(np.count_nonzero(kept)), stored=stored)


def _stored_in(alignment: Alignment, begin_frame: float, end_frame: float) -> int:
    return len(alignment.stored.between(alignment.line.reference(begin_frame), alignment.line.reference(end_frame)))


class _Histograms:
    """The layout of four histograms, one per half cell, side by side in one row of cells."""

    half = (_EDGE_FRAMES / (2 * _HALF_CELLS)).astype(np.intp)  # cells on either side of the main lobe
    base = np.concatenate([[0], np.cumsum(2 * half + 1)[:-1]])
    cells = int(np.sum(2 * half + 1))
    main = base + half
    guard = np.ceil(_GUARD_FRAMES / (2 * _HALF_CELLS)).astype(np.intp)
    # The sidelobes of all four, cell by cell, and how many each has.
    side = np.concatenate([np.r_[b : m - g + 1, m + g : m + h + 1] for b, m, g, h in zip(base, main, guard, half, strict=True)])
    side_count = 2 * (half - guard + 1)
    side_begin = np.cumsum(side_count) - side_count
    # A coincidence that the sidelobes lack may still be chance: half of one in the widest cell, in proportion in others.
    floor = 0.5 * _HALF_CELLS / _HALF_CELLS[-1]


def _against_sidelobes(query: Index, reference: Index, off: Float64, miss: Float64) -> float:
    """Nats by which the main lobe of the best of eight histograms stands out of its sidelobes; 0 if none does.

    A main lobe of m coincidences is as unlikely as m or more of a Poisson variable with the sidelobes' mean; where they
    vary more than a Poisson variable would, the nats are scaled down accordingly.
    """
    layout, best = _Histograms, 0.0
    for fraction, count in zip((_NARROW, _WIDE), _count(query, reference, off, miss), strict=True):
        side = count[layout.side]
        mean = np.add.reduceat(side, layout.side_begin) / layout.side_count
        variance = np.add.reduceat(side * side, layout.side_begin) / layout.side_count - mean * mean
        mean = np.maximum(mean + layout.floor * (1.0 if fraction == _WIDE else 0.5), _MEAN_LEAST)
        spread = np.maximum(variance / mean, 1.0)
        for main, mu, wide in zip(count[layout.main].tolist(), mean.tolist(), spread.tolist(), strict=True):
            if main > mu:
                best = max(best, _poisson_tail_nats(main, mu) / wide - _CHOICE_NATS)
    return best


def _count(query: Index, reference: Index, off: Float64, miss: Float64) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Coincidences per cell, [narrow, wide], each intp [_Histograms.cells]; each peak counts once per cell.

    A cell holds as many coincidences as it has distinct heard, or distinct stored, peaks, whichever is less.
    """
    sides = [_distinct(peak, off, miss) for peak in (query, reference)]
    return np.minimum(sides[0][0], sides[1][0]), np.minimum(sides[0][1], sides[1][1])


def _distinct(peak: Index, off: Float64, miss: Float64) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Distinct peaks per cell. Pairs in order of (peak, off) have the repeats of a peak in a cell side by side."""
    layout = _Histograms
    order = np.argsort(peak * 128.0 + off)  # |off| < 64
    peak, off, miss = peak[order], off[order], miss[order]
    cell = np.floor(off / (2 * _HALF_CELLS[:, None]) + 0.5).astype(np.intp)
    inside = np.abs(cell) <= layout.half[:, None]
    cell += layout.main[:, None]
    wide = np.bincount(cell[inside & _first(peak, cell)], minlength=layout.cells)
    narrow = np.flatnonzero(miss <= _NARROW)
    peak, cell, inside = peak[narrow], cell[:, narrow], inside[:, narrow]
    return np.bincount(cell[inside & _first(peak, cell)], minlength=layout.cells), wide


def _first(peak: Index, cell: npt.NDArray[np.intp]) -> Bool:
    first = np.ones(cell.shape, np.bool_)
    np.not_equal(cell[:, 1:], cell[:, :-1], out=first[:, 1:])
    first[:, 1:] |= peak[1:] != peak[:-1]
    return first


def _poisson_tail_nats(count: int, mean: float) -> float:
    """-ln P(Poisson(mean) >= count) for count > mean.

    By its series, because library tails underflow to infinity at 745 nats, before the variance divides them.
    """
    total = term = 1.0
    k = count
    while term > 1e-9:
        k += 1
        term *= mean / k
        total += term
    return mean - count * math.log(mean) + math.lgamma(count + 1) - math.log(total)


def _cover(query: Index, reference: Index, off: Float64, miss: Float64, heard: int, stored: int) -> tuple[float, float]:
    """Nats for the recording, and the share of the smaller constellation that is explained.

    The null is the best that another recording was ever seen to do, not the alignment's own sidelobes: a loop, whose
    every bar is like the next, does not raise this bar.
    """
    on = (np.abs(miss) <= _NARROW) & (np.abs(off) <= _COVER_FRAMES)
    peaks = max(min(heard, stored), _COVER_PEAKS_LEAST)
    share = min(int(np.count_nonzero(np.bincount(peak[on]))) for peak in (query, reference)) / peaks
    if share <= _SHARE_BY_CHANCE:
        return 0.0, share
    c = min(share, 0.999)
    divergence = c * math.log(c / _SHARE_BY_CHANCE) + (1 - c) * math.log((1 - c) / (1 - _SHARE_BY_CHANCE))
    return peaks / _PEAKS_PER_OBSERVATION * divergence, share
