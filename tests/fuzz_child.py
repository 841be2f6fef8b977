"""A process that gives inputs to one parser and says, a line each, what became of them; whatever kills it is found out by who started it.

    python -m fuzz_child PARSER SEED FROM TO

The kernel holds it to its limits: address space (`MEMORY_BYTES_MAX` more than at its start, so that memory taken without being used counts
too), and CPU time per input, after which SIGPROF ends it. An input of which resident memory grows by more than `GROWTH_BYTES_MAX` is
a finding although the process lives.
"""

import json
import resource
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Final

from fuzz_parsers import Parser, parser_of

#: Of an input, in CPU time: what waits for a processor, on a busy machine, does not hang.
HANG_S: Final = 5.0
#: What one input may add to the largest size that the process has had: 100 MB, though the limits of a segment and a playlist are 32 and 1 MB.
GROWTH_BYTES_MAX: Final = 100_000_000
#: What the process may have beyond what it began with; the allocator's own arenas are in it.
MEMORY_BYTES_MAX: Final = 1_500_000_000


def main(name: str, seed: int, first: int, end: int, parser: Parser | None = None) -> None:
    parser = parser or parser_of(name)
    warnings.simplefilter("error")
    parser.input(seed, 0)  # what is made once belongs to nobody's input
    _limit_memory()
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    for number in range(first, end):
        data = parser.input(seed, number)
        before = _largest_bytes()
        signal.setitimer(signal.ITIMER_PROF, HANG_S)
        outcome, why = judged(parser, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        grown = _largest_bytes() - before
        if grown > GROWTH_BYTES_MAX:
            outcome, why = "growth", f"{grown:,} bytes more for an input of {len(data):,}"
        print(json.dumps([number, outcome, why]), flush=True)  # noqa: T201 - this is how it is heard


def judged(parser: Parser, data: bytes) -> tuple[str, str]:
    """What became of an input: accepted, refused, crash or growth, and of the last two why."""
    try:
        return parser.judge(data), ""
    except MemoryError as error:
        return "growth", f"MemoryError: {error}"
    except BaseException as error:
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]]
        return "crash", f"{type(error).__name__}: {str(error)[:200]} ({' > '.join(where)})"


def _largest_bytes() -> int:
    """The most that was resident so far: of this process, where rusage also counts what it was before exec, a copy of whoever started it."""
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS has no /proc, and counts bytes


def _limit_memory() -> None:
    try:
        mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return  # not Linux: what is resident is looked at all the same
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES_MAX,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
