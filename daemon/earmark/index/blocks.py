"""How postings lie in the tables `block` and `fresh`: bytes in, NumPy columns out, and the other way. Pure.

A *key* is a posting as one number: hash (31 bits) << 32 | doc_in_span (19) << 13 | frame (13). A run's sorted keys are cut
into *buckets* by the upper bits of their hash, as many as make buckets of some 150 postings; a bucket that is fuller is
cut into rows of 440. A row says each hash once: its low bits, and how many of the row's postings are its. At 100,000
recordings that is 4.2 bytes a posting, and half a byte for the row and its entry in the primary key.
"""

import hashlib
import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.index.constellations import FRAME_BITS
from earmark.model import Int32

HASH_BITS: Final = 31
#: Doc_ids that the runs of one span may hold: 19 bits of a key.
SPAN: Final = 1 << 19
#: A bucket is `hash >> low_bits`; a range of hashes that is a multiple of this never splits one.
LOW_BITS_MAX: Final = 16
#: Fewer postings in a bucket cost bytes, more cost reading.
_BUCKET_POSTINGS: Final = 150
#: Four rows to a page of PostgreSQL's, when their hashes have some postings each.
_ROW_POSTINGS: Final = 440
#: An entry's count is one byte.
_COUNT_MAX: Final = 255
#: PostgreSQL's int4[]: dimensions, nulls, type, length, first index; then for each element its size and itself.
_ARRAY_HEAD_BYTES: Final = 20

Keys: TypeAlias = npt.NDArray[np.uint64]
Int64: TypeAlias = npt.NDArray[np.int64]

COPY_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END: Final = b"\xff\xff"
#: The first four bytes of the SHA-256 of a bytea; to be formatted with it.
DIGEST: Final = "('x' || encode(substr(sha256({}), 1, 4), 'hex'))::bit(32)::int"
#: Columns of a row as COPY wants them: their number, then each with its size before it.
_ROW: Final = struct.Struct(">h iiiiihii i")
_FRESH: Final = np.dtype([("hash", ">i4"), ("frame", ">i2")])


def digest(*parts: bytes) -> int:
    """Of what a row holds, an int4: whoever edits it by hand is found out. `DIGEST` is the same in SQL."""
    made = hashlib.sha256()
    for part in parts:
        made.update(part)
    return int.from_bytes(made.digest()[:4], signed=True)


# ------------------------------------------------------------------------------------------------ keys


def keys(hashes: Int32, doc_id: int, frames: Int32) -> Keys:
    """Postings of one doc as keys, in their order."""
    place = np.uint64((doc_id & (SPAN - 1)) << FRAME_BITS) | frames.astype(np.uint64)
    return (hashes.astype(np.uint64) << np.uint64(32)) | place


def hashes_of(keys: Keys) -> Int32:
    return (keys >> np.uint64(32)).astype(np.int32)


def docs_in_span(keys: Keys) -> Int64:
    return ((keys & np.uint64(0xFFFF_FFFF)) >> np.uint64(FRAME_BITS)).astype(np.int64)


# ------------------------------------------------------------------------------------------------ fresh


def pack_fresh(hashes: Int32, frames: Int32) -> bytes:
    """Postings of one doc, six bytes each."""
    rows = np.empty(len(hashes), _FRESH)
    order = np.lexsort((frames, hashes))
    rows["hash"], rows["frame"] = hashes[order], frames[order]
    return rows.tobytes()


def unpack_fresh(packed: bytes) -> tuple[Int32, Int32]:
    """(hashes, frames), in that order."""
    rows = np.frombuffer(packed, _FRESH)
    return rows["hash"].astype(np.int32), rows["frame"].astype(np.int32)


# ------------------------------------------------------------------------------------------------ rows of `block`


def low_bits_for(postings: int) -> int:
    """So that a bucket holds about 150 postings, if hashes were spread evenly."""
    return min(LOW_BITS_MAX, max(0, round(math.log2(_BUCKET_POSTINGS * 2.0**HASH_BITS / max(1, postings)))))


def entry_type(low_bits: int) -> np.dtype[Any]:
    """An entry of a row's head."""
    return np.dtype([("low", "u1" if low_bits <= 8 else "<u2"), ("count", "u1")])


