"""Answers as servers send them, byte for byte, and connections that they close when they like."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress

import pytest

from audio_origin import settings
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.web.connections import HOSTS_MAX, Connections, Origin
from earmark.web.exchange import FIELDS_MAX, Connection

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#: The connection is closed, unanswered.
HANGS_UP = b""


class Server(threading.Thread):
    """Answers the requests of its first connection with the first list of bytes, of the second with the second; then hangs up."""

    def __init__(self, *connections: Sequence[bytes], piece_bytes: int = 1_000_000) -> None:
        super().__init__(daemon=True)
        self._connections = connections
        self._piece_bytes = piece_bytes
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.host}/a"
        self.asked: list[bytes] = []
        self.made = 0
        #: So many connections are closed.
        self.closed = threading.Semaphore(0)

    def run(self) -> None:
        for answers in self._connections:
            with suppress(OSError):
                connection, _ = self._socket.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.made += 1
                with connection, suppress(OSError):
                    for answer in answers:
                        self.asked.append(connection.recv(65_536))
                        for begin in range(0, len(answer), self._piece_bytes):
                            connection.sendall(answer[begin : begin + self._piece_bytes])
                self.closed.release()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.join(5)


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    made = list[Server]()

    def serving(*connections: Sequence[bytes], piece_bytes: int = 1_000_000) -> Server:
        made.append(Server(*connections, piece_bytes=piece_bytes))
        made[-1].start()
        return made[-1]

    yield serving
    for server in made:
        server.close()


def http(*servers: Server, told: list[int] | None = None, **changes: object) -> Http:
    configured = settings(allow_private=[server.host for server in servers], **{"read_timeout_s": 2, "deadline_s": 4, **changes})
    counted = told if told is not None else []
    return Http(settings=configured, guard=Guard(settings=configured), fetched=lambda _seconds, size: counted.append(size))


# ------------------------------------------------------------------------------------------------ connections that were kept


def test_a_connection_that_was_closed_since_is_made_anew(serve: Serve) -> None:
    server = serve([OK], [OK])
    with closing(http(server)) as client:
        assert client.get(server.url, bytes_max=10).body == b"hello"
        assert server.closed.acquire(timeout=5)
        assert client.get(server.url, bytes_max=10).body == b"hello"
    assert server.made == 2


def test_one_that_is_closed_while_it_is_asked_is_no_trouble_of_the_stream(serve: Serve) -> None:
    """It was open when it was looked at."""
    server, told = serve([OK, HANGS_UP], [OK]), list[int]()
    with closing(http(server, told=told)) as client:
        assert [client.get(server.url, bytes_max=10).body for _ in range(2)] == [b"hello"] * 2
    assert (server.made, len(server.asked), told) == (2, 3, [5, 5])


def test_it_is_asked_again_once(serve: Serve) -> None:
    server = serve([OK, HANGS_UP], [HANGS_UP], [OK])
    with closing(http(server)) as client:
        client.get(server.url, bytes_max=10)
        with pytest.raises(SourceUnavailable, match="broke off its answer"):
            client.get(server.url, bytes_max=10)
    assert server.made == 2


@pytest.mark.parametrize("begun", [b"H", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"])
def test_an_answer_that_has_begun_is_not_asked_for_again(serve: Serve, begun: bytes) -> None:
    server = serve([OK, begun], [OK])
    with closing(http(server)) as client:
        client.get(server.url, bytes_max=10)
        with pytest.raises(SourceUnavailable, match="broke off its answer"):
            client.get(server.url, bytes_max=10)
    assert server.made == 1


def test_a_new_connection_that_says_nothing_is_trouble(serve: Serve) -> None:
    server = serve([HANGS_UP], [OK])
    with closing(http(server)) as client, pytest.raises(SourceUnavailable, match="broke off its answer"):
        client.get(server.url, bytes_max=10)


def test_a_server_that_hangs_on_a_kept_connection_is_not_asked_twice(serve: Serve) -> None:
    waits = threading.Event()

    class Hangs(bytes):
        def __len__(self) -> int:
            waits.wait(5)
            return 0

    server = serve([OK, Hangs()], [OK])
    with closing(http(server, read_timeout_s=0.2)) as client:
        client.get(server.url, bytes_max=10)
        with pytest.raises(SourceUnavailable, match="did not answer in time"):
            client.get(server.url, bytes_max=10)
        assert server.made == 1
        waits.set()


@pytest.mark.parametrize("more", [b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", b"x"])
def test_what_nobody_asked_for_is_the_answer_to_nothing(serve: Serve, more: bytes) -> None:
    """Some servers say that they have waited for long enough; others count their bytes wrongly."""
    server = serve([OK + more, OK], [OK])
    with closing(http(server)) as client:
        assert [client.get(server.url, bytes_max=10).status for _ in range(2)] == [200, 200]
    assert server.made == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello",
    ],
)
def test_connections_that_do_not_stay_are_not_kept(serve: Serve, answer: bytes) -> None:
    server = serve([answer], [answer])
    with closing(http(server)) as client:
        assert [client.get(server.url, bytes_max=10).body for _ in range(2)] == [b"hello"] * 2
    assert server.made == 2


@pytest.mark.parametrize(
    "answer, body",
    [
        (OK, b"hello"),
        (b"HTTP/1.1 200\r\ncontent-length:5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nX-Long: of two\r\n lines\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nhe\r\n003 \r\nllo\r\n0\r\nX: y\r\n\r\n", b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK, b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 700\r\n\r\n", b""),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", b""),
    ],
)
@pytest.mark.parametrize("piece_bytes", [1_000_000, 1])
def test_a_connection_is_used_again_however_its_answers_are_written(serve: Serve, answer: bytes, body: bytes, piece_bytes: int) -> None:
    server = serve([answer, OK], piece_bytes=piece_bytes)
    with closing(http(server)) as client:
        assert client.get(server.url, bytes_max=10).body == body
        assert client.get(server.url, bytes_max=10).body == b"hello"
    assert server.made == 1


def test_what_is_larger_than_one_reading_is_put_together(serve: Serve) -> None:
    body = bytes(range(256)) * 2_000
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:1], body[1:70_000], body[70_000:]))
    counted = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    server = serve([counted, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"])
    with closing(http(server)) as client:
        assert [client.get(server.url, bytes_max=len(body)).body == body for _ in range(2)] == [True, True]


# ------------------------------------------------------------------------------------------------ answers that are none


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"\r\n\r\n" + OK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 5_000 + b"\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * (FIELDS_MAX + 1) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50 + OK,
    ],
)
def test_what_does_not_say_where_it_ends_is_no_answer(serve: Serve, answer: bytes) -> None:
    server = serve([answer])
    with closing(http(server)) as client, pytest.raises(SourceUnavailable, match="broke off its answer"):
        client.get(server.url, bytes_max=10)


@pytest.mark.parametrize("head", [b"Content-Length: 11\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\n", b"\r\n"])
def test_a_byte_more_than_the_limit_is_refused(serve: Serve, head: bytes) -> None:
    server = serve([b"HTTP/1.1 200 OK\r\n" + head + b"hello world"])
    with closing(http(server)) as client, pytest.raises(SourceUnsupported, match=r"\b10 .*read"):
        client.get(server.url, bytes_max=10)


@pytest.mark.parametrize("etag", ['"1"\r\nHost: x', '"1"\n', '"\0"', '"\u20ac"'])
def test_what_a_server_said_does_not_become_a_line_of_the_next_request(serve: Serve, etag: str) -> None:
    server = serve([OK])
    with closing(http(server)) as client, pytest.raises(SourceUnavailable):
        client.get(server.url, bytes_max=10, headers={"If-None-Match": etag})
    assert server.asked == []


def test_a_request_is_what_it_should_be(serve: Serve) -> None:
    server = serve([OK])
    with closing(http(server)) as client:
        client.get(f"{server.url}?b=%C3%BC", bytes_max=10, headers={"If-None-Match": '"\xe9"'})
    first, *fields, end, nothing = server.asked[0].decode("latin-1").split("\r\n")
    assert (first, end, nothing) == ("GET /a?b=%C3%BC HTTP/1.1", "", "")
    said = dict(field.split(": ", 1) for field in fields)
    assert said.pop("User-Agent").startswith("earmark/")
    assert said == {"Host": server.host, "Accept-Encoding": "identity", "If-None-Match": '"\xe9"'}


# ------------------------------------------------------------------------------------------------ how many are kept


class Open(Connection):
    """One that was just read to its end."""

    def __init__(self) -> None:
        self.reusable, self.open = True, True

    def close(self) -> None:
        self.open = False

    @property
    def is_quiet(self) -> bool:
        return True


def kept(per_host_max: int) -> Connections:
    configured = settings()
    return Connections(
        guard=Guard(settings=configured),
        tls=ssl.create_default_context(),
        per_host_max=per_host_max,
        connect_timeout_s=1,
        read_timeout_s=1,
        clock=lambda: 0.0,
    )


def test_of_a_host_no_more_are_kept_than_are_used_at_once_and_the_last_one_used_is_the_first_again() -> None:
    origin, mine = Origin("https", "a.example", 443), [Open() for _ in range(3)]
    connections = kept(2)
    for connection in mine:
        connections.keep(origin, connection)
    assert [connection.open for connection in mine] == [True, True, False]
    assert connections.kept(Origin("https", "b.example", 443)) is None
    assert connections.kept(origin) is mine[1]
    connections.close()
    assert [connection.open for connection in mine] == [False, True, False], "what is in use is its user's"


def test_hosts_that_nobody_asks_any_more_are_forgotten() -> None:
    mine = [Open() for _ in range(HOSTS_MAX + 1)]
    connections = kept(2)
    for number, connection in enumerate(mine):
        connections.keep(Origin("https", f"{number}.example", 443), connection)
    assert [connection.open for connection in mine] == [False] + [True] * HOSTS_MAX
    del connections
    assert not any(connection.open for connection in mine), "nor is one left open when nobody is left to use it"
