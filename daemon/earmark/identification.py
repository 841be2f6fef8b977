"""Which recordings are in this clip? The same landmarks, votes and verification as `earmark.hearing`, for sound that is all there.

A clip of up to about 12 s is one window. It is looked up under speed 1 and then, until the evidence is overwhelming, under four
other speeds; if there is nothing, every single landmark that is in the catalogue is followed up. A longer clip is heard in windows
that overlap by half, and what follows one line from window to window is one match; it begins and ends where
`matching.dating` says, as a live play does.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import numpy as np

from earmark.fingerprint.landmarks import noise_like, questions
from earmark.matching import confidence
from earmark.matching.alignment import HYPOTHESES, Candidate, Votes, lone, votes_least
from earmark.matching.dating import HISTORY_FRAMES, Gaps, Trail, walk_back, walk_on
from earmark.matching.lines import close, lead_in, seconds, speed_between
from earmark.matching.plays import BEST_FRAMES
from earmark.matching.proposals import AROUND_FRAMES, Verified, distinct, joined, look_up, passage, verify
from earmark.matching.verification import Alignment, Constellation, Hits, judge, judge_without_best, without
from earmark.model import FRAMES_PER_S, Answer, CatalogueSize, Fetch, MatchParams, Peaks, Question, Reference

#: Yields questions, returns what was found.
Finding: TypeAlias = Generator[Question, Answer, list[Verified]]

#: With this much evidence no other speed is tried; instead, what it does not explain is looked up, so many times.
_SURE_NATS, _LAYERS = 45.0, 2
#: Postings that are verified each by itself, where nothing else was found.
_LONE_MAX = 128
#: Candidates with less are not worth a mention, even when all are asked for.
_LEAST_NATS = 1.0
#: A clip longer than the window by less than this share is still one window.
_SINGLE_WINDOW = 1.125
#: Windows that follow one line agree on its slope.
_SAME_SLOPE = 0.01
#: A line with less evidence is not followed out of its windows. A recording fills those with this share of the best one's.
_FOLLOW_NATS, _FULL_SHARE = 12.0, 0.5
#: Matches of one recording that overlap and are no farther apart are one (lines: `matching.lines.close`, 12 frames).
_SAME_PLACE_S = 12 / FRAMES_PER_S
#: A recording that explains what a better one explains is a match too if it does so about as well: another issue of it.
_AS_GOOD = 0.8


@dataclass(frozen=True, kw_only=True)
class Match:
    """A stretch of a clip that follows a stretch of a recording."""

    track_id: str
    #: Seconds since the clip's first sample: where peaks begin to match more often than by chance, and where they cease to.
    begin_s: float
    end_s: float
    #: Second of the recording that sounds at `begin_s`.
    reference_begin_s: float
    #: Reference seconds per clip second.
    speed: float
    #: Evidence of its best window, in nats against chance.
    score: float
    #: How often per hour of stream chance alone would give such a score.
    false_alarms_per_hour: float


class _Stretch:
    """Windows that follow one line of one recording."""

    def __init__(self, found: Verified, *, accepted: bool) -> None:
        self.accepted = accepted
        self._windows = [found]

    @property
    def track_id(self) -> str:
        return self._windows[0].track_id

    @property
    def nats(self) -> float:
        """Evidence of its best window."""
        return max(f.evidence.nats for f in self._windows)

    def goes_on(self, found: Verified, frame: float) -> bool:
        line, other = self._windows[-1].alignment.line, found.alignment.line
        return self.track_id == found.track_id and abs(line.slope - other.slope) < _SAME_SLOPE and close(line, other, frame)

    def extend(self, found: Verified, *, accepted: bool) -> None:
        self.accepted |= accepted
        self._windows.append(found)

    def lasted_s(self) -> float:
        """How long its windows match. What is accepted depends on it, and not on how far it can be followed beyond them."""
        trail = _trail(_hits(self._windows))
        return (trail.end_frame - trail.begin_frame) / FRAMES_PER_S

    def within(self, size: CatalogueSize) -> Match:
        """What its windows hold."""
        return self._match(_trail(_hits(self._windows)), self._windows, size)

    def followed(self, heard: Constellation, size: CatalogueSize) -> Generator[Question, Answer, Match]:
        """The same, and what lies on its line before and after them: back to its beginning, and on to its end.

        It is followed from windows that are full of the recording. Those at its ends hold music that is not in it as
        well, often in the same key, and their lines are bent to match some of that too.
        """
        full = _full(self._windows, self.nats)
        line, last_line = full[0].alignment.line, full[-1].alignment.line
        begin, full_begin = self._windows[0].alignment.begin_frame, full[0].alignment.begin_frame
        end, full_end = self._windows[-1].alignment.end_frame, full[-1].alignment.end_frame
        first, last = begin - HISTORY_FRAMES, end + HISTORY_FRAMES
        wanted = passage(full[0].candidate.track_no, line.reference(first) - AROUND_FRAMES, last_line.reference(last) + AROUND_FRAMES)
        references = cast(list[Reference], (yield Fetch(passages=(wanted,))))
        if not references:  # it was taken out of the catalogue just now
            return self.within(size)
        stored, near = joined(references), heard.between(first, last)
        before = walk_back(near, stored, line, full_begin, least_frames=full_begin - begin)
        after = walk_on(near, stored, last_line, full_end, least_frames=end - full_end)
        trail = _trail([*before, *_hits(full), *after])
        if wanted.begin_frame == 0:
            lead_in(trail, stored, line, 0.0)
        return self._match(trail, full, size)

    def _match(self, trail: Trail, windows: Sequence[Verified], size: CatalogueSize) -> Match:
        begin, end = trail.begin_frame, trail.end_frame
        reference = windows[0].alignment.line.reference(begin)
        return Match(
            track_id=self.track_id,
            begin_s=seconds(begin),
            end_s=seconds(end),
            reference_begin_s=seconds(reference),
            speed=speed_between(windows[-1].alignment.line, begin, end, reference),
            score=self.nats,
            false_alarms_per_hour=confidence.false_alarms_per_hour(self.nats, size),
        )


def _full(windows: Sequence[Verified], best_nats: float) -> Sequence[Verified]:
    """From the first to the last window that the recording fills."""
    full = [k for k, f in enumerate(windows) if f.evidence.nats >= _FULL_SHARE * best_nats]
    return windows[full[0] : full[-1] + 1]


def _hits(windows: Sequence[Verified]) -> list[Hits]:
    """Of windows that overlap, each frame's hits once."""
    hits, heard = [], 0.0
    for f in windows:
        hits.append(f.alignment.hits(max(heard, f.alignment.begin_frame)))
        heard = f.alignment.end_frame
    return hits


