"""A stored file of an hour, through the daemon: how much faster than it plays, what that is made of, and whether memory grows.

AAC in an MP4 with its header at the end, put into a bucket of the stand-in; the daemon is a process of its own on one core,
the database and the stand-in on the others. CPU is the daemon's own, with its children; what PostgreSQL spends is apart.
"""

import json
import operator
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import psycopg
from pydantic import SecretStr

from bench.catalogue_server import backends
from bench.live_processes import family_cpu_s, spent, stat, threads_cpu_s
from bench.rows import row
from earmark.fingerprint.window import fingerprint
from earmark.index.catalogue import Tracks
from earmark.index.upkeep import step
from earmark.local import music, sound
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.database import temporary_server
from earmark.local.speech import speech
from earmark.local.worker import Worker
from earmark.model import Float32
from earmark.postgres import migrate, open_pool
from earmark.settings import Database
from hearing_sounds import at_8_khz
from index_catalogue import recording_of

_row: Final = partial(row, command="make bench-sources ONLY=files")
TRACKS: Final = 120
HOUR_S: Final = 3_600
#: Of the catalogue, in the hour; as many again are not in the catalogue.
PLAYED: Final = 16
LIMIT_S: Final = 300.0
_POSITION: Final = "select (checkpoint->>'position_s')::float8 from stream where channel_name = 'hour.mp4' and checkpoint is not null"


@dataclass(kw_only=True)
class Seen:
    """What a daemon was seen to use while it checked one file."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    server_cpu_s: float = 0.0
    threads: Mapping[str, float] = field(default_factory=dict)
    #: Media seconds on record -> resident bytes.
    resident: dict[float, int] = field(default_factory=dict)
    document: Mapping[str, Any] = field(default_factory=dict)


def rows() -> list[dict[str, Any]]:
    """Measures for two minutes, most of them to make the sound."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = stack.enter_context(temporary_server())
        planted = _hour(folder / "hour.mp4", dsn)
        aws = stack.enter_context(AwsStandIn())
        seen = _checked(aws, aws.deploy(), dsn, folder)
    return _figures(seen, planted)


def _figures(seen: Seen, planted: set[str]) -> list[dict[str, Any]]:
    media_s, found = seen.document["coverage"]["heard_s"], {hit["reference"]["track_id"] for hit in seen.document["plays"]}
    n = f"AAC 128 kbit/s stereo in MP4, {media_s / 60:.0f} minutes, {len(planted)} of {TRACKS} recordings in it, one core"
    early, late = _at(seen.resident, 600), _at(seen.resident, HOUR_S)
    parts = {"compute": "decoding, fingerprint, matching", "hour": "S3, demuxing, look-ups", "other": "publisher, telemetry, all else"}
    shares = dict.fromkeys(parts, 0.0)
    for name, seconds in seen.threads.items():
        # The session's thread has ended by now.
        shares["hour" if name == "ended" else next((part for part in parts if name.startswith(part)), "other")] += seconds
    return [
        _row("stored file, 1 h: times real time, by CPU", media_s / seen.cpu_s, "x", bar=150, met=operator.ge, against=n, digits=1),
        _row("stored file, 1 h: times real time, by the clock", media_s / seen.wall_s, "x", bar=150, met=operator.ge, against=f"{n}, put to JSON", digits=1),
        _row("stored file: memory at 60 minutes over that at 10", late / early, "ratio", bar=1.1, against=f"{late / 2**20:.0f} and {early / 2**20:.0f} MiB"),
        _row("stored file: of its plays told, and none else", len(found & planted) / len(planted) if found <= planted else 0, "share", bar=1, met=operator.ge),
        *(_row(f"stored file: CPU per second, {words}", 1e3 * shares[part] / media_s, "ms/s", against=n) for part, words in parts.items()),
        _row("stored file: CPU per second of the database", 1e3 * seen.server_cpu_s / media_s, "ms/s", against=n),
    ]


def _at(resident: Mapping[float, int], media_s: float) -> int:
    return resident[min(resident, key=lambda position_s: abs(position_s - media_s))]


# ------------------------------------------------------------------------------------------------ the hour


