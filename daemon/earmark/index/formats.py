"""Which copies of a recording there are in other formats, and why others are not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from earmark.postgres import Connection

#: To be made; there; could not be made; may not be, by the recording's licence.
State: TypeAlias = Literal["waiting", "made", "failed", "refused"]

_OF_MADE: Final = ("size_bytes", "duration_s", "rate_hz", "channels", "made_at")
_NO_OBJECT: Final = "none are made: it did not come from the catalogue's bucket (catalogue.place), so there is no object that they could be made of"
_TO_COME: Final = "they wait for a worker with the role catalogue, or for `earmark catalogue formats`"

_NOT_ASKED_FOR: Final = "none are made: formats.targets asks for none"


@dataclass(frozen=True, kw_only=True)
class TrackFormat:
    """One copy of a recording."""

    #: As formats.targets calls it.
    name: str
    codec: str
    state: State
    #: s3://bucket/key; null unless it is there.
    url: str | None = None
    size_bytes: int | None = None
    duration_s: float | None = None
    rate_hz: int | None = None
    channels: int | None = None
    made_at: datetime | None = None
    #: Why it is not there, or what is wrong with it.
    reason: str = ""


def formats_of(connection: Connection, track_id: str) -> tuple[tuple[TrackFormat, ...], str]:
    """Those of the recording as it is now, by name: never one of what it was before; and, if there are none, why. Raises psycopg's errors."""
    source = connection.execute(
        """
        select o.bucket, o.key, o.content_sha256, coalesce(f.due_at is not null, true)
          from catalogue_object o join track t on t.track_id = o.track_id and t.content_sha256 = o.content_sha256
          left join fan_out f on (f.bucket, f.key) = (o.bucket, o.key)
         where o.track_id = %s""",
        [track_id],
    ).fetchone()
    if source is None:
        return (), _NO_OBJECT
    bucket, key, content_sha256, due = source
    rows = connection.execute(
        f"""
        select name, codec, state, reason, 's3://' || bucket || '/' || key, {", ".join(_OF_MADE)}
          from track_format where (of_bucket, of_key, content_sha256) = (%s, %s, %s) and state <> 'unwanted' order by name""",
        [bucket, key, content_sha256],
    ).fetchall()
    return tuple(_format(row) for row in rows), "" if rows else _TO_COME if due else _NOT_ASKED_FOR


def _format(row: Sequence[Any]) -> TrackFormat:
    name, codec, state, reason, url, *made = row
    of_made = {"url": url, **dict(zip(_OF_MADE, made, strict=True))} if state == "made" else {}
    return TrackFormat(name=name, codec=codec, state=state, reason=reason, **of_made)
