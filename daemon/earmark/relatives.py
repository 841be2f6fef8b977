"""What does a recording share with others in the catalogue? Heard as a stream is, but against recordings, before it counts.

Albums reuse samples. A stretch that two recordings share says later that its *sound* is heard, not which recording
(`earmark.matching.stretches`). So a recording that is added is heard once by the same landmarks, votes and verification as
a live stream, in windows of 12 s, and what it is found to be related to is compared with it, peak by peak, in both
directions: each of the two learns which of its stretches the other one has.

A recording most of which is in another one is not a sample of it but another issue, an edit, an excerpt: a *version*.
Versions stay on record and take nothing from one another, or two issues of a song would silence each other.

The first half costs a live stream's look-ups; the second, two or three milliseconds for each six seconds of each
relative, of which there are at most `RELATIVES_MAX`.
"""

import math
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias, cast

import numpy as np

from earmark.fingerprint.landmarks import pair_questions, triple_questions
from earmark.matching import confidence
from earmark.matching.alignment import HYPOTHESES, Votes
from earmark.matching.dating import Gaps, Trail
from earmark.matching.histograms import HALF_CELLS, NARROW
from earmark.matching.proposals import distinct, look_up, passage, verify
from earmark.matching.verification import KNOWN_PITCH_OCTAVES, Alignment, Constellation, Line, align, judge, paired
from earmark.model import EIGHTHS, FRAMES_PER_S, Answer, Bool, CatalogueSize, Fetch, Float64, Peaks, Postings, Question, Reference, Relation, Shared

#: Yields questions, returns what was found.
Finding: TypeAlias = Generator[Question, Answer, list[Relation]]

#: Recordings that one is compared with. A loop that hundreds share is told from few of them.
RELATIVES_MAX: Final = 16
#: Of a recording so much is heard and compared: the work is bounded, whatever its length.
COMPARED_S: Final = 6 * 3_600.0
#: Windows that chance may take for a shared sound, and recordings for relatives, per hour of what is added.
_CHANCE_PER_HOUR, _RELATED_BY_CHANCE_PER_HOUR = 0.01, 1e-4
#: Windows, and how far apart: a stretch of 6 s lies in one of them as a whole.
_WINDOW_FRAMES, _STEP_FRAMES = 12 * FRAMES_PER_S, 6 * FRAMES_PER_S
#: Candidates that chance may give in a window, and those of each family of landmarks that are verified: a shared sound has
#: dozens of votes.
_CHANCE_MAX, _CANDIDATES_MAX = 0.2, 4
#: Shorter stretches are chords in common. Those that are less far apart are one.
_LEAST_FRAMES, _JOINED_FRAMES = 3 * FRAMES_PER_S, FRAMES_PER_S
#: In one such stretch at least the other has this share of the peaks: two pieces of one key and tempo have fewer in common.
_LEAST_PEAKS: Final = 0.08
#: Of a version, more than this share of the time of one is in the other, with more than this share of the peaks: another
#: recording never had more than .24 (`matching.verification`).
_VERSION_SHARE, _VERSION_PEAKS = 0.5, 0.25

# Lines between two constellations, without landmarks: offsets at which peaks of one frequency coincide, in bins of so
# many frames; of a window so many lines, each with so many peaks, that verification can find within 4 frames.
_BIN_FRAMES, _NEAR_BINS = 2.0, 2
_LINES_MAX, _TOGETHER_LEAST = 4, 8
#: Frequencies of one peak in two recordings differ by less, in octaves; a line's own tolerance follows in verification.
_SAME_OCTAVES: Final = 0.003


