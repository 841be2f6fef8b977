"""A stranger's audio is decoded in a process of its own: it may take its memory, its time or its life, and nothing else.

    request ─▶ file ─▶ child: FFmpeg, fingerprint ─▶ JSON through a pipe ─▶ checked like any stranger's fingerprint

The child says JSON, not a pickle: what has got the better of it must not get at us by what it says.
"""

import resource
import signal
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from earmark.clip import Clip, from_text, to_json
from earmark.errors import Transient, UnreadableAudio
from earmark.isolation import expendable
from earmark.reference import fingerprint_file

#: Beyond what it begins with. (FFmpeg and the arrays of ten minutes take some 100 MB.)
_MEMORY_BYTES: Final = 1 << 30
#: Of what it says: 235 peaks a second of 50 bytes, for ten hours.
_SAID_BYTES_MAX: Final = 500_000_000
_END_S: Final = 5.0
_PAGE_BYTES: Final = resource.getpagesize()


class TooLong(Transient):
    """It was not done in time."""


def decoded(path: Path, *, longest_s: float, deadline_s: float, preload: str) -> Clip:
    """The clip of an audio file.

    Args:
        longest_s: of audio; what is longer is refused.
        deadline_s: by `time.monotonic`; then the child is killed.
        preload: the module that children are forked from, of all who fork in this process; see `isolation`.

    Raises UnreadableAudio, with a sentence that does not name the file; TooLong.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload([preload])
    here, there = context.Pipe(duplex=False)
    left_s = max(0.0, deadline_s - time.monotonic())
    process = context.Process(target=_decode, args=(there, path, longest_s, left_s), name="decode", daemon=True)
    process.start()
    there.close()
    try:
        if not here.poll(max(0.0, deadline_s - time.monotonic())):
            raise TooLong("the audio was not decoded in time: send less of it")
        said = here.recv_bytes(_SAID_BYTES_MAX)
    except (EOFError, OSError):
        raise UnreadableAudio("the audio cannot be decoded: the process that tried died of it") from None
    finally:
        process.kill()
        process.join(_END_S)
        here.close()
    if said.startswith(b"!"):
        raise UnreadableAudio(said[1:].decode(errors="replace"))
    return from_text(said, longest_s=longest_s + 1)


def _decode(there: Connection, path: Path, longest_s: float, left_s: float) -> None:
    """In the child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for our worker
    expendable()
    _confine(left_s)
    try:
        heard = fingerprint_file(path, least=False, longest_s=longest_s)
        said = to_json(Clip(peaks=heard.peaks, duration_s=heard.duration_s)).encode()
    except UnreadableAudio as error:
        said = b"!" + str(error).replace(str(path), "the body").encode(errors="replace")
    except MemoryError:
        said = b"!the audio cannot be decoded: it takes more memory than is given to it"
    there.send_bytes(said)


def _confine(seconds: float) -> None:
    """No file is written, no core dumped; and what hangs in native code ends though nobody kills it."""
    used_bytes = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * _PAGE_BYTES
    for limit, most in (
        (resource.RLIMIT_AS, used_bytes + _MEMORY_BYTES),
        (resource.RLIMIT_CPU, int(seconds) + 2),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(limit, (most, most))
