"""config/grafana: five dashboards that can be provisioned as they are, ask only for what the daemon exports, and show all of it."""

import itertools
import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard as Known

import dashboards
from dashboard_expressions import FOLDER, expressions, filled_in, load, panels, prometheus_scraping, queries, query, run_expressions
from dashboard_panels import POSTGRESQL, PROMETHEUS, of_metric
from earmark.telemetry import Metrics, TelemetryServer
from earmark.telemetry.metrics import catalogue

NAMES = ("fleet", "stream", "hearing", "catalogue", "cost")
ALL = {name: load(name) for name in NAMES}
PANELS = [(name, panel) for name in NAMES for panel in panels(ALL[name])]
IDS = [f"{name}: {panel['title']}" for name, panel in PANELS]
#: Grafana's, and ours.
RUNBOOK = re.compile(r"\$\{runbook_url\}#(?:runbook|alert-[a-z]+)")
SCREEN_ROWS = 25


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.build()


def fill(metrics: Metrics) -> None:
    """A second of a busy life: everything that counts moves."""
    metrics.sessions(3)
    metrics.compute_busy_ratio.set(0.35)
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
    metrics.left("sns", delay_s=1.0)
    metrics.clipped(kept=2, left_out=1)
    metrics.renewed(took_s=0.01)
    metrics.looked_up(questions=3, stopped=5)
    metrics.kept_up("merged", postings=4_000_000, damaged=1, took_s=1.5)
    metrics.request_answered(route="GET /v1/streams", status=200, seconds=0.02)
    metrics.request_refused("busy")
    metrics.decoys_heard(media_s=4.0, evidence=(9.0, 13.5, 16.0), excess_nats=5.5)
    metrics.promised(1e-4, lambda _per_hour: 28.0)
    metrics.extrapolated(per_hour=5e-5, least=1e-5, most=2e-4)


@pytest.fixture
def served(metrics: Metrics) -> Iterator[str]:
    server = TelemetryServer(host="127.0.0.1", port=0, registry=metrics.registry, healthy={}, ready={})
    with closing(server.start()):
        yield f"127.0.0.1:{server.port}"


# ---------------------------------------------------------------------------------------------- what can be provisioned


def test_there_are_five_as_their_source_has_them():
    assert {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")} == {
        path.stem: text for path, text in dashboards.expected().items()
    }, "make config writes them"
    assert {path.stem for path in FOLDER.glob("*.json")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_fixed_identity_and_sources_that_can_be_chosen(name):
    dashboard = ALL[name]
    assert (dashboard["uid"], dashboard["schemaVersion"]) == (f"earmark-{name}", 42)
    assert "id" not in dashboard
    sources = {one["name"]: (one["query"], one["current"]["value"]) for one in dashboard["templating"]["list"] if one["type"] == "datasource"}
    assert sources == {"DS_PROMETHEUS": ("prometheus", "earmark-prometheus"), "DS_POSTGRESQL": ("grafana-postgresql-datasource", "earmark-postgresql")}
    (runbook,) = (one for one in dashboard["templating"]["list"] if one["name"] == "runbook_url")
    assert (runbook["type"], runbook["query"]) == ("constant", "README.md")
    assert {one["name"] for one in dashboard["annotations"]["list"]} >= {"Deploys", "Takeovers", "Hits"}


@pytest.mark.parametrize("name", NAMES)
def test_grafana_knows_every_word_of_it(name):
    """What goes through Grafana's own types and comes out again is what went in: a word that they do not have is lost on the way."""
    register_default_plugins()
    dashboard = json.loads(json.dumps(ALL[name]))
    for annotation in dashboard["annotations"]["list"]:  # its type has only what annotations of Grafana itself ask for
        annotation.pop("target", None)
    back = json.loads(JSONEncoder().encode(Known.from_json(dashboard)))
    assert _lost(dashboard, back) == []


def _lost(put_in: Any, came_out: Any, path: str = "") -> list[str]:
    match put_in:
        case dict():
            gone = [f"{path}.{key}" for key in put_in if key not in came_out]
            return gone + [lost for key in put_in if key in came_out for lost in _lost(put_in[key], came_out[key], f"{path}.{key}")]
        case list():
            assert len(put_in) == len(came_out), path
            return [lost for n, (one, other) in enumerate(zip(put_in, came_out, strict=True)) for lost in _lost(one, other, f"{path}[{n}]")]
    return [] if put_in == came_out else [f"{path}: {put_in!r} is {came_out!r}"]


@pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=IDS)
def test_a_panel_says_what_it_shows_in_which_unit_and_where_it_gets_bad(panel):
    assert panel["datasource"] in (PROMETHEUS, POSTGRESQL)
    assert [target["datasource"] for target in panel["targets"]] == [panel["datasource"]] * len(panel["targets"])
    assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len(panel["description"]) > 20
    assert panel["fieldConfig"]["defaults"]["unit"]
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    assert steps[0]["value"] is None
    assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:])
    assert all(RUNBOOK.fullmatch(link["url"]) for link in panel["links"])
    if panel["type"] in ("stat", "table", "state-timeline", "histogram", "bargauge"):
        assert panel["fieldConfig"]["defaults"]["noValue"], "says in words that there is nothing"


