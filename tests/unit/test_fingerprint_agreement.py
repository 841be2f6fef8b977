"""Postings and the constellation that they are said to be of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.fingerprint.agreement import agree
from earmark.fingerprint.window import fingerprint
from earmark.index.catalogue import postings_of
from earmark.model import Landmarks, Peaks
from hearing_sounds import noise, silence, tone, tune
from index_catalogue import loop, peaks

ONE = fingerprint(tune(1, 40))
SOUNDS = {
    "a tune": ONE,
    "noise": fingerprint(noise(1, 20, 0.5)),
    "a tone": fingerprint(tone(20)),
    "silence": fingerprint(silence(5)),
    "a loop": loop(3, 2.0, 20),
}


def stored(constellation: Peaks) -> tuple[Peaks, Landmarks]:
    """As a catalogue keeps them: without salience, and times of landmarks rounded down."""
    kept = postings_of(constellation)
    none = np.zeros(len(constellation), np.float32)
    without = Peaks(eighth_frames=constellation.eighth_frames, eighth_hz=constellation.eighth_hz, hashed=constellation.hashed, salience=none)
    return without, Landmarks(hash=kept.hash, frame=np.floor(kept.frame))


@pytest.mark.parametrize("name", SOUNDS)
def test_what_was_made_of_a_sound_agrees_with_it(name: str) -> None:
    assert agree(*stored(SOUNDS[name]))


@given(seed=st.integers(0, 1 << 20), duration_s=st.floats(0.1, 30), share=st.floats(0, 1))
def test_and_so_does_any_part_of_it(seed: int, duration_s: float, share: float) -> None:
    """What is on the stop list is lacking."""
    constellation, kept = stored(peaks(seed, duration_s))
    chosen = np.random.default_rng(seed).random(len(kept)) < share
    assert agree(constellation, Landmarks(hash=kept.hash[chosen], frame=kept.frame[chosen]))


def test_what_was_made_of_another_sound_does_not() -> None:
    constellation, kept = stored(ONE)
    other, of_other = stored(fingerprint(tune(2, 40)))
    assert not agree(constellation, of_other)
    assert not agree(other, kept)
    assert not agree(Peaks.none(), kept)


def test_nor_do_other_hashes_at_the_same_times_or_the_same_at_other_times() -> None:
    constellation, kept = stored(ONE)
    assert not agree(constellation, Landmarks(hash=kept.hash ^ 1, frame=kept.frame))
    assert not agree(constellation, Landmarks(hash=np.random.default_rng(1).permutation(kept.hash), frame=kept.frame))
    for shift in (-1, 1, 40, 100_000):
        assert not agree(constellation, Landmarks(hash=kept.hash, frame=kept.frame + shift))


def test_more_peaks_than_any_sound_has_are_no_reason_to_compute_for_ever() -> None:
    many = np.sort(np.random.default_rng(1).integers(0, 400, 40_000)).astype(np.int32)
    crowd = Peaks(
        eighth_frames=many, eighth_hz=np.full(len(many), 8_000, np.int32), hashed=np.ones(len(many), np.bool_), salience=np.zeros(len(many), np.float32)
    )
    assert not agree(crowd, Landmarks(hash=np.arange(5, dtype=np.int32), frame=np.full(5, 20.0)))
