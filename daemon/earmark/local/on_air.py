"""`earmark surroundings`: the demo without its daemon and its database, for ever.

    generated music -> HLS origin ────────────────┐
    Stream Start -> event bus -> rule -> queue -> the daemon that is told of it, wherever it runs

Three channels, a third of a programme apart: something is always on air.
"""

import heapq
import json
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path

from earmark import postgres
from earmark.errors import BadSettings
from earmark.local import programme as programmes
from earmark.local.addresses import address, host_and_port
from earmark.local.aws import AwsStandIn
from earmark.local.music import RATE_HZ
from earmark.local.origin import Encoded, Origin
from earmark.local.surroundings import Channel, Surroundings, say, terminated_as_interrupted
from earmark.settings import Settings

CHANNELS = ("late-night-radio", "breakfast-show", "drive-time")
#: From the end of a channel's stream to the beginning of its next.
PAUSE_S = 11.0
#: Of so many streams the stand-in, which holds everything in memory, keeps what was published: an hour's.
STREAMS_KEPT = 120
#: In the queue that is subscribed to the alerts; if nobody reads it, it is emptied then.
ALERTS_MAX = 1_000


def run_surroundings(*, aws: str, origin: str, known_as: str, settings: Settings) -> int:
    """Until Ctrl-C or SIGTERM.

    Args:
        aws: ADDRESS:PORT where the AWS stand-in listens.
        origin: ADDRESS:PORT where the HLS origin listens.
        known_as: HOST:PORT of the origin in playback URLs; empty: as it listens.
        settings: of them, database.dsn: the daemon's database, whose catalogue is filled.
    """
    aws_listens, origin_listens, origin_known_as = address(aws), address(origin), known_as and host_and_port(known_as)
    dsn = settings.database.dsn.get_secret_value()
    if not dsn:
        raise BadSettings("these are the surroundings of a daemon: name its database, whose catalogue they fill, in database.dsn, or EARMARK_DATABASE__DSN")
    with postgres.open_pool(settings.database, application_name="earmark-desk") as pool:
        postgres.check(pool)
    began = time.monotonic()
    with ExitStack() as stack, terminated_as_interrupted():
        served = stack.enter_context(Origin(listen=origin_listens, known_as=origin_known_as))
        around = Surroundings(stack, dsn=dsn, listen=aws_listens)
        open_to_browsers(around.aws, around.deployed.results_bucket)
        say("music", "composing twelve pieces and something to say over them")
        with tempfile.TemporaryDirectory(prefix="earmark-surroundings-") as folder:
            programme = around.catalogue(programmes.generated(Path(folder)))
        encoded = served.encoded("programme", programme.samples, rate_hz=RATE_HZ)
        _say_where(around, served, took_s=time.monotonic() - began)
        with suppress(KeyboardInterrupt):
            _keep_on_air(around, [Channel(name, aws=around.aws, origin=served) for name in CHANNELS], encoded)
    return 0


def open_to_browsers(aws: AwsStandIn, bucket: str) -> None:
    """They sign nothing, and hits and reports are to be looked at."""
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    aws.client("s3").put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def _say_where(around: Surroundings, origin: Origin, *, took_s: float) -> None:
    say("ready", f"after {took_s:.0f} s; a daemon finds all of it by")
    for name, value in {**around.deployed.environment(), "EARMARK_HLS__ALLOW_PRIVATE": origin.address}.items():
        print(f"{'':12}export {name}={value}", flush=True)


def _keep_on_air(around: Surroundings, channels: list[Channel], encoded: Encoded) -> None:
    """Stream after stream on each of them. Raises AwsUnavailable when the stand-in has ended."""
    apart_s = (max(rendition.at_s[-1] for rendition in encoded.values()) + PAUSE_S) / len(channels)
    over: deque[str] = deque()
    agenda = [(time.time() + number * apart_s, number, _streams(channel, encoded, over)) for number, channel in enumerate(channels)]
    while True:
        due, number, streams = agenda[0]
        time.sleep(max(0.0, due - time.time()))
        around.aws.check()
        heapq.heapreplace(agenda, (next(streams), number, streams))
        while len(over) > STREAMS_KEPT:
            _forget(around, over.popleft())


def _streams(channel: Channel, encoded: Encoded, over: deque[str]) -> Iterator[float]:
    """Each step of one stream after another; yields the Unix time of the next."""
    while True:
        broadcast = channel.put_on_air(encoded)
        stream_id = f"st-1{channel.name.title().replace('-', '')}{datetime.fromtimestamp(broadcast.begin, UTC):%Y%m%dT%H%M%S}"
        yield broadcast.on_air
        channel.start(stream_id, broadcast)
        say("on air", f"{stream_id}, for {broadcast.duration_s:.0f} s")
        yield broadcast.begin + broadcast.duration_s
        channel.end(stream_id)
        over.append(stream_id)
        yield time.time() + PAUSE_S


def _forget(around: Surroundings, stream_id: str) -> None:
    """What the daemon published of it, and alerts that nobody reads."""
    s3, bucket = around.aws.client("s3"), around.deployed.results_bucket
    for listed in s3.list_objects_v2(Bucket=bucket, Prefix=f"{stream_id}/").get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=listed["Key"])
    sqs, alerts = around.aws.client("sqs"), around.deployed.alerts_queue_url
    waiting = sqs.get_queue_attributes(QueueUrl=alerts, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    if int(waiting["ApproximateNumberOfMessages"]) > ALERTS_MAX:
        sqs.purge_queue(QueueUrl=alerts)
