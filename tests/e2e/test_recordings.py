"""IVS's recordings, with a whole daemon: heard in place of the stream, for what was missed of it, and years of them by `earmark backfill`."""

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from earmark.local import music, sound
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from ivs_recorder import BUCKET, Recorder, encoded
from service_daemon import catalogued, documents, environment_of, go_on_air, log_lines, rows, until

STREAM = "st-recorded"


@pytest.fixture
def deployed(aws: AwsStandIn) -> Deployment:
    built = aws.deploy()
    aws.client("s3").create_bucket(Bucket=BUCKET)
    return built


def environment(deployed: Deployment, dsn: str, origin: Origin, **more: str) -> dict[str, str]:
    quick = {"EARMARK_LEASES__RENEW_S": "1", "EARMARK_QUEUE__WAIT_S": "1", "EARMARK_RECONCILE__EVERY_S": "2", "EARMARK_SESSION__END_GRACE_S": "2"}
    return {**environment_of(deployed, dsn, origin), **quick, **more}


def published(aws: AwsStandIn, deployed: Deployment, stream_id: str) -> tuple[dict, list[dict]]:
    kept = documents(aws, deployed)
    return kept[f"{stream_id}/stream.json"], [document for key, document in kept.items() if key.startswith(f"{stream_id}/hits/")]


def test_a_channel_is_heard_from_its_recording_without_a_viewer(dsn: str, aws: AwsStandIn, deployed: Deployment, tmp_path: Path) -> None:
    """The event of the recording comes before that of the stream; nothing is ever asked of the origin."""
    (track,) = catalogued(dsn)
    on_air = np.concatenate([sound.silence(2), track[20 * music.RATE_HZ : 38 * music.RATE_HZ], sound.silence(2)])
    with Origin() as origin:
        settings = environment(deployed, dsn, origin, EARMARK_AUTO_RECORD__END_GRACE_S="3")
        with Worker(environment=settings, log=tmp_path / "daemon.log") as worker:
            arn = aws.put_channel("recorded", playback_url="http://127.0.0.1:9/nobody-asks.m3u8", tags={"earmark:source": "recording"})
            media = encoded(on_air, segment_s=2)
            recorder = Recorder(s3=aws.client("s3"), channel_arn=arn, began=datetime.now(UTC), media=media).live()
            aws.go_live(arn, STREAM, "http://127.0.0.1:9/nobody-asks.m3u8")
            aws.put_recording_event(arn, [STREAM], "Recording Start", recorder.place)
            aws.put_stream_event(arn, STREAM, "Stream Start")
            until(lambda: rows(dsn, "select 1 from play where state = 'open'"), "a play is open while the stream is on", worker)
            recorder.join()
            aws.go_offline(arn)
            aws.put_stream_event(arn, STREAM, "Stream End")
            aws.put_recording_event(arn, [STREAM], "Recording End", recorder.place, duration_s=recorder.duration_s)
            until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the stream has ended", worker)
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
            metrics = worker.metrics()
    summary, (hit,) = published(aws, deployed, STREAM)
    assert (summary["source"], hit["stream"]["source"], summary["end_reason"]) == ("recording", "recording", "stream_end")
    assert summary["coverage"]["heard_s"] == pytest.approx(22, abs=0.2)
    assert (summary["coverage"]["gap_s"], summary["rendition"]) == (0, "640x360, recorded as 360p30")
    assert (hit["query"]["begin_s"], hit["query"]["end_s"]) == (pytest.approx(2, abs=0.5), pytest.approx(20, abs=1))
    assert hit["detection"]["clock"] == "program_date_time"
    assert 'earmark_cost_usd_total{kind="viewing"} 0.0' in metrics
    assert 'earmark_recording_seconds_total{of="stream"} 2' in metrics
    assert rows(dsn, "select count(*) from stream")[0]["count"] == 1  # it had no gaps


def test_if_no_recording_turns_up_the_stream_is_played_after_all(dsn: str, aws: AwsStandIn, deployed: Deployment, tmp_path: Path) -> None:
    (track,) = catalogued(dsn)
    on_air = np.concatenate([track[20 * music.RATE_HZ : 36 * music.RATE_HZ], sound.silence(2)])
    with Origin() as origin:
        settings = environment(deployed, dsn, origin, EARMARK_AUTO_RECORD__SOURCE="recording", EARMARK_AUTO_RECORD__WAIT_S="2")
        with Worker(environment=settings, log=tmp_path / "daemon.log") as worker:
            arn = go_on_air(aws, origin, STREAM, on_air)
            aws.put_recording_event(arn, [STREAM], "Recording Start", f"s3://{BUCKET}/nothing/lands/here")
            until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the stream has ended", worker)
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
            assert "earmark_recordings_absent_total 1.0" in worker.metrics()
    summary, (hit,) = published(aws, deployed, STREAM)
    assert (summary["source"], hit["stream"]["source"]) == ("ivs", "ivs")
    assert [line["instead"] for line in log_lines(tmp_path / "daemon.log") if line["event"] == "recording.absent"] == ["playback"]


