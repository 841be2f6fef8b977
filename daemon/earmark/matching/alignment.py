"""Postings to candidates: where in which recording the last seconds might be.

A posting says that a landmark heard at stream frame q also occurs in a recording at reference frame r. Landmarks of one
play all lie on one line, ``r = slope * q + offset``, so postings vote: for each slope that is tried, in bins of
(recording, offset), one vote for each anchor frame of the query. Two votes in twelve seconds are enough for a
candidate, because verification and not this count decides; a recording that never matched costs nothing.

**Cost follows the new postings.** The postings of the last seconds are kept sorted by (recording, r - q). Whatever its
slope, a line stays within a few dozen frames of such a difference for twelve seconds, so a new posting is *company* to
those within that reach, found by bisection; by chance it has none, and nothing is counted. The exact count then runs over
those few, for all slopes at once.

Source: A. Wang, "An Industrial-Strength Audio Search Algorithm", ISMIR 2003 (voting for offsets).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.matching.verification import Line
from earmark.model import Bool, CatalogueSize, Float64, Postings

Int64 = npt.NDArray[np.int64]

#: Offset bins, in frames; they overlap by half, so that no true offset is split. A bin tolerates a slope that is wrong
#: by 1 % over 12 s, hence steps of 2 % below.
BIN_FRAMES = 8.0
#: Speed hypotheses a look-up may be made under; each finds speeds within 3 % of it. The first is always looked up.
HYPOTHESES = (1.0, 1.05, 0.95, 1.10, 0.90)
#: Under hypothesis 1 the tempo alone may differ by up to 10 %; likely slopes first, as ties go to the first.
_TEMPO_SLOPES = (1.0, 1.02, 0.98, 1.04, 0.96, 1.06, 0.94, 1.08, 0.92, 1.10, 0.90)

#: From this many recordings on, two votes meet by chance too often (30 times a window and slope at 100,000 tracks).
_MANY_TRACKS = 50_000
#: A hash with more postings than this says little and is not answered; 10 at 79 h, in proportion for larger catalogues.
#: Small ones can afford more: thirty issues of one recording must not silence it.
_POSTINGS_MAX, _POSTINGS_MAX_PER_HOUR = 32, 10 / 79
#: Postings that are counted per step at most, ten times what the largest catalogue gives; the rarest hashes first.
POSTINGS_PER_STEP_MAX = 50_000

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


def votes_least(size: CatalogueSize) -> int:
    """Votes that make a candidate."""
    return 2 if size.tracks < _MANY_TRACKS else 3


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


def rarest(postings: Postings, most: int = POSTINGS_PER_STEP_MAX) -> Postings:
    """At most `most` postings, those of the hashes with the fewest: hostile sound cannot make the count expensive."""
    if len(postings) <= most:
        return postings
    per_hash = np.bincount(postings.query)
    order = np.argsort(per_hash, kind="stable")
    kept = np.zeros(len(per_hash), np.bool_)
    kept[order[np.cumsum(per_hash[order]) <= most]] = True
    which = kept[postings.query]
    return Postings(query=postings.query[which], track_no=postings.track_no[which], frame=postings.frame[which])


def lone(postings: Postings, query_frame: Float64, hypothesis: float) -> Iterator[Candidate]:
    """A candidate for each posting alone, those of rare hashes first: for clips that no two postings agree on.

    Args:
        postings, query_frame: as in `Votes.add`.
        hypothesis: the speed under which they were looked up.
    """
    common = np.bincount(postings.query, minlength=1)[postings.query]
    offset = postings.frame - hypothesis * query_frame[postings.query]
    for k in np.lexsort((offset, postings.track_no, common)):
        line = Line(pitch=hypothesis, slope=hypothesis, offset=float(offset[k]))
        yield Candidate(track_no=int(postings.track_no[k]), line=line, votes=1)


class Votes:
    """The postings of the last seconds under one hypothesis, and what they agree on.

    Args:
        hypothesis: the speed under which they were looked up.
        window_frames: the longest time between two postings that are counted together.
        least: votes that make a candidate.
    """

    def __init__(self, *, hypothesis: float, window_frames: float, least: int) -> None:
        self._hypothesis = hypothesis
        self._slopes = slopes(hypothesis)
        self._least = least
        # How far the same line's differences r - h q may lie apart within the window, whichever of the slopes it has.
        self._reach = float(np.max(np.abs(self._slopes - hypothesis))) * window_frames + BIN_FRAMES
        # Columns, ascending in key: key, track number, reference frame, query frame.
        self._table: Float64 = np.zeros((4, 0))

    def __len__(self) -> int:
        return int(self._table.shape[1])

    def forget(self, before_frame: float) -> None:
        """Drop postings whose query frame is earlier."""
        self._table = self._table[:, self._table[3] >= before_frame]

    def add(self, postings: Postings, query_frame: Float64) -> Iterator[Candidate]:
        """Take new postings; the lines that gained a vote by them and now have enough, made one by one as they are asked for.

        Args:
            postings: answers to questions,
            query_frame: float64 [questions], the stream frame at which each was heard.

        Returns:
            Candidates, those with most votes first; of equal ones in an order that depends on nothing but the postings.
            A recording that is heard comes many times, with similar lines.
        """
        query = query_frame[postings.query]
        track, reference = postings.track_no.astype(np.float64), postings.frame.astype(np.float64)
        key = track * _TRACK_STRIDE + (reference - self._hypothesis * query)
        old = len(self)
        table = np.concatenate([self._table, [key, track, reference, query]], axis=1)
        order = np.argsort(table[0], kind="stable")
        self._table, fresh = table[:, order], order >= old
        near = self._company(fresh)
        if not near.any():
            return iter(())
        return self._count(self._table[1:, near], fresh[near])

    def _company(self, fresh: Bool) -> Bool:
        """Postings within reach of a new one that has enough of them around it: bool [n]. All others cannot matter."""
        key = self._table[0]
        low = np.searchsorted(key, key[fresh] - self._reach, "left")
        high = np.searchsorted(key, key[fresh] + self._reach, "right")
        enough = high - low >= self._least
        edges = np.zeros(len(key) + 1, np.int64)
        np.add.at(edges, low[enough], 1)
        np.add.at(edges, high[enough], -1)
        return np.cumsum(edges[:-1]) > 0

    def _count(self, columns: Float64, fresh: Bool) -> Iterator[Candidate]:
        """The exact count. columns: [track number, reference frame, query frame] of the postings that may matter."""
        track, reference, query = columns
        offset = reference - self._slopes[:, None] * query  # [slopes, n]
        bins = np.floor(np.stack([offset, offset + BIN_FRAMES / 2], axis=1) / BIN_FRAMES)  # [slopes, halves, n]
        cell = self._pack(bins, track)
        anchor = np.floor(query).astype(np.int64) & ((1 << _ANCHOR_BITS) - 1)
        voters = np.unique(cell << _ANCHOR_BITS | anchor)  # one vote for each anchor frame
        cells, votes = np.unique(voters >> _ANCHOR_BITS, return_counts=True)
        gained = (votes >= self._least) & np.isin(cells, cell[:, :, fresh])
        cells, votes = cells[gained], votes[gained]
        # Packed numbers ascend with the slope's rank, so that ties go to the likely slopes.
        best = np.lexsort((cells, -votes))
        return (self._candidate(int(cells[k]), int(votes[k]), cell, offset, track) for k in best)

    @staticmethod
    def _pack(bins: Float64, track: Float64) -> Int64:
        """One number for (slope, half, recording, bin): int64 [slopes, halves, n]."""
        _, recording = np.unique(track, return_inverse=True)
        bins = bins - bins.min()
        rank = np.arange(bins.shape[0] * bins.shape[1]).reshape(bins.shape[0], bins.shape[1], 1)
        owner = rank << _TRACK_BITS | recording.astype(np.int64) & ((1 << _TRACK_BITS) - 1)
        packed: Int64 = owner << _BIN_BITS | bins.astype(np.int64) & ((1 << _BIN_BITS) - 1)
        return packed

    def _candidate(self, cell: int, votes: int, cells: Int64, offset: Float64, track: Float64) -> Candidate:
        rank = cell >> (_BIN_BITS + _TRACK_BITS)
        slope, half = divmod(rank, 2)
        mine = np.flatnonzero(cells[slope, half] == cell)
        line = Line(pitch=self._hypothesis, slope=float(self._slopes[slope]), offset=float(np.median(offset[slope, mine])))
        return Candidate(track_no=int(track[mine[0]]), line=line, votes=votes)
