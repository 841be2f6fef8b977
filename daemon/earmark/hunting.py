"""Was this recording played in streams that are long over? Sketches of what was heard propose where, what was kept of it decides.

A block of some minutes is asked in a fifth of a millisecond whether landmarks of the recording pile up at one place of it
(`Hunt.search`). Where they do, the peaks that were kept are laid over the recording's as a live stream's are, and if that
is more than chance, the line is followed forth and back through all that the recording should be heard in (`Hunt.follow`).
What makes a match of it is what makes one of a clip: `earmark.identification`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from earmark.fingerprint.sketch import GROUP_FRAMES, Coincidences, Sought
from earmark.hearing import drive
from earmark.identification import Match, Stretch, Verdict, default_threshold_nats
from earmark.matching.alignment import HYPOTHESES, Candidate, Int64, Votes, votes_least
from earmark.matching.explanation import explain
from earmark.matching.lines import close
from earmark.matching.proposals import Verified, distinct
from earmark.matching.samples import IN_A_CLIP, believed
from earmark.matching.verification import KNOWN_PITCH_OCTAVES, PITCH_OCTAVES, Alignment, Constellation, Line, align, judge
from earmark.model import FRAMES_PER_S, Answer, Bool, CatalogueSize, Explanation, Fetch, Float64, MatchParams, Postings, Question, Reference

#: Landmarks are counted in windows of twice this, which overlap by half, at places twice as wide as this.
_HALF_WINDOW_FRAMES, _HALF_PLACE_FRAMES = 256, 16
#: Windows that chance may propose, for each one that is counted, and the fewest moments that propose one at all; and of a
#: window, the lines that are looked at.
_CHANCE_MAX, _VOTES_LEAST, _LINES_MAX = 0.002, 3, 2
#: A moment is a group of a sketch.
_MOMENT_BITS, _MOMENT_SHIFT = 10, GROUP_FRAMES.bit_length() - 1
#: Less evidence is chance. A line is put right by more than the second.
_FOLLOW_NATS, _RECENTRE_NATS = 10.0, 12.0
#: Windows of a line that is followed: so far apart, and so many in a row with hardly any evidence end it.
_STEP_FRAMES = 6 * FRAMES_PER_S
_SILENT_WINDOWS, _SILENT_NATS = 5, 5.0
#: Stream around what a line spans that is looked at: where a play begins and ends may be beyond it.
AROUND_S: Final = 75.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A line through the recording that landmarks of a block lie on, in stream frames."""

    line: Line
    votes: int
    #: Of the stretch in which they lie.
    middle_frame: float

    def span_s(self, duration_s: float) -> tuple[float, float]:
        """Seconds of the stream in which the recording would sound, all of it."""
        begin = (0.0 - self.line.offset) / self.line.slope / FRAMES_PER_S
        return max(0.0, begin - AROUND_S), begin + duration_s / self.line.slope + AROUND_S


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """A play of the recording."""

    match: Match
    #: Stream pitch over the recording's, where there is most evidence.
    pitch: float
    #: Moments that proposed it.
    votes: int
    #: What proves it, in that window.
    explanation: Explanation


