"""What the AWS stand-in lets be done to a live stream: words put into it, its end, its key revoked.

Limits, errors and statuses follow the Amazon IVS Low-Latency API Reference ("PutMetadata", "StopStream", "DeleteStreamKey",
"ListStreamKeys").
"""

import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from moto.events.models import events_backends

METADATA_BYTES_MAX: Final = 1_024
METADATA_PER_S_MAX: Final = 5
#: What was done is remembered for whoever looks; the oldest goes.
_REMEMBERED: Final = 10_000


class Refused(Exception):
    """An AWS error, as the REST-JSON protocol carries it."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


@dataclass
class Channel:
    arn: str
    name: str
    playback_url: str
    stream_id: str | None = None
    started_at: str = ""
    #: Where it is recorded to; empty: nowhere.
    recording_bucket: str = ""
    #: Its playlist opens to signed tokens only.
    private: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    #: By which a broadcaster is let in; one, as IVS makes it with the channel.
    stream_keys: list[str] = field(default_factory=list)
    #: When metadata was put into its stream, within this second.
    put_at: deque[float] = field(default_factory=lambda: deque(maxlen=METADATA_PER_S_MAX))

    @property
    def stream(self) -> dict[str, Any]:
        return {"channelArn": self.arn, "streamId": self.stream_id, "startTime": self.started_at, "state": "LIVE", "health": "HEALTHY", "viewerCount": 0}


class Broadcasts:
    """Not by itself safe on several threads. `channel` raises Refused for one that there is not."""

    def __init__(self, channel: Callable[[str], Channel], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel, self._clock = channel, clock
        self.done: deque[dict[str, Any]] = deque(maxlen=_REMEMBERED)
        #: By operation: what is answered instead, so many times.
        self._refusals: dict[str, tuple[Refused, int]] = {}

    def clear(self) -> None:
        self.done.clear()
        self._refusals.clear()

    # What boto3 asks.

    def put_metadata(self, asked: dict[str, Any]) -> None:
        channel, metadata = self._live("PutMetadata", asked), asked["metadata"]
        if not 1 <= len(metadata.encode()) <= METADATA_BYTES_MAX:
            raise Refused(400, "ValidationException", f"metadata must be between 1 and {METADATA_BYTES_MAX} bytes")
        now = self._clock()
        if len(channel.put_at) == METADATA_PER_S_MAX and now - channel.put_at[0] < 1:
            raise Refused(429, "ThrottlingException", "Rate exceeded")
        channel.put_at.append(now)
        self._note("PutMetadata", channel, metadata=metadata)

    def stop_stream(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Its end is announced, as on AWS."""
        channel = self._live("StopStream", asked)
        self._note("StopStream", channel)
        detail = {"event_name": "Stream End", "channel_name": channel.name, "stream_id": channel.stream_id}
        channel.stream_id = None
        region, account = channel.arn.split(":")[3:5]
        event = {"Source": "aws.ivs", "DetailType": "IVS Stream State Change", "Detail": json.dumps(detail), "Resources": [channel.arn], "Time": time.time()}
        events_backends[account][region].put_events([event])
        return {}

    def list_stream_keys(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._refuse("ListStreamKeys")
        channel = self._channel(asked["channelArn"])
        return {"streamKeys": [{"arn": arn, "channelArn": channel.arn, "tags": {}} for arn in channel.stream_keys]}

    def delete_stream_key(self, asked: dict[str, Any]) -> None:
        self._refuse("DeleteStreamKey")
        channel = self._channel(asked["arn"].replace(":stream-key/", ":channel/").removesuffix("-key"))
        if asked["arn"] not in channel.stream_keys:
            raise Refused(404, "ResourceNotFoundException", f"Resource: {asked['arn']} not found")
        channel.stream_keys.remove(asked["arn"])
        self._note("DeleteStreamKey", channel)

    # What the demo and the tests say.

    def refuse(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The next calls of an operation are refused."""
        self._refusals[asked["operation"]] = (Refused(asked["status"], asked["kind"], asked["message"]), asked["times"])
        return {}

    def told(self, _asked: dict[str, Any]) -> dict[str, Any]:
        return {"broadcasts": list(self.done)}

    def _live(self, operation: str, asked: dict[str, Any]) -> Channel:
        self._refuse(operation)
        channel = self._channel(asked["channelArn"])
        if channel.stream_id is None:
            raise Refused(404, "ChannelNotBroadcasting", f"Channel {channel.arn} is not currently online")
        return channel

    def _refuse(self, operation: str) -> None:
        refusal, times = self._refusals.pop(operation, (None, 0))
        if refusal is None:
            return
        if times > 1:
            self._refusals[operation] = (refusal, times - 1)
        raise refusal

    def _note(self, operation: str, channel: Channel, **more: Any) -> None:
        at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.done.append({"operation": operation, "channel_arn": channel.arn, "stream_id": channel.stream_id, "at": at, **more})


def key_of(channel_arn: str) -> str:
    """The ARN of the stream key that a channel is made with."""
    return channel_arn.replace(":channel/", ":stream-key/") + "-key"
