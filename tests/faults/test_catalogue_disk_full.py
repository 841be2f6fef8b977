"""A database that runs full says so in a sentence, keeps what it had, and goes on once there is room.

No disk is filled for that, and no file system mounted: a table that is still empty is put on `/dev/full`, where the kernel
refuses every write for want of room, as a full disk does.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from catalogue_kills import ANY, SOUNDS, Answers, ask, by_truth, hashes_of
from earmark.errors import DatabaseUnavailable
from earmark.index import catalogue as catalogue_module
from earmark.index import integrity, upkeep
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.database import create_database
from earmark.postgres import Pool, migrate
from index_catalogue import open_pool, recording
from postgres_servers import Server, server

HASHES = hashes_of(*SOUNDS)
FRESH, BLOCK = "(select reltoastrelid from pg_class where oid = 'fresh'::regclass)", "'block'::regclass"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as running:
        migrate(create_database(running.dsn, "template_earmark"))
        yield running


@contextmanager
def full(running: Server, dsn: str, table: str) -> Iterator[None]:
    """There is no room for a table, which is empty. (Connections that have used it before do not know.)"""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(f"select pg_relation_filepath({table})").fetchone()
    assert row
    path = running.data / row[0]
    aside = Path(f"{path}.aside")
    assert path.stat().st_size == 0
    path.rename(aside)
    path.symlink_to("/dev/full")
    try:
        yield
    finally:
        path.unlink()
        aside.rename(path)


def answers(dsn: str) -> Answers:
    with open_pool(dsn) as pool:
        assert list(integrity.check(pool)) == []
        return ask(pool, Index(pool=pool).open(), HASHES)


def add(pool: Pool, **named: str) -> None:
    Tracks(pool=pool).add([recording(track_id, SOUNDS[name], content=name.encode()) for track_id, name in named.items()])


def pack(pool: Pool) -> None:
    upkeep.upkeep(pool, extent="everything")


@dataclass(frozen=True, kw_only=True)
class Case:
    #: For which there is no room.
    table: str
    #: Whether what is there is in a run, and whether what is added goes into one.
    packed: bool = False
    bulk: bool = False
    change: Callable[[Pool], None]
    after: Mapping[str, str]


CASES = {
    "add": Case(table=FRESH, packed=True, change=lambda pool: add(pool, y="two", z="long"), after={"a": "packed", "x": "old", "y": "two", "z": "long"}),
    "replace": Case(table=FRESH, packed=True, change=lambda pool: add(pool, x="long"), after={"a": "packed", "x": "long"}),
    "bulk_add": Case(table=BLOCK, bulk=True, change=lambda pool: add(pool, y="two", z="long"), after={"a": "packed", "x": "old", "y": "two", "z": "long"}),
    "bulk_replace": Case(table=BLOCK, bulk=True, change=lambda pool: add(pool, x="long"), after={"a": "packed", "x": "long"}),
    "pack": Case(table=BLOCK, change=pack, after={"a": "packed", "x": "old"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_full_disk_is_a_sentence_and_costs_nothing(running: Server, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case, dsn = CASES[name], create_database(running.dsn, name, template="template_earmark")
    with open_pool(dsn) as pool:
        add(pool, a="packed", x="old")
        if case.packed:
            pack(pool)
    before = answers(dsn)
    monkeypatch.setattr(catalogue_module, "BULK_POSTINGS", 1 if case.bulk else 1_000_000)
    with full(running, dsn, case.table):
        with open_pool(dsn) as pool:
            for _ in range(2):  # trying again does no harm
                with pytest.raises(DatabaseUnavailable, match=r"PostgreSQL at .* has no room left on its disk: .*No space left on device; .* make room there"):
                    case.change(pool)
        assert answers(dsn) == before
    assert answers(dsn) == before
    with open_pool(dsn) as pool:
        case.change(pool)
    assert answers(dsn).postings == by_truth(case.after, HASHES, ANY)
