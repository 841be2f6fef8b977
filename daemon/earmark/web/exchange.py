"""One HTTP/1.1 exchange (RFC 9112) at a time over a connection that stays open: a request goes out, its answer is read within limits.

urllib3 and http.client, which reads a head line by line as if it were a mail's, cost four times as much: of hundreds of
streams, each with a request a second, a tenth of the processor. Here bytes are taken as they come, a head is searched
once, and a socket's time-out is set once. What an answer's end depends on is read strictly; any other field may look as
it likes.
"""

import re
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.client import HTTPException, IncompleteRead
from math import inf

#: A request that is no longer is taken by the system at once, whoever is at the other end.
TAKEN_BYTES = 2_048
#: Taken from the socket at once: a segment of sound, or as much as TLS ever gives, and more of a picture's.
READ_BYTES = 65_536
#: More than that is no head. http.client has the same limits.
HEAD_BYTES_MAX, FIELDS_MAX = 65_536, 100
#: Answers before the answer: 100 (Continue), 103 (Early Hints).
INTERIM_MAX = 8
#: Of a line in front of a chunk (its size, and extensions that nobody uses) or behind the last one.
LINE_BYTES_MAX = 1_024

#: What an answer's end depends on, and what its readers want to know. No other field is looked at.
FIELDS = ("connection", "content-encoding", "content-length", "etag", "location", "transfer-encoding")

#: Behind the last line. It begins with a byte to look for: had it a CR in front that need not be there, the search would take ten times as long.
_HEAD_END = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})[ \r\n]")
_FIELD = re.compile(rb"(?i)\n(%b)[ \t]*:([^\r\n]*)" % "|".join(FIELDS).encode())
#: A line that goes on in the next one, as was allowed once (RFC 9112, section 5.2).
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?")
#: What would begin another line of our request, or end it (RFC 9110, section 5.5).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class TooLong(Exception):
    """More than was to be read; `announced` is what the answer itself says."""

    def __init__(self, announced: int | None = None) -> None:
        super().__init__("more bytes than are read")
        self.announced = announced


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    status: int
    #: `FIELDS`, as far as they are there; of one that comes twice the values, with a comma between.
    headers: Mapping[str, str]
    #: Bytes of the body; None: it is chunked, or ends with the connection.
    length: int | None
    chunked: bool
    #: The connection may be used again, if the body is read to its end.
    stays: bool


def request(path: str, headers: Mapping[str, str]) -> bytes:
    """A GET. Raises ValueError for what would be more than one request."""
    return _head_of("GET", path, headers)


