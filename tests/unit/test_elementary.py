"""Frames out of a stream of bytes: those that the encoder made, however the bytes are cut and whatever is between them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_media import adts_frames, id3_timestamp, tones
from earmark.audio.elementary import Frame, Framer
from radio_station import AAC_FRAME_S, MP3_FRAME_S, aac, mp3, mp3_frames


def _framed(*pieces: bytes) -> list[Frame]:
    framer = Framer()
    return [frame for piece in pieces for frame in framer.push(piece)]


@pytest.mark.parametrize("made, codec, frame_s", [(mp3, "mp3", MP3_FRAME_S), (aac, "aac", AAC_FRAME_S)])
def test_the_frames_are_those_of_the_encoder_and_know_how_long_they_play(made, codec: str, frame_s: float) -> None:
    frames = made(2.0)
    assert _framed(b"".join(frames)) == [Frame(codec, frame, pytest.approx(frame_s)) for frame in frames]


@pytest.mark.parametrize("rate_hz", [48_000, 32_000, 24_000, 22_050, 16_000, 12_000, 8_000])
def test_mp3_of_every_rate_is_read(rate_hz: int) -> None:
    samples = tones(2.0, rate_hz, 1)
    frames = mp3_frames(samples, rate_hz, kbps=32)
    read = _framed(b"".join(frames))
    assert [frame.data for frame in read] == frames
    assert sum(frame.duration_s for frame in read) == pytest.approx(2.0, abs=0.2)


@pytest.mark.parametrize("rate_hz", [44_100, 24_000, 8_000])
def test_aac_of_every_rate_is_read(rate_hz: int) -> None:
    frames = adts_frames(tones(2.0, rate_hz, 1), rate_hz)
    read = _framed(b"".join(frames))
    assert [frame.data for frame in read] == frames
    assert sum(frame.duration_s for frame in read) == pytest.approx(2.0, abs=0.2)


@given(
    codec=st.sampled_from([mp3, aac]),
    garbage=st.lists(st.one_of(st.binary(max_size=300), st.binary(max_size=40).map(lambda tail: b"\xff\xfb\x90" + tail)), min_size=3, max_size=3),
    cuts=st.lists(st.integers(0, 100_000), max_size=12),
)
def test_any_cutting_of_the_bytes_gives_the_same_frames(codec, garbage: list[bytes], cuts: list[int]) -> None:
    frames = codec(2.0)
    data = garbage[0] + b"".join(frames[:20]) + garbage[1] + b"".join(frames[20:50]) + garbage[2] + b"".join(frames[50:])
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    whole = _framed(data)
    assert _framed(*(data[begin:end] for begin, end in itertools.pairwise(edges))) == whole
    heard = [frame.data for frame in whole]
    assert [frame for frame in frames if frame in heard[-10:]][-5:] == list(frames[-5:])


def test_a_stream_that_begins_within_a_frame_loses_that_one_alone() -> None:
    frames = mp3(2.0)
    assert [frame.data for frame in _framed(b"".join(frames)[200:])] == list(frames[1:])


def test_tags_between_frames_are_left_out() -> None:
    frames = mp3(2.0)
    sent = b"".join(frames[:30]) + id3_timestamp(90_000) + b"".join(frames[30:])
    assert [frame.data for frame in _framed(sent)] == list(frames)


def test_a_station_may_go_over_to_another_codec() -> None:
    read = _framed(b"".join(mp3(2.0)) + b"".join(aac(2.0)))
    assert [frame.codec for frame in read].index("aac") == len(mp3(2.0))
    assert {frame.codec for frame in read[len(mp3(2.0)) :]} == {"aac"}


@pytest.mark.parametrize("garbage", [b"\xff" * 200_000, b"\xff\xfb\x90\x00" * 50_000, b"\xff\xf1" * 100_000, b"<html>" * 30_000], ids=repr)
def test_garbage_is_no_sound_and_is_not_kept(garbage: bytes) -> None:
    framer = Framer()
    assert [frame for at in range(0, len(garbage), 4_096) for frame in framer.push(garbage[at : at + 4_096])] == []
    assert len(framer._data) < 30_000


@given(st.binary(max_size=5_000))
def test_no_bytes_are_too_bad(data: bytes) -> None:
    assert sum(len(frame.data) for frame in _framed(data)) <= len(data)
