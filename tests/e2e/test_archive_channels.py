"""Standard MediaLive channels, side by side in one daemon: two pipelines that deliver, lose files and stop; runs that start anew; mixed names."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from earmark.local import music
from earmark.local.archiving import archive_files
from earmark.local.aws import ACCOUNT, REGION, AwsStandIn, Deployment
from earmark.local.worker import Worker
from service_daemon import catalogued, documents, rows, until

FILE_S = 6.0
FILES = 6
WAIT_S = 3


@dataclass(frozen=True)
class Channel:
    """Of the stand-in's: what its pipelines write, and where."""

    aws: AwsStandIn
    deployed: Deployment
    name: str
    files: Sequence[bytes]
    modifier: str = "-20260304T050607"

    @property
    def arn(self) -> str:
        listed = self.aws.client("medialive").list_channels()["Channels"]
        (found,) = [channel["Id"] for channel in listed if channel["Name"] == self.name]
        return f"arn:aws:medialive:{REGION}:{ACCOUNT}:channel:{found}"

    def create(self) -> "Channel":
        urls = [f"s3ssl://{self.deployed.archive_bucket}/{self.name}/p{pipeline}/show" for pipeline in (0, 1)]
        self.aws.put_archive_channel(self.name, *urls, rollover_s=6)
        return self

    def event(self, state: str) -> None:
        self.aws.put_medialive_event(self.arn, state)

    def put(self, pipeline: int, *counters: int, ext: str = "m2ts") -> None:
        s3 = self.aws.client("s3")
        for counter in counters:
            key = f"{self.name}/p{pipeline}/show{self.modifier}.{counter:06d}.{ext}"
            s3.put_object(Bucket=self.deployed.archive_bucket, Key=key, Body=self.files[counter])

    def sessions(self, dsn: str) -> list[dict[str, Any]]:
        return rows(dsn, "select * from stream where channel_arn = %s order by started_at", [self.arn])


@pytest.fixture
def deployed(aws: AwsStandIn) -> Deployment:
    """Every event comes twice."""
    deployment = aws.deploy()
    aws.client("events").put_targets(Rule="earmark-streams", Targets=[{"Id": "again", "Arn": deployment.queue_arn}])
    return deployment


@pytest.fixture
def worker(dsn: str, deployed: Deployment, tmp_path: Path):
    environment = {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_LEASES__RENEW_S": "1",
        "EARMARK_QUEUE__WAIT_S": "1",
        "EARMARK_MEDIALIVE__GAP_WAIT_S": str(WAIT_S),
        "EARMARK_MEDIALIVE__END_GRACE_S": "6",
        "EARMARK_MEDIALIVE__ARCHIVES": json.dumps({f"s3://{deployed.archive_bucket}/folder/": "*"}),
    }
    with Worker(environment=environment, log=tmp_path / "daemon.log") as running:
        yield running


