"""Amazon IVS in this process, as far as `control.channels` asks it; what it may claim, the contract suite checks against the stand-in."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

BEGAN = datetime(2026, 11, 20, 10, tzinfo=UTC)


def refusal(kind: str, operation: str, *, status: int = 404) -> ClientError:
    answer: Any = {"Error": {"Code": kind, "Message": "Because."}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


class FakeIvs:
    """Channels by ARN, what is live on them, and every call that was made."""

    def __init__(self) -> None:
        self.urls: dict[str, str] = {}
        self.live: dict[str, str] = {}
        self.private: set[str] = set()
        self.calls: list[tuple[str, Any]] = []

    def get_channel(self, *, arn: str) -> dict[str, Any]:
        self.calls.append(("GetChannel", arn))
        if arn not in self.urls:
            raise refusal("ResourceNotFoundException", "GetChannel")
        return {"channel": self._described(arn)}

    def batch_get_channel(self, *, arns: Sequence[str]) -> dict[str, Any]:
        self.calls.append(("BatchGetChannel", tuple(arns)))
        errors = [{"arn": arn, "code": "ResourceNotFoundException", "message": "Because."} for arn in arns if arn not in self.urls]
        return {"channels": [self._described(arn) for arn in arns if arn in self.urls], "errors": errors}

    def get_stream(self, *, channelArn: str) -> dict[str, Any]:  # noqa: N803
        self.calls.append(("GetStream", channelArn))
        if channelArn not in self.urls:
            raise refusal("ResourceNotFoundException", "GetStream")
        if channelArn not in self.live:
            raise refusal("ChannelNotBroadcasting", "GetStream")
        return {"stream": self._stream(channelArn)}

    def list_streams(self, **arguments: Any) -> dict[str, Any]:
        self.calls.append(("ListStreams", arguments))
        arns = sorted(self.live)
        begin = int(arguments.get("nextToken", 0))
        end = begin + arguments["maxResults"]
        return {"streams": [self._stream(arn) for arn in arns[begin:end]], **({"nextToken": str(end)} if end < len(arns) else {})}

    def _described(self, arn: str) -> dict[str, Any]:
        return {"arn": arn, "name": arn.rpartition("/")[2], "playbackUrl": self.urls[arn], "authorized": arn in self.private, "tags": {}}

    def _stream(self, arn: str) -> dict[str, Any]:
        return {"channelArn": arn, "streamId": self.live[arn], "state": "LIVE", "startTime": BEGAN}
