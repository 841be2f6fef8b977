"""Pairs: their cells, how their neighbours combine, and that they tell one speed from another."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.fingerprint import triples as triples_
from earmark.fingerprint.landmarks import AGAIN, DEEP, LIVE, Depth, key
from earmark.fingerprint.pairs import TARGETS, pairs
from earmark.fingerprint.window import fingerprint
from earmark.model import Peaks
from fingerprint_audio import music
from fingerprint_definition import CONSTELLATIONS, STORED, Asked, defined_pairs, pair_code

MUSIC = fingerprint(music(31, 12))
#: As far as identification sweeps them; beyond 0.93 the highest frequency has more than 10 bits.
SPEEDS = [0.96, 0.998, 1.0, 1.002, 1.04]


def found(peaks: Peaks, targets: int, *, speed: float = 1.0, neighbours: bool = False) -> Asked:
    packed, anchor = pairs(peaks, slice(0, len(peaks)), targets, speed=speed, neighbours=neighbours)
    return set(zip(peaks.frames[anchor].tolist(), key(packed).tolist(), strict=True))


def two(anchor_hz: float, target_hz: float, frames: float) -> Peaks:
    return Peaks(
        eighth_frames=np.array([0, round(8 * frames)], np.int32),
        eighth_hz=np.array([round(8 * anchor_hz), round(8 * target_hz)], np.int32),
        hashed=np.zeros(2, np.bool_),
        salience=np.ones(2, np.float32),
    )


def codes(peaks: Peaks, *, neighbours: bool = True) -> list[int]:
    packed, anchor = pairs(peaks, slice(0, len(peaks)), TARGETS, neighbours=neighbours)
    assert set(anchor.tolist()) <= {0}
    return sorted(packed.tolist())


def test_a_pair_is_worked_out_by_hand() -> None:
    # 1,000 Hz is the border of a cell, 1,202 the middle of one; 5.125 frames lie in the middle of theirs.
    assert codes(two(1_000, 1_202, 5.125), neighbours=False) == [pair_code(250, 300, 5)]
    assert codes(two(1_000, 1_202, 5.125)) == sorted([pair_code(250, 300, 5), pair_code(249, 300, 5)])


@pytest.mark.parametrize("near", list(product([False, True], repeat=3)), ids=lambda near: "".join("-~"[yes] for yes in near))
@pytest.mark.parametrize("above", [False, True], ids=["below", "above"])
def test_neighbours_of_all_fields_combine(near: tuple[bool, bool, bool], above: bool) -> None:
    """Where two fields are near a border there are four cells, where three are, eight."""
    share = 3.5 if above else 0.5  # hertz into the cell of four
    anchor, target = (4 * cell + (share if yes else 2) for cell, yes in zip((250, 300), near[:2], strict=True))
    frames = 5 + ((0.375 if above else -0.375) if near[2] else 0)
    step = 1 if above else -1
    expected = [
        pair_code(250 + step * a, 300 + step * t, 5 + step * i)
        for a, t, i in product((0, 1), repeat=3)
        if all(yes or not moved for moved, yes in zip((a, t, i), near, strict=True))
    ]
    assert codes(two(anchor, target, frames)) == sorted(expected)
    assert len(expected) == 2 ** sum(near)


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS)
def test_pairs_of_a_reference_are_those_of_the_definition(peaks: Peaks) -> None:
    assert found(peaks, TARGETS) == defined_pairs(peaks)


@settings(deadline=None, max_examples=60)
@given(peaks=CONSTELLATIONS, targets=st.integers(1, 6), speed=st.sampled_from(SPEEDS), neighbours=st.booleans())
def test_what_is_asked_is_that_of_the_definition(peaks: Peaks, targets: int, speed: float, neighbours: bool) -> None:
    depth = Depth(triple_targets=0, pair_targets=targets, neighbours=neighbours)
    assert found(peaks, targets, speed=speed, neighbours=neighbours) == defined_pairs(peaks, depth, speed=speed)


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS, speed=st.sampled_from(SPEEDS), neighbours=st.booleans())
def test_no_pair_is_asked_for_twice_and_none_overflows(peaks: Peaks, speed: float, neighbours: bool) -> None:
    packed, anchor = pairs(peaks, slice(0, len(peaks)), 6, speed=speed, neighbours=neighbours)
    # Two targets of an anchor may share all of their cells.
    targets = pairs(peaks, slice(0, len(peaks)), 6, speed=speed)[0]
    assert len(np.unique(np.stack([packed, anchor]), axis=1).T) <= len(packed) <= 8 * len(targets)
    assert np.all(packed >> 40 == 1)
    fields = packed & (2**40 - 1)
    assert np.all(fields < 2**25)
    assert np.all((fields & 31 >= 1) & (fields & 31 <= 17))


def test_the_sparse_peaks_have_no_part_in_it() -> None:
    """Sustained music has few of them."""
    dense = Peaks(eighth_frames=MUSIC.eighth_frames, eighth_hz=MUSIC.eighth_hz, hashed=np.zeros(len(MUSIC), np.bool_), salience=MUSIC.salience)
    assert found(dense, TARGETS) == found(MUSIC, TARGETS)


@pytest.mark.parametrize("depth", [LIVE, AGAIN, DEEP], ids=["live", "again", "deep"])
def test_what_is_asked_holds_what_the_reference_answers(depth: Depth) -> None:
    assert found(MUSIC, depth.pair_targets, neighbours=depth.neighbours) > found(MUSIC, TARGETS) == defined_pairs(MUSIC, STORED)


def played(peaks: Peaks, speed: float) -> Peaks:
    """So much faster, to the eighth."""
    inside = peaks.take((peaks.hz > 200) & (peaks.hz < 3_600))
    return Peaks(
        eighth_frames=np.rint(inside.eighth_frames / speed).astype(np.int32),
        eighth_hz=np.rint(inside.eighth_hz * speed).astype(np.int32),
        hashed=inside.hashed,
        salience=inside.salience,
    )


def answered(heard: Peaks, *, speed: float = 1.0, depth: Depth = LIVE) -> float:
    """The share of the reference's pairs that are asked for."""
    reference = {code for _, code in found(played(MUSIC, 1.0), TARGETS)}
    return len(reference & {code for _, code in found(heard, depth.pair_targets, speed=speed, neighbours=depth.neighbours)}) / len(reference)


