"""Which hashes are left out of a run, against the plainest way to count them."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from earmark.index import blocks, stops
from earmark.matching.alignment import postings_max
from earmark.model import CatalogueSize, Int32

#: A catalogue of tracks of 230 s.
SIZES = {tracks: CatalogueSize(tracks=tracks, seconds=230.0 * tracks, postings=15_000 * tracks) for tracks in (0, 1_000, 20_000, 100_000, 1_000_000)}


def list_of(hashes: set[int]) -> Int32:
    return np.array(sorted(hashes), np.int32)


def keys_of(counts: dict[int, int]) -> blocks.Keys:
    parts = [blocks.keys(np.full(n, hash_, np.int32), 9, np.arange(n, dtype=np.int32)) for hash_, n in counts.items()]
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *parts]))


hashes = st.one_of(st.integers(0, 8), st.integers(0, 2**31 - 1))


@given(st.dictionaries(hashes, st.integers(1, 9), max_size=10), st.sets(hashes, max_size=6), st.integers(0, 9))
def test_what_is_on_the_list_or_has_to_be_is_left_out(counts: dict[int, int], stopped: set[int], above: int) -> None:
    keys = keys_of(counts)
    kept, full = stops.sift(keys, list_of(stopped), above)
    wanted = {hash_: n for hash_, n in counts.items() if hash_ not in stopped and n <= above}
    assert kept.tolist() == keys_of(wanted).tolist()
    assert Counter(blocks.hashes_of(kept).tolist()) == wanted
    assert full.tolist() == sorted(hash_ for hash_, n in counts.items() if n > above and hash_ not in stopped)
    assert full.dtype == np.int32


def test_just_as_many_as_allowed_are_kept() -> None:
    keys = keys_of({4: 512, 7: 513})
    kept, full = stops.sift(keys, list_of(set()), 512)
    assert (len(kept), full.tolist()) == (512, [7])


@given(st.lists(hashes, max_size=12), st.sets(hashes, max_size=8))
def test_who_is_among_the_stopped(asked: list[int], stopped: set[int]) -> None:
    among = stops.among(np.array(asked, np.int32), list_of(stopped))
    assert among.tolist() == [hash_ in stopped for hash_ in asked]
    assert among.dtype == np.bool_


def test_the_list_is_its_parts_in_order() -> None:
    parts = {127: list_of({0x7F000001, 0x7FFFFFFF}), 0: list_of({3, 5}), 64: list_of(set()), 1: list_of({0x1000000})}
    assert stops.joined(parts).tolist() == [3, 5, 0x1000000, 0x7F000001, 0x7FFFFFFF]
    assert stops.joined({}).tolist() == []
    assert stops.joined({}).dtype == np.int32


def test_the_bar_rises_with_the_catalogue() -> None:
    bars = [stops.stop_above(size) for size in SIZES.values()]
    assert bars[0] == bars[1] == 128
    assert bars == sorted(bars)
    assert bars[-1] > 5 * bars[-2] > 5 * bars[0]


@given(st.floats(0, 1e11))
def test_whatever_hearing_would_use_is_kept(seconds: float) -> None:
    """A run holds a part of the catalogue: what is too much for the list in a run is too much for hearing in all of them."""
    size = CatalogueSize(tracks=1, seconds=seconds, postings=1)
    assert stops.stop_above(size) > 1.09 * postings_max(size)
