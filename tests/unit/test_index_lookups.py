"""Many who ask at once: each gets the answer to its own question, two turns are under way at most, and nobody is left waiting."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import DatabaseUnavailable
from earmark.index import lookups
from earmark.index.docs import Known
from earmark.index.lookups import LookUps, Turn
from earmark.index.postings import Found
from earmark.model import Int32, Lookup, Postings

LONG_S = 60
ANY = 1_000_000
#: hash -> (track_no, frame) of its postings: a hash has hash % 7 of them, none is like another's.
POSTINGS = {hash_: [(10 * hash_ + n, 3 * hash_ + n) for n in range(hash_ % 7)] for hash_ in range(400)}
Answered = list[tuple[int, int, int]]


def lookup(*hashes: int, postings_max: int = ANY) -> Lookup:
    return Lookup(hashes=np.array(hashes, np.int32), postings_max=postings_max)


def expected(question: Lookup) -> Answered:
    of_each = [(place, POSTINGS.get(hash_, [])) for place, hash_ in enumerate(question.hashes.tolist())]
    return sorted((place, *posting) for place, postings in of_each if len(postings) <= question.postings_max for posting in postings)


def answered(answer: Postings) -> Answered:
    assert {answer.query.dtype, answer.track_no.dtype, answer.frame.dtype} == {np.dtype(np.int32)}
    return sorted(zip(answer.query.tolist(), answer.track_no.tolist(), answer.frame.tolist(), strict=True))


def part(rows: list[tuple[int, int, int]], *, first: int = 0, count: int) -> Found:
    """What was found of some hashes, as (which, track_no, frame)."""
    which, track_no, frame = np.array(sorted(rows), np.int32).reshape(-1, 3).T
    return Found(first, np.bincount(which - first, minlength=count).astype(np.int32), track_no, frame)


class Database:
    """Answers when the gate is open. Says when it is asked, and counts how many are asking."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.asked = threading.Semaphore(0)
        self.hashes: list[list[int]] = []
        self.fails: Callable[[list[int]], BaseException | None] = lambda _: None
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def look_up(self, connection: Any, known: Known, hashes: Int32) -> list[Found]:
        assert np.all(np.diff(hashes) > 0)
        with self._lock:
            self.hashes.append(hashes.tolist())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.asked.release()
        assert self.gate.wait(LONG_S)
        with self._lock:
            self._at_once -= 1
        if error := self.fails(hashes.tolist()):
            raise error
        found = [(place, *posting) for place, hash_ in enumerate(hashes.tolist()) for posting in POSTINGS.get(hash_, [])]
        return [part(found, count=len(hashes))]


