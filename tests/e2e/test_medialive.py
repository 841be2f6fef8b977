"""A MediaLive channel from RUNNING to IDLE: archive files through S3, EventBridge and SQS, out of order and with one that never comes.

And the layout of people who have no channel to describe: files under a known prefix open the session themselves.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from earmark.local import music
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.worker import Worker
from hits_samples import validator
from service_daemon import FILE_S, archived, catalogued

LIMIT_S = 60


@pytest.fixture
def on_air(dsn: str) -> list[bytes]:
    """Forty-two seconds of a catalogued recording, as seven archive files."""
    (samples,) = catalogued(dsn)
    played = samples[10 * music.RATE_HZ : 52 * music.RATE_HZ]
    return archived(played)


@pytest.fixture
def deployed(aws: AwsStandIn) -> Deployment:
    return aws.deploy()


@pytest.fixture
def worker(dsn: str, deployed: Deployment, tmp_path: Path):
    environment = {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_LEASES__RENEW_S": "1",
        "EARMARK_QUEUE__WAIT_S": "1",
        "EARMARK_MEDIALIVE__GAP_WAIT_S": "3",
        "EARMARK_MEDIALIVE__END_GRACE_S": "3",
        "EARMARK_MEDIALIVE__ARCHIVES": json.dumps({f"s3://{deployed.archive_bucket}/songs_to_check/streams/": "*"}),
    }
    with Worker(environment=environment, log=tmp_path / "daemon.log") as running:
        yield running


def test_a_channel_with_a_lost_file_and_others_out_of_order(dsn: str, aws: AwsStandIn, deployed: Deployment, on_air: list[bytes], worker: Worker) -> None:
    channel_arn = aws.put_archive_channel("concert", f"s3ssl://{deployed.archive_bucket}/channel59/delivery/concert-", rollover_s=12)
    with psycopg.connect(dsn, autocommit=True) as watch:
        aws.put_medialive_event(channel_arn, "RUNNING")
        put = _putter(aws, deployed, "channel59/delivery/concert-20261121T120000")
        for counter in (1, 0, 2, 4, 5):  # 3 is never seen
            put(counter, on_air[counter])
        _until(watch, "select 1 from stream where (checkpoint->>'heard_s')::float > 4.5 * 6", "five files are heard", worker)
        aws.put_medialive_event(channel_arn, "IDLE")
        put(6, on_air[6])  # the last, shorter one is closed when the channel stops
        _until(watch, "select 1 from stream where state = 'ended'", "the session has ended", worker)
        _until(watch, "select 1 where not exists (select from outbox)", "everything has left", worker)
        ((stream_id, source, end_reason),) = watch.execute("select stream_id, source, end_reason from stream").fetchall()

    assert (source, end_reason) == ("medialive", "stream_end")
    summary = _document(aws, deployed, f"{stream_id}/stream.json", "stream")
    assert summary["coverage"]["heard_s"] == pytest.approx(36, abs=0.3)
    assert summary["coverage"]["gap_s"] == pytest.approx(FILE_S, abs=0.1)
    assert summary["coverage"]["unaccounted_s"] == 0
    assert [gap["reason"] for gap in summary["gaps"]] == ["segment_missing"]
    (line,) = summary["plays"]
    hit = _document(aws, deployed, f"{stream_id}/hits/{line['hit_id']}.json", "hit")
    evidence = _document(aws, deployed, hit["evidence"]["key"], "evidence")
    assert (evidence["hit_id"], evidence["revision"]) == (hit["hit_id"], hit["revision"])
    assert (hit["state"], hit["quotation"]) == ("closed", False)
    assert hit["query"]["begin_s"] == pytest.approx(0, abs=0.5)
    assert hit["query"]["end_s"] == pytest.approx(42, abs=1)
    assert hit["reference"]["begin_s"] - hit["query"]["begin_s"] == pytest.approx(10, abs=0.1)


def test_files_under_a_known_prefix_open_their_session_themselves(dsn: str, aws: AwsStandIn, deployed: Deployment, on_air: list[bytes], worker: Worker) -> None:
    put = _putter(aws, deployed, "songs_to_check/streams/lobby/recording")
    for counter, data in enumerate(on_air[:4]):
        put(counter, data)
    with psycopg.connect(dsn, autocommit=True) as watch:
        _until(watch, "select 1 from play where state = 'open'", "the recording is on record", worker)
        ((stream_id, track_id),) = watch.execute("select stream_id, track_id from play").fetchall()
    assert stream_id.startswith("lobby-")
    assert track_id == music.catalogue(1)[0].track.track_id


def _putter(aws: AwsStandIn, deployed: Deployment, base: str) -> Callable[[int, bytes], None]:
    s3 = aws.client("s3")
    return lambda counter, data: s3.put_object(Bucket=deployed.archive_bucket, Key=f"{base}.{counter:06d}.ts", Body=data)


def _document(aws: AwsStandIn, deployed: Deployment, key: str, schema: str) -> dict:
    body = aws.client("s3").get_object(Bucket=deployed.results_bucket, Key=key)["Body"].read()
    document = json.loads(body)
    validator(schema).validate(document)
    return document


def _until(watch: psycopg.Connection, query: str, what: str, worker: Worker) -> None:
    deadline = time.monotonic() + LIMIT_S
    while watch.execute(query).fetchone() is None:
        worker.check()
        assert time.monotonic() < deadline, f"not within {LIMIT_S} s: {what}"
        time.sleep(0.1)
