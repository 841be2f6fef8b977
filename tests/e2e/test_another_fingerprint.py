"""A live stream while its catalogue is exchanged for one of another version of the fingerprint, and back: nothing is lost, nothing is told twice."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
from pydantic import SecretStr

import another_fingerprint
from earmark.cli import main
from earmark.ingest import ingest
from earmark.local import music, sound
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from earmark.model import Float32
from earmark.postgres import open_pool
from earmark.settings import Database
from service_daemon import documents, environment_of, go_on_air, log_lines, rows, run_sql, until

STREAM = "st-heard-through"
#: Of each recording that is on air.
EACH_S = (14.0, 20.0)
HANDED_OVER_S = 15


class Standing(Worker):
    """Begun when it lives, whether it listens or stands by."""

    def _ready(self) -> bool:
        return self.says("healthz") == (200, "")

    def says(self, page: str) -> tuple[int, str]:
        """Of /healthz or /readyz: its status, and why the catalogue is not its own."""
        try:
            answer = self._http.request("GET", self.metrics_url.replace("metrics", page))
        except urllib3.exceptions.HTTPError:
            return 0, ""
        why = json.loads(answer.data)["checks"].get("catalogue", "")
        return answer.status, "" if why == "ok" else why


def _cut(samples: Float32, begin_s: float, seconds: float) -> Float32:
    return samples[round(begin_s * music.RATE_HZ) : round((begin_s + seconds) * music.RATE_HZ)]


class Air:
    """Three recordings, of which two will be on air, an origin, and Earmarks of two versions that have one database."""

    def __init__(self, dsn: str, aws: AwsStandIn, origin: Origin, folder: Path) -> None:
        self.dsn, self.aws, self.origin, self.folder, self.deployed = dsn, aws, origin, folder, aws.deploy()
        self.pieces = [music.catalogue(11)[n] for n in (0, 7, 10)]  # which share neither tempo nor drums
        first, second = (music.render(piece) for piece in self.pieces[:2])
        self.rendered = [_cut(first, 0, 40), _cut(second, 0, 40), _cut(second, 50, 8)]
        self.files = [folder / f"{piece.track.title}.flac" for piece in self.pieces]
        for piece, samples, file in zip(self.pieces, self.rendered, self.files, strict=True):
            sound.write_flac(file, samples, piece.track)
        place = {"EARMARK_CATALOGUE__PLACE": f"s3://{self.deployed.media_bucket}/catalogue/", "EARMARK_CATALOGUE__PROFILES": "false"}
        self.environment = {**environment_of(self.deployed, dsn, origin), **place, "EARMARK_LEASES__TTL_S": "600"}
        self.theirs = {**self.environment, **another_fingerprint.environment()}

    def worker(self, name: str, *, theirs: bool = False, roles: str = "streams") -> Standing:
        environment = {**(self.theirs if theirs else self.environment), "EARMARK_LEASES__WORKER": name}
        return Standing(environment=environment, log=self.folder / f"{name}.log", roles=roles)

    def add(self, file: Path) -> None:
        """From a disk, by the old version."""
        with open_pool(Database(dsn=SecretStr(self.dsn))) as pool:
            (result,) = ingest([file], pool=pool, jobs=1)
        assert result.outcome == "added"

    @contextmanager
    def made_anew(self, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
        """The new version's `earmark catalogue refingerprint`, at work."""
        command = [sys.executable, "-m", "earmark.cli", "catalogue", "refingerprint", *arguments]
        with subprocess.Popen(command, env={**os.environ, **self.theirs}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def begin(self) -> str:
        first, second = (_cut(samples, 10, seconds) for samples, seconds in zip(self.rendered, EACH_S, strict=False))
        programme = np.concatenate([sound.silence(1), first, sound.silence(3), second, sound.silence(2)])
        return go_on_air(self.aws, self.origin, STREAM, programme)

    def end(self, channel: str) -> None:
        self.aws.go_offline(channel)
        self.aws.put_stream_event(channel, STREAM, "Stream End")

    def owned_by(self, name: str) -> bool:
        return bool(rows(self.dsn, "select 1 from stream where owner = %s", [name]))

    def log(self, name: str) -> list[dict[str, Any]]:
        return log_lines(self.folder / f"{name}.log")


def test_a_live_stream_is_heard_through_an_exchange_and_back(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    with Origin() as origin:
        air = Air(dsn, aws, origin, tmp_path)
        air.add(air.files[1])
        with air.worker("one", roles="streams,catalogue") as one, air.worker("two", theirs=True) as two:
            # One from the disk, one from the bucket; and, when those are made anew, one more.
            aws.client("s3").put_object(Bucket=air.deployed.media_bucket, Key="catalogue/first.flac", Body=air.files[0].read_bytes())
            until(lambda: len(rows(dsn, "select 1 from track")) == 2, "the object is a recording", one)
            with air.made_anew("--from", str(tmp_path), "--switch", "--wait", "2", "--jobs", "1") as anew:
                said = lines_of(anew)
                assert "the catalogue of version 3 is made in the schema earmark_next, some " in next(said)
                assert next(said) == "2 recordings were made anew\n"
                air.add(air.files[2])
                channel = air.begin()
                until(lambda: rows(dsn, "select 1 from play where state = 'open'"), "a play is open", one)
                assert air.owned_by("one")
                assert two.says("healthz") == (200, "")
                assert "it stands by: the catalogue in PostgreSQL" in two.says("readyz")[1]
                run_sql(dsn, "insert into standing_by (worker, fingerprint_version) values ('three', 3)")  # the second one that is waited for
                assert "the catalogue is of version 3 now; that of version 2 is kept in the schema earmark_previous" in "".join(said)
                assert anew.wait(10) == 0
            until(lambda: air.owned_by("two"), "the new one has the stream", one, two, limit_s=HANDED_OVER_S)
            until(lambda: "holds fingerprints of version 3" in one.says("readyz")[1], "the old one stands by", one)
            assert (one.says("healthz"), two.says("readyz")) == ((200, ""), (200, ""))
            assert rows(dsn, "select count(*) as n from track where fingerprint_version = 3") == [{"n": 3}]
            until(lambda: len(rows(dsn, "select 1 from play where state <> 'provisional'")) == 2, "the next play is open", two)
            assert main(["catalogue", "switch", "--back", "--catalogue", dsn]) == 0
            until(lambda: air.owned_by("one"), "the old one has it again", one, two, limit_s=HANDED_OVER_S)
            air.end(channel)
            until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the stream has ended", one)
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", one)
        nothing_is_lost_or_told_twice(air)


def lines_of(process: "subprocess.Popen[str]") -> Iterator[str]:
    assert process.stdout
    yield from process.stdout


def nothing_is_lost_or_told_twice(air: Air) -> None:
    kept = documents(air.aws, air.deployed)
    assert rows(air.dsn, "select fencing, attempts, failures from stream") == [{"fencing": 3, "attempts": 0, "failures": 0}]
    hits = sorted((document for key, document in kept.items() if "/hits/" in key), key=lambda hit: hit["query"]["begin_s"])
    assert [hit["reference"]["track_id"] for hit in hits] == [piece.track.track_id for piece in air.pieces[:2]]
    assert {hit["state"] for hit in hits} == {"closed"}
    assert (hits[0]["query"]["begin_s"], hits[0]["query"]["end_s"]) == (pytest.approx(1, abs=0.5), pytest.approx(1 + EACH_S[0], abs=1))
    assert [(hit["detection"]["worker"], hit["detection"]["fingerprint_version"]) for hit in hits] == [("two", 3), ("one", 2)]
    told = {name: [(line["hit_id"], line["state"]) for line in air.log(name) if line["event"] == "play.told"] for name in ("one", "two")}
    ids = [hit["hit_id"] for hit in hits]
    assert {hit_id for hit_id, _ in told["one"] + told["two"]} == set(ids)
    assert {(ids[0], "closed"), (ids[1], "open")} <= set(told["two"])
    assert {(ids[0], "open"), (ids[1], "closed")} <= set(told["one"])
    coverage = kept[f"{STREAM}/stream.json"]["coverage"]
    assert (coverage["gap_s"], coverage["unaccounted_s"]) == (0, 0)
    alerts = air.aws.client("sqs").receive_message(QueueUrl=air.deployed.alerts_queue_url, MaxNumberOfMessages=10)["Messages"]
    assert sorted(json.loads(alert["Body"])["hit_id"] for alert in alerts) == sorted(ids)
    for name, stood_by in (("one", 1), ("two", 2)):
        events = [line["event"] for line in air.log(name)]
        assert events.count("catalogue.standing_by") == stood_by
        assert not {"loop.failed", "session.crashed", "session.failed", "catalogue.crashed"} & set(events)
