"""The hot query: hashes in, postings out.

One statement is one snapshot: a track is never half there, nor are a compaction's old and new runs seen together. Per
run the hashes are turned into buckets, each bucket is one descent of the primary key, and a bucket's rows come back as
they are stored, packed; what was not asked for among them is dropped here, by NumPy, at a few nanoseconds a posting.

The recordings' hashes are 31 bits wide. A run's buckets hold about 150 postings, so in all but the largest catalogues
almost every bucket was asked for because of one hash. Decoding therefore compares a row's low bits with the first hash
asked for in its bucket, then with the second of those rows that have one, and so on: as many passes as the fullest
bucket has hashes, rarely more than two.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from earmark.index.docs import DocTable
from earmark.model import Int32, Postings
from earmark.postgres import Connection

HASH_BITS: Final = 31
DOC_BITS: Final = 19
#: More at once gain nothing (measured: 9 us of CPU a hash at 64, at 1,000 and at 12,800), and make others wait.
HASHES_MAX: Final = 1_000
#: Rows read of one bucket and run, of 330 to 400 postings each: whatever is in the catalogue, one hash cannot bring more.
PARTS_MAX: Final = 64

# `limit` also pins the nested loop: a statement prepared while the tables were empty stays right when they have grown.
LOOK_UP: Final = f"""
select b.bucket << r.low_bits, r.low_bits, r.doc_base, b.part, b.low, b.posting
from run r
cross join lateral (select distinct h >> r.low_bits as bucket from unnest(%(hashes)s::int4[]) h) q
cross join lateral (select * from block b where b.run_id = r.run_id and b.bucket = q.bucket order by b.part limit {PARTS_MAX}) b
union all
select null, null, null, null, null, string_agg(int4send(hash) || int4send(doc_id) || int2send(frame), ''::bytea)
from recent where hash = any(%(hashes)s::int4[])
"""

_RECENT: Final = np.dtype([("hash", ">i4"), ("doc_id", ">i4"), ("frame", ">i2")])
_FRAME_BITS: Final = 32 - DOC_BITS
_FRAME_MASK: Final = np.uint32((1 << _FRAME_BITS) - 1)

_Int64 = npt.NDArray[np.int64]
#: Which hash, doc_id, frame: columns of equal length.
_Found = tuple[_Int64, _Int64, _Int64]


def look_up(connection: Connection, table: DocTable, hashes: Int32, postings_max: int) -> Postings:
    """Postings of the hashes that have no more than `postings_max` of them.

    Args:
        connection: in autocommit mode, or in a transaction of the caller's.
        table: which docs count; postings of others are dropped before anything is counted.
        hashes: int32 [n], in any order, repetitions allowed; n may exceed `HASHES_MAX`.

    Returns:
        Postings; `query` is the place in `hashes`, each place of a repeated hash having its own.
    """
    distinct, inverse = np.unique(hashes, return_inverse=True)
    found = [_live(_chunk(connection, distinct[begin : begin + HASHES_MAX], begin), table) for begin in range(0, len(distinct), HASHES_MAX)]
    if not found:
        return Postings.none()
    query, track_no, frame = (np.concatenate(column) for column in zip(*found, strict=True))
    few = np.bincount(query, minlength=len(distinct)) <= postings_max
    kept = few[query]
    query, track_no, frame = query[kept], track_no[kept], frame[kept]
    if len(distinct) < len(hashes):
        query, places = _repeated(query, inverse, len(distinct))
        track_no, frame = track_no[places], frame[places]
    elif np.any(inverse[1:] < inverse[:-1]):
        query = np.argsort(inverse)[query]
    return Postings(query=query.astype(np.int32), track_no=track_no.astype(np.int32), frame=frame.astype(np.int32))


def _chunk(connection: Connection, hashes: Int32, first_query: int) -> _Found:
    rows = connection.execute(LOOK_UP, {"hashes": hashes}, prepare=True, binary=True).fetchall()
    *blocks, recent = rows
    query, doc_id, frame = (np.concatenate(column) for column in zip(*_from_blocks(blocks, hashes), _from_recent(recent[-1], hashes), strict=True))
    cut = _cut(blocks, hashes)
    if len(cut):
        kept = ~np.isin(query, cut)
        query, doc_id, frame = query[kept], doc_id[kept], frame[kept]
    return query + first_query, doc_id, frame


def _live(found: _Found, table: DocTable) -> _Found:
    """Of the docs that count, as recordings and places in them. A doc newer than the table waits for the next one."""
    query, doc_id, frame = found
    known = doc_id < len(table.track_no)
    doc_id = np.where(known, doc_id, 0)
    kept = np.flatnonzero(known & (table.track_no[doc_id] >= 0)) if len(table.track_no) else np.zeros(0, np.int64)
    doc_id = doc_id[kept]
    return query[kept], table.track_no[doc_id].astype(np.int64), frame[kept] + table.first_frame[doc_id]


def low_type(low_bits: int) -> np.dtype[Any]:
    """How a run with so many low bits keeps them."""
    return np.dtype("u1") if low_bits <= 8 else np.dtype("<u2")


def _from_blocks(rows: Sequence[tuple[Any, ...]], hashes: Int32) -> list[_Found]:
    by_width = [row for row in rows if row[1] <= 8], [row for row in rows if row[1] > 8]
    return [_decode(same, hashes, low_type(same[0][1])) for same in by_width if same]


def _decode(rows: Sequence[tuple[Any, ...]], hashes: Int32, width: np.dtype[Any]) -> _Found:
    """Rows of `LOOK_UP` (without its last), all with low bits of one width."""
    first_hash, low_bits, doc_base, _, low_bytes, posting_bytes = zip(*rows, strict=True)
    first = np.array(first_hash, np.int64)
    begin = np.searchsorted(hashes, first)
    asked = np.searchsorted(hashes, first + (1 << np.array(low_bits, np.int64))) - begin
    length = np.fromiter(map(len, low_bytes), np.int64, len(rows)) // width.itemsize
    start = np.cumsum(length) - length
    low = np.frombuffer(b"".join(low_bytes), width)
    posting = np.frombuffer(b"".join(posting_bytes), "<u4")
    found = []
    for nth in range(int(asked.max())):
        row = np.flatnonzero(asked > nth)
        query = begin[row] + nth
        wanted = (hashes[query] - first[row]).astype(width)
        if nth == 0:  # every row has a first one
            place = np.flatnonzero(low == np.repeat(wanted, length))
        else:
            among = np.repeat(start[row] - np.cumsum(length[row]) + length[row], length[row]) + np.arange(length[row].sum())
            place = among[low[among] == np.repeat(wanted, length[row])]
        of_row = np.searchsorted(start, place, "right") - 1
        found.append((begin[of_row] + nth, posting[place], of_row))
    query, value, of_row = (np.concatenate(column) for column in zip(*found, strict=True))
    doc_id = (value >> np.uint32(_FRAME_BITS)).astype(np.int64) + np.array(doc_base, np.int64)[of_row]
    return query, doc_id, (value & _FRAME_MASK).astype(np.int64)


def _cut(rows: Sequence[tuple[Any, ...]], hashes: Int32) -> _Int64:
    """Hashes at or behind the place where a bucket's reading was cut: they are answered with none, not with a part."""
    cut = [np.zeros(0, np.int64)]
    for first_hash, low_bits, _, part, low, _ in rows:
        if part == PARTS_MAX - 1:
            last_read = first_hash + int(np.frombuffer(low, low_type(low_bits))[-1])
            cut.append(np.arange(np.searchsorted(hashes, last_read), np.searchsorted(hashes, first_hash + (1 << low_bits))))
    return np.concatenate(cut)


def _from_recent(packed: bytes | None, hashes: Int32) -> _Found:
    rows = np.frombuffer(packed or b"", _RECENT)
    query = np.searchsorted(hashes, rows["hash"].astype(np.int32)).astype(np.int64)
    return query, rows["doc_id"].astype(np.int64), rows["frame"].astype(np.int64)


def _repeated(query: _Int64, inverse: _Int64, distinct: int) -> tuple[_Int64, _Int64]:
    """For each asked place its hash's postings: the places, and which of the postings."""
    order = np.argsort(query, kind="stable")
    count = np.bincount(query, minlength=distinct)
    start = np.cumsum(count) - count
    each = count[inverse]
    places = np.repeat(start[inverse] - np.cumsum(each) + each, each) + np.arange(each.sum())
    return np.repeat(np.arange(len(inverse)), each), order[places]
