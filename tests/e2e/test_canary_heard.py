"""The canary with whole daemons and the AWS stand-in: heard, measured, marked, and gone; nobody is told of it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.worker import Worker
from service_daemon import documents, log_lines, rows, run_sql, until

#: Streams of the canary go on air five times as fast.
IN_HASTE = {"PYTHONPATH": str(Path(__file__).parents[1] / "canary_in_haste")}


def environment_of(deployed: Deployment, dsn: str) -> dict[str, str]:
    return {**deployed.environment(), **IN_HASTE, "EARMARK_DATABASE__DSN": dsn, "EARMARK_LEASES__RENEW_S": "1", "EARMARK_CANARY__DEADLINE_S": "60"}


def typed(environment: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EARMARK_", "AWS_"))}
    return subprocess.run([sys.executable, "-m", "earmark.cli", *argv], env={**kept, **environment}, capture_output=True, text=True, timeout=120, check=False)


def alerts_of(aws: AwsStandIn, deployed: Deployment) -> list[Any]:
    return aws.client("sqs").receive_message(QueueUrl=deployed.alerts_queue_url, MaxNumberOfMessages=10).get("Messages", [])


def metrics_of(worker: Worker) -> dict[str, float]:
    text = urllib.request.urlopen(worker.metrics_url, timeout=5).read().decode()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))}


def hits_in(aws: AwsStandIn, deployed: Deployment) -> list[Any]:
    """At this moment: a round removes what is there."""
    s3, found = aws.client("s3"), []
    for entry in s3.list_objects_v2(Bucket=deployed.results_bucket, Prefix="canary/").get("Contents", []):
        if "/hits/" in entry["Key"]:
            with suppress(s3.exceptions.NoSuchKey):
                found.append(json.loads(s3.get_object(Bucket=deployed.results_bucket, Key=entry["Key"])["Body"].read()))
    return found


def test_a_daemon_with_the_role_hears_its_own_stream_says_so_and_leaves_nothing(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    deployed = aws.deploy()
    environment = environment_of(deployed, dsn)
    with Worker(environment=environment, log=tmp_path / "daemon.log", roles="streams,canary") as worker:
        hits: list[Any] = []
        until(lambda: hits or hits.extend(hits_in(aws, deployed)) or hits, "a hit of the canary is in S3", worker)
        until(lambda: rows(dsn, "select 1 from canary_round where ended_at is not null"), "the round is over", worker)
        (round_,) = rows(dsn, "select * from canary_round")
        assert round_["says"] == "its recording was heard as it was played", round_
        assert round_["result"] == "heard"
        until(lambda: metrics_of(worker)['earmark_canary_rounds{result="heard"}'] == 1, "the metrics say so", worker)
        says = metrics_of(worker)
        assert alerts_of(aws, deployed) == []
    assert aws.mails() == []
    assert (hits[0]["stream"]["canary"], hits[0]["reference"]["track_id"]) == (True, "canary:recording")
    # What was measured.
    stages = [round_[f"{stage}_s"] for stage in ("written", "claimed", "heard", "hit", "ended")]
    assert stages == sorted(stages)
    assert says["earmark_canary_latency_seconds"] == pytest.approx(round_["latency_s"])
    assert says["earmark_canary_score_nats"] == pytest.approx(round_["score_nats"])
    assert 0 < says["earmark_canary_last_success_age_seconds"] < 60
    # It is nobody's media, nobody's hit, and no stream that anybody has.
    assert [says[f'earmark_media_seconds_total{{result="{result}"}}'] for result in ("heard", "late", "origin_down")] == [0, 0, 0]
    assert says['earmark_hits_total{state="open"}'] == says['earmark_sessions_over_total{outcome="endlist"}'] == 0
    assert says["earmark_lookups_total"] > 0
    # Nothing is left but the recording and the record.
    for table in ("stream", "play", "outbox", "kept_group", "kept_block"):
        assert rows(dsn, f"select 1 from {table}") == [], table
    assert documents(aws, deployed) == {}
    (line,) = [line for line in log_lines(tmp_path / "daemon.log") if line["event"] == "canary.round"]
    assert (line["level"], line["result"], line["round_id"]) == ("info", "heard", round_["round_id"])


def test_the_command_is_heard_by_another_workers_daemon_and_says_how_soon(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    """And cleans up after one that was killed in the midst of its round."""
    deployed = aws.deploy()
    environment = environment_of(deployed, dsn)
    with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EARMARK_", "AWS_"))}
        with subprocess.Popen([sys.executable, "-m", "earmark.cli", "canary"], env={**kept, **environment}, stdout=subprocess.DEVNULL) as killed:
            until(lambda: rows(dsn, "select 1 from stream where state = 'running'"), "its stream is claimed", worker)
            killed.send_signal(signal.SIGKILL)
        run_sql(dsn, "update canary_round set until = now()")  # as if its deadline had passed
        done = typed(environment, "canary", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        said = json.loads(done.stdout)
        assert (said["result"], list(said["stages_s"])) == ("heard", ["written", "claimed", "heard", "hit", "ended"])
        assert said["score_nats"] > 300
        assert said["latency_s"] < 20
        assert alerts_of(aws, deployed) == []
    assert [found["result"] for found in rows(dsn, "select result from canary_round order by began_at")] == ["abandoned", "heard"]
