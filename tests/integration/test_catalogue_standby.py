"""Readers of a streaming standby that lags, and readers whose questions go now to it and now to its primary."""

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import cast

import numpy as np
import psycopg
import pytest

from catalogue_kills import ANY, OPERATIONS, SOUNDS, Answers, Operation, ask, by_truth, hashes_of
from earmark.errors import DatabaseUnavailable
from earmark.index import upkeep
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.database import create_database, database_dsn, drop_database
from earmark.model import Fetch, Lookup, Passage, Postings, Resolve
from earmark.postgres import Connection, Pool, migrate, transaction
from index_catalogue import open_pool, recording
from postgres_servers import Server, Standby, server, standby, until

HASHES = hashes_of(*SOUNDS)
_serial = itertools.count(1)


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    with server() as running:
        migrate(create_database(running.dsn, "template_earmark"))
        yield running


@pytest.fixture(scope="module")
def follower(primary: Server) -> Iterator[Standby]:
    with standby(primary) as running:
        yield running


@pytest.fixture
def name(primary: Server, follower: Standby) -> Iterator[str]:
    """Of a fresh database, on both."""
    name = f"test_{next(_serial)}"
    create_database(primary.dsn, name, template="template_earmark")
    follower.catch_up()
    yield name
    follower.catch_up()
    drop_database(primary.dsn, name)


@pytest.fixture
def there(primary: Server, name: str) -> Iterator[Pool]:
    """Of the primary."""
    with open_pool(database_dsn(primary.dsn, name)) as pool:
        yield pool


@pytest.fixture
def here(follower: Standby, name: str) -> Iterator[Pool]:
    """Of the standby."""
    with open_pool(database_dsn(follower.dsn, name)) as pool:
        yield pool


def add(pool: Pool, **named: str) -> None:
    Tracks(pool=pool).add([recording(track_id, SOUNDS[name], content=name.encode()) for track_id, name in named.items()])


# ------------------------------------------------------------------------------------------------ a standby that lags


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_reader_of_a_standby_hears_what_was_until_it_hears_what_is(there: Pool, here: Pool, follower: Standby, operation: Operation) -> None:
    operation.prepare(there)
    follower.catch_up()
    reader = Index(pool=here, follow_every_s=0).open()
    before = ask(there, Index(pool=there), HASHES)
    assert ask(here, reader, HASHES) == before
    follower.pause()
    operation.do(there)
    after = ask(there, Index(pool=there), HASHES)
    assert after.postings == by_truth(operation.after, HASHES, operation.stop_above)
    for index in (reader, Index(pool=here)):
        assert ask(here, index, HASHES) == before
    with ThreadPoolExecutor(1) as thread:
        caught_up = thread.submit(follower.catch_up)
        while not caught_up.done():  # and in between one of the two
            assert heard(reader) in (in_all(before), in_all(after))
        caught_up.result()
    for index in (reader, Index(pool=here)):
        assert ask(here, index, HASHES) == after


def heard(index: Index) -> bytes:
    """Every posting, whosever it is."""
    found = index.answer(Lookup(hashes=HASHES, postings_max=ANY))
    assert isinstance(found, Postings)
    return np.sort(found.query.astype(np.int64) << 32 | found.frame).tobytes()


def in_all(answers: Answers) -> bytes:
    return np.sort(np.frombuffer(b"".join(answers.postings.values()), np.int64)).tobytes()


def test_a_standby_answers_while_its_primary_is_down(there: Pool, here: Pool, primary: Server, follower: Standby) -> None:
    add(there, a="packed", b="fresh")
    follower.catch_up()
    reader = Index(pool=here, follow_every_s=0).open()
    primary.crash()
    try:
        assert ask(here, reader, HASHES).postings == by_truth({"a": "packed", "b": "fresh"}, HASHES, ANY)
    finally:
        primary.start()
    there.check()
    add(there, a="two")
    follower.catch_up()
    assert ask(here, reader, HASHES).postings == by_truth({"a": "two", "b": "fresh"}, HASHES, ANY)


