"""One HTTP GET, with a limit to everything: where it goes, how many hops, how many bytes, how long.

One `Http` serves all streams of the process: its connections are kept, because a new TLS connection costs as much
as eight requests. urllib3's timeouts are per read, so a server that sends a byte now and then would hold a thread
for ever; here the whole answer, headers included, has a deadline.
"""

import functools
import http.client
import io
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError, SSLError
from urllib3.util import Timeout, Url

from earmark.audio.guard import Guard
from earmark.audio.playlist import absolute
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.settings import Hls

REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: What is read of an answer nobody wants, so that its connection can be used again.
UNWANTED_BYTES_MAX = 16_384
#: Of Content-Encoding: as it is; and compressed by what zlib reads.
PLAIN, COMPRESSED = frozenset({"", "identity"}), frozenset({"gzip", "x-gzip", "deflate"})
ENCODINGS = PLAIN | COMPRESSED
#: Parts of a gzip body (RFC 1952, section 2.2); empty ones without end would cost time by the square of their number.
MEMBERS_MAX = 8


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    #: Empty unless the status is 200 or 206.
    body: bytes
    #: Names in lower case.
    headers: Mapping[str, str]
    #: After redirects: what relative addresses in the body refer to.
    url: str


class Http:
    """GET with limits. `streams_max` connections per host are kept open; `fetched` is told of each request: seconds, bytes."""

    def __init__(
        self,
        *,
        settings: Hls,
        guard: Guard,
        streams_max: int = 300,
        tls: ssl.SSLContext | None = None,
        fetched: Callable[[float, int], None] = lambda _seconds, _bytes: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._fetched = fetched
        self._clock = clock
        self._guard = guard
        limits = _Limits(guard=guard, read_timeout_s=settings.read_timeout_s, deadline_s=settings.deadline_s, clock=clock)
        self._pools = urllib3.PoolManager(
            num_pools=512,
            maxsize=streams_max,
            retries=False,
            timeout=Timeout(connect=settings.connect_timeout_s, read=settings.read_timeout_s),
            ssl_context=tls or ssl.create_default_context(),
            headers={"User-Agent": f"earmark/{version('earmark')}"},
        )
        self._pools.pool_classes_by_scheme = _pools(limits)

    def close(self) -> None:
        self._pools.clear()

    def get(self, url: str, *, bytes_max: int, named_host: str = "", headers: Mapping[str, str] | None = None) -> Reply:
        """Follow redirects, each checked like the first address.

        Raises SourceUnsupported for what may not be fetched or is too large, SourceUnavailable for trouble on the way.
        An answer of any status is an answer.
        """
        asked = {"Accept-Encoding": "identity", **self._pools.headers, **(headers or {})}
        target = self._guard.checked(url, named_host=named_host)
        for _ in range(self._settings.redirects_max + 1):
            reply = self._one(target, asked, bytes_max)
            if reply.status not in REDIRECTS or "location" not in reply.headers:
                return reply
            target = self._guard.checked(absolute(target.url, reply.headers["location"]), named_host=named_host)
        raise SourceUnsupported(f"{target.host} redirects more than {self._settings.redirects_max} times: the stream is not followed any further")

    def _one(self, target: Url, headers: Mapping[str, str], bytes_max: int) -> Reply:
        began, body = self._clock(), b""
        try:
            response = self._pools.urlopen("GET", target.url, headers=headers, redirect=False, preload_content=False, decode_content=False)
            try:
                body = self._body(response, target, bytes_max)
            finally:
                # Whatever was not read to its end cannot be used again; what was has gone back to its pool.
                response.close()
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:  # ValueError: http.client's, on a chunk of less than no bytes
            raise SourceUnavailable(f"{target.host} {_trouble(error, self._settings)}") from None
        finally:
            self._fetched(self._clock() - began, len(body))
        return Reply(response.status, body, {name.lower(): value for name, value in response.headers.items()}, target.url)

    def _body(self, response: urllib3.BaseHTTPResponse, target: Url, bytes_max: int) -> bytes:
        if response.status not in (200, 206):
            if len(response.read(UNWANTED_BYTES_MAX)) < UNWANTED_BYTES_MAX and not response.length_remaining:
                response.release_conn()
            return b""
        length = response.headers.get("Content-Length", "")
        if re.fullmatch(r"[0-9]{1,18}", length) and int(length) > bytes_max:
            raise SourceUnsupported(f"{target.host} announces {int(length):,} bytes where at most {bytes_max:,} are read")
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ENCODINGS:
            raise SourceUnsupported(f"{target.host} answers in the encoding {encoding[:20]!r}, which is neither asked for nor read")
        body = response.read(bytes_max + 1)
        if len(body) <= bytes_max:
            if response.length_remaining:
                raise http.client.IncompleteRead(body, response.length_remaining)
            response.release_conn()
        if encoding not in PLAIN:
            body = _inflated(body, encoding, bytes_max)
        if len(body) > bytes_max:
            raise SourceUnsupported(f"{target.host} sends more than the {bytes_max:,} bytes that are read at most")
        return body


def _inflated(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """Some packagers store their playlists compressed, whatever a client accepts. No more than a byte beyond the limit is made of it."""
    inflated = b""
    try:
        for _ in range(MEMBERS_MAX if body else 0):
            member = zlib.decompressobj(wbits=47)  # 47: zlib or gzip, whichever it is
            inflated += member.decompress(body, bytes_max + 1 - len(inflated))
            if len(inflated) > bytes_max or (member.eof and not member.unused_data):
                return inflated
            if not member.eof:
                break  # half a playlist is none
            body = member.unused_data
    except zlib.error as error:
        raise http.client.HTTPException(f"its {encoding} encoding is broken") from error
    if body:
        raise http.client.HTTPException(f"its {encoding} encoding breaks off")
    return inflated


def _trouble(error: Exception, settings: Hls) -> str:
    match error:
        case ReadTimeoutError() | TimeoutError():
            return f"did not answer in time ({settings.read_timeout_s:g} s for a read, {settings.deadline_s:g} s in all)"
        case NewConnectionError():  # before the time-out that it is a kind of
            return f"cannot be reached: {str(error).rpartition('] ')[2]}"
        case ConnectTimeoutError():
            return f"cannot be reached within {settings.connect_timeout_s:g} s"
        case SSLError() | ssl.SSLError():
            return f"failed the TLS handshake: {error}"
    return "broke off its answer"


# -------------------------------------------------------------------------------------------------- connections


@dataclass(frozen=True, kw_only=True, slots=True)
class _Limits:
    guard: Guard
    read_timeout_s: float
    deadline_s: float
    clock: Callable[[], float]


class _Deadline(io.RawIOBase):
    """A socket's bytes, until the deadline of the whole answer."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, limits: _Limits) -> None:
        self._raw = raw
        self._sock = sock
        self._limits = limits
        self._ends = limits.clock() + limits.deadline_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._ends - self._limits.clock()
        if left_s <= 0:
            raise TimeoutError("the deadline of the whole answer")
        self._sock.settimeout(min(self._limits.read_timeout_s, left_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *, limits: _Limits, method: str | None = None) -> None:
        super().__init__(sock, method=method)
        self.fp = io.BufferedReader(_Deadline(self.fp.detach(), sock, limits))


def _connect(connection: HTTPConnection, limits: _Limits) -> socket.socket:
    """A socket to an address that was checked; Host, SNI and the certificate's name stay the URL's."""
    error: OSError | None = None
    port = connection.port or connection.default_port
    for address in limits.guard.addresses(connection.host, port):
        try:
            return urllib3.util.connection.create_connection(
                (address, port), connection.timeout, source_address=connection.source_address, socket_options=connection.socket_options
            )
        except TimeoutError:
            raise ConnectTimeoutError(connection, "connect timed out") from None
        except OSError as refused:
            error = refused
    raise NewConnectionError(connection, str(error))


def _pools(limits: _Limits) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools, whose connections go where the guard says and whose answers have a deadline."""
    answer = staticmethod(functools.partial(_Answer, limits=limits))

    class Plain(HTTPConnection):
        response_class = answer  # type: ignore[assignment]

        def _new_conn(self) -> socket.socket:
            return _connect(self, limits)

    class Tls(HTTPSConnection):
        response_class = answer  # type: ignore[assignment]

        def _new_conn(self) -> socket.socket:
            return _connect(self, limits)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}
