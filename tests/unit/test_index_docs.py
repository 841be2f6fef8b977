"""What a reader knows beside the runs: the table of docs, which postings count, and that none counts twice or is missed, however replicas lag."""

import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import DatabaseUnavailable
from earmark.index import docs, postings
from earmark.index.blocks import digest, pack_fresh
from earmark.index.docs import HELD_S, STALE_S, Docs, DocTable, Known
from earmark.index.fresh import Fresh
from earmark.model import FRAMES_PER_S, CatalogueSize, Int32

LIVE, PACKED = 1, 2
LONG_S = 60


def changed(*rows: tuple[int, int, int, int, int, int]) -> Any:
    """doc_id, track_no, first_frame, frames, postings, flags, as they are read."""
    return np.array(list(rows), docs._ROW)


def int32(*values: int) -> Int32:
    return np.array(values, np.int32)


# ------------------------------------------------------------------------------------------------ the table


def test_the_table_grows_and_changes_and_who_holds_the_old_one_keeps_it() -> None:
    one = docs._merged(DocTable.empty(), changed((1, 10, 0, 8_192, 5, LIVE), (2, 10, 8_192, 100, 7, LIVE), (4, 30, 0, 50, 9, LIVE | PACKED)))
    assert one.track_no.tolist() == [-1, 10, 10, -1, 30]
    two = docs._merged(one, changed((6, 50, 0, 60, 1, LIVE), (4, 30, 0, 50, 9, PACKED), (3, 20, 0, 70, 2, LIVE)))
    assert two.track_no.tolist() == [-1, 10, 10, 20, -1, -1, 50]
    assert two.first_frame.tolist()[:3] == [0, 0, 8_192]
    assert one.track_no.tolist() == [-1, 10, 10, -1, 30]
    assert docs._merged(two, changed()).track_no.tolist() == two.track_no.tolist()


def test_its_size_counts_what_is_live_and_a_recording_once() -> None:
    table = docs._merged(
        DocTable.empty(), changed((1, 10, 0, 8_192, 5, LIVE), (2, 10, 8_192, 100, 7, LIVE), (3, 20, 0, 50, 11, LIVE), (4, 30, 0, 99, 13, PACKED))
    )
    assert table.size() == CatalogueSize(tracks=2, seconds=(8_192 + 100 + 50) / FRAMES_PER_S, postings=23)
    assert DocTable.empty().size() == CatalogueSize(tracks=0, seconds=0, postings=0)


def test_the_size_of_a_large_catalogue_does_not_overflow() -> None:
    many = np.ones(700_000, np.int32)
    table = DocTable(track_no=many, first_frame=0 * many, frames=8_192 * many, postings=15_000 * many, held=np.zeros(len(many), np.bool_))
    assert table.size().postings == 15_000 * 700_000
    assert table.size().seconds == 8_192 * 700_000 / FRAMES_PER_S


# ------------------------------------------------------------------------------------------------ which postings count

TABLE = docs._merged(DocTable.empty(), changed((1, 10, 0, 8_192, 5, LIVE), (2, 20, 0, 9, 7, PACKED), (3, 30, 8_192, 100, 9, LIVE), (4, 40, 0, 5, 5, LIVE)))

#: How many of each hash; doc and frame of each.
FOUND = int32(1, 1, 2, 3), int32(1, 2, 3, 0, 5, 1, 4), int32(5, 5, 5, 5, 5, 6, 7)


def counting(known: Known, *, held: bool) -> list[tuple[int, int, int]]:
    """Hash, recording and frame."""
    found = postings._counting(known.places_here if held else known.places_in_runs, 10, *FOUND)
    assert {column.dtype for column in (found.count, found.track_no, found.frame)} == {np.dtype(np.int32)}
    assert found.first == 10
    hashes = 10 + np.repeat(np.arange(4), found.count)
    return list(zip(hashes.tolist(), found.track_no.tolist(), found.frame.tolist(), strict=True))