def relatives(peaks: Peaks, duration_s: float, *, track_no: int, known: Collection[int], size: CatalogueSize) -> Finding:
    """Find what a recording shares with others; drive it with `earmark.hearing.drive`.

    Args:
        peaks: of the whole recording, with their salience.
        duration_s: of the recording.
        track_no: its number in the catalogue: it is not its own relative.
        known: numbers of those it was compared with already.
        size: of the catalogue.

    Returns:
        One relation for each relative, by its number.
    """
    heard = peaks.between(-math.inf, COMPARED_S * FRAMES_PER_S)
    found = yield from _related(heard, {track_no, *known}, size)
    relations = []
    for related in sorted(found.values(), key=lambda related: related.other_no):
        everything = passage(related.other_no, 0, COMPARED_S * FRAMES_PER_S)
        references = cast(list[Reference], (yield Fetch(passages=(everything,))))
        if references:  # or it was taken out of the catalogue just now
            relation = compared(Constellation.of(heard), duration_s, related, Constellation.of(references[0].peaks), references[0].duration_s, size)
            relations += [relation] if relation is not None else []
    return relations


@dataclass(frozen=True, kw_only=True, slots=True)
class Related:
    """Another recording, and how the one plays it: stream pitch and reference frames per frame, as of a `Line`."""

    other_no: int
    pitch: float
    slope: float


def _related(peaks: Peaks, left_out: Collection[int], size: CatalogueSize) -> Generator[Question, Answer, dict[int, Related]]:
    """Recordings some of whose sound is in this one."""
    heard, found = Constellation.of(peaks), dict[int, Related]()
    least_nats = confidence.threshold_nats(_CHANCE_PER_HOUR, size)
    counts = [
        Votes.of_triples(hypothesis=HYPOTHESES[0], window_frames=_WINDOW_FRAMES, chance_max=_CHANCE_MAX),
        Votes.of_pairs(hypothesis=HYPOTHESES[0], window_frames=_WINDOW_FRAMES, chance_max=_CHANCE_MAX),
    ]
    for end in _window_ends(heard):
        begin, fresh = max(0.0, end - _WINDOW_FRAMES), end - _STEP_FRAMES
        asked = [questions(peaks, begin_frame=fresh, end_frame=end) for questions in (triple_questions, pair_questions)]
        answers = yield from look_up(asked, size)
        candidates = []
        for votes, landmarks, postings in zip(counts, asked, answers, strict=True):
            votes.forget(begin)
            proposed = votes.add(_but(postings, left_out), landmarks.frame, size)
            candidates += distinct((c for c in proposed if c.track_no not in found), _CANDIDATES_MAX, (begin + end) / 2)
        for v in (yield from verify(candidates, heard, begin, end, least_nats=least_nats)):
            line, other_no = v.alignment.line, v.candidate.track_no
            found.setdefault(other_no, Related(other_no=other_no, pitch=line.pitch, slope=line.slope))
        if len(found) >= RELATIVES_MAX:
            break
    return found


def _window_ends(heard: Constellation) -> Iterator[float]:
    last = float(heard.frame[-1]) if len(heard) else 0.0
    yield from (np.arange(1, math.ceil(last / _STEP_FRAMES) + 1) * _STEP_FRAMES).tolist()


def _but(postings: Postings, left_out: Collection[int]) -> Postings:
    kept = ~np.isin(postings.track_no, np.array(sorted(left_out), np.int32))
    return Postings(query=postings.query[kept], track_no=postings.track_no[kept], frame=postings.frame[kept])


# ---------------------------------------------------------------------------------------------------- one relative


def compared(one: Constellation, one_s: float, related: Related, other: Constellation, other_s: float, size: CatalogueSize) -> Relation | None:
    """What two recordings share, peak by peak; None if that is no more than what two pieces of one key and tempo have in common.

    Args:
        one, other: their whole constellations,
        one_s, other_s: and how long they last.
        related: the other, and how the one plays it.
        size: of the catalogue, for what chance does.
    """
    back = Related(other_no=related.other_no, pitch=1 / related.pitch, slope=1 / related.slope)
    least_nats = confidence.threshold_nats(_CHANCE_PER_HOUR, size)
    forth, reverse = _Overlap(one, other, related, least_nats), _Overlap(other, one, back, least_nats)
    nats = max(forth.nats, reverse.nats)
    surely = nats >= confidence.threshold_nats(_RELATED_BY_CHANCE_PER_HOUR, size)
    if not surely or not (forth.dense(_LEAST_PEAKS) or reverse.dense(_LEAST_PEAKS)):
        return None
    return Relation(
        other_no=related.other_no,
        version=max(forth.dense(_VERSION_PEAKS) / one_s, reverse.dense(_VERSION_PEAKS) / other_s) > _VERSION_SHARE,
        evidence_nats=nats,
        own=forth.stretches,
        others=reverse.stretches,
    )