def test_what_a_session_missed_is_heard_from_the_recording_when_that_has_ended(dsn: str, aws: AwsStandIn, deployed: Deployment, tmp_path: Path) -> None:
    """The playlist runs away from the session, in the midst of one play and past all of another."""
    tracks = catalogued(dsn, 2)
    first, second = (track[20 * music.RATE_HZ : 42 * music.RATE_HZ] for track in tracks)
    on_air = np.concatenate([sound.silence(1), first, sound.silence(2), second[: 16 * music.RATE_HZ], sound.silence(13)])
    ahead_s = 0.0
    with Origin(now=lambda: time.time() + ahead_s) as origin, Worker(environment=environment(deployed, dsn, origin), log=tmp_path / "daemon.log") as worker:
        arn = go_on_air(aws, origin, STREAM, on_air)
        began = datetime.fromtimestamp(origin._begins[STREAM], UTC)
        until(lambda: rows(dsn, "select 1 from play where state = 'open'"), "the first play is open", worker)
        ahead_s = 38.0
        aws.go_offline(arn)
        until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the stream has ended", worker)
        until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
        before, (cut,) = published(aws, deployed, STREAM)
        recorder = Recorder(s3=aws.client("s3"), channel_arn=arn, began=began, media=encoded(on_air, segment_s=5)).whole()
        for _ in range(2):
            aws.put_recording_event(arn, [STREAM], "Recording End", recorder.place, duration_s=recorder.duration_s)
        until(lambda: rows(dsn, "select 1 from stream where parent is not null and state = 'ended'"), "its gaps were heard", worker)
        until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
    after, hits = published(aws, deployed, STREAM)
    assert before["coverage"]["gap_s"] > 15
    assert (after["coverage"]["gap_s"], after["coverage"]["unaccounted_s"], after["gaps"]) == (0, 0, [])
    assert after["coverage"]["total_s"] == before["coverage"]["total_s"]
    assert after["updated_at"] > before["updated_at"]
    by_source = {hit["stream"]["source"]: hit for hit in hits}
    assert len(hits) == 2
    assert by_source["ivs"]["hit_id"] == cut["hit_id"]
    assert by_source["ivs"]["revision"] == cut["revision"] + 1
    assert by_source["ivs"]["query"]["end_s"] == pytest.approx(23, abs=0.7)
    assert cut["query"]["end_s"] < 19
    assert by_source["recording"]["reference"]["track_id"] == music.catalogue(2)[1].track.track_id
    assert (by_source["recording"]["query"]["begin_s"], by_source["recording"]["query"]["end_s"]) == (pytest.approx(25, abs=0.7), pytest.approx(41, abs=1))
    alerts = aws.client("sqs").receive_message(QueueUrl=deployed.alerts_queue_url, MaxNumberOfMessages=10)["Messages"]
    assert sorted(json.loads(alert["Body"])["hit_id"] for alert in alerts) == sorted(hit["hit_id"] for hit in hits)
    assert rows(dsn, "select count(*) from stream where parent is not null")[0]["count"] == 1


def test_an_archive_is_heard_by_command_once_and_its_cost_is_told_before(dsn: str, aws: AwsStandIn, deployed: Deployment, tmp_path: Path) -> None:
    (track,) = catalogued(dsn)
    arn = aws.put_channel("archived", recording_bucket=BUCKET)
    on_air = np.concatenate([sound.silence(3), track[20 * music.RATE_HZ : 40 * music.RATE_HZ], sound.silence(3)])
    media, began = encoded(on_air, segment_s=6), datetime(2026, 3, 9, 21, 7, 30, tzinfo=UTC)
    for day in range(3):
        Recorder(s3=aws.client("s3"), channel_arn=arn, began=began + timedelta(days=day), media=media, recording_id=f"rec{day}").whole()
    with Origin() as origin:
        settings = environment(deployed, dsn, origin)

        def typed(*words: str) -> subprocess.CompletedProcess[str]:
            kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EARMARK_"))}
            command = [sys.executable, "-m", "earmark.cli", "backfill", *words]
            return subprocess.run(command, env={**kept, **settings}, capture_output=True, text=True, timeout=90, check=False)

        dry = typed(arn, "--from", "2026-03-10", "--dry-run")
        assert dry.returncode == 0, dry.stderr
        assert "2 recordings to be heard, 0.01 hours: some US$ 0.00" in dry.stdout
        assert dry.stdout.count("all of it") == 2
        assert "rec0" not in dry.stdout
        assert rows(dsn, "select * from stream") == []

        with Worker(environment=settings, log=tmp_path / "daemon.log") as worker:
            done = typed(arn, "--from", "2026-03-10")
            assert done.returncode == 0, done.stderr
            assert "2 sessions heard, 0.01 hours; 0 failed" in done.stdout
            again = typed(f"s3://{BUCKET}/ivs", "--from", "2026-03-10")
            assert again.stdout.count("nothing: it was heard") == 2
            assert "nothing is left to be heard" in again.stdout
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
    summary, (hit,) = published(aws, deployed, "archived-20260310T210730Z-rec1")
    assert (summary["source"], summary["state"], hit["stream"]["source"], hit["stream"]["channel_arn"]) == ("recording", "ended", "recording", arn)
    assert summary["coverage"]["heard_s"] == pytest.approx(26, abs=0.2)
    assert datetime.fromisoformat(hit["started_at"]) == pytest.approx(began + timedelta(days=1, seconds=3), abs=timedelta(seconds=0.6))
    assert "Messages" not in aws.client("sqs").receive_message(QueueUrl=deployed.alerts_queue_url)  # of last year's streams nobody is told by mail
