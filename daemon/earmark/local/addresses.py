"""Where a server of the desk listens, and the address at which it is reached."""

from dataclasses import dataclass
from ipaddress import IPv4Address

from earmark.errors import BadSettings
from earmark.settings.errors import shown

EVERYWHERE = "0.0.0.0"  # noqa: S104 -- to be recognised; nothing listens there unless somebody typed it


@dataclass(frozen=True)
class Address:
    #: An IPv4 address of this machine; 0.0.0.0: all of them.
    host: str
    #: 0: any that is free.
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def reached_at(self, port: int) -> str:
        """host:port for a client on this machine, once it is known which port it became."""
        return f"{'127.0.0.1' if self.host == EVERYWHERE else self.host}:{port}"


#: A port of this machine that nobody else can reach.
LOOPBACK = Address("127.0.0.1", 0)


def address(text: str) -> Address:
    """What was typed as ADDRESS:PORT. Raises BadSettings."""
    host, _, port = text.rpartition(":")
    try:
        return Address(str(IPv4Address(host)), _port(port))
    except ValueError:
        raise BadSettings(f"{shown(text)} is no address to listen on: write an IPv4 address of this machine and a port, as in 127.0.0.1:4566") from None


def host_and_port(text: str) -> str:
    """What was typed as HOST:PORT, by which others know a server. Raises BadSettings."""
    host, _, port = text.rpartition(":")
    try:
        _port(port)
    except ValueError:
        host = ""
    if not host or set(host) & set("/@:? "):
        raise BadSettings(f"{shown(text)} is no host and port: write them as in origin:8000")
    return text


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 65_536):
        raise ValueError(text)
    return int(text)
