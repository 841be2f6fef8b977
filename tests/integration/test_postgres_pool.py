"""The pool against a real server: limits, lost connections, read-only servers, and NumPy arrays on the wire."""

import os
import signal
import socket
from collections.abc import Generator
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.pq import ConnStatus, TransactionStatus
from pydantic import SecretStr

from earmark import postgres
from earmark.errors import BadSettings, DatabaseUnavailable, SchemaMismatch
from earmark.settings import Database


def database(dsn: str, **changes: object) -> Database:
    return Database(dsn=SecretStr(dsn), **changes)


def test_a_server_that_is_down_is_one_sentence(tmp_path: object) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DatabaseUnavailable, match=rf"PostgreSQL at 127\.0\.0\.1 port {port}, database music cannot be reached: Connection refused"):
        postgres.open_pool(database(f"postgresql://earmark:s3cret@127.0.0.1:{port}/music"))
    with pytest.raises(DatabaseUnavailable, match="No such file"):
        postgres.open_pool(database(f"postgresql://earmark@/music?host={tmp_path}"))


def test_a_database_or_role_that_does_not_exist_is_a_wrong_setting(postgres_server: str) -> None:
    for changed in (psycopg.conninfo.make_conninfo(postgres_server, dbname="nowhere"), psycopg.conninfo.make_conninfo(postgres_server, user="nobody_here")):
        with pytest.raises(BadSettings, match="does not exist"):
            postgres.open_pool(database(changed))


def test_a_connection_has_a_name_and_limits(dsn: str) -> None:
    with postgres.open_pool(database(dsn, statement_timeout_s=7), application_name="earmark-test") as pool:
        for opened in (postgres.statement, postgres.transaction):
            with opened(pool) as connection:
                row = connection.execute(
                    "select current_setting('application_name'), current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
                ).fetchone()
            assert row == ("earmark-test", "7s", "1min")


def test_a_dsn_keeps_what_it_says_itself(dsn: str) -> None:
    with postgres.open_pool(database(psycopg.conninfo.make_conninfo(dsn, application_name="mine"))) as pool, postgres.statement(pool) as connection:
        assert connection.execute("show application_name").fetchone() == ("mine",)


def test_a_statement_that_takes_too_long_is_cancelled(dsn: str) -> None:
    with postgres.open_pool(database(dsn, statement_timeout_s=0.05)) as pool:
        with pytest.raises(DatabaseUnavailable, match="statement_timeout_s"), postgres.statement(pool) as connection:
            connection.execute("select pg_sleep(30)")
        with postgres.maintenance(pool) as connection:
            connection.execute("select pg_sleep(0.1)")
        with postgres.statement(pool) as connection:
            assert connection.execute("show statement_timeout").fetchone() == ("50ms",)


