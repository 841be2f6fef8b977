"""What proves a hit goes on record with it, leaves with it, and is shown by `earmark hits explain` from the database alone."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from psycopg.rows import dict_row

import hits_samples as samples
from earmark.cli import main
from earmark.errors import LeaseLost
from earmark.hits.ledger import Ledger
from earmark.model import Lease, Play
from earmark.postgres import Pool, transaction
from earmark.settings import Alerts, Results

proof = samples.explanation
TOLD = samples.play(state="provisional", explanation=proof(60.0))
OPEN = replace(TOLD, revision=2, state="open", explanation=proof(88.0))
CLOSED = replace(TOLD, revision=3, state="closed", explanation=None)


@pytest.fixture
def lease(pool: Pool) -> Lease:
    with transaction(pool) as connection:
        return samples.insert_stream(connection)


def ledger(pool: Pool, lease: Lease, *, bucket: str = "results") -> Ledger:
    return Ledger(
        pool=pool,
        lease=lease,
        tracks=samples.Catalogue(samples.TRACK),
        results=Results(bucket=bucket, prefix="eu/"),
        alerts=Alerts(),
        nudge=lambda: None,
        now=samples.Clock(),
    )


def rows(pool: Pool, query: str) -> list[dict[str, Any]]:
    with transaction(pool) as connection:
        return connection.cursor(row_factory=dict_row).execute(query.encode()).fetchall()


def waiting(pool: Pool, kind: str) -> list[dict[str, Any]]:
    return rows(pool, f"select key, revision, body::json from outbox where key like '%/{kind}/%' order by outbox_id")


def stored(pool: Pool) -> dict[str, Any]:
    (row,) = rows(pool, "select body, evidence, pg_column_size(evidence) as bytes from play")
    return row


def test_it_is_written_with_its_hit_which_names_it(pool: Pool, lease: Lease) -> None:
    ledger(pool, lease).commit(samples.checkpoint(), [TOLD])

    (hit,), (evidence,) = waiting(pool, "hits"), waiting(pool, "evidence")
    samples.validator("hit").validate(hit["body"])
    samples.validator("evidence").validate(evidence["body"])
    text = rows(pool, "select body from outbox where key like '%/evidence/%'")[0]["body"].encode()
    assert hit["body"]["evidence"] == {"key": evidence["key"], "sha256": hashlib.sha256(text).hexdigest(), "bytes": len(text)}
    assert evidence["key"] == f"eu/{samples.STREAM.stream_id}/evidence/{TOLD.hit_id}.json"
    assert evidence["revision"] == evidence["body"]["revision"] == hit["revision"] == 1
    assert stored(pool)["evidence"] == evidence["body"]
    assert "evidence" not in (rows(pool, "select checkpoint::text as c from stream")[0]["c"])


def test_a_newer_one_takes_its_place_in_the_outbox_and_on_record(pool: Pool, lease: Lease) -> None:
    ledger(pool, lease).commit(samples.checkpoint(), [TOLD, OPEN])

    (evidence,) = waiting(pool, "evidence")
    assert (evidence["revision"], evidence["body"]["score"]["evidence_nats"], evidence["body"]["state"]) == (2, 88.0, "open")
    assert stored(pool)["evidence"] == evidence["body"]


def test_an_older_revision_and_a_repeat_change_nothing(pool: Pool, lease: Lease) -> None:
    ledger(pool, lease).commit(samples.checkpoint(), [OPEN])
    before = waiting(pool, "evidence")

    ledger(pool, lease).commit(samples.checkpoint(), [TOLD])
    ledger(pool, lease).commit(samples.checkpoint(), [OPEN])

    assert waiting(pool, "evidence") == before


def test_who_lost_the_lease_writes_none(pool: Pool, lease: Lease) -> None:
    with pytest.raises(LeaseLost):
        ledger(pool, replace(lease, fencing=0)).commit(samples.checkpoint(), [TOLD])

    assert waiting(pool, "evidence") == []


def test_a_new_owner_without_better_evidence_keeps_what_is_there(pool: Pool, lease: Lease) -> None:
    ledger(pool, lease).commit(samples.checkpoint(), [TOLD, OPEN])
    kept = stored(pool)["evidence"]

    ledger(pool, lease).commit(samples.checkpoint(), [CLOSED])

    now = stored(pool)
    assert (now["body"]["revision"], now["body"]["state"]) == (3, "closed")
    text = rows(pool, "select evidence::text as text from play")[0]["text"].encode()
    assert now["body"]["evidence"]["key"] == f"eu/{samples.STREAM.stream_id}/evidence/{TOLD.hit_id}.json"
    assert now["body"]["evidence"]["sha256"] == hashlib.sha256(text).hexdigest()
    assert now["evidence"] == kept
    assert [row["revision"] for row in waiting(pool, "evidence")] == [2]


def test_without_a_bucket_it_is_kept_and_not_named(pool: Pool, lease: Lease) -> None:
    ledger(pool, lease, bucket="").commit(samples.checkpoint(), [TOLD])

    assert stored(pool)["body"]["evidence"] == {}
    assert stored(pool)["evidence"]["revision"] == 1
    assert waiting(pool, "evidence") == []


def explain(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = main(["hits", "explain", *argv])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def on_record(pool: Pool, lease: Lease, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Play:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    ledger(pool, lease).commit(samples.checkpoint(), [TOLD, OPEN, CLOSED])
    return CLOSED


def test_it_is_drawn_for_a_terminal(on_record: Play, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = explain(capsys, on_record.hit_id)
    assert code == 0
    assert f"{on_record.hit_id} revision 3, closed; explained as of revision 2" in out
    assert "88.0 nats where 27.5 were asked for" in out
    assert "in cells of 32 ms (highest: 5)" in out
    assert "Blue Sky Morning" in out


def test_it_is_given_as_json(on_record: Play, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = explain(capsys, on_record.hit_id, "--json")
    assert code == 0
    document = json.loads(out)
    samples.validator("evidence").validate(document)
    assert document["matched"]["frequency_hz"][:2] == [1000.0, 1000.125]


@pytest.mark.parametrize("known", [True, False])
def test_a_hit_that_cannot_be_explained_is_one_sentence(known: bool, pool: Pool, lease: Lease, dsn: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    if known:
        ledger(pool, lease).commit(samples.checkpoint(), [replace(TOLD, explanation=None)])
    code, out, err = explain(capsys, TOLD.hit_id)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert ("nothing was kept that explains the hit" if known else "there is no hit") in err
