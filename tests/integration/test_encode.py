"""Files into other formats: what comes out can be played, is as long as it should be, and is what was in it."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audio_media import tones
from earmark.audio import encode as encoding
from earmark.audio.encode import LOSSLESS, Encoding, NoRoom, encode, suffix_of, unknown_codecs
from earmark.errors import UnreadableAudio


def write(path: Path, samples: Any, *, rate_hz: int, codec: str = "pcm_s16le", layout: str = "") -> Path:
    """Samples float32 [channels, n] as a file."""
    of_24_bits = codec in ("pcm_s24le", "flac 24")
    integers = np.rint(np.clip(samples, -1, 1) * (8_388_607 if of_24_bits else 32_767)).astype(np.int32)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(
            codec.removesuffix(" 24"), rate=rate_hz, layout=layout or ("mono", "stereo")[len(samples) - 1], format="s32" if of_24_bits else "s16"
        )
        packed = (integers << 8 if of_24_bits else integers.astype(np.int16)).T.reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(packed), format=stream.format.name, layout=stream.layout.name)
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path


def played(path: Path) -> tuple[Any, int, str, dict[str, str]]:
    """What a player gets: samples [channels, n], their rate, the codec, the tags."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        resampler = av.AudioResampler(format=frames[0].format.packed.name.rstrip("p") + "p")
        parts = [part.to_ndarray() for frame in [*frames, None] for part in resampler.resample(frame) if part is not None]
        tags = {name.lower(): text for name, text in {**container.metadata, **stream.metadata}.items()}
        return np.concatenate(parts, axis=1), stream.rate, stream.codec_context.name, tags


def copied(file: Path, tmp_path: Path, duration_s: float, **how: Any) -> tuple[Path, encoding.Encoded]:
    into = tmp_path / f"copy.{suffix_of(how.get('codec', 'aac'))}"
    return into, encode(file, into, Encoding(**{"codec": "aac", **how}), duration_s=duration_s)


TAGS = {"title": "Blue Sky — ☁", "artist": "The Example Five; Another"}


@pytest.mark.parametrize("codec", ["aac", "mp3", "opus", "flac"])
def test_a_copy_can_be_played_and_says_what_it_is(tmp_path: Path, codec: Any) -> None:
    file = write(tmp_path / "it.wav", tones(3.0, 44_100), rate_hz=44_100)
    path, made = copied(file, tmp_path, 3.0, codec=codec, kbps=64, tags=TAGS)
    samples, rate_hz, name, tags = played(path)
    assert name.startswith({"mp3": "mp3", "opus": "opus"}.get(codec, codec)) or codec == "opus"
    assert (rate_hz, len(samples)) == (made.rate_hz, made.channels) == (48_000 if codec == "opus" else 44_100, 2)
    assert abs(samples.shape[1] / rate_hz - 3.0) < 0.06
    assert abs(made.duration_s - 3.0) < 0.001
    assert {name: tags.get(name) for name in TAGS} == TAGS
    assert made.size_bytes == path.stat().st_size
    if codec not in LOSSLESS:
        assert 0.6 < made.size_bytes * 8 / 3.0 / 64_000 < 1.6


def test_what_it_says_comes_before_its_sound_so_that_a_browser_plays_it_as_it_comes(tmp_path: Path) -> None:
    path, _ = copied(write(tmp_path / "it.wav", tones(2.0, 44_100), rate_hz=44_100), tmp_path, 2.0)
    data = path.read_bytes()
    assert data[4:12] == b"ftypM4A " and data.index(b"moov") < data.index(b"mdat")


def test_the_same_file_gives_the_same_bytes(tmp_path: Path) -> None:
    file = write(tmp_path / "it.wav", tones(1.0, 44_100), rate_hz=44_100)
    for codec in ("aac", "mp3", "opus", "flac"):
        first = copied(file, tmp_path, 1.0, codec=codec, tags=TAGS)[0].read_bytes()
        assert copied(file, tmp_path, 1.0, codec=codec, tags=TAGS)[0].read_bytes() == first


