"""Sound that nobody would call music, and recordings that nobody would catalogue: no false alarm, no blow-up, a sentence.

What each costs is printed (`pytest -s`): hashes asked for, postings answered and passages fetched, per second of stream.
"""

import itertools
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from audio_media import adts_frames
from earmark import reference
from earmark.audio.decode import StreamDecoder
from earmark.audio.file import read_samples
from earmark.errors import UnreadableAudio
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.local import music
from earmark.local.speech import speech as speech_at
from earmark.model import (
    EIGHTHS,
    FRAMES_PER_S,
    RATE_HZ,
    Answer,
    AudioChunk,
    Fetch,
    Float32,
    Lookup,
    MatchParams,
    Peaks,
    Play,
    Postings,
    Question,
    Segment,
    Track,
)
from earmark.reference import fingerprint_file
from fakes import MemoryIndex
from hearing_sounds import at_8_khz, catalogue, chunks, noise, silence, tone, tune
from index_audio import notes

SECONDS = 20
#: Per second of stream, whatever is heard; measured: 300, 110 and 3.
HASHES_MAX, POSTINGS_MAX, PASSAGES_MAX = 500, 250, 8
TUNES = {f"tune {n}": tune(n, 30) for n in range(1, 5)}
PLAYED = TUNES["tune 1"][5 * RATE_HZ : (5 + SECONDS) * RATE_HZ]


@dataclass(frozen=True)
class Heard:
    plays: list[Play]
    hashes: float
    postings: float
    passages: float

    @property
    def closed(self) -> list[Play]:
        return [play for play in self.plays if play.state == "closed"]

    @property
    def bounded(self) -> bool:
        return self.hashes <= HASHES_MAX and self.postings <= POSTINGS_MAX and self.passages <= PASSAGES_MAX


def heard(name: str, sound: Float32, index: MemoryIndex) -> Heard:
    postings = 0

    def answer(question: Question) -> Answer:
        nonlocal postings
        found = index.answer(question)
        postings += len(found) if isinstance(found, Postings) else 0
        return found

    index.asked.clear()
    listener = Hearing(params=MatchParams(), size=index.size(), stream_id="stream", source="test")
    began = time.process_time()
    plays = [play for chunk in chunks(sound.astype(np.float32), RATE_HZ) for play in drive(listener.push(chunk), answer)]
    plays += drive(listener.flush(), answer)
    spent_s, seconds = time.process_time() - began, len(sound) / RATE_HZ
    hashes = sum(len(asked.hashes) for asked in index.asked if isinstance(asked, Lookup)) / seconds
    passages = sum(len(asked.passages) for asked in index.asked if isinstance(asked, Fetch)) / seconds
    cost = f"{hashes:4.0f} hashes {postings / seconds:5.1f} postings {passages:4.1f} passages {1_000 * spent_s / seconds:4.1f} ms"
    print(f"\n{name:44} per second: {cost}", end="")  # noqa: T201 - for people: what is bounded, and where it is
    return Heard(plays, hashes, postings / seconds, passages)


# ------------------------------------------------------------------------------------------------ sounds


def direct_current(seconds: float) -> Float32:
    return silence(seconds) + np.float32(0.5)


def metronome(seconds: float, beats_per_minute: float = 120, *, hz: float = 1_500, ring: float = 15) -> Float32:
    """A wooden click a beat, every fourth one higher; the larger `ring`, the drier."""
    sound, t = np.zeros(int((seconds + 1) * RATE_HZ), np.float32), np.arange(2_400) / RATE_HZ
    for beat, at in enumerate(np.arange(0, seconds, 60 / beats_per_minute)):
        pitch = hz * (1.0 if beat % 4 else 1.5)
        partials = [(n, pitch * ratio) for n, ratio in enumerate((1, 1.83, 2.41, 0.37, 0.61, 0.17)) if pitch * ratio < 3_900]
        click = sum(np.exp(-t * (ring + 8 * n)) * np.sin(2 * np.pi * f * t) / (n + 1) for n, f in partials)
        sound[round(at * RATE_HZ) : round(at * RATE_HZ) + len(t)] += np.asarray(0.3 * click, np.float32)
    return sound[: int(seconds * RATE_HZ)]


