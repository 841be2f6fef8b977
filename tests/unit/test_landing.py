"""A recording heard as it lands: in order, paced by how it lands, with what is missing said so, from where an earlier owner left it."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from botocore.exceptions import ClientError

from earmark.audio.landing import LandingSource, Position
from earmark.audio.recording import PAGE_MAX, Recording
from earmark.audio.shelves import recordings
from earmark.errors import AwsRefused, AwsUnavailable, SourceUnsupported
from earmark.model import Missing, Segment
from earmark.settings import AutoRecord

PLACE = "s3://recordings/ivs/v1/1/AbC/2026/11/20/18/5/j8Z9"
NOON = datetime(2026, 11, 20, 18, 5, 41, tzinfo=UTC)
FOLDER = "ivs/v1/1/AbC/2026/11/20/18/5/j8Z9/"
STARTED = {"recording_started_at": "2026-11-20T18:05:41Z", "media": {"hls": {"renditions": [{"path": "360p30", "resolution_height": 360}]}}}


class World:
    """Time that passes when somebody waits; a bucket in which things land when they should; a stream that ends."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.objects: dict[str, tuple[float, bytes]] = {}
        self.requests: list[tuple[float, str, str]] = []
        self.stop: object | None = None
        self.leaving = False
        self.stop_at: float | None = None
        self.trouble: list[str] = []

    # session.Signals

    def wait(self, timeout_s: float) -> bool:
        assert timeout_s > 0
        self.now_s += timeout_s
        if self.stop_at is not None and self.now_s >= self.stop_at:
            self.stop = "end"
        assert self.now_s < 100_000, "nothing ends this"
        return False

    # clocks

    def clock(self) -> float:
        return self.now_s

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.now_s)

    # boto3's s3

    def get_object(self, **asked: Any) -> Any:
        self.requests.append((self.now_s, "get", asked["Key"].removeprefix(FOLDER)))
        if self.trouble:
            raise ClientError({"Error": {"Code": self.trouble.pop(0)}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "GetObject")
        at, data = self.objects.get(asked["Key"], (float("inf"), b""))
        if at > self.now_s:
            raise ClientError({"Error": {"Code": "NoSuchKey"}, "ResponseMetadata": {"HTTPStatusCode": 404}}, "GetObject")
        return {"Body": BytesIO(data), "ContentLength": len(data), "LastModified": (NOON + timedelta(seconds=at)).replace(microsecond=0)}

    def list_objects_v2(self, **asked: Any) -> Any:
        prefix, after = asked["Prefix"], max(asked.get("StartAfter", ""), asked.get("ContinuationToken", ""))
        self.requests.append((self.now_s, "list", prefix.removeprefix(FOLDER)))
        keys = sorted(key for key, (at, _) in self.objects.items() if key.startswith(prefix) and at <= self.now_s and key > after)
        if "Delimiter" in asked:
            folders = sorted({key[: key.index("/", len(prefix)) + 1] for key in keys if "/" in key[len(prefix) :]})
            return {"CommonPrefixes": [{"Prefix": folder} for folder in folders], "Contents": [{"Key": key} for key in keys if "/" not in key[len(prefix) :]]}
        more = {"NextContinuationToken": keys[asked["MaxKeys"] - 1]} if len(keys) > asked["MaxKeys"] else {}
        return {"Contents": [{"Key": key} for key in keys[: asked["MaxKeys"]]], **more}

    # what there is

    def land(self, numbers: Iterator[int] | range | list[int], *, every_s: float = 10.0, delay_s: float = 1.0, name: str = "{}.ts") -> None:
        for number in numbers:
            self.objects[f"{FOLDER}media/hls/360p30/{name.format(number)}"] = ((number + 1) * every_s + delay_s, f"<{number}>".encode())

    def put(self, name: str, body: Any, at_s: float = 0.0) -> None:
        self.objects[FOLDER + name] = (at_s, body if isinstance(body, bytes) else json.dumps(body).encode())

    def recording(self, *, bytes_max: int = 1_000) -> Recording:
        return Recording(s3=self, place=PLACE, bytes_max=bytes_max)

    def source(self, *, resume: str = "", **changes: Any) -> LandingSource:
        more = {"silent_s": 60.0, "audio_kbps_min": 64, "settings": AutoRecord(), **changes}
        return LandingSource(recording=self.recording(), signals=self, resume=resume, clock=self.clock, now=self.now, **more)

    def hear(self, source: LandingSource | None = None, **changes: Any) -> list[int | str]:
        """Numbers of the segments, or why they are missing."""
        source = source or self.source(**changes)
        pieces = (piece for piece in source.pieces() if isinstance(piece, Segment | Missing))
        return [int(piece.data.strip(b"<>")) if isinstance(piece, Segment) else piece.reason for piece in pieces]

    def gets(self, name: str) -> int:
        return sum(what.endswith(name) for _, operation, what in self.requests if operation == "get")


@pytest.fixture
def world() -> World:
    made = World()
    made.put("events/recording-started.json", STARTED)
    return made


@pytest.mark.parametrize("segment_s", [2.0, 6.0, 10.5])
def test_each_segment_is_heard_soon_after_it_has_landed_and_asked_for_hardly_more_than_once(world: World, segment_s: float) -> None:
    world.land(range(60), every_s=segment_s)
    world.put("events/recording-ended.json", STARTED, at_s=60 * segment_s + 3)
    late = []
    for piece in world.source().pieces():
        assert isinstance(piece, Segment)
        number = int(piece.data.strip(b"<>"))
        late.append(world.now_s - ((number + 1) * segment_s + 1.0))
    assert len(late) == 60
    assert 0 <= min(late) <= max(late[5:]) <= max(segment_s / 10, 0.25) + 0.15
    assert world.gets(".ts") < 2 * 60 + 120  # and some until the first two have said how long they are, and at the end
    assert len([1 for _, operation, _ in world.requests if operation == "list"]) <= 7


def test_segments_of_different_lengths_are_found_as_soon(world: World) -> None:
    """As those of real recordings are: they end with a picture that stands by itself."""
    lengths = [10.267, 10.0, 10.666, 10.967, 10.633, 10.667, 10.433, 10.334, 10.933, 11.2] * 4
    ends = list(itertools.accumulate(lengths))
    for number, end_s in enumerate(ends):
        world.objects[f"{FOLDER}media/hls/360p30/{number}.ts"] = (end_s + 1.0, f"<{number}>".encode())
    world.put("events/recording-ended.json", STARTED, at_s=ends[-1] + 3)
    late = [world.now_s - ends[int(piece.data.strip(b"<>"))] - 1.0 for piece in world.source().pieces() if isinstance(piece, Segment)]
    assert len(late) == 40
    assert 0 <= min(late) <= max(late[5:]) <= 1.05
    assert world.gets(".ts") < 3 * 40 + 60


def test_what_has_landed_before_is_heard_at_once_and_from_its_beginning(world: World) -> None:
    world.land(range(40))
    world.now_s = 305
    source = world.source()
    pieces = source.pieces()
    first = [next(pieces) for _ in range(30)]
    assert [piece.data for piece in first] == [f"<{n}>".encode() for n in range(30)]
    assert world.now_s == 305
    assert (first[0].clock, first[1].clock) == (NOON, None)
    assert source.rendition == "640x360, recorded as 360p30"
    assert source.fetched_bytes == sum(len(piece.data) for piece in first)


def test_where_the_playlist_is_there_it_says_when_segments_were(world: World) -> None:
    world.land(range(3))
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXT-X-PROGRAM-DATE-TIME:2026-11-20T18:05:41.550Z\n#EXTINF:10.0,\n0.ts\n#EXTINF:10.0,\n1.ts\n"
    world.put("media/hls/360p30/playlist.m3u8", text.encode())
    world.now_s = 100
    pieces = list(world.source(finished=True).pieces())
    assert [piece.clock for piece in pieces] == [NOON + timedelta(seconds=0.55), NOON + timedelta(seconds=10.55), None]


def test_another_owner_goes_on_behind_the_last_segment(world: World) -> None:
    world.land(range(6))
    world.now_s = 200
    pieces = world.source().pieces()
    for _ in range(3):
        position = next(pieces).position
    assert world.hear(finished=True, resume=position) == [3, 4, 5]
    assert Position.from_json(position) == Position(rendition="360p30", number=2)
    assert [Position.from_json(text) for text in ("", "{", "[]", '{"number": "x"}')] == [None] * 4


def test_a_segment_that_never_comes_is_given_up_once_later_ones_are_there(world: World) -> None:
    world.land([n for n in range(12) if n not in (4, 5)])
    world.put("events/recording-ended.json", STARTED, at_s=125)
    assert world.hear() == [0, 1, 2, 3, "segment_missing", *range(6, 12)]


def test_one_that_is_only_late_is_waited_for(world: World) -> None:
    world.land(range(12))
    world.objects[f"{FOLDER}media/hls/360p30/4.ts"] = (75.0, b"<4>")
    world.put("events/recording-ended.json", STARTED, at_s=125)
    assert world.hear() == list(range(12))


def test_with_numbers_that_are_not_padded_none_is_passed_over(world: World) -> None:
    """9 and 10, 99 and 100, whatever the order of a listing; more of them than a page holds."""
    world.land([n for n in range(1_250) if n not in (9, 10, 99, 100, 101, 999)], every_s=0)
    world.now_s = 10
    heard = world.hear(finished=True)
    assert [n for n in heard if n != "segment_missing"] == [n for n in range(1_250) if n not in (9, 10, 99, 100, 101, 999)]
    assert heard.count("segment_missing") == 3


def test_of_ten_thousand_objects_only_what_is_needed_is_listed(world: World) -> None:
    world.land(range(10_000), every_s=0, name="{:05d}.ts")
    world.now_s = 10
    source = world.source(finished=True, resume=Position(rendition="360p30", number=9_989).to_json())
    assert world.hear(source) == list(range(9_990, 10_000))
    assert len([1 for _, operation, _ in world.requests if operation == "list"]) <= 2


def test_it_ends_when_the_streams_end_was_announced_and_nothing_has_come_for_long(world: World) -> None:
    world.land(range(5))
    world.stop_at = 52.0
    source = world.source()
    assert world.hear(source) == list(range(5))
    assert source.end_reason == "stream_end"
    assert 52 + 60 <= world.now_s < 52 + 75


def test_it_ends_when_the_recordings_end_is_told_and_all_of_it_was_heard(world: World) -> None:
    world.land(range(5))
    source = world.source(has_ended=lambda: world.now_s > 55)
    assert world.hear(source) == list(range(5))
    assert source.end_reason == "endlist"
    assert world.now_s < 90


def test_a_stream_that_stalls_is_not_over_while_ivs_says_so(world: World) -> None:
    world.land(range(3))
    world.objects |= {f"{FOLDER}media/hls/360p30/3.ts": (400.0, b"<3>")}
    source = world.source(still_live=lambda: world.now_s < 450)
    assert world.hear(source) == [0, 1, 2, 3]
    assert source.end_reason == "not_live"


def test_ivs_that_cannot_be_asked_ends_nothing(world: World) -> None:
    world.land(range(2))

    def live() -> bool:
        if world.now_s < 300:
            raise AwsUnavailable("throttled")
        return False

    source = world.source(still_live=live)
    assert world.hear(source) == [0, 1]
    assert world.now_s >= 300


def test_without_documents_the_folders_say_what_there_is(world: World) -> None:
    del world.objects[FOLDER + "events/recording-started.json"]
    world.land(range(3))
    world.put("media/hls/160p30/0.ts", b"<160>")
    world.now_s = 100
    assert world.hear(finished=True) == [0, 1, 2]


def test_before_anything_has_landed_it_is_looked_for_now_and_then(world: World) -> None:
    world.land(range(1), delay_s=40)
    world.put("events/recording-ended.json", STARTED, at_s=70)
    assert world.hear() == [0]
    assert len(world.requests) < 130


def test_a_recording_that_holds_nothing_cannot_be_heard(world: World) -> None:
    with pytest.raises(SourceUnsupported, match="holds no segment"):
        world.hear(finished=True)


def test_a_segment_that_is_too_large_costs_itself(world: World) -> None:
    world.land(range(3))
    world.objects[f"{FOLDER}media/hls/360p30/1.ts"] = (0.0, b"x" * 1_001)
    world.now_s = 100
    assert world.hear(finished=True) == [0, "segment_refused", 2]


def test_s3_that_hiccups_is_asked_again_and_one_that_stays_away_ends_the_run(world: World) -> None:
    world.land(range(3))
    world.now_s = 100
    world.trouble = ["SlowDown", "InternalError"]
    assert world.hear(finished=True) == [0, 1, 2]
    world.trouble = ["SlowDown"] * 50
    with pytest.raises(AwsUnavailable):
        world.hear(finished=True)


def test_a_bucket_that_may_not_be_read_is_said_to_be(world: World) -> None:
    class Denied(World):
        def get_object(self, **_: Any) -> Any:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}, "GetObject")

    with pytest.raises(AwsRefused, match="allow s3:GetObject"):
        Denied().hear(finished=True)


