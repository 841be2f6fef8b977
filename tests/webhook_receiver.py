"""Somebody's server that hits are posted to: it answers, refuses, hangs, dribbles, cuts off, points elsewhere, or talks without end."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from earmark.settings import Webhook

#: As Standard Webhooks writes secrets: 24 bytes and 32.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER_SECRET = "whsec_" + "c29tZXRoaW5nIGVsc2UgdGhhdCBpcyAzMiBieXRlcyE="


@dataclass(frozen=True)
class Posted:
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Says:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Nothing, for as long as it runs.
    hangs: bool = False
    #: A byte of its head at a time, for as long as somebody listens.
    dribbles: bool = False
    #: The connection is closed, unanswered.
    cuts: bool = False
    #: The connection, when all was said.
    stays: bool = False
    #: Before it answers.
    after_s: float = 0.0


class _Handler(BaseHTTPRequestHandler):
    receiver: "Receiver"
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        says = self.receiver.heard(Posted(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        with suppress(OSError):
            self._answer(says)
        self.close_connection = True

    def _answer(self, says: Says) -> None:
        closing = self.receiver.closing
        if says.cuts or (says.hangs and closing.wait(20)):
            return
        closing.wait(says.after_s)
        if says.dribbles:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not closing.wait(0.01):
                self.wfile.write(b"x")
        self.send_response(says.status)
        for name, value in {"Content-Length": str(len(says.body)), **says.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for at in range(0, len(says.body), 65_536):
            self.wfile.write(says.body[at : at + 65_536])
        self.receiver.said_all += 1
        if says.stays:
            self.wfile.flush()
            closing.wait(20)

    def log_message(self, *_: object) -> None:
        pass


class Receiver:
    """`says` is a list that is taken one by one; the last one stays."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.says = [Says()]
        self.posted: list[Posted] = []
        #: Answers that somebody read, or the system took, to their end.
        self.said_all = 0
        self.closing = threading.Event()
        self._came = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"receiver": self}))
        self._server.daemon_threads = True
        self.scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_port

    def heard(self, posted: Posted) -> Says:
        with self._came:
            self.posted.append(posted)
            self._came.notify_all()
            return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    def wait_for(self, count: int, patience_s: float = 30.0) -> list[Posted]:
        with self._came:
            assert self._came.wait_for(lambda: len(self.posted) >= count, patience_s), f"only {len(self.posted)} came"
            return list(self.posted)

    def settings(self, host: str = "127.0.0.1", **changes: Any) -> Webhook:
        """Those of an operator who named this receiver, with short deadlines."""
        values: dict[str, Any] = {
            "mode": "on",
            "url": f"{self.scheme}://{host}:{self.port}/hits?token=unguessable",
            "secret": SECRET,
            "allow_private": (f"{host}:{self.port}",),
            "connect_timeout_s": 2.0,
            "deadline_s": 0.4,
        }
        return Webhook.model_validate({**values, **changes})

    @contextmanager
    def running(self) -> Iterator["Receiver"]:
        self._thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


@dataclass(frozen=True)
class Certificate:
    """Of one name, by itself its authority."""

    path: Path

    def for_server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        return context

    def for_client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))


def certificate_of(host: str, folder: Path) -> Certificate:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{host}.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM))
    return Certificate(path)


@dataclass
class Clock:
    """Of a sink: moved by hand."""

    time_s: float = 1_000.0

    def __call__(self) -> float:
        return self.time_s


NoSecrets: Callable[[], Any] = lambda: None  # noqa: E731