@pytest.mark.parametrize("codec, layout", [("pcm_s16le", "stereo"), ("pcm_s24le", "stereo"), ("flac 24", "mono"), ("pcm_s16le", "5.1"), ("flac", "5.1")])
def test_a_lossless_copy_is_the_recording_bit_by_bit(tmp_path: Path, codec: str, layout: str) -> None:
    channels = av.AudioLayout(layout).nb_channels
    sound = np.concatenate([tones(0.5, 96_000, 1, seed) for seed in range(channels)])
    file = write(tmp_path / f"it.{'flac' if codec.startswith('flac') else 'wav'}", sound, rate_hz=96_000, codec=codec, layout=layout)
    path, made = copied(file, tmp_path, 0.5, codec="flac", channels_max=1)
    (before, *_), (after, rate_hz, *_) = played(file), played(path)
    assert (rate_hz, made.channels) == (96_000, channels)
    assert before.dtype == after.dtype and np.array_equal(before, after)


def test_of_many_channels_a_lossy_copy_has_two_or_one_and_does_not_clip(tmp_path: Path) -> None:
    loud = np.full((6, 24_000), 0.9, np.float32) * np.sin(np.arange(24_000) / 20).astype(np.float32)
    file = write(tmp_path / "it.wav", loud, rate_hz=48_000, layout="5.1")
    for most in (2, 1):
        samples, *_ = played(copied(file, tmp_path, 0.5, kbps=128, channels_max=most)[0])
        # The encoder overshoots where a tone begins; six channels added up would be 8 dB too loud all the way.
        assert len(samples) == most and float(np.abs(samples[:, 4_096:]).max()) < 1.0


@pytest.mark.parametrize("begin_s, length_s, second", [(0.0, 1.0, 0), (2.0, 1.5, 2), (9.0, 2.0, 3)], ids=["beginning", "middle", "too short for that"])
def test_an_excerpt_is_that_part_to_the_sample(tmp_path: Path, begin_s: float, length_s: float, second: int) -> None:
    sound = tones(5.0, 16_000, 1)
    file = write(tmp_path / "it.wav", sound, rate_hz=16_000)
    path, made = copied(file, tmp_path, 5.0, codec="flac", begin_s=begin_s, length_s=length_s)
    assert made.duration_s == length_s
    (whole, *_), (part, *_) = played(file), played(path)
    assert np.array_equal(part, whole[:, second * 16_000 : second * 16_000 + part.shape[1]])


def test_an_excerpt_that_is_longer_than_the_recording_is_all_of_it(tmp_path: Path) -> None:
    file = write(tmp_path / "it.wav", tones(1.0, 16_000, 1), rate_hz=16_000)
    assert copied(file, tmp_path, 1.0, begin_s=30, length_s=30)[1].duration_s == pytest.approx(1.0)


@pytest.mark.parametrize("rate_hz, codec, becomes", [(96_000, "aac", 48_000), (11_127, "aac", 12_000), (8_000, "mp3", 8_000), (22_050, "opus", 24_000)])
def test_a_rate_that_the_encoder_does_not_know_becomes_the_next_one(tmp_path: Path, rate_hz: int, codec: Any, becomes: int) -> None:
    file = write(tmp_path / "it.wav", tones(1.0, rate_hz), rate_hz=rate_hz)
    _, made = copied(file, tmp_path, 1.0, codec=codec)
    assert made.rate_hz == becomes and abs(made.duration_s - 1.0) < 0.01


def test_a_file_that_changes_its_rate_on_its_way_is_copied_as_it_plays(tmp_path: Path) -> None:
    joined = tmp_path / "joined.aac"
    with joined.open("wb") as out:
        for rate_hz, channels in ((44_100, 2), (22_050, 1)):
            part = tmp_path / f"{rate_hz}.aac"
            with av.open(str(part), "w", format="adts") as adts:
                stream = adts.add_stream("aac", rate=rate_hz, layout=("mono", "stereo")[channels - 1])
                frame = av.AudioFrame.from_ndarray(tones(2.0, rate_hz, channels), format="fltp", layout=stream.layout.name)
                frame.sample_rate = rate_hz
                for packet in [*stream.encode(frame), *stream.encode(None)]:
                    adts.mux(packet)
            out.write(part.read_bytes())
    path, made = copied(joined, tmp_path, 4.0)
    samples, rate_hz, *_ = played(path)
    assert (made.rate_hz, made.channels) == (44_100, 2)
    assert abs(samples.shape[1] / rate_hz - 4.0) < 0.2


