"""Foreign bytes that once did harm, each as small as it can be: what they did is in the name of the test."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import av.error
import pytest

import fuzz_media
from audio_media import coded
from control_events import s3_event
from earmark.audio import boxes
from earmark.audio.containers import behind_tags, packed
from earmark.audio.decode import PARSED_BYTES, Fifos, StreamDecoder
from earmark.audio.file import _Nameless, read_samples
from earmark.audio.follow import HOLE_S_MAX, Follower, Hole, Position
from earmark.audio.playlist import DURATION_S_MAX, MediaPlaylist, parse
from earmark.audio.segments import container_of
from earmark.control.messages import ObjectArrived
from earmark.control.messages import parse as parse_message
from earmark.errors import BadSettings, SourceUnsupported, UnreadableAudio
from earmark.local import manifest
from earmark.model import Segment
from earmark.settings import load, tried
from earmark.settings.errors import SENTENCES_MAX

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
URL = "https://x.live-video.net/list.m3u8"


def media(*lines: str) -> MediaPlaylist:
    playlist = parse("\n".join(["#EXTM3U", *lines, ""]), URL)
    assert isinstance(playlist, MediaPlaylist)
    return playlist


# ------------------------------------------------------------------------------------------------ playlists


@pytest.mark.parametrize(
    "stamp",
    ["0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2200-01-01T00:00:00Z"]
)  # fmt: skip
def test_a_clock_at_the_end_of_time_ended_the_session(stamp: str) -> None:
    """It is no clock: nothing could be reckoned with it."""
    assert [s.clock for s in media(f"#EXT-X-PROGRAM-DATE-TIME:{stamp}", "#EXTINF:2,", "1.ts", "#EXTINF:2,", "2.ts").segments] == [None, None]


def test_a_segment_that_claims_for_ever_ended_the_session() -> None:
    (segment,) = media("#EXT-X-PROGRAM-DATE-TIME:2026-03-04T05:06:07Z", "#EXTINF:1e308,", "1.ts").segments
    assert segment.duration_s == DURATION_S_MAX
    follower = Follower(late_s=20)
    assert follower.read("#EXTM3U\n#EXT-X-PROGRAM-DATE-TIME:2026-03-04T05:06:07Z\n" + "#EXTINF:1e308,\nx.ts\n" * 50, URL)
    item, position = follower.next(), Position(sequence=-1)
    while item:
        position = follower.behind(item, position)
        item = follower.next()
    assert Position.from_json(position.to_json()) == position


def test_what_is_given_up_as_late_was_longer_than_anybody_believes() -> None:
    follower = Follower(late_s=20)
    follower.read("#EXTM3U\n#EXTINF:2,\n0.ts\n", URL)
    follower.next()
    assert follower.read("#EXTM3U\n#EXTINF:2,\n0.ts\n" + "#EXTINF:80000,\nx.ts\n" * 50, URL)
    holes = [item for item in iter(follower.next, None) if isinstance(item, Hole)]
    assert [hole.duration_s for hole in holes] == [HOLE_S_MAX]


@pytest.mark.parametrize("attribute", ["FRAME-RATE=inf", "BANDWIDTH=inf", "BANDWIDTH=" + "9" * 5_000, "RESOLUTION=1e999x2", "RESOLUTION=x", "PROGRAM-ID=nan"])
def test_a_number_that_is_none_ended_the_session(attribute: str) -> None:
    with pytest.raises(SourceUnsupported, match="is a damaged multivariant playlist|lists no rendition"):
        parse(f"#EXTM3U\n#EXT-X-STREAM-INF:{attribute}\nv.m3u8\n#EXT-X-START:TIME-OFFSET=inf\n#EXT-X-STREAM-INF:BANDWIDTH=inf\nw.m3u8\n", URL)


def test_one_attribute_as_long_as_a_playlist_cost_a_hundred_times_its_bytes() -> None:
    with pytest.raises(SourceUnsupported, match="with a tag of 900,018 characters"):
        parse("#EXTM3U\n#EXT-X-STREAM-INF:" + "@" * 900_000 + "\nv.m3u8\n", URL)


def test_renditions_without_end_cost_a_hundred_times_their_bytes() -> None:
    with pytest.raises(SourceUnsupported, match="is a multivariant playlist of 40,001 tags"):
        parse("#EXTM3U\n" + "#EXT-X-STREAM-INF:\nv\n" * 40_000, URL)


def test_a_list_of_a_whole_day_is_still_read() -> None:
    assert len(media(*["#EXTINF:2,\n1.ts"] * 43_200).segments) == 43_200


# ------------------------------------------------------------------------------------------------ media


def test_a_segment_of_a_million_tags_kept_the_decoder_busy_for_hours() -> None:
    """Three million look at ten bytes each; copying what is left each time would be 48 TB."""
    data = b"ID3\x04\0\0\0\0\0\0" * 3_000_000 + b"\xff\xf1"
    assert container_of(data, fragmented=False) == "aac"
    assert behind_tags(data) == 30_000_000
    assert packed(data) == (None, b"\xff\xf1")


def test_tags_are_read_as_before() -> None:
    (first, *_), stamp = coded(container="aac", duration_s=2.0, segment_s=1.0).segments, 90_000
    pts, frames = packed(first)
    assert (pts, frames[:1], frames[1] & 0xF6) == (0, b"\xff", 0xF0)
    assert packed(fuzz_media.id3_timestamp(stamp) + first)[0] == 0, "the last one counts"
    assert packed(b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + first) == (0, b""), "a tag beyond the end"


def segment(made: Any, number: int) -> Segment:
    return Segment(data=made.segments[number], init=made.init, container=made.container, duration_s=1, discontinuity=True, fetched_at=NOW)


def test_another_time_base_deafened_every_stream_of_its_format_for_the_rest_of_the_process() -> None:
    """FIFOs are shared, and remember what the first frame there ever was looked like: here, one of a header that somebody changed."""
    made = coded(container="mp4", duration_s=2.0, segment_s=1.0)
    at = made.init.index(b"mdhd") + 16
    odd = (made.init[:at] + (44_099).to_bytes(4) + made.init[at + 4 :], made)
    fifos = Fifos()
    one, other = (StreamDecoder(segment_s_max=60, fifos=fifos) for _ in range(2))
    one.push(Segment(data=odd[1].segments[0], init=odd[0], container="mp4", duration_s=1, fetched_at=NOW))
    heard = sum(len(chunk.samples) for chunk in [*other.push(segment(made, 0)), *other.flush()])
    assert heard == pytest.approx(8_000, rel=0.1)


def test_a_layout_that_the_filter_refuses_ended_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once when a frame came, which was known; and once more when what was held back of it was asked for."""

    class Refusing:
        def resample(self, _frame: object) -> None:
            raise av.error.ArgumentError(22, "Invalid argument")

    told: list[str] = []
    decoder = StreamDecoder(segment_s_max=60, failed=lambda _failure, why: told.append(why))
    monkeypatch.setattr("earmark.audio.decode._resampler", Refusing)
    decoder.push(segment(coded(duration_s=1.0, segment_s=1.0, rate_hz=8_000), 0))  # a rate that is left to libswresample
    monkeypatch.undo()
    assert told == ["a frame of it cannot be decoded (invalid argument)"]
    heard = [*decoder.push(segment(coded(duration_s=1.0, segment_s=1.0), 0)), *decoder.flush()]
    assert sum(len(chunk.samples) for chunk in heard) == pytest.approx(8_000, rel=0.1)


