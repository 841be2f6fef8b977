"""A queue message's body becomes what it says: a stream started or stopped, is recorded, an object arrived or was removed. Pure.

What may lie in one body, from the outside in: an SNS notification (unless its delivery is raw), whose `Message` is JSON
again; in it an EventBridge event (Amazon IVS, AWS Elemental MediaLive, Amazon S3) or a classic S3 notification with its
`Records`. Shapes: Amazon IVS user guide, "Using Amazon EventBridge with IVS"; MediaLive user guide, "JSON for a state
change event"; S3 user guide, "EventBridge event message structure" and "Event message structure".

The region of an event and that of the ARN inside it may differ (the IVS guide's own example does that), so nothing here
compares them. Whoever may write to the queue chooses these bytes: every name is checked for length and characters, since
names become primary keys and S3 keys.
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote_plus

from earmark.errors import BadMessage
from earmark.model import Stream

StopReason: TypeAlias = Literal["stream_end", "stream_failure", "channel_stopped"]
RecordingStatus: TypeAlias = Literal["started", "ended"]

#: In place of S3's sequencer, with the time of the object: a sweep saw it in a listing, where no sequencers are. What was
#: written before that is what the sweep saw.
LISTED: Final = "listed "


@dataclass(frozen=True, kw_only=True, slots=True)
class StartStream:
    stream: Stream
    at: datetime
    #: Of EventBridge, here and below; empty where there is none, or it is no such id. Who says a thing does not change it.
    event_id: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class StopStream:
    """A stream is over. MediaLive names only the channel: then every run of it that began by `at` is meant."""

    stream_id: str | None = None
    channel_arn: str | None = None
    at: datetime
    reason: StopReason
    event_id: str = field(default="", compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordingChanged:
    """IVS records a channel to S3, or has done so."""

    status: RecordingStatus
    channel_arn: str
    #: Of a recording that was merged from fragments, several.
    stream_ids: tuple[str, ...]
    bucket: str
    #: What all of its keys begin with; no slash at its end.
    prefix: str
    duration_s: float
    at: datetime
    event_id: str = field(default="", compare=False)

    @property
    def place(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectArrived:
    """An object was written to a bucket; what it is, a segment, a recording, a file to check, its place says."""

    bucket: str
    key: str
    #: S3's version id; empty when the bucket keeps no versions.
    version: str
    size: int
    #: Orders, and tells apart, what was written under one key.
    sequencer: str
    at: datetime
    #: Of its bytes; empty when the event does not say.
    etag: str = ""
    event_id: str = field(default="", compare=False)


def as_listed(bucket: str, entry: Mapping[str, Any]) -> ObjectArrived:
    """What the event of an object would have said, by its entry in a listing (ListObjectsV2), where there are no sequencers and versions."""
    at = entry["LastModified"]
    etag = entry.get("ETag", "").strip('"')
    return ObjectArrived(bucket=bucket, key=entry["Key"], version="", size=entry["Size"], sequencer=LISTED + compact(at), at=at, etag=etag)


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRemoved:
    """An object was deleted, or hidden by a delete marker."""

    bucket: str
    key: str
    #: As in `ObjectArrived`; of what was written under this key later, nothing is said.
    sequencer: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Ignored:
    """Known, and of no consequence."""

    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Unknown:
    """An event of a kind that this version has never heard of."""

    detail_type: str


Message: TypeAlias = StartStream | StopStream | RecordingChanged | ObjectArrived | ObjectRemoved | Ignored | Unknown

_Object: TypeAlias = dict[str, Any]

#: SNS in SNS does not occur in AWS; the bound is against bodies that wrap themselves.
_ENVELOPES_MAX = 3
#: A stream_id becomes part of S3 keys: no slash, no percent sign, nothing that needs quoting.
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+@-]{0,127}")
#: A UUID, as AWS makes them; what another bus made is taken if it is as plain. It goes into logs, documents and messages.
_EVENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{7,63}")
_CHANNEL_ARN = re.compile(r"arn:[a-z0-9-]{1,30}:(?:ivs|medialive):[a-z0-9-]{0,30}:[0-9]{0,12}:channel[/:]([A-Za-z0-9_-]{1,64})")
#: What may be part of a primary key in PostgreSQL: together these stay below the 2,704 bytes of an index row.
_BUCKET_BYTES_MAX, _KEY_BYTES_MAX, _VERSION_BYTES_MAX, _SEQUENCER_BYTES_MAX = 255, 1024, 1024, 64
_NAME_CHARS_MAX = 256

#: Beyond "Stream Start", "Stream End" and "Stream Failure". A session may end before its stream does, while the tail is
#: still processed, so "Session Ended" is no end; a takeover is the same stream with another encoder.
_IVS_IGNORED = {"Session Created", "Session Ended", "Stream Takeover", "Stream Takeover Failure"}
#: Of one that ended in a failure there is what had landed until then.
_RECORDINGS: Mapping[str, RecordingStatus] = {"Recording Start": "started", "Recording End": "ended", "Recording End Failure": "ended"}
#: Fragments of one recording; IVS merges what is at most minutes apart.
_MERGED_MAX = 1_000
#: "Stopped" is IDLE in the API, and STOPPED in rules that people publish. RECOVERING means that a pipeline restarts.
_MEDIALIVE_STOPPED = {"IDLE", "STOPPED", "DELETED"}
_MEDIALIVE_IGNORED = {"CREATING", "CREATE_FAILED", "STARTING", "RECOVERING", "STOPPING", "DELETING", "UPDATING", "UPDATE_FAILED"}
_IGNORED_DETAIL_TYPES = {
    *("IVS Stream Health Change", "IVS Limit Breach", "IVS Ad State Change"),
    *("MediaLive Channel Alert", "MediaLive Channel Input Change", "MediaLive Multiplex State Change", "MediaLive Multiplex Alert"),
}


def parse(body: str) -> list[Message]:
    """What a message says; a classic S3 notification may say several things.

    Raises BadMessage, in one sentence, for whatever cannot be understood; never anything else.
    """
    content = _json(body, "the message")
    for _ in range(_ENVELOPES_MAX):
        if content.get("Type") != "Notification" or "Message" not in content:
            return _parse(content)
        content = _json(content["Message"], "the SNS notification's message")
    raise BadMessage(f"the message is wrapped in more than {_ENVELOPES_MAX} SNS notifications")


def archive_counter(key: str) -> tuple[str, int] | None:
    """What a MediaLive archive file's key begins with, and its number: `a/b-20171012T033162.000007.m2ts` -> (`a/b-20171012T033162`, 7).

    None if it is no archive file (MediaLive user guide, "About archive locations and file names").
    """
    match = re.fullmatch(r"(.+)\.([0-9]{6,9})\.(?:ts|m2ts)", key, re.DOTALL)
    return (match[1], int(match[2])) if match else None


def _json(text: object, what: str) -> _Object:
    if not isinstance(text, str) or not text.strip():
        raise BadMessage(f"{what} is empty")
    try:
        content = json.loads(text)
    except RecursionError:
        raise BadMessage(f"{what} is nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, or a number of more digits than Python converts
        raise BadMessage(f"{what} is not JSON: {str(error)[:100]}") from None
    if not isinstance(content, dict):
        raise BadMessage(f"{what} is not a JSON object")
    return content


def _parse(content: _Object) -> list[Message]:
    if "detail-type" in content:
        return [_event(content)]
    if "Records" in content:
        return _records(content["Records"])
    if content.get("Event") == "s3:TestEvent":
        return [Ignored(kind="s3:TestEvent")]
    if content.get("Type") in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
        return [Ignored(kind=f"SNS {content['Type']}")]
    raise BadMessage("the message is neither an EventBridge event nor an S3 notification")


def _event(event: _Object) -> Message:
    message, event_id = _said(event), event.get("id")
    if isinstance(message, StartStream | StopStream | RecordingChanged | ObjectArrived) and isinstance(event_id, str) and _EVENT_ID.fullmatch(event_id):
        return replace(message, event_id=event_id)
    return message


def _said(event: _Object) -> Message:
    detail_type = event["detail-type"]
    match detail_type:
        case "IVS Stream State Change":
            return _ivs_stream(event)
        case "IVS Recording State Change":
            return _ivs_recording(event)
        case "MediaLive Channel State Change":
            return _medialive_channel(event)
        case "Object Created" | "Object Deleted":
            return _s3_object(event, created=detail_type == "Object Created")
        case str() if detail_type in _IGNORED_DETAIL_TYPES:
            return Ignored(kind=detail_type)
        case str() if event.get("source") == "aws.s3":  # Object Tags Added, Object ACL Updated, ...
            return Ignored(kind="S3 event other than Object Created and Object Deleted")
        case _:
            return Unknown(detail_type=_label(detail_type))


def _ivs_stream(event: _Object) -> Message:
    what = "the IVS event"
    detail = _member(event, "detail", what)
    name = detail.get("event_name")
    if isinstance(name, str) and name in _IVS_IGNORED:
        return Ignored(kind=f"IVS {name}")
    if name not in ("Stream Start", "Stream End", "Stream Failure"):
        return Unknown(detail_type=_label(f"IVS Stream State Change: {name}"))
    resources = event.get("resources")
    channel_arn, _ = _channel(resources[0] if isinstance(resources, list) and resources else None, what)
    stream_id = _identifier(detail.get("stream_id"), "stream_id", what)
    at = _time(event.get("time"), what)
    if name == "Stream Start":
        channel_name = _display(detail.get("channel_name"))
        return StartStream(stream=Stream(stream_id=stream_id, source="ivs", channel_arn=channel_arn, channel_name=channel_name, started_at=at), at=at)
    return StopStream(stream_id=stream_id, channel_arn=channel_arn, at=at, reason="stream_end" if name == "Stream End" else "stream_failure")


def _ivs_recording(event: _Object) -> Message:
    """It has no event_name. A recording that could not even start has no place, and nobody waits for it for long."""
    what = "the IVS recording event"
    detail = _member(event, "detail", what)
    name = detail.get("recording_status")
    status = _RECORDINGS.get(name) if isinstance(name, str) else None
    if status is None or not (detail.get("recording_s3_key_prefix") or status == "started"):
        return Ignored(kind=f"IVS {name}") if name in ("Recording Start Failure", *_RECORDINGS) else Unknown(detail_type=_label(f"IVS recording: {name}"))
    resources = event.get("resources")
    channel_arn, channel_id = _channel(resources[0] if isinstance(resources, list) and resources else None, what)
    prefix = _text(detail.get("recording_s3_key_prefix"), "key prefix", what, _KEY_BYTES_MAX).strip("/")
    layout = prefix.split("/")
    if layout[:2] == ["ivs", "v1"] and channel_id not in layout[3:4]:
        raise BadMessage(f"{what} of the channel {channel_id} names the place of another channel's recordings: {_label(prefix)}")
    merged = detail.get("recording_session_stream_ids") or []
    if not isinstance(merged, list) or len(merged) > _MERGED_MAX:
        raise BadMessage(f"{what} has an impossible list of streams")
    stream_ids = {_identifier(stream_id, "stream_id", what) for stream_id in (detail.get("stream_id"), *merged)}
    duration_ms = detail.get("recording_duration_ms")
    return RecordingChanged(
        status=status,
        channel_arn=channel_arn,
        stream_ids=tuple(sorted(stream_ids)),
        bucket=_text(detail.get("recording_s3_bucket_name"), "bucket name", what, _BUCKET_BYTES_MAX),
        prefix=prefix,
        duration_s=duration_ms / 1000 if type(duration_ms) is int and 0 <= duration_ms < 1 << 40 else 0.0,
        at=_time(event.get("time"), what),
    )


def _medialive_channel(event: _Object) -> Message:
    what = "the MediaLive event"
    detail = _member(event, "detail", what)
    state = detail.get("state")
    state = state.upper() if isinstance(state, str) else ""
    if state in _MEDIALIVE_IGNORED:
        return Ignored(kind=f"MediaLive {state}")
    if state != "RUNNING" and state not in _MEDIALIVE_STOPPED:
        return Unknown(detail_type=_label(f"MediaLive Channel State Change: {detail.get('state')}"))
    # The guide's sample names another channel in `resources`: the detail is what counts.
    resources = event.get("resources")
    given = detail.get("channel_arn") or (resources[0] if isinstance(resources, list) and resources else None)
    channel_arn, channel_id = _channel(given, what)
    at = _time(event.get("time"), what)
    if state != "RUNNING":
        return StopStream(channel_arn=channel_arn, at=at, reason="channel_stopped")
    return StartStream(stream=medialive_run(channel_arn, channel_id, at), at=at)


def medialive_run(channel_arn: str, channel_id: str, at: datetime, *, url: str | None = None) -> Stream:
    """A channel from its start to its stop: MediaLive has no name for that."""
    at = at.astimezone(UTC)
    session_id = f"{at:%Y-%m-%dT%H:%M:%SZ}"
    return Stream(stream_id=f"{channel_id}-{compact(at)}", source="medialive", channel_arn=channel_arn, session_id=session_id, url=url, started_at=at)


def compact(at: datetime) -> str:
    """A UTC time as part of a stream_id: 20230308T184059Z."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _s3_object(event: _Object, *, created: bool) -> Message:
    what = "the S3 event"
    detail = _member(event, "detail", what)
    arrived = _arrived(_member(detail, "bucket", what), _member(detail, "object", what), event.get("time"), what, encoded=False)
    return arrived if created else _removed(arrived)


