"""Which peaks an anchor is combined with: the most salient ones of its target zone.

What survives a talker, noise or a codec is what stands out. Neighbours chosen by how near they are in time are, in noise,
mostly noise: with the most salient ones instead, two thirds of the questions find as much.

Source: A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003 (anchors and target zones).
"""

import math
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.model import EIGHTHS, Float64, Peaks

Index = npt.NDArray[np.intp]

#: The target zone, frames after the anchor, both ends included (0.03 to 0.51 s), and its half-width in octaves.
TARGET_FRAMES: Final = (1, 16)
TARGET_OCTAVES: Final = 1.5
#: How far behind an anchor's second peaks have to be known before its landmarks are: the target zone, and a frame of room.
LOOKAHEAD_FRAMES: Final = TARGET_FRAMES[1] + 1

BASE_HZ: Final = 100
_PEAK_EIGHTH_HZ_MAX: Final = 1 << 15


def most_salient(peaks: Peaks, anchors: slice | Index, targets: int) -> Index:
    """The targets of some of the peaks, a slice of them or ascending numbers: intp [anchors, targets], in order of (time, frequency), -1 where there are fewer.

    Of equally salient peaks the earlier one is taken.
    """
    anchor = peaks.eighth_frames[anchors]
    if not len(anchor):
        return np.zeros((0, targets), np.intp)
    first, own = (anchors.start, slice(len(anchor))) if isinstance(anchors, slice) else (int(anchors[0]), anchors - anchors[0])
    begin = peaks.eighth_frames.searchsorted(anchor + TARGET_FRAMES[0] * EIGHTHS, "left") - first
    end = peaks.eighth_frames.searchsorted(anchor + TARGET_FRAMES[1] * EIGHTHS, "right") - first
    # A row for each anchor, of the peaks after it in order, as many as the longest needs. The zone ends with the last one's.
    zone = peaks.take(slice(first, first + int(end[-1])))
    peak = begin[:, None] + np.arange(max(targets, int((end - begin).max())))
    octave = octaves(zone)
    near = (np.abs(octave.take(peak, mode="clip") - octave[own, None]) <= TARGET_OCTAVES) & (peak < end[:, None])
    # Of each row the first places in the order of salience; there are none from `nowhere` on.
    salient_first, nowhere = (-zone.salience).argsort(kind="stable"), len(zone)
    place = np.where(near, salient_first.argsort().take(peak, mode="clip"), nowhere)
    place.sort(axis=1)
    place = place[:, :targets]
    found = np.where(place < nowhere, salient_first.take(place, mode="clip"), nowhere)
    found.sort(axis=1)
    return np.where(found < nowhere, found + first, -1)


def numbered(anchors: slice | Index, which: Index) -> Index:
    """The numbers, among all peaks, of some of the anchors."""
    return which + anchors.start if isinstance(anchors, slice) else anchors.take(which)


def octaves(peaks: Peaks) -> Float64:
    """Frequencies in octaves above `BASE_HZ`: float64 [n]."""
    return _octaves().take(peaks.eighth_hz)


@cache
def _octaves() -> Float64:
    # A table, so that a frequency has the same logarithm wherever in an array it stands.
    hz = np.arange(1, _PEAK_EIGHTH_HZ_MAX) / (EIGHTHS * BASE_HZ)
    return np.concatenate([[-math.inf], np.log2(hz)])
