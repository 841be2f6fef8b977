"""A MediaLive channel whose every event is lost, heard by a worker that ECS is asked to leave alone meanwhile.

No channel event is sent, and the archive's bucket has no notifications: ListChannels and the listing of the place are all
there is. What proves the whole of it wired together is that the recording is on record.
"""

from pathlib import Path
from typing import Any

import pytest

from control_ecs import EcsAgent
from earmark.local import music
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.worker import Worker
from service_daemon import archived, catalogued, rows, until


@pytest.fixture
def deployed(aws: AwsStandIn) -> Deployment:
    deployment = aws.deploy()
    aws.client("s3").create_bucket(Bucket="silent-archive")
    return deployment


@pytest.fixture
def agent():
    running = EcsAgent()
    yield running
    running.close()


def test_what_no_event_told_of_is_heard_and_ends(dsn: str, aws: AwsStandIn, deployed: Deployment, agent: EcsAgent, tmp_path: Path) -> None:
    (samples,) = catalogued(dsn)
    files = archived(samples[10 * music.RATE_HZ : 34 * music.RATE_HZ])
    medialive, s3 = aws.client("medialive"), aws.client("s3")
    channel_id = _channel(medialive, "s3ssl://silent-archive/concert-")
    environment = {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_LEASES__RENEW_S": "1",
        "EARMARK_QUEUE__WAIT_S": "1",
        "EARMARK_RECONCILE__EVERY_S": "2",
        "EARMARK_AWS__MEDIALIVE_CALLS_PER_S": "100",
        "EARMARK_MEDIALIVE__END_GRACE_S": "3",
        "ECS_AGENT_URI": agent.uri,
    }
    with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
        medialive.start_channel(ChannelId=channel_id)
        medialive.describe_channel(ChannelId=channel_id)  # the stand-in's channels move on when they are looked at
        until(lambda: rows(dsn, "select from stream where adopted and state = 'running'"), "the channel is adopted", worker)
        for counter, data in enumerate(files):
            s3.put_object(Bucket="silent-archive", Key=f"concert-20261121T120000.{counter:06d}.ts", Body=data)
        until(lambda: rows(dsn, "select from play where state = 'open'"), "the recording is on record", worker, limit_s=90)
        until(lambda: agent.asked, "the task is protected", worker)
        medialive.stop_channel(ChannelId=channel_id)
        medialive.describe_channel(ChannelId=channel_id)
        until(lambda: rows(dsn, "select from stream where state = 'ended'"), "the session has ended", worker)
        until(lambda: agent.asked[-1] == {"ProtectionEnabled": False}, "the task is released", worker)
        counted = worker.metrics()
    (ended,) = rows(dsn, "select end_reason, stop_reason, adopted, accounted from stream")
    assert ended == {"end_reason": "stream_end", "stop_reason": "channel_stopped", "adopted": True, "accounted": True}
    assert rows(dsn, "select track_id from play") == [{"track_id": music.catalogue(1)[0].track.track_id}]
    assert agent.asked == [{"ProtectionEnabled": True, "ExpiresInMinutes": 60}, {"ProtectionEnabled": False}]
    assert f"earmark_archive_segments_found_total {len(files)}.0" in counted
    assert 'earmark_swept_total{result="adopted"} 1.0' in counted
    assert 'earmark_swept_total{result="failed"} 0.0' in counted


def _channel(medialive: Any, url: str) -> str:
    destination = {"Id": "archive", "Settings": [{"Url": url}]}
    group = {"OutputGroupSettings": {"ArchiveGroupSettings": {"Destination": {"DestinationRefId": "archive"}, "RolloverInterval": 12}}, "Outputs": []}
    settings = {"AudioDescriptions": [], "VideoDescriptions": [], "OutputGroups": [group], "TimecodeConfig": {"Source": "EMBEDDED"}}
    made = medialive.create_channel(Name="concert", Destinations=[destination], EncoderSettings=settings)
    return made["Channel"]["Id"]
