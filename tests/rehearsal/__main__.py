"""`make rehearse`: what can be proved of a deployment without an account, and a list of what cannot.

    contexts        all pairs of context values synthesise, and mean what they say; every wrong one is one sentence
    cloudformation  the template, deployed to the stand-in's CloudFormation as far as that knows its resources
    image           the Dockerfile, built by buildah on a base made by debootstrap; what is how large in it
    start           how soon the image's daemon is ready; that a read-only root is enough for each of its roles
    demo            the image's own daemon, as the task definition starts it, through a whole demo, killed in the middle
    compose         the services of config/compose as processes on the loopback, until a hit is in S3 and in Prometheus
    deploy          a rolling deployment by the template's own terms, while streams play
    watched         a daemon through twenty minutes of faults, and which alerts a real Prometheus raises; build/bench/watched.json
    overhead        what counting and being scraped takes of a daemon's processor time at a hundred streams

ONLY=contexts,image runs some of it. What this machine lacks, or whoever runs it may not, is said, and is no failure. Figures
are a table at the end, and build/bench/rehearse.json.
"""

import importlib
import operator
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.rows import show, store
from faults.table import broken
from rehearsal.figures import NotHere, figure
from rehearsal.left_behind import Left, watched

OUT = Path("build/rehearsal")
#: Modules of this package; `run` gives a part's figures, or says whether all went well.
PARTS = ("contexts", "cloudformation", "image", "start", "demo", "deploy", "compose", "watched", "overhead")
#: A part that takes longer has failed; the image's base comes from Debian's mirrors.
LIMIT_S, LIMITS_S = 600, {"image": 1_800, "watched": 3_000, "overhead": 1_500}


def main() -> int:
    asked = [name for name in os.environ.get("ONLY", "").split(",") if name] or PARTS
    strangers = [name for name in asked if name not in PARTS]
    if strangers:
        print(f"rehearse: ONLY={strangers[0]} is no part of it: there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: by way of every clean-up
    OUT.mkdir(parents=True, exist_ok=True)
    left, rows = Left(), []
    with watched(left):
        for name in asked:
            print(f"\n{name}", flush=True)
            rows += _part(name)
            store("rehearse", rows)  # so far: the whole of it takes long, and may be ended
    rows.append(figure(",".join(asked), "left behind: processes, mounts, temporary files", len([*left.processes, *left.mounts, *left.files]), "", bar=0))
    store("rehearse", rows)
    show("rehearse", rows)
    return _verdict(rows, left)


def _part(name: str) -> list[dict[str, Any]]:
    began = time.monotonic()
    try:
        with _limited(LIMITS_S.get(name, LIMIT_S)):
            came: bool | Sequence[dict[str, Any]] = importlib.import_module(f"rehearsal.{name}").run(OUT)
    except (NotHere, pytest.skip.Exception) as why:
        print(f"  not done here: {why}")
        return [figure(name, f"{name}: done", None, "", against=str(why))]
    except Exception:
        traceback.print_exc()
        came = False
    rows = [figure(name, f"{name}: done", int(came), "", bar=1, met=operator.ge)] if isinstance(came, bool) else list(came)
    return [*rows, figure(name, f"{name}: took", time.monotonic() - began, "s")]


def _verdict(rows: Sequence[dict[str, Any]], left: Left) -> int:
    print()
    if left:
        print(f"left behind: {left}")
    for row in rows:
        if row["value"] is None:
            print(f"not done: {row['command'].rpartition('=')[2]}: {row['against']}")
    missed = broken(rows)
    for row in missed:
        print(f"missed: {row['figure']} is {row['value']:g} {row['unit']}, {row['bar']:g} is the bar ({row['command']})")
    if not missed:
        print("all of it: done" if all(row["value"] is not None for row in rows) else "the rest of it: done")
    return 1 if missed else 0


@contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def over(*_: object) -> None:
        raise TimeoutError(f"not within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


if __name__ == "__main__":
    sys.exit(main())