class Hunt:
    """Searches for one recording.

    Args:
        reference: the recording, whole.
        params: how sure is sure, in false alarms per hour of stream.
        speeds: at which it may have been played, as of `alignment.HYPOTHESES`.
    """

    def __init__(self, reference: Reference, *, params: MatchParams, speeds: tuple[float, ...] = HYPOTHESES) -> None:
        self._reference = reference
        self._params = params
        self._stored = Constellation.of(reference.peaks)
        self._sought = Sought(reference.peaks, speeds)
        #: Of all that is listened for: this recording alone.
        self.size = CatalogueSize(tracks=1, seconds=reference.duration_s, postings=len(reference.peaks))
        self._threshold = default_threshold_nats(params, self.size)
        self._window_frames = params.window_s * FRAMES_PER_S

    # ------------------------------------------------------------------------------------------- proposing

    def search(self, sketched: bytes, frames: int, begin_s: float) -> list[Proposal]:
        """Where in a block the recording may be. Raises ValueError for a sketch that is damaged.

        Args:
            sketched: of the block,
            frames: which is so long,
            begin_s: and begins at this second of its stream.
        """
        common, origin = self._sought.find(sketched, frames), begin_s * FRAMES_PER_S
        found: list[Proposal] = []
        for crowd in self._crowds(common):
            near = (common.speed_no == crowd.speed_no) & (np.abs(common.heard - crowd.middle) <= _HALF_WINDOW_FRAMES)
            for candidate in self._lines(common.take(near), self._sought.speeds[crowd.speed_no]):
                line = replace(candidate.line, offset=candidate.line.offset - candidate.line.slope * origin)
                found.append(Proposal(line=line, votes=candidate.votes, middle_frame=crowd.middle + origin))
        return found

    def _lines(self, common: Coincidences, speed: float) -> list[Candidate]:
        votes = Votes.of_triples(hypothesis=speed, window_frames=2 * _HALF_WINDOW_FRAMES, chance_max=_CHANCE_MAX)
        postings = Postings(query=np.arange(len(common), dtype=np.int32), track_no=np.zeros(len(common), np.int32), frame=common.reference)
        return distinct(votes.add(postings, common.heard.astype(np.float64), self.size), _LINES_MAX, float(common.heard.mean()))

    def _crowds(self, common: Coincidences) -> list["_Crowd"]:
        """Windows in which landmarks pile up at one place of the recording; none beside a better one of its speed."""
        if len(common) < _VOTES_LEAST:
            return []
        speed = np.array(self._sought.speeds).take(common.speed_no)
        window = common.heard // np.int64(_HALF_WINDOW_FRAMES)
        place = np.floor((common.reference - speed * common.heard) / _HALF_PLACE_FRAMES).astype(np.int64)
        place -= place.min()
        width, height = int(place.max()) + 2, int(window[-1]) + 2
        # Each is in two windows, and in two places, that overlap by half.
        cell = (common.speed_no * height + window) * width + place + np.array([[0], [1], [width], [width + 1]])
        # One vote for each moment: a sustained chord has many landmarks, and says one thing.
        voters = (cell << _MOMENT_BITS | common.heard >> _MOMENT_SHIFT).ravel()
        voters.sort()
        voted = voters.compress(_new(voters)) >> _MOMENT_BITS
        begin = _new(voted).nonzero()[0]
        votes = np.diff(begin, append=len(voted))
        row = voted.take(begin) // width
        enough = votes >= self._least(common, height).take(row // height)
        best_first = (-votes.compress(enough)).argsort(kind="stable")
        crowds: list[_Crowd] = []
        for number in row.compress(enough).take(best_first).tolist():
            if not any(abs(number - crowd.number) <= 1 for crowd in crowds):
                speed_no, middle = divmod(number, height)
                crowds.append(_Crowd(number, speed_no, middle * _HALF_WINDOW_FRAMES))
        return crowds

    def _least(self, common: Coincidences, height: int) -> Float64:
        """So many votes chance seldom gives, under each speed: float64 [speeds]."""
        together = 2 * np.bincount(common.speed_no, minlength=len(self._sought.speeds)) // max(1, height - 1)
        least = [votes_least(n, n, bin_frames=2 * _HALF_PLACE_FRAMES, catalogue_s=self.size.seconds, chance_max=_CHANCE_MAX) for n in together.tolist()]
        return np.maximum(np.array(least, np.float64), _VOTES_LEAST)

    # ------------------------------------------------------------------------------------------- deciding

    def follow(self, proposals: Iterable[Proposal], heard: Constellation) -> list[Played]:
        """What proposals of one stream come to, each play once, the best first.

        Args:
            proposals: whose spans touch one another; what lies on a line that another led to is not looked at again.
            heard: all that was heard in those spans.
        """
        lines: list[list[Verified]] = []
        for proposal in sorted(proposals, key=lambda p: -p.votes):
            if not any(_lies_on(proposal, windows) for windows in lines):
                begin = proposal.middle_frame - self._window_frames / 2
                one = self._verified(heard, proposal.line, begin, proposal.votes, PITCH_OCTAVES, least_nats=_FOLLOW_NATS)
                if one is not None and not any(_goes_on(one, windows) for windows in lines):
                    lines.append(self._along(one, heard))
        found: list[Played] = []
        for windows in sorted(lines, key=lambda windows: -_best(windows).evidence.nats):
            others = [w for other in lines if other is not windows for w in other]
            match = self._match(windows, heard, others)
            if match is not None and not any(_same_seconds(match, other.match) for other in found):
                best = _best(windows)
                proof = explain(best.alignment, best.evidence, self._threshold)
                found.append(Played(match=match, pitch=best.alignment.line.pitch, votes=best.candidate.votes, explanation=proof))
        return found

    def _along(self, found: Verified, heard: Constellation) -> list[Verified]:
        """The windows of a line, as far as it goes."""
        before, after = (self._walk(found, heard, step) for step in (-_STEP_FRAMES, _STEP_FRAMES))
        return [*before[::-1], found, *after]

    def _walk(self, found: Verified, heard: Constellation, step: float) -> list[Verified]:
        windows, silent, line = [], 0, found.alignment.line
        begin, last = found.alignment.begin_frame, self._reference.duration_s * FRAMES_PER_S
        while silent < _SILENT_WINDOWS:
            begin += step
            if line.reference(begin + self._window_frames) <= 0 or line.reference(begin) >= last:
                break
            window = self._verified(heard, line, begin, found.candidate.votes, KNOWN_PITCH_OCTAVES, least_nats=_SILENT_NATS)
            silent = silent + 1 if window is None else 0
            if window is not None and close(window.alignment.line, line, begin + self._window_frames / 2):
                windows.append(window)
                if window.evidence.nats > _RECENTRE_NATS:
                    line = window.alignment.line
        return windows

    def _verified(self, heard: Constellation, line: Line, begin: float, votes: int, pitch_octaves: float, *, least_nats: float) -> Verified | None:
        alignment = align(heard, self._stored, line, begin, begin + self._window_frames, pitch_octaves=pitch_octaves)
        evidence = None if alignment is None else judge(alignment)
        if alignment is None or evidence is None or evidence.nats < least_nats or not len(alignment.hits().frame):
            return None
        return Verified(
            candidate=Candidate(track_no=self._reference.track_no, line=line, votes=votes),
            track_id=self._reference.track_id,
            duration_s=self._reference.duration_s,
            alignment=alignment,
            evidence=evidence,
            shared=self._reference.shared,
        )

    def _match(self, windows: Sequence[Verified], heard: Constellation, others: Sequence[Verified]) -> Match | None:
        stretch: Stretch | None = None
        for window in windows:
            rival = max((o.evidence.nats for o in others if _elsewhere(o, window)), default=0.0)
            verdict = Verdict(accepted=self._passes(window.alignment, rival), also_matching=[])
            if stretch is None:
                stretch = Stretch(replace(window, rival_nats=rival), verdict)
            else:
                stretch.extend(replace(window, rival_nats=rival), verdict)
        if stretch is None or not stretch.accepted or stretch.lasted_s() < self._params.confirm_s:
            return None
        match = drive(stretch.followed(heard, self.size), self._answer)
        return match if match.end_s - match.begin_s >= self._params.confirm_s else None

    def _passes(self, alignment: Alignment, rival_nats: float) -> bool:
        return believed(alignment, self._reference.shared, IN_A_CLIP, threshold_nats=self._threshold, left_nats=self._params.left_nats, rival_nats=rival_nats)

    def _answer(self, question: Question) -> Answer:
        assert isinstance(question, Fetch)
        return [replace(self._reference, peaks=self._reference.peaks.between(p.begin_frame, p.end_frame)) for p in question.passages]


class _Crowd(NamedTuple):
    """A window in which landmarks pile up."""

    #: Neighbours have neighbouring numbers.
    number: int
    speed_no: int
    #: In frames of the block.
    middle: int


def _new(ascending: Int64) -> Bool:
    """Which of the values differ from the one before."""
    new = np.ones(len(ascending), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return new


def _best(windows: Sequence[Verified]) -> Verified:
    return max(windows, key=lambda window: window.evidence.nats)


def _lies_on(proposal: Proposal, windows: Sequence[Verified]) -> bool:
    """Whether it is of a line that was followed through its seconds."""
    at = proposal.middle_frame
    return any(w.alignment.begin_frame <= at <= w.alignment.end_frame and close(w.alignment.line, proposal.line, at) for w in windows)


def _goes_on(one: Verified, windows: Sequence[Verified]) -> bool:
    """The same, now that its line is known well."""
    at = (one.alignment.begin_frame + one.alignment.end_frame) / 2
    return any(w.alignment.begin_frame <= at <= w.alignment.end_frame and close(w.alignment.line, one.alignment.line, at) for w in windows)


def _elsewhere(other: Verified, window: Verified) -> bool:
    """Whether the recording is found at another place in the same seconds."""
    middle = (window.alignment.begin_frame + window.alignment.end_frame) / 2
    there = other.alignment.begin_frame <= middle <= other.alignment.end_frame
    return there and not close(other.alignment.line, window.alignment.line, middle)


def _same_seconds(match: Match, other: Match) -> bool:
    """Whether most of a match lies in the time of a better one: music repeats itself, and only one line of it is believed."""
    shared_s = min(match.end_s, other.end_s) - max(match.begin_s, other.begin_s)
    return shared_s > (match.end_s - match.begin_s) / 2
