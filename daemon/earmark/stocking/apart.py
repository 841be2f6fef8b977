"""Fingerprinting strangers' files in a process of its own: what kills it, or hangs it, costs that file.

    job's thread: Apart.fingerprint ◀─── pipe ───▶ child process: decode, fingerprint, read tags

The child lives from file to file, ends with its worker, and is the first to go when memory runs out.
"""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

from earmark.audio.file import length_s, read_tags
from earmark.errors import EarmarkError, UnreadableAudio
from earmark.hits.text import clock_time
from earmark.isolation import expendable
from earmark.process import share_one_heap
from earmark.reference import Fingerprinted, fingerprint_file

#: Begun, a child says so within this: it loads its libraries.
_BEGUN_S: Final = 120.0
#: A file takes no longer than this and a fiftieth of the longest recording: nine times as long as one core needs.
_LEAST_S, _PACE = 60.0, 50.0
_POLL_S: Final = 0.25
#: A header that says so many times more than is allowed is believed; what it says is often a guess, but not that wrong.
_GROSSLY: Final = 2.0
_END_S: Final = 5.0
_TRIES: Final = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sound:
    """What is in a file: its fingerprint, and what it says of itself."""

    fingerprinted: Fingerprinted
    tags: dict[str, str]


class Child:
    """A process that answers one question after the other; used by one thread. Begun when it is first asked, and again after it died."""

    def __init__(self, serve: Callable[[Connection], None], *, name: str) -> None:
        """`serve`: what runs in it, a function of a module."""
        self._serve, self._name = serve, name
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
            self._process = context.Process(target=self._serve, args=(there,), name=self._name, daemon=True)
            self._process.start()
            there.close()

    def answer(self, question: object, *, limit_s: float, beat: Callable[[], object]) -> Any:
        """`beat` is called a few times a second and may raise: then the child is ended.

        Raises TimeoutError (it took longer than that, and was ended), EOFError (it died over the question: twice, so that it was not the machine's doing).
        """
        for _ in range(_TRIES):
            try:
                return self._ask(question, limit_s, beat)
            except TimeoutError:
                self.close()
                raise
            except (EOFError, OSError):
                self.close()
        raise EOFError

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


class Apart(Child):
    """The child that fingerprints."""

    def __init__(self) -> None:
        super().__init__(_serve, name="fingerprints")

    def fingerprint(self, path: Path, *, longest_s: float, beat: Callable[[], object]) -> Sound:
        """`beat` as in `answer`. Raises UnreadableAudio with a sentence that begins with the path, also when the child died over it."""
        try:
            made: Sound | str = self.answer((path, longest_s), limit_s=_LEAST_S + longest_s / _PACE, beat=beat)
        except TimeoutError:
            raise UnreadableAudio(f"{path} cannot be fingerprinted: decoding it takes for ever") from None
        except EOFError:
            raise UnreadableAudio(f"{path} cannot be fingerprinted: the process that decoded it died") from None
        if isinstance(made, str):
            raise UnreadableAudio(made)
        return made


def _serve(worker: Connection) -> None:
    """The child: a file after the other, until the worker is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for our worker
    expendable()
    share_one_heap()
    with suppress(EOFError, OSError):
        while True:
            path, longest_s = worker.recv()
            try:
                worker.send(_sound(path, longest_s))
            except EarmarkError as error:
                worker.send(str(error))


def _sound(path: Path, longest_s: float) -> Sound:
    announced_s = length_s(path)
    if announced_s > _GROSSLY * longest_s:
        by_header = f"by its header it lasts {clock_time(announced_s)}, and {clock_time(longest_s)} is the most"
        raise UnreadableAudio(f"{path} cannot be fingerprinted: {by_header}; cut it into recordings")
    return Sound(fingerprinted=fingerprint_file(path, longest_s=longest_s), tags=read_tags(path))
