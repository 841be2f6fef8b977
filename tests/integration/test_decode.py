"""Joins between segments are exact to the sample; what cannot be decoded costs that segment and nothing else."""

import io
import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import av
import av.error
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from hypothesis import given, settings
from hypothesis import strategies as st

from audio_media import Coded, adts_frames, coded, id3_timestamp, shift_pts, tones
from earmark.audio import mpegts
from earmark.audio.decode import Downsampler, Fifos, Resampler, StreamDecoder
from earmark.audio.stretches import Stretches, tables_of
from earmark.errors import SourceUnsupported, UnreadableAudio
from earmark.model import RATE_HZ, AudioChunk, Missing, Segment

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def segment(media: Coded, index: int, **changes) -> Segment:
    made = Segment(
        data=media.segments[index], container=media.container, init=media.init, duration_s=media.durations_s[index], fetched_at=NOW + timedelta(seconds=index)
    )
    return replace(made, **changes)


def segments(media: Coded) -> list[Segment]:
    return [segment(media, index) for index in range(len(media.segments))]


def decoded(pieces, **kwargs) -> list[AudioChunk]:
    decoder = StreamDecoder(**{"segment_s_max": 60.0, **kwargs})
    return [chunk for piece in pieces for chunk in decoder.push(piece)] + decoder.flush()


def samples(chunks):
    return np.concatenate([chunk.samples for chunk in chunks]) if chunks else np.zeros(0, np.float32)


def gaps(chunks):
    return [(round(chunk.gap_before_s, 2), chunk.gap_reason) for chunk in chunks if chunk.gap_before_s]


def adds_up(chunks, start_s=0.0):
    position = round(start_s * RATE_HZ)
    for chunk in chunks:
        position += round(chunk.gap_before_s * RATE_HZ)
        assert round(chunk.start_s * RATE_HZ) == position
        position += len(chunk.samples)
    return position / RATE_HZ


def at_once(media: Coded):
    """One continuous decode by FFmpeg's own demuxer, through one filter: the reference."""
    if media.container == "aac":
        data = b"".join(s[73:] for s in media.segments)  # the tag before each is 73 bytes long
        assert data[:2] == b"\xff\xf1"
    else:
        data = media.init + b"".join(media.segments)
    with av.open(io.BytesIO(data), format=media.container) as container:
        return downsampled(container.decode(audio=0))


def downsampled(frames):
    parts, downsampler = [], None
    for frame in frames:
        downsampler = downsampler or Downsampler(like=frame, fifos=Fifos())
        parts += downsampler.push(frame)
    return np.concatenate([*parts, *downsampler.flush()])


def by_ffmpeg(frames):
    resampler = AudioResampler(format="flt", layout="mono", rate=RATE_HZ, options={"rematrix_maxval": "1.0"})
    parts = [part for frame in frames for part in resampler.resample(frame)]
    return np.concatenate([part.to_ndarray()[0] for part in parts + resampler.resample(None)])


# ------------------------------------------------------------------------------------------------ joins


@pytest.mark.parametrize(
    "media",
    [
        {},
        {"video": True},
        {"container": "mp4"},
        {"container": "mp4", "video": True},
        {"container": "aac"},
        {"codec": "libmp3lame"},
        {"rate_hz": 44_100, "channels": 1},
        {"codec": "libmp3lame", "rate_hz": 44_100, "channels": 1},
        {"rate_hz": 22_050},
        {"segment_s": 1.1},
        {"codec": "ac3"},
    ],
    ids=str,
)
def test_segments_joined_equal_one_continuous_decode_to_the_sample(media):
    made = coded(**media)
    chunks = decoded(segments(made))
    assert len(made.segments) > 3
    assert np.array_equal(samples(chunks), at_once(made))
    assert gaps(chunks) == []
    assert abs(adds_up(chunks) - 12.0) < 0.1


def test_what_was_decoded_is_what_was_encoded():
    heard = samples(decoded(segments(coded())))
    resampler = Resampler(rate_hz=48_000)
    primed = np.concatenate([np.zeros(1_024, np.float32), tones(12.0).mean(axis=0)])  # the encoder starts with so much silence
    sent = np.concatenate([resampler.push(primed), resampler.flush()])
    assert np.corrcoef(heard[:96_000], sent[:96_000])[0, 1] > 0.99


