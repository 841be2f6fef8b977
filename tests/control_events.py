"""Bodies of queue messages as AWS documents them; the values are made up."""

import json
from typing import Any

IVS_CHANNEL = "arn:aws:ivs:us-west-2:123456789012:channel/AbCdef1G2hij"
MEDIALIVE_CHANNEL = "arn:aws:medialive:us-west-2:111122223333:channel:123456"
STREAM_ID = "st-1A2b3c4D5e6F78ghij9Klmn"


def event(detail_type: str, source: str, detail: Any, *, resources: Any = (), time: Any = "2026-11-20T10:23:43Z") -> dict[str, Any]:
    return {
        "version": "0",
        "id": "01234567-0123-0123-0123-012345678901",
        "detail-type": detail_type,
        "source": source,
        "account": "123456789012",
        "time": time,
        # Not the region of the channel's ARN: the guide's own example differs too.
        "region": "us-east-1",
        "resources": list(resources),
        "detail": detail,
    }


def ivs(name: str, *, stream_id: Any = STREAM_ID, channel: str = IVS_CHANNEL, time: str = "2026-11-20T10:23:43Z", **detail: Any) -> dict[str, Any]:
    named = {"event_name": name, "channel_name": "Your Channel", "stream_id": stream_id, **detail}
    return event("IVS Stream State Change", "aws.ivs", named, resources=[channel], time=time)


def medialive(state: str, *, channel: str = MEDIALIVE_CHANNEL, time: str = "2026-11-20T18:40:59Z") -> dict[str, Any]:
    detail = {"channel_arn": channel, "state": state, "message": "…", "pipelines_running_count": 0}
    return event("MediaLive Channel State Change", "aws.medialive", detail, resources=["arn:aws:medialive:us-west-2:111122223333:channel:999999"], time=time)


def s3_event(key: str, *, bucket: str = "archive", time: str = "2026-11-20T18:42:00Z", sequencer: str = "617f08299329d189", **object_: Any) -> dict[str, Any]:
    detail = {
        "version": "0",
        "event-version": "1.0",
        "bucket": {"name": bucket},
        "object": {"key": key, "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184", "sequencer": sequencer, **object_},
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "source-ip-address": "192.0.2.1",
        "reason": "PutObject",
    }
    return event("Object Created", "aws.s3", detail, resources=[f"arn:aws:s3:::{bucket}"], time=time)


def s3_records(*keys: str, bucket: str = "archive", name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """The classic notification, whose keys are URL-encoded by the caller."""
    return {
        "Records": [
            {
                "eventVersion": "2.5",
                "eventSource": "aws:s3",
                "awsRegion": "us-west-2",
                "eventTime": "2026-11-20T18:42:00.000Z",
                "eventName": name,
                "s3": {
                    "bucket": {"name": bucket, "arn": f"arn:aws:s3:::{bucket}"},
                    "object": {"key": key, "size": 3, "eTag": "e", "sequencer": "0055AED6DCD90281E5"},
                },
            }
            for key in keys
        ]
    }


def sns(message: Any) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-west-2:123456789012:events",
        "Subject": "Amazon S3 Notification",
        "Message": message if isinstance(message, str) else json.dumps(message),
        "Timestamp": "2026-11-20T18:42:01.000Z",
        "SignatureVersion": "1",
        "MessageAttributes": {},
    }
