"""When did it begin, and when did it end? From the peaks that lie on the line, not from the edges of windows.

Along the line of a play, heard peaks match the recording's at some rate; outside it they do so only by chance. The
end is where the rate changes: the hit after which what follows is likelier chance than play. With Poisson rates that is
the maximum of ``hits * ln(inside / outside) - (inside - outside) * time``, the change point of E. S. Page, "Continuous
Inspection Schemes", Biometrika 41, 1954; the beginning is the same, walking backwards. A stretch that is talked over may
match far less than the rest: the inside rate is that of a play barely heard.

A line is found seconds after its music began, under a talker many seconds after: `walk_back` follows it into what was
heard before, refining it as it goes.
"""

import numpy as np

from earmark.matching.verification import KNOWN_PITCH_OCTAVES, Constellation, Line, align, hits_along, judge
from earmark.model import FRAMES_PER_S, Float64

#: So much of the stream is kept to be walked back into.
HISTORY_FRAMES = 60 * FRAMES_PER_S
#: Hits per frame of a play that is barely heard, and of other sound (talk had none in 10 s): a hit outweighs 1.7 s without.
_INSIDE, _OUTSIDE = 1.5 / FRAMES_PER_S, 0.15 / FRAMES_PER_S
#: Hits no farther apart than this belong to one matched stretch.
_LINKED_FRAMES = 2 * FRAMES_PER_S
#: Walking back: in steps of so many frames, each refined together with as many after it; two steps with hardly a hit end it.
_STEP_FRAMES = 6 * FRAMES_PER_S
_SILENT_STEPS, _SILENT_HITS = 2, 4
_REFINED_NATS = 12.0


class Gaps:
    """Stretches of stream time that were not heard, and the clock without them."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, begin_frame: float, end_frame: float) -> None:
        self._spans.append((begin_frame, end_frame))

    def forget(self, before_frame: float) -> None:
        self._spans = [span for span in self._spans if span[1] > before_frame]

    def frames(self, begin_frame: float, end_frame: float) -> float:
        """How much of a stretch was not heard."""
        return sum(max(0.0, min(end, end_frame) - max(begin, begin_frame)) for begin, end in self._spans)

    def heard(self, frame: Float64) -> Float64:
        """Times without the gaps before them: float64 [n]."""
        heard = frame.copy()
        for begin, end in self._spans:
            heard -= np.clip(frame - begin, 0.0, end - begin)
        return heard


class Trail:
    """The hits of one play: where it begins, where it ends so far, and how much of it is matched.

    Args:
        begin_frame, end_frame, matched_frames: what is known of a play that another session began to follow.
    """

    def __init__(self, *, begin_frame: float | None = None, end_frame: float | None = None, matched_frames: float = 0.0) -> None:
        self._begin = begin_frame
        self._matched = matched_frames
        self._hits: Float64 = np.zeros(0) if end_frame is None else np.array([end_frame])
        self._last = 0

    def add(self, hits: Float64, gaps: Gaps) -> None:
        """Take the stream frames of new hits, ascending and after all earlier ones."""
        self._hits = np.concatenate([self._hits, hits])
        if not len(self._hits):
            return
        if self._begin is None:
            first = first_of(gaps.heard(self._hits))
            self._begin, self._hits = float(self._hits[first]), self._hits[first:]
        # Old hits become a sum.
        settled = int(np.searchsorted(self._hits, self._hits[-1] - HISTORY_FRAMES))
        if settled > 1:
            self._matched += _linked(gaps.heard(self._hits[:settled]))
            self._hits = self._hits[settled - 1 :]
        self._last = last_of(gaps.heard(self._hits))

    def lead_in(self, begin_frame: float) -> None:
        """The play began before its first hit."""
        self._begin = min(self.begin_frame, begin_frame)

    @property
    def begin_frame(self) -> float:
        return 0.0 if self._begin is None else self._begin

    @property
    def end_frame(self) -> float:
        return float(self._hits[self._last]) if len(self._hits) else self.begin_frame

    def matched_frames(self, gaps: Gaps) -> float:
        """Frames of the play, gaps left out, that hits follow one another closely in."""
        return self._matched + _linked(gaps.heard(self._hits[: self._last + 1]))


def _linked(hits: Float64) -> float:
    steps = np.diff(hits)
    return float(steps[steps <= _LINKED_FRAMES].sum())


def last_of(hits: Float64) -> int:
    """Which of the ascending hits is the play's last; float64 [n > 0], frames."""
    return int(np.argmax(_gain(hits - hits[0])))


def first_of(hits: Float64) -> int:
    """Which of the ascending hits is the play's first; float64 [n > 0], frames."""
    return len(hits) - 1 - int(np.argmax(_gain(hits[-1] - hits[::-1])))


def _gain(elapsed: Float64) -> Float64:
    """By how much the play is likelier than chance up to each hit, in nats."""
    gain: Float64 = np.arange(len(elapsed)) * np.log(_INSIDE / _OUTSIDE) - (_INSIDE - _OUTSIDE) * elapsed
    return gain


def walk_back(history: Constellation, reference: Constellation, line: Line, end_frame: float) -> Float64:
    """Hits of a line before a stream frame, as far back as it goes on: float64 [n], ascending stream frames."""
    found: list[Float64] = []
    silent = 0
    first = float(history.frame[0]) if len(history) else end_frame
    while end_frame > first and line.reference(end_frame) > 0 and silent < _SILENT_STEPS:
        begin = end_frame - _STEP_FRAMES
        alignment = align(history, reference, line, begin, end_frame + _STEP_FRAMES, pitch_octaves=KNOWN_PITCH_OCTAVES)
        if alignment is not None and judge(alignment).nats > _REFINED_NATS:
            line = alignment.line
        hits = hits_along(history, reference, line, begin, end_frame)
        silent = 0 if len(hits) >= _SILENT_HITS else silent + 1
        found.append(hits)
        end_frame = begin
    return np.concatenate(found[::-1]) if found else np.zeros(0)