def _hour(path: Path, dsn: str) -> set[str]:
    """The file, and its recordings and others in the catalogue; which of them are in it."""
    migrate(dsn)
    pieces = music.catalogue(TRACKS)
    parts: list[Float32] = []
    with open_pool(Database(dsn=SecretStr(dsn)), application_name="bench") as pool:
        for number, piece in enumerate(pieces):
            samples = music.render(piece)
            Tracks(pool=pool).add([recording_of(piece.track, fingerprint(at_8_khz(samples, music.RATE_HZ)), piece.track.track_id.encode())])
            if number < PLAYED:
                parts += [samples, speech(20, seed=number), music.render(music.stranger(number, like=piece)), sound.silence(3)]
        while step(pool):  # what the daemon would do to a new catalogue within its first minutes, and has nothing to do with files
            pass
    whole = np.concatenate(parts)
    if len(whole) < HOUR_S * music.RATE_HZ:  # talk to the end
        whole = np.concatenate([whole, *(speech(60, seed=100 + n) for n in range(int(HOUR_S - len(whole) / music.RATE_HZ) // 60 + 1))])
    _write(path, whole[: HOUR_S * music.RATE_HZ])
    return {piece.track.track_id for piece in pieces[:PLAYED]}


def _write(path: Path, samples: Float32) -> None:
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("aac", rate=48_000, layout="stereo")
        stream.bit_rate = 128_000
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=48_000, frame_size=1024)
        for begin in range(0, len(samples), 60 * music.RATE_HZ):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None, begin : begin + 60 * music.RATE_HZ]), format="fltp", layout="mono")
            frame.sample_rate = music.RATE_HZ
            for part in resampler.resample(frame):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))


# ------------------------------------------------------------------------------------------------ the daemon


def _checked(aws: AwsStandIn, deployed: Deployment, dsn: str, folder: Path) -> Seen:
    bucket, s3 = deployed.archive_bucket, aws.client("s3")
    environment = {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_QUEUE__WAIT_S": "1",
        "EARMARK_LEASES__RENEW_S": "1",
        "EARMARK_CHECK__PLACE": f"s3://{bucket}/check/",
        "EARMARK_CHECK__COMMIT_EVERY_S": "1",
        # Its threads carry their names.
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "live_observed"), str(Path(__file__).parent.parent)]),
        "LIVE_OBSERVED": str(folder),
        "LIVE_STAGES": "0",
    }
    with Worker(environment=environment, log=folder / "daemon.log") as worker, psycopg.connect(dsn, autocommit=True) as watch:
        process = worker.pid
        _pin(process, {max(os.sched_getaffinity(0))})
        s3.put_object(Bucket=bucket, Key="check/first.wav", Body=_second(folder))  # what is loaded once, is
        _wait(s3, bucket, "check/first.wav", worker)
        data = (folder / "hour.mp4").read_bytes()
        seen, before, server_before, began_cpu_s = Seen(), threads_cpu_s(process), _server_cpu_s(dsn), family_cpu_s(process)
        s3.put_object(Bucket=bucket, Key="check/hour.mp4", Body=data)
        began = time.monotonic()
        while not _there(s3, bucket, "check/hour.mp4"):
            worker.check()
            if time.monotonic() - began > LIMIT_S:
                raise RuntimeError(f"not checked within {LIMIT_S:.0f} s")
            position = watch.execute(_POSITION).fetchone()
            if position and (found := stat(process)):
                seen.resident[position[0]] = found.resident_bytes
            time.sleep(0.1)
        seen.wall_s = time.monotonic() - began
        seen.cpu_s = family_cpu_s(process) - began_cpu_s
        seen.threads = spent(before, threads_cpu_s(process))
        seen.server_cpu_s = sum(spent(server_before, _server_cpu_s(dsn)).values())
        seen.document = json.loads(s3.get_object(Bucket=bucket, Key="check/hour.mp4.earmark.json")["Body"].read())
    return seen


def _server_cpu_s(dsn: str) -> dict[str, float]:
    """Of each of the server's processes that have clients."""
    with open_pool(Database(dsn=SecretStr(dsn)), application_name="bench") as pool:
        return {str(pid): found.cpu_s for pid in backends(pool) if (found := stat(pid))}


def _second(folder: Path) -> bytes:
    sound.write_wav(folder / "first.wav", speech(20, seed=1))
    return (folder / "first.wav").read_bytes()


def _wait(s3: Any, bucket: str, key: str, worker: Worker) -> None:
    until = time.monotonic() + LIMIT_S
    while not _there(s3, bucket, key):
        worker.check()
        if time.monotonic() > until:
            raise RuntimeError(f"{key} was not checked within {LIMIT_S:.0f} s")
        time.sleep(0.1)


def _there(s3: Any, bucket: str, key: str) -> bool:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"{key}.earmark.json")
    return bool(listed.get("KeyCount"))


def _pin(process: int, cores: set[int]) -> None:
    """All of its threads, and those that they will start."""
    for task in Path(f"/proc/{process}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)
