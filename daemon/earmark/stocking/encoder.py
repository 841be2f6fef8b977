"""Encoding strangers' files in a process of its own, behind everybody else: what kills it, or hangs it, costs that copy."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from earmark.audio.encode import Encoded, Encoding, encode
from earmark.errors import EarmarkError, UnreadableAudio
from earmark.isolation import expendable
from earmark.process import share_one_heap
from earmark.stocking.apart import Child

#: A copy takes no longer than this and half the recording's length: fifty times as long as a core of its own needs, as it has none.
_LEAST_S, _PACE = 60.0, 2.0
#: The last to get a core: of setpriority(2).
_NICE: Final = 19


class Encoder(Child):
    """The child that encodes; used by one thread."""

    def __init__(self) -> None:
        super().__init__(_serve, name="formats")

    def encode(self, file: Path, into: Path, how: Encoding, *, duration_s: float, beat: Callable[[], object]) -> Encoded:
        """As `audio.encode.encode`; `beat` as in `answer`.

        Raises UnreadableAudio with a sentence that begins with the path, also when the child died over it; NoRoom.
        """
        try:
            made: Encoded | EarmarkError = self.answer((file, into, how, duration_s), limit_s=_LEAST_S + duration_s / _PACE, beat=beat)
        except TimeoutError:
            raise UnreadableAudio(f"{file} cannot be written as {how.codec}: it takes for ever") from None
        except EOFError:
            raise UnreadableAudio(f"{file} cannot be written as {how.codec}: the process that tried died of it") from None
        if isinstance(made, EarmarkError):
            raise made
        return made


def _serve(worker: Connection) -> None:
    """The child: a copy after the other, until the worker is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for our worker
    expendable()
    share_one_heap()
    os.nice(_NICE)
    with suppress(EOFError, OSError):
        while True:
            file, into, how, duration_s = worker.recv()
            try:
                worker.send(encode(file, into, how, duration_s=duration_s))
            except EarmarkError as error:
                worker.send(error)
