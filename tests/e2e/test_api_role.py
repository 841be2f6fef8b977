"""`earmark run --role api`, as it runs in production: by itself, beside the role that keeps the catalogue, and without its extra."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api_served import Answer, held_to_the_document, sent_to_s3
from earmark.local.aws import AwsStandIn
from earmark.local.worker import Worker
from index_audio import notes, write_flac
from service_daemon import log_lines, until


@dataclass
class Role:
    """A daemon that answers HTTP."""

    environment: dict[str, str]
    port: int
    log: Path

    def worker(self, roles: str = "api") -> Worker:
        return Worker(environment=self.environment, log=self.log, roles=roles)

    def earmark(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "earmark.cli", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

    def ask(self, method: str, path: str, token: str = "", body: Any = None, content_type: str = "application/json") -> Answer:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content_type}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body if body is None or isinstance(body, bytes) else json.dumps(body).encode(), headers)
            response = connection.getresponse()
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        held_to_the_document(method, path, answer)
        return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def role(dsn: str, tmp_path: Path) -> Role:
    port = free_port()
    environment = {"EARMARK_DATABASE__DSN": dsn, "EARMARK_API__HOST": "127.0.0.1", "EARMARK_API__PORT": str(port), "AWS_REGION": "us-east-1"}
    return Role(environment=environment, port=port, log=tmp_path / "daemon.log")


def test_it_starts_alone_without_a_queue_a_bucket_or_a_stream_and_answers_what_is_under_way_when_it_is_to_end(role: Role, tmp_path: Path):
    answers: list[Answer] = []
    clip = write_flac(tmp_path / "clip.flac", notes(1, 120)).read_bytes()
    token = role.earmark("tokens", "add", "reader", "--scope", "catalogue:read,streams:read,identify")
    with role.worker() as worker:
        assert role.ask("GET", "/healthz").document == {"status": "ok"}
        assert role.ask("GET", "/v1/tracks", token).document == {"tracks": [], "next": None}
        assert role.ask("GET", "/v1/streams", token).document == {"streams": [], "next": None}
        assert role.ask("GET", "/v1/tracks").status == 401
        assert 'earmark_api_requests_total{route="GET /v1/tracks",status="2xx"} 1.0' in worker.metrics()

        asking = threading.Thread(target=lambda: answers.append(role.ask("POST", "/v1/identify", token, clip, "audio/flac")))
        asking.start()
        until(lambda: "earmark_api_requests_running 1.0" in worker.metrics(), "it is being identified", worker)
        os.kill(worker.pid, signal.SIGTERM)
        until(lambda: is_refused(role.port), "no connection is taken any more")
        asking.join(60)
        assert [answer.status for answer in answers] == [200]
    lines = log_lines(role.log)
    assert {"api.listening", "service.started", "api.request", "service.stopped"} <= {line["event"] for line in lines}
    assert token not in role.log.read_text()


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def media(aws: AwsStandIn, role: Role) -> Iterator[Role]:
    deployed = aws.deploy()
    place = {"EARMARK_CATALOGUE__PLACE": f"s3://{deployed.media_bucket}/catalogue/", "EARMARK_CATALOGUE__PROFILES": "false"}
    role.environment |= {**deployed.environment(), **place, "EARMARK_QUEUE__WAIT_S": "1"}
    with role.worker("api,catalogue"):
        yield role


def test_a_recording_is_announced_sent_fingerprinted_identified_and_removed_and_what_is_none_is_rejected(media: Role, tmp_path: Path):
    token = media.earmark(
        "tokens", "add", "label", *(f"--scope={scope}" for scope in ("uploads:write", "catalogue:read", "catalogue:delete", "identify")), "--expires", "1"
    )
    song = write_flac(tmp_path / "song.flac", notes(1, 30)).read_bytes()
    said = {"title": "Song", "artists": ["One", "Two"], "isrc": ["GBAYE0601498"], "policy": "block", "territories": ["DE"]}
    new = {"file_name": "My song.flac", "content_type": "audio/flac", "size_bytes": len(song), "metadata": said}
    upload = media.ask("POST", "/v1/uploads", token, new).document
    assert sent_to_s3(upload["form"], song)[0] == 201
    path = "/v1/uploads/" + upload["upload_id"]
    until(lambda: media.ask("GET", path, token).document["state"] == "fingerprinted", "it is in the catalogue", limit_s=60)
    track_id = media.ask("GET", path, token).document["track_id"]
    shown = media.ask("GET", f"/v1/tracks/{track_id}", token).document["track"]
    assert {name: shown[name] for name in said} == said
    until(lambda: media.ask("POST", "/v1/identify", token, song, "audio/flac").document["matches"], "it is heard")
    (match,) = media.ask("POST", "/v1/identify", token, song, "audio/flac").document["matches"]
    assert (match["track_id"], match["track"]["artists"]) == (track_id, ["One", "Two"])
    carried = media.earmark("fingerprint", str(tmp_path / "song.flac"), "--json").encode()
    assert [match["track_id"] for match in media.ask("POST", "/v1/identify", token, carried).document["matches"]] == [track_id]

    zipped = media.ask("POST", "/v1/uploads", token, {"file_name": "song.mp3", "content_type": "audio/mpeg", "size_bytes": 2_000}).document
    assert sent_to_s3(zipped["form"], b"PK\x03\x04" + bytes(1_996))[0] == 201
    assert media.ask("DELETE", f"/v1/tracks/{track_id}", token).status == 204
    assert media.ask("GET", path, token).document["state"] == "removed"
    told = lambda: media.ask("GET", "/v1/uploads/" + zipped["upload_id"], token).document  # noqa: E731
    until(lambda: told()["state"] == "rejected", "what is no audio is rejected", limit_s=60)
    (reason,) = told()["reasons"]
    assert "not audio" in reason
    # The event of the removed object was behind that one.
    assert media.ask("GET", "/v1/tracks", token).document["tracks"] == []
    until(lambda: media.ask("POST", "/v1/identify", token, carried).document["matches"] == [], "it is not heard any more")


def test_without_the_extra_everything_else_works_and_the_role_says_what_to_install(role: Role):
    """In one process, in which none of the extra's packages can be imported."""
    program = """
import sys
sys.modules.update(dict.fromkeys(["anyio", "fastapi", "h11", "starlette", "uvicorn"]))
from earmark.cli import main
import earmark.library
assert main(["tokens", "list"]) == 0
sys.exit(main(["run", "--role", "api"]))
"""
    told = subprocess.run([sys.executable, "-c", program], env=role.environment, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout) == (2, "no tokens: `earmark tokens add NAME --scope SCOPE` makes one\n")
    assert re.search(r"^earmark: the role api needs (anyio|fastapi|uvicorn), which is not installed: install earmark\[api\]$", told.stderr, re.MULTILINE)
