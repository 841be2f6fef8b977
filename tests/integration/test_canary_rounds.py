"""Rounds of the canary against a real database and S3, with nobody who listens, or somebody who does it wrong; and its record."""

import math
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from structlog.testing import capture_logs

import hits_samples as samples
from control_ivs import refusal
from control_rows import leases_of, pass_time, rows, run, want
from earmark import ingest
from earmark.api import records
from earmark.canary import rounds
from earmark.canary.broadcast import Broadcast, Coded
from earmark.canary.leftovers import Leftovers
from earmark.canary.recording import TRACK
from earmark.canary.role import Role, Runner
from earmark.canary.round import Round
from earmark.canary.rounds import Outcome, Result, UnderWay, begin, finish, seen
from earmark.cli import main
from earmark.control.leases import Ended
from earmark.control.listing import streams
from earmark.errors import BadSettings, CatalogueMismatch
from earmark.hits.ledger import Ledger
from earmark.hits.outbox import Publisher
from earmark.hits.reports import report
from earmark.hits.sinks import S3Sink
from earmark.index.catalogue import Tracks
from earmark.keeping import Keeping
from earmark.local.aws import AwsStandIn
from earmark.model import Checkpoint
from earmark.postgres import Pool, transaction
from earmark.reference import Source
from earmark.settings import Alerts, Outbox, Prices, Results, Settings
from earmark.telemetry import Metrics
from portable_catalogues import exported

RESULTS = Results(bucket="results", prefix="eu/")
ID = "canary:20261122T120000Z-abc123"


@pytest.fixture
def s3(aws: AwsStandIn) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket="results")
    return client


@pytest.fixture(autouse=True)
def _nothing_to_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here decodes what is on air."""
    segments = tuple(Coded(name=f"{n}.ts", data=b"x", begin_s=2.0 * n, end_s=2.0 * n + 2) for n in range(12))
    monkeypatch.setattr("earmark.canary.round.broadcast", lambda _: Broadcast(begin_s=4, end_s=20, reference_begin_s=7.5, segments=segments))


@pytest.fixture
def known(pool: Pool) -> Pool:
    """A catalogue that has the canary's recording, as far as a round looks: without its sound, which nobody here hears."""
    from earmark.canary.recording import CONTENT_SHA256
    from index_catalogue import peaks, recording_of

    Tracks(pool=pool).add([recording_of(TRACK, peaks(1, 5.0), CONTENT_SHA256)])
    return pool


def played(pool: Pool, s3: Any, *, deadline_s: float = 2.5, stop: threading.Event | None = None, meanwhile: Callable[[str], None] = lambda _: None) -> Outcome:
    """A round of which nobody hears anything, or what `meanwhile` does as soon as its stream is wanted."""
    round_id = begin(pool, runner="test", deadline_s=deadline_s)
    assert isinstance(round_id, str)
    of = Round(round_id=round_id, pool=pool, s3=s3, results=RESULTS, deadline_s=deadline_s, stop=stop or threading.Event(), pace=40.0)
    look = of._look

    def looked(found: Any) -> None:
        meanwhile(f"canary:{round_id}")
        look(found)

    of._look = looked  # type: ignore[method-assign]
    outcome = of.run()
    assert finish(pool, round_id, outcome)
    return outcome


def left(pool: Pool, s3: Any) -> tuple[int, int]:
    return len(rows(pool, "select 1 from stream")), s3.list_objects_v2(Bucket="results")["KeyCount"]


# ------------------------------------------------------------------------------------------------ where it stops


def test_no_worker_means_a_round_that_says_that_nobody_took_its_stream_and_leaves_nothing(known: Pool, s3: Any) -> None:
    outcome = played(known, s3)
    assert (outcome.result, list(outcome.stages_s)) == ("unclaimed", ["written"])
    assert "no worker took its stream within 3 s" in outcome.says
    assert left(known, s3) == (0, 0)