def test_a_long_recording_is_written_in_fragments_and_says_how_long_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_WHOLE_S_MAX", 10.0)
    monkeypatch.setattr(encoding, "_FRAGMENT_S", 5)
    path, _ = copied(write(tmp_path / "it.wav", tones(21.0, 8_000, 1), rate_hz=8_000), tmp_path, 21.0, tags=TAGS)
    data = path.read_bytes()
    assert data.count(b"moof") >= 4 and b"sidx" in data
    with av.open(str(path)) as container:
        assert container.duration and abs(container.duration / av.time_base - 21.0) < 0.2
        assert container.metadata["title"] == TAGS["title"]
    samples, rate_hz, *_ = played(path)
    assert abs(samples.shape[1] / rate_hz - 21.0) < 0.15


# ------------------------------------------------------------------------------------------------ what cannot be


def test_what_would_be_too_large_is_given_up_before_it_is(tmp_path: Path) -> None:
    file = write(tmp_path / "it.wav", tones(5.0, 44_100), rate_hz=44_100)
    with pytest.raises(UnreadableAudio, match=r"is not written as flac: that would have more than 100,000 bytes \(formats.bytes_max\)"):
        copied(file, tmp_path, 5.0, codec="flac", bytes_max=100_000)
    assert (tmp_path / "copy.flac").stat().st_size < 200_000


@pytest.mark.parametrize("codec", ["aac", "mp3", "opus", "flac"])
def test_a_full_disk_is_no_fault_of_the_file(tmp_path: Path, codec: Any) -> None:
    file = write(tmp_path / "it.wav", tones(2.0, 44_100), rate_hz=44_100)
    with pytest.raises(NoRoom, match="a copy cannot be written to /dev: no space left on device"):
        encode(file, Path("/dev/full"), Encoding(codec=codec), duration_s=2.0)


def test_what_breaks_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    file = write(tmp_path / "it.flac", tones(5.0, 44_100), rate_hz=44_100, codec="flac")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(UnreadableAudio, match=r"it broke off after 2\.\d of 5\.0 s"):
        copied(file, tmp_path, 5.0)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 a zip", b"#EXTM3U\nfile:///etc/passwd\n"])
def test_what_is_no_audio_is_told_in_a_sentence(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "it.mp3"
    file.write_bytes(data)
    with pytest.raises(Exception, match=r"it\.mp3 is") as caught:
        copied(file, tmp_path, 5.0)
    assert "\n" not in str(caught.value)


def test_every_codec_of_the_settings_can_be_written_here() -> None:
    assert unknown_codecs() == []


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    codec=st.sampled_from(["aac", "mp3", "opus", "flac"]),
    how=st.fixed_dictionaries({"kbps": st.sampled_from([32, 48, 64, 96, 128, 320]), "channels_max": st.sampled_from([1, 2])}),
    rate_hz=st.sampled_from([8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200]),
    channels=st.sampled_from([1, 2]),
    length=st.floats(0.3, 1.2),
)
def test_whatever_is_asked_for_plays_and_lasts_as_long(tmp_path: Path, codec: Any, how: Any, rate_hz: int, channels: int, length: float) -> None:
    sound = tones(length, rate_hz, channels)
    file = write(tmp_path / "it.wav", sound, rate_hz=rate_hz)
    path, made = copied(file, tmp_path, length, codec=codec, **how)
    samples, played_hz, *_ = played(path)
    assert made.channels == len(samples) == (channels if codec in LOSSLESS else min(how["channels_max"], channels))
    assert abs(samples.shape[1] / played_hz - length) < 0.15 and abs(made.duration_s - length) < 0.02