def test_who_writes_where_it_may_only_be_read_is_told(there: Pool, here: Pool, follower: Standby) -> None:
    add(there, a="packed")
    follower.catch_up()
    for write in (lambda: add(here, b="fresh"), lambda: Tracks(pool=here).remove("a"), lambda: upkeep.step(here, extent="everything")):
        with pytest.raises(DatabaseUnavailable, match=r"PostgreSQL at .* cannot be used now: cannot execute [\w ]+ in a read-only transaction"):
            write()
    assert [track.track_id for track in Tracks(pool=here).all()] == ["a"]


def test_a_look_up_that_kept_a_standby_from_following_is_ended_in_a_sentence_and_asked_again(there: Pool, here: Pool, follower: Standby) -> None:
    add(there, a="packed")
    upkeep.step(there, extent="everything")
    follower.catch_up()
    reader = Index(pool=here).open()
    with psycopg.connect(database_dsn(follower.dsn, "postgres"), autocommit=True) as admin, rather_follows(admin):
        with psycopg.connect(str(there.conninfo)) as locker, ThreadPoolExecutor(1) as thread:
            lock(locker, there, "block", admin)
            asked = thread.submit(reader.answer, Lookup(hashes=HASHES, postings_max=ANY))
            until(lambda: waits(admin), "a look-up to wait for the table block")
            locker.execute("lock table run in access exclusive mode")  # which the look-up has opened: it is in the standby's way
            flush(there)
            with pytest.raises(DatabaseUnavailable, match=r"cannot be used now: (canceling statement|terminating connection) due to conflict with recovery"):
                asked.result(30)
        follower.catch_up()
        found = reader.answer(Lookup(hashes=HASHES, postings_max=ANY))
    assert isinstance(found, Postings)
    assert 8 * len(found) == len(by_truth({"a": "packed"}, HASHES, ANY)["a"])


@contextmanager
def rather_follows(admin: Connection) -> Iterator[None]:
    """A standby that does not wait for whoever reads."""
    admin.execute("alter system set max_standby_streaming_delay = 0")
    try:
        admin.execute("select pg_reload_conf()")
        until(lambda: admin.execute("show max_standby_streaming_delay").fetchone() == ("0",), "a standby to read its settings")
        yield
    finally:
        admin.execute("alter system reset max_standby_streaming_delay")
        admin.execute("select pg_reload_conf()")


def lock(locker: Connection, there: Pool, table: str, admin: Connection) -> None:
    """On the primary, and thereby on the standby."""
    locker.execute(f"lock table {table} in access exclusive mode")
    flush(there)
    until(lambda: one(admin, "select count(*) from pg_locks where mode = 'AccessExclusiveLock' and granted and locktype = 'relation'") > 0, "a lock to arrive")


def flush(there: Pool) -> None:
    """WAL is sent with the next commit."""
    with transaction(there) as connection:
        connection.execute("insert into slow_look_up values ('nobody', now(), now(), 0, 0, 0) on conflict (worker, hour) do update set at = now()")


def waits(admin: Connection) -> bool:
    return one(admin, "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and backend_type = 'client backend'") > 0


