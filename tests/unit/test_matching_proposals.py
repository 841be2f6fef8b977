"""What is fetched for many lines at once, and how it is put together again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.matching import histograms
from earmark.matching.alignment import COUNTED_MAX
from earmark.matching.proposals import apart, joined, look_up
from earmark.matching.verification import Constellation
from earmark.model import EIGHTHS, CatalogueSize, Landmarks, Lookup, Passage, Peaks, Postings, Reference

PASSAGES = st.lists(st.builds(Passage, track_no=st.integers(1, 3), begin_frame=st.integers(0, 60), end_frame=st.integers(61, 120)), max_size=12) | st.lists(
    st.tuples(st.integers(1, 2), st.integers(0, 300), st.integers(1, 30)).map(lambda p: Passage(track_no=p[0], begin_frame=p[1], end_frame=p[1] + p[2])),
    max_size=12,
)


def frames(passages: list[Passage] | tuple[Passage, ...]) -> list[tuple[int, int]]:
    return [(p.track_no, frame) for p in passages for frame in range(p.begin_frame, p.end_frame)]


@given(PASSAGES)
def test_the_same_frames_are_asked_for_and_none_twice(passages: list[Passage]) -> None:
    asked = frames(apart(passages))
    assert len(asked) == len(set(asked))
    assert set(asked) == set(frames(passages))


@given(PASSAGES, st.integers(0, 2**32 - 1))
def test_passages_are_one_constellation_whatever_their_order(passages: list[Passage], seed: int) -> None:
    random = np.random.default_rng(seed)
    time = np.sort(random.integers(0, 340 * EIGHTHS, 400)).astype(np.int32)
    whole = Peaks(eighth_frames=time, eighth_hz=np.full(400, 4_000, np.int32), hashed=np.ones(400, np.bool_), salience=random.random(400, np.float32))
    asked = [p for p in apart(passages) if p.track_no == 1]
    answer = [Reference(track_no=1, track_id="a", duration_s=10.0, peaks=whole.between(p.begin_frame, p.end_frame)) for p in asked]
    found = joined([answer[k] for k in random.permutation(len(answer))]) if answer else Constellation.none()
    kept = np.isin(np.floor(time / EIGHTHS), [frame for track_no, frame in frames(passages) if track_no == 1])
    assert np.array_equal(found.frame, time[kept] / EIGHTHS)
    assert np.array_equal(found.salience, whole.salience[kept])


def test_one_set_of_landmarks_that_is_too_common_takes_nothing_from_another() -> None:
    common = Landmarks(hash=np.arange(3, dtype=np.int32), frame=np.zeros(3))
    other = Landmarks(hash=np.arange(3, 5, dtype=np.int32), frame=np.zeros(2))
    asking = look_up([common, other], CatalogueSize(tracks=1, seconds=3_600.0, postings=0))
    assert isinstance(lookup := next(asking), Lookup)
    assert lookup.hashes.tolist() == [0, 1, 2, 3, 4]
    query = np.repeat(np.arange(5, dtype=np.int32), [COUNTED_MAX - 1, 2, 3, 1, 2])
    postings = Postings(query=query, track_no=np.ones(len(query), np.int32), frame=np.arange(len(query), dtype=np.int32))
    with pytest.raises(StopIteration) as answered:
        asking.send(postings)
    assert [sorted(set(some.query.tolist())) for some in answered.value.value] == [[1, 2], [0, 1]]


@given(st.integers(0, 2**32 - 1), st.integers(5, 200), st.integers(0, 60))
def test_the_best_of_eight_is_the_best_of_each(seed: int, chance: int, together: int) -> None:
    """However few of them are worked out in full."""
    random = np.random.default_rng(seed)
    count = chance + together
    query, reference = random.integers(0, 150, count), random.integers(0, 150, count)
    off = np.concatenate([random.uniform(-46, 46, chance), random.normal(0, 0.3, together)])
    miss = np.abs(np.concatenate([random.uniform(-1, 1, chance), random.normal(0, 0.2, together).clip(-1, 1)]))
    narrow, wide = histograms.coincidences(query, reference, off, miss)
    each = histograms.nats_by_width(narrow, histograms.NARROW) + histograms.nats_by_width(wide, histograms.WIDE)
    assert histograms.against_sidelobes(query, reference, off, miss) == max(0.0, *each)
