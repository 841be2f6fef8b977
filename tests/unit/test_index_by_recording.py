"""In which order recordings leave, and how many at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.index import by_recording
from earmark.index.by_recording import Order


def order(docs: list[int], postings: list[int]) -> Order:
    track_no = np.repeat(np.arange(len(docs), dtype=np.int32)[::-1] + 7, docs)
    n = len(track_no)
    return Order(
        doc_id=np.arange(n, dtype=np.int32), track_no=track_no, first_frame=np.zeros(n, np.int32), postings=np.array(postings[:n], np.int32).reshape(n)
    )


@given(st.lists(st.integers(1, 4), max_size=30), st.lists(st.integers(0, 300), min_size=120, max_size=120))
def test_portions_hold_whole_recordings_and_each_doc_once(docs: list[int], postings: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_recording, "PORTION_POSTINGS", 500)
        made = order(docs, postings)
        portions = made.portions()
    assert [n for portion in portions for n in range(portion.start, portion.stop)] == list(range(len(made.doc_id)))
    ends = [set(made.track_no[portion]) for portion in portions]
    assert sum(map(len, ends)) == len(docs)
    for portion in portions:
        assert made.postings[portion].sum() <= 500 + 4 * 300
        assert len(made.doc_id[portion]) <= 500 / 16 + 4
