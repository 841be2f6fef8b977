"""Postings to candidates: where in which recording the last seconds might be.

A posting says that a landmark heard at stream frame q also occurs in a recording at reference frame r. Landmarks of one
play all lie on one line, ``r = slope * q + offset``, so postings vote: for each slope that is tried, in bins of
(recording, offset), one vote for each anchor frame of the query. Two or three votes in twelve seconds are enough for a
candidate, because verification and not this count decides: as few as chance does not reach too often (`Votes`).

**Cost follows the new postings.** The postings of the last seconds are kept sorted by (recording, r - q). Whatever its
slope, a line stays within a few dozen frames of such a difference for twelve seconds, so a new posting is *company* to
those within that reach, found by bisection; by chance it has none, and nothing is counted. The exact count then runs over
those few, for all slopes at once.

Source: A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003 (voting for offsets).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.matching.verification import Line, median
from earmark.model import FRAMES_PER_S, Bool, CatalogueSize, Float64, Postings

Int64 = npt.NDArray[np.int64]

#: Offset bins, in frames; they overlap by half, so that no true offset is split. For triples a bin tolerates a slope that
#: is wrong by 1 % over 12 s, hence steps of 2 % below; pairs have but one slope.
BIN_FRAMES, PAIR_BIN_FRAMES = 8.0, 4.0
#: Speed hypotheses a look-up may be made under; each finds speeds within 3 % of it. The first is always looked up.
HYPOTHESES = (1.0, 1.05, 0.95, 1.10, 0.90)
#: Under hypothesis 1 the tempo alone may differ by up to 10 %; likely slopes first, as ties go to the first.
_TEMPO_SLOPES = (1.0, 1.02, 0.98, 1.04, 0.96, 1.06, 0.94, 1.08, 0.92, 1.10, 0.90)

#: Candidates that chance may give: in a step of a stream, where a recording goes on and gains more votes; in a clip; and in a
#: clip at each of many speeds.
CHANCE_LIVE, CHANCE_CLIP, CHANCE_SWEPT = 0.3, 64.0, 2.0
_VOTES_MAX = 9
#: A hash with more postings than this says little and is not answered; 10 at 79 h, in proportion for larger catalogues.
#: Small ones can afford more: thirty issues of one recording must not silence it.
_POSTINGS_MAX, _POSTINGS_MAX_PER_HOUR = 32, 10 / 79
#: Postings of one family and speed that are counted at once, at most: the rarest hashes first.
COUNTED_MAX = 50_000

# The sort key of a posting: recordings this many frames apart, so that no difference r - q (a stream of 24 h has
# 2.7 million frames) reaches another recording.
_TRACK_STRIDE = float(1 << 24)
# Fields of a bin's packed number: (slope and half) above recording above bin above anchor frame.
_BIN_BITS, _ANCHOR_BITS, _TRACK_BITS = 20, 16, 20


def slopes(hypothesis: float) -> Float64:
    """Slopes to count under a speed hypothesis: float64 [n], reference frames per stream frame, the likely ones first.

    Under another speed than 1: that speed, 2 % around it, and 1, where the pitch alone was changed.
    """
    if hypothesis == 1.0:
        return np.array(_TEMPO_SLOPES)
    return np.array([hypothesis, hypothesis * 1.02, hypothesis * 0.98, 1.0])


def votes_least(postings: int, fresh: int, *, bin_frames: float, catalogue_s: float, chance_max: float) -> int:
    """The fewest votes, at least two, that chance gives to no more than `chance_max` candidates.

    If postings fell anywhere in the catalogue, a bin would hold ``mean`` of them, and each of the fresh ones would have
    so many others beside it in either of its two bins as a Poisson variable has. It is an estimate for one slope: triples are
    counted under eleven, whose bins share most of their postings, and music's postings come in clusters.

    Args:
        postings, fresh: that are counted together; and those of them that are new.
        bin_frames: of a bin.
        catalogue_s: all recordings together.
        chance_max: candidates.
    """
    mean = postings * bin_frames / max(catalogue_s * FRAMES_PER_S, 1.0)
    alone = term = math.exp(-mean)
    for votes in range(2, _VOTES_MAX):
        if 2 * fresh * (1 - alone) <= chance_max:
            return votes
        term *= mean / (votes - 1)
        alone += term
    return _VOTES_MAX


def postings_max(size: CatalogueSize) -> int:
    """The stop list: a hash with more postings is not answered."""
    return max(_POSTINGS_MAX, int(_POSTINGS_MAX_PER_HOUR * size.seconds / 3_600))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A line that landmarks propose."""

    track_no: int
    line: Line
    #: Distinct anchor frames that agree on it.
    votes: int


