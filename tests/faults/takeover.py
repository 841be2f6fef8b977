"""How long a stream is without an owner after SIGKILL, with the lease that the daemon has by default."""

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
from faults.fleet import Diary, Temper
from faults.soak import Soak

KILLS_MIN = 20
TAKEOVER_S_MAX = 20.0
_EVERY_S = 6.0
_LIMIT_S = 600.0


def measure(asked: Circumstances, *, folder: Path, command: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Kill a worker that holds streams every few seconds, without any other fault."""
    lease = Leases()
    settings = {"EARMARK_LEASES__TTL_S": str(lease.ttl_s), "EARMARK_LEASES__RENEW_S": str(lease.renew_s)}
    calm = replace(
        asked, minutes=0, odds={}, temper=Temper(percent={}), settings={**asked.settings, **settings}, events_reliable=True, streams=2 * asked.workers
    )
    generator = random.Random(f"{asked.seed}/takeover")
    with Soak(calm, folder=folder, tell=tell) as soak:
        soak.fleet.tick()
        soak.began, next_at = time.time(), time.time() + 2 * _EVERY_S
        while len(soak.fleet.diary.kills) < KILLS_MIN + 2:
            assert time.time() < soak.began + _LIMIT_S, "the workers hold no streams that could be taken over"
            soak.drive(float("inf"))
            if time.time() >= next_at and (names := _holders(soak)):
                soak.fleet.kill(generator.choice(names))
                next_at = time.time() + _EVERY_S
                tell(f"{time.time() - soak.began:4.0f} s: {len(soak.fleet.diary.kills)} kills")
            time.sleep(0.05)
        soak.settle()
        soak.fleet.stop()
        evidence = soak.evidence()
    found = successions.takeovers(evidence, Diary(entries=list(evidence.diary)).of("killed"))
    seconds = [one.seconds for one in found if one.seconds is not None]
    against = f"leases.ttl_s {lease.ttl_s:g}, renew_s {lease.renew_s:g}"
    return [
        row("kills of a worker that held streams", len({one.worker for one in found}), "kills", bar=KILLS_MIN, met=operator.ge, command=command),
        row("takeover after SIGKILL, p95 (lease default)", successions.p95(seconds), "s", bar=TAKEOVER_S_MAX, command=command, against=against),
        row("takeover after SIGKILL, longest", max(seconds, default=None), "s", command=command, against=f"{len(seconds)} streams"),
        row("streams that nobody took over", len(found) - len(seconds), "streams", bar=0, command=command),
        row("hits lost", len(audit.lost_hits(evidence)), "hits", bar=0, command=command),
    ]


def _holders(soak: Soak) -> list[str]:
    """Workers that have streams now."""
    with psycopg.connect(soak.dsn, autocommit=True) as connection:
        owners = {owner for (owner,) in connection.execute("select distinct owner from stream where owner is not null and lease_until > now()")}
    return sorted(owners & set(soak.fleet.names()))
