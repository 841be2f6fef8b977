"""A sketch of what was heard: enough of a block's landmarks to find out in microseconds whether a recording may be in it.

To hash all that is kept anew for each hunt would take a hundred times as long as to look at hashes that are there. So a
block has a sketch beside its peaks: of every second anchor the landmarks that a live stream asks about, pairs and triples,
each as three bytes of its hash, in order of time. Which anchors is said by what is hashed, so that a recording and a stream
agree on them: pairs in every second cell of 4 Hz, triples in every second sixth of an octave.

    count   u8      for each 8 frames of the block, how many landmarks are anchored there
    low     u16 LE  for each landmark the lower bits of its hash,
    high    u8      and the upper ones

A recording that is `Sought` has all combinations of its peaks that a stream's could be, because in the catalogue nothing
says how far its peaks stand out. What is found by chance is told from the rest by its place: `earmark.hunting`.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from earmark.fingerprint import pairs, triples
from earmark.fingerprint.landmarks import KEEP, LIVE, first_postings, key
from earmark.fingerprint.targets import Index, octaves
from earmark.model import EIGHTHS, Bool, Float32, Int32, Landmarks, Peaks

#: Frames that share a count: a landmark's place is known to a quarter of a second.
GROUP_FRAMES: Final = 8
_GROUP_EIGHTHS: Final = GROUP_FRAMES * EIGHTHS
#: So many of them are kept, those of the anchors that stand out most: more have only dense music, where there are enough, and
#: noise. A stream-hour then has less than a megabyte of sketches, whatever is in it.
_COUNT_MAX: Final = 20
#: Of a hash's 31 bits the upper ones.
_SKETCH_BITS: Final = 24
_DROPPED_BITS: Final = 31 - _SKETCH_BITS
_LOW_BITS: Final = 16
#: A megabyte of table.
_NEAR_BITS: Final = 20
_NEAR_MASK: Final = np.int32((1 << _NEAR_BITS) - 1)
#: Anchors of one kind, out of two.
_PAIR_CELL_EIGHTHS: Final = 4 * EIGHTHS
_TRIPLE_CELLS_PER_OCTAVE: Final = 6
#: Of a recording, so many targets of an anchor, the nearest in time. With all that a target zone holds (24, 8) as much is
#: found, and twice as much by chance.
_PAIR_TARGETS, _TRIPLE_TARGETS = 8, 4
#: Anchors whose targets are gathered at once.
_AT_ONCE: Final = 1_024


def sketch(peaks: Peaks, frames: int) -> bytes:
    """The sketch of a block: `peaks` of it, with their salience, in its own `frames`."""
    found, salience = _landmarks(peaks, pair_targets=LIVE.pair_targets, triple_targets=LIVE.triple_targets)
    group = (found.frame / GROUP_FRAMES).astype(np.int32)
    order = np.lexsort((-salience, group))
    group, short = group.take(order), (found.hash >> _DROPPED_BITS).take(order)
    groups_n = -(-frames // GROUP_FRAMES)
    count = np.bincount(group, minlength=groups_n)[:groups_n]
    kept = np.arange(len(group)) - (count.cumsum() - count).take(group) < _COUNT_MAX
    short = short.compress(kept)
    columns = (np.minimum(count, _COUNT_MAX).astype("u1"), (short & ((1 << _LOW_BITS) - 1)).astype("<u2"), (short >> _LOW_BITS).astype("u1"))
    return b"".join(column.tobytes() for column in columns)


def _landmarks(peaks: Peaks, *, pair_targets: int, triple_targets: int, speed: float = 1.0) -> tuple[Landmarks, Float32]:
    """Landmarks of the anchors that are in sketches, triples, and at their own speed pairs; and by how much their anchors stand out."""
    sparse = peaks.take(peaks.hashed)
    cell = np.floor((octaves(sparse) - math.log2(speed)) * _TRIPLE_CELLS_PER_OCTAVE).astype(np.int32)
    parts = [(sparse, triples.triples(sparse, some, triple_targets, speed=speed)) for some in _some(np.flatnonzero(cell & 1))]
    if speed == 1.0:
        chosen = np.flatnonzero(peaks.eighth_hz // _PAIR_CELL_EIGHTHS & 1)
        parts += [(peaks, pairs.pairs(peaks, some, pair_targets)) for some in _some(chosen)]
    none = np.zeros(0, np.int32)
    times = np.concatenate([none, *(of.eighth_frames.take(anchor) for of, (_, anchor) in parts)])
    salience = np.concatenate([np.zeros(0, np.float32), *(of.salience.take(anchor) for of, (_, anchor) in parts)])
    return Landmarks(hash=np.concatenate([none, *(key(packed) for _, (packed, _) in parts)]), frame=times / float(EIGHTHS)), salience


def _some(anchors: Index) -> list[Index]:
    return [anchors[begin : begin + _AT_ONCE] for begin in range(0, len(anchors), _AT_ONCE)]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Coincidences:
    """Landmarks of a block that are in the recording too, columns of equal length n, in order of the block's time."""

    #: int32 [n], frames since the block's first, right within four; and frames of the recording.
    heard: Int32
    reference: Int32
    #: intp [n], the speed under which, of those that were `Sought`.
    speed_no: Index

    def __len__(self) -> int:
        return len(self.heard)

    def take(self, which: Bool) -> "Coincidences":
        return Coincidences(heard=self.heard.compress(which), reference=self.reference.compress(which), speed_no=self.speed_no.compress(which))


