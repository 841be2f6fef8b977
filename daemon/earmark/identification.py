"""Which recordings are in this clip? The same landmarks, votes and verification as `earmark.hearing`, for sound that is all there.

A clip of up to about 12 s is one window. It is looked up under speed 1 and then, until the evidence is overwhelming, under four
other speeds; if there is nothing, every single landmark that is in the catalogue is followed up. A longer clip is heard in windows
that overlap by half, and what follows one line from window to window is one match.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from earmark.fingerprint.landmarks import noise_like, questions
from earmark.matching import confidence
from earmark.matching.alignment import HYPOTHESES, Candidate, Votes, lone, votes_least
from earmark.matching.dating import Gaps, Trail
from earmark.matching.lines import close, seconds, speed_between
from earmark.matching.plays import BEST_FRAMES
from earmark.matching.proposals import Verified, distinct, look_up, verify
from earmark.matching.verification import Alignment, Constellation, judge, judge_without_best, without
from earmark.model import FRAMES_PER_S, Answer, CatalogueSize, MatchParams, Peaks, Question

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
#: A recording that explains what a better one explains is a match too if it does so about as well: another issue of it.
_AS_GOOD = 0.8


@dataclass(frozen=True, kw_only=True)
class Match:
    """A stretch of a clip that follows a stretch of a recording."""

    track_id: str
    #: Seconds since the clip's first sample, from the first to the last peak that matches.
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
        self.track_id = found.track_id
        self.accepted = accepted
        self.nats = found.evidence.nats
        self._alignments = [found.alignment]

    def goes_on(self, found: Verified, frame: float) -> bool:
        line, other = self._alignments[-1].line, found.alignment.line
        return self.track_id == found.track_id and abs(line.slope - other.slope) < _SAME_SLOPE and close(line, other, frame)

    def extend(self, found: Verified, *, accepted: bool) -> None:
        self.accepted |= accepted
        self.nats = max(self.nats, found.evidence.nats)
        self._alignments.append(found.alignment)

    def match(self, size: CatalogueSize) -> Match:
        trail, gaps, heard = Trail(), Gaps(), 0.0
        for alignment in self._alignments:
            trail.add(alignment.hits(max(heard, alignment.begin_frame)), gaps)
            heard = alignment.end_frame
        trail.begin()
        begin, end = trail.begin_frame, trail.end_frame
        reference = self._alignments[0].line.reference(begin)
        speed = speed_between(self._alignments[-1].line, begin, end, reference)
        return Match(
            track_id=self.track_id,
            begin_s=seconds(begin),
            end_s=seconds(end),
            reference_begin_s=seconds(reference),
            speed=speed,
            score=self.nats,
            false_alarms_per_hour=confidence.false_alarms_per_hour(self.nats, size),
        )


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
        match = stretch.match(size)
        lasted = len(spans) == 1 or match.end_s - match.begin_s >= params.confirm_s
        if threshold_nats is None or (stretch.accepted and lasted):
            matches.append(match)
    return sorted(matches, key=lambda m: (-m.score, m.track_id, m.begin_s))


def default_threshold_nats(params: MatchParams, size: CatalogueSize) -> float:
    """The evidence that chance reaches as often as `params` allow in this catalogue."""
    return confidence.threshold_nats(params.false_alarms_per_hour, size)


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
