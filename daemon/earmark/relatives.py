"""What does a recording share with others in the catalogue? Heard as a stream is, but against recordings, before it counts.

Albums reuse samples. A stretch that two recordings share says later that its *sound* is heard, not which recording
(`earmark.matching.stretches`). So a recording that is added is looked up by its own landmarks, and what it is found to be
related to is compared with it, peak by peak: each of the two learns which of its stretches the other one has, and how
they lie on one another (`earmark.matching.overlaps`).

A recording most of which is in another one is not a sample of it but another issue, an edit, an excerpt: a *version*.
Versions stay on record and take nothing from one another, or two issues of a song would silence each other.

**Few questions are asked.** A live stream has to be recognised from two or three landmarks that survived. Here both sides
are recordings, and what they share has dozens in every 12 s; so every second hash is looked up, and votes are counted for
the whole recording at once (`earmark.matching.spots`). Verification is for what is more than chance: of recordings that
share nothing, none. What a relative costs is a millisecond or two for each six seconds, and there are at most
`RELATIVES_MAX`.
"""

import math
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Final, TypeAlias, cast

import numpy as np

from earmark.fingerprint.landmarks import landmarks, sampled
from earmark.matching import confidence
from earmark.matching.alignment import HYPOTHESES, Votes
from earmark.matching.dating import Gaps, Trail
from earmark.matching.histograms import HALF_CELLS, NARROW
from earmark.matching.overlaps import SAME_PEAKS, Compared, Overlap, Piece, overlap
from earmark.matching.proposals import distinct, look_up, passage, verify
from earmark.matching.spots import Spot, near, spots
from earmark.matching.verification import KNOWN_PITCH_OCTAVES, NO_EVIDENCE, Alignment, Constellation, Line, align, judge, paired
from earmark.model import (
    EIGHTHS,
    FRAMES_PER_S,
    Answer,
    Bool,
    CatalogueSize,
    Fetch,
    Float64,
    Landmarks,
    Peaks,
    Postings,
    Question,
    Reference,
    Shared,
)

#: Yields questions, returns what was found.
Finding: TypeAlias = Generator[Question, Answer, list[Compared]]

#: Recordings that one is compared with. A loop that hundreds share is told from few of them.
RELATIVES_MAX: Final = 16
#: Of a recording so much is heard and compared: the work is bounded, whatever its length.
COMPARED_S: Final = 6 * 3_600.0
#: Windows that chance may take for a shared sound, and recordings for relatives, per hour of what is added.
_CHANCE_PER_HOUR, _RELATED_BY_CHANCE_PER_HOUR = 0.01, 1e-4
#: One hash of so many is looked up, in so many seconds of the recording at a time.
_ASKED_OF, _ASKED_S = 2, 60
#: Spots that chance may give in those; and so many for each of those, of the best ones, that turn out to be chance before the others
#: are left alone; spots of one recording that are looked at.
_CHANCE_MAX, _IN_VAIN_MAX, _SPOTS_MAX = 0.5, 3, 3
#: Lines of one spot that are verified.
_CANDIDATES_MAX: Final = 3
#: What is off by no more, over 12 s, is played as it is.
_AS_IT_IS: Final = 0.004
#: Windows in which two recordings are compared, and how far apart: a stretch of 6 s lies in one of them as a whole.
_WINDOW_FRAMES, _STEP_FRAMES = 12 * FRAMES_PER_S, 6 * FRAMES_PER_S
#: Shorter stretches are chords in common. Those that are less far apart are one.
_LEAST_FRAMES, _JOINED_FRAMES = 3 * FRAMES_PER_S, FRAMES_PER_S
#: Where one begins and ends, so many peaks are so close together.
_THICK_PEAKS, _THICK_FRAMES = 5, 2 * FRAMES_PER_S
#: In one such stretch at least the other has this share of the peaks: two pieces of one key and tempo have fewer in common.
_LEAST_PEAKS: Final = 0.08
#: Of a version, more than this share of the time of one is in the other, with more peaks than another recording ever had.
_VERSION_SHARE: Final = 0.5
#: Windows that follow one line are one piece if that is so many frames off at most.
_SAME_LINE_FRAMES: Final = 8.0

# Lines between two constellations, without landmarks: offsets at which peaks of one frequency coincide, in bins of so
# many frames; of a window so many lines, each with so many peaks, that verification can find within 4 frames.
_BIN_FRAMES, _NEAR_BINS = 2.0, 2
_LINES_MAX, _TOGETHER_LEAST = 4, 8
#: Frequencies of one peak in two recordings differ by less, in octaves; a line's own tolerance follows in verification.
_SAME_OCTAVES: Final = 0.003


