"""Panels of dashboards as plain dictionaries, in the form that Grafana provisions; what each shows is said by the metric itself.

A panel is made of PromQL or SQL and little else. In PromQL each of our metrics gets `instance=~"$instance"`, and `[]` is
`[$__rate_interval]`. A description that is not given is what the metric's own declaration says, with its remedy, so that
a panel and README's table cannot tell different things. Rows put panels side by side, left to right.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from earmark.telemetry.metrics import catalogue

Panel: TypeAlias = dict[str, Any]
#: Colour from this value on; the first has no value. (value, colour)
Steps: TypeAlias = Sequence[tuple[float | None, str]]

PROMETHEUS = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
POSTGRESQL = {"type": "grafana-postgresql-datasource", "uid": "${DS_POSTGRESQL}"}
#: A number without a limit: blue says neither good nor bad.
PLAIN: Steps = ((None, "blue"),)
NAME = re.compile(r"\b((?:earmark|process)_\w+)(?:\{([^}]*)\})?")
_DECLARED = {name: declared for name, _, declared in catalogue()}
_SUFFIXES = ("_bucket", "_sum", "_count")


def told(*names: str) -> str:
    """What the declarations of these metrics say, and what to do when they look wrong."""
    return "\n\n".join(f"{_DECLARED[name].says} *What to do:* {_DECLARED[name].remedy}" for name in names)


def metrics_of(expression: str) -> list[str]:
    """The declared metrics in an expression, in order, each once."""
    found = [name if name in _DECLARED else re.sub(r"_(?:bucket|sum|count)$", "", name) for name, _ in NAME.findall(expression)]
    return [name for name in dict.fromkeys(found) if name in _DECLARED]


def of_instance(expression: str) -> str:
    """The expression for the chosen processes alone, and over the interval that Grafana finds right."""

    def filtered(match: re.Match[str]) -> str:
        return f'{match[1]}{{instance=~"$instance"{f", {match[2]}" if match[2] else ""}}}'

    return NAME.sub(filtered, expression.replace("[]", "[$__rate_interval]"))


def prom(expression: str, legend: str = "", *, now: bool = False, form: Literal["time_series", "heatmap", "table"] = "time_series") -> Panel:
    """`now`: one value, of the end of the time range."""
    return {
        "datasource": PROMETHEUS,
        "expr": of_instance(expression),
        "legendFormat": legend,
        "editorMode": "code",
        "format": form,
        "instant": now,
        "range": not now,
    }


def sql(query: str, *, form: Literal["table", "time_series"] = "table") -> Panel:
    """A query of the read-only views. `time_series`: columns time and value, and `metric` where there are several."""
    return {"datasource": POSTGRESQL, "editorMode": "code", "format": form, "rawQuery": True, "rawSql": query.strip()}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A panel before it has a place."""

    panel: Panel
    w: int = 8
    h: int = 8


@dataclass(frozen=True, kw_only=True)
class Row:
    """Panels under a heading; without one, straight below what is above. Closed: asked for nothing until it is opened."""

    title: str = ""
    closed: bool = False
    shown: Sequence[Shown] = field(default_factory=tuple)


def runbook(section: str) -> Panel:
    return {"title": "What to do", "url": f"${{runbook_url}}#{section}", "targetBlank": True}


#: From a row of a table, or a point of a panel, with these columns.
STREAM_LINK = {
    "title": "This stream",
    "url": "/d/earmark-stream?var-stream=${__data.fields.stream_key}&${DS_PROMETHEUS:queryparam}&${DS_POSTGRESQL:queryparam}&${__url_time_range}",
}
S3_LINK = {
    "title": "Its results in S3",
    "url": "https://s3.console.aws.amazon.com/s3/buckets/${__data.fields.s3_bucket}?prefix=${__data.fields.s3_prefix}",
    "targetBlank": True,
}
HIT_LINK = {
    "title": "The hit in S3",
    "url": "https://s3.console.aws.amazon.com/s3/object/${__data.fields.s3_bucket}?prefix=${__data.fields.s3_key}",
    "targetBlank": True,
}


def _panel(
    kind: str,
    title: str,
    targets: Sequence[Panel],
    *,
    says: str,
    unit: str,
    steps: Steps,
    options: Panel,
    custom: Panel | None = None,
    colour: str = "thresholds",
    section: str = "runbook",
    overrides: Sequence[Panel] = (),
    links: Sequence[Panel] = (),
    **defaults: Any,
) -> Panel:
    names = [name for target in targets for name in metrics_of(target.get("expr", ""))]
    return {
        "type": kind,
        "title": title,
        "description": says or told(*dict.fromkeys(names)),
        "datasource": targets[0]["datasource"],
        "targets": [{"refId": chr(ord("A") + n), **target} for n, target in enumerate(targets)],
        "links": [runbook(section)] if section else [],
        "fieldConfig": {
            "defaults": {
                "unit": unit,
                "color": {"mode": colour},
                "thresholds": {"mode": "absolute", "steps": [{"color": colour, "value": value} for value, colour in steps]},
                "mappings": [],
                **({"custom": custom} if custom else {}),
                **({"links": list(links)} if links else {}),
                **defaults,
            },
            "overrides": list(overrides),
        },
        "options": options,
    }


