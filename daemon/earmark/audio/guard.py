"""Which addresses a playlist may make us fetch.

A playlist is somebody else's text: its URLs, its redirects and its DNS answers may point at our own network. So each
URL is judged twice: by its text (scheme and host against what the operator allowed) and, when a connection is made,
by the address its host resolves to, to which the connection then goes (`web.addresses`).
"""

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.settings import Hls
from earmark.web.addresses import DEFAULT_PORTS, Resolve, Wording, is_named, is_named_metadata, port_of, reachable, resolve

#: RFC 1035, section 2.3.4.
HOST_CHARACTERS_MAX = 255
_WORDING = Wording(leads="the stream points at", forgone="fetched", opens="hls.allow_private", refused=SourceUnsupported, unavailable=SourceUnavailable)


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
        if is_named_metadata(host):
            raise SourceUnsupported(f"the stream points at {host}, which is a metadata service: that is never fetched")
        private = is_named(host, port_of(parsed), self._allow_private)
        if not (private or host == named_host.lower() or self._allowed(host)):
            raise SourceUnsupported(f"the stream points at {host}, which is not fetched from: add it to hls.allow_hosts if that is meant")
        if parsed.scheme == "http" and not (self._allow_http or private):
            raise SourceUnsupported(f"the stream points at {host} by plain http, which is not fetched: use https, or set hls.allow_http")
        return parsed

    def addresses(self, host: str, port: int) -> list[str]:
        """Resolve a host; the addresses that may be connected to, never none.

        Raises SourceUnsupported when all of them are forbidden, SourceUnavailable when there are none.
        """
        return reachable(host, port, private=is_named(host, port, self._allow_private), resolve=self._resolve, wording=_WORDING)

    def _allowed(self, host: str) -> bool:
        return any(host.endswith(rule) if rule.startswith(".") else host == rule for rule in self._allow_hosts)


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
