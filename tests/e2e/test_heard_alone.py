"""A stream whose owners died is heard in a process of its own; one that kills that too is set aside, and its neighbour hears nothing of it."""

import os
import signal
from pathlib import Path

import pytest

from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from service_daemon import catalogued, documents, environment_of, go_on_air, log_lines, programme, rows, run_sql, until

SUSPECT, POISONOUS, NEIGHBOUR = "st-suspect", "st-poisonous", "st-neighbour"

#: Its end is not known, nor its start, and two workers died of it: as if that had been long ago.
SUSPECTED = "insert into stream (stream_id, channel_arn, source, attempts) values (%s, %s, 'ivs', 2)"


def test_suspects_are_heard_alone_and_only_what_dies_there_is_set_aside(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    log = tmp_path / "daemon.log"
    with Origin() as origin:
        environment = {
            **environment_of(deployed, dsn, origin),
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_LEASES__RESTART_INITIAL_S": "0.1",
            "EARMARK_LEASES__RESTART_MAX_S": "0.1",
        }
        for stream_id in (SUSPECT, POISONOUS):
            run_sql(dsn, SUSPECTED, stream_id, f"arn:aws:ivs:us-east-1:123456789012:channel/channel-of-{stream_id}")
        with Worker(environment=environment, log=log) as worker:
            sound = programme(recording, begin_s=15, music_s=18)
            for stream_id in (NEIGHBOUR, SUSPECT, POISONOUS):
                go_on_air(aws, origin, stream_id, sound)
            killed: set[int] = set()
            while len(killed) < 3:
                until(lambda: alone(log, POISONOUS) - killed, "it is heard alone", worker)
                (pid,) = alone(log, POISONOUS) - killed
                os.kill(pid, signal.SIGKILL)  # as a decoder does that a segment makes crash
                killed.add(pid)
            until(lambda: rows(dsn, "select 1 from stream where state = 'quarantined'"), "it is set aside", worker)
            until(lambda: len(rows(dsn, "select 1 from stream where state = 'ended'")) == 2, "the others have ended", worker)
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
        kept = documents(aws, deployed)

    streams = {row.pop("stream_id"): row for row in rows(dsn, "select stream_id, state, fencing, attempts, deaths_alone from stream")}
    assert streams[NEIGHBOUR] == {"state": "ended", "fencing": 1, "attempts": 0, "deaths_alone": 0}
    assert streams[SUSPECT] == {"state": "ended", "fencing": 1, "attempts": 0, "deaths_alone": 0}
    assert streams[POISONOUS] == {"state": "quarantined", "fencing": 3, "attempts": 5, "deaths_alone": 3}
    assert len(alone(log, SUSPECT)) == 1
    for stream_id in (NEIGHBOUR, SUSPECT):
        coverage = kept[f"{stream_id}/stream.json"]["coverage"]
        assert (coverage["heard_s"], coverage["gap_s"]) == (pytest.approx(21, abs=0.2), 0)
        (hit,) = [document for key, document in kept.items() if key.startswith(f"{stream_id}/hits/")]
        assert hit["state"] == "closed"
    told = kept[f"{POISONOUS}/stream.json"]
    assert (told["state"], told["last_error"]) == ("quarantined", "the process that heard it alone died of signal 9")


def alone(log: Path, stream_id: str) -> set[int]:
    """Processes in which a stream was heard alone."""
    return {int(line["pid"]) for line in log_lines(log) if line["event"] == "session.alone" and line["stream_id"] == stream_id}
