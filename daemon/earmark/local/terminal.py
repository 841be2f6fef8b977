"""The terminal that a command was started on: whether it can be drawn on, whose it is at the moment, and which keys are typed."""

import os
import select
import sys
import termios
import time
import tty
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final

#: What terminals send, and what it is called.
_KEYS: Final = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"k": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"j": "down",
    b"\x1b[5~": "page up",
    b"\x1b[6~": "page down",
    b"\x1b[H": "home",
    b"\x1b[1~": "home",
    b"\x1bOH": "home",
    b"g": "home",
    b"\x1b[F": "end",
    b"\x1b[4~": "end",
    b"\x1bOF": "end",
    b"G": "end",
    b"q": "quit",
    b"Q": "quit",
    b"s": "snapshot",
    b"\x0c": "redraw",
}
_LONGEST: Final = max(map(len, _KEYS))
#: Bytes that are read at once: nobody types more in a quarter of a second, and who pastes is not listened to.
_READ_BYTES: Final = 64


def can_draw() -> bool:
    """Standard output is a terminal that can do more than type lines, and Rich is there (the extra `desk`)."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb") and find_spec("rich") is not None


def in_front(descriptor: int) -> bool:
    """Whether a terminal is ours to use: what a job in the background writes spoils what the shell shows, and if it reads, it is stopped."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:  # it is not the one that this session was started from: there is no shell
        return True


class Keys:
    """Of standard input, if that is a terminal: one key at a time, without its being shown, while it is `open`. Ctrl-C and Ctrl-Z stay what they are."""

    def __init__(self) -> None:
        there = sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()
        self._descriptor = sys.stdin.fileno() if there else -1
        self._before: list[Any] | None = None

    @property
    def there(self) -> bool:
        return self._descriptor >= 0

    def open(self) -> None:
        if self.there and in_front(self._descriptor):
            with suppress(termios.error):
                self._before = self._before or termios.tcgetattr(self._descriptor)
                tty.setcbreak(self._descriptor, termios.TCSANOW)

    def close(self) -> None:
        """The terminal is as it was; what was typed ahead is for nobody."""
        if self._before is not None and in_front(self._descriptor):
            with suppress(termios.error):  # it has hung up
                termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, self._before)
            self._before = None

    def wait(self, seconds: float) -> list[str]:
        """The names of keys, as soon as any is typed; none after so long."""
        if self._before is None or not in_front(self._descriptor):
            time.sleep(seconds)
            return []
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return []
        try:
            typed = os.read(self._descriptor, _READ_BYTES)
        except OSError:
            typed = b""
        if not typed:  # it has hung up
            self._descriptor, self._before = -1, None
        return named(typed)


def named(typed: bytes) -> list[str]:
    """Keys in what was typed; what means nothing is passed over, a sequence of a key that is not known as a whole."""
    keys: list[str] = []
    while typed:
        known = next((typed[:length] for length in range(_LONGEST, 0, -1) if typed[:length] in _KEYS), b"")
        if known:
            keys.append(_KEYS[known])
            typed = typed[len(known) :]
        elif typed[:2] in (b"\x1b[", b"\x1bO"):
            end = next((at for at, byte in enumerate(typed[2:], 3) if 0x40 <= byte <= 0x7E), len(typed))
            typed = typed[end:]
        else:
            typed = typed[1:]
    return keys
