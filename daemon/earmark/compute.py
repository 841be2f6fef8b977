"""One thread that decodes, fingerprints and matches, first in first out; what was begun goes before what was not.

Decoding and NumPy release the GIL hundreds of times a second; N threads doing both hand it around until they
are late, and once late they stay late. With one thread that computes and many that only wait and fetch, the
cost of a stream is the same and lateness is the queue's length, which is bounded and measured here.

A piece of media is several jobs, with a question to the catalogue between each two. If each of them waited behind all
others, a stream with an open play, that asks more, would be heard at a half of the pace of one with talk: it alone would
be late where there is not enough time for all. So only a piece's first job stands in the queue, and each stream is heard
a piece a round.

What has no hurry, stored files, is in the background: a job of it is begun only where nothing else waits, and none of it
counts as load. A live stream waits for one such job at most, which is why each of them is short.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

_BUSY_WINDOW_S = 10.0
#: A background job that found no turn looks again after this, if nobody rang before.
_LOOK_AGAIN_S = 0.05


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
    """`run(function, *args)` calls the function on the compute thread and returns, or raises, what it did; `go_on` does it before what only begins.

    `background_share_max`: of the time, while there is anything else to do, for what is in the background.
    """

    def __init__(self, *, background_share_max: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: deque[_Job] = deque()
        self._to_begin: deque[_Job] = deque()
        self._in_background: deque[_Job] = deque()
        #: True for each job, None to look at the background, False to end.
        self._calls: queue.SimpleQueue[bool | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: list[float] = []
        self._busy: list[tuple[float, float]] = []
        self._background_busy: list[tuple[float, float]] = []
        #: Since when the job in hand runs, if it is in the background; and how long the next of those leaves the time to others.
        self._background_since: float | None = None
        self._background_not_before = 0.0
        self._pause = 1 / background_share_max - 1
        self.background = Background(lambda function: self._run(self._in_background, function))
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
        job = _Job(partial(copy_context().run, function), self._clock())  # what is logged there says whose it is, as here
        job.done.acquire()
        live = jobs is not self._in_background
        if live:
            with self._lock:
                self._waiting.append(job.submitted)
        jobs.append(job)
        self._calls.put(live or None)
        job.done.acquire()
        try:
            if job.error is not None:
                raise job.error
            return cast(R, job.result)
        finally:
            del job  # an error holds the frame that it was raised in

    @property
    def oldest_job_s(self) -> float:
        """Age of the job that has waited, or run, the longest; 0 when idle. In the background only running counts: waiting is what it is for."""
        with self._lock:
            running = [self._background_since] if self._background_since is not None else []
            return max((self._clock() - since for since in (*self._waiting[:1], *running)), default=0.0)

    @property
    def busy_share(self) -> float:
        """Share of the last ten seconds that the thread was at work, other than in the background."""
        with self._lock:
            return self._share(self._busy)

    @property
    def background_share(self) -> float:
        """The same, of what was done in the background."""
        with self._lock:
            return self._share(self._background_busy)

    def _share(self, spans: list[tuple[float, float]]) -> float:
        now = self._clock()
        _forget(spans, now)
        return sum(min(end, now) - max(begin, now - _BUSY_WINDOW_S) for begin, end in spans) / _BUSY_WINDOW_S

    def _work(self) -> None:
        while (job := self._next()) is not None:
            background = self._background_since is not None
            begin = self._clock()
            try:
                job.result = job.function()
            except BaseException as error:  # noqa: BLE001 -- handed to the caller, whose bug or input it is
                job.error = error
            job.done.release()
            self._count(job, begin, self._clock(), background=background)
        # Whoever waits for what nobody does any more is told so.
        while self._in_background:
            left = self._in_background.popleft()
            left.error = RuntimeError("the compute thread is closed")
            left.done.release()

    def _next(self) -> _Job | None:
        """Whatever is live first; None when all of that is done, and the end was asked for."""
        while True:
            try:
                call = self._calls.get(timeout=self._background_in_s())
            except queue.Empty:
                if self._background_in_s() == 0.0:
                    self._background_since = self._clock()
                    return self._in_background.popleft()
                continue
            if call is not None:
                return (self._begun or self._to_begin).popleft() if call else None

    def _background_in_s(self) -> float | None:
        """Until a job of the background may begin, if nothing else comes; None: there is none."""
        if not self._in_background:
            return None
        with self._lock:
            _forget(self._busy, self._clock())
            left_s = self._background_not_before - self._clock() if self._busy else 0.0
        return max(0.0, min(left_s, _LOOK_AGAIN_S))

    def _count(self, job: _Job, begin: float, end: float, *, background: bool) -> None:
        with self._lock:
            if background:
                self._background_since = None
                self._background_not_before = end + (end - begin) * self._pause
            else:
                self._waiting.remove(job.submitted)
            spans = self._background_busy if background else self._busy
            # One entry per tenth of a second is exact enough and keeps the list short.
            if spans and begin - spans[-1][1] < 1e-4 and end - spans[-1][0] < 0.1:
                spans[-1] = (spans[-1][0], end)
            else:
                _forget(spans, end)
                spans.append((begin, end))


class Background:
    """The compute thread for what has no hurry; every job of it leaves others the way."""

    def __init__(self, submit: Callable[[Callable[[], Any]], Any]) -> None:
        self._submit = submit

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return cast(R, self._submit(lambda: function(*args, **kwargs)))

    #: What is begun has no hurry either.
    go_on = run


def _forget(spans: list[tuple[float, float]], now: float) -> None:
    """What ended before the window."""
    keep = next((place for place, (_, end) in enumerate(spans) if end > now - _BUSY_WINDOW_S), len(spans))
    del spans[:keep]