def _records(records: object) -> list[Message]:
    what = "the S3 notification"
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        raise BadMessage(f"{what} has no records")
    return [_record(record, what) for record in records]


def _record(record: _Object, what: str) -> Message:
    name = record.get("eventName")
    if not isinstance(name, str) or not isinstance(record.get("s3"), dict):
        return Unknown(detail_type=_label(f"record of {record.get('eventSource')}"))
    happened = name.removeprefix("s3:").partition(":")[0]
    if happened not in ("ObjectCreated", "ObjectRemoved", "LifecycleExpiration"):
        return Ignored(kind="S3 record other than ObjectCreated and ObjectRemoved")
    s3 = record["s3"]
    arrived = _arrived(_member(s3, "bucket", what), _member(s3, "object", what), record.get("eventTime"), what, encoded=True)
    return arrived if happened == "ObjectCreated" else _removed(arrived)


def _arrived(bucket: _Object, stored: _Object, time: object, what: str, *, encoded: bool) -> ObjectArrived:
    """EventBridge says version-id and etag and gives the key as it is; a classic record says versionId and eTag and gives it URL-encoded."""
    key = stored.get("key")
    if encoded and isinstance(key, str):
        key = unquote_plus(key)
    size = stored.get("size")
    return ObjectArrived(
        bucket=_text(bucket.get("name"), "bucket name", what, _BUCKET_BYTES_MAX),
        key=_text(key, "object key", what, _KEY_BYTES_MAX),
        version=_text(stored.get("version-id") or stored.get("versionId") or "", "version", what, _VERSION_BYTES_MAX, empty=True),
        size=size if type(size) is int and 0 <= size < 1 << 63 else 0,  # true is an int to Python, and none to PostgreSQL
        sequencer=_text(stored.get("sequencer") or "", "sequencer", what, _SEQUENCER_BYTES_MAX, empty=True),
        at=_time(time, what),
        etag=_text(stored.get("etag") or stored.get("eTag") or "", "etag", what, _VERSION_BYTES_MAX, empty=True).strip('"'),
    )