# ---------------------------------------------------------------------------------------------- kinds of panels


def stat(
    title: str,
    target: Panel,
    *,
    unit: str = "short",
    steps: Steps = PLAIN,
    says: str = "",
    w: int = 3,
    h: int = 4,
    idle: str = "none",
    idle_colour: str = "blue",
    mappings: Sequence[Panel] = (),
    field_name: str = "",
    **rest: Any,
) -> Shown:
    """One number, coloured by where it is: of now, or of the end of the time range, so that what was is not taken for what is.

    `idle`: what stands there when there is nothing to tell. Without a mapping that would have the colour of the first step.
    """
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": field_name, "values": False},
        "colorMode": "background" if len(steps) > 1 or mappings else "value",
        "graphMode": "none",
        "justifyMode": "center",
        "textMode": "auto",
        "orientation": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    if "expr" in target:
        target = {**target, "instant": True, "range": False}
    nothing = {"type": "special", "options": {"match": "null+nan", "result": {"text": idle, "color": idle_colour, "index": 100}}}
    panel = _panel("stat", title, [target], says=says, unit=unit, steps=steps, options=options, noValue=idle, mappings=[*mappings, nothing], **rest)
    return Shown(panel=panel, w=w, h=h)


def lines(
    title: str,
    *targets: Panel,
    unit: str = "short",
    steps: Steps = PLAIN,
    says: str = "",
    w: int = 8,
    h: int = 8,
    stacked: bool = False,
    bars: bool = False,
    points: bool = False,
    log: bool = False,
    **rest: Any,
) -> Shown:
    """Over time. With limits these are drawn as dashed lines."""
    custom = {
        "drawStyle": "bars" if bars else "line",
        "lineWidth": 0 if bars else 1,
        "fillOpacity": 80 if bars else 30 if stacked else 8,
        "showPoints": "always" if points else "never",
        "pointSize": 5,
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if len(steps) > 1 else "off"},
        "scaleDistribution": {"type": "log", "log": 10} if log else {"type": "linear"},
    }
    options = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}, "tooltip": {"mode": "multi", "sort": "desc"}}
    rest = rest if log else {"min": 0, **rest}
    return Shown(
        panel=_panel("timeseries", title, targets, says=says, unit=unit, steps=steps, options=options, custom=custom, colour="palette-classic", **rest),
        w=w,
        h=h,
    )


def compute_busy(h: int = 8) -> Shown:
    """How busy each worker's compute thread is: of health, and of cost."""
    return lines(
        "Compute thread busy",
        prom("earmark_compute_busy_ratio", "{{instance}}"),
        unit="percentunit",
        steps=((None, "green"), (0.7, "orange")),
        max=1,
        section="alert-workersaturated",
        h=h,
    )


def quantiles(histogram: str, *of: float, by: str = "") -> tuple[Panel, ...]:
    """A line a quantile of a histogram, over the rate interval; `by` one label's values."""
    inner = f"sum by ({', '.join(filter(None, ('le', by)))}) (rate({histogram}_bucket[]))"
    return tuple(prom(f"histogram_quantile({q}, {inner})", f"{{{{{by}}}}} p{q * 100:g}".strip() if by else f"p{q * 100:g}") for q in of)