@pytest.mark.parametrize("name", NAMES)
def test_panels_have_numbers_and_places_of_their_own(name):
    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        return set(itertools.product(range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])))

    everything = [one for panel in ALL[name]["panels"] for one in (panel, *panel.get("panels", []))]
    assert len({panel["id"] for panel in everything}) == len(everything)
    together = [ALL[name]["panels"], *(panel["panels"] for panel in ALL[name]["panels"] if panel.get("panels"))]
    for beside in together:
        for one, other in itertools.combinations(beside, 2):
            assert not cells(one) & cells(other), f"{one['title']} and {other['title']}"


def test_the_fleet_is_one_screen_and_begins_with_numbers_that_have_limits():
    assert max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in ALL["fleet"]["panels"]) <= SCREEN_ROWS
    first = [panel for panel in ALL["fleet"]["panels"] if panel["gridPos"]["y"] == 0]
    assert [panel["type"] for panel in first] == ["stat"] * 8
    assert [panel["title"] for panel in first if len(panel["fieldConfig"]["defaults"]["thresholds"]["steps"]) < 2] == ["Streams heard"]


@pytest.mark.parametrize("name", NAMES)
def test_only_variables_that_are_there_are_asked_for(name):
    """In expressions, queries and links; Grafana's own begin with two underscores."""
    known = {variable["name"] for variable in ALL[name]["templating"]["list"]}
    text = json.dumps([ALL[name][part] for part in ("panels", "annotations", "links", "templating")])
    assert set(re.findall(r"\$\{?([A-Za-z]\w*)", text)) - known == set()
    assert set(re.findall(r"\$\{?(__\w+)", text)) <= {"__rate_interval", "__timeFilter", "__timeFrom", "__timeTo", "__data", "__url_time_range", "__all"}


@pytest.mark.parametrize("name", NAMES)
def test_links_to_rows_name_columns_that_the_query_has(name):
    for panel in panels(ALL[name]):
        fields = set(re.findall(r"__data\.fields\.(\w+)", json.dumps(panel["fieldConfig"])))
        for target in panel["targets"]:
            assert all(re.search(rf"\b{field}\b", target.get("rawSql", "")) for field in fields), panel["title"]


def test_there_is_sql_where_streams_are_named_and_nowhere_a_table():
    """The views alone may be read by who reads: what names a table of ours would be refused."""
    for name in NAMES:
        for of, text in queries(ALL[name]).items():
            asked = set(re.findall(r"\b(?:from|join)\s+(\w+)", text))
            own = set(re.findall(r"\b(\w+) as \(", text))
            assert {view for view in asked - own if not view.startswith("earmark_v_")} == set(), f"{name}: {of}"
    assert {panel["datasource"]["type"] for panel in panels(ALL["stream"])} == {POSTGRESQL["type"]}


# ---------------------------------------------------------------------------------------------- what the daemon exports