def test_only_live_docs_count_and_a_part_lies_behind_the_first() -> None:
    everything = [(10, 10, 5), (12, 30, 8_197), (13, 10, 6), (13, 40, 7)]
    assert counting(Known(docs=TABLE), held=False) == everything
    assert counting(Known(docs=TABLE.holding([1, 3, 4])), held=True) == everything
    assert counting(Known(), held=False) == counting(Known(), held=True) == []


def test_what_is_held_counts_here_and_what_is_not_counts_there() -> None:
    fresh = Fresh().adding([(3, int32(7), int32(5))])
    known = Known(docs=TABLE.holding([3]), fresh=fresh)
    assert counting(known, held=True) == [(12, 30, 8_197)]
    assert counting(known, held=False) == [(10, 10, 5), (13, 10, 6), (13, 40, 7)]
    assert TABLE.holding([3]).holding([]).held.tolist() == [False] * 5


def test_nothing_found_is_nothing() -> None:
    for places in (Known(docs=TABLE).places_here, Known(docs=TABLE).places_in_runs, Known().places_in_runs):
        found = postings._counting(places, 0, int32(0, 0), int32(), int32())
        assert (found.count.tolist(), len(found.track_no), len(found.frame)) == ([0, 0], 0, 0)


# ------------------------------------------------------------------------------------------------ following


@dataclass(frozen=True)
class Doc:
    """A row of `doc`; its recording has the number 1,000 + doc_id, and a posting of the hash 7."""

    changed_xid: int
    packed: bool = False
    retired_at: float | None = None


@dataclass(frozen=True)
class State:
    """What a server holds at one time."""

    xmin: int = 1
    docs: dict[int, Doc] = field(default_factory=dict)
    fresh: frozenset[int] = frozenset()
    runs: frozenset[int] = frozenset()


class Server:
    """A primary and its replicas: each holds what the primary held some seconds ago."""

    def __init__(self) -> None:
        self.now = 0.0
        self.state = State()
        self._times, self._states = [-1e9], [self.state]
        self._next_xid, self._next_doc = 1, 1
        #: Transactions that have begun: id, and the docs they will add.
        self._open: dict[int, tuple[int, bool]] = {}

    def at(self, lag_s: float) -> State:
        return self._states[bisect_right(self._times, self.now - lag_s) - 1]

    def live(self) -> set[int]:
        return {doc_id for doc_id, doc in self.state.docs.items() if doc.retired_at is None}

    def begin_adding(self, *, bulk: bool) -> None:
        """A transaction that has its id and its doc, and has not committed."""
        self._open[self._next_xid] = self._next_doc, bulk
        self._next_xid += 1
        self._next_doc += 1
        self._commit(self.state.docs)  # whose xmin is another now, perhaps

    def finish_adding(self, which: int) -> None:
        if self._open:
            xid = sorted(self._open)[which % len(self._open)]
            doc_id, bulk = self._open.pop(xid)
            added = {**self.state.docs, doc_id: Doc(xid, packed=bulk)}
            self._commit(added, **({"runs": self.state.runs | {doc_id}} if bulk else {"fresh": self.state.fresh | {doc_id}}))

    def retire(self, which: int) -> None:
        if live := sorted(self.live()):
            self._change({live[which % len(live)]: {"retired_at": self.now}})

    def describe(self, which: int) -> None:
        """Something else about a recording has changed."""
        if self.state.docs:
            self._change({sorted(self.state.docs)[which % len(self.state.docs)]: {}})

    def upkeep(self) -> None:
        """Pack what is fresh, merge all runs, delete what was retired an hour ago."""
        unpacked = {doc_id for doc_id, doc in self.state.docs.items() if not doc.packed}
        self._change({doc_id: {"packed": True} for doc_id in unpacked})
        kept = {doc_id: doc for doc_id, doc in self.state.docs.items() if doc.retired_at is None or self.now - doc.retired_at < 3_600}
        self._commit(kept, fresh=self.state.fresh - unpacked, runs=(self.state.runs | unpacked) & self.live())

    def _change(self, changes: dict[int, dict[str, Any]]) -> None:
        xid = self._next_xid
        self._next_xid += 1
        self._commit({**self.state.docs, **{doc_id: replace(self.state.docs[doc_id], changed_xid=xid, **what) for doc_id, what in changes.items()}})

    def _commit(self, of_docs: dict[int, Doc], **changes: Any) -> None:
        self.state = replace(self.state, docs=of_docs, xmin=min(self._open, default=self._next_xid), **changes)
        if self._times[-1] == self.now:
            self._states[-1] = self.state
        else:
            self._times.append(self.now)
            self._states.append(self.state)


