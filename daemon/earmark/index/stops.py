"""The stop list: hashes that are in too many recordings to tell any of them.

Hearing drops a hash with more postings than `matching.alignment.postings_max` allows in a catalogue of this size. Whoever
writes a run leaves such hashes out of it, a little later than hearing gives them up, and puts them on the list, so that
nobody asks for them. The list adapts: its bar rises with the catalogue. A hash once on it stays, whatever the catalogue
becomes, until nothing is left in it: its postings are gone, and what is told by so many recordings is missed by none.
"""

from typing import Final

import numpy as np

from earmark.index.blocks import HASH_BITS, Keys, changes, hashes_of
from earmark.matching.alignment import postings_max
from earmark.model import Bool, CatalogueSize, Int32
from earmark.postgres import Connection

#: A row holds the hashes with the same upper 7 bits.
_PART_BITS: Final = HASH_BITS - 7
#: Between hearing's bar and the list's lies what chance may move while a catalogue grows: at 100,000 recordings three
#: standard deviations. What lies between is read and dropped: with 1.25 that was one posting in seven.
_MARGIN: Final = 1.1
#: The first recordings, which may be more like each other than those to come, put only what is in a good part of them on the list.
_ABOVE_LEAST: Final = 128


def stop_above(size: CatalogueSize) -> int:
    """Postings in one run beyond which a hash is put on the list."""
    return max(_ABOVE_LEAST, round(_MARGIN * postings_max(size)))


def sift(sorted_keys: Keys, stopped: Int32, above: int) -> tuple[Keys, Int32]:
    """The keys whose hashes are on no list, and the hashes that are to be put on it: those with more than so many.

    Args:
        sorted_keys: all of a run's keys of some range of hashes.
        stopped: on the list already, ascending.
    """
    if not len(sorted_keys):
        return sorted_keys, np.zeros(0, np.int32)
    hashes = hashes_of(sorted_keys)
    begin = np.flatnonzero(changes(hashes))
    count = np.diff(begin, append=len(hashes))
    distinct = hashes[begin]
    known, full = among(distinct, stopped), count > above
    if not np.any(known | full):
        return sorted_keys, np.zeros(0, np.int32)
    return sorted_keys[np.repeat(~(known | full), count)], distinct[full & ~known]


def among(hashes: Int32, stopped: Int32) -> Bool:
    """Which of the hashes are on the list, which is ascending."""
    if not len(stopped):
        return np.zeros(len(hashes), np.bool_)
    return np.equal(stopped.take(np.searchsorted(stopped, hashes), mode="clip"), hashes)


# ------------------------------------------------------------------------------------------------ on record


def read(connection: Connection, *, since: str = "0") -> dict[int, Int32]:
    """Parts of the list that were changed by this transaction or a later one."""
    rows = connection.execute("select part, hashes from stop_list where changed_xid >= %s::text::xid8", [since], prepare=True, binary=True)
    return {part: _unpacked(hashes) for part, hashes in rows.fetchall()}


def joined(parts: dict[int, Int32]) -> Int32:
    """All of the list, ascending."""
    return np.concatenate([np.zeros(0, np.int32), *(parts[part] for part in sorted(parts))])


def put(connection: Connection, hashes: Int32) -> None:
    """Put hashes on the list. Others who do the same wait until the end of the transaction."""
    if not len(hashes):
        return
    part = hashes >> _PART_BITS
    numbers = np.unique(part).tolist()
    connection.execute("insert into stop_list (part, hashes) select unnest(%s::int[]), '' on conflict do nothing", [numbers])
    rows = connection.execute("select part, hashes from stop_list where part = any(%s) order by part for update", [numbers], binary=True).fetchall()
    with connection.cursor() as cursor:
        cursor.executemany(
            "update stop_list set hashes = %s, changed_xid = pg_current_xact_id() where part = %s",
            [(np.union1d(_unpacked(before), hashes[part == number]).astype(">i4").tobytes(), number) for number, before in rows],
        )


def clear(connection: Connection) -> None:
    """Nothing is in the catalogue any more."""
    connection.execute("update stop_list set hashes = '', changed_xid = pg_current_xact_id() where hashes <> ''")


def _unpacked(packed: bytes) -> Int32:
    return np.frombuffer(packed, ">i4", count=len(packed) // 4).astype(np.int32)
