"""fingerprint.talk, and speech on its way to the session: where somebody speaks, however the samples were cut."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.coverage import APART_S, SPEECH_S_MIN, STRETCHES_MAX, Coverage
from earmark.fingerprint.talk import AROUND_STEPS, STEP_FRAMES, Talk
from earmark.hearing import Hearing, drive
from earmark.local import music
from earmark.local.speech import speech
from earmark.model import FRAMES_PER_S, RATE_HZ, AudioChunk, CatalogueSize, Checkpoint, Float32, MatchParams, Postings, Stretch
from hearing_sounds import at_8_khz, chunks, noise, silence, tone

STEP_S = STEP_FRAMES / FRAMES_PER_S


@cache
def talk(seed: int = 1, seconds: float = 40) -> Float32:
    return at_8_khz(speech(seconds, seed=seed), music.RATE_HZ)


@cache
def piece(number: int = 0, seconds: int = 30) -> Float32:
    return at_8_khz(music.render(music.catalogue(number + 1)[number])[: seconds * music.RATE_HZ], music.RATE_HZ)


def spoken(samples: Float32, *sizes: int) -> list[bool]:
    """Of each step, whole or not."""
    talking = Talk()
    begin, n = 0, 0
    while begin < len(samples):
        size = sizes[n % len(sizes)] if sizes else len(samples)
        talking.push(samples[begin : begin + size])
        begin, n = begin + size, n + 1
    talking.flush()
    return [talking.speaks(step) for step in range(talking.steps_n)]


@pytest.mark.parametrize("seed", range(1, 5))
def test_generated_speech_is_speech(seed: int) -> None:
    assert np.mean(spoken(talk(seed))) > 0.9


def test_four_who_speak_at_once_are_speech() -> None:
    assert np.mean(spoken(sum((talk(seed) for seed in range(1, 5)), np.zeros(1, np.float32)))) > 0.8


NOBODY = {
    "silence": silence(30),
    "white noise": noise(5, 30),
    "one tone": tone(30),
    "direct current": np.full(30 * RATE_HZ, 0.5, np.float32),
    "not a number": np.full(9 * RATE_HZ, np.nan, np.float32),
    "noise beyond all numbers": noise(5, 30) * np.float32(3e38),
    "metronome": np.tile(np.eye(1, 4_000, dtype=np.float32)[0], 60),
}


@pytest.mark.parametrize("samples", NOBODY.values(), ids=NOBODY)
def test_what_nobody_says_is_not_speech(samples: Float32) -> None:
    assert not any(spoken(samples)[AROUND_STEPS:-AROUND_STEPS])  # what is cut off clicks


def test_quiet_speech_is_speech() -> None:
    assert np.mean(spoken(talk() * np.float32(0.003))) > 0.9


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=6), st.integers(0, 12 * RATE_HZ))
def test_however_the_samples_are_cut_the_evidence_is_the_same_to_the_bit(sizes: list[int], length: int) -> None:
    samples = talk(2, 12)[:length]
    whole, pieces = Talk(), Talk()
    whole.push(samples)
    for chunk in chunks(samples, *(max(size, 400) for size in sizes)):
        pieces.push(chunk.samples)
    whole.flush()
    pieces.flush()
    assert whole.steps_n == pieces.steps_n
    assert [whole.evidence(step) for step in range(whole.steps_n)] == [pieces.evidence(step) for step in range(whole.steps_n)]


def test_a_run_too_short_for_a_frame_has_no_step_and_nothing_is_kept_of_what_is_past() -> None:
    short = Talk()
    short.push(np.ones(500, np.float32))
    short.flush()
    assert short.steps_n == 0
    assert not short.speaks(0)
    long = Talk()
    for _ in range(100):
        long.push(talk(seconds=10)[: 4 * RATE_HZ])
        long.forget(long.steps_n - AROUND_STEPS)
    assert long.steps_n > 380
    assert len(long._steps) < 12
    assert len(long._samples) < 2 * RATE_HZ


# ------------------------------------------------------------------------------------------------ hearing


def heard(given_chunks: list[AudioChunk], **more: float) -> tuple[list[Stretch], list[Stretch]]:
    """Steps that are music, and that are speech."""
    hearing = Hearing(params=MatchParams(), size=CatalogueSize(tracks=1, seconds=60.0, postings=600), stream_id="s", source="file", **more)
    music_steps: list[Stretch] = []
    speech_steps: list[Stretch] = []
    for chunk in given_chunks:
        drive(hearing.push(chunk), lambda _: Postings.none())
        music_steps, speech_steps = music_steps + hearing.take_music(), speech_steps + hearing.take_speech()
    drive(hearing.flush(), lambda _: Postings.none())
    return music_steps + hearing.take_music(), speech_steps + hearing.take_speech()


@cache
def programme() -> Float32:
    """Speech to 25 s, music to 50, noise to 60, speech to 80."""
    return np.concatenate([talk(1, 25), piece(0, 25), noise(3, 10), talk(2, 20)])


def test_a_step_is_music_or_speech_or_neither() -> None:
    played, said = heard([AudioChunk(samples=programme(), start_s=100.0)])
    assert not {step.begin_s for step in played} & {step.begin_s for step in said}
    blur_s = 7.0  # the steps around a step count for it
    share = {}
    for name, begin_s, end_s in (("talk", 100, 125), ("music", 125, 150), ("more talk", 160, 180)):
        inside = [step for step in said if begin_s + blur_s <= step.begin_s and step.end_s <= end_s - blur_s]
        share[name] = len(inside) * STEP_S / (end_s - begin_s - 2 * blur_s)
    assert share["talk"] > 0.8
    assert share["more talk"] > 0.7
    assert share["music"] == 0


@settings(deadline=None, max_examples=8)
@given(st.lists(st.integers(800, 40_000), min_size=1, max_size=5))
def test_however_the_stream_is_cut_the_speech_is_the_same(sizes: list[int]) -> None:
    assert heard(chunks(programme(), *sizes)) == heard([AudioChunk(samples=programme(), start_s=0.0)])


def test_what_the_owner_before_has_heard_is_not_told_again() -> None:
    _, said = heard([AudioChunk(samples=talk(), start_s=0.0)], heard_s=20.0)
    assert said
    assert min(step.begin_s for step in said) >= 20.0


def test_behind_a_gap_it_is_listened_anew() -> None:
    first, second = talk(1, 15), talk(2, 15)
    _, said = heard([AudioChunk(samples=first, start_s=0.0), AudioChunk(samples=second, start_s=100.0, gap_before_s=85.0)])
    assert not [step for step in said if step.end_s > 15.1 and step.begin_s < 100.0]
    assert {step.begin_s < 50 for step in said} == {True, False}


# ------------------------------------------------------------------------------------------------ coverage


def spans(coverage: Coverage) -> list[tuple[float, float]]:
    return [(one.begin_s, one.end_s) for one in coverage.speech]


def said(coverage: Coverage, *stretches: tuple[float, float]) -> Coverage:
    for begin_s, end_s in stretches:
        coverage.add_speech(Stretch(begin_s=begin_s, end_s=end_s))
    return coverage


def test_speech_is_bridged_and_a_moment_of_it_is_none() -> None:
    coverage = said(Coverage(Checkpoint()), (0, 1), (20, 22), (22 + APART_S - 0.1, 31), (60, 60 + SPEECH_S_MIN - 0.1))
    assert spans(coverage) == [(20, 31)]  # the newest is too short, so far
    said(coverage, (63, 64))
    assert spans(coverage) == [(20, 31), (60, 64)]


def test_speech_goes_on_with_the_next_owner_and_a_checkpoint_from_before_has_none() -> None:
    first = said(Coverage(Checkpoint()), (0, 10)).onto(Checkpoint())
    assert Checkpoint.from_json(first.to_json()).speech == (Stretch(begin_s=0, end_s=10),)
    assert spans(said(Coverage(first), (15, 16))) == [(0, 16)]
    assert Checkpoint.from_json('{"state": "listening", "position_s": 5.0}').speech == ()


def test_of_too_much_speech_the_shortest_goes() -> None:
    coverage = said(Coverage(Checkpoint()), *((100.0 * n, 100.0 * n + (4 if n == 7 else 9)) for n in range(STRETCHES_MAX + 1)))
    assert len(spans(coverage)) == STRETCHES_MAX
    assert (700.0, 704.0) not in spans(coverage)
