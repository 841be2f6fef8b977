"""MP4 segments whose tables lie cost that segment, at once; what FFmpeg and packagers write is heard, and the same by whichever reader."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from audio_media import coded, tones
from earmark.audio import boxes, fragments
from earmark.audio.containers import Media, demux, unwrap
from earmark.audio.decode import StreamDecoder
from earmark.errors import UnreadableAudio
from earmark.model import Segment

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def segments(**kwargs: object) -> list[Segment]:
    made = coded(container="mp4", **kwargs)  # type: ignore[arg-type]
    return [Segment(data=data, container="mp4", init=made.init, duration_s=s, fetched_at=NOW) for data, s in zip(made.segments, made.durations_s, strict=True)]


def claiming(segment: Segment, samples: int) -> Segment:
    """Its first run of samples says that there are so many, and nothing of each."""
    data = bytearray(segment.data)
    at = data.index(b"trun") + 4
    data[at : at + 8] = bytes(4) + samples.to_bytes(4)
    return replace(segment, data=bytes(data))


@pytest.mark.parametrize("samples", [80_000_000, (1 << 32) - 1, 200_001])
def test_samples_that_nobody_sent_cost_their_segment(samples: int) -> None:
    good, bad, after, *_ = segments()
    with pytest.raises(UnreadableAudio, match=f"^it claims {samples:,} entries in its trun boxes, which is more than [0-9,]+ bytes of a segment can hold$"):
        unwrap(claiming(bad, samples))
    failures: list[tuple[str, str]] = []
    decoder = StreamDecoder(segment_s_max=60, failed=lambda failure, why: failures.append((failure, why)))
    chunks = [chunk for piece in (good, claiming(bad, samples), after) for chunk in decoder.push(piece)] + decoder.flush()
    assert [failure for failure, _ in failures] == ["undecodable"]
    assert [chunk.gap_reason for chunk in chunks if chunk.gap_before_s] == ["segment_undecodable"]
    assert chunks[-1].end_s == pytest.approx(6.0, abs=0.1)


def test_the_same_bytes_cannot_be_claimed_again_and_again() -> None:
    """Every run of samples says where its bytes are, and all may say the same."""
    made = segments()[0]
    data, copies = made.data, 5
    moof, traf, trun = (data.index(kind) - 4 for kind in (b"moof", b"traf", b"trun"))
    run = data[trun : trun + int.from_bytes(data[trun : trun + 4])]
    more = bytearray(data[:trun] + run * copies + data[trun + len(run) :])
    for at in (moof, traf):
        more[at : at + 4] = (int.from_bytes(data[at : at + 4]) + (copies - 1) * len(run)).to_bytes(4)
    with pytest.raises(UnreadableAudio, match="^it claims the same bytes for several samples$"):
        unwrap(replace(made, data=bytes(more)))


@pytest.mark.parametrize("kwargs", [{}, {"video": True}, {"codec": "ac3"}, {"segment_s": 1.1}], ids=str)
def test_what_ffmpegs_packager_writes_passes(kwargs: dict[str, object]) -> None:
    assert all(unwrap(segment).runs for segment in segments(**kwargs))


@pytest.mark.parametrize(
    "movflags",
    [
        "frag_keyframe+empty_moov+default_base_moof",
        "cmaf",
        "dash+global_sidx",
        "frag_every_frame+empty_moov",
        "empty_moov+separate_moof+omit_tfhd_offset",
        "isml+frag_keyframe",
        "faststart",
        "",
    ],
)
def test_whatever_ffmpegs_muxer_writes_passes(movflags: str, tmp_path: Path) -> None:
    path, sound = tmp_path / "it.mp4", tones(3.0)
    options = {"frag_duration": "500000"} if movflags not in ("faststart", "") else {}
    with av.open(str(path), "w", format="mp4", options={**options, "movflags": movflags} if movflags else {}) as out:
        out.metadata["title"] = "the trunk of stsz and sidx"
        stream = out.add_stream("aac", rate=48_000)
        stream.layout = "stereo"
        for begin in range(0, sound.shape[1], 1024):
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, begin : begin + 1024]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48_000, begin
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    media = unwrap(Segment(data=path.read_bytes(), container="mp4", duration_s=3.0, fetched_at=NOW))
    assert [_sizes(run.coded) for run in media.runs] == [_sizes(run.coded) for run in demux(path.read_bytes(), "mp4").runs]
    assert sum(len(run.coded) for run in media.runs) == pytest.approx(3.0 * 48_000 / 1024, abs=2)


def _sizes(packets: object) -> list[tuple[int | None, int]]:
    assert isinstance(packets, list)
    return [(packet.pts, packet.size) for packet in packets]


def test_a_segment_cut_off_is_heard_as_far_as_it_goes() -> None:
    whole = segments()[1]
    half = replace(whole, data=whole.data[: len(whole.data) // 2])
    assert 30 < sum(len(run.coded) for run in unwrap(half).runs) < 70


# ------------------------------------------------------------------------------------------------ our reader, and FFmpeg's


def by_ffmpeg(segment: Segment) -> Media:
    return demux(boxes.checked(segment.init + segment.data), "mp4")


def told(media: Media) -> tuple[object, ...]:
    return media.key, [(run.pts, [bytes(packet) for packet in run.coded]) for run in media.runs]  # type: ignore[arg-type]


def is_ours(segment: Segment) -> bool:
    try:
        fragments.read(segment.init, segment.data)
    except fragments.Unexpected:
        return False
    return True


KINDS = [{}, {"video": True}, {"rate_hz": 44_100, "channels": 1}, {"rate_hz": 22_050}, {"segment_s": 1.1}]


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
def test_both_readers_find_the_same_in_what_a_packager_cuts(kwargs: dict[str, object]) -> None:
    made = segments(**kwargs)
    # Several fragments in a segment; and some missing between them, which is another run of the clock.
    joined = [replace(made[0], data=made[0].data + made[1].data + made[2].data), replace(made[0], data=made[0].data + made[3].data)]
    for segment in [*made, *joined]:
        assert is_ours(segment)
        assert told(unwrap(segment)) == told(by_ffmpeg(segment))
    assert [len(unwrap(segment).runs) for segment in joined] == [1, 2]


@pytest.mark.parametrize("kwargs", KINDS, ids=str)
def test_the_same_samples_are_heard_by_whichever_reader(kwargs: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = heard(segments(**kwargs)), heard(segments(**kwargs), monkeypatch)
    assert np.array_equal(ours, theirs)
    assert len(ours) > 11.9 * 8_000


def heard(pieces: list[Segment], without_ours: pytest.MonkeyPatch | None = None) -> np.ndarray:
    def unexpected(_init: bytes, _data: bytes) -> fragments.Sound:
        raise fragments.Unexpected("it shall be FFmpeg")

    if without_ours:
        without_ours.setattr(fragments, "read", unexpected)
    decoder = StreamDecoder(segment_s_max=60)
    chunks = [chunk for piece in pieces for chunk in decoder.push(piece)] + decoder.flush()
    assert not any(chunk.gap_before_s for chunk in chunks)
    return np.concatenate([chunk.samples for chunk in chunks])


MUXED = [
    ("frag_keyframe+empty_moov+default_base_moof", True),
    ("cmaf", True),
    ("dash", True),
    ("cmaf+delay_moov", True),
    ("delay_moov+default_base_moof+dash", True),
    ("frag_every_frame+empty_moov+default_base_moof", False),
    ("empty_moov+separate_moof+omit_tfhd_offset", True),
    ("empty_moov+separate_moof+default_base_moof", True),
    ("empty_moov+default_base_moof+frag_discont+negative_cts_offsets", True),
]


@pytest.mark.parametrize("video", [False, True])
@pytest.mark.parametrize("movflags, muxed", MUXED)
def test_both_readers_find_the_same_in_whatever_ffmpegs_muxer_writes(movflags: str, muxed: bool, video: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one piece and, as players get it, the header apart from the fragments."""
    whole = _muxed(movflags, video=video)
    at = whole.index(b"moof") - 4
    one, apart = (Segment(data=data, init=init, container="mp4", duration_s=3.0, fetched_at=NOW) for init, data in ((b"", whole), (whole[:at], whole[at:])))
    assert is_ours(apart) is is_ours(one) is (muxed or not video)
    assert told(unwrap(apart)) == told(unwrap(one)) == told(by_ffmpeg(one))
    assert np.array_equal(heard([apart]), heard([one], monkeypatch))


