"""The screen of `earmark watch`: drawn by a thread of its own, four times a second at most, and only when something has changed.

The session goes on at its own pace: what draws never waits for it, nor it for what draws. The terminal is given back whenever
it is somebody else's: at the end, however that comes, while the process is stopped (Ctrl-Z), and in the background.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group

from earmark.local.canvas import Canvas, picture
from earmark.local.terminal import Keys, in_front
from earmark.local.watch_bars import plainer
from earmark.local.watch_layout import laid_out
from earmark.local.watch_state import Watching

#: Between two drawings, at least; and between two looks at whether anything has changed.
TICK_S: Final = 0.25
#: Between two looks at whether a process that is to be stopped has been, and goes on.
_STOPPED_S: Final = 0.02
#: Rows that a page of the history is.
_PAGE: Final = 10
_FAR: Final = 1_000_000
_STEPS: Final = {"up": -1, "down": 1, "page up": -_PAGE, "page down": _PAGE, "home": -_FAR, "end": _FAR}


class Screen:
    """As a context, on the main thread.

    Args:
        seen: what is shown.
        leave: asks the session to end; called on the screen's own thread.
        console: where it is drawn, if not on standard output.
        folder: where pictures of the screen are put.
    """

    def __init__(self, seen: Watching, *, leave: Callable[[], None], console: Console | None = None, folder: Path | None = None) -> None:
        self._seen = seen
        self._leave = leave
        self._folder = folder or Path()
        self._canvas, self._keys = Canvas(console), Keys()
        self._open = False
        self._drawn: object = None
        self._offset = 0
        self._note = ""
        self._over = threading.Event()
        self._error: BaseException | None = None
        # Set by handlers of signals, which may take no lock.
        self._to_stop = self._continued = False
        self._handlers: dict[signal.Signals, Any] = {}
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)

    def __enter__(self) -> Self:
        self._handlers = {number: signal.signal(number, mark) for number, mark in ((signal.SIGTSTP, self._stop), (signal.SIGCONT, self._go_on))}
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Raises what the drawing failed with, if nothing else is being raised."""
        self._over.set()
        self._thread.join()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._error and error is None:
            raise self._error

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._to_stop = True

    def _go_on(self, _number: int, _frame: FrameType | None) -> None:
        self._continued = True

    # -------------------------------------------------------------------------------------------- on its own thread

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                if self._to_stop:
                    self._suspend()
                self._take_or_give()
                if self._open:
                    self._draw()
                for key in self._keys.wait(TICK_S):
                    self._press(key)
        except BaseException as error:  # noqa: BLE001 -- raised where the screen is left
            self._error = error
            self._leave()
        finally:
            with suppress(OSError):  # the terminal is gone: what failed first is told
                self._give()

    def _suspend(self) -> None:
        """Ctrl-Z: the terminal is the shell's until we are continued, and perhaps for longer."""
        self._give()
        self._to_stop = self._continued = False
        os.kill(os.getpid(), signal.SIGSTOP)
        while not self._continued and not self._over.wait(_STOPPED_S):  # a thread may go on for a moment before all are stopped
            pass
        self._continued = False

    def _take_or_give(self) -> None:
        front = in_front(sys.stdout.fileno())
        if self._open and (self._continued or not front):  # it was stopped by somebody else, without warning, and the shell wrote on the screen
            self._give()
        self._continued = False
        if front and not self._open:
            self._open, self._drawn = True, None
            self._keys.open()
            self._canvas.open()

    def _give(self) -> None:
        if self._open:
            self._open = False
            self._canvas.close()
            self._keys.close()

    def _draw(self) -> None:
        size = self._canvas.size
        view = self._seen.view()
        # Between two pieces of media only whole seconds move: those of the stream, or where it stands still, ours.
        second = int(view.position_s) if view.quiet_s < view.piece_s else int(view.watched_s)
        state = (self._seen.changes, size, self._offset, self._note, view.note, view.stopping, second)
        if state == self._drawn:
            return
        self._drawn = state
        lines, self._offset = laid_out(view, *size, offset=self._offset, keys=self._keys.there, note=self._note)
        if not self._canvas.encoding.startswith("utf"):
            lines = [plainer(line, self._canvas.encoding) for line in lines]
        self._canvas.draw(Group(*lines))

    def _press(self, key: str) -> None:
        self._note = ""
        if key == "quit":
            self._leave()
        elif key == "snapshot":
            self._snapshot()
        elif key == "redraw":
            self._canvas.forget()
            self._drawn = None
        else:
            self._offset += _STEPS[key]

    def _snapshot(self) -> None:
        """A picture of what is shown, in the folder that the command was started in; why there is none is said on the screen."""
        width, height = self._canvas.size
        path = self._folder / f"earmark-watch-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.svg"
        drawing = laid_out(self._seen.view(), width, height, offset=self._offset, keys=False)
        drawn = picture(Group(*drawing.lines), width=width, height=height, title="earmark watch", name="watch")
        try:
            path.write_text(drawn, encoding="utf-8")
        except OSError as error:
            self._note = f"{path} cannot be written: {(error.strerror or str(error)).lower()}"
        else:
            self._note = f"snapshot: {path}"