def test_a_server_that_lives_and_never_answers_is_not_waited_for(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_SILENT_S", 0.2)
    with postgres.open_pool(database(dsn, statement_timeout_s=0.3)) as pool, postgres.statement(pool) as other:
        with pytest.raises(DatabaseUnavailable, match=r"cannot be reached: no answer for 0\.5 s"), postgres.statement(pool) as connection:
            # Stopped: the kernel goes on acknowledging what it is sent, so that no keepalive and no TCP time-out ends the wait.
            stopped = connection.info.backend_pid
            os.kill(stopped, signal.SIGSTOP)
            try:
                connection.execute("select 1")
            finally:
                os.kill(stopped, signal.SIGCONT)
        with postgres.statement(pool) as connection:
            assert connection.info.backend_pid not in (stopped, other.info.backend_pid)
            assert connection.execute("select 1").fetchone() == (1,)


def test_patience_with_a_long_statement_ends_with_it(dsn: str) -> None:
    with postgres.open_pool(database(dsn, statement_timeout_s=7, pool_max=2)) as pool:
        usual = [17.0]
        with postgres.transaction(pool) as connection:
            postgres.limit(connection, 60)
            assert [connection.patience_s] == [70.0]
        with postgres.maintenance(pool) as connection:
            assert connection.patience_s is None
        with postgres.statement(pool) as connection:
            assert [connection.patience_s] == usual


def test_a_transaction_is_whole_or_nothing(dsn: str) -> None:
    with postgres.open_pool(database(dsn)) as pool:
        with pytest.raises(KeyError), postgres.transaction(pool) as connection:
            connection.execute("create table made (n int)")
            raise KeyError
        with pytest.raises(SchemaMismatch, match=r"lacks a part of the schema.*earmark db migrate"), postgres.statement(pool) as connection:
            connection.execute("select * from made")
        with postgres.statement(pool) as connection:  # each statement for itself
            connection.execute("create table made (n int)")
            connection.execute("insert into made values (1)")
        with postgres.transaction(pool) as connection:
            assert connection.execute("select n from made").fetchone() == (1,)


def test_killed_connections_are_replaced(dsn: str) -> None:
    with postgres.open_pool(database(dsn, pool_max=2)) as pool, psycopg.connect(dsn, autocommit=True) as admin:
        with pytest.raises(DatabaseUnavailable), postgres.transaction(pool) as connection:
            admin.execute("select pg_terminate_backend(%s)", [connection.info.backend_pid])
            connection.execute("select 1")
        with postgres.statement(pool) as connection:
            pid = connection.info.backend_pid
        admin.execute("select pg_terminate_backend(%s)", [pid])
        with postgres.statement(pool) as connection:  # idle in the pool when it was killed: nobody notices
            assert connection.execute("select 1").fetchone() == (1,)


def test_a_connection_that_became_read_only_is_not_kept(dsn: str) -> None:
    with postgres.open_pool(database(dsn, pool_max=2)) as pool:
        with pytest.raises(DatabaseUnavailable, match="read-only"), postgres.statement(pool) as connection:
            pid = connection.info.backend_pid
            connection.execute("set default_transaction_read_only = on")  # as after a fail-over
            connection.execute("create table made (n int)")
        with postgres.statement(pool) as connection:
            assert connection.info.backend_pid != pid
            connection.execute("create table made (n int)")


def test_a_busy_pool_says_so(dsn: str) -> None:
    with postgres.open_pool(database(dsn, pool_max=2, connect_timeout_s=2)) as pool, postgres.statement(pool), postgres.statement(pool):
        pool.timeout = 0.05  # not before: the second connection may have to be opened
        with pytest.raises(DatabaseUnavailable, match=r"database\.pool_max"), postgres.statement(pool):
            pass


def test_look_ups_may_go_elsewhere(dsn: str, postgres_server: str) -> None:
    settings = database(dsn, read_dsn=SecretStr(postgres_server))
    for reading, expected in ((False, psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]), (True, "postgres")):
        with postgres.open_pool(settings, reading=reading) as pool, postgres.statement(pool) as connection:
            assert connection.execute("select current_database()").fetchone() == (expected,)


def test_arrays_go_there_and_back(dsn: str) -> None:
    with postgres.open_pool(database(dsn)) as pool, postgres.statement(pool) as connection:
        for values in ([], [0], [1, -1, 2**31 - 1, -(2**31)]):
            row = connection.execute("select %s, pg_typeof(%s)::text", [np.array(values, np.int32)] * 2).fetchone()
            assert row == (values, "integer[]")


def test_opening_waits_no_longer_than_it_may() -> None:
    with socket.socket() as silent:  # accepts, and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(DatabaseUnavailable):
            postgres.open_pool(database(f"postgresql://earmark@127.0.0.1:{silent.getsockname()[1]}/music", connect_timeout_s=2))


def test_what_the_server_says_while_it_is_busy_is_an_answer(dsn: str) -> None:
    """As it refuses a COPY for want of room, before it is ready for anything else."""

    def refused() -> Generator[Any, Any, Any]:
        yield from ()
        raise psycopg.errors.DiskFull("could not extend file: No space left on device")

    with postgres.open_pool(database(dsn)) as pool, pool.connection() as connection:
        connection.pgconn.send_query(b"select pg_sleep(0.1)")
        assert connection.pgconn.transaction_status == TransactionStatus.ACTIVE
        with pytest.raises(psycopg.errors.DiskFull, match="No space left"):
            connection.wait(refused())
        assert connection.pgconn.status == ConnStatus.OK
        while connection.pgconn.get_result():
            pass