def relatives(
    peaks: Peaks,
    duration_s: float,
    *,
    track_no: int,
    known: Collection[int],
    size: CatalogueSize,
    asked: Landmarks | None = None,
    among: Collection[int] | None = None,
) -> Finding:
    """Find what a recording shares with others; drive it with `earmark.hearing.drive`.

    Args:
        peaks: of the whole recording.
        duration_s: of the recording.
        track_no: its number in the catalogue: it is not its own relative.
        known: numbers of those it was compared with already.
        size: of the catalogue.
        asked: its landmarks, as a reference has them; by default they are made of the peaks, which then have their salience.
        among: the only ones that matter; all, if not said.

    Returns:
        One relation for each relative, by its number.
    """
    heard = peaks.between(-math.inf, COMPARED_S * FRAMES_PER_S)
    found = yield from _related(heard, asked or landmarks(heard), _Wanted({track_no, *known}, among), size)
    relations = []
    for _, related in sorted(found.items()):
        relations += yield from related_to(heard, duration_s, related, size)
    return relations


def related_to(heard: Peaks, duration_s: float, related: "Related", size: CatalogueSize) -> Finding:
    """Compare a recording with one other; nothing if that is not in the catalogue any more."""
    everything = passage(related.other_no, 0, COMPARED_S * FRAMES_PER_S)
    references = cast(list[Reference], (yield Fetch(passages=(everything,))))
    if not references:
        return []
    relation = compared(Constellation.of(heard), duration_s, related, Constellation.of(references[0].peaks), references[0].duration_s, size)
    return [] if relation is None else [relation]


