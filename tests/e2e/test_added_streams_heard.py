"""Streams that somebody adds by hand, with a whole daemon and the AWS stand-in: a radio station, a playlist at an origin, one in a bucket."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from earmark.local import music
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from radio_station import MP3_FRAME_S, Air, Mount, RadioServer, mp3_frames
from service_daemon import archived, catalogued, documents, environment_of, log_lines, programme, rows, until

TITLE = "Ada Sample – Für Elise"


def typed(environment: dict[str, str], *argv: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EARMARK_", "AWS_"))}
    done = subprocess.run(
        [sys.executable, "-m", "earmark.cli", "streams", *argv], env={**kept, **environment}, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_radio_station_is_added_heard_with_its_titles_over_a_restart_and_stopped(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    on_air = programme(recording, begin_s=15, music_s=22, before_s=2, after_s=60)
    # A title comes a little late, as they do; and the server keeps more of the past than a restart takes.
    air = Air(frames=mp3_frames(on_air[None, :], music.RATE_HZ, kbps=64), frame_s=MP3_FRAME_S, titles=[(0, "News"), (4, TITLE), (24, "News")], burst_s=60)
    with RadioServer().running() as server, Origin() as origin:
        server.mounts["/live.mp3?token=t0ken"] = Mount(air=air, metaint=4_096)
        environment = {**environment_of(deployed, dsn, origin), "EARMARK_HLS__ALLOW_PRIVATE": server.host, "EARMARK_LEASES__RENEW_S": "1"}
        with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
            said = typed(environment, "add", server.url("/live.mp3?token=t0ken"), "--name", "radio", "--tag", "city=Graz")
            assert said == f"radio is added: radio at {server.url('/live.mp3')}?**********, heard from now on\n"
            server.begin = time.monotonic() - 10
            until(lambda: rows(dsn, "select 1 from play where state = 'open'"), "a play is open", worker)
            assert "radio-20" in typed(environment, "list")
            worker.stop()
            worker.start()
            until(lambda: rows(dsn, "select 1 from play where state = 'closed'"), "the play is over", worker)
            (session,) = rows(dsn, "select stream_id, source, state from stream")
            assert (session["source"], session["state"]) == ("radio", "running")
            assert typed(environment, "stop", "radio") == f"radio is stopped: {session['stream_id']} ends\n"
            until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the session has ended", worker)
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
            time.sleep(3)  # three rounds of the daemon, in which it does not come back
        kept = documents(aws, deployed)

    (stream,) = rows(dsn, "select state, end_reason, stop_reason, checkpoint->>'fetched_bytes' as fetched from stream")
    assert (stream["state"], stream["end_reason"], stream["stop_reason"]) == ("ended", "stream_end", "stopped")
    assert int(stream["fetched"]) > 50_000
    found = [document for key, document in kept.items() if "/hits/" in key]
    assert len(found) == 1, [one["query"] for one in found]
    (hit,) = found
    assert hit["reference"]["track_id"] == music.catalogue(1)[0].track.track_id
    assert (hit["state"], hit["stream"]["source"], hit["stream"]["now_playing"]) == ("closed", "radio", TITLE)
    assert (hit["stream"]["channel_name"], hit["stream"]["tags"], hit["detection"]["clock"]) == ("radio", {"city": "Graz"}, "arrival")
    assert hit["query"]["end_s"] - hit["query"]["begin_s"] == pytest.approx(22, abs=1)
    summary = kept[f"{session['stream_id']}/stream.json"]
    assert summary["stream"]["now_playing"] == "News"
    assert summary["rendition"] == "audio only, 128 kbit/s, mp3, Radio Example"  # as it says of itself
    # A restart costs nothing: what the server sends of the past is joined to what was heard.
    assert (summary["coverage"]["unaccounted_s"], summary["gaps"]) == (0, [])
    alerts = aws.client("sqs").receive_message(QueueUrl=deployed.alerts_queue_url, MaxNumberOfMessages=10)["Messages"]
    assert [json.loads(alert["Body"])["stream"]["source"] for alert in alerts] == ["radio"]
    log = log_lines(tmp_path / "daemon.log")
    # A restart that falls into the silence behind the music is joined by the clock, and nothing is heard twice either way.
    assert len([line for line in log if line["event"] == "radio.rejoined"]) == 1
    assert "t0ken" not in (tmp_path / "daemon.log").read_text(encoding="utf-8")


def test_playlists_of_an_origin_and_of_a_bucket_are_added_and_heard(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="packaged")
    files = archived(programme(recording, begin_s=15, music_s=20, before_s=2, after_s=8))
    with Origin() as origin:
        environment = {**environment_of(deployed, dsn, origin), "EARMARK_LEASES__RENEW_S": "1"}
        with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
            typed(environment, "add", "s3://packaged/show/live/index.m3u8", "--name", "show")
            broadcast = origin.publish("tv", programme(recording, begin_s=40, music_s=12), rate_hz=music.RATE_HZ)
            assert typed(environment, "add", broadcast.url, "--name", "tv", "--kind", "hls").startswith("tv is added: hls")
            for number in range(len(files)):
                s3.put_object(Bucket="packaged", Key=f"show/live/{number:06}.ts", Body=files[number])
                s3.put_object(Bucket="packaged", Key="show/live/index.m3u8", Body=_playlist(number + 1, over=number == len(files) - 1))
                time.sleep(0.5)
            until(lambda: len(rows(dsn, "select 1 from stream where state = 'ended'")) == 2, "both have ended", worker)
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
        kept = documents(aws, deployed)
    hits = {document["stream"]["channel_name"]: document for key, document in kept.items() if "/hits/" in key}
    assert {name: (hit["state"], hit["stream"]["source"]) for name, hit in hits.items()} == {"show": ("closed", "hls"), "tv": ("closed", "hls")}
    assert hits["show"]["query"]["end_s"] - hits["show"]["query"]["begin_s"] == pytest.approx(20, abs=1)
    assert "now_playing" not in hits["show"]["stream"]
    summaries = {document["stream"]["channel_name"]: document for key, document in kept.items() if key.endswith("/stream.json")}
    assert {name: (summary["end_reason"], summary["coverage"]["unaccounted_s"]) for name, summary in summaries.items()} == {
        "show": ("endlist", 0),
        "tv": ("endlist", 0),
    }
    assert summaries["show"]["gaps"] == []


def _playlist(count: int, *, over: bool) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
    for number in range(count):
        lines += ["#EXTINF:6.0,", f"{number:06}.ts"]
    return "\n".join([*lines, *(["#EXT-X-ENDLIST"] if over else [])]).encode() + b"\n"