def rows(sorted_keys: Keys, run_id: int, low_bits: int) -> Iterator[bytes]:
    """Sorted keys as rows of `block`, (run_id, bucket, part, digest, head, posting), each in the bytes that binary COPY takes."""
    if not len(sorted_keys):
        return
    hashes = hashes_of(sorted_keys)
    bucket = hashes >> low_bits
    opens = changes(bucket)
    in_bucket = _rank(opens)
    begins = opens | (in_bucket % _ROW_POSTINGS == 0)
    one_hash = begins | changes(hashes)
    entry = np.flatnonzero(one_hash | (_rank(one_hash) % _COUNT_MAX == 0))
    entries = np.empty(len(entry), entry_type(low_bits))
    entries["low"] = hashes[entry] & ((1 << low_bits) - 1)
    entries["count"] = np.diff(entry, append=len(hashes))
    row = np.flatnonzero(begins)
    head, posting, size = entries.tobytes(), sorted_keys.astype("<u4").tobytes(), entries.itemsize
    of_head = np.append(np.searchsorted(entry, row), len(entry)).tolist()
    of_posting = np.append(row, len(hashes)).tolist()
    for n, (number, part) in enumerate(zip(bucket[row].tolist(), (in_bucket[row] // _ROW_POSTINGS).tolist(), strict=True)):
        heads, postings = head[size * of_head[n] : size * of_head[n + 1]], posting[4 * of_posting[n] : 4 * of_posting[n + 1]]
        columns = _ROW.pack(6, 4, run_id, 4, number, 2, part, 4, digest(heads, postings), len(heads))
        yield b"".join((columns, heads, len(postings).to_bytes(4), postings))


def changes(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which values are not the one before them; the first is not."""
    found = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def _rank(begins: npt.NDArray[np.bool_]) -> Int64:
    """How many lie between each place and the last one that begins something."""
    first = np.flatnonzero(begins)
    return np.arange(len(begins)) - np.repeat(first, np.diff(first, append=len(begins)))


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of one run, column by column: a few bytes objects instead of thousands."""

    low_bits: int
    bucket: Int32
    #: Bytes of each row's head, and of its postings.
    head_bytes: Int32
    posting_bytes: Int32
    head: bytes
    posting: bytes

    @classmethod
    def of(cls, low_bits: int, bucket: bytes, head_bytes: bytes, posting_bytes: bytes, head: bytes, posting: bytes) -> "Rows":
        """The first three as `array_send` sends int4[]."""
        return cls(low_bits, array(bucket), array(head_bytes), array(posting_bytes), head, posting)

    def pieces(self) -> list[tuple[bytes, bytes]]:
        """Head and postings of each row."""
        return list(zip(_cut(self.head, self.head_bytes), _cut(self.posting, self.posting_bytes), strict=True))

    def only(self, chosen: Sequence[int]) -> "Rows":
        """Some of the rows."""
        pieces = self.pieces()
        return Rows(
            self.low_bits,
            self.bucket[list(chosen)],
            self.head_bytes[list(chosen)],
            self.posting_bytes[list(chosen)],
            b"".join(pieces[n][0] for n in chosen),
            b"".join(pieces[n][1] for n in chosen),
        )

    def keys(self) -> Keys:
        """Every posting, in the rows' order; the rows must be what was written."""
        entries = np.frombuffer(self.head, entry_type(self.low_bits))
        places = np.frombuffer(self.posting, "<u4").astype(np.uint64)
        return (np.repeat(self._hashes(entries), entries["count"]).astype(np.uint64) << np.uint64(32)) | places

    def find(self, asked: Int32) -> tuple[Int32, npt.NDArray[np.uint32]]:
        """How many postings each of the asked hashes has, int32 [len(asked)], and the lower half of the key of each of those.

        Rows that somebody has edited, so that their heads do not count as many postings as there are, are left out.

        Args:
            asked: ascending, none twice.
        """
        entry = entry_type(self.low_bits)
        if np.any(self.head_bytes % entry.itemsize) or not np.all(self.head_bytes):
            return self._sound().find(asked)
        entries = np.frombuffer(self.head, entry)
        hashes, count = self._hashes(entries), entries["count"]
        ends = np.cumsum(count, dtype=np.int32)
        if not np.array_equal(4 * ends[np.cumsum(self.head_bytes) // entry.itemsize - 1], np.cumsum(self.posting_bytes)):
            return self._sound().find(asked)
        posting = np.frombuffer(self.posting, "<u4")
        if np.any(hashes[1:] < hashes[:-1]):  # the rows came in another order than the index has
            order = np.argsort(hashes, kind="stable")
            hashes, count, posting = hashes[order], count[order], posting[ranges((ends - count)[order], count[order].astype(np.int32))]
            ends = np.cumsum(count, dtype=np.int32)
        before = np.append(np.int32(0), ends)
        begin = before[np.searchsorted(hashes, asked, "left")]
        number = before[np.searchsorted(hashes, asked, "right")] - begin
        return number, posting.take(ranges(begin, number))

    def _hashes(self, entries: npt.NDArray[np.void]) -> Int32:
        """The whole hash of each entry."""
        of_row: Int32 = np.repeat(self.bucket << self.low_bits, self.head_bytes // entries.itemsize)
        of_row |= entries["low"]
        return of_row

    def _sound(self) -> "Rows":
        """The rows that add up."""
        entry = entry_type(self.low_bits)
        return self.only([n for n, (head, posting) in enumerate(self.pieces()) if head and _adds_up(head, posting, entry)])


def _adds_up(head: bytes, posting: bytes, entry: np.dtype[Any]) -> bool:
    return len(head) % entry.itemsize == 0 and 4 * int(np.frombuffer(head, entry)["count"].sum(dtype=np.int64)) == len(posting)


def _cut(joined: bytes, lengths: Int32) -> list[bytes]:
    ends = np.cumsum(lengths).tolist()
    return [joined[begin:end] for begin, end in pairwise([0, *ends])]


def array(sent: bytes) -> Int32:
    """int4[] as `array_send` sends it; it must hold no nulls."""
    return np.frombuffer(sent, ">i4", offset=_ARRAY_HEAD_BYTES)[1::2].astype(np.int32)


def ranges(begin: Int32, count: Int32) -> Int32:
    """The numbers from each `begin` on, so many, one range after the other; all below 2^31."""
    end = np.cumsum(count, dtype=np.int32)
    made = np.repeat(begin - end + count, count)
    made += np.arange(len(made), dtype=np.int32)
    return made
