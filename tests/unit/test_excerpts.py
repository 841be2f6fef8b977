"""Clips: cut around a play's beginning from what was heard, the same however the stream came, as long as is set and no longer."""

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark import excerpts as module
from earmark.audio.encode import Encoding, encode_samples
from earmark.audio.file import read_samples
from earmark.errors import UnreadableAudio
from earmark.excerpts import Excerpts, excerpts
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.hits.proof.clips import Clip
from earmark.hits.record import Place
from earmark.model import EIGHTHS, FRAMES_PER_S, RATE_HZ, AudioChunk, Checkpoint, Float32, Lease, MatchParams, Peaks, Play, Stream
from earmark.settings import Evidence, Results, Settings
from evidence_world import Clipped
from hearing_sounds import catalogue, chunks, noise, tune
from hits_samples import explanation, play

SET = Evidence(clip=True)
FIRST = tune(1, 60)
INDEX = catalogue(first=FIRST)
#: The piece from 20 s on, to 60 s.
ON_AIR = np.concatenate([noise(1, 20), FIRST[5 * RATE_HZ : 45 * RATE_HZ], noise(2, 15)])


def of(settings: Evidence = SET, **more: Any) -> Excerpts:
    return Excerpts(settings=settings, meter=Clipped(), **more)


def heard(pieces: Sequence[AudioChunk], cutting: Excerpts | None, plays: tuple[Play, ...] = ()) -> list[Play]:
    hearing = Hearing(
        params=MatchParams(),
        size=INDEX.size(),
        stream_id="stream",
        source="file",
        plays=plays,
        keep=cutting.run if cutting else None,
        told=cutting.told if cutting else None,
    )
    changed = [play for piece in pieces for play in drive(hearing.push(piece), INDEX.answer)]
    return changed + drive(hearing.flush(), INDEX.answer)


def sound_of(clip: Clip) -> Float32:
    return np.concatenate([chunk.samples for chunk in read_samples(io.BytesIO(clip.content))])


class Deaf:
    """A front end that finds no peaks."""

    final_frame = 0.0

    def push(self, samples: Float32) -> Peaks:
        return Peaks.none()

    def flush(self) -> Peaks:
        return Peaks.none()


def fed(cutting: Excerpts, seconds: float, *, start_s: float = 0.0, sound: Float32 | None = None) -> None:
    """A run of samples, taken a second at a time and heard at once; by default its level says which second it is."""
    sound = np.repeat((np.arange(math.ceil(seconds)) + start_s) / 1_000, RATE_HZ).astype(np.float32) if sound is None else sound
    window = cutting.run(start_s, Deaf())
    for second in range(math.ceil(len(sound) / RATE_HZ)):
        window.push(sound[second * RATE_HZ : (second + 1) * RATE_HZ])
        cutting.told((), heard_s=start_s + second + 1)


def of_peaks(peaks: Peaks, later_frames: int) -> set[tuple[int, int]]:
    return set(zip((peaks.eighth_frames + later_frames * EIGHTHS).tolist(), peaks.eighth_hz.tolist(), strict=True))


def seconds_in(clip: Clip) -> list[int]:
    """Which seconds of what was `fed` it holds."""
    return sorted({round(1_000 * float(level)) for level in np.unique(np.round(sound_of(clip), 3))})


# ---------------------------------------------------------------------------------------------- which seconds


def test_a_clip_begins_five_seconds_before_its_play_and_lasts_as_long_as_is_set() -> None:
    cutting = of()
    changed = heard(chunks(ON_AIR, RATE_HZ), cutting)
    (clip,) = cutting.ready()
    begin_s = next(play.begin_s for play in changed if play.state == "open")
    assert begin_s - 5.04 < clip.begin_s <= begin_s - 5
    assert clip.end_s == pytest.approx(clip.begin_s + 30, abs=0.04)
    assert clip.gap_s == 0
    said = sound_of(clip)
    assert len(said) == round((clip.end_s - clip.begin_s) * RATE_HZ)
    assert np.abs(said - ON_AIR[round(clip.begin_s * RATE_HZ) :][: len(said)]).max() <= 1.01 / 32_768


