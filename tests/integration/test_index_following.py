"""How a reader follows a real database: what it holds of the newest recordings counts once, whatever upkeep does in between."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from earmark.errors import DatabaseUnavailable
from earmark.index import docs, lookups, stops, upkeep
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.index.docs import HELD_S, STALE_S
from earmark.model import Fetch, Lookup, Passage, Peaks, Postings, Resolve
from earmark.postgres import Pool, transaction
from index_catalogue import answered, expected, peaks, recording

ANY = 1_000_000
ALL = {name: peaks(seed, 20) for seed, name in enumerate("abcdef")}
HASHES = np.unique(np.concatenate([recording(name, constellation).postings.hash for name, constellation in ALL.items()]))
#: Of each, in `Fresh`.
POSTINGS = {name: len(recording(name, constellation).postings) for name, constellation in ALL.items()}


class Reader:
    """An index that looks when it is told to."""

    def __init__(self, pool: Pool) -> None:
        self.now = 1_000.0
        self.pool, self.tracks = pool, Tracks(pool=pool)
        self.index = Index(pool=pool, follow_every_s=1, clock=lambda: self.now).open()

    def look(self, *, after_s: float = 1) -> None:
        self.now += after_s
        self.index.refresh()

    def hears(self) -> list[tuple[int, str, int]]:
        found = self.index.answer(Lookup(hashes=HASHES, postings_max=ANY))
        assert isinstance(found, Postings)
        return answered(found, self.numbers())

    def numbers(self) -> dict[str, int]:
        numbers = self.index.answer(Resolve(track_ids=tuple(ALL)))
        assert isinstance(numbers, dict)
        return numbers

    def passages(self, *track_nos: int) -> list[str]:
        found = self.index.answer(Fetch(passages=tuple(Passage(track_no=track_no, begin_frame=0, end_frame=400) for track_no in track_nos)))
        assert isinstance(found, list)
        return sorted(reference.track_id for reference in found)

    @property
    def held(self) -> int:
        """Postings in memory."""
        return len(self.index._docs.last_known.fresh)

    @property
    def stopped(self) -> list[int]:
        """Hashes that are not asked for."""
        return self.index.stop_list.tolist()


@pytest.fixture
def reader(pool: Pool) -> Reader:
    return Reader(pool)


def add(pool: Pool, names: str, *, of: str | None = None) -> None:
    """Recordings by their names, or under those names the sound of others."""
    Tracks(pool=pool).add([recording(name, ALL[sound], content=sound.encode()) for name, sound in zip(names, of or names, strict=True)])


def upkeep_all(pool: Pool) -> None:
    upkeep.upkeep(pool, extent="everything")


def execute(pool: Pool, *statements: str) -> list[tuple[Any, ...]]:
    with transaction(pool) as connection:
        for statement in statements[:-1]:
            connection.execute(statement)
        cursor = connection.execute(statements[-1])
        return cursor.fetchall() if cursor.description else []


def of(names: str) -> list[tuple[int, str, int]]:
    return expected({name: ALL[name] for name in names}, HASHES, ANY)


# ------------------------------------------------------------------------------------------------ what is held


def test_a_recording_counts_once_whatever_is_packed_and_merged_between_two_looks(reader: Reader, pool: Pool) -> None:
    add(pool, "ab")
    reader.look()
    assert reader.held == POSTINGS["a"] + POSTINGS["b"]
    assert reader.hears() == of("ab")
    upkeep_all(pool)  # the postings are in a run, and here
    assert reader.hears() == of("ab")
    add(pool, "c")
    reader.look()
    assert reader.hears() == of("abc")
    upkeep_all(pool)  # and in another run, merged with the first
    assert reader.hears() == of("abc")
    reader.look()
    assert reader.hears() == of("abc")
    assert reader.held == POSTINGS["a"] + POSTINGS["b"] + POSTINGS["c"]


def test_what_was_packed_before_the_reader_began_is_not_held(reader: Reader, pool: Pool) -> None:
    add(pool, "ab")
    upkeep_all(pool)
    add(pool, "c")
    reader.look()
    assert reader.held == POSTINGS["c"]
    assert reader.hears() == of("abc")


def test_what_is_held_is_dropped_a_minute_after_it_was_packed_and_counts_on(reader: Reader, pool: Pool) -> None:
    add(pool, "ab")
    reader.look()
    upkeep_all(pool)
    add(pool, "c")
    reader.look(after_s=10 * HELD_S)  # however late that is seen
    reader.look(after_s=HELD_S)
    assert reader.held == sum(POSTINGS[name] for name in "abc")
    assert reader.hears() == of("abc")
    reader.look()
    assert reader.held == POSTINGS["c"]
    assert reader.hears() == of("abc")
    execute(pool, "delete from block")  # which those that are not held come from
    assert reader.hears() == of("c")


def test_what_is_held_counts_although_a_replica_has_no_run_of_it_yet(reader: Reader, pool: Pool) -> None:
    add(pool, "ab")
    reader.look()
    upkeep_all(pool)
    reader.look()
    execute(pool, "delete from block")  # as if asked where neither the run nor the packing has arrived
    assert reader.hears() == of("ab")


@pytest.mark.parametrize("step", ["packed", "merged"])
def test_upkeep_between_what_is_known_and_the_look_up_makes_no_difference(reader: Reader, pool: Pool, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    add(pool, "ab")
    if step == "merged":
        upkeep_all(pool)
        add(pool, "c")
    look_up = lookups.look_up

    def after_upkeep(*arguments: Any) -> Any:
        upkeep_all(pool)
        return look_up(*arguments)

    monkeypatch.setattr(lookups, "look_up", after_upkeep)
    reader.look()
    for _ in range(3):
        assert reader.hears() == (of("ab") if step == "packed" else of("abc"))
        reader.look()


def interfere(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    """Between seeing which docs there are and asking for their postings, once."""
    fetch = docs._fetch

    def after(*arguments: Any) -> Any:
        monkeypatch.setattr(docs, "_fetch", fetch)
        act()
        return fetch(*arguments)

    monkeypatch.setattr(docs, "_fetch", after)


def test_what_is_packed_while_a_reader_looks_counts_from_the_run(reader: Reader, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    add(pool, "ab")
    interfere(monkeypatch, lambda: upkeep_all(pool))
    reader.look()
    assert reader.held == 0
    assert reader.hears() == of("ab")
    reader.look()
    assert reader.held == 0
    assert reader.hears() == of("ab")
    assert not reader.index._docs._wanted


def test_what_is_replaced_while_a_reader_looks_is_the_new_one_with_the_next_look(reader: Reader, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    add(pool, "ab")
    interfere(monkeypatch, lambda: add(pool, "a", of="f"))
    reader.look()
    reader.look()
    assert reader.hears() == expected({"a": ALL["f"], "b": ALL["b"]}, HASHES, ANY)
    assert reader.held == POSTINGS["b"] + POSTINGS["f"]


def test_a_replaced_recordings_postings_are_dropped_at_once(reader: Reader, pool: Pool) -> None:
    add(pool, "ab")
    reader.look()
    add(pool, "a", of="f")
    reader.tracks.remove("b")
    reader.look()
    assert reader.held == POSTINGS["f"]
    assert reader.hears() == expected({"a": ALL["f"]}, HASHES, ANY)
    upkeep_all(pool)
    reader.look()
    assert reader.hears() == expected({"a": ALL["f"]}, HASHES, ANY)


def test_one_that_is_replaced_after_it_was_packed_is_dropped_too(reader: Reader, pool: Pool) -> None:
    add(pool, "ab")
    reader.look()
    upkeep_all(pool)
    reader.look()
    add(pool, "b", of="e")
    reader.look()
    assert reader.held == POSTINGS["a"] + POSTINGS["e"]
    assert reader.hears() == expected({"a": ALL["a"], "b": ALL["e"]}, HASHES, ANY)


def test_postings_that_are_not_there_yet_are_asked_for_again(reader: Reader, pool: Pool) -> None:
    add(pool, "ab")
    execute(pool, "create table away as select * from fresh where doc_id = 1", "delete from fresh where doc_id = 1")
    for _ in range(3):
        reader.look()
        assert reader.hears() == of("b")
        assert reader.held == POSTINGS["b"]
    execute(pool, "insert into fresh select * from away")
    reader.look()
    assert reader.hears() == of("ab")
    assert reader.held == POSTINGS["a"] + POSTINGS["b"]
    assert not reader.index._docs._wanted


def test_nothing_is_asked_for_twice(reader: Reader, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch, wanted = docs._fetch, []

    def noted(connection: Any, doc_ids: set[int]) -> dict[int, bytes]:
        wanted.append(set(doc_ids))
        return fetch(connection, doc_ids)

    monkeypatch.setattr(docs, "_fetch", noted)
    add(pool, "ab")
    reader.look()
    execute(pool, "update doc set changed_xid = pg_current_xact_id()")
    reader.look()
    add(pool, "c")
    reader.look()
    assert wanted == [{1, 2}, set(), {3}]
    assert reader.hears() == of("abc")


def test_a_recording_without_landmarks_is_followed_like_any_other(reader: Reader, pool: Pool) -> None:
    silence = recording("a", Peaks.none())
    reader.tracks.add([silence])
    add(pool, "bcde")
    reader.look()
    assert reader.hears() == of("bcde")
    assert reader.index.size().tracks == 5
    upkeep_all(pool)
    reader.look()
    reader.look(after_s=HELD_S + 1)
    assert reader.hears() == of("bcde")
    assert reader.held == 0


# ------------------------------------------------------------------------------------------------ the stop list


def put(pool: Pool, *hashes: int) -> None:
    with transaction(pool) as connection:
        stops.put(connection, np.array(hashes, np.int32))


def test_the_stop_list_is_followed_part_by_part(reader: Reader, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    read, parts = stops.read, []

    def noted(*arguments: Any, **since: Any) -> Any:
        parts.append(read(*arguments, **since))
        return parts[-1]

    monkeypatch.setattr(stops, "read", noted)
    add(pool, "ab")
    reader.look()
    assert parts.pop() == {}
    often = HASHES[[0, len(HASHES) // 2, -1]].tolist()
    put(pool, *often[:2])
    reader.look()
    assert reader.hears() == [row for row in of("ab") if HASHES[row[0]] not in often[:2]]
    assert sorted(parts.pop()) == sorted({hash_ >> 24 for hash_ in often[:2]})
    put(pool, often[2])
    put(pool, often[1])  # which is on it already
    reader.look()
    assert reader.hears() == [row for row in of("ab") if HASHES[row[0]] not in often]
    assert sorted(parts.pop()) == sorted({hash_ >> 24 for hash_ in often[1:]})
    assert reader.stopped == Reader(pool).stopped == often
    with transaction(pool) as connection:
        stops.clear(connection)
    reader.look()
    assert reader.stopped == []
    assert reader.hears() == of("ab")


def test_hashes_of_one_part_come_together_in_order(reader: Reader, pool: Pool) -> None:
    for hashes in ((0x05000009,), (0x05000001, 0x7FFFFFFF, 0x05000005), (0, 0x05000005), ()):
        put(pool, *hashes)
    reader.look()
    assert reader.stopped == [0, 0x05000001, 0x05000005, 0x05000009, 0x7FFFFFFF]


# ------------------------------------------------------------------------------------------------ beginning anew, restored


def test_who_has_not_looked_for_long_begins_anew_and_forgets_only_what_is_gone(reader: Reader, pool: Pool) -> None:
    """What is forgotten once is never asked for again: a recording that exists must not be."""
    add(pool, "abc")
    upkeep_all(pool)
    add(pool, "d")
    put(pool, 5)
    reader.look()
    numbers = reader.numbers()
    assert reader.passages(*numbers.values()) == ["a", "b", "c", "d"]
    reader.tracks.remove("b")
    add(pool, "c", of="f")
    add(pool, "e")
    # Nobody will be told of those that are gone.
    execute(pool, "delete from doc where retired_at is not null", "delete from stop_list")
    reader.look(after_s=STALE_S + 1)
    assert reader.hears() == expected({"a": ALL["a"], "c": ALL["f"], "d": ALL["d"], "e": ALL["e"]}, HASHES, ANY)
    assert reader.held == POSTINGS["d"] + POSTINGS["e"] + POSTINGS["f"]
    assert reader.index.size().tracks == 4
    assert reader.stopped == []
    assert reader.passages(*numbers.values()) == ["a", "d"]
    assert reader.passages(*reader.numbers().values()) == ["a", "c", "d", "e"]


def test_who_looks_again_and_again_begins_anew_every_half_hour(pool: Pool) -> None:
    add(pool, "ab")
    reader = Reader(pool)
    execute(pool, "update doc set changed_xid = '3'")  # nobody who follows is told of these again
    known = reader.index._docs.last_known
    for after_s, same in ((STALE_S - 1, True), (1, True), (1, False)):
        reader.look(after_s=after_s)
        assert (reader.index._docs.last_known is known) is same
    assert reader.hears() == of("ab")


def test_a_primary_that_has_lost_what_was_seen_is_read_anew(pool: Pool) -> None:
    """It was a replica that lagged, or a backup: its ids lie behind those that were seen."""
    add(pool, "ab")
    reader = Reader(pool)
    reader.index._docs._since = "999999999"
    execute(pool, "update doc set changed_xid = '3'")
    add(pool, "c")
    reader.look()
    reader.look()
    assert reader.hears() == of("abc")


def test_the_database_is_away_when_it_is_time_to_begin_anew(reader: Reader, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    add(pool, "ab")
    reader.look()
    numbers = reader.numbers()
    add(pool, "c")

    def away() -> None:
        raise DatabaseUnavailable("PostgreSQL is away")

    interfere(monkeypatch, away)
    with pytest.raises(DatabaseUnavailable):
        reader.look(after_s=STALE_S + 1)
    assert reader.index.last_size.tracks == 2
    reader.look()
    assert reader.hears() == of("abc")
    assert reader.passages(*numbers.values()) == ["a", "b"]


def test_a_restored_database_is_followed_and_nothing_counts_twice(pool: Pool) -> None:
    """After a dump and restore the ids come from another server's count: until upkeep has seen to it, every look lists them."""
    add(pool, "ab")
    upkeep_all(pool)
    add(pool, "c")
    put(pool, 5)
    execute(pool, "update doc set changed_xid = '999999999'", "update stop_list set changed_xid = '999999999'")
    reader = Reader(pool)
    for _ in range(3):
        reader.look()
        assert reader.hears() == of("abc")
        assert reader.held == POSTINGS["c"]
    add(pool, "a", of="f")
    reader.look()
    assert reader.hears() == expected({"a": ALL["f"], "b": ALL["b"], "c": ALL["c"]}, HASHES, ANY)
    upkeep_all(pool)
    assert (
        execute(pool, "select from doc where changed_xid > pg_current_xact_id() union all select from stop_list where changed_xid > pg_current_xact_id()") == []
    )
    for _ in range(2):
        reader.look(after_s=HELD_S + 1)
        assert reader.hears() == expected({"a": ALL["f"], "b": ALL["b"], "c": ALL["c"]}, HASHES, ANY)
    assert (reader.held, reader.stopped) == (0, [5])


def test_while_a_thread_follows_nobody_who_asks_has_to_look(pool: Pool) -> None:
    reader = Reader(pool)
    go, looked, over = threading.Event(), threading.Event(), threading.Event()

    def wait(_: float) -> bool:
        if not go.is_set():
            return not go.wait(30)
        looked.set()
        return over.wait(30)

    following = threading.Thread(target=lambda: reader.index.follow(wait=wait, failed=lambda error: pytest.fail(str(error))))
    following.start()
    reader.tracks.add([recording("a", ALL["a"])])
    reader.now += 100
    assert reader.hears() == []  # it is time to look, and that is the thread's business
    go.set()
    assert looked.wait(30)
    assert reader.hears() == expected({"a": ALL["a"]}, HASHES, ANY)
    over.set()
    following.join(30)
    assert not following.is_alive()
    reader.tracks.remove("a")
    reader.now += 1
    assert reader.hears() == []  # it is theirs again
