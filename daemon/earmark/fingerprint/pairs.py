"""Two peaks of a recording played as it is: pairs, hashed by their two frequencies and the time between them.

A pair needs two peaks to survive where a triple needs three, so that in noise and under a talker it survives ten times as
often. It says nearly as much (19 to 20 bits of collision entropy) because it takes both frequencies as they are: it is blind to any
change of speed of more than 0.2 %, which triples are for.

    ==================  ===========================================================  ====
    field               cells                                                        bits
    ==================  ===========================================================  ====
    anchor, target      4 Hz wide                                                    10 + 10
    interval            frames from anchor to target, one frame wide                 5
    ==================  ===========================================================  ====

Anchors and targets are *dense* peaks, so that sustained music has pairs too, whose peaks do not stand out enough for triples.

Source: A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.targets import Index, most_salient, numbered
from earmark.model import EIGHTHS, Bool, Float64, Peaks

_Int64 = npt.NDArray[np.int64]

#: Targets of an anchor in a reference.
TARGETS: Final = 2

_CELL_HZ: Final = 4
_INTERVAL_BITS: Final = 5
_HZ_BITS: Final = 10
#: Keeps the pairs' numbers apart from those of triples, which have 35 bits.
_FAMILY: Final = 1 << 40
#: A value that lies this near to a border of its cell may lie in the neighbour, in a share of a cell.
_MARGIN: Final = 0.25


def pairs(peaks: Peaks, anchors: slice | Index, targets: int, *, speed: float = 1.0, neighbours: bool = False) -> tuple[_Int64, Index]:
    """Pairs of some of the peaks as anchors, all of the peaks as targets.

    Args:
        peaks: in order of (time, frequency).
        anchors: which peaks, a slice of them or ascending numbers.
        targets: how many for each, at most.
        speed: frequencies are divided and times multiplied by it before they are hashed.
        neighbours: also the cells that each field barely misses, and their combinations: three times as many.

    Returns:
        Packed numbers, and whose anchor: [n] each.
    """
    return at_speed(peaks, *combined(peaks, anchors, targets), speed=speed, neighbours=neighbours)


def combined(peaks: Peaks, anchors: slice | Index, targets: int) -> tuple[Index, Index]:
    """The two peaks of each pair, anchor and target: intp [n] each."""
    found = most_salient(peaks, anchors, targets)
    there = found >= 0
    return numbered(anchors, np.nonzero(there)[0]), found[there]


def at_speed(peaks: Peaks, anchor: Index, target: Index, *, speed: float, neighbours: bool = False) -> tuple[_Int64, Index]:
    """Pairs as they are under a speed: packed numbers, and whose anchor, [n] each. See `pairs`."""
    hz = peaks.eighth_hz / np.float64(EIGHTHS * speed * _CELL_HZ)
    interval = (peaks.eighth_frames.take(target) - peaks.eighth_frames.take(anchor)) * np.float64(speed / EIGHTHS) + 0.5
    hz_cell = np.floor(hz).astype(np.int64)
    fields = (hz_cell.take(anchor), hz_cell.take(target), np.floor(interval).astype(np.int64))
    # What a speed moves out of the band is in no reference.
    within = np.maximum(fields[0], fields[1]) < (1 << _HZ_BITS) - 1
    if not neighbours:
        return _pack(*fields)[within], anchor[within]
    cells: list[tuple[_Int64, ...]] = [fields]
    asked = [within]
    for field, value in enumerate((hz.take(anchor), hz.take(target), interval)):
        _across(cells, asked, field, value)
    packed = [_pack(*fields)[which] for fields, which in zip(cells, asked, strict=True)]
    return np.concatenate(packed), np.concatenate([anchor[which] for which in asked])


def _across(cells: list[tuple[_Int64, ...]], asked: list[Bool], field: int, value: Float64) -> None:
    """Add every combination so far, with one field in the neighbouring cell where its value is near the border."""
    share = value - np.floor(value)
    side = (share > 1 - _MARGIN).astype(np.int64) - (share < _MARGIN)
    for fields, which in list(zip(cells, asked, strict=True)):
        cells.append((*fields[:field], fields[field] + side, *fields[field + 1 :]))
        asked.append(which & (side != 0))


def _pack(anchor: _Int64, target: _Int64, interval: _Int64) -> _Int64:
    return _FAMILY | (anchor << _HZ_BITS | target) << _INTERVAL_BITS | interval
