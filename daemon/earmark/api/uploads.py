"""Recordings that are sent to the bucket: announced here, sent to S3 by the client, taken up by the role `catalogue`.

    announce ─▶ NAME.json and a signed form ─▶ client POSTs to S3 ─▶ event ─▶ catalogue_object ─▶ `track`

The description is written before the form is given out, so that it is there when the recording comes. Nobody tells us that
it came: the bucket and the rows of whoever follows it are asked. What was announced and did not come whole within
`api.upload_days` is removed, by one worker of all.
"""

import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, Final, Literal, Protocol, TypeAlias

import structlog

from earmark.api.form import Bucket, Form
from earmark.control.catalogue_objects import kind_of
from earmark.control.reconcile import take_turn
from earmark.errors import AwsRefused, Transient
from earmark.hits.record import safe_name
from earmark.postgres import Pool, statement, transaction

#: Below `catalogue.place`; each upload has a folder of its own, so that no two are ever of one key.
FOLDER: Final = "uploads/"
State: TypeAlias = Literal["waiting", "received", "fingerprinted", "rejected", "expired", "removed"]
#: What is too old is looked for this often.
TIDY_S: Final = 3_600.0
_BATCH: Final = 200
_BATCHES_MAX: Final = 50
_ID_BYTES: Final = 16


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def uploads_removed(self, count: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Announced:
    """What a client wants to send."""

    file_name: str
    content_type: str
    size_bytes: int
    sha256: bytes | None
    #: As the sidecar has it; see `earmark.metadata`.
    described: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Upload:
    """What is known of one."""

    upload_id: str
    state: State
    #: Of the recording that it has become.
    track_id: str | None
    #: Why it was rejected.
    reasons: tuple[str, ...]
    key: str
    file_name: str
    content_type: str
    size_bytes: int
    created_at: datetime
    valid_until: datetime


class Uploads:
    """May be used by many threads; `run` on one of its own."""

    def __init__(self, *, pool: Pool, bucket: Bucket, valid_s: int, days: int, meter: Meter, stop: threading.Event) -> None:
        self._pool = pool
        self._bucket = bucket
        self._valid_s, self._days = valid_s, days
        self._meter = meter
        self._stop = stop
        self._log = structlog.get_logger()

    def announce(self, announced: Announced, *, token_id: str) -> tuple[Upload, Form]:
        """Raises DatabaseUnavailable, AwsUnavailable, AwsRefused."""
        upload_id = secrets.token_hex(_ID_BYTES)
        key = self._bucket.prefix + FOLDER + upload_id + "/" + stored_name(announced.file_name)
        row = self._write(upload_id, key, announced, token_id)  # first: what has no row is never tidied up
        form = self._bucket.form(key, content_type=announced.content_type, size_bytes=announced.size_bytes, sha256=announced.sha256, valid_s=self._valid_s)
        if announced.described:
            self._bucket.put_json(sidecar_of(key), announced.described)
        return row, form

    def find(self, upload_id: str) -> Upload | None:
        """Raises DatabaseUnavailable, AwsUnavailable, AwsRefused."""
        with statement(self._pool) as connection:
            row = connection.execute(_FIND, [upload_id]).fetchone()
        if row is None:
            return None
        bucket, key, file_name, content_type, size_bytes, created_at, valid_until, arrived_at, removed_at, kept_as, track_id, reasons = row
        state: State
        if removed_at is not None:
            state, track_id, reasons = "removed", None, []
        elif kept_as == "rejected":
            state = "rejected"
        elif track_id is not None:
            state = "fingerprinted"
        else:
            state, reasons = self._arrived(upload_id, bucket, key, size_bytes, valid_until, known=kept_as in ("new", "kept") or arrived_at is not None)
        return Upload(
            upload_id=upload_id,
            state=state,
            track_id=track_id if state == "fingerprinted" else None,
            reasons=tuple(reasons or ()),
            key=key,
            file_name=file_name,
            content_type=content_type,
            size_bytes=size_bytes,
            created_at=created_at,
            valid_until=valid_until,
        )

    def remove_object_of(self, track_id: str) -> bool:
        """Delete the object that a recording came from, with the description that was sent with it; False if it came from none.

        Raises DatabaseUnavailable, AwsUnavailable, AwsRefused: then nothing was removed.
        """
        with statement(self._pool) as connection:
            row = connection.execute("select bucket, key from catalogue_object where track_id = %s and state <> 'gone'", [track_id]).fetchone()
        if row is None:
            return False
        bucket, key = row
        with statement(self._pool) as connection:
            ours = connection.execute("select upload_id from upload where bucket = %s and key = %s", [bucket, key]).fetchone()
        self._bucket.delete([key, sidecar_of(key)] if ours else [key], bucket=bucket)
        if ours:
            with statement(self._pool) as connection:
                connection.execute("update upload set removed_at = now() where upload_id = %s", ours)
        return True

    def run(self) -> None:
        """Until `stop`: what fails is told, and tried again in the next turn."""
        while not self._stop.is_set():
            try:
                self.tidy()
            except (Transient, AwsRefused) as error:
                self._log.warning("api.uploads_not_tidied", reason=str(error))
            self._stop.wait(TIDY_S)

    def tidy(self) -> int:
        """Remove what was announced too long ago and never came whole; how many. One worker of all at a time."""
        with transaction(self._pool) as connection:
            if not take_turn(connection, "uploads", TIDY_S):
                return 0
        removed = 0
        for _ in range(_BATCHES_MAX):
            with statement(self._pool) as connection:
                rows = connection.execute(_OLD, {"days": self._days, "batch": _BATCH}).fetchall()
            removed += sum(self._tidy(*row) for row in rows)
            if len(rows) < _BATCH or self._stop.is_set():
                break
        if removed:
            self._log.info("api.uploads_removed", uploads=removed)
            self._meter.uploads_removed(removed)
        return removed

    def _tidy(self, upload_id: str, bucket: str, key: str, size_bytes: int, over: bool) -> bool:  # noqa: FBT001 - a column
        """Whether it was removed; else it has come, and is left to whoever follows the bucket. `over`: it came, and went again."""
        if not over and self._bucket.size_of(key, bucket=bucket) == size_bytes:
            self._note_arrival(upload_id)
            return False
        self._bucket.delete([key, sidecar_of(key)], bucket=bucket)
        with statement(self._pool) as connection:
            connection.execute("delete from upload where upload_id = %s", [upload_id])
        return True

    def _arrived(self, upload_id: str, bucket: str, key: str, size_bytes: int, valid_until: datetime, *, known: bool) -> tuple[State, list[str]]:
        if known:
            return "received", []
        found = self._bucket.size_of(key, bucket=bucket)
        if found is None:
            return ("waiting" if datetime.now(UTC) < valid_until else "expired"), []
        if found != size_bytes:  # S3 refuses that; what speaks S3's language may not
            return "rejected", [f"{found:,} bytes came, and {size_bytes:,} were announced: announce it again, with its size"]
        self._note_arrival(upload_id)
        return "received", []

    def _note_arrival(self, upload_id: str) -> None:
        with statement(self._pool) as connection:
            connection.execute("update upload set arrived_at = now() where upload_id = %s", [upload_id])

    def _write(self, upload_id: str, key: str, announced: Announced, token_id: str) -> Upload:
        with statement(self._pool) as connection:
            rows = connection.execute(
                """
                insert into upload (upload_id, token_id, bucket, key, file_name, content_type, size_bytes, sha256, valid_until)
                values (%(upload_id)s, %(token_id)s, %(bucket)s, %(key)s, %(file_name)s, %(content_type)s, %(size_bytes)s, %(sha256)s, now() + %(valid)s)
                returning created_at, valid_until""",
                {
                    "upload_id": upload_id,
                    "token_id": token_id,
                    "bucket": self._bucket.name,
                    "key": key,
                    "file_name": announced.file_name,
                    "content_type": announced.content_type,
                    "size_bytes": announced.size_bytes,
                    "sha256": announced.sha256,
                    "valid": timedelta(seconds=self._valid_s),
                },
            ).fetchall()
        created_at, valid_until = rows[0]
        return Upload(
            upload_id=upload_id,
            state="waiting",
            track_id=None,
            reasons=(),
            key=key,
            file_name=announced.file_name,
            content_type=announced.content_type,
            size_bytes=announced.size_bytes,
            created_at=created_at,
            valid_until=valid_until,
        )


# ------------------------------------------------------------------------------------------------ names


def stored_name(file_name: str) -> str:
    """The last part of a key: what is left of a stranger's name in letters, digits and dashes, and its ending."""
    path = PurePosixPath(file_name)
    suffix = path.suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,8}", path.suffix) else ""
    return safe_name(path.name.removesuffix(suffix) or "recording").lstrip(".-") + suffix.lower()


def is_recording(file_name: str) -> bool:
    """Whether an object of that name is taken for a recording."""
    return kind_of(FOLDER + stored_name(file_name)) == "audio"


def sidecar_of(key: str) -> str:
    """Where the description of a recording lies: beside it, under its name without the ending."""
    return re.sub(r"\.[^./]*$", "", key) + ".json"


_FIND: Final = """
select u.bucket, u.key, u.file_name, u.content_type, u.size_bytes, u.created_at, u.valid_until, u.arrived_at, u.removed_at, o.state, o.track_id, o.reasons
  from upload u left join catalogue_object o on o.bucket = u.bucket and o.key = u.key and o.state <> 'gone'
 where u.upload_id = %s"""

#: Neither seen whole nor known to whoever follows the bucket; or gone again.
_OLD: Final = """
select upload_id, u.bucket, u.key, size_bytes, removed_at is not null or o.state is not null
  from upload u left join catalogue_object o on o.bucket = u.bucket and o.key = u.key
 where created_at < now() - make_interval(days => %(days)s) and valid_until < now()
   and case when o.state is null then arrived_at is null or removed_at is not null else o.state = 'gone' end
 order by created_at limit %(batch)s"""
