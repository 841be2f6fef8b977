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

**Few boxes are looked into.** A box holds the whole of any 64 neighbouring bins of which its middle is one. So of each 64
bins of a frame, counted from the first, only the greatest can be a peak, and only if it is not outdone by the greatest of
the same bins a frame earlier or later. That leaves three in a frame, around which everything is compared.

Sources: A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003 (constellations). A. Neubeck and L. Van Gool,
"Efficient Non-Maximum Suppression", ICPR 2006 (the greatest of each block first, then its surroundings). J. O. Smith and
X. Serra, "PARSHL", ICMC 1987 (the parabola).
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.spectrogram import BINS, FRAME_SAMPLES, PASS_FRAMES
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

#: A row of tilted levels: half a box of nothing after each keeps neighbouring rows apart. A whole number of half boxes.
_STRIDE: Final = BINS + BOX_BINS
_PARTS: Final = _STRIDE // BOX_BINS
#: Rows kept from before: a frame is decided when there are two later rows, and is compared with the two before it.
_KEPT: Final = 2 * SPARSE_FRAMES
#: From a value to the same bin two and one frames earlier, one and two later.
_OTHERS: Final = _STRIDE * np.array([[-2], [-1], [1], [2]])
#: From a level to its neighbours, in frequency and in time.
_NEIGHBOURS: Final = np.array([[1], [BINS]])
#: A bend of less than a thousandth of a neper in time is a sustained note's: its top is rounding, not time.
_BENDS_MIN: Final = np.array([[1e-6], [1e-3]], np.float32)
#: Where there is no frame, or no bin: less than any level, and finite, so that it can be reckoned with.
_NOTHING: Final = np.float32(-1e9)

_Index = npt.NDArray[np.intp]


class Rows:
    """Levels, frame by frame, and what lies around each: work arrays (0.6 MB). Keeps nothing of the sound: may be shared on one thread."""

    def __init__(self) -> None:
        rows_n = _KEPT + PASS_FRAMES
        self._tilt = np.log(np.arange(1, BINS + 1)).astype(np.float32)
        self._tilted = np.full(BOX_BINS + rows_n * _STRIDE, _NOTHING, np.float32)
        self._begin = np.arange(0, rows_n * _STRIDE, BOX_BINS)
        #: The kept rows and those of one pass; the latter alone; and flat.
        self.levels = np.full((rows_n, BINS), _NOTHING, np.float32)
        self.new = self.levels[_KEPT:]
        self.level = self.levels.reshape(-1)
        #: Views of each box, by its first bin. To pick whole ones takes a tenth of what it takes to pick their values.
        self.level_boxes = np.lib.stride_tricks.sliding_window_view(self.level, 2 * BOX_BINS + 1)
        #: By its middle, and of tilted levels, whose rows are `_STRIDE` long.
        self.tilted_boxes = np.lib.stride_tricks.sliding_window_view(self._tilted, 2 * BOX_BINS + 1)

    def greatest(self, rows_n: int) -> _Index:
        """Tilt the first `rows_n` rows, and find what is greatest in its own frame, two rows at either end left out.

        Returns:
            Positions of tilted levels, ascending: what is the first of the greatest of its box, and not outdone by the same
            `BOX_BINS` bins a frame earlier or later.
        """
        tilted = self._tilted[BOX_BINS:][: rows_n * _STRIDE]
        np.add(self.levels[:rows_n], self._tilt, out=tilted.reshape(rows_n, _STRIDE)[:, :BINS])
        position = tilted.reshape(-1, BOX_BINS).argmax(axis=1) + self._begin[: rows_n * _PARTS]
        value = tilted.take(position)
        earlier, here, later = (value[frames * _PARTS : (frames + rows_n - _KEPT) * _PARTS] for frames in (1, 2, 3))
        position = position[2 * _PARTS :].take(np.flatnonzero((here > earlier) & (here >= later)))
        first: _Index = position[self.tilted_boxes[position].argmax(axis=1) == BOX_BINS]
        return first


