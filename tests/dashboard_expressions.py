"""A dashboard's expressions and queries, as Grafana would send them, run against a Prometheus and a PostgreSQL."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from prometheus_served import Prometheus, prometheus

Dashboard = Mapping[str, Any]
FOLDER = Path(__file__).parent.parent / "config" / "grafana"
RULES = FOLDER.parent / "prometheus" / "recording.yml"

#: What Grafana puts in place of its own variables; the dashboard's variables stand for "all".
_BUILT_IN = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h"}


def load(name: str) -> Dashboard:
    """One of the five, by the name of its file: fleet, stream, hearing, catalogue, cost."""
    found: Dashboard = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def panels(dashboard: Dashboard) -> Iterator[Mapping[str, Any]]:
    """All that show something, those in collapsed rows included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def panel(dashboard: Dashboard, title: str) -> Mapping[str, Any]:
    (found,) = (one for one in panels(dashboard) if one["title"] == title)
    return found


def expressions(dashboard: Dashboard) -> list[str]:
    """PromQL."""
    return [target["expr"] for panel in panels(dashboard) for target in panel["targets"] if "expr" in target]


def queries(dashboard: Dashboard) -> dict[str, str]:
    """SQL, by what asks for it: a panel's number, title and target, an annotation, a variable."""
    found = {
        f"{panel['id']} {panel['title']} {target['refId']}": target["rawSql"]
        for panel in panels(dashboard)
        for target in panel["targets"]
        if "rawSql" in target
    }
    found |= {f"annotation {one['name']}": one["target"]["rawSql"] for one in dashboard["annotations"]["list"] if "rawSql" in one.get("target", {})}
    variables = (one for one in dashboard["templating"]["list"] if one["type"] == "query" and one["datasource"]["uid"] == "${DS_POSTGRESQL}")
    return found | {f"variable {one['name']}": one["query"] for one in variables}


def filled_in(expression: str, dashboard: Dashboard) -> str:
    values = _BUILT_IN | {variable["name"]: variable.get("allValue", "") for variable in dashboard["templating"]["list"]}
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values[match[1]], expression)


# ------------------------------------------------------------------------------------------------ SQL


def filled_in_sql(query: str, *, since: datetime, until: datetime, **variables: str) -> str:
    """As Grafana does it: variables in the browser, with quotes doubled; macros in its server, in the text that comes of it.

    Raises AssertionError for a variable or a macro that is not there, in Grafana's words.
    """

    def variable(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        return variables[name].replace("'", "''") if name in variables else match[0]

    def macro(match: re.Match[str]) -> str:
        moments = [moment.astimezone(UTC).isoformat().replace("+00:00", "Z") for moment in (since, until)]
        match match[1]:
            case "__timeFilter":
                return f"{match[2]} BETWEEN '{moments[0]}' AND '{moments[1]}'"
            case "__timeFrom":
                return f"'{moments[0]}'"
            case "__timeTo":
                return f"'{moments[1]}'"
        raise AssertionError(f"unknown macro {match[1]!r}")

    # A name goes as far as it can, as in Grafana, so that $__timeFrom is no variable called __time.
    text = re.sub(r"\$(\w+)|\$\{(\w+)\}", variable, query)
    text = re.sub(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)", macro, text)
    assert "$" not in text, f"left over: {text}"
    return text


@contextmanager
def asking(dsn: str, *, role: str = "") -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """A connection for queries. `role`: who asks."""
    with psycopg.connect(dsn, row_factory=dict_row) as connection:
        if role:
            connection.execute(f"set session authorization {role}".encode())
        yield connection


def ask(dsn: str, query: str, *, role: str = "", **filling: Any) -> list[dict[str, Any]]:
    """The rows of a query."""
    with asking(dsn, role=role) as connection:
        return connection.execute(filled_in_sql(query, **filling).encode()).fetchall()


# ------------------------------------------------------------------------------------------------ PromQL


def query(prometheus_url: str, expression: str) -> list[dict[str, Any]]:
    """An instant vector. Raises AssertionError with Prometheus's own words when it does not take the expression."""
    return Prometheus(prometheus_url).query(expression)


def run_expressions(prometheus_url: str, dashboard: Dashboard, *, only: Collection[str] | None = None) -> dict[str, int]:
    """Every expression of the dashboard, or these of them, and how many series it gives just now. Raises AssertionError on the first that is refused."""
    asked = [expression for expression in expressions(dashboard) if only is None or expression in only]
    return {expression: len(query(prometheus_url, filled_in(expression, dashboard))) for expression in asked}


@contextmanager
def prometheus_scraping(binary: str, folder: Path, target: str) -> Iterator[str]:
    """The URL of a Prometheus of our own, on a free port of the loopback, that scrapes `target` (host:port) each second, and records our rules as often."""
    (folder / "recording.yml").write_text(re.sub(r"\binterval: \S+", "interval: 1s", RULES.read_text(encoding="utf-8")), encoding="utf-8")
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [f"{folder}/recording.yml"],
        "scrape_configs": [{"job_name": "earmark", "static_configs": [{"targets": [target]}]}],
    }
    with prometheus(binary, folder, config) as running:
        yield running.url
