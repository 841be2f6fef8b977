"""From an address to a radio station's sound: the answer's head, files that only say where the station is, and a body without end.

What is refused is refused here: pages, playlists of HLS, stored files, and sound that is neither MP3 nor AAC. Where an
address leads is judged as everywhere (`audio.guard`), that of a redirect and that in a file, too.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Literal, Protocol
from urllib.parse import urlsplit

from earmark.audio.elementary import Framer
from earmark.audio.fetch import PLAIN, Opened, Reply
from earmark.audio.icy import Deinterleaver, decoded
from earmark.audio.playlist import absolute
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.settings import Hls
from earmark.web import exchange
from earmark.web.addresses import host_of
from earmark.web.exchange import LINE_BYTES_MAX, Head

ASKED: Mapping[str, str] = {"Icy-MetaData": "1", "Connection": "close"}
#: What is read of an answer's head beside what HTTP needs.
_FIELD = re.compile(rb"(?i)\n(content-type|icy-metaint|icy-name|icy-br)[ \t]*:([^\r\n]*)")
#: Files that say where a station is: read so far, and followed from one to the next so often.
LIST_BYTES_MAX, LISTS_MAX = 65_536, 3
_LISTS = frozenset({"audio/x-scpls", "audio/scpls", "application/pls+xml", "audio/x-mpegurl", "audio/mpegurl", "application/x-mpegurl"})
_HLS = frozenset({"application/vnd.apple.mpegurl", "application/x-mpegurl", "audio/x-mpegurl", "audio/mpegurl"})
_ENTRY_OF_PLS = re.compile(r"(?im)^[ \t]*File[0-9]+[ \t]*=[ \t]*(\S+)")
#: Types of what is certainly no MP3 and no AAC in ADTS; of others, and of none, the bytes are asked.
_OTHER = re.compile(
    r"(?:image|video|font|model|multipart)/.*|text/(?:html|xml|css|javascript)|application/(?:json|xml|xhtml\+xml|pdf|zip|ogg|.*flash.*)"
    r"|audio/(?:ogg|opus|flac|x-flac|wav|x-wav|webm|mp4|x-m4a|midi|.*wma.*)"
)
#: An answer that is shorter, and not a radio server's, is a stored file: a day of 128 kbit/s.
FILE_BYTES_MAX = 1_400_000_000
#: What is at an address is found out from so many bytes, or not at all.
LOOKED_AT_BYTES = 65_536


class Opens(Protocol):
    """`audio.fetch.Http`."""

    def get(self, url: str, *, bytes_max: int, named_host: str = "", headers: Mapping[str, str] | None = None) -> Reply: ...
    def open(self, url: str, *, named_host: str = "", headers: Mapping[str, str] | None = None, reads: Callable[[bytes], Head] | None = None) -> Opened: ...


# ---------------------------------------------------------------------------------------------- the head


def read_head(text: bytes) -> Head:
    """As `exchange.parsed`, with what is said about the sound among the headers; an old server's answer is `ICY 200 OK`. Raises HTTPException."""
    if text.startswith(b"ICY "):
        text = b"HTTP/1.0 " + text[4:]
    head = exchange.parsed(text)
    said = {name.decode("ascii").lower(): decoded(value.strip()) for name, value in _FIELD.findall(text)}
    return replace(head, headers={**head.headers, **said})


@dataclass(frozen=True, kw_only=True, slots=True)
class Station:
    """What an answer's head says."""

    content_type: str
    #: Bytes of sound between two blocks of words; 0: no words come.
    metaint: int
    name: str
    kbps: int
    #: It speaks as a radio server does, whatever it says about its length.
    icy: bool

    @classmethod
    def of(cls, head: Head) -> "Station":
        said = head.headers
        return cls(
            content_type=said.get("content-type", "").partition(";")[0].strip().lower(),
            metaint=_number(said.get("icy-metaint", "")),
            name=said.get("icy-name", ""),
            kbps=_number(said.get("icy-br", "").partition(",")[0]),
            icy=any(name.startswith("icy-") for name in said),
        )


def _number(text: str) -> int:
    """What is no number, or a negative one, was not said."""
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text.strip()) else 0


# ---------------------------------------------------------------------------------------------- the body


class Dechunker:
    """RFC 9112, section 7.1, as bytes come; however they are cut, the same come out."""

    def __init__(self) -> None:
        self._left = 0
        self._line = b""
        #: A chunk is over, and the end of its line is not.
        self._behind = False
        self.over = False

    def push(self, data: bytes) -> bytes:
        """Raises HTTPException."""
        parts, at = list[bytes](), 0
        while at < len(data) and not self.over:
            if self._left:
                parts.append(data[at : at + self._left])
                at += len(parts[-1])
                self._left -= len(parts[-1])
                self._behind = not self._left
                continue
            end = data.find(b"\n", at)
            self._line += data[at : end if end >= 0 else len(data)]
            if len(self._line) > LINE_BYTES_MAX:
                raise HTTPException("a line between its chunks does not end")
            if end < 0:
                break
            at, line, self._line = end + 1, self._line.removesuffix(b"\r"), b""
            if not self._behind:
                self._left = exchange.chunk_size(line)
                self.over = not self._left
            elif line:
                raise HTTPException("a chunk is longer than it says")
            self._behind = False
        return b"".join(parts)


