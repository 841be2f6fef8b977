"""A terminal for a command under test: what stands on its screen as a user sees it, what was sent to it, keys, and a size that changes."""

import copy
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte

#: What is sent beside text: colours, where to write, which of the two screens, whether the cursor shows.
_ORDERS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_OTHER_SCREEN = 1049


class _Screens(pyte.Screen):
    """pyte knows one screen; terminals have another, and come back to what was on the first."""

    other: Any = None

    def set_mode(self, *modes: int, **options: Any) -> None:
        if _OTHER_SCREEN in modes and self.other is None:
            self.other = copy.deepcopy(self.buffer), copy.copy(self.cursor)
            self.erase_in_display(2)
            self.cursor_position()
        super().set_mode(*modes, **options)

    def reset_mode(self, *modes: int, **options: Any) -> None:
        if _OTHER_SCREEN in modes and self.other is not None:
            self.buffer, self.cursor = self.other
            self.other = None
            self.dirty.update(range(self.lines))
        super().reset_mode(*modes, **options)


class Terminal:
    """`earmark` with these arguments, or any command, on a terminal of its own, which is its controlling one: what is typed becomes signals."""

    def __init__(
        self,
        *arguments: str,
        rows: int = 24,
        columns: int = 80,
        environment: Mapping[str, str],
        command: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        self._screen = _Screens(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._size(rows, columns)
        self.before = termios.tcgetattr(slave)
        kept = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        run = ["setsid", "--ctty", *(command or (sys.executable, "-m", "earmark.cli", *arguments))]
        # A shell has SIGINT ignored by what it runs in the background, and so by all of its children.
        ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(run, stdin=slave, stdout=slave, stderr=slave, env={**kept, **environment}, cwd=folder)
        finally:
            signal.signal(signal.SIGINT, ignored)
        self._slave = slave  # kept, so that what is left on the terminal can be read when the command has ended
        self.sent = b""
        #: When something came, and how much.
        self.came: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def resize(self, rows: int, columns: int) -> None:
        self._size(rows, columns)  # the kernel tells what runs on it
        self._screen.resize(rows, columns)

    def _size(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    @property
    def modes(self) -> list[Any]:
        """Of the line: whether what is typed is shown, and comes by lines; as `before`, once it was given back."""
        return termios.tcgetattr(self._slave)

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.type(b"\x03")
        return self.end()

    def end(self, *, limit_s: float = 15) -> int:
        """Wait for it; the exit code."""
        deadline = time.monotonic() + limit_s
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()  # a terminal that nobody reads takes nothing more
        code = self.process.wait(1)
        while self._read():
            pass
        return code

    def until(self, condition: Callable[[list[str]], object], what: str, *, limit_s: float = 30) -> list[str]:
        """The lines on its screen, once they are so."""
        deadline = time.monotonic() + limit_s
        while not condition(lines := self.screen()):
            assert self.process.poll() is None, f"it has ended, and not: {what}\n" + "\n".join(lines)
            assert time.monotonic() < deadline, f"not within {limit_s} s: {what}\n" + "\n".join(lines)
            self._read()
        return lines

    def watch(self, seconds: float) -> None:
        """Only look."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._read()

    def screen(self) -> list[str]:
        """What stands on it, down to the last line that is not empty."""
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def orders(self) -> set[bytes]:
        """Kinds of all that was sent and is no text."""
        return set(_ORDERS.findall(self.sent))

    def text(self) -> bytes:
        return _ORDERS.sub(b"", self.sent)

    def _read(self) -> bool:
        """Whether anything came."""
        if not select.select([self._master], [], [], 0.05)[0]:
            return False
        try:
            came = os.read(self._master, 65_536)
        except OSError:  # it has hung up
            time.sleep(0.05)
            return False
        self.sent += came
        self.came.append((time.monotonic(), len(came)))
        self._stream.feed(came)
        return bool(came)
