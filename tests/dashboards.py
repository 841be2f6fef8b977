"""config/grafana/*.json: five dashboards, put together from their panels. `make config` writes them.

    Fleet                  one screen: is everything heard, and does it leave?
    Stream                 one stream's timeline
    Hearing                how sure, how soon, and what chance does
    Catalogue & database   is something slow?
    Cost & capacity        what does it cost, and when is another task needed?

Every metric of the daemon is shown: what no panel asks for gets one of its own at the end of Catalogue & database.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dashboard_catalogue
import dashboard_cost
import dashboard_fleet
import dashboard_hearing
import dashboard_stream
from dashboard_panels import POSTGRESQL, PROMETHEUS, Panel, Row, laid_out, metrics_of, of_metric, sql
from earmark.telemetry.metrics import catalogue

FOLDER = Path(__file__).resolve().parent.parent / "config" / "grafana"
#: Of Grafana 12; version 11 takes it, too, and newer ones bring it up to date.
SCHEMA_VERSION = 42
#: What the links to the runbook begin with: the page as it is seen from the repository. Put your copy's address there.
RUNBOOK_URL = "README.md"
_TAG = "earmark"


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """One of the five."""

    uid: str
    title: str
    says: str
    rows: Sequence[Row]
    variables: Sequence[Panel]
    annotations: Sequence[Panel]
    since: str = "now-3h"
    refresh: str = "30s"

    def as_json(self) -> Panel:
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.says,
            "tags": [_TAG],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": self.refresh,
            "time": {"from": self.since, "to": "now"},
            "timezone": "utc",
            "links": [{"type": "dashboards", "title": "Earmark", "tags": [_TAG], "asDropdown": False, "includeVars": False, "keepTime": True}, _RUNBOOK],
            "annotations": {"list": [_OF_GRAFANA, *self.annotations]},
            "templating": {"list": [*self.variables]},
            "panels": laid_out(self.rows),
        }


_RUNBOOK = {"type": "link", "title": "Runbook", "url": "${runbook_url}#runbook", "targetBlank": True, "icon": "doc", "tags": []}
_OF_GRAFANA = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}


# ---------------------------------------------------------------------------------------------- variables


def _source(name: str, label: str, kind: str, uid: str) -> Panel:
    """A data source that can be chosen; at first the one that is provisioned under this uid."""
    return {"name": name, "label": label, "type": "datasource", "query": kind, "current": {"text": uid, "value": uid}, "refresh": 1, "hide": 0, "multi": False}


_PROMETHEUS = _source("DS_PROMETHEUS", "Prometheus", "prometheus", "earmark-prometheus")
_POSTGRESQL = _source("DS_POSTGRESQL", "PostgreSQL", "grafana-postgresql-datasource", "earmark-postgresql")
_RUNBOOK_URL = {
    "name": "runbook_url",
    "type": "constant",
    "query": RUNBOOK_URL,
    "current": {"text": RUNBOOK_URL, "value": RUNBOOK_URL},
    "hide": 2,
    "skipUrlSync": True,
}
_INSTANCE = {
    "name": "instance",
    "label": "Process",
    "type": "query",
    "datasource": PROMETHEUS,
    "query": {"query": "label_values(earmark_build_info, instance)", "refId": "instance"},
    "refresh": 2,
    "sort": 1,
    "multi": True,
    "includeAll": True,
    "allValue": ".*",
    "current": {"text": ["All"], "value": ["$__all"]},
}
_STREAM = {
    "name": "stream",
    "label": "Stream",
    "description": "By its channel's name or its id, as earmark streams list has it; an id that is no file name (quotes, slashes) is chosen from the list.",
    "type": "query",
    "datasource": POSTGRESQL,
    "query": dashboard_stream.OFFERED.strip(),
    "refresh": 2,
    "sort": 0,
    "multi": False,
    "includeAll": False,
}


# ---------------------------------------------------------------------------------------------- annotations


def _annotation(name: str, query: str, colour: str, *, shown: bool = True) -> Panel:
    return {"name": name, "datasource": POSTGRESQL, "enable": shown, "hide": False, "iconColor": colour, "target": {**sql(query), "refId": "Anno"}}


_DEPLOYS = _annotation(
    "Deploys", "select at as time, said as text, kind as tags from earmark_v_events where kind = 'deploy' and $__timeFilter(at) limit 100", "blue"
)
#: What happens to many at once is one mark a minute.
_OF_FLEET = (
    _DEPLOYS,
    _annotation(
        "Takeovers",
        """
