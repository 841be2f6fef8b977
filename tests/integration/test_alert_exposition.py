"""What Prometheus gets to read: OpenMetrics with exemplars when it asks, as long after ten thousand streams as after one, and no age below nought."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest
import structlog
import urllib3
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from alert_world import live
from earmark.telemetry import Metrics, Pulse, TelemetryServer
from hits_samples import play

#: Of Prometheus 2 and 3.
ACCEPT = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
ACCEPT_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.build()


@pytest.fixture
def url(metrics: Metrics) -> Iterator[str]:
    server = TelemetryServer(host="127.0.0.1", port=0, registry=metrics.registry, healthy={}, ready={})
    with closing(server.start()):
        yield f"http://127.0.0.1:{server.port}/metrics"


def scraped(url: str, accept: str = "") -> urllib3.BaseHTTPResponse:
    return urllib3.request("GET", url, headers={"Accept": accept} if accept else {}, retries=False)


def test_prometheus_gets_openmetrics_and_whoever_does_not_ask_for_it_plain_text(url: str):
    assert scraped(url).headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert scraped(url, "*/*").headers["Content-Type"].startswith("text/plain; version=0.0.4")
    for accept in (ACCEPT, ACCEPT_3):
        asked = scraped(url, accept)
        assert asked.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
        assert asked.data.endswith(b"# EOF\n")
    for odd in ("application/openmetrics-text;version=none", ";;;,,,=", "application/openmetrics-text;version=", "ÿ" * 3):
        assert scraped(url, odd).status == 200


def test_both_say_the_same(url: str, metrics: Metrics):
    live(metrics, 15)

    def values(text: str) -> dict[str, str]:
        lines = [line.partition(" # ")[0] for line in text.splitlines() if line and not line.startswith("#")]
        return {name: value for name, _, value in (line.rpartition(" ") for line in lines) if not name.startswith("process_")}

    assert values(scraped(url).data.decode()) == values(scraped(url, ACCEPT).data.decode())


def exemplars(url: str) -> list[dict[str, str]]:
    families = text_string_to_metric_families(scraped(url, ACCEPT).data.decode())
    return [sample.exemplar.labels for family in families for sample in family.samples if sample.exemplar]


def test_a_latency_leads_to_its_hit_and_to_its_log_lines(url: str, metrics: Metrics):
    first = play(revision=1, state="provisional")
    metrics.told(first, latency_s=5.0)
    assert exemplars(url) == [{"hit_id": first.hit_id}]
    with structlog.contextvars.bound_contextvars(trace_id="4e21a5b2-8d0c-4f0e-9f43-0d9c6c0f5a11"):
        metrics.told(first, latency_s=5.0)
    assert exemplars(url) == [{"hit_id": first.hit_id, "trace_id": "4e21a5b2-8d0c-4f0e-9f43-0d9c6c0f5a11"}]


def test_a_trace_id_of_any_length_and_kind_costs_no_hit_its_count(url: str, metrics: Metrics):
    for trace_id in ("x" * 4_000, 'quote " backslash \\ line\nend', "𝄞" * 300):
        with structlog.contextvars.bound_contextvars(trace_id=trace_id):
            metrics.told(play(revision=1, state="provisional"), latency_s=5.0)
    assert metrics.registry.get_sample_value("earmark_hit_latency_seconds_count") == 3.0
    assert len(exemplars(url)) == 1


def test_ten_thousand_streams_leave_as_many_series_as_one(metrics: Metrics):
    def day(streams: int) -> None:
        for number in range(streams):
            with structlog.contextvars.bound_contextvars(stream_id=f"st-{number}-Ж\x00{'é' * 100}", trace_id=f"trace-{number}"):
                metrics.message_received("start", age_s=0.1)
                metrics.message_recorded("opened")
                metrics.sessions(1)
                metrics.heard(media_s=2.0, lag_s=0.1, clock_lag_s=5.0)
                metrics.missed(media_s=0.5, reason="discontinuity")
                metrics.told(play(f"track-{number}", revision=1, state="provisional"), latency_s=4.0)
                metrics.published(target="sns", result="sent", seconds=0.01, delay_s=0.4)
                metrics.session_over("stream_end")

    def series() -> int:
        return sum(len(family.samples) for family in metrics.registry.collect())

    live(metrics, 15)
    day(1)
    after_one = series()
    day(10_000)
    assert series() == after_one


def test_it_may_be_scraped_each_second_and_by_several_at_once(url: str, metrics: Metrics):
    live(metrics, 15)
    lengths: list[int] = []

    def scrape() -> None:
        for _ in range(5):
            lengths.append(len(scraped(url, ACCEPT).data))
            time.sleep(0.05)

    threads = [threading.Thread(target=scrape) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lengths) == 20
    assert min(lengths) > 10_000


def test_a_clock_that_is_set_back_makes_nothing_younger_than_nought_and_no_sum_fall(metrics: Metrics):
    live(metrics, 15)
    before = {sample.name: sample.value for family in metrics.registry.collect() for sample in family.samples if sample.name.endswith("_sum")}
    metrics.heard(media_s=2.0, lag_s=-3600.0, clock_lag_s=-3600.0)
    metrics.waiting(SimpleNamespace(streams=1, oldest_age_s=-3600.0, quarantined=0))
    metrics.owed(waiting=1, dead=0, oldest_s=-3600.0)
    metrics.published(target="s3", result="sent", seconds=0.1, delay_s=-3600.0)
    metrics.in_stock(due=1, oldest_s=-3600.0, rejected=0)
    metrics.files_waiting(1, oldest_age_s=-3600.0)
    metrics.copies_due(due=1, oldest_s=-3600.0, failed=0)
    metrics.oldest("stream", -3600.0)
    after = {sample.name: sample.value for family in metrics.registry.collect() for sample in family.samples}
    assert [name for name, value in before.items() if after[name] < value] == []
    assert [name for name, value in after.items() if "age_seconds" in name and value < 0] == []


def test_a_loops_age_is_of_a_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch):
    pulse = Pulse()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 <= pulse.age_s < 5


def test_what_is_heard_does_not_wait_for_who_never_scrapes(metrics: Metrics):
    """Prometheus may be away for days: counters count, and nothing is kept for it."""
    for _ in range(1_000):
        live(metrics, 15)
    assert metrics.registry.get_sample_value("earmark_media_seconds_total", {"result": "heard"}) == 1_000 * 10 * 15
