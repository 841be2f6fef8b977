"""No secret leaves by the way: a daemon at its most talkative, commands, and everything they leave behind, searched for each of them.

What is secret: the database's password, AWS keys and the session token, and tokens in the addresses of playlists and segments, which let anybody watch.
Things are made to fail on purpose, since it is errors that quote what they were given.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import make_conninfo

from audio_origin import Answer
from audio_origin import Origin as Faulty
from earmark.errors import BadSettings
from earmark.local import music
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.database import create_database, database_dsn, drop_database
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from earmark.settings import load
from service_daemon import catalogued, programme, rows, until

PASSWORD = "pw5ecret0fDatabase"
KEY, SESSION = "k3ySecret0fAws+/AbCd", "se55ionSecretToken=="
TOKENS = {
    "the played stream": "t0kenOfThePlayed",
    "the refused one": "t0kenOfTheRefused",
    "the failing one": "t0kenOfTheFailing",
    "the static one": "t0kenOfStatic",
}
USER = "passw0rdOfAUser"
#: What hits are signed with, and the path by which a receiver knows its senders.
SIGNING, HOOK = "c2VjcmV0T2ZUaGVXZWJob29rVG9CZUtlcHQ", "t0kenOfTheWebhook"
SECRETS = {"password": PASSWORD, "key": KEY, "session token": SESSION, **TOKENS, "user": USER, "signing secret": SIGNING, "webhook": HOOK}


@dataclass
class Said:
    """Everything that came out, by where it came from."""

    texts: dict[str, str] = field(default_factory=dict)

    def found(self) -> list[tuple[str, str]]:
        """Which secret is where."""
        return [(name, place) for name, secret in SECRETS.items() for place, text in self.texts.items() if secret in text]


def credentials(deployed: Deployment) -> dict[str, str]:
    return {**deployed.environment(), "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": SESSION}


def command(*argv: str, **environment: str) -> str:
    """What a command prints on both ways out, and that it was no bug."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EARMARK_", "AWS_"))}
    asked = [sys.executable, "-m", "earmark.cli", *argv]
    done = subprocess.run(asked, env={**kept, **environment}, capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def said(request: pytest.FixtureRequest, postgres_server: str, aws: AwsStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Said]:
    aws.reset()
    name = "test_security_secrets"
    create_database(postgres_server, name, template=request.getfixturevalue("_template"))
    try:
        yield lived(make_conninfo(database_dsn(postgres_server, name), password=PASSWORD), aws, tmp_path_factory.mktemp("said") / "daemon.log")
    finally:
        drop_database(postgres_server, name)


def lived(dsn: str, aws: AwsStandIn, log: Path) -> Said:
    """One stream is played, one is refused, one fails, one is the operator's own; then commands look at what is there."""
    said = Said()
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    with Origin() as origin, Faulty().running() as faulty:
        static = [{"name": "radio", "url": f"http://listener:{USER}@{faulty.host}/s.m3u8?token={TOKENS['the static one']}"}]
        environment = {
            **credentials(deployed),
            "EARMARK_DATABASE__DSN": dsn,
            "EARMARK_HLS__ALLOW_PRIVATE": f"{origin.address},{faulty.host}",
            "EARMARK_QUEUE__WAIT_S": "1",
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_LEASES__RESTART_INITIAL_S": "0.2",
            "EARMARK_STREAMS__STATIC": json.dumps(static),
            "EARMARK_LOG__LEVEL": "debug",
            # Of an origin that takes no POST.
            "EARMARK_WEBHOOK__MODE": "on",
            "EARMARK_WEBHOOK__URL": f"http://{faulty.host}/{HOOK}?token={HOOK}",
            "EARMARK_WEBHOOK__SECRET": f"whsec_{SIGNING}",
            "EARMARK_WEBHOOK__ALLOW_PRIVATE": faulty.host,
        }
        with Worker(environment=environment, log=log) as worker:
            put_on_air(aws, origin, faulty, recording)
            until(lambda: rows(dsn, "select 1 from stream where stream_id = 'st-failing' and last_error <> ''"), "the failing origin has failed", worker)
            until(lambda: rows(dsn, "select 1 from stream where stream_id = 'st-refused' and state = 'ended'"), "the refused one has ended", worker)
            until(lambda: rows(dsn, "select 1 from stream where source = 'hls' and state = 'ended'"), "the static one is refused", worker)
            aws.client("sns").delete_topic(TopicArn=deployed.topic_arn)  # what is left for it fails
            until(lambda: rows(dsn, "select 1 from stream where stream_id = 'st-played' and state = 'ended'"), "the played one has ended", worker)
            for target in ("sns", "webhook"):
                until(lambda target=target: rows(dsn, "select 1 from outbox where target = %s and last_error <> ''", [target]), f"{target} has failed", worker)
            said.texts["metrics"] = worker.metrics()
    said.texts["log"] = log.read_text(encoding="utf-8")
    gather(said, dsn, aws, deployed)
    look(said, environment)
    return said


def put_on_air(aws: AwsStandIn, origin: Origin, faulty: Faulty, recording: Any) -> None:
    broadcast = origin.publish("st-played", programme(recording, begin_s=15, music_s=14), rate_hz=music.RATE_HZ)
    faulty.routes[f"/refused.m3u8?token={TOKENS['the refused one']}"] = Answer(
        status=302, headers={"Location": f"http://169.254.169.254/latest/?token={TOKENS['the refused one']}"}
    )
    faulty.routes[f"/failing.m3u8?token={TOKENS['the failing one']}"] = Answer(b"half", claims_bytes=100)
    for stream_id, url in {
        "st-played": f"{broadcast.url}?token={TOKENS['the played stream']}",
        "st-refused": f"{faulty.url('/refused.m3u8')}?token={TOKENS['the refused one']}",
        "st-failing": f"{faulty.url('/failing.m3u8')}?token={TOKENS['the failing one']}",
    }.items():
        arn = aws.put_channel(f"channel-of-{stream_id}")
        aws.go_live(arn, stream_id, url)
        aws.put_stream_event(arn, stream_id, "Stream Start")


def gather(said: Said, dsn: str, aws: AwsStandIn, deployed: Deployment) -> None:
    """Every object of the bucket, every row of every table (but for the address of a static stream, which is where it is kept), every mail."""
    s3 = aws.client("s3")
    for entry in s3.list_objects_v2(Bucket=deployed.results_bucket)["Contents"]:
        answer = s3.get_object(Bucket=deployed.results_bucket, Key=entry["Key"])
        said.texts[f"s3://{entry['Key']}"] = answer["Body"].read().decode() + json.dumps(answer["Metadata"])
    tables = [row["name"] for row in rows(dsn, "select table_name as name from information_schema.tables where table_schema = 'public'")]
    assert {"stream", "outbox", "play"} <= set(tables)
    for table in tables:
        said.texts[f"table {table}"] = json.dumps(
            [{**row, "url": None} if table == "stream" else row for row in rows(dsn, f"select * from {table}")], default=str
        )
    said.texts["mails"] = json.dumps([[mail.subject, mail.text, dict(mail.attributes)] for mail in aws.mails()])


def look(said: Said, environment: dict[str, str]) -> None:
    asked = ["config show", "db status", "db check", "streams list", "streams list --all --json", "outbox list", "outbox retry"]
    asked += [f"report st-played --format {layout}" for layout in ("text", "json", "csv", "html", "mail")]
    asked += ["report st-failing", "report st-none", "catalogue list"]
    for words in asked:
        said.texts[f"earmark {words}"] = command(*words.split(), **environment)


# ------------------------------------------------------------------------------------------------ what was said


def test_things_went_well_and_wrong_as_they_were_meant_to(said: Said) -> None:
    """Or nothing would have been said that could hold a secret."""
    assert "DEBUG" in said.texts["earmark config show"].upper()
    failed, refused = "broke off its answer", "169.254.169.254, which is a metadata service"
    assert failed in said.texts["table stream"] and failed in said.texts["log"]
    assert refused in said.texts["table stream"] and refused in said.texts["log"]
    assert "a user" in said.texts["table stream"]
    assert "create the topic" in said.texts["table outbox"]
    assert "st-played" in said.texts["earmark report st-played --format text"]
    assert any(place.startswith("s3://st-played/hits/") for place in said.texts)
    assert "earmark_streams" in said.texts["metrics"]
    assert said.texts["mails"]


@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_is_anywhere(said: Said, name: str) -> None:
    assert [place for secret, place in said.found() if secret == name] == []


# ------------------------------------------------------------------------------------------------ what is told by errors


class _Refuses(BaseHTTPRequestHandler):
    """AWS that knows nobody, and says so with what it was given."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps({"__type": "InvalidClientTokenId", "message": "The security token included in the request is invalid."}).encode()
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_HEAD = do_POST

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def refusing_aws() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def refusing_postgres() -> Iterator[str]:
    """Asks for a password, and refuses it (PostgreSQL documentation, "Message Formats")."""
    listener = socket.create_server(("127.0.0.1", 0))

    def field(kind: bytes, text: str) -> bytes:
        return kind + text.encode() + b"\0"

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                while connection.recv(4)[:4] == b"\0\0\0\x08":  # is there TLS, or GSS? No.
                    connection.recv(4)
                    connection.sendall(b"N")
                connection.recv(4_096)
                connection.sendall(b"R\0\0\0\x08\0\0\0\x03")
                connection.recv(4_096)
                said = field(b"S", "FATAL") + field(b"C", "28P01") + field(b"M", 'password authentication failed for user "earmark"') + b"\0"
                connection.sendall(b"E" + (len(said) + 4).to_bytes(4) + said)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("words", ["run", "db migrate", "streams list", "catalogue list"])
def test_a_wrong_password_is_not_repeated(words: str) -> None:
    with refusing_postgres() as address:
        environment = {"EARMARK_DATABASE__DSN": f"postgresql://earmark:{PASSWORD}@{address}/earmark", "EARMARK_LOG__LEVEL": "debug"}
        out = command(*words.split(), **environment)
        assert "password authentication failed" in out
        assert PASSWORD not in out


def test_a_dsn_that_is_none_is_not_repeated(tmp_path: Path) -> None:
    for dsn in (f"postgresql://earmark:{PASSWORD}@[::1/earmark", f"password={PASSWORD} nonsense", f"host=x password='{PASSWORD}"):
        out = command("catalogue", "list", "--catalogue", dsn) if "://" in dsn else command("db", "status", EARMARK_DATABASE__DSN=dsn)
        assert out.startswith("earmark: ")
        assert PASSWORD not in out
    file = tmp_path / "earmark.toml"
    for text in (f'database = "{PASSWORD}"', f'[database]\ndns = "{PASSWORD}"', f'[database]\ndsn = ["{PASSWORD}"]', f'dsn = "{PASSWORD}"'):
        file.write_text(text)
        with pytest.raises(BadSettings) as caught:
            load(file, environ={})
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "url", [f"htps://radio.example/a.m3u8?token={USER}", f"ftp://listener:{USER}@radio.example/a", [f"https://radio.example/?token={USER}"], {"u": USER}]
)
def test_a_wrong_address_of_a_static_stream_is_told_without_its_token(url: Any) -> None:
    for static in ([{"name": "radio", "url": url}], [{"name": "radio", "url": "https://radio.example/", "addres": url}], {"name": "radio", "url": url}, [url]):
        with pytest.raises(BadSettings) as caught:
            load(environ={"EARMARK_STREAMS__STATIC": json.dumps(static)})
        assert USER not in str(caught.value)


@pytest.mark.parametrize("level", ["debug", "info"])
def test_aws_that_refuses_is_told_without_the_keys(dsn: str, level: str) -> None:
    with refusing_aws() as endpoint:
        out = command(
            "run",
            EARMARK_DATABASE__DSN=make_conninfo(dsn, password=PASSWORD),
            EARMARK_LOG__LEVEL=level,
            EARMARK_AWS__ATTEMPTS_MAX="1",
            AWS_ENDPOINT_URL=endpoint,
            AWS_REGION="us-east-1",
            EARMARK_QUEUE__URL=f"{endpoint}/1/q",
            EARMARK_METRICS__PORT="0",
            AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE",
            AWS_SECRET_ACCESS_KEY=KEY,
            AWS_SESSION_TOKEN=SESSION,
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            AWS_EC2_METADATA_DISABLED="true",
        )
        assert "check the credentials that this process runs with" in out
        assert [secret for secret in (KEY, SESSION, PASSWORD) if secret in out] == []


def test_the_search_finds_what_is_there() -> None:
    assert Said({"log": f"x {KEY} y"}).found() == [("key", "log")]
