"""What is asked of the HTTP API by those who may, by those who may not, and by those who mean no good."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from functools import cache
from typing import Any
from urllib.parse import quote

import jsonschema
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from api_served import Served, document, served
from control_rows import pool_of, run
from earmark.api.routes import described
from earmark.api.server import Server
from earmark.errors import BadSettings
from earmark.hits.ledger import Ledger
from earmark.index.catalogue import Recording, Tracks, postings_of
from earmark.local.database import create_database
from earmark.model import Track
from earmark.postgres import Pool, open_pool, transaction
from earmark.settings import Alerts, Api, Database, Results
from earmark.telemetry import configure_logging
from hits_samples import STREAM, TRACK, Clock, checkpoint, insert_stream, play, validator
from hits_samples import Catalogue as Known
from index_catalogue import peaks


@pytest.fixture(scope="module")
def api(postgres_server: str, _template: str) -> Iterator[Served]:
    """One for all tests that change nothing of it."""
    dsn = create_database(postgres_server, "api_requests", template=_template)
    with pool_of(dsn) as pool, served(pool, address_requests_per_minute=1_000_000, token_requests_per_minute=1_000_000) as running:
        yield running


def add_track(pool: Pool, track_id: str, seed: int = 1) -> None:
    constellation = peaks(seed, 20)
    track = Track(track_id=track_id, title=f"Title of {track_id}", duration_s=20.0)
    Tracks(pool=pool).add([Recording(track=track, peaks=constellation, postings=postings_of(constellation), content_sha256=track_id.encode()[:32].ljust(32))])


def raw(api: Served, data: bytes, *, wait_s: float = 10) -> bytes:
    """What a client gets that writes bytes, until the server closes, or nothing more comes."""
    with closing(socket.create_connection(api.address, timeout=wait_s)) as connection:
        connection.sendall(data)
        said = b""
        try:
            while part := connection.recv(65_536):
                said += part
        except (TimeoutError, ConnectionError):
            pass
        return said


def head_of(api: Served, header: str) -> bytes:
    """Of a request whose body is to come."""
    lines = ["POST /v1/uploads HTTP/1.1", "Host: x", f"Authorization: Bearer {api.token()}", "Content-Type: application/json", header]
    return "\r\n".join([*lines, "", ""]).encode()


class TestWhoMayAsk:
    @pytest.mark.parametrize("headers", [{}, {"Authorization": ""}, {"Authorization": "Basic dXNlcjpwYXNz"}, {"Authorization": "earmark_x"}])
    def test_without_a_token_nothing_is_answered(self, api: Served, headers: dict[str, str]):
        answer = api.ask("GET", "/v1/tracks", headers=headers)
        assert (answer.status, answer.kind) == (401, "token-missing")
        assert answer.headers["www-authenticate"] == 'Bearer realm="earmark"'
        assert answer.headers["connection"] == "close"

    @pytest.mark.parametrize("token", ["x", "earmark_aaaaaaaaaaaa_" + "a" * 43, "' or 1=1 --", "a" * 4_000, "ä"])
    def test_an_unknown_token_is_refused(self, api: Served, token: str):
        answer = api.ask("GET", "/v1/tracks", headers={"Authorization": "Bearer " + token})
        assert (answer.status, answer.kind) == (401, "token-unknown")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]

    def test_a_revoked_and_an_expired_one_are_told_so(self, api: Served):
        token = api.token("catalogue:read", name="short")
        assert api.ask("GET", "/v1/tracks", token=token).status == 200
        run(api.pool, "update api_token set expires_at = now() - interval '1 second' where name = 'short'")
        answer = api.ask("GET", "/v1/tracks", token=token)
        assert (answer.status, answer.kind) == (401, "token-expired")
        run(api.pool, "update api_token set revoked_at = now() where name = 'short'")
        answer = api.ask("GET", "/v1/tracks", token=token)
        assert (answer.status, answer.kind) == (401, "token-revoked")
        assert answer.document["detail"] == "the token 'short' was revoked: `earmark tokens add` makes another"

    @pytest.mark.parametrize(
        "method,path,scope",
        [
            ("POST", "/v1/uploads", "uploads:write"),
            ("GET", "/v1/uploads/x", "uploads:write"),
            ("GET", "/v1/tracks", "catalogue:read"),
            ("GET", "/v1/tracks/x", "catalogue:read"),
            ("DELETE", "/v1/tracks/x", "catalogue:delete"),
            ("GET", "/v1/streams", "streams:read"),
            ("GET", "/v1/streams/x", "streams:read"),
            ("POST", "/v1/identify", "identify"),
        ],
    )
    def test_each_path_asks_for_its_own_scope(self, api: Served, method: str, path: str, scope: str):
        others = [other for other in ("uploads:write", "catalogue:read", "catalogue:delete", "streams:read", "identify") if other != scope]
        body = {"file_name": "a.wav", "content_type": "audio/wav", "size_bytes": 1} if path == "/v1/uploads" else None
        answer = api.ask(method, path, token=api.token(*others), json_body=body)
        assert (answer.status, answer.kind) == (403, "scope-missing")
        assert f"lacks the scope {scope}" in answer.document["detail"]
        assert f'scope="{scope}"' in answer.headers["www-authenticate"]
        assert api.ask(method, path, token=api.token(scope), json_body=body).status not in (401, 403)

    def test_who_lacks_a_token_is_told_so_before_the_body_is_read(self, api: Served):
        said = raw(api, b"POST /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 401 ")
        assert b"connection: close" in said.lower()

    def test_health_and_the_document_are_open_to_all(self, api: Served):
        assert api.ask("GET", "/healthz").document == {"status": "ok"}
        answer = api.ask("GET", "/v1/openapi.json")
        assert answer.document == document()

    def test_what_is_not_there_is_not_told_to_strangers(self, api: Served):
        assert api.ask("GET", "/v1/nothing").status == 401
        assert api.ask("GET", "/v1/nothing", token=api.token()).status == 404


class TestHowOften:
    def test_a_token_that_asks_too_often_is_told_when_it_may_again(self, pool: Pool):
        with served(pool, token_requests_per_minute=6) as api:
            token = api.token("catalogue:read")
            statuses = [api.ask("GET", "/v1/tracks", token=token) for _ in range(4)]
            assert [answer.status for answer in statuses] == [200, 200, 200, 429]
            assert statuses[-1].kind == "rate-limited"
            assert 1 <= int(statuses[-1].headers["retry-after"]) <= 10
            assert api.ask("GET", "/v1/tracks", token=api.token("catalogue:read")).status == 200
            assert api.value("earmark_api_refused_total", problem="rate-limited") == 1

    def test_an_address_that_asks_too_often_is_refused_before_its_token_is_looked_up(self, pool: Pool):
        with served(pool, address_requests_per_minute=6) as api:
            answers = [api.ask("GET", "/v1/tracks", headers={"Authorization": f"Bearer {n}"}) for n in range(5)]
            assert [answer.status for answer in answers] == [401, 401, 401, 429, 429]
            assert api.ask("GET", "/healthz").status == 200

    def test_behind_a_load_balancer_the_address_is_its_clients(self, pool: Pool):
        with served(pool, address_requests_per_minute=2, proxies=("127.0.0.0/8",)) as api:
            forwarded = [{"X-Forwarded-For": f"192.0.2.{n}"} for n in (1, 1, 2)]
            assert [api.ask("GET", "/v1/tracks", headers=headers).status for headers in forwarded] == [401, 429, 401]

    def test_what_a_stranger_says_of_its_address_is_not_believed(self, pool: Pool):
        with served(pool, address_requests_per_minute=2) as api:
            assert [api.ask("GET", "/v1/tracks", headers={"X-Forwarded-For": f"192.0.2.{n}"}).status for n in (1, 2)] == [401, 429]


class TestHowMuch:
    def test_two_gigabytes_that_are_announced_are_refused_before_they_are_sent(self, api: Served):
        head = f"POST /v1/identify HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token()}\r\nExpect: 100-continue\r\nContent-Length: 2000000000\r\n\r\n"
        began = time.monotonic()
        said = raw(api, head.encode())
        assert said.startswith(b"HTTP/1.1 413 ") and b"problem+json" in said
        assert time.monotonic() - began < 2

    def test_chunks_without_an_end_are_refused_and_cut_off(self, api: Served):
        before, began = api.value("earmark_api_refused_total", problem="too-large"), time.monotonic()
        with closing(socket.create_connection(api.address, timeout=10)) as connection:
            connection.sendall(head_of(api, "Transfer-Encoding: chunked"))
            with pytest.raises(ConnectionError):
                while time.monotonic() - began < 20:
                    connection.sendall(b"4000\r\n" + b" " * 0x4000 + b"\r\n")
        assert time.monotonic() - began < 10
        assert api.value("earmark_api_refused_total", problem="too-large") == before + 1

    def test_who_sends_all_of_what_is_too_much_reads_why_it_was_refused(self, api: Served):
        answer = api.ask("POST", "/v1/uploads", token=api.token(), body=b" " * 5_000_000, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.kind) == (413, "too-large")
        assert answer.headers["connection"] == "close"

    def test_a_body_that_stops_coming_is_not_waited_for(self, pool: Pool):
        with served(pool, body_wait_s=0.3) as api:
            said = raw(api, head_of(api, "Content-Length: 100") + b"{")
            assert said.startswith(b"HTTP/1.1 408 ") and b"connection: close" in said.lower()

    def test_a_body_that_trickles_has_an_end_too(self, pool: Pool):
        with served(pool, request_s_max=1) as api, closing(socket.create_connection(api.address, timeout=10)) as connection:
            connection.sendall(head_of(api, "Content-Length: 1000"))
            began = time.monotonic()
            connection.settimeout(0.1)
            said = b""
            while not said and time.monotonic() - began < 8:
                connection.sendall(b" ")
                with suppress(TimeoutError):
                    said = connection.recv(65_536)
            assert said.startswith(b"HTTP/1.1 408 ")
            assert time.monotonic() - began > 0.9

    def test_only_so_many_requests_are_under_way_at_once(self, pool: Pool):
        with served(pool, requests_max=1) as api, closing(socket.create_connection(api.address, timeout=10)) as connection:
            token = api.token()
            connection.sendall(head_of(api, "Content-Length: 100"))
            while api.value("earmark_api_requests_running") < 1:
                time.sleep(0.01)
            api.others = True
            answer = api.ask("GET", "/v1/tracks", token=token)
            assert (answer.status, answer.kind) == (503, "busy")
            assert answer.headers["retry-after"] == "1"
            assert api.ask("GET", "/healthz").status == 200
            connection.sendall(b" " * 100)
            assert connection.recv(100).startswith(b"HTTP/1.1 4")
            assert api.ask("GET", "/v1/tracks", token=token).status == 200

    def test_a_head_that_comes_byte_by_byte_is_not_waited_for(self, pool: Pool):
        with served(pool, header_wait_s=0.6) as api, closing(socket.create_connection(api.address, timeout=10)) as connection:
            began = time.monotonic()
            connection.sendall(b"GET /healthz HTTP/1.1\r\n")
            with pytest.raises(ConnectionError):
                while time.monotonic() - began < 8:
                    connection.sendall(b"X")
                    time.sleep(0.05)
                pytest.fail("it was waited for")
            assert time.monotonic() - began < 5
            assert api.ask("GET", "/healthz").status == 200

    def test_who_says_nothing_at_all_is_disconnected(self, pool: Pool):
        with served(pool, header_wait_s=0.3) as api:
            assert raw(api, b"") == b""

    def test_the_next_request_of_a_connection_has_its_own_time(self, pool: Pool):
        with served(pool, header_wait_s=0.4) as api, closing(http.client.HTTPConnection(*api.address, timeout=5)) as connection:
            for _ in range(3):
                connection.request("GET", "/healthz")
                assert connection.getresponse().read() == b'{"status":"ok"}'
                time.sleep(0.5)

    def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head(self, api: Served):
        with closing(http.client.HTTPConnection(*api.address, timeout=5)) as connection:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            (open_now,) = api.serving._server._uvicorn.server_state.connections
            assert open_now.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def test_a_head_of_many_kilobytes_is_refused(self, api: Served):
        said = raw(api, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 900) for n in range(200)) + b"\r\n")
        assert said.startswith(b"HTTP/1.1 400 ") and b"problem+json" in said

    @pytest.mark.parametrize(
        "data",
        [
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"hello\r\n\r\n",
            b"GET / HTTP/x\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        ],
    )
    def test_what_is_no_http_is_refused_in_the_same_form(self, api: Served, data: bytes):
        said = raw(api, data)
        assert said.startswith(b"HTTP/1.1 400 ") and json.loads(said.partition(b"\r\n\r\n")[2])["type"] == "urn:earmark:problem:malformed"

    def test_only_so_many_connections_are_open_at_once(self, pool: Pool):
        with served(pool, connections_max=3) as api:
            held = [socket.create_connection(api.address, timeout=5) for _ in range(3)]
            try:
                time.sleep(0.2)
                with closing(socket.create_connection(api.address, timeout=5)) as further, pytest.raises(ConnectionError):
                    further.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                    time.sleep(0.2)
                    if not further.recv(100):
                        raise ConnectionResetError
            finally:
                for connection in held:
                    connection.close()
            time.sleep(0.2)
            assert api.ask("GET", "/healthz").status == 200


class TestWhatIsAsked:
    @pytest.mark.parametrize(
        "name",
        [
            "..%2F..%2Fetc%2Fpasswd", "../../etc/passwd", "%00", "a%00b", "%27%20or%201%3D1", "%22", "%F0%9F%8E%B5", "%ff%fe",
            "x" * 1_024, "x" * 1_100, "%2525", "a/b/c", "{track_id}", "%0d%0aSet-Cookie:x",
        ],
    )  # fmt: skip
    def test_an_id_that_nothing_has_is_not_there(self, api: Served, name: str):
        token = api.token()
        for method, room in (("GET", "tracks"), ("DELETE", "tracks"), ("GET", "streams"), ("GET", "uploads")):
            answer = api.ask(method, f"/v1/{room}/{name}", token=token)
            assert answer.status in (404, 501), (method, room, answer)
            assert "set-cookie" not in answer.headers

    @pytest.mark.parametrize("track_id", ["isrc:GBAYE0601498", "a b/ü?#%", "..", "x" * 500, "🎵", "'\"--"])
    def test_whatever_a_recording_is_called_it_is_found_by_that(self, api: Served, track_id: str):
        add_track(api.pool, track_id)
        token = api.token()
        answer = api.ask("GET", "/v1/tracks/" + quote(track_id, safe=""), token=token)
        assert (answer.status, answer.document["track"]["track_id"]) == (200, track_id)
        assert api.ask("DELETE", "/v1/tracks/" + quote(track_id, safe=""), token=token).status == 204
        assert api.ask("GET", "/v1/tracks/" + quote(track_id, safe=""), token=token).status == 404
        assert Tracks(pool=api.pool).get([track_id]) == {}

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND"])
    def test_a_method_that_is_not_meant_is_refused(self, api: Served, method: str):
        with closing(http.client.HTTPConnection(*api.address, timeout=10)) as connection:
            connection.request(method, "/v1/uploads", headers={"Authorization": f"Bearer {api.token()}", "Origin": "https://elsewhere.example"})
            response = connection.getresponse()
            assert response.status == 405
            assert response.getheader("Allow") == "POST"
            assert response.getheader("Access-Control-Allow-Origin") is None

    @pytest.mark.parametrize(
        "body",
        [b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"{", b"\xff", b'{"size_bytes": ' + b"9" * 6_000 + b"}", b""],
        ids=["lists", "objects", "broken", "no text", "a number of 6,000 digits", "nothing"],
    )
    def test_json_that_is_none_or_too_deep_is_refused_in_one_sentence(self, api: Served, body: bytes):
        answer = api.ask("POST", "/v1/uploads", token=api.token(), body=body, headers={"Content-Type": "application/json"})
        assert answer.status in (400, 422)

    def test_what_is_not_known_in_a_query_or_too_much_is_refused(self, api: Served):
        token = api.token()
        for query in ("limit=0", "limit=1000000", "limit=x", "after=" + "x" * 2_000):
            answer = api.ask("GET", "/v1/tracks?" + query, token=token)
            assert (answer.status, answer.kind) == (422, "invalid")
            assert answer.document["fields"][0]["field"] in ("limit", "after")


@pytest.fixture
def own_api(pool: Pool) -> Iterator[Served]:
    with served(pool) as running:
        yield running


class TestPages:
    def test_recordings_come_a_page_at_a_time_and_each_once(self, own_api: Served):
        for n in range(5):
            add_track(own_api.pool, f"track-{n}", seed=n)
        token, after, seen = own_api.token("catalogue:read"), "", []
        while True:
            answer = own_api.ask("GET", f"/v1/tracks?limit=2&after={after}", token=token).document
            seen += [track["track_id"] for track in answer["tracks"]]
            after = answer.get("next")
            if after is None:
                break
        assert seen == [f"track-{n}" for n in range(5)]
        assert own_api.ask("GET", "/v1/tracks?after=%00", token=token).document["tracks"] == []

    def test_streams_come_newest_first_a_page_at_a_time(self, own_api: Served):
        for n in range(5):
            run(
                own_api.pool,
                "insert into stream (stream_id, source, wanted_at, created_at) values (%s, 'ivs', now(), now() - make_interval(hours => %s))",
                f"st-{n}",
                n,
            )
        token, after, seen = own_api.token("streams:read"), "", []
        while after is not None:
            answer = own_api.ask("GET", f"/v1/streams?limit=2&after={after}", token=token).document
            seen += [stream["stream_id"] for stream in answer["streams"]]
            after = answer.get("next")
        assert seen == [f"st-{n}" for n in range(5)]
        answer = own_api.ask("GET", "/v1/streams?after=gone", token=token)
        assert (answer.status, answer.kind) == (404, "not-found")
        run(own_api.pool, "update stream set state = 'ended' where stream_id <> 'st-3'")
        assert [stream["stream_id"] for stream in own_api.ask("GET", "/v1/streams?ended=false", token=token).document["streams"]] == ["st-3"]

    def test_a_stream_is_told_as_stream_json_with_its_hits(self, own_api: Served):
        with transaction(own_api.pool) as connection:
            lease = insert_stream(connection)
        ledger = Ledger(pool=own_api.pool, lease=lease, tracks=Known(TRACK), results=Results(), alerts=Alerts(), nudge=lambda: None, now=Clock())
        ledger.commit(checkpoint(), [play(), play(begin_s=20.0, length_s=9.0, state="closed")])
        answer = own_api.ask("GET", f"/v1/streams/{STREAM.stream_id}", token=own_api.token("streams:read"))
        told = answer.document
        hits, left_out = told.pop("hits"), told.pop("hits_left_out")
        validator("stream").validate(told)
        for hit in hits:
            validator("hit").validate(hit)
        assert [hit["hit_id"] for hit in hits] == [line["hit_id"] for line in told["plays"]]
        assert left_out == 0 and len(hits) == 2


def test_a_database_that_is_away_is_told_with_a_time_to_try_again(dsn: str, postgres_server: str):
    name = conninfo_to_dict(dsn)["dbname"]
    with open_pool(Database(dsn=SecretStr(dsn), connect_timeout_s=1)) as pool, served(pool) as api, psycopg.connect(postgres_server, autocommit=True) as admin:
        token = api.token()
        admin.execute(f"alter database {name} allow_connections false".encode())
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        answer = api.ask("GET", "/v1/tracks", token=token)
        assert (answer.status, answer.kind) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
        assert "127.0.0.1" not in answer.document["detail"] and name not in answer.document["detail"]
        admin.execute(f"alter database {name} allow_connections true".encode())


def test_a_bug_is_told_in_the_log_and_not_to_who_asked(own_api: Served, capsys: pytest.CaptureFixture[str]):
    configure_logging(level="info", style="json")
    token = own_api.token()
    run(own_api.pool, "alter table play rename column body to body_was")
    run(own_api.pool, "insert into stream (stream_id, source, checkpoint) values ('broken', 'ivs', null)")
    answer = own_api.ask("GET", "/v1/streams/broken", token=token)
    assert (answer.status, answer.kind) == (500, "internal")
    assert answer.document["detail"] == "something went wrong here, and is in the log: try again, or tell who runs this"
    assert "body" in capsys.readouterr().err


def test_who_is_not_healthy_is_not_to_be_asked(pool: Pool):
    with served(pool, healthy=lambda: "ending") as api:
        answer = api.ask("GET", "/healthz")
        assert (answer.status, answer.document) == (503, {"status": "ending"})


def test_requests_are_counted_by_route_and_told_without_secrets(pool: Pool, capsys: pytest.CaptureFixture[str]):
    configure_logging(level="info", style="json")
    with served(pool) as api:
        token = api.token("catalogue:read", name="reader")
        api.ask("GET", "/v1/tracks/none?secret=s3cr3t", token=token)
        api.ask("GET", "/v1/tracks", headers={"Authorization": "Bearer earmark_wrong_s3cr3t"})
        api.ask("GET", "/v1/s3cr3t", token=token)
        api.ask("GET", "/healthz")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [line for line in lines if line["event"] == "api.request"]
    assert [(line["route"], line["status"], line["token"], line.get("problem")) for line in told] == [
        ("GET /v1/tracks/{track_id}", 404, "reader", "not-found"),
        ("GET /v1/tracks", 401, "", "token-unknown"),
        ("other", 404, "reader", "not-found"),
    ]
    assert told[0]["path"] == "/v1/tracks/none"
    assert "s3cr3t" not in json.dumps(lines) and token not in json.dumps(lines) and token[21:] not in json.dumps(lines)
    assert api.value("earmark_api_requests_total", route="GET /v1/tracks/{track_id}", status="4xx") == 1
    assert api.value("earmark_api_requests_total", route="GET /healthz", status="2xx") == 1
    assert api.value("earmark_api_requests_running") == 0


@pytest.mark.parametrize("host,why", [("127.0.0.1", "Address already in use"), ("192.0.2.1", "Cannot assign requested address"), ("nowhere.invalid", "")])
def test_an_address_that_cannot_be_listened_on_is_told_in_one_sentence(api: Served, host: str, why: str):
    async def nothing(*_: Any) -> None: ...

    with pytest.raises(BadSettings, match=rf"^the API cannot be served at {host}:\d+: {why}.*; set api.host and api.port$"):
        Server(nothing, settings=Api(host=host, port=api.address[1]))


class TestTheDocument:
    def test_it_is_what_openapi_says_one_is(self):
        validate(described())

    def test_every_path_but_health_asks_for_a_token_and_may_be_refused(self):
        for path, operations in document()["paths"].items():
            for method, operation in operations.items():
                if path != "/healthz":
                    assert operation["security"] == [{"HTTPBearer": []}], (method, path)
                    assert {"401", "403", "429", "500", "503"} <= set(operation["responses"])
                    assert all(set(said["content"]) == {"application/problem+json"} for status, said in operation["responses"].items() if status >= "4")

    def test_its_schemas_can_be_checked_against(self):
        for schema in document()["components"]["schemas"].values():
            jsonschema.Draft202012Validator.check_schema(schema)


_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@cache
def everything(api: Served) -> str:
    return api.token()


_NEW = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("file_name", "content_type", "size_bytes", "sha256", "metadata", "other"), _ANYTHING),
)


@settings(max_examples=60)
@given(body=_NEW | _ANYTHING)
def test_whatever_is_announced_is_answered_as_the_document_says(api: Served, body: Any):
    answer = api.ask("POST", "/v1/uploads", token=everything(api), json_body=body if body is not None else [])
    assert answer.status in (400, 422, 501)


@settings(max_examples=60)
@given(method=st.sampled_from(["GET", "DELETE", "POST"]), room=st.sampled_from(["tracks", "streams", "uploads", "identify", ""]), name=st.binary(max_size=40))
def test_whatever_is_in_a_path_is_answered_as_the_document_says(api: Served, method: str, room: str, name: bytes):
    answer = api.ask(method, f"/v1/{room}/{quote(name, safe='/')}", token=everything(api))
    assert answer.status in (200, 404, 405, 415, 422, 501)
