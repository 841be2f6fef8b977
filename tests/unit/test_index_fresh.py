"""The newest recordings' postings in memory, against the plainest way to keep them: a list."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.index import fresh
from earmark.index.fresh import Fresh
from earmark.model import Int32

Doc = tuple[int, Int32, Int32]
Posting = tuple[int, int, int]
#: Few hashes: most are in several docs, and several times in one.
postings = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 50)), max_size=8)
asked_for = st.lists(st.integers(0, 15), unique=True, max_size=10).map(lambda hashes: np.array(sorted(hashes), np.int32))


def doc(doc_id: int, of_doc: list[tuple[int, int]]) -> Doc:
    columns = np.array(sorted(of_doc), np.int32).reshape(-1, 2)
    return doc_id, columns[:, 0], columns[:, 1]


def found(kept: Fresh, asked: Int32) -> list[Posting]:
    parts = kept.find(asked)
    assert {column.dtype for part in parts for column in part} <= {np.dtype(np.int32)}
    rows = [zip(np.repeat(asked, count).tolist(), doc_id.tolist(), frame.tolist(), strict=True) for count, doc_id, frame in parts]
    return sorted(itertools.chain.from_iterable(rows))


def kept_by_list(docs: dict[int, list[tuple[int, int]]], asked: Int32) -> list[Posting]:
    return sorted((hash_, doc_id, frame) for doc_id, of_doc in docs.items() for hash_, frame in of_doc if hash_ in asked)


def filled(docs: int, each: int) -> Fresh:
    kept = Fresh()
    for doc_id in range(docs):
        kept = kept.adding([doc(doc_id, [(hash_, doc_id) for hash_ in range(each)])])
    return kept


@given(st.lists(st.one_of(st.lists(postings, max_size=3), st.sets(st.integers(0, 12), max_size=4)), max_size=8), asked_for)
def test_whatever_is_added_and_dropped_each_posting_is_found_once(steps: list[list[list[tuple[int, int]]] | set[int]], asked: Int32) -> None:
    """A list of docs is added, a set of numbers is dropped."""
    kept, plain, numbers = Fresh(), {}, itertools.count()
    for step in steps:
        if isinstance(step, set):
            kept = kept.without(sorted(step))
            plain = {doc_id: of_doc for doc_id, of_doc in plain.items() if doc_id not in step}
        else:
            added = [(next(numbers), of_doc) for of_doc in step]
            kept = kept.adding(doc(*each) for each in added)
            plain |= dict(added)
        assert found(kept, asked) == kept_by_list(plain, asked)
        assert len(kept) == sum(map(len, plain.values()))
        assert all(np.all(np.diff(segment.hash) >= 0) for segment in kept.segments)


def test_there_is_nothing_in_nothing() -> None:
    asked = np.arange(5, dtype=np.int32)
    for nothing in (Fresh(), Fresh().adding([]), Fresh().without([1]), filled(3, 4).without([0, 1, 2])):
        assert len(nothing) == 0
        assert found(nothing, asked) == []
    assert found(filled(3, 4), np.zeros(0, np.int32)) == []


def test_who_holds_the_old_one_keeps_it_whole() -> None:
    asked = np.arange(6, dtype=np.int32)
    before = filled(5, 6)
    was = found(before, asked)
    after = before.without([1, 3]).adding([doc(9, [(2, 7)])])
    assert found(before, asked) == was
    assert found(after, asked) == sorted([posting for posting in was if posting[1] not in (1, 3)] + [(2, 9, 7)])


def test_a_doc_that_was_dropped_may_come_again() -> None:
    again = filled(3, 4).without([1]).adding([doc(1, [(2, 1)])])
    assert found(again, np.array([2], np.int32)) == [(2, 0, 0), (2, 1, 1), (2, 2, 2)]


@pytest.mark.parametrize("each", [1, 20])
def test_segments_are_a_handful_however_many_are_added(each: int) -> None:
    """Each is more than so many times as large as the next: there are no more of them than the logarithm of all additions, and one."""
    kept, most = Fresh(), 0
    for doc_id in range(1_000):
        kept = kept.adding([doc(doc_id, [(hash_, 0) for hash_ in range(each)])])
        sizes = [len(segment.hash) for segment in kept.segments]
        assert all(large > fresh._RATIO * small for large, small in itertools.pairwise(sizes))
        most = max(most, len(sizes))
    assert len(kept) == 1_000 * each
    assert 1 < most <= 1 + math.log(1_000, fresh._RATIO)


def test_what_is_added_to_much_leaves_the_much_alone() -> None:
    """A new recording costs its own size, not that of all that is held."""
    large = Fresh().adding([doc(1, [(hash_ % 50, hash_) for hash_ in range(2_000)])])
    assert large.adding([doc(2, [(3, 3)])]).segments[0] is large.segments[0]
    assert large.without([7]).segments[0] is large.segments[0]
