"""What a message's body says: the documented shapes, what may be wrong with them, and whatever anybody else sends."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control_events import IVS_CHANNEL, MEDIALIVE_CHANNEL, STREAM_ID, event, ivs, medialive, s3_event, s3_records, sns
from earmark.control.messages import (
    Ignored,
    ObjectArrived,
    ObjectRemoved,
    RecordingChanged,
    RecordingStatus,
    StartStream,
    StopStream,
    Unknown,
    archive_counter,
    parse,
)
from earmark.errors import BadMessage
from earmark.model import Stream

AT = datetime(2026, 11, 20, 10, 23, 43, tzinfo=UTC)
RUNNING_AT = datetime(2026, 11, 20, 18, 40, 59, tzinfo=UTC)
WRITTEN_AT = datetime(2026, 11, 20, 18, 42, tzinfo=UTC)

START = StartStream(stream=Stream(stream_id=STREAM_ID, source="ivs", channel_arn=IVS_CHANNEL, channel_name="Your Channel", started_at=AT), at=AT)
RUNNING = StartStream(
    stream=Stream(
        stream_id="123456-20261120T184059Z", source="medialive", channel_arn=MEDIALIVE_CHANNEL, session_id="2026-11-20T18:40:59Z", started_at=RUNNING_AT
    ),
    at=RUNNING_AT,
)
IDLE = StopStream(channel_arn=MEDIALIVE_CHANNEL, at=RUNNING_AT, reason="channel_stopped")


def _stop(reason: Any) -> StopStream:
    return StopStream(stream_id=STREAM_ID, channel_arn=IVS_CHANNEL, at=AT, reason=reason)


def _segment(key: str, *, version: str = "", size: int = 5, sequencer: str = "617f08299329d189") -> ObjectArrived:
    etag = "b1946ac92492d2347c6235b4d2611184" if size == 5 else "e"  # of an event, and of a record
    return ObjectArrived(bucket="archive", key=key, version=version, size=size, sequencer=sequencer, at=WRITTEN_AT, etag=etag)


RECORDING = {
    "channel_name": "Your Channel",
    "stream_id": STREAM_ID,
    "recording_status": "Recording Start",
    "recording_s3_bucket_name": "bucket",
    "recording_s3_key_prefix": "ivs/v1/123456789012/AbCdef1G2hij/2026/6/3/20/12/j8Z9O91ndcVs",
    "recording_duration_ms": 0,
}


def recording(status: str = "Recording Start", **detail: Any) -> dict[str, Any]:
    return event("IVS Recording State Change", "aws.ivs", {**RECORDING, "recording_status": status, **detail}, resources=[IVS_CHANNEL])


def _recorded(status: RecordingStatus, *, stream_ids: tuple[str, ...] = (STREAM_ID,), duration_s: float = 0.0) -> RecordingChanged:
    return RecordingChanged(
        status=status,
        channel_arn=IVS_CHANNEL,
        stream_ids=stream_ids,
        bucket="bucket",
        prefix="ivs/v1/123456789012/AbCdef1G2hij/2026/6/3/20/12/j8Z9O91ndcVs",
        duration_s=duration_s,
        at=datetime(2026, 11, 20, 10, 23, 43, tzinfo=UTC),
    )


DOCUMENTED = {
    "IVS start": (ivs("Stream Start"), [START]),
    "IVS end": (ivs("Stream End"), [_stop("stream_end")]),
    "IVS failure": (ivs("Stream Failure", reason="…"), [_stop("stream_failure")]),
    "IVS session created, still without a name": (ivs("Session Created", channel_name=""), [Ignored(kind="IVS Session Created")]),
    "IVS session ended, perhaps before the stream": (ivs("Session Ended", code="…"), [Ignored(kind="IVS Session Ended")]),
    "IVS takeover": (ivs("Stream Takeover"), [Ignored(kind="IVS Stream Takeover")]),
    "IVS takeover failure": (ivs("Stream Takeover Failure", code="…"), [Ignored(kind="IVS Stream Takeover Failure")]),
    "IVS starvation": (event("IVS Stream Health Change", "aws.ivs", {"event_name": "Starvation Start"}), [Ignored(kind="IVS Stream Health Change")]),
    "IVS account limit, of no channel": (event("IVS Limit Breach", "aws.ivs", {"limit_name": "Concurrent Viewers"}), [Ignored(kind="IVS Limit Breach")]),
    "IVS recording, without an event_name": (recording(), [_recorded("started")]),
    "IVS recording over, of one stream": (recording("Recording End", recording_duration_ms=171_546), [_recorded("ended", duration_s=171.546)]),
    "IVS recording over, merged": (
        recording("Recording End", recording_session_stream_ids=["st-b", STREAM_ID, "st-a"]),
        [_recorded("ended", stream_ids=(STREAM_ID, "st-a", "st-b"))],
    ),
    "IVS recording that broke off": (recording("Recording End Failure"), [_recorded("ended")]),
    "IVS recording that never was": (recording("Recording Start Failure", recording_s3_key_prefix=""), [Ignored(kind="IVS Recording Start Failure")]),
    "IVS recording, an event to come": (recording("Recording Pause"), [Unknown(detail_type="'IVS recording: Recording Pause'")]),
    "IVS, an event to come": (ivs("Stream Paused"), [Unknown(detail_type="'IVS Stream State Change: Stream Paused'")]),
    "MediaLive running": (medialive("RUNNING"), [RUNNING]),
    "MediaLive running, as the guide spells it": (medialive("Running"), [RUNNING]),
    "MediaLive idle": (medialive("IDLE"), [IDLE]),
    "MediaLive stopped": (medialive("STOPPED"), [IDLE]),
    "MediaLive deleted": (medialive("DELETED"), [IDLE]),
    "MediaLive recovering is no end": (medialive("RECOVERING"), [Ignored(kind="MediaLive RECOVERING")]),
    "MediaLive stopping": (medialive("STOPPING"), [Ignored(kind="MediaLive STOPPING")]),
    "MediaLive, a state to come": (medialive("RESTING"), [Unknown(detail_type="'MediaLive Channel State Change: RESTING'")]),
    "MediaLive alert": (event("MediaLive Channel Alert", "aws.medialive", {"alarm_state": "SET", "pipeline": "0"}), [Ignored(kind="MediaLive Channel Alert")]),
    "MediaLive input": (event("MediaLive Channel Input Change", "aws.medialive", {}), [Ignored(kind="MediaLive Channel Input Change")]),
    "S3 object": (s3_event("a b/x.000001.ts", **{"version-id": "IYV3p"}), [_segment("a b/x.000001.ts", version="IYV3p")]),
    "S3 object, its key as it is": (s3_event("a+b%2Fx.000001.ts"), [_segment("a+b%2Fx.000001.ts")]),
    "S3 object deleted": (
        {**s3_event("a"), "detail-type": "Object Deleted"},
        [ObjectRemoved(bucket="archive", key="a", sequencer="617f08299329d189", at=_segment("a").at)],
    ),
    "S3 tags": (event("Object Tags Added", "aws.s3", {"bucket": {"name": "b"}}), [Ignored(kind="S3 event other than Object Created and Object Deleted")]),
    "S3 record, its key encoded": (s3_records("x+y%2Fseg.000001.ts"), [_segment("x y/seg.000001.ts", size=3, sequencer="0055AED6DCD90281E5")]),
    "S3 records": (s3_records("a", "b"), [_segment("a", size=3, sequencer="0055AED6DCD90281E5"), _segment("b", size=3, sequencer="0055AED6DCD90281E5")]),
    "S3 record with the old prefix": (s3_records("a", name="s3:ObjectCreated:Put"), [_segment("a", size=3, sequencer="0055AED6DCD90281E5")]),
    "S3 record of a removal": (
        s3_records("a", name="ObjectRemoved:Delete"),
        [ObjectRemoved(bucket="archive", key="a", sequencer="0055AED6DCD90281E5", at=_segment("a").at)],
    ),
    "records of somebody else": ({"Records": [{"eventSource": "aws:ses"}]}, [Unknown(detail_type="'record of aws:ses'")]),
    "S3 test": ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-11-20T18:42:00Z", "Bucket": "b"}, [Ignored(kind="s3:TestEvent")]),
    "SNS around an event": (sns(ivs("Stream Start")), [START]),
    "SNS around a record": (sns(s3_records("a")), [_segment("a", size=3, sequencer="0055AED6DCD90281E5")]),
    "SNS twice": (sns(sns(medialive("IDLE"))), [IDLE]),
    "SNS, a subscription": ({"Type": "SubscriptionConfirmation", "Message": "You have chosen…"}, [Ignored(kind="SNS SubscriptionConfirmation")]),
    "another service": (event("EC2 Instance State-change Notification", "aws.ec2", {}), [Unknown(detail_type="'EC2 Instance State-change Notification'")]),
}


@pytest.mark.parametrize("body, said", DOCUMENTED.values(), ids=DOCUMENTED.keys())
def test_a_documented_body_is_understood(body: dict[str, Any], said: list[Any]) -> None:
    assert parse(json.dumps(body)) == said


BAD = {
    "nothing": ("", "the message is empty"),
    "blank": (" \n", "the message is empty"),
    "no JSON": ("stream started", "the message is not JSON"),
    "a list": ("[]", "the message is not a JSON object"),
    "an empty object": ("{}", "neither an EventBridge event nor an S3 notification"),
    "1 MiB of nesting": ("[" * (1 << 20), "the message is nested too deeply"),
    "1 MiB of nesting in an object": ('{"a":' * (1 << 18), "the message is nested too deeply"),
    "a number without end": ('{"a": ' + "9" * 5_000 + "}", "the message is not JSON"),
    "an empty SNS message": (json.dumps(sns("")), "the SNS notification's message is empty"),
    "SNS around prose": (json.dumps(sns("hello")), "the SNS notification's message is not JSON"),
    "SNS for ever": (json.dumps(sns(sns(sns(sns({}))))), "wrapped in more than 3"),
    "no records": ('{"Records": []}', "the S3 notification has no records"),
    "records of nothing": ('{"Records": [1]}', "the S3 notification has no records"),
    "no detail": (json.dumps({**ivs("Stream Start"), "detail": None}), "the IVS event has no detail"),
    "no resources": (json.dumps({**ivs("Stream Start"), "resources": []}), "names no channel: its resources are empty"),
    "resources of something else": (json.dumps({**ivs("Stream Start"), "resources": ["arn:aws:s3:::b"]}), "names no channel: its ARN is 'arn:aws:s3:::b'"),
    "no stream_id": (json.dumps(ivs("Stream Start", stream_id=None)), "the IVS event has no stream_id"),
    "an empty stream_id": (json.dumps(ivs("Stream End", stream_id="")), "the IVS event has no stream_id"),
    "a stream_id that is a path": (json.dumps(ivs("Stream Start", stream_id="../../etc")), "an impossible stream_id"),
    "a stream_id too long": (json.dumps(ivs("Stream Start", stream_id="s" * 129)), "an impossible stream_id"),
    "no time": (json.dumps({**ivs("Stream Start"), "time": None}), "the IVS event has no time"),
    "an impossible time": (json.dumps(ivs("Stream Start", time="yesterday")), "an impossible time: 'yesterday'"),
    "a time before there were streams": (json.dumps(ivs("Stream Start", time="0001-01-01T00:00:00+14:00")), "an impossible time"),
    "a recording of another channel": (
        json.dumps(recording(recording_s3_key_prefix="ivs/v1/123456789012/other/2026/6/3/20/12/x")),
        "names the place of another channel's recordings",
    ),
    "a recording without a place": (json.dumps(recording(recording_s3_key_prefix="")), "the IVS recording event has no key prefix"),
    "a recording without a bucket": (json.dumps(recording(recording_s3_bucket_name=None)), "the IVS recording event has no bucket name"),
    "a recording of an impossible stream": (json.dumps(recording("Recording End", recording_session_stream_ids=["../x"])), "an impossible stream_id"),
    "a recording of no list of streams": (json.dumps(recording("Recording End", recording_session_stream_ids={"a": 1})), "an impossible list of streams"),
    "a recording of no channel": (json.dumps({**recording(), "resources": []}), "names no channel"),
    "a MediaLive event without a channel": (json.dumps({**medialive("IDLE"), "detail": {"state": "IDLE"}, "resources": []}), "names no channel"),
    "an object without a key": (json.dumps(s3_event("")), "the S3 event has no object key"),
    "a key with a NUL": (json.dumps(s3_event("a\0b")), "an impossible object key"),
    "a key with half a character": (json.dumps(s3_event("a\ud800b")), "an impossible object key"),
    "a key too long": (json.dumps(s3_event("ä" * 513)), "an impossible object key"),
    "an encoded key with a NUL": (json.dumps(s3_records("a%00b")), "an impossible object key"),
    "no bucket": (json.dumps(event("Object Created", "aws.s3", {"object": {"key": "k"}})), "the S3 event has no bucket"),
}


@pytest.mark.parametrize("body, why", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_understood_is_refused_in_one_sentence(body: str, why: str) -> None:
    with pytest.raises(BadMessage) as refused:
        parse(body)
    sentence = str(refused.value)
    assert why in sentence
    assert "\n" not in sentence
    assert len(sentence) < 250


def test_the_channel_of_a_medialive_event_is_the_one_in_its_detail() -> None:
    (message,) = parse(json.dumps(medialive("DELETED")))
    assert isinstance(message, StopStream)
    assert message.channel_arn == MEDIALIVE_CHANNEL  # `resources` names channel 999999


def test_the_times_of_one_moment_are_one_run() -> None:
    (utc,), (local,) = (parse(json.dumps(medialive("RUNNING", time=time))) for time in ("2026-11-20T18:40:59Z", "2026-11-20T20:40:59+02:00"))
    assert utc == local


def test_a_channel_name_is_made_fit_to_be_stored() -> None:
    (message,) = parse(json.dumps(ivs("Stream Start", channel_name="a\0b\ud800\n" + "x" * 1_000)))
    assert isinstance(message, StartStream)
    assert message.stream.channel_name.startswith("a�b��xxx")
    assert len(message.stream.channel_name) == 256


@pytest.mark.parametrize(
    "key, named",
    [
        ("channel59/delivery/curling-20171012T033162.000000.m2ts", ("channel59/delivery/curling-20171012T033162", 0)),
        ("songs_to_check/streams/NAME/out.000123.ts", ("songs_to_check/streams/NAME/out", 123)),
        ("a.b.000007.ts", ("a.b", 7)),
        ("a.00007.ts", None),
        ("a.000007.mp4", None),
        ("a.ts", None),
        (".000007.ts", None),
    ],
)
def test_an_archive_file_is_known_by_its_counter(key: str, named: tuple[str, int] | None) -> None:
    assert archive_counter(key) == named


_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
_bodies = st.sampled_from([body for body, _ in DOCUMENTED.values()])


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, part in inner for found in _paths(part, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], by: Any) -> Any:
    if not path:
        return by
    parts = dict(value) if isinstance(value, dict) else list(value)
    parts[path[0]] = _replaced(parts[path[0]], path[1:], by)
    return parts


@given(st.text())
def test_any_text_is_understood_or_refused(body: str) -> None:
    _understood_or_refused(body)


@settings(max_examples=300)
@given(st.data())
def test_a_body_with_any_part_replaced_is_understood_or_refused(data: st.DataObject) -> None:
    body = data.draw(_bodies)
    path = data.draw(st.sampled_from(_paths(body)))
    _understood_or_refused(json.dumps(_replaced(body, path, data.draw(_json_values))))


def _understood_or_refused(body: str) -> None:
    try:
        messages = parse(body)
    except BadMessage as error:
        assert str(error).isprintable()  # noqa: PT017 -- either way is fine, each within its bounds
        return
    assert messages
    for message in messages:
        if isinstance(message, StartStream):
            assert message.stream.stream_id.isascii()
            assert "\0" not in message.stream.channel_name
        if isinstance(message, ObjectArrived):
            assert 0 < len(message.key.encode()) <= 1024
            assert 0 <= message.size < 1 << 63
