"""`earmark catalogue formats`: copies of recordings in other formats, made here and now."""

import os
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from earmark.audio.encode import NoRoom
from earmark.aws import Clients
from earmark.errors import AwsRefused, AwsUnavailable, BadSettings, SourceUnavailable
from earmark.hits.text import clock_time, counted, shown
from earmark.local.desk import complain, opened
from earmark.postgres import Pool, statement
from earmark.reserved import CANARY
from earmark.settings import Settings, formats_place
from earmark.stocking.bucket import S3, Bucket
from earmark.stocking.copying import Copying, Done
from earmark.stocking.encoder import Encoder
from earmark.stocking.fan_out import RENEW_S, FanOut
from earmark.stocking.formats import look_through, refuse_unknown
from earmark.stocking.job import Beat, temporary_folder
from earmark.stocking.rows import Overtaken
from earmark.stocking.targets import listed

_NO_OBJECT = "did not come from the catalogue's bucket (catalogue.place), so there is no object that copies could be made of"


def make_formats(track_ids: Sequence[str], *, again: bool, catalogue: str | None, settings: Settings) -> int:
    """A line for each copy that was made, removed, or could not be; and a count. 1 if any failed, or S3 refused.

    `again`: what is there is made anew, and what failed is tried again.
    """
    if not settings.catalogue.place:
        raise BadSettings("copies are made of objects, and there is no bucket that the catalogue comes from: set catalogue.place to s3://bucket/catalogue/")
    refuse_unknown(settings)
    s3 = Clients(settings.aws).s3
    with opened(catalogue, settings) as pool:
        only = _keys(pool, track_ids) if track_ids else None
        rows = FanOut(pool=pool, worker=f"{socket.gethostname()}-{os.getpid()} by hand")
        place = Bucket(s3=s3, place=formats_place(settings.formats, settings.catalogue))
        rows.list_anew(listed(settings.formats, place.place))
        if only is None:
            for key in look_through(rows, place):
                print(shown(f"missing  s3://{place.name}/{key}"))
        if again:
            rows.again(only=only)
        counts: Counter[str] = Counter()
        reason = _make(rows, pool, s3, settings, counts, only=only)
        complain([shown(reason)] if reason else [])
        print(shown(_in_words(pool, counts, place.place, whole=only is None)))
    return 1 if counts["failed"] or reason or only == [] else 0


def _make(rows: FanOut, pool: Pool, s3: S3, settings: Settings, counts: Counter[str], *, only: Sequence[str] | None) -> str:
    """As a worker with the role catalogue does, one recording after the other, until none is due; what S3 refuses for one of them ends it."""
    encoder, never = Encoder(), threading.Event()

    def told(done: Done) -> None:
        counts[done.outcome] += 1
        print(shown(_line(done)), flush=True)

    try:
        with temporary_folder("formats") as folder:
            copying = Copying(rows=rows, pool=pool, s3=s3, settings=settings, encoder=encoder, folder=Path(folder), told=told)
            while turn := rows.claim(only=only):
                try:
                    copying.take(turn, Beat(partial(rows.renew, turn), every_s=RENEW_S, stop=never))
                except (Overtaken, KeyboardInterrupt) as over:
                    rows.put_back(turn, counted=False)
                    if isinstance(over, KeyboardInterrupt):
                        raise
                except SourceUnavailable as error:
                    rows.put_back(turn, reason=str(error))
                    complain([shown(str(error))])
                except (AwsUnavailable, AwsRefused, NoRoom, OSError) as error:
                    rows.put_back(turn, reason=str(error))
                    return str(error)
    finally:
        encoder.close()
    return ""


def _keys(pool: Pool, track_ids: Sequence[str]) -> list[str]:
    """Of the objects that these recordings are; a sentence for each that is none. Raises BadSettings for what the catalogue does not have."""
    with statement(pool) as connection:
        rows = connection.execute(
            "select t.track_id, o.key from track t left join catalogue_object o on o.track_id = t.track_id where t.track_id = any(%s)", [list(track_ids)]
        ).fetchall()
    known = dict(rows)
    for track_id in track_ids:
        if track_id not in known:
            raise BadSettings(f"the catalogue has no recording {track_id}: `earmark catalogue list` shows those it has")
    complain([shown(f"none are made of {track_id}: it {_NO_OBJECT}") for track_id, key in known.items() if key is None])
    return [key for key in known.values() if key is not None]


def _line(done: Done) -> str:
    line = f"{done.outcome:<8} {done.url}"
    if done.encoded:
        made = done.encoded
        how = f"{clock_time(made.duration_s)}, {counted(made.channels, 'channel')} at {made.rate_hz:,} Hz, {made.size_bytes:,} bytes"
        return f"{line}  {done.track_id}, {done.name}: {how}"
    return f"{line}  {done.track_id}, {done.name}: {done.reason}" if done.reason else line


def _in_words(pool: Pool, counts: Counter[str], place: str, *, whole: bool) -> str:
    did = ", ".join(f"{counts[outcome]} {outcome}" for outcome in ("made", "removed", "refused", "failed") if counts[outcome]) or "nothing was to be done"
    if not whole:
        return f"{place}: {did}"
    with statement(pool) as connection:
        row = connection.execute(
            """
            select (select count(*) from track_format where state = 'made'), (select count(*) from track_format where state = 'refused'),
                   (select count(*) from track_format where state = 'failed'), (select count(*) from fan_out where due_at is not null),
                   (select count(*) from track t where not exists (select from catalogue_object o where o.track_id = t.track_id)
                      and not starts_with(t.track_id, %s))""",
            [CANARY],
        ).fetchone()
    assert row is not None
    made, refused, failed, due, elsewhere = row
    parts = [
        f"{place}: {did}; there are {made:,} now",
        *([f"{refused:,} may not be made, by their recordings' licences"] if refused else []),
        *([f"{failed:,} could not be made (`earmark catalogue formats --again` tries them again)"] if failed else []),
        *([f"{counted(due, 'recording')} to be tried again later, or under way elsewhere"] if due else []),
        *([f"{counted(elsewhere, 'recording')} {_NO_OBJECT}"] if elsewhere else []),
    ]
    return "; ".join(parts)
