"""A live HLS origin as a process of its own, cheap enough to share a machine with what it measures.

    python -m bench.live_origin ORIGIN.json        prints its port; ends when its standard input does

Whatever number of streams is asked for is there: /c0/master.m3u8, /c1/master.m3u8, ..., in real time, each at a begin of its own
(`bench.live_window`). Bytes are mapped, not read. HTTP/1.1 with connections that stay open; playlists have an ETag. What was
asked for is told at /figures.
"""

import json
import mmap
import os
import select
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from bench.live_window import Cut, Stream, playlist

_LISTS: Final = "application/vnd.apple.mpegurl"
_READ_BYTES: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class Programme:
    """As `bench.live_media.Programme`, without what an origin need not know."""

    media: memoryview
    offsets: Sequence[int]
    cut: Cut
    attributes: str
    suffix: str

    @classmethod
    def read(cls, said: Mapping[str, Any]) -> Self:
        with Path(said["media"]).open("rb") as file:
            media = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return cls(media=media, offsets=said["offsets"], cut=Cut(at_s=said["at_s"]), attributes=said["attributes"], suffix=said["suffix"])

    def segment(self, number: int) -> memoryview:
        return self.media[self.offsets[number] : self.offsets[number + 1]]

    @property
    def header(self) -> memoryview:
        return self.media[: self.offsets[0]]


def described(programmes: Sequence[Any], epoch: float) -> str:
    """The text of ORIGIN.json, of programmes as `bench.live_media` has them."""
    parts = [{"media": str(p.media), "offsets": p.offsets, "at_s": list(p.cut.at_s), "attributes": p.attributes, "suffix": p.suffix} for p in programmes]
    return json.dumps({"epoch": epoch, "programmes": parts})


class _OnAir:
    """A stream, and its playlist as last made."""

    def __init__(self, stream: Stream, programme: Programme) -> None:
        self.stream, self.programme = stream, programme
        self._listed, self._until = b"", 0.0
        self._etag = b""

    def media(self, now: float) -> tuple[bytes, bytes]:
        """Playlist and ETag; made once a segment."""
        if now >= self._until:
            complete = self.stream.complete(now)
            init = "init.mp4" if self.programme.offsets[0] else ""
            self._listed = playlist(self.stream, complete, suffix=self.programme.suffix, init=init).encode()
            self._etag, self._until = f'"{complete}"'.encode(), self.stream.begins_at(complete + 1)
        return self._listed, self._etag

    def master(self) -> bytes:
        return f"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-STREAM-INF:{self.programme.attributes}\nmedia.m3u8\n".encode()


class Origin:
    """What is answered, and counted."""

    def __init__(self, programmes: Sequence[Programme], epoch: float, *, now: Callable[[], float] = time.time) -> None:
        self._programmes, self._epoch, self._now = programmes, epoch, now
        self._streams: dict[str, _OnAir] = {}
        self.asked: Counter[str] = Counter()
        #: Of each segment that was asked for: when, and how long it had been complete.
        self._ages = array("d")

    def answer(self, path: str, etag: bytes) -> tuple[bytes, bytes | memoryview]:
        """Head and body."""
        name, _, file = path[1:].partition("/")
        now = self._now()
        if file == "media.m3u8" and (on_air := self._on_air(name)):
            body, tag = on_air.media(now)
            if etag == tag:
                self.asked["not modified"] += 1
                return b"HTTP/1.1 304 Not Modified\r\nETag: %b\r\n\r\n" % tag, b""
            return self._found("playlist", _LISTS, body, b"ETag: %b\r\n" % tag)
        if file == "master.m3u8" and (on_air := self._on_air(name)):
            return self._found("master", _LISTS, on_air.master())
        if file == "init.mp4" and (on_air := self._on_air(name)):
            return self._found("header", "video/mp4", on_air.programme.header)
        if name == "figures":
            return self._found("figures", "application/json", json.dumps(self._figures()).encode())
        stem, _, kind = file.partition(".")
        if stem.isdecimal() and (on_air := self._on_air(name)) and f".{kind}" == on_air.programme.suffix:
            sequence, stream = int(stem), on_air.stream
            if stream.is_served(sequence, now):
                self._ages.extend((now, now - stream.begins_at(sequence + 1)))
                return self._found("segment", "video/mp2t", on_air.programme.segment(stream.segment(sequence)))
        self.asked["not found"] += 1
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", b""

    def _found(self, kind: str, content_type: str, body: bytes | memoryview, more: bytes = b"") -> tuple[bytes, bytes | memoryview]:
        self.asked[kind] += 1
        self.asked["bytes"] += len(body)
        return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (content_type.encode(), len(body), more), body

    def _on_air(self, name: str) -> _OnAir | None:
        found = self._streams.get(name)
        if found is None and name[:1] == "c" and name[1:].isdecimal() and len(name) < 6:
            stream = Stream.of(int(name[1:]), [programme.cut for programme in self._programmes], self._epoch)
            found = self._streams[name] = _OnAir(stream, self._programmes[stream.programme])
        return found

    def _figures(self) -> dict[str, Any]:
        """Since it was asked last."""
        told = {"asked": dict(self.asked), "ages": self._ages.tolist()}
        self.asked.clear()
        del self._ages[:]
        return told


