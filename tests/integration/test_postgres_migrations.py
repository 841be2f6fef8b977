"""Migrations: forward only, once each, whole or not at all, and which daemon may run on which schema."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from pydantic import SecretStr

from earmark import postgres
from earmark.errors import DatabaseUnavailable, SchemaMismatch
from earmark.local.database import create_database, drop_database
from earmark.postgres import Migration
from earmark.settings import Database

_serial = itertools.count(1)


@pytest.fixture
def empty(postgres_server: str) -> Iterator[str]:
    """DSN of a database with nothing in it."""
    name = f"empty_{next(_serial)}"
    yield create_database(postgres_server, name)
    drop_database(postgres_server, name)


def made(number: int, text: str, *, oldest_daemon: int = 1) -> Migration:
    return Migration(number=number, name=f"step{number}", oldest_daemon=oldest_daemon, text=text)


ONE = made(1, "create table one (n int); insert into one values (1), (2);")
TWO = made(2, "create table two (n int)")
THREE_FOR_ALL = made(3, "create table three (n int)", oldest_daemon=2)
THREE_FOR_NEW = made(3, "drop table one", oldest_daemon=3)


def check(dsn: str, migrations: Sequence[Migration]) -> None:
    with postgres.open_pool(Database(dsn=SecretStr(dsn))) as pool:
        postgres.check(pool, migrations=migrations)


def tables(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {name for (name,) in connection.execute("select table_name from information_schema.tables where table_schema = 'public'")}


def test_the_shipped_ones_apply_to_an_empty_database_and_only_once(empty: str) -> None:
    names = [f"{m.number:04d}_{m.name}" for m in postgres.shipped()]
    assert postgres.migrate(empty) == names
    assert postgres.migrate(empty) == []
    with postgres.open_pool(Database(dsn=SecretStr(empty))) as pool:
        postgres.check(pool)
        status = postgres.status(pool)
    assert status.version == status.daemon == len(names)
    assert status.pending == ()
    assert [row.name for row in status.applied] == [m.name for m in postgres.shipped()]
    assert {"track", "doc", "fresh", "run", "block", "merge", "stop_list", "stream", "play", "outbox"} <= tables(empty)


def test_unqualified_names_follow_the_search_path(empty: str) -> None:
    with psycopg.connect(empty) as connection:
        connection.execute("create schema house")
    postgres.migrate(psycopg.conninfo.make_conninfo(empty, options="-c search_path=house"))
    assert tables(empty) == set()


def test_an_empty_or_older_database_is_told_to_migrate(empty: str) -> None:
    with pytest.raises(SchemaMismatch, match=r"is empty: run `earmark db migrate`"):
        check(empty, [ONE, TWO])
    postgres.migrate(empty, migrations=[ONE])
    with pytest.raises(SchemaMismatch, match=r"lacks the migration 0002_step2: run `earmark db migrate`"):
        check(empty, [ONE, TWO])
    assert postgres.migrate(empty, migrations=[ONE, TWO]) == ["0002_step2"]
    check(empty, [ONE, TWO])


def test_a_newer_schema_is_accepted_if_it_says_so_and_refused_otherwise(empty: str) -> None:
    postgres.migrate(empty, migrations=[ONE, TWO, THREE_FOR_ALL])
    check(empty, [ONE, TWO])
    assert postgres.migrate(empty, migrations=[ONE, TWO]) == []
    with pytest.raises(SchemaMismatch, match="0003_step3 asks for a daemon that knows migration 0002, and this one knows 0001: upgrade Earmark"):
        check(empty, [ONE])


def test_what_an_older_daemon_cannot_run_on_it_refuses(empty: str) -> None:
    postgres.migrate(empty, migrations=[ONE, TWO, THREE_FOR_NEW])
    with pytest.raises(SchemaMismatch, match="too new"):
        check(empty, [ONE, TWO])
    with pytest.raises(SchemaMismatch, match="too new"):
        postgres.migrate(empty, migrations=[ONE, TWO])


def test_a_migration_that_was_changed_since_is_refused(empty: str) -> None:
    postgres.migrate(empty, migrations=[ONE])
    edited = made(1, ONE.text + " -- edited")
    for refused in (lambda: check(empty, [edited]), lambda: postgres.migrate(empty, migrations=[edited])):
        with pytest.raises(SchemaMismatch, match="another text"):
            refused()


def test_a_migration_that_fails_half_way_leaves_nothing_of_itself(empty: str) -> None:
    broken = made(2, "create table two (n int); select 1/0")
    with pytest.raises(psycopg.errors.DivisionByZero):
        postgres.migrate(empty, migrations=[ONE, broken])
    assert tables(empty) == {"schema_migration", "one"}
    assert postgres.migrate(empty, migrations=[ONE, TWO]) == ["0002_step2"]


def test_many_at_once_migrate_once(empty: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: postgres.migrate(empty), range(4)))
    assert sorted(name for names in done for name in names) == [f"{m.number:04d}_{m.name}" for m in postgres.shipped()]


def test_who_waits_too_long_for_another_one_gives_up(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_MIGRATION_LOCK_S", 0.05)
    with psycopg.connect(empty) as other:
        other.execute("select pg_advisory_xact_lock(%s)", [postgres._MIGRATION_LOCK])
        with pytest.raises(DatabaseUnavailable):
            postgres.migrate(empty, migrations=[ONE])


def test_somebody_elses_tables_are_not_touched(empty: str):
    with psycopg.connect(empty) as connection:
        connection.execute("create table track (mine int)")
    with pytest.raises(SchemaMismatch, match="not Earmark's .*use an empty database"):
        postgres.migrate(empty)
    assert tables(empty) == {"track"}
