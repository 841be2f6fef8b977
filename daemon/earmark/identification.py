"""Which recordings are in this clip? The same landmarks, votes and verification as `earmark.hearing`, for sound that is all there.

A clip of up to about 12 s is one window. It is looked up under speed 1 and then, until the evidence is overwhelming, more
deeply, under four other speeds, and by pairs at every speed that is a little off. A longer clip is heard in windows
that overlap by half, and what follows one line from window to window is one match; it begins and ends where
`matching.dating` says, as a live play does.
"""

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias, cast

import numpy as np

from earmark.alias import Alias, HeardAs
from earmark.fingerprint.landmarks import AGAIN, DEEP, LIVE, Depth, pair_questions, swept_questions, triple_questions
from earmark.matching import confidence
from earmark.matching.alignment import CHANCE_CLIP, CHANCE_SWEPT, HYPOTHESES, Candidate, Votes
from earmark.matching.dating import HISTORY_FRAMES, Gaps, Trail, walk_back, walk_on
from earmark.matching.lines import close, lead_in, seconds, speed_between
from earmark.matching.proposals import AROUND_FRAMES, Verified, distinct, joined, look_up, passage, verify
from earmark.matching.samples import IN_A_CLIP, believed, recording_nats
from earmark.matching.stretches import own_nats
from earmark.matching.verification import Alignment, Constellation, Hits, without
from earmark.model import FRAMES_PER_S, Answer, Bool, CatalogueSize, Fetch, Landmarks, MatchParams, Peaks, Question, Reference, Shared

#: Yields questions, returns what was found.
Finding: TypeAlias = Generator[Question, Answer, list[Verified]]

#: With this much evidence no other speed is tried; instead, what it does not explain is looked up, so many times.
_SURE_NATS, _LAYERS = 45.0, 2
#: Candidates of each look-up that are verified.
_CANDIDATES_MAX = 64
#: Speeds at which pairs are tried where nothing else was found: pairs bear 0.1 %.
_SWEEP = tuple(sorted((n / 1_000 for n in range(960, 1_041, 2)), key=lambda speed: abs(speed - 1)))
#: So many of them are asked about at once: all would be eight million postings in a catalogue of 100,000 recordings.
_SPEEDS_AT_ONCE = 8
#: The shorter a clip, in windows, the more is asked about each of its anchors: about as much of every clip.
_SWEPT = ((1 / 3, DEEP), (2 / 3, replace(DEEP, neighbours=False)), (math.inf, LIVE))
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
#: Of two matches that say the same of a sound, the lesser is dropped where they share this much of its time.
_SAME_TIME = 0.5


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
    #: Evidence of its best window that it is this recording, in nats against chance: less than that for its sound where it
    #: may be only a sample that two recordings share.
    score: float
    #: How often per hour of stream chance alone would give such a score.
    false_alarms_per_hour: float
    #: Seconds with aligned evidence.
    matched_s: float
    #: Other recordings that explain the same seconds, less well.
    also_matching: tuple[str, ...] = ()
    #: It was heard by the sound of an alias of it.
    heard_as: HeardAs | None = None


@dataclass(slots=True)
class Verdict:
    """Of one line in one window."""

    accepted: bool
    also_matching: list[str]


