"""Samples to log power, sixteen frames at a time.

Frame k is the periodic-Hann-windowed transform of samples 256 k to 256 k + 2047 (32 ms apart, 256 ms long, at 8 kHz),
with no padding: what does not fill a frame is no frame. Level is ``log(re² + im² + 1e-6)`` in nepers of power. There
is no normalisation over time, so a frame's level depends on its own 2,048 samples and on nothing else, and gain shifts
all of it alike.

**The same bits however the audio was cut.** Vectorised libraries may treat the remainder of an array differently from
its body, and rounding then depends on how many frames arrived together. So frames are transformed in blocks of one
fixed shape, the last block of a push filled up with silence (not held back, which would cost up to half a second);
sixteen rows are a whole number of SIMD lanes of every width in use. Between processors (AVX2, AVX-512, Graviton) the
last bit may differ; within one machine it does not.
"""

from typing import Final

import numpy as np
import scipy.fftpack

from earmark.model import HOP_SAMPLES, Float32

FRAME_SAMPLES: Final = 2_048
#: Bins of a frame, 3.90625 Hz apart; the one at 4 kHz is left out, nothing above 3.8 kHz is used.
BINS: Final = FRAME_SAMPLES // 2
#: 8 to 64 rows cost the same; above that the work arrays leave the cache.
BLOCK_FRAMES: Final = 16
#: Frames handed on at a time: two seconds' worth, so that what follows is called once for a segment of two seconds.
PASS_FRAMES: Final = 4 * BLOCK_FRAMES

# -138 dB of full scale per bin: digital silence becomes a flat spectrum instead of minus infinity.
_FLOOR: Final = np.float32(1e-6)


def frames_in(samples_n: int) -> int:
    """How many whole frames so many samples hold."""
    return max(0, 1 + (samples_n - FRAME_SAMPLES) // HOP_SAMPLES)


class Spectrogram:
    """The transform and its work arrays (0.4 MB). Keeps nothing of the sound: one serves any number of streams, on one thread.

    Args:
        out: float32 [`PASS_FRAMES`, `BINS`], where levels are put; its own array if none is given.
    """

    def __init__(self, out: Float32 | None = None) -> None:
        phase = 2 * np.pi * np.arange(FRAME_SAMPLES) / FRAME_SAMPLES
        self._hann = (0.5 - 0.5 * np.cos(phase)).astype(np.float32)
        self._block = np.zeros((BLOCK_FRAMES, FRAME_SAMPLES), np.float32)
        self._levels = np.empty((PASS_FRAMES, BINS), np.float32) if out is None else out
        #: float32 [`BINS`]: the level of a frame of digital silence.
        self.silence = self.levels(np.zeros(FRAME_SAMPLES, np.float32), 0, 1)[0].copy()

    def levels(self, samples: Float32, first_frame: int, frames_n: int) -> Float32:
        """Log power of some frames.

        Args:
            samples: float32 [n], contiguous, 8 kHz mono.
            first_frame: the first frame wanted, counted from ``samples[0]``.
            frames_n: how many, at most `PASS_FRAMES`; all must lie within `samples`.

        Returns:
            float32 [frames_n, `BINS`], nepers of power; a view that the next call overwrites. A frame that holds a
            sample which is not finite holds no finite level either.
        """
        for begin in range(0, frames_n, BLOCK_FRAMES):
            rows_n = min(BLOCK_FRAMES, frames_n - begin)
            offset_bytes = (first_frame + begin) * HOP_SAMPLES * samples.itemsize
            strides = (HOP_SAMPLES * samples.itemsize, samples.itemsize)
            frames: Float32 = np.ndarray((rows_n, FRAME_SAMPLES), np.float32, samples, offset_bytes, strides)
            np.multiply(frames, self._hann, out=self._block[:rows_n])
            self._block[rows_n:] = 0
            self._log_power(self._levels[begin : begin + BLOCK_FRAMES])
        return self._levels[:frames_n]

    def _log_power(self, out: Float32) -> None:
        # In float32 and in place. scipy.fft's transform gives the same bits, in an array that is new each time and by way of
        # a search for backends that costs as much as two frames. A row is re 0, re 1, im 1, re 2, im 2, ... re 1,024.
        parts = scipy.fftpack.rfft(self._block, axis=1, overwrite_x=True)
        np.square(parts, out=parts)
        # Through all rows at once: what that puts at their first bins is not theirs.
        flat = parts.reshape(-1)
        np.add(flat[1:-1:2], flat[2::2], out=out.reshape(-1)[1:])
        out[:, 0] = parts[:, 0]
        np.add(out, _FLOOR, out=out)
        np.log(out, out=out)