def speech(seconds: float, seed: int) -> Float32:
    return at_8_khz(speech_at(seconds, seed=seed), music.RATE_HZ)


def clipped(sound: Float32) -> Float32:
    return np.clip(40 * sound, -1, 1).astype(np.float32)


SOUNDS = {
    "direct current": direct_current(SECONDS),
    "digital silence": silence(SECONDS),
    "a tone in step with the frames": tone(SECONDS, 1_000),
    "a tone out of step": tone(SECONDS, 777.7),
    "white noise": noise(3, SECONDS),
    "clipped noise": clipped(noise(4, SECONDS)),
    "a metronome": metronome(SECONDS),
    "a dry metronome": metronome(SECONDS, ring=200),
    "speech": speech(SECONDS, 5),
    "other music, clipped": clipped(tune(9, SECONDS)),
    "a tone over other music": tone(SECONDS, 1_000) + tune(10, SECONDS),
}
CATALOGUES = {
    "tunes": catalogue(**TUNES),
    "one": catalogue(one=TUNES["tune 1"]),
    "ten copies": catalogue(**{f"copy {n}": TUNES["tune 1"] for n in range(10)}),
    "bad company": catalogue(
        **TUNES, noise=noise(33, SECONDS), metronome=metronome(60, 100), speech=speech(SECONDS, 6), clipped=clipped(tune(19, SECONDS)), tone=tone(SECONDS, 440)
    ),
    "nothing": MemoryIndex(),
}


@pytest.mark.parametrize("index", CATALOGUES)
@pytest.mark.parametrize("name", SOUNDS)
def test_no_false_alarm_and_a_bounded_cost(name: str, index: str) -> None:
    found = heard(f"{name}, {index}", SOUNDS[name], CATALOGUES[index])
    assert found.plays == []
    assert found.bounded, found


@pytest.mark.parametrize("index", ["tunes", "one", "bad company"])
@pytest.mark.parametrize(
    "sound", [PLAYED, PLAYED + tone(SECONDS, 1_000), clipped(PLAYED), PLAYED + direct_current(SECONDS)], ids=["plain", "test tone", "clipped", "direct current"]
)
def test_music_is_found_all_the_same(sound: Float32, index: str) -> None:
    found = heard(f"music, {index}", sound, CATALOGUES[index])
    (play,) = found.closed
    assert play.track_id in ("tune 1", "one")
    assert play.reference_begin_s - play.begin_s == pytest.approx(5, abs=0.05)
    assert play.matched_s > 0.8 * SECONDS
    assert found.bounded, found


@pytest.mark.parametrize("sound", [PLAYED, PLAYED + tone(SECONDS, 1_000), clipped(PLAYED)], ids=["plain", "test tone", "clipped"])
def test_ten_copies_are_one_play_and_cost_little_more_than_one(sound: Float32) -> None:
    found = heard("music, ten copies", sound, CATALOGUES["ten copies"])
    (play,) = found.closed
    others = set(play.also_matching)
    assert {p.hit_id for p in found.plays} == {play.hit_id}
    assert len(others) >= 3
    assert others < {f"copy {n}" for n in range(10)} - {play.track_id}
    assert found.bounded, found


# ------------------------------------------------------------------------------------------------ stereo