class Stretch:
    """Windows that follow one line of one recording."""

    def __init__(self, found: Verified, verdict: Verdict) -> None:
        self.accepted = verdict.accepted
        self._also = list(verdict.also_matching)
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

    def extend(self, found: Verified, verdict: Verdict) -> None:
        self.accepted |= verdict.accepted
        self._also += verdict.also_matching
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
        match = Match(
            track_id=self.track_id,
            begin_s=seconds(begin),
            end_s=seconds(end),
            reference_begin_s=seconds(reference),
            speed=speed_between(windows[-1].alignment.line, begin, end, reference),
            score=max(min(_recording_nats(f), own_nats(f.alignment, f.shared)) for f in self._windows),
            false_alarms_per_hour=confidence.false_alarms_per_hour(self.nats, size),
            matched_s=trail.matched_frames(Gaps()) / FRAMES_PER_S,
            also_matching=tuple(dict.fromkeys([*self._windows[0].aliases, *self._also])),
        )
        return match if self._windows[0].alias is None else self._as_told(match, self._windows[0].alias)

    def _as_told(self, match: Match, alias: Alias) -> Match:
        """In the seconds of the recording that the alias is told as, if it is known where in that they are."""
        until_s = match.reference_begin_s + match.speed * (match.end_s - match.begin_s)
        placed = alias.placed(match.reference_begin_s, until_s)
        own = HeardAs(
            track_id=alias.track_id,
            begin_s=match.reference_begin_s,
            end_s=until_s,
            duration_s=self._windows[0].duration_s,
            speed=match.speed,
            pitch_cents=1_200 * math.log2(self._windows[0].alignment.line.pitch),
            placed=placed is not None,
        )
        if placed is None:
            return replace(match, heard_as=own)
        return replace(match, heard_as=own, reference_begin_s=placed[0], speed=match.speed * alias.speed)


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
    progress: Callable[[int, int], None] = lambda _done, _of: None,
) -> Generator[Question, Answer, list[Match]]:
    """Find the recordings in a clip; drive it with `earmark.hearing.drive`.

    Args:
        peaks: of the whole clip.
        duration_s: of the clip.
        params: how sure is sure.
        size: of the catalogue.
        threshold_nats: evidence that makes a match; see `default_threshold_nats`. What may only be a sample that two
            recordings share is then left out, whatever its evidence. None: every candidate, with its score.
        progress: told of each window: how many are done, of how many.

    Returns:
        Matches, best first. A recording that is heard twice is there twice.
    """
    heard = Constellation.of(peaks)
    stretches: list[Stretch] = []
    spans = _spans(duration_s * FRAMES_PER_S, params.window_s * FRAMES_PER_S)
    for done, (begin, end) in enumerate(spans):
        progress(done, len(spans))
        window = _Window(peaks.between(begin, end), heard, begin, end, params, size)
        found = yield from window.hear(thorough=len(spans) == 1)
        _extend(stretches, found, begin, _verdicts(found, end - begin, params, threshold_nats))
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
    """Whether two matches overlap, and say the same of what is heard then; or a better one says it of another recording."""
    begin, end = max(match.begin_s, other.begin_s), min(match.end_s, other.end_s)
    if match.track_id in other.also_matching:
        return end - begin > _SAME_TIME * (match.end_s - match.begin_s)
    if match.track_id == other.track_id and end - begin > _SAME_TIME * (match.end_s - match.begin_s):
        return True  # another place of it, or an alias of it that has seconds of its own
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
        found = yield from self._look_up(self.peaks, LIVE)
        if not _sure(found):
            found += yield from self._look_up(self.peaks, DEEP)
        for speed in HYPOTHESES[1:]:
            if not _sure(found):
                found += yield from self._look_up_triples(self.peaks, speed, AGAIN)
        if thorough and not _sure(found):
            found += yield from self._sweep()
        # Under what is found there may be something else.
        explained = np.zeros(len(self.peaks), np.bool_)
        for _ in range(_LAYERS):
            before = explained
            explained = np.logical_or.reduce([before, *(f.alignment.explained() for f in found if _sure([f]))])
            if np.array_equal(before, explained):
                break
            found += yield from self._look_up(self.peaks.take(~explained), DEEP)
        return _best_of_each_line([f for f in found if len(f.alignment.hits().frame)], self._middle)

    @property
    def _middle(self) -> float:
        return (self.begin + self.end) / 2

    def _look_up(self, peaks: Peaks, depth: Depth) -> Finding:
        """What the landmarks of some of the peaks propose, as they are."""
        found = yield from self._look_up_triples(peaks, HYPOTHESES[0], depth)
        return found + (yield from self._look_up_pairs(peaks, HYPOTHESES[0], depth))

    def _look_up_triples(self, peaks: Peaks, speed: float, depth: Depth) -> Finding:
        asked = triple_questions(peaks, begin_frame=self.begin - 1, end_frame=self.end + 1, speed=speed, depth=depth)
        return (yield from self._count(asked, Votes.of_triples(hypothesis=speed, window_frames=self.end - self.begin, chance_max=CHANCE_CLIP)))

    def _look_up_pairs(self, peaks: Peaks, speed: float, depth: Depth) -> Finding:
        asked = pair_questions(peaks, begin_frame=self.begin - 1, end_frame=self.end + 1, speed=speed, depth=depth)
        return (yield from self._count(asked, Votes.of_pairs(hypothesis=speed, window_frames=self.end - self.begin, chance_max=CHANCE_CLIP)))

    def _count(self, asked: Landmarks, votes: Votes) -> Finding:
        (postings,) = yield from look_up([asked], self.size)
        proposed = votes.add(postings, asked.frame, self.size)
        return (yield from self._verify(distinct(proposed, _CANDIDATES_MAX, self._middle)))

    def _sweep(self) -> Finding:
        """Pairs again, at every speed there may be, the likely ones first: a little fast and talked over, a clip may have no two triples left."""
        part = (self.end - self.begin) / (self.params.window_s * FRAMES_PER_S)
        depth = next(depth for at_most, depth in _SWEPT if part <= at_most)
        found: list[Verified] = []
        for begin in range(0, len(_SWEEP), _SPEEDS_AT_ONCE):
            speeds = _SWEEP[begin : begin + _SPEEDS_AT_ONCE]
            asked = swept_questions(self.peaks, begin_frame=self.begin - 1, end_frame=self.end + 1, speeds=speeds, depth=depth)
            answers = yield from look_up(asked, self.size)
            proposed: list[Candidate] = []
            for speed, landmarks, postings in zip(speeds, asked, answers, strict=True):
                votes = Votes.of_pairs(hypothesis=speed, window_frames=self.end - self.begin, chance_max=CHANCE_SWEPT)
                proposed += islice(votes.add(postings, landmarks.frame, self.size), _CANDIDATES_MAX)
            found += yield from self._verify(distinct(sorted(proposed, key=lambda c: -c.votes), _CANDIDATES_MAX, self._middle))
            if _sure(found):
                break
        return found

    def _verify(self, candidates: list[Candidate]) -> Finding:
        return (yield from verify(candidates, self.heard, self.begin, self.end, least_nats=_LEAST_NATS))


