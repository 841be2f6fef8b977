"""What was heard in a stored file, beside the file: `NAME.earmark.json`, as `config/schema/check.v1.json` has it, and `NAME.earmark.html`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from earmark.hits import record
from earmark.hits.page import details
from earmark.hits.record import Outgoing, Place
from earmark.hits.reports import report
from earmark.hits.text import TEXT_MAX, cleaned, dumps, moment_text, one_line, rounded, writable
from earmark.model import FINGERPRINT_VERSION, Checkpoint
from earmark.postgres import Connection

SCHEMA_VERSION: Final = 1
JSON, HTML = ".earmark.json", ".earmark.html"
#: S3's limit (user guide, "Naming Amazon S3 objects").
KEY_BYTES_MAX: Final = 1_024
#: Listed in the JSON, in order; a day of jingles has fewer.
PLAYS_LISTED_MAX: Final = 5_000
#: How much of the file was heard.
Outcome: TypeAlias = Literal["heard", "partly", "refused"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedFile:
    """The object that a session is about."""

    stream_id: str
    bucket: str
    key: str
    #: S3's; empty where the bucket keeps no versions.
    version: str = ""
    etag: str = ""
    size_bytes: int = 0
    #: When S3 had it.
    made_at: datetime

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What only the session knows."""

    #: `container`, `codec`, `rate_hz`, `channels`, `announced_s`; empty: it was not opened.
    media: Mapping[str, Any] = field(default_factory=dict)
    #: Why what was heard is not all, if that is no failure of the session.
    said: str = ""


def results_key(key: str, ending: str) -> str:
    """Beside the object. A key that leaves no room for the ending is cut, and gets `~` and ten characters of its SHA-256."""
    if len(key.encode()) + len(ending) <= KEY_BYTES_MAX:
        return key + ending
    mark = "~" + hashlib.sha256(key.encode()).hexdigest()[:10] + ending
    return key.encode()[: KEY_BYTES_MAX - len(mark)].decode(errors="ignore") + mark


def is_checked(key: str) -> bool:
    """Whether it is a file to check: no result of such a check, and no folder, which S3's console makes an object of."""
    return not key.endswith((JSON, HTML, "/"))


def file_of(connection: Connection, stream_id: str) -> CheckedFile | None:
    row = connection.execute("select bucket, key, version, etag, size, made_at from checked_file where stream_id = %s", [stream_id]).fetchone()
    if row is None:
        return None
    bucket, key, version, etag, size, made_at = row
    return CheckedFile(stream_id=stream_id, bucket=bucket, key=key, version=version, etag=etag, size_bytes=size, made_at=made_at)


def documents(connection: Connection, file: CheckedFile, findings: Findings, *, place: Place, now: datetime, revision: int) -> list[Outgoing]:
    """What goes beside the file, made from what is on record in this transaction; nothing if the object was replaced: its successor tells.

    `place`: where the session's own documents are. `revision`: greater than that of all that went there before.
    """
    if connection.execute(_REPLACED, [file.stream_id]).fetchone():
        return []
    whole = replace(report.load(connection, file.stream_id), updated_at=now)
    checkpoint = whole.checkpoint
    error = checkpoint.last_error or findings.said
    whole = replace(whole, checkpoint=replace(checkpoint, last_error=writable(error)))
    hits = [body for (body,) in connection.execute(_HITS, [file.stream_id, PLAYS_LISTED_MAX])]
    document = _document(file, findings, whole, hits, place)
    shown = report.html(whole, details.load(connection, file.stream_id))
    return [
        _outgoing(file, JSON, "application/json", dumps(document, indent=1), revision),
        _outgoing(file, HTML, "text/html; charset=utf-8", shown, revision),
    ]


def _outgoing(file: CheckedFile, ending: str, content_type: str, body: str, revision: int) -> Outgoing:
    return Outgoing(target="check", stream_id=file.stream_id, key=results_key(file.key, ending), revision=revision, content_type=content_type, body=body)


def _document(file: CheckedFile, findings: Findings, whole: report.StreamReport, hits: list[Any], place: Place) -> record.Document:
    summary = report.document(whole, place)
    checkpoint, media = whole.checkpoint, findings.media
    announced_s = media.get("announced_s")
    return {
        "schema_version": SCHEMA_VERSION,
        **cleaned(
            {
                "file": {
                    "bucket": file.bucket,
                    "key": file.key,
                    "version": file.version,
                    "etag": file.etag,
                    "size_bytes": file.size_bytes,
                    "made_at": moment_text(file.made_at),
                },
                "outcome": outcome(checkpoint),
                "error": one_line(checkpoint.last_error, TEXT_MAX),
                "media": {
                    "container": media.get("container", ""),
                    "codec": media.get("codec", ""),
                    "rate_hz": media.get("rate_hz", 0),
                    "channels": media.get("channels", 0),
                    "announced_s": None if announced_s is None else rounded(announced_s),
                    "duration_s": rounded(checkpoint.position_s),
                },
            }
        ),
        "coverage": summary["coverage"],
        "gaps": summary["gaps"],
        "music": summary["music"],
        "plays": hits,
        "plays_left_out": max(0, len(whole.plays) - len(hits)),
        "stream_id": file.stream_id,
        "worker": summary["worker"],
        "fingerprint_version": FINGERPRINT_VERSION,
        "checked_at": summary["updated_at"],
        "links": {
            "file": file.address,
            "json": f"s3://{file.bucket}/{results_key(file.key, JSON)}",
            "html": f"s3://{file.bucket}/{results_key(file.key, HTML)}",
            **summary["links"],
        },
    }


def outcome(checkpoint: Checkpoint) -> Outcome:
    if checkpoint.end_reason == "endlist" and not checkpoint.gaps:
        return "heard"
    return "partly" if checkpoint.heard_s else "refused"


_HITS = "select body from play where stream_id = %s order by begin_s, hit_id limit %s"
_REPLACED = """
select 1 from checked_file later join checked_file this using (bucket, key)
 where this.stream_id = %s and later.file_no > this.file_no limit 1"""
