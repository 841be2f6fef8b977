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


def most_salient(peaks: Peaks, anchors: slice, targets: int) -> Index:
    """The targets of some of the peaks: intp [anchors, targets], in order of (time, frequency), -1 where there are fewer.

    Of equally salient peaks the earlier one is taken.
    """
    frame = peaks.eighth_frames[anchors]
    begin = np.searchsorted(peaks.eighth_frames, frame + TARGET_FRAMES[0] * EIGHTHS, "left")
    end = np.searchsorted(peaks.eighth_frames, frame + TARGET_FRAMES[1] * EIGHTHS, "right")
    count = end - begin
    row = np.repeat(np.arange(len(frame)), count)
    peak = np.arange(len(row)) + np.repeat(begin - np.cumsum(count) + count, count)
    octave = octaves(peaks)
    near = np.abs(octave[peak] - octave[row + anchors.start]) <= TARGET_OCTAVES
    row, peak = row[near], peak[near]
    best = np.lexsort((peak, -peaks.salience[peak], row))
    rank = np.arange(len(row)) - np.searchsorted(row, row, "left")
    kept = np.sort(best[rank < targets])
    row, peak = row[kept], peak[kept]
    found = np.full((len(frame), targets), -1, np.intp)
    found[row, np.arange(len(row)) - np.searchsorted(row, row, "left")] = peak
    return found


def octaves(peaks: Peaks) -> Float64:
    """Frequencies in octaves above `BASE_HZ`: float64 [n]."""
    return _octaves()[peaks.eighth_hz]


@cache
def _octaves() -> Float64:
    # A table, so that a frequency has the same logarithm wherever in an array it stands.
    hz = np.arange(1, _PEAK_EIGHTH_HZ_MAX) / (EIGHTHS * BASE_HZ)
    return np.concatenate([[-math.inf], np.log2(hz)])