def test_formats_without_end_are_not_all_remembered() -> None:
    fifos = Fifos()
    decoder = StreamDecoder(segment_s_max=60, fifos=fifos)
    rates = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
    for rate_hz in rates:
        decoder.push(segment(coded(duration_s=1.0, segment_s=1.0, rate_hz=rate_hz), 0))
    assert 4 < len(fifos._fifos) <= len(rates)
    for number in range(100):
        fifos._fifos[("flt", "mono", number)] = fifos._fifos[next(iter(fifos._fifos))]
    assert decoder.push(segment(coded(duration_s=1.0, segment_s=1.0, channels=1), 0))
    assert len(fifos._fifos) <= Fifos.FORMATS_MAX


def lied(kind: bytes, place: int, value: int, data: bytes) -> bytes:
    at = data.index(kind) + 4 + place
    return data[:at] + value.to_bytes(4) + data[at + 4 :]


@pytest.fixture(scope="module")
def m4a() -> bytes:
    return next(data for data in fuzz_media.files() if data[4:8] == b"ftyp")


def test_a_file_whose_tables_lie_cost_gigabytes(m4a: bytes, tmp_path: Path) -> None:
    count = 2_000_000_000
    path = tmp_path / "a.m4a"
    path.write_bytes(lied(b"stsc", 12, count, lied(b"stsz", 8, count, lied(b"stsz", 4, 1, m4a))))
    with pytest.raises(
        UnreadableAudio, match=r"a\.m4a is not audio: it claims 2,000,000,000 samples of 1 bytes, which is more than [0-9,]+ bytes of a file can hold"
    ):
        list(read_samples(path))
    path.write_bytes(lied(b"stsc", 12, count, m4a))
    with pytest.raises(UnreadableAudio, match="samples in its chunks"):
        list(read_samples(path))


