"""One step of a measurement: so many streams for so long, and what that took of whom."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from bench.live_machine import Machine
from bench.live_observing import Lag, lags, stages
from bench.live_processes import cores_busy_s, cpu_s, family, family_cpu_s, spent, stat, threads_cpu_s
from bench.live_window import TARGET_S

#: A segment may be heard so long after it was complete.
LAG_S_MAX: Final = TARGET_S + 1.0
#: Streams that join read a whole window at once; after this they are where the others are.
SETTLE_S: Final = 20.0
_UNCHANGED_S: Final = 25.0
#: So often it is looked how many plays are open.
_GLANCE_S: Final = 15.0
_HEARD: Final = 'earmark_media_seconds_total{result="heard"}'
_RUNNING: Final = 'earmark_streams{state="running"}'


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reading:
    """Of everybody's clocks."""

    at: float
    cpu_s: Mapping[str, float]
    threads: Mapping[str, float]
    metrics: Mapping[str, float]
    #: Of the cores that the daemon runs on, whoever used them.
    busy_s: float

    @classmethod
    def take(cls, machine: Machine) -> "_Reading":
        metrics = machine.metrics()
        threads: dict[str, float] = defaultdict(float)
        for pid in [pid for daemon in machine.daemons for pid in family(daemon)]:
            for kind, seconds in threads_cpu_s(pid).items():
                threads[kind] += seconds
        spent_s = {name: family_cpu_s(pid) for name, pid in machine.pids.items()}
        spent_s |= {"daemon": sum(map(family_cpu_s, machine.daemons)), "this process": time.process_time()}
        busy_s = cores_busy_s(set().union(*machine.cores))
        return cls(at=time.time(), cpu_s=spent_s | _backends_cpu_s(machine), threads=threads, metrics=metrics, busy_s=busy_s)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What was measured of so many streams."""

    streams: int
    running: int
    seconds: float
    begin: float
    end: float
    #: From the first event until all were listened to, or no more were.
    started_s: float
    heard_s: float
    missed_s: float
    #: Processor seconds; of the daemon by thread and by stage.
    cpu_s: Mapping[str, float]
    threads: Mapping[str, float]
    stages: Mapping[str, float]
    resident_bytes: int
    lags: Sequence[Lag]
    open_share: float
    origin: Mapping[str, Any]
    busy: float
    #: Share of the daemon's cores that others used.
    disturbed: float
    #: Of the daemon's counters.
    counted: Mapping[str, float]

    def per_s(self, name: str) -> float:
        """Of a counter, for each second of a stream."""
        return self.counted.get(f"earmark_{name}_total", 0.0) / (self.running * self.seconds)

    def ms(self, cpu_s: float) -> float:
        """Per second of a stream, of which there were as many as were to be heard."""
        return 1e3 * cpu_s / (self.running * self.seconds) if self.running else float("nan")

    @property
    def cores(self) -> float:
        return self.cpu_s["daemon"] / self.seconds

    @property
    def heard_share(self) -> float:
        return self.heard_s / (self.streams * self.seconds)

    def lag_s(self, quantile: float) -> float:
        return float(np.quantile([lag.clock_s for lag in self.lags], quantile)) if self.lags else float("inf")

    def in_hand_s(self, quantile: float) -> float:
        """Of the lag, what passed since the segment had been fetched."""
        return float(np.quantile([lag.hand_s for lag in self.lags], quantile)) if self.lags else float("inf")

    def asked_after_s(self, quantile: float) -> float:
        """Of the lag, what passed until the segment was asked for."""
        ages = self.origin["ages"][1::2]
        return float(np.quantile(ages, quantile)) if ages else float("inf")

    @property
    def requests(self) -> int:
        """To the origin."""
        return sum(int(count) for kind, count in self.origin["asked"].items() if kind != "bytes")

    @property
    def starved(self) -> int:
        """How many streams were heard for less than nine tenths of the time."""
        heard = Counter(lag.stream for lag in self.lags)
        return self.streams - sum(TARGET_S * segments >= 0.9 * self.seconds - TARGET_S for segments in heard.values())

    @property
    def unfairness(self) -> float:
        """Of streams' median lags, the largest over the one in the middle."""
        by_stream: dict[int, list[float]] = {}
        for lag in self.lags:
            by_stream.setdefault(lag.stream, []).append(lag.clock_s)
        medians = [float(np.median(of_stream)) for of_stream in by_stream.values()]
        return max(medians) / float(np.median(medians)) if medians else float("inf")

    @property
    def held(self) -> bool:
        """Every stream was listened to, nothing was left out, and next to nothing was late."""
        return self.running == self.streams and not self.missed_s and not self.starved and self.lag_s(0.99) <= LAG_S_MAX


