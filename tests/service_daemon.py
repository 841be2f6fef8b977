"""What tests of a whole daemon share: music in its catalogue and on air, its log, what it left in S3, and patience with a limit."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from psycopg.rows import dict_row

from earmark.fingerprint.window import fingerprint
from earmark.index.catalogue import Tracks
from earmark.local import music, sound
from earmark.local.archiving import archive_files
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from earmark.model import Float32
from earmark.postgres import open_pool
from earmark.settings import Database
from hearing_sounds import at_8_khz
from hits_samples import validator
from index_catalogue import recording_of

LIMIT_S = 60
#: Of an archive file.
FILE_S = 6.0


def catalogued(dsn: str, count: int = 1) -> list[Float32]:
    """Generated recordings, in the catalogue, as samples at music.RATE_HZ."""
    rendered = []
    with open_pool(Database(dsn=dsn)) as pool:
        for piece in music.catalogue(count):
            samples = music.render(piece)
            peaks = fingerprint(at_8_khz(samples, music.RATE_HZ))
            Tracks(pool=pool).add([recording_of(piece.track, peaks, piece.track.track_id.encode())])
            rendered.append(samples)
    return rendered


def programme(samples: Float32, *, begin_s: float, music_s: float, before_s: float = 1, after_s: float = 2) -> Float32:
    """A part of a recording, with silence on both sides."""
    part = samples[round(begin_s * music.RATE_HZ) : round((begin_s + music_s) * music.RATE_HZ)]
    return np.concatenate([sound.silence(before_s), part, sound.silence(after_s)])


def archived(samples: Float32) -> list[bytes]:
    return archive_files(samples, file_s=FILE_S)


def environment_of(deployed: Deployment, dsn: str, origin: Origin) -> dict[str, str]:
    """Of a daemon that reads the deployment's queue and may reach the origin."""
    return {**deployed.environment(), "EARMARK_DATABASE__DSN": dsn, "EARMARK_HLS__ALLOW_PRIVATE": origin.address}


def go_on_air(aws: AwsStandIn, origin: Origin, stream_id: str, samples: Float32) -> str:
    """A live channel and the event of its start; returns the channel's ARN."""
    broadcast = origin.publish(stream_id, samples, rate_hz=music.RATE_HZ)
    channel_arn = aws.put_channel(f"channel-of-{stream_id}")
    aws.go_live(channel_arn, stream_id, broadcast.url)
    aws.put_stream_event(channel_arn, stream_id, "Stream Start")
    return channel_arn


def until(condition: Callable[[], Any], what: str, *workers: Worker, limit_s: float = LIMIT_S) -> None:
    """Wait for it, while the workers are alive."""
    deadline = time.monotonic() + limit_s
    while not condition():
        for worker in workers:
            worker.check()
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.1)


def rows(dsn: str, query: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
    with psycopg.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def run_sql(dsn: str, query: str, *parameters: object) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(query.encode(), parameters)


def documents(aws: AwsStandIn, deployed: Deployment) -> dict[str, Any]:
    """Every JSON document in the results bucket, by key, each as its schema has it; a hit's evidence is where the hit says."""
    s3 = aws.client("s3")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=deployed.results_bucket)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", ()) if entry["Key"].endswith(".json")]
    found = {key: json.loads(s3.get_object(Bucket=deployed.results_bucket, Key=key)["Body"].read()) for key in keys}
    for key, document in found.items():
        folder, name = key.split("/")[-2:]
        validator({"hits": "hit", "evidence": "evidence"}.get(folder, name.removesuffix(".json"))).validate(document)
        if folder == "hits":
            assert document["evidence"]["key"] in found
    return found


def log_lines(path: Path) -> list[dict[str, Any]]:
    """The daemon's log, which is JSON when it is no terminal; a line that is none is a traceback, and fails."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