def test_latm_is_left_to_ffmpeg_even_where_the_table_calls_it_adts():
    made = coded(latm=True)
    heard = samples(decoded(segments(made)[:-1]))  # the last one is a single frame, too short to tell what it is
    assert len(heard) > 11.9 * RATE_HZ
    assert np.array_equal(heard[:-200], at_once(made)[: len(heard) - 200])


def test_an_edit_list_does_not_cost_samples_of_every_segment():
    """FFmpeg's MP4 muxer writes one with `delay_moov`; its demuxer then wants 1,024 samples of each segment dropped."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"movflags": "delay_moov+default_base_moof+dash", "frag_duration": "2000000"}) as out:
        stream = out.add_stream("aac", rate=48_000)
        stream.layout = "stereo"
        sound = tones(8.0)
        for begin in range(0, sound.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[:, begin : begin + 1024]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48_000, begin
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    init, parts, data = b"", [], buffer.getvalue()
    while data:
        size, kind = int.from_bytes(data[:4]), data[4:8]
        if kind in (b"ftyp", b"moov"):
            init += data[:size]
        elif kind == b"moof":
            parts.append(data[:size])
        elif kind == b"mdat":
            parts[-1] += data[:size]
        data = data[size:]
    assert b"elst" in init and len(parts) >= 4
    pieces = [Segment(data=part, container="mp4", init=init, duration_s=2.0, fetched_at=NOW) for part in parts]
    chunks = decoded(pieces)
    assert gaps(chunks) == []
    assert adds_up(chunks) == pytest.approx(8.0 + 1024 / 48_000, abs=1024 / 48_000)


def test_a_frame_cut_by_the_end_of_a_segment_survives():
    frames = b"".join(adts_frames(tones(6.0), 48_000))
    whole = decoded([Segment(data=frames, container="aac", duration_s=6.0, fetched_at=NOW)])
    cut = [frames[begin : begin + 7_001] for begin in range(0, len(frames), 7_001)]
    assert np.array_equal(samples(decoded([Segment(data=part, container="aac", duration_s=1.0, fetched_at=NOW) for part in cut])), samples(whole))


def test_streams_that_share_fifos_do_not_hear_each_other():
    fifos = Fifos()
    made, other = coded(), coded(seed=2)
    one, two = (StreamDecoder(segment_s_max=60, fifos=fifos) for _ in range(2))
    broken = segment(other, 1, data=other.segments[1][:-188] + other.segments[1][-188:-40] + b"\xff" * 40)
    first, second = [], []
    for index in range(4):
        first += one.push(segment(made, index))
        second += two.push(segment(other, index) if index != 1 else broken)
    assert np.array_equal(samples(first), samples(decoded(segments(made)[:4]))[: len(samples(first))])


# ------------------------------------------------------------------------------------------------ where signals break


OTHERS = [{"rate_hz": 44_100, "channels": 1}, {"codec": "libmp3lame"}, {"container": "mp4"}, {"container": "aac", "rate_hz": 32_000}]


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_a_discontinuity_with_another_codec_or_rate(other):
    first, second = coded(), coded(seed=2, **other)
    chunks = decoded([*segments(first)[:3], segment(second, 0, discontinuity=True), *segments(second)[1:3]])
    assert gaps(chunks) == []
    assert np.array_equal(samples(chunks), np.concatenate([samples(decoded(segments(first)[:3])), samples(decoded(segments(second)[:3]))]))


def test_another_rate_without_a_word_is_heard_all_the_same():
    first, second = coded(), coded(seed=2, rate_hz=44_100)
    chunks = decoded([*segments(first)[:3], *[replace(s, data=shift_pts(s.data, 90_000 * 6)) for s in segments(second)[:3]]])
    assert gaps(chunks) == []
    assert adds_up(chunks) == pytest.approx(12.0, abs=0.1)


def test_time_stamps_that_jump_forward_without_a_word_are_a_gap():
    made = coded()
    jumped = [replace(s, data=shift_pts(s.data, 90_000 * 7)) for s in segments(made)[2:4]]
    chunks = decoded([*segments(made)[:2], *jumped])
    assert gaps(chunks) == [(7.0, "discontinuity")]
    assert adds_up(chunks) == pytest.approx(8 + 7, abs=0.1)


def test_a_clock_that_runs_backwards_makes_no_negative_gap():
    made = coded()
    back = [replace(s, data=shift_pts(s.data, -90_000 * 3)) for s in segments(made)[2:4]]
    chunks = decoded([*segments(made)[:2], *back])
    assert gaps(chunks) == []
    assert adds_up(chunks) == pytest.approx(8, abs=0.1)


def test_time_stamps_may_wrap_between_and_within_segments():
    made = coded()
    for ticks in (-90_000 * 4, -90_000 * 5):
        chunks = decoded([replace(s, data=shift_pts(s.data, ticks)) for s in segments(made)])
        assert gaps(chunks) == []
        assert np.array_equal(samples(chunks), at_once(made))


@pytest.mark.parametrize("claimed_s, gap_s", [(9.0, 5.0), (0.0, 5.0), (4.0, 1.99)])
def test_a_jump_inside_a_segment_is_a_gap_too_but_not_beyond_what_it_claims(claimed_s, gap_s):
    made = coded()
    inside = made.segments[1] + shift_pts(made.segments[2], 90_000 * 5)
    after = replace(segment(made, 3), data=shift_pts(made.segments[3], 90_000 * 5))
    chunks = decoded([segment(made, 0), segment(made, 1, data=inside, duration_s=claimed_s), after])
    assert gaps(chunks) == [(gap_s, "discontinuity")]
    assert adds_up(chunks) == pytest.approx(8 + gap_s, abs=0.1)


def test_packed_audio_carries_its_time_in_a_tag():
    made = coded(container="aac")
    chunks = decoded([segment(made, 0), segment(made, 3)])
    assert gaps(chunks) == [(4.01, "discontinuity")]
    untimed = decoded([segment(made, i, data=made.segments[i].replace(b"transportStreamTimestamp", b"somethingElseWithoutTime")) for i in (0, 3)])
    assert gaps(untimed) == []


def test_missing_media_is_a_gap_and_time_stamps_correct_its_length():
    made = coded()
    chunks = decoded([segment(made, 0), Missing(duration_s=2.0, reason="segment_missing"), segment(made, 3)])
    assert gaps(chunks) == [(2.0, "segment_missing"), (2.01, "segment_missing")]
    assert adds_up(chunks) == pytest.approx(8, abs=0.1)


def test_the_wall_clock_of_the_playlist_goes_with_the_samples():
    made = coded()
    clock = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    chunks = decoded([segment(made, 0, clock=clock), segment(made, 1)])
    assert [(c.clock, c.clock_source) for c in chunks[:1]] == [(clock, "program_date_time")]
    assert chunks[1].clock == pytest.approx(clock + timedelta(seconds=chunks[1].start_s), abs=timedelta(milliseconds=1))


def test_a_later_owner_goes_on_where_the_last_one_stopped():
    chunks = decoded(segments(coded())[2:], start_s=123.456)
    assert chunks[0].start_s == 123.456
    adds_up(chunks, 123.456)


# ------------------------------------------------------------------------------------------------ bad bytes

RNG = np.random.default_rng(7)
BAD = {
    "noise": RNG.integers(0, 256, 30_000, np.uint8).tobytes(),
    "noise in packets": b"".join(b"\x47" + RNG.integers(0, 256, 187, np.uint8).tobytes() for _ in range(200)),
    "HTML": b"<!DOCTYPE html><html><body>503 Service Unavailable</body></html>" * 20,
    "nothing": b"",
    "zeros": bytes(18_800),
    "a playlist": b"#EXTM3U\n#EXTINF:2,\nfile:///etc/passwd\n",
}


@pytest.mark.parametrize("container", ["mpegts", "mp4", "aac", "mp3"])
@pytest.mark.parametrize("bad", BAD)
def test_a_segment_of_something_else_is_a_gap_of_its_claimed_length(bad, container):
    made = coded()
    chunks = decoded([segment(made, 0), segment(made, 1, data=BAD[bad], container=container), segment(made, 2)])
    assert gaps(chunks) == [(round(made.durations_s[1], 2), "segment_undecodable")]
    assert adds_up(chunks) == pytest.approx(6.0, abs=0.1)
    alone = samples(decoded([segment(made, 2)]))
    assert np.array_equal(samples(chunks)[-len(alone) :], alone), "what follows is heard as if nothing had been before"


def test_a_truncated_segment_costs_what_it_lacks():
    made = coded()
    half = made.segments[1][: len(made.segments[1]) // 376 * 188]
    chunks = decoded([segment(made, 0), segment(made, 1, data=half), segment(made, 2)])
    ((lost_s, _),) = gaps(chunks)
    assert 0.8 < lost_s < 1.2
    assert adds_up(chunks) == pytest.approx(6.0, abs=0.1)


def test_one_frame_that_cannot_be_decoded_costs_at_most_its_segment():
    frames = adts_frames(tones(6.0), 48_000)
    groups = [frames[0:94], frames[94:188], frames[188:282]]
    groups[1][40] = groups[1][40][:7] + b"\xff" * (len(groups[1][40]) - 7)
    pieces = [Segment(data=b"".join(g), container="aac", duration_s=94 * 1024 / 48_000, fetched_at=NOW) for g in groups]
    failures = []
    chunks = decoded(pieces, failed=lambda failure, why: failures.append((failure, why)))
    ((failure, why),) = failures
    assert failure == "damaged"
    assert why.startswith("a frame of it cannot be decoded (")
    ((lost_s, reason),) = gaps(chunks)
    assert reason == "segment_undecodable"
    assert 1.0 < lost_s < 1.2
    assert adds_up(chunks) == pytest.approx(3 * 94 * 1024 / 48_000, abs=0.01)


def test_a_layout_that_cannot_be_mixed_down_costs_its_segment():
    """Damaged bytes may claim fifteen channels; the filter that refuses them must not fail a second time at its end."""
    frame = AudioFrame(format="fltp", layout="15 channels", samples=1024)
    frame.sample_rate = 48_000
    downsampler = Downsampler(like=frame, fifos=Fifos())
    downsampler.push(frame)
    with pytest.raises(av.error.ArgumentError):
        downsampler.drain()
    assert downsampler.flush() == []


def test_video_without_audio_is_said_after_a_few_segments():
    mute = coded(audio=False, video=True, duration_s=8.0)
    decoder = StreamDecoder(segment_s_max=60)
    assert gaps(decoder.push(segment(mute, 0))) == [(round(mute.durations_s[0], 2), "segment_undecodable")]
    decoder.push(segment(mute, 1))
    with pytest.raises(SourceUnsupported, match="nothing to hear: none of its first 3 segments is audible; of the last one: it has video but no audio"):
        decoder.push(segment(mute, 2))
    heard = StreamDecoder(segment_s_max=60)
    heard.push(segment(coded(), 0))
    for index in range(4):
        heard.push(segment(mute, index % 3))
    assert heard.push(segment(coded(), 1)), "a stream that was heard may fall silent for a while"


def test_a_stream_that_never_was_audio_is_said_too():
    decoder = StreamDecoder(segment_s_max=60)
    with pytest.raises(SourceUnsupported, match="none of the stream's first 10 segments could be decoded"):
        for _ in range(20):
            decoder.push(Segment(data=BAD["noise"], container="mpegts", duration_s=2.0, fetched_at=NOW))


def test_more_media_than_a_segment_may_hold_is_cut():
    made = coded()
    everything = b"".join(made.segments)
    chunks = decoded([Segment(data=everything, container="mpegts", duration_s=1e9, fetched_at=NOW)], segment_s_max=5.0)
    assert adds_up(chunks) == pytest.approx(5.0, abs=0.05)
    claimed = decoded([segment(made, 0), Segment(data=b"x", container="mpegts", duration_s=1e9, fetched_at=NOW)], segment_s_max=5.0)
    assert gaps(claimed) == [(5.0, "segment_undecodable")]


# ------------------------------------------------------------------------------------------------ our readers


def test_our_readers_read_ffmpegs_streams_and_leave_nothing_to_ffmpeg():
    for media in ({}, {"video": True}, {"codec": "libmp3lame"}, {"container": "mp4"}):
        decoder = StreamDecoder(segment_s_max=60)
        for piece in segments(coded(**media)):
            decoder.push(piece)
        assert decoder.fallbacks == 0


@pytest.mark.parametrize("damage", ["lost packet", "packet sent twice", "another programme table"])
def test_what_our_reader_does_not_expect_ffmpeg_reads(damage):
    made = coded()
    packets = [made.segments[1][at : at + 188] for at in range(0, len(made.segments[1]), 188)]
    if damage == "lost packet":
        del packets[100]
    elif damage == "packet sent twice":
        packets.insert(100, packets[100])
    else:
        packets[0] = bytes([0x47, 0x40, 0x00, 0x10, 0x00, 0x42]) + packets[0][6:]
    decoder = StreamDecoder(segment_s_max=60)
    chunks = [c for piece in (segment(made, 0), segment(made, 1, data=b"".join(packets)), segment(made, 2)) for c in decoder.push(piece)]
    assert decoder.fallbacks == 1
    assert adds_up(chunks) == pytest.approx(6.0, abs=0.15)


@pytest.mark.parametrize("video", [False, True])
def test_packets_of_192_bytes_are_the_same_with_four_bytes_before_each(video):
    made = coded(video=video)
    stamped = [b"".join(b"\x00\x01\x02\x03" + data[at : at + 188] for at in range(0, len(data), 188)) for data in made.segments]
    chunks = decoded([segment(made, index, data=data) for index, data in enumerate(stamped)])
    assert np.array_equal(samples(chunks), samples(decoded(segments(made))))


@pytest.mark.parametrize("video", [False, True])
def test_a_stream_cut_into_stretches_sounds_the_same(video):
    made = coded(video=video, segment_s=6.0)
    stretches = [stretch for data in made.segments for stretch in cut(data, seconds=1.5)]
    assert len(stretches) >= 8
    pieces = [Segment(data=stretch.data, container="mpegts", duration_s=0, fetched_at=NOW) for stretch in stretches]
    assert np.array_equal(samples(decoded(pieces)), samples(decoded(segments(made))))


def cut(data, *, seconds, bytes_at_once=100_000):
    stretches = Stretches(seconds=seconds)
    found = [stretch for at in range(0, len(data), bytes_at_once) for stretch in stretches.push(data[at : at + bytes_at_once])]
    return [*found, *stretches.flush()]


def test_what_has_no_sound_says_so_when_it_is_heard():
    with pytest.raises(mpegts.Unexpected, match="sync"):
        cut(b"no transport stream" * 100, seconds=1)
    mute = coded(audio=False, video=True, duration_s=4.0).segments[0]
    (tables,) = cut(mute, seconds=1)
    assert len(tables.data) < 1_000 < len(mute)
    with pytest.raises(mpegts.NoAudio, match="video but no audio"):
        mpegts.read(tables.data)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_however_the_bytes_come_the_same_stretches_are_cut(data):
    made = coded(video=True, duration_s=24.0, segment_s=24.0).segments[0]
    whole = cut(made, seconds=5, bytes_at_once=len(made))
    edges = [0, *sorted(data.draw(st.lists(st.integers(0, len(made)), max_size=12))), len(made)]
    stretches = Stretches(seconds=5)
    found = [stretch for begin, end in itertools.pairwise(edges) for stretch in stretches.push(made[begin:end])]
    assert [*found, *stretches.flush()] == whole
    # Each begins where the one before ends, and can be gone on with from there.
    assert all(one.end_pts == other.begin_pts for one, other in itertools.pairwise(whole))
    again = Stretches(seconds=5, begin=whole[0].end, tables=tables_of(made[:100_000]))
    assert [*again.push(made[whole[0].end :]), *again.flush()] == whole[1:]


def test_bytes_that_are_no_packets_cost_no_more_than_the_packets_they_are_in():
    made = coded(video=True, duration_s=24.0, segment_s=24.0).segments[0]
    hole = len(made) // 2 // 188 * 188
    damaged = made[:hole] + b"not a packet at all" * 7 + made[hole + 188 * 3 :]
    heard = b"".join(stretch.data for stretch in cut(damaged, seconds=60))
    intact = b"".join(stretch.data for stretch in cut(made, seconds=60))
    assert 0 <= len(intact) - len(heard) <= 4 * 188


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_damage_makes_the_decoder_fail(data):
    made = coded(video=data.draw(st.booleans()), container=data.draw(st.sampled_from(["mpegts", "mp4"])), duration_s=4.0)
    damaged = bytearray(made.segments[0])
    for _ in range(data.draw(st.integers(1, 30))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged) - 1)) :]
    chunks = decoded([segment(made, 0, data=bytes(damaged)), segment(made, 1)], segment_s_max=10.0)
    adds_up(chunks)
    assert len(samples(chunks)) > 1.5 * RATE_HZ, "the sound segment is heard"


# ------------------------------------------------------------------------------------------------ the resampler


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 7_999, 12_345, 96_000]), st.lists(st.integers(0, 5_000), max_size=12))
def test_however_samples_are_cut_the_same_ones_come_out(rate_hz, cuts):
    sound = tones(0.5, rate_hz, 1)[0]

    def resampled(edges):
        resampler = Resampler(rate_hz=rate_hz)
        return np.concatenate([*(resampler.push(part) for part in np.split(sound, edges)), resampler.flush()])

    whole = resampled([])
    assert np.array_equal(whole, resampled(sorted(min(cut, len(sound)) for cut in cuts)))
    assert abs(len(whole) - len(sound) * RATE_HZ / rate_hz) <= 1


def test_a_rate_must_be_one():
    with pytest.raises(UnreadableAudio, match="0 Hz"):
        Resampler(rate_hz=0)


def frames_of(form, layout, rate_hz, sound):
    """float [channels, n] as frames of 1,024 samples, as a decoder writes them."""
    base = form.removesuffix("p")
    if base in FULL:
        numbers = np.rint(sound * FULL[base] + (128 if base == "u8" else 0)).astype(WHOLE[base])
    else:
        numbers = sound.astype(np.float32 if base == "flt" else np.float64)
    for begin in range(0, sound.shape[1], 1024):
        part = numbers[:, begin : begin + 1024]
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(part if form.endswith("p") else part.T.reshape(1, -1)), format=form, layout=layout)
        frame.sample_rate = rate_hz
        yield frame


FULL = {"u8": 127, "s16": 32_767, "s32": 2_147_483_000}
WHOLE = {"u8": np.uint8, "s16": np.int16, "s32": np.int32}


@pytest.mark.parametrize("form", ["flt", "fltp", "dbl", "dblp", "s16", "s16p", "s32", "s32p", "u8"])
@pytest.mark.parametrize("layout, channels", [("mono", 1), ("stereo", 2), ("2 channels", 2), ("5.1", 6)])
@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 37_800])
def test_whatever_is_decoded_sounds_as_libswresample_has_it(form, layout, channels, rate_hz):
    sound = np.concatenate([tones(1.0, rate_hz, 2) * 0.9**n for n in range(3)])[:channels]
    ours, theirs = downsampled(frames_of(form, layout, rate_hz, sound)), by_ffmpeg(frames_of(form, layout, rate_hz, sound))
    assert abs(len(ours) - len(theirs)) <= 1
    assert np.abs(theirs).max() > 0.1
    both = min(len(ours), len(theirs))
    assert np.abs(ours[:both] - theirs[:both]).max() < 1e-6


@pytest.mark.parametrize("number", [np.nan, np.inf, 3e38])
def test_samples_that_are_no_numbers_spoil_what_lies_beside_them_and_are_no_error(number):
    sound = tones(1.0, 48_000, 2)
    sound[:, 24_000:24_010] = [[number], [-number if number == np.inf else number]]
    heard = downsampled(frames_of("fltp", "stereo", 48_000, sound))
    spoilt = np.flatnonzero(~(np.abs(heard) < 2))
    assert len(spoilt)
    assert spoilt.min() > 3_900 and spoilt.max() < 4_100


def test_stereo_is_as_loud_as_the_same_in_mono():
    mono = samples(decoded(segments(coded(container="aac", channels=1))))
    stereo = samples(decoded(segments(coded(container="aac", channels=2))))  # the right channel is half as loud
    assert np.sqrt(np.mean(stereo**2) / np.mean(mono**2)) == pytest.approx(0.75, abs=0.02)


def test_the_tag_that_tests_put_before_packed_audio():
    assert len(id3_timestamp(0)) == 73
