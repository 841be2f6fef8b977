"""What a look-up must know beside the runs, in memory, at most a second behind the database.

*Which docs exist.* A posting says doc and frame; which recording that is, and whether it still counts, stands in a table
of 21 bytes a doc. A retired doc's postings stay in the runs until a merge leaves them out, so they come back from every
look-up and are dropped by this table. A row also comes again when something else about its recording has changed: what
it shares, or that its postings are in a run now.

*The postings of those that are in no run yet* (`fresh`). A doc's postings are asked for once. As long as they are held
here they count, and what the database says of them does not: so none counts twice, whatever a compaction does in between.
They are held for a while after a compaction has packed them, because the next question may go to a replica that lags.

*The stop list* (`stops`).

Following without misses: a transaction's id is drawn when it begins to write, but it becomes visible when it commits,
so "ids above the last one seen" would miss late commits. Each reading therefore returns its snapshot's xmin, the oldest
transaction still running then, and the next one asks for everything changed by that one or later; what is already known
comes again and changes nothing. Polled, because LISTEN does not survive transaction-mode poolers. A primary whose ids lie
behind those that were seen was a replica, or a backup, and has lost the newest transactions: then all is read anew.
"""

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.errors import DatabaseUnavailable
from earmark.index import stops, version
from earmark.index.blocks import digest, unpack_fresh
from earmark.index.fresh import Fresh
from earmark.model import FRAMES_PER_S, Bool, CatalogueSize, Int32
from earmark.postgres import Connection, Pool, transaction

#: Retired docs are deleted an hour after; who began to look this long ago begins anew, whatever was missed.
STALE_S: Final = 1_800
#: How far two replicas behind one address may be apart.
HELD_S: Final = 60
_LIVE, _PACKED = 1, 2
_ROW: Final = np.dtype([("doc_id", ">i4"), ("track_no", ">i4"), ("first_frame", ">i4"), ("frames", ">i4"), ("postings", ">i4"), ("flags", "u1")])

_CHANGED = f"""
select pg_snapshot_xmin(pg_current_snapshot())::text, pg_is_in_recovery(),
       (select string_agg(int4send(doc_id) || int4send(track_no) || int4send(first_frame) || int4send(frames) || int4send(postings)
                          || case when retired_at is not null then '\\x02'::bytea when packed then '\\x03'::bytea else '\\x01'::bytea end, ''::bytea)
        from doc where changed_xid >= %s::text::xid8), {version.OF_TABLES}
"""
_CAME = "select distinct track_no from doc where changed_xid >= %s::text::xid8 and retired_at is null"
_FRESH = "select doc_id, digest, postings from fresh where doc_id = any(%s)"

#: Which recording a doc is of, -1 if what was found of it does not count, and where in that it begins. Eight bytes: taken as one.
_PLACE: Final = np.dtype([("first_frame", "i4"), ("track_no", "i4")])
Places: TypeAlias = npt.NDArray[np.void]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DocTable:
    """Columns by doc_id. What is not live, or not known, has the track_no -1."""

    track_no: Int32
    first_frame: Int32
    frames: Int32
    postings: Int32
    #: Its postings are held here: those that the database finds do not count.
    held: Bool

    @classmethod
    def empty(cls) -> "DocTable":
        none = np.zeros(0, np.int32)
        return cls(track_no=none, first_frame=none, frames=none, postings=none, held=np.zeros(0, np.bool_))

    def size(self) -> CatalogueSize:
        live = self.track_no >= 0
        return CatalogueSize(
            tracks=int(np.count_nonzero(live & (self.first_frame == 0))),
            seconds=float(self.frames[live].sum(dtype=np.int64) / FRAMES_PER_S),
            postings=int(self.postings[live].sum(dtype=np.int64)),
        )

    def holding(self, doc_ids: Iterable[int]) -> "DocTable":
        """With the postings of these, and of no others, held here."""
        held = np.zeros(len(self.track_no), np.bool_)
        held[list(doc_ids)] = True
        return replace(self, held=held)

    def places(self, *, held: bool) -> Places:
        """By doc_id, of the docs whose postings count where they were found: here, or in the database; and -1 for all that are newer."""
        made = np.empty(len(self.track_no) + 1, _PLACE)
        made["track_no"][:-1] = np.where(self.held == held, self.track_no, np.int32(-1))
        made["first_frame"][:-1] = self.first_frame
        made[-1] = (0, -1)
        return made


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Known:
    """All of it, as it was at one time."""

    docs: DocTable = field(default_factory=DocTable.empty)
    fresh: Fresh = field(default_factory=Fresh)
    #: Ascending.
    stopped: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))
    size: CatalogueSize = field(default_factory=lambda: DocTable.empty().size())
    #: Of postings that are held here, and of those in runs.
    places_here: Places = field(init=False)
    places_in_runs: Places = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places_here", self.docs.places(held=True))
        object.__setattr__(self, "places_in_runs", self.docs.places(held=False))


