"""The AWS stand-in's process: moto for nearly everything, and by hand what moto lacks.

* IVS's GetStream, ListStreams and GetRecordingConfiguration, a GetChannel whose `playbackUrl` can be chosen, and what is done to a live stream
  (`earmark.local.broadcasts`). Shapes, error types and the fact that a channel which is not live is an *error* follow the Amazon IVS Low-Latency API
  Reference.
* Mail: moto forgets what SNS sends to an `email` subscription; here it can be read.
* S3's events carry a sequencer that grows, and an `etag` in small letters; moto's all carry the same one, and an `eTag`.
* S3 holds a form to its POST policy; moto takes any, whatever its size, its type and its age.
* SNS refuses a subject with a line break or a control character; moto takes it, and the mistake would show in production.

Run by `earmark.local.aws` with an address and a port (0: any that is free): prints its port, serves until its standard input ends (that is, until its
parent stops it or dies).
"""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.events.models import Rule
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import FakeKey
from moto.s3.responses import S3Response
from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import Subscription, Topic
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from earmark.local import post_policy
from earmark.local.broadcasts import Broadcasts, Channel, Refused, key_of

#: Our own paths beside AWS's: no bucket may be called that (underscore).
CONTROL = "/stand_in/"
#: The oldest are forgotten: a stand-in may run for weeks.
MAILS_MAX = 10_000
_PAGE = 50
_RECORDING = "recording-configuration/"


@dataclass(frozen=True)
class Mail:
    to: str
    subject: str
    text: str
    attributes: dict[str, str]


