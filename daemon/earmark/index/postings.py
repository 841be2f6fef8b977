"""The hot query: hashes in, postings out.

One statement is one snapshot: a track is never half there, nor are a merge's old and new runs seen together. Per run the
hashes are turned into buckets, each bucket is one descent of the primary key, and its rows come back as they are stored,
put together by the server into five values a run; what was not asked for among them is dropped here, by NumPy.

Hashes are asked in order, so that neighbours are found in pages that were touched just before: thirty thousand at once
cost half as much each as a thousand. They go out in statements of a thousand, a few ahead: while one is answered, the
one before it is taken apart here.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import psycopg

from earmark.index.blocks import Rows
from earmark.index.constellations import FRAME_BITS
from earmark.index.docs import Known
from earmark.model import Int32
from earmark.postgres import Connection

#: In one statement. More gain nothing, and make others wait.
HASHES_MAX: Final = 1_000
#: Statements under way at once: bounds what waits to be read, and what a cancelled question has cost.
_AHEAD: Final = 3
_FRAME_MASK: Final = np.uint32((1 << FRAME_BITS) - 1)

# `offset 0` pins the nested loop: a statement prepared while the tables were empty stays right when they have grown.
LOOK_UP: Final = """
select r.low_bits, r.doc_base, found.*
from run r
cross join lateral (
  select array_send(array_agg(b.bucket)), array_send(array_agg(length(b.head))), array_send(array_agg(length(b.posting))),
         string_agg(b.head, ''::bytea), string_agg(b.posting, ''::bytea)
  from (select distinct h >> r.low_bits as bucket from unnest(%(hashes)s::int4[]) h order by 1 offset 0) q
  cross join lateral (select bucket, head, posting from block where run_id = r.run_id and bucket = q.bucket offset 0) b
) found
"""

#: Of each posting, in columns: which hash, the doc or the recording, the frame in it.
Found = tuple[Int32, Int32, Int32]


def look_up(connection: Connection, known: Known, hashes: Int32) -> Found:
    """Postings of hashes that count: which hash, which recording's number, and the frame in it.

    Args:
        connection: in autocommit mode.
        known: which docs count, and the postings that are in no run yet.
        hashes: int32 [n], ascending, none twice; n may exceed `HASHES_MAX`.
    """
    found = [_live(known, known.fresh.find(hashes), held=True)]
    for n, answer in enumerate(_asked(connection, hashes)):
        begin = n * HASHES_MAX
        for low_bits, doc_base, *columns in answer:
            if columns[0] is not None:
                query, place = Rows.of(low_bits, *columns).sound().find(hashes[begin : begin + HASHES_MAX])
                doc_id = (place >> np.uint32(FRAME_BITS)).astype(np.int32)
                frame = (place & _FRAME_MASK).astype(np.int32)
                found.append(_live(known, (query + np.int32(begin), doc_id + np.int32(doc_base), frame), held=False))
    return _in_order(found)


def _asked(connection: Connection, hashes: Int32) -> Iterator[list[tuple[Any, ...]]]:
    """The answers of the statements, in order."""
    chunks = [hashes[begin : begin + HASHES_MAX] for begin in range(0, len(hashes), HASHES_MAX)]
    if len(chunks) <= 1:
        yield from (_ask(connection, chunk).fetchall() for chunk in chunks)
        return
    with connection.pipeline():
        under_way: deque[psycopg.Cursor[tuple[Any, ...]]] = deque()
        for chunk in chunks:
            under_way.append(_ask(connection, chunk))
            if len(under_way) > _AHEAD:
                yield under_way.popleft().fetchall()
        while under_way:
            yield under_way.popleft().fetchall()


def _ask(connection: Connection, hashes: Int32) -> psycopg.Cursor[tuple[Any, ...]]:
    return connection.execute(LOOK_UP, {"hashes": hashes}, prepare=True, binary=True)


def _live(known: Known, found: Found, *, held: bool) -> Found:
    """Of the docs that count, and whose postings are `held` here or not. A doc newer than what is known waits for the next look."""
    query, doc_id, frame = found
    docs = known.docs
    if not len(docs.track_no):
        none = np.zeros(0, np.int32)
        return none, none, none
    track_no = docs.track_no.take(doc_id, mode="clip")
    counts = track_no >= 0
    if docs.newest_id < doc_id.max(initial=0):
        counts &= doc_id <= docs.newest_id
    if held or len(known.fresh):
        counts &= docs.held.take(doc_id, mode="clip") == held
    if not counts.all():
        query, doc_id, track_no, frame = query[counts], doc_id[counts], track_no[counts], frame[counts]
    return query, track_no, frame + docs.first_frame.take(doc_id)


def _in_order(found: list[Found]) -> Found:
    """By hash. What one statement finds in one run is."""
    filled = [part for part in found if len(part[0])] or found[:1]
    query, track_no, frame = (np.concatenate(column) for column in zip(*filled, strict=True)) if len(filled) > 1 else filled[0]
    if np.any(query[1:] < query[:-1]):
        order = np.argsort(query, kind="stable")
        query, track_no, frame = query[order], track_no[order], frame[order]
    return query, track_no, frame