STREAM_RATE_HZ = 48_000
MIDDLE, AMBIENCE = notes(1, SECONDS, rate_hz=STREAM_RATE_HZ), notes(2, SECONDS, rate_hz=STREAM_RATE_HZ)
LEFT, RIGHT = 0.6 * MIDDLE + 0.15 * AMBIENCE, 0.6 * MIDDLE - 0.15 * AMBIENCE
STEREO = {
    "stereo": (LEFT, RIGHT),
    "opposite phase": (LEFT, -RIGHT),
    "opposite phase, no ambience": (MIDDLE, -MIDDLE),
    "mono in the left channel": (MIDDLE, 0 * MIDDLE),
    "mono in the right channel": (0 * MIDDLE, MIDDLE),
    "one channel 1 ms late": (LEFT, np.roll(RIGHT, STREAM_RATE_HZ // 1_000)),
}


@cache
def frames_of(stream: str) -> list[bytes]:
    """AAC at 128 kb/s."""
    return adts_frames(np.stack(STEREO[stream]), STREAM_RATE_HZ)


def streamed(frames: list[bytes], frames_a_segment: int = 94) -> Float32:
    """As a live stream, in segments."""
    decoder, decoded = StreamDecoder(segment_s_max=60), list[AudioChunk]()
    for begin in range(0, len(frames), frames_a_segment):
        data = b"".join(frames[begin : begin + frames_a_segment])
        decoded += decoder.push(Segment(data=data, container="aac", duration_s=2, fetched_at=datetime(2026, 3, 4, tzinfo=UTC)))
    return np.concatenate([chunk.samples for chunk in decoded + decoder.flush()])


def written(path: Path, *channels: Float32, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(len(channels))
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(np.rint(32_767 * np.clip(np.stack(channels, axis=1), -1, 1)).astype("<i2").tobytes())
    return path


def catalogued(path: Path) -> MemoryIndex:
    index, found = MemoryIndex(), fingerprint_file(path)
    index.add(Track(track_id="it", duration_s=found.duration_s), found.peaks)
    return index


@pytest.mark.parametrize("reference", ["stereo", "opposite phase"])
@pytest.mark.parametrize("stream", STEREO)
def test_music_is_found_whatever_its_channels_do(stream: str, reference: str, tmp_path: Path) -> None:
    index = catalogued(written(tmp_path / "it.wav", *STEREO[reference], rate_hz=STREAM_RATE_HZ))
    found = heard(f"{stream} / {reference}", streamed(frames_of(stream)), index)
    (play,) = found.closed
    assert play.reference_begin_s - play.begin_s == pytest.approx(0, abs=0.05)
    # Until it is sure that the channels are in opposite phase, nothing is heard of them.
    assert play.matched_s > SECONDS - 5 - 4 * ("opposite" in stream or "opposite" in reference)
    assert found.bounded, found


def test_the_mono_of_opposite_phase_is_the_mono_it_had_before(tmp_path: Path) -> None:
    right, wrong = (
        np.concatenate([chunk.samples for chunk in read_samples(written(tmp_path / "it.wav", *STEREO[name], rate_hz=STREAM_RATE_HZ))])
        for name in ("stereo", "opposite phase")
    )
    assert np.abs(right - wrong)[5 * RATE_HZ :].max() < 1e-4
    assert np.abs(wrong[: 3 * RATE_HZ]).std() < 0.5 * np.abs(right[: 3 * RATE_HZ]).std()


def test_however_a_stream_in_opposite_phase_is_cut_the_same_samples_come_out() -> None:
    frames = frames_of("opposite phase")
    whole = streamed(frames, 10_000)
    for frames_a_segment in (1, 37, 94):
        assert np.array_equal(streamed(frames, frames_a_segment), whole)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_recording_at_8_khz_is_found(channels: int, tmp_path: Path) -> None:
    source = notes(1, SECONDS, rate_hz=8_000)
    index = catalogued(written(tmp_path / "old.wav", *[source] * channels, rate_hz=8_000))
    (play,) = heard("8 kHz source", streamed(adts_frames(np.stack([MIDDLE, MIDDLE]), STREAM_RATE_HZ)), index).closed
    assert play.matched_s > SECONDS - 4
    (again,) = heard("8 kHz stream", np.concatenate([chunk.samples for chunk in read_samples(tmp_path / "old.wav")]), index).closed
    assert again.matched_s > SECONDS - 2


# ------------------------------------------------------------------------------------------------ recordings

REFUSED = {
    "digital silence": (silence(10), "it is silent"),
    "direct current": (direct_current(10), "it is silent"),
    "a tone in step": (tone(10, 1_000), "there is hardly anything to recognise in it"),
    "a tone out of step": (tone(10, 777.7), "there is hardly anything to recognise in it"),
    "two seconds": (PLAYED[: 2 * RATE_HZ], "it is 2.0 s long, and 3 s are the least that can be recognised"),
    "a click": (np.pad(np.ones(1, np.float32), (40_000, 40_000)), "it is silent, or nothing in it stands out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recognised_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    sound, why = REFUSED[name]
    path = written(tmp_path / "it.wav", sound)
    with pytest.raises(UnreadableAudio) as refused:
        fingerprint_file(path)
    assert str(refused.value).startswith(f"{path} cannot be fingerprinted: {why}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("sound", [noise(33, 10), metronome(10), speech(10, 6), clipped(tune(19, 10))], ids=["noise", "metronome", "speech", "clipped"])
def test_what_can_be_recognised_is_taken(sound: Float32, tmp_path: Path) -> None:
    assert len(fingerprint_file(written(tmp_path / "it.wav", sound)).peaks)


def test_a_jingle_of_six_seconds_is_found_in_a_stream(tmp_path: Path) -> None:
    jingle = PLAYED[: 6 * RATE_HZ]
    index = catalogued(written(tmp_path / "jingle.wav", jingle))
    found = heard("a jingle of 6 s", np.concatenate([tune(11, 10), jingle, tune(12, 20)]), index)
    (play,) = found.closed
    assert (play.begin_s, play.end_s) == (pytest.approx(10, abs=0.5), pytest.approx(16, abs=0.5))
    assert found.bounded, found


# ------------------------------------------------------------------------------------------------ ten hours


def test_a_file_without_an_end_is_refused_when_it_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = itertools.count()

    def endless(_: Path) -> Iterator[AudioChunk]:
        for number in read:
            yield AudioChunk(samples=silence(5), start_s=5.0 * number)

    monkeypatch.setattr(reference, "read_samples", endless)
    monkeypatch.setattr(reference, "DURATION_S", (3.0, 3_600.0))
    with pytest.raises(UnreadableAudio, match=r"it is longer than 1 hours?; cut it into recordings$"):
        fingerprint_file(tmp_path / "endless.wav")
    assert next(read) == 3_600 / 5 + 1


def ten_hours(seed: int, part: Peaks, at_s: float) -> Peaks:
    """The constellation of a recording of ten hours, as sparse as speech, with a part of another in it."""
    rng, seconds = np.random.default_rng(seed), reference.DURATION_S[1]
    count = int(17 * seconds)
    eighth_frames = np.sort(rng.integers(0, int(seconds * FRAMES_PER_S * EIGHTHS), count)).astype(np.int32)
    rest = Peaks(
        eighth_frames=eighth_frames,
        eighth_hz=np.rint(EIGHTHS * np.exp2(rng.uniform(np.log2(200), np.log2(3_500), count))).astype(np.int32),
        hashed=rng.random(count) < 0.5,
        salience=rng.random(count).astype(np.float32),
    )
    moved = Peaks(
        eighth_frames=part.eighth_frames + np.int32(at_s * FRAMES_PER_S * EIGHTHS), eighth_hz=part.eighth_hz, hashed=part.hashed, salience=part.salience
    )
    begin, end = (at_s + shift for shift in (0, len(PLAYED) / RATE_HZ))
    return Peaks.join(rest.between(0, begin * FRAMES_PER_S), moved, rest.between(end * FRAMES_PER_S, seconds * FRAMES_PER_S))


def test_ten_hours_are_heard_as_any_other_recording() -> None:
    index, at_s = catalogue(**TUNES), 9 * 3_600
    index.remove("tune 1")
    index.add(Track(track_id="marathon", duration_s=reference.DURATION_S[1]), ten_hours(1, fingerprint(PLAYED), at_s))
    found = heard("music, in ten hours", PLAYED, index)
    (play,) = found.closed
    assert play.track_id == "marathon"
    assert play.reference_begin_s - play.begin_s == pytest.approx(at_s, abs=0.05)
    assert found.bounded, found
    other = heard("other music, ten hours", tune(9, SECONDS), index)
    assert other.plays == []
    assert other.bounded, other