def _muxed(movflags: str, *, video: bool) -> bytes:
    """Three seconds in fragments of half a second, pictures first; without the index at the end, which only files have."""
    buffer, sound = io.BytesIO(), tones(3.0)
    with av.open(buffer, "w", format="mp4", options={"movflags": movflags, "frag_duration": "500000"}) as out:
        if video:
            pictures = out.add_stream("libx264", rate=25)
            pictures.width, pictures.height, pictures.pix_fmt, pictures.options = 64, 48, "yuv420p", {"g": "25", "preset": "ultrafast"}
            pictures.thread_count = 1
        coder = out.add_stream("aac", rate=48_000)
        coder.layout = "stereo"
        for number in range(75):
            if video:
                picture = VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
                picture.pts = number
                out.mux(pictures.encode(picture))
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, number * 1_920 : number * 1_920 + 1_920]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48_000, number * 1_920
            out.mux(coder.encode(frame))
        out.mux(coder.encode(None))
        if video:
            out.mux(pictures.encode(None))
    whole = buffer.getvalue()
    return whole[: whole.index(b"mfra") - 4] if b"mfra" in whole else whole


def test_a_picture_that_is_not_whole_costs_no_sound() -> None:
    """FFmpeg ends at the first sample of any track that is not all there."""
    made = segments(video=True)[1]
    at = made.data.rindex(b"trun") + 24
    broken = replace(made, data=made.data[:at] + b"\0\xff" + made.data[at + 2 :])
    assert told(unwrap(broken)) == told(unwrap(made))
    assert sum(len(run.coded) for run in by_ffmpeg(broken).runs) < sum(len(run.coded) for run in unwrap(made).runs)


@pytest.mark.parametrize("kwargs", [{"codec": "ac3"}, {"codec": "libopus"}], ids=str)
def test_what_is_not_aac_is_left_to_ffmpeg(kwargs: dict[str, object]) -> None:
    assert not any(is_ours(segment) for segment in segments(**kwargs))
    assert [told(unwrap(segment)) for segment in segments(**kwargs)] == [told(by_ffmpeg(segment)) for segment in segments(**kwargs)]