class Sought:
    """A recording, prepared to be sought in any number of sketches: 17 MB of tables.

    Args:
        peaks: of the recording; their salience is not asked for.
        speeds: at which it may be played, reference seconds per stream second; each finds those within 3 %.
    """

    def __init__(self, peaks: Peaks, speeds: tuple[float, ...]) -> None:
        self.speeds = speeds
        even = Peaks(eighth_frames=peaks.eighth_frames, eighth_hz=peaks.eighth_hz, hashed=peaks.hashed, salience=np.zeros(len(peaks), np.float32))
        # A stream that plays faster has higher frequencies and shorter times than the recording.
        asked = (_landmarks(even, pair_targets=_PAIR_TARGETS, triple_targets=_TRIPLE_TARGETS, speed=1 / speed)[0] for speed in speeds)
        landmarks = [first_postings(found, KEEP) for found in asked]
        short = np.concatenate([found.hash >> _DROPPED_BITS for found in landmarks])
        order = short.argsort(kind="stable")
        #: Ascending; the frame of each, and the speed.
        self._short = short.take(order)
        self._frame = np.concatenate([np.floor(found.frame).astype(np.int32) for found in landmarks]).take(order)
        self._speed_no = np.arange(len(speeds)).repeat([len(found) for found in landmarks]).take(order)
        # Most of what is asked is not there: the first table, which stays in the processor's cache, sees to most of that.
        self._near: Bool = np.zeros(1 << _NEAR_BITS, np.bool_)
        self._near[short & _NEAR_MASK] = True
        self._there: Bool = np.zeros(1 << _SKETCH_BITS, np.bool_)
        self._there[short] = True

    def __len__(self) -> int:
        return len(self._short)

    def find(self, sketched: bytes, frames: int) -> Coincidences:
        """What a block has in common with the recording. Raises ValueError for what is no sketch of so many frames."""
        groups_n = -(-frames // GROUP_FRAMES)
        count = np.frombuffer(sketched, "u1", min(groups_n, len(sketched))).cumsum(dtype=np.int32)
        number = int(count[-1]) if len(count) else 0
        if len(sketched) != groups_n + 3 * number:
            raise ValueError(f"a sketch of {frames} frames is damaged: it holds {len(sketched)} bytes")
        short = np.frombuffer(sketched, "u1", number, groups_n + 2 * number).astype(np.int32)
        short <<= _LOW_BITS
        short |= np.frombuffer(sketched, "<u2", number, groups_n)
        which: Index = self._near.take(short & _NEAR_MASK, mode="wrap").nonzero()[0]
        short = short.take(which)
        there = self._there.take(short).nonzero()[0]
        which, short = which.take(there), short.take(there)
        low = self._short.searchsorted(short)
        places = self._short.searchsorted(short, "right") - low
        place = np.arange(places.sum()) + (low + places - places.cumsum()).repeat(places)
        group = count.searchsorted(which, "right").astype(np.int32)
        return Coincidences(
            heard=(group * GROUP_FRAMES + GROUP_FRAMES // 2).repeat(places), reference=self._frame.take(place), speed_no=self._speed_no.take(place)
        )