def _sure(found: list[Verified]) -> bool:
    return any(f.evidence.nats >= _SURE_NATS and _recording_nats(f) >= _SURE_NATS for f in found)


def _recording_nats(f: Verified) -> float:
    return recording_nats(f.alignment, f.evidence, IN_A_CLIP, rival_nats=f.rival_nats)


def _best_of_each_line(found: list[Verified], frame: float) -> list[Verified]:
    best: list[Verified] = []
    for f in sorted(found, key=lambda f: (-f.evidence.nats, f.track_id, f.alignment.line.offset)):
        if not any(_same_place(f, b, frame) for b in best):
            best.append(f)
    return [replace(f, rival_nats=_rival_nats(f, best)) for f in best]


def _same_place(f: Verified, other: Verified, frame: float) -> bool:
    return f.candidate.track_no == other.candidate.track_no and close(f.alignment.line, other.alignment.line, frame)


def _rival_nats(f: Verified, others: list[Verified]) -> float:
    return max((other.evidence.nats for other in others if other.candidate.track_no == f.candidate.track_no and other is not f), default=0.0)


def _verdicts(found: list[Verified], frames: float, params: MatchParams, threshold: float | None) -> list[Verdict]:
    """Which of a window's lines, best first, are matches: by what better ones do not explain. Those it takes from, they name."""
    verdicts = [Verdict(accepted=False, also_matching=[]) for _ in found]
    if threshold is None:
        return verdicts
    explained: list[Bool] = []
    for k, f in enumerate(found):
        own = f.alignment.explained()
        if f.evidence.nats <= threshold:
            explained.append(own)
            continue
        alone = without(f.alignment, np.logical_or.reduce(explained)) if k else f.alignment
        verdicts[k].accepted = _passes(alone, f.shared, f.rival_nats, frames, params, threshold)
        if not verdicts[k].accepted and k and _passes(f.alignment, (), 0.0, frames, params, threshold):
            taker = max(range(k), key=lambda j: int(np.count_nonzero(explained[j] & own)))
            if found[taker].track_id != f.track_id:
                verdicts[taker].also_matching.append(f.track_id)
        explained.append(own)
    return verdicts


def _passes(alignment: Alignment, shared: Sequence[Shared], rival_nats: float, frames: float, params: MatchParams, threshold: float) -> bool:
    part = min(1.0, frames / (params.window_s * FRAMES_PER_S))
    return believed(alignment, shared, IN_A_CLIP, threshold_nats=threshold, left_nats=params.left_nats, rival_nats=rival_nats, part=part)


def _extend(stretches: list[Stretch], found: list[Verified], begin: float, verdicts: list[Verdict]) -> None:
    """Add a window's lines to those they go on from, or as new ones."""
    new: list[Stretch] = []
    for f, verdict in zip(found, verdicts, strict=True):
        stretch = next((s for s in stretches if s.goes_on(f, begin)), None)
        if stretch is None:
            new.append(Stretch(f, verdict))
        else:
            stretch.extend(f, verdict)
    stretches += new