def heat(title: str, histogram: str, *, unit: str = "s", says: str = "", w: int = 8, h: int = 8, by: str = "", **rest: Any) -> Shown:
    """A histogram over time: how many fell into each bucket; darker is more."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "exponent": 0.5, "fill": "blue", "reverse": True, "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }
    custom = {"hideFrom": {"legend": False, "tooltip": False, "viz": False}, "scaleDistribution": {"type": "linear"}}
    expression = f"sum by (le) (increase({histogram}_bucket{by}[]))"
    target = {**prom(expression, "{{le}}", form="heatmap"), "exemplar": True}
    return Shown(panel=_panel("heatmap", title, [target], says=says, unit="short", steps=PLAIN, options=options, custom=custom, **rest), w=w, h=h)


def timeline(title: str, *targets: Panel, says: str, colours: Mapping[str, tuple[str, str]], w: int = 24, h: int = 6, **rest: Any) -> Shown:
    """What was on from when to when: columns `time` and one a lane. `colours`: of values, with how they are told."""
    options = {
        "alignValue": "left",
        "mergeValues": True,
        "rowHeight": 0.85,
        "showValue": "auto",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": bool(colours), "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 80, "lineWidth": 0}
    return Shown(
        panel=_panel(
            "state-timeline",
            title,
            targets,
            says=says,
            unit="string",
            steps=PLAIN,
            options=options,
            custom=custom,
            colour="palette-classic",
            noValue="nothing",
            **{"mappings": values(colours), **rest},
        ),
        w=w,
        h=h,
    )


def values(colours: Mapping[str, tuple[str, str]]) -> list[Panel]:
    """Value -> (what to say, colour)."""
    if not colours:
        return []
    return [{"type": "value", "options": {value: {"index": n, "text": text, "color": colour} for n, (value, (text, colour)) in enumerate(colours.items())}}]


def column(
    name: str, title: str = "", *, unit: str = "", steps: Steps = (), width: int = 0, links: Sequence[Panel] = (), hidden: bool = False, **rest: Any
) -> Panel:
    """How one column of a table is shown."""
    set_to: dict[str, Any] = {"displayName": title} if title else {}
    set_to |= {"unit": unit} if unit else {}
    set_to |= {"links": list(links)} if links else {}
    set_to |= {"custom.width": width} if width else {}
    set_to |= {"custom.hidden": True} if hidden else {}
    if steps:
        set_to["thresholds"] = {"mode": "absolute", "steps": [{"color": colour, "value": value} for value, colour in steps]}
        set_to["custom.cellOptions"] = {"type": "color-text"}
    return {"matcher": {"id": "byName", "options": name}, "properties": [{"id": name, "value": value} for name, value in (set_to | rest).items()]}


def table(title: str, target: Panel, *columns: Panel, says: str, w: int = 24, h: int = 8, idle: str = "none", **rest: Any) -> Shown:
    options = {"showHeader": True, "cellHeight": "sm", "footer": {"show": False, "reducer": ["sum"], "countRows": False}}
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": True}
    return Shown(
        panel=_panel("table", title, [target], says=says, unit="string", steps=PLAIN, options=options, custom=custom, overrides=columns, noValue=idle, **rest),
        w=w,
        h=h,
    )


def distribution(title: str, target: Panel, *, says: str, unit: str, bucket: float, w: int = 8, h: int = 8, **rest: Any) -> Shown:
    """How often each value is among the rows of a query."""
    options = {
        "bucketSize": bucket,
        "combine": True,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
        "tooltip": {"mode": "single", "sort": "none"},
    }
    custom = {"fillOpacity": 70, "lineWidth": 1}
    panel = _panel(
        "histogram", title, [target], says=says, unit=unit, steps=PLAIN, options=options, custom=custom, colour="palette-classic", noValue="none", **rest
    )
    return Shown(panel=panel, w=w, h=h)


def shares(title: str, target: Panel, *, says: str, unit: str = "short", w: int = 8, h: int = 8, steps: Steps = PLAIN, rows: bool = True, **rest: Any) -> Shown:
    """A bar a row of a query, or a series."""
    options = {
        "displayMode": "basic",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": rows},
        "showUnfilled": True,
        "valueMode": "color",
        "namePlacement": "auto",
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False, "calcs": []},
    }
    rest = {"min": 0, **rest}
    return Shown(panel=_panel("bargauge", title, [target], says=says, unit=unit, steps=steps, options=options, noValue="none", **rest), w=w, h=h)


# ---------------------------------------------------------------------------------------------- panels that no one has placed

_UNITS = (("_seconds", "s"), ("_bytes", "bytes"), ("_ratio", "percentunit"), ("_usd", "currencyUSD"))


def of_metric(name: str) -> Shown:
    """As the metric's kind and name have it."""
    kind, declared = next((kind.__name__, declared) for known, kind, declared in catalogue() if known == name)
    title = name.removeprefix("earmark_").removesuffix("_total").replace("_", " ")
    unit = next((unit for suffix, unit in _UNITS if name.removesuffix("_total").endswith(suffix)), "short")
    by, legend = ", ".join(declared.labels), " ".join(f"{{{{{label}}}}}" for label in declared.labels)
    match kind:
        case "Histogram":
            return heat(title, name, unit=unit)
        case "Counter":
            by = f" by ({by})" if by else ""
            return lines(f"{title}, in a minute", prom(f"sum{by} (rate({name}[])) * 60", legend or title), unit=unit)
        case _:
            by = f" by ({by})" if by else ""
            return lines(title, prom(f"max{by} ({name})", legend or title), unit=unit)


# ---------------------------------------------------------------------------------------------- laid out


def laid_out(rows: Iterable[Row]) -> list[Panel]:
    """With places in Grafana's grid of 24 columns, and numbers."""
    placed: list[Panel] = []
    y = 0
    for row in rows:
        if row.title:
            placed.append({"type": "row", "title": row.title, "collapsed": row.closed, "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}, "panels": []})
            y += 1
        inside, below = _side_by_side(row.shown, y)
        if row.closed:  # what is below it moves down when it is opened
            placed[-1]["panels"] = inside
        else:
            placed += inside
            y = below
    for number, one in enumerate((one for panel in placed for one in (panel, *panel.get("panels", ()))), 1):
        one["id"] = number
    return placed


def _side_by_side(shown: Iterable[Shown], y: int) -> tuple[list[Panel], int]:
    """With places from row `y` on, and the row below all of them."""
    placed: list[Panel] = []
    x, below = 0, y
    for one in shown:
        if x + one.w > 24:
            x, y = 0, below
        placed.append({**one.panel, "gridPos": {"h": one.h, "w": one.w, "x": x, "y": y}})
        x, below = x + one.w, max(below, y + one.h)
    return placed, below
