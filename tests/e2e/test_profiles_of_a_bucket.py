"""The whole way: an object put into the bucket, a daemon with the roles catalogue and api, and what the recording is like at the command line and over HTTP."""

import http.client
import json
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api_served import Answer, held_to_the_document
from earmark.local.aws import AwsStandIn
from earmark.local.worker import Worker
from profile_sounds import song, written
from service_daemon import log_lines, until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_an_object_is_like_is_measured_and_told(aws: AwsStandIn, dsn: str, tmp_path: Path) -> None:
    deployed, port = aws.deploy(), free_port()
    environment = {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_CATALOGUE__PLACE": f"s3://{deployed.media_bucket}/catalogue/",
        "EARMARK_API__HOST": "127.0.0.1",
        "EARMARK_API__PORT": str(port),
    }

    def earmark(*arguments: str) -> str:
        command = [sys.executable, "-m", "earmark.cli", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    def asked() -> Any:
        path = f"/v1/tracks/{quote('key:song.flac')}"
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        held_to_the_document("GET", path, answer)
        return answer.document

    token = earmark("tokens", "add", "reader", "--scope", "catalogue:read")
    data = written(tmp_path / "song.flac", song(tonic=6, mode="minor", bpm=96, seconds=30), 16_000).read_bytes()
    with Worker(environment=environment, log=tmp_path / "daemon.log", roles="catalogue,api") as worker:
        aws.client("s3").put_object(Bucket=deployed.media_bucket, Key="catalogue/song.flac", Body=data)
        until(lambda: asked().get("profile", {}).get("version"), "it is measured", worker, limit_s=180)
        profile = asked()["profile"]
        assert 'earmark_profiles_total{outcome="measured"} 1.0' in worker.metrics()
    assert profile == json.loads(earmark("catalogue", "show", "key:song.flac"))["profile"]
    assert (profile["key"], profile["mode"], profile["tempo_bpm"]) == ("F#", "minor", pytest.approx(96, abs=1))
    assert profile["loudness_lufs"] < -6 and profile["sound_s"] == pytest.approx(30, abs=0.5) and profile["music_share"] > 0.8 > profile["speech_share"]
    assert "AGPL" in profile["not_computed"]["danceability"] and "loudness_lufs" not in profile["not_computed"]
    assert "catalogue.profile_measured" in {line["event"] for line in log_lines(tmp_path / "daemon.log")}
