"""How AWS is asked about channels: how often, for how many at once, and what its refusals mean."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, NoRegionError, ParamValidationError, ReadTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from control_ivs import FakeIvs, refusal
from earmark.aws import asking
from earmark.control.channels import BATCH_MAX, CACHE_ABSENT_S, CACHE_S, WAIT_S_MAX, Channels, Limiter
from earmark.control.medialive import ListedChannel
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnsupported, StreamNotFound
from earmark.settings import Aws

ARN = "arn:aws:ivs:us-west-2:123456789012:channel/AbCdef1G2hij"
MEDIALIVE_ARN = "arn:aws:medialive:us-west-2:111122223333:channel:123456"


class Clock:
    """Time that passes only when somebody waits, or when the test says so."""

    def __init__(self) -> None:
        self.s = 100.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.s

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.s += seconds
        return False


class Counted:
    def __init__(self) -> None:
        self.operations: list[str] = []

    def ivs_called(self, operation: str, *, waited_s: float) -> None:
        assert waited_s >= 0
        self.operations.append(operation)


def _channels(ivs: Any, *, medialive: Any = None, clock: Clock | None = None, counted: Counted | None = None, calls_per_s: float = 4) -> Channels:
    clock = clock or Clock()
    return Channels(ivs=ivs, medialive=medialive, settings=Aws(ivs_calls_per_s=calls_per_s), meter=counted or Counted(), wait=clock.wait, clock=clock)


@given(rate=st.floats(0.5, 100), pauses=st.lists(st.floats(0, 3), min_size=2, max_size=30))
def test_never_more_calls_than_the_rate_in_any_stretch_of_time(rate: float, pauses: list[float]) -> None:
    clock = Clock()
    limiter = Limiter(calls_per_s=rate, wait=clock.wait, clock=clock)
    calls = []
    for pause in pauses:
        clock.s += pause
        limiter.take()
        calls.append(clock.s)
    assert all(later - earlier >= (n + 1) / rate - 1e-6 for i, earlier in enumerate(calls) for n, later in enumerate(calls[i + 1 :]))


def test_the_first_call_after_a_pause_does_not_wait() -> None:
    clock = Clock()
    limiter = Limiter(calls_per_s=4, wait=clock.wait, clock=clock)
    assert limiter.take() == 0
    assert limiter.take() == pytest.approx(0.25)
    clock.s += 10
    assert limiter.take() == 0


def test_a_call_that_would_wait_too_long_is_refused_for_now() -> None:
    standing = Clock()
    limiter = Limiter(calls_per_s=1, wait=lambda _: False, clock=standing)
    for _ in range(int(WAIT_S_MAX) + 1):
        limiter.take()
    with pytest.raises(AwsUnavailable, match=r"aws\.ivs_calls_per_s"):
        limiter.take()
    standing.s += 5
    limiter.take()


def test_a_stop_wakes_the_wait_for_a_turn() -> None:
    stop = threading.Event()
    limiter = Limiter(calls_per_s=0.1, wait=stop.wait)
    limiter.take()
    stop.set()
    with pytest.raises(AwsUnavailable, match="stops"):
        limiter.take()


def test_a_private_channel_is_not_asked_for_its_playlist_again_and_again() -> None:
    ivs = FakeIvs()
    ivs.urls[ARN] = "https://x"
    ivs.private.add(ARN)
    with pytest.raises(SourceUnsupported, match=f"{ARN} is private: its playback needs a signed token"):
        _channels(ivs).playback_url(ARN)


def test_all_kinds_of_calls_share_one_rate() -> None:
    ivs, clock, counted = FakeIvs(), Clock(), Counted()
    ivs.urls[ARN], ivs.live[ARN] = "https://x", "st-1"
    channels = _channels(ivs, clock=clock, counted=counted)
    channels.playback_url(ARN)
    channels.live_stream_id(ARN)
    channels.list_live()
    assert clock.waits == [pytest.approx(0.25)] * 2
    assert counted.operations == ["GetChannel", "GetStream", "ListStreams"]


def test_a_channel_is_remembered_for_a_while() -> None:
    ivs, clock = FakeIvs(), Clock()
    ivs.urls[ARN] = "https://old"
    channels = _channels(ivs, clock=clock)
    assert channels.playback_url(ARN) == "https://old"
    ivs.urls[ARN] = "https://new"
    clock.s += CACHE_S - 1
    assert channels.playback_url(ARN) == "https://old"
    clock.s += 2
    assert channels.playback_url(ARN) == "https://new"


def test_that_a_channel_does_not_exist_is_not_believed_for_long() -> None:
    ivs, clock = FakeIvs(), Clock()
    channels = _channels(ivs, clock=clock)
    for _ in range(3):
        with pytest.raises(StreamNotFound):
            channels.playback_url(ARN)
    assert len(ivs.calls) == 1
    ivs.urls[ARN] = "https://x"
    clock.s += CACHE_ABSENT_S + 1
    assert channels.playback_url(ARN) == "https://x"


class Gate(FakeIvs):
    """The first call waits until all others stand in line."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.opened = threading.Event(), threading.Event()

    def get_channel(self, *, arn: str) -> dict[str, Any]:
        answer = super().get_channel(arn=arn)
        self.entered.set()
        assert self.opened.wait(20)
        return answer


