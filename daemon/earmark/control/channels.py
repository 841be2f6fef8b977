"""What AWS says about channels: is one live, where is it played, where are its archive files.

Amazon IVS answers 5 calls of each kind a second per account and region, whoever asks (service quotas page), so all calls
of this process pass one limiter, and channels asked for at the same time share a BatchGetChannel of up to 50. MediaLive
has a limiter of its own.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.exceptions import ClientError

from earmark.aws import asking, code
from earmark.control.medialive import ListedChannel
from earmark.control.playback import unsigned
from earmark.control.reconcile import LiveStream
from earmark.errors import AwsRefused, AwsUnavailable, EarmarkError, SourceUnsupported, StreamNotFound
from earmark.settings import Aws

#: A playback URL does not change while its channel exists; what may change is whether the channel is private.
CACHE_S = 300.0
#: A channel that does not exist is asked for again by the next session, not by all that wait just now.
CACHE_ABSENT_S = 5.0
BATCH_MAX = 50
PAGE_MAX = 100
#: 1,000 pages of 100 are beyond any account's quota: more is a token that leads in a circle.
_PAGES_MAX = 1_000
#: A call that would have to wait longer for its turn is refused at once: the caller backs off.
WAIT_S_MAX = 60.0


class Ivs(Protocol):
    """boto3's `ivs` client, as far as it is used."""

    def get_channel(self, *, arn: str) -> Mapping[str, Any]: ...
    def batch_get_channel(self, *, arns: Sequence[str]) -> Mapping[str, Any]: ...
    def get_stream(self, *, channelArn: str) -> Mapping[str, Any]: ...  # noqa: N803 -- boto3's name
    def list_streams(self, **arguments: Any) -> Mapping[str, Any]: ...
    def get_recording_configuration(self, *, arn: str) -> Mapping[str, Any]: ...


class MediaLive(Protocol):
    """boto3's `medialive` client, as far as it is used."""

    def describe_channel(self, *, ChannelId: str) -> Mapping[str, Any]: ...  # noqa: N803 -- boto3's name
    def list_channels(self, **arguments: Any) -> Mapping[str, Any]: ...


class Meter(Protocol):
    """What is counted: `telemetry`."""

    def ivs_called(self, operation: str, *, waited_s: float) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Channel:
    """An IVS channel, as far as listening to it goes."""

    channel_arn: str
    name: str
    playback_url: str
    #: Playback needs a signed token.
    private: bool
    tags: Mapping[str, str] = field(default_factory=dict)
    #: Of Auto-Record to Amazon S3; empty: the channel is not recorded.
    recording_configuration_arn: str = ""


class Limiter:
    """So many calls a second, evenly spaced, first come first served."""

    def __init__(
        self, *, calls_per_s: float, wait: Callable[[float], bool], clock: Callable[[], float] = time.monotonic, setting: str = "aws.ivs_calls_per_s"
    ) -> None:
        """`wait` sleeps so many seconds, and says True if it was woken because everything stops (`threading.Event.wait`)."""
        self._setting = setting
        self._spacing_s = 1 / calls_per_s
        self._wait = wait
        self._clock = clock
        self._lock = threading.Lock()
        self._next = clock()

    def take(self) -> float:
        """Wait for a turn; returns the seconds waited. Raises AwsUnavailable if that would take too long, or everything stops."""
        with self._lock:
            now = self._clock()
            wait_s = max(0.0, self._next - now)
            if wait_s > WAIT_S_MAX:
                raise AwsUnavailable(f"more calls are waiting than {self._setting} lets through in {WAIT_S_MAX:.0f} s: try again later")
            self._next = now + wait_s + self._spacing_s
        if wait_s > 0 and self._wait(wait_s):
            raise AwsUnavailable("the daemon stops: AWS is not asked any more")
        return wait_s


