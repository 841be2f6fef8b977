"""AWS on this machine: a process that answers over HTTP, and what the CDK stack would have built in it.

The daemon talks to it with plain boto3 through `AWS_ENDPOINT_URL`; nothing in the daemon knows the difference.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType, TracebackType
from typing import Any, Literal, Self

import boto3
import urllib3
from botocore.config import Config

from earmark.errors import AwsUnavailable, BadSettings
from earmark.local.addresses import LOOPBACK, Address

REGION = "us-east-1"
ACCOUNT = "123456789012"
START_S = 30.0
StreamEvent = Literal["Session Created", "Stream Start", "Stream End", "Session Ended", "Stream Failure", "Stream Takeover"]
RecordingEvent = Literal["Recording Start", "Recording End", "Recording Start Failure", "Recording End Failure"]
#: What reaches the daemon's queue; the infrastructure's rule says the same.
EVENT_PATTERN = {
    "source": ["aws.ivs", "aws.medialive", "aws.s3"],
    "detail-type": ["IVS Stream State Change", "IVS Recording State Change", "MediaLive Channel State Change", "Object Created", "Object Deleted"],
}


@dataclass(frozen=True, kw_only=True)
class Mail:
    """What the subscriber of an `email` subscription finds in the mailbox."""

    to: str
    subject: str
    text: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """Names of what the stack built, and the environment by which the daemon finds it."""

    endpoint_url: str
    region: str
    queue_url: str
    queue_arn: str
    dead_letter_url: str
    results_bucket: str
    archive_bucket: str
    #: For recordings (`catalogue.place`), and files to check: its events reach the queue too.
    media_bucket: str
    topic_arn: str
    #: Subscribed to the topic, raw: what automation would read.
    alerts_queue_url: str
    #: Subscribed to the topic by e-mail; see `AwsStandIn.mails`.
    mail_address: str

    def environment(self) -> dict[str, str]:
        return {
            **credentials(self.endpoint_url),
            "EARMARK_QUEUE__URL": self.queue_url,
            "EARMARK_RESULTS__BUCKET": self.results_bucket,
            "EARMARK_ALERTS__TOPIC_ARN": self.topic_arn,
        }


def credentials(endpoint_url: str) -> dict[str, str]:
    """All that boto3 needs to talk to the stand-in, and nothing by which it could reach the real AWS."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ENDPOINT_URL_IVS": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "stand-in",
        "AWS_SECRET_ACCESS_KEY": "stand-in",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