@pytest.mark.parametrize("speed", [0.96, 0.98, 1.02, 1.04])
def test_a_hypothesis_undoes_the_speed_and_nothing_else_does(speed: float) -> None:
    heard = played(MUSIC, speed)
    assert answered(heard, speed=speed) > 0.7
    assert answered(heard, speed=speed, depth=AGAIN) > 0.9
    assert answered(heard) < 0.05
    assert answered(heard, speed=speed * 1.01) < 0.1


@pytest.mark.parametrize("off", [-0.001, 0.001])
def test_a_speed_that_is_right_to_a_thousandth_is_enough(off: float) -> None:
    """What the steps of identification's sweep rest on."""
    heard = played(MUSIC, 1.02)
    assert answered(heard, speed=1.02 + off) > 0.15
    assert answered(heard, speed=1.02 + 2 * off, depth=AGAIN) > 0.12
    assert answered(heard, speed=1.02 + 5 * off, depth=AGAIN) < 0.1


def test_pairs_and_triples_never_meet() -> None:
    assert codes(two(180, 180, 1), neighbours=False)[0] >= 2**40 > 2**35
    sparse = MUSIC.take(MUSIC.hashed)
    of_triples = triples_.triples(sparse, slice(0, len(sparse)), 6, neighbours=True)[0]
    of_pairs = pairs(MUSIC, slice(0, len(MUSIC)), 6, neighbours=True)[0]
    assert of_triples.max() < 2**35 <= of_pairs.min()
    # 31 bits of it: as few by chance as two families that know nothing of one another have.
    by_chance = len(np.unique(of_triples)) * len(np.unique(of_pairs)) / 2**31
    assert len(np.intersect1d(key(of_triples), key(of_pairs))) <= 3 + 3 * by_chance


def test_no_peaks_no_pairs() -> None:
    packed, anchor = pairs(Peaks.none(), slice(0, 0), TARGETS, neighbours=True)
    assert len(packed) == len(anchor) == 0
