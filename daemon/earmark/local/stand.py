"""What every demonstration stands on: a PostgreSQL and a stand-in for AWS of its own, a daemon, and a folder for what is left."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import av
import numpy as np
from pydantic import SecretStr

from earmark import ingest, postgres
from earmark.errors import EarmarkError
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.database import temporary_server
from earmark.local.music import RATE_HZ
from earmark.local.programme import Programme, Recording
from earmark.local.worker import Worker
from earmark.model import Float32
from earmark.reference import Source
from earmark.settings import Database

LOG = "daemon.log"


class Stand:
    """For as long as the context lasts that it is made in."""

    def __init__(self, stack: ExitStack, *, out: Path) -> None:
        self._stack = stack
        self.out = out
        self.began = time.monotonic()
        say("PostgreSQL", "starting one of our own, for this demo alone")
        self.dsn = stack.enter_context(temporary_server())
        postgres.migrate(self.dsn)
        say("AWS", "starting a stand-in for EventBridge, SQS, S3, SNS and IVS")
        self.aws: AwsStandIn = stack.enter_context(AwsStandIn())
        self.deployed: Deployment = self.aws.deploy()
        self.worker: Worker

    def catalogue(self, programme: Programme) -> Programme:
        """Its recordings into the catalogue; the programme as the catalogue calls them."""
        began = time.monotonic()
        sources = [_source(recording) for recording in programme.recordings]
        generated = all(recording.track.isrc for recording in programme.recordings)
        with postgres.open_pool(Database(dsn=SecretStr(self.dsn)), application_name="earmark-demo") as pool:
            # Starting processes takes longer than twelve short pieces do.
            results = list(ingest.ingest(sources, pool=pool, jobs=1 if generated else None))
        told = zip(programme.recordings, results, strict=True)
        known_as = {recording.track.track_id: result.track_id for recording, result in told if result.track_id}
        seconds = sum(result.duration_s for result in results)
        say("catalogue", f"{len(set(known_as.values()))} recordings, {seconds / 60:.0f} minutes, fingerprinted in {time.monotonic() - began:.1f} s")
        return programme.known_as(known_as)

    def start(self, *, roles: str = "streams", **settings: str) -> None:
        """The daemon; a setting is given as its section and key, joined by two underscores."""
        say("daemon", f"starting `earmark run{'' if roles == 'streams' else f' --role {roles}'}` as a process of its own")
        environment = {
            **self.deployed.environment(),
            "EARMARK_DATABASE__DSN": self.dsn,
            "EARMARK_LEASES__WORKER": "demo",
            # Whoever was killed is missed after this; the origin's window of 12 s bridges it without a gap.
            "EARMARK_LEASES__TTL_S": "4",
            "EARMARK_LEASES__RENEW_S": "1",
            "EARMARK_RESULTS__SUMMARY_EVERY_S": "2",
            # A long poll cannot be interrupted, and nobody wants to wait for it at the end.
            "EARMARK_QUEUE__WAIT_S": "1",
            "EARMARK_LOG__FORMAT": "json",
            **{f"EARMARK_{name.upper()}": value for name, value in settings.items()},
        }
        self.worker = self._stack.enter_context(Worker(environment=environment, log=self.out / LOG, roles=roles))

    def folder(self) -> Path:
        """A temporary one."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-demo-")))

    @property
    def took_s(self) -> float:
        return time.monotonic() - self.began

    def save(self, bucket: str, folder: Path) -> list[tuple[str, int]]:
        """What a bucket holds, as files; their keys and bytes."""
        s3, keys = self.aws.client("s3"), []
        for listed in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            file = folder / listed["Key"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(s3.get_object(Bucket=bucket, Key=listed["Key"])["Body"].read())
            keys.append((listed["Key"], int(listed["Size"])))
        return keys


def prepare(out: Path, left: Sequence[str]) -> None:
    """Remove what an earlier demo left, and nothing else."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out / "s3", ignore_errors=True)
        for name in (*left, LOG):
            (out / name).unlink(missing_ok=True)
        (out / LOG).touch()  # now, and not after the music has been composed
    except OSError as error:
        raise EarmarkError(f"the folder {out} cannot be written: {error.strerror or error}") from None


def write_m4a(path: Path, samples: Float32) -> None:
    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=RATE_HZ, layout="mono", options={"b": "96000"})
        for begin in range(0, len(samples), RATE_HZ):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[begin : begin + RATE_HZ])[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM, or closing the terminal, ends the demo as Ctrl-C does: by way of every clean-up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _source(recording: Recording) -> Source:
    """What the generator knows of its pieces; a visitor's files are described by their own tags."""
    track, fields = recording.track, ("title", "artists", "album", "label", "isrc", "rights_holder")
    if not track.isrc:
        return Source(path=recording.file)
    return Source(path=recording.file, track_id=track.track_id, metadata={name: getattr(track, name) for name in fields})


def say(what: str, text: str) -> None:
    print(f"{what:<12}{text}", flush=True)
