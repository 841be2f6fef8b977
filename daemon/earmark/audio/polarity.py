"""Stereo whose channels are in opposite phase: a wire, a plug-in or a cut cable turned one of them round.

Mono is the mean of the channels, and then there is none. So the strength of the mean (mid) and of half the difference
(side) is compared, block after block; where the difference is all there is, the right channel is turned back before
it is mixed. The difference of such channels is the very mono that they had before.

Nothing else is ever done: sound in one channel alone, wide stereo and channels that are delayed against each other
lose a few decibels in the mean and keep their peaks, and so they are mixed as they are, to the bit.

Blocks are counted in samples since the signal began, and a decision holds from the next block on: however the signal
is cut, the same samples come out. A signal that breaks off begins anew, undecided.
"""

from typing import Final

import numpy as np
from av.audio.frame import AudioFrame

from earmark.audio.frames import Numbers, Samples, numbers_of
from earmark.model import Float32, Float64

#: A block is looked at in its first third, every eighth sample at 48 kHz: that tells which is the stronger, and what costs
#: is not the samples but the calls.
SAMPLED_HZ: Final = 6_000
SAMPLED: Final = 2_048
#: 1.024 s; at 48 kHz a whole number of the pieces that the resampler is fed.
BLOCK_SAMPLED: Final = 3 * SAMPLED
#: Blocks in a row that must agree before anything changes.
BLOCKS: Final = 3
#: The mean is given up when its power is below this share of the difference's (-6 dB: the channels' correlation is below
#: -0.6, which music is for moments), and taken up again when it is the stronger of the two.
GIVEN_UP, TAKEN_UP = 0.25, 1.0
#: A block weaker than -70 dB of full scale says nothing: it is dither, or the noise of a line.
POWER_MIN: Final = 1e-7
#: A change takes 64 ms: a step would be a click, and a click has peaks.
_FADE_SAMPLED: Final = 384

_ONES: Final = np.ones(SAMPLED, np.float32)


def polarity_of(like: AudioFrame) -> "Polarity | None":
    """What minds the channels of such frames; None where there is nothing to mind (mono, surround with its centre)."""
    numbers = numbers_of(like)
    if like.layout.nb_channels != 2 or numbers is None:
        return None
    return Polarity(rate_hz=like.sample_rate, numbers=numbers)


class Polarity:
    """Of one signal: `mend` each piece of it, in order. Keeps 16 kB."""

    def __init__(self, *, rate_hz: int, numbers: Numbers) -> None:
        self._stride = max(1, rate_hz // SAMPLED_HZ)
        self._looked = SAMPLED * self._stride
        self._block = BLOCK_SAMPLED * self._stride
        self._fade = _FADE_SAMPLED * self._stride
        self._numbers = numbers
        self._sampled = np.zeros((2, SAMPLED), np.float32)
        self._power_min = POWER_MIN * numbers.full**2
        #: Samples of the present block so far.
        self._at = 0
        #: What the right channel is multiplied with, in this block and in the one before.
        self._gain = self._gain_before = 1
        self._against = 0

    @property
    def turned(self) -> bool:
        """Whether the right channel is being turned back."""
        return self._gain < 0

    def mend(self, channels: list[Samples]) -> None:
        """Turn the right one of two channels round, in place, where that is called for. Else it is not touched."""
        left, right = channels
        done, samples = 0, len(left)
        while done < samples:
            # To the next place where something else is to be done.
            edge = self._looked if self._at < self._looked else self._block
            until = done + min(samples - done, edge - self._at)
            if self._at < self._looked:
                self._look(left[done:until], right[done:until])
            if self.turned or self._at < self._fade:
                self._turn(right[done:until])
            self._at += until - done
            if self._at == self._block:
                self._decide()
                self._at = 0
            done = until

    def _look(self, left: Samples, right: Samples) -> None:
        first, place = -self._at % self._stride, -(-self._at // self._stride)
        for row, channel in zip(self._sampled, (left, right), strict=True):
            seen = channel[first :: self._stride]
            row[place : place + len(seen)] = seen

    def _turn(self, right: Samples) -> None:
        if self._gain == self._gain_before == 1:
            return
        gain = self._gains(len(right)) if self._gain != self._gain_before and self._at < self._fade else np.float64(self._gain)
        if np.issubdtype(right.dtype, np.floating):
            right *= gain.astype(right.dtype)
            return
        limits = np.iinfo(right.dtype)
        zero = self._numbers.zero
        right[:] = np.clip(np.rint((right - np.float64(zero)) * gain) + zero, limits.min, limits.max)

    def _gains(self, n: int) -> Float64:
        share = np.minimum(1.0, np.arange(self._at + 1, self._at + n + 1) / self._fade)
        return self._gain_before + (self._gain - self._gain_before) * share

    def _decide(self) -> None:
        self._gain_before = self._gain
        mid, side = _powers(self._sampled)
        if not max(mid, side) >= self._power_min:
            return
        against = mid > TAKEN_UP * side if self.turned else mid < GIVEN_UP * side
        self._against = self._against + 1 if against else 0
        if self._against == BLOCKS:
            self._gain, self._against = -self._gain, 0


def _powers(channels: Float32) -> tuple[float, float]:
    """Mean squares of the mean and of half the difference of two channels, float32 [2, `SAMPLED`], direct current left out.

    With as few calls as can be: each is cold when it comes, once a second, and costs more than its arithmetic.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        (left, both), (_, right) = np.dot(channels, channels.T).tolist()
        left_sum, right_sum = np.dot(channels, _ONES).tolist()
    mid = left + right + 2 * both - (left_sum + right_sum) ** 2 / SAMPLED
    side = left + right - 2 * both - (left_sum - right_sum) ** 2 / SAMPLED
    return mid / (4 * SAMPLED), side / (4 * SAMPLED)
