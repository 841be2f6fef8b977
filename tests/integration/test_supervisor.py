"""Sessions are started, told, restarted and handed over; with real leases in a real PostgreSQL, whose cable can be pulled."""

import queue
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from control_rows import leases_of, pass_time, row, rows, run, want
from earmark.control import supervisor as module
from earmark.control.leases import Ended, HandedOver, Leases, Outcome, Renewal, Waiting
from earmark.control.static import StaticStreams
from earmark.control.supervisor import Supervisor
from earmark.errors import AwsRefused, AwsUnavailable, BadSettings, DatabaseUnavailable, LeaseLost, SourceUnsupported, StreamNotFound, UnreadableAudio
from earmark.model import Lease
from earmark.postgres import Pool
from earmark.session import Signals, Stop
from earmark.settings import Leases as LeaseSettings
from earmark.settings import StaticStream

WAIT_S = 20  # never reached by a test that passes


@pytest.fixture(autouse=True)
def _short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TICK_S", 0.01)
    monkeypatch.setattr(module, "SPREAD_S", 0.01)


class Cable:
    """Leases behind a cable that can be pulled; and a bell for each round that got through."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self.pulled: Exception | None = None
        self.rounds: queue.Queue[int] = queue.Queue()
        self.renewals: queue.Queue[int] = queue.Queue()

    def _through(self) -> None:
        if self.pulled:
            raise self.pulled

    def claim(self, count: int, *, live_max: int, but_not: Collection[str] = (), takeovers: bool = True) -> list[Lease]:
        self._through()
        return self._leases.claim(count, live_max=live_max, but_not=but_not, takeovers=takeovers)

    def renew(self) -> Renewal:
        self._through()
        renewal = self._leases.renew()
        self.renewals.put(0)
        return renewal

    def release(self, lease: Lease, outcome: Outcome) -> bool:
        self._through()
        return self._leases.release(lease, outcome)

    def waiting(self) -> Waiting:
        self._through()
        self.rounds.put(0)
        return self._leases.waiting()


@dataclass
class Idle:
    busy_share: float = 0.0
    oldest_job_s: float = 0.0


@dataclass
class Counted:
    over: queue.Queue[str] = field(default_factory=queue.Queue)
    failed: queue.Queue[int] = field(default_factory=queue.Queue)
    lost: int = 0
    last_waiting: Waiting | None = None

    def sessions(self, count: int) -> None:
        assert count >= 0

    def waiting(self, waiting: Waiting) -> None:
        self.last_waiting = waiting

    def session_over(self, outcome: str) -> None:
        self.over.put(outcome)

    def leases_lost(self, count: int) -> None:
        self.lost += count

    def renewed(self, *, took_s: float) -> None:
        assert took_s >= 0

    def renewal_failed(self) -> None:
        self.failed.put(0)


class Desk:
    """A supervisor in a thread of its own, whose sessions do what the test says."""

    def __init__(self, pool: Pool, *, session: Callable[[Lease, Signals], Outcome] | None = None, static: StaticStreams | None = None, **settings: Any) -> None:
        self.pool = pool
        settings = {"renew_s": 0.05, "drain_s": WAIT_S, **settings}
        self.cable = Cable(leases_of(pool, "one", **settings))
        self.load, self.counted, self.stop = Idle(), Counted(), threading.Event()
        self.began: queue.Queue[tuple[Lease, Signals]] = queue.Queue()
        self.orders: queue.Queue[Outcome | Exception] = queue.Queue()
        self.supervisor = Supervisor(
            leases=self.cable,
            run_session=session or self._session,
            load=self.load,
            settings=LeaseSettings(**settings),
            meter=self.counted,
            stop=self.stop,
            static=static,
            now=lambda: datetime(2026, 11, 20, tzinfo=UTC),
        )
        self._thread = ThreadPoolExecutor(1)
        self._running = self._thread.submit(self.supervisor.run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.finish()
        finally:
            self._thread.shutdown()

    def finish(self) -> None:
        self.stop.set()
        self._running.result(WAIT_S)

    def _session(self, lease: Lease, signals: Signals) -> Outcome:
        """Listens until it is told to stop, or until the test gives an order."""
        self.began.put((lease, signals))
        while not signals.stop:
            signals.wait(WAIT_S)
            if not self.orders.empty():
                order = self.orders.get()
                if isinstance(order, Exception):
                    raise order
                return order
        if signals.stop is Stop.LOST:
            raise LeaseLost("taken over")
        return Ended("stream_end") if signals.stop is Stop.END else HandedOver()

    def start(self, *stream_ids: str) -> dict[str, tuple[Lease, Signals]]:
        want(self.pool, *stream_ids)
        self.supervisor.wake()
        begun = [self.began.get(timeout=WAIT_S) for _ in stream_ids]
        return {lease.stream.stream_id: (lease, signals) for lease, signals in begun}

    def order(self, signals: Signals, what: Outcome | Exception) -> str:
        self.orders.put(what)
        signals.nudge()
        return self.counted.over.get(timeout=WAIT_S)

    def rounds(self, count: int) -> None:
        """Wait until so many more rounds have reached the database."""
        while not self.cable.rounds.empty():
            self.cable.rounds.get()
        for _ in range(count):
            self.cable.rounds.get(timeout=WAIT_S)


@pytest.fixture
def desk(pool: Pool) -> Iterator[Desk]:
    with Desk(pool) as desk:
        yield desk


def test_each_wanted_stream_gets_a_thread_named_for_it(desk: Desk) -> None:
    desk.start("st-1", "st-2")
    assert sorted(desk.supervisor.sessions) == ["st-1", "st-2"]
    assert {"st-1", "st-2"} <= {thread.name for thread in threading.enumerate()}
    assert {row(desk.pool, stream_id)["owner"] for stream_id in ("st-1", "st-2")} == {"one"}


def test_a_stop_on_record_reaches_the_session_whoever_wrote_it(desk: Desk) -> None:
    desk.start("st-1")
    run(desk.pool, "update stream set stop_at = now()")
    assert desk.counted.over.get(timeout=WAIT_S) == "stream_end"
    assert (row(desk.pool, "st-1")["state"], row(desk.pool, "st-1")["end_reason"]) == ("ended", "stream_end")


def test_a_stream_whose_stop_came_first_is_told_before_it_begins(desk: Desk) -> None:
    run(desk.pool, "insert into stream (stream_id, source, wanted_at, stop_at) values ('st-1', 'ivs', now(), now())")
    _, signals = desk.began.get(timeout=WAIT_S)
    assert signals.stop is Stop.END
    assert desk.counted.over.get(timeout=WAIT_S) == "stream_end"


def test_news_in_the_inbox_nudge_the_session(desk: Desk) -> None:
    started = desk.start("st-1")
    run(desk.pool, "insert into inbox (stream_id, bucket, key) values ('st-1', 'b', 'k')")
    assert desk.order(started["st-1"][1], Ended("endlist")) == "endlist"  # whichever nudge it was that woke it
    assert row(desk.pool, "st-1")["end_reason"] == "endlist"


def test_a_lease_that_was_taken_over_stops_the_session_and_nothing_else(desk: Desk) -> None:
    started = desk.start("st-1", "st-2")
    run(desk.pool, "update stream set owner = 'two', fencing = fencing + 1 where stream_id = 'st-1'")
    assert desk.counted.over.get(timeout=WAIT_S) == "handed_over"
    assert started["st-1"][1].stop is Stop.LOST
    assert started["st-2"][1].stop is None
    assert row(desk.pool, "st-1")["owner"] == "two"
    assert desk.counted.lost == 1


@pytest.mark.parametrize(
    "error, label, state, sentence",
    [
        (AwsUnavailable("S3 is away"), "failed", "wanted", "S3 is away"),
        (AwsRefused("the role may not"), "failed", "wanted", "the role may not"),
        (StreamNotFound("no such channel"), "not_live", "ended", "no such channel"),
        (SourceUnsupported("no audio"), "failed", "ended", "no audio"),
        (KeyError("x"), "crashed", "wanted", "a bug: KeyError: 'x'"),
    ],
)
def test_how_a_session_fails_decides_what_becomes_of_the_stream(pool: Pool, error: Exception, label: str, state: str, sentence: str) -> None:
    with capture_logs() as logs, Desk(pool, restart_initial_s=3600, restart_max_s=3600) as desk:
        started = desk.start("st-1")
        assert desk.order(started["st-1"][1], error) == label
        failed = row(pool, "st-1")
        assert (failed["state"], failed["owner"], failed["last_error"]) == (state, None, sentence)
    crashes = [line for line in logs if line["event"] == "session.crashed"]
    assert [bool(line["exc_info"]) for line in crashes] == ([True] if label == "crashed" else [])


@pytest.mark.parametrize("source, level", [("ivs", "error"), ("radio", "error"), ("file", "info"), ("recording", "warning")])
def test_whose_business_it_is_what_cannot_be_heard(pool: Pool, source: str, level: str) -> None:
    """A stream's is the operator's; of a file that somebody put there the answer lies beside it."""
    with capture_logs() as logs, Desk(pool) as desk:
        want(pool, "st-1", source=source)
        desk.supervisor.wake()
        _, signals = desk.began.get(timeout=WAIT_S)
        assert desk.order(signals, UnreadableAudio("s3://b/check/a.zip is not audio")) == "failed"
    assert [line["log_level"] for line in logs if line["event"] == "session.refused"] == [level]


def test_a_session_that_fails_for_now_is_started_again_and_one_that_crashes_is_set_aside(pool: Pool) -> None:
    with Desk(pool, attempts_max=3, restart_initial_s=0.01, restart_max_s=0.01) as desk:
        _, signals = desk.start("st-1")["st-1"]
        for _ in range(4):
            assert desk.order(signals, AwsUnavailable("away")) == "failed"
            _, signals = desk.began.get(timeout=WAIT_S)
        assert desk.order(signals, KeyError("x")) == "crashed"
        lease, signals = desk.began.get(timeout=WAIT_S)
        assert lease.alone
        assert desk.order(signals, KeyError("x")) == "crashed"
        assert row(pool, "st-1")["state"] == "quarantined"


def test_a_thread_that_ends_in_no_way_that_we_know_still_gives_its_lease_back(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def session(_lease: Lease, _signals: Signals) -> Outcome:
        raise SystemExit

    with Desk(pool, session=session, restart_initial_s=3600, restart_max_s=3600) as desk:
        want(pool, "st-1")
        assert desk.counted.over.get(timeout=WAIT_S) == "crashed"
        assert row(pool, "st-1")["owner"] is None


def test_no_more_sessions_than_there_is_room_for(pool: Pool) -> None:
    with Desk(pool, streams_max=2) as desk:
        want(pool, "st-1", "st-2", "st-3")
        started = [desk.began.get(timeout=WAIT_S) for _ in range(2)]
        desk.rounds(3)
        assert desk.began.empty()
        assert desk.counted.last_waiting is not None
        assert desk.counted.last_waiting.streams == 1
        desk.order(started[0][1], Ended("endlist"))
        desk.began.get(timeout=WAIT_S)


@pytest.mark.parametrize("load", [Idle(busy_share=0.71), Idle(oldest_job_s=0.6)])
def test_a_busy_process_claims_nothing_and_keeps_what_it_has(desk: Desk, load: Idle) -> None:
    desk.start("st-1")
    desk.load.busy_share, desk.load.oldest_job_s = load.busy_share, load.oldest_job_s
    want(desk.pool, "st-2")
    desk.rounds(3)
    assert desk.supervisor.sessions == ("st-1",)
    desk.load.busy_share = desk.load.oldest_job_s = 0
    assert desk.began.get(timeout=WAIT_S)[0].stream.stream_id == "st-2"


def test_static_streams_are_opened_and_run(pool: Pool) -> None:
    static = StaticStreams(pool=pool, streams=[StaticStream(name="radio", url="https://radio.example/live.m3u8")], retry_s=60)
    with Desk(pool, static=static) as desk:
        assert desk.began.get(timeout=WAIT_S)[0].stream.stream_id == "radio-2026-11-20"


# The end


def test_stopping_hands_everything_over_at_once(pool: Pool) -> None:
    with Desk(pool) as desk:
        started = desk.start("st-1", "st-2")
        desk.finish()
        assert {signals.stop for _, signals in started.values()} == {Stop.HANDOVER}
        assert desk.supervisor.sessions == ()
        assert [(r["state"], r["owner"], r["attempts"]) for r in rows(pool, "select * from stream")] == [("wanted", None, 0)] * 2
        assert len(leases_of(pool, "two").claim(5)) == 2


def test_a_session_that_does_not_stop_is_abandoned_and_its_lease_given_back(pool: Pool) -> None:
    hang = threading.Event()

    def session(lease: Lease, _signals: Signals) -> Outcome:
        begun.put(lease)
        hang.wait(WAIT_S)
        return HandedOver()

    begun: queue.Queue[Lease] = queue.Queue()
    with capture_logs() as logs, Desk(pool, session=session, drain_s=0.2) as desk:
        want(pool, "st-1")
        begun.get(timeout=WAIT_S)
        desk.finish()
        assert row(pool, "st-1")["owner"] is None
        hang.set()
    assert [line["stream_id"] for line in logs if line["event"] == "session.abandoned"] == ["st-1"]


def test_leases_are_renewed_while_sessions_drain(pool: Pool) -> None:
    finish = threading.Event()

    def session(lease: Lease, signals: Signals) -> Outcome:
        begun.put(lease)
        while not signals.stop:
            signals.wait(WAIT_S)
        draining.set()
        finish.wait(WAIT_S)
        return HandedOver()

    begun: queue.Queue[Lease] = queue.Queue()
    draining = threading.Event()
    with Desk(pool, session=session) as desk:
        want(pool, "st-1")
        begun.get(timeout=WAIT_S)
        desk.stop.set()
        assert draining.wait(WAIT_S)
        while not desk.cable.renewals.empty():
            desk.cable.renewals.get()
        for _ in range(3):
            desk.cable.renewals.get(timeout=WAIT_S)
        finish.set()


def test_a_bug_in_a_round_hands_everything_over_and_is_raised(pool: Pool) -> None:
    desk = Desk(pool)
    desk.start("st-1")
    desk.cable.claim = None  # type: ignore[assignment, method-assign]
    with pytest.raises(TypeError), desk:
        desk._running.result(WAIT_S)
    assert row(pool, "st-1")["owner"] is None


def test_what_no_round_can_get_over_ends_the_daemon_after_a_drain(pool: Pool) -> None:
    desk = Desk(pool)
    desk.start("st-1")
    desk.cable.claim = lambda *_, **__: (_ for _ in ()).throw(BadSettings("the role may not"))  # type: ignore[method-assign]
    with pytest.raises(BadSettings), desk:
        desk._running.result(WAIT_S)
    assert row(pool, "st-1")["owner"] is None


# The database goes away


def test_a_database_that_is_away_for_a_moment_costs_nothing(desk: Desk) -> None:
    started = desk.start("st-1")
    with capture_logs() as logs:
        desk.cable.pulled = DatabaseUnavailable("the cable is pulled")
        for _ in range(2):
            desk.counted.failed.get(timeout=WAIT_S)
        desk.cable.pulled = None
        desk.rounds(2)
    assert started["st-1"][1].stop is None
    assert [line["event"] for line in logs] == ["database.failed", "database.recovered"]


def test_a_stream_that_cannot_be_given_back_costs_no_other_its_lease(pool: Pool) -> None:
    """Somebody has its row locked: an operator with an open transaction."""
    with Desk(pool, ttl_s=0.3) as desk:
        started = desk.start("st-1", "st-2")
        release = desk.cable.release
        desk.cable.release = lambda *_: (_ for _ in ()).throw(DatabaseUnavailable("a statement was cancelled"))  # type: ignore[method-assign]
        desk.orders.put(Ended("endlist"))
        started["st-1"][1].nudge()
        while not desk.cable.renewals.empty():
            desk.cable.renewals.get()
        for _ in range(10):  # longer than the lease lives
            desk.counted.failed.get(timeout=WAIT_S)
            desk.cable.renewals.get(timeout=WAIT_S)
        assert started["st-2"][1].stop is None
        desk.cable.release = release  # type: ignore[method-assign]
        assert desk.counted.over.get(timeout=WAIT_S) == "endlist"


def outage(desk: Desk, *, renewals: int) -> None:
    desk.cable.pulled = DatabaseUnavailable("the cable is pulled")
    for _ in range(renewals):
        desk.counted.failed.get(timeout=WAIT_S)
    desk.cable.pulled = None


def test_a_database_that_is_away_longer_than_a_lease_lives_does_not_end_the_sessions(pool: Pool) -> None:
    with Desk(pool, ttl_s=0.3) as desk:
        lease, signals = desk.start("st-1")["st-1"]
        outage(desk, renewals=12)
        desk.rounds(2)
        assert (signals.stop, row(pool, "st-1")["fencing"], row(pool, "st-1")["owner"]) == (None, lease.fencing, "one")


def test_who_was_taken_over_during_an_outage_learns_it_from_the_first_answer(pool: Pool) -> None:
    with Desk(pool, ttl_s=0.3) as desk:
        _, signals = desk.start("st-1")["st-1"]
        desk.cable.pulled = DatabaseUnavailable("the cable is pulled")
        desk.counted.failed.get(timeout=WAIT_S)
        assert signals.stop is None
        pass_time(pool, 60)
        assert leases_of(pool, "two").claim(1)
        desk.cable.pulled = None
        assert desk.counted.over.get(timeout=WAIT_S) == "handed_over"
        assert signals.stop is Stop.LOST


def test_after_an_outage_holders_come_first(pool: Pool) -> None:
    """Somebody else's lease has expired meanwhile, and theirs is the first word."""
    with Desk(pool, ttl_s=3_600, renew_s=0.05) as desk:
        outage(desk, renewals=2)
        want(pool, "st-2")
        other = leases_of(pool, "two")
        assert other.claim(1)
        pass_time(pool, 10_000)
        desk.supervisor.wake()
        desk.rounds(3)
        assert row(pool, "st-2")["owner"] == "two"
        assert desk.start("st-3")  # what nobody holds is taken at once
        assert other.renew() == Renewal()


def test_a_daemon_that_stops_while_the_database_is_away_says_what_it_could_not_give_back(pool: Pool) -> None:
    with capture_logs() as logs, Desk(pool, drain_s=0.2) as desk:
        desk.start("st-1")
        desk.cable.pulled = DatabaseUnavailable("the cable is pulled")
        desk.finish()
    assert [line["stream_id"] for line in logs if line["event"] == "lease.left_to_expire"] == ["st-1"]
