"""A scriptable, faulty HTTP origin on loopback, and a live HLS stream whose clock the test moves by hand."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from audio_media import Coded
from earmark.settings import Hls, SessionSettings


@dataclass(frozen=True)
class Asked:
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    #: What Content-Length says, if it is not the truth.
    claims_bytes: int | None = None
    #: Never answers (until the origin closes).
    hangs: bool = False
    #: Goes on sending a byte at a time, for as long as somebody reads.
    dribbles: bool = False


Route = Answer | Callable[[Asked], Answer] | list[Answer]


class _Handler(BaseHTTPRequestHandler):
    origin: "Origin"
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: 40 ms each otherwise

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # a client that has enough just goes

    def do_GET(self) -> None:
        asked = Asked(self.path, {k.lower(): v for k, v in self.headers.items()})
        self.origin.asked.append(asked)
        self.origin.connections.add(self.client_address)
        answer = self.origin.answer(asked)
        if answer.hangs:
            self.origin.closing.wait(20)
            self.close_connection = True
        else:
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        body = b"" if answer.status == 304 else answer.body
        claimed = len(body) if answer.claims_bytes is None else answer.claims_bytes
        if answer.dribbles:
            self.send_header("Connection", "close")
        elif answer.status != 304:
            self.send_header("Content-Length", str(claimed))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or answer.dribbles or claimed != len(body)
        while answer.dribbles and not self.origin.closing.wait(0.01):
            self.wfile.write(b"x")

    def log_message(self, *_: object) -> None:
        pass


class Origin:
    """`routes[path]` is what it answers: an Answer, a function of the request, or a list taken one by one (the last stays)."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[Asked] = []
        #: Whom it was asked by: a client's port is a connection's.
        self.connections: set[object] = set()
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"origin": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def count(self, path: str) -> int:
        return sum(asked.path == path for asked in self.asked)

    def answer(self, asked: Asked) -> Answer:
        route = self.routes.get(asked.path)
        match route:
            case Answer():
                return route
            case list():
                return route.pop(0) if len(route) > 1 else route[0]
            case None:
                return Answer(status=404, body=b"<html>no</html>")
            case _:
                return route(asked)

    @contextmanager
    def running(self) -> Iterator["Origin"]:
        self._thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class Hand:
    """Clock and `session.Signals` in one, moved by waiting: no test sleeps."""

    def __init__(self) -> None:
        self.time_s = 0.0
        self.stop: object | None = None
        self.leaving = False
        self._events: list[tuple[float, Callable[[], None]]] = []
        self.waits = 0

    def at(self, time_s: float, happens: Callable[[], None]) -> None:
        self._events.append((time_s, happens))
        self._events.sort(key=lambda event: event[0])

    def clock(self) -> float:
        return self.time_s

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time_s)

    def wait(self, timeout_s: float) -> bool:
        self.waits += 1
        if self.waits > 5_000:
            raise AssertionError("the source waits for ever")
        self.time_s += timeout_s
        while self._events and self._events[0][0] <= self.time_s:
            self._events.pop(0)[1]()
        return self.leaving

    def end(self) -> None:
        self.stop = "end"

    def hand_over(self) -> None:
        self.stop, self.leaving = "handover", True


EPOCH = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


class Live:
    """A sliding window over coded media: what is older than the clock is listed, the newest `window` segments."""

    def __init__(self, origin: Origin, coded: Coded, hand: Hand, *, path: str = "/live", window: int = 6, clocks: bool = True,
                 first_sequence: int = 100, head_s: float = 0.0, ends: bool = False, query: str = "") -> None:  # fmt: skip
        self.origin, self.coded, self.hand, self.path = origin, coded, hand, path
        self.window, self.clocks, self.first_sequence, self.ends, self.query = window, clocks, first_sequence, ends, query
        #: This much was on air before the clock began.
        self.head_s = head_s
        self.began_s = hand.time_s
        #: Extra lines in front of a segment's, by its index.
        self.before: dict[int, list[str]] = {}
        #: How far the playlist may go, whatever the clock says.
        self.stalls_at: int | None = None
        origin.routes[f"{path}/list.m3u8"] = self.answer
        for index, data in enumerate(coded.segments):
            origin.routes[self.segment_path(index)] = Answer(data)
        if coded.init:
            origin.routes[f"{path}/init.mp4"] = Answer(coded.init)

    @property
    def url(self) -> str:
        return self.origin.url(f"{self.path}/list.m3u8")

    def segment_path(self, index: int) -> str:
        return f"{self.path}/{index}.{self.coded.extension}{self.query}"

    def listed(self) -> range:
        on_air_s = self.head_s + self.hand.time_s - self.began_s
        ends = 0
        total_s = 0.0
        for duration_s in self.coded.durations_s:
            total_s += duration_s
            if total_s > on_air_s + 1e-6:
                break
            ends += 1
        if self.stalls_at is not None:
            ends = min(ends, self.stalls_at)
        return range(max(0, ends - self.window), ends)

    def answer(self, asked: Asked) -> Answer:
        text = self.text()
        etag = f'"{hash(text)}"'
        if asked.headers.get("if-none-match") == etag:
            return Answer(status=304)
        return Answer(text.encode(), headers={"ETag": etag})

    def text(self) -> str:
        listed = self.listed()
        lines = ["#EXTM3U", "#EXT-X-VERSION:6", "#EXT-X-TARGETDURATION:2", f"#EXT-X-MEDIA-SEQUENCE:{self.first_sequence + listed.start}"]
        if self.coded.init:
            lines.append('#EXT-X-MAP:URI="init.mp4"')
        for index in listed:
            if self.clocks:
                clock = EPOCH + timedelta(seconds=sum(self.coded.durations_s[:index]))
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{clock.isoformat(timespec='milliseconds')}")
            lines += [*self.before.get(index, []), f"#EXTINF:{self.coded.durations_s[index]:.6f},", self.segment_path(index).rpartition("/")[2]]
        if self.ends and listed.stop == len(self.coded.segments):
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"


def settings(*origins: Origin, **changes: object) -> Hls:
    """Short real time-outs, and loopback opened for these origins, as an operator would name them."""
    quick: dict[str, object] = {"connect_timeout_s": 2.0, "read_timeout_s": 0.2, "deadline_s": 0.6}
    return Hls.model_validate({"allow_private": [origin.host for origin in origins], **quick, **changes})


def session_settings(**changes: object) -> SessionSettings:
    return SessionSettings.model_validate(changes)
