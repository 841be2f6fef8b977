"""The newest recordings' postings, in memory: those of docs that are in no run yet. Pure.

An addition then writes a row a doc and no index of its postings, 0.2 MB instead of 1.6, and a look-up of what is newest
costs microseconds. Sorted segments: what comes is a segment of its own, and joins those that are not much larger.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.index.blocks import ranges
from earmark.model import Int32

#: A segment is joined with the next larger one unless that is so many times as large.
_RATIO: Final = 2


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Postings by ascending hash, in columns."""

    hash: Int32
    doc_id: Int32
    frame: Int32

    @classmethod
    def of(cls, hash_: Int32, doc_id: Int32, frame: Int32) -> "Segment":
        # Numbers are sorted six times as fast as places by what is there.
        keys = (hash_.astype(np.uint64) << np.uint64(32)) | np.arange(len(hash_), dtype=np.uint64)
        keys.sort()
        order = (keys & np.uint64(0xFFFF_FFFF)).astype(np.int64)
        return cls((keys >> np.uint64(32)).astype(np.int32), doc_id[order], frame[order])

    @classmethod
    def join(cls, segments: Sequence["Segment"]) -> "Segment":
        return cls.of(*(np.concatenate([getattr(s, column) for s in segments]) for column in ("hash", "doc_id", "frame")))


@dataclass(frozen=True, slots=True, eq=False)
class Fresh:
    """Postings of some docs; `adding` and `without` make new ones."""

    segments: tuple[Segment, ...] = ()

    def __len__(self) -> int:
        return sum(len(segment.hash) for segment in self.segments)

    def adding(self, docs: Iterable[tuple[int, Int32, Int32]]) -> "Fresh":
        """With (doc_id, hashes, frames) of more docs."""
        added = [Segment(hashes, np.full(len(hashes), doc_id, np.int32), frames) for doc_id, hashes, frames in docs]
        if not added:
            return self
        last, rest = Segment.join(added), list(self.segments)
        while rest and len(rest[-1].hash) <= _RATIO * len(last.hash):
            last = Segment.join([rest.pop(), last])
        return Fresh((*rest, last))

    def without(self, doc_ids: npt.ArrayLike) -> "Fresh":
        kept = []
        for segment in self.segments:
            mine = ~np.isin(segment.doc_id, doc_ids)
            if mine.any():
                kept.append(segment if mine.all() else Segment(segment.hash[mine], segment.doc_id[mine], segment.frame[mine]))
        return Fresh(tuple(kept))

    def find(self, asked: Int32) -> list[tuple[Int32, Int32, Int32]]:
        """Of ascending hashes, in each segment: how many postings each has, and the doc and the frame in it of each posting."""
        return [_find(segment, asked) for segment in self.segments]


def _find(segment: Segment, asked: Int32) -> tuple[Int32, Int32, Int32]:
    begin = np.searchsorted(segment.hash, asked, "left").astype(np.int32)
    count = np.searchsorted(segment.hash, asked, "right").astype(np.int32) - begin
    where = ranges(begin, count)
    return count, segment.doc_id[where], segment.frame[where]
