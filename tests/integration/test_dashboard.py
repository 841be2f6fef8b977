"""config/grafana/fleet.json: can be provisioned as it is, and asks only for what the daemon exports."""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dashboard_expressions import expressions, panels, prometheus_scraping, query, run_expressions
from earmark.telemetry import Metrics, TelemetryServer

FLEET = Path(__file__).parents[2] / "config" / "grafana" / "fleet.json"
DASHBOARD = json.loads(FLEET.read_text(encoding="utf-8"))
PANELS = list(panels(DASHBOARD))
SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.build()


def fill(metrics: Metrics) -> None:
    """A second of a busy life: everything that counts moves."""
    metrics.heard(media_s=2.0, lag_s=0.2, clock_lag_s=8.0)
    metrics.missed(media_s=0.5, reason="late")
    metrics.hits_total.labels("open").inc()
    metrics.hit_latency_seconds.observe(9.0)
    metrics.lookups_total.inc()
    metrics.transform(tried=True)
    metrics.music(media_s=1.0, identified=True)
    metrics.lookup_hashes_total.inc(70)
    metrics.lookup_seconds.observe(0.01)
    metrics.postings_total.inc(900)
    metrics.verified_total.inc(2)
    metrics.decode_errors_total.labels("codec").inc()
    metrics.fetch_bytes_total.inc(32_000)
    metrics.fetch_seconds.observe(0.05)
    metrics.message_received("start", age_s=0.5)
    metrics.ivs_called("ListStreams", waited_s=0.1)
    metrics.published(target="s3", result="sent", seconds=0.05)
    metrics.published(target="sns", result="failed", seconds=0.05)
    metrics.renewed(took_s=0.01)
    metrics.looked_up(questions=3, stopped=5)
    metrics.kept_up("merged", postings=4_000_000, damaged=1, took_s=1.5)


@pytest.fixture
def served(metrics: Metrics) -> Iterator[str]:
    server = TelemetryServer(host="127.0.0.1", port=0, registry=metrics.registry, healthy={}, ready={})
    with closing(server.start()):
        yield f"127.0.0.1:{server.port}"


def test_it_has_a_fixed_identity_and_a_source_that_can_be_chosen():
    assert (DASHBOARD["uid"], DASHBOARD["schemaVersion"]) == ("earmark-fleet", 42)
    assert "id" not in DASHBOARD
    variables = {variable["name"]: variable["type"] for variable in DASHBOARD["templating"]["list"]}
    assert variables["DS_PROMETHEUS"] == "datasource"
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_a_panel_says_what_it_shows_in_which_unit_and_where_it_gets_bad(panel):
    assert panel["datasource"] == SOURCE
    assert [target["datasource"] for target in panel["targets"]] == [SOURCE] * len(panel["targets"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len(panel["description"]) > 20
    assert panel["fieldConfig"]["defaults"]["unit"]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:])


def test_every_health_panel_has_a_threshold():
    first, second = (index for index, panel in enumerate(DASHBOARD["panels"]) if panel["type"] == "row" and index < 9)
    without = [p["title"] for p in DASHBOARD["panels"][first + 1 : second] if len(p["fieldConfig"]["defaults"]["thresholds"]["steps"]) < 2]
    assert without == ["Streams heard"]


def test_panels_do_not_overlap_and_fit_the_grid():
    def cells(panel) -> set[tuple[int, int]]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        return set(itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])))

    for one, other in itertools.combinations(DASHBOARD["panels"], 2):
        assert not cells(one) & cells(other), f"{one['title']} and {other['title']}"


def _names(text: str) -> set[str]:
    return set(re.findall(r"\b(?:earmark|process)_\w+", text))


def test_it_asks_only_for_what_the_daemon_exports_and_for_all_of_it(metrics: Metrics):
    fill(metrics)
    exported = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    asked = set().union(*map(_names, expressions(DASHBOARD)))
    assert asked - exported == set()
    families = {name.removesuffix("_bucket") for name in asked if name.startswith("earmark_")}
    ours = {name.removesuffix("_bucket") for name in exported if name.startswith("earmark_") and not name.endswith(("_count", "_sum", "_created"))}
    assert ours - families == set(), "a metric that no panel shows"


def test_variables_ask_for_what_the_daemon_exports(metrics: Metrics):
    exported = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    asked = set().union(*(_names(json.dumps(variable["query"])) for variable in DASHBOARD["templating"]["list"]))
    assert asked <= exported
    assert asked


def test_prometheus_takes_every_expression_and_has_an_answer(served: str, metrics: Metrics, tmp_path: Path, skip_unless: Callable[[str], str]):
    """A rate needs two scrapes, so life goes on until every expression has its series; a minute is more than enough."""
    binary = skip_unless("prometheus")
    deadline = time.monotonic() + 60
    with prometheus_scraping(binary, tmp_path, served) as url:
        while True:
            fill(metrics)
            found = run_expressions(url, DASHBOARD)
            empty = [expression for expression, series in found.items() if not series]
            if not empty:
                break
            assert time.monotonic() < deadline, f"no answer to: {empty}"
            threading.Event().wait(0.25)
        assert found[expressions(DASHBOARD)[0]] == 1


def test_an_expression_that_prometheus_refuses_is_told_in_its_words(served: str, tmp_path: Path, skip_unless: Callable[[str], str]):
    with (
        prometheus_scraping(skip_unless("prometheus"), tmp_path, served) as url,
        pytest.raises(AssertionError, match=r"sum\(: .*parse error"),
    ):
        query(url, "sum(")
