"""Which docs exist: a table in memory that follows the database within a second.

A posting says doc and frame; which recording that is, and whether it still counts, stands here, 16 bytes a doc. A
retired doc's postings stay in the runs until a compaction leaves them out, so they come back from every look-up and
are dropped by this table. A row also comes again when something else about its recording has changed: what it shares.

Following without misses: a transaction's id is drawn when it begins to write, but it becomes visible when it commits,
so "ids above the last one seen" would miss late commits. Each reading therefore returns its snapshot's xmin, the oldest
transaction still running then, and the next one asks for everything changed by that one or later; what is already known
comes again and changes nothing. Polled, because LISTEN does not survive transaction-mode poolers.
"""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.errors import DatabaseUnavailable
from earmark.model import FRAMES_PER_S, CatalogueSize, Int32
from earmark.postgres import Pool, statement

#: Retired docs are deleted an hour after; whoever has not looked for this long starts anew.
STALE_S: Final = 1_800
_ROW: Final = np.dtype([("doc_id", ">i4"), ("track_no", ">i4"), ("first_frame", ">i4"), ("frames", ">i4"), ("postings", ">i4"), ("live", "u1")])

_CHANGED = """
select pg_snapshot_xmin(pg_current_snapshot())::text,
       (select string_agg(int4send(doc_id) || int4send(track_no) || int4send(first_frame) || int4send(frames) || int4send(postings)
                          || case when retired_at is null then '\\x01'::bytea else '\\x00'::bytea end, ''::bytea)
        from doc where changed_xid >= %s::text::xid8)
"""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DocTable:
    """Columns by doc_id. What is not live, or not known, has the track_no -1."""

    track_no: Int32
    first_frame: Int32
    frames: Int32
    postings: Int32

    @classmethod
    def empty(cls) -> "DocTable":
        none = np.zeros(0, np.int32)
        return cls(track_no=none, first_frame=none, frames=none, postings=none)

    def size(self) -> CatalogueSize:
        live = self.track_no >= 0
        return CatalogueSize(
            tracks=int(np.count_nonzero(live & (self.first_frame == 0))),
            seconds=float(self.frames[live].sum(dtype=np.int64) / FRAMES_PER_S),
            postings=int(self.postings[live].sum(dtype=np.int64)),
        )


class Docs:
    """The table of now. May be used by many threads: one of them reads, the others go on with the table as it was."""

    def __init__(
        self,
        *,
        pool: Pool,
        follow_every_s: float,
        on_gone: Callable[[Iterable[int]], None],
        on_changed: Callable[[Iterable[int]], None],
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._follow_every_s = follow_every_s
        self._on_gone = on_gone
        self._on_changed = on_changed
        self._clock = clock
        self._turn = threading.Lock()
        self._since = "0"
        self._read_at: float | None = None
        self._table = DocTable.empty()
        self._size = CatalogueSize(tracks=0, seconds=0, postings=0)

    def table(self) -> DocTable:
        """Raises DatabaseUnavailable when it is time to look and the database does not answer."""
        self._follow()
        return self._table

    def size(self) -> CatalogueSize:
        """As it was last seen, if the database does not answer: thresholds and gauges can do with that."""
        try:
            self._follow()
        except DatabaseUnavailable:
            if self._read_at is None:
                raise
        return self._size

    @property
    def last_size(self) -> CatalogueSize:
        """As it was last seen, at once; of nothing before the first look."""
        return self._size

    def refresh(self) -> None:
        """Look now, whatever the time."""
        with self._turn:
            self._read()

    def _follow(self) -> None:
        if self._read_at is not None and self._clock() - self._read_at < self._follow_every_s:
            return
        # Only the very first table is waited for.
        if self._turn.acquire(blocking=self._read_at is None):
            try:
                if self._read_at is None or self._clock() - self._read_at >= self._follow_every_s:
                    self._read()
            finally:
                self._turn.release()

    def _read(self) -> None:
        now = self._clock()
        anew = self._read_at is not None and now - self._read_at > STALE_S
        with statement(self._pool) as connection:
            row = connection.execute(_CHANGED, ["0" if anew else self._since], prepare=True, binary=True).fetchone()
        assert row is not None
        since, packed = row
        if anew or packed:
            before = self._table
            rows = np.frombuffer(packed or b"", _ROW)
            self._table = _merged(DocTable.empty() if anew else before, rows)
            self._size = self._table.size()
            self._on_gone(np.setdiff1d(before.track_no, self._table.track_no).tolist())
            self._on_changed(np.unique(rows["track_no"]).tolist())
        self._since, self._read_at = since, now


def _merged(table: DocTable, rows: npt.NDArray[np.void]) -> DocTable:
    """The table with some rows read."""
    doc_id = rows["doc_id"].astype(np.int64)
    length = max(len(table.track_no), int(doc_id.max(initial=-1)) + 1)
    columns = [_longer(column, length, fill) for column, fill in ((table.track_no, -1), (table.first_frame, 0), (table.frames, 0), (table.postings, 0))]
    track_no, first_frame, frames, postings = columns
    track_no[doc_id] = np.where(rows["live"] == 1, rows["track_no"], -1)
    first_frame[doc_id], frames[doc_id], postings[doc_id] = rows["first_frame"], rows["frames"], rows["postings"]
    return DocTable(track_no=track_no, first_frame=first_frame, frames=frames, postings=postings)


def _longer(column: Int32, length: int, fill: int) -> Int32:
    """A copy, so that whoever holds the old table keeps it whole."""
    made = np.full(length, fill, np.int32)
    made[: len(column)] = column
    return made
