"""Music, speech, or neither: what each step of one contiguous run of samples is. Pure, and the same however the samples were cut."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from earmark.fingerprint.musicness import Judged, Musicness
from earmark.fingerprint.talk import Talk
from earmark.model import Float32, Peaks, Stretch

Kind: TypeAlias = Literal["music", "speech"]


class Sounded(NamedTuple):
    """A step of which it is known."""

    kind: Kind
    stretch: Stretch


class Kinds:
    """Judges a run step by step, each some six seconds after it was heard.

    Args:
        start_s: stream time of the run's first sample.
    """

    def __init__(self, start_s: float) -> None:
        self._musicness = Musicness(start_s)
        self._talk = Talk()

    def take(self, samples: Float32) -> None:
        """float32 [n], any n, mono, RATE_HZ: no later than the peaks of the same samples."""
        self._talk.push(samples)

    def end(self) -> None:
        """There are no more samples; of some there may be peaks yet."""
        self._talk.flush()

    @property
    def music_odds(self) -> float:
        """Log odds that the last steps are music: at once, and not smoothed."""
        return self._musicness.odds

    def push(self, peaks: Peaks, end_frame: float) -> list[Sounded]:
        """Take the peaks of the next step, which ends at `end_frame` of the run; what is known by now and was not before."""
        return self._told(self._musicness.push(peaks, end_frame))

    def flush(self) -> list[Sounded]:
        """There are no more steps: the last of them."""
        return self._told(self._musicness.flush())

    def _told(self, judged: Sequence[Judged]) -> list[Sounded]:
        told: list[Sounded] = []
        for step in judged:
            if step.music:
                told.append(Sounded("music", step.stretch))
                self._talk.forget(step.number)
            elif self._talk.speaks(step.number):
                told.append(Sounded("speech", step.stretch))
        return told
