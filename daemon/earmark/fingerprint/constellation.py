"""Levels to peaks: the constellation of Wang 2003, in boxes that are wide in frequency and narrow in time.

A peak is the greatest value of its box, ±250 Hz wide and one frame (the *dense* set) or two frames (the *sparse* set)
either way: music shows between a talker's syllables, and above and below his formants, which a square box would miss.
Compared is log power plus ``log(bin + 1)``, i.e. power times frequency, because music falls off with frequency; what
is reported is interpolated in the plain level, by a parabola in frequency and another in time. The dense set verifies
and is hashed in pairs, the sparse one in triples as well.

**Ties.** A peak is *greater* than everything before it in its box (earlier frames, and lower bins of its own frame) and
not less than everything after it. Of a plateau, which silence, a test tone in step with the frames or a clipped loop
gives, only the first value can count. Two peaks therefore never lie in one another's box, which bounds their number
whatever the sound: 15 fit side by side into the band's 926 bins, so any two neighbouring frames hold at most 15 dense
peaks between them, any three at most 15 sparse ones (`DENSE_PER_FRAME_MAX`, `SPARSE_PER_FRAME_MAX`). Digital silence
has none: its level is flat, and a peak must stand out.

Sources: A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003 (constellations). The running maximum is
the doubling form of M. van Herk, "A fast algorithm for local minimum and maximum filters on rectangular and octagonal
kernels", Pattern Recognition Letters 13, 1992: windows of 2, 4, … 128 from one another, each one call over the whole block.
The parabola: J. O. Smith and X. Serra, "PARSHL", ICMC 1987.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.spectrogram import BINS, BLOCK_FRAMES, FRAME_SAMPLES, PASS_FRAMES
from earmark.model import EIGHTHS, RATE_HZ, Bool, Float32, Peaks

#: Half of the box, in bins (250 Hz) and in frames.
BOX_BINS: Final = 64
DENSE_FRAMES: Final = 1
SPARSE_FRAMES: Final = 2
#: Nepers over the mean of the peak's own frame within ±250 Hz. The sparse set's keeps most noise out (2.5 costs recall
#: under speech); 3.5 is far too much.
DENSE_SALIENCE: Final = 1.0
SPARSE_SALIENCE: Final = 2.2
BAND_HZ: Final = (180, 3_800)

BIN_HZ: Final = RATE_HZ / FRAME_SAMPLES
# The first bin, 179.7 Hz, may still be interpolated to above 180.
_FIRST_BIN: Final = int(BAND_HZ[0] / BIN_HZ)
_END_BIN: Final = int(BAND_HZ[1] / BIN_HZ)

_SIDE_BY_SIDE: Final = -(-(_END_BIN - _FIRST_BIN) // (BOX_BINS + 1))
#: No sound has more peaks than this, averaged over any even number of frames (dense) or multiple of three (sparse):
#: 7.5 and 5 a frame, 235 and 157 a second. Music has about 1.1 and 0.8 a frame.
DENSE_PER_FRAME_MAX: Final = _SIDE_BY_SIDE / (DENSE_FRAMES + 1)
SPARSE_PER_FRAME_MAX: Final = _SIDE_BY_SIDE / (SPARSE_FRAMES + 1)

#: A row of the work arrays: half a box of minus infinity on either side keeps neighbouring rows apart.
_STRIDE: Final = BINS + 2 * BOX_BINS
#: Rows kept from before: a candidate waits for two later rows, and is compared with the two before it.
_KEPT: Final = 2 * SPARSE_FRAMES
_BOX: Final = np.arange(-BOX_BINS, BOX_BINS + 1)
_NONE: Final = np.float32(-np.inf)

_Index = npt.NDArray[np.intp]


class BoxMaximum:
    """The running maximum over ±`BOX_BINS` and its work arrays (0.5 MB). Keeps nothing of the sound: may be shared on one thread."""

    def __init__(self) -> None:
        self._tilt = np.log(np.arange(1, BINS + 1)).astype(np.float32)
        self._padded = np.full((BLOCK_FRAMES, _STRIDE), _NONE, np.float32)
        self._odd = np.empty(self._padded.size, np.float32)
        self._even = np.empty(self._padded.size, np.float32)
        #: Levels, and maxima, of the kept rows and of those of one pass; only the first `BINS` of a row of maxima count.
        self.levels = np.zeros((_KEPT + PASS_FRAMES, BINS), np.float32)
        self.maxima = np.full((_KEPT + PASS_FRAMES, _STRIDE), _NONE, np.float32)

    def run(self, rows_n: int) -> _Index:
        """Fill `maxima` for the `rows_n` levels after the kept ones.

        Returns:
            Flat positions in `maxima`, ascending, of the band's bins that are the greatest of their own frame's box.
        """
        found = [self._block(row) + row * _STRIDE for row in range(_KEPT, _KEPT + rows_n, BLOCK_FRAMES)]
        position = np.concatenate(found)
        bin_ = position % _STRIDE
        return position[(bin_ >= _FIRST_BIN) & (bin_ < _END_BIN) & (position < (_KEPT + rows_n) * _STRIDE)]

    def _block(self, row: int) -> _Index:
        # Rows beyond the pass hold the levels of an earlier one; nothing of them is used.
        np.add(self.levels[row : row + BLOCK_FRAMES], self._tilt, out=self._padded[:, BOX_BINS : BOX_BINS + BINS])
        flat = self._padded.reshape(-1)
        source, width, size = flat, 1, flat.size
        for target in (self._odd, self._even) * 3:  # windows of 2, 4, 8, 16, 32, 64 values from here on
            size -= width
            np.maximum(source[:size], source[width : width + size], out=target[:size])
            source, width = target, 2 * width
        before = source  # 64 values: those of the box that come before its middle
        size -= width
        np.maximum(before[:size], before[width : width + size], out=self._odd[:size])
        size -= 1
        top = self.maxima.reshape(-1)[row * _STRIDE : row * _STRIDE + size]
        np.maximum(self._odd[:size], flat[2 * BOX_BINS : 2 * BOX_BINS + size], out=top)
        middle = flat[BOX_BINS : BOX_BINS + size]
        position = np.flatnonzero(middle == top)
        return position[middle[position] > before[position]]


class Constellation:
    """Picks the peaks of one run of frames, as the frames after them arrive.

    Keeps four rows of levels and of maxima (34 kB) and the candidates of the last two.

    Args:
        boxes: work arrays, to be shared by many on one thread; its own if none are given.
    """

    def __init__(self, boxes: BoxMaximum | None = None) -> None:
        self._boxes = boxes or BoxMaximum()
        self._levels = np.zeros((_KEPT, BINS), np.float32)
        self._maxima = np.full((_KEPT, _STRIDE), _NONE, np.float32)
        self._waiting = np.zeros(0, np.intp)
        #: Frames pushed so far.
        self.frames_n = 0

    @property
    def decided_n(self) -> int:
        """Frames whose peaks have been returned: all but the last two."""
        return max(0, self.frames_n - SPARSE_FRAMES)

    def push(self, levels: Float32) -> Peaks:
        """Take the next frames and return the peaks they decide, by frame and bin (not yet by interpolated time).

        Args:
            levels: float32 [n, `BINS`], 0 < n <= `PASS_FRAMES`, log power in nepers.
        """
        rows_n = len(levels)
        self._lay_out(levels)
        candidates = np.concatenate([self._waiting, self._boxes.run(rows_n)])
        decided = int(np.searchsorted(candidates, (rows_n + _KEPT - SPARSE_FRAMES) * _STRIDE))
        self._waiting = candidates[decided:] - rows_n * _STRIDE
        peaks = self._decide(candidates[:decided])
        self._levels[:] = self._boxes.levels[rows_n : rows_n + _KEPT]
        self._maxima[:] = self._boxes.maxima[rows_n : rows_n + _KEPT]
        self.frames_n += rows_n
        return peaks

    def flush(self) -> Peaks:
        """The peaks of the last two frames, after which there is nothing."""
        self._lay_out(np.zeros((SPARSE_FRAMES, BINS), np.float32))
        self._boxes.maxima[_KEPT : _KEPT + SPARSE_FRAMES] = _NONE
        candidates, self._waiting = self._waiting, np.zeros(0, np.intp)
        return self._decide(candidates)

    def _lay_out(self, levels: Float32) -> None:
        self._boxes.levels[:_KEPT] = self._levels
        self._boxes.maxima[:_KEPT] = self._maxima
        self._boxes.levels[_KEPT : _KEPT + len(levels)] = levels

    def _decide(self, candidates: _Index) -> Peaks:
        """Which of the candidates are peaks, now that the two frames on either side are laid out."""
        top = self._boxes.maxima.reshape(-1)
        value, before, after = top[candidates], top[candidates - _STRIDE], top[candidates + _STRIDE]
        dense = (value > before) & (value >= after)
        position, value = candidates[dense], value[dense]
        sparse = (value > top[position - 2 * _STRIDE]) & (value >= top[position + 2 * _STRIDE])
        row, bin_ = np.divmod(position, _STRIDE)
        # At the first and last frame there is nothing to interpolate with.
        inside = (before[dense] > _NONE) & (after[dense] > _NONE)
        return self._measure(row, bin_, sparse, inside)

    def _measure(self, row: _Index, bin_: _Index, sparse: Bool, inside: Bool) -> Peaks:
        level = self._boxes.levels.reshape(-1)
        centre = row * BINS
        # The box is shifted inside at the spectrum's ends, so that every mean has 129 terms, summed in one order.
        box = centre + np.clip(bin_, BOX_BINS, BINS - 1 - BOX_BINS)
        centre += bin_
        middle = level[centre]
        salience = middle - level[box[:, None] + _BOX].mean(axis=1)
        bin_offset = _vertex(level[centre - 1], middle, level[centre + 1], bend_min=1e-6)
        eighth_hz = np.rint((bin_ + bin_offset) * (BIN_HZ * EIGHTHS))
        standing = (salience > DENSE_SALIENCE) & (eighth_hz >= BAND_HZ[0] * EIGHTHS)
        # A bend of less than a thousandth of a neper is a sustained note's: its top is rounding, not time.
        frame_offset = _vertex(level[centre - BINS], middle, level[centre + BINS], bend_min=1e-3)
        frame_offset[~inside] = 0
        # Whole frames are added as integers: a peak is the same one wherever in a stream it lies.
        eighth_frames = (row + (self.frames_n - _KEPT)) * EIGHTHS + np.rint(frame_offset * EIGHTHS).astype(np.int64)
        return Peaks(
            eighth_frames=eighth_frames[standing].astype(np.int32),
            eighth_hz=eighth_hz[standing].astype(np.int32),
            hashed=sparse[standing] & (salience[standing] > SPARSE_SALIENCE),
            salience=salience[standing],
        )


def _vertex(left: Float32, middle: Float32, right: Float32, *, bend_min: float) -> Float32:
    """Where the parabola through three equidistant values has its top: float32 [n], steps from the middle, within ±0.5."""
    bend = left - 2 * middle + right
    curved = bend < -bend_min
    offset = np.where(curved, np.float32(0.5) * (left - right) / np.where(curved, bend, np.float32(1)), np.float32(0))
    return np.clip(offset, np.float32(-0.5), np.float32(0.5))
