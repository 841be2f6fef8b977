"""The rules in a real Prometheus, in haste: it errs in none, each recorded series has a value, and in a healthy life nothing is even pending."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from alert_world import ALERTS, FILES, RECORDED, groups, live
from earmark.telemetry import Metrics, TelemetryServer
from prometheus_served import prometheus

LIMIT_S = 60


def test_a_real_prometheus_errs_in_no_rule_and_has_a_value_of_all_that_is_recorded(skip_unless: Callable[[str], str], tmp_path: Path):
    metrics, over = Metrics.build(), threading.Event()
    live(metrics, 1)

    def alive() -> None:
        while not over.wait(0.5):
            live(metrics, 0.5)

    for file in FILES:
        hasty = [{**group, "interval": "1s"} for group in groups(file)]
        (tmp_path / file).write_text(json.dumps({"groups": hasty}), encoding="utf-8")
    server = TelemetryServer(host="127.0.0.1", port=0, registry=metrics.registry, healthy={}, ready={})
    living = threading.Thread(target=alive)
    with closing(server.start()):
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(tmp_path / file) for file in FILES],
            "scrape_configs": [{"job_name": "earmark", "static_configs": [{"targets": [f"127.0.0.1:{server.port}"]}]}],
        }
        living.start()
        try:
            with prometheus(skip_unless("prometheus"), tmp_path, config, "--enable-feature=exemplar-storage") as asked:
                deadline = time.monotonic() + LIMIT_S
                while empty := [name for name in RECORDED if not asked.query(name)]:
                    assert time.monotonic() < deadline, f"nothing is recorded as {empty}"
                    time.sleep(0.5)
                rules = asked.rules()
                assert len(rules) == len(ALERTS) + len(RECORDED)
                assert [rule["name"] for rule in rules if rule["health"] != "ok" or rule.get("lastError")] == []
                assert [alert["labels"]["alertname"] for alert in asked.alerts()] == []
                assert asked.value("earmark:coverage_error:ratio_rate5m") == 0
                assert asked.value("earmark:media_heard:ratio_rate5m") == 1
        finally:
            over.set()
            living.join()
