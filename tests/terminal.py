"""A terminal for a command under test: what stands on its screen, what was sent to it, and a size that changes."""

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
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

#: What Rich sends beside text: colours, where to write, which of the two screens, whether the cursor shows.
_ORDERS = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_HOME = b"\x1b[H"


class Terminal:
    """`earmark` with these arguments on a terminal of its own."""

    def __init__(self, *arguments: str, rows: int = 24, columns: int = 80, environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._resize(rows, columns)
        kept = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "LANG": "C.UTF-8"}
        command = [sys.executable, "-m", "earmark.cli", *arguments]
        # A shell has SIGINT ignored by what it runs in the background, and so by all of its children.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env={**kept, **environment}, start_new_session=True)
        finally:
            signal.signal(signal.SIGINT, before)
        os.close(slave)
        self.sent = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def resize(self, rows: int, columns: int) -> None:
        self._resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)  # as the kernel does to what runs on a terminal that is its own

    def _resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def interrupt(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < deadline:
            self._read()  # a terminal that nobody reads takes nothing more
        return self.process.wait(1)

    def until(self, condition: Callable[[list[str]], object], what: str, *, limit_s: float = 30) -> list[str]:
        """The lines on its screen, once they are so."""
        deadline = time.monotonic() + limit_s
        while not condition(lines := self.screen()):
            assert self.process.poll() is None, self.sent.decode(errors="replace")
            assert time.monotonic() < deadline, f"not within {limit_s} s: {what}\n" + "\n".join(lines)
            self._read()
        return lines

    def screen(self) -> list[str]:
        """What was drawn last, without colours; the last drawing that is whole."""
        drawn = self.sent.split(_HOME)
        return [line.rstrip() for line in _ORDERS.sub(b"", drawn[-2]).decode().replace("\r", "").split("\n")] if len(drawn) > 2 else []

    def orders(self) -> set[bytes]:
        """Kinds of all that was sent and is no text."""
        return set(_ORDERS.findall(self.sent))

    def text(self) -> bytes:
        return _ORDERS.sub(b"", self.sent)

    def _read(self) -> None:
        ready, _, _ = select.select([self._master], [], [], 0.05)
        if ready:
            try:
                self.sent += os.read(self._master, 65_536)
            except OSError:  # it has hung up
                time.sleep(0.05)