class Channels:
    """Thread-safe. Raises StreamNotFound for what does not exist, AwsUnavailable or AwsRefused for what cannot be asked."""

    def __init__(
        self,
        *,
        ivs: Ivs,
        medialive: MediaLive,
        settings: Aws,
        meter: Meter,
        wait: Callable[[float], bool],
        signed: Callable[[str, str], str] = unsigned,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`signed`: playback URL and ARN of a private channel -> address for one opening (`Playback.address`)."""
        self._ivs = ivs
        self._signed = signed
        self._medialive = medialive
        self._meter = meter
        self._clock = clock
        self._limiter = Limiter(calls_per_s=settings.ivs_calls_per_s, wait=wait, clock=clock)
        self._medialive_limiter = Limiter(calls_per_s=settings.medialive_calls_per_s, wait=wait, clock=clock, setting="aws.medialive_calls_per_s")
        self._lock = threading.Lock()
        self._fetching = threading.Lock()
        self._asked: set[str] = set()
        self._known: dict[str, tuple[float, Channel | EarmarkError]] = {}
        self._buckets: dict[str, str] = {}

    def playback_url(self, channel_arn: str) -> str:
        """Where the channel is played, for one opening: the only source of such a URL, since events could name any.

        A private channel's has a new token each time. Raises SourceUnsupported where that cannot be made.
        """
        channel = self.channel(channel_arn)
        return self._signed(channel.playback_url, channel_arn) if channel.private else channel.playback_url

    def channel(self, channel_arn: str) -> Channel:
        """From the cache, or with everything else that is asked for at this moment."""
        with self._lock:
            self._asked.add(channel_arn)
        while True:
            known = self._cached(channel_arn)
            if isinstance(known, Channel):
                return known
            if known is not None:
                raise known
            # One thread asks for all; the others wait here, and mostly find their answer.
            if not self._fetching.acquire(timeout=WAIT_S_MAX):
                raise AwsUnavailable(f"ivs:GetChannel of {channel_arn} had to wait too long for its turn: try again later")
            try:
                if self._cached(channel_arn) is None:
                    self._fetch(channel_arn)
            finally:
                self._fetching.release()

    def recording_bucket(self, channel_arn: str) -> str | None:
        """Where the channel is recorded to; None: it is not recorded. (Amazon IVS API reference, "GetRecordingConfiguration".)"""
        arn = self.channel(channel_arn).recording_configuration_arn
        if not arn:
            return None
        with self._lock:
            if arn in self._buckets:
                return self._buckets[arn]
        self._turn("GetRecordingConfiguration")
        with asking("ivs:GetRecordingConfiguration", arn):
            destination = self._ivs.get_recording_configuration(arn=arn)["recordingConfiguration"].get("destinationConfiguration") or {}
        bucket: str | None = (destination.get("s3") or {}).get("bucketName")
        with self._lock:
            if bucket and len(self._buckets) < _PAGES_MAX:  # a configuration cannot be changed
                self._buckets[arn] = bucket
        return bucket

    def live_stream_id(self, channel_arn: str) -> str | None:
        """The stream that is live on the channel now, asked afresh; None: none is."""
        self._turn("GetStream")
        with asking("ivs:GetStream", channel_arn):
            try:
                stream = self._ivs.get_stream(channelArn=channel_arn).get("stream") or {}
            except ClientError as error:
                if code(error) == "ChannelNotBroadcasting":
                    return None
                if code(error) == "ResourceNotFoundException":
                    raise StreamNotFound(_ABSENT.format(channel_arn)) from None
                raise
        # OFFLINE is in the model, though the API need not return it.
        return stream.get("streamId") if stream.get("state", "LIVE") == "LIVE" else None

    def list_live(self) -> list[LiveStream]:
        """Every live stream of the account and region."""
        found: list[LiveStream] = []
        token: dict[str, str] = {}
        for _ in range(_PAGES_MAX):
            self._turn("ListStreams")
            with asking("ivs:ListStreams", "this account"):
                page = self._ivs.list_streams(maxResults=PAGE_MAX, **token)
            found += [
                LiveStream(stream_id=stream["streamId"], channel_arn=stream["channelArn"], started_at=stream.get("startTime"))
                for stream in page.get("streams", ())
                if stream.get("streamId") and stream.get("state", "LIVE") == "LIVE"
            ]
            if not page.get("nextToken"):
                return found
            token = {"nextToken": page["nextToken"]}
        raise AwsUnavailable(f"ivs:ListStreams did not come to an end within {_PAGES_MAX} pages")

    def _turn(self, operation: str) -> None:
        self._meter.ivs_called(operation, waited_s=self._limiter.take())

    def _cached(self, channel_arn: str) -> Channel | EarmarkError | None:
        with self._lock:
            until, known = self._known.get(channel_arn, (0.0, None))
            if known is None or until <= self._clock():
                return None
            self._asked.discard(channel_arn)
            return known

    def _fetch(self, channel_arn: str) -> None:
        """Ask for this channel, and for those that others wait for."""
        self._turn("GetChannel")
        with self._lock:
            others = [arn for arn in self._asked if arn != channel_arn][: BATCH_MAX - 1]
        answers = self._ask_batch([channel_arn, *others]) if others else None
        if answers is None:
            answers = {channel_arn: self._ask_one(channel_arn)}
        with self._lock:
            now = self._clock()
            self._asked.difference_update(answers)
            self._known = {arn: known for arn, known in self._known.items() if known[0] > now}
            for arn, answer in answers.items():
                self._known[arn] = (now + (CACHE_S if isinstance(answer, Channel) else CACHE_ABSENT_S), answer)

    def _ask_batch(self, arns: Sequence[str]) -> dict[str, Channel | EarmarkError] | None:
        """None if IVS refuses the batch: one impossible ARN spoils it for all, so each is then asked for by itself."""
        try:
            with asking("ivs:BatchGetChannel", f"{len(arns)} channels"):
                answer = self._ivs.batch_get_channel(arns=arns)
        except AwsRefused:
            return None
        found = {channel["arn"]: channel for channel in answer.get("channels", ())}
        refused = {error["arn"]: error for error in answer.get("errors", ()) if error.get("code") != "ResourceNotFoundException"}
        return {
            arn: _channel(found[arn]) if arn in found else _refused(refused[arn]) if arn in refused else StreamNotFound(_ABSENT.format(arn)) for arn in arns
        }

    def _ask_one(self, channel_arn: str) -> Channel | EarmarkError:
        with asking("ivs:GetChannel", channel_arn):
            try:
                return _channel(self._ivs.get_channel(arn=channel_arn)["channel"])
            except ClientError as error:
                if code(error) == "ResourceNotFoundException":
                    return StreamNotFound(_ABSENT.format(channel_arn))
                raise

    def archive_places(self, channel_arn: str, *, pipeline: str = "0") -> tuple[str, ...]:
        """`s3://bucket/prefix` of the files that the channel's archive output group writes: of this pipeline, and of the other if there is one.

        Up to the first identifier (`$dt$` and its like), which is only known once a file is there. Raises SourceUnsupported
        for a channel without such a group.
        """
        self._medialive_limiter.take()
        with asking("medialive:DescribeChannel", channel_arn):
            try:
                channel = self._medialive.describe_channel(ChannelId=channel_arn.rpartition(":")[2])
            except ClientError as error:
                if code(error) == "NotFoundException":
                    raise StreamNotFound(f"the MediaLive channel {channel_arn} does not exist (any more)") from None
                raise
        for group in (channel.get("EncoderSettings") or {}).get("OutputGroups", ()):
            archive = group.get("OutputGroupSettings", {}).get("ArchiveGroupSettings")
            if archive:
                return _places(channel, archive["Destination"]["DestinationRefId"], pipeline, channel_arn)
        raise SourceUnsupported(
            f"the MediaLive channel {channel_arn} has no archive output group: add one that writes to S3, or name its HLS output in streams.static"
        )

    def list_channels(self) -> list[ListedChannel]:
        """Every MediaLive channel of the account and region, in whatever state."""
        found: list[ListedChannel] = []
        token: dict[str, str] = {}
        for _ in range(_PAGES_MAX):
            self._medialive_limiter.take()
            with asking("medialive:ListChannels", "this account"):
                page = self._medialive.list_channels(MaxResults=PAGE_MAX, **token)
            found += [
                ListedChannel(channel_arn=channel["Arn"], channel_id=channel["Id"], state=channel.get("State", "")) for channel in page.get("Channels", ())
            ]
            if not page.get("NextToken"):
                return found
            token = {"NextToken": page["NextToken"]}
        raise AwsUnavailable(f"medialive:ListChannels did not come to an end within {_PAGES_MAX} pages")


_ABSENT = "the IVS channel {} does not exist (any more)"


def _channel(described: Mapping[str, Any]) -> Channel:
    return Channel(
        channel_arn=described["arn"],
        name=described.get("name", ""),
        playback_url=described["playbackUrl"],
        private=bool(described.get("authorized")),
        tags=described.get("tags") or {},
        recording_configuration_arn=described.get("recordingConfigurationArn") or "",
    )


def _refused(error: Mapping[str, Any]) -> AwsRefused:
    return AwsRefused(f"ivs:BatchGetChannel of {error['arn']} was refused: {error.get('code')}: {error.get('message', 'no reason given')}")


def _places(channel: Mapping[str, Any], reference: str, pipeline: str, channel_arn: str) -> tuple[str, ...]:
    """MediaLive user guide, "Fields for the output destination": `s3ssl://bucket/folders/baseFilename`, one for each pipeline."""
    settings = next((destination.get("Settings", ()) for destination in channel.get("Destinations", ()) if destination.get("Id") == reference), ())
    urls = [entry["Url"] for entry in settings if entry.get("Url")] or [""]
    if pipeline == "1":
        urls.reverse()
    places = []
    for url in urls[:2]:
        scheme, separator, address = url.partition("://")
        if separator and scheme in ("s3", "s3ssl"):
            places.append("s3://" + address.partition("$")[0])
        elif not places:
            raise SourceUnsupported(
                f"the archive output group of the MediaLive channel {channel_arn} does not write to S3 but to {url or 'nowhere'}: give it an s3:// destination"
            )
    # Pipelines that write to one place cannot be told from one another by it.
    return tuple(dict.fromkeys(places))
