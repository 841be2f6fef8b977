"""Triples: their fields, and that a change of speed leaves them what they are."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.fingerprint.landmarks import AGAIN, DEEP, LIVE, Depth, key
from earmark.fingerprint.triples import TARGETS, Triples, pack, triples, unpack
from earmark.fingerprint.window import fingerprint
from earmark.model import Peaks
from fingerprint_audio import music
from fingerprint_definition import CONSTELLATIONS, STORED, Asked, defined_triples, triple_code

MUSIC = fingerprint(music(31, 12))
SPEEDS = [0.9, 0.95, 1.0, 1.05, 1.1]


def found(peaks: Peaks, targets: int, *, speed: float = 1.0, neighbours: bool = False) -> Asked:
    sparse = peaks.take(peaks.hashed)
    packed, anchor = triples(sparse, slice(0, len(sparse)), targets, speed=speed, neighbours=neighbours)
    assert np.all(np.diff(anchor) >= 0)
    return set(zip(sparse.frames[anchor].tolist(), key(packed).tolist(), strict=True))


@settings(deadline=None)
@given(
    fields=st.lists(
        st.tuples(st.integers(0, 31), st.integers(-1_024, 1_023), st.integers(-1_024, 1_023), st.integers(0, 15), st.integers(0, 15)), min_size=1, max_size=20
    )
)
def test_unpack_is_the_inverse_of_pack(fields: list[tuple[int, ...]]) -> None:
    columns = np.array(fields, np.int64).T
    packed = pack(Triples(anchor=columns[0], first_ratio=columns[1], second_ratio=columns[2], first_interval=columns[3], second_interval=columns[4]))
    assert packed.min() >= 0
    assert packed.max() < 2**35
    back = unpack(packed)
    fields_back = [back.anchor, back.first_ratio, back.second_ratio, back.first_interval, back.second_interval]
    assert [column.tolist() for column in fields_back] == columns.tolist()


@settings(deadline=None)
@given(codes=st.lists(st.integers(0, 2**35 - 1), min_size=1, max_size=20))
def test_pack_is_the_inverse_of_unpack(codes: list[int]) -> None:
    assert pack(unpack(np.array(codes, np.int64))).tolist() == codes


def test_the_three_peaks_of_a_triple_are_worked_out_by_hand() -> None:
    # 1,000 Hz, then an octave above it after 5 frames, then 1,500 Hz after 9.5.
    peaks = Peaks(
        eighth_frames=np.array([80, 120, 156], np.int32),
        eighth_hz=np.array([8_000, 16_000, 12_000], np.int32),
        hashed=np.ones(3, np.bool_),
        salience=np.array([1, 2, 3], np.float32),
    )
    packed, anchor = triples(peaks, slice(0, 3), TARGETS)
    fields = unpack(packed)
    # 6 log2(10) = 19.93; the middle of that cell is 951.4 Hz, where 4 Hz are 1/164.86 octave.
    assert (anchor.tolist(), fields.anchor.tolist()) == ([0], [19])
    assert (fields.first_ratio.tolist(), fields.second_ratio.tolist()) == ([165], [round(math.log2(1.5) * 164.86)])
    assert (fields.first_interval.tolist(), fields.second_interval.tolist()) == ([3], [5])
    assert packed.tolist() == [triple_code(math.log2(10), [1.0, math.log2(1.5)], [3, 5])]


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS)
def test_triples_of_a_reference_are_those_of_the_definition(peaks: Peaks) -> None:
    assert found(peaks, TARGETS) == defined_triples(peaks)


@settings(deadline=None, max_examples=60)
@given(peaks=CONSTELLATIONS, targets=st.integers(2, 6), speed=st.sampled_from(SPEEDS), neighbours=st.booleans())
def test_what_is_asked_is_that_of_the_definition(peaks: Peaks, targets: int, speed: float, neighbours: bool) -> None:
    depth = Depth(triple_targets=targets, pair_targets=0, neighbours=neighbours)
    assert found(peaks, targets, speed=speed, neighbours=neighbours) == defined_triples(peaks, depth, speed=speed)


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS, speed=st.sampled_from(SPEEDS))
def test_a_triple_lies_in_its_own_cells_and_in_one_neighbour_of_each_interval(peaks: Peaks, speed: float) -> None:
    sparse = peaks.take(peaks.hashed)
    plain, near = (triples(sparse, slice(0, len(sparse)), 3, speed=speed, neighbours=neighbours) for neighbours in (False, True))
    assert set(zip(*map(np.ndarray.tolist, plain), strict=True)) <= set(zip(*map(np.ndarray.tolist, near), strict=True))
    assert near[0].min(initial=0) >= 0
    assert near[0].max(initial=0) < 2**35
    fields = unpack(near[0])
    assert np.all((fields.first_interval >= 1) & (fields.first_interval <= fields.second_interval) & (fields.second_interval <= 8))


@pytest.mark.parametrize("depth", [LIVE, AGAIN, DEEP], ids=["live", "again", "deep"])
def test_what_is_asked_holds_what_the_reference_answers(depth: Depth) -> None:
    assert found(MUSIC, depth.triple_targets, neighbours=depth.neighbours) >= found(MUSIC, TARGETS) == defined_triples(MUSIC, STORED)


def played(peaks: Peaks, speed: float) -> Peaks:
    """So much faster, to the eighth."""
    inside = peaks.take((peaks.hz > 200) & (peaks.hz < 3_400))
    return Peaks(
        eighth_frames=np.rint(inside.eighth_frames / speed).astype(np.int32),
        eighth_hz=np.rint(inside.eighth_hz * speed).astype(np.int32),
        hashed=inside.hashed,
        salience=inside.salience,
    )


def answered(heard: Peaks, *, speed: float = 1.0) -> float:
    """The share of the reference's triples that are asked for."""
    reference = {code for _, code in found(played(MUSIC, 1.0), TARGETS)}
    return len(reference & {code for _, code in found(heard, AGAIN.triple_targets, speed=speed, neighbours=AGAIN.neighbours)}) / len(reference)


@pytest.mark.parametrize("speed", [0.9, 0.95, 1.05, 1.1])
def test_a_hypothesis_undoes_the_speed(speed: float) -> None:
    heard = played(MUSIC, speed)
    assert answered(heard, speed=speed) > 0.6
    assert answered(heard) < answered(heard, speed=speed) - 0.3


@pytest.mark.parametrize("speed", [0.97, 0.98, 1.02, 1.03])
def test_a_small_change_of_speed_leaves_many_of_them_what_they_are(speed: float) -> None:
    assert answered(played(MUSIC, speed)) > 0.5


def test_no_peaks_no_triples() -> None:
    packed, anchor = triples(Peaks.none(), slice(0, 0), TARGETS, neighbours=True)
    assert len(packed) == len(anchor) == 0
