"""Hits on an Amazon EventBridge bus, for rules that start whatever their owner likes.

PutEvents answers 200 also when it took nothing: each entry has a result of its own, and one with an error code did not go
out. It knows no repeats either: an event that is put twice arrives twice, so each carries the hit's `hit_id` and `revision`.
(EventBridge API reference, "PutEvents".)
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from earmark.aws import asking
from earmark.errors import AwsRefused, AwsUnavailable
from earmark.hits.record import Outgoing
from earmark.hits.shortened import shortened
from earmark.hits.sinks import Sent
from earmark.hits.text import dumps, one_line

SOURCE: Final = "earmark"
DETAIL_TYPE: Final = "Earmark Play"
#: PutEvents takes four times as much by now, but a target gets an event whole, with what stands around it, and several of
#: them take no more than 256 KiB.
ENTRY_BYTES_MAX: Final = 240 * 1024
#: Of an entry, the errors that pass (EventBridge API reference, "PutEventsResultEntry").
_PASSING: Final = {"InternalFailure", "InternalException", "InternalError", "ThrottlingException", "ServiceUnavailable", "ServiceUnavailableException"}


class EventsClient(Protocol):
    """What is used of boto3's `events` client."""

    @property
    def put_events(self) -> Callable[..., Any]: ...


class EventBridgeSink:
    """Implements `hits.sinks.Sink`."""

    def __init__(self, *, client: EventsClient, bus: str) -> None:
        """`bus`: its name or its ARN."""
        self._client, self._bus = client, bus

    def send(self, item: Outgoing) -> Sent:
        with asking("events:PutEvents", self._bus, absent="create the event bus or correct eventbridge.bus"):
            answer = self._client.put_events(Entries=[{"EventBusName": self._bus, **entry(item)}])
        results = answer.get("Entries") or [{}]
        code = str(results[0].get("ErrorCode") or "")
        if not code and not answer.get("FailedEntryCount"):
            return "stored"
        said = f"{code or 'no reason given'}: {one_line(str(results[0].get('ErrorMessage') or ''), 300)}".rstrip(": .")
        if code in _PASSING:
            raise AwsUnavailable(f"events:PutEvents of {self._bus} failed for now: {said}")
        remedy = "; allow events:PutEvents in the role's policy, and in the bus's if it is another account's" if code in _DENIED else ""
        raise AwsRefused(f"events:PutEvents of {self._bus} was refused: {said}{remedy}")


_DENIED: Final = {"AccessDenied", "AccessDeniedException", "NotAuthorizedForSourceException", "NotAuthorizedForDetailTypeException"}


def entry(item: Outgoing) -> dict[str, Any]:
    """As PutEvents takes it, but for the bus. A hit that is too large for targets is shortened; the whole of it is in S3."""
    hit: Mapping[str, Any] = json.loads(item.body)
    channel_arn = (hit.get("stream") or {}).get("channel_arn") or ""
    made = {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": item.body, "Resources": [channel_arn] if channel_arn.startswith("arn:") else []}
    if size(made) > ENTRY_BYTES_MAX:
        made["Detail"] = dumps(shortened(hit))
    return made


def size(made: Mapping[str, Any]) -> int:
    """Bytes of an entry as EventBridge counts them (user guide, "Calculating PutEvents event entry size")."""
    return sum(len(text.encode()) for text in (made["Source"], made["DetailType"], made["Detail"], *made["Resources"]))
