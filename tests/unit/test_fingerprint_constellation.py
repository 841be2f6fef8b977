"""Peaks against their definition, worked out value by value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.fingerprint.constellation import (
    BAND_HZ,
    BIN_HZ,
    BOX_BINS,
    DENSE_FRAMES,
    DENSE_PER_FRAME_MAX,
    DENSE_SALIENCE,
    SPARSE_FRAMES,
    SPARSE_PER_FRAME_MAX,
    SPARSE_SALIENCE,
    Constellation,
)
from earmark.fingerprint.spectrogram import BINS, FRAME_SAMPLES, PASS_FRAMES
from earmark.fingerprint.window import fingerprint
from earmark.model import EIGHTHS, HOP_SAMPLES, RATE_HZ, Bool, Float32, Peaks

TILT = np.log(np.arange(1, BINS + 1)).astype(np.float32)


def picked(levels: Float32, pass_frames: int = PASS_FRAMES) -> Peaks:
    constellation = Constellation()
    found = [constellation.push(levels[begin : begin + pass_frames]) for begin in range(0, len(levels), pass_frames)]
    return Peaks.join(*found, constellation.flush())


def outstanding(levels: Float32, frames: int) -> Bool:
    """By definition: greater than all before it in its box, not less than all after it. Bool like `levels`."""
    padded = np.pad(levels + TILT, ((frames, frames), (BOX_BINS, BOX_BINS)), constant_values=-np.inf)
    boxes = np.lib.stride_tricks.sliding_window_view(padded, (2 * frames + 1, 2 * BOX_BINS + 1))
    result = np.zeros(levels.shape, np.bool_)
    for row in range(len(levels)):
        box = boxes[row].reshape(BINS, -1)
        middle = box.shape[1] // 2
        value = box[:, middle]
        result[row] = (value > box[:, :middle].max(axis=1)) & (value >= box[:, middle + 1 :].max(axis=1))
    return result


def tied_levels(seed: int, frames_n: int) -> Float32:
    """Levels of a few distinct heights once tilted, so that ties abound, in time and in frequency."""
    rng = np.random.default_rng(seed)
    heights = rng.choice(np.array([16, 16, 16, 16, 20, 24, 28, 31], np.float32), (frames_n, BINS), p=[0.25, 0.25, 0.25, 0.2, 0.02, 0.01, 0.01, 0.01])
    heights[rng.random(frames_n) < 0.3] = heights[0]
    return (heights - TILT).astype(np.float32)


def cells(peaks: Peaks) -> set[tuple[int, int]]:
    return set(zip(np.rint(peaks.frames).astype(int).tolist(), np.rint(peaks.hz / BIN_HZ).astype(int).tolist(), strict=True))


def standing(levels: Float32, frames: int, salience: float) -> list[tuple[int, int]]:
    """(frame, bin) of the peaks by definition, in that order."""
    rows, bins = np.nonzero(outstanding(levels, frames))
    centres = np.clip(bins, BOX_BINS, BINS - 1 - BOX_BINS)
    means = levels[rows[:, None], centres[:, None] + np.arange(-BOX_BINS, BOX_BINS + 1)].mean(axis=1)
    kept = (levels[rows, bins] - means > salience) & (bins < int(BAND_HZ[1] / BIN_HZ))
    return list(zip(rows[kept].tolist(), bins[kept].tolist(), strict=True))


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), frames_n=st.integers(1, 70), pass_frames=st.integers(1, PASS_FRAMES))
def test_peaks_are_those_of_the_definition(seed: int, frames_n: int, pass_frames: int) -> None:
    levels = tied_levels(seed, frames_n)
    levels[:, :60] -= 50  # so that none is interpolated across the band's lower edge
    peaks = picked(levels, pass_frames)
    for frames, salience, kept in ((DENSE_FRAMES, DENSE_SALIENCE, peaks), (SPARSE_FRAMES, SPARSE_SALIENCE, peaks.take(peaks.hashed))):
        expected = standing(levels, frames, salience)
        assert len(kept) == len(expected)
        for (row, bin_), frame, hz in zip(expected, kept.frames, kept.hz, strict=True):
            assert abs(frame - row) <= 0.5
            assert abs(hz - bin_ * BIN_HZ) <= 0.5 * BIN_HZ + 1 / EIGHTHS


def spikes(frames_n: int, every_frames: int) -> Float32:
    """As many peaks as can be: side by side in frequency, as close in time as the box allows."""
    levels = np.zeros((frames_n, BINS), np.float32) - TILT
    for row in range(0, frames_n, every_frames):
        levels[row, 47 :: BOX_BINS + 1] += 100
    return levels


def test_the_bounds_are_reached_and_not_passed() -> None:
    dense, sparse = picked(spikes(60, DENSE_FRAMES + 1)), picked(spikes(60, SPARSE_FRAMES + 1))
    assert len(dense) == 60 * DENSE_PER_FRAME_MAX
    assert np.count_nonzero(sparse.hashed) == 60 * SPARSE_PER_FRAME_MAX


@pytest.mark.parametrize("seed", range(3))
def test_no_two_neighbouring_frames_hold_more_than_the_bound(seed: int) -> None:
    peaks = picked(tied_levels(seed, 90))
    rows = np.bincount(np.rint(peaks.frames).astype(int), minlength=90)
    assert len(peaks) > 90
    assert len(peaks) <= 90 * DENSE_PER_FRAME_MAX
    assert np.count_nonzero(peaks.hashed) <= 90 * SPARSE_PER_FRAME_MAX
    assert rows.max() <= 2 * DENSE_PER_FRAME_MAX


def test_of_a_plateau_in_time_only_the_first_frame_counts() -> None:
    levels = np.zeros((40, BINS), np.float32)
    levels[10:30, 300] = 10
    peaks = picked(levels)
    assert len(peaks) == 1
    assert 10 <= peaks.frames[0] <= 10.5


def test_of_a_plateau_in_frequency_only_the_lowest_bin_counts() -> None:
    levels = (np.full((5, BINS), 16, np.float32) - TILT).astype(np.float32)
    levels[2, [300, 310, 320]] += 8
    levels[2] = np.where(levels[2] + TILT > 20, np.float32(24) - TILT, levels[2])
    assert cells(picked(levels)) == {(2, 300)}


def test_what_does_not_stand_out_is_not_a_peak() -> None:
    levels = np.zeros((9, BINS), np.float32)
    levels[4, 300] = 0.9
    assert len(picked(levels)) == 0
    levels[4, 300] = 1.5
    assert picked(levels).hashed.tolist() == [False]
    levels[4, 300] = 2.5
    assert picked(levels).hashed.tolist() == [True]


def test_a_peak_that_a_frame_two_away_outdoes_is_dense_and_not_sparse() -> None:
    levels = np.zeros((9, BINS), np.float32)
    levels[3, 300], levels[5, 310] = 8, 9
    assert picked(levels).hashed.tolist() == [False, True]


def test_outside_the_band_there_are_no_peaks() -> None:
    levels = np.zeros((9, BINS), np.float32)
    levels[4, [20, 1_000]] = 10
    assert len(picked(levels)) == 0


@pytest.mark.parametrize("row, neighbour", [(0, 1), (8, 7)])
def test_the_first_and_the_last_frame_are_not_interpolated_in_time(row: int, neighbour: int) -> None:
    levels = np.zeros((9, BINS), np.float32)
    levels[row, 300], levels[neighbour, 300] = 10, 9
    assert picked(levels).frames.tolist() == [row]


@pytest.mark.parametrize("hz", [200.0, 333.3, 1_000.0, 1_234.5, 2_718.28, 3_700.0])
@pytest.mark.parametrize("centre", [4 * HOP_SAMPLES + FRAME_SAMPLES // 2 + offset for offset in (0, 60, 128, 200)])
def test_a_burst_is_found_where_it_is(hz: float, centre: int) -> None:
    time = np.arange(RATE_HZ) - centre
    burst = (0.5 * np.sin(2 * np.pi * hz * time / RATE_HZ + 1) * np.exp(-((time / 500) ** 2))).astype(np.float32)
    peaks = fingerprint(burst)
    loudest = int(np.argmax(peaks.salience))
    assert peaks.hz[loudest] == pytest.approx(hz, abs=0.5)
    assert peaks.frames[loudest] == pytest.approx((centre - FRAME_SAMPLES / 2) / HOP_SAMPLES, abs=0.13)