class Body:
    """What comes behind a head, for as long as it does."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened
        self._dechunker = Dechunker() if opened.head.chunked else None
        self.host = host_of(opened.url)

    def read(self, timeout_s: float) -> bytes:
        """What has come; nothing if nothing has within that time. Raises SourceUnavailable when no more will."""
        try:
            data = self._opened.connection.pour(timeout_s)
            if data is None:
                return b""
            if data and self._dechunker is None:
                return data
            if data and self._dechunker and ((sound := self._dechunker.push(data)) or not self._dechunker.over):
                return sound
        except (OSError, HTTPException) as error:
            raise SourceUnavailable(f"{self.host} broke off: {error}") from None
        raise SourceUnavailable(f"{self.host} has closed the connection")

    def close(self) -> None:
        self._opened.connection.close()


@dataclass(frozen=True, slots=True)
class Tuned:
    station: Station
    body: Body


# ---------------------------------------------------------------------------------------------- the way there


def tune(url: str, http: Opens, *, named_host: str) -> Tuned:
    """The station at the address, or at the one that a file there names.

    Raises SourceUnsupported for what is no station, SourceUnavailable when it does not answer as one.
    """
    for _ in range(LISTS_MAX + 1):
        opened = _opened(url, http, named_host)
        station = Station.of(opened.head)
        if not _is_list(opened, station):
            try:
                _check(opened, station)
            except BaseException:
                opened.connection.close()
                raise
            return Tuned(station, Body(opened))
        opened.connection.close()
        url = _named_in(http.get(url, bytes_max=LIST_BYTES_MAX, named_host=named_host))
    raise SourceUnsupported(f"{host_of(url)} is the end of {LISTS_MAX} playlist files that name one another: none of them names a station")


def found_at(url: str, http: Opens, *, settings: Hls, named_host: str, clock: Callable[[], float] = time.monotonic) -> Literal["hls", "radio"]:
    """By its first bytes. Raises SourceUnsupported when it is neither, SourceUnavailable when it does not answer."""
    opened = _opened(url, http, named_host)
    try:
        station, body, begins, framer, ends = Station.of(opened.head), Body(opened), b"", Framer(), clock() + settings.deadline_s
        if not _is_plain(opened):  # players of radio know no encodings
            return "hls"
        words = Deinterleaver(station.metaint)
        while len(begins) < LOOKED_AT_BYTES and clock() < ends:
            try:
                data = body.read(settings.read_timeout_s)
            except SourceUnavailable:
                break
            begins += data
            if framer.push(b"".join(part for part in words.push(data) if isinstance(part, bytes))):
                return "radio"
            if not data:
                break
        if (text := _text(begins)).startswith("#EXTM3U") and "#EXT-X-" in text:
            return "hls"
        if _is_list(opened, station):
            return "radio"
    finally:
        opened.connection.close()
    raise SourceUnsupported(f"what {host_of(opened.url)} serves is neither an HLS playlist nor a radio station of MP3 or AAC: it begins with {text[:20]!r}")


def _opened(url: str, http: Opens, named_host: str) -> Opened:
    opened = http.open(url, named_host=named_host, headers=ASKED, reads=read_head)
    if opened.status == 200:
        return opened
    opened.connection.close()
    raise SourceUnavailable(f"{host_of(opened.url)} answered {opened.status} for the station")


def _is_list(opened: Opened, station: Station) -> bool:
    if station.content_type in _LISTS | _HLS:
        return True
    return urlsplit(opened.url).path.lower().endswith((".pls", ".m3u", ".m3u8")) and not station.content_type.startswith("audio/")


def _is_plain(opened: Opened) -> bool:
    return opened.headers.get("content-encoding", "").strip().lower() in PLAIN


def _check(opened: Opened, station: Station) -> None:
    host, length = host_of(opened.url), opened.head.length
    if _OTHER.fullmatch(station.content_type) or not _is_plain(opened):
        raise SourceUnsupported(f"what {host} serves is {station.content_type[:40]}: of radio stations only MP3 and AAC (in ADTS) are heard")
    if length is not None and length < FILE_BYTES_MAX and not station.icy:
        raise SourceUnsupported(f"what {host} serves is {length:,} bytes long: that is a stored file, and no radio station; `earmark identify` hears files")


def _named_in(reply: Reply) -> str:
    """The first address in a file of either kind."""
    host = host_of(reply.url)
    if reply.status != 200:
        raise SourceUnavailable(f"{host} answered {reply.status} for the station's playlist file")
    text = _text(reply.body)
    if text.startswith("#EXTM3U") and "#EXT-X-" in text:
        raise SourceUnsupported(f"what {host} serves is an HLS playlist, and no radio station: its kind is hls")
    entry = _ENTRY_OF_PLS.search(text)
    lines = (line.strip() for line in text.splitlines())
    address = entry[1] if entry else next((line for line in lines if line and not line.startswith(("#", "["))), "")
    if not address:
        raise SourceUnsupported(f"the playlist file that {host} serves names no station")
    return absolute(reply.url, address)


def _text(body: bytes) -> str:
    return body.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