@dataclass
class Replica:
    """A connection; its statements see what a server held `lags_s` ago, one after the other, and then it breaks."""

    server: Server
    lags_s: Iterator[float]
    #: It says when it is asked, and answers when the gate is open.
    asked: threading.Semaphore
    gate: threading.Event

    def execute(self, query: str, parameters: Sequence[Any], **_: Any) -> "Rows":
        self.asked.release()
        assert self.gate.wait(LONG_S)
        lag_s = next(self.lags_s, None)
        if lag_s is None:
            raise DatabaseUnavailable("the connection is lost")
        state = self.server.at(lag_s)
        if query == docs._CHANGED:
            rows = [
                (doc_id, 1_000 + doc_id, 0, 10, 1, PACKED if doc.retired_at is not None else LIVE | PACKED * doc.packed)
                for doc_id, doc in state.docs.items()
                if doc.changed_xid >= int(parameters[0])
            ]
            return Rows([(str(state.xmin), True, changed(*rows).tobytes() if rows else None, None)])
        if query == docs._FRESH:
            return Rows(
                [(doc_id, digest(packed), packed) for doc_id in parameters[0] if doc_id in state.fresh for packed in [pack_fresh(int32(7), int32(doc_id))]]
            )
        assert "stop_list" in query
        return Rows([])


@dataclass
class Rows:
    rows: list[tuple[Any, ...]]

    def fetchone(self) -> tuple[Any, ...]:
        return self.rows[0]

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows


