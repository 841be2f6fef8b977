"""Peaks to landmarks: hashed triples of neighbouring peaks that barely change with speed.

Every sparse peak is an *anchor*. Its targets are the three sparse peaks nearest in time that follow it by 1 to 16 frames
(0.03 to 0.51 s) within 1.5 octaves; of equal time, the lower comes first. Each pair of its targets makes a triple, up
to three an anchor:

    ======================  =======================================================================  =========
    field                   cells                                                                    bits
    ======================  =======================================================================  =========
    anchor                  1/6 octave from 100 Hz: coarse, so one look-up covers ±3 % of speed      5
    first, second ratio     log2 of target over anchor; 4 Hz wide at the anchor's cell               11 + 11
    first, second interval  frames from anchor to target; 2 frames wide                              4 + 4
    ======================  =======================================================================  =========

The ratios' cells are constant in hertz, where interpolation errs, yet do not change with speed. The 35 bits are mixed
down to 31 (`key`), the width the index keeps; measured collision entropy is 22 to 24 bits.

Everything is computed from the *rounded* peaks, eighths of a frame and of a hertz: a stored constellation gives the
landmarks it gave on the day it was stored.

**A question asks more than a reference answers.** An interval that lies within a quarter cell of a border is asked for
in the neighbouring cell too. In noise-like sound most peaks barely stand out and their neighbours would be look-ups in
vain; there the plain triples are asked for, and beside them those of the strong peaks alone. Cells that no reference can
hold are not asked for at all.

Sources: A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003 (anchors, target zones); J. Six and
M. Leman, "Panako", ISMIR 2014 (triples whose ratios survive changes of speed); D. Knuth, "The Art of Computer
Programming" 3, section 6.4 (multiplicative hashing).
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.model import EIGHTHS, FRAMES_PER_S, Float64, Int32, Landmarks, Peaks

#: The target zone, frames after the anchor, both ends included, and its half-width in octaves.
TARGET_FRAMES: Final = (1, 16)
TARGET_OCTAVES: Final = 1.5
TARGETS: Final = 3
#: How far behind an anchor's second peaks have to be known before its triples are: the target zone, and a frame of room.
LOOKAHEAD_FRAMES: Final = TARGET_FRAMES[1] + 1

#: A peak stands out well; sound most of whose peaks do not is noise-like. Clean music has .11 of them below (median; .55
#: at the 95th percentile), speech .17, white noise over music as loud .66, pink .74.
STRONG_SALIENCE: Final = 3.0
STRONG_TARGETS: Final = 5
NOISE_LIKE_SHARE: Final = 0.55
NOISE_LIKE_S: Final = 4.0
NOISE_LIKE_FRAMES: Final = NOISE_LIKE_S * FRAMES_PER_S

#: Of one hash a recording keeps its first few postings: a loop says it once, not fifty times.
KEEP: Final = 4

_BASE_HZ: Final = 100
_ANCHOR_CELLS_PER_OCTAVE: Final = 6
_RATIO_CELL_HZ: Final = 4
_INTERVAL_CELL_EIGHTHS: Final = 2 * EIGHTHS
_NEIGHBOUR_MARGIN: Final = 0.25

_ANCHOR_BITS: Final = 5
_RATIO_BITS: Final = 11
_INTERVAL_BITS: Final = 4
_RATIO_OFFSET: Final = 1 << (_RATIO_BITS - 1)
_KEY_BITS: Final = 31
# 2^64 over the golden ratio, odd.
_GOLDEN: Final = np.uint64(0x9E37_79B9_7F4A_7C15)

# What references hold: anchors of 180 to 3,800 Hz, intervals of 1 to 16 frames.
_ANCHOR_CELLS: Final = (5, 31)
_INTERVAL_CELLS: Final = (1, 8)

# Anchors whose targets are gathered at once: bounds the work arrays to a few MB, however long the recording.
_ANCHORS_AT_ONCE: Final = 8_192
_PEAK_EIGHTH_HZ_MAX: Final = 1 << 15

_Int64 = npt.NDArray[np.int64]
_Index = npt.NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Triples:
    """The fields of packed triples, int64 columns of equal length."""

    #: 0 to 31, sixths of an octave above 100 Hz.
    anchor: _Int64
    #: -1,024 to 1,023, in cells of the anchor's.
    first_ratio: _Int64
    second_ratio: _Int64
    #: 0 to 15, in cells of two frames; the second target is not before the first.
    first_interval: _Int64
    second_interval: _Int64


def pack(triples: Triples) -> _Int64:
    """Fields to 35 bits: int64 [n]. Each must be within its range."""
    packed = triples.anchor
    for ratio in (triples.first_ratio, triples.second_ratio):
        packed = packed << _RATIO_BITS | (ratio + _RATIO_OFFSET)
    for interval in (triples.first_interval, triples.second_interval):
        packed = packed << _INTERVAL_BITS | interval
    return packed


def unpack(packed: _Int64) -> Triples:
    """The fields of 35 bits; inverse of `pack`."""
    interval = (1 << _INTERVAL_BITS) - 1
    ratio = (1 << _RATIO_BITS) - 1
    ratios = packed >> 2 * _INTERVAL_BITS
    return Triples(
        anchor=ratios >> 2 * _RATIO_BITS,
        first_ratio=(ratios >> _RATIO_BITS & ratio) - _RATIO_OFFSET,
        second_ratio=(ratios & ratio) - _RATIO_OFFSET,
        first_interval=packed >> _INTERVAL_BITS & interval,
        second_interval=packed & interval,
    )


def key(packed: _Int64) -> Int32:
    """Packed triples as the index knows them: int32 [n], never negative. Knuth's multiplicative hash, upper 31 of 64 bits."""
    return (packed.astype(np.uint64) * _GOLDEN >> np.uint64(64 - _KEY_BITS)).astype(np.int32)


