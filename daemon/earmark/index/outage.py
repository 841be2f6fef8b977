"""A database that is away costs one question the wait for it, and not all of them.

Whoever asks a database that does not answer waits for seconds until that is certain. Hundreds of sessions that each find
it out for themselves, a few connections at a time, would fall behind their streams. So after one question has failed the
others are refused at once; now and then one is let through, and its answer ends that.
"""

import threading
from collections.abc import Callable
from typing import Final

from earmark.errors import DatabaseUnavailable

#: Less than this is not worth sparing others.
_COSTLY_S: Final = 1.0
#: After a failure; and how long the one that is let through may take before the next one is.
_REFUSED_S: Final = 0.5
_PROBED_S: Final = 20.0


class Outage:
    """May be used by many threads."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._reason = ""
        self._probe_at = 0.0

    def check(self) -> None:
        """Raises DatabaseUnavailable if it was away a moment ago, and it is not on us to find out whether it still is."""
        if not self._reason:
            return
        with self._lock:
            if self._reason and self._clock() < self._probe_at:
                raise DatabaseUnavailable(self._reason)
            self._probe_at = self._clock() + _PROBED_S

    def failed(self, error: DatabaseUnavailable, *, waited_s: float) -> None:
        if waited_s >= _COSTLY_S:
            with self._lock:
                self._reason, self._probe_at = str(error), self._clock() + _REFUSED_S

    def over(self) -> None:
        self._reason = ""
