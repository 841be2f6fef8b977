"""config/prometheus: each alert fires in its fault and in no other, none in a healthy life; each has its row in the runbook."""

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from alert_world import ALERTS, ASKED, FILES, FOLDER, RECORDED, SCRAPE_S, Fault, World, judge, names_in, nothing, rules
from earmark.cli import parser
from earmark.settings import Settings
from earmark.telemetry import Metrics
from earmark.telemetry.metrics import catalogue

README = (FOLDER.parents[1] / "README.md").read_text(encoding="utf-8")
HOUR = 3600.0
BEGINS_S = World.healthy_s


def waiting(streams: int = 0, oldest_age_s: float = 0.0, quarantined: int = 0) -> Any:
    return SimpleNamespace(streams=streams, oldest_age_s=oldest_age_s, quarantined=quarantined)


def counted(name: str, *labels: str, by: float = 1, until_s: float = float("inf")) -> Fault:
    """A counter of this name goes up with each scrape."""

    def fault(metrics: Metrics, since_s: float) -> None:
        if since_s <= until_s:
            counter = getattr(metrics, name)
            (counter.labels(*labels) if labels else counter).inc(by)

    return fault


def gauged(name: str, value: float) -> Fault:
    return lambda metrics, _since_s: getattr(metrics, name).set(value)


def observed(name: str, value: float, *labels: str, times: int = 100) -> Fault:
    """A histogram sees much of this."""

    def fault(metrics: Metrics, _since_s: float) -> None:
        histogram = getattr(metrics, name)
        for _ in range(times):
            (histogram.labels(*labels) if labels else histogram).observe(value)

    return fault


