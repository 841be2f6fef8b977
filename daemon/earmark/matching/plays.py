"""Lines to plays: hard to open, easy to hold, dated by evidence.

A candidate that verification takes seriously becomes a *line* that is followed, by verification alone, second by second:

    followed      more than chance, not yet told to anybody; dropped when it fades
    provisional   told: the evidence passes the threshold, is not that of a shared sample, and enough of it is left
                  without its best seconds
    open          it has lasted: what is sounding is this recording, not a sample of it
    closed        the last 6 s have held nothing for a while; dated back to the last evidence

What separates a quotation (a reused sample, a loop from a library) from a play is *continuity*, so a line that ends before
it has lasted stays a quotation. Several plays may be open at once. **What one line explains is not evidence for another**:
lines are judged in order, plays that are told first and then by evidence, each on the heard peaks that are left. So a
recording that resembles what is playing is listed with it (`also_matching`), and a second one that is really mixed in is
told. Of one recording only one line is believed at a time: music repeats itself, and a better line corrects the play.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import log2

import numpy as np

from earmark.matching import confidence
from earmark.matching.aliases import as_heard, as_told
from earmark.matching.alignment import Candidate
from earmark.matching.dating import HISTORY_FRAMES, Gaps, Trail
from earmark.matching.explanation import explained
from earmark.matching.lines import CERTAIN_NATS, FollowedLine, Look, Step, close, frame_at, seconds, speed_between
from earmark.matching.proposals import Verified, apart, by_recording, joined, passage, shared
from earmark.matching.samples import LIVE, believed
from earmark.matching.verification import NO_EVIDENCE, Alignment, Constellation, Line, judge, judge_last, without
from earmark.model import FRAMES_PER_S, Bool, CatalogueSize, MatchParams, Passage, Play, PlayState, Reference, Shared, hit_id

#: A candidate above this becomes a line; a line below the second for so long is dropped.
FOLLOW_NATS, _DROP_NATS, _DROP_FRAMES = 8.0, 5.0, 4 * FRAMES_PER_S
#: With more evidence than this a line is moved to where it was found; a play, with as much in its last 6 s.
_RECENTRE_NATS = 12.0
#: "Its last 6 s".
_LAST_FRAMES = 6 * FRAMES_PER_S
#: What its last 6 s must hold when a play opens.
_FRESH_NATS = 8.0
#: Speeds that differ by less are one, as far as pairs are concerned.
_ANOTHER_SPEED = 0.002
#: Proposals are compared with lines this long before now: slopes of young lines are uncertain, places are not.
_COMPARED_FRAMES = 3 * FRAMES_PER_S


class PlayTracker:
    """Follows the lines of one stream.

    Args:
        params: how sure is sure.
        size: of the catalogue, for what evidence means in false alarms.
        stream_id, source: go into the plays' `hit_id`.
    """

    def __init__(self, *, params: MatchParams, size: CatalogueSize, stream_id: str, source: str) -> None:
        self._params = params
        self._stream_id = stream_id
        self._source = source
        self.resize(size)
        self._lines: list[FollowedLine] = []
        self._asking: list[FollowedLine] = []
        self._looks: list[Look] = []
        self._gaps = Gaps()
        #: The speed of the last play, if it was not its recording's own: what is played next is likely to be at it, too.
        self.known_speed: float | None = None

    def resize(self, size: CatalogueSize) -> None:
        """The catalogue is of this size now: what evidence means in false alarms follows it."""
        self._size = size
        self._threshold = confidence.threshold_nats(self._params.false_alarms_per_hour, size)

    @property
    def plays(self) -> tuple[Play, ...]:
        """The plays that are told and not closed, as they are now."""
        return tuple(self._now(f, f.play, f.play.state) for f in self._lines if f.play is not None)

    @property
    def looks(self) -> Sequence[Look]:
        """The lines that were judged last, told or not, as they were then."""
        return self._looks

    @property
    def undecided(self) -> bool:
        """Whether somebody may have to be told of a line with the next second that is heard."""
        return any(f.play is None and f.nats > FOLLOW_NATS and not f.weak_frames for f in self._lines)

    @property
    def sounding(self) -> bool:
        """Whether any play is told and not closed."""
        return any(f.play is not None for f in self._lines)

    def missed(self, begin_frame: float, end_frame: float) -> None:
        """A stretch of the stream was not heard. Lines wait; only what is heard counts against them."""
        told = [f.trail.begin_frame for f in self._lines if f.play is not None]
        self._gaps.forget(min([begin_frame - HISTORY_FRAMES, *told]))
        self._gaps.add(begin_frame, end_frame)

    # -------------------------------------------------------------------------------------------- lines

    def wanted(self, step: Step) -> tuple[Passage, ...]:
        """Passages that `follow` needs and that are not here yet; `supply` takes the answer."""
        self._asking = [f for f in self._lines if f.wanted(step) is not None]
        return apart(passage(f.track_no, *f.covered) for f in self._asking)

    def supply(self, references: Iterable[Reference]) -> None:
        """A recording that is not in the answer is not in the catalogue any more: its lines fade."""
        found = {track_no: (some[0].duration_s, joined(some), shared(some), some[0].alias) for track_no, some in by_recording(references).items()}
        for f in self._asking:
            f.duration_s, f.reference, f.shared, alias = found.get(f.track_no, (f.duration_s, Constellation.none(), (), None))
            if f.alias is not None and alias is not None:  # what has become one meanwhile, or is none any more, is told as it was
                f.alias = alias

    def follows(self, candidate: Candidate, frame: float) -> bool:
        """Whether a candidate is a line that is followed already, or of a recording whose line is beyond doubt."""
        for f in self._lines:
            if f.track_no != candidate.track_no:
                continue
            if f.play is not None and f.nats > CERTAIN_NATS:
                return True
            # A weak line under one speed may be the shadow of a play at another.
            alike = f.nats > _RECENTRE_NATS or f.hypothesis == candidate.line.pitch
            if alike and close(f.line, candidate.line, frame - _COMPARED_FRAMES):
                return True
        return False

    def adopt(self, found: Verified, step: Step) -> bool:
        """Begin to follow a verified candidate; False if plays that are told explain what it would."""
        left = judge(without(found.alignment, step.explained[step.window()]))
        if left.nats < FOLLOW_NATS:
            if found.evidence.nats > self._threshold:
                self._mention(found.track_id, found.alignment.explained())
            return False
        f = FollowedLine(
            track_no=found.candidate.track_no,
            track_id=found.track_id,
            duration_s=found.duration_s,
            line=found.alignment.line,
            hypothesis=found.candidate.line.pitch,
            votes=found.candidate.votes,
            nats=left.nats,
            also_matching=found.aliases,
            alias=found.alias,
        )
        self._lines.append(f)
        return True

    def resume(self, play: Play, track_no: int | None) -> list[Play]:
        """Take up a play that another session told. Without its recording in the catalogue it is closed at once."""
        own, alias = as_heard(play)
        begin, end = frame_at(play.begin_s), frame_at(play.end_s)
        offset = frame_at(own.reference_end_s) - own.speed * end
        pitch = 2 ** (own.pitch_cents / 1_200)
        f = FollowedLine(
            track_no=-1 if track_no is None else track_no,
            track_id=play.track_id,
            duration_s=own.reference_duration_s,
            line=Line(pitch=pitch, slope=own.speed, offset=offset),
            hypothesis=pitch,
            votes=play.votes,
            seen_frame=end,
            play=play,
            told_frames=max(0.0, play.end_s - play.first_heard_s) * FRAMES_PER_S,
            trail=Trail(begin_frame=begin, end_frame=end, matched_frames=play.matched_s * FRAMES_PER_S),
            reference_begin_frame=frame_at(own.reference_begin_s),
            gap_s=play.gap_s,
            also_matching=play.also_matching,
            alias=alias,
        )
        if track_no is None:
            return [self._close(f, play)]
        self._lines.append(f)
        return []

    def close_all(self) -> list[Play]:
        """The stream is over."""
        closed = [self._close(f, f.play) for f in self._lines if f.play is not None]
        self._lines = []
        return closed

    # -------------------------------------------------------------------------------------------- judging

    def follow(self, step: Step, *, newborn: bool = False) -> list[Play]:
        """Judge the lines, all or only those just adopted, on what was heard by now; the plays that changed."""
        window = step.window()
        #: Peaks of plays that are told, and those also of stronger lines that are not.
        told = step.explained[window].copy() if newborn else np.zeros(window.stop - window.start, np.bool_)
        claimed = told.copy()
        if not newborn:
            self._looks = []
        lines = [f for f in self._lines if not newborn or f.seen_frame == 0]
        looks = sorted((self._look(f, step) for f in lines), key=Look.rank)
        self._looks += looks
        changed: list[Play] = []
        for look in looks:
            f = look.line
            changed += self._try(look, told, claimed, step) if f.play is None else self._hold(look, f.play, told, step)
            f.seen_frame = max(f.seen_frame, step.end_frame)  # what an earlier owner saw may be heard again
            if f.play is not None and f.play.state != "closed" and f.weak_frames == 0:
                step.explained[window] |= look.own
                told |= look.own
            claimed |= look.own
        self._prune(step)
        return changed

    def _look(self, f: FollowedLine, step: Step) -> Look:
        """Look at a line, or less closely where that tells as much."""
        others = [other for other in self._lines if other is not f]
        brief = None
        if any(other.track_no == f.track_no and other.nats > f.nats for other in others):
            brief = f.rest(step)
        elif not any(other.play is not None for other in others):
            brief = f.glance(step)
        return brief or f.look(step)

    def _try(self, look: Look, told: Bool, claimed: Bool, step: Step) -> list[Play]:
        """A line nobody was told of yet: tell it, keep it, or note that it fades."""
        f = look.line
        if look.seen is None:
            left = look.but(told)
            f.nats = NO_EVIDENCE.nats if left is None else judge(left).nats
        f.weak_frames = f.weak_frames + step.new_frames if f.nats < _DROP_NATS else 0.0
        if look.alignment is None:
            return []
        if look.evidence.nats > _RECENTRE_NATS:
            f.line = look.alignment.line
        rival = max((o.evidence.nats for o in self._looks if o.elsewhere(look, step.end_frame)), default=0.0)
        if look.evidence.nats <= self._threshold or not self._passes(look.alignment, rival, f.shared):
            return []
        other = next((o for o in self._looks if o.line.play is not None and o.line.track_no == f.track_no), None)
        if other is not None and other.line.play is not None:
            if other.evidence.nats >= look.evidence.nats and other.line.weak_frames == 0:
                f.weak_frames = _DROP_FRAMES
                return []
            f.date(step, self._gaps)
            if self._same_seconds(f, other.line):
                return [self._correct(other.line, explained(other.line.play, look, self._threshold, anew=True), f)]
        alone = look.but(claimed)
        if alone is None or not self._passes(alone, rival, f.shared):
            if f.nats < FOLLOW_NATS:
                self._mention(f.track_id, look.own)
                f.weak_frames = _DROP_FRAMES
            return []
        f.date(step, self._gaps)
        f.play = self._tell(f, look, step)
        return [f.play]

    def _passes(self, alignment: Alignment, rival_nats: float, shared: Sequence[Shared]) -> bool:
        """Whether somebody should be told; `rival_nats`: of the best other line of the recording, `shared`: what of it others have."""
        return believed(alignment, shared, LIVE, threshold_nats=self._threshold, left_nats=self._params.left_nats, rival_nats=rival_nats)

    @staticmethod
    def _same_seconds(f: FollowedLine, other: FollowedLine) -> bool:
        """Whether a line mostly lies in the time of another, or follows it (a recording that is played again)."""
        begin, end = f.trail.begin_frame, f.trail.end_frame
        return other.trail.end_frame - begin > (end - begin) / 2

    def _correct(self, f: FollowedLine, play: Play, better: FollowedLine) -> Play:
        """Move a play to a better line of its recording: music repeats itself, and the first line was a bar or a verse off."""
        better.weak_frames = _DROP_FRAMES
        f.line, f.reference, f.covered, f.nats, f.weak_frames = better.line, better.reference, better.covered, better.nats, 0.0
        f.shared = better.shared
        f.trail, f.reference_begin_frame = better.trail, better.reference_begin_frame
        better.trail = Trail()
        f.play = self._now(f, play, play.state, revision=play.revision + 1)
        return f.play

    def _tell(self, f: FollowedLine, look: Look, step: Step) -> Play:
        begin_s, reference_begin_s = max(0.0, seconds(f.trail.begin_frame)), max(0.0, seconds(f.reference_begin_frame))
        play = Play(
            hit_id="",
            revision=1,
            state="provisional",
            track_id=f.track_id,
            begin_s=begin_s,
            end_s=begin_s,
            reference_begin_s=reference_begin_s,
            reference_end_s=reference_begin_s,
            reference_duration_s=f.duration_s,
            speed=1.0,
            pitch_cents=0.0,
            evidence_nats=look.evidence.nats,
            false_alarms_per_hour=0.0,
            votes=f.votes,
            matched_s=0.0,
            first_heard_s=step.end_frame / FRAMES_PER_S,
        )
        told = self._now(f, explained(play, look, self._threshold, anew=True), "provisional")
        return replace(told, hit_id=hit_id(self._stream_id, told.track_id, told.reference_begin_s, told.begin_s, self._source))

    def _hold(self, look: Look, play: Play, told: Bool, step: Step) -> list[Play]:
        """A play that was told: extend it, open it, or close it."""
        f = look.line
        if look.seen is not None:
            f.trail.add(look.seen, self._gaps)
            f.told_frames += step.new_frames
            return []
        alone = look.but(told)
        last = NO_EVIDENCE if alone is None else judge_last(alone, _LAST_FRAMES)
        if look.alignment is not None and last.nats > _RECENTRE_NATS:
            f.line = look.alignment.line
        f.hear(step, self._gaps)
        f.nats = look.evidence.nats
        f.told_frames += step.new_frames
        f.weak_frames = 0.0 if last.nats > self._params.hold_nats else f.weak_frames + step.new_frames
        f.play = replace(explained(play, look, self._threshold), evidence_nats=max(play.evidence_nats, f.nats))
        if f.weak_frames >= self._params.close_s * FRAMES_PER_S:
            return [self._close(f, f.play)]
        confirm_frames = self._params.confirm_s * FRAMES_PER_S
        if play.state == "open" or f.told_frames < confirm_frames or last.nats <= _FRESH_NATS:
            return []
        if f.trail.begin_frame > step.end_frame - HISTORY_FRAMES:
            f.date(step, self._gaps)
        # It may be told for longer than it sounded: the window still held it.
        if self._lasted_frames(f) < confirm_frames:
            return []
        if abs(f.line.slope - f.line.pitch) < _ANOTHER_SPEED:
            self.known_speed = f.line.slope if abs(f.line.slope - 1) > _ANOTHER_SPEED else None
        f.play = self._now(f, f.play, "open", revision=play.revision + 1)
        return [f.play]

    def _lasted_frames(self, f: FollowedLine) -> float:
        """Heard frames from a play's beginning to its last evidence."""
        begin, end = f.trail.begin_frame, f.trail.end_frame
        return end - begin - self._gaps.frames(begin, end) - f.gap_s * FRAMES_PER_S

    def _mention(self, track_id: str, own: Bool) -> None:
        """Name a recording with the play that explains most of what it would explain."""
        plays = [look for look in self._looks if look.line.play is not None]
        if not plays:
            return
        f = max(plays, key=lambda look: int(np.count_nonzero(look.own & own))).line
        if track_id != f.track_id and track_id not in f.also_matching:
            f.also_matching += (track_id,)

    def _prune(self, step: Step) -> None:
        """Drop lines that were closed, that faded, that met another line of their recording, or that are too many."""
        kept: list[FollowedLine] = []
        for f in sorted(self._lines, key=lambda f: (f.play is None, -f.nats)):
            met = any(k.track_no == f.track_no and close(k.line, f.line, step.end_frame) for k in kept)
            followed = f.weak_frames < _DROP_FRAMES and not met and len(kept) < self._params.lines_max
            if followed if f.play is None else f.play.state != "closed":
                kept.append(f)
        self._lines = kept

    # -------------------------------------------------------------------------------------------- plays

    def _close(self, f: FollowedLine, play: Play) -> Play:
        closed = self._now(f, play, "closed", revision=play.revision + 1)
        f.play = replace(closed, quotation=play.state == "provisional")
        return f.play

    def _now(self, f: FollowedLine, play: Play, state: PlayState, *, revision: int | None = None) -> Play:
        """A play as it is by now."""
        begin, end = f.trail.begin_frame, f.trail.end_frame
        begin_s, reference_begin_s = max(0.0, seconds(begin)), max(0.0, seconds(f.reference_begin_frame))
        now = replace(
            play,
            revision=revision or play.revision,
            state=state,
            begin_s=begin_s,
            end_s=max(begin_s, seconds(end)),
            reference_begin_s=reference_begin_s,
            reference_end_s=max(reference_begin_s, seconds(f.line.reference(end))),
            reference_duration_s=f.duration_s,
            speed=speed_between(f.line, begin, end, f.reference_begin_frame),
            pitch_cents=1_200 * log2(f.line.pitch),
            false_alarms_per_hour=confidence.false_alarms_per_hour(play.evidence_nats, self._size),
            votes=max(play.votes, f.votes),
            matched_s=f.trail.matched_frames(self._gaps) / FRAMES_PER_S,
            gap_s=f.gap_s + self._gaps.frames(begin, end) / FRAMES_PER_S,
            also_matching=f.also_matching,
        )
        return now if f.alias is None else as_told(now, f.alias)
