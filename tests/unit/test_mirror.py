"""A constellation backwards."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earmark.fingerprint.mirror import mirrored
from earmark.model import EIGHTHS, Peaks

FRAMES = 400
peaks_at = st.sets(st.tuples(st.integers(0, FRAMES * EIGHTHS - 1), st.integers(1_440, 30_400)), max_size=60)


def constellation(found: set[tuple[int, int]]) -> Peaks:
    columns = np.array(sorted(found), np.int32).reshape(-1, 2)
    number = np.arange(len(columns))
    return Peaks(eighth_frames=columns[:, 0], eighth_hz=columns[:, 1], hashed=number % 2 == 0, salience=number.astype(np.float32))


def rows(peaks: Peaks) -> list[tuple[int, int, bool, float]]:
    return list(zip(peaks.eighth_frames.tolist(), peaks.eighth_hz.tolist(), peaks.hashed.tolist(), peaks.salience.tolist(), strict=True))


@given(peaks_at)
def test_twice_backwards_is_as_it_was(found: set[tuple[int, int]]) -> None:
    peaks = constellation(found)
    assert rows(mirrored(mirrored(peaks, FRAMES), FRAMES)) == rows(peaks)


@given(peaks_at)
def test_peaks_stay_in_order_and_in_the_stretch(found: set[tuple[int, int]]) -> None:
    turned = rows(mirrored(constellation(found), FRAMES))
    assert turned == sorted(turned)
    assert len(turned) == len(found)
    assert all(0 < time <= FRAMES * EIGHTHS for time, *_ in turned)


def test_what_came_last_comes_first_and_is_what_it_was() -> None:
    peaks = constellation({(8, 1_600), (80, 2_000), (80, 1_900), (160, 20_000)})
    assert rows(mirrored(peaks, 100)) == [(640, 20_000, False, 3.0), (720, 1_900, False, 1.0), (720, 2_000, True, 2.0), (792, 1_600, True, 0.0)]
