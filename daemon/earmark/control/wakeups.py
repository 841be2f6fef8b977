"""LISTEN: news of streams at once, instead of with the next renewal. A comfort: without it everything happens some seconds later.

It needs a connection of its own that stays the same one. Behind a pooler that hands connections around per transaction
(PgBouncer, RDS Proxy) nothing ever arrives, which does no harm.
"""

import random
import threading
from collections.abc import Callable

import structlog

from earmark.control.wanted import CHANNEL
from earmark.errors import EarmarkError
from earmark.postgres import connected
from earmark.settings import Database

_SLICE_S = 1.0
_RETRY_S_MAX = 60.0


class Wakeups:
    """`run` in a thread of its own until `stop`; `woken` gets the stream_id that has news, or "" when one waits for an owner."""

    def __init__(self, *, database: Database, woken: Callable[[str], None], stop: threading.Event, channel: str = CHANNEL) -> None:
        self._database = database
        self._woken = woken
        self._stop = stop
        self._channel = channel
        self._failures = 0
        self._log = structlog.get_logger()

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except EarmarkError as error:
                self._failures += 1
                if self._failures == 1:
                    self._log.warning("wakeups.lost", reason=str(error))
                self._stop.wait(min(_RETRY_S_MAX, 2.0 ** min(self._failures, 10)) * random.uniform(0.5, 1))  # noqa: S311 -- jitter

    def _listen(self) -> None:
        """Until `stop`, or until the connection breaks."""
        with connected(self._database, application_name="earmark-wakeups") as connection:
            connection.execute(f"listen {self._channel}")
            self._failures = 0
            self._woken("")  # what was said while nobody listened
            while not self._stop.is_set():
                for notification in connection.notifies(timeout=_SLICE_S):
                    self._woken(notification.payload)
                    if self._stop.is_set():
                        break
