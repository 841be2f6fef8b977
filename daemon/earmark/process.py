"""What a process is to its operating system: how it allocates, and how it is asked to end."""

import ctypes
import signal
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

#: Of mallopt(3), by glibc's malloc.h.
_M_ARENA_MAX: Final = -8


def share_one_heap() -> None:
    """Let all threads allocate from one heap; to be called before there are any.

    glibc gives threads up to eight heaps a core, and what one has freed another cannot use: with sixteen, sixty streams
    take 40 MB more. There is nothing to win by many, as threads hold the GIL while they allocate, but for those that decode.
    """
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_ARENA_MAX, 1)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` after SIGTERM or SIGINT, on another thread.

    A handler interrupts the main thread wherever it is. In the midst of `Event.wait` that holds the event's lock, and
    `Event.set` would then wait for it for ever; the put of a SimpleQueue may be interrupted by itself.
    """
    asked: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: asked.put(number))

    def heed() -> None:
        asked.get()
        stop()

    threading.Thread(target=heed, name="signals", daemon=True).start()