@dataclass
class StandIn:
    """The state that is not moto's."""

    channels: dict[str, Channel] = field(default_factory=dict)
    mails: deque[Mail] = field(default_factory=lambda: deque(maxlen=MAILS_MAX))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.broadcasts = Broadcasts(self._channel)

    def clear(self) -> None:
        with self.lock:
            self.channels.clear()
            self.mails.clear()
            self.broadcasts.clear()

    # What boto3 asks, by path.

    def get_channel(self, asked: dict[str, Any]) -> dict[str, Any]:
        return {"channel": self._describe(self._channel(asked["arn"]))}

    def batch_get_channel(self, asked: dict[str, Any]) -> dict[str, Any]:
        known = [self.channels[arn] for arn in asked["arns"] if arn in self.channels]
        errors = [{"arn": arn, "code": "ResourceNotFoundException", "message": "Resource not found"} for arn in asked["arns"] if arn not in self.channels]
        return {"channels": [self._describe(channel) for channel in known], "errors": errors}

    def get_stream(self, asked: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(asked["channelArn"])
        if channel.stream_id is None:
            raise Refused(404, "ChannelNotBroadcasting", f"Channel {channel.arn} is not currently online")
        return {"stream": {**channel.stream, "playbackUrl": channel.playback_url}}

    def get_recording_configuration(self, asked: dict[str, Any]) -> dict[str, Any]:
        bucket = asked["arn"].partition(_RECORDING)[2]
        return {"recordingConfiguration": {"arn": asked["arn"], "destinationConfiguration": {"s3": {"bucketName": bucket}}, "state": "ACTIVE", "tags": {}}}

    def list_streams(self, asked: dict[str, Any]) -> dict[str, Any]:
        live = [channel.stream for channel in self.channels.values() if channel.stream_id is not None]
        health = asked.get("filterBy", {}).get("health")
        live = [stream for stream in live if health in (None, stream["health"])]
        begin, page = int(asked.get("nextToken") or 0), int(asked.get("maxResults") or _PAGE)
        more = {"nextToken": str(begin + page)} if begin + page < len(live) else {}
        return {"streams": live[begin : begin + page], **more}

    # What the demo and the tests say.

    def put_channel(self, asked: dict[str, Any]) -> dict[str, Any]:
        self.channels[asked["arn"]] = Channel(
            arn=asked["arn"],
            name=asked["name"],
            playback_url=asked["playback_url"],
            recording_bucket=asked.get("recording_bucket", ""),
            private=asked.get("private", False),
            tags=asked.get("tags", {}),
            stream_keys=[key_of(asked["arn"])],
        )
        return {}

    def delete_channel(self, asked: dict[str, Any]) -> None:
        """As boto3 asks it. (API reference, "DeleteChannel": one that is live is not deleted.)"""
        channel = self._channel(asked["arn"])
        if channel.stream_id is not None:
            raise Refused(409, "ConflictException", f"Channel {channel.arn} is currently online")
        del self.channels[channel.arn]

    def go_live(self, asked: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(asked["arn"])
        if not channel.stream_keys:
            raise Refused(403, "AccessDeniedException", f"Channel {channel.arn} has no stream key: nobody can broadcast to it")
        channel.stream_id, channel.started_at, channel.playback_url = asked["stream_id"], asked["started_at"], asked["playback_url"]
        return {}

    def go_offline(self, asked: dict[str, Any]) -> dict[str, Any]:
        self._channel(asked["arn"]).stream_id = None
        return {}

    def read_mails(self, _asked: dict[str, Any]) -> dict[str, Any]:
        return {"mails": [asdict(mail) for mail in self.mails]}

    def _channel(self, arn: str) -> Channel:
        if arn not in self.channels:
            raise Refused(404, "ResourceNotFoundException", f"Resource: {arn} not found")
        return self.channels[arn]

    def _describe(self, channel: Channel) -> dict[str, Any]:
        return {
            "arn": channel.arn,
            "name": channel.name,
            "playbackUrl": channel.playback_url,
            "type": "STANDARD",
            "latencyMode": "LOW",
            "authorized": channel.private,
            "insecureIngest": False,
            "containerFormat": "TS",
            # One for each bucket, called as the bucket is.
            "recordingConfigurationArn": channel.arn.replace(f"channel/{channel.name}", _RECORDING + channel.recording_bucket)
            if channel.recording_bucket
            else "",
            "tags": channel.tags,
        }


def _one_at_a_time() -> None:
    """An object's etag is read off its one buffer: of two requests that ask at once, a listing beside an event, each would read a part, and be wrong."""
    etag: Callable[[FakeKey], str] = vars(FakeKey)["etag"].fget

    def locked(key: FakeKey) -> str:
        with key.lock:
            return etag(key)

    FakeKey.etag = property(locked)  # type: ignore[assignment,method-assign]


def application(stand_in: StandIn) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    _one_at_a_time()
    moto = DomainDispatcherApplication(create_backend_app)
    ours = {
        "/GetChannel": stand_in.get_channel,
        "/BatchGetChannel": stand_in.batch_get_channel,
        "/GetStream": stand_in.get_stream,
        "/ListStreams": stand_in.list_streams,
        "/GetRecordingConfiguration": stand_in.get_recording_configuration,
        "/DeleteChannel": stand_in.delete_channel,
        "/PutMetadata": stand_in.broadcasts.put_metadata,
        "/StopStream": stand_in.broadcasts.stop_stream,
        "/ListStreamKeys": stand_in.broadcasts.list_stream_keys,
        "/DeleteStreamKey": stand_in.broadcasts.delete_stream_key,
        CONTROL + "refuse": stand_in.broadcasts.refuse,
        CONTROL + "broadcasts": stand_in.broadcasts.told,
        CONTROL + "put_channel": stand_in.put_channel,
        CONTROL + "go_live": stand_in.go_live,
        CONTROL + "go_offline": stand_in.go_offline,
        CONTROL + "mails": stand_in.read_mails,
    }

    def serve(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path in ours and environ["REQUEST_METHOD"] == "POST":
            return _answer(ours[path], Request(environ), stand_in.lock)(environ, start_response)
        if path == "/moto-api/reset":
            stand_in.clear()
        answered: Iterable[bytes] = moto(environ, start_response)
        return answered

    return serve


def _answer(call: Callable[[dict[str, Any]], dict[str, Any] | None], request: Request, lock: threading.Lock) -> Response:
    try:
        with lock:
            answer = call(json.loads(request.get_data() or b"{}"))
        return Response(status=204) if answer is None else Response(json.dumps(answer), content_type="application/json")
    except (json.JSONDecodeError, KeyError) as error:
        return _refusal(Refused(400, "ValidationException", f"the request lacks something, or is no JSON: {error}"))
    except Refused as error:
        return _refusal(error)


def _refusal(error: Refused) -> Response:
    headers = {"x-amzn-ErrorType": error.kind}
    return Response(json.dumps({"exceptionMessage": str(error)}), status=error.status, headers=headers, content_type="application/json")


def keep_mails(stand_in: StandIn) -> None:
    """Teach moto, in this process, what SNS does with `email` subscriptions and with impossible subjects."""
    deliver, publish = Subscription.publish, Topic.publish

    def deliver_or_keep(self: Subscription, message: str, message_id: str, **rest: Any) -> None:
        if self.protocol != "email":
            deliver(self, message, message_id, **rest)
            return
        attributes = rest.get("message_attributes") or {}
        wanted = self._filter_policy_matcher
        if wanted is not None and not wanted.matches(attributes, message):
            return
        text = self._parse_message_structure(message, "email") if rest.get("message_structure") == "json" else message
        plain = {name: str(value["Value"]) for name, value in attributes.items()}
        stand_in.mails.append(Mail(to=self.endpoint, subject=rest.get("subject") or "AWS Notification Message", text=text, attributes=plain))

    def publish_strictly(self: Topic, message: str, subject: str | None = None, *rest: Any, **more: Any) -> str:
        if subject is not None and not subject.isprintable():
            raise SNSInvalidParameter("Invalid parameter: Subject")
        del self.sent_notifications[:-MAILS_MAX]  # moto keeps them all, for tests to look at
        return publish(self, message, subject, *rest, **more)

    Subscription.publish = deliver_or_keep  # type: ignore[method-assign,assignment]
    Topic.publish = publish_strictly  # type: ignore[method-assign]


def number_s3_events() -> None:
    """Teach moto, in this process, that each S3 event is newer than the one before (S3 user guide, "EventBridge event message structure")."""
    deliver, motos = Rule.send_to_targets, "617f08299329d189"

    def deliver_numbered(self: Rule, original_event: Any, *rest: Any, **more: Any) -> None:
        stored = original_event["detail"]["object"] if original_event.get("source") == "aws.s3" else {}
        if stored.get("sequencer") == motos:  # one event is delivered by each of the rules
            stored["sequencer"], stored["etag"] = f"{time.time_ns():016X}", stored.pop("eTag", "")
        deliver(self, original_event, *rest, **more)

    Rule.send_to_targets = deliver_numbered  # type: ignore[method-assign]


def hold_forms_to_their_policy() -> None:
    """Teach moto, in this process, what S3 does with a browser's form. (Deleting many objects is a POST too, and no form.)"""
    take = S3Response._bucket_response_post  # noqa: SLF001 -- there is no other place where a form is taken

    def take_or_refuse(self: S3Response, request: Any, bucket_name: str) -> Any:
        if "key" in self.form_data:
            data = self.body if isinstance(self.body, bytes) else str(self.body).encode()
            refusal = post_policy.refusal(dict(self.form_data), data, bucket=bucket_name, now=datetime.now(UTC))
            if refusal is not None:
                return refusal.status, {"Content-Type": "application/xml"}, refusal.xml()
        return take(self, request, bucket_name)

    S3Response._bucket_response_post = take_or_refuse  # type: ignore[method-assign] # noqa: SLF001


class _Quiet(MotoRequestHandler):
    def log(self, _type: str, _message: str, *_args: Any) -> None:
        """Requests are no news; what goes wrong is answered, and moto's tracebacks reach stderr all the same."""


def main() -> None:
    stand_in = StandIn()
    keep_mails(stand_in)
    hold_forms_to_their_policy()
    number_s3_events()
    host, port = sys.argv[1:]
    server = make_server(host, int(port), application(stand_in), threaded=True, request_handler=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
    os._exit(0)  # requests may be waiting in long polls; nothing here has to be saved


if __name__ == "__main__":
    main()
