"""/metrics, /healthz and /readyz on one port: what Prometheus scrapes, and what ECS and a load balancer ask."""

import json
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, TypeAlias

import structlog
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from earmark.errors import BadSettings

#: "" when all is well, else one sentence saying what is not. Answers at once, from what the loops know: it waits for nothing.
Check: TypeAlias = Callable[[], str]


class Pulse:
    """When a loop last came round."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.beat()

    def beat(self) -> None:
        self._last = self._clock()

    @property
    def age_s(self) -> float:
        return self._clock() - self._last


def overdue(what: str, age_s: Callable[[], float], *, limit_s: float) -> Check:
    """The check that an age stays below a limit: a loop's pulse, or the compute thread's oldest job."""

    def check() -> str:
        age = age_s()
        return f"{what}: {age:.0f} s, more than {limit_s:.0f} s" if age > limit_s else ""

    return check


class TelemetryServer:
    """/metrics; /healthz (503: restart me) and /readyz (503: do not count on me yet), on a thread of its own.

    `port` 0 takes a free one. Raises BadSettings from `start` when the address cannot be listened on.
    """

    def __init__(self, *, host: str, port: int, registry: Collector, healthy: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
        self._address = (host, port)
        #: Given what the one who asks accepts.
        self._pages: Mapping[str, Callable[[str], _Page]] = {
            "/metrics": lambda accepts: _exposed(registry, accepts),
            "/healthz": lambda _: _report(healthy),
            "/readyz": lambda _: _report(ready),
        }
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> "TelemetryServer":
        host, port = self._address
        try:
            self._server = _Server(self._address, self._pages)
        except OSError as error:
            why = error.strerror or error
            raise BadSettings(f"metrics cannot be served at {host}:{port}: {why}; set metrics.host and metrics.port, or metrics.port = 0 for none") from None
        self._thread = threading.Thread(target=self._server.serve_forever, name="telemetry", daemon=True)
        self._thread.start()
        return self

    @property
    def port(self) -> int:
        """Where it listens; the one asked for, until it has started."""
        return self._server.server_address[1] if self._server else self._address[1]

    def close(self) -> None:
        """Stop listening; an answer under way may still be finished."""
        if self._server and self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


@dataclass(frozen=True)
class _Page:
    status: int
    content_type: str
    body: bytes


def _no_such_page(_: str) -> _Page:
    return _Page(404, "text/plain", b"/metrics /healthz /readyz\n")


def _exposed(registry: Collector, accepts: str) -> _Page:
    """Prometheus's own text, or OpenMetrics to whoever asks for it (Prometheus does): that has exemplars."""
    metrics = _WithoutCreated(registry)
    if "application/openmetrics-text" in accepts:
        return _Page(200, openmetrics.CONTENT_TYPE_LATEST, openmetrics.generate_latest(metrics))  # type: ignore[no-untyped-call]
    return _Page(200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(metrics))


def _report(checks: Mapping[str, Check]) -> _Page:
    found = {name: _answer(check) for name, check in dict(checks).items()}
    well = not any(found.values())
    body = json.dumps({"status": "ok" if well else "failing", "checks": {name: text or "ok" for name, text in found.items()}})
    return _Page(200 if well else 503, "application/json", body.encode() + b"\n")


def _answer(check: Check) -> str:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a check with a bug must not look like health; it is shown
        return f"the check itself failed: {error!r}"


class _WithoutCreated(Collector):
    """A registry without its `_created` samples: one for each counter and histogram, and nobody reads them."""

    def __init__(self, registry: Collector) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    #: Prometheus and a health check are two; more at once are turned away, so that nobody can fill us with threads.
    _requests_max = 8

    def __init__(self, address: tuple[str, int], pages: Mapping[str, Callable[[str], _Page]]) -> None:
        self.pages = pages
        self._free = threading.BoundedSemaphore(self._requests_max)
        super().__init__(address, _Request)

    def server_bind(self) -> None:
        # Not HTTPServer's: that one asks DNS for our own name, which can take a minute where there is none.
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, *_: object) -> None:
        # A scraper that hangs up is no news; the default prints a traceback for it.
        structlog.get_logger().debug("telemetry.request_failed", exc_info=True)


class _Request(BaseHTTPRequestHandler):
    server: _Server
    #: Seconds for which a silent client is listened to.
    timeout: ClassVar[float] = 5.0

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0], _no_such_page)(self.headers.get("Accept", ""))
        self.send_response(page.status)
        self.send_header("Content-Type", page.content_type)
        self.send_header("Content-Length", str(len(page.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page.body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Scrapes are not news."""
