"""Connections to origins: made to addresses that were checked, and kept, because a new one with TLS costs as much as eight requests."""

import socket
import ssl
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import urllib3.util.connection

from earmark.web.addresses import DEFAULT_PORTS
from earmark.web.exchange import Connection

#: Hosts of which connections are kept; of more, those that were asked last.
HOSTS_MAX = 512


class NotConnected(Exception):
    """Nobody answers at the address. `timed_out`: nor refuses."""

    def __init__(self, why: str, *, timed_out: bool = False) -> None:
        super().__init__(why)
        self.timed_out = timed_out


def unreached(error: Exception, *, connect_timeout_s: float) -> str:
    """Why no request could be made, behind a host's name in a sentence; empty: one was."""
    match error:
        case NotConnected(timed_out=True):
            return f"cannot be reached within {connect_timeout_s:g} s"
        case NotConnected():
            return f"cannot be reached: {str(error).rpartition('] ')[2]}"
        case ssl.SSLError():
            return f"failed the TLS handshake: {error}"
    return ""


class Origin(NamedTuple):
    """What a connection is good for (RFC 6454): a host without brackets, or the dot that may end it."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """As the field Host has it: without the port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


class Judge(Protocol):
    """Says to which addresses of a host connections may be made, and raises what it likes where there are none."""

    def addresses(self, host: str, port: int) -> Sequence[str]: ...


class Connections:
    """Those that are not in use, by origin; the last one used is the first to be used again, and the others may age. For all threads."""

    def __init__(
        self, *, guard: Judge, tls: ssl.SSLContext, per_host_max: int, connect_timeout_s: float, read_timeout_s: float, clock: Callable[[], float]
    ) -> None:
        self._guard = guard
        self._tls = tls
        self._per_host_max = per_host_max
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[Origin, list[Connection]] = OrderedDict()
        weakref.finalize(self, _close, self._kept)
        tls.set_alpn_protocols(["http/1.1"])

    def close(self) -> None:
        with self._lock:
            _close(self._kept)

    def kept(self, origin: Origin) -> Connection | None:
        """One that was used before and is still open, as far as is known here."""
        while True:
            with self._lock:
                of_host = self._kept.get(origin)
                connection = of_host.pop() if of_host else None
            if connection is None or connection.is_quiet:
                return connection
            connection.close()

    def keep(self, origin: Origin, connection: Connection) -> None:
        """For the next request; if it is not reusable, or there are enough, it is closed."""
        evicted = list[Connection]()
        with self._lock:
            of_host = self._kept.setdefault(origin, [])
            if connection.reusable and len(of_host) < self._per_host_max:
                of_host.append(connection)
            else:
                evicted.append(connection)
            self._kept.move_to_end(origin)
            if len(self._kept) > HOSTS_MAX:
                evicted += self._kept.popitem(last=False)[1]
        for one in evicted:
            one.close()

    def made(self, origin: Origin) -> Connection:
        """A new one, to an address that was checked; SNI and the certificate's name stay the URL's.

        Raises NotConnected, OSError (ssl.SSLError, TimeoutError: no handshake), what `guard.addresses` raises.
        """
        sock = self._dialled(origin)
        try:
            if origin.scheme == "https":  # within the connection's time-out, all of the handshake
                sock = self._tls.wrap_socket(sock, server_hostname=origin.host)
            return Connection(sock, read_timeout_s=self._read_timeout_s, clock=self._clock)
        except BaseException:
            sock.close()
            raise

    def _dialled(self, origin: Origin) -> socket.socket:
        why = ""
        for address in self._guard.addresses(origin.host, origin.port):
            try:
                return urllib3.util.connection.create_connection(
                    (address, origin.port), self._connect_timeout_s, socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
                )
            except TimeoutError as error:
                raise NotConnected("connect timed out", timed_out=True) from error
            except OSError as error:
                why = str(error)
        raise NotConnected(why)


def _close(kept: OrderedDict[Origin, list[Connection]]) -> None:
    while kept:
        for connection in kept.popitem()[1]:
            connection.close()
