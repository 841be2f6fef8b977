"""When did it begin, and when did it end? From the peaks that lie on the line, not from the edges of windows.

Along the line of a play, heard peaks match the recording's at some rate; outside it they do so only by chance, at the
rate that pairs lie *beside* the line at that moment. Where one rate changes into the other is the change point of
E. S. Page, "Continuous Inspection Schemes", Biometrika 41, 1954: with Poisson rates, the hit up to which the sum of
``ln(inside / outside)`` for each hit, less ``inside - outside`` for each frame, is greatest; for the beginning the same,
walking backwards. A stretch that is talked over may match far less than the rest: the inside rate is that of a play
barely heard, or an eighth of what it was so far.

A line is found seconds after its music began, under a talker many seconds after: `walk_back` follows it into what was
heard before, refining it as it goes; `walk_on`, where all has been heard, into what was heard after.
"""

import math
from itertools import pairwise

import numpy as np

from earmark.matching.verification import KNOWN_PITCH_OCTAVES, Constellation, Hits, Line, align, hits_along, judge
from earmark.model import FRAMES_PER_S, Float64

#: So much of the stream is kept to be walked back into.
HISTORY_FRAMES = 60 * FRAMES_PER_S
#: Hits per frame of a play that is barely heard, and the fewest that are taken for chance (talk had none in 10 s).
_INSIDE, _OUTSIDE = 1.5 / FRAMES_PER_S, 0.15 / FRAMES_PER_S
#: The inside rate is at least so many times that of chance.
_CONTRAST = 4.0
#: And a share of what it was in the play so far, if there were so many hits: of another piece behind it, in the same key and time, more peaks
#: lie on the line than beside it (1 s^-1 was seen where the play had 20). With a quarter, a play that was talked over ended 10 s early.
_FADED, _KNOWN_HITS = 8.0, 20
#: Hits no farther apart than this belong to one matched stretch.
_LINKED_FRAMES = 2 * FRAMES_PER_S
#: Walking: in steps of so many frames, each refined together with as many on the side it comes from; two steps with hardly a hit end it.
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
        #: For each hit its stream frame, what it adds in nats, and by how much up to it the play is likelier than chance.
        self._frame: Float64 = np.array([] if end_frame is None else [end_frame])
        self._gain: Float64 = np.zeros(len(self._frame))
        self._nats: Float64 = np.zeros(len(self._frame))

    def add(self, hits: Hits, gaps: Gaps) -> None:
        """Take new hits, all after the earlier ones."""
        if not len(hits.frame):
            return
        outside = max(hits.chance, _OUTSIDE)
        inside = max(_INSIDE, _CONTRAST * outside, self._rate(gaps) / _FADED)
        gain = math.log(inside / outside)
        before, nats = (self._frame[-1], self._nats[-1]) if len(self._frame) else (hits.frame[0], 0.0)
        elapsed = np.diff(gaps.heard(np.append(before, hits.frame)))
        self._frame = np.append(self._frame, hits.frame)
        self._gain = np.append(self._gain, np.full(len(hits.frame), gain))
        self._nats = np.append(self._nats, nats + np.cumsum(gain - (inside - outside) * elapsed))
        self._fold(gaps)

    def _rate(self, gaps: Gaps) -> float:
        """Hits per frame of the play so far; 0: there are too few to say."""
        if len(self._frame) < _KNOWN_HITS:
            return 0.0
        first, last = gaps.heard(self._frame[[0, -1]])
        return float(len(self._frame) / max(last - first, _LINKED_FRAMES))

    def _fold(self, gaps: Gaps) -> None:
        """Old hits of a play that has begun become a sum."""
        settled = int(np.searchsorted(self._frame, self._frame[-1] - HISTORY_FRAMES))
        if settled > 1 and self._begin is not None:
            self._matched += _linked(gaps.heard(self._frame[:settled]))
            self._drop(settled - 1)

    def _drop(self, count: int) -> None:
        self._frame, self._gain, self._nats = self._frame[count:], self._gain[count:], self._nats[count:]

    def begin(self) -> None:
        """Take the change point for the beginning: from there on, the hits are worth most."""
        if len(self._frame):
            self._drop(int(np.argmin(self._nats - self._gain)))
            self._begin = float(self._frame[0])

    def lead_in(self, begin_frame: float) -> None:
        """The play began before its first hit."""
        self._begin = min(self.begin_frame, begin_frame)

    @property
    def begin_frame(self) -> float:
        return 0.0 if self._begin is None else self._begin

    @property
    def end_frame(self) -> float:
        return float(self._frame[np.argmax(self._nats)]) if len(self._frame) else self.begin_frame

    def matched_frames(self, gaps: Gaps) -> float:
        """Frames of the play, gaps left out, that hits follow one another closely in."""
        return self._matched + _linked(gaps.heard(self._frame[self._frame <= self.end_frame]))


def _linked(hits: Float64) -> float:
    steps = np.diff(hits)
    return float(steps[steps <= _LINKED_FRAMES].sum())


def walk_back(history: Constellation, reference: Constellation, line: Line, end_frame: float, *, least_frames: float = 0.0) -> list[Hits]:
    """Hits of a line before a stream frame, as far back as it goes on, the earliest first.

    Args:
        history: what was heard.
        reference: what the recording has there.
        line: as it is around `end_frame`.
        least_frames: for so long it is known to go on: two steps with hardly a hit only end it further back.
    """
    first = float(history.frame[0]) if len(history) else end_frame
    return _walk(history, reference, line, np.arange(end_frame, first - _STEP_FRAMES, -_STEP_FRAMES), least_frames)[::-1]


def walk_on(history: Constellation, reference: Constellation, line: Line, begin_frame: float, *, least_frames: float = 0.0) -> list[Hits]:
    """Hits of a line from a stream frame on, as far as it goes on; see `walk_back`."""
    last = float(history.frame[-1]) + 1 if len(history) else begin_frame
    return _walk(history, reference, line, np.arange(begin_frame, last + _STEP_FRAMES, _STEP_FRAMES), least_frames)


def _walk(history: Constellation, reference: Constellation, line: Line, edges: Float64, least_frames: float) -> list[Hits]:
    """The hits between each edge and the next; the line is right at the first edge."""
    found: list[Hits] = []
    silent = 0
    for edge, beyond in pairwise(edges.tolist()):
        if line.reference(edge) <= 0 or (silent >= _SILENT_STEPS and abs(edge - edges[0]) >= least_frames):
            break
        alignment = align(history, reference, line, edge - _STEP_FRAMES, edge + _STEP_FRAMES, pitch_octaves=KNOWN_PITCH_OCTAVES)
        if alignment is not None and judge(alignment).nats > _REFINED_NATS:
            line = alignment.line
        hits = hits_along(history, reference, line, min(edge, beyond), max(edge, beyond))
        silent = 0 if len(hits.frame) >= _SILENT_HITS else silent + 1
        found.append(hits)
    return found
