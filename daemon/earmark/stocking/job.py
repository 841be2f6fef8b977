"""What jobs of the catalogue's bucket have in common: how they are woken, keep what they took, leave it, and where they work."""

import tempfile
import threading
import time
from collections.abc import Callable
from typing import Final

from earmark.errors import BadSettings

_WAIT_S_MIN: Final = 0.05


class Leaving(Exception):
    """Nobody waits for what is under way any more: it is put back."""


class News:
    """Wakes the jobs of one kind; what is said while they are busy is not missed."""

    def __init__(self, *, stop: threading.Event, look_s: float) -> None:
        """`look_s`: so long a job waits without news."""
        self._stop, self._look_s = stop, look_s
        self._news = threading.Condition()
        #: How often there was any.
        self.told = 0

    def wake(self, _payload: str = "") -> None:
        """There is something to do, or it is time to go."""
        with self._news:
            self.told += 1
            self._news.notify_all()

    def wait(self, told: int, due_s: float | None) -> None:
        """Until there is more than `told`, or something is due (None: nothing is)."""
        with self._news:
            if self.told == told and not self._stop.is_set():
                self._news.wait(self._look_s if due_s is None else max(_WAIT_S_MIN, min(self._look_s, due_s)))


class Beat:
    """To be called while something takes its time: renews it now and then. Raises Leaving, and what `renew` does."""

    def __init__(self, renew: Callable[[], object], *, every_s: float, stop: threading.Event) -> None:
        self._renew, self._every_s, self._stop = renew, every_s, stop
        self._renewed_at = time.monotonic()

    def __call__(self) -> None:
        if self._stop.is_set():
            raise Leaving
        if time.monotonic() - self._renewed_at >= self._every_s:
            self._renew()
            self._renewed_at = time.monotonic()


def temporary_folder(kind: str) -> "tempfile.TemporaryDirectory[str]":
    """Where objects are put while they are worked on. Raises BadSettings without a temporary folder."""
    try:
        return tempfile.TemporaryDirectory(prefix=f"earmark-{kind}-")
    except OSError as error:
        raise BadSettings(f"objects need a temporary folder ({error.strerror or error}): set TMPDIR to one that can be written") from None