def test_it_gives_the_peaks_that_the_stream_gave() -> None:
    cutting = of()
    heard(chunks(ON_AIR, RATE_HZ), cutting)
    (clip,) = cutting.ready()
    begin = clip.begin_s * FRAMES_PER_S
    assert begin == pytest.approx(round(begin), abs=1e-6)
    # Not at its edges, where a frame lacks its neighbours.
    wanted = of_peaks(fingerprint(ON_AIR).between(begin + 16, begin + 29 * FRAMES_PER_S), 0)
    shifted = of_peaks(fingerprint(sound_of(clip)).between(16, 29 * FRAMES_PER_S), round(begin))
    assert len(shifted & wanted) >= 0.99 * max(len(shifted), len(wanted)) > 100


def cut(*sizes: int) -> tuple[list[Play], list[tuple[float, float, str]]]:
    """The plays, and the clips, of the programme in chunks of these sizes."""
    cutting = of()
    plays = heard(chunks(ON_AIR, *sizes), cutting)
    return plays, [(clip.begin_s, clip.end_s, clip.sha256) for clip in cutting.ready()]


@cache
def whole() -> tuple[list[Play], list[tuple[float, float, str]]]:
    return cut(RATE_HZ)


@settings(max_examples=6)
@given(sizes=st.lists(st.integers(200, 40_000), min_size=1, max_size=4))
def test_however_the_stream_is_cut_the_plays_and_their_clips_are_the_same(sizes: list[int]) -> None:
    assert cut(*sizes) == whole()


def test_plays_are_the_same_with_clips_and_without() -> None:
    assert heard(chunks(ON_AIR, RATE_HZ), None) == whole()[0]


def test_a_play_that_is_over_soon_has_a_clip_that_ends_with_what_was_heard() -> None:
    cutting = of()
    fed(cutting, 40)
    cutting.told([play(begin_s=22.0, length_s=6.0, state="closed")], heard_s=40.0)
    (clip,) = cutting.ready()
    assert (clip.begin_s, clip.end_s) == pytest.approx((17.0, 40.0), abs=0.05)
    assert set(range(17, 40)) <= set(seconds_in(clip)) <= set(range(16, 40))


def test_a_play_that_was_proved_late_has_the_seconds_that_proved_it() -> None:
    cutting = of()
    fed(cutting, 100)
    late = play(begin_s=40.0, state="provisional", explanation=explanation(60.0, begin_s=88.0, end_s=100.0))
    cutting.told([late], heard_s=100.0)
    (clip,) = cutting.ready()
    assert (clip.begin_s, clip.end_s) == pytest.approx((70.0, 100.0), abs=0.05)


@settings(max_examples=25)
@given(
    begin_s=st.floats(0, 80),
    proved_after_s=st.floats(4, 60),
    before_s=st.floats(0, 10),
    longest_s=st.floats(22, 60),
    ends_after_s=st.floats(0, 60),
)
def test_a_clip_is_never_longer_than_is_set_and_holds_the_window_that_proved_the_play(
    begin_s: float, proved_after_s: float, before_s: float, longest_s: float, ends_after_s: float
) -> None:
    cutting = of(Evidence(clip=True, clip_before_s=before_s, clip_s_max=longest_s))
    proved_s = min(begin_s + proved_after_s, 100.0)
    fed(cutting, proved_s)
    told = play(begin_s=begin_s, state="provisional", explanation=explanation(60.0, begin_s=max(0.0, proved_s - 12), end_s=proved_s))
    heard_s = float(math.ceil(proved_s))
    cutting.told([told], heard_s=heard_s)
    fed(cutting, ends_after_s, start_s=heard_s)
    cutting.told([replace(told, state="closed", revision=2)], heard_s=heard_s + math.ceil(ends_after_s))
    (clip,) = cutting.ready()
    assert clip.end_s - clip.begin_s <= longest_s + 0.033
    assert clip.begin_s <= max(0.0, begin_s - before_s, proved_s - 12) + 0.033  # what of the window is the play
    assert clip.end_s >= proved_s - 0.001
    assert clip.begin_s >= begin_s - before_s - 0.033


