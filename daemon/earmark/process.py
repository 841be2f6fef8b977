"""What a process is to its operating system: how it allocates, and how it is asked to end."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
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

    Not by what a handler in Python does: that runs on the main thread, which it interrupts wherever it is (in the midst of `Event.wait` it
    holds the event's lock), or which nobody wakes, if the system gave the signal to another thread. The number of the signal
    is written to a pipe at once, on whichever thread it comes (`signal.set_wakeup_fd`).
    """
    asked, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def heed() -> None:
        while os.read(asked, 1)[0] not in (signal.SIGTERM, signal.SIGINT):
            pass
        stop()

    threading.Thread(target=heed, name="signals", daemon=True).start()
