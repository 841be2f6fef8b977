"""One line of one recording, followed through a stream: what was heard, what the recording has there, how they agree."""

from dataclasses import dataclass, field, replace

import numpy as np

from earmark.alias import Alias
from earmark.matching.dating import HISTORY_FRAMES, Gaps, Trail, walk_back
from earmark.matching.proposals import AROUND_FRAMES
from earmark.matching.verification import (
    KNOWN_PITCH_OCTAVES,
    NO_EVIDENCE,
    PITCH_OCTAVES,
    Alignment,
    Constellation,
    Evidence,
    Hits,
    Line,
    align,
    glance,
    hits_along,
    judge,
    without,
)
from earmark.model import FRAMES_PER_S, RATE_HZ, Bool, Play, Shared

#: With more evidence than this a line's pitch is known.
_KNOWN_NATS = 12.0
#: Lines of one recording this close, in frames, are one.
_SAME_FRAMES = 12.0
#: So few of a recording's first peaks may be missing from a play that begins with it: a third of a second's.
_LEAD_IN_PEAKS = 10
#: A line's constellation is fetched so far ahead.
_AHEAD_FRAMES = 20 * FRAMES_PER_S
#: A speed is taken from two ends this far apart; from the line if they are less far; and if they are very close from the
#: pitch, unless the slope is so different that only the tempo was changed.
_FAR_FRAMES, _NEAR_FRAMES, _SAME_SPEED = 12 * FRAMES_PER_S, 6 * FRAMES_PER_S, 0.025
#: A play with more evidence than this is glanced at; it is looked at every six seconds, or when it explains less than half of
#: what it did.
CERTAIN_NATS, _LOOK_FRAMES, _MUCH_LESS = 100.0, 6 * 32, 0.5
#: A frame's samples are around its middle: half of 2,048 samples after its first.
_FRAME_MIDDLE_S = 1_024 / RATE_HZ


def seconds(frame: float) -> float:
    """The time of a frame's middle."""
    return frame / FRAMES_PER_S + _FRAME_MIDDLE_S


def frame_at(time_s: float) -> float:
    """Inverse of `seconds`."""
    return (time_s - _FRAME_MIDDLE_S) * FRAMES_PER_S


def speed_between(line: Line, begin_frame: float, end_frame: float, reference_begin_frame: float) -> float:
    """Reference seconds per stream second between two stream frames that a line reaches."""
    frames = end_frame - begin_frame
    if frames >= _FAR_FRAMES:
        return (line.reference(end_frame) - reference_begin_frame) / frames
    return line.pitch if frames < _NEAR_FRAMES and abs(line.slope - line.pitch) < _SAME_SPEED else line.slope


def close(line: Line, other: Line, frame: float) -> bool:
    """Whether two lines of one recording are the same at a stream frame."""
    return abs(line.reference(frame) - other.reference(frame)) < _SAME_FRAMES


def lead_in(trail: Trail, reference: Constellation, line: Line, first_frame: float) -> None:
    """A recording whose first peaks are heard is heard from its first sample: silence and a soft attack have no peaks.

    Args:
        trail: of a play that is dated.
        reference: peaks of the recording, from its first on.
        line: of the play, as it is at its beginning.
        first_frame: of all that was heard.
    """
    first = line.reference(trail.begin_frame)
    start = (frame_at(0.0) - line.offset) / line.slope
    if len(reference.between(-np.inf, first)) <= _LEAD_IN_PEAKS and start >= first_frame:
        trail.lead_in(start)


@dataclass(kw_only=True, slots=True, eq=False)
class Step:
    """What was heard up to some stream frame."""

    #: The first that the session heard.
    first_frame: float
    begin_frame: float
    end_frame: float
    #: Frames heard since the last step.
    new_frames: float
    #: All peaks of the last minute; those of the window are looked at.
    history: Constellation
    #: bool [len(history)]: peaks that plays explain; written by `PlayTracker.follow`.
    explained: Bool

    def window(self) -> slice:
        """The peaks from `begin_frame` to `end_frame`."""
        low, high = np.searchsorted(self.history.frame, [self.begin_frame, self.end_frame])
        return slice(int(low), int(high))