def test_a_play_that_began_before_the_stream_did_says_what_there_is() -> None:
    cutting = of()
    fed(cutting, 60, start_s=500.0)
    cutting.told([play(begin_s=498.0, state="open")], heard_s=560.0)
    (clip,) = cutting.ready()
    assert (clip.begin_s, clip.end_s) == pytest.approx((515.0, 545.0), abs=0.05)  # the last 45 s are there


def test_who_takes_a_play_over_has_a_clip_of_what_it_hears() -> None:
    taken = play(begin_s=30.0, state="open", length_s=100.0)
    cutting = of(plays=(taken,))
    fed(cutting, 60, start_s=200.0)
    (clip,) = cutting.ready()
    assert clip.hit_id == taken.hit_id
    assert (clip.begin_s, clip.end_s) == pytest.approx((200.0, 230.0), abs=0.05)


def test_who_hands_over_leaves_what_it_has() -> None:
    leaving: list[bool] = []
    cutting = of(leaving=lambda: bool(leaving))
    fed(cutting, 30)
    cutting.told([play(begin_s=18.0, state="open")], heard_s=30.0)
    assert list(cutting.ready()) == []
    leaving.append(True)
    (clip,) = cutting.ready()
    assert (clip.begin_s, clip.end_s) == pytest.approx((13.0, 30.0), abs=0.05)


def test_what_was_not_heard_is_silent_in_it_and_said() -> None:
    cutting = of()
    fed(cutting, 20)
    fed(cutting, 20, start_s=26.0)
    cutting.told([play(begin_s=15.0, state="open")], heard_s=46.0)
    (clip,) = cutting.ready()
    assert clip.gap_s == pytest.approx(6.0, abs=0.05)
    said = sound_of(clip)
    quiet = said[round((20.1 - clip.begin_s) * RATE_HZ) : round((25.9 - clip.begin_s) * RATE_HZ)]
    assert len(quiet) > 5 * RATE_HZ and not quiet.any()
    assert said[round((30.5 - clip.begin_s) * RATE_HZ)] == pytest.approx(0.030, abs=1e-4)


def test_a_play_in_a_gap_alone_has_none() -> None:
    cutting = of()
    fed(cutting, 10)
    fed(cutting, 30, start_s=100.0)
    cutting.told([play(begin_s=50.0, length_s=10.0, state="closed"), play("other", begin_s=99.5, length_s=0.6, state="closed")], heard_s=100.2)
    assert [clip.hit_id for clip in cutting.ready()] == []


@pytest.mark.parametrize("sample", [2.5, -7.0, math.nan, math.inf])
def test_samples_beyond_full_scale_and_no_numbers_are_bounded(sample: float) -> None:
    cutting = of()
    fed(cutting, 40, sound=np.full(40 * RATE_HZ, sample, np.float32))
    cutting.told([play(begin_s=5.0, state="closed")], heard_s=40.0)
    (clip,) = cutting.ready()
    assert np.isfinite(sound_of(clip)).all()


# ---------------------------------------------------------------------------------------------- how many, how much


def test_each_play_has_one() -> None:
    cutting = of()
    fed(cutting, 60)
    told = play(begin_s=20.0, state="open")
    cutting.told([told, play("other", begin_s=22.0, state="open")], heard_s=60.0)
    assert len({clip.hit_id for clip in cutting.ready()}) == 2
    cutting.settled(list(cutting.ready()), left_out=())
    cutting.told([replace(told, revision=2, state="closed")], heard_s=61.0)
    assert (cutting.due, list(cutting.ready())) == (False, [])


def test_they_are_the_same_until_they_are_on_record_and_what_is_left_out_is_counted() -> None:
    meter = Clipped()
    cutting = Excerpts(settings=SET, meter=meter)
    fed(cutting, 60)
    cutting.told([play(begin_s=20.0, state="open"), play("other", begin_s=22.0, state="open")], heard_s=60.0)
    assert cutting.due
    first = list(cutting.ready())
    assert cutting.due and list(cutting.ready()) == first
    cutting.settled(first[:1], left_out=first[1:])
    assert (cutting.due, meter.kept, meter.left_out) == (False, 1, 1)