def _trail(hits: Sequence[Hits]) -> Trail:
    trail, gaps = Trail(), Gaps()
    for some in hits:
        trail.add(some, gaps)
    trail.begin()
    return trail


def identify(
    peaks: Peaks,
    duration_s: float,
    *,
    params: MatchParams,
    size: CatalogueSize,
    threshold_nats: float | None,
) -> Generator[Question, Answer, list[Match]]:
    """Find the recordings in a clip; drive it with `earmark.hearing.drive`.

    Args:
        peaks: of the whole clip.
        duration_s: of the clip.
        params: how sure is sure.
        size: of the catalogue.
        threshold_nats: evidence that makes a match; see `default_threshold_nats`. What may only be a sample that two
            recordings share is then left out, whatever its evidence. None: every candidate, with its score.

    Returns:
        Matches, best first. A recording that is heard twice is there twice.
    """
    heard = Constellation.of(peaks)
    stretches: list[_Stretch] = []
    spans = _spans(duration_s * FRAMES_PER_S, params.window_s * FRAMES_PER_S)
    for begin, end in spans:
        window = _Window(peaks.between(begin, end), heard, begin, end, params, size)
        found = yield from window.hear(thorough=len(spans) == 1)
        _extend(stretches, found, begin, _accepted(found, end - begin, params, threshold_nats))
    matches = []
    for stretch in stretches:
        lasted = len(spans) == 1 or stretch.lasted_s() >= params.confirm_s
        if threshold_nats is None or (stretch.accepted and lasted):
            follow = len(spans) > 1 and stretch.nats > _FOLLOW_NATS
            matches.append((yield from stretch.followed(heard, size)) if follow else stretch.within(size))
    best_first = sorted(matches, key=lambda m: (-m.score, m.track_id, m.begin_s))
    return best_first if len(spans) == 1 else _once(best_first)


def default_threshold_nats(params: MatchParams, size: CatalogueSize) -> float:
    """The evidence that chance reaches as often as `params` allow in this catalogue."""
    return confidence.threshold_nats(params.false_alarms_per_hour, size)


def _once(best_first: Sequence[Match]) -> list[Match]:
    """Matches that are not a better one again: where windows bend a line, it may be found as two."""
    kept: list[Match] = []
    for match in best_first:
        if not any(_same_sound(match, other) for other in kept):
            kept.append(match)
    return kept


def _same_sound(match: Match, other: Match) -> bool:
    """Whether two matches overlap, and say the same of what is heard then."""
    begin, end = max(match.begin_s, other.begin_s), min(match.end_s, other.end_s)
    place, other_place = (m.reference_begin_s + m.speed * ((begin + end) / 2 - m.begin_s) for m in (match, other))
    return match.track_id == other.track_id and begin < end and abs(place - other_place) < _SAME_PLACE_S