def _ask_together(ivs: Gate, arns: list[str]) -> tuple[Channels, list[str]]:
    """One asks; while its call is under way all the others do."""
    channels = _channels(ivs, calls_per_s=1_000)
    with ThreadPoolExecutor(len(arns)) as threads:
        first = threads.submit(channels.playback_url, arns[0])
        assert ivs.entered.wait(20)
        others = [threads.submit(channels.playback_url, arn) for arn in arns[1:]]
        while len(channels._asked) < len(arns):
            pass
        ivs.opened.set()
        return channels, [future.result(20) for future in (first, *others)]


def test_what_is_asked_for_while_a_call_is_under_way_shares_the_next() -> None:
    ivs = Gate()
    arns = [f"{ARN}{n}" for n in range(BATCH_MAX + 2)]
    ivs.urls = {arn: f"https://{arn[-2:]}" for arn in arns}
    _, urls = _ask_together(ivs, arns)
    assert urls == [ivs.urls[arn] for arn in arns]
    assert [operation for operation, _ in ivs.calls] == ["GetChannel", "BatchGetChannel", "GetChannel"]
    assert len(ivs.calls[1][1]) == BATCH_MAX


def test_a_batch_that_is_refused_is_asked_for_one_by_one() -> None:
    class Spoiled(Gate):
        def batch_get_channel(self, *, arns: Any) -> dict[str, Any]:
            super().batch_get_channel(arns=arns)
            raise refusal("ValidationException", "BatchGetChannel", status=400)

    ivs = Spoiled()
    arns = [f"{ARN}{n}" for n in range(4)]
    ivs.urls = {arn: f"https://{arn[-1]}" for arn in arns}
    _, urls = _ask_together(ivs, arns)
    assert urls == [ivs.urls[arn] for arn in arns]
    assert sum(operation == "GetChannel" for operation, _ in ivs.calls) == 4


def test_one_of_a_batch_may_be_refused_by_itself() -> None:
    class Partly(Gate):
        def batch_get_channel(self, *, arns: Any) -> dict[str, Any]:
            answer = super().batch_get_channel(arns=arns)
            return {"channels": answer["channels"], "errors": [{"arn": f"{ARN}2", "code": "AccessDeniedException", "message": "no"}]}

    ivs = Partly()
    ivs.urls = {f"{ARN}{n}": "https://x" for n in (0, 1)}
    with pytest.raises(AwsRefused, match=f"^ivs:BatchGetChannel of {ARN}2 was refused: AccessDeniedException: no$"):
        _ask_together(ivs, [f"{ARN}{n}" for n in range(3)])


def test_a_list_without_an_end_is_given_up() -> None:
    class Circle(FakeIvs):
        def list_streams(self, **arguments: Any) -> dict[str, Any]:
            return {"streams": [], "nextToken": "again"}

    with pytest.raises(AwsUnavailable, match="did not come to an end"):
        _channels(Circle()).list_live()


@pytest.mark.parametrize("state", ["OFFLINE", "ENDING"])
def test_only_live_is_live(state: str) -> None:
    class Off(FakeIvs):
        def _stream(self, arn: str) -> dict[str, Any]:
            return {**super()._stream(arn), "state": state}

    ivs = Off()
    ivs.urls[ARN], ivs.live[ARN] = "https://x", "st-1"
    assert _channels(ivs).live_stream_id(ARN) is None
    assert _channels(ivs).list_live() == []


# MediaLive


class FakeMediaLive:
    """One channel, described as the API reference shapes it."""

    def __init__(self, *urls: str, groups: bool = True) -> None:
        self.asked: list[str] = []
        archive = {"Name": "a", "OutputGroupSettings": {"ArchiveGroupSettings": {"Destination": {"DestinationRefId": "two"}, "RolloverInterval": 12}}}
        hls = {"Name": "h", "OutputGroupSettings": {"HlsGroupSettings": {"Destination": {"DestinationRefId": "one"}}}}
        self.channel = {
            "Arn": MEDIALIVE_ARN,
            "Destinations": [{"Id": "one", "Settings": [{"Url": "https://elsewhere"}]}, {"Id": "two", "Settings": [{"Url": url} for url in urls]}],
            "EncoderSettings": {"OutputGroups": [hls, archive] if groups else [hls]},
        }

    def describe_channel(self, *, ChannelId: str) -> dict[str, Any]:  # noqa: N803
        self.asked.append(ChannelId)
        if ChannelId != "123456":
            raise refusal("NotFoundException", "DescribeChannel")
        return self.channel