class _Connection:
    """A client's; nothing here waits."""

    def __init__(self, origin: Origin, sock: socket.socket) -> None:
        self._origin, self._sock = origin, sock
        self._pending = b""
        #: What the socket would not take yet.
        self._left: list[bytes | memoryview] = []

    def read(self) -> bool:
        """Answer what was asked; False when it is over."""
        try:
            data = self._sock.recv(_READ_BYTES)
        except OSError:
            return False
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            asked, self._pending = self._pending[:end], self._pending[end + 4 :]
            begin = asked.find(b"If-None-Match: ")
            etag = asked[begin + 15 :].partition(b"\r\n")[0] if begin >= 0 else b""
            self._left += self._origin.answer(asked.split(b" ", 2)[1].decode("ascii", "replace"), etag)
        return bool(data) and self.write()

    def write(self) -> bool:
        try:
            while self._left:
                sent = self._sock.sendmsg(self._left[:2])
                while self._left and sent >= len(self._left[0]):
                    sent -= len(self._left.pop(0))
                if sent:
                    self._left[0] = memoryview(self._left[0])[sent:]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    @property
    def events(self) -> int:
        return select.EPOLLIN | (select.EPOLLOUT if self._left else 0)

    def close(self) -> None:
        self._sock.close()


def serve(origin: Origin) -> None:
    """Prints the port; returns when standard input ends. (With asyncio a request costs a third more.)"""
    listener = socket.create_server(("127.0.0.1", 0), backlog=1_024)
    listener.setblocking(False)
    poll, open_ = select.epoll(), dict[int, _Connection]()
    poll.register(listener.fileno(), select.EPOLLIN)
    poll.register(sys.stdin.fileno(), select.EPOLLIN)
    print(listener.getsockname()[1], flush=True)
    while True:
        for file, event in poll.poll():
            connection = open_.get(file)
            if connection:
                before = connection.events
                alive = (not event & ~select.EPOLLOUT or connection.read()) and (not event & select.EPOLLOUT or connection.write())
                if not alive:
                    poll.unregister(file)
                    open_.pop(file).close()
                elif connection.events != before:
                    poll.modify(file, connection.events)
            elif file == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                open_[sock.fileno()] = _Connection(origin, sock)
                poll.register(sock.fileno(), select.EPOLLIN)
            elif not os.read(file, 4_096):
                return


def main(path: str) -> None:
    said = json.loads(Path(path).read_text(encoding="utf-8"))
    serve(Origin([Programme.read(programme) for programme in said["programmes"]], said["epoch"]))


if __name__ == "__main__":
    main(sys.argv[1])
