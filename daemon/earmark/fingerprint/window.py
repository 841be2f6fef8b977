"""One contiguous run of samples, to peaks as they become final. Incremental equals batch, bit for bit.

    push(samples) -> Spectrogram -> Constellation -> held until nothing can come before it -> Peaks

Nothing here looks further than a frame's own 2,048 samples and two frames ahead: no normalisation over time, no quota
per second, no recursive filter. So however the samples were cut, the peaks are the same ones in the same order; streams
and references go through this one path. A run ends at every gap: begin a new `Window`, whose times begin at zero again.
"""

import math
from typing import Final

import numpy as np

from earmark.fingerprint.constellation import SPARSE_FRAMES, Constellation, Rows
from earmark.fingerprint.spectrogram import FRAME_SAMPLES, PASS_FRAMES, Spectrogram, frames_in
from earmark.model import EIGHTHS, HOP_SAMPLES, RATE_HZ, Float32, Peaks

# A peak's time is interpolated by at most half a frame either way.
_REACH_EIGHTHS: Final = EIGHTHS // 2
#: A peak at time t is emitted at the latest when this much audio after t is there: a frame's samples, the two frames that
#: may still outdo it, and half a frame by which a later one may be dated before it; 336 ms.
LATENCY_S: Final = (FRAME_SAMPLES + (SPARSE_FRAMES + 0.5) * HOP_SAMPLES) / RATE_HZ
# Of a whole recording, fed at a time: 8 s.
_FEED_SAMPLES: Final = 65_536


class Scratch:
    """Work arrays of the front end (1 MB), empty between calls: share one among all windows of one thread."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.spectrogram = Spectrogram(out=self.rows.new)


class Window:
    """The front end of one contiguous run of 8 kHz samples: `push` samples of any number, get peaks that are final.

    Keeps less than 2,048 samples and four rows of the spectrogram: 25 kB.

    Args:
        scratch: work arrays to share; its own if none are given. Windows that share must not be pushed at the same time.
    """

    def __init__(self, scratch: Scratch | None = None) -> None:
        scratch = scratch or Scratch()
        self._spectrogram = scratch.spectrogram
        self._constellation = Constellation(scratch.rows)
        self._samples = np.zeros(0, np.float32)
        self._held = Peaks.none()
        self._flushed = False

    @property
    def final_frame(self) -> float:
        """Every peak before this time, in frames since the run's first sample, has been emitted, and none after it.

        Never falls; infinite once flushed.
        """
        return math.inf if self._flushed else max(0, self._final_eighth) / EIGHTHS

    @property
    def _final_eighth(self) -> int:
        # A peak of the next undecided frame may be dated half a frame early, and may have a lower frequency than one
        # already found at that very eighth.
        return self._constellation.decided_n * EIGHTHS - _REACH_EIGHTHS

    def push(self, samples: Float32) -> Peaks:
        """Take the next samples and return the peaks that have become final.

        Args:
            samples: float32 [n], any n, mono, 8 kHz, in [-1, 1] (louder does no harm). A frame that holds a sample
                which is not finite has no peaks, nor have its neighbours; the others are not affected.

        Returns:
            Peaks in order of (time, frequency), each once, all after those of earlier calls; times are counted from
            the run's first sample. Dense peaks, those of the sparse set marked `hashed`.

        Raises:
            RuntimeError: the window has been flushed.
        """
        if self._flushed:
            raise RuntimeError("the window is flushed: another run of samples needs a Window of its own")
        self._samples = np.concatenate([self._samples, np.asarray(samples, np.float32)])
        frames_n = frames_in(len(self._samples))
        if not frames_n:
            return Peaks.none()
        with np.errstate(invalid="ignore", over="ignore"):
            found = [self._pass(first, min(PASS_FRAMES, frames_n - first)) for first in range(0, frames_n, PASS_FRAMES)]
        self._samples = self._samples[frames_n * HOP_SAMPLES :].copy()
        return self._release(found)

    def flush(self) -> Peaks:
        """The peaks that are left; the run is over. A second time there are none."""
        if self._flushed:
            return Peaks.none()
        self._flushed = True
        with np.errstate(invalid="ignore", over="ignore"):
            return self._release([self._constellation.flush()])

    def _pass(self, first: int, frames_n: int) -> Peaks:
        begin, end = first * HOP_SAMPLES, (first + frames_n - 1) * HOP_SAMPLES + FRAME_SAMPLES
        # Sound seldom begins with a zero, so this is seldom looked at twice.
        if not self._samples[begin] and not self._samples[begin:end].any():
            return self._constellation.push_silence(self._spectrogram.silence, frames_n)
        return self._constellation.push(self._spectrogram.levels(self._samples, first, frames_n))

    def _release(self, found: list[Peaks]) -> Peaks:
        peaks = Peaks.join(self._held, *found)
        # Two peaks never share time and frequency: neither lies in the other's box.
        order = np.lexsort((peaks.eighth_hz, peaks.eighth_frames))
        final = len(order) if self._flushed else int(np.count_nonzero(peaks.eighth_frames < self._final_eighth))
        self._held = peaks.take(order[final:])
        return peaks.take(order[:final])


def fingerprint(samples: Float32, *, scratch: Scratch | None = None) -> Peaks:
    """The constellation of a whole recording: the same peaks as a stream of it gives.

    Args:
        samples: float32 [n], mono, 8 kHz. May be memory-mapped: it is read eight seconds at a time, and nothing is kept
            but the peaks (about 35 a second, at most 235, of 13 bytes each).
        scratch: work arrays to share, see `Window`.

    Returns:
        Peaks in order of (time, frequency), in time since the first sample. None if there is less than a frame, 256 ms.
    """
    window = Window(scratch)
    found = [window.push(samples[begin : begin + _FEED_SAMPLES]) for begin in range(0, len(samples), _FEED_SAMPLES)]
    return Peaks.join(*found, window.flush())