@pytest.mark.parametrize(
    "urls, pipeline, places",
    [
        (["s3ssl://bucket/channel59/curling"], "0", ("s3://bucket/channel59/curling",)),
        (["s3://bucket/a/one", "s3://bucket/b/two"], "0", ("s3://bucket/a/one", "s3://bucket/b/two")),
        (["s3://bucket/a/one", "s3ssl://other/b/two-$dt$"], "1", ("s3://other/b/two-", "s3://bucket/a/one")),
        (["s3://bucket/a/one"], "1", ("s3://bucket/a/one",)),
        (["s3ssl://bucket/$d$/one"], "0", ("s3://bucket/",)),
        (["s3://bucket/$dt$-a", "s3://bucket/$dt$-b"], "0", ("s3://bucket/",)),
        (["s3://bucket/a", "rtmp://host/app"], "0", ("s3://bucket/a",)),
    ],
)
def test_archive_files_lie_where_the_archive_group_writes(urls: list[str], pipeline: str, places: tuple[str, ...]) -> None:
    """Of the pipeline that is asked for, and of the other, if that can be told apart."""
    medialive = FakeMediaLive(*urls)
    assert _channels(FakeIvs(), medialive=medialive).archive_places(MEDIALIVE_ARN, pipeline=pipeline) == places
    assert medialive.asked == ["123456"]


@pytest.mark.parametrize(
    "medialive, error, sentence",
    [
        (FakeMediaLive(groups=False), SourceUnsupported, "has no archive output group"),
        (FakeMediaLive("rtmp://host/app"), SourceUnsupported, "does not write to S3 but to rtmp://host/app"),
        (FakeMediaLive(), SourceUnsupported, "does not write to S3 but to nowhere"),
    ],
)
def test_a_channel_without_an_archive_says_so(medialive: FakeMediaLive, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        _channels(FakeIvs(), medialive=medialive).archive_places(MEDIALIVE_ARN)


def test_a_medialive_channel_that_does_not_exist_is_not_found() -> None:
    with pytest.raises(StreamNotFound, match=f"{MEDIALIVE_ARN}7 does not exist"):
        _channels(FakeIvs(), medialive=FakeMediaLive()).archive_places(MEDIALIVE_ARN + "7")


class Listed(FakeMediaLive):
    """Five channels, two a page."""

    def list_channels(self, **arguments: Any) -> dict[str, Any]:
        self.asked.append(str(arguments))
        begin = int(arguments.get("NextToken", 0))
        channels = [{"Arn": f"{MEDIALIVE_ARN}{n}", "Id": f"123456{n}", "State": "RUNNING" if n % 2 else "IDLE"} for n in range(5)]
        return {"Channels": channels[begin : begin + 2], **({"NextToken": str(begin + 2)} if begin < 4 else {})}


def test_all_channels_are_listed_at_the_rate_of_medialive_calls() -> None:
    clock, medialive = Clock(), Listed("s3://bucket/x")
    channels = _channels(FakeIvs(), medialive=medialive, clock=clock)
    listed = channels.list_channels()
    assert listed[1] == ListedChannel(channel_arn=f"{MEDIALIVE_ARN}1", channel_id="1234561", state="RUNNING")
    assert len(listed) == 5
    channels.archive_places(MEDIALIVE_ARN)
    assert clock.waits == [pytest.approx(0.5)] * 3  # four calls, two a second


def test_a_list_of_channels_without_an_end_is_given_up() -> None:
    class Circle(FakeMediaLive):
        def list_channels(self, **_: Any) -> dict[str, Any]:
            return {"NextToken": "again"}

    with pytest.raises(AwsUnavailable, match="medialive:ListChannels did not come to an end"):
        _channels(FakeIvs(), medialive=Circle(), clock=Clock()).list_channels()


# What errors mean


@pytest.mark.parametrize(
    "error",
    [
        refusal("ThrottlingException", "x", status=400),
        refusal("AWS.SimpleQueueService.RequestThrottled", "x", status=403),
        refusal("TooManyRequestsException", "x", status=429),
        refusal("InternalServerErrorException", "x", status=500),
        refusal("ExpiredTokenException", "x", status=403),
        EndpointConnectionError(endpoint_url="http://x"),
        ReadTimeoutError(endpoint_url="http://x"),
    ],
)
def test_what_passes_is_unavailable(error: Exception) -> None:
    with pytest.raises(AwsUnavailable, match=r"^ivs:GetChannel of it "), asking("ivs:GetChannel", "it"):
        raise error


@pytest.mark.parametrize(
    "error, sentence",
    [
        (refusal("AccessDeniedException", "x", status=403), "refused: AccessDeniedException: Because; allow ivs:GetChannel in the role's policy"),
        (refusal("AWS.SimpleQueueService.NonExistentQueue", "x", status=400), "refused: NonExistentQueue: Because"),
        (NoCredentialsError(), "needs AWS credentials"),
        (NoRegionError(), "needs an AWS region: set aws.region"),
        (ParamValidationError(report="bad\nthing"), "cannot be asked"),
    ],
)
def test_what_does_not_pass_is_refused(error: Exception, sentence: str) -> None:
    with pytest.raises(AwsRefused, match=r"^ivs:GetChannel of it ") as refused, asking("ivs:GetChannel", "it"):
        raise error
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)
