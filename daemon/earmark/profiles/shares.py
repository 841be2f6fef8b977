"""Which seconds of a recording are music, and how much of what sounds that is. Pure.

Music is what `fingerprint.musicness` takes for it, step by step, from the peaks that the catalogue is made of.
"""

import math
from typing import Final

import numpy as np

from earmark.fingerprint.musicness import Musicness
from earmark.model import FRAMES_PER_S, Bool, Peaks

#: As `earmark.hearing` takes them: 1.024 s.
STEP_FRAMES: Final = 32
STEP_S: Final = STEP_FRAMES / FRAMES_PER_S


def music_steps(peaks: Peaks, duration_s: float) -> Bool:
    """bool [n]: which steps of a recording are music; the last one may be a part of a step."""
    steps_n = math.ceil(duration_s / STEP_S)
    judge, found = Musicness(), []
    for end in range(STEP_FRAMES, steps_n * STEP_FRAMES + 1, STEP_FRAMES):
        found += judge.push(peaks.between(end - STEP_FRAMES, end), float(end))
    return np.array([step.music for step in (*found, *judge.flush())], np.bool_)


def share(steps: Bool, sounding: Bool) -> float:
    """Of the tenths of a second that sound, those whose middle lies in one of the steps; of none, 0."""
    at = np.minimum((np.flatnonzero(sounding) + 0.5) / 10 / STEP_S, max(0, len(steps) - 1)).astype(np.int64)
    return float(np.mean(steps[at])) if len(at) and len(steps) else 0.0
