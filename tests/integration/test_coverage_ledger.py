"""heard + gaps = position, to the frame: what sessions count, and what PostgreSQL lets onto the record."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from control_rows import leases_of, row, rows, run, want
from earmark.control.leases import Outcome
from earmark.control.supervisor import Supervisor
from earmark.coverage import Coverage
from earmark.hits.ledger import Ledger
from earmark.local.database import create_database, database_dsn, drop_database
from earmark.model import FRAMES_PER_S, RATE_HZ, AudioChunk, Checkpoint, Gap, GapReason, Lease, Stretch
from earmark.postgres import Pool, migrate, shipped, transaction
from earmark.session import Signals
from earmark.settings import Alerts, Results
from earmark.settings import Leases as LeaseSettings
from hits_samples import Catalogue, Clock

WAIT_S = 20  # never reached by a test that passes
HALF_A_FRAME_S = 0.5 / FRAMES_PER_S
GAPS = (Gap(begin_s=10.0, end_s=12.5, reason="late"), Gap(begin_s=12.5, end_s=13.0, reason="skipped"), Gap(begin_s=60.0, end_s=64.0, reason="late"))
WHOLE = Checkpoint(state="listening", position_s=100.0, heard_s=93.0, gaps=GAPS)


@pytest.fixture(scope="module")
def kept(postgres_server: str, _template: str) -> Iterator[psycopg.Connection]:
    """One database for all examples: each writes the same row."""
    create_database(postgres_server, "coverage", template=_template)
    with psycopg.connect(database_dsn(postgres_server, "coverage"), autocommit=True) as connection:
        connection.execute("insert into stream (stream_id, source) values ('st-1', 'ivs')")
        yield connection
    drop_database(postgres_server, "coverage")


def put(connection: psycopg.Connection, text: str) -> None:
    connection.execute("update stream set checkpoint = %s::jsonb", [text])


# What a source and a decoder may come up with: any samples, after a gap of any length that a float can say.

_gaps_s = st.one_of(st.just(0.0), st.integers(1, 200_000).map(lambda n: n / RATE_HZ), st.floats(1e-6, 90_000, allow_nan=False))
_chunks = st.tuples(_gaps_s, st.sampled_from(get_args(GapReason)), st.integers(0, 40 * RATE_HZ), st.booleans())


@given(st.lists(_chunks, max_size=30), st.floats(0, 90_000))
def test_whatever_comes_of_a_stream_adds_up(kept: psycopg.Connection, pieces: list[tuple[float, GapReason, int, bool]], from_s: float) -> None:
    coverage = Coverage(Checkpoint(position_s=from_s, heard_s=from_s))
    silence = np.zeros(40 * RATE_HZ, np.float32)
    for gap_s, reason, samples, resumed in pieces:
        start_s = coverage.position_s + gap_s
        coverage.add(AudioChunk(samples=silence[:samples], start_s=start_s, gap_before_s=gap_s, gap_reason=reason))
        coverage.add_music(Stretch(begin_s=start_s, end_s=start_s + 1))
        checkpoint = _checkpoint(coverage)
        put(kept, checkpoint.to_json())
        if resumed:  # by another owner, from the record
            ((text,),) = kept.execute("select checkpoint::text from stream").fetchall()
            assert Checkpoint.from_json(text) == checkpoint
            coverage = Coverage(Checkpoint.from_json(text))


def _checkpoint(coverage: Coverage) -> Checkpoint:
    return Checkpoint(position_s=coverage.position_s, heard_s=coverage.heard_s, gaps=tuple(coverage.gaps), music=coverage.music)


def test_a_day_of_a_second_at_a_time_adds_up(kept: psycopg.Connection) -> None:
    coverage, samples = Coverage(Checkpoint()), np.zeros(8_011, np.float32)
    for n in range(86_400):
        coverage.add(AudioChunk(samples=samples, start_s=coverage.position_s, gap_before_s=0.1 if n % 50 == 0 else 0.0, gap_reason="late"))
    assert len(coverage.gaps) == 1_728
    put(kept, _checkpoint(coverage).to_json())


def _without(name: str, *, of: int) -> Callable[[dict[str, Any]], None]:
    return lambda checkpoint: checkpoint["gaps"][of].pop(name)


def _swapped(checkpoint: dict[str, Any]) -> None:
    checkpoint["gaps"].reverse()


_DOCTORED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "more heard": lambda c: c.update(heard_s=c["heard_s"] + 0.016),
    "less heard": lambda c: c.update(heard_s=c["heard_s"] - 0.02),
    "nothing heard": lambda c: c.pop("heard_s"),
    "moved on": lambda c: c.update(position_s=c["position_s"] + 0.5),
    "a gap lost": lambda c: c["gaps"].pop(1),
    "all gaps lost": lambda c: c.pop("gaps"),
    "a gap twice": lambda c: c["gaps"].append(c["gaps"][-1]),
    "a gap grown": lambda c: c["gaps"][0].update(end_s=12.6),
    "a gap moved into its neighbour": lambda c: c["gaps"][1].update(begin_s=12.0, end_s=12.5),
    "a gap before the session": lambda c: c["gaps"][0].update(begin_s=-1.0, end_s=1.5),
    "a gap behind its end": lambda c: c["gaps"][2].update(begin_s=98.0, end_s=102.0),
    "a gap turned about": lambda c: (c["gaps"][1].update(begin_s=13.0, end_s=12.5), c.update(heard_s=94.0)),
    "a gap of nothing": lambda c: c["gaps"].insert(1, {"begin_s": 12.5, "end_s": 12.5, "reason": "late"}),
    "gaps out of order": _swapped,
    "a gap without a reason": _without("reason", of=1),
    "a gap without an end": _without("end_s", of=2),
    "less than nothing heard": lambda c: (c.update(heard_s=-1.0, position_s=1.0), c.update(gaps=[{"begin_s": 0, "end_s": 2, "reason": "late"}])),
}


@pytest.mark.parametrize("doctored", _DOCTORED.values(), ids=_DOCTORED)
def test_what_does_not_add_up_does_not_get_onto_the_record(kept: psycopg.Connection, doctored: Callable[[dict[str, Any]], Any]) -> None:
    put(kept, WHOLE.to_json())
    checkpoint = json.loads(WHOLE.to_json())
    doctored(checkpoint)
    with pytest.raises(psycopg.errors.CheckViolation, match="stream_coverage"):
        put(kept, json.dumps(checkpoint))
    with pytest.raises(psycopg.errors.CheckViolation, match="stream_coverage"):
        kept.execute("insert into stream (stream_id, source, checkpoint) values ('st-2', 'ivs', %s::jsonb)", [json.dumps(checkpoint)])


@pytest.mark.parametrize("off_s", [-0.99 * HALF_A_FRAME_S, 0.99 * HALF_A_FRAME_S])
def test_less_than_half_a_frame_is_rounding(kept: psycopg.Connection, off_s: float) -> None:
    put(kept, replace(WHOLE, heard_s=WHOLE.heard_s + off_s).to_json())


@pytest.mark.parametrize("text", ["{}", '{"source_position": "7"}', None], ids=["empty", "carried on", "none"])
def test_a_session_that_has_not_begun_adds_up(kept: psycopg.Connection, text: str | None) -> None:
    kept.execute("update stream set checkpoint = %s::jsonb", [text])
    assert kept.execute("select accounted from stream").fetchall() == [(True,)]


def test_a_commit_that_does_not_add_up_leaves_nothing_behind(pool: Pool) -> None:
    want(pool, "st-1")
    (lease,) = leases_of(pool, "one").claim(1)
    ledger = _ledger(pool, lease)
    ledger.commit(WHOLE, [])
    before = rows(pool, "select checkpoint::text, heard_at from stream union all select body, created_at from outbox")
    with pytest.raises(psycopg.errors.CheckViolation):
        ledger.commit(replace(WHOLE, heard_s=90.0), [])
    assert rows(pool, "select checkpoint::text, heard_at from stream union all select body, created_at from outbox") == before


def _ledger(pool: Pool, lease: Lease) -> Ledger:
    return Ledger(pool=pool, lease=lease, tracks=Catalogue(), results=Results(bucket="results"), alerts=Alerts(), nudge=lambda: None, now=Clock())


class _Meter:
    def __init__(self) -> None:
        self.over: queue.Queue[str] = queue.Queue()

    def sessions(self, count: int) -> None: ...
    def waiting(self, waiting: object) -> None: ...
    def leases_lost(self, count: int) -> None: ...
    def renewed(self, *, took_s: float) -> None: ...
    def renewal_failed(self) -> None: ...

    def session_over(self, outcome: str) -> None:
        self.over.put(outcome)


class _Idle:
    busy_share = oldest_job_s = 0.0


def test_a_session_that_does_not_add_up_ends_loudly_and_is_to_blame(pool: Pool) -> None:
    """As any bug does: told as an error, on record with its stream, which is set aside when that goes on."""
    want(pool, "st-1")
    settings = LeaseSettings()
    stop, meter = threading.Event(), _Meter()

    def miscount(lease: Lease, signals: Signals) -> Outcome:
        _ledger(pool, lease).commit(replace(WHOLE, heard_s=1.0), [])
        raise AssertionError("it was let onto the record")

    supervisor = Supervisor(leases=leases_of(pool, "one"), run_session=miscount, load=_Idle(), settings=settings, meter=meter, stop=stop)
    with capture_logs() as logs:
        thread = threading.Thread(target=supervisor.run)
        thread.start()
        try:
            assert meter.over.get(timeout=WAIT_S) == "crashed"
        finally:
            stop.set()
            thread.join(WAIT_S)
    assert [line["log_level"] for line in logs if line["event"] == "session.crashed"] == ["error"]
    now = row(pool, "st-1")
    assert (now["owner"], now["checkpoint"], now["failures"]) == (None, None, 1)
    assert now["last_error"].startswith("a bug: CheckViolation: ")
    assert "stream_coverage" in now["last_error"]


def test_a_renewal_does_not_count_all_gaps_again(pool: Pool) -> None:
    """The function is asked when a checkpoint is written, and at no other time."""
    want(pool, "st-1")
    run(pool, "update stream set checkpoint = %s::jsonb", WHOLE.to_json())
    run(pool, "create or replace function coverage_adds_up(checkpoint jsonb) returns boolean language plpgsql immutable as $$ begin raise 'asked'; end $$")
    one = leases_of(pool, "one")
    (lease,) = one.claim(1)
    assert one.renew().lost == frozenset()
    with pytest.raises(psycopg.errors.RaiseException, match="asked"):
        _ledger(pool, lease).commit(WHOLE, [])


def test_what_was_on_record_before_is_kept_and_says_so(postgres_server: str) -> None:
    before = [migration for migration in shipped() if migration.number < 6]
    dsn = create_database(postgres_server, "coverage_before")
    try:
        migrate(dsn, migrations=before)
        with psycopg.connect(dsn, autocommit=True) as connection:
            for stream_id, heard_s in (("whole", 93.0), ("short", 80.0)):
                text = replace(WHOLE, heard_s=heard_s).to_json()
                connection.execute("insert into stream (stream_id, source, checkpoint) values (%s, 'ivs', %s::jsonb)", [stream_id, text])
        migrate(dsn)
        with psycopg.connect(dsn, autocommit=True) as connection:
            found = connection.execute("select stream_id, accounted, unaccounted_before from stream order by stream_id").fetchall()
            assert found == [("short", False, True), ("whole", True, False)]
            connection.execute("update stream set state = 'ended', ended_at = now()")  # what it could not, were it refused
            with pytest.raises(psycopg.errors.CheckViolation):
                connection.execute("update stream set checkpoint = jsonb_set(checkpoint, '{heard_s}', '1') where stream_id = 'whole'")
    finally:
        drop_database(postgres_server, "coverage_before")


def test_dump_and_restore_keep_the_constraint(pool: Pool) -> None:
    """A restore sets an empty search_path: the function may name nothing but what is PostgreSQL's own."""
    with transaction(pool) as connection:
        connection.execute("set local search_path = ''")
        connection.execute("insert into public.stream (stream_id, source, checkpoint) values ('st-1', 'ivs', %s::jsonb)", [WHOLE.to_json()])
    assert row(pool, "st-1")["accounted"]
