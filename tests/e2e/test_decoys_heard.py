"""Decoys in a daemon: a channel's sound is also heard backwards, which shows in the metrics and nowhere else."""

import math
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from earmark.local import music
from earmark.local.aws import AwsStandIn
from earmark.local.worker import Worker
from earmark.matching.confidence import threshold_nats
from earmark.model import CatalogueSize
from service_daemon import FILE_S, archived, catalogued, documents, log_lines, rows, until

RATE = 1e-4


def samples_of(worker: Worker) -> dict[tuple[str, str], float]:
    """Of the metrics without labels, or with one: by name and the label's value."""
    families = text_string_to_metric_families(worker.metrics())
    return {(sample.name, next(iter(sample.labels.values()), "")): sample.value for family in families for sample in family.samples}


def test_a_stream_is_heard_backwards_too_and_only_the_metrics_know(dsn: str, aws: AwsStandIn, tmp_path: Path) -> None:
    (recording,) = catalogued(dsn)
    stranger = music.render(music.stranger(like=music.catalogue(1)[0]))
    played = np.concatenate([recording[: 40 * music.RATE_HZ], stranger[: 44 * music.RATE_HZ]])
    files = archived(played)
    before = rows(dsn, "select count(*) as n, sum(postings) as postings from doc")
    deployed = aws.deploy()
    environment = {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_DECOYS__SHARE": "1",
        "EARMARK_LEASES__RENEW_S": "1",
        "EARMARK_QUEUE__WAIT_S": "1",
        "EARMARK_MEDIALIVE__GAP_WAIT_S": "3",
        "EARMARK_MEDIALIVE__END_GRACE_S": "1",
    }
    log = tmp_path / "daemon.log"
    with Worker(environment=environment, log=log) as worker:
        at_first = samples_of(worker)
        assert at_first["earmark_false_alarms_per_hour", "configured"] == RATE
        assert math.isnan(at_first["earmark_false_alarms_per_hour", "extrapolated"])
        asked = threshold_nats(RATE, CatalogueSize(tracks=1, seconds=len(recording) / music.RATE_HZ, postings=0))
        assert at_first["earmark_threshold_nats", ""] == pytest.approx(asked)
        assert at_first["earmark_decoy_seconds_total", "heard"] == 0

        channel_arn = aws.put_archive_channel("show", f"s3ssl://{deployed.archive_bucket}/show/part-", rollover_s=12)
        aws.put_medialive_event(channel_arn, "RUNNING")
        for counter, data in enumerate(files):
            aws.client("s3").put_object(Bucket=deployed.archive_bucket, Key=f"show/part-20261121T120000.{counter:06d}.ts", Body=data)
        until(lambda: rows(dsn, f"select 1 from stream where (checkpoint->>'heard_s')::float > {13.5 * FILE_S}"), "all files are heard", worker)
        aws.put_medialive_event(channel_arn, "IDLE")
        until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the session has ended", worker)
        until(lambda: samples_of(worker)["earmark_decoy_seconds_total", "heard"] > 0, "it is heard backwards", worker)
        until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", worker)
        counted = samples_of(worker)

    assert counted["earmark_decoy_seconds_total", "heard"] == pytest.approx(84, abs=0.5)
    assert counted["earmark_decoy_seconds_total", "left_out"] == 0
    # A minute and a half says nothing of the rate, and nothing is said.
    assert math.isnan(counted["earmark_false_alarms_per_hour", "extrapolated"])
    assert {row["track_id"] for row in rows(dsn, "select track_id from play")} == {music.catalogue(1)[0].track.track_id}
    hits = [document for key, document in documents(aws, deployed).items() if "/hits/" in key]
    assert len(hits) == len(rows(dsn, "select 1 from play"))
    assert rows(dsn, "select count(*) as n, sum(postings) as postings from doc") == before
    assert [line["event"] for line in log_lines(log) if "decoy" in line["event"]] == []