class _Overlap:
    """Where one constellation follows another, along whatever lines; each recorded as stretches of the one."""

    def __init__(self, heard: Constellation, stored: Constellation, related: Related, least_nats: float) -> None:
        self._heard, self._stored, self._related = heard, stored, related
        self._explained: Bool = np.zeros(len(heard), np.bool_)
        self._taken: list[tuple[float, float]] = []
        #: Of the best window.
        self.nats = 0.0
        order = np.argsort(stored.octave)
        self._ladder, self._ladder_frame = stored.octave[order], stored.frame[order]
        for end in _window_ends(heard):
            begin = max(0.0, end - _WINDOW_FRAMES)
            for line in self._lines(begin, end):
                alignment = align(heard, stored, line, begin, end, pitch_octaves=KNOWN_PITCH_OCTAVES)
                nats = 0.0 if alignment is None else judge(alignment).nats
                if alignment is not None and nats > least_nats:
                    self.nats = max(self.nats, nats)
                    self._take(alignment)

    def _lines(self, begin: float, end: float) -> list[Line]:
        """Lines on which most peaks of a window coincide."""
        heard = self._heard.between(begin, end)
        wanted = heard.octave - math.log2(self._related.pitch)
        low = np.searchsorted(self._ladder, wanted - _SAME_OCTAVES)
        count = np.searchsorted(self._ladder, wanted + _SAME_OCTAVES) - low
        query, place = paired(low, count)
        offset: Float64 = self._ladder_frame[place] - self._related.slope * heard.frame[query]
        if not len(offset):
            return []
        first = float(offset.min())
        together = np.bincount(((offset - first) / _BIN_FRAMES).astype(np.intp), minlength=2)
        together = together[:-1] + together[1:]
        lines: list[Line] = []
        while len(lines) < _LINES_MAX and together.max() >= _TOGETHER_LEAST:
            best = int(np.argmax(together))
            together[max(0, best - _NEAR_BINS) : best + _NEAR_BINS + 1] = 0
            lines.append(Line(pitch=self._related.pitch, slope=self._related.slope, offset=first + (best + 1) * _BIN_FRAMES))
        return lines

    def _take(self, alignment: Alignment) -> None:
        trail = Trail()
        trail.add(alignment.hits(), Gaps())
        trail.begin()
        self._taken.append((trail.begin_frame, trail.end_frame))
        on = (np.abs(alignment.off) <= HALF_CELLS[1]) & (np.abs(alignment.miss) <= NARROW)
        first = int(np.searchsorted(self._heard.frame, alignment.begin_frame))
        self._explained[first + np.unique(alignment.query[on])] = True

    @cached_property
    def stretches(self) -> tuple[Shared, ...]:
        joined: list[list[float]] = []
        for begin, end in sorted(self._taken):
            if joined and begin <= joined[-1][1] + _JOINED_FRAMES:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([begin, end])
        long = (self._shared(begin, end) for begin, end in joined if end - begin >= _LEAST_FRAMES)
        return tuple(s for s in long if len(s.eighth_frames) >= _TOGETHER_LEAST)

    def dense(self, least_peaks: float) -> float:
        """Seconds of the stretches in which the other has at least this share of the peaks."""
        return sum(s.end_frame - s.begin_frame for s in self.stretches if self._density(s) >= least_peaks) / FRAMES_PER_S

    def _density(self, shared: Shared) -> float:
        return len(shared.eighth_frames) / max(1, len(self._heard.between(shared.begin_frame, shared.end_frame)))

    def _shared(self, begin: float, end: float) -> Shared:
        low, high = np.searchsorted(self._heard.frame, [begin, end])
        times = np.unique(np.rint(self._heard.frame[low:high][self._explained[low:high]] * EIGHTHS).astype(np.int32))
        return Shared(begin_frame=max(0, math.floor(begin)), end_frame=math.ceil(end), eighth_frames=tuple(times.tolist()))
