"""A small fleet's life as Prometheus would have scraped it, told through the daemon's own metrics; and promtool, which judges the rules by it."""

import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final

import yaml
from prometheus_client.registry import CollectorRegistry

from earmark.telemetry import Metrics

FOLDER: Final = Path(__file__).parents[1] / "config" / "prometheus"
FILES: Final = ("recording.yml", "alerts.yml")
#: As prometheus.yml has it.
SCRAPE_S: Final = 15
_STREAMS: Final = 10
#: Ends a series, as a target does that is gone.
_GONE: Final = "stale"


def groups(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))["groups"]
    return found


def rules(file: str) -> list[dict[str, Any]]:
    return [rule for group in groups(file) for rule in group["rules"]]


ALERTS: Final = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDED: Final = {rule["record"]: rule["expr"] for rule in rules("recording.yml")}


def names_in(expression: str) -> set[str]:
    """The daemon's own metrics that an expression asks for."""
    return set(re.findall(r"\b(?:earmark|process)_\w+", expression))


ASKED: Final = frozenset().union(*(names_in(rule["expr"]) for file in FILES for rule in rules(file)))


# ------------------------------------------------------------------------------------------------ a worker's life


def live(metrics: Metrics, seconds: float) -> None:
    """So long a time in which all is well: ten streams are heard, now and then a play is told, everything that can be counted is."""
    metrics.renewed(took_s=0.004)
    metrics.sessions(_STREAMS)
    metrics.waiting(SimpleNamespace(streams=0, oldest_age_s=0.0, quarantined=0))
    metrics.owed(waiting=1, dead=0, oldest_s=0.4)
    metrics.subscribed({("email", "confirmed"): 1, ("email", "pending"): 0, ("other", "confirmed"): 1, ("other", "pending"): 0})
    for _ in range(_STREAMS):
        metrics.heard(media_s=seconds, lag_s=0.2, clock_lag_s=7.0)
    metrics.hits_total.labels("open").inc()
    metrics.hit_latency_seconds.observe(5.0)
    metrics.published(target="s3", result="sent", seconds=0.03, delay_s=0.5)
    metrics.published(target="sns", result="sent", seconds=0.03, delay_s=0.8)
    metrics.answered(hashes=160, postings=90, seconds=0.01)
    metrics.message_received("start", age_s=0.3)
    metrics.request_answered(route="GET /v1/streams", status=200, seconds=0.01)
    metrics.in_stock(due=1, oldest_s=2.0, rejected=0)
    metrics.stocked("added", seconds=2.0)
    metrics.files_waiting(1, oldest_age_s=30.0)
    metrics.task_protection("protected")
    metrics.catalogue_tracks.set(100)
    metrics.catalogue_followed_age_seconds.set(0.6)
    metrics.catalogue_replica_lag_seconds.set(0)
    metrics.catalogue_fresh_postings.set(20_000)
    metrics.catalogue_runs.set(4)
    metrics.compute_busy_ratio.set(0.4)
    metrics.compute_oldest_job_seconds.set(0.01)
    metrics.queue_read_age_seconds.set(3)


#: What goes wrong, and for how many seconds it has; called after the worker's healthy life of the last interval.
Fault = Callable[[Metrics, float], object]


def nothing(_metrics: Metrics, _since_s: float) -> None:
    """No fault."""


