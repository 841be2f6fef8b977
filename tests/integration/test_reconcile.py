"""What IVS lists and what is on record are brought into agreement, by one worker at a time."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from control_rows import leases_of, pass_time, row, rows, run, want
from earmark.control.leases import Ended
from earmark.control.messages import StopStream
from earmark.control.reconcile import LiveStream, Reconcile, Swept
from earmark.control.wanted import stop
from earmark.errors import AwsUnavailable
from earmark.postgres import Pool, transaction
from earmark.settings import Reconcile as ReconcileSettings

BEGAN = datetime(2026, 11, 20, 10, tzinfo=UTC)


class Counted:
    def __init__(self) -> None:
        self.swept_total = 0
        self.failed_total = 0

    def swept(self, *, adopted: int, reopened: int, stopped: int) -> None:
        self.swept_total += adopted + reopened + stopped

    def sweep_failed(self) -> None:
        self.failed_total += 1


class World:
    """IVS with these streams live, and sweeps a minute apart."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.live: list[str] = []
        self.error: Exception | None = None
        self.counted = Counted()
        self.stop = threading.Event()

    def list_live(self) -> Sequence[LiveStream]:
        if self.error:
            raise self.error
        return [LiveStream(stream_id=stream_id, channel_arn=f"arn:{stream_id}", started_at=BEGAN) for stream_id in self.live]

    def reconcile(self, *, adopt: bool = True) -> Reconcile:
        return Reconcile(pool=self.pool, list_live=self.list_live, settings=ReconcileSettings(every_s=60, adopt=adopt), meter=self.counted, stop=self.stop)

    def sweep(self, *live: str, adopt: bool = True) -> Swept | None:
        self.live = list(live)
        pass_time(self.pool, 60)
        return self.reconcile(adopt=adopt).sweep()


@pytest.fixture
def world(pool: Pool) -> World:
    return World(pool)


def test_a_live_stream_that_no_event_announced_is_adopted_once(world: World) -> None:
    assert world.sweep("st-1") == Swept(adopted=("st-1",))
    assert world.sweep("st-1") == Swept()
    adopted = row(world.pool, "st-1")
    assert (adopted["source"], adopted["channel_arn"], adopted["started_at"], adopted["state"]) == ("ivs", "arn:st-1", BEGAN, "wanted")
    assert [lease.stream.stream_id for lease in leases_of(world.pool, "one").claim(1)] == ["st-1"]


def test_without_adoption_nothing_is_opened(world: World) -> None:
    assert world.sweep("st-1", adopt=False) == Swept()
    assert rows(world.pool, "select * from stream") == []


def test_a_stream_is_stopped_by_the_second_sweep_that_misses_it(world: World) -> None:
    want(world.pool, "st-1", "st-2")
    leases_of(world.pool, "one").claim(1)
    assert world.sweep("st-2") == Swept()
    assert row(world.pool, "st-1")["stop_at"] is None
    assert world.sweep("st-2") == Swept(stopped=("st-1",))
    assert row(world.pool, "st-1")["stop_reason"] == "not_listed"
    assert row(world.pool, "st-2")["stop_at"] is None
    assert world.sweep("st-2") == Swept()


def test_a_stream_that_is_listed_again_was_only_overlooked(world: World) -> None:
    want(world.pool, "st-1")
    for live in ((), ("st-1",), (), ("st-1",)):
        assert world.sweep(*live) == Swept()
    assert row(world.pool, "st-1")["stop_at"] is None


def test_streams_of_other_sources_are_not_expected_in_the_list(world: World) -> None:
    want(world.pool, "radio-2026-11-20", source="hls", url="https://radio.example/live.m3u8")
    want(world.pool, "123-20261120T100000Z", source="medialive")
    assert [world.sweep() for _ in range(3)] == [Swept()] * 3


def test_a_stream_that_only_seemed_to_end_is_opened_again(world: World) -> None:
    want(world.pool, "st-1")
    one = leases_of(world.pool, "one")
    (lease,) = one.claim(1)
    one.release(lease, Ended("silent_origin"))
    assert world.sweep("st-1") == Swept(reopened=("st-1",))
    assert row(world.pool, "st-1")["end_reason"] is None
    (again,) = one.claim(1)
    assert again.fencing == lease.fencing + 1


@pytest.mark.parametrize("reason", ["stream_end", "failed", "cut"])
def test_a_stream_that_ended_for_good_stays_ended(world: World, reason: str) -> None:
    want(world.pool, "st-1")
    run(world.pool, "update stream set state = 'ended', ended_at = now(), end_reason = %s", reason)
    assert world.sweep("st-1") == Swept()


def test_a_stream_whose_end_was_heard_is_not_opened_again_by_an_old_list(world: World) -> None:
    want(world.pool, "st-1")
    with transaction(world.pool) as connection:
        stop(connection, StopStream(stream_id="st-1", channel_arn="arn:st-1", at=BEGAN, reason="stream_end"))
    run(world.pool, "update stream set state = 'ended', ended_at = now(), end_reason = 'not_live'")
    assert world.sweep("st-1") == Swept()


def test_one_worker_of_all_sweeps_per_interval(world: World) -> None:
    world.live = ["st-1"]
    assert [world.reconcile().sweep() for _ in range(3)] == [Swept(adopted=("st-1",)), None, None]
    pass_time(world.pool, 60)
    assert [world.reconcile().sweep() for _ in range(2)] == [Swept(), None]


def test_a_list_that_cannot_be_had_changes_nothing(world: World) -> None:
    want(world.pool, "st-1")
    world.error = AwsUnavailable("ivs:ListStreams failed for now")
    for _ in range(3):
        with pytest.raises(AwsUnavailable):
            world.sweep()
    assert row(world.pool, "st-1")["unlisted_at"] is None


def test_the_loop_tells_a_failure_once_and_ends_when_asked(world: World) -> None:
    world.error = AwsUnavailable("ivs:ListStreams failed for now")

    class AfterThree(threading.Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == 60
            pass_time(world.pool, 60)
            self.waits += 1
            if self.waits == 3:
                self.set()
            return self.is_set()

    world.stop = AfterThree()
    with capture_logs() as logs:
        world.reconcile().run()
    assert [line["event"] for line in logs] == ["sweep.failed"]
    assert world.counted.failed_total == 3


def test_segments_that_found_no_stream_are_looked_after(world: World) -> None:
    run(world.pool, "insert into inbox (bucket, key, made_at) values ('archive', 'show.000000.ts', %s), ('archive', 'other.000000.ts', %s)", BEGAN, BEGAN)
    want(world.pool, "run", source="medialive", url="s3://archive/show", started_at=BEGAN)
    world.sweep("st-1")
    assert {r["key"]: r["stream_id"] for r in rows(world.pool, "select * from inbox")} == {"show.000000.ts": "run", "other.000000.ts": None}


def test_the_inbox_is_looked_after_where_there_is_no_ivs(world: World) -> None:
    run(world.pool, "insert into inbox (bucket, key, made_at) values ('archive', 'show.000000.ts', %s)", BEGAN)
    want(world.pool, "run", source="medialive", url="s3://archive/show", started_at=BEGAN)
    world.error = AwsUnavailable("there is no IVS in this region")
    with pytest.raises(AwsUnavailable):
        world.sweep()
    assert {r["key"]: r["stream_id"] for r in rows(world.pool, "select * from inbox")} == {"show.000000.ts": "run"}