@dataclass(kw_only=True, slots=True, eq=False)
class FollowedLine:
    """A line that is followed; once somebody was told of it, a play."""

    track_no: int
    track_id: str
    duration_s: float
    line: Line
    #: The speed under which it was looked up.
    hypothesis: float
    votes: int
    #: What the recording has around the line, and which reference frames of it are here.
    reference: Constellation = field(default_factory=Constellation.none)
    #: Which stretches of that other recordings have too.
    shared: tuple[Shared, ...] = ()
    covered: tuple[float, float] = (0.0, 0.0)
    #: Evidence of the last 12 s that no play explains.
    nats: float = 0.0
    #: Heard frames since there was last enough evidence.
    weak_frames: float = 0.0
    #: Up to here it has been judged; 0: never.
    seen_frame: float = 0.0
    #: Up to here it was last looked at, not just glanced at, and which share of the heard peaks it explained.
    looked_frame: float = -np.inf
    share: float = 0.0
    #: Once told: the play as last told, heard frames since, and what dates it.
    play: Play | None = None
    told_frames: float = 0.0
    trail: Trail = field(default_factory=Trail)
    reference_begin_frame: float = 0.0
    #: Seconds of the play that an earlier owner of the stream did not hear.
    gap_s: float = 0.0
    also_matching: tuple[str, ...] = ()
    #: Its recording is one, and told as another.
    alias: Alias | None = None

    def wanted(self, step: Step) -> tuple[float, float] | None:
        """Reference frames to be fetched before the line can be judged and dated; None while there are enough."""
        back = step.begin_frame if self.play is not None and self.play.state == "open" else step.end_frame - HISTORY_FRAMES
        begin = max(0.0, self.line.reference(back) - AROUND_FRAMES)
        end = self.line.reference(step.end_frame) + AROUND_FRAMES
        if self.covered[0] <= begin and end <= self.covered[1]:
            return None
        self.covered = begin, end + _AHEAD_FRAMES
        return self.covered

    def look(self, step: Step) -> "Look":
        """Verify the line on the last seconds."""
        self.looked_frame = step.end_frame
        known = KNOWN_PITCH_OCTAVES if self.nats > _KNOWN_NATS else PITCH_OCTAVES
        alignment = align(step.history, self.reference, self.line, step.begin_frame, step.end_frame, pitch_octaves=known)
        if alignment is None:
            window = step.window()
            return Look(line=self, alignment=None, evidence=NO_EVIDENCE, own=np.zeros(window.stop - window.start, np.bool_))
        own = alignment.explained()
        self.share = float(own.mean())
        return Look(line=self, alignment=alignment, evidence=judge(alignment), own=own)

    def glance(self, step: Step) -> "Look | None":
        """A fifth of the work of a look: does a play that is certain go on as before? None when it has to be looked at.

        Only for the one play that is told, since it does not say what would be left of it beside another.
        """
        certain = self.play is not None and self.play.state == "open" and self.nats > CERTAIN_NATS and self.weak_frames == 0
        if not certain or self._long_ago(step):
            return None
        hits, new = glance(step.history, self.reference, self.line, self.seen_frame, step.end_frame)
        if np.count_nonzero(new) < _MUCH_LESS * self.share * len(new):
            return None
        own = step.explained[step.window()].copy()
        own[len(own) - len(new) :] |= new
        return self._brief(own, hits)

    def rest(self, step: Step) -> "Look | None":
        """No look at all, for a line that nobody was told of and that is behind another of its recording; None when it is due."""
        if self.play is not None or self._long_ago(step):
            return None
        window = step.window()
        return self._brief(np.zeros(window.stop - window.start, np.bool_), Hits(np.zeros(0), 0.0))

    def _brief(self, own: Bool, seen: Hits) -> "Look":
        return Look(line=self, alignment=None, evidence=replace(NO_EVIDENCE, nats=self.nats), own=own, seen=seen)

    def _long_ago(self, step: Step) -> bool:
        return self.looked_frame <= step.end_frame - _LOOK_FRAMES

    def hear(self, step: Step, gaps: Gaps) -> None:
        """Add to the trail what lies on the line since it was last judged."""
        self.trail.add(hits_along(step.history, self.reference, self.line, self.seen_frame, step.end_frame), gaps)

    def date(self, step: Step, gaps: Gaps) -> None:
        """Follow the line back to where it begins; of what an earlier owner of the stream heard, never to later than it knew."""
        trail = Trail()
        for hits in walk_back(step.history, self.reference, self.line, step.begin_frame):
            trail.add(hits, gaps)
        trail.add(hits_along(step.history, self.reference, self.line, step.begin_frame, step.end_frame), gaps)
        trail.begin()
        if self.covered[0] <= 0:
            lead_in(trail, self.reference, self.line, step.first_frame)
        heard = self.play is None or self.trail.begin_frame >= step.first_frame
        if heard or trail.begin_frame < self.trail.begin_frame:
            self.trail = trail
            self.reference_begin_frame = self.line.reference(trail.begin_frame)


@dataclass(kw_only=True, slots=True, eq=False)
class Look:
    """A line in one step."""

    line: FollowedLine
    alignment: Alignment | None
    evidence: Evidence
    #: bool [window]: heard peaks that the line explains.
    own: Bool
    #: Of less than a look: what was seen on the line since it was last seen. The evidence then is that of the last look.
    seen: Hits | None = None

    def rank(self) -> tuple[bool, float, int, float]:
        """Plays that are told come first, then those with most evidence; the rest makes the order definite."""
        return self.line.play is None, -self.evidence.nats, self.line.track_no, self.line.line.offset

    def but(self, ignored: Bool) -> Alignment | None:
        """The alignment on the heard peaks that are left without some, bool [window]."""
        if self.alignment is None or not (self.own & ignored).any():
            return self.alignment
        return without(self.alignment, ignored)

    def elsewhere(self, other: "Look", frame: float) -> bool:
        """Whether it is of the same recording, at another place."""
        return self.line.track_no == other.line.track_no and not close(self.line.line, other.line.line, frame)
