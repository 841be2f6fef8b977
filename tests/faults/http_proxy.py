"""A proxy for HTTP on loopback that misbehaves as it is told: in front of the AWS stand-in, and of the HLS origin.

What it passes on, it remembers: which worker asked (boto3 puts AWS_SDK_UA_APP_ID into its User-Agent), for what, and what
the server behind it did, whether or not the one who asked was told.
"""

import hashlib
import http.client
import json
import re
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from faults.schedule import Fault, Schedule

#: Beyond the longest long poll.
_UPSTREAM_S = 60.0
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}
_SERVICE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9]+)/aws4_request")
_WORKER = re.compile(r"\bapp/(\S+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """A request that the server behind the proxy has answered."""

    at: float
    way: str
    method: str
    path: str
    worker: str
    status: int
    #: The whole answer reached the one who asked.
    told: bool
    headers: Mapping[str, str]
    #: Of what was sent.
    digest: str
    #: What came back; only of ways that are kept.
    answer: bytes = b""


def aws_way(_method: str, path: str, headers: Mapping[str, str]) -> str:
    """The service that a request is for; "" for what the tests themselves ask the stand-in."""
    if path in ("/GetChannel", "/BatchGetChannel", "/GetStream", "/ListStreams"):
        return "ivs"
    signed = _SERVICE.search(headers.get("authorization", ""))
    return signed[1] if signed else ""


def hls_way(_method: str, path: str, _headers: Mapping[str, str]) -> str:
    return "playlist" if path.partition("?")[0].endswith(".m3u8") else "segment"


class HttpProxy:
    """The proxy, as a context; `address` is host:port.

    `way` names what a request is for, `keep` are the ways of which answers are kept, `watch` those that are remembered.
    Writes of one key reach the server one after the other: what it checks and what it writes is one step, as in S3.
    """

    def __init__(
        self,
        *,
        upstream: str,
        schedule: Schedule,
        way: Callable[[str, str, Mapping[str, str]], str],
        watch: frozenset[str] = frozenset(),
        keep: frozenset[str] = frozenset(),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self.schedule = schedule
        self.way, self._watch, self._keep, self._now = way, watch, keep, now
        self._passed: list[Passed] = []
        self._lock = threading.Lock()
        self._keys: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.address = f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name=f"proxy of {self._upstream}", kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def passed(self) -> list[Passed]:
        """In the order in which the server behind answered."""
        with self._lock:
            return list(self._passed)

    def forward(self, method: str, path: str, headers: Mapping[str, str], body: bytes, way: str) -> "Answer":
        """Ask the server behind; what it did is remembered at once, in its order."""
        key = f"{method} {path}" if method == "PUT" else ""
        with self._keys[key] if key else _NoLock():
            answer = self._ask(method, path, headers, body)
            if way in self._watch:
                self._remember(method, path, headers, body, way, answer)
        return answer

    def not_told(self, answer: "Answer") -> None:
        """The one who asked did not get (all of) this answer."""
        with self._lock:
            if answer.place is not None:
                kept = self._passed[answer.place]
                fields = {name: getattr(kept, name) for name in Passed.__slots__}
                self._passed[answer.place] = Passed(**{**fields, "told": False})

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> "Answer":
        connection = http.client.HTTPConnection(self._upstream, timeout=_UPSTREAM_S)
        try:
            kept = {name: value for name, value in headers.items() if name not in ("connection", "expect", "content-length", "transfer-encoding")}
            connection.request(method, path, body=body or None, headers={**kept, "Content-Length": str(len(body)), "Connection": "close"})
            response = connection.getresponse()
            return Answer(status=response.status, headers=response.getheaders(), body=response.read())
        finally:
            connection.close()

    def _remember(self, method: str, path: str, headers: Mapping[str, str], body: bytes, way: str, answer: "Answer") -> None:
        named = _WORKER.search(headers.get("user-agent", ""))
        passed = Passed(
            at=self._now(),
            way=way,
            method=method,
            path=path,
            worker=named[1] if named else "",
            status=answer.status,
            told=True,
            headers={name: value for name, value in headers.items() if name.startswith("x-amz-meta-") or name in ("if-match", "if-none-match")},
            digest=hashlib.sha256(body).hexdigest(),
            answer=answer.body if way in self._keep else b"",
        )
        with self._lock:
            answer.place = len(self._passed)
            self._passed.append(passed)


@dataclass(kw_only=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    #: Among what the proxy remembers.
    place: int | None = None


class _NoLock:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, _request: Any, _client_address: Any) -> None:
        """Whoever asked was killed meanwhile: that is what this is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    proxy: HttpProxy

    def do_GET(self) -> None:
        self._serve()

    do_PUT = do_POST = do_HEAD = do_DELETE = do_GET

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = int(headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # whoever sent it was killed in the midst of it: no server takes half a request for a whole one
            self.close_connection = True
            return
        way = self.proxy.way(self.command, urlsplit(self.path).path, headers)
        fault = self.proxy.schedule.draw(way)
        if fault is None or not self._before(fault, way):
            answer = self.proxy.forward(self.command, self.path, headers, body, way)
            self._give(answer, fault)

    def _before(self, fault: Fault, way: str) -> bool:
        """What comes before the request is carried out; whether that was all."""
        match fault.kind:
            case "delay":
                self.proxy.stopping.wait(fault.seconds)
                return False
            case "hole":
                self.proxy.stopping.wait(fault.seconds)
                self._reset()
            case "reset":
                self._reset()
            case "refuse" | "throttle" | "expire" | "gone":
                self._write(error_answer(way, fault.kind))
            case _:
                return False
        return True

    def _give(self, answer: Answer, fault: Fault | None) -> None:
        """The answer, or as much of it as is wanted."""
        try:
            if fault is not None and fault.kind == "forget":
                self.proxy.not_told(answer)
                self._reset()
            elif fault is not None and fault.kind == "half":
                self.proxy.not_told(answer)
                self._write(answer, upto=len(answer.body) // 2)
                self.close_connection = True
            else:
                self._write(answer)
        except OSError:  # it is not there any more
            self.proxy.not_told(answer)
            self.close_connection = True

    def _write(self, answer: Answer, *, upto: int | None = None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if self.command == "HEAD":  # the length is the object's, and nothing follows
            self.send_header("Content-Length", next((value for name, value in answer.headers if name.lower() == "content-length"), "0"))
        else:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body if upto is None else answer.body[:upto])
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        reset(self.connection)

    def log_message(self, _format: str, *_args: object) -> None:
        """Requests are no news."""


def reset(connection: socket.socket) -> None:
    """As a peer that crashed: nothing more, and no good-bye."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


#: What the services say: SQS in JSON, SNS in the query protocol's XML, S3 in its own, IVS in REST-JSON with a header.
_CODES = {
    ("s3", "throttle"): (503, "SlowDown", "Please reduce your request rate."),
    ("s3", "expire"): (400, "ExpiredToken", "The provided token has expired."),
    ("s3", "refuse"): (500, "InternalError", "We encountered an internal error. Please try again."),
    ("s3", "gone"): (404, "NoSuchBucket", "The specified bucket does not exist"),
    ("sns", "gone"): (404, "NotFound", "Topic does not exist"),
    ("sns", "throttle"): (400, "Throttling", "Rate exceeded"),
    ("sns", "expire"): (403, "ExpiredToken", "The security token included in the request is expired"),
    ("sns", "refuse"): (500, "InternalFailure", "The request processing has failed because of an unknown error."),
    ("sqs", "throttle"): (400, "ThrottlingException", "Rate exceeded"),
    ("sqs", "expire"): (403, "ExpiredToken", "The security token included in the request is expired"),
    ("sqs", "refuse"): (503, "ServiceUnavailable", "Service unavailable"),
    ("ivs", "throttle"): (429, "ThrottlingException", "Rate exceeded"),
    ("ivs", "expire"): (403, "ExpiredTokenException", "The security token included in the request is expired"),
    ("ivs", "refuse"): (500, "InternalServerException", "Internal server error"),
}


def error_answer(way: str, kind: str) -> Answer:
    status, code, message = _CODES.get((way, kind), (503, "ServiceUnavailable", "come back later"))
    if way == "s3":
        return _xml(status, f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>0</RequestId></Error>")
    if way == "sns":
        error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        return _xml(status, f'<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">{error}<RequestId>0</RequestId></ErrorResponse>')
    body = {"message": message} if way == "ivs" else {"__type": f"com.amazonaws.{way}#{code}", "message": message}
    return Answer(status=status, headers=[("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-ErrorType", code)], body=json.dumps(body).encode())


def _xml(status: int, text: str) -> Answer:
    return Answer(status=status, headers=[("Content-Type", "text/xml")], body=f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode())