def test_a_worker_that_cannot_hear_it_is_named_with_its_reason(known: Pool, s3: Any) -> None:
    leases = leases_of(known, "one")

    def refuse(_: str) -> None:
        for lease in leases.claim(1):
            leases.release(lease, Ended("failed", "s3:GetObject was refused"))

    outcome = played(known, s3, meanwhile=refuse)
    assert (outcome.result, list(outcome.stages_s)) == ("unheard", ["written", "claimed"])
    assert outcome.says.endswith(": s3:GetObject was refused")
    assert left(known, s3) == (0, 0)


def test_a_stream_that_was_heard_without_a_hit_was_not_recognised(known: Pool, s3: Any) -> None:
    leases = leases_of(known, "one")

    def hear(_: str) -> None:
        for lease in leases.claim(1):
            ledger_of(known, lease).commit(Checkpoint(state="ended", end_reason="endlist", position_s=24.0, heard_s=24.0), [])
            leases.release(lease, Ended("endlist"))

    outcome = played(known, s3, meanwhile=hear)
    assert (outcome.result, list(outcome.stages_s)) == ("unrecognised", ["written", "claimed", "heard"])


def ledger_of(pool: Pool, lease: Any) -> Ledger:
    alerts = Alerts(topic_arn="arn:aws:sns:us-east-1:123456789012:alerts", on=("provisional", "open", "closed"))
    return Ledger(pool=pool, lease=lease, tracks=samples.Catalogue(samples.TRACK), results=RESULTS, alerts=alerts, nudge=lambda: None, now=samples.Clock())


@pytest.mark.parametrize("published", [False, True])
def test_a_hit_that_does_not_come_and_one_of_another_recording_are_told_apart(known: Pool, s3: Any, published: bool) -> None:
    leases, stop = leases_of(known, "one"), threading.Event()
    sinks: Any = {"s3": S3Sink(client=s3, bucket="results")}
    publisher = Publisher(pool=known, sinks=sinks, settings=Outbox(), stop=stop, metrics=Metrics.build())

    def hear(_: str) -> None:
        for lease in leases.claim(1):
            play = samples.play(state="closed")
            ledger_of(known, lease).commit(Checkpoint(state="ended", end_reason="endlist", position_s=200.0, heard_s=200.0), [play])
            leases.release(lease, Ended("endlist"))
            assert rows(known, "select 1 from outbox where target = 'sns'") == []  # nobody is to be told
            if published:
                publisher.drain(limit_s=5)

    outcome = played(known, s3, meanwhile=hear)
    if published:
        assert (outcome.result, outcome.score_nats is not None) == ("wrong", True)
        assert outcome.says == f"{samples.TRACK.track_id} was heard, and canary:recording was on air"
    else:
        assert outcome.result == "unpublished"
        assert "no hit came to s3://results/eu/canary/" in outcome.says
    assert left(known, s3) == (0, 0)


class Broken:
    """S3 without one of its operations."""

    def __init__(self, s3: Any, operation: str, error: Exception) -> None:
        self._s3, self._operation, self._error = s3, operation, error

    def __getattr__(self, name: str) -> Any:
        if name != self._operation:
            return getattr(self._s3, name)

        def refuse(**_: Any) -> Any:
            raise self._error

        return refuse


AWAY = EndpointConnectionError(endpoint_url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    "operation, error, says",
    [
        ("put_object", refusal("AccessDenied", "PutObject", status=403), "allow s3:PutObject in the role's policy"),
        ("put_object", AWAY, "nothing could be written to s3://results/eu/canary/"),
        ("list_objects_v2", AWAY, "s3:ListBucket of s3://results/eu/canary/ got no answer"),
    ],
)
def test_a_bucket_that_refuses_or_does_not_answer_is_where_it_stopped(known: Pool, s3: Any, operation: str, error: Exception, says: str) -> None:
    outcome = played(known, Broken(s3, operation, error))
    assert (outcome.result, outcome.stages_s) == ("unwritten", {})
    assert says in outcome.says
    assert left(known, s3) == (0, 0)


