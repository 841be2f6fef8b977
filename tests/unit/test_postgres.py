"""What psycopg's errors mean, how a DSN is shown, and how a migration's file is read."""

import numpy as np
import psycopg
import pytest
from psycopg import errors as sqlstate
from psycopg_pool import PoolTimeout

from earmark import postgres
from earmark.errors import BadSettings, DatabaseUnavailable, EarmarkError, SchemaMismatch
from earmark.settings import Database

DSN = "postgresql://earmark:s3cret@db.example:5433/music"


@pytest.mark.parametrize(
    "error, meaning",
    [
        (sqlstate.AdminShutdown("terminating connection"), DatabaseUnavailable),
        (sqlstate.QueryCanceled("canceling statement due to statement timeout"), DatabaseUnavailable),
        (sqlstate.DeadlockDetected("deadlock"), DatabaseUnavailable),
        (sqlstate.SerializationFailure("could not serialize"), DatabaseUnavailable),
        (sqlstate.LockNotAvailable("lock"), DatabaseUnavailable),
        (sqlstate.ReadOnlySqlTransaction("read-only"), DatabaseUnavailable),
        (sqlstate.TooManyConnections("sorry, too many clients already"), DatabaseUnavailable),
        (sqlstate.DiskFull("no space left"), DatabaseUnavailable),
        (sqlstate.IdleInTransactionSessionTimeout("idle"), DatabaseUnavailable),
        (PoolTimeout("couldn't get a connection after 10.00 sec"), DatabaseUnavailable),
        (
            psycopg.OperationalError('connection failed: connection to server at "10.0.0.1", port 5433 failed: Connection refused\n\tIs the server running?'),
            DatabaseUnavailable,
        ),
        (psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly"), DatabaseUnavailable),
        (psycopg.OperationalError('connection failed: FATAL:  password authentication failed for user "earmark"'), BadSettings),
        (psycopg.OperationalError('connection failed: FATAL:  database "music" does not exist'), BadSettings),
        (sqlstate.InsufficientPrivilege("permission denied for table doc"), BadSettings),
        (sqlstate.UndefinedTable('relation "doc" does not exist'), SchemaMismatch),
        (sqlstate.UndefinedColumn('column "x" does not exist'), SchemaMismatch),
    ],
)
def test_errors_are_sorted_by_what_to_do_about_them(error: psycopg.Error, meaning: type[EarmarkError]) -> None:
    with pytest.raises(meaning) as caught, postgres.translated(DSN):
        raise error
    sentence = str(caught.value)
    assert "db.example port 5433, database music" in sentence
    assert "s3cret" not in sentence
    assert "\n" not in sentence
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "bug", [sqlstate.SyntaxError("syntax error"), sqlstate.UniqueViolation("duplicate key"), psycopg.InterfaceError("cursor is closed"), KeyError("x")]
)
def test_a_bug_stays_what_it_is(bug: Exception) -> None:
    with pytest.raises(type(bug)) as caught, postgres.translated(DSN):
        raise bug
    assert caught.value is bug


def test_a_sentence_gives_the_reason_and_the_remedy() -> None:
    with pytest.raises(DatabaseUnavailable) as caught, postgres.translated(DSN):
        raise psycopg.OperationalError('connection failed: connection to server at "10.0.0.1", port 5433 failed: Connection refused\n\tIs the server running?')
    assert str(caught.value) == "PostgreSQL at db.example port 5433, database music cannot be reached: Connection refused"
    with pytest.raises(SchemaMismatch, match="earmark db migrate"), postgres.translated(DSN):
        raise sqlstate.UndefinedTable('relation "doc" does not exist')


def test_the_password_is_never_shown() -> None:
    with pytest.raises(DatabaseUnavailable) as caught, postgres.translated(DSN):
        raise psycopg.OperationalError("could not parse s3cret")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in postgres.place(DSN)


@pytest.mark.parametrize("dsn", ["postgres:/earmark:s3cret@db", "host", "postgresql://a:s3cret@h:port/x?nonsense=1"])
def test_a_dsn_that_is_none_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(BadSettings, match="not a PostgreSQL connection string") as caught:
        postgres.open_pool(Database(dsn=dsn))
    assert "s3cret" not in str(caught.value)


def test_a_missing_dsn_names_the_setting() -> None:
    with pytest.raises(BadSettings, match="EARMARK_DATABASE__DSN"):
        postgres.open_pool(Database())


def test_a_migration_states_the_oldest_daemon() -> None:
    migration = postgres.read_migration("0007_wider.sql", "-- Wider.\n-- oldest-daemon: 3\nselect 1;\n")
    assert (migration.number, migration.name, migration.oldest_daemon) == (7, "wider", 3)
    for name, text in [("7_wider.sql", "-- oldest-daemon: 3"), ("0007_wider.sql", "select 1"), ("0007_wider.txt", "-- oldest-daemon: 3")]:
        with pytest.raises(ValueError, match="oldest-daemon"):
            postgres.read_migration(name, text)


def test_shipped_migrations_are_numbered_without_a_gap() -> None:
    ours = postgres.shipped()
    assert [m.number for m in ours] == list(range(1, len(ours) + 1))
    assert all(1 <= m.oldest_daemon <= m.number for m in ours)


def test_int32_arrays_travel_as_postgresql_has_them() -> None:
    dumped = postgres.Int4Array(np.ndarray).dump(np.array([1, -2], np.int32))
    assert np.frombuffer(dumped, ">i4").tolist() == [1, 0, 23, 2, 1, 4, 1, 4, -2]
    with pytest.raises(TypeError):
        postgres.Int4Array(np.ndarray).dump(np.array([1], np.int64))
