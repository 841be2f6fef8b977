"""What a daemon's threads compute: the stack of each, for every ten milliseconds of its own processor time. Linux only.

A thread that looks at the others once in a while counts who waits for a processor, or for the GIL, as at work, and sees them
only where they let go of the GIL: of what Python itself computes, next to nothing. So the kernel says when to look, and at whom:
each thread has a timer of its own processor time. Waiting takes none and is not in it, and a thread that computes for a
millisecond now and then has its share. And the sampler asks for the GIL so insistently that whom it looks at is where it was.
"""

import ast
import builtins
import ctypes
import gc
import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

#: Of a thread's processor time. The kernel looks at its timers at each tick, every 1 to 4 ms.
SAMPLE_S: Final = 0.01
#: Whoever wants the GIL, for so long somebody else may keep it; 5 ms as Python has it, in which one calls hundreds of functions.
_GIL_S: Final = 20e-6
_NS: Final = 10**9
_SIGEV_THREAD_ID: Final = 4
_PR_SET_TIMERSLACK: Final = 29
#: Where threads begin, and the first one.
_BEGIN: Final = ("threading.Thread._bootstrap", "runpy.")
#: What is everywhere, and what measures.
_NOT_SHOWN: Final = ("threading.Thread.", "bench.", "runpy.", "__main__.")
#: A comprehension belongs to the function that it stands in.
_WITHIN: Final = re.compile(r"\.<locals>\.<(?:listcomp|dictcomp|setcomp|genexpr)>")


# ------------------------------------------------------------------------------------------------ in the daemon


class _Notification(ctypes.Structure):
    """`struct sigevent` of Linux, 64 bytes."""

    _fields_ = (("value", ctypes.c_void_p), ("signal", ctypes.c_int), ("notify", ctypes.c_int), ("thread", ctypes.c_int), ("rest", ctypes.c_char * 44))


class _Times(ctypes.Structure):
    """`struct itimerspec`: how often, and when first."""

    _fields_ = (("every_s", ctypes.c_long), ("every_ns", ctypes.c_long), ("first_s", ctypes.c_long), ("first_ns", ctypes.c_long))


class Profile:
    """Samples of this process go to samples-PID in a folder. Of threads that begin later than it, and say so."""

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._path = folder / f"samples-{os.getpid()}"
        #: Threads by the number of their timer.
        self._threads: dict[int, int] = {}
        self._sampler, self._ready = 0, threading.Event()
        # All threads to come are born with it blocked; the sampler waits for it.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN])
        sys.setswitchinterval(_GIL_S)
        threading.Thread(target=self._run, name="profile", daemon=True).start()
        self._ready.wait()

    @contextmanager
    def of_this_thread(self) -> Iterator[None]:
        timer = self.begin()
        try:
            yield
        finally:
            self._libc.timer_delete(timer)
            self._threads.pop(timer.value or 0, None)

    def begin(self) -> ctypes.c_void_p:
        """Of this thread from now on; returns its timer."""
        timer, notification = ctypes.c_void_p(), _Notification(None, signal.SIGRTMIN, _SIGEV_THREAD_ID, self._sampler, b"")
        self._checked(self._libc.timer_create(time.CLOCK_THREAD_CPUTIME_ID, ctypes.byref(notification), ctypes.byref(timer)))
        self._threads[timer.value or 0] = threading.get_ident()
        # Threads that compute for some milliseconds and end have their share, too: the first sample is at any time of the first ten.
        times = _Times(0, round(SAMPLE_S * _NS), 0, random.randint(1, round(SAMPLE_S * _NS)))
        self._checked(self._libc.timer_settime(timer, 0, ctypes.byref(times), None))
        return timer

    @staticmethod
    def _checked(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), "a timer of a thread's processor time could not be set")

    def _run(self) -> None:
        self._libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # 50 us otherwise, which would be added to each wait for the GIL
        self._sampler = threading.get_native_id()
        self._ready.set()
        with self._path.open("a", buffering=1, encoding="utf-8") as file:
            while True:
                told = signal.sigwaitinfo([signal.SIGRTMIN])
                # Of a timer's signal, the kernel has the timer's number and how often it was due beyond once in these two places.
                if sample := self._sample(self._threads.get(told.si_pid), 1 + told.si_uid):
                    file.write(sample)

    @staticmethod
    def _sample(thread: int | None, weight: int) -> str | None:
        gc.disable()  # within that call a collection may wait for who waits for it
        innermost = sys._current_frames().get(thread or 0)
        gc.enable()
        if innermost is None:
            return None
        # Quickly, as others want the GIL, too: whoever has gone on by then is left out below, by the beginning that is missing.
        line, frames = innermost.f_lineno, [innermost]
        while (caller := frames[-1].f_back) is not None:
            frames.append(caller)
        names = [f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}" for frame in reversed(frames)]
        return json.dumps({"at": time.time(), "stack": names, "file": innermost.f_code.co_filename, "line": line, "weight": weight}) + "\n"


# ------------------------------------------------------------------------------------------------ read by the measurement


def folded(folder: Path, begin: float, end: float) -> Mapping[str, int]:
    """Samples between two moments (Unix times), of all processes: how many by stack.

    A stack is names joined by semicolons, the outermost first, as flame graphs are made from. At its end may stand the calls,
    with parentheses, that are written on the line where it was and have no frames: C's.
    """
    found = Counter[str]()
    for path in sorted(folder.glob("samples-*")):
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.endswith("}"):
                break  # is being written
            sample = json.loads(line)
            if begin <= sample["at"] <= end and (stack := _shown(sample["stack"], sample["file"], sample["line"])):
                found[";".join(stack)] += sample["weight"]
    return found


def _shown(names: Sequence[str], file: str, line: int) -> list[str]:
    shown = list[str]()
    if not names[0].startswith(_BEGIN):
        return shown
    for name in (_WITHIN.sub("", name) for name in names):
        if not name.startswith(_NOT_SHOWN) and shown[-1:] != [name]:
            shown.append(name)
    calls = ", ".join(calls_in_c(file).get(line, ()))
    return [*shown, f"{calls}()"] if shown and calls else shown


@cache
def calls_in_c(file: str) -> Mapping[int, Sequence[str]]:
    """By line, what is called there and may be C: neither methods of `self` nor functions by a bare name that is no builtin's."""
    path, found = Path(file), defaultdict[int, list[str]](list)
    source = path.read_text(encoding="utf-8", errors="replace") if path.suffix == ".py" and path.exists() else ""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and (name := _callee(node.func)) and name not in found[node.lineno]:
            found[node.lineno].append(name)
    return found


def _callee(function: Any) -> str:
    if isinstance(function, ast.Name):
        return function.id if hasattr(builtins, function.id) else ""
    if not isinstance(function, ast.Attribute) or (isinstance(function.value, ast.Name) and function.value.id in {"self", "cls"}):
        return ""
    owner = function.value
    of = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return f"{of}.{function.attr}" if of else function.attr
