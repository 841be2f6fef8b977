"""The whole way of a preview: an object put into the bucket, its event, a daemon with the role catalogue, a file beside it that plays."""

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import pytest

from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.worker import Worker
from service_daemon import log_lines, rows, run_sql, until
from stocked_bucket import recording


@dataclass(frozen=True)
class Media:
    """The bucket, and how to get at it."""

    aws: AwsStandIn
    deployed: Deployment
    environment: dict[str, str]
    log: Path

    @cached_property
    def s3(self) -> Any:
        return self.aws.client("s3")

    @property
    def copies(self) -> list[str]:
        listed = self.s3.list_objects_v2(Bucket=self.deployed.media_bucket, Prefix="catalogue/_formats/")
        return [entry["Key"] for entry in listed.get("Contents", ())]

    def put(self, name: str, data: bytes) -> None:
        self.s3.put_object(Bucket=self.deployed.media_bucket, Key=f"catalogue/{name}", Body=data)

    def delete(self, name: str) -> None:
        self.s3.delete_object(Bucket=self.deployed.media_bucket, Key=f"catalogue/{name}")

    def earmark(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "earmark.cli", *arguments]
        return subprocess.run(command, env={**self.environment, **changed}, capture_output=True, text=True, timeout=120, check=False)

    def shown(self, track_id: str) -> Any:
        return json.loads(self.earmark("catalogue", "show", track_id).stdout)

    def worker(self, **more: str) -> Worker:
        return Worker(environment={**self.environment, **more}, log=self.log, roles="catalogue")


@pytest.fixture
def media(aws: AwsStandIn, dsn: str, tmp_path: Path) -> Media:
    deployed = aws.deploy()
    environment = {**deployed.environment(), "EARMARK_DATABASE__DSN": dsn, "EARMARK_CATALOGUE__PLACE": f"s3://{deployed.media_bucket}/catalogue/"}
    return Media(aws=aws, deployed=deployed, environment=environment, log=tmp_path / "daemon.log")


def test_an_object_gets_its_preview_and_loses_it_with_itself(dsn: str, media: Media) -> None:
    with media.worker() as worker:
        media.put("one.flac", recording(1, title="Blue Sky"))
        until(lambda: len(media.copies) == 1, "its preview", worker)
        (key,) = media.copies
        until(lambda: rows(dsn, "select 1 from track_format where state = 'made'"), "it is on record", worker)
        (told,) = media.shown("key:one.flac")["formats"]
        assert (told["name"], told["state"], told["url"]) == ("preview", "made", f"s3://{media.deployed.media_bucket}/{key}")
        with av.open(io.BytesIO(media.s3.get_object(Bucket=media.deployed.media_bucket, Key=key)["Body"].read())) as container:
            assert container.metadata["title"] == "Blue Sky" and container.duration
            assert abs(container.duration / av.time_base - 4.0) < 0.1 and abs(told["duration_s"] - 4.0) < 0.1
        metrics = worker.metrics()
        assert 'earmark_formats_total{outcome="made"} 1.0' in metrics and f"earmark_formats_bytes_total {told['size_bytes']:.1f}" in metrics
        media.delete("one.flac")
        until(lambda: not media.copies, "it is gone", worker)
        assert [row["track_id"] for row in rows(dsn, "select track_id from track")] == []
    events = [line["event"] for line in log_lines(media.log)]
    assert events.count("formats.made") == events.count("formats.removed") == 1


def test_a_daemon_that_is_killed_while_it_makes_copies_makes_the_rest_when_it_is_back(dsn: str, media: Media) -> None:
    names = [f"{number}.flac" for number in range(3)]
    with media.worker() as worker:
        for number, name in enumerate(names):
            media.put(name, recording(30 + number, 20.0))
        until(lambda: rows(dsn, "select 1 from fan_out where worker is not null"), "one is under way", worker)
        worker.kill()
    for table in ("fan_out", "catalogue_object"):  # whose leases are a minute and more
        run_sql(dsn, f"update {table} set taken_until = now() where worker is not null")
    with media.worker() as worker:
        until(lambda: len(rows(dsn, "select 1 from track_format where state = 'made'")) == 3, "all are made", worker)
    assert sorted(key.split("/")[2] for key in media.copies) == names
