"""Three peaks that barely change with speed: triples, hashed by ratios of frequencies.

    ======================  =======================================================================  =========
    field                   cells                                                                    bits
    ======================  =======================================================================  =========
    anchor                  1/6 octave from 100 Hz: coarse, so one look-up covers ±3 % of speed      5
    first, second ratio     log2 of target over anchor; 4 Hz wide at the anchor's cell               11 + 11
    first, second interval  frames from anchor to target; 2 frames wide                              4 + 4
    ======================  =======================================================================  =========

The ratios' cells are constant in hertz, where interpolation errs, yet do not change with speed. Measured collision
entropy is 22 to 24 of the 35 bits. Cells that no reference can hold are not asked for.

Source: J. Six and M. Leman, "Panako", ISMIR 2014 (triples whose ratios survive changes of speed).
"""

import math
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.targets import BASE_HZ, Index, most_salient, numbered, octaves
from earmark.model import EIGHTHS, Float64, Peaks

#: Targets of an anchor in a reference: each pair of them makes a triple, up to three an anchor.
TARGETS: Final = 3

_ANCHOR_CELLS_PER_OCTAVE: Final = 6
_RATIO_CELL_HZ: Final = 4
_INTERVAL_CELL_EIGHTHS: Final = 2 * EIGHTHS
#: An interval that lies this near to a border of its cell may lie in the neighbour, in a share of a cell.
_MARGIN: Final = 0.25

_ANCHOR_BITS: Final = 5
_RATIO_BITS: Final = 11
_INTERVAL_BITS: Final = 4
_RATIO_OFFSET: Final = 1 << (_RATIO_BITS - 1)

# What references hold: anchors of 180 to 3,800 Hz, intervals of 1 to 16 frames.
_ANCHOR_CELLS: Final = (5, 31)
_INTERVAL_CELLS: Final = (1, 8)

_Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Triples:
    """The fields of packed triples, int64 arrays of one shape, or that give one together."""

    #: 0 to 31, sixths of an octave above 100 Hz.
    anchor: _Int64
    #: -1,024 to 1,023, in cells of the anchor's.
    first_ratio: _Int64
    second_ratio: _Int64
    #: 0 to 15, in cells of two frames; the second target is not before the first.
    first_interval: _Int64
    second_interval: _Int64


def pack(triples: Triples) -> _Int64:
    """Fields to 35 bits, int64. Each must be within its range, or what it gives is no triple."""
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


def triples(peaks: Peaks, anchors: slice | Index, targets: int, *, speed: float = 1.0, neighbours: bool = False) -> tuple[_Int64, Index]:
    """Triples of some of the peaks as anchors, all of the peaks as targets.

    Args:
        peaks: the sparse ones, in order of (time, frequency).
        anchors: which of them, a slice or ascending numbers.
        targets: how many for each, at most.
        speed: frequencies are divided and times multiplied by it before they are hashed. Made for 0.9 to 1.1.
        neighbours: also the cells that an interval barely misses, one at a time: about twice as many.

    Returns:
        Packed numbers, and whose anchor: [n] each.
    """
    found = most_salient(peaks, anchors, targets)
    octave, time = octaves(peaks) - math.log2(speed), peaks.eighth_frames
    cell = np.floor(octave[anchors] * _ANCHOR_CELLS_PER_OCTAVE).astype(np.int64)
    # At most 1.5 octaves of 660 cells: within 11 bits for every anchor that is stored.
    per_octave = _ratio_cells_per_octave().take(cell, mode="wrap")
    ratio = np.floor((octave.take(found) - octave[anchors, None]) * per_octave[:, None] + 0.5).astype(np.int64)
    interval = _interval_cells((time.take(found) - time[anchors, None]) * np.float64(speed / _INTERVAL_CELL_EIGHTHS) + 0.5, neighbours=neighbours)
    interval[found < 0] = -1
    # Each anchor is a row, and has a column for each way to take two of its targets, each in its cell or in the neighbouring one.
    ways = _ways(targets, neighbours=neighbours)
    first, second = (interval.reshape(len(cell), targets * interval.shape[2]).take(column, axis=1) for column in ways.interval)
    low, high = _INTERVAL_CELLS
    stored = (low <= first) & (first <= second) & (second <= high)
    stored &= ((cell >= _ANCHOR_CELLS[0]) & (cell <= _ANCHOR_CELLS[1]))[:, None]
    packed = pack(
        Triples(
            anchor=cell[:, None],
            first_ratio=ratio.take(ways.ratio[0], axis=1),
            second_ratio=ratio.take(ways.ratio[1], axis=1),
            first_interval=first,
            second_interval=second,
        )
    )
    return packed[stored], numbered(anchors, np.nonzero(stored)[0])


def _interval_cells(interval: Float64, *, neighbours: bool) -> _Int64:
    """The cells an interval lies in, int64 [..., 1], or [..., 2] with the one across a border nearer than the margin, -1 where none is."""
    cell = np.floor(interval).astype(np.int64)
    if not neighbours:
        return cell[..., None]
    share = interval - cell
    side = (share > 1 - _MARGIN).astype(np.int64) - (share < _MARGIN)
    return np.stack([cell, np.where(side == 0, -1, cell + side)], axis=-1)


class _Ways(NamedTuple):
    """To take two targets of an anchor, first and second, intp [2, ways]: the columns their ratios are in, and their intervals' cells."""

    ratio: Index
    interval: Index


@cache
def _ways(targets: int, *, neighbours: bool) -> _Ways:
    # The cells of an interval are side by side. Across a border is taken one of the two at a time.
    sides, across = (2, ((0, 0), (1, 0), (0, 1))) if neighbours else (1, ((0, 0),))
    ratio = np.repeat(np.array(list(combinations(range(targets), 2))).T, len(across), axis=1)
    return _Ways(ratio=ratio, interval=ratio * sides + np.tile(np.array(across).T, ratio.shape[1] // len(across)))


@cache
def _ratio_cells_per_octave() -> Float64:
    """By anchor cell: such that a cell of ratio is 4 Hz wide at the middle of the anchor's."""
    # Some more cells than are stored, because a hypothesis of speed may put an anchor there.
    hz = BASE_HZ * np.exp2((np.arange(2 << _ANCHOR_BITS) + 0.5) / _ANCHOR_CELLS_PER_OCTAVE)
    return hz * (math.log(2) / _RATIO_CELL_HZ)
