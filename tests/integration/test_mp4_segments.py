"""MP4 segments whose tables lie cost that segment, at once; what FFmpeg and packagers write is heard as before."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame

from audio_media import coded, tones
from earmark.audio.containers import demux, unwrap
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
