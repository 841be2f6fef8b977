"""Stored files that are to be checked, on record: each object that arrives under `check.place` is one session, in the background.

S3 tells of an object at least once, in no order, perhaps not at all; a sweep sees it in a listing, which knows less of it.
What is the same object is decided here, under a lock on its address: the same version, the same event, the same bytes
written at the same time. The same bytes written once more, later, are another run: somebody wants to know again.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

from earmark.control.messages import LISTED, ObjectArrived
from earmark.hits.checked import is_checked
from earmark.model import Stream
from earmark.postgres import Connection

#: What was written at the same time by S3's clocks.
SAME_S: Final = 5.0
#: The event of what a sweep found may come so much later; the listing has another time for an upload in parts: its beginning.
LATE_S: Final = 3_600.0
_STEM_CHARS_MAX: Final = 48
#: What S3 calls the version of an object that has none; that of the next one under its key is called so too.
_UNVERSIONED: Final = "null"

Effect: TypeAlias = Literal["opened", "repeat", "foreign"]


def arrived(connection: Connection, message: ObjectArrived, *, notify: Callable[[Connection, str], None]) -> Effect:
    """A session for the object, unless it has one; a run of what lay there before is told to stop. In the caller's transaction."""
    if not is_checked(message.key):
        return "foreign"
    if message.version == _UNVERSIONED:
        message = replace(message, version="")
    address = f"s3://{message.bucket}/{message.key}"
    connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 2))", [address])
    object_ = {name: getattr(message, name) for name in ("bucket", "key", "version", "etag", "sequencer", "size", "at")}
    if connection.execute(_KNOWN, {**object_, "listed": LISTED, "same_s": SAME_S, "late_s": LATE_S}).fetchone():
        return "repeat"
    before = connection.execute("select count(*) from checked_file where (bucket, key, version, etag) = (%(bucket)s, %(key)s, %(version)s, %(etag)s)", object_)
    stream = stream_of(message, run=next(iter(before))[0] + 1)
    connection.execute(_OPEN, [stream.stream_id, stream.source, stream.channel_name, stream.url, stream.started_at, message.event_id])
    connection.execute(_KEEP, {**object_, "stream_id": stream.stream_id})
    for (replaced,) in connection.execute(_REPLACE, {**object_, "stream_id": stream.stream_id}).fetchall():
        notify(connection, replaced)
    notify(connection, "")
    return "opened"


def stream_of(message: ObjectArrived, *, run: int = 1) -> Stream:
    """The session of an object. `run`: how often these very bytes were put there, by now."""
    identity = f"{message.bucket}\n{message.key}\n{message.version}\n{message.etag}"
    digest = base64.b32encode(hashlib.sha256(identity.encode()).digest()).decode()[:16].lower()
    name = PurePosixPath(message.key).name or message.key
    again = f"-{run}" if run > 1 else ""
    return Stream(
        stream_id=f"{re.sub('[^A-Za-z0-9_]+', '-', name)[:_STEM_CHARS_MAX].strip('-') or 'file'}-{digest}{again}",
        source="file",
        channel_name=name,
        url=f"s3://{message.bucket}/{message.key}",
        started_at=message.at,
    )


_KNOWN = """
select 1 from checked_file
 where (bucket, key) = (%(bucket)s, %(key)s)
   and (version <> '' and version = %(version)s
        or sequencer <> '' and sequencer = %(sequencer)s
        or (etag in ('', %(etag)s) or %(etag)s = '') and made_at >= %(at)s - make_interval(secs => %(same_s)s)
        or etag = %(etag)s and starts_with(sequencer, %(listed)s) and created_at > now() - make_interval(secs => %(late_s)s)
        or made_at > %(at)s + make_interval(secs => %(same_s)s))
 limit 1"""

#: `wanted_at` stays null: it is no stream that workers are to be added for.
_OPEN = """
insert into stream (stream_id, source, channel_name, url, started_at, background, trace_id)
values (%s, %s, %s, %s, %s, true, coalesce(nullif(%s, ''), gen_random_uuid()::text)) on conflict do nothing"""

_KEEP = """
insert into checked_file (stream_id, bucket, key, version, etag, sequencer, size, made_at)
values (%(stream_id)s, %(bucket)s, %(key)s, %(version)s, %(etag)s, %(sequencer)s, %(size)s, %(at)s) on conflict do nothing"""

_REPLACE = """
update stream s set stop_at = now(), stop_reason = 'replaced'
  from checked_file f
 where f.stream_id = s.stream_id and (f.bucket, f.key) = (%(bucket)s, %(key)s) and s.stream_id <> %(stream_id)s
   and s.state in ('wanted', 'running') and s.stop_at is null
returning s.stream_id"""