class Docs:
    """What is known now. May be used by many threads: one of them reads, the others go on with what was known."""

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
        self._anew_at = -math.inf
        #: `follow` is running.
        self._followed = False
        self._known = Known()
        self._stopped: dict[int, Int32] = {}
        #: Live docs in no run whose postings are not here yet; and those whose are: None, or since when they are in a run.
        self._wanted: set[int] = set()
        self._held: dict[int, float | None] = {}

    def known(self) -> Known:
        """Raises DatabaseUnavailable when it is time to look and the database does not answer."""
        self._follow()
        return self._known

    def size(self) -> CatalogueSize:
        """As it was last seen, if the database does not answer: thresholds and gauges can do with that."""
        try:
            self._follow()
        except DatabaseUnavailable:
            if self._read_at is None:
                raise
        return self._known.size

    @property
    def last_known(self) -> Known:
        """As it was last seen, at once; nothing before the first look."""
        return self._known

    @property
    def since(self) -> str:
        """A transaction: what is not known is of that one, or of a later one."""
        return self._since

    @property
    def age_s(self) -> float:
        """Since it was last seen; infinite before the first look."""
        return np.inf if self._read_at is None else self._clock() - self._read_at

    def refresh(self) -> None:
        """Look now, whatever the time."""
        with self._turn:
            self._read()

    def follow(self, *, wait: Callable[[float], bool], failed: Callable[[DatabaseUnavailable], None]) -> None:
        """Look, again and again, until `wait` says that it is over; meanwhile nobody who asks has to."""
        self._followed = True
        try:
            while not wait(self._follow_every_s):
                try:
                    self.refresh()
                except DatabaseUnavailable as error:
                    failed(error)
        finally:
            self._followed = False

    def _follow(self) -> None:
        if self._followed or (self._read_at is not None and self._clock() - self._read_at < self._follow_every_s):
            return
        # Only the very first table is waited for.
        if self._turn.acquire(blocking=self._read_at is None):
            try:
                if self._read_at is None or self._clock() - self._read_at >= self._follow_every_s:
                    self._read()
            finally:
                self._turn.release()

    def _read(self) -> None:
        now, seen = self._clock(), self._known
        anew = now - self._anew_at > STALE_S
        if anew:
            self._since, self._stopped, self._wanted, self._held = "0", {}, set(), {}
        before = Known() if anew else seen
        with transaction(self._pool) as connection:  # which keeps the tables that its first statement has named
            row = connection.execute(_CHANGED, [self._since], prepare=True, binary=True).fetchone()
            assert row is not None
            xmin, replaying, packed, of_version = row
            version.expect(of_version, self._pool)
            if not replaying and int(xmin) < int(self._since):
                self._anew_at = -math.inf  # with the next look
                return
            rows = np.frombuffer(packed or b"", _ROW)
            self._note(rows, now)
            stopped = stops.read(connection, since=self._since)
            fetched = _fetch(connection, self._wanted)
        self._stopped |= stopped
        self._wanted -= fetched.keys()
        self._held |= dict.fromkeys(fetched)
        dropped = self._drop(now)
        if anew or len(rows) or stopped or fetched or dropped:
            docs = _merged(before.docs, rows) if len(rows) else before.docs
            fresh = before.fresh.without(dropped) if dropped else before.fresh
            self._known = Known(
                docs=docs.holding(self._held),
                fresh=fresh.adding((doc_id, *unpack_fresh(packed)) for doc_id, packed in fetched.items()),
                stopped=stops.joined(self._stopped),
                size=docs.size() if len(rows) else before.size,
            )
            self._on_gone(np.setdiff1d(seen.docs.track_no, docs.track_no).tolist())
            self._on_changed(np.unique(rows["track_no"]).tolist())
        self._since, self._read_at = xmin, now
        self._anew_at = now if anew else self._anew_at

    def _note(self, rows: npt.NDArray[np.void], now: float) -> None:
        """Of docs that have changed: whether their postings are wanted, or will not be for long."""
        packed = rows["flags"] & _PACKED > 0
        self._wanted.update(rows["doc_id"][~packed].tolist())
        self._wanted -= self._held.keys()
        live = dict(zip(rows["doc_id"][packed].tolist(), (rows["flags"][packed] & _LIVE).tolist(), strict=True))
        self._wanted -= live.keys()
        for doc_id in live.keys() & self._held.keys():
            if not live[doc_id]:
                self._held[doc_id] = -np.inf
            elif self._held[doc_id] is None:
                self._held[doc_id] = now

    def _drop(self, now: float) -> list[int]:
        """Docs whose postings need not be held any more."""
        dropped = [doc_id for doc_id, packed_at in self._held.items() if packed_at is not None and now - packed_at > HELD_S]
        for doc_id in dropped:
            del self._held[doc_id]
        return dropped


