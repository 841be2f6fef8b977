"""All postings of the catalogue, recording after recording: runs have them hash after hash.

They are read once, in the order in which they lie, and laid aside in a temporary file, eight bytes each, portion by
portion of the recordings; then a portion at a time is sorted in memory. So memory does not grow with the catalogue, and no
posting is read twice from the database.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from earmark.index import runs, stops
from earmark.index.blocks import HASH_BITS, LOW_BITS_MAX, array, digest, docs_in_span, hashes_of, unpack_fresh
from earmark.index.constellations import FRAME_BITS
from earmark.index.runs import Run
from earmark.model import Int32
from earmark.postgres import Connection
from earmark.reserved import CANARY

#: Postings of a portion, about: 32 MB, and some 150 MB while they are sorted and taken apart.
PORTION_POSTINGS: Final = 4_000_000
#: Counted of each doc at least, so that a portion has fewer than 2^20, which is what a key has room for.
_LEAST_POSTINGS: Final = 16
#: Read by one statement, about.
_SLICE_POSTINGS: Final = 2_000_000
_DOCS_AT_ONCE: Final = 200
_HASHES: Final = 1 << HASH_BITS
_GRAIN: Final = 1 << LOW_BITS_MAX
_NONE: Final = np.int32(-1)

_Int64 = npt.NDArray[np.int64]

# Aliases that are not looked up come last, and other aliases before them: whatever a recording names has come before it.
# The canary's does not leave: each catalogue gets its own.
_ORDER: Final = f"""
select array_send(array_agg(doc_id)), array_send(array_agg(track_no)), array_send(array_agg(first_frame)), array_send(array_agg(postings))
from (select d.doc_id, t.track_no, d.first_frame, coalesce(length(p.postings) / 6, d.postings) as postings
      from track t join doc d on d.track_no = t.track_no and d.retired_at is null
      left join track_alias a on a.track_no = t.track_no left join put_aside p on p.doc_id = d.doc_id
      where not starts_with(t.track_id, '{CANARY}')
      order by a.track_no is not null, a.in_no is not null, t.track_no, d.part) docs
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Order:
    """The docs of the catalogue's recordings in the order in which they leave it: columns of equal length."""

    doc_id: Int32
    track_no: Int32
    first_frame: Int32
    #: About how many each has.
    postings: Int32

    @classmethod
    def read(cls, connection: Connection) -> "Order":
        row = connection.execute(_ORDER.encode(), binary=True).fetchone()
        assert row is not None
        columns = [np.zeros(0, np.int32) if sent is None else array(sent) for sent in row]
        return cls(doc_id=columns[0], track_no=columns[1], first_frame=columns[2], postings=columns[3])

    def portions(self) -> list[slice]:
        """Docs of so many recordings as have about the postings of a portion."""
        if not len(self.doc_id):
            return []
        first = np.flatnonzero(np.diff(self.track_no, prepend=_NONE))
        weight = np.add.reduceat(np.maximum(self.postings, _LEAST_POSTINGS), first, dtype=np.int64)
        number = (np.cumsum(weight) - weight) // PORTION_POSTINGS
        begins = first[np.flatnonzero(np.diff(number, prepend=-1))].tolist()
        return [slice(begin, end) for begin, end in pairwise([*begins, len(self.doc_id)])]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Portion:
    """Some recordings with their postings."""

    track_nos: Int32
    #: Where each one's postings begin, and where the last one's end.
    begins: _Int64
    #: By recording and part, then by hash; frames since the recording's first sample.
    hashes: Int32
    frames: Int32


