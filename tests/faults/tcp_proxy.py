"""A proxy for TCP on loopback that misbehaves as it is told: in front of PostgreSQL, whose protocol it does not look into.

A thread for each direction of a connection. A black hole takes everything and passes nothing on, for its time; then the
connection is reset, as a firewall does that has lost it.
"""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from faults.http_proxy import reset
from faults.schedule import Fault, Schedule

_PIECE_BYTES = 65_536
#: A statement that is answered later than this is carried out all the same.
_ANSWERED_S = 2.0


class TcpProxy:
    """The proxy, as a context. `upstream` is the path of a Unix socket, or (host, port)."""

    def __init__(self, *, upstream: str | tuple[str, int], schedule: Schedule, way: str) -> None:
        self._upstream, self._schedule, self._way = upstream, schedule, way
        self._stopping = threading.Event()
        self._open: set[_Connection] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name=f"proxy {self._way}", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_all()

    def break_all(self) -> int:
        """Reset every connection, as a fail-over does; how many there were."""
        with self._lock:
            there = list(self._open)
        for connection in there:
            connection.end()
        return len(there)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = self._connect()
            except OSError:  # it is down: so is its address
                reset(client)
                continue
            connection = _Connection(self, client, server)
            with self._lock:
                self._open.add(connection)
            connection.start()

    def _connect(self) -> socket.socket:
        family = socket.AF_UNIX if isinstance(self._upstream, str) else socket.AF_INET
        server = socket.socket(family, socket.SOCK_STREAM)
        try:
            server.connect(self._upstream)
        except OSError:
            server.close()
            raise
        return server

    def draw(self) -> Fault | None:
        return self._schedule.draw(self._way)

    def wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def forget(self, connection: "_Connection") -> None:
        with self._lock:
            self._open.discard(connection)


class _Connection:
    def __init__(self, proxy: TcpProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._ended = threading.Event()
        #: Answers are dropped, and there was one.
        self._deaf, self._answered = threading.Event(), threading.Event()

    def start(self) -> None:
        for source, target, asks in ((self._client, self._server, True), (self._server, self._client, False)):
            threading.Thread(target=self._pump, args=(source, target, asks), name="proxy connection", daemon=True).start()

    def end(self) -> None:
        """From any thread: whoever reads here is woken, and closes."""
        if not self._ended.is_set():
            self._ended.set()
            for end in (self._client, self._server):
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._proxy.forget(self)

    def _pump(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        """`asks`: from the client to the server; faults are drawn for what is asked, and strike there or in the answer."""
        try:
            while not self._ended.is_set():
                piece = source.recv(_PIECE_BYTES)
                if not asks and piece and self._deaf.is_set():
                    self._answered.set()
                elif not piece or not self._pass(piece, target, asks):
                    return
        except OSError:
            return  # the other direction, or its owner, has ended it
        finally:
            self.end()
            source.close()

    def _pass(self, piece: bytes, target: socket.socket, asks: bool) -> bool:
        """Whether the connection goes on."""
        fault = self._proxy.draw() if asks else None
        if fault is not None:
            match fault.kind:
                case "delay":
                    self._proxy.wait(fault.seconds)
                case "hole":
                    self._proxy.wait(fault.seconds)
                    return False
                case "reset":
                    return False
                case "half":
                    target.sendall(piece[: len(piece) // 2])
                    return False
                case "forget":  # it is carried out, and nobody is told
                    self._deaf.set()
                    target.sendall(piece)
                    self._answered.wait(_ANSWERED_S)
                    return False
                case _:
                    raise ValueError(f"PostgreSQL's proxy knows no fault {fault.kind!r}")
        target.sendall(piece)
        return True