def _names(text: str) -> set[str]:
    return set(re.findall(r"\b(?:earmark|process)_(?!v_)\w+", text))


def test_they_ask_only_for_what_the_daemon_exports_and_for_all_of_it(metrics: Metrics):
    fill(metrics)
    exported = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    asked = set().union(*(_names(expression) for name in NAMES for expression in expressions(ALL[name])))
    assert asked - exported == set()
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in asked if name.startswith("earmark_")} | asked
    ours = {name.removesuffix("_bucket") for name in exported if name.startswith("earmark_") and not name.endswith(("_count", "_sum", "_created"))}
    assert ours - families == set(), "a metric that no panel shows: make config"


def test_variables_ask_for_what_the_daemon_exports(metrics: Metrics):
    exported = {sample.name for family in metrics.registry.collect() for sample in family.samples}
    for name in set(NAMES) - {"stream"}:
        asked = set().union(*(_names(json.dumps(variable["query"])) for variable in ALL[name]["templating"]["list"]))
        assert asked <= exported
        assert asked


@pytest.mark.parametrize("name", [name for name, _, _ in catalogue()])
def test_a_metric_that_nobody_placed_would_have_a_panel_of_its_own(name):
    panel = of_metric(name).panel
    assert name in panel["targets"][0]["expr"]
    assert panel["description"].startswith(next(declared.says for known, _, declared in catalogue() if known == name))


def test_prometheus_takes_every_expression_and_has_an_answer(served: str, metrics: Metrics, tmp_path: Path, skip_unless: Callable[[str], str]):
    """A rate needs two scrapes, so life goes on until every expression has its series; a minute is more than enough."""
    binary = skip_unless("prometheus")
    deadline = time.monotonic() + 60
    left = {expression: name for name in NAMES for expression in expressions(ALL[name])}
    with prometheus_scraping(binary, tmp_path, served) as url:
        while left:
            fill(metrics)
            for name in set(left.values()):
                found = run_expressions(url, ALL[name], only=left)
                left = {expression: of for expression, of in left.items() if not found.get(expression)}
            assert time.monotonic() < deadline, f"no answer to: {left}"
            threading.Event().wait(0.25)
        while True:
            fill(metrics)
            threading.Event().wait(0.1)
            try:
                _show_what_they_say(url)
                break
            except AssertionError:  # a scrape in the middle of a second: the more there were, the less it matters
                if time.monotonic() > deadline:
                    raise


def _show_what_they_say(url: str) -> None:
    """Numbers that follow from what a second of `fill` counts, however many there were."""

    def shown(name: str, title: str) -> list[float]:
        found = next(panel for panel in panels(ALL[name]) if panel["title"] == title)  # numbers come before lines
        return [float(series["value"][1]) for target in found["targets"] for series in query(url, filled_in(target["expr"], ALL[name]))]

    about = partial(pytest.approx, rel=0.1)
    assert shown("fleet", "Streams heard") == [3]
    assert shown("fleet", "Coverage") == about([2.0 / 2.5])
    assert shown("fleet", "Lag, p95") == about([0.1 + 0.15 * 0.95])  # where in its bucket is not known: as far as 95 of 100
    assert shown("hearing", "Surely more than configured") == about([0.1])
    assert shown("hearing", "Evidence of decoys, in an hour of them") == about([2700, 1800, 900, 0])
    assert shown("hearing", "Nats beyond 12, a decoy") == about([2.75])
    assert shown("hearing", "Music that is known") == about([1])
    assert shown("hearing", "Candidates verified, for a second heard") == about([1])
    assert shown("catalogue", "A look-up's size") == about([70, 900])
    assert shown("catalogue", "Hashes that are not asked for") == about([5 / 70])
    assert shown("cost", "Streams a task") == [3]
    assert shown("cost", "Room for more streams") == about([3])  # as many again, until 0.35 is 0.7
    month, compute, database, viewing, rest = (
        shown("cost", title)[0] for title in ("A stream for a month", "of it compute", "of it database", "of it IVS viewing", "of it transfer, requests")
    )
    assert month == about(compute + database + viewing + rest)


