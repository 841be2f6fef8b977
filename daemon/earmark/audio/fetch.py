"""One HTTP GET, with a limit to everything: where it goes, how many hops, how many bytes, how long.

One `Http` serves all streams of the process: its connections are kept (`web.connections`). A time-out of a read would
let a server that sends a byte now and then hold a thread for ever; here the whole answer, headers included, has a
deadline (`web.exchange`).
"""

import ssl
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from importlib.metadata import version
from typing import TypeVar

from earmark.audio.guard import Guard
from earmark.audio.playlist import absolute
from earmark.audio.target import Target, Targets
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.settings import Hls
from earmark.web.connections import Connections, NotConnected, Origin, unreached
from earmark.web.exchange import Connection, Head, TooLong, request

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
    #: Those that are read (`exchange.FIELDS`), names in lower case.
    headers: Mapping[str, str]
    #: After redirects: what relative addresses in the body refer to.
    url: str


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer whose body is still to come."""

    head: Head
    #: Whoever opened it reads it (`pour`), and closes it.
    connection: Connection
    #: After redirects.
    url: str

    @property
    def status(self) -> int:
        return self.head.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.head.headers


Answered = TypeVar("Answered", Reply, Opened)


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
        self._targets = Targets(guard)
        self._agent = f"earmark/{version('earmark')}"
        self.connections = Connections(
            guard=guard,
            tls=tls or ssl.create_default_context(),
            per_host_max=streams_max,
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            clock=clock,
        )

    def close(self) -> None:
        self.connections.close()

    def get(self, url: str, *, bytes_max: int, named_host: str = "", headers: Mapping[str, str] | None = None, once: bool = False) -> Reply:
        """Follow redirects, each checked like the first address.

        Raises SourceUnsupported for what may not be fetched or is too large, SourceUnavailable for trouble on the way.
        An answer of any status is an answer. `once`: what is asked is never asked again by itself, as a token in it may be
        good for one request.
        """
        return self._followed(url, named_host, lambda target: self._one(target, headers or {}, bytes_max, once=once))

    def open(self, url: str, *, named_host: str = "", headers: Mapping[str, str] | None = None, reads: Callable[[bytes], Head] | None = None) -> Opened:
        """As `get`, for a body that does not end: its head is here within the limits, and its connection is the caller's."""
        return self._followed(url, named_host, lambda target: self._begun(target, headers or {}, reads))

    def _followed(self, url: str, named_host: str, ask: Callable[[Target], Answered]) -> Answered:
        target = self._targets.of(url, named_host=named_host)
        for _ in range(self._settings.redirects_max + 1):
            answer = ask(target)
            if answer.status not in REDIRECTS or "location" not in answer.headers:
                return answer
            target = self._targets.of(absolute(target.url, answer.headers["location"]), named_host=named_host)
        raise SourceUnsupported(f"{target.host} redirects more than {self._settings.redirects_max} times: the stream is not followed any further")

    def _begun(self, target: Target, headers: Mapping[str, str], reads: Callable[[bytes], Head] | None) -> Opened:
        began, connection = self._clock(), None
        try:
            asked = request(target.path, {"Host": target.origin.authority, "User-Agent": self._agent, "Accept-Encoding": "identity", **headers})
            connection = self.connections.made(target.origin)
            head = connection.ask(asked, ends=began + self._settings.deadline_s, reads=reads)
        except (NotConnected, HTTPException, OSError, ValueError) as error:
            if connection:
                connection.close()
            raise SourceUnavailable(f"{target.host} {_trouble(error, self._settings)}") from None
        finally:
            self._fetched(self._clock() - began, 0)
        if head.status in REDIRECTS:
            connection.close()
        return Opened(head, connection, target.url)

    def _one(self, target: Target, headers: Mapping[str, str], bytes_max: int, *, once: bool) -> Reply:
        began, body = self._clock(), b""
        try:
            asked = request(target.path, {"Host": target.origin.authority, "User-Agent": self._agent, "Accept-Encoding": "identity", **headers})
            connection, head = self._asked(target.origin, asked, once=once)
            try:
                body = self._body(connection, head, target, bytes_max)
            finally:
                self.connections.keep(target.origin, connection)
        except (NotConnected, HTTPException, OSError, ValueError) as error:
            raise SourceUnavailable(f"{target.host} {_trouble(error, self._settings)}") from None
        finally:
            self._fetched(self._clock() - began, len(body))
        return Reply(head.status, body, head.headers, target.url)

    def _asked(self, origin: Origin, asked: bytes, *, once: bool) -> tuple[Connection, Head]:
        """A connection whose answer has begun.

        A server may close one that was kept at any moment. What is asked then, and not answered by a single byte, is
        asked again over a new one (RFC 9112, section 9.3.1): that is no trouble of the stream's.
        """
        ends = self._clock() + self._settings.deadline_s
        kept = None if once else self.connections.kept(origin)
        if kept is not None:
            try:
                return kept, kept.ask(asked, ends=ends)
            except (OSError, HTTPException) as error:
                kept.close()
                if kept.answered or isinstance(error, TimeoutError):
                    raise
        made = self.connections.made(origin)
        try:
            return made, made.ask(asked, ends=ends)
        except (OSError, HTTPException):
            made.close()
            raise

    def _body(self, connection: Connection, head: Head, target: Target, bytes_max: int) -> bytes:
        if head.status not in (200, 206):
            with suppress(TooLong):
                connection.body(head, UNWANTED_BYTES_MAX)
            return b""
        encoding = head.headers.get("content-encoding", "").strip().lower()
        if encoding not in ENCODINGS:
            raise SourceUnsupported(f"{target.host} answers in the encoding {encoding[:20]!r}, which is neither asked for nor read")
        try:
            body = connection.body(head, bytes_max)
            return body if encoding in PLAIN else _inflated(body, encoding, bytes_max)
        except TooLong as error:
            if error.announced is not None:
                raise SourceUnsupported(f"{target.host} announces {error.announced:,} bytes where at most {bytes_max:,} are read") from None
            raise SourceUnsupported(f"{target.host} sends more than the {bytes_max:,} bytes that are read at most") from None


def _inflated(body: bytes, encoding: str, bytes_max: int) -> bytes:
    """Some packagers store their playlists compressed, whatever a client accepts. No more than a byte beyond the limit is made of it.

    Raises TooLong, HTTPException.
    """
    inflated = b""
    try:
        for _ in range(MEMBERS_MAX if body else 0):
            member = zlib.decompressobj(wbits=47)  # 47: zlib or gzip, whichever it is
            inflated += member.decompress(body, bytes_max + 1 - len(inflated))
            if len(inflated) > bytes_max:
                raise TooLong
            if member.eof and not member.unused_data:
                return inflated
            if not member.eof:
                break  # half a playlist is none
            body = member.unused_data
    except zlib.error as error:
        raise HTTPException(f"its {encoding} encoding is broken") from error
    if body:
        raise HTTPException(f"its {encoding} encoding breaks off")
    return inflated


def _trouble(error: Exception, settings: Hls) -> str:
    if isinstance(error, TimeoutError):
        return f"did not answer in time ({settings.read_timeout_s:g} s for a read, {settings.deadline_s:g} s in all)"
    return unreached(error, connect_timeout_s=settings.connect_timeout_s) or "broke off its answer"