class Waiting(deque):
    """The queue of questions; says when one has come."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Semaphore(0)

    def append(self, question: Any) -> None:
        super().append(question)
        self.came.release()


class Desk:
    """LookUps, and those who ask."""

    def __init__(self, database: Database, *, stopped: Int32) -> None:
        self.database, self.turns = database, list[Turn]()
        self.known: Callable[[], Known] = lambda: Known(stopped=stopped)
        self.observe: Callable[[Turn], None] = self.turns.append
        ticks = iter(range(10**6))
        self.look_ups = LookUps(pool=None, known=self._known, observe=self._observe, clock=lambda: next(ticks))
        self.look_ups._waiting = self.waiting = Waiting()
        self._threads: list[threading.Thread] = []
        self._outcomes: list[Answered | BaseException | None] = []

    def _known(self) -> Known:
        return self.known()

    def _observe(self, turn: Turn) -> None:
        self.observe(turn)

    def ask(self, *questions: Lookup) -> None:
        """One thread each; returns when all questions have been put, in this order."""
        for question in questions:
            place = len(self._outcomes)
            self._outcomes.append(None)
            thread = threading.Thread(target=self._ask, args=(place, question), daemon=True)
            self._threads.append(thread)
            thread.start()
            assert self.waiting.came.acquire(timeout=LONG_S)

    def _ask(self, place: int, question: Lookup) -> None:
        try:
            self._outcomes[place] = answered(self.look_ups.answer(question))
        except BaseException as error:
            self._outcomes[place] = error

    def occupy(self) -> None:
        """Two turns are under way, of one question each, and the database does not answer yet."""
        self.database.gate.clear()
        for hash_ in (1, 2):
            self.ask(lookup(hash_))
            assert self.database.asked.acquire(timeout=LONG_S)

    def outcomes(self) -> list[Answered | BaseException | None]:
        """Of those who asked, in order, once all have been answered."""
        self.database.gate.set()
        for thread in self._threads:
            thread.join(LONG_S)
            assert not thread.is_alive(), "somebody is left waiting"
        assert self.look_ups._turns == 0
        assert not self.waiting
        return self._outcomes


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    made = Database()

    @contextmanager
    def statement(_: Any) -> Iterator[None]:
        yield None

    monkeypatch.setattr(lookups, "statement", statement)
    monkeypatch.setattr(lookups, "look_up", made.look_up)
    return made


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database, stopped=np.zeros(0, np.int32))


# ------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize(
    "question",
    [lookup(), lookup(3), lookup(9, 4, 4, 13, 9), lookup(399, 2**31 - 1, 0), lookup(7, 14), lookup(*range(400)), lookup(*range(60, 0, -1), postings_max=3)],
)
def test_who_asks_alone_is_answered_at_once(desk: Desk, question: Lookup) -> None:
    assert answered(desk.look_ups.answer(question)) == expected(question)
    assert desk.look_ups._turns == 0


def test_no_hash_is_asked_twice_in_a_turn_and_a_stopped_one_never(database: Database) -> None:
    desk = Desk(database, stopped=np.array([5, 300], np.int32))
    assert answered(desk.look_ups.answer(lookup(5, 9, 9, 8, 300, 5))) == [row for row in expected(lookup(5, 9, 9, 8, 300, 5)) if row[0] in (1, 2, 3)]
    assert answered(desk.look_ups.answer(lookup(300, 5))) == []
    assert database.hashes == [[8, 9], []]
    first, second = desk.turns
    assert first == Turn(questions=1, hashes=2, stopped=2, postings=3, seconds=1)
    assert (second.hashes, second.stopped, second.postings) == (0, 2, 0)


rows = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 99), st.integers(0, 99)), max_size=9)


@given(
    st.lists(st.integers(0, 12), unique=True, max_size=9).map(sorted),
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8), rows), max_size=5),
    st.lists(st.integers(0, 12), max_size=15),
    st.integers(0, 6),
)
def test_an_answer_holds_the_postings_of_each_place_whatever_was_found_where(
    hashes: list[int], runs: list[tuple[int, int, list[tuple[int, int, int]]]], asked: list[int], postings_max: int
) -> None:
    """Each run is said to have been asked for some of the hashes."""
    parts, everything = [], list[tuple[int, int, int]]()
    for one, other, rows in runs:
        first, end = min(one, other, len(hashes)), min(max(one, other), len(hashes))
        of_these = [row for row in rows if first <= row[0] < end]
        parts.append(part(of_these, first=first, count=end - first))
        everything += of_these
    plain = {hash_: [row[1:] for row in everything if row[0] == place] for place, hash_ in enumerate(hashes)}
    wanted = [(place, *posting) for place, hash_ in enumerate(asked) if len(plain.get(hash_, [])) <= postings_max for posting in plain.get(hash_, [])]
    found = lookups._Sorted.of(np.array(hashes, np.int32), parts)
    assert answered(found.answer(lookup(*asked, postings_max=postings_max))) == sorted(wanted)


# ------------------------------------------------------------------------------------------------ turns


def test_many_at_once_each_get_their_own_answers(desk: Desk) -> None:
    threads, rounds = 12, 25
    start = threading.Barrier(threads)
    wrong: list[object] = []

    def ask_again_and_again(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            start.wait(LONG_S)
            for _ in range(rounds):
                question = Lookup(hashes=random.integers(0, 420, random.integers(0, 40)).astype(np.int32), postings_max=int(random.integers(0, 7)))
                if (got := answered(desk.look_ups.answer(question))) != expected(question):
                    wrong.append((question, got))
        except BaseException as error:
            wrong.append(error)

    asking = [threading.Thread(target=ask_again_and_again, args=(seed,), daemon=True) for seed in range(threads)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(LONG_S)
        assert not thread.is_alive(), "somebody is left waiting"
    assert not wrong
    assert desk.database.most_at_once <= 2
    assert sum(turn.questions for turn in desk.turns) == threads * rounds
    assert desk.look_ups._turns == 0


def test_those_who_wait_share_the_next_turn(desk: Desk) -> None:
    desk.occupy()
    questions = [lookup(n, 3, n, 50 - n, postings_max=n) for n in range(10)]
    desk.ask(*questions)
    assert desk.database.hashes == [[1], [2]]  # of the others, none has been asked for
    assert desk.outcomes() == [expected(lookup(1)), expected(lookup(2)), *map(expected, questions)]
    assert desk.database.hashes[2:] == [sorted({*range(10), *range(41, 51)})]
    assert sorted(turn.questions for turn in desk.turns) == [1, 1, 10]
    assert desk.database.most_at_once == 2


def test_what_is_too_much_for_a_turn_is_asked_in_the_next_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_HASHES_MAX", 100)
    desk.occupy()
    questions = [lookup(*range(begin, begin + count)) for begin, count in ((0, 60), (30, 40), (70, 1), (0, 400), (71, 1), (72, 99))]
    desk.ask(*questions)
    assert desk.outcomes()[2:] == list(map(expected, questions))
    turns = sorted((len(hashes), hashes[0]) for hashes in desk.database.hashes[2:])
    assert turns == [(1, 70), (70, 0), (100, 71), (400, 0)]  # one that is too large by itself is asked alone
    assert sorted(turn.questions for turn in desk.turns) == [1, 1, 1, 1, 2, 2]
    assert desk.database.most_at_once == 2


def test_a_turn_begins_with_each_that_ends(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until nobody waits: then there is none under way, and whoever comes next has the turn."""
    monkeypatch.setattr(lookups, "_HASHES_MAX", 1)
    desk.occupy()
    questions = [lookup(n) for n in range(20)]
    desk.ask(*questions)
    assert desk.outcomes()[2:] == list(map(expected, questions))
    assert len(desk.turns) == 22
    assert answered(desk.look_ups.answer(lookup(33))) == expected(lookup(33))
    assert desk.database.most_at_once == 2