def missed(reason: str, media_s: float) -> Fault:
    """So many seconds of media with each scrape."""
    return lambda metrics, _since_s: metrics.missed(media_s=media_s, reason=reason)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault, and what fires of it beside the alert that it is for."""

    fault: Fault
    #: What the world is like else.
    world: World = field(default_factory=World)
    beside: frozenset[str] = frozenset()


def case(fault: Fault, *beside: str, **world: Any) -> Case:
    """Of a page, which is to fire within two minutes."""
    return Case(fault=fault, world=World(**world), beside=frozenset(f"Earmark{alert}" for alert in beside))


def slow(fault: Fault, *beside: str, **world: Any) -> Case:
    """Of a ticket: looked at once a minute, which is a quarter of the work."""
    return case(fault, *beside, **{"every_s": 60, "faulty_s": 1200, **world})


def hours(fault: Fault, *beside: str, **world: Any) -> Case:
    return slow(fault, *beside, every_s=300, **world)


CASES = {
    "NobodyListens": case(nothing, away={"a:9100": (BEGINS_S, 9e9)}),
    "StreamsUnheard": case(lambda m, s: m.waiting(waiting(streams=3, oldest_age_s=s)), "CoverageBurnsFast"),
    "DatabaseAway": case(lambda m, _: m.renewal_failed()),
    "CatalogueNotFollowed": case(lambda m, s: m.catalogue_followed_age_seconds.set(s)),
    "FallingBehind": case(observed("lag_seconds", 7.0)),
    "HitsLate": case(lambda m, s: m.owed(waiting=7, dead=0, oldest_s=max(0.0, s - SCRAPE_S))),
    "CoverageBurnsFast": case(missed("late", 600), every_s=60, healthy_s=HOUR),
    "CoverageBurnsSlow": hours(missed("skipped", 7.5), faulty_s=3 * HOUR),
    "AlertsBurnFast": case(lambda m, _: m.left("sns", delay_s=90.0)),
    "AlertsBurnSlow": slow(lambda m, s: m.left("sns", delay_s=90.0) if s % 1800 == 0 else None, faulty_s=3 * HOUR),
    "HitsBurn": slow(observed("hit_latency_seconds", 25.0, times=50)),
    "WorkerSaturated": slow(gauged("compute_busy_ratio", 0.95)),
    "WorkerDown": slow(nothing, workers=("a:9100", "b:9100"), away={"b:9100": (BEGINS_S, 9e9)}, listed=True),
    "VersionsMixed": hours(lambda m, _: m.build_info.labels(version="0.0.1", fingerprint_version="1", python="3", roles="streams").set(1), faulty_s=2.5 * HOUR),
    "StandsBy": hours(gauged("standing_by", 1), "NobodyListens", faulty_s=HOUR),
    "StreamsQuarantined": slow(lambda m, _: m.waiting(waiting(quarantined=1))),
    "SessionsFail": slow(counted("session_restarts_total")),
    "SessionsCrash": slow(counted("sessions_over_total", "crashed", until_s=30)),
    "LeasesLost": slow(counted("leases_lost_total", by=4, until_s=30)),
    "SourcesFail": slow(missed("origin_down", 120)),
    "SourcesLate": slow(observed("clock_lag_seconds", 100.0), faulty_s=1800),
    "WebhookRefuses": slow(counted("published_total", "webhook", "failed")),
    "HitsSetAside": slow(lambda m, _: m.owed(waiting=1, dead=2, oldest_s=1.0)),
    "StopsRefused": slow(counted("actions_total", "ivs_stop", "refused", until_s=120)),
    "DeadLetters": slow(lambda m, s: m.message_received("bad", age_s=0.5) if s <= 60 else None),
    "NobodyIsTold": slow(lambda m, _: m.subscribed({("email", "confirmed"): 0, ("email", "pending"): 1, ("other", "confirmed"): 0, ("other", "pending"): 0})),
    "QueueNotRead": slow(lambda m, s: m.queue_read_age_seconds.set(s)),
    "EventsLate": slow(observed("queue_message_age_seconds", 200.0)),
    "EventsLost": slow(lambda m, _: m.swept(adopted=2, reopened=0, stopped=0)),
    "SweepFails": slow(lambda m, s: [m.sweep_failed() for _ in range(2)]),
    "SegmentsHomeless": slow(counted("queue_effects_total", "homeless", by=4)),
    "RecordingsAbsent": slow(counted("recordings_absent_total", until_s=30)),
    "CatalogueEmpty": slow(gauged("catalogue_tracks", 0)),
    "CatalogueDamaged": slow(lambda m, s: m.kept_up("merged", postings=9, damaged=int(s <= 30), took_s=0.1)),
    "CatalogueNotKept": hours(gauged("catalogue_fresh_postings", 2e7), faulty_s=2 * HOUR),
    "ReplicaBehind": slow(gauged("catalogue_replica_lag_seconds", 90)),
    "LookupsSlow": slow(observed("lookup_seconds", 2.0), faulty_s=1800),
    "FalseAlarms": hours(
        lambda m, _: (m.false_alarms_per_hour.labels("configured").set(1e-4), m.extrapolated(per_hour=5e-3, least=1e-3, most=2e-2)), faulty_s=HOUR
    ),
    "CanaryUnheard": slow(
        lambda m, s: m.canary_seen(SimpleNamespace(success_age_s=1500 + s, rounds={"unheard": 3}, latency_s=6.0, score_nats=90.0, stages_s={}))
    ),
    "StockWaits": slow(lambda m, s: m.in_stock(due=9, oldest_s=1000 + s, rejected=0)),
    "StockRefused": slow(lambda m, s: m.reconciled("refused", int(s <= 30))),
    "StockFails": slow(lambda m, _: m.stocked("failed")),
    "FilesWait": slow(lambda m, s: m.files_waiting(9, oldest_age_s=30_000 + s), faulty_s=1800),
    "ApiFails": slow(lambda m, _: m.request_answered(route="GET /v1/tracks", status=503, seconds=0.1)),
    "NothingRemoved": slow(lambda m, s: m.removal_failed() if s <= 30 else None, faulty_s=1800),
    "TaskUnprotected": slow(lambda m, _: m.task_protection("failed")),
    "FilesRunOut": slow(nothing, files=(40, 900)),
}


def test_promtool_takes_the_configuration_and_the_rules(skip_unless: Callable[[str], str]):
    promtool = skip_unless("promtool")
    for what in (["config", str(FOLDER / "prometheus.yml")], ["rules", *(str(FOLDER / file) for file in FILES)]):
        checked = subprocess.run([promtool, "check", *what, "--lint=all", "--lint-fatal"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert f"SUCCESS: {len(ALERTS)} rules found" in checked.stdout


def test_each_alert_has_a_fault_here_that_it_is_for():
    assert {f"Earmark{name}" for name in CASES} == set(ALERTS)


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_in_its_fault_and_no_other_does(name: str, skip_unless: Callable[[str], str], tmp_path: Path):
    of, alert = CASES[name], f"Earmark{name}"
    world = replace(of.world, fault=of.fault)
    # A ticket has the time that it takes.
    firing = {alert: world.healthy_s + 120} if ALERTS[alert]["labels"]["severity"] == "page" else {}
    judge(world, skip_unless("promtool"), tmp_path, ever={alert, *of.beside}, firing=firing)


TWO = ("a:9100", "b:9100")


@pytest.mark.parametrize(
    "world",
    [
        pytest.param(World(workers=TWO), id="a healthy run"),
        pytest.param(World(begins_s=45), id="a worker that is starting"),
        pytest.param(World(away={"a:9100": (BEGINS_S, BEGINS_S + 45)}), id="a worker that is restarted, with its counters at 0"),
        pytest.param(World(workers=TWO, away={"b:9100": (BEGINS_S, 9e9)}), id="a worker that has gone"),
        pytest.param(World(workers=TWO, away={"b:9100": (0, BEGINS_S)}), id="a worker that comes"),
        pytest.param(World(names={"earmark_build_info"}), id="an older daemon, without most of the metrics"),
        pytest.param(World(every_s=300, healthy_s=0, faulty_s=12 * HOUR), id="half a day"),
    ],
)
def test_no_alert_fires_in(world: World, skip_unless: Callable[[str], str], tmp_path: Path):
    judge(world, skip_unless("promtool"), tmp_path, ever=())


def test_a_worker_cut_off_from_the_database_does_not_repeat_old_news_of_the_fleet(skip_unless: Callable[[str], str], tmp_path: Path):
    def fault(metrics: Metrics, _since_s: float) -> None:
        metrics.waiting(waiting(streams=9, oldest_age_s=900.0, quarantined=2))
        metrics.owed(waiting=9, dead=3, oldest_s=900.0)
        metrics.renewal_failed()

    judge(World(fault=fault), skip_unless("promtool"), tmp_path, ever={"EarmarkDatabaseAway"})


def test_a_worker_that_does_not_listen_misses_no_database_and_no_streams(skip_unless: Callable[[str], str], tmp_path: Path):
    """Only who listens renews leases; but somebody has to."""
    judge(World(roles=("api",), begins_s=9e9), skip_unless("promtool"), tmp_path, ever={"EarmarkNobodyListens"})


def test_a_database_that_answers_look_ups_late_pages_before_anything_is_lost(skip_unless: Callable[[str], str], tmp_path: Path):
    judge(
        World(fault=observed("lookup_seconds", 6.0)),
        skip_unless("promtool"),
        tmp_path,
        ever={"EarmarkFallingBehind"},
        firing={"EarmarkFallingBehind": BEGINS_S + 120},
    )


def test_a_topic_that_nobody_knows_of_is_not_a_topic_without_subscribers(skip_unless: Callable[[str], str], tmp_path: Path):
    judge(World(fault=lambda m, _: m.subscribers_unknown(), every_s=60, faulty_s=1200), skip_unless("promtool"), tmp_path, ever=())


# ------------------------------------------------------------------------------------------------ names, and the runbook


def test_rules_ask_for_what_the_daemon_exports_and_for_what_is_recorded():
    metrics = Metrics.build()
    exported = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    told = [text for rule in ALERTS.values() for text in rule["annotations"].values()]
    assert ASKED - exported == set()
    families = {name for name, _, _ in catalogue()}
    assert set().union(*map(names_in, told)) - exported - families == set()
    recorded = {name for file in FILES for rule in rules(file) for name in re.findall(r"\bearmark:[\w:]+", json.dumps(rule))}
    assert recorded == set(RECORDED)


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_says_what_it_is_and_has_a_row_in_the_runbook(alert: str):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert len(rule["annotations"]["summary"]) <= 120
    assert len(rule["annotations"]["description"]) > 60
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert file == "README.md"
    (row,) = [line for line in README.splitlines() if f'<a id="{anchor}"></a>' in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert f"**{alert.removeprefix('Earmark')}**" in cells[0]
    assert len(cells) == 4
    assert min(map(len, cells)) > 10
    assert ("page" in cells[0]) == (rule["labels"]["severity"] == "page") or "CoverageBurns" in cells[0] or "AlertsBurn" in cells[0]


def test_no_row_of_the_runbook_is_of_an_alert_that_is_gone():
    named = set(re.findall(r'<a id="(alert-\w+)"></a>', README))
    assert named == {rule["annotations"]["runbook_url"].partition("#")[2] for rule in ALERTS.values()}


def test_alarms_of_the_stack_are_alerts_of_the_same_name():
    alarms = (FOLDER.parents[1] / "infra" / "cdk" / "alarms.py").read_text(encoding="utf-8")
    named = set(re.findall(r'self\._?alarm\("(\w+)"', alarms))
    assert {f"Earmark{name}" for name in named} <= set(ALERTS)
    assert len(named) >= 7


def runbook() -> str:
    return README[README.index("## Runbook\n") : README.index("## Decisions\n")]


def test_every_command_of_the_runbook_is_one():
    commands = {tuple(re.findall(r"[a-z]+", words)[:2]) for words in re.findall(r"`earmark ([a-z ]+)", runbook())}
    found = parser()
    assert len(commands) > 6
    for command in commands:
        with pytest.raises(SystemExit) as ended:
            found.parse_args([*command, "--help"])
        assert ended.value.code == 0


def test_every_setting_log_line_and_metric_of_the_runbook_is_one():
    settings = {f"{section}.{name}" for section, of in Settings.model_fields.items() for name in getattr(of.annotation, "model_fields", {})}
    sources = "".join(path.read_text(encoding="utf-8") for path in (FOLDER.parents[1] / "daemon" / "earmark").rglob("*.py"))
    named = set(re.findall(r"`([a-z_]+\.[a-z_]+)`", runbook())) - {"alerts.yml", "recording.yml", "stream.json"}
    assert {name for name in named if name not in settings and f'"{name}"' not in sources} == set()
    assert len(named) > 25
    exported = {sample.name for family in Metrics.build().registry.collect() for sample in family.samples} | {name for name, _, _ in catalogue()}
    assert names_in(runbook()) - exported == set()
    assert set(re.findall(r"\bearmark:[\w:]+", runbook())) <= set(RECORDED)
