"""Two daemons, one queue, twenty streams that start and stop: each is heard once and ended, whichever daemon got which message."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import psycopg
import pytest

from earmark.local import music, sound
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from service_daemon import catalogued

STREAMS = 20
#: Of music; the second half of the streams is stopped by an event.
MUSIC_S = 24
LIMIT_S = 120


@pytest.fixture
def pieces(dsn: str) -> list[np.ndarray]:
    """Two generated recordings, in the catalogue, as samples."""
    return catalogued(dsn, 2)


@contextmanager
def two_workers(dsn: str, deployed: Deployment, origin: Origin, folder: Path) -> Iterator[list[Worker]]:
    environment = {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_HLS__ALLOW_PRIVATE": origin.address,
        "EARMARK_LEASES__RENEW_S": "1",
        "EARMARK_LEASES__STREAMS_MAX": "15",  # neither could take all twenty alone
        "EARMARK_SESSION__END_GRACE_S": "4",
        "EARMARK_QUEUE__WAIT_S": "2",
    }
    with ExitStack() as stack:
        workers = [Worker(environment={**environment, "EARMARK_LEASES__WORKER": name}, log=folder / f"{name}.log") for name in ("one", "two")]
        yield [stack.enter_context(worker) for worker in workers]


def test_each_stream_is_heard_once_and_ended(dsn: str, aws: AwsStandIn, pieces: list[np.ndarray], tmp_path: Path) -> None:
    deployed = aws.deploy()
    with Origin() as origin, psycopg.connect(dsn, autocommit=True) as watch:
        silence = sound.silence(12)
        on_air = [np.concatenate([silence[: music.RATE_HZ], piece[15 * music.RATE_HZ : (15 + MUSIC_S) * music.RATE_HZ], silence]) for piece in pieces]
        with two_workers(dsn, deployed, origin, tmp_path) as workers:
            channels = [_start(aws, origin, n, on_air[n % 2]) for n in range(STREAMS)]
            _until(lambda: _count(watch, "select count(*) from stream where heard_at is not null") == STREAMS, "all streams are listened to", workers)
            owners = watch.execute("select owner, count(*) from stream where owner is not null group by owner").fetchall()
            assert {owner for owner, _ in owners} == {"one", "two"}
            _until(lambda: _count(watch, "select count(*) from play where state <> 'provisional'") == STREAMS, "something is heard in each", workers)
            for n in range(STREAMS // 2, STREAMS):
                aws.put_stream_event(channels[n], f"st-{n:02d}", "Stream End")
            _until(lambda: _count(watch, "select count(*) from stream where state = 'ended'") == STREAMS, "all streams have ended", workers)
            _until(lambda: _count(watch, "select count(*) from outbox") == 0, "everything has left", workers)

        streams = watch.execute("select stream_id, fencing, end_reason from stream order by stream_id").fetchall()
        assert [(stream_id, fencing) for stream_id, fencing, _ in streams] == [(f"st-{n:02d}", 1) for n in range(STREAMS)]
        assert {reason for _, _, reason in streams[: STREAMS // 2]} == {"endlist"}
        assert {reason for _, _, reason in streams[STREAMS // 2 :]} <= {"stream_end", "endlist"}
        plays = watch.execute("select stream_id, track_id, hit_id, state from play order by stream_id").fetchall()
        expected = [piece.track.track_id for piece in music.catalogue(2)]
        assert [(stream_id, track_id) for stream_id, track_id, _, _ in plays] == [(f"st-{n:02d}", expected[n % 2]) for n in range(STREAMS)]
        assert {state for *_, state in plays} == {"closed"}
        assert sorted(_hit_keys(aws, deployed)) == sorted(f"{stream_id}/hits/{hit_id}.json" for stream_id, _, hit_id, _ in plays)
        ends = ["stream over: 1 play" in mail.subject for mail in aws.mails()]
        assert (ends.count(False), ends.count(True)) == (STREAMS, STREAMS)


def _start(aws: AwsStandIn, origin: Origin, number: int, samples: np.ndarray) -> str:
    name = f"channel-{number:02d}"
    broadcast = origin.publish(name, samples, rate_hz=music.RATE_HZ)
    channel_arn = aws.put_channel(name)
    aws.go_live(channel_arn, f"st-{number:02d}", broadcast.url)
    aws.put_stream_event(channel_arn, f"st-{number:02d}", "Stream Start")
    return channel_arn


def _count(connection: psycopg.Connection, query: str) -> int:
    row = connection.execute(query).fetchone()
    assert row
    return row[0]


def _until(condition, what: str, workers: list[Worker]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        for worker in workers:
            worker.check()
        assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
        time.sleep(0.25)


def _hit_keys(aws: AwsStandIn, deployed: Deployment) -> list[str]:
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=deployed.results_bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", ()) if "/hits/" in entry["Key"]]
