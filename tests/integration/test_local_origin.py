"""The live origin serves a window over what has happened so far, and its segments join without a seam."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime

import av
import m3u8
import numpy as np
import pytest
import urllib3

from earmark.local.music import RATE_HZ, catalogue, render
from earmark.local.origin import WINDOW_SEGMENTS, Broadcast, Origin
from earmark.model import Float32

BEGIN = 1_790_000_000.0
SECONDS = 21


class OnAir:
    """An origin, its clock, and a client."""

    def __init__(self, samples: Float32) -> None:
        self.now = BEGIN
        self.origin = Origin(now=lambda: self.now)
        self.samples = samples
        self.http = urllib3.PoolManager(retries=False)
        self.broadcast: Broadcast

    def get(self, path: str) -> urllib3.BaseHTTPResponse:
        return self.http.request("GET", f"http://{self.origin.address}/{path}")

    def playlist(self, path: str, at_s: float) -> m3u8.M3U8:
        self.now = BEGIN + at_s
        return m3u8.loads(self.get(path).data.decode())


@pytest.fixture(scope="module")
def on_air() -> Iterator[OnAir]:
    made = OnAir(render(catalogue()[1])[: SECONDS * RATE_HZ])
    with made.origin:
        made.broadcast = made.origin.publish("demo", made.samples, rate_hz=RATE_HZ)
        yield made
    made.http.clear()


def test_nothing_is_there_before_the_first_segment_is_complete(on_air: OnAir) -> None:
    on_air.now = BEGIN + 1
    assert on_air.get("demo/master.m3u8").status == 404
    assert on_air.get("demo/audio/media.m3u8").status == 404
    on_air.now = on_air.broadcast.on_air
    assert on_air.get("demo/master.m3u8").status == 200
    assert on_air.get("demo/audio/00000.ts").status == 200


def test_renditions_can_be_told_apart_by_what_they_declare(on_air: OnAir) -> None:
    master = on_air.playlist("demo/master.m3u8", 10)
    audio, video = master.playlists
    assert audio.stream_info.resolution is None
    assert audio.stream_info.codecs == "mp4a.40.2"
    assert video.stream_info.resolution == (160, 90)
    assert "avc1" in video.stream_info.codecs
    assert audio.stream_info.bandwidth < video.stream_info.bandwidth


@pytest.mark.parametrize("rendition", ["audio", "160p"])
def test_the_window_slides_and_ends(on_air: OnAir, rendition: str) -> None:
    early = on_air.playlist(f"demo/{rendition}/media.m3u8", 5)
    assert (len(early.segments), early.media_sequence, early.is_endlist) == (2, 0, False)
    later = on_air.playlist(f"demo/{rendition}/media.m3u8", 15.9)
    assert (len(later.segments), later.media_sequence, later.is_endlist) == (WINDOW_SEGMENTS, 1, False)
    over = on_air.playlist(f"demo/{rendition}/media.m3u8", 60)
    assert over.is_endlist
    assert all(round(segment.duration) <= over.target_duration for segment in over.segments)


def test_each_segment_says_when_it_happened(on_air: OnAir) -> None:
    listed = on_air.playlist("demo/audio/media.m3u8", 12.5).segments
    clocks = [segment.program_date_time for segment in listed]
    assert clocks[0] == datetime.fromtimestamp(BEGIN, UTC)
    for segment, clock, following in zip(listed, clocks, clocks[1:], strict=False):
        assert (following - clock).total_seconds() == pytest.approx(segment.duration, abs=0.002)


def test_old_segments_go(on_air: OnAir) -> None:
    on_air.now = BEGIN + 2.1
    assert on_air.get("demo/audio/00000.ts").status == 200
    on_air.now = BEGIN + 60
    assert on_air.get("demo/audio/00010.ts").status == 200
    on_air.now = BEGIN + 15
    assert on_air.get("demo/audio/00010.ts").status == 404  # not yet
    assert on_air.get("demo/../../etc/passwd").status == 404
    assert on_air.get("other/master.m3u8").status == 404


@pytest.mark.parametrize("rendition", ["audio", "160p"])
def test_segments_join_without_a_seam(on_air: OnAir, rendition: str) -> None:
    decoder, parts, stamps, number = av.CodecContext.create("aac", "r"), [], [], 0
    while True:
        on_air.now = BEGIN + 2 * number + 3
        answer = on_air.get(f"demo/{rendition}/{number:05d}.ts")
        if answer.status != 200:
            break
        number += 1
        with av.open(io.BytesIO(answer.data), format="mpegts", options={"analyzeduration": "0"}) as container:
            packets = [packet for packet in container.demux(audio=0) if packet.size]
            stamps += [float(packet.pts * packet.time_base) for packet in packets]
            parts += [frame.to_ndarray()[0] for packet in packets for frame in decoder.decode(packet)]
    assert number == 11
    # Time goes on over the joins, frame by frame (90 kHz ticks), and so does the sound (after the encoder's own delay).
    assert np.diff(stamps) == pytest.approx(1024 / RATE_HZ, abs=2 / 90_000)
    heard = np.concatenate(parts)[1024:]
    assert len(heard) >= len(on_air.samples)
    for begin in range(0, len(on_air.samples), RATE_HZ // 2):
        here, there = heard[begin : begin + RATE_HZ // 2], on_air.samples[begin : begin + RATE_HZ // 2]
        assert np.corrcoef(here, there)[0, 1] > 0.99