class AwsStandIn:
    """The process, as a context; `endpoint_url` is where every service answers."""

    #: What the process runs.
    module = "earmark.local.aws_server"

    def __init__(self, listen: Address = LOOPBACK) -> None:
        self._listen = listen
        self._process: subprocess.Popen[str] | None = None
        self._http = urllib3.PoolManager(retries=False, timeout=START_S)
        self.endpoint_url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Raises BadSettings without the extra, AwsUnavailable when the process does not come up."""
        if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
            raise BadSettings("the AWS stand-in is not installed: install earmark[desk]")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EARMARK_", "MOTO_"))}
        command = [sys.executable, "-m", self.module, self._listen.host, str(self._listen.port)]
        # A session of its own: the terminal's Ctrl-C is for us, and we stop it in our own order.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=kept, start_new_session=True)
        port = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not port:
            self.stop()
            raise AwsUnavailable(f"the AWS stand-in did not start at {self._listen}: its process ended, see above")
        self.endpoint_url = f"http://{self._listen.reached_at(int(port))}"

    def check(self) -> None:
        """Raises AwsUnavailable when the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise AwsUnavailable(f"the AWS stand-in ended with exit code {self._process.returncode}: start it, and what it is for, again")

    def stop(self) -> None:
        if self._process is not None:
            self._process.communicate()
            self._process = None
        self._http.clear()

    def client(self, service: str) -> Any:
        """A boto3 client for the stand-in."""
        access = credentials(self.endpoint_url)
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.endpoint_url,
            region_name=REGION,
            aws_access_key_id=access["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=access["AWS_SECRET_ACCESS_KEY"],
            config=Config(retries={"total_max_attempts": 2}, connect_timeout=5, read_timeout=60),
        )

    def reset(self) -> None:
        """Forget everything: buckets, queues, channels, mails."""
        self._post("/moto-api/reset")

    def put_channel(
        self, name: str, *, playback_url: str = "", recording_bucket: str = "", tags: Mapping[str, str] = MappingProxyType({}), private: bool = False
    ) -> str:
        """A channel that is not live yet, and is recorded if a bucket is named; returns its ARN. Of a private one the origin has to check tokens itself."""
        arn = f"arn:aws:ivs:{REGION}:{ACCOUNT}:channel/{name}"
        said = {"recording_bucket": recording_bucket, "tags": dict(tags), "private": private}
        self._post("/stand_in/put_channel", arn=arn, name=name, playback_url=playback_url, **said)
        return arn

    def put_archive_channel(self, name: str, *urls: str, rollover_s: int) -> str:
        """A MediaLive channel whose archive output group writes to `urls`, one for each pipeline; returns its ARN."""
        group = {
            "OutputGroupSettings": {"ArchiveGroupSettings": {"Destination": {"DestinationRefId": "archive"}, "RolloverInterval": rollover_s}},
            "Outputs": [],
        }
        made = self.client("medialive").create_channel(
            Name=name,
            ChannelClass="STANDARD" if len(urls) > 1 else "SINGLE_PIPELINE",
            Destinations=[{"Id": "archive", "Settings": [{"Url": url} for url in urls]}],
            EncoderSettings={"AudioDescriptions": [], "VideoDescriptions": [], "OutputGroups": [group], "TimecodeConfig": {"Source": "EMBEDDED"}},
        )
        # The stand-in's own ARN lacks region and account; the event carries one as AWS writes it.
        return f"arn:aws:medialive:{REGION}:{ACCOUNT}:channel:{made['Channel']['Id']}"

    def go_live(self, channel_arn: str, stream_id: str, playback_url: str) -> None:
        """What GetStream and ListStreams say from now on. Announces nothing: see `put_stream_event`."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._post("/stand_in/go_live", arn=channel_arn, stream_id=stream_id, playback_url=playback_url, started_at=now)

    def refuse(self, operation: str, kind: str, *, status: int = 403, message: str = "refused by the stand-in", times: int = 1) -> None:
        """The next calls of PutMetadata, StopStream, ListStreamKeys or DeleteStreamKey are answered with this error."""
        self._post("/stand_in/refuse", operation=operation, kind=kind, status=status, message=message, times=times)

    def broadcasts(self) -> list[dict[str, Any]]:
        """What was done to live streams so far, in order: `operation`, `channel_arn`, `stream_id`, `at`, and `metadata` of PutMetadata."""
        done: list[dict[str, Any]] = self._post("/stand_in/broadcasts")["broadcasts"]
        return done

    def go_offline(self, channel_arn: str) -> None:
        self._post("/stand_in/go_offline", arn=channel_arn)

    def put_stream_event(self, channel_arn: str, stream_id: str, event: StreamEvent, *, time: datetime | None = None) -> None:
        """Put an `IVS Stream State Change` on the event bus, in the shape of the IVS user guide."""
        detail = {"event_name": event, "channel_name": channel_arn.rpartition("/")[2], "stream_id": stream_id}
        self._put_event("aws.ivs", "IVS Stream State Change", detail, [channel_arn], time)

    def put_recording_event(
        self,
        channel_arn: str,
        stream_ids: Sequence[str],
        event: RecordingEvent,
        place: str,
        *,
        duration_s: float = 0.0,
        time: datetime | None = None,
    ) -> None:
        """Put an `IVS Recording State Change` on the event bus; its end names all streams that were merged. `place`: s3://bucket/prefix."""
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        detail = {
            "channel_name": channel_arn.rpartition("/")[2],
            "stream_id": stream_ids[0],
            "recording_status": event,
            "recording_status_reason": "",
            "recording_s3_bucket_name": bucket,
            "recording_s3_key_prefix": prefix,
            "recording_duration_ms": round(duration_s * 1000),
            "recording_session_id": prefix.rpartition("/")[2],
            **({"recording_session_stream_ids": list(stream_ids)} if event == "Recording End" else {}),
        }
        self._put_event("aws.ivs", "IVS Recording State Change", detail, [channel_arn], time)

    def put_medialive_event(self, channel_arn: str, state: str, *, time: datetime | None = None) -> None:
        """Put a `MediaLive Channel State Change` on the event bus."""
        running = 2 if state == "RUNNING" else 0
        detail = {"channel_arn": channel_arn, "state": state, "message": f"Channel is {state.lower()}", "pipelines_running_count": running}
        self._put_event("aws.medialive", "MediaLive Channel State Change", detail, [channel_arn], time)

    def mails(self) -> list[Mail]:
        """What `email` subscriptions received so far, in order."""
        return [Mail(**mail) for mail in self._post("/stand_in/mails")["mails"]]

    def deploy(self, *, mail_address: str = "rights-team@example.com") -> Deployment:
        """Build what the stack builds: queue with its dead letters, rule, buckets, topic and two subscribers."""
        sqs, s3, sns, events = (self.client(service) for service in ("sqs", "s3", "sns", "events"))
        dead_url, dead_arn = _queue(sqs, "earmark-dead-letters", {"MessageRetentionPeriod": "1209600"})
        redrive = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 5})
        queue_url, queue_arn = _queue(sqs, "earmark-streams", {"VisibilityTimeout": "60", "RedrivePolicy": redrive})
        for bucket in ("earmark-results", "earmark-archive", "earmark-media"):
            s3.create_bucket(Bucket=bucket)
        for bucket in ("earmark-archive", "earmark-media"):
            s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
        events.put_rule(Name="earmark-streams", EventPattern=json.dumps(EVENT_PATTERN))
        events.put_targets(Rule="earmark-streams", Targets=[{"Id": "queue", "Arn": queue_arn}])
        topic_arn = sns.create_topic(Name="earmark-alerts")["TopicArn"]
        alerts_url, alerts_arn = _queue(sqs, "earmark-alerts", {})
        hits = json.dumps({"state": ["provisional", "open", "closed"]})  # a digest is for people
        sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=alerts_arn, Attributes={"RawMessageDelivery": "true", "FilterPolicy": hits})
        sns.subscribe(TopicArn=topic_arn, Protocol="email", Endpoint=mail_address)
        return Deployment(
            endpoint_url=self.endpoint_url,
            region=REGION,
            queue_url=queue_url,
            queue_arn=queue_arn,
            dead_letter_url=dead_url,
            results_bucket="earmark-results",
            archive_bucket="earmark-archive",
            media_bucket="earmark-media",
            topic_arn=topic_arn,
            alerts_queue_url=alerts_url,
            mail_address=mail_address,
        )

    def _put_event(self, source: str, detail_type: str, detail: Mapping[str, Any], resources: Sequence[str], time: datetime | None) -> None:
        entry = {"Source": source, "DetailType": detail_type, "Detail": json.dumps(detail), "Resources": list(resources), "Time": time or datetime.now(UTC)}
        failed = self.client("events").put_events(Entries=[entry])
        if failed["FailedEntryCount"]:
            raise AwsUnavailable(f"the event bus refused the event: {failed['Entries'][0].get('ErrorMessage', 'no reason given')}")

    def _post(self, path: str, **asked: Any) -> dict[str, Any]:
        response = self._http.request("POST", self.endpoint_url + path, json=asked)
        answer: dict[str, Any] = json.loads(response.data)
        if response.status != 200:
            raise AwsUnavailable(f"the AWS stand-in answered {response.status} to {path}: {answer.get('exceptionMessage', answer)}")
        return answer


def _queue(sqs: Any, name: str, attributes: Mapping[str, str]) -> tuple[str, str]:
    url = sqs.create_queue(QueueName=name, Attributes=dict(attributes))["QueueUrl"]
    return url, sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
