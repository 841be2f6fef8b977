"""A dashboard's expressions, as Grafana would send them, run against a Prometheus."""

import json
import re
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

Dashboard = Mapping[str, Any]

#: What Grafana puts in place of its own variables; the dashboard's variables stand for "all".
_BUILT_IN = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h"}


def panels(dashboard: Dashboard) -> Iterator[Mapping[str, Any]]:
    """All that show something, those in collapsed rows included."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", [])
        else:
            yield panel


def expressions(dashboard: Dashboard) -> list[str]:
    return [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]


def filled_in(expression: str, dashboard: Dashboard) -> str:
    values = _BUILT_IN | {variable["name"]: variable.get("allValue", "") for variable in dashboard["templating"]["list"]}
    return re.sub(r"\$\{?(\w+)\}?", lambda match: values[match[1]], expression)


def query(prometheus_url: str, expression: str) -> list[dict[str, Any]]:
    """An instant vector. Raises AssertionError with Prometheus's own words when it does not take the expression."""
    try:
        with urllib.request.urlopen(f"{prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{expression}: {json.load(error)['error']}") from None
    return found


def run_expressions(prometheus_url: str, dashboard: Dashboard) -> dict[str, int]:
    """Every expression of the dashboard, and how many series it gives just now. Raises AssertionError on the first that is refused."""
    return {expression: len(query(prometheus_url, filled_in(expression, dashboard))) for expression in expressions(dashboard)}


@contextmanager
def prometheus_scraping(binary: str, folder: Path, target: str) -> Iterator[str]:
    """The URL of a Prometheus of our own, on a free port of the loopback, that scrapes `target` (host:port) each second."""
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "earmark", "static_configs": [{"targets": [target]}]}],
    }
    # JSON is YAML, too.
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
    command = [binary, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:0"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        # What it says once it is ready is of no interest, but a full pipe would stop it.
        rest = threading.Thread(target=deque, args=(process.stderr,), kwargs={"maxlen": 0})
        try:
            url = _listening(process.stderr)
            rest.start()
            yield url
        finally:
            process.terminate()
            if rest.ident:
                rest.join()


def _listening(log: IO[str]) -> str:
    """Read until it is ready; where it listens stands on a line before that."""
    said = []
    for line in log:
        said.append(line)
        if "Server is ready" in line and (found := re.search(r"Listening on\"? address=(127\.0\.0\.1:[1-9]\d*)", "".join(said))):
            return f"http://{found[1]}"
    raise AssertionError(f"Prometheus ended before it was ready: {''.join(said)}")