def test_a_file_of_pcm_may_have_as_many_samples_as_it_has_bytes() -> None:
    """An hour of it has 172 million, in chunks, by which FFmpeg reckons."""
    for data in fuzz_media.files():
        boxes.check_file(data)
    by_one = lambda delta: _box(b"stts", bytes(4) + (1).to_bytes(4) + (100_000_000).to_bytes(4) + delta.to_bytes(4))  # noqa: E731
    sizes = _box(b"stsz", bytes(4) + (1).to_bytes(4) + (100_000_000).to_bytes(4))
    holder = lambda inside: _in(b"moov", b"trak", b"mdia", b"minf", b"stbl", inside=inside)  # noqa: E731
    long = _Long(holder(by_one(1) + sizes), 200_000_000)
    boxes.check_file(long)  # type: ignore[arg-type]
    with pytest.raises(UnreadableAudio, match="100,000,000 samples"):
        boxes.check_file(_Long(holder(by_one(1_024) + sizes), 200_000_000))  # type: ignore[arg-type]


class _Long(bytes):
    """As long as it says, without having to be there."""

    def __new__(cls, data: bytes, size: int) -> Self:
        made = super().__new__(cls, data + (size - len(data)).to_bytes(4) + b"mdat")
        made.size = size  # type: ignore[attr-defined]
        return made

    def __len__(self) -> int:
        return self.size  # type: ignore[attr-defined, no-any-return]


def _box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4) + kind + content


def _in(*kinds: bytes, inside: bytes) -> bytes:
    for kind in reversed(kinds):
        inside = _box(kind, inside)
    return inside


def test_a_header_that_points_before_the_file_ended_the_whole_addition(m4a: bytes, tmp_path: Path) -> None:
    """FFmpeg goes there; what the file said to that came out as an OSError, which nobody catches."""
    path = tmp_path / "a"
    path.write_bytes(m4a)
    with path.open("rb") as file:
        for opened in (file, io.BytesIO(m4a)):
            nameless = _Nameless(opened)
            assert (nameless.seek(-5), nameless.seek(7), nameless.tell()) == (-1, 7, 7)


