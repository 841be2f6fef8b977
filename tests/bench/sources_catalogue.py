"""From an object in the bucket to a recording that is heard: the stand-in's S3, EventBridge and SQS, a daemon with the role catalogue.

Recordings of four minutes, FLAC and MP3 in turn, made of generated music that no two share. *Searchable* is when a reader
that follows the catalogue as every session does, once a second, knows the recording; at the end ten seconds of each are
looked up, and have to be found.
"""

import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import av
import numpy as np
from pydantic import SecretStr

from bench.live_processes import family_cpu_s
from bench.rows import row
from earmark.fingerprint.window import fingerprint
from earmark.hearing import drive
from earmark.identification import identify
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local import music, sound
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.database import create_database, temporary_server
from earmark.local.worker import Worker
from earmark.model import Float32
from earmark.postgres import Pool, migrate, open_pool
from earmark.settings import Database, Settings
from hearing_sounds import at_8_khz

_row: Final = partial(row, command="make bench-sources")
OBJECTS: Final = 20
SECONDS: Final = 240
_PIECES: Final = 4
_LIMIT_S: Final = 120.0
_BAR_S: Final = 5.0


def rows() -> list[dict[str, Any]]:
    """Measures for two to three minutes."""
    with tempfile.TemporaryDirectory() as folder, temporary_server() as server, AwsStandIn() as aws:
        files = [_written(Path(folder), number) for number in range(OBJECTS)]
        deployed = aws.deploy()
        one_by_one = _Run(server, "one_by_one", aws, deployed, Path(folder))
        waits_s, cpu_s = one_by_one.each(files)
        aws.reset()
        together = _Run(server, "together", aws, aws.deploy(), Path(folder))
        all_s = together.all_at_once(files)
    n = f"{OBJECTS} objects of {SECONDS / 60:.0f} minutes, FLAC and MP3, one after another"
    return [
        _row("catalogue object -> searchable, p95", float(np.percentile(waits_s, 95)), "s", bar=_BAR_S, against=n),
        _row("catalogue object -> searchable, median", float(np.median(waits_s)), "s", against=n),
        _row("catalogue object: CPU of the worker, all in", cpu_s / OBJECTS, "s", against=n),
        _row("catalogue objects put at once -> all searchable", all_s, "s", against=f"{OBJECTS} objects, catalogue.jobs = 1"),
    ]


def _written(folder: Path, number: int) -> tuple[Path, Float32]:
    """A file, and ten seconds of it at 8 kHz."""
    pieces = music.catalogue(OBJECTS * _PIECES)[number * _PIECES : (number + 1) * _PIECES]
    samples = np.concatenate([music.render(piece) for piece in pieces])[: SECONDS * music.RATE_HZ]
    path = folder / f"{number:02d}.{'mp3' if number % 2 else 'flac'}"
    if number % 2:
        _write_mp3(path, samples)
    else:
        sound.write_flac(path, samples, pieces[0].track)
    return path, at_8_khz(samples[100 * music.RATE_HZ : 110 * music.RATE_HZ], music.RATE_HZ)


def _write_mp3(path: Path, samples: Float32) -> None:
    with av.open(str(path), "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=music.RATE_HZ, layout="mono")
        stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="fltp", layout="mono")
        frame.sample_rate = music.RATE_HZ
        for resampled in av.AudioResampler(format=stream.format, layout="mono", rate=music.RATE_HZ, frame_size=1152).resample(frame):
            out.mux(stream.encode(resampled))
        out.mux(stream.encode(None))


class _Run:
    """A daemon with a database and a bucket of its own, and a reader beside it."""

    def __init__(self, server: str, name: str, aws: AwsStandIn, deployed: Deployment, folder: Path) -> None:
        self._dsn = create_database(server, name)
        migrate(self._dsn)
        self._s3, self._bucket = aws.client("s3"), deployed.media_bucket
        place = f"s3://{self._bucket}/catalogue/"
        self._environment = {**deployed.environment(), "EARMARK_DATABASE__DSN": self._dsn, "EARMARK_CATALOGUE__PLACE": place}
        self._log = folder / f"{name}.log"

    def each(self, files: list[tuple[Path, Float32]]) -> tuple[list[float], float]:
        """How long each took, the next one put when it is searchable; and the CPU of the worker and its children."""
        with self._worker() as worker, self._pool() as pool, _Reader(pool) as reader:
            before, waits_s = family_cpu_s(worker.pid), list[float]()
            for number, (path, _) in enumerate(files, 1):
                time.sleep(number * 0.37 % 1)  # the reader has just looked: not always is the next second all before us
                began = time.monotonic()
                self._put(path)
                reader.until(number)
                waits_s.append(time.monotonic() - began)
            cpu_s = family_cpu_s(worker.pid) - before
            reader.check(excerpt for _, excerpt in files)
            return waits_s, cpu_s

    def all_at_once(self, files: list[tuple[Path, Float32]]) -> float:
        with self._worker(), self._pool() as pool, _Reader(pool) as reader:
            began = time.monotonic()
            for path, _ in files:
                self._put(path)
            reader.until(len(files))
            return time.monotonic() - began

    def _put(self, path: Path) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=f"catalogue/{path.name}", Body=path.read_bytes())

    def _worker(self) -> Worker:
        return Worker(environment=self._environment, log=self._log, roles="catalogue")

    def _pool(self) -> Pool:
        return open_pool(Database(dsn=SecretStr(self._dsn)), application_name="bench")


class _Reader:
    """What a session sees: an index that looks once a second, on a thread of its own."""

    def __init__(self, pool: Pool) -> None:
        self._index = Index(pool=pool).open()
        self._tracks = Tracks(pool=pool)
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: self._index.follow(wait=self._over.wait, failed=lambda _: None))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def until(self, tracks: int) -> None:
        deadline = time.monotonic() + _LIMIT_S
        while self._index.last_size.tracks < tracks:
            if time.monotonic() > deadline:
                raise RuntimeError(f"after {_LIMIT_S:.0f} s there are {self._index.last_size.tracks} of {tracks} recordings")
            time.sleep(0.01)

    def check(self, excerpts: Any) -> None:
        """Ten seconds of each are found. Raises RuntimeError."""
        params, size = Settings().matching.params(), self._index.size()
        for number, excerpt in enumerate(excerpts):
            peaks = fingerprint(excerpt)
            if not drive(identify(peaks, len(excerpt) / 8_000, params=params, size=size, threshold_nats=None), self._index.answer):
                raise RuntimeError(f"the recording {number} is in the catalogue and is not found")
