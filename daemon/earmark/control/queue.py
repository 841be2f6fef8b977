"""SQS: receive, understand, record, delete; in that order.

A message that was recorded is deleted; one that cannot be understood is left, so that the queue's redrive policy moves it
to the dead-letter queue; everything between (a database that is away) is left too and comes again after its visibility
timeout. Which worker receives a message does not matter, nor how often: what it says is a row.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential
from tenacity.nap import sleep_using_event
from tenacity.stop import stop_when_event_set

from earmark.aws import asking
from earmark.control import recordings, traces
from earmark.control.medialive import placed
from earmark.control.messages import Ignored, Message, ObjectArrived, ObjectRemoved, RecordingChanged, StartStream, StopStream, Unknown, parse
from earmark.control.places import Places
from earmark.control.wanted import Effect, record
from earmark.errors import AwsRefused, AwsUnavailable, BadMessage, EarmarkError, SourceUnsupported, StreamNotFound, Transient
from earmark.postgres import Pool, statement, transaction
from earmark.settings import Queue as QueueSettings

#: SQS gives and deletes ten at most.
BATCH_MAX = 10


class Sqs(Protocol):
    """boto3's `sqs` client, as far as it is used."""

    def receive_message(self, **arguments: Any) -> Mapping[str, Any]: ...
    def delete_message_batch(self, **arguments: Any) -> Mapping[str, Any]: ...


class Meter(Protocol):
    """What is counted: `telemetry`. `kind` and `effect` are of closed lists."""

    def message_received(self, kind: str, *, age_s: float) -> None: ...
    def message_recorded(self, effect: Effect) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """One message as SQS gave it to us this time."""

    message_id: str
    receipt: str
    body: str
    sent_at: datetime
    #: This time included.
    times: int


class ControlQueue:
    """The queue that EventBridge fills. Raises AwsUnavailable, or AwsRefused (denied, no such queue)."""

    def __init__(self, *, sqs: Sqs, settings: QueueSettings) -> None:
        self._sqs = sqs
        self._settings = settings
        self._log = structlog.get_logger()

    def receive(self) -> list[Received]:
        """Up to ten messages; waits at most `queue.wait_s` for the first."""
        with asking("sqs:ReceiveMessage", self._settings.url):
            answer = self._sqs.receive_message(
                QueueUrl=self._settings.url,
                MaxNumberOfMessages=BATCH_MAX,
                WaitTimeSeconds=self._settings.wait_s,
                VisibilityTimeout=self._settings.visibility_s,
                MessageSystemAttributeNames=["All"],
            )
        return [_received(message) for message in answer.get("Messages", ())]

    def delete(self, messages: Sequence[Received]) -> None:
        """What cannot be deleted comes again, and changes nothing."""
        if not messages:
            return
        entries = [{"Id": str(n), "ReceiptHandle": message.receipt} for n, message in enumerate(messages)]
        with asking("sqs:DeleteMessage", self._settings.url):
            answer = self._sqs.delete_message_batch(QueueUrl=self._settings.url, Entries=entries)
        for failed in answer.get("Failed", ()):
            self._log.warning("message.kept", message_id=messages[int(failed["Id"])].message_id, reason=f"{failed.get('Code')}: {failed.get('Message', '')}")


def _received(message: Mapping[str, Any]) -> Received:
    attributes = message.get("Attributes", {})
    return Received(
        message_id=message["MessageId"],
        receipt=message["ReceiptHandle"],
        body=message.get("Body", ""),
        sent_at=datetime.fromtimestamp(int(attributes.get("SentTimestamp", 0)) / 1000, UTC),
        times=int(attributes.get("ApproximateReceiveCount", 1)),
    )


