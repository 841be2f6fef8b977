"""A rolling deployment while streams play: what ECS would do by the template's terms, done to the image's daemons, and what it cost the streams."""

import operator
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from earmark.local.worker import _free_port
from faults import audit, successions
from faults.circumstances import Circumstances
from faults.evidence import Evidence
from faults.fleet import Temper
from faults.soak import Soak
from faults.table import HANDOVER_GAP_S_MAX
from rehearsal import image
from rehearsal.ecs import Service, Task
from rehearsal.figures import NotHere, figure
from rehearsal.task import Checkout, Image, Terms
from stack_synthesis import synthesised

TASKS: Final = 2
STREAMS: Final = 24
DEPLOYMENTS: Final = 2
#: Of each recording that is played: long enough for one to be on air while tasks change.
MUSIC_S: Final = 44.0
#: Between two deployments, and before the first one.
PLAYED_S: Final = 6.0
#: A task is healthy after its check's interval, and a drain takes seconds.
DEPLOYED_S_MAX: Final = 120.0
HANDOVERS_MIN: Final = 20


def run(out: Path) -> list[dict[str, Any]]:
    terms = Terms.of(synthesised(out / "cdk" / "deploy", alertEmail="rights@example.com", canaryMinutes="0", capacityMin=str(TASKS)).to_json()["Resources"])
    asked = Circumstances(seed=1, minutes=0, workers=0, streams=STREAMS, music_s=MUSIC_S, odds={}, temper=Temper(percent={}), events_reliable=True)
    folder = out / "deploy"
    folder.mkdir(exist_ok=True)
    for log in folder.glob("*.log"):
        log.unlink()
    with ExitStack() as stack:
        daemon = stack.enter_context(_daemon(out, terms))
        print(
            f"  of {daemon.name}; {terms.tasks} tasks, healthy {terms.healthy_percent_min} to {terms.healthy_percent_max} %, {_stop_s(terms)} s to stop",
            flush=True,
        )
        soak = stack.enter_context(Soak(asked, folder=folder, tell=print))
        service = stack.enter_context(Service(terms, start=_starter(daemon, terms, soak, folder), diary=soak.fleet.diary))
        took_s = _deployed(soak, service)
        soak.settle()
        service.stop()
        return _figures(soak.evidence(), service, terms, took_s)


def _deployed(soak: Soak, service: Service) -> list[float]:
    """Seconds that each deployment took."""
    _until(soak, service, lambda: service.is_done)
    soak.began, took_s = time.time(), []
    _for(soak, service, PLAYED_S, begin=True)
    for number in range(DEPLOYMENTS):
        _for(soak, service, PLAYED_S)
        began = time.monotonic()
        service.deploy()
        _until(soak, service, lambda: service.is_done)
        took_s.append(time.monotonic() - began)
        print(f"  deployment {number + 1} took {took_s[-1]:.0f} s", flush=True)
    while soak.on_air:
        _for(soak, service, 1.0)
    return took_s


def _until(soak: Soak, service: Service, condition: Callable[[], bool]) -> None:
    until = time.monotonic() + DEPLOYED_S_MAX
    service.tick()
    while not condition():
        assert time.monotonic() < until, f"the deployment has not ended after {DEPLOYED_S_MAX:.0f} s: {service.state}"
        _for(soak, service, 0.05)


def _for(soak: Soak, service: Service, seconds: float, *, begin: bool = False) -> None:
    """Streams play on, and end; with `begin`, as many are on air as were asked for."""
    until = time.monotonic() + seconds
    while True:
        soak.drive(float("inf") if begin else 0.0)
        service.tick()
        if time.monotonic() >= until:
            return
        time.sleep(0.05)


@contextmanager
def _daemon(out: Path, terms: Terms) -> Iterator[Image | Checkout]:
    """The image's, where there is one of these files."""
    with ExitStack() as stack:
        try:
            found: Image | Checkout = stack.enter_context(image.built(out, terms.environment))
        except NotHere:
            found = Checkout(terms.environment)
        yield found


def _starter(daemon: Image | Checkout, terms: Terms, soak: Soak, folder: Path) -> Callable[[str], Task]:
    def start(name: str) -> Task:
        port = _free_port()
        environment = {
            **daemon.environment,
            **soak.places(),
            # Each revision of each hit, for the audit; which knows who asked by these names.
            "EARMARK_ALERTS__ON": "provisional,open,closed",
            "EARMARK_ALERTS__PER_STREAM_HOUR_MAX": "1000",
            "EARMARK_LEASES__WORKER": name,
            "AWS_SDK_UA_APP_ID": name,
            "EARMARK_METRICS__HOST": "127.0.0.1",
            "EARMARK_METRICS__PORT": str(port),
        }
        health = daemon.other(terms.health_command(port))
        return Task(name, command=daemon.command(terms.command), health=health, environment=environment, terms=terms, log=folder / f"{name}.log")

    return start


def _figures(evidence: Evidence, service: Service, terms: Terms, took_s: list[float]) -> list[dict[str, Any]]:
    def none_of(name: str, found: list[str], unit: str) -> dict[str, Any]:
        for line in found:
            print(f"  {name}: {line}")
        return figure("deploy", name, len(found), unit, bar=0)

    gaps_s = [gap_s for _, gap_s in successions.handovers(evidence)]
    off = audit.unaccounted(evidence)
    twice = [*audit.played_twice(evidence), *audit.overwritten(evidence), *audit.differing(evidence)]
    failed = [f"{entry.worker}: {entry.what}" for entry in evidence.diary if entry.deed == "failed"]
    heard_s = sum(row.position_s for row in evidence.streams.values())
    return [
        figure("deploy", "streams that played meanwhile", len(evidence.aired), "streams", bar=STREAMS, met=operator.ge, against=f"{len(evidence.plays)} plays"),
        figure("deploy", "a deployment took, longest", max(took_s), "s", against=f"{len(took_s)} deployments of {terms.tasks} tasks"),
        figure("deploy", "streams handed over by tasks that were stopped", len(gaps_s), "streams", bar=HANDOVERS_MIN, met=operator.ge),
        none_of("hits lost", audit.lost_hits(evidence), "hits"),
        none_of("hits told twice, or in two ways", twice, "hits"),
        none_of("plays of what was not on air", audit.false_hits(evidence), "plays"),
        figure("deploy", "gap of a hand-over, p95", successions.p95(gaps_s), "s", bar=HANDOVER_GAP_S_MAX, against=f"{len(gaps_s)} hand-overs"),
        figure("deploy", "gap of a hand-over, longest", max(gaps_s, default=None), "s"),
        none_of("media unaccounted for", [f"{seconds:.3f} s: {why}" for seconds, why in off], "stretches"),
        figure(
            "deploy", "media in gaps", sum(gap.end_s - gap.begin_s for row in evidence.streams.values() for gap in row.gaps), "s", against=f"{heard_s:.0f} s"
        ),
        figure("deploy", "SIGTERM to a task's end, longest", max(service.stops_s, default=None), "s", bar=_stop_s(terms)),
        none_of("tasks killed, for they did not end", service.killed, "tasks"),
        none_of("tasks that ended by themselves", failed, "tasks"),
        none_of("tasks that were unhealthy", sorted(service.unhealthy), "tasks"),
    ]


def _stop_s(terms: Terms) -> int:
    seconds: int = terms.definition["StopTimeout"]
    return seconds