class Reader:
    """Follows, now from this replica and now from that one."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.lags_s: Iterator[float] = iter(())
        self.asked, self.gate = threading.Semaphore(0), threading.Event()
        self.gate.set()
        self.gone: set[int] = set()
        self.docs = Docs(pool=self, follow_every_s=1, on_gone=self.gone.update, on_changed=lambda _: None, clock=lambda: server.now)

    @contextmanager
    def statement(self, _: Any) -> Iterator[Replica]:
        yield Replica(self.server, self.lags_s, self.asked, self.gate)

    def begins_anew(self) -> bool:
        return self.docs._read_at is not None and self.server.now - self.docs._anew_at > STALE_S

    def look(self, *lags_s: float) -> None:
        self.lags_s = iter(lags_s)
        self.docs.refresh()

    def hears(self, lag_s: float) -> list[int]:
        """Docs whose posting of the hash 7 a look-up brings, in which runs are asked on a replica."""
        known, runs = self.docs.last_known, sorted(self.server.at(lag_s).runs)
        of_runs = postings._counting(known.places_in_runs, 0, int32(len(runs)), int32(*runs), int32(*runs))
        here = [postings._counting(known.places_here, 0, *part) for part in known.fresh.find(int32(7))]
        return sorted(track_no - 1_000 for part in (of_runs, *here) for track_no in part.track_no.tolist())


def added(server: Server, *, bulk: bool = False) -> None:
    server.begin_adding(bulk=bulk)
    server.finish_adding(-1)


lags = st.sampled_from([0.0, 1.0, 20.0, float(HELD_S)])
#: What a look's statements see: the later ones the same as the first, or what came after.
looks = st.tuples(lags, lags).map(lambda pair: (max(pair), min(pair), min(pair)))
actions = st.one_of(
    st.tuples(st.sampled_from(["add", "begin"]), st.booleans()),
    st.tuples(st.sampled_from(["finish", "retire", "describe"]), st.integers(0, 5)),
    st.tuples(st.just("upkeep")),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 10.0, HELD_S + 1.0, STALE_S + 1.0])),
)
#: What happens, then perhaps a look, then a question.
steps_taken = st.lists(st.tuples(actions, st.one_of(st.none(), st.just((0.0, 0.0, 0.0)), looks), lags), min_size=8, max_size=40)


def act(server: Server, action: tuple[Any, ...]) -> None:
    match action:
        case "add", bulk:
            added(server, bulk=bulk)
        case "begin", bulk:
            server.begin_adding(bulk=bulk)
        case "finish", which:
            server.finish_adding(which)
        case "retire", which:
            server.retire(which)
        case "describe", which:
            server.describe(which)
        case ("upkeep",):
            server.upkeep()
        case "wait", seconds:
            server.now += seconds


@settings(max_examples=300)
@given(steps_taken)
def test_no_posting_counts_twice_and_none_that_was_held_is_missed(steps: list[tuple[tuple[Any, ...], tuple[float, ...] | None, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        server = Server()
        reader = Reader(server)
        patch.setattr(docs, "transaction", reader.statement)
        were_held: set[int] = set()
        for action, look, lag_s in steps:
            act(server, action)
            if look is not None:
                if reader.begins_anew():
                    were_held.clear()  # it holds no more than a reader that has just started
                reader.look(*look)
            heard = reader.hears(lag_s)
            assert len(heard) == len(set(heard))
            were_held |= set(reader.docs._held)
            assert were_held & server.live() <= set(heard)
            assert not {track_no - 1_000 for track_no in reader.gone} & server.live()
        server.now += 1
        known = set(reader.docs.last_known.docs.track_no.tolist())
        reader.look(0, 0, 0)
        assert reader.hears(0) == sorted(server.live())
        assert reader.docs.last_known.size.tracks == len(server.live())
        assert known - {1_000 + doc_id for doc_id in server.live()} - {-1} <= reader.gone
        server.upkeep()
        server.now += HELD_S + 1
        reader.look(0, 0, 0)  # sees that they are packed,
        server.now += HELD_S + 1
        reader.look(0, 0, 0)  # and by now everybody does
        assert reader.hears(0) == reader.hears(HELD_S) == sorted(server.live())
        assert len(reader.docs.last_known.fresh) == len(reader.docs._held) == len(reader.docs._wanted) == 0


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    made = Reader(Server())
    monkeypatch.setattr(docs, "transaction", made.statement)
    return made


def test_what_is_packed_is_held_as_long_as_a_replica_may_lag(reader: Reader) -> None:
    server = reader.server
    added(server)
    server.now += 100
    reader.look(0, 0, 0)
    server.upkeep()
    for seconds in (0, 1, HELD_S - 1):
        server.now += seconds
        reader.look(0, 0, 0)
        assert reader.hears(HELD_S) == reader.hears(0) == [1]
        assert len(reader.docs.last_known.fresh) == 1
    server.now += 1
    reader.look(0, 0, 0)
    assert len(reader.docs.last_known.fresh) == 0
    assert reader.hears(HELD_S) == reader.hears(0) == [1]


def test_a_replica_that_lags_takes_nothing_back_for_good(reader: Reader) -> None:
    server = reader.server
    for _ in range(2):
        added(server)
    server.now += 100
    reader.look(0, 0, 0)
    server.upkeep()
    server.now += 1
    server.retire(0)
    reader.look(0, 0, 0)
    assert reader.hears(0) == [2]
    for lag_s in (50, 0.5):  # which go back to before it was packed, and forward to just before it was retired
        reader.look(lag_s, lag_s, lag_s)
    assert reader.gone - {-1} == {1_001}  # whatever look-ups bring of it, there is no passage to verify
    reader.look(0, 0, 0)
    assert reader.hears(0) == [2]


def test_a_server_whose_transactions_are_counted_from_less_is_followed(reader: Reader) -> None:
    """After a backup was restored behind the same address: the first look finds nothing of it that is new, the next one does."""
    for _ in range(3):
        added(reader.server)
    for _ in range(50):
        reader.server.describe(0)
    reader.server.now += 1
    reader.look(0, 0, 0)
    restored = Server()
    for _ in range(3):
        added(restored)
    restored.now = reader.server.now + 1
    reader.server = restored
    reader.docs._clock = lambda: restored.now
    reader.look(0, 0, 0)
    added(restored)
    restored.retire(0)
    reader.look(0, 0, 0)
    assert reader.hears(0) == [2, 3, 4]


def test_a_look_that_fails_half_way_changes_nothing(reader: Reader) -> None:
    server = reader.server
    added(server)
    server.now += 1
    reader.look(0, 0, 0)
    added(server)
    server.retire(0)
    known = reader.docs.last_known
    for statements in (0, 1, 2):
        with pytest.raises(DatabaseUnavailable):
            reader.look(*[0.0] * statements)
        assert reader.docs.last_known is known
    reader.look(0, 0, 0)
    assert reader.hears(0) == [2]


def test_who_begins_anew_and_fails_begins_anew_again(reader: Reader) -> None:
    server = reader.server
    for _ in range(2):
        added(server)
    server.now += 1
    reader.look(0, 0, 0)
    server.retire(0)
    server.now += 3_601
    server.upkeep()  # forgets the retired one: nobody will ever be told
    server.now += 1
    with pytest.raises(DatabaseUnavailable):
        reader.look(0)
    assert reader.gone <= {-1}
    reader.look(0, 0, 0)
    assert reader.hears(0) == [2]
    assert reader.gone - {-1} == {1_001}


def test_nothing_that_changes_makes_nothing_new(reader: Reader) -> None:
    added(reader.server)
    reader.server.now += 1
    reader.look(0, 0, 0)
    known = reader.docs.last_known
    reader.look(0, 0)  # and asks for no postings
    assert reader.docs.last_known is known


# ------------------------------------------------------------------------------------------------ many at once


def test_while_one_looks_the_others_go_on_with_what_was_known(reader: Reader) -> None:
    reader.look(0, 0)
    added(reader.server)
    reader.server.now += 1
    before = reader.docs.last_known
    reader.lags_s = iter([0.0] * 3)
    reader.gate.clear()
    while reader.asked.acquire(blocking=False):
        pass
    with ThreadPoolExecutor(1) as thread:
        looking = thread.submit(reader.docs.known)
        assert reader.asked.acquire(timeout=LONG_S)
        assert reader.docs.known() is before
        assert reader.docs.size().tracks == 0
        reader.gate.set()
        assert looking.result(LONG_S) is reader.docs.last_known
    assert reader.docs.size().tracks == 1


def test_the_very_first_look_is_waited_for_and_done_once(reader: Reader) -> None:
    added(reader.server, bulk=True)
    reader.lags_s = iter([0.0] * 2)
    reader.gate.clear()
    start = threading.Barrier(4)

    def known() -> Known:
        start.wait(LONG_S)
        return reader.docs.known()

    with ThreadPoolExecutor(4) as threads:
        looking = [threads.submit(known) for _ in range(4)]
        assert reader.asked.acquire(timeout=LONG_S)
        reader.gate.set()
        assert {looked.result(LONG_S).size.tracks for looked in looking} == {1}


def test_a_look_is_due_once_in_a_while(reader: Reader) -> None:
    reader.look(0, 0)
    reader.server.now += 0.5
    reader.docs.known()  # or the connection would be lost
    reader.server.now += 0.5
    with pytest.raises(DatabaseUnavailable):
        reader.docs.known()
    assert reader.docs.size() == CatalogueSize(tracks=0, seconds=0, postings=0)  # thresholds can do with what was


def test_before_the_first_look_there_is_no_size(reader: Reader) -> None:
    with pytest.raises(DatabaseUnavailable):
        reader.docs.size()