@dataclass(frozen=True, kw_only=True)
class World:
    """Workers, scraped every `every_s`; `fault` befalls all of them from `healthy_s` on."""

    every_s: int = SCRAPE_S
    healthy_s: float = 120
    faulty_s: float = 240
    fault: Fault = nothing
    workers: Sequence[str] = ("a:9100",)
    roles: Sequence[str] = ("streams", "catalogue")
    #: Nothing happens in this worker before then: it is starting.
    begins_s: float = 0
    #: What Prometheus gets to see of what it asks for.
    names: Collection[str] = ASKED
    #: Open files, of a thousand: in health, and then.
    files: tuple[int, int] = (40, 40)
    #: By worker, from when to when it can be scraped; its counters begin anew when it can be again.
    away: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    #: Its target is there while it is away, and cannot be scraped.
    listed: bool = False

    @property
    def steps(self) -> int:
        return round((self.healthy_s + self.faulty_s) / self.every_s) + 1

    def series(self) -> dict[str, list[str]]:
        """As promtool writes them: the notation of a series, and its values, one for each scrape."""
        found: dict[str, list[str]] = {}
        for worker in self.workers:
            metrics = self._start()
            for step in range(self.steps):
                at_s = step * self.every_s
                begin_s, end_s = self.away.get(worker, (math.inf, math.inf))
                if begin_s <= at_s < end_s:
                    metrics = self._start()
                    if self.listed:
                        self._put(found, f'up{{instance="{worker}",job="earmark"}}', step, "0")
                    self._end(found, worker, step)
                    continue
                if step and at_s >= self.begins_s:
                    live(metrics, self.every_s)
                if at_s >= self.healthy_s:
                    self.fault(metrics, at_s - self.healthy_s)
                for notation, value in self._scraped(metrics, worker, faulty=at_s >= self.healthy_s):
                    self._put(found, notation, step, value)
        return {name: values + ["_"] * (self.steps - len(values)) for name, values in found.items()}

    def _start(self) -> Metrics:
        return Metrics.build(CollectorRegistry(auto_describe=False), roles=self.roles)

    def _scraped(self, metrics: Metrics, worker: str, *, faulty: bool) -> Iterable[tuple[str, str]]:
        samples = [("up", {}, 1.0), ("process_open_fds", {}, self.files[faulty]), ("process_max_fds", {}, 1000)]
        samples += [
            (sample.name, sample.labels, sample.value) for family in metrics.registry.restricted_registry(self.names).collect() for sample in family.samples
        ]
        for name, labels, value in samples:
            pairs = ",".join(f'{label}="{text}"' for label, text in {**labels, "instance": worker, "job": "earmark"}.items())
            yield f"{name}{{{pairs}}}", "NaN" if math.isnan(value) else f"{value:.10g}"

    def _put(self, found: dict[str, list[str]], notation: str, step: int, value: str) -> None:
        values = found.setdefault(notation, [])
        values.extend(["_"] * (step - len(values)))
        values.append(value)

    def _end(self, found: dict[str, list[str]], worker: str, step: int) -> None:
        for notation, values in found.items():
            if f'instance="{worker}"' in notation and len(values) == step and values[-1] not in ("_", _GONE):
                values.append(_GONE)


# ------------------------------------------------------------------------------------------------ promtool


def judge(world: World, binary: str, folder: Path, *, ever: Iterable[str], firing: Mapping[str, float] = MappingProxyType({})) -> None:
    """Promtool evaluates the rules over this world: these alerts fire at some time and no other; and those are firing by then.

    Raises AssertionError with promtool's words, which name what differs.
    """
    end_s = (world.steps - 1) * world.every_s
    tests = [_expected(f'group by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})', at_s, [alert]) for alert, at_s in firing.items()]
    tests.append(_expected(f'group by (alertname) (count_over_time(ALERTS{{alertstate="firing"}}[{end_s + 1}s]))', end_s, ever))
    every = f"{world.every_s}s"
    document = {
        "rule_files": [str(FOLDER / file) for file in FILES],
        "evaluation_interval": every,
        "tests": [
            {
                "interval": every,
                "input_series": [{"series": notation, "values": " ".join(values)} for notation, values in world.series().items()],
                "promql_expr_test": tests,
            }
        ],
    }
    file = folder / "tests.yml"
    file.write_text(json.dumps(document), encoding="utf-8")  # JSON is YAML, too
    # One core, and what little memory it takes: its collector would take half the time.
    environment = {**os.environ, "GOMAXPROCS": "1", "GOGC": "800"}
    done = subprocess.run([binary, "test", "rules", str(file)], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _expected(expression: str, at_s: float, alerts: Iterable[str]) -> dict[str, Any]:
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in sorted(alerts)]
    return {"expr": expression, "eval_time": f"{at_s:.0f}s", "exp_samples": samples}