def _spans(duration: float, window: float) -> list[tuple[float, float]]:
    """Begin and end of the windows of a clip, in frames; the last one ends with it."""
    if duration <= window * _SINGLE_WINDOW:
        return [(0.0, duration)]
    begins = np.append(np.arange(0.0, duration - window, window / 2), duration - window)
    return [(float(begin), float(begin) + window) for begin in begins]


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """A stretch of a clip, and how it is searched."""

    peaks: Peaks
    heard: Constellation
    begin: float
    end: float
    params: MatchParams
    size: CatalogueSize

    def hear(self, *, thorough: bool) -> Finding:
        """All that is found, best first."""
        found: list[Verified] = []
        for speed in HYPOTHESES:
            found += yield from self._look_up(self.peaks, speed)
            if _sure(found):
                break
        if thorough and not _sure(found):
            found += yield from self._search()
        # Under what is found there may be something else.
        explained = np.zeros(len(self.peaks), np.bool_)
        for _ in range(_LAYERS):
            before = explained
            explained = np.logical_or.reduce([before, *(f.alignment.explained() for f in found if _sure([f]))])
            if np.array_equal(before, explained):
                break
            found += yield from self._look_up(self.peaks.take(~explained), HYPOTHESES[0])
        return _best_of_each_line([f for f in found if len(f.alignment.hits().frame)], self._middle)

    @property
    def _middle(self) -> float:
        return (self.begin + self.end) / 2

    def _look_up(self, peaks: Peaks, speed: float) -> Finding:
        """What the landmarks of some of the peaks propose under one speed."""
        asked = questions(peaks, begin_frame=self.begin - 1, end_frame=self.end + 1, speed=speed, noise_like=noise_like(peaks))
        (postings,) = yield from look_up([asked], self.size)
        votes = Votes(hypothesis=speed, window_frames=self.end - self.begin, least=votes_least(self.size))
        proposed = votes.add(postings, asked.frame)
        return (yield from self._verify(distinct(proposed, self.params.candidates_max, self._middle)))

    def _search(self) -> Finding:
        """What only one landmark points to: all peaks make landmarks, not the sparse ones alone, and each posting is verified.

        Under reverberation or a loud talker there may be no two landmarks left in a clip, and still two hundred nats.
        """
        dense = replace(self.peaks, hashed=np.ones(len(self.peaks), np.bool_))
        asked = questions(dense, begin_frame=self.begin - 1, end_frame=self.end + 1, noise_like=noise_like(self.peaks))
        (postings,) = yield from look_up([asked], self.size)
        return (yield from self._verify(distinct(lone(postings, asked.frame, HYPOTHESES[0]), _LONE_MAX, self._middle)))

    def _verify(self, candidates: list[Candidate]) -> Finding:
        return (yield from verify(candidates, self.heard, self.begin, self.end, least_nats=_LEAST_NATS))


def _sure(found: list[Verified]) -> bool:
    return any(f.evidence.nats >= _SURE_NATS and not confidence.shares_a_sample(f.evidence.nats, f.evidence.share) for f in found)


def _best_of_each_line(found: list[Verified], frame: float) -> list[Verified]:
    best: list[Verified] = []
    for f in sorted(found, key=lambda f: (-f.evidence.nats, f.track_id, f.alignment.line.offset)):
        if not any(f.track_id == b.track_id and close(f.alignment.line, b.alignment.line, frame) for b in best):
            best.append(f)
    return best


def _accepted(found: list[Verified], frames: float, params: MatchParams, threshold: float | None) -> list[bool]:
    """Which of a window's lines, best first, are matches: by what better ones do not explain, or as good as the best."""
    accepted: list[bool] = []
    explained = np.zeros(len(found[0].alignment.heard) if found else 0, np.bool_)
    for f in found:
        alone = f.alignment
        repeated = any(a and f.track_id == b.track_id for a, b in zip(accepted, found, strict=False))
        if repeated or f.evidence.nats < _AS_GOOD * found[0].evidence.nats:
            alone = without(alone, explained)
        accepted.append(threshold is not None and _passes(alone, frames, params, threshold))
        explained |= f.alignment.explained()
    return accepted


def _passes(alignment: Alignment, frames: float, params: MatchParams, threshold: float) -> bool:
    # What must be left without the best part shrinks with the clip, and so does that part.
    share = min(1.0, frames / (params.window_s * FRAMES_PER_S))
    evidence = judge(alignment)
    return (
        evidence.nats > threshold
        and not confidence.shares_a_sample(evidence.nats, evidence.share)
        and judge_without_best(alignment, BEST_FRAMES * share).nats > params.left_nats * share
    )


def _extend(stretches: list[_Stretch], found: list[Verified], begin: float, accepted: list[bool]) -> None:
    """Add a window's lines to those they go on from, or as new ones."""
    new: list[_Stretch] = []
    for f, passes in zip(found, accepted, strict=True):
        stretch = next((s for s in stretches if s.goes_on(f, begin)), None)
        if stretch is None:
            new.append(_Stretch(f, accepted=passes))
        else:
            stretch.extend(f, accepted=passes)
    stretches += new