def landmarks(peaks: Peaks) -> Landmarks:
    """All triples of a recording's sparse peaks, as a reference stores them (before `first_postings`).

    Args:
        peaks: a whole constellation in order of (time, frequency); those not `hashed` take no part.

    Returns:
        Landmarks in order of their anchors; `frame` is the anchor's time, a multiple of 1/8.
    """
    sparse = peaks.take(peaks.hashed)
    parts = [_ask(sparse, slice(begin, min(begin + _ANCHORS_AT_ONCE, len(sparse))), targets=TARGETS) for begin in range(0, len(sparse), _ANCHORS_AT_ONCE)]
    return _join(parts)


def first_postings(landmarks: Landmarks, keep: int = KEEP) -> Landmarks:
    """At most `keep` landmarks of one hash, its earliest; the order stays.

    Otherwise a stop list silences just the loops: a piece that repeats a bar fills its own hashes.
    """
    order = np.lexsort((landmarks.frame, landmarks.hash))
    ordered = landmarks.hash[order]
    rank = np.arange(len(ordered)) - np.searchsorted(ordered, ordered, "left")
    kept = np.sort(order[rank < keep])
    return Landmarks(hash=landmarks.hash[kept], frame=landmarks.frame[kept])


def noise_like(peaks: Peaks) -> bool:
    """Whether most of the sparse peaks barely stand out; to be asked of the last `NOISE_LIKE_S` seconds' peaks."""
    salience = peaks.salience[peaks.hashed]
    return len(salience) > 0 and float(np.mean(salience < STRONG_SALIENCE)) > NOISE_LIKE_SHARE


def questions(
    peaks: Peaks,
    *,
    begin_frame: float,
    end_frame: float,
    speed: float = 1.0,
    noise_like: bool = False,
) -> Landmarks:
    """What to look up for a stretch of a stream: the triples anchored in it, and those they may be in a reference.

    Asked second by second, the questions are those of the whole.

    Args:
        peaks: a stream's constellation in order of (time, frequency), final up to `LOOKAHEAD_FRAMES` behind `end_frame`
            or to the end of the run.
        begin_frame: only anchors from here on,
        end_frame: and before here.
        speed: hypothesis, reference seconds per stream second: frequencies are divided and times multiplied by it
            before they are hashed. The target zone stays one of stream frames. Made for 0.9 to 1.1.
        noise_like: ask as in noise-like sound, see `noise_like`.

    Returns:
        Landmarks, none twice; `frame` is the anchor's time in the *stream*, a multiple of 1/8, whatever the speed.
    """
    zone = peaks.between(begin_frame, end_frame + LOOKAHEAD_FRAMES)
    sparse = zone.take(zone.hashed)
    if not noise_like:
        return _distinct(_ask(sparse, _anchors(sparse, end_frame), targets=TARGETS, speed=speed, neighbours=True))
    strong = sparse.take(sparse.salience >= STRONG_SALIENCE)
    plain = _ask(sparse, _anchors(sparse, end_frame), targets=TARGETS, speed=speed)
    loud = _ask(strong, _anchors(strong, end_frame), targets=STRONG_TARGETS, speed=speed, neighbours=True)
    return _distinct(_join([plain, loud]))


def _anchors(peaks: Peaks, end_frame: float) -> slice:
    return slice(0, len(peaks.between(-math.inf, end_frame)))


def _ask(peaks: Peaks, anchors: slice, *, targets: int, speed: float = 1.0, neighbours: bool = False) -> Landmarks:
    """Landmarks of some of the peaks as anchors, all of the peaks as targets; all are taken for sparse."""
    log2_hz = _log2_hz()[peaks.eighth_hz] - math.log2(speed)
    anchor, first, second = _triples(peaks.eighth_frames, log2_hz, anchors, targets)
    cell = np.floor(log2_hz[anchor] * _ANCHOR_CELLS_PER_OCTAVE).astype(np.int64)
    # At most 1.5 octaves of 660 cells: within 11 bits for every anchor that is stored.
    per_octave = _ratio_cells_per_octave()[cell]
    ratios = [np.floor((log2_hz[target] - log2_hz[anchor]) * per_octave + 0.5).astype(np.int64) for target in (first, second)]
    time = peaks.eighth_frames
    per_eighth = np.float64(speed / _INTERVAL_CELL_EIGHTHS)
    first_interval, second_interval = ((time[target] - time[anchor]) * per_eighth + 0.5 for target in (first, second))
    first_cell, second_cell = _interval_cells(first_interval, second_interval, neighbours=neighbours)
    # Each triple is a row: the cells it lies in, then the neighbours it may lie in.
    low, high = _INTERVAL_CELLS
    stored = (low <= first_cell) & (first_cell <= second_cell) & (second_cell <= high)
    stored &= ((cell >= _ANCHOR_CELLS[0]) & (cell <= _ANCHOR_CELLS[1]))[:, None]
    row, _ = np.nonzero(stored)
    packed = pack(
        Triples(
            anchor=cell[row],
            first_ratio=ratios[0][row],
            second_ratio=ratios[1][row],
            first_interval=first_cell[stored],
            second_interval=second_cell[stored],
        )
    )
    return Landmarks(hash=key(packed), frame=time[anchor[row]] / float(EIGHTHS))


