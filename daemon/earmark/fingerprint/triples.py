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
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.targets import BASE_HZ, Index, most_salient, octaves
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


def triples(peaks: Peaks, anchors: slice, targets: int, *, speed: float = 1.0, neighbours: bool = False) -> tuple[_Int64, Index]:
    """Triples of some of the peaks as anchors, all of the peaks as targets.

    Args:
        peaks: the sparse ones, in order of (time, frequency).
        anchors: which of them.
        targets: how many for each, at most.
        speed: frequencies are divided and times multiplied by it before they are hashed. Made for 0.9 to 1.1.
        neighbours: also the cells that an interval barely misses, one at a time: about twice as many.

    Returns:
        Packed numbers, and whose anchor: [n] each.
    """
    found = most_salient(peaks, anchors, targets)
    first_column, second_column = np.array(list(combinations(range(targets), 2))).T
    # Targets fill a row from the left: where there is a second one there is a first.
    row, pair = np.nonzero(found[:, second_column] >= 0)
    anchor, first, second = row + anchors.start, found[row, first_column[pair]], found[row, second_column[pair]]
    octave = octaves(peaks) - math.log2(speed)
    cell = np.floor(octave[anchor] * _ANCHOR_CELLS_PER_OCTAVE).astype(np.int64)
    # At most 1.5 octaves of 660 cells: within 11 bits for every anchor that is stored.
    per_octave = _ratio_cells_per_octave()[cell]
    ratios = [np.floor((octave[target] - octave[anchor]) * per_octave + 0.5).astype(np.int64) for target in (first, second)]
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
    return packed, anchor[row]


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
    side = (share > 1 - _MARGIN).astype(np.int64) - (share < _MARGIN)
    return np.where(side == 0, -1, cell + side)


@cache
def _ratio_cells_per_octave() -> Float64:
    """By anchor cell: such that a cell of ratio is 4 Hz wide at the middle of the anchor's."""
    # Some more cells than are stored, because a hypothesis of speed may put an anchor there.
    hz = BASE_HZ * np.exp2((np.arange(2 << _ANCHOR_BITS) + 0.5) / _ANCHOR_CELLS_PER_OCTAVE)
    return hz * (math.log(2) / _RATIO_CELL_HZ)
