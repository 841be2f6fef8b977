"""What it takes to be scraped: the real server over the metrics of a process with three hundred streams."""

import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
import urllib3

from alert_world import live
from bench import rows
from earmark.telemetry import Metrics, TelemetryServer

STREAMS: Final = 300
TIMES: Final = 100
#: What Prometheus asks for by default.
ACCEPT: Final = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


def figures(command: str) -> Iterator[dict[str, Any]]:
    metrics = Metrics.build()
    for number in range(STREAMS):
        live(metrics, 15)
        metrics.session_over("handed_over")
        metrics.waiting(SimpleNamespace(streams=number, oldest_age_s=1.0, quarantined=0))
    metrics.sessions(STREAMS)
    server = TelemetryServer(host="127.0.0.1", port=0, registry=metrics.registry, healthy={}, ready={})
    http = urllib3.PoolManager(retries=False)
    with closing(server.start()):
        took_s, size = [], 0
        for _ in range(TIMES):
            began = time.perf_counter()
            size = len(http.request("GET", f"http://127.0.0.1:{server.port}/metrics", headers={"Accept": ACCEPT}).data)
            took_s.append(time.perf_counter() - began)
    http.clear()
    of = f"{TIMES} scrapes of a registry filled as by {STREAMS} streams"
    yield rows.row("a scrape at 300 streams, p95", 1e3 * float(np.quantile(took_s, 0.95)), "ms", bar=100, against=of, command=command, digits=1)
    yield rows.row("its size", size / 1e3, "kB", bar=300, against=of, command=command, digits=1)
