"""The targets of an anchor: what stands out most within the zone, whatever the order in which it is looked for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.fingerprint.targets import LOOKAHEAD_FRAMES, TARGET_FRAMES, TARGET_OCTAVES, most_salient, octaves
from earmark.model import Peaks
from fingerprint_definition import CONSTELLATIONS, chosen, rows


def peaks(*rows_: tuple[float, float, float]) -> Peaks:
    """(frame, hertz, salience) of each."""
    frame, hz, salience = (np.array(column) for column in zip(*rows_, strict=True))
    return Peaks(
        eighth_frames=np.rint(8 * frame).astype(np.int32),
        eighth_hz=np.rint(8 * hz).astype(np.int32),
        hashed=np.ones(len(rows_), np.bool_),
        salience=salience.astype(np.float32),
    )


def targets_of_the_first(count: int, *rows_: tuple[float, float, float]) -> list[int]:
    """Which of the rows, counted from 1; the anchor, at frame 0 and 1,000 Hz, is number 0."""
    found = most_salient(peaks((0, 1_000, 9), *rows_), slice(0, 1), count)
    assert found.shape == (1, count)
    return list(found[0].tolist())


@settings(deadline=None, max_examples=60)
@given(constellation=CONSTELLATIONS, targets=st.integers(1, 8))
def test_targets_are_those_of_the_definition(constellation: Peaks, targets: int) -> None:
    plain = rows(constellation)
    found = most_salient(constellation, slice(0, len(plain)), targets)
    assert found.shape == (len(plain), targets)
    for anchor, row in zip(plain, found.tolist(), strict=True):
        expected = [plain.index(target) for target in chosen(plain, anchor, targets)]
        assert row == expected + [-1] * (targets - len(expected))


@settings(deadline=None, max_examples=40)
@given(constellation=CONSTELLATIONS, targets=st.integers(1, 6), cut=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_some_anchors_have_the_targets_that_they_have_among_all(constellation: Peaks, targets: int, cut: tuple[float, float]) -> None:
    begin, end = (round(share * len(constellation)) for share in sorted(cut))
    whole = most_salient(constellation, slice(0, len(constellation)), targets)
    assert np.array_equal(most_salient(constellation, slice(begin, end), targets), whole[begin:end])


@settings(deadline=None, max_examples=40)
@given(constellation=CONSTELLATIONS, targets=st.integers(1, 6))
def test_who_asks_for_more_targets_gets_those_he_had_and_more(constellation: Peaks, targets: int) -> None:
    fewer, more = (most_salient(constellation, slice(0, len(constellation)), count) for count in (targets, targets + 1))
    for row, longer in zip(fewer.tolist(), more.tolist(), strict=True):
        assert set(row) - {-1} <= set(longer)


def test_the_most_salient_are_chosen_and_told_in_order_of_time() -> None:
    assert targets_of_the_first(2, (2, 900, 1.0), (3, 900, 2.0), (4, 900, 1.5), (5, 900, 3.0)) == [2, 4]
    assert targets_of_the_first(3, (2, 900, 1.0), (3, 900, 2.0), (4, 900, 1.5), (5, 900, 3.0)) == [2, 3, 4]


def test_of_equally_salient_peaks_the_earlier_is_taken_and_at_one_time_the_lower() -> None:
    assert targets_of_the_first(2, (2, 900, 2.0), (3, 900, 2.0), (4, 900, 2.0)) == [1, 2]
    assert targets_of_the_first(1, (4, 900, 2.0), (4, 1_100, 2.0), (5, 900, 2.0)) == [1]
    # ... also beside one that stands out more, which does not change who of the others comes first.
    assert targets_of_the_first(2, (2, 900, 2.0), (3, 900, 2.0), (9, 900, 2.5)) == [1, 3]


def test_saliences_are_compared_to_their_last_bit() -> None:
    more = float(np.nextafter(np.float32(2.0), np.float32(3.0)))
    assert targets_of_the_first(1, (2, 900, 2.0), (3, 900, more)) == [2]


def test_both_ends_of_the_zone_belong_to_it() -> None:
    assert TARGET_FRAMES == (1, 16)
    assert targets_of_the_first(4, (0.875, 900, 2.0), (1, 900, 2.0), (16, 900, 2.0), (16.125, 900, 2.0)) == [2, 3, -1, -1]


def test_the_zone_is_three_octaves_wide() -> None:
    assert TARGET_OCTAVES == 1.5
    low, high = (1_000 * 2**octave for octave in (-1.5, 1.5))
    assert targets_of_the_first(4, (2, low - 0.5, 2.0), (2, low + 0.5, 2.0), (2, high - 0.5, 2.0), (2, high + 0.5, 2.0)) == [2, 3, -1, -1]


def test_what_an_anchor_needs_is_known_so_many_frames_later() -> None:
    assert TARGET_FRAMES[1] < LOOKAHEAD_FRAMES


def test_no_peaks_no_targets() -> None:
    assert most_salient(Peaks.none(), slice(0, 0), 3).shape == (0, 3)
    assert targets_of_the_first(2, (20, 900, 2.0)) == [-1, -1]


@pytest.mark.parametrize("hz", [180.0, 200.0, 440.125, 3_800.0])
def test_octaves_are_above_a_hundred_hertz(hz: float) -> None:
    assert octaves(peaks((0, hz, 1)))[0] == pytest.approx(math.log2(hz / 100), abs=1e-12)