def _removed(there: ObjectArrived) -> ObjectRemoved:
    return ObjectRemoved(bucket=there.bucket, key=there.key, sequencer=there.sequencer, at=there.at)


def _member(owner: _Object, key: str, what: str) -> _Object:
    member = owner.get(key)
    if not isinstance(member, dict):
        raise BadMessage(f"{what} has no {key}")
    return member


def _channel(arn: object, what: str) -> tuple[str, str]:
    """The ARN of a channel, and the id at its end."""
    match = _CHANNEL_ARN.fullmatch(arn) if isinstance(arn, str) else None
    if match is None:
        raise BadMessage(f"{what} names no channel: its ARN is {_label(arn)}" if arn else f"{what} names no channel: its resources are empty")
    return match[0], match[1]


def _identifier(value: object, name: str, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise BadMessage(f"{what} has no {name}")
    if not _IDENTIFIER.fullmatch(value):
        raise BadMessage(f"{what} has an impossible {name}: {_label(value)}")
    return value


def _text(value: object, name: str, what: str, bytes_max: int, *, empty: bool = False) -> str:
    """Text that PostgreSQL and S3 take: no NUL, no half of a surrogate pair, not too long."""
    if not isinstance(value, str) or not (value or empty):
        raise BadMessage(f"{what} has no {name}")
    encoded = value.encode(errors="surrogatepass")
    if b"\0" in encoded or len(encoded) > bytes_max or any(0xD800 <= ord(c) < 0xE000 for c in value):
        raise BadMessage(f"{what} has an impossible {name}: {_label(value)}")
    return value


def _time(value: object, what: str) -> datetime:
    if not isinstance(value, str):
        raise BadMessage(f"{what} has no time")
    with suppress(ValueError):
        at = datetime.fromisoformat(value)
        if 2000 <= at.year < 2200:  # beyond it lie overflows and formats without four digits, and no streams
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    raise BadMessage(f"{what} has an impossible time: {_label(value)}")


def _display(value: object) -> str:
    """A name for people, made fit to be stored."""
    text = value if isinstance(value, str) else ""
    return "".join(c if c.isprintable() else "�" for c in text[:_NAME_CHARS_MAX])


def _label(value: object) -> str:
    """A foreign value as it may appear in a log line: short, and ASCII."""
    return ascii(value if isinstance(value, str) else type(value).__name__)[:80]
