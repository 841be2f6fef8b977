"""The catalogue of metrics: complete, well named, harmless to two services in one process."""

import math
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from earmark.model import Answer, CatalogueSize, Fetch, GapReason, Lookup, Passage, Play, Postings, Question, Resolve
from earmark.settings import Prices
from earmark.telemetry import CountedCatalogue, Metrics, Pulse, ViewingMeter, overdue
from earmark.telemetry.metrics import as_markdown, catalogue

PLAY = Play(
    hit_id="h",
    revision=1,
    state="provisional",
    track_id="t",
    begin_s=3.0,
    end_s=9.0,
    reference_begin_s=0.0,
    reference_end_s=6.0,
    reference_duration_s=60.0,
    speed=1.0,
    pitch_cents=0.0,
    evidence_nats=50.0,
    false_alarms_per_hour=1e-9,
    votes=20,
    matched_s=6.0,
    first_heard_s=9.0,
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.build()


@pytest.mark.parametrize("name,kind,declared", catalogue(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_metric_is_named_by_the_conventions_and_says_what_to_do(name: str, kind: type, declared):
    assert re.fullmatch(r"earmark_[a-z]+(_[a-z]+)*", name)
    assert (kind is Counter) == name.endswith("_total")
    assert (kind is Histogram) == bool(declared.buckets)
    if kind is Histogram:
        assert name.endswith(("_seconds", "_questions", "_nats"))
        assert list(declared.buckets) == sorted(set(declared.buckets))
    for sentence in (declared.says, declared.remedy):
        assert re.fullmatch(r"[A-Za-z0-9].*[.?]", sentence)
    assert f"| `{name}` |" in as_markdown()


def test_no_label_grows_with_the_streams():
    assert {label for _, _, declared in catalogue() for label in declared.labels}.isdisjoint({"stream_id", "stream", "track_id", "channel", "url", "hit_id"})


def test_a_closed_label_is_exported_before_anything_happened(metrics: Metrics):
    for reason in ("heard", *get_args(GapReason)):
        assert metrics.registry.get_sample_value("earmark_media_seconds_total", {"result": reason}) == 0.0
    assert metrics.registry.get_sample_value("earmark_published_total", {"target": "sns", "result": "dead"}) == 0.0
    # Else the first call would be no difference to Prometheus, and the dashboard would not show it.
    assert metrics.registry.get_sample_value("earmark_ivs_calls_total", {"operation": "GetChannel"}) == 0.0


def test_every_metric_of_the_catalogue_is_exported_and_no_other(metrics: Metrics):
    metrics.decode_errors_total.labels("codec").inc()
    exported = {family.name for family in metrics.registry.collect() if not family.name.startswith("process_")}
    assert exported == {name.removesuffix("_total") for name, _, _ in catalogue()}


def test_two_services_in_one_process_do_not_see_each_other(metrics: Metrics):
    other = Metrics.build()
    metrics.leases_lost_total.inc()
    assert metrics.registry.get_sample_value("earmark_leases_lost_total") == 1.0
    assert other.registry.get_sample_value("earmark_leases_lost_total") == 0.0


def test_a_registry_of_the_callers_is_used():
    registry = CollectorRegistry()
    assert Metrics.build(registry).registry is registry
    assert registry.get_sample_value("earmark_leases_lost_total") == 0.0


def test_what_runs_is_exported(metrics: Metrics):
    (info,) = [family for family in metrics.registry.collect() if family.name == "earmark_build_info"]
    assert [(sample.value, set(sample.labels)) for sample in info.samples] == [(1.0, {"version", "fingerprint_version", "python", "roles"})]
    assert all(info.samples[0].labels.values())


def test_media_is_counted_as_heard_or_by_reason(metrics: Metrics):
    metrics.heard(media_s=2.0, lag_s=0.25, clock_lag_s=None)
    metrics.heard(media_s=1.5, lag_s=None, clock_lag_s=None)
    metrics.missed(media_s=4.0, reason="origin_down")
    value = metrics.registry.get_sample_value
    assert value("earmark_media_seconds_total", {"result": "heard"}) == 3.5
    assert value("earmark_media_seconds_total", {"result": "origin_down"}) == 4.0
    assert value("earmark_lag_seconds_count") == 1.0
    assert value("earmark_lag_seconds_sum") == 0.25
    assert value("earmark_clock_lag_seconds_count") == 0.0
    metrics.heard(media_s=1.0, lag_s=0.1, clock_lag_s=7.0)
    assert value("earmark_clock_lag_seconds_sum") == 7.0


def test_every_revision_is_counted_and_only_the_first_has_a_latency(metrics: Metrics):
    metrics.told(PLAY, latency_s=6.0)
    metrics.told(replace(PLAY, revision=2, state="closed"), latency_s=60.0)
    value = metrics.registry.get_sample_value
    assert value("earmark_hits_total", {"state": "provisional"}) == 1.0
    assert value("earmark_hits_total", {"state": "closed"}) == 1.0
    assert value("earmark_hit_latency_seconds_sum") == 6.0


def test_the_fleets_streams_are_counted_as_the_database_has_them(metrics: Metrics):
    metrics.sessions(12)
    metrics.waiting(SimpleNamespace(streams=3, oldest_age_s=42.0, quarantined=1))
    value = metrics.registry.get_sample_value
    assert [value("earmark_streams", {"state": state}) for state in ("running", "wanted_unowned", "quarantined")] == [12.0, 3.0, 1.0]
    assert value("earmark_streams_unowned_oldest_age_seconds") == 42.0


def test_a_renewal_tells_whether_the_database_is_there(metrics: Metrics):
    value = metrics.registry.get_sample_value
    metrics.renewed(took_s=0.01)
    assert value("earmark_database_up") == 1.0
    metrics.renewal_failed()
    assert value("earmark_database_up") == 0.0
    assert value("earmark_lease_renewal_seconds_count") == 1.0


@pytest.mark.parametrize("outcome,restarts", [("stream_end", 0), ("handed_over", 0), ("failed", 1), ("crashed", 1)])
def test_a_session_that_failed_is_started_again(metrics: Metrics, outcome: str, restarts: int):
    metrics.session_over(outcome)
    value = metrics.registry.get_sample_value
    assert value("earmark_sessions_over_total", {"outcome": outcome}) == 1.0
    assert value("earmark_session_restarts_total") == restarts


def test_what_the_sweep_put_right_is_counted_apart_from_sweeps_that_failed(metrics: Metrics):
    metrics.swept(adopted=2, reopened=0, stopped=1)
    metrics.sweep_failed()
    values = [metrics.registry.get_sample_value("earmark_swept_total", {"result": result}) for result in ("adopted", "reopened", "stopped", "failed")]
    assert values == [2.0, 0.0, 1.0, 1.0]


def test_messages_calls_and_the_outbox_are_counted(metrics: Metrics):
    metrics.message_received("bad", age_s=70.0)
    metrics.message_recorded("opened")
    metrics.ivs_called("GetChannel", waited_s=0.5)
    metrics.leases_lost(2)
    metrics.published(target="sns", result="failed", seconds=0.2)
    metrics.owed(waiting=5, dead=1, oldest_s=31.0)
    value = metrics.registry.get_sample_value
    assert value("earmark_queue_messages_total", {"kind": "bad"}) == 1.0
    assert value("earmark_queue_message_age_seconds_sum") == 70.0
    assert value("earmark_queue_effects_total", {"effect": "opened"}) == 1.0
    assert value("earmark_ivs_calls_total", {"operation": "GetChannel"}) == 1.0
    assert value("earmark_ivs_wait_seconds_total") == 0.5
    assert value("earmark_leases_lost_total") == 2.0
    assert value("earmark_published_total", {"target": "sns", "result": "failed"}) == 1.0
    assert value("earmark_publish_seconds_sum", {"target": "sns"}) == 0.2
    assert [value(f"earmark_outbox_{name}") for name in ("pending", "dead", "oldest_age_seconds")] == [5.0, 1.0, 31.0]


def test_a_turn_is_counted_with_its_questions_and_what_it_did_not_ask(metrics: Metrics):
    metrics.looked_up(questions=3, stopped=40)
    metrics.looked_up(questions=1, stopped=2)
    value = metrics.registry.get_sample_value
    assert value("earmark_lookup_turns_total") == 2.0
    assert [value("earmark_lookup_turn_questions_bucket", {"le": le}) for le in ("1.0", "2.0", "4.0")] == [1.0, 1.0, 2.0]
    assert value("earmark_lookup_stopped_hashes_total") == 42.0


def test_a_glance_at_the_catalogue_is_shown(metrics: Metrics):
    parts = {"postings": 500, "constellations": 200, "other": 30}
    metrics.glanced(runs=3, merge_done=0.25, part_bytes=parts, cache_hits=0.75, standby=True, lag_s=1.5)
    value = metrics.registry.get_sample_value
    names = ("runs", "merge_done_ratio", "cache_hit_ratio", "replica_lag_seconds")
    assert [value(f"earmark_catalogue_{name}") for name in names] == [3.0, 0.25, 0.75, 1.5]
    assert {part: value("earmark_catalogue_bytes", {"part": part}) for part in parts} == parts
    metrics.glanced(runs=4, merge_done=1, part_bytes=parts, cache_hits=None, standby=False, lag_s=None)
    assert [value(f"earmark_catalogue_{name}") for name in names] == [4.0, 1.0, 0.75, 0.0]  # nothing was read: as it was
    metrics.glanced(runs=4, merge_done=1, part_bytes=parts, cache_hits=None, standby=True, lag_s=None)
    assert math.isnan(value("earmark_catalogue_replica_lag_seconds") or 0)


def test_upkeep_is_counted_by_what_it_did(metrics: Metrics):
    metrics.kept_up("packed", postings=100, damaged=0, took_s=0.5)
    metrics.kept_up("merged", postings=4_000, damaged=2, took_s=1.5)
    value = metrics.registry.get_sample_value
    assert [value("earmark_upkeep_postings_total", {"did": did}) for did in ("packed", "merged")] == [100.0, 4_000.0]
    assert [value("earmark_upkeep_seconds_total", {"did": did}) for did in ("packed", "merged")] == [0.5, 1.5]
    assert value("earmark_catalogue_damaged_rows_total") == 2.0


class Catalogue:
    def __init__(self, clock: "Clock") -> None:
        self._clock = clock

    @property
    def last_size(self) -> CatalogueSize:
        return CatalogueSize(tracks=1, seconds=60.0, postings=3_000)

    def answer(self, question: Question) -> Answer:
        self._clock.now += 0.25
        match question:
            case Lookup():
                return Postings(query=np.zeros(3, np.int32), track_no=np.zeros(3, np.int32), frame=np.zeros(3, np.int32))
            case Fetch():
                return []
            case Resolve():
                return {}


def test_a_counted_catalogue_answers_as_it_did_and_counts(metrics: Metrics):
    clock = Clock()
    catalogue = CountedCatalogue(Catalogue(clock), metrics=metrics, clock=clock)
    assert len(catalogue.answer(Lookup(hashes=np.arange(70, dtype=np.int32), postings_max=100))) == 3
    assert catalogue.answer(Fetch(passages=(Passage(track_no=1, begin_frame=0, end_frame=9),) * 2)) == []
    assert catalogue.answer(Resolve(track_ids=("a",))) == {}
    assert catalogue.size().tracks == 1
    value = metrics.registry.get_sample_value
    names = ("lookups_total", "lookup_hashes_total", "postings_total", "verified_total", "lookup_seconds_count", "lookup_seconds_sum")
    assert [value(f"earmark_{name}") for name in names] == [1.0, 70.0, 3.0, 2.0, 1.0, 0.25]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_pulse_ages_until_it_beats():
    clock = Clock()
    pulse = Pulse(clock=clock)
    check = overdue("the last round", lambda: pulse.age_s, limit_s=30)
    clock.now += 30
    assert check() == ""
    clock.now += 1
    assert check() == "the last round: 31 s, more than 30 s"
    pulse.beat()
    assert check() == ""


def costs(metrics: Metrics) -> dict[str, float | None]:
    return {kind: metrics.registry.get_sample_value("earmark_cost_usd_total", {"kind": kind}) for kind in ("compute", "database", "transfer", "viewing")}


def test_what_it_costs_is_counted_at_the_prices_of_the_settings():
    prices = Prices(worker_usd_per_hour=3.6, database_vcpu_usd_per_hour=3.6, database_cpu_ms_per_s=500, transfer_usd_per_gb=2, ivs_sd_usd_per_hour=3_600)
    metrics = Metrics.build(prices=prices)
    assert costs(metrics) == {"compute": 0, "database": 0, "transfer": 0, "viewing": 0}
    metrics.fetched(0.1, 500_000_000)
    metrics.heard(media_s=2, lag_s=None, clock_lag_s=None)
    metrics.missed(media_s=60, reason="origin_down")
    metrics.viewed(rendition="640x360", media_s=2)
    metrics.viewed(rendition="", media_s=2)
    assert costs(metrics) == pytest.approx({"compute": 0, "database": 0.001, "transfer": 1, "viewing": 2})


def test_a_worker_costs_the_same_with_and_without_streams():
    clock = Clock()
    metrics = replace(Metrics.build(prices=Prices(worker_usd_per_hour=36)), paid=Pulse(clock=clock))
    for streams, seconds in ((0, 4), (12, 4), (12, 92), (0, 0)):
        clock.now += seconds
        metrics.sessions(streams)
    assert costs(metrics)["compute"] == pytest.approx(1)


def test_a_session_of_ivs_is_a_view_at_the_rendition_that_it_has_by_then():
    metrics, renditions = Metrics.build(prices=Prices(ivs_sd_usd_per_hour=3_600, ivs_hd_usd_per_hour=7_200)), ["640x360"]
    meter = ViewingMeter(metrics, rendition=lambda: renditions[-1])
    meter.heard(media_s=2, lag_s=0.1, clock_lag_s=5)
    renditions.append("1280x720")
    meter.heard(media_s=2, lag_s=None, clock_lag_s=None)
    meter.missed(media_s=4, reason="late")
    meter.music(media_s=1, identified=True)
    meter.told(PLAY, latency_s=6)
    value = metrics.registry.get_sample_value
    assert costs(metrics)["viewing"] == pytest.approx(6)
    assert [value("earmark_media_seconds_total", {"result": result}) for result in ("heard", "late")] == [4, 4]
    assert [value("earmark_lag_seconds_count"), value("earmark_clock_lag_seconds_sum")] == [1, 5]
    assert value("earmark_music_seconds_total", {"identified": "yes"}) == 1
    assert value("earmark_hit_latency_seconds_sum") == 6
