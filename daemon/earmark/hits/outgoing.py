"""One thing that has to leave: a row of the outbox, in memory. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

#: `check`: as s3, into the bucket whose files are checked. `clip`: as s3, bytes and no text. The last four are actions (`earmark.actions`).
Target: TypeAlias = Literal["s3", "sns", "check", "clip", "webhook", "eventbridge", "ivs_metadata", "ivs_stop"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A document, or a message."""

    target: Target
    stream_id: str
    #: S3: the object's key. SNS and actions: the play's `hit_id`.
    key: str
    #: Among those of one key, an older one never overwrites a newer one.
    revision: int
    content_type: str
    body: str
    #: SNS: `subject`, and `attributes` by name. S3: none.
    attributes: Mapping[str, Any] = field(default_factory=dict)
    #: Its stream's: the row has it, for the log.
    trace_id: str = ""
    #: It leaves no earlier than so long after it was queued.
    wait_s: float = 0.0
    #: In place of the body.
    content: bytes = b""


def s3_document(stream_id: str, key: str, body: str, revision: int, content_type: str = "application/json") -> Outgoing:
    """An object of the results."""
    return Outgoing(target="s3", stream_id=stream_id, key=key, revision=revision, content_type=content_type, body=body)
