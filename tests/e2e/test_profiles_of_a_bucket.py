"""The whole way: an object put into the bucket, a daemon with the roles catalogue and api, and what the recording is like at the command line and over HTTP."""

import http.client
import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from api_served import Answer, held_to_the_document
from media_bucket import Media
from profile_sounds import song, written
from service_daemon import log_lines, until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_what_an_object_is_like_is_measured_and_told(media: Media, tmp_path: Path) -> None:
    port = free_port()

    def asked() -> Any:
        path = f"/v1/tracks/{quote('key:song.flac')}"
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            response = connection.getresponse()
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        held_to_the_document("GET", path, answer)
        return answer.document

    token = media.earmark("tokens", "add", "reader", "--scope", "catalogue:read").stdout.strip()
    data = written(tmp_path / "song.flac", song(tonic=6, mode="minor", bpm=96, seconds=30), 16_000).read_bytes()
    changed = {"EARMARK_CATALOGUE__PROFILES": "true", "EARMARK_API__HOST": "127.0.0.1", "EARMARK_API__PORT": str(port)}
    with media.worker("catalogue,api", **changed) as worker:
        media.put("song.flac", data)
        until(lambda: asked().get("profile", {}).get("version"), "it is measured", worker, limit_s=180)
        profile = asked()["profile"]
        assert 'earmark_profiles_total{outcome="measured"} 1.0' in worker.metrics()
    assert profile == json.loads(media.earmark("catalogue", "show", "key:song.flac").stdout)["profile"]
    assert (profile["key"], profile["mode"], profile["tempo_bpm"]) == ("F#", "minor", pytest.approx(96, abs=1))
    assert profile["loudness_lufs"] < -6 and profile["sound_s"] == pytest.approx(30, abs=0.5) and profile["music_share"] > 0.8 > profile["speech_share"]
    assert "AGPL" in profile["not_computed"]["danceability"] and "loudness_lufs" not in profile["not_computed"]
    assert "catalogue.profile_measured" in {line["event"] for line in log_lines(media.log)}
