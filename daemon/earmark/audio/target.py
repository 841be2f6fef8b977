"""Where a request goes: an address that was judged by the guard, taken apart into whom to connect to and what to ask for.

To take an address apart so that nobody reads it differently is the dearest step of a request, and a stream asks the
same one or two origins for hours. So an origin is judged once, and the address of a plain form, of which every reader
makes the same, is judged by it. Any other address goes to the guard each time.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from urllib3.util import Url

from earmark.audio.guard import Guard
from earmark.web.addresses import DEFAULT_PORTS, port_of
from earmark.web.connections import Origin

#: Origin and path of an address in which nothing is to be encoded, resolved or stripped (RFC 3986, sections 2.3 and 3.3):
#: a host of letters, digits, dots and dashes, then a path and a query without dot segments.
_PLAIN = re.compile(r"(https?://[a-z0-9.-]+(?::[1-9][0-9]{0,4})?)(/(?:[A-Za-z0-9_~!$&'()*+,;=:@/?-]|(?<!/)\.|%[0-9A-F]{2})*)", re.ASCII)
#: Origins that are remembered; of more, those that were asked last.
ORIGINS_MAX = 1_024


@dataclass(frozen=True, slots=True)
class Target:
    url: str
    origin: Origin
    #: Path and query.
    path: str
    #: For messages.
    host: str


class Targets:
    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._judged = lru_cache(ORIGINS_MAX)(self._checked)

    def of(self, url: str, *, named_host: str) -> Target:
        """Raises what `Guard.checked` does."""
        plain = _PLAIN.fullmatch(url)
        if plain is None:
            return self._checked(url, named_host)
        judged = self._judged(f"{plain[1]}/", named_host)
        return Target(url, judged.origin, plain[2], judged.host)

    def _checked(self, url: str, named_host: str) -> Target:
        parsed = self._guard.checked(url, named_host=named_host)
        return Target(parsed.url, _origin(parsed), parsed.request_uri, parsed.host or "")


def _origin(url: Url) -> Origin:
    if url.scheme not in DEFAULT_PORTS or not url.host:
        raise ValueError(f"there is no origin in {url.scheme}:")
    return Origin(url.scheme, url.host.strip("[]").rstrip("."), port_of(url))