class Constellation:
    """Picks the peaks of one run of frames, as the frames after them arrive. Keeps four rows of levels (16 kB).

    Args:
        rows: work arrays, to be shared by many on one thread; its own if none are given.
    """

    def __init__(self, rows: Rows | None = None) -> None:
        self._rows = rows or Rows()
        self._levels = np.full((_KEPT, BINS), _NOTHING, np.float32)
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
        rows, frames_n = self._rows, len(levels)
        rows.levels[:_KEPT] = self._levels
        # A spectrogram that puts them there gives back the same memory, and NumPy then copies nothing.
        rows.new[:frames_n] = levels
        peaks = self._decide(rows.greatest(_KEPT + frames_n))
        self._levels[:] = rows.levels[frames_n : frames_n + _KEPT]
        self.frames_n += frames_n
        return peaks

    def push_silence(self, level: Float32, frames_n: int) -> Peaks:
        """The same for any number of frames of digital silence, whose `level` is one and the same, float32 [`BINS`]."""
        # There are no peaks in it. As many frames as are kept put an end to what was before; each further one is like those.
        rows_n = min(frames_n, _KEPT)
        peaks = self.push(np.broadcast_to(level, (rows_n, BINS)))
        self.frames_n += frames_n - rows_n
        return peaks

    def flush(self) -> Peaks:
        """The peaks of the last two frames, after which there is nothing."""
        return self.push(np.full((SPARSE_FRAMES, BINS), _NOTHING))

    def _decide(self, position: _Index) -> Peaks:
        """Which of the greatest of their frames are peaks."""
        earlier, before, after, later = self._rows.tilted_boxes[position + _OTHERS].max(axis=2)
        value = self._rows.tilted_boxes[position, BOX_BINS]
        dense = np.flatnonzero((value > before) & (value >= after))
        sparse = (value > np.maximum(earlier, before)) & (value >= np.maximum(after, later))
        # At the first and last frame there is nothing to interpolate with.
        inside = np.minimum(before, after) > _NOTHING
        return self._measure(position.take(dense), sparse.take(dense), inside.take(dense))

    def _measure(self, position: _Index, sparse: Bool, inside: Bool) -> Peaks:
        level = self._rows.level
        row, bin_ = np.divmod(position, _STRIDE)
        begin = row * BINS
        centre = begin + bin_
        middle = level.take(centre)
        # The box is shifted inside at the spectrum's ends, so that every mean has 129 terms, summed in one order.
        begin += np.minimum(np.maximum(bin_ - BOX_BINS, 0), BINS - 1 - 2 * BOX_BINS)
        salience = middle - self._rows.level_boxes[begin].mean(axis=1)
        offset = _vertices(level.take(centre - _NEIGHBOURS), middle, level.take(centre + _NEIGHBOURS))
        offset[1] *= inside
        eighth_hz = np.rint((bin_ + offset[0]) * (BIN_HZ * EIGHTHS))
        # Whole frames are added as integers: a peak is the same one wherever in a stream it lies.
        eighth_frames = np.rint((row + offset[1]) * EIGHTHS).astype(np.int64) + (self.frames_n - _KEPT) * EIGHTHS
        standing = np.flatnonzero((salience > DENSE_SALIENCE) & (eighth_hz >= BAND_HZ[0] * EIGHTHS) & (bin_ < _END_BIN))
        salience = salience.take(standing)
        return Peaks(
            eighth_frames=eighth_frames.take(standing).astype(np.int32),
            eighth_hz=eighth_hz.take(standing).astype(np.int32),
            hashed=sparse.take(standing) & (salience > SPARSE_SALIENCE),
            salience=salience,
        )


def _vertices(left: Float32, middle: Float32, right: Float32) -> Float32:
    """Where parabolas through three equidistant values have their tops: steps from the middle, within ±0.5.

    Args:
        left, right: float32 [2, n], the neighbours in frequency, then those in time.
        middle: float32 [n].
    """
    bend = left - 2 * middle + right
    offset = np.divide(np.float32(0.5) * (left - right), bend, out=np.zeros(bend.shape, np.float32), where=bend < -_BENDS_MIN)
    within: Float32 = np.minimum(np.maximum(offset, np.float32(-0.5)), np.float32(0.5))
    return within