def posted(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A POST, with its length. Raises as `request`."""
    return _head_of("POST", path, {**headers, "Content-Length": str(len(body))}) + body


def _head_of(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if " " in path or any(_CONTROL.search(line) for line in lines):
        raise ValueError("a line of the request holds what would end it")
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


class Connection:
    """A connected socket. `ask`, then `body`; what either raises is the end of it, as is a body that is not read."""

    def __init__(self, sock: socket.socket, *, read_timeout_s: float, clock: Callable[[], float]) -> None:
        self._sock = sock
        self._read_timeout_s = self._timeout_s = read_timeout_s
        self._clock = clock
        self._ends = inf
        #: What was received last, and how much of it is used up.
        self._data, self._at = b"", 0
        #: A byte of the answer has come.
        self.answered = False
        #: The last answer was read to its end, and the server keeps the connection open.
        self.reusable = False
        sock.settimeout(read_timeout_s)
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)

    def close(self) -> None:
        self._sock.close()

    @property
    def is_quiet(self) -> bool:
        """Nothing was received that was not asked for: neither the connection's end, nor an answer to nothing."""
        return not self._readable.poll(0)

    def ask(self, asked: bytes, *, ends: float, reads: Callable[[bytes], Head] | None = None) -> Head:
        """Send it, and read the answer's head. `ends`: when all of the answer has to be here, by the clock. `reads`: `parsed`, or what reads it instead.

        Raises OSError (TimeoutError after `ends`, or the time-out of a read), HTTPException.
        """
        self._ends, self.answered, self.reusable = ends, False, False
        if len(asked) > TAKEN_BYTES:
            self._limit()
        self._sock.sendall(asked)  # within its time-out, all of it
        for _ in range(INTERIM_MAX):
            head = (reads or parsed)(self._head())
            if head.status >= 200:
                return head
        raise HTTPException("it goes on announcing an answer")

    def body(self, head: Head, bytes_max: int) -> bytes:
        """Raises TooLong, and what `ask` raises."""
        if head.chunked:
            body = b"".join(self._chunks(bytes_max))
        elif head.length is None:
            body = self._rest(bytes_max)
        elif head.length > bytes_max:
            raise TooLong(head.length)
        else:
            body = self._take(head.length)
        # Bytes behind the body are the answer to nothing that was asked.
        self.reusable = head.stays and self._at == len(self._data)
        self._data, self._at = b"", 0  # a connection that waits for its next use holds nothing
        return body

    def pour(self, timeout_s: float) -> bytes | None:
        """What comes next of a body that does not end, chunks' sizes and all; b"": it has ended; None: nothing within that time. Raises OSError."""
        if self._at < len(self._data):
            data, self._data, self._at = self._data[self._at :], b"", 0
            return data
        if timeout_s != self._timeout_s:
            self._sock.settimeout(timeout_s)
            self._timeout_s = timeout_s
        try:
            return self._sock.recv(READ_BYTES)
        except TimeoutError:
            return None

    # ------------------------------------------------------------------------------------------ bytes

    def _more(self) -> bytes:
        """What has come, at least a byte; none: the connection has ended."""
        self._limit()
        data = self._sock.recv(READ_BYTES)
        self.answered = self.answered or bool(data)
        return data

    def _limit(self) -> None:
        """The next step takes no longer than a read may, nor than the deadline leaves."""
        left_s = self._ends - self._clock()
        if left_s <= 0:
            raise TimeoutError("the deadline of the whole answer")
        timeout_s = min(self._read_timeout_s, left_s)
        if timeout_s != self._timeout_s:
            self._sock.settimeout(timeout_s)
            self._timeout_s = timeout_s

    def _add(self) -> None:
        """To what is not used up yet, which is little, or nothing."""
        data = self._more()
        if not data:
            raise IncompleteRead(self._data[self._at :])
        self._data, self._at = self._data[self._at :] + data, 0

    def _head(self) -> bytes:
        """Up to, and without, the last line's end."""
        searched = self._at
        while (end := _HEAD_END.search(self._data, searched)) is None and len(self._data) - self._at <= HEAD_BYTES_MAX:
            searched = max(0, len(self._data) - self._at - 3)
            self._add()
        if end is None or end.start() - self._at > HEAD_BYTES_MAX:
            raise HTTPException("its head does not end")
        head, self._at = self._data[self._at : end.start() + 1], end.end()
        return head

    def _take(self, size: int) -> bytes:
        """So many bytes, of which some may be here already."""
        parts = [self._data[self._at : self._at + size]]
        self._at += len(parts[0])
        left = size - len(parts[0])
        while left > 0:
            self._add()
            parts.append(self._data[:left])
            self._at = len(parts[-1])
            left -= self._at
        return b"".join(parts)

    def _rest(self, bytes_max: int) -> bytes:
        """Up to where the connection ends."""
        parts = [self._data[self._at :]]
        size = len(parts[0])
        while size <= bytes_max and (part := self._more()):
            parts.append(part)
            size += len(part)
        if size > bytes_max:
            raise TooLong
        return b"".join(parts)

    def _chunks(self, bytes_max: int) -> Iterator[bytes]:
        """RFC 9112, section 7.1."""
        while size := chunk_size(self._line()):
            bytes_max -= size
            if bytes_max < 0:
                raise TooLong
            yield self._take(size)
            if self._line():
                raise HTTPException("a chunk is longer than it says")
        for _ in range(FIELDS_MAX):
            if not self._line():
                return
        raise HTTPException("its trailer does not end")

    def _line(self) -> bytes:
        while (end := self._data.find(b"\n", self._at, self._at + LINE_BYTES_MAX)) < 0:
            if len(self._data) - self._at >= LINE_BYTES_MAX:
                raise HTTPException("a line between its chunks does not end")
            self._add()
        line, self._at = self._data[self._at : end], end + 1
        return line.removesuffix(b"\r")


def parsed(text: bytes) -> Head:
    """A head, without the empty line at its end. Raises HTTPException when nobody can say where the answer ends."""
    said = _STATUS.match(text)
    if said is None or text.count(b"\n") > FIELDS_MAX:
        raise HTTPException("it does not begin as an answer of HTTP/1 does")
    headers = _fields(text)
    status = int(said[2])
    connection = headers.get("connection", "").lower()
    stays = "close" not in connection and (said[1] != b"0" or "keep-alive" in connection)
    if status < 200 or status in (204, 304):
        return Head(status=status, headers=headers, length=0, chunked=False, stays=stays)
    coding = headers.get("transfer-encoding", "").lower()
    if coding not in ("", "identity", "chunked"):
        raise HTTPException("it is coded in a way that was not asked for")
    if coding == "chunked":
        # A length beside it is of no account, but somebody on the way may have believed it.
        return Head(status=status, headers=headers, length=None, chunked=True, stays=stays and "content-length" not in headers)
    length = _length(headers.get("content-length"))
    return Head(status=status, headers=headers, length=length, chunked=False, stays=stays and length is not None)


def chunk_size(line: bytes) -> int:
    """Of the line in front of a chunk. Raises HTTPException."""
    said = _CHUNK_SIZE.fullmatch(line)
    if said is None:
        raise HTTPException("a chunk without a size")
    return int(said[1], 16)


def _fields(text: bytes) -> dict[str, str]:
    if b"\n " in text or b"\n\t" in text:
        text = _FOLD.sub(b" ", text)
    headers = dict[str, str]()
    for name, value in _FIELD.findall(text):
        key, said = name.decode("ascii").lower(), value.decode("latin-1").strip()
        headers[key] = f"{headers[key]}, {said}" if key in headers else said
    return headers


def _length(said: str | None) -> int | None:
    """RFC 9110, section 8.6: the same length twice is one."""
    if said is None:
        return None
    values = {value.strip() for value in said.split(",")}
    (value,) = values if len(values) == 1 else ("",)
    if not _LENGTH.fullmatch(value):
        raise HTTPException("its length is no number")
    return int(value)