class Intake:
    """Takes messages from the queue and puts what they say on record, for as long as the daemon lives."""

    def __init__(
        self,
        *,
        queue: ControlQueue,
        pool: Pool,
        settings: QueueSettings,
        places: Places,
        archive_places: Callable[[str], Sequence[str]],
        meter: Meter,
        stop: threading.Event,
        fill_gaps: bool = True,
        beat: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`archive_places`: channel ARN -> s3://bucket/prefix of each pipeline (`Channels.archive_places`). `fill_gaps`: `auto_record.fill_gaps`.

        `beat` is called after each round in which queue and database answered.
        """
        self._queue = queue
        self._pool = pool
        self._settings = settings
        self._places = places
        self._archive_places = archive_places
        self._fill_gaps = fill_gaps
        self._meter = meter
        self._stop = stop
        self._beat = beat
        self._now = now
        self._log = structlog.get_logger()

    def run(self) -> None:
        """Until `stop`, which is noticed after the long poll at the latest. Raises AwsRefused, and what else will not pass."""
        patient = Retrying(
            retry=retry_if_exception_type(Transient),
            wait=wait_random_exponential(multiplier=0.5, max=30),
            stop=stop_when_event_set(self._stop),
            sleep=sleep_using_event(self._stop),
            before_sleep=self._tell,
            retry_error_callback=lambda _: None,
        )
        while not self._stop.is_set():
            patient(self.step)

    def step(self) -> int:
        """Receive once and record what came; returns how many messages that were.

        While the database is away nothing is received: the queue counts each receipt, and sends good messages to the
        dead letters after a few.
        """
        with statement(self._pool) as connection:
            connection.execute("select")
        received = self._queue.receive()
        done: list[Received] = []
        try:
            for message in received:
                if self._take(message):
                    done.append(message)  # noqa: PERF401 -- what was recorded before an error is deleted too
        finally:
            self._queue.delete(done)
        self._beat()
        return len(received)

    def _tell(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if state.attempt_number == 1:
            self._log.warning("intake.failed", reason=str(error))

    def _take(self, received: Received) -> bool:
        """True: its message can be deleted."""
        age_s = max(0.0, (self._now() - received.sent_at).total_seconds())
        try:
            messages = parse(received.body)
        except BadMessage as error:
            self._meter.message_received("bad", age_s=age_s)
            if received.times == 1:
                self._log.error("message.not_understood", message_id=received.message_id, reason=str(error))
            return False
        try:
            for message in messages:
                self._record(message, received, age_s)
        except AwsUnavailable as error:  # where its files are cannot be asked now: the others need not wait for that
            self._log.warning("message.postponed", message_id=received.message_id, reason=str(error))
            return False
        except EarmarkError:
            raise
        except Exception:  # noqa: BLE001 -- a bug that this message brings to light: told loudly, and left to the dead-letter queue
            self._log.exception("message.not_recorded", message_id=received.message_id)
            return False
        return True

    def _record(self, message: Message, received: Received, age_s: float) -> None:
        self._meter.message_received(_kind(message), age_s=age_s)
        match message:
            case Ignored(kind=kind):
                self._log.debug("message.ignored", kind=kind)
            case Unknown(detail_type=detail_type):
                self._log.warning("message.unknown", detail_type=detail_type, message_id=received.message_id)
            case RecordingChanged():
                with transaction(self._pool) as connection:
                    effect = recordings.record(connection, message, fill_gaps=self._fill_gaps)
                self._meter.message_recorded(effect)
                if effect == "recorded":
                    self._log.info("recording." + message.status, place=message.place, stream_ids=message.stream_ids, event_id=message.event_id)
            case StartStream() | StopStream() | ObjectArrived() | ObjectRemoved():
                message = self._placed(message)
                with transaction(self._pool) as connection:
                    effect = record(connection, message, places=self._places)
                    streams = traces.told_of(connection, message) if effect in ("opened", "stopped") else []
                self._meter.message_recorded(effect)
                self._say(message, effect, streams)

    def _placed(self, message: StartStream | StopStream | ObjectArrived | ObjectRemoved) -> StartStream | StopStream | ObjectArrived | ObjectRemoved:
        """A MediaLive run with the place of its archive files, without which no segment would find it."""
        if not isinstance(message, StartStream) or message.stream.source != "medialive":
            return message
        try:
            places = self._archive_places(message.stream.channel_arn or "")
        except (AwsRefused, StreamNotFound, SourceUnsupported) as error:
            # Its session will fail for the same reason, in sight of everybody.
            self._log.warning("channel.without_place", channel_arn=message.stream.channel_arn, reason=str(error))
            return message
        return replace(message, stream=placed(message.stream, places))

    def _say(self, message: StartStream | StopStream | ObjectArrived | ObjectRemoved, effect: Effect, streams: Sequence[Mapping[str, str]]) -> None:
        """`streams`: which it is about. The event's own id is told beside their trace: of a stream's later events it is another."""
        match message:
            case StartStream(stream=stream, at=at) if effect == "opened":
                age_s = round((self._now() - at).total_seconds(), 3)
                stale = age_s > self._settings.stale_event_s
                about = {"channel_arn": stream.channel_arn, "source": stream.source, "age_s": age_s, "stale": stale, "event_id": message.event_id}
                for named in streams:
                    self._log.info("stream.wanted", **named, **about)
            case StopStream() if effect == "stopped":
                for named in streams or [{}]:  # of a channel that no run is known of, its stop is told all the same
                    self._log.info("stream.stopped", **named, channel_arn=message.channel_arn, reason=message.reason, event_id=message.event_id)
            case ObjectArrived() if effect == "homeless":
                self._log.warning("segment.homeless", bucket=message.bucket, key=message.key, event_id=message.event_id)


def _kind(message: Message) -> str:
    match message:
        case StartStream():
            return "start"
        case StopStream():
            return "stop"
        case RecordingChanged():
            return "recording"
        case ObjectArrived():
            return "object"
        case ObjectRemoved():
            return "removal"
        case Ignored():
            return "ignored"
        case Unknown():
            return "unknown"
