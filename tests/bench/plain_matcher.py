"""A plain landmark matcher (Wang, "An industrial-strength audio search algorithm", ISMIR 2003), to measure ours against.

No frills, and no less than the recipe: peaks of a spectrogram, pairs of peaks near each other as hashes, a sorted table of the
catalogue's hashes in memory, and votes for where in which recording. It hears what is played at its own speed and not talked over,
and nothing else; and it takes each window anew, as such a matcher does when it is asked about a live stream.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft
from scipy.ndimage import maximum_filter
from scipy.signal.windows import hann

from earmark.model import RATE_HZ, Float32, Int32

FRAME, HOP = 1_024, 256
FRAMES_PER_S: Final = RATE_HZ / HOP
_BINS: Final = 512
#: A peak is the largest value in so many frames and bins around it, and so much above the middle one (natural logarithm of amplitude).
_AROUND: Final = (15, 25)
_ABOVE: Final = 1.5
#: Of amplitudes, which are 512 for full scale: what is below is as good as silence.
_FLOOR: Final = np.float32(5e-4)
#: Each peak is paired with so many that follow it, if they do so within so many frames.
FAN_OUT, LATER_MAX = 5, 63
#: Hashes that agree, for an answer.
VOTES_MIN: Final = 12
#: More than an offset can be, in frames: a votes' key is recording times this, plus offset. Twelve days.
_OFFSETS: Final = 1 << 26

_WINDOW: Final = hann(FRAME, sym=False).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Answer:
    """That the sound is a recording's, from this second of it on."""

    name: str
    from_s: float
    votes: int


class PlainMatcher:
    """Recordings by their names; sounds are float32 mono at RATE_HZ."""

    def __init__(self, recordings: Iterable[tuple[str, Float32]]) -> None:
        self.names = list[str]()
        parts = list[tuple[Int32, Int32, Int32]]()
        for name, samples in recordings:
            hashes, frames = landmarks(samples)
            parts.append((hashes, np.full_like(hashes, len(self.names)), frames))
            self.names.append(name)
        hashes, numbers, frames = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._numbers, self._frames = hashes[order], numbers[order], frames[order]

    def ask(self, samples: Float32) -> Answer | None:
        """What most hashes agree on, if enough do."""
        hashes, frames = landmarks(samples)
        begin = np.searchsorted(self._hashes, hashes)
        found = np.searchsorted(self._hashes, hashes, side="right") - begin
        # Of one hash after the other, all of its places in the table.
        places = np.arange(found.sum()) + np.repeat(begin - (np.cumsum(found) - found), found)
        offsets = self._frames[places] - np.repeat(frames, found)
        keys, votes = np.unique(self._numbers[places].astype(np.int64) * _OFFSETS + offsets + _OFFSETS // 2, return_counts=True)
        if not len(votes) or votes.max() < VOTES_MIN:
            return None
        number, offset = divmod(int(keys[votes.argmax()]), _OFFSETS)
        return Answer(self.names[number], (offset - _OFFSETS // 2) / FRAMES_PER_S, int(votes.max()))


def landmarks(samples: Float32) -> tuple[Int32, Int32]:
    """Hashes, of nine bits for each bin and six for the frames between them; and the frames of their first peaks."""
    frames, bins = _peaks(samples)
    hashes, firsts = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    for step in range(1, FAN_OUT + 1):
        later = frames[step:] - frames[:-step]
        paired = (later > 0) & (later <= LATER_MAX)
        hashes.append((bins[:-step] * (1 << 15) + bins[step:] * (1 << 6) + later)[paired])
        firsts.append(frames[:-step][paired])
    return np.concatenate(hashes), np.concatenate(firsts)


def _peaks(samples: Float32) -> tuple[Int32, Int32]:
    """Frames and bins, in order of time."""
    if len(samples) < FRAME:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    cut: npt.NDArray[np.float32] = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    loudness = np.log(np.abs(rfft(cut * _WINDOW)[:, :_BINS]) + _FLOOR)
    peak = (loudness == maximum_filter(loudness, _AROUND)) & (loudness > np.median(loudness) + _ABOVE)
    frames, bins = np.nonzero(peak)
    return frames.astype(np.int32), bins.astype(np.int32)