select date_trunc('minute', at) as time, kind as tags,
       count(*) || case count(*) when 1 then ' stream: ' else ' streams: ' end || kind
         || coalesce(', from ' || left(string_agg(distinct nullif(worker_before, ''), ', '), 200), '') as text
  from earmark_v_events where kind in ('takeover', 'quarantine') and $__timeFilter(at) and not canary group by 1, kind order by 1 limit 500""",
        "orange",
    ),
    _annotation(
        "Hits",
        """
select date_trunc('minute', at) as time, count(*) || case count(*) when 1 then ' play told' else ' plays told' end as text, kind as tags
  from earmark_v_events where kind = 'hit' and $__timeFilter(at) and not canary group by 1, kind order by 1 limit 500""",
        "purple",
        shown=False,
    ),
)
_OF_STREAM = (
    _DEPLOYS,
    _annotation(
        "Takeovers",
        f"select at as time, said as text, kind as tags from earmark_v_events where {dashboard_stream.CHOSEN} and kind in ('takeover', 'restart', 'quarantine')"
        " and $__timeFilter(at) order by at limit 500",
        "orange",
    ),
    _annotation(
        "Hits",
        f"select at as time, said as text, kind as tags from earmark_v_events where {dashboard_stream.CHOSEN} and kind = 'hit'"
        " and $__timeFilter(at) order by at limit 500",
        "purple",
    ),
)

# ---------------------------------------------------------------------------------------------- the five

_VARIABLES = (_PROMETHEUS, _POSTGRESQL, _INSTANCE, _RUNBOOK_URL)


def _expressions(rows: Iterable[Row]) -> list[str]:
    return [target.get("expr", "") for row in rows for shown in row.shown for target in shown.panel["targets"]]


def _of_all_else(*rows: Sequence[Row]) -> Row:
    """Metrics that none of these rows ask for."""
    asked = {name for expression in _expressions(itertools.chain(*rows)) for name in metrics_of(expression)}
    return Row(title="Also exported", closed=True, shown=tuple(of_metric(name) for name, _, _ in catalogue() if name not in asked))


def dashboards() -> tuple[Dashboard, ...]:
    placed = (dashboard_fleet.ROWS, dashboard_hearing.ROWS, dashboard_catalogue.ROWS, dashboard_cost.ROWS)
    rest = _of_all_else(*placed)
    of_catalogue = (*dashboard_catalogue.ROWS, rest) if rest.shown else dashboard_catalogue.ROWS
    return (
        Dashboard(
            uid="earmark-fleet",
            title="Earmark: Fleet",
            says="Is every stream heard, and does every hit leave? From the top: what to look at first.",
            rows=dashboard_fleet.ROWS,
            variables=_VARIABLES,
            annotations=_OF_FLEET,
        ),
        Dashboard(
            uid="earmark-stream",
            title="Earmark: Stream",
            says="One stream: was it heard, what was on, who listened, how far behind.",
            rows=dashboard_stream.ROWS,
            variables=(_PROMETHEUS, _POSTGRESQL, _STREAM, _RUNBOOK_URL),
            annotations=_OF_STREAM,
        ),
        Dashboard(
            uid="earmark-hearing",
            title="Earmark: Hearing",
            says="How sure and how soon plays are told, and what chance does.",
            rows=dashboard_hearing.ROWS,
            variables=_VARIABLES,
            annotations=_OF_FLEET,
            since="now-24h",
            refresh="1m",
        ),
        Dashboard(
            uid="earmark-catalogue",
            title="Earmark: Catalogue & database",
            says="Is the database, the queue, the outbox or S3 slow? Does the catalogue keep itself?",
            rows=of_catalogue,
            variables=_VARIABLES,
            annotations=_OF_FLEET,
        ),
        Dashboard(
            uid="earmark-cost",
            title="Earmark: Cost & capacity",
            says="What an hour of a stream costs, compute, database and IVS viewing apart; and when another task is needed.",
            rows=dashboard_cost.ROWS,
            variables=_VARIABLES,
            annotations=_OF_FLEET,
            since="now-24h",
            refresh="1m",
        ),
    )


def expected() -> Mapping[Path, str]:
    """Each file, and what should stand in it."""
    return {FOLDER / f"{one.uid.removeprefix('earmark-')}.json": json.dumps(one.as_json(), indent=1, ensure_ascii=False) + "\n" for one in dashboards()}
