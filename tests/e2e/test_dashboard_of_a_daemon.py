"""config/grafana/fleet.json over a daemon that hears a stream, scraped by a real Prometheus; and what its other two pages say."""

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from dashboard_expressions import Dashboard, filled_in, panels, prometheus_scraping, query, run_expressions
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from service_daemon import catalogued, go_on_air, programme, rows, until

DASHBOARD: Dashboard = json.loads((Path(__file__).parents[2] / "config" / "grafana" / "fleet.json").read_text(encoding="utf-8"))
#: What a daemon shows that has heard a play and sent it off: numbers, above this.
MOVED = {
    "Streams heard": 0.5,
    "Coverage": 0.99,
    "Lag, p99": 0,
    "Database": 0.5,
    "Behind the source's clock": 0,
    "Plays put on record": 0,
    "From first second to first telling": 0,
    "Published": 0,
    "One attempt to publish, p95": 0,
    "Messages from the queue": 0,
    "What they changed": 0,
    "Age of a message when it is taken": 0,
    "Calls to IVS": 0,
    "Renewing the leases": 0,
    "From a segment in hand to heard": 0,
    "Processor time for a second of media": 0,
    "Memory": 1e7,
    "Look-up": 0,
    "A look-up's size": 0,
    "Candidates verified": 0,
    "Request to an origin": 0,
    "Fetched": 0,
    "Cost of an hour": 0,
    "Cost of a stream for a month": 0,
    "Recordings": 0.5,
    "What runs": 0.5,
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
            go_on_air(aws, origin, "st-shown", programme(recording, begin_s=15, music_s=40))
            until(lambda: rows(dsn, "select 1 from play where state = 'open'"), "a play is open", worker)
            deadline = time.monotonic() + 30
            while (still := _still(url)) and time.monotonic() < deadline:
                worker.check()
                time.sleep(0.5)
            assert still == []
            found = run_expressions(url, DASHBOARD)
            assert [expression for expression, series in found.items() if not series] == []


def test_ready_means_that_database_and_queue_answer(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    deployed = aws.deploy()
    with Worker(environment={**deployed.environment(), "EARMARK_DATABASE__DSN": dsn}, log=tmp_path / "daemon.log") as worker:
        for page, checks in (("readyz", {"start", "database", "queue"}), ("healthz", {"compute", "publisher"})):
            answer = urllib3.request("GET", worker.metrics_url.replace("metrics", page), retries=False)
            assert answer.status == 200
            assert answer.json() == {"status": "ok", "checks": dict.fromkeys(checks, "ok")}


def _still(prometheus_url: str) -> list[str]:
    """Panels that should have moved by now, and have not."""
    return [panel["title"] for panel in panels(DASHBOARD) if panel["title"] in MOVED and not _moved(prometheus_url, panel)]


def _moved(prometheus_url: str, panel: Dashboard) -> bool:
    shown = [series for target in panel["targets"] for series in query(prometheus_url, filled_in(target["expr"], DASHBOARD))]
    numbers = [float(series["value"][1]) for series in shown]
    return any(math.isfinite(number) and number > MOVED[panel["title"]] for number in numbers)


def _address(worker: Worker) -> str:
    return urlsplit(worker.metrics_url).netloc
