"""A radio station: coded sound that goes on air by a clock, words in between, and a server that hands it to whoever listens, faults included."""

import functools
import io
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame

from audio_media import Float32, adts_frames, tones

MP3_RATE_HZ, MP3_FRAME = 44_100, 1_152
MP3_FRAME_S = MP3_FRAME / MP3_RATE_HZ
AAC_RATE_HZ = 48_000
AAC_FRAME_S = 1_024 / AAC_RATE_HZ


def mp3_frames(samples: Float32, rate_hz: int = MP3_RATE_HZ, kbps: int = 128) -> list[bytes]:
    """float32 [channels, n] -> frames of constant bit rate, without any tag."""
    frames = []
    with av.open(io.BytesIO(), "w", format="mp3", options={"write_xing": "0", "id3v2_version": "0"}) as out:
        stream: Any = out.add_stream("libmp3lame", rate=rate_hz)
        stream.layout, stream.bit_rate = ("mono", "stereo")[len(samples) - 1], kbps * 1_000
        for begin in range(0, samples.shape[1], MP3_FRAME):
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, begin : begin + MP3_FRAME]), format="fltp", layout=stream.layout.name)
            frame.sample_rate, frame.pts = rate_hz, begin
            frames += [bytes(packet) for packet in stream.encode(frame)]
        frames += [bytes(packet) for packet in stream.encode(None)]
    return frames


@functools.cache
def mp3(duration_s: float = 30.0, seed: int = 1) -> tuple[bytes, ...]:
    return tuple(mp3_frames(tones(duration_s, MP3_RATE_HZ, 2, seed)))


@functools.cache
def aac(duration_s: float = 30.0, seed: int = 1) -> tuple[bytes, ...]:
    return tuple(adts_frames(tones(duration_s, AAC_RATE_HZ, 2, seed), AAC_RATE_HZ))


@functools.cache
def noise(duration_s: float = 30.0, seed: int = 1) -> tuple[bytes, ...]:
    """Frames as MP3's are, made in no time, of which no two are alike; nobody could decode them."""
    made = np.random.default_rng(seed).bytes(413 * round(duration_s / MP3_FRAME_S))
    return tuple(b"\xff\xfb\x90\x64" + made[at : at + 413].replace(b"\xff", b"\xfe") for at in range(0, len(made), 413))


