"""Eight worker processes and four hundred streams: each has one owner, nobody has much more than a part, whoever comes and goes."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess

import pytest

import fleet_worker
from control_rows import rows, run
from earmark.control.fleet import Fleet
from earmark.postgres import Pool

STREAMS, WORKERS = 400, 8
WAIT_S = 60


class Workers:
    """Processes of `fleet_worker`, by name; forked from one that has loaded what they need, which is most of their work."""

    def __init__(self, stack: ExitStack, dsn: str) -> None:
        self._dsn, self._running = dsn, dict[str, ForkServerProcess]()
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", "earmark.service"])  # as whoever forks after us in this process would have it
        stack.callback(self._end)

    def start(self, *names: str) -> None:
        for name in names:
            self._running[name] = self._context.Process(target=fleet_worker.main, args=(self._dsn, name), daemon=True)
            self._running[name].start()

    def send(self, name: str, number: signal.Signals) -> None:
        process = self._running.pop(name)
        os.kill(process.pid or 0, number)
        process.join(WAIT_S)
        assert not process.is_alive()

    def _end(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.join(WAIT_S)


@pytest.fixture
def workers(dsn: str, pool: Pool) -> Iterator[Workers]:
    run(pool, "create table heard (stream_id text primary key, worker text not null)")
    run(pool, "create table twice (stream_id text, worker text)")
    with ExitStack() as stack:
        yield Workers(stack, dsn)


def want_many(pool: Pool, count: int) -> None:
    run(pool, "insert into stream (stream_id, source, wanted_at) select 'st-' || n, 'ivs', now() from generate_series(1, %s) n", count)
    run(pool, "notify earmark")


def listened_to(pool: Pool) -> Counter[str]:
    """By worker: streams whose owner it is by the row and that it listens to by its own word."""
    found = rows(pool, "select owner, count(*)::int as n from stream join heard using (stream_id) where owner = worker and lease_until > now() group by owner")
    return Counter({one["owner"]: one["n"] for one in found})


def until_shared(pool: Pool, names: set[str]) -> Counter[str]:
    """All streams are listened to by these, and none has a fifth more or less than its part."""
    fair, deadline, pause = STREAMS / len(names), time.monotonic() + WAIT_S, threading.Event()
    while True:
        shares = listened_to(pool)
        if sum(shares.values()) == STREAMS and set(shares) == names and all(0.8 * fair <= share <= 1.2 * fair for share in shares.values()):
            return shares
        assert time.monotonic() < deadline, (sum(shares.values()), shares)
        pause.wait(0.2)


def test_streams_are_shared_by_whoever_is_there_and_none_has_two_owners(pool: Pool, workers: Workers) -> None:
    names = {f"w{n}" for n in range(WORKERS)}
    workers.start(*sorted(names))
    want_many(pool, STREAMS)
    until_shared(pool, names)

    # Two go: one in its own time, one without a word, whose leases have to end.
    workers.send("w0", signal.SIGTERM)
    workers.send("w1", signal.SIGKILL)
    run(pool, "delete from heard where worker = 'w1'")
    until_shared(pool, names - {"w0", "w1"})

    # Two come, and everything has an owner already.
    workers.start("late0", "late1")
    until_shared(pool, names - {"w0", "w1"} | {"late0", "late1"})
    assert rows(pool, "select * from twice") == []
    assert rows(pool, "select stream_id from stream where state <> 'running'") == []


def test_who_is_seen_no_more_and_who_is_full_is_not_counted(pool: Pool) -> None:
    fleets = {name: Fleet(pool=pool, worker=name, ttl_s=15) for name in ("one", "two", "full", "gone")}
    fleets["two"].tell(sessions=30, room=True)
    fleets["full"].tell(sessions=300, room=False)
    fleets["gone"].tell(sessions=50, room=True)
    run(pool, "update worker set seen_at = now() - interval '16 s' where worker = 'gone'")
    others = fleets["one"].tell(sessions=10, room=True)
    assert (others.workers, others.sessions, others.fewest) == (1, 30, 30)
    fleets["two"].leave()
    assert fleets["one"].tell(sessions=10, room=True).workers == 0
    run(pool, "update worker set seen_at = now() - interval '1501 s' where worker = 'gone'")
    fleets["one"].tell(sessions=10, room=True)
    assert {one["worker"] for one in rows(pool, "select worker from worker")} == {"one", "full"}
