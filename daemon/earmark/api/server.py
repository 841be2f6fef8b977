"""The server: uvicorn on a thread of its own, with an end to every wait for a client that uvicorn leaves open.

uvicorn bounds the size of a request's head, and for how long a connection may ask nothing between two requests. It does
not bound how long a first request may take to arrive, nor how many connections there are: `_Bounded` does. All else that
is bounded is in `frontage`.
"""

import asyncio
import logging
import os
import socket
import threading
from typing import Any, Final, cast

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from earmark.api.frontage import Application
from earmark.api.problems import MEDIA_TYPE, Problem
from earmark.errors import BadSettings, EarmarkError
from earmark.settings import Api

#: Of a request's line and headers together. (Ours take some 300 bytes, a load balancer adds some 500.)
HEAD_BYTES_MAX: Final = 16_384
_BACKLOG: Final = 128
#: Beyond the drain, to end.
_END_S: Final = 5.0


class _Bounded(H11Protocol):
    """A connection: one of a bounded number, and disconnected when its request's head is not whole in time."""

    #: Of the settings of `api`; a subclass of each server has its own.
    header_wait_s: float
    connections_max: int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._deadline: asyncio.TimerHandle | None = None
        if len(self.connections) > self.connections_max:
            transport.abort()
        else:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        served = self.cycle
        super().data_received(data)
        if self.cycle is not served:
            self._head_is_here()
        elif getattr(served, "response_complete", True):  # there is none, or it is over: what came is the beginning of a head
            self._await_head()

    def _await_head(self) -> None:
        if self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.header_wait_s, self.transport.abort)

    def _head_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """What is no HTTP, in the same form as all that is refused."""
        problem = Problem("malformed", "the request is not HTTP/1.1, or its head is larger than 16 kB: see RFC 9112")
        body = problem.body()
        head = f"HTTP/1.1 400 Bad Request\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()


class Server:
    """`run` on a thread of its own until `close`, from any thread, which waits until requests under way are answered."""

    def __init__(self, application: Application, *, settings: Api) -> None:
        """Raises BadSettings when the address cannot be listened on."""
        self._settings = settings
        self._socket = _listening(settings)
        self._port = int(self._socket.getsockname()[1])
        self._over = threading.Event()
        bounded = type("Bounded", (_Bounded,), {"header_wait_s": settings.header_wait_s, "connections_max": settings.connections_max})
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                cast(Any, application),
                http=cast(Any, bounded),
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(settings.proxies),
                forwarded_allow_ips=[str(proxy) for proxy in settings.proxies],
                backlog=_BACKLOG,
                timeout_keep_alive=settings.idle_s,
                timeout_graceful_shutdown=settings.drain_s,
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            )
        )
        # Beginnings and ends are told by us; what is no HTTP is a stranger's affair.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)

    @property
    def port(self) -> int:
        return self._port

    @property
    def started(self) -> bool:
        return self._uvicorn.started and not self._uvicorn.should_exit

    def run(self) -> None:
        try:
            asyncio.run(self._uvicorn.serve(sockets=[self._socket]))
        finally:
            self._over.set()
            self._socket.close()
        if not self._uvicorn.started:
            raise EarmarkError("the HTTP API did not start: see the lines before this one")

    def close(self) -> None:
        """No new connections; what is under way has `api.drain_s` to end."""
        self._uvicorn.should_exit = True
        if not self._over.wait(self._settings.drain_s + _END_S):
            structlog.get_logger().warning("api.not_drained", waited_s=self._settings.drain_s + _END_S)


def _listening(settings: Api) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        listening = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        # create_server adds to the system's words where it was, which we say ourselves.
        why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno and error.errno > 0 else error
        raise BadSettings(f"the API cannot be served at {settings.host}:{settings.port}: {why}; set api.host and api.port") from None
    # Its connections inherit it. asyncio sets it for sockets that it made itself; without, each answer waits 40 ms for an acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
