"""What it costs a stream that its worker goes, with the lease that the daemon has by default and no other fault: by SIGKILL, and by SIGTERM."""

import operator
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from bench.rows import row
from earmark.settings import Leases
from faults import audit, successions
from faults.circumstances import Circumstances
from faults.evidence import Evidence
from faults.fleet import Diary, Fleet, Temper
from faults.soak import Soak
from faults.table import HANDOVER_GAP_S_MAX

TIMES_MIN = 20
TAKEOVER_S_MAX = 20.0
_EVERY_S = 6.0
_LIMIT_S = 600.0


def measure(asked: Circumstances, *, folder: Path, command: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """How long a stream is without an owner when its worker is killed."""
    evidence = _without(asked, Fleet.kill, folder=folder, tell=tell)
    found = successions.takeovers(evidence, Diary(entries=list(evidence.diary)).of("killed"))
    seconds = [one.seconds for one in found if one.seconds is not None]
    return [
        row("kills of a worker that held streams", len({one.worker for one in found}), "kills", bar=TIMES_MIN, met=operator.ge, command=command),
        row("takeover after SIGKILL, p95 (lease default)", successions.p95(seconds), "s", bar=TAKEOVER_S_MAX, command=command, against=_lease()),
        row("takeover after SIGKILL, longest", max(seconds, default=None), "s", command=command, against=f"{len(seconds)} streams"),
        row("streams that nobody took over", len(found) - len(seconds), "streams", bar=0, command=command),
        row("hits lost", len(audit.lost_hits(evidence)), "hits", bar=0, command=command),
    ]


def handover(asked: Circumstances, *, folder: Path, command: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """What a stream misses when its worker is asked to go."""
    evidence = _without(asked, Fleet.ask_to_go, folder=folder, tell=tell)
    gaps_s = [gap_s for _, gap_s in successions.handovers(evidence)]
    return [
        row("hand-overs of a stream by a worker that was asked to go", len(gaps_s), "hand-overs", bar=TIMES_MIN, met=operator.ge, command=command),
        row("gap caused by SIGTERM, p95 (lease default)", successions.p95(gaps_s), "s", bar=HANDOVER_GAP_S_MAX, command=command, against=_lease()),
        row("gap caused by SIGTERM, longest", max(gaps_s, default=None), "s", command=command),
        row("hits lost", len(audit.lost_hits(evidence)), "hits", bar=0, command=command),
    ]


def _without(asked: Circumstances, deed: Callable[[Fleet, str], None], *, folder: Path, tell: Callable[[str], None]) -> Evidence:
    """Do it to a worker that holds streams, every few seconds."""
    lease = Leases()
    settings = {"EARMARK_LEASES__TTL_S": str(lease.ttl_s), "EARMARK_LEASES__RENEW_S": str(lease.renew_s)}
    calm = replace(
        asked, minutes=0, odds={}, temper=Temper(percent={}), settings={**asked.settings, **settings}, events_reliable=True, streams=2 * asked.workers
    )
    generator, times = random.Random(f"{asked.seed}/takeover"), 0
    with Soak(calm, folder=folder, tell=tell) as soak:
        soak.fleet.tick()
        soak.began, next_at = time.time(), time.time() + 2 * _EVERY_S
        while times < TIMES_MIN + 2:
            assert time.time() < soak.began + _LIMIT_S, "the workers hold no streams that could be taken over"
            soak.drive(float("inf"))
            if time.time() >= next_at and (names := _holders(soak)):
                deed(soak.fleet, generator.choice(names))
                next_at, times = time.time() + _EVERY_S, times + 1
                tell(f"{time.time() - soak.began:4.0f} s: {times} times")
            time.sleep(0.05)
        soak.settle()
        soak.fleet.stop()
        return soak.evidence()


def _lease() -> str:
    return f"leases.ttl_s {Leases().ttl_s:g}, renew_s {Leases().renew_s:g}"


def _holders(soak: Soak) -> list[str]:
    """Workers that have streams now."""
    with psycopg.connect(soak.dsn, autocommit=True) as connection:
        owners = {owner for (owner,) in connection.execute("select distinct owner from stream where owner is not null and lease_until > now()")}
    return sorted(owners & set(soak.fleet.names()))
