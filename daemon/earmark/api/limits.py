"""How often somebody may ask: a bucket of requests for each address and each token, refilled at an even pace.

Counted in each process for itself, and in memory: so a flood is refused before the database is asked, and no request is
a write to it. With n workers behind a load balancer somebody may ask up to n times as often as the settings say; what
is protected is each of them.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

#: Names remembered: whoever was not heard of for longest is forgotten, and begins with a full bucket.
NAMES_MAX = 20_000
#: At once, of what a minute brings.
_BURST_SHARE = 0.5


class Buckets:
    """Used by one thread: the event loop's."""

    def __init__(self, *, per_minute: int, names_max: int = NAMES_MAX, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_minute / 60
        self._size = max(1.0, per_minute * _BURST_SHARE)
        self._names_max = names_max
        self._clock = clock
        #: What was left, and when.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """0 if it may ask, else the seconds until it may."""
        now = self._clock()
        left, at = self._left.pop(name, (self._size, now))
        left = min(self._size, left + (now - at) * self._per_s)
        wait_s = 0.0 if left >= 1 else (1 - left) / self._per_s
        self._left[name] = (left if wait_s else left - 1, now)
        if len(self._left) > self._names_max:
            self._left.popitem(last=False)
        return wait_s


def neighbourhood(address: str) -> str:
    """Who counts as one: an IPv4 address; of IPv6 the /64, of which each customer has one at least. (RFC 6177)."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a Unix socket's peer, or what a proxy made up
        return "unknown"
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
