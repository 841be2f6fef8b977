"""Which addresses a playlist may make us fetch.

A playlist is somebody else's text: its URLs, its redirects and its DNS answers may point at our own network. So each
URL is judged twice: by its text (scheme and host against what the operator allowed) and, when a connection is made,
by the address its host resolves to. The connection then goes to *that* address (`audio.fetch`), because a name that
is looked up again may resolve to something else (DNS rebinding).
"""

import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import TypeAlias

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.settings import Hls

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
#: RFC 1035, section 2.3.4.
HOST_CHARACTERS_MAX = 255
DEFAULT_PORTS = {"http": 80, "https": 443}


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host name, by the system's resolver."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Guard:
    """Judges URLs and addresses by `settings.Hls`; holds no connection."""

    def __init__(self, *, settings: Hls, resolve: Resolve = resolve) -> None:
        self._allow_hosts = tuple(host.lower() for host in settings.allow_hosts)
        self._allow_private = frozenset(pair.lower() for pair in settings.allow_private)
        self._allow_http = settings.allow_http
        self._resolve = resolve

    def checked(self, url: str, *, named_host: str = "") -> Url:
        """The URL, taken apart, if its text may be fetched. `named_host` is the host that the operator gave this stream.

        Raises SourceUnsupported.
        """
        try:
            parsed = parse_url(url)
        except LocationParseError:
            raise SourceUnsupported("an address in the stream is not a URL and is not fetched") from None
        if parsed.scheme not in DEFAULT_PORTS:
            raise SourceUnsupported(f"an address in the stream begins with {parsed.scheme or 'no scheme'}: and is not fetched; only https and http are")
        host = parsed.host
        if host and len(host) > HOST_CHARACTERS_MAX:
            raise SourceUnsupported(f"an address in the stream names a host of {len(host):,} characters, and is not fetched")
        if not host or parsed.auth:
            raise SourceUnsupported("an address in the stream names no host, or a user, and is not fetched")
        if _is_named_metadata(host):
            raise SourceUnsupported(f"the stream points at {host}, which is a metadata service: that is never fetched")
        private = self._named_private(host, port_of(parsed))
        if not (private or host == named_host.lower() or self._allowed(host)):
            raise SourceUnsupported(f"the stream points at {host}, which is not fetched from: add it to hls.allow_hosts if that is meant")
        if parsed.scheme == "http" and not (self._allow_http or private):
            raise SourceUnsupported(f"the stream points at {host} by plain http, which is not fetched: use https, or set hls.allow_http")
        return parsed

    def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host; the addresses that may be connected to, never none.

        Raises SourceUnsupported when all of them are forbidden, SourceUnavailable when there are none.
        """
        try:
            found = [ipaddress.ip_address(text.partition("%")[0]) for text in self._resolve(host.strip("[]"), port)]
        except (OSError, UnicodeError) as error:
            raise SourceUnavailable(f"the host {host} cannot be found: {error.strerror if isinstance(error, OSError) else 'not a host name'}") from None
        if not found:
            raise SourceUnavailable(f"the host {host} has no address")
        private = self._named_private(host, port)
        allowed = [address for address in found if not _is_metadata(address) and (private or _is_public(address))]
        if allowed:
            return [str(address) for address in allowed]
        if any(_is_metadata(address) for address in found):
            raise SourceUnsupported(f"the stream points at {host}, which is the metadata service {found[0]}: that is never fetched")
        raise SourceUnsupported(
            f"the stream points at {host}, which is {found[0]}, not a public address: it is not fetched; "
            f"add {host}:{port} to hls.allow_private if that is meant"
        )

    def _allowed(self, host: str) -> bool:
        return any(host.endswith(rule) if rule.startswith(".") else host == rule for rule in self._allow_hosts)

    def _named_private(self, host: str, port: int) -> bool:
        bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{bracketed.lower()}:{port}" in self._allow_private


def opened_for(settings: Hls, url: str) -> Hls:
    """The settings of somebody who typed this URL: its own host and port may be reached, private or not, by http too.

    For the desk. A daemon's static streams say so in hls.allow_private.
    """
    try:
        parsed = parse_url(url)
    except LocationParseError:
        return settings
    if not parsed.host or parsed.scheme not in DEFAULT_PORTS:
        return settings
    return settings.model_copy(update={"allow_private": (*settings.allow_private, f"{parsed.host}:{port_of(parsed)}")})


def port_of(url: Url) -> int:
    return url.port if url.port is not None else DEFAULT_PORTS[url.scheme or "https"]


def host_of(url: str) -> str:
    """For messages and for `named_host`: never the path or the query, which may hold a token."""
    try:
        return parse_url(url).host or ""
    except LocationParseError:
        return ""


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if any(address in network for network in CARRYING_IPV4) and int(address) > 1:  # but for `::` and `::1`, which are none
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_metadata(address: Address) -> bool:
    return any(_embedded(address) in network for network in METADATA)


def _is_named_metadata(host: str) -> bool:
    try:
        return _is_metadata(ipaddress.ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        return False  # a name, which is judged by what it resolves to


def _is_public(address: Address) -> bool:
    inner = _embedded(address)
    special = any(inner in network for network in SPECIAL)
    return inner.is_global and not special and not (inner.is_multicast or inner.is_reserved or inner.is_unspecified or inner.is_loopback or inner.is_link_local)
