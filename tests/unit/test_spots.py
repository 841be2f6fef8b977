"""Votes for a whole recording at once: where they pile up."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.matching.spots import near, spots
from earmark.model import CatalogueSize, Postings

SIZE = CatalogueSize(tracks=1_000, seconds=240_000, postings=30_000_000)


def postings(*columns: np.ndarray) -> tuple[Postings, np.ndarray]:
    """From rows of asked frame, recording and its frame."""
    rows = np.concatenate(columns, axis=1)
    answer = Postings(query=np.arange(rows.shape[1], dtype=np.int32), track_no=rows[1].astype(np.int32), frame=rows[2].astype(np.int32))
    return answer, rows[0].astype(np.float64)


def chance(n: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([random.integers(0, 7_500, n), random.integers(0, 1_000, n), random.integers(0, 7_500, n)])


def along(track_no: int, begin: int, end: int, offset: float, n: int, *, slope: float = 1.0, seed: int = 1) -> np.ndarray:
    frame = np.sort(np.random.default_rng(seed).choice(np.arange(begin, end), n, replace=False))
    return np.stack([frame, np.full(n, track_no), slope * frame + offset])


def test_nothing_has_no_spots() -> None:
    assert spots(Postings.none(), np.zeros(0), SIZE, chance_max=1) == []


def test_chance_has_next_to_none_and_a_shared_passage_has_the_first() -> None:
    noise = chance(5_000)
    assert len(spots(*postings(noise), SIZE, chance_max=1)) <= 2
    answer, frame = postings(noise, along(7, 2_000, 2_300, 900, 12))
    first = spots(answer, frame, SIZE, chance_max=1)[0]
    assert first.track_no == 7
    assert first.begin_frame < 2_150 < first.end_frame
    assert abs(first.offset - 900) <= 32
    assert first.votes >= 6
    assert np.count_nonzero(near(first, answer, frame).track_no == 7) >= first.votes


def test_a_speed_that_is_a_little_off_is_one_spot_in_each_window() -> None:
    answer, frame = postings(along(3, 0, 6_000, 50, 300, slope=1.02))
    found = spots(answer, frame, SIZE, chance_max=1)
    assert {spot.track_no for spot in found} == {3}
    assert found[0].votes > 8


def test_many_landmarks_of_one_anchor_are_one_vote() -> None:
    answer, frame = postings(np.repeat(along(3, 100, 101, 50, 1), 40, axis=1))
    assert spots(answer, frame, SIZE, chance_max=1) == []


def test_a_tiny_catalogue_does_not_relate_by_a_chord() -> None:
    answer, frame = postings(along(1, 100, 104, 0, 2))
    assert spots(answer, frame, CatalogueSize(tracks=1, seconds=10, postings=100), chance_max=1) == []


@settings(max_examples=40)
@given(st.integers(0, 1_000), st.integers(0, 7_000), st.integers(-7_000, 7_000), st.integers(20, 200))
def test_wherever_it_lies_it_is_found(track_no: int, begin: int, offset: int, n: int) -> None:
    answer, frame = postings(chance(2_000), along(track_no, begin, begin + 300, offset, n))
    found = spots(answer, frame, SIZE, chance_max=1)
    assert found
    assert found[0].track_no == track_no
    assert abs(found[0].offset - offset) <= 32