@dataclass(kw_only=True, eq=False)
class ByRecording:
    """Reads them; everything in one snapshot, that of the connection's transaction.

    Args:
        file: a temporary one that can be read and written.
        progress: called with how many postings have been read, of how many.
    """

    connection: Connection
    order: Order
    file: BinaryIO
    progress: Callable[[int, int], None] = lambda *_: None
    #: Rows whose postings are not what was written, and are left out.
    damaged: int = 0
    _portions: list[slice] = field(init=False)
    #: By doc_id: which portion it is of, and which of its docs.
    _portion: npt.NDArray[np.int16 | np.int32] = field(init=False)
    _place: Int32 = field(init=False)
    #: Of all that was laid aside at once: where in the file it begins, and where in it each portion ends, in postings.
    _laid: list[tuple[int, Int32]] = field(init=False)
    #: The stop list, whose hashes are left out.
    stopped: Int32 = field(init=False)

    def __post_init__(self) -> None:
        self._portions = self.order.portions()
        self._laid = []
        ids = int(self.order.doc_id.max(initial=-1)) + 1
        self._portion, self._place = np.full(ids, _NONE), np.full(ids, _NONE)
        for number, portion in enumerate(self._portions):
            doc_ids = self.order.doc_id[portion]
            self._portion[doc_ids], self._place[doc_ids] = number, np.arange(len(doc_ids))
        self.stopped = stops.joined(stops.read(self.connection))

    def portions(self) -> Iterator[Portion]:
        """In order. Nothing is yielded before all was read."""
        self._read_runs()
        self._read_rows("fresh")
        self._read_rows("put_aside")
        for number, portion in enumerate(self._portions):
            yield self._sorted(number, portion)

    # -------------------------------------------------------------------------------------------- laying aside

    def _read_runs(self) -> None:
        found = [Run(*row) for row in self.connection.execute("select run_id, low_bits, doc_base, postings from run order by run_id").fetchall()]
        done, of = 0, sum(run.postings for run in found)
        for run in found:
            width = max(_GRAIN, _HASHES // max(1, -(-run.postings // _SLICE_POSTINGS)) // _GRAIN * _GRAIN)
            for begin in range(0, _HASHES, width):
                read = runs.read(self.connection, run, begin, min(begin + width, _HASHES))
                self.damaged += len(read.damaged)
                frames = (read.keys & np.uint64((1 << FRAME_BITS) - 1)).astype(np.int32)
                self._lay(run.doc_base + docs_in_span(read.keys), hashes_of(read.keys), frames)
                done += len(read.keys)
                self.progress(done, of)

    def _read_rows(self, table: str) -> None:
        """Of `fresh`, or of `put_aside`: a row a doc."""
        doc_id = 0
        while rows := self.connection.execute(
            f"select doc_id, digest, postings from {table} where doc_id > %s order by doc_id limit {_DOCS_AT_ONCE}", [doc_id], binary=True
        ).fetchall():
            doc_id = rows[-1][0]
            whole = [(doc, *unpack_fresh(packed)) for doc, written, packed in rows if digest(packed) == written]
            self.damaged += len(rows) - len(whole)
            if whole:
                docs = np.concatenate([np.full(len(hashes), doc, np.int64) for doc, hashes, _ in whole])
                self._lay(docs, *(np.concatenate(column) for column in zip(*(row[1:] for row in whole), strict=True)))

    def _lay(self, doc: _Int64, hashes: Int32, frames: Int32) -> None:
        known = doc < len(self._portion)
        portion = np.where(known, self._portion.take(doc, mode="clip"), _NONE) if len(self._portion) else np.full(len(doc), _NONE)
        mine = np.flatnonzero((portion >= 0) & ~stops.among(hashes, self.stopped))
        portion = portion[mine].astype(np.int16 if len(self._portions) < 1 << 15 else np.int32)
        order = portion.argsort(kind="stable")
        ends = np.cumsum(np.bincount(portion, minlength=len(self._portions))).astype(np.int32)
        mine = mine[order]
        keys = self._place.take(doc[mine]).astype(np.uint64) << np.uint64(HASH_BITS + FRAME_BITS)
        keys |= hashes[mine].astype(np.uint64) << np.uint64(FRAME_BITS) | frames[mine].astype(np.uint64)
        self._laid.append((self.file.seek(0, 2), ends))
        self.file.write(keys.tobytes())

    # -------------------------------------------------------------------------------------------- taking up again

    def _sorted(self, number: int, portion: slice) -> Portion:
        pieces = [np.zeros(0, np.uint64)]
        for at, ends in self._laid:
            begin, end = int(ends[number - 1]) if number else 0, int(ends[number])
            if begin < end:
                self.file.seek(at + 8 * begin)
                pieces.append(np.frombuffer(self.file.read(8 * (end - begin)), np.uint64))
        keys = np.concatenate(pieces)
        keys.sort()
        place = (keys >> np.uint64(HASH_BITS + FRAME_BITS)).astype(np.int32)
        frames = (keys & np.uint64((1 << FRAME_BITS) - 1)).astype(np.int32) + self.order.first_frame[portion].take(place)
        of_track = self.order.track_no[portion]
        first = np.flatnonzero(np.diff(of_track, prepend=_NONE))
        return Portion(
            track_nos=of_track[first],
            begins=np.append(np.searchsorted(place, first), len(place)),
            hashes=(keys >> np.uint64(FRAME_BITS) & np.uint64(_HASHES - 1)).astype(np.int32),
            frames=frames,
        )
