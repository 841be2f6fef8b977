"""Runs the sessions: claims as there is room, a thread for each, and gives every lease back, whatever happens.

One thread, the supervisor's, talks to the leases. Session threads only run; what became of them goes into a queue, and
the next round puts it on record.

When the database is away the sessions go on hearing, and publish nothing, because all that they publish goes through it
with their token. Whether somebody has taken a stream over, a renewal that is answered says, and nothing else. An outage
lets all leases expire at once: whoever saw it takes nothing over for as long as a lease lives, so that holders come first.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Final, Protocol

import structlog

from earmark.control import fleet
from earmark.control.fleet import Others
from earmark.control.leases import Ended, Failed, HandedOver, Outcome, Renewal, Waiting
from earmark.errors import CatalogueMismatch, EarmarkError, LeaseLost, StreamNotFound, Transient
from earmark.model import Lease, SourceKind
from earmark.reserved import is_canary
from earmark.session import HOPELESS, Signals, Stop
from earmark.settings import Leases as LeaseSettings

#: Beyond this age of its oldest job the compute thread is behind, whatever its share says (a busy share looks back 10 s).
OLDEST_JOB_S_MAX = 0.5
#: Claimed at once, and a second between two claims: the busy share has to notice what was taken on. Ten streams a
#: second at 2 to 4 ms of computing per stream-second raise it by 0.02 to 0.04 each second.
CLAIM_BATCH = 10
CLAIM_PAUSE_S = 1.0
#: Segments last some seconds: streams that start together would fetch and compute together for ever.
SPREAD_S = 2.0
#: What cannot be heard is the operator's business, at `error`. But of a stored file its owner reads why beside it; and a recording that is
#: heard in the background was asked for by somebody, or filled gaps that are still on record.
_REFUSED: Final[Mapping[SourceKind, int]] = {"file": logging.INFO, "recording": logging.WARNING}
#: No more rounds than four a second, however often NOTIFY rings.
_TICK_S = 0.25


class LeasesPort(Protocol):
    """`leases.Leases`."""

    def claim(self, count: int, *, live_max: int, but_not: Collection[str] = (), takeovers: bool = True) -> list[Lease]: ...
    def renew(self) -> Renewal: ...
    def release(self, lease: Lease, outcome: Outcome) -> bool: ...
    def waiting(self) -> Waiting: ...


class FleetPort(Protocol):
    """`fleet.Fleet`."""

    def tell(self, *, sessions: int, room: bool) -> Others: ...
    def leave(self) -> None: ...


class Static(Protocol):
    """`static.StaticStreams`."""

    def ensure(self, now: datetime) -> list[str]: ...


class Load(Protocol):
    """How busy the process is: `compute.Compute`."""

    @property
    def oldest_job_s(self) -> float: ...
    @property
    def busy_share(self) -> float: ...


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def sessions(self, count: int) -> None: ...
    def waiting(self, waiting: Waiting) -> None: ...
    def session_over(self, outcome: str) -> None: ...
    def leases_lost(self, count: int) -> None: ...
    def renewed(self, *, took_s: float) -> None: ...
    def renewal_failed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Running:
    lease: Lease
    signals: Signals


class Supervisor:
    """`run` until `stop` is set, then hand everything over. The sessions themselves are `run_session`'s."""

    def __init__(
        self,
        *,
        leases: LeasesPort,
        run_session: Callable[[Lease, Signals], Outcome],
        load: Load,
        settings: LeaseSettings,
        meter: Meter,
        stop: threading.Event,
        static: Static | None = None,
        fleet: FleetPort | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._leases = leases
        self._run_session = run_session
        self._load = load
        self._settings = settings
        self._meter = meter
        self._stop = stop
        self._static = static
        self._fleet = fleet
        self._others, self._waiting = Others(), Waiting(0, 0.0, 0)
        self._now = now
        self._clock = clock
        self._running: dict[str, _Running] = {}
        self._over: SimpleQueue[tuple[Lease, Outcome]] = SimpleQueue()
        self._owed: list[tuple[Lease, Outcome]] = []
        self._bell = threading.Event()
        self._renewed_at = clock()
        self._failing = ""
        #: The last renewal had no answer; and until when nothing is taken from anybody.
        self._unanswered = False
        self._holders_first_until = -math.inf
        self._log = structlog.get_logger()

    @property
    def sessions(self) -> tuple[str, ...]:
        """The stream_ids of what runs here."""
        return tuple(self._running)

    @property
    def renewed_s_ago(self) -> float:
        """Age of the last round that reached the database: what `/healthz` judges by."""
        return self._clock() - self._renewed_at

    def wake(self, stream_id: str = "") -> None:
        """There is news: of this stream, or (empty) a stream that waits for an owner. From any thread."""
        running = self._running.get(stream_id)
        if running:
            running.signals.nudge()  # a segment in its inbox need not wait for a round
        if running or not stream_id:
            self._bell.set()

    def run(self) -> None:
        """Returns after the drain. Raises what no round can get over (a Permanent error, a bug), after the drain too."""
        try:
            while not self._stop.is_set():
                self._sleep(self._round())
        finally:
            self._drain()

    def _round(self) -> float:
        """Renew, settle, claim; returns the seconds until the next round."""
        try:
            self._renew()  # first: a stream that cannot be given back (somebody has locked its row) must not cost all others their lease
            self._settle()
            if self._static:
                self._static.ensure(self._now())
            self._waiting = self._leases.waiting()
            self._share()
            claimed = self._claim()
            self._meter.waiting((self._leases.waiting() if claimed else self._waiting).told)
        except Transient as error:
            self._put_up_with(error)
            return min(CLAIM_PAUSE_S, self._settings.renew_s)
        if self._failing:
            self._failing = ""
            self._log.info("database.recovered")
        self._meter.sessions(sum(not is_canary(stream_id) for stream_id in self._running))
        return min(CLAIM_PAUSE_S, self._settings.renew_s) if claimed == CLAIM_BATCH else self._settings.renew_s

    def _put_up_with(self, error: EarmarkError) -> None:
        self._meter.renewal_failed()
        if not self._failing:
            self._failing = str(error)
            self._log.warning("database.failed", reason=self._failing)

    def _renew(self) -> None:
        began = self._clock()
        try:
            renewal = self._leases.renew()
        except Transient:
            self._unanswered = True
            raise
        self._renewed_at = began
        if self._unanswered:
            self._unanswered = False
            self._holders_first_until = self._clock() + self._settings.ttl_s
        self._meter.renewed(took_s=self._clock() - began)
        if renewal.lost:
            self._meter.leases_lost(len(renewal.lost))
        for stream_ids, stop in ((renewal.lost, Stop.LOST), (renewal.stop, Stop.END)):
            for stream_id in stream_ids & self._running.keys():
                self._running[stream_id].signals.request(stop)
        for stream_id in renewal.inbox & self._running.keys():
            self._running[stream_id].signals.nudge()

    def _share(self) -> None:
        """Tell the others how it is here, and hand over what is beyond our part."""
        if not self._fleet:
            return
        live = self._live()
        self._others = self._fleet.tell(sessions=len(live), room=self._room() > 0)
        moved = fleet.surplus(len(live), self._others, self._waiting.streams)
        for running in [running for running in reversed(live) if not running.lease.alone][:moved]:  # the newest: they have the least to lose
            self._log.info("session.moved", **running.lease.stream.in_logs, sessions=len(live), others=self._others.workers)
            running.signals.request(Stop.HANDOVER)

    def _live(self) -> list[_Running]:
        """What stays here. Stored files have no hurry and are not shared: who has room for one takes it."""
        return [running for running in self._running.values() if running.lease.stream.source != "file" and not running.signals.leaving]

    def _claim(self) -> int:
        room, waits = self._room(), self._waiting
        live_max = fleet.claimable(len(self._live()), self._others, waiting=waits.streams, oldest_age_s=waits.oldest_age_s, most=room)
        takeovers = self._clock() >= self._holders_first_until
        leases = self._leases.claim(room, live_max=live_max, but_not=self._running.keys(), takeovers=takeovers)
        for place, lease in enumerate(leases):
            self._start(lease, delay_s=place * SPREAD_S / len(leases))
        return len(leases)

    def _room(self) -> int:
        if self._load.busy_share > self._settings.busy_share_max or self._load.oldest_job_s > OLDEST_JOB_S_MAX:
            return 0
        return min(CLAIM_BATCH, self._settings.streams_max - len(self._running))

    def _settle(self) -> None:
        """What is over goes on record; what cannot now, in a later round."""
        while not self._over.empty():
            self._owed.append(self._over.get())
        while self._owed:
            lease, outcome = self._owed[0]
            self._leases.release(lease, outcome)
            del self._owed[0]
            self._running.pop(lease.stream.stream_id, None)
            if not is_canary(lease.stream.stream_id):
                self._meter.session_over(_label(outcome))

    def _sleep(self, pause_s: float) -> None:
        """Until the next round is due, somebody rings, or it is time to stop."""
        until = self._clock() + pause_s
        while self._clock() < until and not self._stop.wait(_TICK_S):
            if self._bell.is_set():
                break
        self._bell.clear()

    def _start(self, lease: Lease, *, delay_s: float) -> None:
        stream_id = lease.stream.stream_id
        running = _Running(lease, Signals())
        if lease.stop_wanted:
            running.signals.request(Stop.END)
        self._running[stream_id] = running
        try:
            threading.Thread(target=self._listen, args=(running, delay_s), name=stream_id, daemon=True).start()
        except RuntimeError as error:  # no more threads: another worker may have some
            self._over.put((lease, Failed(f"no thread could be started for the session: {error}")))

    def _listen(self, running: _Running, delay_s: float) -> None:
        """The session's thread, first line to last."""
        lease, signals = running.lease, running.signals
        with structlog.contextvars.bound_contextvars(**lease.stream.in_logs, fencing=lease.fencing):
            if delay_s and not signals.stop:
                signals.wait(delay_s)
            outcome: Outcome = Failed("the session's thread ended without an outcome", blamed=True)
            try:
                outcome = HandedOver() if signals.leaving else self._outcome(lease, signals)
            finally:
                self._over.put((lease, outcome))
                self._bell.set()

    def _outcome(self, lease: Lease, signals: Signals) -> Outcome:
        try:
            return self._run_session(lease, signals)
        except LeaseLost as error:
            self._log.warning("lease.lost", reason=str(error))
            return HandedOver()
        except CatalogueMismatch as error:  # what it had not heard yet is heard by a worker of the version that the catalogue has now
            self._log.info("session.handed_over", reason=str(error))
            return HandedOver()
        except StreamNotFound as error:
            self._log.warning("stream.not_found", reason=str(error))
            return Ended("not_live", str(error))
        except HOPELESS as error:
            self._log.log(_REFUSED.get(lease.stream.source, logging.ERROR), "session.refused", reason=str(error))
            return Ended("failed", str(error))
        except EarmarkError as error:  # a role that may not, a schema that does not fit: whoever mends that finds the stream still wanted
            self._log.warning("session.failed", reason=str(error))
            return Failed(str(error))
        except Exception as error:  # noqa: BLE001 -- a bug, in a thread that nobody joins: it is told loudly, and costs this session alone
            self._log.exception("session.crashed")
            return Failed(a_bug(error), blamed=True)

    def _drain(self) -> None:
        """Hand everything over, within `drain_s`; leases live on meanwhile, and what does not stop is given back all the same."""
        until = self._clock() + self._settings.drain_s
        self._log.info("supervisor.draining", sessions=len(self._running))
        for running in self._running.values():
            running.signals.request(Stop.HANDOVER)
        while self._running and self._clock() < until:
            self._bell.wait(_TICK_S)
            self._bell.clear()
            self._drain_round()
        over = {lease.stream.stream_id for lease, _ in self._owed}
        for running in (running for stream_id, running in self._running.items() if stream_id not in over):
            self._log.error("session.abandoned", **running.lease.stream.in_logs, after_s=self._settings.drain_s)
            running.signals.request(Stop.LOST)
            self._owed.append((running.lease, Failed(f"the session did not stop within {self._settings.drain_s:g} s", blamed=True)))
        self._drain_round()
        self._leave()
        for lease, _ in self._owed:
            self._log.error("lease.left_to_expire", **lease.stream.in_logs, reason=self._failing)
        self._meter.sessions(0)
        self._log.info("supervisor.drained")

    def _leave(self) -> None:
        try:
            if self._fleet:
                self._fleet.leave()
        except EarmarkError as error:  # it is forgotten with the next lease that is not renewed
            self._put_up_with(error)

    def _drain_round(self) -> None:
        try:
            if self.renewed_s_ago > self._settings.renew_s:
                self._renew()
            self._settle()
        except EarmarkError as error:
            self._put_up_with(error)


def a_bug(error: Exception) -> str:
    """In one line: what comes after the first may hold rows of the database. The log has all of it."""
    return f"a bug: {type(error).__name__}: {next(iter(str(error).splitlines()), '')[:500]}"


def _label(outcome: Outcome) -> str:
    match outcome:
        case Ended(reason=reason):
            return reason
        case HandedOver():
            return "handed_over"
        case Failed(blamed=blamed):
            return "crashed" if blamed else "failed"