def words(text: str | bytes) -> bytes:
    """A block as servers write it: how many sixteens, the words, zeros."""
    said = text if isinstance(text, bytes) else f"StreamTitle='{text}';".encode()
    padded = said + bytes(-len(said) % 16)
    return bytes([len(padded) // 16]) + padded


def interleaved(sound: bytes, metaint: int, blocks: Sequence[bytes]) -> bytes:
    """Sound with the blocks behind each `metaint` bytes, empty ones when there are no more."""
    out, left = b"", list(blocks)
    for at in range(0, len(sound), metaint):
        part = sound[at : at + metaint]
        out += part
        if len(part) == metaint:
            out += left.pop(0) if left else b"\0"
    return out


@dataclass(kw_only=True)
class Air:
    """A programme on air: what is heard at which second of it."""

    frames: Sequence[bytes]
    frame_s: float
    #: Seconds of the programme, and what is said from there on.
    titles: Sequence[tuple[float, str | bytes]] = ()
    #: It begins again when it is over.
    loops: bool = False
    #: Seconds of the past that a listener gets at once.
    burst_s: float = 4.0

    def upto(self, second: float) -> int:
        """Frames that are on air by then."""
        count = max(0, int(second / self.frame_s + 1e-6))
        return count if self.loops else min(count, len(self.frames))

    def frame(self, number: int) -> bytes:
        return self.frames[number % len(self.frames)]

    def title(self, number: int) -> bytes | None:
        said = [text for at_s, text in self.titles if at_s <= number * self.frame_s]
        return words(said[-1]) if said else None


class Listener:
    """What one listener gets, by the programme's second; `metaint` 0: without words."""

    def __init__(self, air: Air, second: float, *, metaint: int = 0) -> None:
        self._air, self._metaint = air, metaint
        self._next = max(0, air.upto(second) - air.upto(air.burst_s))
        self._sound_left, self._said = metaint, b""

    def take(self, second: float, most: int = 10**9) -> bytes:
        """What has come on air since, `most` frames of it."""
        out = b""
        while self._next < self._air.upto(second) and most > 0:
            out += self._with_words(self._air.frame(self._next))
            self._next += 1
            most -= 1
        return out

    @property
    def over(self) -> bool:
        return not self._air.loops and self._next >= len(self._air.frames)

    def _with_words(self, sound: bytes) -> bytes:
        if not self._metaint:
            return sound
        out = b""
        while sound:
            part, sound = sound[: self._sound_left], sound[self._sound_left :]
            out += part
            self._sound_left -= len(part)
            if not self._sound_left:
                said = self._air.title(self._next) or b"\0"
                out += b"\0" if said == self._said else said
                self._said, self._sound_left = said, self._metaint
        return out


# ------------------------------------------------------------------------------------------------ over real HTTP


@dataclass(kw_only=True)
class Mount:
    """One path of a server."""

    air: Air | None = None
    metaint: int = 0
    content_type: str = "audio/mpeg"
    #: In the place of all else: what is answered, bytes and all, before the connection is closed.
    answer: bytes | None = None
    #: In the place of the usual head.
    head: bytes | None = None
    status_line: bytes = b"HTTP/1.0 200 OK"
    headers: Sequence[bytes] = (b"icy-name: Radio Example", b"icy-br: 128")
    chunked: bool = False
    #: Real seconds after which a connection is closed, or nothing more is sent.
    closes_after_s: float | None = None
    stalls_after_s: float | None = None
    #: Seconds of the programme for each real one.
    speed: float = 1.0

    def opening(self, asked_words: bool) -> bytes:
        if self.head is not None:
            return self.head
        lines = [self.status_line, b"Content-Type: " + self.content_type.encode(), *self.headers]
        if self.metaint and asked_words:
            lines.append(b"icy-metaint: %d" % self.metaint)
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        return b"\r\n".join(lines) + b"\r\n\r\n"


@dataclass
class RadioServer:
    """`mounts[path]`; `begin` is when programmes began, by the monotonic clock."""

    mounts: dict[str, Mount] = field(default_factory=dict)
    #: Request heads, as they came.
    asked: list[str] = field(default_factory=list)
    #: While set, nobody gets in, and whoever is in is thrown out.
    down: threading.Event = field(default_factory=threading.Event)
    sent_bytes: int = 0

    def __post_init__(self) -> None:
        self.begin = time.monotonic()
        self._closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads: list[threading.Thread] = []

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    @property
    def second(self) -> float:
        return time.monotonic() - self.begin

    @contextmanager
    def running(self) -> Iterator["RadioServer"]:
        accepting = threading.Thread(target=self._accept, daemon=True)
        accepting.start()
        try:
            yield self
        finally:
            self._closing.set()
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            for thread in (accepting, *self._threads):
                thread.join(5)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(5)
            head = b""
            while b"\r\n\r\n" not in head:
                data = connection.recv(4_096)
                if not data:
                    return
                head += data
            asked = head.decode("latin-1")
            self.asked.append(asked)
            mount = self.mounts.get(asked.split()[1])
            if self.down.is_set():
                return
            if mount is None:
                connection.sendall(b"HTTP/1.0 404 File Not Found\r\nContent-Type: text/html\r\n\r\n<b>no mount</b>")
            elif mount.answer is not None:
                connection.sendall(mount.answer)
            else:
                self._broadcast(connection, mount, "icy-metadata: 1" in asked.lower())

    def _broadcast(self, connection: socket.socket, mount: Mount, asked_words: bool) -> None:
        assert mount.air
        connection.sendall(mount.opening(asked_words))
        began = time.monotonic()
        listener = Listener(mount.air, self.second * mount.speed, metaint=mount.metaint if asked_words else 0)
        while not (self._closing.is_set() or self.down.is_set() or listener.over):
            here_s = time.monotonic() - began
            if mount.closes_after_s is not None and here_s >= mount.closes_after_s:
                return
            if mount.stalls_after_s is None or here_s < mount.stalls_after_s:
                data = listener.take(self.second * mount.speed, most=200)
                if data:
                    sent = b"%x\r\n%b\r\n" % (len(data), data) if mount.chunked else data
                    self._send(connection, sent)
                    self.sent_bytes += len(sent)
            time.sleep(0.02)

    def _send(self, connection: socket.socket, data: bytes) -> None:
        """A listener that does not read holds nobody up when the server closes."""
        view = memoryview(data)
        while view and not self._closing.is_set() and not self.down.is_set():
            _, writable, _ = select.select([], [connection], [], 0.1)
            if writable:
                view = view[connection.send(view) :]


# ------------------------------------------------------------------------------------------------ without any time


class Script:
    """Stands for `station.Body`: a listener whose time is moved by hand, and who may be thrown out."""

    host = "radio.example"

    def __init__(self, hand: Any, pour: Callable[[float], bytes], *, ends_at_s: float = 1e9, over: Callable[[], Exception]) -> None:
        self._hand, self._pour, self._ends_at_s, self._over = hand, pour, ends_at_s, over
        self.closed = False

    def read(self, timeout_s: float) -> bytes:
        until = self._hand.time_s + timeout_s
        while True:
            if data := self._pour(min(self._hand.time_s, self._ends_at_s)):
                return data
            if self._hand.time_s >= self._ends_at_s:
                raise self._over()
            if self._hand.time_s >= until:
                return b""
            self._hand.wait(min(0.05, until - self._hand.time_s))

    def close(self) -> None:
        self.closed = True
