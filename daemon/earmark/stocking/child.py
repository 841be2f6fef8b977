"""Strangers' files in a process of its own: what kills it, or hangs it, costs that file.

    job's thread: Child.answer ◀─── pipe ───▶ child process: serve

The child lives from file to file, ends with its worker, and is the first to go when memory runs out.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from earmark.errors import EarmarkError, UnreadableAudio
from earmark.isolation import expendable
from earmark.process import share_one_heap

#: Begun, a child says so within this: it loads its libraries.
_BEGUN_S: Final = 120.0
_POLL_S: Final = 0.25
_END_S: Final = 5.0
_TRIES: Final = 2
#: The lowest priority there is, of setpriority(2).
_LAST: Final = 19


class Child:
    """A process that answers one question after the other; used by one thread. Begun when it is first asked, and again after it died."""

    def __init__(self, work: Callable[..., object], *, name: str, last: bool = False) -> None:
        """`work`: a function of a module, or a partial of one, called with each question; `last`: it gets a core when nobody else wants it."""
        self._work, self._name, self._last = work, name, last
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None

    def close(self) -> None:
        """End the child, whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.join(_END_S)
        if self._pipe is not None:
            self._pipe.close()
        self._process = self._pipe = None

    def open(self) -> None:
        """Begin the child, so that the first file does not wait for that."""
        if self._process is None:
            # Not forked from us, whose threads' locks and connections it would have.
            context = get_context("spawn")
            self._pipe, there = context.Pipe()
            self._process = context.Process(target=serve, args=(there, self._work, self._last), name=self._name, daemon=True)
            self._process.start()
            there.close()

    def answer(self, *question: object, limit_s: float, beat: Callable[[], object], cannot: str) -> Any:
        """`beat` is called a few times a second and may raise: then the child is ended.

        Raises UnreadableAudio: with the child's own sentence; or with one that begins with `cannot`, when it took longer than
        that, and was ended, or died over the question (twice, so that it was not the machine's doing).
        """
        for _ in range(_TRIES):
            try:
                said = self._ask(question, limit_s, beat)
            except TimeoutError:
                self.close()
                raise UnreadableAudio(f"{cannot}: it takes for ever") from None
            except (EOFError, OSError):
                self.close()
                continue
            if isinstance(said, str):
                raise UnreadableAudio(said)
            return said
        raise UnreadableAudio(f"{cannot}: the process that decoded it died")

    def _ask(self, question: object, limit_s: float, beat: Callable[[], object]) -> Any:
        self.open()
        assert self._pipe is not None
        deadline = time.monotonic() + _BEGUN_S + limit_s
        try:
            self._pipe.send(question)
            while not self._pipe.poll(_POLL_S):
                beat()
                if time.monotonic() > deadline:
                    raise TimeoutError  # noqa: TRY301 -- as a pipe's own, that ends it
            return self._pipe.recv()
        except (EOFError, OSError):
            raise
        except BaseException:  # whoever asked has no use for it any more
            self.close()
            raise


def serve(worker: Connection, work: Callable[..., object], last: bool) -> None:  # noqa: FBT001 -- a process's arguments
    """In the child: one question after the other, until the worker is gone. An error is said as its sentence: not every one can be pickled."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for our worker
    expendable()
    if last:
        os.nice(_LAST)
    share_one_heap()
    with suppress(EOFError, OSError):
        while True:
            question = worker.recv()
            try:
                worker.send(work(*question))
            except EarmarkError as error:
                worker.send(str(error))
