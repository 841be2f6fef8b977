"""Which addresses may be connected to: public ones, and private ones that the operator named; metadata services never.

A name is looked up once, what it resolves to is judged, and the connection goes to *that* address (`web.connections`),
because a name that is looked up again may resolve to something else (DNS rebinding).
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from earmark.errors import Permanent, Transient

Resolve: TypeAlias = Callable[[str, int], Sequence[str]]
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Instance and container metadata services hand out credentials: EC2, ECS and EKS (link-local), EC2 and EKS over IPv6; those of Azure,
#: Alibaba, Oracle and Google where they have addresses of their own. No setting opens them.
METADATA = tuple(
    ipaddress.ip_network(text) for text in ("169.254.0.0/16", "fd00:ec2::/32", "168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32", "fd20:ce::254/128")
)
#: Prefixes of IPv6 that carry an IPv4 address in their last four bytes: IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765), NAT64 (RFC 6052).
CARRYING_IPV4 = tuple(ipaddress.ip_network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
#: Not to be reached from everywhere (IANA's registries of special purposes), though Python's `is_global` takes them for public in one version or
#: another: protocol assignments, the 6to4 relays; NAT64 of a site, documentation, segment routing, and site-local as it once was.
SPECIAL = tuple(ipaddress.ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16", "fec0::/10"))
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """How a refusal reads, and what it is to whoever asked."""

    #: Before the host: "the stream points at".
    leads: str
    #: What is not done with it: "fetched".
    forgone: str
    #: The setting that opens private addresses.
    opens: str
    refused: type[Permanent]
    unavailable: type[Transient]


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host name, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def reachable(host: str, port: int, *, private: bool, resolve: Resolve, wording: Wording) -> list[str]:
    """Resolve a host; the addresses that may be connected to, never none. `private`: the operator named this host and port.

    Raises `wording.refused` when all of them are forbidden, `wording.unavailable` when there are none.
    """
    try:
        found = [ipaddress.ip_address(text.partition("%")[0]) for text in resolve(host.strip("[]"), port)]
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a host name"
        raise wording.unavailable(f"the host {host} cannot be found: {why}") from None
    if not found:
        raise wording.unavailable(f"the host {host} has no address")
    allowed = [address for address in found if not is_metadata(address) and (private or is_public(address))]
    if allowed:
        return [str(address) for address in allowed]
    if any(is_metadata(address) for address in found):
        raise wording.refused(f"{wording.leads} {host}, which is the metadata service {found[0]}: that is never {wording.forgone}")
    raise wording.refused(
        f"{wording.leads} {host}, which is {found[0]}, not a public address: it is not {wording.forgone}; "
        f"add {_pair(host, port)} to {wording.opens} if that is meant"
    )


def is_named(host: str, port: int, pairs: Sequence[str] | frozenset[str]) -> bool:
    """Whether a host and its port are among these `host:port` pairs, which are in lower case."""
    return _pair(host, port).lower() in pairs


def _pair(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def port_of(url: Url) -> int:
    return url.port if url.port is not None else DEFAULT_PORTS[url.scheme or "https"]


def host_of(url: str) -> str:
    """For messages: never the path or the query, which may hold a token."""
    try:
        return parse_url(url).host or ""
    except LocationParseError:
        return ""


def literal(host: str) -> Address | None:
    """A host that is an address; None: a name, which is judged by what it resolves to."""
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def is_metadata(address: Address) -> bool:
    return any(_embedded(address) in network for network in METADATA)


def is_named_metadata(host: str) -> bool:
    address = literal(host)
    return address is not None and is_metadata(address)


def is_public(address: Address) -> bool:
    inner = _embedded(address)
    special = any(inner in network for network in SPECIAL)
    return inner.is_global and not special and not (inner.is_multicast or inner.is_reserved or inner.is_unspecified or inner.is_loopback or inner.is_link_local)


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in CARRYING_IPV4) and int(address) > 1:  # but for `::` and `::1`, which are none
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
