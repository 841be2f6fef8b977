"""One thread that decodes, fingerprints and matches, first in first out; what was begun goes before what was not.

Decoding and NumPy release the GIL hundreds of times a second; N threads doing both hand it around until they
are late, and once late they stay late. With one thread that computes and many that only wait and fetch, the
cost of a stream is the same and lateness is the queue's length, which is bounded and measured here.

A piece of media is several jobs, with a question to the catalogue between each two. If each of them waited behind all
others, a stream with an open play, that asks more, would be heard at a half of the pace of one with talk: it alone would
be late where there is not enough time for all. So only a piece's first job stands in the queue, and each stream is heard
a piece a round.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_BUSY_WINDOW_S = 10.0


@dataclass(slots=True, eq=False)
class _Job:
    """What is to be called, and who waits for it: with a lock, which costs half of what a Future does."""

    function: Callable[[], Any]
    submitted: float
    #: Held until it has been called.
    done: threading.Lock = field(default_factory=threading.Lock)
    result: Any = None
    error: BaseException | None = None


class Compute:
    """`run(function, *args)` calls the function on the compute thread and returns, or raises, what it did; `go_on` does it before what only begins."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: deque[_Job] = deque()
        self._to_begin: deque[_Job] = deque()
        #: True for each job, False to end.
        self._calls: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: list[float] = []
        self._busy: list[tuple[float, float]] = []
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._closed = False

    def start(self) -> "Compute":
        self._thread.start()
        return self

    def close(self, *, limit_s: float = 10.0) -> None:
        """Finish what is queued, then end the thread; a job that will not end is left behind."""
        self._closed = True
        self._calls.put(False)
        self._thread.join(limit_s)

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(self._to_begin, lambda: function(*args, **kwargs))

    def go_on(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self._run(self._begun, lambda: function(*args, **kwargs))

    def _run(self, jobs: deque[_Job], function: Callable[[], R]) -> R:
        if self._closed:
            raise RuntimeError("the compute thread is closed")
        job = _Job(function, self._clock())
        job.done.acquire()
        with self._lock:
            self._waiting.append(job.submitted)
        jobs.append(job)
        self._calls.put(True)
        job.done.acquire()
        try:
            if job.error is not None:
                raise job.error
            return cast(R, job.result)
        finally:
            del job  # an error holds the frame that it was raised in

    @property
    def oldest_job_s(self) -> float:
        """Age of the job that has waited, or run, the longest; 0 when idle."""
        with self._lock:
            return self._clock() - self._waiting[0] if self._waiting else 0.0

    @property
    def busy_share(self) -> float:
        """Share of the last ten seconds that the thread was at work."""
        now = self._clock()
        with self._lock:
            return sum(min(end, now) - max(begin, now - _BUSY_WINDOW_S) for begin, end in self._recent(now)) / _BUSY_WINDOW_S

    def _recent(self, now: float) -> list[tuple[float, float]]:
        self._busy = [span for span in self._busy if span[1] > now - _BUSY_WINDOW_S]
        return self._busy

    def _work(self) -> None:
        while self._calls.get():
            job = (self._begun or self._to_begin).popleft()
            begin = self._clock()
            try:
                job.result = job.function()
            except BaseException as error:  # noqa: BLE001 -- handed to the caller, whose bug or input it is
                job.error = error
            job.done.release()
            end = self._clock()
            with self._lock:
                self._waiting.remove(job.submitted)
                # One entry per tenth of a second is exact enough and keeps the list short.
                if self._busy and begin - self._busy[-1][1] < 1e-4 and end - self._busy[-1][0] < 0.1:
                    self._busy[-1] = (self._busy[-1][0], end)
                else:
                    self._recent(end)
                    self._busy.append((begin, end))