def test_standard_channels_side_by_side(dsn: str, aws: AwsStandIn, deployed: Deployment, worker: Worker) -> None:
    (samples,) = catalogued(dsn)
    files = archive_files(samples[10 * music.RATE_HZ : round((10 + FILES * FILE_S - 2) * music.RATE_HZ)], file_s=FILE_S)
    assert len(files) == FILES, "the last one shorter"
    channels = {name: Channel(aws, deployed, name, files).create() for name in ("both", "lost", "stops")}
    again = Channel(aws, deployed, "again", files, modifier="").create()  # without $dt$ in its names
    everything = [*channels.values(), again]
    for channel in everything:
        channel.event("RUNNING")
    until(lambda: len(rows(dsn, "select from stream where spare_url is not null")) == 4, "each run has two places", worker)
    channels["both"].put(1, 1, 0, 3, 2)  # what the other pipeline says comes out of order, and first
    channels["both"].put(0, *range(FILES - 1))
    channels["lost"].put(0, 0, 1, 3, 4)
    channels["lost"].put(1, *range(FILES - 1))
    channels["stops"].put(0, 0, 1)
    channels["stops"].put(1, *range(FILES - 1))
    again.put(0, 0, 1, 2)
    _put_by_folder(aws, deployed, files)
    heard = "select channel_arn from stream where (checkpoint->>'heard_s')::float > %s and channel_arn = any(%s)"
    enough = [(FILES - 1) * FILE_S - 1, [channel.arn for channel in channels.values()]]
    until(lambda: len(rows(dsn, heard, enough)) == 3, "all but the last file is heard of each channel", worker)
    until(lambda: rows(dsn, heard, [2.9 * FILE_S, [again.arn]]), "three files are heard of the channel that will start anew", worker)
    for (_, channel), state in zip(channels.items(), ("IDLE", "STOPPED", "DELETED"), strict=True):
        channel.event(state)
        channel.put(1, FILES - 1)  # the last, short one; of one channel from both pipelines
    channels["both"].put(0, FILES - 1)
    again.event("IDLE")
    time.sleep(1.1)  # events tell whole seconds: the next run begins in another one
    again.event("RUNNING")
    again.put(0, 0, 1, 2, 3)  # over the first run's files
    until(lambda: rows(dsn, heard, [3.9 * FILE_S, [again.arn]]), "the second run is heard", worker)
    again.event("IDLE")
    until(lambda: not rows(dsn, "select from stream where state <> 'ended' and channel_arn is not null"), "all runs have ended", worker, limit_s=90)
    until(lambda: not rows(dsn, "select from outbox"), "everything has left", worker)

    found = documents(aws, deployed)
    for channel in channels.values():
        (ended,) = channel.sessions(dsn)
        _is_whole(found, ended, (FILES * FILE_S) - 2)
    first, second = again.sessions(dsn)
    _is_whole(found, first, 3 * FILE_S)
    _is_whole(found, second, 4 * FILE_S)
    folder = rows(dsn, "select stream_id, checkpoint->>'heard_s' as heard_s from stream where channel_arn is null")
    assert [(session["stream_id"].rpartition("-")[0], round(float(session["heard_s"]))) for session in folder] == [("mixed", 24)]
    assert len(rows(dsn, "select from inbox")) <= (6 + 5) + (4 + 6) + (2 + 6) + (3 + 4) + 4, "events that come twice are one"
    # What was announced when its run was over by then is nobody's.
    left = "select key, stream_id, spare_of from inbox where heard_at is null and coalesce(stream_id, spare_of) is not null"
    assert rows(dsn, left) == [], "each file has been heard, or passed over"


def _put_by_folder(aws: AwsStandIn, deployed: Deployment, files: Sequence[bytes]) -> None:
    """A channel that nobody can describe, whose files changed their names' ending under way."""
    for counter in range(4):
        key = f"folder/mixed/show-20260304T050607.{counter:06d}.{'ts' if counter < 2 else 'm2ts'}"
        aws.client("s3").put_object(Bucket=deployed.archive_bucket, Key=key, Body=files[counter])


def _is_whole(found: dict[str, Any], session: dict[str, Any], seconds: float) -> None:
    """One play, one hit, every second once."""
    summary = next(document for name, document in found.items() if name.endswith(f"{session['stream_id']}/stream.json"))
    assert session["end_reason"] == "stream_end"
    assert summary["coverage"]["heard_s"] == pytest.approx(seconds, abs=0.3), session["channel_name"]
    assert summary["coverage"]["gap_s"] == pytest.approx(0, abs=0.01)
    assert summary["coverage"]["unaccounted_s"] == 0
    (play,) = summary["plays"]
    hits = [document for name, document in found.items() if f"{session['stream_id']}/hits/" in name]
    assert [hit["hit_id"] for hit in hits] == [play["hit_id"]]
    assert hits[0]["query"]["end_s"] - hits[0]["query"]["begin_s"] == pytest.approx(seconds, abs=1.5)