def test_a_round_that_is_asked_to_end_ends_at_once_and_its_stream_goes_with_the_next(known: Pool, s3: Any) -> None:
    stop, leases = threading.Event(), leases_of(known, "one")

    def claim(_: str) -> None:
        leases.claim(1)
        stop.set()

    assert played(known, s3, deadline_s=60, stop=stop, meanwhile=claim).result == "abandoned"
    (there,) = rows(known, "select state, stop_reason from stream")
    assert (there["state"], there["stop_reason"]) == ("running", "stopped")  # its worker is told, and gives it back
    pass_time(known, 120)  # or is gone
    assert played(known, s3).result == "unclaimed"
    assert left(known, s3) == (0, 0)


@pytest.mark.parametrize(
    "result, stopped, level", [("heard", False, "info"), ("abandoned", True, "info"), ("abandoned", False, "error"), ("wrong", True, "error")]
)
def test_a_round_that_its_own_worker_cut_short_is_no_error(
    pool: Pool, s3: Any, monkeypatch: pytest.MonkeyPatch, result: Result, stopped: bool, level: str
) -> None:
    stop = threading.Event()
    role = Role(settings=Settings(results=RESULTS), pool=pool, s3=s3, worker="one", metrics=Metrics.build(), stop=stop)

    def played(self: Runner, *, every_s: float = 0.0) -> tuple[str, Outcome]:
        if stopped:
            stop.set()
        else:
            threading.Timer(0.2, stop.set).start()
        return "a round", Outcome(result=result, says="it is over")

    monkeypatch.setattr(Runner, "round", played)
    with capture_logs() as lines:
        role.run()
    assert {(line["log_level"], line["trace_id"]) for line in lines if line["event"] == "canary.round"} == {(level, "a round")}


def test_what_a_killed_round_left_goes_before_the_next_and_what_is_not_a_canarys_stays(known: Pool, s3: Any) -> None:
    want(known, ID, "st-1", source="hls", url="s3://results/eu/canary/x/live.m3u8")
    for key in ("eu/canary/20261122T120000Z-abc123/00000.ts", "eu/canary/long-ago/hits/H.json", "eu/st-1/stream.json", "canary/of-others.json"):
        s3.put_object(Bucket="results", Key=key, Body=b"x")
    leftovers = Leftovers(pool=known, s3=s3, results=RESULTS)
    assert leftovers.clear(but_not="canary:now") == 2
    assert [found["stream_id"] for found in rows(known, "select stream_id from stream")] == ["st-1"]
    assert [found["Key"] for found in s3.list_objects_v2(Bucket="results")["Contents"]] == ["canary/of-others.json", "eu/st-1/stream.json"]
    assert leftovers.clear(but_not="canary:now") == 0


# ------------------------------------------------------------------------------------------------ one at a time, on record


def test_one_round_at_a_time_and_none_before_it_is_due(pool: Pool) -> None:
    first = begin(pool, runner="one", deadline_s=60, every_s=600)
    assert isinstance(first, str)
    other = begin(pool, runner="two", deadline_s=60, every_s=600)
    assert isinstance(other, UnderWay)
    assert (other.round_id, other.runner) == (first, "one")
    assert finish(pool, first, Outcome(result="heard", says="", stages_s={"written": 0.5, "hit": 12.0}, latency_s=6.5, score_nats=300.0))
    assert begin(pool, runner="two", deadline_s=60, every_s=600) is None
    assert 590 < rounds.due_in_s(pool, 600) <= 600
    assert isinstance(begin(pool, runner="two", deadline_s=60), str)  # by hand, at any time


def test_of_workers_that_come_at_the_same_moment_one_runs_the_round(pool: Pool) -> None:
    found: list[object] = []
    together = threading.Barrier(4)

    def come() -> None:
        together.wait()
        found.append(begin(pool, runner="one of four", deadline_s=60, every_s=600))

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(one).__name__ for one in found) == ["UnderWay"] * 3 + ["str"]