def test_a_disk_that_fails_ends_the_file_and_nothing_else(m4a: bytes) -> None:
    class Failing(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            if self.reads > 2:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(UnreadableAudio):
        list(read_samples(Failing(m4a)))


# ------------------------------------------------------------------------------------------------ messages, manifests, settings


def test_true_is_no_size() -> None:
    """To Python it is 1, to PostgreSQL it is no number: the message came back until the dead-letter queue took it."""
    (said,) = parse_message(json.dumps(s3_event("a.000001.ts") | {"detail": s3_event("a.000001.ts")["detail"] | {"object": {"key": "a", "size": True}}}))
    assert isinstance(said, ObjectArrived)
    assert said.size == 0
    assert type(said.size) is int


DEEP, LONG_NUMBER = "[" * 100_000, "9" * 5_000


@pytest.mark.parametrize("text", [DEEP, '{"a":' * 100_000, f"[{LONG_NUMBER}]", "[NaN", "\ufeff["])
def test_a_manifest_that_python_gives_up_on_was_a_traceback(text: str, tmp_path: Path) -> None:
    path = tmp_path / "tracks.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadSettings, match=r"tracks\.json cannot be read: it is (nested too deeply|not JSON)"):
        manifest.read(path)


@pytest.mark.parametrize(
    "text", [f"a = {DEEP}", "a = " + "{a=" * 5_000, f"[leases]\nttl_s = {LONG_NUMBER}", "[leases]\nttl_s = 1979-99-99", "\0", "a.b" * 3_000]
)
def test_a_settings_file_that_python_gives_up_on_was_a_traceback(text: str, tmp_path: Path) -> None:
    path = tmp_path / "earmark.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadSettings, match=r"earmark\.toml is (nested too deeply|not TOML)") as caught:
        load(path, environ={})
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("text", [DEEP, f"[{LONG_NUMBER}]", "[1"])
def test_so_was_a_variable(text: str) -> None:
    with pytest.raises(BadSettings, match="EARMARK_HLS__ALLOW_HOSTS is (nested too deeply|not JSON)"):
        load(environ={"EARMARK_HLS__ALLOW_HOSTS": text})


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
def test_a_wait_without_end_is_no_setting(value: str) -> None:
    with pytest.raises(BadSettings, match="finite number"):
        load(environ={"EARMARK_OUTBOX__RETRY_MAX_S": value})
    with pytest.raises(BadSettings, match="finite number"):
        tried(load(environ={}).settings, "matching", [f"matching.window_s={value}"])


def test_mistakes_without_end_are_told_in_few_words(tmp_path: Path) -> None:
    path = tmp_path / "earmark.toml"
    path.write_text("\n".join(["[queue]", *(f'k{n} = "{"x" * 10_000}"' for n in range(500)), f'wait_s = "{"y" * 100_000}"']), encoding="utf-8")
    with pytest.raises(BadSettings) as caught:
        load(path, environ={})
    text = str(caught.value)
    assert f"and {501 - SENTENCES_MAX} more" in text
    assert len(text) < 600 * SENTENCES_MAX


@pytest.mark.parametrize("name", ["EARMARK_CONFIG", "EARMARK_A\nB", "EARMARK_QUEUE__\x1b[31mURL"])
def test_a_mistake_is_told_in_one_line_without_control_characters(name: str) -> None:
    with pytest.raises(BadSettings) as caught:
        load(environ={name: "line\nline\x1b[31m"})
    assert str(caught.value).isprintable()


def test_frames_of_seven_bytes_are_not_all_cut_out_before_the_first_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four million of them, in a segment of the size that is allowed, were two gigabytes of packets."""
    cut: list[int] = []
    decoder = StreamDecoder(segment_s_max=60)
    decoder.push(segment(coded(container="aac", duration_s=1.0, segment_s=1.0), 0))
    assert decoder._signal
    codec = decoder._signal.codec

    class Watched:
        def parse(self, data: bytes) -> Any:
            cut.append(len(data))
            return codec.parse(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(codec, name)

    monkeypatch.setattr(decoder._signal, "codec", Watched())
    decoder.push(Segment(data=b"\xff\xf1\x50\x80\0\xe0\xfc" * 300_000, container="aac", duration_s=1, fetched_at=NOW))
    assert max(cut) == PARSED_BYTES
    assert sum(cut) < 10 * PARSED_BYTES


@pytest.mark.parametrize("rate_hz", [1, 3_999, 768_001, 500_000_000])
def test_a_rate_at_which_nothing_is_recorded_was_gigabytes_or_the_end_of_the_whole_addition(rate_hz: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wav = next(data for data in fuzz_media.files() if data[:4] == b"RIFF")
    path.write_bytes(wav[:24] + rate_hz.to_bytes(4, "little") + (rate_hz * 2 % (1 << 32)).to_bytes(4, "little") + wav[32:])
    with pytest.raises(UnreadableAudio, match=rf"a\.wav is not audio: its samples cannot be brought to 8000 Hz \(its rate is {rate_hz:,} Hz\)"):
        list(read_samples(path))


def test_a_list_that_is_longer_than_its_file_was_gigabytes_of_text(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    wav = next(data for data in fuzz_media.files() if data[:4] == b"RIFF")
    at = wav.index(b"LIST") + 4
    for place, value, why in ((at, 0x8000_004A, "its list of texts claims"), (at + 12, 0x7000_0000, "a text of it claims 1,879,048,192 bytes")):
        path.write_bytes(wav[:place] + value.to_bytes(4, "little") + wav[place + 4 :])
        with pytest.raises(UnreadableAudio, match=rf"a\.wav is not audio: {why}"):
            list(read_samples(path))
    path.write_bytes(wav)
    assert sum(len(chunk.samples) for chunk in read_samples(path)) == pytest.approx(3.2 * 8_000, rel=0.02)