def _triples(eighth_frames: Int32, log2_hz: Float64, anchors: slice, targets: int) -> tuple[_Index, _Index, _Index]:
    """Which peaks make a triple: anchor, first and second target, intp [n] each, in order of the anchors."""
    nearest = _nearest(eighth_frames, log2_hz, anchors, targets)
    first, second = np.array(list(combinations(range(targets), 2))).T
    # Targets fill a row from the left: where there is a second one there is a first.
    row, pair = np.nonzero(nearest[:, second] >= 0)
    return row + anchors.start, nearest[row, first[pair]], nearest[row, second[pair]]


def _nearest(eighth_frames: Int32, log2_hz: Float64, anchors: slice, targets: int) -> _Index:
    """The first `targets` peaks of each anchor's target zone: intp [anchors, targets], -1 where there are fewer."""
    time = eighth_frames[anchors]
    begin = np.searchsorted(eighth_frames, time + TARGET_FRAMES[0] * EIGHTHS, "left")
    end = np.searchsorted(eighth_frames, time + TARGET_FRAMES[1] * EIGHTHS, "right")
    count = end - begin
    row = np.repeat(np.arange(len(time)), count)
    peak = np.arange(len(row)) + np.repeat(begin - np.cumsum(count) + count, count)
    near = np.abs(log2_hz[peak] - log2_hz[row + anchors.start]) <= TARGET_OCTAVES
    row, peak = row[near], peak[near]
    rank = np.arange(len(row)) - np.searchsorted(row, row, "left")
    kept = rank < targets
    nearest = np.full((len(time), targets), -1, np.intp)
    nearest[row[kept], rank[kept]] = peak[kept]
    return nearest


def _interval_cells(first: Float64, second: Float64, *, neighbours: bool) -> tuple[_Int64, _Int64]:
    """The cells to ask for, int64 [n, 1], or [n, 3] with those across a near border (one interval at a time), else -1."""
    first_cell, second_cell = np.floor(first).astype(np.int64), np.floor(second).astype(np.int64)
    if not neighbours:
        return first_cell[:, None], second_cell[:, None]
    across_first, across_second = _across(first, first_cell), _across(second, second_cell)
    return (
        np.stack([first_cell, across_first, np.where(across_second < 0, -1, first_cell)], axis=1),
        np.stack([second_cell, np.where(across_first < 0, -1, second_cell), across_second], axis=1),
    )


def _across(interval: Float64, cell: _Int64) -> _Int64:
    """The cell across the border that is nearer than the margin; -1 where none is."""
    share = interval - cell
    side = (share > 1 - _NEIGHBOUR_MARGIN).astype(np.int64) - (share < _NEIGHBOUR_MARGIN)
    return np.where(side == 0, -1, cell + side)


@cache
def _ratio_cells_per_octave() -> Float64:
    """By anchor cell: such that a cell of ratio is 4 Hz wide at the middle of the anchor's."""
    # Some more cells than are stored, because a hypothesis of speed may put an anchor there.
    hz = _BASE_HZ * np.exp2((np.arange(2 << _ANCHOR_BITS) + 0.5) / _ANCHOR_CELLS_PER_OCTAVE)
    return hz * (math.log(2) / _RATIO_CELL_HZ)


@cache
def _log2_hz() -> Float64:
    # A table, so that a frequency has the same logarithm wherever in an array it stands.
    hz = np.arange(1, _PEAK_EIGHTH_HZ_MAX) / (EIGHTHS * _BASE_HZ)
    return np.concatenate([[-np.inf], np.log2(hz)])


def _distinct(landmarks: Landmarks) -> Landmarks:
    """Each (frame, hash) once, in that order."""
    order = np.lexsort((landmarks.hash, landmarks.frame))
    hash_, frame = landmarks.hash[order], landmarks.frame[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = (hash_[1:] != hash_[:-1]) | (frame[1:] != frame[:-1])
    return Landmarks(hash=hash_[new], frame=frame[new])


def _join(parts: list[Landmarks]) -> Landmarks:
    if not parts:
        return Landmarks(hash=np.zeros(0, np.int32), frame=np.zeros(0, np.float64))
    return Landmarks(hash=np.concatenate([p.hash for p in parts]), frame=np.concatenate([p.frame for p in parts]))