def one(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row
    return int(row[0])


# ------------------------------------------------------------------------------------------------ now here, now there


class _Alternating:
    """Its connections are those of several pools, one after the other."""

    def __init__(self, turns: Iterator[Pool]) -> None:
        self._turns = turns
        self.conninfo = "host=of.several"

    def connection(self) -> AbstractContextManager[Connection]:
        return next(self._turns).connection()


def alternating(turns: Iterator[Pool]) -> Pool:
    return cast("Pool", _Alternating(turns))


def by_chance(seed: int, *pools: Pool) -> Iterator[Pool]:
    random = np.random.default_rng(seed)
    while True:
        yield pools[random.integers(len(pools))]


class Story:
    """What happens to a catalogue, and what a reader hears of it meanwhile."""

    def __init__(self, there: Pool, reader: Index) -> None:
        self._there, self._reader = there, reader
        #: Of each number that there was: of which track, and its postings.
        self._numbers: dict[int, tuple[str, bytes]] = {}
        self._live: set[int] = set()
        #: Tracks that were heard once.
        self._heard: set[str] = set()

    def now(self, **named: str) -> None:
        """What the primary holds."""
        numbers = Index(pool=self._there).answer(Resolve(track_ids=tuple(named)))
        assert isinstance(numbers, dict)
        truth = by_truth(named, HASHES, ANY)
        self._live = set(numbers.values())
        self._numbers |= {number: (track_id, truth[track_id]) for track_id, number in numbers.items()}
        for _ in range(8):
            self._ask()

    def _ask(self) -> set[int]:
        found = self._reader.answer(Lookup(hashes=HASHES, postings_max=ANY))
        assert isinstance(found, Postings)
        numbers = set(np.unique(found.track_no).tolist())
        for number in numbers:
            mine = found.track_no == number
            track_id, truth = self._numbers[number]
            assert np.sort(found.query[mine].astype(np.int64) << 32 | found.frame[mine]).tobytes() == truth, track_id  # all of it, and none twice
        heard = [self._numbers[number][0] for number in numbers]
        for number in numbers - self._live:
            if heard.count(self._numbers[number][0]) > 1:  # the old one beside the new one: only for whoever asks no further
                assert self._reader.answer(Fetch(passages=(Passage(track_no=number, begin_frame=0, end_frame=400),))) == []
        assert not self._heard - set(heard) & {self._numbers[number][0] for number in self._live}, "neither the old one nor the new one"
        self._heard |= set(heard)
        return numbers

    def end(self) -> None:
        """Both hold the same: so does the reader once it has looked."""
        self._ask()
        assert self._ask() == self._live


@pytest.mark.parametrize("held_back", [False, True], ids=["alone", "beside an older transaction"])
@pytest.mark.parametrize(
    "turns, replaced",
    [
        pytest.param(lambda there, here: itertools.cycle((here, there)), "y", id="looks at the standby, asks the primary"),
        pytest.param(lambda there, here: itertools.cycle((there, here)), "y", id="looks at the primary, asks the standby"),
        pytest.param(lambda there, here: itertools.cycle((there, here)), "a", id="looks at the primary, asks the standby, packed"),
        pytest.param(lambda *pools: by_chance(5, *pools), "y", id="by chance"),
        pytest.param(lambda *pools: by_chance(6, *pools), "a", id="by chance, packed"),
    ],
)
def test_a_reader_of_both_hears_nothing_twice_and_loses_nothing(
    there: Pool, here: Pool, follower: Standby, turns: Callable[..., Iterator[Pool]], replaced: str, held_back: bool
) -> None:
    """Whatever is done while the standby lags; one of the recordings that are replaced was in no run when the reader first saw it, one was."""
    add(there, a="packed")
    upkeep.step(there, extent="everything")
    add(there, b="fresh")
    follower.catch_up()
    with psycopg.connect(str(there.conninfo)) as late:
        if held_back:  # then what readers are told of anew, since it may have changed, goes far back
            late.execute("select pg_current_xact_id()")
        story = Story(there, Index(pool=alternating(turns(there, here)), follow_every_s=0).open())
        holds = {"a": "packed", "b": "fresh"}
        story.now(**holds)
        for pause, changed, act in (
            (False, {"y": "two"}, lambda: add(there, y="two")),
            (True, {"x": "long"}, lambda: add(there, x="long")),
            (False, {}, lambda: upkeep.step(there, extent="everything")),  # packs
            (False, {}, lambda: upkeep.upkeep(there, extent="everything")),  # merges
            (False, {replaced: "old"}, lambda: add(there, **{replaced: "old"})),
            (False, {}, lambda: upkeep.step(there, extent="everything")),
            (False, {}, lambda: upkeep.upkeep(there, extent="everything")),
        ):
            if pause:
                follower.catch_up()
                follower.pause()
            act()
            holds |= changed
            story.now(**holds)
        Tracks(pool=there).remove("b")
        del holds["b"]
        story.now(**holds)
        follower.catch_up()
    story.end()
