"""LISTEN and NOTIFY over a real connection, and what happens when it breaks."""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from control_rows import leases_of, want
from earmark.control.leases import HandedOver
from earmark.control.messages import StopStream
from earmark.control.wakeups import Wakeups
from earmark.control.wanted import stop
from earmark.postgres import Pool, transaction
from earmark.settings import Database

WAIT_S = 20


@pytest.fixture
def heard(dsn: str) -> Iterator["queue.Queue[str]"]:
    heard: queue.Queue[str] = queue.Queue()
    stopped = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        running: Future[None] = thread.submit(Wakeups(database=Database(dsn=SecretStr(dsn)), woken=heard.put, stop=stopped).run)
        assert heard.get(timeout=WAIT_S) == ""  # it listens, and something may have been said before
        yield heard
        stopped.set()
        running.result(WAIT_S)


def test_what_changes_is_told_with_the_stream_it_concerns(pool: Pool, heard: "queue.Queue[str]") -> None:
    want(pool, "st-1")
    assert heard.get(timeout=WAIT_S) == ""
    with transaction(pool) as connection:
        stop(connection, StopStream(stream_id="st-1", at=datetime(2026, 11, 20, tzinfo=UTC), reason="stream_end"))
    assert heard.get(timeout=WAIT_S) == "st-1"
    one = leases_of(pool, "one")
    (lease,) = one.claim(1)
    one.release(lease, HandedOver())
    assert heard.get(timeout=WAIT_S) == ""
    assert heard.empty()


def test_what_is_rolled_back_is_not_told(pool: Pool, heard: "queue.Queue[str]") -> None:
    with transaction(pool) as connection:
        stop(connection, StopStream(stream_id="st-1", at=datetime(2026, 11, 20, tzinfo=UTC), reason="stream_end"))
        connection.rollback()
    want(pool, "st-2")
    assert heard.get(timeout=WAIT_S) == ""


def test_a_connection_that_breaks_is_made_again(dsn: str, heard: "queue.Queue[str]", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.control.wakeups._RETRY_S_MAX", 0.01)
    with capture_logs() as logs, psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'earmark-wakeups' and datname = current_database()")
        assert heard.get(timeout=WAIT_S) == ""
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'earmark-wakeups' and datname = current_database()")
        assert heard.get(timeout=WAIT_S) == ""
    assert [line["event"] for line in logs] == ["wakeups.lost"] * 2


def test_a_database_that_is_away_for_days_is_only_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Patience(threading.Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            assert timeout is not None
            assert timeout <= 60
            if self.waits == 1_100:  # some 14 hours
                self.set()
            return self.is_set()

    def refuse(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", refuse)
    stopped = Patience()
    Wakeups(database=Database(dsn=SecretStr("postgresql://nobody@127.0.0.1:1/none")), woken=lambda _: None, stop=stopped).run()
    assert stopped.waits == 1_100
