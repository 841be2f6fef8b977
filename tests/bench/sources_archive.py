"""How soon after an archive file is in S3 its hit is: twenty MediaLive channels at once, files of two seconds, a daemon with its usual settings.

Every channel plays three excerpts of generated recordings, and puts its files at the same moments as all others. Each hit is
traced back to the file that was being heard when it went on record. Both ends are by the stand-in's clock: from the answer to
the PutObject of that file to the answer to the first PutObject of the hit.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from archive_files import Long
from bench.live_aws import StandIn
from bench.rows import row
from earmark.local import music, sound
from earmark.local.archiving import archive_files
from earmark.local.aws import Deployment
from earmark.local.database import create_database, database_dsn, temporary_server
from earmark.local.worker import Worker
from earmark.model import Float32
from earmark.postgres import migrate
from service_daemon import catalogued, until
from service_daemon import rows as rows_of

COMMAND: Final = "make bench-sources ONLY=archive"
CHANNELS: Final = 20
FILE_S: Final = 2.0
TRACKS: Final = 5
EXCERPTS, EXCERPT_S, PAUSE_S = 3, 16.0, 6.0
#: Packets of a picture behind each of the sound: a channel of a megabit per second.
PICTURES: Final = 10
_SECONDS: Final = "files of 2 s at 1 Mbit/s, put at the same moment by all channels"


def rows() -> list[dict[str, Any]]:
    """Measures for some two minutes."""
    with temporary_server() as server, StandIn() as aws, tempfile.TemporaryDirectory() as folder:
        dsn = database_dsn(server, "bench_archive")
        migrate(create_database(server, "bench_archive"))
        files = [list(_files(programme)) for programme in _programmes(catalogued(dsn, TRACKS))]
        deployed = aws.deploy()
        environment = {**deployed.environment(), "EARMARK_DATABASE__DSN": dsn}
        with Worker(environment=environment, log=Path(folder, "daemon.log")) as worker:
            _play(aws, deployed, worker, dsn, files)
            ways = _ways(aws, deployed, dsn)
    seconds = [way.in_s3 - way.put for way in ways]
    stages = {
        "until it is in its channel's inbox": [way.in_inbox - way.put for way in ways],
        "then until it is heard and the hit on record": [way.on_record - way.in_inbox for way in ways],
        "then until the hit is in S3": [way.in_s3 - way.on_record for way in ways],
    }
    expected = CHANNELS * EXCERPTS
    figure = f"archive file PutObject to hit in S3, {CHANNELS} channels at once"
    return [
        row(f"{figure}, p95", np.percentile(seconds, 95), "s", bar=2.0, against=_SECONDS, command=COMMAND),
        row(f"{figure}, p50", np.median(seconds), "s", against=_SECONDS, command=COMMAND),
        row(f"{figure}, worst", max(seconds), "s", against=_SECONDS, command=COMMAND),
        row("hits of archives", len(seconds), "hits", bar=expected, met=lambda value, bar: value == bar, against="excerpts that were played", command=COMMAND),
        *(row(f"of that, {stage}, p95", np.percentile(took, 95), "s", against="of each hit", command=COMMAND) for stage, took in stages.items()),
    ]


def _programmes(recordings: Sequence[Float32]) -> Iterator[Float32]:
    """Of each kind of channel: excerpts of different recordings with pauses between."""
    for kind in range(TRACKS):
        parts = [sound.silence(PAUSE_S)]
        for place in range(EXCERPTS):
            begin = round((12 + 9 * place + kind) * music.RATE_HZ)
            recording = recordings[(kind + place) % TRACKS]
            parts += [recording[begin : begin + round(EXCERPT_S * music.RATE_HZ)], sound.silence(PAUSE_S)]
        yield np.concatenate(parts)


def _files(programme: Float32) -> Iterator[bytes]:
    for data in archive_files(programme, file_s=FILE_S):
        long = Long(data, pictures=PICTURES)
        yield long[0 : len(long)]


def _play(aws: StandIn, deployed: Deployment, worker: Worker, dsn: str, files: Sequence[Sequence[bytes]]) -> None:
    s3 = aws.client("s3")
    for channel in range(CHANNELS):
        channel_arn = aws.put_archive_channel(f"channel-{channel}", f"s3ssl://{deployed.archive_bucket}/{_place(channel)}", rollover_s=2)
        aws.put_medialive_event(channel_arn, "RUNNING")
    running = "select count(*) from stream where state = 'running' and checkpoint is not null"
    until(lambda: rows_of(dsn, running) == [{"count": CHANNELS}], "the daemon listens to all channels", worker)
    with ThreadPoolExecutor(8) as putting:
        began = time.monotonic()
        for counter in range(len(files[0])):
            time.sleep(max(0.0, began + counter * FILE_S - time.monotonic()))
            puts = [(_key(channel, counter), files[channel % TRACKS][counter]) for channel in range(CHANNELS)]
            list(putting.map(lambda put: s3.put_object(Bucket=deployed.archive_bucket, Key=put[0], Body=put[1]), puts))
    time.sleep(FILE_S)
    worker.check()


def _place(channel: int) -> str:
    return f"channel-{channel:02d}/show"


def _key(channel: int, counter: int) -> str:
    return f"{_place(channel)}.{counter:06d}.ts"


@dataclass(frozen=True)
class Way:
    """Of one hit: Unix times of what happened to it and to its file, in order."""

    put: float
    in_inbox: float
    on_record: float
    in_s3: float


def _ways(aws: StandIn, deployed: Deployment, dsn: str) -> list[Way]:
    """A file is reported as heard when the next one is asked for, which is right after what came of it went on record."""
    puts = aws.puts()
    in_s3 = {key.rpartition("/")[2].removesuffix(".json"): at for key, at in puts.items() if key.startswith(deployed.results_bucket) and "/hits/" in key}
    told = rows_of(
        dsn,
        """
        select hit_id, key, extract(epoch from arrived_at)::float8 as in_inbox, extract(epoch from opened_at)::float8 as on_record
          from play cross join lateral (
                 select key, arrived_at from inbox where inbox.stream_id = play.stream_id and heard_at >= opened_at order by heard_at limit 1) file""",
    )
    ways = [Way(puts[f"{deployed.archive_bucket}/{hit['key']}"], hit["in_inbox"], hit["on_record"], in_s3[hit["hit_id"]]) for hit in told]
    assert ways, "no hit came"
    return ways