def test_where_many_ask_a_turn_waits_for_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    slept, come = list[float](), threading.Event()
    desk.look_ups._clock = lambda: 100.0
    desk.look_ups._crowd, desk.look_ups._counted_until, desk.look_ups._begun_at = 16, 101.0, 99.98

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert come.wait(LONG_S)

    monkeypatch.setattr(lookups.time, "sleep", sleep)
    questions = [lookup(3), lookup(4), lookup(5)]
    desk.ask(*questions)
    come.set()
    assert desk.outcomes() == list(map(expected, questions))
    assert [turn.questions for turn in desk.turns] == [3]
    assert slept == [pytest.approx(0.03)]  # half as many ask as are a crowd: half as far apart


def test_a_crowd_is_who_asked_in_the_second_before(desk: Desk) -> None:
    seen = []
    for at_s, askers in ((10.0, 3), (11.0, 1), (12.5, 1), (15.0, 1)):
        desk.look_ups._clock = lambda at_s=at_s: at_s
        desk.database.gate.clear()  # threads that live at once are different ones
        desk.ask(*[lookup(n) for n in range(askers)])
        desk.outcomes()
        seen.append(desk.look_ups._crowd)
    assert seen == [0, 3, 1, 0]


# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    "error", [DatabaseUnavailable("PostgreSQL is away"), IndexError("a damaged row"), KeyboardInterrupt()], ids=lambda error: type(error).__name__
)
def test_an_error_goes_to_all_who_share_the_turn_and_to_nobody_else(desk: Desk, error: BaseException) -> None:
    desk.occupy()
    desk.ask(*[lookup(n) for n in range(3, 9)])
    desk.database.fails = lambda hashes: error if 5 in hashes else None
    outcomes = desk.outcomes()
    assert outcomes[:2] == [expected(lookup(1)), expected(lookup(2))]
    assert outcomes[2:] == [error] * 6
    assert answered(desk.look_ups.answer(lookup(6))) == expected(lookup(6))
    assert [turn.questions for turn in desk.turns] == [1, 1, 1]  # no turn that failed is told of


def test_after_an_error_those_who_came_meanwhile_are_answered(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_HASHES_MAX", 3)
    desk.occupy()
    desk.database.fails = lambda hashes: DatabaseUnavailable("PostgreSQL is away") if {1, 2, 11} & set(hashes) else None
    desk.ask(*[lookup(n) for n in range(10, 19)])
    outcomes = desk.outcomes()
    assert [isinstance(outcome, DatabaseUnavailable) for outcome in outcomes] == [True] * 5 + [False] * 6
    assert outcomes[5:] == [expected(lookup(n)) for n in range(13, 19)]


def test_what_is_known_may_fail_as_well(desk: Desk) -> None:
    known = desk.known

    def away() -> Known:
        raise DatabaseUnavailable("PostgreSQL is away")

    desk.known = away
    for _ in range(3):  # more than there are turns
        with pytest.raises(DatabaseUnavailable):
            desk.look_ups.answer(lookup(4))
    desk.known = known
    assert answered(desk.look_ups.answer(lookup(4))) == expected(lookup(4))


def test_whoever_is_told_of_a_turn_cannot_hold_up_the_others(desk: Desk) -> None:
    desk.occupy()
    desk.ask(lookup(3), lookup(4))

    def fails(_: Turn) -> None:
        raise RuntimeError("no metric of that name")

    desk.observe = fails
    outcomes = desk.outcomes()
    assert [isinstance(outcome, RuntimeError) for outcome in outcomes] == [True, True, True, False]
    assert outcomes[3] == expected(lookup(4))
