"""The one HTTP port: what Prometheus scrapes, what ECS and a load balancer ask, and who else may call."""

import http.client
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from prometheus_client.parser import text_string_to_metric_families

from earmark.errors import BadSettings
from earmark.telemetry import Metrics, TelemetryServer


class Answers:
    """Checks whose answers a test can change."""

    def __init__(self) -> None:
        self.healthy = ""
        self.ready = ""


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.build()


@pytest.fixture
def server(metrics: Metrics, answers: Answers) -> Iterator[TelemetryServer]:
    made = TelemetryServer(
        host="127.0.0.1",
        port=0,
        registry=metrics.registry,
        healthy={"compute": lambda: answers.healthy},
        ready={"database": lambda: answers.ready, "queue": lambda: ""},
    )
    with closing(made.start()):
        yield made


def ask(server: TelemetryServer, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read().decode()


def test_metrics_are_prometheus_text(server: TelemetryServer, metrics: Metrics):
    metrics.heard(media_s=2.0, lag_s=0.3, clock_lag_s=None)
    response, body = ask(server, "/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = {family.name: family for family in text_string_to_metric_families(body)}
    heard = [sample.value for sample in families["earmark_media_seconds"].samples if sample.labels == {"result": "heard"}]
    assert heard == [2.0]
    assert "process_resident_memory_bytes" in families
    assert not [name for name in families if name.endswith("_created")]


def test_promtool_finds_nothing_to_say_about_them(server: TelemetryServer, skip_unless: Callable[[str], str]):
    promtool = skip_unless("promtool")
    _, body = ask(server, "/metrics")
    ours = "".join(line for line in body.splitlines(keepends=True) if "earmark_" in line)
    checked = subprocess.run([promtool, "check", "metrics"], input=ours, capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_health_and_readiness_are_asked_apart(server: TelemetryServer, answers: Answers):
    assert [ask(server, path)[0].status for path in ("/healthz", "/readyz")] == [200, 200]
    answers.ready = "the database has not answered for 12 s"
    assert [ask(server, path)[0].status for path in ("/healthz", "/readyz")] == [200, 503]
    assert json.loads(ask(server, "/readyz")[1]) == {"status": "failing", "checks": {"database": answers.ready, "queue": "ok"}}
    answers.ready, answers.healthy = "", "the oldest job of the compute thread: 31 s, more than 30 s"
    assert [ask(server, path)[0].status for path in ("/healthz", "/readyz")] == [503, 200]


def test_a_check_with_a_bug_does_not_look_like_health(metrics: Metrics):
    made = TelemetryServer(host="127.0.0.1", port=0, registry=metrics.registry, healthy={"broken": lambda: str(1 / 0)}, ready={})
    with closing(made.start()):
        response, body = ask(made, "/healthz")
    assert response.status == 503
    assert "division by zero" in body


def test_other_pages_and_methods_are_refused(server: TelemetryServer):
    assert ask(server, "/")[0].status == 404
    assert ask(server, "/metrics", "POST")[0].status == 501
    assert ask(server, "/metrics?name[]=up")[0].status == 200
    response, body = ask(server, "/healthz", "HEAD")
    assert (response.status, body) == (200, "")
    assert int(response.headers["Content-Length"]) > 0


def test_a_port_that_is_taken_is_one_sentence_that_names_the_setting(server: TelemetryServer, metrics: Metrics):
    with pytest.raises(BadSettings, match=r"127\.0\.0\.1:\d+: Address already in use; set metrics\.host and metrics\.port"):
        TelemetryServer(host="127.0.0.1", port=server.port, registry=metrics.registry, healthy={}, ready={}).start()


def test_after_close_nobody_listens_and_the_port_is_free(metrics: Metrics):
    made = TelemetryServer(host="127.0.0.1", port=0, registry=metrics.registry, healthy={}, ready={}).start()
    port = made.port
    made.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    again = TelemetryServer(host="127.0.0.1", port=port, registry=metrics.registry, healthy={}, ready={})
    with closing(again.start()):
        assert ask(again, "/healthz")[0].status == 200


def test_clients_that_say_nothing_do_not_use_up_the_process(server: TelemetryServer):
    """Eight are listened to; the ninth is turned away at once, not kept waiting in a thread of its own."""
    silent = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(8)]
    try:
        with closing(socket.create_connection(("127.0.0.1", server.port), timeout=10)) as ninth:
            assert ninth.recv(1) == b""
    finally:
        for connection in silent:
            connection.close()


def test_a_health_check_needs_no_name_server(metrics: Metrics, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getfqdn", lambda *_: pytest.fail("asked for our own name"))
    made = TelemetryServer(host="127.0.0.1", port=0, registry=metrics.registry, healthy={}, ready={})
    with closing(made.start()):
        assert ask(made, "/healthz")[0].status == 200
