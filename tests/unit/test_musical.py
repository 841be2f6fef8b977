"""profiles.musical and profiles.shares: tempo, key and mode of songs that were made in them; and who imports librosa."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.fingerprint.talk import Talk
from earmark.fingerprint.window import fingerprint
from earmark.local import music
from earmark.local.speech import speech
from earmark.model import RATE_HZ, Float32
from earmark.profiles import musical
from earmark.profiles.shares import music_steps, share
from hearing_sounds import at_8_khz
from profile_sounds import song


@pytest.mark.parametrize("tonic, mode, bpm", [(0, "major", 120), (3, "minor", 92), (6, "major", 76), (8, "minor", 112)])
def test_the_tempo_and_the_key_of_a_song(tonic: int, mode: str, bpm: float):
    samples = at_8_khz(song(tonic=tonic, mode=mode, bpm=bpm, seconds=30), 16_000)
    assert musical.tempo_bpm(samples) == pytest.approx(bpm, rel=0.005)
    found = musical.key_of(samples)
    assert found is not None and (found.key, found.mode) == (musical.KEYS[tonic], mode) and 0.5 < found.fit <= 1


@pytest.mark.parametrize("bpm", [62, 124, 200])
def test_the_least_that_has_a_tempo(bpm: float):
    found = musical.tempo_bpm(at_8_khz(song(tonic=0, mode="major", bpm=bpm, seconds=musical.LEAST_S), 16_000))
    assert found == pytest.approx(bpm, rel=0.01) or found == pytest.approx(bpm / 2, rel=0.01)


@pytest.mark.parametrize("number", [0, 6])
def test_the_tempo_of_a_band(number: int):
    """With syncopated drums and players who are not quite in time."""
    piece = music.catalogue(8)[number]
    found = musical.tempo_bpm(musical.excerpt(at_8_khz(music.render(piece), music.RATE_HZ)))
    assert found == pytest.approx(piece.bpm, rel=0.01)


def test_what_has_no_beat_and_no_notes_has_neither_tempo_nor_key():
    silence, noise = np.zeros(20 * RATE_HZ, np.float32), (0.1 * np.random.default_rng(1).standard_normal(20 * RATE_HZ)).astype(np.float32)
    assert musical.tempo_bpm(silence) is None and musical.key_of(silence) is None
    assert musical.tempo_bpm(noise) is None and musical.tempo_bpm(at_8_khz(speech(20), music.RATE_HZ)) is None


def test_the_key_of_a_song_that_is_tuned_otherwise():
    """Played 0.4 of a semitone higher, and faster by as much."""
    samples = at_8_khz(song(tonic=4, mode="major", bpm=100, seconds=30), round(16_000 * 2 ** (0.4 / 12)))
    tuning = musical.tuning_of(fingerprint(samples))
    found = musical.key_of(samples, tuning=tuning)
    assert tuning == pytest.approx(0.4, abs=0.1) and found is not None and (found.key, found.mode) == ("E", "major")


@given(st.integers(0, 11), st.sampled_from(["major", "minor"]))
def test_a_key_moves_with_its_notes(semitones: int, mode: str):
    steps = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 11)}[mode]
    notes = np.zeros(12)
    notes[[(step + semitones) % 12 for step in steps]] = 1
    notes[[(step + semitones) % 12 for step in (0, steps[2], 7)]] = 2
    found = musical.best_key(notes)
    assert found is not None and (found.key, found.mode) == (musical.KEYS[semitones], mode)


def test_notes_that_are_none_have_no_key():
    assert musical.best_key(np.zeros(12)) is None
    assert musical.best_key(np.full(12, np.nan)) is None
    assert musical.best_key(np.ones(12)) is None


@given(st.integers(0, 6_000_000))
def test_what_is_listened_to_is_the_middle(samples_n: int):
    samples = np.broadcast_to(np.float32(0), samples_n)
    assert len(musical.excerpt(samples)) == min(samples_n, musical.HEARD_S * RATE_HZ)


# ------------------------------------------------------------------------------------------------ shares


def shares(samples: Float32) -> tuple[float, float]:
    """Of music and of speech, where all of it sounds."""
    talk, peaks = Talk(), fingerprint(samples)
    for begin in range(0, len(samples), 40_000):
        talk.push(samples[begin : begin + 40_000])
    talk.flush()
    playing = music_steps(peaks, len(samples) / RATE_HZ)
    talking = np.array([talk.speaks(step) for step in range(len(playing))])
    sounding = np.ones(len(samples) * 10 // RATE_HZ, np.bool_)
    return share(playing, sounding), share(talking & ~playing, sounding)


def test_music_is_music_speech_is_speech_and_noise_is_neither():
    playing = at_8_khz(music.render(music.catalogue(1)[0]), music.RATE_HZ)
    talking = at_8_khz(speech(60, seed=3), music.RATE_HZ)
    noise = (0.1 * np.random.default_rng(1).standard_normal(30 * RATE_HZ)).astype(np.float32)
    assert shares(playing)[0] > 0.95 and shares(playing)[1] < 0.05
    assert shares(talking)[1] > 0.85 and shares(talking)[0] < 0.1
    assert max(shares(noise)) < 0.05
    assert max(shares(np.zeros(10 * RATE_HZ, np.float32))) == 0


def test_shares_are_of_what_sounds():
    steps = np.array([True, False, False, False])
    sounding = np.zeros(40, np.bool_)
    assert share(steps, sounding) == 0
    sounding[5:15] = True
    assert share(steps, sounding) == 0.5
    assert share(np.zeros(0, np.bool_), sounding) == 0


# ------------------------------------------------------------------------------------------------ the extra


def test_the_daemon_does_not_import_what_measures_tempo_and_key():
    """It is imported in the process that measures, when there is music; and nothing asks for it where it is not installed."""
    program = """
import sys
sys.modules.update(dict.fromkeys(["librosa", "numba", "sklearn"]))
import earmark.service, earmark.cli, earmark.local.profiling, earmark.profiles.file
assert earmark.profiles.musical.available.__doc__
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
