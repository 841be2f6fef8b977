"""All processes of a measurement: origin, PostgreSQL, AWS stand-in, and the daemon on a core of its own, or several."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psycopg
import urllib3
from prometheus_client.parser import text_string_to_metric_families
from psycopg.conninfo import conninfo_to_dict

from bench.live_aws import StandIn
from bench.live_database import catalogued
from bench.live_media import RENDITIONS, Programme
from bench.live_observing import stream_id, stream_number
from bench.live_origin import described
from bench.live_truth import Told
from bench.live_window import Stream
from control_events import ivs as ivs_event
from earmark.local.worker import Worker

TESTS: Final = Path(__file__).parents[1]
_BATCH: Final = 10
#: Each waits for 5 s.
_TRIES: Final = 6


class Machine:
    """As a context: everything is up on entering, and gone after leaving; no stream is live yet.

    Args:
        programmes: that the streams play.
        material: that these are made of.
        tracks: in the catalogue.
        folder: where logs and notes go.
        settings: of the daemon, and what its observation is told, as environment.
        workers: daemons, each on a core of its own if there are more cores than daemons.
    """

    def __init__(self, *, programmes: Sequence[Programme], material: str, tracks: int, folder: Path, settings: Mapping[str, str], workers: int = 1) -> None:
        self.programmes, self.folder = programmes, folder
        self._material, self._tracks, self._settings = material, tracks, settings
        cores = sorted(os.sched_getaffinity(0))
        alone = workers < len(cores) and settings.get("PIN") != "0"
        self.cores = [{core} if alone else set(cores) for core in cores[:workers]] or [set(cores)]
        self._others = set(cores[workers:]) if alone else set(cores)
        self.workers: list[Worker] = []
        self._stack = ExitStack()
        self._numbers = itertools.count()
        #: Numbers of the streams that are live; and when others went off. No number is used twice.
        self.live: list[int] = []
        self.ended: dict[int, float] = {}
        self.origin_file = folder / "origin.json"

    def __enter__(self) -> Self:
        try:
            with _on(self._others):
                self._surroundings()
            for number, cores in enumerate(self.cores):
                self._daemon(number, cores)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _surroundings(self) -> None:
        self.epoch = time.time()
        self.origin_file.write_text(described(self.programmes, self.epoch), encoding="utf-8")
        command = [sys.executable, "-m", "bench.live_origin", str(self.origin_file)]
        self._origin = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=_environment(), start_new_session=True)
        self._stack.callback(self._origin.communicate)
        assert self._origin.stdout is not None
        self.origin_port = int(self._origin.stdout.readline())
        self._http = urllib3.PoolManager(retries=False, timeout=10)
        self.dsn = self._stack.enter_context(catalogued(self._tracks, self._material, max(map(len, RENDITIONS.values()))))
        self.aws = self._stack.enter_context(StandIn())
        self._deployed = self.aws.deploy()
        self._sqs, self._s3 = self.aws.client("sqs"), self.aws.client("s3")

    def _daemon(self, number: int, cores: set[int]) -> None:
        environment = {
            **self._deployed.environment(),
            "EARMARK_DATABASE__DSN": self.dsn,
            "EARMARK_HLS__ALLOW_PRIVATE": f"127.0.0.1:{self.origin_port}",
            "EARMARK_LEASES__WORKER": f"bench-{number}",
            # What is asked is how much can be heard; how much is claimed is another question.
            "EARMARK_LEASES__STREAMS_MAX": "5000",
            "EARMARK_LEASES__BUSY_SHARE_MAX": "1",
            "PYTHONPATH": os.pathsep.join([str(TESTS / "bench" / "live_observed"), _path()]),
            "LIVE_OBSERVED": str(self.folder),
            **self._settings,
        }
        worker = Worker(environment=environment, log=self.folder / f"daemon-{number}.log")
        with _on(cores):
            self.workers.append(self._stack.enter_context(worker))

    # ------------------------------------------------------------------------------------------------ processes

    @property
    def daemons(self) -> list[int]:
        """Their processes."""
        return [worker._process.pid for worker in self.workers if worker._process is not None]

    @property
    def pids(self) -> dict[str, int]:
        """Of those beside the daemon."""
        postmaster = Path(str(conninfo_to_dict(self.dsn)["host"])) / "data" / "postmaster.pid"
        return {"PostgreSQL": int(postmaster.read_text().partition("\n")[0]), "AWS stand-in": self.aws.pid, "origin": self._origin.pid}

    def floor(self, streams: int, seconds: float) -> dict[str, float]:
        """What `bench.live_floor` says, on the daemon's core (the first one's)."""
        command = [sys.executable, "-m", "bench.live_floor", str(self.origin_port), str(self.origin_file), str(streams), str(seconds)]
        with _on(self.cores[0]):
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=_environment())
        said, _ = process.communicate(timeout=seconds + 120)
        assert process.returncode == 0, "the decode-only floor could not be measured: see above"
        found: dict[str, float] = json.loads(said)
        return found

    # ------------------------------------------------------------------------------------------------ streams

    def stream(self, number: int) -> Stream:
        return Stream.of(number, [programme.cut for programme in self.programmes], self.epoch)

    def go_live(self, count: int) -> float:
        """So many more; returns the seconds that sending the events of their starts took."""
        numbers = list(itertools.islice(self._numbers, count))
        for number in numbers:
            channel = self.aws.put_channel(f"channel-{number}")
            url = f"http://127.0.0.1:{self.origin_port}/{self.stream(number).name}/master.m3u8"
            self.aws.go_live(channel, stream_id(number), url)
        self.live += numbers
        return self._announce("Stream Start", numbers)

    def go_off(self, count: int) -> None:
        """So many fewer: those that came last."""
        numbers = self.live[len(self.live) - count :]
        del self.live[len(self.live) - count :]
        self.ended |= dict.fromkeys(numbers, time.time())
        for number in numbers:
            self.aws.go_offline(self._channel(number))
        self._announce("Stream End", numbers)

    def _announce(self, what: str, numbers: Sequence[int]) -> float:
        begun = time.monotonic()
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        bodies = [json.dumps(ivs_event(what, stream_id=stream_id(number), channel=self._channel(number), time=now)) for number in numbers]
        for begin in range(0, len(bodies), _BATCH):
            entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies[begin : begin + _BATCH])]
            self._sqs.send_message_batch(QueueUrl=self._deployed.queue_url, Entries=entries)
        return time.monotonic() - begun

    @staticmethod
    def _channel(number: int) -> str:
        return f"arn:aws:ivs:us-east-1:123456789012:channel/channel-{number}"

    # ------------------------------------------------------------------------------------------------ what they say

    def metrics(self) -> dict[str, float]:
        """The daemons' together, as `name` or `name{label="value"}`."""
        found: dict[str, float] = defaultdict(float)
        for worker in self.workers:
            worker.check()
            for family in text_string_to_metric_families(_patiently(worker.metrics)):
                for sample in family.samples:
                    labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                    found[f"{sample.name}{{{labels}}}" if labels else sample.name] += sample.value
        return found

    def asked_of_origin(self) -> dict[str, Any]:
        """Since it was asked last."""
        found: dict[str, Any] = self._http.request("GET", f"http://127.0.0.1:{self.origin_port}/figures").json()
        return found

    def query(self, text: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return connection.execute(text.encode()).fetchall()

    def hits(self, until: float) -> Iterator[Told]:
        """That were in S3 by then, as they are now."""
        for key, at in self.aws.puts().items():
            bucket, _, name = key.partition("/")
            if "/hits/" in name and at <= until:
                document = json.loads(self._s3.get_object(Bucket=bucket, Key=name)["Body"].read())
                yield Told.of(document, stream_number(document["stream"]["id"]), at)


def _patiently(ask: Callable[[], str]) -> str:
    """Who has more to do than it can may be slow to say so."""
    for _ in range(_TRIES - 1):
        with suppress(urllib3.exceptions.HTTPError):
            return ask()
    return ask()


def _path() -> str:
    """Our own modules, and whatever else was to be found first."""
    return os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EARMARK_"))}
    return {**kept, "PYTHONPATH": _path(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """What is started meanwhile runs on these."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
