"""Who listens to what, with a real PostgreSQL and its clock."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from control_rows import leases_of, pass_time, pool_of, row, run, want
from earmark.control import leases as leases_module
from earmark.control.leases import ALONE_MAX, SURVIVED_S, Ended, Failed, HandedOver, Leases, Outcome, Renewal
from earmark.errors import DatabaseUnavailable
from earmark.model import Checkpoint, Lease, Stream
from earmark.postgres import Pool, transaction


def ids(leases: list[Lease]) -> set[str]:
    return {lease.stream.stream_id for lease in leases}


def test_a_wanted_stream_is_claimed_with_all_that_is_known_of_it(pool: Pool) -> None:
    began = datetime(2026, 11, 20, 10, 23, 43, tzinfo=UTC)
    names = {"source": "hls", "channel_arn": "arn", "channel_name": "name", "session_id": "run", "trace_id": "of-the-event"}
    known = {**names, "url": "https://x/y", "tags": {"a": "b"}, "started_at": began}
    stream = Stream(stream_id="st-1", **known)
    want(pool, "st-1", **known)
    checkpoint = Checkpoint(state="listening", position_s=12.5, heard_s=12.5, source_position="41")
    run(pool, "update stream set checkpoint = %s", checkpoint.to_json())
    assert leases_of(pool, "one").claim(5) == [Lease(stream=stream, owner="one", fencing=1, checkpoint=checkpoint, stop_wanted=False)]
    assert row(pool, "st-1")["state"] == "running"


def test_no_more_are_claimed_than_asked_for_and_the_longest_waiting_first(pool: Pool) -> None:
    want(pool, "st-1", "st-2", "st-3")
    one = leases_of(pool, "one")
    assert one.claim(0) == []
    assert ids(one.claim(2)) == {"st-1", "st-2"}
    assert ids(one.claim(2)) == {"st-3"}
    assert one.claim(2) == []


def test_what_another_worker_holds_is_not_claimed_until_its_lease_has_expired(pool: Pool) -> None:
    want(pool, "st-1")
    one, two = leases_of(pool, "one", ttl_s=30), leases_of(pool, "two", ttl_s=30)
    (first,) = one.claim(1)
    pass_time(pool, 29)
    assert two.claim(1) == []
    pass_time(pool, 2)
    (second,) = two.claim(1)
    assert second.fencing > first.fencing
    assert one.renew() == Renewal(lost=frozenset({"st-1"}))
    assert list(one.held) == []
    assert one.release(first, Ended("stream_end")) is False
    assert row(pool, "st-1")["owner"] == "two"


def test_renewal_keeps_a_lease_alive_and_reads_what_is_new(pool: Pool) -> None:
    want(pool, "st-1", "st-2", "st-3")
    one, two = leases_of(pool, "one", ttl_s=30), leases_of(pool, "two", ttl_s=30)
    one.claim(3)
    pass_time(pool, 29)
    assert one.renew() == Renewal()
    pass_time(pool, 29)
    run(pool, "update stream set stop_at = now() where stream_id = 'st-1'")
    run(pool, "insert into inbox (stream_id, bucket, key) values ('st-2', 'b', 'k')")
    run(pool, "insert into inbox (stream_id, bucket, key, heard_at) values ('st-3', 'b', 'heard', now())")
    assert one.renew() == Renewal(stop=frozenset({"st-1"}), inbox=frozenset({"st-2"}))
    assert two.claim(3) == []


def test_a_worker_without_streams_asks_the_database_too(pool: Pool, dsn: str) -> None:
    """Its readiness is judged by its renewals."""
    assert leases_of(pool, "one").renew() == Renewal()
    with pool_of(dsn) as closed:
        idle = leases_of(closed, "two")
    with pytest.raises(DatabaseUnavailable):
        idle.renew()


def test_an_expired_lease_that_nobody_took_is_renewed(pool: Pool) -> None:
    want(pool, "st-1")
    one = leases_of(pool, "one")
    one.claim(1)
    pass_time(pool, 1_000)
    assert one.renew() == Renewal()
    assert leases_of(pool, "two").claim(1) == []


def test_a_worker_does_not_claim_what_it_holds_itself(pool: Pool) -> None:
    want(pool, "st-1", "st-2")
    one = leases_of(pool, "one")
    one.claim(1)
    pass_time(pool, 1_000)
    assert ids(one.claim(5, but_not=["st-2"])) == set()
    assert ids(one.claim(5)) == {"st-2"}


def test_a_row_that_is_being_written_is_neither_waited_for_nor_lost(pool: Pool) -> None:
    want(pool, "st-1", "st-2")
    one = leases_of(pool, "one", ttl_s=30)
    one.claim(2)
    pass_time(pool, 20)
    with psycopg.connect(pool.conninfo) as session:
        session.execute("update stream set heard_at = now() where stream_id = 'st-1'")
        assert one.renew() == Renewal()
        session.rollback()
    pass_time(pool, 15)
    assert ids(leases_of(pool, "two").claim(2)) == {"st-1"}  # only the other one was prolonged


def test_a_stream_that_was_removed_is_lost(pool: Pool) -> None:
    want(pool, "st-1")
    one = leases_of(pool, "one")
    one.claim(1)
    run(pool, "delete from stream")
    assert one.renew().lost == {"st-1"}


def test_handing_over_frees_at_once(pool: Pool) -> None:
    want(pool, "st-1")
    one, two = leases_of(pool, "one"), leases_of(pool, "two")
    (lease,) = one.claim(1)
    assert one.release(lease, HandedOver())
    assert ids(two.claim(1)) == {"st-1"}
    assert row(pool, "st-1")["attempts"] == 1


def test_an_end_is_final(pool: Pool) -> None:
    want(pool, "st-1")
    one = leases_of(pool, "one")
    (lease,) = one.claim(1)
    one.release(lease, Ended("endlist"))
    ended = row(pool, "st-1")
    assert (ended["state"], ended["end_reason"], ended["owner"], ended["lease_until"]) == ("ended", "endlist", None, None)
    assert ended["ended_at"] is not None
    pass_time(pool, 1_000_000)
    assert one.claim(1) == []


def test_failures_are_spaced_out_and_forgotten_after_a_time_of_survival(pool: Pool) -> None:
    want(pool, "st-1")
    one = leases_of(pool, "one", restart_initial_s=4, restart_max_s=60)
    waits = []
    for _ in range(8):
        (lease,) = one.claim(1)
        one.release(lease, Failed("the origin is away"))
        assert one.claim(1) == []
        run(pool, "update stream set tags = to_jsonb(extract(epoch from not_before - now()))")
        waits.append(float(row(pool, "st-1")["tags"]))
        run(pool, "update stream set tags = '{}'")
        pass_time(pool, 60)
    assert all(low * 0.9 < wait <= high for wait, low, high in zip(waits, (2, 4, 8, 16, 30, 30, 30, 30), (4, 8, 16, 32, 60, 60, 60, 60), strict=True)), waits
    failed = row(pool, "st-1")
    assert (failed["state"], failed["last_error"], failed["failures"]) == ("wanted", "the origin is away", 8)  # what will pass never quarantines
    one.claim(1)
    pass_time(pool, SURVIVED_S + 1)
    one.renew()
    assert row(pool, "st-1")["failures"] == 0


def die(pool: Pool, worker: str, **terms: Any) -> Lease:
    """A worker takes the only stream there is, and is not heard of again."""
    (lease,) = leases_of(pool, worker, **terms).claim(1)
    pass_time(pool, 60)
    return lease


def test_after_a_death_that_nobody_can_explain_a_stream_is_heard_alone_and_stays_wanted(pool: Pool) -> None:
    want(pool, "st-1")
    assert [die(pool, f"worker-{n}").alone for n in range(12)] == [False, *[True] * 11]
    assert row(pool, "st-1")["deaths_alone"] == 0


def test_only_deaths_alone_set_a_stream_aside(pool: Pool) -> None:
    want(pool, "st-1")
    for worker in ("one", "two"):
        die(pool, worker)
    one = leases_of(pool, "three", attempts_max=4)
    for death, state in ((1, "wanted"), (2, "quarantined")):
        (lease,) = one.claim(1)
        assert lease.alone
        one.release(lease, Failed("the process that heard it alone died of signal 9", blamed=True))
        assert (row(pool, "st-1")["state"], row(pool, "st-1")["deaths_alone"]) == (state, death)
        pass_time(pool, 60)
    assert row(pool, "st-1")["last_error"] == "the process that heard it alone died of signal 9"
    assert one.end_quarantine("st-1")
    assert not one.claim(1)[0].alone


def test_those_of_a_worker_that_died_are_kept_apart_while_there_is_room(pool: Pool) -> None:
    streams = [f"st-{n:02}" for n in range(ALONE_MAX + 4)]
    want(pool, *streams)
    assert ids(leases_of(pool, "one").claim(100)) == set(streams)
    run(pool, "update stream set attempts = 2 where stream_id in ('st-03', 'st-05')")
    pass_time(pool, 60)
    two = leases_of(pool, "two")
    claimed = {lease.stream.stream_id: lease.alone for lease in two.claim(5)}
    assert claimed.keys() >= {"st-03", "st-05"} and all(claimed.values())
    claimed |= {lease.stream.stream_id: lease.alone for lease in two.claim(100)}
    assert claimed.keys() == set(streams)
    assert sum(claimed.values()) == ALONE_MAX  # the others cannot wait


@pytest.mark.parametrize("outcome, alone", [(HandedOver(), False), (HandedOver(proven=False), True), (Failed("the origin is away"), True)])
def test_who_was_heard_alone_for_long_enough_is_heard_in_company_again(pool: Pool, outcome: Outcome, alone: bool) -> None:
    want(pool, "st-1")
    for worker in ("one", "two"):
        die(pool, worker)
    three = leases_of(pool, "three")
    (lease,) = three.claim(1)
    three.release(lease, outcome)
    pass_time(pool, 60)
    assert [(lease.alone, lease.fencing) for lease in three.claim(1)] == [(alone, 4)]


@pytest.mark.parametrize("outcome", [HandedOver(proven=False), Failed("the origin is away")])
def test_deaths_alone_are_counted_on_whatever_comes_in_between(pool: Pool, outcome: Outcome) -> None:
    want(pool, "st-1")
    die(pool, "one")
    two = leases_of(pool, "two", attempts_max=4)
    for death in (1, 2):
        (lease,) = two.claim(1)
        two.release(lease, outcome)
        pass_time(pool, 60)
        (lease,) = two.claim(1)
        assert lease.alone
        two.release(lease, Failed("the process that heard it alone died of signal 9", blamed=True))
        pass_time(pool, 60)
        assert row(pool, "st-1")["deaths_alone"] == death
    assert row(pool, "st-1")["state"] == "quarantined"


def test_nothing_is_taken_over_while_holders_come_first(pool: Pool) -> None:
    want(pool, "held", "free")
    one, two = leases_of(pool, "one"), leases_of(pool, "two")
    assert len(one.claim(1)) == 1
    pass_time(pool, 60)
    assert ids(two.claim(5, takeovers=False)) == {"free"}
    assert one.renew() == Renewal()
    assert two.claim(5) == []


def test_survival_clears_a_stream_of_suspicion(pool: Pool) -> None:
    want(pool, "st-1")
    for worker in range(4):
        survivor = leases_of(pool, f"worker-{worker}")
        assert [lease.alone for lease in survivor.claim(1)] == [False]
        pass_time(pool, SURVIVED_S + 1)
        survivor.renew()
        pass_time(pool, 60)


def test_suspects_come_after_all_others_and_no_more_of_them_than_there_is_room_for(pool: Pool) -> None:
    suspects = [f"bad-{n:02}" for n in range(ALONE_MAX + 3)]
    want(pool, *suspects, "good-1", "good-2")
    run(pool, "update stream set attempts = 2 where starts_with(stream_id, 'bad')")
    one = leases_of(pool, "one")
    assert ids(one.claim(2)) == {"good-1", "good-2"}
    assert [lease.alone for lease in one.claim(100)] == [True] * ALONE_MAX
    assert one.claim(100) == []
    assert len(leases_of(pool, "two").claim(100)) == 3


def test_a_bug_that_a_stream_brings_to_light_quarantines_it_until_somebody_looks(pool: Pool) -> None:
    want(pool, "st-1")
    one = leases_of(pool, "one", attempts_max=3)
    for alone in (False, True):
        (lease,) = one.claim(1)
        assert lease.alone == alone
        one.release(lease, Failed("a bug: KeyError: 'x'", blamed=True))
        pass_time(pool, 60)
    assert row(pool, "st-1")["state"] == "quarantined"
    assert one.claim(1) == []
    assert one.waiting()[:3] == (0, 0.0, 1)
    assert one.end_quarantine("st-1")
    assert not one.end_quarantine("st-1")
    assert ids(one.claim(1)) == {"st-1"}


def test_a_stop_that_came_first_is_claimed_so_that_its_end_goes_on_record(pool: Pool) -> None:
    want(pool, "st-1")
    run(pool, "update stream set stop_at = now()")
    (lease,) = leases_of(pool, "one").claim(1)
    assert lease.stop_wanted


def test_an_owner_knows_how_often_others_failed(pool: Pool) -> None:
    """What is over and keeps failing is given up by a session, which closes what is open on its record."""
    want(pool, "st-1")
    run(pool, "update stream set stop_at = now()")
    one = leases_of(pool, "one", attempts_max=3)
    for failures in range(5):
        (lease,) = one.claim(1)
        assert (lease.stop_wanted, lease.failures) == (True, failures)
        one.release(lease, Failed("the origin is away"))
        pass_time(pool, 60)


def test_a_stream_whose_start_was_never_heard_is_not_claimed(pool: Pool) -> None:
    run(pool, "insert into stream (stream_id, source, stop_at) values ('st-1', 'ivs', now())")
    one = leases_of(pool, "one")
    assert one.claim(1) == []
    assert one.waiting()[:3] == (0, 0.0, 0)


def test_waiting_counts_what_nobody_listens_to_and_how_long(pool: Pool) -> None:
    one = leases_of(pool, "one", ttl_s=30)
    assert one.waiting()[:3] == (0, 0.0, 0)
    want(pool, "st-1", "st-2", "st-3")
    one.claim(1)
    pass_time(pool, 20)
    waiting = one.waiting()
    assert waiting.streams == 2
    assert 20 <= waiting.oldest_age_s < 60
    pass_time(pool, 20)
    assert one.waiting().streams == 3  # the lease has expired 10 s ago
    one.renew()
    run(pool, "update stream set not_before = now() + interval '1 minute' where owner is null")
    assert one.waiting()[:3] == (0, 0.0, 0)


def test_a_checkpoint_that_cannot_be_read_sets_its_stream_aside_and_no_other(pool: Pool) -> None:
    want(pool, "st-1", "st-2")
    run(pool, """update stream set checkpoint = '{"state": "asleep"}' where stream_id = 'st-1'""")
    assert ids(leases_of(pool, "one").claim(5)) == {"st-2"}
    broken = row(pool, "st-1")
    assert (broken["state"], broken["owner"]) == ("quarantined", None)
    assert "checkpoint" in broken["last_error"]


def test_many_workers_at_once_share_the_streams_without_overlap(pool: Pool) -> None:
    want(pool, *(f"st-{n}" for n in range(60)))
    ready = threading.Barrier(4)

    def work(worker: int) -> list[str]:
        leases = leases_of(pool, f"worker-{worker}")
        ready.wait(10)
        got: list[str] = []
        while claimed := leases.claim(3):
            got += ids(claimed)
            leases.renew()
        return got

    with ThreadPoolExecutor(4) as threads:
        taken = [stream_id for got in threads.map(work, range(4)) for stream_id in got]
    assert sorted(taken) == sorted(f"st-{n}" for n in range(60))


def test_the_past_is_not_read_to_find_what_is_on(pool: Pool) -> None:
    run(pool, "insert into stream (stream_id, source, state, wanted_at) select 'old-' || n, 'ivs', 'ended', now() from generate_series(1, 20000) n")
    want(pool, *(f"st-{n}" for n in range(50)))
    run(pool, "analyze stream")
    one = leases_of(pool, "one")
    parameters = {**one._terms(), "count": 5, "but_not": [], "takeovers": True, "least": 0, "most": 0, "ids": ["st-1"], "fencings": [1]}
    with transaction(pool) as connection:
        for statement in (leases_module._CLAIM, leases_module._RENEW, leases_module._WAITING):
            plan = "\n".join(line for (line,) in connection.execute("explain " + statement, parameters))
            assert "Seq Scan on stream" not in plan, plan


class Fleet(RuleBasedStateMachine):
    """Workers that claim, pause, renew, release and die in any order; a session may write as long as the database lets it."""

    pool: Pool
    serial = 0

    def __init__(self) -> None:
        super().__init__()
        run(self.pool, "delete from stream")
        want(self.pool, "st-1", "st-2", "st-3")
        self.leases: list[Leases] = [leases_of(self.pool, f"worker-{n}", attempts_max=1_000) for n in range(3)]
        self.believed: dict[tuple[int, str], Lease] = {}
        self.highest: dict[str, int] = {}

    @rule(worker=st.integers(0, 2), count=st.integers(1, 3))
    def claim(self, worker: int, count: int) -> None:
        for lease in self.leases[worker].claim(count):
            stream_id = lease.stream.stream_id
            assert lease.fencing > self.highest.get(stream_id, 0)
            self.highest[stream_id] = lease.fencing
            self.believed[worker, stream_id] = lease

    @rule(worker=st.integers(0, 2))
    def renew(self, worker: int) -> None:
        for stream_id in self.leases[worker].renew().lost:
            del self.believed[worker, stream_id]

    @rule(worker=st.integers(0, 2))
    def die(self, worker: int) -> None:
        Fleet.serial += 1
        self.leases[worker] = leases_of(self.pool, f"worker-{worker}-{Fleet.serial}", attempts_max=1_000)
        self.believed = {key: lease for key, lease in self.believed.items() if key[0] != worker}

    @precondition(lambda self: self.believed)
    @rule(data=st.data(), outcome=st.sampled_from([HandedOver(), Failed("x"), Failed("y", blamed=True)]))
    def release(self, data: st.DataObject, outcome: HandedOver | Failed) -> None:
        key = data.draw(st.sampled_from(sorted(self.believed)))
        lease = self.believed.pop(key)
        assert self.leases[key[0]].release(lease, outcome) is (self.highest[key[1]] == lease.fencing)

    @rule(seconds=st.sampled_from([10, 40, 700]))
    def time_passes(self, seconds: float) -> None:
        pass_time(self.pool, seconds)

    @invariant()
    def only_the_newest_claim_of_a_stream_may_write(self) -> None:
        for (_, stream_id), lease in self.believed.items():
            on_record = row(self.pool, stream_id)
            may_write = (on_record["owner"], on_record["fencing"]) == (lease.owner, lease.fencing)
            assert may_write is (lease.fencing == self.highest[stream_id])


def test_in_any_order_of_events_one_worker_at_most_may_write(pool: Pool) -> None:
    Fleet.pool = pool
    run_state_machine_as_test(
        Fleet,
        settings=settings(max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]),
    )