@pytest.mark.parametrize(
    "moved",
    [
        "began_at = began_at - interval '1 hour', until = until - interval '1 hour'",
        "began_at = began_at + interval '1 hour', until = until + interval '1 hour'",
    ],
)
def test_a_round_whose_runner_is_gone_or_that_is_of_another_clock_holds_nobody_up(pool: Pool, moved: str) -> None:
    gone = begin(pool, runner="killed", deadline_s=60)
    run(pool, f"update canary_round set {moved}")
    assert isinstance(begin(pool, runner="two", deadline_s=60, every_s=600), str)
    (there,) = rows(pool, "select result, says from canary_round where round_id = %s", gone)
    assert (there["result"], there["says"]) == ("abandoned", "its runner, killed, did not come to its end")
    assert not finish(pool, str(gone), Outcome(result="heard", says=""))  # it was only paused, and changes nothing


def test_the_record_is_what_every_workers_metrics_say_and_ends(pool: Pool) -> None:
    metrics = Metrics.build()
    assert seen(pool) == rounds.Seen()
    for result, hours, latency_s in (("heard", 30, 4.0), ("heard", 3, 6.5), ("unclaimed", 1, None), ("heard", 24 * 40, 1.0)):
        round_id = begin(pool, runner="one", deadline_s=60)
        finish(pool, str(round_id), Outcome(result=result, says="", stages_s={"written": 0.5, "hit": 12.0}, latency_s=latency_s, score_nats=300.0))  # type: ignore[arg-type]
        run(
            pool,
            "update canary_round set began_at = began_at - make_interval(hours => %s), ended_at = ended_at - make_interval(hours => %s) where round_id = %s",
            hours,
            hours,
            round_id,
        )
    metrics.canary_seen(seen(pool))
    before = metrics.registry.get_sample_value("earmark_canary_last_success_age_seconds")
    says = {sample.name + "".join(sample.labels.values()): sample.value for family in metrics.registry.collect() for sample in family.samples}
    assert says["earmark_canary_last_success_age_seconds"] == pytest.approx(3 * 3_600, abs=10)
    assert says["earmark_canary_last_success_age_seconds"] > (before or math.inf)  # it goes on while nobody looks
    assert (says["earmark_canary_roundsheard"], says["earmark_canary_roundsunclaimed"], says["earmark_canary_roundswrong"]) == (1, 1, 0)
    assert (says["earmark_canary_latency_seconds"], says["earmark_canary_score_nats"]) == (6.5, 300.0)
    assert (says["earmark_canary_stage_secondswritten"], says["earmark_canary_stage_secondshit"]) == (0.5, 12.0)
    begin(pool, runner="one", deadline_s=60)
    assert len(rows(pool, "select 1 from canary_round")) == 4  # what is older than a month has gone


def test_a_worker_without_the_role_says_the_same_and_does_not_count_the_recording(known: Pool) -> None:
    metrics = Metrics.build()
    finish(known, str(begin(known, runner="a command", deadline_s=60)), Outcome(result="heard", says="", latency_s=6.5, score_nats=300.0))
    keeping = Keeping(pool=known, reading=known, worker="w", share_max=1, metrics=metrics, stop=threading.Event())
    keeping._watch()
    assert keeping.canary_recordings == 1
    assert metrics.registry.get_sample_value("earmark_canary_latency_seconds") == 6.5


def test_a_canary_that_was_never_heard_is_as_old_as_its_first_round(pool: Pool) -> None:
    finish(pool, str(begin(pool, runner="one", deadline_s=60)), Outcome(result="unclaimed", says=""))
    run(pool, "update canary_round set began_at = began_at - interval '2 hours'")
    assert seen(pool).success_age_s == pytest.approx(7_200, abs=10)


# ------------------------------------------------------------------------------------------------ nobody's stream, nobody's recording


