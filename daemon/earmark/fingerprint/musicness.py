"""Is there music? An estimate per step from the peaks alone; pure, and whether it is catalogued does not matter.

Two things are asked of the peaks of some eleven seconds:

* **Do frequencies come back?** An instrument returns to the notes that it has, and holds them; a voice glides, noise is
  anywhere. Counted are peaks within 1 Hz of one that was heard up to ten steps before, and, as chance, peaks that are so
  after a shift by 11, 17 or 23 Hz up or down: near enough that formants, a band or a filter shift along, and further
  than a sustained note is wide. What is used is the logarithm of their ratio.
* **Do they lie on one scale?** Instruments are tuned to one another, in steps of a semitone, whatever the pitch of
  their A and the speed of the record: a peak's place between two semitones is an angle, and the length of the mean of
  those angles' unit vectors is 1 for one tuned instrument and near 0 for a voice.

A logistic regression of the two says how sure it is. Neither loudness nor how many peaks there are is asked, so quiet
music counts, and noise does not; too few peaks prove nothing (the constants below pull towards *no*).

**Smoothed, dated, and the same however the stream was cut.** A step's verdict counts the peaks of the five steps before
and after it, so what begins or ends is dated where it does and not where it was noticed; and it takes more to begin
than to go on. A step is what `earmark.hearing` takes as one, always the same frames of a run of samples.

Recurrence is what a self-similarity matrix shows (J. Foote, "Visualizing music and audio using self-similarity", ACM
Multimedia 1999), on peaks; the mean of unit vectors is that of circular statistics (K. Mardia and P. Jupp, "Directional
Statistics", 2000).
"""

import math
from collections import deque
from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from earmark.model import EIGHTHS, FRAMES_PER_S, Peaks, Stretch

#: Steps on either side of a step whose peaks count for it; a step is 1.024 s.
AROUND_STEPS: Final = 5
#: A frequency comes back if it was heard at most so many steps ago.
BACK_STEPS: Final = 10

_TOLERANCE_HZ: Final = np.arange(-1, 2)[:, None]
#: The first is no shift.
_SHIFTS_HZ: Final = np.array([0, -23, -17, -11, 11, 17, 23])[:, None]
#: Above the highest peak, 3,800 Hz, and its shifts.
_CELLS_HZ: Final = 4_096
#: Pull towards no: so many peaks that come back by chance, and so many on no scale, are added to what was heard.
_BY_CHANCE: Final = 10.0
_OFF_SCALE: Final = 20.0


class Weights(NamedTuple):
    """Of the logistic regression."""

    constant: float
    recurrence: float
    tuning: float


#: Fitted by ``python -m bench.bench_musicness --fit`` (tests/bench says on what), and rounded.
WEIGHTS: Final = Weights(constant=-2.6, recurrence=0.66, tuning=0.56)
#: Log odds from which music begins, and down to which it goes on: below even, because speech reaches it seldom (the
#: bench's table) and music under speech as loud often does not.
BEGINS: Final = -0.3
GOES_ON: Final = -0.8


class Counts(NamedTuple):
    """What a step adds up to."""

    peaks: int
    #: Peaks at a frequency that has been heard lately, and those that would be by chance: the mean of the shifts.
    returning: int
    by_chance: float
    #: Sum of the unit vectors of the peaks' places between two semitones.
    tuned: complex


class Judged(NamedTuple):
    """A step of a run, counted from 0, as a stretch of stream time."""

    number: int
    stretch: Stretch
    music: bool


class Musicness:
    """Judges one contiguous run of samples, step by step (16 kB).

    Args:
        start_s: stream time of the run's first sample.
    """

    def __init__(self, start_s: float = 0.0) -> None:
        self._start_s = start_s
        self._step = 0
        #: By frequency: the step in which it was last heard.
        self._last = np.full(_CELLS_HZ, -BACK_STEPS - 1, np.int32)
        #: Of the steps that still count: where each ended, and its counts.
        self._ends: deque[float] = deque([0.0])
        self._counts: deque[Counts] = deque()
        #: How many of those come before the next one to be judged.
        self._before = 0
        self._judged = 0
        self._on = False

    def push(self, peaks: Peaks, end_frame: float) -> list[Judged]:
        """Take the peaks of the next step, which ends at `end_frame` of the run; the step that has five steps after it by now, if there is one."""
        self._ends.append(end_frame)
        self._counts.append(self.count(peaks))
        return [self._judge()] if len(self._counts) > self._before + AROUND_STEPS else []

    @property
    def odds(self) -> float:
        """Log odds that the last steps, eleven at most, are music: at once, and not smoothed."""
        return log_odds(self._counts)

    def flush(self) -> list[Judged]:
        """The run is over: the last steps."""
        return [self._judge() for _ in range(len(self._counts) - self._before)]

    def count(self, peaks: Peaks) -> Counts:
        """What the next step adds up to; it is known from then on."""
        step, self._step = self._step, self._step + 1
        hz = (peaks.eighth_hz + EIGHTHS // 2) // EIGHTHS
        known = self._last.take(hz + _SHIFTS_HZ) >= step - BACK_STEPS
        returning, *shifted = np.add.reduce(known, axis=1).tolist()
        self._last[hz + _TOLERANCE_HZ] = step
        return Counts(len(hz), returning, sum(shifted) / len(shifted), complex(_between_semitones().take(hz).sum()))

    def _judge(self) -> Judged:
        odds = log_odds(self._counts)
        self._on = odds > (GOES_ON if self._on else BEGINS)
        begin, end = self._ends[self._before], self._ends[self._before + 1]
        if self._before < AROUND_STEPS:
            self._before += 1
        else:
            self._ends.popleft()
            self._counts.popleft()
        number, self._judged = self._judged, self._judged + 1
        return Judged(number, Stretch(begin_s=self._start_s + begin / FRAMES_PER_S, end_s=self._start_s + end / FRAMES_PER_S), self._on)


def evidence(counts: Sequence[Counts]) -> tuple[float, float]:
    """What is asked of the peaks of some steps, (recurrence, tuning), each in standard deviations of chance."""
    peaks, returning, by_chance, tuned = map(sum, zip(*counts, strict=True)) if counts else Counts(0, 0, 0.0, 0j)
    return (returning - by_chance) / math.sqrt(by_chance + _BY_CHANCE), abs(tuned) / math.sqrt(peaks + _OFF_SCALE)


def log_odds(counts: Sequence[Counts]) -> float:
    """Of music in these steps."""
    recurrence, tuning = evidence(counts)
    return WEIGHTS.constant + WEIGHTS.recurrence * recurrence + WEIGHTS.tuning * tuning


@cache
def _between_semitones() -> npt.NDArray[np.complex128]:
    # To the hertz: at 180 Hz, the lowest, that is a tenth of a semitone, and there are few peaks so low.
    semitones = 12 * np.log2(np.maximum(np.arange(_CELLS_HZ), 1) / 440)
    return np.exp(2j * np.pi * semitones)
