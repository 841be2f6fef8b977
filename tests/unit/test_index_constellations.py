"""What is stored of a constellation gives back the same peaks, bit for bit; how far they stood out is not kept."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.index.constellations import PART_FRAMES, SLICE_FRAMES, SLICES_PER_PART, pack, parts, sha256, unpack
from earmark.model import EIGHTHS, Peaks
from index_catalogue import peaks


def same(one: Peaks, other: Peaks) -> bool:
    return all(np.array_equal(getattr(one, column), getattr(other, column)) for column in ("eighth_frames", "eighth_hz", "hashed"))


def stored(constellation: Peaks, frames: int) -> Peaks:
    rows = parts(constellation, frames)
    return Peaks.join(*[unpack(np.frombuffer(row.packed, "<u4"), row.part * PART_FRAMES) for row in rows])


@given(st.lists(st.tuples(st.integers(0, 3 * PART_FRAMES * EIGHTHS), st.integers(1_440, 30_400), st.booleans()), unique_by=lambda peak: peak[:2], max_size=60))
def test_any_peaks_survive(rows: list[tuple[int, int, bool]]):
    columns = np.array(sorted(rows), np.int64).reshape(-1, 3)
    constellation = Peaks(
        eighth_frames=columns[:, 0].astype(np.int32),
        eighth_hz=columns[:, 1].astype(np.int32),
        hashed=columns[:, 2].astype(np.bool_),
        salience=np.zeros(len(columns), np.float32),
    )
    assert same(stored(constellation, 0), constellation)


def test_salience_is_not_kept():
    """So landmarks, whose targets are chosen by it, are made when a recording is added, and never from what is stored."""
    constellation = peaks(1, 60)
    assert np.all(constellation.salience > 0)
    assert stored(constellation, 1_875).salience.tolist() == [0] * len(constellation)


def test_parts_cover_the_recording_and_slices_their_part():
    constellation = peaks(1, 600)
    rows = parts(constellation, 18_750)
    assert [(row.part, row.frames) for row in rows] == [(0, 8_192), (1, 8_192), (2, 2_366)]
    for row in rows:
        assert len(row.slice_starts) == SLICES_PER_PART + 1
        assert (row.slice_starts[0], row.slice_starts[-1]) == (0, len(row.packed) // 4)
        for number in (0, 5, SLICES_PER_PART - 1):
            begin, end = row.slice_starts[number : number + 2]
            first_frame = row.part * PART_FRAMES + number * SLICE_FRAMES
            piece = unpack(np.frombuffer(row.packed, "<u4")[begin:end], row.part * PART_FRAMES)
            assert same(piece, constellation.between(first_frame, first_frame + SLICE_FRAMES))


@pytest.mark.parametrize("frames, count", [(0, 1), (1, 1), (8_192, 1), (8_193, 2)])
def test_a_recording_without_peaks_has_rows_all_the_same(frames: int, count: int):
    rows = parts(Peaks.none(), frames)
    assert len(rows) == count
    assert all(row.packed == b"" and set(row.slice_starts) == {0} for row in rows)


@pytest.mark.parametrize("time, hz", [(-1, 8_000), (0, 1 << 15), (0, -1)])
def test_peaks_that_do_not_fit_are_refused(time: int, hz: int):
    column = np.array([time], np.int32)
    with pytest.raises(ValueError, match="first sample"):
        pack(Peaks(eighth_frames=column, eighth_hz=np.array([hz], np.int32), hashed=np.ones(1, np.bool_), salience=np.zeros(1, np.float32)))


def test_a_digest_is_of_the_peaks_and_not_of_their_salience():
    one, other = peaks(1, 20), peaks(2, 20)
    louder = Peaks(eighth_frames=one.eighth_frames, eighth_hz=one.eighth_hz, hashed=one.hashed, salience=one.salience + 1)
    assert sha256(one) == sha256(louder) != sha256(other)
    unhashed = Peaks(eighth_frames=one.eighth_frames, eighth_hz=one.eighth_hz, hashed=~one.hashed, salience=one.salience)
    assert sha256(unhashed) != sha256(one)