def test_a_canary_is_claimed_like_any_stream_and_calls_for_no_task(pool: Pool) -> None:
    want(pool, ID, source="hls", url="s3://results/x/live.m3u8")
    pass_time(pool, 100)
    leases = leases_of(pool, "one")
    waiting = leases.waiting()
    assert (waiting.streams, waiting.oldest_age_s > 99) == (1, True)
    assert waiting.told == (0, 0.0, 0, None, None)
    want(pool, "st-1")
    assert leases.waiting().told.streams == 1
    assert {lease.stream.stream_id for lease in leases.claim(5)} == {ID, "st-1"}
    listed = {one.stream_id: one for one in streams(pool, prices=Prices())}
    assert (listed[ID].canary, listed[ID].cost_usd_per_hour, listed["st-1"].canary) == (True, None, False)
    assert [one["stream_id"] for one in records.streams(pool, after="", limit=10, ended=True)] == ["st-1"]
    with transaction(pool) as connection:
        assert "what was heard in it is nobody's play" in report.text(report.load(connection, ID))


def test_what_an_older_worker_would_send_of_a_canary_is_not_sent(pool: Pool, s3: Any) -> None:
    want(pool, ID, "st-1")
    for stream_id in (ID, "st-1"):
        for target in ("s3", "sns"):
            run(pool, "insert into outbox (stream_id, target, key, revision, body) values (%s, %s, %s, 1, '{}')", stream_id, target, stream_id)
    due = rows(pool, "select stream_id, target from outbox where due_at <= now()")
    assert sorted((found["stream_id"], found["target"]) for found in due) == [(ID, "s3"), ("st-1", "s3"), ("st-1", "sns")]


def test_its_recording_is_in_no_list_no_export_and_nobody_elses_name(
    known: Pool, dsn: str, tmp_path: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from index_audio import notes, write_wav

    tracks = Tracks(pool=known)
    assert list(tracks.all()) == records.tracks(known, after="", limit=10) == []
    assert exported(known, tmp_path / "catalogue").head.recordings == 0
    assert tracks.get([TRACK.track_id]) == {TRACK.track_id: TRACK}
    file = write_wav(tmp_path / "a.wav", notes(1, 5.0))
    (result,) = ingest.ingest([Source(path=file, track_id="canary:mine")], pool=known, jobs=1)
    assert result.outcome == "refused"
    assert "its track_id begins with 'canary:', as the canary's alone does" in result.sentence
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    for command in (["catalogue", "list"], ["catalogue", "export"], ["catalogue", "duplicates"]):
        assert main(command) == 0
        assert "canary" not in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------ what cannot be


def test_a_round_without_a_bucket_or_with_another_versions_catalogue_is_not_begun(known: Pool, s3: Any) -> None:
    with pytest.raises(BadSettings, match="set results.bucket"):
        Runner(settings=Settings(), pool=known, s3=s3, name="one", stop=threading.Event())
    run(known, "update catalogue_version set fingerprint_version = 99")
    runner = Runner(settings=Settings(results=RESULTS), pool=known, s3=s3, name="one", stop=threading.Event())
    with pytest.raises(CatalogueMismatch):
        runner.round()
    assert rows(known, "select 1 from canary_round") == []


def test_a_bug_in_a_round_ends_it_loudly_and_on_record(known: Pool, s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("earmark.canary.round.broadcast", bug)
    runner = Runner(settings=Settings(results=RESULTS), pool=known, s3=s3, name="one", stop=threading.Event())
    with pytest.raises(ZeroDivisionError):
        runner.round()
    assert [found["result"] for found in rows(known, "select result from canary_round")] == ["failed"]


def test_the_command_says_in_one_sentence_what_keeps_it_from_a_round(
    dsn: str, pool: Pool, s3: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def says(code: int) -> str:
        assert main(["canary"]) == code
        told = capsys.readouterr()
        assert (told.out, told.err.count("\n")) == ("", 1)
        return told.err

    assert says(2).startswith("earmark: the canary is heard by daemons, which share a database: set database.dsn")
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    assert "set results.bucket" in says(2)
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", "results")
    begin(pool, runner="worker-1", deadline_s=60)
    assert re.search(r"a round of the canary is under way \(of worker-1, for \d+ s\), and there is one at a time", says(1))