def test_memory_has_a_bound_while_nothing_is_heard() -> None:
    cutting = of()
    window = cutting.run(0.0, Deaf())
    for _ in range(600):
        window.push(np.zeros(RATE_HZ, np.float32))
    kept = sum(piece.samples.nbytes for piece in cutting._pieces)
    assert kept <= (SET.clip_s_max + 75) * RATE_HZ * 2


def test_memory_of_a_stream_that_is_heard_is_what_the_settings_say() -> None:
    cutting = of()
    fed(cutting, 200)
    kept = sum(piece.samples.nbytes for piece in cutting._pieces)
    assert kept <= (SET.clip_s_max + 16) * RATE_HZ * 2 == 736_000


def test_more_than_wait_for_the_record_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CUTS_MAX", 3)
    meter = Clipped()
    cutting = Excerpts(settings=SET, meter=meter)
    fed(cutting, 60)
    cutting.told([play(f"track {n}", begin_s=20.0 + n, state="closed") for n in range(5)], heard_s=60.0)
    assert (len(cutting.ready()), meter.left_out) == (3, 2)


def test_what_cannot_be_encoded_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> bytes:
        raise UnreadableAudio("no encoder")

    monkeypatch.setattr(module, "encode_samples", broken)
    meter = Clipped()
    cutting = Excerpts(settings=SET, meter=meter)
    fed(cutting, 60)
    cutting.told([play(begin_s=20.0, state="closed")], heard_s=60.0)
    assert (list(cutting.ready()), meter.left_out) == ([], 1)


def test_seconds_that_fill_gaps_are_told_as_the_streams_own() -> None:
    cutting = of(earlier_s=3.0)
    fed(cutting, 60)
    cutting.told([play(begin_s=20.0, state="closed")], heard_s=60.0)
    (clip,) = cutting.ready()
    assert clip.begin_s == pytest.approx(12.0, abs=0.05)


@pytest.mark.parametrize(
    "settings, stream_id",
    [
        (Settings(results=Results(bucket="results")), "st-1"),
        (Settings(evidence=SET), "st-1"),
        (Settings(results=Results(bucket="results"), evidence=SET), "canary:1"),
    ],
)
def test_without_the_setting_or_a_bucket_and_of_the_canary_nothing_is_kept(settings: Settings, stream_id: str) -> None:
    lease = Lease(stream=Stream(stream_id=stream_id, source="hls"), owner="w", fencing=1, checkpoint=Checkpoint())
    assert excerpts(settings, lease, meter=Clipped()) is None


# ---------------------------------------------------------------------------------------------- the file


@pytest.mark.parametrize("codec, suffix, kind, start", [("flac", "flac", "audio/flac", b"fLaC"), ("opus", "opus", "audio/ogg", b"OggS")])
def test_a_clip_is_a_file_of_its_kind_the_same_each_time(codec: Any, suffix: str, kind: str, start: bytes) -> None:
    samples = np.rint(32_767 * FIRST[: 10 * RATE_HZ]).astype(np.int16)
    how = Encoding(codec=codec, kbps=24, channels_max=1, tags={"title": "hit"})
    content = encode_samples(samples, rate_hz=RATE_HZ, how=how)
    assert content == encode_samples(samples, rate_hz=RATE_HZ, how=how)
    assert content.startswith(start)
    clip = Clip(hit_id="hit", begin_s=1.0, end_s=11.0, gap_s=0.0, codec=codec, content_type=kind, content=content)
    assert sound_of(clip).size == pytest.approx(len(samples), abs=400)
    if codec == "flac":
        assert np.array_equal(np.rint(32_768 * sound_of(clip)).astype(np.int16), samples)
    place = Place(bucket="b", prefix="eu/", stream_id="st-1")
    assert clip.told(place)["key"] == clip.outgoing(place).key == f"eu/st-1/evidence/hit.{suffix}"


def test_a_file_that_would_be_too_large_is_refused_in_one_sentence() -> None:
    with pytest.raises(UnreadableAudio, match="more than 100 bytes"):
        encode_samples(np.ones(RATE_HZ, np.int16), rate_hz=RATE_HZ, how=Encoding(codec="flac", bytes_max=100))
