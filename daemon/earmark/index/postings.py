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
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import psycopg

from earmark.index import version
from earmark.index.blocks import Rows
from earmark.index.constellations import FRAME_BITS
from earmark.index.docs import Known, Places
from earmark.model import Int32
from earmark.postgres import Connection

#: In one statement. More gain nothing, and make others wait.
HASHES_MAX: Final = 1_000
#: Statements under way at once: bounds what waits to be read, and what a cancelled question has cost.
_AHEAD: Final = 3
_FRAME_MASK: Final = np.uint32((1 << FRAME_BITS) - 1)

# `offset 0` pins the nested loop: a statement prepared while the tables were empty stays right when they have grown. There is
# always a row: it says of which version the tables are.
LOOK_UP: Final = f"""
select r.low_bits, r.doc_base, found.*, {version.OF_TABLES}
from (values (1)) always
left join (run r
cross join lateral (
  select array_send(array_agg(b.bucket)), array_send(array_agg(length(b.head))), array_send(array_agg(length(b.posting))),
         string_agg(b.head, ''::bytea), string_agg(b.posting, ''::bytea)
  from (select distinct h >> r.low_bits as bucket from unnest(%(hashes)s::int4[]) h order by 1 offset 0) q
  cross join lateral (select bucket, head, posting from block where run_id = r.run_id and bucket = q.bucket offset 0) b
) found) on true
"""


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Postings of some hashes, by hash."""

    #: Of the asked hashes, the first whose postings these are; and how many each has, int32 [k].
    first: int
    count: Int32
    #: Of each posting the recording's number, and the frame in it.
    track_no: Int32
    frame: Int32


def look_up(connection: Connection, known: Known, hashes: Int32) -> list[Found]:
    """Postings of hashes that count: of those held here, and of each run's a thousand hashes at a time.

    Args:
        connection: in autocommit mode.
        known: which docs count, and the postings that are in no run yet.
        hashes: int32 [n], ascending, none twice; n may exceed `HASHES_MAX`.

    Raises FingerprintMismatch if the tables are another version's (by now).
    """
    found = [_counting(known.places_here, 0, *part) for part in known.fresh.find(hashes)]
    for n, answer in enumerate(_asked(connection, hashes)):
        begin = n * HASHES_MAX
        for low_bits, doc_base, *columns, of_version in answer:
            version.expect(of_version, connection)
            if low_bits is not None and columns[0] is not None:
                count, place = Rows.of(low_bits, *columns).find(hashes[begin : begin + HASHES_MAX])
                doc_id, frame = (place >> np.uint32(FRAME_BITS)).astype(np.intp), (place & _FRAME_MASK).view(np.int32)
                found.append(_counting(known.places_in_runs[min(doc_base, len(known.docs.track_no)) :], begin, count, doc_id, frame))
    return found


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


def _counting(places: Places, first: int, count: Int32, doc_id: npt.NDArray[np.integer[Any]], frame: Int32) -> Found:
    """Without the postings of docs that do not count. A doc newer than what is known (`clip`) waits for the next look."""
    place = places.take(doc_id, mode="clip")
    counts = place["track_no"] >= 0
    if not counts.all():
        of_hash = np.repeat(np.arange(len(count)), count)[counts]
        count, place, frame = np.bincount(of_hash, minlength=len(count)).astype(np.int32), place[counts], frame[counts]
    return Found(first, count, place["track_no"], place["first_frame"] + frame)