def rarest(postings: Postings, most: int = COUNTED_MAX) -> Postings:
    """At most `most` postings, those of the hashes with the fewest: hostile sound cannot make the count expensive."""
    if len(postings) <= most:
        return postings
    per_hash = np.bincount(postings.query)
    order = np.argsort(per_hash, kind="stable")
    kept = np.zeros(len(per_hash), np.bool_)
    kept[order[np.cumsum(per_hash[order]) <= most]] = True
    which = kept[postings.query]
    return Postings(query=postings.query[which], track_no=postings.track_no[which], frame=postings.frame[which])


def _new(ascending: npt.NDArray[Any]) -> Bool:
    """Which of the values differ from the one before."""
    new = np.ones(len(ascending), np.bool_)
    np.not_equal(ascending[1:], ascending[:-1], out=new[1:])
    return new


class Votes:
    """The postings of one family in the last seconds under one hypothesis, and what they agree on.

    Args:
        hypothesis: the speed under which they were looked up.
        slopes: to count under: float64 [n], reference frames per stream frame, the likely ones first.
        bin_frames: how far those may lie apart that agree on a place.
        window_frames: the longest time between two postings that are counted together.
        chance_max: candidates that chance may give at a time; `votes_least` says how many votes that takes.
    """

    def __init__(self, *, hypothesis: float, slopes: Float64, bin_frames: float, window_frames: float, chance_max: float) -> None:
        self.hypothesis = hypothesis
        self._slopes = slopes
        self._bin = bin_frames
        self._chance_max = chance_max
        # How far the same line's differences r - h q may lie apart within the window, whichever of the slopes it has.
        self._reach = float(np.max(np.abs(slopes - hypothesis))) * window_frames + bin_frames
        # Columns, ascending in key: key, track number, reference frame, query frame.
        self._table: Float64 = np.zeros((4, 0))

    def __len__(self) -> int:
        return int(self._table.shape[1])

    def forget(self, before_frame: float) -> None:
        """Drop postings whose query frame is earlier."""
        self._table = self._table.compress(self._table[3] >= before_frame, axis=1)

    @classmethod
    def of_triples(cls, *, hypothesis: float, window_frames: float, chance_max: float) -> "Votes":
        return cls(hypothesis=hypothesis, slopes=slopes(hypothesis), bin_frames=BIN_FRAMES, window_frames=window_frames, chance_max=chance_max)

    @classmethod
    def of_pairs(cls, *, hypothesis: float, window_frames: float, chance_max: float) -> "Votes":
        only = np.array([hypothesis])
        return cls(hypothesis=hypothesis, slopes=only, bin_frames=PAIR_BIN_FRAMES, window_frames=window_frames, chance_max=chance_max)

    def add(self, postings: Postings, query_frame: Float64, size: CatalogueSize) -> Iterator[Candidate]:
        """Take new postings; the lines that gained a vote by them and now have enough, made one by one as they are asked for.

        Args:
            postings: answers to questions,
            query_frame: float64 [questions], the stream frame at which each was heard.
            size: of the catalogue, for what chance does.

        Returns:
            Candidates, those with most votes first; of equal ones in an order that depends on nothing but the postings.
            A recording that is heard comes many times, with similar lines.
        """
        if not len(postings):
            return iter(())
        query = query_frame[postings.query]
        track, reference = postings.track_no.astype(np.float64), postings.frame.astype(np.float64)
        key = track * _TRACK_STRIDE + (reference - self.hypothesis * query)
        old = len(self)
        table = np.concatenate([self._table, [key, track, reference, query]], axis=1)
        # A stable sort is a merge, which is quick where all but the new ones are in order.
        order = table[0].argsort(kind="stable")
        self._table, fresh = table.take(order, axis=1), order >= old
        least = votes_least(len(self), len(query), bin_frames=self._bin, catalogue_s=size.seconds, chance_max=self._chance_max)
        near = self._company(fresh, least)
        if not near.any():
            return iter(())
        return self._count(self._table[1:].compress(near, axis=1), fresh[near], least)

    def _company(self, fresh: Bool, least: int) -> Bool:
        """Postings within reach of a new one that has enough of them around it: bool [n]. All others cannot matter."""
        key = self._table[0]
        new = key.compress(fresh)
        low, high = key.searchsorted(new - self._reach), key.searchsorted(new + self._reach, "right")
        enough = high - low >= least
        low, high = low.compress(enough), high.compress(enough)
        if not len(low):
            return np.zeros(len(key), np.bool_)
        edges = np.bincount(low, minlength=len(key) + 1) - np.bincount(high, minlength=len(key) + 1)
        near: Bool = edges[:-1].cumsum() > 0
        return near

    def _count(self, columns: Float64, fresh: Bool, least: int) -> Iterator[Candidate]:
        """The exact count. columns: [track number, reference frame, query frame] of the postings that may matter."""
        track, reference, query = columns
        offset = reference - self._slopes[:, None] * query  # [slopes, n]
        bins = np.floor(np.stack([offset, offset + self._bin / 2], axis=1) / self._bin)  # [slopes, halves, n]
        cell = self._pack(bins, track)
        anchor = np.floor(query).astype(np.int64) & ((1 << _ANCHOR_BITS) - 1)
        voters = (cell << _ANCHOR_BITS | anchor).ravel()
        voters.sort()
        voted = voters.compress(_new(voters)) >> _ANCHOR_BITS  # one vote for each anchor frame
        begin = _new(voted).nonzero()[0]
        cells, votes = voted.take(begin), np.diff(begin, append=len(voted))
        gained = np.zeros(len(cells), np.bool_)
        gained[cells.searchsorted(cell.compress(fresh, axis=2).ravel())] = True
        gained &= votes >= least
        cells, votes = cells.compress(gained), votes.compress(gained)
        # Packed numbers ascend with the slope's rank, so that ties go to the likely slopes.
        best = (-votes).argsort(kind="stable")
        return (self._candidate(int(cells[k]), int(votes[k]), cell, offset, track) for k in best)

    @staticmethod
    def _pack(bins: Float64, track: Float64) -> Int64:
        """One number for (slope, half, recording, bin): int64 [slopes, halves, n]."""
        recording = _new(track).cumsum() - 1  # ascending, as the postings are
        bins = bins - bins.min()
        rank = np.arange(bins.shape[0] * bins.shape[1]).reshape(bins.shape[0], bins.shape[1], 1)
        owner = rank << _TRACK_BITS | recording.astype(np.int64) & ((1 << _TRACK_BITS) - 1)
        packed: Int64 = owner << _BIN_BITS | bins.astype(np.int64) & ((1 << _BIN_BITS) - 1)
        return packed

    def _candidate(self, cell: int, votes: int, cells: Int64, offset: Float64, track: Float64) -> Candidate:
        rank = cell >> (_BIN_BITS + _TRACK_BITS)
        slope, half = divmod(rank, 2)
        mine = np.flatnonzero(cells[slope, half] == cell)
        line = Line(pitch=self.hypothesis, slope=float(self._slopes[slope]), offset=median(offset[slope].take(mine)))
        return Candidate(track_no=int(track[mine[0]]), line=line, votes=votes)
