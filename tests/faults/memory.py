"""Does one worker grow while streams come and go? Its memory, threads, file handles and connections, sampled, and a line through them."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from bench.rows import row
from earmark.settings import Leases
from faults.circumstances import Circumstances
from faults.fleet import Temper
from faults.soak import Soak

STREAMS = 50
GROWTH_MB_PER_H_MAX = 1.0
_EVERY_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    at_s: float
    resident_mb: float
    threads: int
    handles: int
    connections: int


def measure(asked: Circumstances, *, folder: Path, command: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    lease = Leases()
    settings = {"EARMARK_LEASES__TTL_S": str(lease.ttl_s), "EARMARK_LEASES__RENEW_S": str(lease.renew_s), **asked.settings}
    calm = replace(asked, workers=1, streams=STREAMS, odds={}, temper=Temper(percent={}), settings=settings, remember=False)
    samples: list[Sample] = []
    with Soak(calm, folder=folder, tell=tell) as soak:
        soak.fleet.tick()
        (pid,) = soak.fleet.pids
        soak.began = next_at = time.time()
        until = soak.began + 60 * asked.minutes
        while time.time() < until:
            soak.drive(until)
            if time.time() >= next_at:
                next_at += _EVERY_S
                samples.append(sample(pid, time.time() - soak.began, soak.dsn))
                if len(samples) % 12 == 0:
                    tell(f"{samples[-1].at_s:5.0f} s: {len(soak.aired)} streams so far, {samples[-1].resident_mb:.1f} MB, {samples[-1].threads} threads")
            time.sleep(0.05)
        assert soak.fleet.pids == [pid], "the worker whose memory is measured has ended"
        streams = len(soak.aired)
        soak.fleet.stop()
    return rows(samples, streams=streams, command=command)


def sample(pid: int, at_s: float, dsn: str) -> Sample:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines())
    with psycopg.connect(dsn, autocommit=True) as connection:
        counted = connection.execute("select count(*) from pg_stat_activity where application_name like 'earmark w%'").fetchone()
    return Sample(
        at_s=at_s,
        resident_mb=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        handles=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        connections=counted[0] if counted else 0,
    )


def growth_per_h(at_s: Sequence[float], values: Sequence[float]) -> float:
    """Of the straight line that lies closest."""
    return float(np.polyfit(np.asarray(at_s) / 3600, np.asarray(values, float), 1)[0])


def rows(samples: Sequence[Sample], *, streams: int, command: str) -> list[dict[str, Any]]:
    # A third is warm-up: what is kept on purpose, as the newest keys of S3, is full after a thousand streams, twenty minutes.
    warm_s = samples[-1].at_s / 3
    warm = [one for one in samples if one.at_s >= warm_s]
    at_s = [one.at_s for one in warm]
    grown = f"{warm[0].resident_mb:.0f} to {warm[-1].resident_mb:.0f} MB"
    against = f"{streams} streams in {samples[-1].at_s / 60:.0f} minutes, {STREAMS} at a time, after {warm_s / 60:.0f} minutes; {grown}"
    found = [
        row(
            "resident memory growth per hour",
            growth_per_h(at_s, [one.resident_mb for one in warm]),
            "MB/h",
            bar=GROWTH_MB_PER_H_MAX,
            command=command,
            against=against,
        )
    ]
    for name, of in (
        ("threads", lambda one: one.threads),
        ("file handles", lambda one: one.handles),
        ("connections to PostgreSQL", lambda one: one.connections),
    ):
        # As streams come and go each of these goes up and down; flat is what ends no higher than it began.
        third = max(1, len(warm) // 3)
        early, late = max(of(one) for one in warm[:third]), max(of(one) for one in warm[-third:])
        found.append(
            row(
                f"{name}: most in the last third, less the first",
                late - early,
                name,
                bar=max(2.0, 0.05 * early),
                command=command,
                against=f"{early} and {late}",
            )
        )
    return found
