"""A stream whose owner died is heard alone, in a child process: if it is the stream that kills, that is known now.

    supervisor ─▶ session thread: Isolation.listen ◀─── pipe ───▶ child process: attended(...) ─▶ the same `Listening`

The lease stays with the worker, which renews it; the child hears, commits under the same token and says what it counts.
It dies with its worker, and is the first to go when memory runs out. After `PROBATION_S` of media it has outlived what
its owners died of: it hands the stream over, to be heard in company again.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import structlog

from earmark.control.leases import Failed, HandedOver, Outcome
from earmark.control.supervisor import a_bug
from earmark.errors import EarmarkError
from earmark.model import Lease
from earmark.session import Signals, Stop

#: Media that is heard alone: the next owner begins where the last one died, so that what killed comes first.
PROBATION_S: Final = 30.0
#: Until it hears: a child begins in a second, and in a quarter of a minute where twenty begin at once on two cores. What
#: goes wrong before is nobody's fault.
_BEGUN_S: Final = 120.0
_BEAT_S: Final = 1.0
_POLL_S: Final = 0.25
#: What has said that it is over, or was killed, is gone within this.
_END_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
#: Where the kernel looks first when memory runs out: proc(5).
_OOM_SCORE: Final = Path("/proc/self/oom_score_adj")


class Isolation:
    """The worker's side. May be used by many threads.

    Args:
        target: what the child runs, a function of a module: called with the arguments, the lease and its end of the pipe.
        arguments: to be pickled.
        metrics: on whom the child's counts are called, by name.
        nudge: wakes the publisher.
        stuck_s: a child that says nothing for so long is killed.
    """

    def __init__(
        self,
        *,
        target: Callable[..., None],
        arguments: tuple[Any, ...],
        metrics: object,
        nudge: Callable[[], None],
        stuck_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target, self._arguments = target, arguments
        self._metrics, self._nudge = metrics, nudge
        self._stuck_s, self._clock = stuck_s, clock
        self._log = structlog.get_logger()

    def listen(self, lease: Lease, signals: Signals) -> Outcome:
        """As `Listening.listen`; the child's death is a run that failed and that the stream is to blame for."""
        # Forked, but not from us, whose threads' locks and connections it would have.
        context = get_context("forkserver")
        context.set_forkserver_preload([self._target.__module__])
        here, there = context.Pipe()
        process = context.Process(target=self._target, args=(*self._arguments, lease, there), name=f"alone {lease.stream.stream_id}", daemon=True)
        process.start()
        there.close()
        life = _Life(pid=process.pid or 0)
        try:
            over = self._attend(here, signals, life)
            process.join(_END_S if over and life.begun else 0)  # one that has not begun has nothing to end
        finally:
            if process.is_alive():
                process.kill()
                process.join(_END_S)
            here.close()
        if isinstance(over, EarmarkError):
            raise over
        if isinstance(over, HandedOver):
            return HandedOver(proven=life.heard_s >= PROBATION_S)
        if over is None:
            how = f"of signal {-code}" if (code := process.exitcode or 0) < 0 else f"with exit code {code}"
            self._log.error("session.died_alone", exitcode=process.exitcode, begun=life.begun)
            return Failed(f"the process that heard it alone died {how}{'' if life.begun else ' before it had begun'}", blamed=life.begun)
        return over

    def _attend(self, child: Connection, signals: Signals, life: "_Life") -> Outcome | EarmarkError | None:
        """Until the child says what became of it, or says nothing any more."""
        told: Stop | None = None
        heard_at = self._clock()
        with suppress(EOFError, OSError):  # it is gone
            while self._clock() - heard_at < (self._stuck_s if life.begun else _BEGUN_S):
                if signals.stop is not told:
                    told = signals.stop
                    child.send(told)
                if not signals.leaving and signals.wait(0):
                    child.send(None)
                if not child.poll(_POLL_S):
                    if signals.leaving and not life.begun:
                        return HandedOver()
                else:
                    heard_at = self._clock()
                    name, arguments, named = child.recv()
                    if name == "over":
                        outcome: Outcome | EarmarkError = arguments[0]
                        return outcome
                    if name == "begun":
                        life.begun = True
                        self._log.warning("session.alone", pid=life.pid)
                    elif name == "nudge":
                        self._nudge()
                    elif name != "beat":
                        life.heard_s += named.get("media_s", 0.0) if name in ("heard", "heard_of_file") else 0.0
                        getattr(self._metrics, name)(*arguments, **named)
        return None


@dataclass(slots=True)
class _Life:
    """What was heard of a child. One that never began to hear has died of something else."""

    pid: int
    begun: bool = False
    heard_s: float = 0.0


# ------------------------------------------------------------------------------------------------ in the child


class Link:
    """The child's side: what it says to its worker, and what it is told."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.signals = Signals()

    def attend(self, *, alive: Callable[[], bool]) -> None:
        """Heed the worker, and say again and again that we live, as long as that is so."""
        for run in (self._heed, lambda: self._beat(alive)):
            threading.Thread(target=run, name="link", daemon=True).start()

    @contextmanager
    def told(self) -> Iterator[None]:
        """What ends the block early, before the stream is heard, ends the run: with the database away there is nothing to begin with."""
        try:
            yield
        except EarmarkError as error:
            self.say("over", error)

    def say(self, name: str, *arguments: Any, **named: Any) -> None:
        """A worker that is gone is found out by whoever reads."""
        with self._lock, suppress(OSError):
            self._connection.send((name, arguments, named))

    def _heed(self) -> None:
        while True:
            try:
                told = self._connection.recv()
            except (EOFError, OSError):
                os._exit(1)  # our worker is gone: somebody takes its streams over
            if told is None:
                self.signals.nudge()
            else:
                self.signals.request(told)

    def _beat(self, alive: Callable[[], bool]) -> None:
        while True:
            if alive():
                self.say("beat")
            time.sleep(_BEAT_S)


class FarMetrics:
    """Stands for `telemetry.Metrics`: each call is made in the worker. Counts what is heard, and ends the probation."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._heard_s = 0.0

    def heard(self, *, media_s: float, **named: Any) -> None:
        self._link.say("heard", media_s=media_s, **named)
        self._survived(media_s)

    def heard_of_file(self, *, media_s: float) -> None:
        self._link.say("heard_of_file", media_s=media_s)
        self._survived(media_s)

    def _survived(self, media_s: float) -> None:
        self._heard_s += media_s
        if self._heard_s >= PROBATION_S:
            self._link.signals.request(Stop.HANDOVER)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: self._link.say(name, *arguments, **named)


def attended(link: Link, lease: Lease, listen: Callable[[Lease, Signals], Outcome]) -> None:
    """Hear the stream, and say what became of it."""
    with structlog.contextvars.bound_contextvars(**lease.stream.in_logs, fencing=lease.fencing, alone=True):
        try:
            link.say("begun")
            link.say("over", HandedOver() if link.signals.leaving else listen(lease, link.signals))
        except EarmarkError as error:
            link.say("over", error)
        except Exception as error:  # noqa: BLE001 -- as in the supervisor: told loudly, and costs this session alone
            structlog.get_logger().exception("session.crashed")
            link.say("over", Failed(a_bug(error), blamed=True))
        finally:
            logging.shutdown()  # which nobody else does in such a process: what a storm held back is said


def expendable() -> None:
    """Die with our worker, even in the midst of native code, and before anybody else when memory runs out."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):
            _OOM_SCORE.write_text("1000", encoding="ascii")
