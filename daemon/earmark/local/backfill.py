"""`earmark backfill`: which recordings a bucket holds, what of them nobody has heard, and how far the daemons are with it.

What is to be heard is put on record, and heard by whatever daemons there are, in the time that live streams leave them:
Ctrl-C ends the waiting and nothing else, and running the command again goes on waiting for the same.
"""

import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from earmark import cost
from earmark.audio.recording import Recording, Request
from earmark.audio.shelves import began, channel_of
from earmark.audio.shelves import recordings as shelved
from earmark.aws import Clients
from earmark.control import archives
from earmark.control.archives import Planned
from earmark.control.channels import Channels
from earmark.errors import BadSettings
from earmark.hits.text import clock_time, counted, shown
from earmark.local.desk import complain, opened
from earmark.local.progress import Progress
from earmark.postgres import Pool, statement, transaction
from earmark.settings import Prices, Settings
from earmark.telemetry import Metrics

LOOK_S = 1.0
#: Without a daemon nothing is heard: that is said once it has lasted so long.
NOBODY_S = 30.0
_CHANNEL = re.compile(r"arn:[a-z0-9-]+:ivs:[a-z0-9-]+:(?P<account>[0-9]{12}):channel/(?P<id>[A-Za-z0-9]+)")
#: Seconds of media that one worker hears in a second of its compute thread: a low figure, for an estimate.
PACE = 60.0
#: For an estimate: IVS's segments last some ten seconds.
_SEGMENT_S = 10.5
_SAYS = {
    "whole": "all of it",
    "gaps": "what was missed",
    "heard": "nothing: it was heard",
    "waits": "nothing: it waits for its turn, or is being heard",
    "live": "nothing: its stream is on, or its recording has not ended",
    "empty": "nothing: there is nothing in it",
}


@dataclass
class Requests:
    """To S3, so far."""

    made: dict[Request, int] = field(default_factory=lambda: {"get": 0, "list": 0})

    def __call__(self, operation: Request) -> None:
        self.made[operation] += 1


def backfill(archive: str, *, since: datetime | None, until: datetime | None, dry_run: bool, wait: bool, settings: Settings) -> int:
    """1 if any session failed. Raises BadSettings, StreamNotFound, AwsRefused."""
    if since and until and since >= until:
        raise BadSettings(f"--from {since:%Y-%m-%dT%H:%MZ} is not before --to {until:%Y-%m-%dT%H:%MZ}: nothing can have begun between them")
    clients, asked = Clients(settings.aws), Requests()
    root = Recording(s3=clients.s3, place=_place(archive, clients, settings), bytes_max=settings.hls.segment_bytes_max, asked=asked)
    with opened(None, settings, fill=False) as pool:
        planned = list(_plan(pool, root, since=since, until=until))
        if not planned:
            raise BadSettings(f"no recording began in that time under {root.place}" if since or until else f"there is no recording under {root.place}")
        for one in planned:
            print(shown(_line(one)))
        to_do = [one for one in planned if one.plan in ("whole", "gaps")]
        print(_sum(to_do, settings.prices, asked))
        if dry_run:
            return 0
        waiting = [stream_id for one in planned if one.plan == "waits" for stream_id in one.stream_ids]
        with transaction(pool) as connection:
            waiting += [stream_id for one in to_do for stream_id in archives.open_planned(connection, one)]
        if not waiting or not wait:
            print(f"{counted(len(waiting), 'session')} to be heard" if waiting else "nothing is left to be heard")
            return 0
        return _watch(pool, waiting)


def _place(archive: str, clients: Clients, settings: Settings) -> str:
    found = _CHANNEL.fullmatch(archive)
    if found:
        channels = Channels(ivs=clients.ivs, medialive=clients.medialive, settings=settings.aws, meter=Metrics.build(), wait=threading.Event().wait)
        bucket = channels.recording_bucket(archive)
        if bucket is None:
            raise BadSettings(f"the IVS channel {archive} is not recorded now: name the place of its earlier recordings, s3://BUCKET/ivs/v1/…")
        return f"s3://{bucket}/ivs/v1/{found['account']}/{found['id']}"
    if not re.fullmatch(r"s3://[^/]+(/.*)?", archive):
        raise BadSettings(f"{shown(archive)} is neither the ARN of an IVS channel (arn:aws:ivs:…:channel/…) nor a place of recordings (s3://BUCKET/PREFIX)")
    return archive


def _plan(pool: Pool, root: Recording, *, since: datetime | None, until: datetime | None) -> Iterator[Planned]:
    with Progress("recordings") as progress:
        for number, place in enumerate(shelved(root, since=since, until=until), 1):
            progress.at(place.rpartition("/")[2], number, number)
            recording = archives.shelved(place, root.another(place).about())
            at = recording.started_at or began(place)
            if at is not None and ((since and at < since) or (until and at >= until)):
                continue
            if recording.channel_arn and channel_of(place) not in ("", recording.channel_arn.rpartition("/")[2]):
                complain([f"{place} is left out: it says that it is a recording of {recording.channel_arn}, and lies in another channel's folder"])
                continue
            with statement(pool) as connection:
                yield archives.plan(connection, recording)


def _line(one: Planned) -> str:
    recording = one.recording
    at = f"{recording.started_at:%Y-%m-%d %H:%M:%S}" if recording.started_at else "at no known time   "
    hear = f" ({clock_time(one.hear_s)})" if one.hear_s else ""
    return f"{at}  {clock_time(recording.duration_s):>8}  {recording.place}  {_SAYS[one.plan]}{hear}"


def _sum(to_do: Sequence[Planned], prices: Prices, asked: Requests) -> str:
    hear_s = sum(one.hear_s for one in to_do)
    usd = cost.compute(prices, seconds=hear_s / PACE) + cost.database(prices, media_s=hear_s)
    usd += cost.requests(prices, gets=hear_s / _SEGMENT_S + 6 * len(to_do) + asked.made["get"], lists=len(to_do) + asked.made["list"])
    return (
        f"{counted(len(to_do), 'recording')} to be heard, {hear_s / 3600:.2f} hours: some US$ {usd:.4f} "
        f"for workers' time, the database and S3's requests (prices of {prices.as_of})"
    )


def _watch(pool: Pool, stream_ids: Sequence[str]) -> int:
    began_at, said = time.monotonic(), False
    with Progress("backfill") as shown_progress:
        while True:
            with statement(pool) as connection:
                far = archives.progress(connection, stream_ids)
                nobody = archives.listeners(connection) == 0
            shown_progress.at(f"{far.heard_s / 3600:.2f} h heard", far.done, far.of)
            if far.done >= far.of:
                break
            if nobody and not said and time.monotonic() - began_at > NOBODY_S:
                said = True
                print("earmark: nobody listens: start `earmark run` on this database; what is to be heard waits", file=sys.stderr)
            time.sleep(LOOK_S)
    with statement(pool) as connection:
        failed = list(archives.failures(connection, stream_ids))
    for stream_id, why in failed:
        print(f"earmark: {stream_id} failed: {shown(why)}", file=sys.stderr)
    print(f"{counted(far.done - far.failed, 'session')} heard, {far.heard_s / 3600:.2f} hours; {far.failed} failed")
    return 1 if failed else 0
