"""The match of a hit once more: what was heard laid over what the catalogue has now, along the line that was told.

No votes, no look-ups: where in the recording the stream was is known, and whether it was there is the question.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earmark.matching.lines import frame_at, seconds
from earmark.matching.proposals import along, apart
from earmark.matching.verification import KNOWN_PITCH_OCTAVES, NO_EVIDENCE, Constellation, Evidence, Line, align, judge
from earmark.model import FRAMES_PER_S, Passage

#: Between two windows of a longer stretch: as far as a live stream's steps are apart.
_STEP_FRAMES = 32
#: A stretch longer than a window by less than this share is still one window.
_SINGLE_WINDOW = 1.125


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """The window that proves it best, in stream time."""

    evidence: Evidence
    begin_s: float
    end_s: float


def line_of(*, speed: float, offset_s: float, pitch_cents: float) -> Line:
    """A line as evidence tells it: ``reference second = speed * stream second + offset_s``."""
    return Line(pitch=2 ** (pitch_cents / 1_200), slope=speed, offset=(offset_s + (speed - 1) * seconds(0.0)) * FRAMES_PER_S)


def heard_peaks(stream_s: Sequence[float], frequency_hz: Sequence[float]) -> Constellation:
    """Peaks as evidence lists them, in any order; how far they stand out is not known. Raises ValueError for columns that are none."""
    frame, hz = np.array([frame_at(second) for second in stream_s], np.float64), np.array(frequency_hz, np.float64)
    if len(frame) != len(hz) or not np.all(hz > 0):
        raise ValueError("these are no peaks")
    octave = np.log2(hz)
    order = np.lexsort((octave, frame))
    return Constellation(frame[order], octave[order], np.zeros(len(order), np.float32))


def wanted(track_no: int, lines: Sequence[Line], begin_s: float, end_s: float) -> tuple[Passage, ...]:
    """What of the recording these lines need between two seconds of the stream."""
    passages = [along(track_no, line, frame_at(begin_s), frame_at(end_s)) for line in lines]
    return apart(passage for passage in passages if passage.end_frame > 0)


def again(heard: Constellation, reference: Constellation, lines: Sequence[Line], begin_s: float, end_s: float, *, window_s: float) -> Again:
    """The best window of a stretch of the stream, on the best of the lines; without evidence where there is none.

    Args:
        heard: peaks of the stream.
        reference: peaks of the recording, at least what is `wanted`.
        lines: each right within 1.2 % in slope, and four frames.
        begin_s, end_s: stream time.
        window_s: what is judged at once.
    """
    begin, end, window = frame_at(begin_s), frame_at(end_s), window_s * FRAMES_PER_S
    steps = math.ceil((end - begin - window) / _STEP_FRAMES) if end - begin > window * _SINGLE_WINDOW else 0
    spans = [(begin + n * _STEP_FRAMES, min(begin + n * _STEP_FRAMES + window, end)) for n in range(steps + 1)] if steps else [(begin, end)]
    best = Again(evidence=NO_EVIDENCE, begin_s=begin_s, end_s=end_s)
    for low, high in spans:
        for line in lines:
            found = align(heard, reference, line, low, high, pitch_octaves=KNOWN_PITCH_OCTAVES)
            evidence = judge(found) if found else NO_EVIDENCE
            if evidence.nats > best.evidence.nats:
                best = Again(evidence=evidence, begin_s=max(0.0, seconds(low)), end_s=seconds(high))
    return best
