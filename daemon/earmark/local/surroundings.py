"""What a daemon has around it: a deployment in a stand-in for AWS, recordings in its catalogue, and channels that go on air."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pydantic import SecretStr

from earmark import ingest, postgres
from earmark.local.addresses import LOOPBACK, Address
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.origin import Broadcast, Encoded, Origin
from earmark.local.programme import Programme, Recording
from earmark.reference import Source
from earmark.settings import Database


class Surroundings:
    """For as long as the context lasts that it is made in."""

    def __init__(self, stack: ExitStack, *, dsn: str, listen: Address = LOOPBACK) -> None:
        """`dsn`: of a database with the daemon's tables in it. `listen`: where the stand-in does."""
        self.dsn = dsn
        say("AWS", "starting a stand-in for EventBridge, SQS, S3, SNS and IVS")
        self.aws: AwsStandIn = stack.enter_context(AwsStandIn(listen))
        self.deployed: Deployment = self.aws.deploy()

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


class Channel:
    """An IVS channel of the stand-in, whose streams come from the origin."""

    def __init__(self, name: str, *, aws: AwsStandIn, origin: Origin) -> None:
        self.name = name
        self._aws = aws
        self._origin = origin
        self._arn = aws.put_channel(name)

    def put_on_air(self, encoded: Encoded) -> Broadcast:
        """From now on; nobody is told."""
        return self._origin.put_on_air(self.name, encoded)

    def start(self, stream_id: str, broadcast: Broadcast) -> None:
        """Live, and announced."""
        self._aws.go_live(self._arn, stream_id, broadcast.url)
        self._aws.put_stream_event(self._arn, stream_id, "Stream Start")

    def end(self, stream_id: str) -> None:
        self._aws.go_offline(self._arn)
        self._aws.put_stream_event(self._arn, stream_id, "Stream End")


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
