"""What is too old goes, in small batches, by one worker; what somebody still needs stays however old it is."""

import re
import threading
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from control_rows import leases_of, pool_of, rows, run, want
from earmark.control import retention as module
from earmark.control.forgetting import Results
from earmark.control.retention import Retention
from earmark.errors import AwsRefused, AwsUnavailable, DatabaseUnavailable
from earmark.hits.record import Place
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool
from earmark.settings import Retention as RetentionSettings

DAY_S = 86_400
AT = "now() - n * interval '1 minute'"


class Counted:
    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.batches: list[tuple[str, int]] = []
        self.failed = 0
        self.ages_days: dict[str, float] = {}

    def removed(self, table: str, rows: int) -> None:
        self.rows[table] = self.rows.get(table, 0) + rows
        self.batches.append((table, rows))

    def removal_failed(self) -> None:
        self.failed += 1

    def oldest(self, table: str, age_s: float) -> None:
        self.ages_days[table] = round(age_s / DAY_S, 2)


class Bucket:
    """Where evidence lies besides."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.erased: list[tuple[str, str]] = []

    def erase_evidence(self, plays: Sequence[tuple[str, str]]) -> None:
        if self.error:
            raise self.error
        self.erased += plays


class World:
    """A worker that prunes, each time as if its turn had come."""

    def __init__(self, pool: Pool) -> None:
        self.pool, self.counted, self.bucket, self.stop = pool, Counted(), Bucket(), threading.Event()

    def retention(self, **settings: Any) -> Retention:
        return Retention(pool=self.pool, settings=RetentionSettings(**settings), erasure=self.bucket, meter=self.counted, stop=self.stop)

    def prune(self, **settings: Any) -> dict[str, int]:
        run(self.pool, "update sweep set swept_at = swept_at - interval '600 s'")
        removed = self.retention(**settings).prune()
        assert removed is not None
        return {table: rows for table, rows in removed.items() if rows}

    def ended(self, stream_id: str, *, days: float, plays: int = 0, evidence: bool = True, **columns: Any) -> None:
        """A session that ended so long ago, with plays that were closed then."""
        run(
            self.pool,
            "insert into stream (stream_id, source, wanted_at, state, ended_at) values (%s, 'ivs', now(), 'ended', now() - make_interval(secs => %s))",
            stream_id, days * DAY_S,
        )  # fmt: skip
        run(
            self.pool,
            """
            insert into play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, fencing, updated_at, evidence)
            select %s || '-' || n, %s, 't', 1, 'closed', n, n + 1, '{}', 1, now() - make_interval(secs => %s), case when %s then '{"peaks": 1}'::json end
              from generate_series(1, %s) n""",
            stream_id, stream_id, days * DAY_S, evidence, plays,
        )  # fmt: skip
        for name, value in columns.items():
            run(self.pool, f"update stream set {name} = %s where stream_id = %s", value, stream_id)

    def owe(self, stream_id: str, *, dead_days: float | None = None) -> None:
        run(
            self.pool,
            "insert into outbox (stream_id, target, key, revision, body, dead_at) values (%s, 's3', %s || '/x', 1, '', now() - make_interval(secs => %s))",
            stream_id, stream_id, None if dead_days is None else dead_days * DAY_S,
        )  # fmt: skip

    def all(self, query: str) -> list[Any]:
        return sorted(value for row in rows(self.pool, query) for value in row.values())


@pytest.fixture
def world(pool: Pool) -> World:
    return World(pool)


def test_sessions_go_with_their_plays_and_younger_ones_stay(world: World) -> None:
    world.ended("old", days=401, plays=3, evidence=False)
    world.ended("young", days=399, plays=2, evidence=False)
    assert world.prune() == {"stream": 1, "play": 3}
    assert world.all("select stream_id from stream") == ["young"]
    assert len(world.all("select hit_id from play")) == 2
    assert world.prune(sessions_days=30) == {"stream": 1, "play": 2}
    assert world.prune(sessions_days=30) == {}


def test_evidence_goes_first_and_the_hit_stays(world: World) -> None:
    world.ended("old", days=31, plays=2)
    world.ended("young", days=29, plays=1)
    assert world.prune() == {"evidence": 2}
    assert world.all("select hit_id from play where evidence is not null") == ["young-1"]
    assert len(world.all("select hit_id from play")) == 3
    assert world.bucket.erased == [("old", "old-1"), ("old", "old-2")]


@pytest.mark.parametrize("state, owner", [("wanted", None), ("running", "one"), ("quarantined", None)])
def test_what_is_wanted_listened_to_or_in_quarantine_stays(world: World, state: str, owner: str | None) -> None:
    world.ended("st-1", days=5_000, plays=1)
    run(world.pool, "update stream set state = %s, owner = %s, lease_until = case when %s::text is not null then now() end", state, owner, owner)
    run(world.pool, "insert into inbox (stream_id, bucket, key, arrived_at) values ('st-1', 'b', 'unheard', now() - interval '5000 days')")
    assert world.prune() == {}


def test_what_still_has_to_leave_keeps_its_session_and_its_evidence(world: World) -> None:
    world.ended("owed", days=5_000, plays=1)
    world.owe("owed")
    assert world.prune() == {}
    run(world.pool, "delete from outbox")
    assert world.prune() == {"stream": 1, "play": 1, "evidence": 1}


def test_given_up_rows_go_after_a_while_and_let_their_session_go(world: World) -> None:
    world.ended("st-1", days=5_000)
    world.owe("st-1", dead_days=13.9)
    assert world.prune() == {}
    run(world.pool, "update outbox set dead_at = dead_at - interval '1 day'")
    assert world.prune() == {"outbox": 1, "stream": 1}


def test_an_end_whose_start_never_came_is_kept_for_as_long_as_it_may_come(world: World) -> None:
    for stream_id, days in (("a", 16), ("b", 14)):
        run(
            world.pool,
            "insert into stream (stream_id, source, stop_at, created_at) values (%s, 'ivs', now(), now() - make_interval(days => %s))",
            stream_id,
            days,
        )
    want(world.pool, "c")
    run(world.pool, "update stream set created_at = now() - interval '99 days' where stream_id = 'c'")
    assert world.prune() == {"stream": 1}
    assert world.all("select stream_id from stream") == ["b", "c"]


def test_arrivals_are_remembered_for_as_long_as_the_queue_may_repeat_them(world: World) -> None:
    want(world.pool, "on", source="medialive")
    world.ended("over", days=16)
    for key, stream_id in (("heard", "on"), ("unheard", "on"), ("late", "over"), ("homeless", None), ("removed", "gone")):
        run(world.pool, "insert into inbox (stream_id, bucket, key, arrived_at) values (%s, 'b', %s, now() - interval '15.1 days')", stream_id, key)
    run(world.pool, "update inbox set heard_at = now() where key = 'heard'")
    run(world.pool, "insert into inbox (bucket, key, arrived_at, heard_at) values ('b', 'young', now() - interval '14.9 days', now())")
    assert world.prune() == {"inbox": 4}
    assert world.all("select key from inbox") == ["unheard", "young"]


def test_channels_and_sweeps_that_nobody_speaks_of_any_more_go(world: World) -> None:
    for arn, days in (("old", 16), ("busy", 16), ("young", 14)):
        run(world.pool, "insert into medialive_channel values (%s, now() - make_interval(days => %s + 3), now() - make_interval(days => %s))", arn, days, days)
    want(world.pool, "run", source="medialive", channel_arn="busy")
    run(world.pool, "insert into sweep values ('once there was', now() - interval '16 days')")
    assert world.prune() == {"medialive_channel": 1, "sweep": 1}
    assert world.all("select channel_arn from medialive_channel") == ["busy", "young"]
    assert world.all("select kind from sweep") == ["retention"]


def test_batches_are_small_and_go_on_until_all_is_gone(world: World) -> None:
    world.ended("old", days=500, plays=25, evidence=True)
    for n in range(7):
        world.ended(f"s{n}", days=500)
    assert world.prune(batch=10) == {"evidence": 25, "play": 25, "stream": 8}
    assert all(rows <= 10 for _, rows in world.counted.batches)
    assert [rows for table, rows in world.counted.batches if table == "play"][:3] == [10, 10, 5]
    assert world.counted.rows == {"evidence": 25, "play": 25, "stream": 8, "outbox": 0, "inbox": 0, "medialive_channel": 0, "recording": 0, "sweep": 0}


def test_a_stop_ends_it_after_a_batch(world: World) -> None:
    world.ended("old", days=500, plays=30)
    world.stop.set()
    assert world.prune(batch=10) == {"evidence": 10, "play": 10}


def test_a_turn_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCHES_MAX", 2)
    world.ended("old", days=500, plays=30)
    assert world.prune(batch=10) == {"evidence": 20, "play": 20}


def test_one_worker_of_all_has_the_turn(world: World) -> None:
    assert world.prune() == {}
    assert world.retention().prune() is None


def test_a_row_that_somebody_has_locked_is_not_waited_for(world: World, dsn: str) -> None:
    world.ended("busy", days=500)
    world.ended("old", days=500)
    with psycopg.connect(dsn) as other:
        other.execute("select from stream where stream_id = 'busy' for update")
        assert world.prune() == {"stream": 1}
    assert world.prune() == {"stream": 1}


def test_a_bucket_that_does_not_answer_keeps_the_evidence_until_it_does(world: World) -> None:
    world.ended("old", days=31, plays=1)
    world.ended("older", days=401)
    world.bucket.error = AwsUnavailable("s3:DeleteObject failed for now")
    assert world.prune() == {"stream": 1}  # what has nothing to do with it goes
    assert world.counted.failed == 1
    world.bucket.error = None
    assert world.prune() == {"evidence": 1}


def test_a_bucket_that_refuses_is_told_once_and_what_is_here_goes(world: World) -> None:
    for n in range(4):
        world.ended(f"s{n}", days=31, plays=1)
    world.bucket.error = AwsRefused("s3:DeleteObject of it was refused: AccessDenied; allow s3:DeleteObject in the role's policy")
    with capture_logs() as logs:
        assert world.prune(batch=2) == {"evidence": 4}
    (line,) = [line for line in logs if line["event"] == "retention.failed"]
    assert line["reason"].endswith("allow s3:DeleteObject in the role's policy; or give the bucket a lifecycle rule")
    assert world.counted.failed == 2  # the last, empty batch asks nothing


def test_a_table_that_cannot_be_pruned_keeps_no_other_from_it(world: World, dsn: str) -> None:
    world.ended("old", days=500)
    world.owe("other", dead_days=99)
    with psycopg.connect(dsn) as blocker, capture_logs() as logs:
        blocker.execute("lock table medialive_channel")
        run(world.pool, f"alter database {blocker.info.dbname} set lock_timeout = '100ms'")
        with pool_of(dsn) as impatient:
            world.pool = impatient
            assert world.prune() == {"outbox": 1, "stream": 1}
    assert [line["what"] for line in logs if line["event"] == "retention.failed"] == ["medialive_channel"]


def test_a_database_that_is_away_is_told_once_and_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    retention = world.retention(every_s=600)

    def away() -> None:
        raise DatabaseUnavailable("the database is away")

    monkeypatch.setattr(retention, "prune", away)
    waits: list[float | None] = []

    class AfterThree(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout)
            if len(waits) == 3:
                self.set()
            return self.is_set()

    retention._stop = AfterThree()
    with capture_logs() as logs:
        retention.run()
    assert waits == [600] * 3
    assert [line["event"] for line in logs] == ["retention.failed"]
    assert world.counted.failed == 3


def test_the_age_of_the_oldest_is_told_by_every_worker(world: World) -> None:
    world.retention().tell_ages()
    assert world.counted.ages_days == dict.fromkeys(["stream", "evidence", "inbox", "outbox", "medialive_channel", "kept"], 0)
    world.ended("a", days=12, plays=1)
    world.ended("b", days=3)
    world.owe("c", dead_days=2)
    world.owe("c")
    run(world.pool, "insert into inbox (bucket, key, arrived_at) values ('b', 'k', now() - interval '5 days')")
    run(world.pool, "insert into medialive_channel values ('arn', now() - interval '9 days')")
    run(world.pool, "insert into kept_block values ('a', 0, 1, null, 2, '', '', now() - interval '4 days')")
    world.retention().tell_ages()
    assert world.counted.ages_days == {"stream": 12, "evidence": 12, "inbox": 5, "outbox": 2, "medialive_channel": 9, "kept": 4}


@pytest.mark.parametrize(
    "query, table",
    [
        (module._SESSIONS, "stream"),
        (module._UNANNOUNCED, "stream"),
        (module._EVIDENCE, "play"),
        (module._INBOX, "inbox"),
        (module._OUTBOX, "outbox"),
        (module._AGES, "(stream|play|inbox|outbox|kept_block)"),
        (module._KEPT.format("kept_block"), "kept_block"),
        (module._KEPT.format("kept_group"), "kept_group"),
    ],
    ids=["sessions", "unannounced", "evidence", "inbox", "outbox", "ages", "kept", "kept in groups"],
)
def test_a_big_table_is_not_read_as_a_whole(pool: Pool, query: str, table: str) -> None:
    """Twenty thousand rows of each, of which a few are too old."""
    for into, row in (
        ("stream (stream_id, source, wanted_at, state, ended_at)", "'s' || n, 'ivs', now(), 'ended', {at}"),
        (
            "play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, fencing, updated_at, evidence)",
            "'h' || n, 's' || n, 't', 1, 'closed', 0, 1, '{{}}', 1, {at}, '{{}}'",
        ),
        ("inbox (bucket, key, arrived_at, heard_at)", "'b', 'k' || n, {at}, now()"),
        ("outbox (stream_id, target, key, revision, body, dead_at)", "'s', 's3', 'k' || n, 1, '', {at}"),
        ("kept_block", "'s', n, 1, null, 2, '', '', {at}"),
        ("kept_group", "'s', n, 0, 1, 2, '', {at}"),
    ):
        run(pool, f"insert into {into} select {row.format(at=AT)} from generate_series(1, 20000) n")
    run(pool, "insert into stream (stream_id, source) values ('unannounced', 'ivs')")
    run(pool, "analyze stream, play, inbox, outbox, kept_block, kept_group")
    plan = _plan(pool, query)
    scans = [line for line in plan if re.search(rf"Seq Scan on {table}\b", line)]
    assert scans == [], "\n".join(plan)
    assert any("Index" in line for line in plan)


def _plan(pool: Pool, query: str) -> list[str]:
    with pool.connection() as connection:
        parameters = {"days": 13, "batch": 500, "sessions": 50}
        return [line for (line,) in connection.execute(f"explain {query}".encode(), parameters)]


def test_evidence_is_erased_from_the_bucket_and_nothing_else_is(world: World, aws: AwsStandIn) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="results")
    place = Place(bucket="results", prefix="eu/", stream_id="old")
    for key in (place.evidence_key("old-1"), place.hit_key("old-1"), place.evidence_key("other")):
        s3.put_object(Bucket="results", Key=key, Body=b"{}")
    world.ended("old", days=31, plays=2)  # of the second nothing is there (any more)
    world.bucket = Results(s3=s3, bucket="results", prefix="eu/")  # type: ignore[assignment]
    assert world.prune() == {"evidence": 2}
    left = [entry["Key"] for entry in s3.list_objects_v2(Bucket="results")["Contents"]]
    assert sorted(left) == sorted([place.hit_key("old-1"), place.evidence_key("other")])


def test_a_session_that_goes_on_elsewhere_is_not_disturbed(world: World) -> None:
    """Pruning beside a worker that claims, hears and ends."""
    world.ended("old", days=500, plays=5)
    want(world.pool, "st-1")
    (lease,) = leases_of(world.pool, "one").claim(1)
    assert world.prune() == {"stream": 1, "play": 5, "evidence": 5}
    assert world.all("select owner from stream where stream_id = 'st-1'") == [lease.owner]