@dataclass(frozen=True, kw_only=True, slots=True)
class Related:
    """Another recording, and how the one plays it: stream pitch and reference frames per frame, as of a `Line`."""

    other_no: int
    pitch: float
    slope: float


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which recordings matter."""

    left_out: Collection[int]
    among: Collection[int] | None

    def of(self, postings: Postings) -> Postings:
        kept = ~np.isin(postings.track_no, np.array(sorted(self.left_out), np.int32))
        if self.among is not None:
            kept &= np.isin(postings.track_no, np.array(sorted(self.among), np.int32))
        return Postings(query=postings.query[kept], track_no=postings.track_no[kept], frame=postings.frame[kept])


def _related(peaks: Peaks, asked: Landmarks, wanted: _Wanted, size: CatalogueSize) -> Generator[Question, Answer, dict[int, Related]]:
    """Recordings some of whose sound is in this one: those first that most of it agrees with, whatever many others have in common with a part of it."""
    heard, found = Constellation.of(peaks), dict[int, Related]()
    spotted, votes, minutes = dict[int, list[_Spotted]](), dict[int, int](), 0
    for landmarks_ in _pieces(sampled(asked, _ASKED_OF)):
        minutes += 1
        (answer,) = yield from look_up([landmarks_], size)
        postings, best = wanted.of(answer), dict[int, int]()
        for spot in spots(postings, landmarks_.frame, size, chance_max=_CHANCE_MAX):
            best.setdefault(spot.track_no, spot.votes)  # they come with the most votes first
            spotted.setdefault(spot.track_no, []).append(_Spotted(spot, near(spot, postings, landmarks_.frame), landmarks_.frame))
        for track_no, most in best.items():
            votes[track_no] = votes.get(track_no, 0) + most
    in_vain = 0
    for track_no in sorted(votes, key=lambda no: (-votes[no], no)):
        for one in sorted(spotted[track_no], key=lambda one: -one.spot.votes)[:_SPOTS_MAX]:
            if len(found) >= RELATIVES_MAX or in_vain >= _IN_VAIN_MAX * minutes:
                return found
            if (related := (yield from _verified(one, heard, size))) is not None:
                found[track_no] = related
                break
            in_vain += 1
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Spotted:
    """A spot, the postings around it, and where those were asked for."""

    spot: Spot
    postings: Postings
    frame: Float64


def _verified(one: _Spotted, heard: Constellation, size: CatalogueSize) -> Generator[Question, Answer, Related | None]:
    """The recording of a spot, if the constellations agree there."""
    begin, end, track_no = one.spot.begin_frame, one.spot.end_frame, one.spot.track_no
    votes = Votes.of_triples(hypothesis=HYPOTHESES[0], window_frames=end - begin, chance_max=_CHANCE_MAX)
    candidates = distinct(votes.add(one.postings, one.frame, size), _CANDIDATES_MAX, (begin + end) / 2)
    least_nats = confidence.threshold_nats(_CHANCE_PER_HOUR, size)
    verified = yield from verify(candidates, heard, begin, end, least_nats=least_nats)
    best = max(verified, key=lambda v: v.evidence.nats, default=None)
    if best is None:
        return None
    line = best.alignment.line
    pitch, slope = (1.0 if abs(ratio - 1) < _AS_IT_IS else ratio for ratio in (line.pitch, line.slope))
    return Related(other_no=track_no, pitch=pitch, slope=slope)


def _pieces(asked: Landmarks) -> Iterator[Landmarks]:
    """A minute's at a time, in order: a question is bounded, whatever the recording's length."""
    order = asked.frame.argsort(kind="stable")
    ordered = Landmarks(hash=asked.hash[order], frame=asked.frame[order])
    minute = (ordered.frame / (_ASKED_S * FRAMES_PER_S)).astype(np.int64)
    for begin, end in pairwise([*np.flatnonzero(np.diff(minute, prepend=-1)).tolist(), len(ordered)]):
        yield Landmarks(hash=ordered.hash[begin:end], frame=ordered.frame[begin:end])


def _window_ends(heard: Constellation) -> Iterator[float]:
    last = float(heard.frame[-1]) if len(heard) else 0.0
    yield from (np.arange(1, math.ceil(last / _STEP_FRAMES) + 1) * _STEP_FRAMES).tolist()


# ---------------------------------------------------------------------------------------------------- one relative


def compared(one: Constellation, one_s: float, related: Related, other: Constellation, other_s: float, size: CatalogueSize) -> Compared | None:
    """What two recordings share, peak by peak; None if that is no more than what two pieces of one key and tempo have in common.

    Args:
        one, other: their whole constellations,
        one_s, other_s: and how long they last.
        related: the other, and how the one plays it.
        size: of the catalogue, for what chance does.
    """
    least_nats = confidence.threshold_nats(_CHANCE_PER_HOUR, size)
    surely = confidence.threshold_nats(_RELATED_BY_CHANCE_PER_HOUR, size)
    forth = _Common(one, other, related, least_nats)
    laid = overlap(one, other, forth.pieces)
    if laid is not None and laid.kind != "passage" and forth.nats >= surely:
        return Compared(other_no=related.other_no, version=True, evidence_nats=forth.nats, own=forth.stretches, others=_of_other(laid), overlap=laid)
    back = Related(other_no=related.other_no, pitch=1 / related.pitch, slope=1 / related.slope)
    reverse = _Common(other, one, back, least_nats)
    nats = max(forth.nats, reverse.nats)
    laid = overlap(one, other, [*forth.pieces, *(piece.turned() for piece in reverse.pieces)])
    if laid is None or nats < surely or not (forth.dense(_LEAST_PEAKS) or reverse.dense(_LEAST_PEAKS)):
        return None
    return Compared(
        other_no=related.other_no,
        version=laid.kind != "passage" or max(forth.dense(SAME_PEAKS) / one_s, reverse.dense(SAME_PEAKS) / other_s) > _VERSION_SHARE,
        evidence_nats=nats,
        own=forth.stretches,
        others=reverse.stretches,
        overlap=laid,
    )


def _of_other(laid: Overlap) -> tuple[Shared, ...]:
    """Of versions nothing is taken, so nobody asks which of their peaks the two have in common."""
    spans = [(math.floor(span.other_begin_s * FRAMES_PER_S), math.ceil(span.other_end_s * FRAMES_PER_S)) for span in laid.spans]
    return tuple(Shared(begin_frame=begin, end_frame=end, eighth_frames=()) for begin, end in spans)


class _Common:
    """Where one constellation follows another, along whatever lines; each recorded as stretches of the one."""

    def __init__(self, heard: Constellation, stored: Constellation, related: Related, least_nats: float) -> None:
        self._heard, self._stored, self._related = heard, stored, related
        self._explained: Bool = np.zeros(len(heard), np.bool_)
        self._taken: list[Piece] = []
        #: Of the best window.
        self.nats = 0.0
        order = np.argsort(stored.octave)
        self._ladder, self._ladder_frame = stored.octave[order], stored.frame[order]
        line: Line | None = None
        for end in _window_ends(heard):
            begin = max(0.0, end - _WINDOW_FRAMES)
            # Where nearly all goes on as before there is nothing to look for.
            if line is not None and self._follow(line, begin, end, least_nats) >= SAME_PEAKS:
                continue
            lines = self._lines(begin, end)
            shares = [self._follow(line, begin, end, least_nats) for line in lines]
            best = max(range(len(lines)), key=shares.__getitem__, default=-1)
            line = lines[best] if lines and shares[best] >= SAME_PEAKS else None

    def _follow(self, line: Line, begin: float, end: float, least_nats: float) -> float:
        """Take what a line explains in a window, if it is more than chance; and what share of the window that is."""
        alignment = align(self._heard, self._stored, line, begin, end, pitch_octaves=KNOWN_PITCH_OCTAVES)
        evidence = NO_EVIDENCE if alignment is None else judge(alignment)
        if alignment is None or evidence.nats <= least_nats:
            return 0.0
        self.nats = max(self.nats, evidence.nats)
        self._take(alignment)
        return evidence.share

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
        line = alignment.line
        on = np.unique(alignment.query[(np.abs(alignment.off) <= HALF_CELLS[1]) & (np.abs(alignment.miss) <= NARROW)])
        begin, end = _thick(alignment.heard.frame[on], trail.begin_frame, trail.end_frame)
        first = int(np.searchsorted(self._heard.frame, alignment.begin_frame))
        self._explained[first + on] = True
        if end > begin:
            self._taken.append(Piece(begin=begin, end=end, other_begin=line.reference(begin), other_end=line.reference(end), density=0.0))

    @cached_property
    def pieces(self) -> list[Piece]:
        """What was taken, window after window on one line as one piece."""
        joined: list[Piece] = []
        for piece in sorted(self._taken, key=lambda piece: (piece.begin, piece.end)):
            last = next((n for n in range(len(joined) - 1, -1, -1) if _goes_on(joined[n], piece)), None)
            if last is None:
                joined.append(piece)
            elif piece.end > joined[last].end:
                joined[last] = replace(joined[last], end=piece.end, other_end=piece.other_end)
        return [replace(p, density=self._density(p.begin, p.end)) for p in joined if p.end - p.begin >= _LEAST_FRAMES and p.slope > 0]

    @cached_property
    def stretches(self) -> tuple[Shared, ...]:
        joined: list[list[float]] = []
        for begin, end in sorted((piece.begin, piece.end) for piece in self._taken):
            if joined and begin <= joined[-1][1] + _JOINED_FRAMES:
                joined[-1][1] = max(joined[-1][1], end)
            else:
                joined.append([begin, end])
        long = (self._shared(begin, end) for begin, end in joined if end - begin >= _LEAST_FRAMES)
        return tuple(s for s in long if len(s.eighth_frames) >= _TOGETHER_LEAST)

    def dense(self, least_peaks: float) -> float:
        """Seconds of the stretches in which the other has at least this share of the peaks."""
        return sum(s.end_frame - s.begin_frame for s in self.stretches if self._density(s.begin_frame, s.end_frame) >= least_peaks) / FRAMES_PER_S

    def _density(self, begin: float, end: float) -> float:
        low, high = np.searchsorted(self._heard.frame, [begin, end])
        return float(np.count_nonzero(self._explained[low:high])) / max(1, int(high - low))

    def _shared(self, begin: float, end: float) -> Shared:
        low, high = np.searchsorted(self._heard.frame, [begin, end])
        times = np.unique(np.rint(self._heard.frame[low:high][self._explained[low:high]] * EIGHTHS).astype(np.int32))
        return Shared(begin_frame=max(0, math.floor(begin)), end_frame=math.ceil(end), eighth_frames=tuple(times.tolist()))


def _thick(frame: Float64, begin: float, end: float) -> tuple[float, float]:
    """A stretch without its thin ends, where a few peaks may be on its line by chance."""
    frame = frame[(frame >= begin) & (frame <= end)]
    if len(frame) < _THICK_PEAKS:
        return begin, end
    thick = np.flatnonzero(frame[_THICK_PEAKS - 1 :] - frame[: len(frame) - _THICK_PEAKS + 1] <= _THICK_FRAMES)
    return (float(frame[thick[0]]), float(frame[thick[-1] + _THICK_PEAKS - 1])) if len(thick) else (begin, end)


def _goes_on(piece: Piece, later: Piece) -> bool:
    """Whether a piece that begins later is the same line, without a break."""
    return later.begin <= piece.end + _JOINED_FRAMES and abs(piece.other(later.begin) - later.other_begin) < _SAME_LINE_FRAMES