def step(machine: Machine, streams: int, seconds: float) -> Step:
    """Bring it to so many streams, let it settle, and look for so long."""
    live = len(machine.live)
    if live > streams:
        machine.go_off(live - streams)
    elif live < streams:
        machine.go_live(streams - live)
    started_s = settled(machine, streams)
    time.sleep(SETTLE_S)
    machine.asked_of_origin()
    before, opened = _Reading.take(machine), list[int]()
    until = before.at + seconds
    while (left_s := until - time.time()) > 0:
        time.sleep(min(_GLANCE_S, left_s))
        opened.append(machine.query("select count(*) from play join stream using (stream_id) where play.state <> 'closed' and stream.state = 'running'")[0][0])
    after = _Reading.take(machine)
    time.sleep(1.5)  # what is noted in the daemon is written once a second
    running = int(after.metrics[_RUNNING])
    return Step(
        streams=streams,
        running=running,
        seconds=after.at - before.at,
        begin=before.at,
        end=after.at,
        started_s=started_s,
        heard_s=after.metrics[_HEARD] - before.metrics[_HEARD],
        missed_s=_media_s(after) - _media_s(before) - (after.metrics[_HEARD] - before.metrics[_HEARD]),
        cpu_s=spent(before.cpu_s, after.cpu_s),
        threads=spent(before.threads, after.threads),
        stages=stages(machine.folder, before.at, after.at),
        resident_bytes=resident_bytes(machine),
        lags=[lag for lag in lags(machine.folder) if before.at <= lag.at <= after.at],
        open_share=float(np.mean(opened)) / streams,
        origin=machine.asked_of_origin(),
        disturbed=max(0.0, after.busy_s - before.busy_s - spent(before.cpu_s, after.cpu_s)["daemon"]) / (after.at - before.at) / len(machine.cores),
        counted={name: value - before.metrics.get(name, 0.0) for name, value in after.metrics.items() if "_total" in name},
        busy=after.metrics["earmark_compute_busy_ratio"] / len(machine.daemons),
    )


def settled(machine: Machine, streams: int) -> float:
    """The seconds until so many are listened to; or until nobody has come or gone for a while: who is too busy takes no more."""
    begun = changed_at = time.monotonic()
    running = -1.0
    while running != streams and time.monotonic() - changed_at < _UNCHANGED_S:
        time.sleep(0.5)
        before, running = running, machine.metrics()[_RUNNING]
        changed_at = changed_at if running == before else time.monotonic()
    return time.monotonic() - begun


def _backends_cpu_s(machine: Machine) -> dict[str, float]:
    """Of the server's processes, by whom they serve; what they do for themselves is the rest of `PostgreSQL`."""
    spent_s: dict[str, float] = defaultdict(float)
    for pid, name, kind in machine.query("select pid, application_name, backend_type from pg_stat_activity where pid <> pg_backend_pid()"):
        who = "look-ups" if name.endswith("reading") else "records" if name.startswith("earmark") else kind
        spent_s[f"PostgreSQL, {who}"] += cpu_s(pid)
    return spent_s


def resident_bytes(machine: Machine) -> int:
    """Of the daemon's processes."""
    return sum(found.resident_bytes for daemon in machine.daemons for pid in family(daemon) if (found := stat(pid)))


def _media_s(reading: _Reading) -> float:
    return sum(value for name, value in reading.metrics.items() if name.startswith("earmark_media_seconds_total"))
