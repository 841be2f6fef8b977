"""What `Channels` makes of IVS is the same with the fake and, over HTTP, with the stand-in."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import pytest

from control_ivs import FakeIvs
from earmark.control.channels import Channels
from earmark.errors import StreamNotFound
from earmark.local.aws import AwsStandIn
from earmark.settings import Aws


class Counted:
    def ivs_called(self, operation: str, *, waited_s: float) -> None:
        assert waited_s >= 0


class World(Protocol):
    """IVS, from the side of whoever broadcasts."""

    client: Any

    def put(self, name: str, url: str) -> str: ...
    def go_live(self, arn: str, stream_id: str) -> None: ...
    def go_offline(self, arn: str) -> None: ...


class Fake:
    def __init__(self) -> None:
        self.client = FakeIvs()

    def put(self, name: str, url: str) -> str:
        arn = f"arn:aws:ivs:us-east-1:123456789012:channel/{name}"
        self.client.urls[arn] = url
        return arn

    def go_live(self, arn: str, stream_id: str) -> None:
        self.client.live[arn] = stream_id

    def go_offline(self, arn: str) -> None:
        del self.client.live[arn]


class Real:
    def __init__(self, aws: AwsStandIn) -> None:
        self._aws = aws
        self._urls: dict[str, str] = {}
        self.client = aws.client("ivs")

    def put(self, name: str, url: str) -> str:
        arn = self._aws.put_channel(name, playback_url=url)
        self._urls[arn] = url
        return arn

    def go_live(self, arn: str, stream_id: str) -> None:
        self._aws.go_live(arn, stream_id, self._urls[arn])

    def go_offline(self, arn: str) -> None:
        self._aws.go_offline(arn)


@pytest.fixture(params=["fake", "stand-in"])
def ivs(request: pytest.FixtureRequest) -> World:
    if request.param == "fake":
        return Fake()
    stand_in = request.getfixturevalue("aws")
    stand_in.reset()  # named by no argument, it still has what tests before have left on air
    return Real(stand_in)


def _channels(ivs: World) -> Channels:
    return Channels(ivs=ivs.client, medialive=None, settings=Aws(ivs_calls_per_s=1_000), meter=Counted(), wait=lambda _: False)  # type: ignore[arg-type]


def test_a_channel_is_played_where_get_channel_says(ivs: World) -> None:
    arn = ivs.put("one", "https://one.live-video.net/m.m3u8")
    channel = _channels(ivs).channel(arn)
    assert (channel.channel_arn, channel.name, channel.playback_url, channel.private) == (arn, "one", "https://one.live-video.net/m.m3u8", False)


def test_a_channel_that_does_not_exist_is_not_found(ivs: World) -> None:
    arn = ivs.put("one", "") + "x"
    with pytest.raises(StreamNotFound, match=f"^the IVS channel {arn} does not exist"):
        _channels(ivs).playback_url(arn)
    with pytest.raises(StreamNotFound, match=f"^the IVS channel {arn} does not exist"):
        _channels(ivs).live_stream_id(arn)


def test_what_is_live_on_a_channel_is_asked_afresh(ivs: World) -> None:
    arn, channels = ivs.put("one", ""), _channels(ivs)
    assert channels.live_stream_id(arn) is None
    ivs.go_live(arn, "st-1")
    assert channels.live_stream_id(arn) == "st-1"
    ivs.go_offline(arn)
    assert channels.live_stream_id(arn) is None


def test_all_live_streams_are_listed_however_many_pages_that_takes(ivs: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.control.channels.PAGE_MAX", 2)
    arns = [ivs.put(f"c{n}", "") for n in range(5)]
    for arn in arns:
        ivs.go_live(arn, "st-" + arn[-2:])
    listed = _channels(ivs).list_live()
    assert sorted((stream.channel_arn, stream.stream_id) for stream in listed) == sorted((arn, "st-" + arn[-2:]) for arn in arns)
    assert all(stream.started_at is not None and stream.started_at.tzinfo for stream in listed)
    for arn in arns:
        ivs.go_offline(arn)
    assert _channels(ivs).list_live() == []


def test_channels_that_are_asked_for_together_get_each_its_own_answer(ivs: World) -> None:
    arns = [ivs.put(f"c{n}", f"https://c{n}.live-video.net/") for n in range(20)]
    channels = _channels(ivs)

    def ask(arn: str) -> str:
        try:
            return channels.playback_url(arn)
        except StreamNotFound:
            return "absent"

    with ThreadPoolExecutor(8) as threads:
        answers = dict(
            zip(
                [*arns, "arn:aws:ivs:us-east-1:123456789012:channel/none"],
                threads.map(ask, [*arns, "arn:aws:ivs:us-east-1:123456789012:channel/none"]),
                strict=True,
            )
        )
    assert answers == {**{arn: f"https://c{n}.live-video.net/" for n, arn in enumerate(arns)}, "arn:aws:ivs:us-east-1:123456789012:channel/none": "absent"}
