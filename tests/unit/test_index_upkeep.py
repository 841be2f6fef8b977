"""Which runs are merged, and how often that writes a posting: simulated growth and loads. What upkeep does to a database is tested there."""

from bisect import insort
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.index import upkeep
from earmark.index.upkeep import to_merge

sizes = st.lists(st.integers(0, 10**9), max_size=30).map(sorted)


@dataclass
class Grown:
    writes_per_posting: float
    #: How many there were after each batch.
    runs: list[int]
    #: Their postings at last, ascending.
    last: list[int]


def grow(batches: Iterable[int], *, loading: bool) -> Grown:
    """What becomes of batches of recordings, each a run when it comes, if runs are merged at once."""
    runs: list[int] = []
    alive, written, stored = [], 0, 0
    for batch in batches:
        insort(runs, batch)
        stored += batch
        written += batch
        while (count := to_merge(runs, loading=loading)) > 1:
            merged = sum(runs[:count])
            written += merged
            runs = sorted([merged, *runs[count:]])
        alive.append(len(runs))
    assert sum(runs) == stored
    return Grown(written / stored, alive, runs)


# ------------------------------------------------------------------------------------------------ the rule


@pytest.mark.parametrize(
    "postings, merged",
    [
        ([], 0),
        ([7], 0),
        ([100, 400], 2),
        ([100, 401], 0),
        ([100, 401, 2_004], 3),  # not the first two by themselves, but what follows is not much larger than both
        ([100, 401, 2_005], 0),
        ([100, 100, 100, 100_000], 3),
        ([0, 100], 0),
        ([0, 0, 100, 300], 4),
    ],
)
def test_a_run_is_merged_with_what_is_smaller_unless_it_is_much_larger(postings: list[int], merged: int) -> None:
    assert to_merge(postings, loading=False) == merged


@given(sizes)
def test_what_is_left_is_much_larger_than_what_is_merged(postings: list[int]) -> None:
    count = to_merge(postings, loading=False)
    assert count == 0 or 2 <= count <= len(postings)
    assert all(postings[n] > 4 * sum(postings[:n]) for n in range(max(count, 1), len(postings)))


@pytest.mark.parametrize(
    "postings, merged",
    [
        ([100] * 7, 0),
        ([100] * 8, 8),
        ([100] * 8 + [100] * 5, 8),
        ([100] * 7 + [800], 8),
        ([100] * 7 + [801], 0),
        ([1, 2, *[100] * 8], 10),  # the smaller ones go along
        ([0] * 8, 8),
        ([], 0),
    ],
)
def test_while_a_load_is_under_way_many_of_about_a_size_are_merged(monkeypatch: pytest.MonkeyPatch, postings: list[int], merged: int) -> None:
    monkeypatch.setattr(upkeep, "_TIER", 8)
    assert to_merge(postings, loading=True) == merged


@given(sizes, st.booleans())
def test_merging_ends(postings: list[int], loading: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upkeep, "_TIER", 4)
        for _ in range(len(postings)):
            if (count := to_merge(postings, loading=loading)) < 2:
                break
            postings = sorted([sum(postings[:count]), *postings[count:]])
        assert to_merge(postings, loading=loading) < 2


# ------------------------------------------------------------------------------------------------ growth


@pytest.mark.parametrize(
    "ratio, batch, writes, runs_mean, runs_most",
    [(4, 700, 12.4, 3.09, 5), (1, 700, 6.14, 5.05, 10), (8, 700, 17.5, 2.58, 4), (4, upkeep._PACK_DOCS, 14.7, 3.76, 6)],
)
def test_what_growth_to_a_million_docs_costs(monkeypatch: pytest.MonkeyPatch, ratio: int, batch: int, writes: float, runs_mean: float, runs_most: int) -> None:
    monkeypatch.setattr(upkeep, "_MERGE_RATIO", ratio)
    grown = grow([batch] * (1_000_000 // batch), loading=False)
    assert grown.writes_per_posting == pytest.approx(writes, rel=0.02)
    assert np.mean(grown.runs) == pytest.approx(runs_mean, rel=0.02)
    assert max(grown.runs) == runs_most


def of_one_size(_: int) -> int:
    return 100


def of_any_size(seed: int) -> int:
    return int(np.random.default_rng(seed).integers(10, 200))


@pytest.mark.parametrize("size", [of_one_size, of_any_size])
@pytest.mark.parametrize("batches", [50, 500])
def test_a_load_writes_a_posting_three_times_at_most(size: Callable[[int], int], batches: int) -> None:
    """Each batch is a run, and some of a size are left until there are enough of them, of this size and of the next."""
    grown = grow(map(size, range(batches)), loading=True)
    assert grown.writes_per_posting <= 3
    assert max(grown.runs) <= upkeep._TIER + batches // upkeep._TIER


@pytest.mark.parametrize("batches, writes, runs_most", [(50, 2.38, 9), (500, 3.83, 15)])
def test_eight_of_a_size_would_leave_fewer_runs_and_write_more(monkeypatch: pytest.MonkeyPatch, batches: int, writes: float, runs_most: int) -> None:
    monkeypatch.setattr(upkeep, "_TIER", 8)
    grown = grow([100] * batches, loading=True)
    assert grown.writes_per_posting == pytest.approx(writes, rel=0.01)
    assert max(grown.runs) == runs_most


def test_after_a_load_one_more_merge_makes_up_for_it() -> None:
    left = grow([100] * 50, loading=True).last
    assert 2 < len(left) == to_merge(left, loading=False)


# ------------------------------------------------------------------------------------------------ slices


@pytest.mark.parametrize("postings", [0, 1, 3_999_999, 4_000_000, 4_000_001, 90_000_000, 1_500_000_000, 10**13])
def test_slices_cover_all_hashes_at_the_borders_of_all_buckets(postings: int) -> None:
    """A run has 1/16 of its postings in the lower 1/16 of the hashes, and so on: what is left is known before each slice."""
    borders = [0]
    while borders[-1] < 1 << 31:
        left = -(-postings * ((1 << 31) - borders[-1]) // (1 << 31))
        borders.append(upkeep._end_of_slice(borders[-1], left))
    assert borders[-1] == 1 << 31
    assert all(begin < end for begin, end in pairwise(borders))
    assert all(border % (1 << 16) == 0 for border in borders)
    widest = max(end - begin for begin, end in pairwise(borders))
    assert widest == 1 << 16 or widest * postings / (1 << 31) <= 1.01 * upkeep._SLICE_POSTINGS
    slices = max(1, min(1 << 15, -(-postings // upkeep._SLICE_POSTINGS)))
    assert slices <= len(borders) - 1 <= 1.1 * slices + 1


@given(st.integers(0, (1 << 15) - 1), st.integers(0, 10**14))
def test_a_slice_goes_on_and_never_beyond_the_last_hash(grain: int, postings: int) -> None:
    begin = grain << 16
    end = upkeep._end_of_slice(begin, postings)
    assert begin < end <= 1 << 31
    assert end % (1 << 16) == 0