def test_headers_of_fragmented_recordings_go_before_each_segment(world: World) -> None:
    world.land(range(2), name="{}.m4s")
    world.put("media/hls/360p30/init.mp4", b"HEAD")
    world.now_s = 100
    pieces = list(world.source(finished=True).pieces())
    assert [(piece.container, piece.init, piece.data) for piece in pieces] == [("mp4", b"HEAD", b"<0>"), ("mp4", b"HEAD", b"<1>")]


def test_whoever_is_asked_to_leave_leaves(world: World) -> None:
    world.land(range(9))
    world.now_s = 100
    pieces = world.source().pieces()
    next(pieces)
    world.leaving = True
    assert list(pieces) == []


# Which recordings there are


def _shelf(*places: str) -> World:
    world = World()
    world.objects = {f"{place}/events/recording-started.json": (0.0, b"{}") for place in places}
    world.objects |= {f"{place}/media/hls/360p30/{n}.ts": (0.0, b"") for place in places for n in range(3)}
    return world


def test_recordings_are_found_in_order_of_time_and_only_where_they_can_be() -> None:
    base = "ivs/v1/1/AbC"
    places = [f"{base}/2025/12/31/23/59/aa", f"{base}/2026/9/30/9/5/bb", f"{base}/2026/10/2/10/0/cc", f"{base}/2026/10/2/9/30/dd", f"{base}/2027/1/1/0/0/ee"]
    world = _shelf(*places)
    root = Recording(s3=world, place=f"s3://recordings/{base}", bytes_max=100)
    assert [place.rpartition("/")[2] for place in recordings(root, since=None, until=None)] == ["aa", "bb", "dd", "cc", "ee"]
    world.requests.clear()
    found = recordings(root, since=datetime(2026, 10, 2, 9, tzinfo=UTC), until=datetime(2026, 10, 2, 10, tzinfo=UTC))
    assert [place.rpartition("/")[2] for place in found] == ["dd"]
    assert len(world.requests) <= 7  # down one branch


def test_a_prefix_may_be_a_recording_or_hold_none_or_thousands_of_other_things() -> None:
    world = _shelf("some/where/else/rec1")
    world.objects |= {f"flat/{n}": (0.0, b"") for n in range(10_000)}
    assert list(recordings(Recording(s3=world, place="s3://b/some/where/else/rec1/", bytes_max=9), since=None, until=None)) == ["s3://b/some/where/else/rec1"]
    assert list(recordings(Recording(s3=world, place="s3://b", bytes_max=9), since=NOON, until=None)) == ["s3://b/some/where/else/rec1"]
    assert list(recordings(Recording(s3=world, place="s3://b/flat", bytes_max=9), since=None, until=None)) == []
    assert list(recordings(Recording(s3=world, place="s3://b/nothing", bytes_max=9), since=None, until=None)) == []
    assert PAGE_MAX == 1_000


def test_too_many_folders_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.audio.shelves.FOLDERS_MAX", 10)
    world = _shelf(*(f"a/{n}/rec" for n in range(20)))
    with pytest.raises(SourceUnsupported, match="narrower prefix"):
        list(recordings(Recording(s3=world, place="s3://b/a", bytes_max=9), since=None, until=None))
