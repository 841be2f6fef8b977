"""Where do a whole recording's landmarks agree with another's? Votes for many windows at once.

`matching.alignment` counts as a stream goes on, from second to second, and is content with two votes. A recording that is
compared with all others is there as a whole, and what it shares with one of them has dozens of votes; so everything is
counted in one pass, in cells that overlap by half in time and in offset, and only where votes pile up is anything else done.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.matching.alignment import votes_least
from earmark.model import CatalogueSize, Float64, Postings

_Int64 = npt.NDArray[np.int64]

#: A cell: so many frames of the recording, and of offset. Half of either, and the next half: a window of 12 s.
_HALF_FRAMES: Final = 187.5
#: Of offset: what is played as it is moves by no more than rounding; a speed that is off by 4 % moves by 15 frames in a window.
_HALF_OFFSETS: Final = (3.0, 16.0)
#: Fewer votes are chords in common, in the smallest catalogue too.
_VOTES_LEAST: Final = 3
#: Spots of one recording that are told, the best ones.
_SPOTS_MAX: Final = 3
# Postings of different recordings are this far apart, when sorted by recording and offset.
_TRACK_STRIDE = float(1 << 24)
# Fields of a voter's number: recording above offset above anchor frame.
_OFFSET_BITS, _ANCHOR_BITS = 20, 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Some 12 s of what is compared, in which landmarks agree with those of one recording."""

    track_no: int
    begin_frame: float
    end_frame: float
    #: Distinct anchor frames.
    votes: int
    #: Reference frame less frame, about.
    offset: float


def spots(postings: Postings, frame: Float64, size: CatalogueSize, *, chance_max: float) -> list[Spot]:
    """Where votes pile up, those with most first; of one recording no more than a few.

    Args:
        postings: answers to questions,
        frame: float64 [questions], where in the recording each was.
        size: of the catalogue.
        chance_max: spots that chance may give.
    """
    if not len(postings):
        return []
    query = frame[postings.query]
    frames = float(query.max() - query.min()) + _HALF_FRAMES
    at_once = min(1.0, 2 * _HALF_FRAMES / frames)
    found = [spot for half in _HALF_OFFSETS for spot in _spots(postings, query, at_once, size, half, chance_max)]
    return sorted(found, key=lambda spot: -spot.votes)


def _spots(postings: Postings, query: Float64, at_once: float, size: CatalogueSize, half: float, chance_max: float) -> list[Spot]:
    """With cells of twice half an offset."""
    tracks, rank, count = np.unique(postings.track_no, return_inverse=True, return_counts=True)
    least = _least(count, at_once, size, half, chance_max / len(tracks))
    track, offset = postings.track_no.astype(np.float64), postings.frame - query
    near = _company(track * _TRACK_STRIDE + offset, 2 * half, least[rank])
    track_no, cell, column, votes = _cells(postings.track_no[near], offset[near], query[near], half)
    enough = np.flatnonzero(votes >= least[tracks.searchsorted(track_no)])
    found: list[Spot] = []
    told: dict[int, int] = {}
    for n in enough[(-votes[enough]).argsort(kind="stable")].tolist():
        number = int(track_no[n])
        if told.setdefault(number, 0) < _SPOTS_MAX:
            told[number] += 1
            begin = float(column[n]) * _HALF_FRAMES
            middle = (float(cell[n]) + 1) * half
            found.append(Spot(track_no=number, begin_frame=begin, end_frame=begin + 2 * _HALF_FRAMES, votes=int(votes[n]), offset=middle))
    return found


def _least(count: _Int64, at_once: float, size: CatalogueSize, half: float, chance_max: float) -> _Int64:
    """How many votes a spot of each recording needs, by how many postings it has: one in the same key has more, and they fall anywhere."""
    each_s = size.seconds / max(1, size.tracks)
    counts, which = np.unique(count, return_inverse=True)
    needed = [votes_least(math.ceil(n * at_once), n, bin_frames=2 * half, catalogue_s=each_s, chance_max=chance_max) for n in counts.tolist()]
    least: _Int64 = np.maximum(np.array(needed, np.int64), _VOTES_LEAST)[which]
    return least


def near(spot: Spot, postings: Postings, frame: Float64) -> Postings:
    """Those of the postings that may have voted for a spot."""
    query = frame[postings.query]
    which = (postings.track_no == spot.track_no) & (query >= spot.begin_frame) & (query < spot.end_frame)
    which &= np.abs(postings.frame - query - spot.offset) <= 2 * _HALF_OFFSETS[-1]
    return Postings(query=postings.query[which], track_no=postings.track_no[which], frame=postings.frame[which])


def _company(key: Float64, reach: float, least: _Int64) -> npt.NDArray[np.intp]:
    """The numbers of the postings that have so many around them, themselves included: all others cannot matter."""
    order = key.argsort(kind="stable")
    ordered = key[order]
    low, high = ordered.searchsorted(ordered - reach), ordered.searchsorted(ordered + reach, "right")
    kept: npt.NDArray[np.intp] = order[high - low >= least[order]]
    return kept


def _cells(track_no: npt.NDArray[np.int32], offset: Float64, query: Float64, half: float) -> tuple[_Int64, _Int64, _Int64, _Int64]:
    """Recording, first offset cell, first window and votes of each cell of two by two halves that has any at its beginning."""
    tracks, rank = np.unique(track_no, return_inverse=True)
    cell = np.floor(offset / half).astype(np.int64) + (1 << (_OFFSET_BITS - 1))
    voters = np.unique(((rank.astype(np.int64) << _OFFSET_BITS | cell) << _ANCHOR_BITS) | query.astype(np.int64))
    column = ((voters & ((1 << _ANCHOR_BITS) - 1)) / _HALF_FRAMES).astype(np.int64)
    cells, votes = np.unique((voters >> _ANCHOR_BITS) << _ANCHOR_BITS | column, return_counts=True)
    beside = np.int64(1) << _ANCHOR_BITS
    together = votes + sum(_votes_at(cells + step, cells, votes) for step in (np.int64(1), beside, beside + 1))
    owner = cells >> _ANCHOR_BITS
    first_cell = (owner & ((1 << _OFFSET_BITS) - 1)) - (1 << (_OFFSET_BITS - 1))
    return tracks[owner >> _OFFSET_BITS].astype(np.int64), first_cell, cells & ((1 << _ANCHOR_BITS) - 1), together


def _votes_at(wanted: _Int64, cells: _Int64, votes: _Int64) -> _Int64:
    place = np.minimum(cells.searchsorted(wanted), max(0, len(cells) - 1))
    at: _Int64 = np.where(cells[place] == wanted, votes[place], 0) if len(cells) else votes
    return at