def came_since(connection: Connection, since: str) -> set[int]:
    """Numbers of recordings that have come, or of which something has changed, since a transaction (`Docs.since`)."""
    return {track_no for (track_no,) in connection.execute(_CAME, [since]).fetchall()}


def _fetch(connection: Connection, doc_ids: set[int]) -> dict[int, bytes]:
    """Those of the docs whose postings are in the database as `fresh`. (Those that are not were packed a moment ago, or come later.)

    A row that was edited by hand has none that can be trusted; `earmark db check` names its recording.
    """
    if not doc_ids:
        return {}
    rows = connection.execute(_FRESH, [sorted(doc_ids)], prepare=True, binary=True).fetchall()
    return {doc_id: packed if digest(packed) == written else b"" for doc_id, written, packed in rows}


def _merged(table: DocTable, rows: npt.NDArray[np.void]) -> DocTable:
    """The table with some rows read."""
    doc_id = rows["doc_id"].astype(np.int64)
    length = max(len(table.track_no), int(doc_id.max(initial=-1)) + 1)
    columns = [_longer(column, length, fill) for column, fill in ((table.track_no, -1), (table.first_frame, 0), (table.frames, 0), (table.postings, 0))]
    track_no, first_frame, frames, postings = columns
    track_no[doc_id] = np.where(rows["flags"] & _LIVE, rows["track_no"], -1)
    first_frame[doc_id], frames[doc_id], postings[doc_id] = rows["first_frame"], rows["frames"], rows["postings"]
    return DocTable(track_no=track_no, first_frame=first_frame, frames=frames, postings=postings, held=np.zeros(length, np.bool_))


def _longer(column: Int32, length: int, fill: int) -> Int32:
    """A copy, so that whoever holds the old table keeps it whole."""
    made = np.full(length, fill, np.int32)
    made[: len(column)] = column
    return made
