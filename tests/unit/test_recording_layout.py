"""How Amazon IVS's recordings are laid out, and what of them is chosen: names, renditions, documents, times in places."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.missed import EARLIER_S, Entry, wanted
from earmark.audio.playlist import parse
from earmark.audio.recording import About, Naming, about, chosen, clocks, described, key_of
from earmark.audio.shelves import began, channel_of, period
from earmark.cost import viewing
from earmark.model import Gap
from earmark.settings import Prices

FOLDER = "ivs/v1/123456789012/AbC/2026/11/2/9/5/j8Z9/media/hls/480p30/"
HERE = "https://recording.invalid/" + FOLDER + "playlist.m3u8"
LADDER = {"160p30": 160, "360p30": 360, "480p30": 480, "720p60": 720}


@pytest.mark.parametrize(
    "names, key_of_10",
    [
        (["0.ts", "1.ts", "playlist.m3u8", "byte-range-variant.m3u8"], "10.ts"),
        (["00000.ts", "00001.ts"], "00010.ts"),
        (["segment_0.ts", "segment_1.ts"], "segment_10.ts"),
        (["init.mp4", "0.m4s", "1.m4s"], "10.m4s"),
        (["init-0.mp4", "0.mp4", "1.mp4"], "10.mp4"),
    ],
)
def test_segments_are_asked_for_by_the_names_that_the_first_ones_have(names: list[str], key_of_10: str) -> None:
    naming = Naming.of(FOLDER, [FOLDER + name for name in names])
    assert naming is not None
    assert naming.key(10) == FOLDER + key_of_10
    assert [naming.number(FOLDER + name) for name in names if naming.number(FOLDER + name) is not None] == [0, 1]
    assert naming.header == next((name for name in names if name.startswith("init")), "")


def test_a_folder_without_segments_has_no_names() -> None:
    assert Naming.of(FOLDER, [FOLDER + "playlist.m3u8"]) is None
    assert Naming.of(FOLDER, []) is None


@pytest.mark.parametrize(
    "heights, least_kbps, expected",
    [
        (LADDER, 64, "360p30"),
        (LADDER, 96, "480p30"),
        (LADDER, 32, "160p30"),
        (LADDER | {"audio_only": 0}, 64, "audio_only"),
        ({"160p30": 160}, 64, "160p30"),
        ({"source": 0, "160p30": 160}, 128, "160p30"),
        ({}, 64, None),
    ],
)
def test_sound_alone_is_chosen_or_the_smallest_picture_whose_sound_is_good_enough(heights: dict[str, int], least_kbps: float, expected: str | None) -> None:
    assert chosen(heights, audio_kbps_min=least_kbps) == expected


@pytest.mark.parametrize("rendition, usd", [("360p30", Prices().ivs_sd_usd_per_hour), ("720p60", Prices().ivs_hd_usd_per_hour), ("audio_only", 0.0075)])
def test_a_rendition_is_described_so_that_its_cost_as_a_view_is_known(rendition: str, usd: float) -> None:
    assert viewing(Prices(), described(rendition), media_s=3600) == usd


def test_the_documents_say_what_can_be_understood_of_them() -> None:
    said = {
        "recording_started_at": "2026-11-02T09:05:41Z",
        "recording_ended_at": "2026-11-02T09:08:30Z",
        "channel_arn": "arn:aws:ivs:us-east-1:123456789012:channel/AbC",
        "media": {
            "hls": {
                "duration_ms": 171546,
                "renditions": [{"path": "360p30", "resolution_height": 360}, {"path": "../../x"}, 7, {"path": "audio_only", "resolution_height": 0}],
            }
        },
    }
    found = about(json.dumps(said).encode(), over=True)
    assert (found.started_at, found.duration_s, found.over) == (datetime(2026, 11, 2, 9, 5, 41, tzinfo=UTC), 171.546, True)
    assert found.renditions == {"360p30": 360, "audio_only": 0}


@pytest.mark.parametrize("document", [b"", b"[]", b"null", b"{", b'{"media": 3}', b'{"media": {"hls": []}}', b'{"recording_started_at": 7}', b"\xff\xfe"])
def test_a_document_that_is_none_says_nothing(document: bytes) -> None:
    assert about(document, over=False) in (About(), About(renditions={}))


@given(st.binary(max_size=300))
def test_no_bytes_of_a_document_are_too_much(document: bytes) -> None:
    assert about(document, over=True).over


def test_a_playlist_names_segments_of_its_own_folder_and_no_others() -> None:
    lines = ["#EXTM3U", "#EXT-X-PROGRAM-DATE-TIME:2026-11-02T09:05:41.550Z", "#EXTINF:10.267,", "0.ts", "#EXTINF:10,", "1.ts"]
    lines += [
        "#EXTINF:10,",
        "../../../other/3.ts",
        "#EXTINF:10,",
        "https://evil.example/4.ts",
        "#EXTINF:10,",
        "5.ts?x=1",
        "#EXTINF:10,",
        "sub/6.ts",
        "#EXTINF:10,",
        "%2e%2e/7.ts",
    ]
    playlist = parse("\n".join(lines) + "\n", HERE)
    keys = [key_of(segment, FOLDER) for segment in playlist.segments]
    assert keys == [FOLDER + "0.ts", FOLDER + "1.ts", None, None, None, None, None]
    naming = Naming.of(FOLDER, [FOLDER + "0.ts"])
    assert naming is not None
    first = datetime(2026, 11, 2, 9, 5, 41, 550_000, tzinfo=UTC)
    assert clocks(playlist, naming) == {0: first, 1: first + timedelta(seconds=10.267)}


@pytest.mark.parametrize(
    "prefix, begin, length",
    [
        ("ivs/v1/1/AbC/2026", datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=365)),
        ("ivs/v1/1/AbC/2026/2", datetime(2026, 2, 1, tzinfo=UTC), timedelta(days=28)),
        ("ivs/v1/1/AbC/2026/12", datetime(2026, 12, 1, tzinfo=UTC), timedelta(days=31)),
        ("backup/ivs/v1/1/AbC/2026/11/2", datetime(2026, 11, 2, tzinfo=UTC), timedelta(days=1)),
        ("ivs/v1/1/AbC/2026/11/2/9", datetime(2026, 11, 2, 9, tzinfo=UTC), timedelta(hours=1)),
        ("ivs/v1/1/AbC/2026/11/2/9/5", datetime(2026, 11, 2, 9, 5, tzinfo=UTC), timedelta(minutes=1)),
        ("ivs/v1/1/AbC/2026/11/2/9/5/j8Z9", datetime(2026, 11, 2, 9, 5, tzinfo=UTC), timedelta(minutes=1)),
    ],
)
def test_a_folder_says_when_what_is_in_it_began(prefix: str, begin: datetime, length: timedelta) -> None:
    assert period(prefix) == (begin, begin + length)


@pytest.mark.parametrize("prefix", ["", "a/b", "ivs/v1/1/AbC", "ivs/v1/1/AbC/2026/13", "ivs/v1/1/AbC/0", "ivs/v1/1/AbC/media"])
def test_a_folder_that_says_nothing_of_time_may_hold_anything(prefix: str) -> None:
    assert period(prefix) is None


def test_a_place_says_its_channel_and_its_minute() -> None:
    place = "s3://recordings/ivs/v1/123456789012/AbC/2026/11/2/9/5/j8Z9"
    assert channel_of(place) == "AbC"
    assert began(place) == datetime(2026, 11, 2, 9, 5, tzinfo=UTC)
    assert (channel_of("s3://b/some/where"), began("s3://b/some/where")) == ("", None)


# What of a recording is heard to fill gaps


def entries(count: int, *, each_s: float = 10.0, first_s: float = 0.0) -> list[Entry]:
    return [Entry(key=f"{n}.ts", begin_s=first_s + n * each_s, duration_s=each_s) for n in range(count)]


def gap(begin_s: float, end_s: float) -> Gap:
    return Gap(begin_s=begin_s, end_s=end_s, reason="worker_lost")


def test_a_gap_is_heard_with_what_leads_up_to_it() -> None:
    assert [entry.key for entry in wanted(entries(12), [gap(52, 58)], lead_in_s=15)] == ["3.ts", "4.ts", "5.ts", "6.ts", "7.ts"]
    assert [entry.key for entry in wanted(entries(12), [gap(50, 60)], lead_in_s=0)] == ["5.ts"]


def test_of_a_gap_that_the_recording_does_not_have_nothing_is_heard() -> None:
    assert wanted(entries(12, first_s=200), [gap(52, 58)], lead_in_s=15) == []
    assert wanted(entries(3), [gap(31, 58)], lead_in_s=15) == []


def test_what_began_before_the_session_is_heard_if_it_is_not_too_long_ago() -> None:
    assert [entry.begin_s for entry in wanted(entries(40, first_s=-200), [gap(0, 5)], lead_in_s=60)][:2] == [-60, -50]
    assert all(entry.begin_s > -EARLIER_S for entry in wanted(entries(40, first_s=-200), [gap(0, 5)], lead_in_s=500))


@given(st.lists(st.tuples(st.floats(0, 900), st.floats(0.5, 60)), max_size=6), st.floats(0, 60), st.floats(-50, 50))
def test_all_of_each_gap_that_there_is_is_heard_and_each_segment_once(spans: list[tuple[float, float]], lead_in_s: float, first_s: float) -> None:
    there, gaps = entries(90, first_s=first_s), [gap(begin_s, begin_s + length_s) for begin_s, length_s in spans]
    found = wanted(there, gaps, lead_in_s=lead_in_s)
    assert [entry.key for entry in found] == [entry.key for entry in there if entry in found]
    for one in gaps:
        needed = [entry for entry in there if entry.begin_s < one.end_s and entry.end_s > one.begin_s]
        assert set(needed) <= set(found)
    assert all(any(e.begin_s < g.end_s + lead_in_s + 1e-6 and e.end_s > g.begin_s - lead_in_s - 1e-6 for g in gaps) for e in found)
