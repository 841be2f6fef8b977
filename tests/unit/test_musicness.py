"""Music or not: generated music, speech and noise come out right, where they begin and end, however the samples were cut."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hearing_sounds as sounds
from earmark.fingerprint.musicness import AROUND_STEPS, Musicness
from earmark.fingerprint.window import fingerprint
from earmark.hearing import STEP_FRAMES, Hearing, drive
from earmark.local import music, speech
from earmark.local.sound import under_speech
from earmark.model import FRAMES_PER_S, RATE_HZ, AudioChunk, CatalogueSize, MatchParams, Peaks, Postings

STEP_S = STEP_FRAMES / FRAMES_PER_S


@cache
def piece(number=0, seconds=40):
    return sounds.at_8_khz(music.render(music.catalogue(number + 1)[number])[: seconds * music.RATE_HZ], music.RATE_HZ)


@cache
def talk(seed=1, seconds=40):
    return sounds.at_8_khz(speech.speech(seconds, seed=seed), music.RATE_HZ)


def judged(samples, start_s=0.0):
    """The steps that are music, in one go."""
    peaks, judge, found = fingerprint(samples), Musicness(start_s), []
    for end in range(STEP_FRAMES, int(len(samples) / RATE_HZ * FRAMES_PER_S), STEP_FRAMES):
        found += judge.push(peaks.between(end - STEP_FRAMES, end), end)
    return [step.stretch for step in found + judge.flush() if step.music]


def share(samples):
    return sum(step.end_s - step.begin_s for step in judged(samples)) / (len(samples) / RATE_HZ)


def a_hearing():
    return Hearing(params=MatchParams(), size=CatalogueSize(tracks=1, seconds=60.0, postings=600), stream_id="s", source="file")


def heard(chunks):
    hearing, found = a_hearing(), []
    for chunk in chunks:
        drive(hearing.push(chunk), lambda _: Postings.none())
        found += hearing.take_music()
    drive(hearing.flush(), lambda _: Postings.none())
    return found + hearing.take_music()


@pytest.mark.parametrize("number", range(4))
def test_generated_music_is_music(number):
    assert share(piece(number)) > 0.9


def test_other_music_is_music_quiet_and_fast_too():
    assert share(sounds.tune(3, 40)) > 0.9
    assert share(piece() * np.float32(0.01)) > 0.9
    assert share(sounds.faster(piece(), 1.03)) > 0.9


@pytest.mark.parametrize("seed", range(1, 5))
def test_generated_speech_is_not_music(seed):
    assert share(talk(seed)) < 0.1


def test_music_under_speech_as_loud_is_music():
    under = sounds.at_8_khz(under_speech(music.render(music.catalogue(1)[0])[: 40 * music.RATE_HZ], 0), music.RATE_HZ)
    assert share(under) > 0.8


@pytest.mark.parametrize(
    "samples",
    [sounds.silence(30), sounds.noise(5, 30), sounds.tone(30), np.full(30 * RATE_HZ, 0.5, np.float32), np.tile(np.eye(1, 4_000, dtype=np.float32)[0], 60)],
    ids=["silence", "white noise", "one tone", "direct current", "metronome"],
)
def test_what_is_neither_is_not_music(samples):
    assert share(samples) < 0.1


def test_where_music_begins_and_ends_is_within_some_seconds():
    found = judged(np.concatenate([talk(1), piece(1), talk(2)]), start_s=100.0)
    assert found[0].begin_s == pytest.approx(140.0, abs=AROUND_STEPS * STEP_S)
    assert found[-1].end_s == pytest.approx(180.0, abs=AROUND_STEPS * STEP_S)


def test_every_step_is_judged_once_and_in_order():
    found = judged(piece())
    begins = [round(step.begin_s / STEP_S) for step in found]
    assert begins == list(range(begins[0], begins[0] + len(begins)))
    assert [step.end_s - step.begin_s for step in found] == pytest.approx([STEP_S] * len(found))


def test_a_run_shorter_than_the_window_is_judged_by_what_there_is():
    judge = Musicness()
    assert judge.flush() == []
    assert judge.push(Peaks.none(), 32.0) == []
    assert [(step.number, step.stretch.end_s, step.music) for step in judge.flush()] == [(0, STEP_S, False)]
    assert judged(piece()[: 5 * RATE_HZ])


@cache
def mixed():
    return np.concatenate([talk(1, 10), piece(2, 15), sounds.silence(5)])


@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=6))
def test_however_the_stream_is_cut_the_music_is_the_same(sizes):
    whole = heard([AudioChunk(samples=mixed(), start_s=0.0)])
    assert whole
    # Sizes repeat until the sound is over: a few samples at a time would be thousands of pushes.
    assert heard(sounds.chunks(mixed(), *(max(size, 800) for size in sizes))) == whole


def test_a_gap_ends_a_run_and_the_next_one_has_its_place():
    found = heard([AudioChunk(samples=piece(0, 20), start_s=0.0), AudioChunk(samples=piece(1, 20), start_s=50.0, gap_before_s=30.0)])
    assert not [step for step in found if step.end_s > 20.5 and step.begin_s < 50.0]
    assert max(step.end_s for step in found) > 68
    assert min(step.begin_s for step in found) < 2


def test_what_is_taken_is_taken_once():
    hearing = a_hearing()
    drive(hearing.push(AudioChunk(samples=piece(), start_s=0.0)), lambda _: Postings.none())
    assert hearing.take_music()
    assert hearing.take_music() == []
