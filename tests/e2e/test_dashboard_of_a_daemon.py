"""config/grafana over a daemon that hears a stream, scraped by a real Prometheus and asked for by SQL; and what its other two pages say."""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

from dashboard_expressions import ask, filled_in, load, panel, panels, prometheus_scraping, queries, query, run_expressions
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from service_daemon import catalogued, go_on_air, programme, rows, until

STREAM = "st-shown"
ALL = {name: load(name) for name in ("fleet", "hearing", "catalogue", "cost")}
#: What a daemon shows that has heard a play and sent it off: numbers, above this.
MOVED = {
    ("fleet", "Streams heard"): 0.5,
    ("fleet", "Coverage"): 0.99,
    ("fleet", "Lag, p95"): 0,
    ("fleet", "Database"): 0.5,
    ("fleet", "Behind the source, p95"): 0,
    ("fleet", "Plays put on record, in an hour"): 0,
    ("fleet", "From a segment in hand to heard"): 0,
    ("hearing", "Told after, p95"): 0,
    ("hearing", "Candidates verified, for a second heard"): 0,
    ("hearing", "Threshold"): 20,
    ("catalogue", "Look-up"): 0,
    ("catalogue", "A look-up's size"): 0,
    ("catalogue", "Sent, and refused"): 0,
    ("catalogue", "One attempt to send, p95"): 0,
    ("catalogue", "From decided to sent, p95"): 0,
    ("catalogue", "Messages taken, in a minute"): 0,
    ("catalogue", "What they changed, in a minute"): 0,
    ("catalogue", "Age of a message when it is taken"): 0,
    ("catalogue", "Calls to IVS, in a second"): 0,
    ("catalogue", "Renewing the leases"): 0,
    ("catalogue", "Recordings"): 0.5,
    ("cost", "An hour costs"): 0,
    ("cost", "A stream for a month"): 0,
    ("cost", "CPU of a stream"): 0,
    ("cost", "Memory, by task"): 1e7,
    ("cost", "Fetched from origins, in a second"): 0,
}
#: What has nothing to tell of one stream and one play: no decoy was heard, nobody asked the API.
NOTHING_YET = {
    ("hearing", "Evidence of decoys, in an hour of them"),
    ("hearing", "Nats beyond 12, a decoy"),
    ("catalogue", "Requests, in a second"),
    ("catalogue", "Refused, in a second"),
}


def test_every_panel_has_something_to_show(dsn: str, aws: AwsStandIn, tmp_path: Path, skip_unless: Callable[[str], str]) -> None:
    prometheus = skip_unless("prometheus")
    (recording,) = catalogued(dsn)
    deployed = aws.deploy()
    with Origin() as origin:
        environment = {
            **deployed.environment(),
            "EARMARK_DATABASE__DSN": dsn,
            "EARMARK_HLS__ALLOW_PRIVATE": origin.address,
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_QUEUE__WAIT_S": "1",
        }
        with Worker(environment=environment, log=tmp_path / "daemon.log") as worker, prometheus_scraping(prometheus, tmp_path, _address(worker)) as url:
            # A rate is a difference: what was counted before Prometheus looked for the first time does not show.
            until(lambda: query(url, "earmark_build_info"), "Prometheus has looked", worker)
            go_on_air(aws, origin, STREAM, programme(recording, begin_s=15, music_s=40))
            until(lambda: rows(dsn, "select 1 from play where state = 'open'"), "a play is open", worker)
            deadline = time.monotonic() + 30
            while (still := _still(url)) and time.monotonic() < deadline:
                worker.check()
                time.sleep(0.5)
            assert still == []
            for name, dashboard in ALL.items():
                found = run_expressions(url, dashboard)
                nothing = {panel["title"] for panel in panels(dashboard) for target in panel["targets"] if "expr" in target and not found[target["expr"]]}
                assert {(name, title) for title in nothing} <= NOTHING_YET
            _asked_by_sql(dsn)


def _asked_by_sql(dsn: str) -> None:
    """What the views say of the same stream."""
    now = datetime.now(UTC)
    filling: dict[str, Any] = {"since": now - timedelta(hours=1), "until": now + timedelta(minutes=1), "stream": STREAM}
    for dashboard in (*ALL.values(), load("stream")):
        for text in queries(dashboard).values():
            ask(dsn, text, **filling)

    def shown(name: str, title: str, target: int = 0) -> list[dict[str, Any]]:
        return ask(dsn, panel(load(name), title)["targets"][target]["rawSql"], **filling)

    ((worker,),) = (row.values() for row in shown("stream", "Listened to by"))
    (play,) = shown("stream", "Plays, newest first")
    ((title,),) = ((row["title"],) for row in rows(dsn, "select title from track"))
    assert title in play["called"]
    assert play["evidence_nats"] > 20
    assert 0 < play["latency_s"] < 60
    assert [row["plays"] for row in shown("stream", "Plays") if row["plays"]] == [play["called"]]
    assert shown("stream", "Heard, or why not; what it sounds like; who listens")[0]["media"] == "heard"
    assert [row["worker"] for row in shown("stream", "Heard, or why not; what it sounds like; who listens", 2)] == [worker]
    assert [row["metric"] for row in shown("stream", "Behind its own clock")] == ["hit", "now"]
    (listed,) = shown("fleet", "Streams, those to look at first")
    assert (listed["stream_id"], listed["playing"], listed["s3_prefix"].endswith(f"{STREAM}/")) == (STREAM, play["called"], True)
    assert [row["text"].split(":")[0].split()[0] for row in ask(dsn, queries(load("fleet"))["annotation Deploys"], **filling)] == ["version"]


def test_ready_means_that_database_and_queue_answer(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    deployed = aws.deploy()
    with Worker(environment={**deployed.environment(), "EARMARK_DATABASE__DSN": dsn}, log=tmp_path / "daemon.log") as worker:
        for page, checks in (("readyz", {"start", "database", "queue"}), ("healthz", {"compute", "publisher"})):
            answer = urllib3.request("GET", worker.metrics_url.replace("metrics", page), retries=False)
            assert answer.status == 200
            assert answer.json() == {"status": "ok", "checks": dict.fromkeys(checks, "ok")}


def _still(prometheus_url: str) -> list[tuple[str, str]]:
    """Panels that should have moved by now, and have not."""
    return [which for which in MOVED if not any(_moved(prometheus_url, one, which) for one in panels(ALL[which[0]]) if one["title"] == which[1])]


def _moved(prometheus_url: str, panel: Any, which: tuple[str, str]) -> bool:
    shown = [series for target in panel["targets"] for series in query(prometheus_url, filled_in(target["expr"], ALL[which[0]]))]
    numbers = [float(series["value"][1]) for series in shown]
    return any(math.isfinite(number) and number > MOVED[which] for number in numbers)


def _address(worker: Worker) -> str:
    return urlsplit(worker.metrics_url).netloc
