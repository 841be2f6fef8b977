"""What being watched costs: a daemon's processor time with its telemetry and without, in turns, while it listens to a hundred streams.

With: it counts, and is scraped each 15 s as Prometheus does. Without: SIGUSR2 has switched the counting off
(`rehearsal.switching`), and nobody asks. Turns of a quarter of a minute in the order with, without, without, with, so that what
is on air and what warms up is the same for both. STREAMS=30 and TURNS=8 are quicker; on a machine that others use nothing can be told.
"""

import os
import signal
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import urllib3

from bench import rows
from bench.asked import whole
from bench.live_processes import family_cpu_s
from rehearsal.scraped import ACCEPT
from rehearsal.watched import Scene

STREAMS: Final = whole("STREAMS", 100, least=1)
#: Pairs of turns.
TURNS: Final = whole("TURNS", 20, least=1)
TURN_S: Final = 15.0
SCRAPE_S: Final = 15.0
_SETTLED_S: Final = 30.0
#: No two streams play the same at once, so that what is played is about the same in each turn.
_APART_S: Final = 600.0
COMMAND: Final = "make rehearse ONLY=overhead"
TESTS: Final = Path(__file__).parents[1]


def run(out: Path) -> Sequence[dict[str, Any]]:
    with ExitStack() as stack:
        path = os.pathsep.join(filter(None, [str(Path(__file__).parent / "switched"), str(TESTS), os.environ.get("PYTHONPATH")]))
        scene = Scene(stack, out / "overhead.log", room=2 * STREAMS, settings={"PYTHONPATH": path, "EARMARK_LEASES__BUSY_SHARE_MAX": "1"})
        for number in range(STREAMS):
            scene.go_live(begun_s=_APART_S * number / STREAMS)
        scene.until_running(STREAMS)
        time.sleep(_SETTLED_S)
        turns = [(counted, _turn(scene, counted=counted)) for pair in range(TURNS) for counted in ((True, False) if pair % 2 == 0 else (False, True))]
    spent = {counted: [cpu_s for kind, cpu_s in turns if kind is counted] for counted in (True, False)}
    with_s, without_s = (statistics.mean(spent[counted]) for counted in (True, False))
    ratios = [one / other for one, other in zip(spent[True], spent[False], strict=True)]
    error = statistics.stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else float("nan")
    print(f"  with: {' '.join(f'{cpu_s:.2f}' for cpu_s in spent[True])} s of CPU; without: {' '.join(f'{cpu_s:.2f}' for cpu_s in spent[False])} s", flush=True)
    against = f"means of {TURNS} turns of {TURN_S:.0f} s each: {with_s:.2f} s and {without_s:.2f} s of CPU; standard error {error:.3f}"
    figures = [
        rows.row(f"CPU with telemetry over without, at {STREAMS} streams", with_s / without_s, "", bar=1.03, against=against, command=COMMAND),
        rows.row("CPU of the daemon for a second of a stream", 1e3 * with_s / TURN_S / STREAMS, "ms", against=against, command=COMMAND),
    ]
    rows.store("overhead", figures)
    return figures


def _turn(scene: Scene, *, counted: bool) -> float:
    """The daemon's CPU seconds in it."""
    if not counted:
        os.kill(scene.worker.pid, signal.SIGUSR2)
    began, before = time.monotonic(), family_cpu_s(scene.worker.pid)
    if counted:
        for number in range(round(TURN_S / SCRAPE_S)):
            time.sleep(max(0.0, began + (number + 0.5) * SCRAPE_S - time.monotonic()))
            urllib3.request("GET", scene.worker.metrics_url, headers={"Accept": ACCEPT}, retries=False)
    time.sleep(max(0.0, began + TURN_S - time.monotonic()))
    spent_s = (family_cpu_s(scene.worker.pid) - before) * TURN_S / (time.monotonic() - began)
    if not counted:
        os.kill(scene.worker.pid, signal.SIGUSR2)
    return spent_s