def test_an_idle_fleet_has_nothing_red_and_one_in_trouble_has(served: str, metrics: Metrics, tmp_path: Path, skip_unless: Callable[[str], str]):
    """A worker that reached its database and has nothing to do: every number is fine, or says in words that there is none. Then all goes wrong at once."""
    metrics.sessions(0)
    metrics.renewed(took_s=0.01)
    metrics.catalogue_tracks.set(7)
    with prometheus_scraping(skip_unless("prometheus"), tmp_path, served) as url:
        _until(lambda: query(url, "earmark_catalogue_tracks == 7"))
        assert {of: colour for of, colour in _colours(url).items() if colour in ("red", "orange")} == {}

        metrics.streams_unowned_oldest_age_seconds.set(75)
        metrics.streams.labels("quarantined").set(1)
        metrics.owed(waiting=9, dead=1, oldest_s=400)
        metrics.renewal_failed()
        metrics.subscribed(dict.fromkeys(itertools.product(("email", "other"), ("confirmed", "pending")), 0))
        metrics.compute_busy_ratio.set(0.95)
        metrics.canary_last_success_age_seconds.set(4000)
        metrics.queue_read_age_seconds.set(400)
        metrics.catalogue_tracks.set(0)

        def lossy() -> bool:
            """A rate is of what changes."""
            metrics.heard(media_s=1, lag_s=20, clock_lag_s=90)
            metrics.missed(media_s=1, reason="late")
            return len(query(url, _now(_stat("fleet", "Budget burns"), "fleet"))) == 1

        _until(lossy)
        assert {of for of, colour in _colours(url, "fleet").items() if colour == "red"} == {
            *("Waits for a worker", "Coverage", "Lag, p95", "Oldest unsent", "Database", "Canary heard"),
            *("Busiest worker", "Behind the source, p95", "Queue last read", "Budget burns"),
        }
        assert {of for of, colour in _colours(url, "fleet").items() if colour == "orange"} == {"Alerts are read", "Given up", "In quarantine"}
        assert _colours(url, "catalogue")["Recordings"] == "orange"


def test_what_nobody_says_is_no_trouble_unless_nobody_says_anything():
    """A number that is not there has a colour of its own, not that of the first step; and none is of earlier."""
    stats = [(f"{name}: {panel['title']}", panel) for name, panel in PANELS if panel["type"] == "stat"]
    assert {of for of, panel in stats if _colour(panel, math.nan) != "blue"} == {"fleet: Streams heard", "fleet: Workers"}
    assert [of for of, panel in stats for target in panel["targets"] if "expr" in target and (target["range"] or not target["instant"])] == []


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.25)


def _stat(name: str, title: str) -> Any:
    (found,) = (panel for panel in panels(ALL[name]) if panel["title"] == title and panel["type"] == "stat")
    return found


def _colours(url: str, *names: str) -> dict[str, str]:
    """Of every number, by its title."""
    shown = {}
    for name in names or ("fleet", "hearing", "catalogue", "cost"):
        for panel in panels(ALL[name]):
            if panel["type"] == "stat":
                found = query(url, _now(panel, name))
                shown[panel["title"]] = _colour(panel, float(found[0]["value"][1]) if found else math.nan)
    return shown


def _now(panel: dict[str, Any], name: str) -> str:
    return filled_in(panel["targets"][0]["expr"], ALL[name])


def _colour(panel: dict[str, Any], value: float) -> str:
    """As Grafana finds it: by the mapping of the value, else the last step that it has reached."""
    for mapping in panel["fieldConfig"]["defaults"]["mappings"]:
        if mapping["type"] == "value" and f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["color"])
        if mapping["type"] == "special" and math.isnan(value):
            return str(mapping["options"]["result"]["color"])
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return str([step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1])


def test_an_expression_that_prometheus_refuses_is_told_in_its_words(served: str, tmp_path: Path, skip_unless: Callable[[str], str]):
    with (
        prometheus_scraping(skip_unless("prometheus"), tmp_path, served) as url,
        pytest.raises(AssertionError, match=r"sum\(.*parse error"),
    ):
        query(url, "sum(")
