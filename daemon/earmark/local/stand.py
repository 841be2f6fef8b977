"""What every demonstration stands on: the surroundings, with a PostgreSQL and a daemon of its own, and a folder for what is left."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import av
import numpy as np

from earmark import postgres
from earmark.errors import EarmarkError
from earmark.local.database import temporary_server
from earmark.local.music import RATE_HZ
from earmark.local.surroundings import Surroundings, say
from earmark.local.worker import Worker
from earmark.model import Float32

LOG = "daemon.log"


class Stand(Surroundings):
    """For as long as the context lasts that it is made in."""

    def __init__(self, stack: ExitStack, *, out: Path) -> None:
        self._stack = stack
        self.out = out
        self.began = time.monotonic()
        say("PostgreSQL", "starting one of our own, for this demo alone")
        dsn = stack.enter_context(temporary_server())
        postgres.migrate(dsn)
        super().__init__(stack, dsn=dsn)
        self.worker: Worker

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
            # Nobody speaks here who has not agreed to it; so what proves a play can be listened to.
            "EARMARK_EVIDENCE__CLIP": "true",
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
