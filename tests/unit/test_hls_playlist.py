"""Playlists as values: what they list, what is chosen, what is no playlist."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.playlist import ByteRange, Key, MediaPlaylist, absolute, parse
from earmark.audio.renditions import choose
from earmark.errors import SourceUnsupported

URL = "https://cdn.example/live/list.m3u8?token=secret"


def media(*lines, **kwargs):
    return parse("\n".join(["#EXTM3U", *lines, ""]), URL, **kwargs)


def test_segments_are_numbered_timed_and_made_absolute():
    playlist = media(
        "#EXT-X-TARGETDURATION:3", "#EXT-X-MEDIA-SEQUENCE:41", "#EXT-X-DISCONTINUITY-SEQUENCE:7",
        "#EXTINF:2.002,a title, with commas", "a.ts",
        "#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05.500+01:00", "#EXTINF:2,", "/b.ts?x=1",
        "#EXTINF:3.5", "https://other.example/c.ts",
        "#EXT-X-DISCONTINUITY", "#EXT-X-GAP", "#EXTINF:1,", "d.ts",
    )  # fmt: skip
    assert isinstance(playlist, MediaPlaylist)
    clock = datetime(2026, 1, 2, 2, 4, 5, 500_000, UTC)
    assert [(s.sequence, s.url, s.duration_s) for s in playlist.segments] == [
        (41, "https://cdn.example/live/a.ts", 2.002),
        (42, "https://cdn.example/b.ts?x=1", 2.0),
        (43, "https://other.example/c.ts", 3.5),
        (44, "https://cdn.example/live/d.ts", 1.0),
    ]
    assert [s.clock for s in playlist.segments] == [clock - timedelta(seconds=2.002), clock, clock + timedelta(seconds=2), None]
    assert [s.discontinuity for s in playlist.segments] == [False, False, False, True]
    assert [s.discontinuity_sequence for s in playlist.segments] == [7, 7, 7, 8]
    assert [s.gap for s in playlist.segments] == [False, False, False, True]
    assert (playlist.target_s, playlist.ended, playlist.first_sequence, playlist.end_sequence) == (3.0, False, 41, 45)


def test_a_stamp_may_come_before_or_behind_the_discontinuity_tag():
    stamp = "#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:05Z"
    for lines in ([stamp, "#EXT-X-DISCONTINUITY"], ["#EXT-X-DISCONTINUITY", stamp]):
        segment = media("#EXTINF:2,", "a.ts", *lines, "#EXTINF:2,", "b.ts").segments[1]
        assert segment.clock == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_only_the_tail_of_a_long_playlist_is_taken_and_its_clocks_are_kept():
    lines = ["#EXT-X-MEDIA-SEQUENCE:10", "#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:00Z"]
    lines += [line for n in range(20) for line in ("#EXTINF:2,", f"{n}.ts")]
    tail = media(*lines, from_sequence=27)
    assert [s.sequence for s in tail.segments] == [27, 28, 29]
    assert tail.segments[0] == media(*lines).segments[17]
    assert (tail.first_sequence, tail.end_sequence) == (10, 30)


def test_byte_ranges_go_on_where_the_last_one_ended():
    playlist = media(
        "#EXTINF:2,", "#EXT-X-BYTERANGE:100@50", "all.ts",
        "#EXTINF:2,", "#EXT-X-BYTERANGE:200", "all.ts",
        "#EXTINF:2,", "#EXT-X-BYTERANGE:7", "other.ts",
    )  # fmt: skip
    assert [s.range for s in playlist.segments] == [
        ByteRange(offset=50, length=100), ByteRange(offset=150, length=200), ByteRange(offset=0, length=7)
    ]  # fmt: skip
    assert media("#EXTINF:2,", "#EXT-X-BYTERANGE:100@50", "a.ts", "#EXTINF:2,", "#EXT-X-BYTERANGE:9", "a.ts", from_sequence=1).segments[0].range == ByteRange(
        offset=150, length=9
    )


def test_keys_and_headers_hold_until_they_change():
    playlist = media(
        '#EXT-X-MAP:URI="init.mp4",BYTERANGE="720@0"',
        '#EXT-X-KEY:METHOD=AES-128,URI="k1",IV=0x0000000000000000000000000000002A',
        "#EXTINF:2,", "a.m4s",
        '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://drm",KEYFORMAT="com.apple.streamingkeydelivery"',
        "#EXTINF:2,", "b.m4s",
        "#EXT-X-KEY:METHOD=NONE", '#EXT-X-MAP:URI="init2.mp4"',
        "#EXTINF:2,", "c.m4s",
    )  # fmt: skip
    a, b, c = playlist.segments
    assert a.key == Key(method="AES-128", url="https://cdn.example/live/k1", iv=(42).to_bytes(16))
    assert b.key == a.key, "the key without DRM is the one that can be used"
    assert c.key is None
    assert a.map is not None and (a.map.url, a.map.range, a.map.key) == ("https://cdn.example/live/init.mp4", ByteRange(offset=0, length=720), None)
    assert c.map is not None and c.map.url.endswith("init2.mp4")


def test_partial_segments_of_low_latency_hls_are_not_segments():
    playlist = media(
        "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.0", "#EXT-X-PART-INF:PART-TARGET=0.3",
        "#EXTINF:2,", "a.ts", '#EXT-X-PART:DURATION=0.3,URI="b.0.ts"', '#EXT-X-PART:DURATION=0.3,URI="b.1.ts"',
        '#EXT-X-PRELOAD-HINT:TYPE=PART,URI="b.2.ts"',
    )  # fmt: skip
    assert [s.url for s in playlist.segments] == ["https://cdn.example/live/a.ts"]


def test_an_address_that_breaks_off_is_left_for_the_next_reading():
    text = "#EXTM3U\n#EXTINF:2,\na.ts\n#EXTINF:2,\nb"
    assert len(parse(text, URL).segments) == 1
    assert parse(text, URL).end_sequence == 1
    assert len(parse(text + ".ts\n", URL).segments) == 2
    assert parse(text, URL, from_sequence=1).segments == ()


def test_numbers_that_are_none_are_taken_as_absent():
    playlist = media(
        "#EXT-X-TARGETDURATION:nan", "#EXT-X-MEDIA-SEQUENCE:-5", "#EXTINF:inf,", "a.ts", "#EXTINF:-3,", "b.ts", "#EXTINF:two,", "c.ts",
        "#EXT-X-PROGRAM-DATE-TIME:yesterday", "#EXT-X-BYTERANGE:all", "#EXTINF:1e400,", "d.ts",
    )  # fmt: skip
    assert [(s.sequence, s.duration_s, s.clock, s.range) for s in playlist.segments] == [(n, 0.0, None, None) for n in range(4)]
    assert playlist.target_s == 6.0


@pytest.mark.parametrize(
    "text, begins",
    [("", "empty"), ("  \n", "empty"), ("<!DOCTYPE html><html>", "'<!DOCTYPE html><html'"), ("\x1f\ufffd\x08", "not #EXTM3U"), ("{}", "'{}'")],
)
def test_what_is_no_playlist_says_so(text, begins):
    with pytest.raises(SourceUnsupported, match="is not an HLS playlist") as caught:
        parse(text, URL)
    assert begins in str(caught.value)
    assert "secret" not in str(caught.value)


STANDARD = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=8534030,RESOLUTION=1920x1080,CODECS="avc1.640028,mp4a.40.2",NAME="1080p"
1080.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2373000,RESOLUTION=1280x720,CODECS="avc1.4D401F,mp4a.40.2"
720.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1427999,RESOLUTION=852x480,CODECS="avc1.4D401F,mp4a.40.2"
480.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=630000,RESOLUTION=640x360,CODECS="avc1.4D401F,mp4a.40.2"
360.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=230000,RESOLUTION=284x160,CODECS="avc1.4D401F,mp4a.40.2"
160.m3u8
"""
AUDIO_VARIANT = '#EXT-X-STREAM-INF:BANDWIDTH=64000,CODECS="mp4a.40.2"\naudio.m3u8\n'
AUDIO_GROUP = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="two",URI="two.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="one",DEFAULT=YES,URI="one.m3u8"
"""


@pytest.mark.parametrize(
    "text, kbps, chosen",
    [
        (STANDARD, 64, "360"),
        (STANDARD, 48, "160"),
        (STANDARD, 100, "480"),
        (STANDARD, 320, "1080"),
        (STANDARD + AUDIO_VARIANT, 64, "audio"),
        (STANDARD + AUDIO_VARIANT, 96, "audio"),
        (AUDIO_GROUP + STANDARD, 64, "one"),
        (AUDIO_GROUP + STANDARD + AUDIO_VARIANT, 64, "audio"),
        (AUDIO_GROUP + STANDARD + AUDIO_VARIANT, 96, "one"),
        ('#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="muxed"\n' + STANDARD.partition("\n")[2], 64, "360"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nonly.m3u8\n", 64, "only"),
        ("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=300000\nlow.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=700000\nmid.m3u8\n", 64, "mid"),
        ('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000,CODECS="avc1.4D401F",RESOLUTION=640x360\nmute.m3u8\n' + STANDARD.partition("\n")[2], 64, "360"),
        ('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100000,CODECS="hvc1.1.6.L93"\nmute.m3u8\n' + AUDIO_VARIANT, 64, "audio"),
    ],
)  # fmt: skip
def test_sound_alone_is_chosen_else_the_smallest_picture_with_good_sound(text, kbps, chosen):
    rendition = choose(parse(text, URL), audio_kbps_min=kbps)
    assert rendition.url == f"https://cdn.example/live/{chosen}.m3u8"


def test_a_rendition_is_described_for_people():
    assert str(choose(parse(STANDARD, URL), audio_kbps_min=64)) == "640x360, 630 kbit/s, avc1.4D401F,mp4a.40.2"
    assert str(choose(parse(STANDARD + AUDIO_VARIANT, URL), audio_kbps_min=64)) == "audio only, 64 kbit/s, mp4a.40.2"


def test_nothing_to_choose_from():
    with pytest.raises(SourceUnsupported, match="lists no rendition"):
        choose(parse("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n", URL), audio_kbps_min=64)


tags = st.sampled_from([
    "#EXTINF:", "#EXT-X-BYTERANGE:", "#EXT-X-KEY:", "#EXT-X-MAP:", "#EXT-X-PROGRAM-DATE-TIME:", "#EXT-X-MEDIA-SEQUENCE:", "#EXT-X-TARGETDURATION:",
    "#EXT-X-DISCONTINUITY", "#EXT-X-DISCONTINUITY-SEQUENCE:", "#EXT-X-GAP", "#EXT-X-ENDLIST", "#EXT-X-STREAM-INF:", "#EXT-X-MEDIA:", "",
])  # fmt: skip
values = st.one_of(
    st.text(max_size=30),
    st.sampled_from(['METHOD=AES-128,URI="k",IV=0xZZ', 'URI="[::"', "1e309", "9" * 5000, "2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "4@5", "//["]),
)


@given(st.lists(st.tuples(tags, values), max_size=20), st.integers(0, 5))
def test_no_text_makes_the_reader_fail_but_with_a_sentence(lines, from_sequence):
    try:
        playlist = media(*(tag + value for tag, value in lines), from_sequence=from_sequence)
    except SourceUnsupported:
        return
    if isinstance(playlist, MediaPlaylist):
        assert all(s.duration_s >= 0 and s.sequence >= from_sequence for s in playlist.segments)
        assert playlist.end_sequence >= playlist.first_sequence


ADDRESS = st.lists(st.sampled_from(["http://h.x/", "https://h:8/", *"aZ0_.?=&+,;:#@ -~%/", "..", "//", "%41", "é"]), min_size=1, max_size=7).map("".join)
BASES = ["http://h/a/b.m3u8", "https://h:8/a//b/c.m3u8?x=/y", "http://h", "http://h/", "https://h/a/../b/./c", "http://h/a;p/b;q?r#f", "http://[", "file", ""]


@given(base=st.sampled_from(BASES), address=ADDRESS)
def test_a_name_beside_the_list_and_a_whole_address_are_joined_as_any_other(base, address):
    listed = parse(f"#EXTM3U\n#EXTINF:2,\n{address}\n", base).segments
    assert [segment.url for segment in listed] == ([absolute(base, address.strip())] if address.strip() and address[0] != "#" else [])
