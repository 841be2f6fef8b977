"""A live playlist in a bucket, heard through S3 itself, and what it may make us read."""

from collections.abc import Callable
from typing import Any

import pytest

from audio_media import Coded, coded
from audio_origin import Answer, Asked, Hand, Live, Origin, session_settings, settings
from earmark.audio.bucket import Bucket, address_of
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import HlsSource
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.local.aws import AwsStandIn
from earmark.model import Segment

NAME = "live-playlists"
MEDIA = {"duration_s": 16.0}


class Counted:
    """An S3 client that remembers what it was asked, and calls `before` each time."""

    def __init__(self, s3: Any, before: Callable[[], None] = lambda: None) -> None:
        self._s3, self._before = s3, before
        self.asked: list[dict[str, Any]] = []

    def get_object(self, **arguments: Any) -> Any:
        self.asked.append(arguments)
        self._before()
        return self._s3.get_object(**arguments)


@pytest.fixture
def s3(aws: AwsStandIn) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket=NAME)
    return client


class InBucket:
    """`audio_origin.Live`, in a folder of the bucket: written as the hand's clock goes on."""

    def __init__(self, s3: Any, made: Coded, hand: Hand, origin: Origin, *, key: str = "show/live/index.m3u8") -> None:
        self.live, self.s3, self.key = Live(origin, made, hand, head_s=4.5, ends=True), s3, key
        self.written = ""
        folder = key.rpartition("/")[0]
        for index, data in enumerate(made.segments):
            s3.put_object(Bucket=NAME, Key=f"{folder}/{index}.{made.extension}", Body=data)

    def write(self) -> None:
        answer = self.live.answer(Asked("", {}))
        if answer.body.decode() != self.written:
            self.written = answer.body.decode()
            self.s3.put_object(Bucket=NAME, Key=self.key, Body=answer.body)


def source(url: str, s3: Any, hand: Hand, origin: Origin) -> HlsSource:
    configured, address = settings(origin), address_of(url)
    http = Bucket(address=address, s3=s3, http=Http(settings=configured, guard=Guard(settings=configured)), clock=hand.clock)
    return HlsSource(
        url_provider=lambda: address,
        operator_named=True,
        http=http,
        signals=hand,
        settings=configured,
        session=session_settings(),
        clock=hand.clock,
        now=hand.now,
    )


def test_a_playlist_in_a_bucket_is_heard_to_its_end_and_an_unchanged_one_is_not_sent_again(s3: Any, origin: Origin) -> None:
    made, hand = coded(**MEDIA), Hand()
    there = InBucket(s3, made, hand, origin)
    counted = Counted(s3, there.write)
    radio = source(f"s3://{NAME}/show/live/index.m3u8", counted, hand, origin)
    pieces = list(radio.pieces())
    assert [made.segments.index(piece.data) for piece in pieces if isinstance(piece, Segment)] == list(range(len(made.segments)))
    assert len(pieces) == len(made.segments)
    assert radio.end_reason == "endlist"
    assert radio.fetched_bytes > sum(map(len, made.segments))
    polls = [asked for asked in counted.asked if asked["Key"].endswith(".m3u8")]
    assert 6 <= len(polls) <= 17  # as over HTTP: one for each of two seconds, half of that after no news
    assert all("IfNoneMatch" in asked for asked in polls[2:])
    assert hand.time_s >= 11.0


def test_a_key_may_look_like_anything(s3: Any, origin: Origin) -> None:
    made, hand = coded(**MEDIA), Hand()
    there = InBucket(s3, made, hand, origin, key="späte show/100%/a+b#1?/index 1.m3u8")
    pieces = list(source(f"s3://{NAME}/späte show/100%/a+b#1?/index 1.m3u8", Counted(s3, there.write), hand, origin).pieces())
    assert len(pieces) == len(made.segments)


def _bucket(s3: Any, origin: Origin, key: str = "show/index.m3u8") -> Bucket:
    configured = settings(origin)
    return Bucket(address=f"s3://{NAME}/{key}", s3=s3, http=Http(settings=configured, guard=Guard(settings=configured)))


@pytest.mark.parametrize(
    "url, sentence",
    [
        (f"s3://{NAME}/secret/a.ts", "points to what is not below its own folder, show/, and is not read"),
        (f"s3://{NAME}/show/../secret/a.ts", "not below its own folder"),
        (f"s3://{NAME}/show/%2e%2e/secret/a.ts", "not below its own folder"),
        (f"s3://{NAME}/show", "not below its own folder"),
        (f"s3://{NAME}/show/a%0a.ts", "not below its own folder"),
        ("s3://another/show/a.ts", "points to another one, another, which is not read"),
        ("file:///etc/passwd", "begins with file:"),
        ("http://169.254.169.254/latest/", "metadata service"),
        ("https://elsewhere.example/a.ts", "hls.allow_hosts"),
    ],
)
def test_what_a_playlist_may_make_us_read_is_its_own_folder(s3: Any, origin: Origin, url: str, sentence: str) -> None:
    counted = Counted(s3)
    with pytest.raises(SourceUnsupported, match=sentence):
        _bucket(counted, origin).get(url, bytes_max=1_000, named_host=NAME)
    assert counted.asked == []


def test_any_other_address_goes_through_the_guard_and_may_be_allowed(s3: Any, origin: Origin) -> None:
    origin.routes["/a.ts"] = Answer(b"sound")
    assert _bucket(s3, origin).get(origin.url("/a.ts"), bytes_max=1_000).body == b"sound"


def test_objects_are_read_as_an_origin_answers(s3: Any, origin: Origin) -> None:
    s3.put_object(Bucket=NAME, Key="show/a.ts", Body=b"0123456789")
    bucket, url, told = _bucket(s3, origin), f"s3://{NAME}/show/a.ts", list[tuple[float, int]]()
    bucket._fetched = lambda seconds, size: told.append((seconds, size))
    whole = bucket.get(url, bytes_max=10)
    assert (whole.status, whole.body, whole.url) == (200, b"0123456789", url)
    part = bucket.get(f"{url}?m=17", bytes_max=10, headers={"Range": "bytes=2-4"})
    assert (part.status, part.body) == (206, b"234")
    same = bucket.get(url, bytes_max=10, headers={"If-None-Match": whole.headers["etag"]})
    assert (same.status, same.body) == (304, b"")
    assert bucket.get(f"s3://{NAME}/show/none.ts", bytes_max=10).status == 404
    with pytest.raises(SourceUnsupported, match="has 10 bytes where at most 9 are read"):
        bucket.get(url, bytes_max=9)
    assert [size for _, size in told] == [10, 3, 0, 0, 0]


def test_a_bucket_that_is_not_there_or_denied_is_a_sentence_and_may_pass(aws: AwsStandIn, origin: Origin) -> None:
    class Denied:
        def get_object(self, **_: Any) -> Any:
            from botocore.exceptions import ClientError

            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject")

    with pytest.raises(SourceUnavailable, match="allow s3:GetObject in the role's policy"):
        _bucket(Denied(), origin).get(f"s3://{NAME}/show/index.m3u8", bytes_max=10)
