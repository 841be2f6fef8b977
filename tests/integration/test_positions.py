"""Positions of many streams on record by one statement: the newest counts, a foreign lease is told, and one bad row costs one session."""

from dataclasses import replace

import psycopg
import pytest
from structlog.testing import capture_logs

from control_rows import leases_of, row, rows, run, want
from earmark.errors import DatabaseUnavailable, LeaseLost
from earmark.hits.ledger import Ledger
from earmark.hits.positions import Positions
from earmark.model import Checkpoint, Lease
from earmark.postgres import Pool
from earmark.settings import Alerts, Results
from hits_samples import Catalogue, Clock, play


@pytest.fixture
def positions(pool: Pool) -> Positions:
    """Written when the test says so."""
    return Positions(pool=pool, worker="worker-1")


def at(position_s: float) -> Checkpoint:
    return Checkpoint(state="listening", position_s=position_s, heard_s=position_s)


def claimed(pool: Pool, *stream_ids: str) -> dict[str, Lease]:
    want(pool, *stream_ids)
    return {lease.stream.stream_id: lease for lease in leases_of(pool, "worker-1").claim(len(stream_ids))}


def on_record(pool: Pool) -> dict[str, float]:
    found = rows(pool, "select stream_id, checkpoint from stream where checkpoint is not null")
    return {one["stream_id"]: one["checkpoint"]["position_s"] for one in found}


def test_the_newest_position_of_each_stream_is_put_on_record_by_one_statement(pool: Pool, positions: Positions) -> None:
    claimed(pool, "st-1", "st-2", "st-3")
    assert [positions.put("st-1", 1, at(2)), positions.put("st-1", 1, at(4)), positions.put("st-2", 1, at(6))] == [0, 0, 0]
    assert on_record(pool) == {}
    positions.write()
    assert on_record(pool) == {"st-1": 4, "st-2": 6}
    one, other = rows(pool, "select xmin::text from stream where checkpoint is not null")
    assert one == other
    assert positions.put("st-1", 1, at(8)) == 4


def test_what_somebody_put_on_record_meanwhile_is_not_overwritten(pool: Pool, positions: Positions) -> None:
    claimed(pool, "st-1")
    positions.put("st-1", 1, at(4))
    run(pool, "update stream set checkpoint = %s::jsonb", at(10).to_json())
    positions.write()
    assert on_record(pool) == {"st-1": 10}


def test_a_lease_that_is_anothers_is_told_once_and_nothing_is_written(pool: Pool, positions: Positions) -> None:
    claimed(pool, "st-1", "st-2")
    for change in ("owner = 'worker-2'", "fencing = 7"):
        run(pool, f"update stream set {change} where stream_id = 'st-1'")
        positions.put("st-1", 1, at(2))
        positions.put("st-2", 1, at(2))
        positions.write()
        assert on_record(pool) == {"st-2": 2}
        with pytest.raises(LeaseLost, match=r"st-1 is not worker-1's any more \(fencing 1\)"):
            positions.put("st-1", 1, at(4))
        run(pool, "update stream set owner = 'worker-1'")


def test_a_stream_that_is_gone_is_not_ours(pool: Pool, positions: Positions) -> None:
    positions.put("st-9", 1, at(2))
    positions.write()
    with pytest.raises(LeaseLost):
        positions.put("st-9", 1, at(4))


def test_one_that_does_not_add_up_costs_its_own_session(pool: Pool, positions: Positions) -> None:
    claimed(pool, "st-1", "st-2", "st-3")
    positions.put("st-1", 1, at(2))
    positions.put("st-2", 1, replace(at(2), heard_s=1.0))
    positions.put("st-3", 1, at(2))
    positions.write()
    assert on_record(pool) == {"st-1": 2, "st-3": 2}
    with pytest.raises(psycopg.errors.CheckViolation):
        positions.put("st-2", 1, at(4))


def test_while_the_database_is_away_the_newest_is_kept_and_the_failure_is_told_once(pool: Pool, positions: Positions, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed(pool, "st-1", "st-2")
    update = positions._update

    def away(_noted: object) -> dict[str, bool]:
        raise DatabaseUnavailable("it is away")

    with monkeypatch.context() as gone, capture_logs() as logs:
        gone.setattr(positions, "_update", away)
        positions.put("st-1", 1, at(2))
        positions.put("st-2", 1, at(2))
        positions.write()
        assert positions.put("st-1", 1, at(6)) == 0
        positions.write()
    assert [line["event"] for line in logs] == ["positions.failed"]
    assert positions._update == update
    positions.write()
    assert on_record(pool) == {"st-1": 6, "st-2": 2}


def test_what_is_forgotten_is_not_written(pool: Pool, positions: Positions) -> None:
    claimed(pool, "st-1")
    positions.put("st-1", 1, at(2))
    positions.forget("st-1")
    positions.write()
    assert on_record(pool) == {}


def test_it_writes_by_itself_and_ends(pool: Pool) -> None:
    claimed(pool, "st-1")
    positions = Positions(pool=pool, worker="worker-1", every_s=0.01).start()
    position_s = 2.0
    while not (saved_s := positions.put("st-1", 1, at(position_s))):
        position_s += 2
    positions.close()
    assert 0 < saved_s <= row(pool, "st-1")["checkpoint"]["position_s"] <= position_s


# ------------------------------------------------------------------------------------------------ a ledger that notes


def ledger(pool: Pool, positions: Positions, lease: Lease, clock: Clock) -> Ledger:
    results = Results(bucket="results", summary_every_s=60)
    return Ledger(pool=pool, lease=lease, tracks=Catalogue(), results=results, alerts=Alerts(), nudge=lambda: None, now=clock, positions=positions)


def test_what_is_only_a_position_is_noted_and_all_else_is_committed(pool: Pool, positions: Positions) -> None:
    lease, clock = claimed(pool, "st-1")["st-1"], Clock()
    noted = ledger(pool, positions, lease, clock)
    assert noted.note(at(2)) == 2  # the first time `stream.json` is written
    assert noted.note(at(4)) == 0
    assert row(pool, "st-1")["checkpoint"]["position_s"] == 2
    noted.commit(at(6), [play()])
    positions.write()  # what was noted before is forgotten
    assert row(pool, "st-1")["checkpoint"]["position_s"] == 6
    assert noted.note(replace(at(8), rendition="audio only")) == 8
    clock.advance(60)
    assert noted.note(replace(at(10), rendition="audio only")) == 10
    assert noted.note(replace(at(12), rendition="audio only")) == 0


def test_after_a_failure_the_database_is_asked_what_it_knows(pool: Pool, positions: Positions) -> None:
    lease, clock = claimed(pool, "st-1")["st-1"], Clock()
    noted = ledger(pool, positions, lease, clock)
    noted.note(at(2))
    run(pool, "update stream set owner = 'worker-2'")
    with pytest.raises(LeaseLost):
        noted.commit(at(4), [])
    run(pool, "update stream set owner = 'worker-1'")
    assert noted.note(at(6)) == 6
