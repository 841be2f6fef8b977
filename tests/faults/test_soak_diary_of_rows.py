"""The triggers of a run note what was committed, by whom, and nothing that was not; what they note convicts a stale writer."""

import psycopg
import pytest

from faults import audit, diary_of_rows
from faults.diary_of_rows import OutboxSeen, PlaySeen, StreamSeen
from faults.evidence import Evidence


@pytest.fixture
def watched(dsn: str) -> str:
    diary_of_rows.install(dsn)
    with connected(dsn, "earmark intake") as connection:
        connection.execute("insert into stream (stream_id, source, wanted_at) values ('st-1', 'ivs', now())")
    return dsn


def connected(dsn: str, name: str) -> psycopg.Connection:
    return psycopg.connect(dsn, autocommit=True, application_name=name)


CLAIM = "update stream set owner = %s, lease_until = now() + interval '1 hour', state = 'running', fencing = fencing + 1 where stream_id = 'st-1'"
CHECKPOINT = """{"position_s": 30, "heard_s": 26, "clock": "2026-11-20T10:00:30Z",
  "gaps": [{"begin_s": 2, "end_s": 3, "reason": "late"}, {"begin_s": 27, "end_s": 30, "reason": "worker_lost"}]}"""
COMMIT = "update stream set checkpoint = %s::jsonb where stream_id = 'st-1'"
PLAY = """insert into play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, fencing)
          values ('hit-a', 'st-1', 'isrc:A', 1, 'open', 2, 12, '{}', %s)"""


def evidence(dsn: str) -> Evidence:
    return Evidence(
        stream_seen=diary_of_rows.read(dsn, StreamSeen), play_seen=diary_of_rows.read(dsn, PlaySeen), outbox_seen=diary_of_rows.read(dsn, OutboxSeen)
    )


def test_what_a_stream_goes_through(watched: str) -> None:
    with connected(watched, "earmark w1") as one:
        one.execute(CLAIM, ["w1"])
        one.execute(COMMIT, [CHECKPOINT])
        one.execute("update stream set lease_until = now() + interval '2 hours'")  # a renewal is nothing to note
        one.execute("update stream set owner = null, lease_until = null, state = 'ended'")
    seen = evidence(watched).stream_seen
    assert [(each.what, each.writer, each.owner) for each in seen] == [
        ("wanted", "earmark intake", None),
        ("claim", "earmark w1", "w1"),
        ("commit", "earmark w1", "w1"),
        ("release", "earmark w1", None),
        ("ended", "earmark w1", None),
    ]
    commit = seen[2]
    assert (commit.position_s, commit.heard_s, commit.gap_s, commit.fencing) == (30, 26, 4, 1)
    assert commit.clock
    assert seen[3].old_owner == "w1"
    assert audit.stale_writes(evidence(watched)) == []


def test_what_was_rolled_back_is_not_noted(watched: str) -> None:
    with connected(watched, "earmark w1") as one, one.transaction(force_rollback=True):
        one.execute(CLAIM, ["w1"])
        one.execute(PLAY, [1])
    assert [each.what for each in evidence(watched).stream_seen] == ["wanted"]
    assert evidence(watched).play_seen == []


def test_a_stale_writer_is_convicted_by_its_connection(watched: str) -> None:
    with connected(watched, "earmark w1") as one, connected(watched, "earmark w2") as two:
        one.execute(CLAIM, ["w1"])
        two.execute(CLAIM, ["w2"])
        one.execute(COMMIT, [CHECKPOINT])  # as a product without fencing would
        one.execute(PLAY, [1])
    of_stream, of_play = audit.stale_writes(evidence(watched))
    assert "a checkpoint of earmark w1, while w2 had the lease (fencing 2)" in of_stream
    assert "earmark w1 wrote revision 1 with fencing 1, w2 had 2" in of_play
    assert len(audit.stolen(evidence(watched))) == 1


def test_what_is_queued_and_what_replaces_it(watched: str) -> None:
    with connected(watched, "earmark w1") as one:
        one.execute("insert into outbox (stream_id, target, key, revision, body) values ('st-1', 's3', 'k', 1, 'one')")
        one.execute("update outbox set taken_until = now(), attempts = 1")
        one.execute("update outbox set body = 'two', revision = 2")
        one.execute("insert into outbox (stream_id, target, key, revision, body) values ('st-1', 'sns', 'hit-a', 1, 'mail')")
    assert [(each.target, each.key, each.revision, each.body) for each in evidence(watched).outbox_seen] == [
        ("s3", "k", 1, ""),
        ("s3", "k", 2, ""),
        ("sns", "hit-a", 1, "mail"),
    ]
    first, second, _ = evidence(watched).outbox_seen
    assert first.digest != second.digest
