"""Two recordings laid over one another: what pieces make of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.matching.overlaps import Piece, overlap
from earmark.matching.verification import Constellation
from earmark.model import FRAMES_PER_S


def sound(*spans_s: tuple[float, float]) -> Constellation:
    """Peaks every tenth of a second, with silence between the spans."""
    frame = np.concatenate([np.arange(begin, end, 0.1) for begin, end in spans_s]) * FRAMES_PER_S
    return Constellation(frame, np.full(len(frame), 9.0), np.zeros(len(frame), np.float32))


def piece(begin_s: float, end_s: float, other_s: float, *, speed: float = 1.0, density: float = 0.6) -> Piece:
    begin, end, other = (seconds * FRAMES_PER_S for seconds in (begin_s, end_s, other_s))
    return Piece(begin=begin, end=end, other_begin=other, other_end=other + speed * (end - begin), density=density)


def test_nothing_in_common_is_no_overlap() -> None:
    assert overlap(sound((0, 100)), sound((0, 100)), []) is None


def test_the_whole_of_either_is_the_same() -> None:
    laid = overlap(sound((0, 100)), sound((0, 102)), [piece(0.5, 99, 0.5, speed=1.02)])
    assert laid is not None
    assert (laid.kind, laid.speed) == ("same", pytest.approx(1.02))
    assert laid.share == pytest.approx(0.985, abs=0.01)
    assert laid.rest_s < 1.1
    assert not laid.whole  # at another speed it finds what the other does not
    assert laid.spans[0].other_end_s == pytest.approx(0.5 + 98.5 * 1.02, abs=0.02)


def test_a_few_seconds_cut_off_is_the_same_and_all_of_it_is_in_the_longer() -> None:
    laid = overlap(sound((0, 95)), sound((0, 100)), [piece(0, 95, 5)])
    assert laid is not None
    assert (laid.kind, laid.whole, laid.turned().whole) == ("same", True, False)
    assert laid.other_rest_s == pytest.approx(5, abs=0.2)
    assert laid.turned().turned() == laid


def test_an_excerpt_is_most_of_the_shorter() -> None:
    for one, other, pieces in (
        (sound((0, 60)), sound((0, 240)), [piece(0, 60, 90)]),
        (sound((0, 240)), sound((0, 60)), [piece(90, 150, 0)]),
    ):
        laid = overlap(one, other, pieces)
        assert laid is not None
        assert laid.kind == "excerpt"


def test_a_shared_passage_is_neither_whatever_its_length() -> None:
    laid = overlap(sound((0, 100)), sound((0, 100)), [piece(10, 50, 30)])
    assert laid is not None
    assert (laid.kind, laid.share) == ("passage", pytest.approx(0.4, abs=0.01))
    under_other_music = overlap(sound((0, 100)), sound((0, 100)), [piece(0, 100, 0, density=0.15)])
    assert under_other_music is not None
    assert under_other_music.kind == "passage"


def test_a_bar_that_comes_again_and_again_does_not_make_a_loop_an_excerpt_of_what_quotes_it_once() -> None:
    """Every bar of the loop is that bar of the other; in order there is but one."""
    bars = [piece(4 * n, 4 * n + 4, 50) for n in range(20)]
    laid = overlap(sound((0, 80)), sound((0, 240)), bars)
    assert laid is not None
    assert laid.kind == "passage"
    assert laid.overlap_s == pytest.approx(4, abs=0.1)


def test_a_loop_of_itself_is_laid_from_its_beginning_to_its_end() -> None:
    """A bar on each bar, and each on itself: the diagonal is longest."""
    whole = [piece(0, 80, 0), *(piece(0, 80 - 4 * n, 4 * n) for n in range(1, 15)), *(piece(4 * n, 80, 0) for n in range(1, 15))]
    laid = overlap(sound((0, 80)), sound((0, 80)), whole)
    assert laid is not None
    assert (laid.kind, laid.whole, len(laid.spans)) == ("same", True, 1)


def test_silence_counts_for_nothing() -> None:
    padded = sound((30, 90))
    laid = overlap(padded, sound((0, 60)), [piece(30, 90, 0)])
    assert laid is not None
    assert (laid.kind, laid.share, laid.whole) == ("same", pytest.approx(1, abs=0.01), True)


def test_what_was_cut_out_in_the_middle_is_said() -> None:
    laid = overlap(sound((0, 80)), sound((0, 100)), [piece(0, 40, 0), piece(40, 80, 60)])
    assert laid is not None
    assert laid.kind == "same"
    assert [(s.begin_s, s.other_begin_s) for s in laid.spans] == [(0, 0), (40, 60)]
    assert laid.other_rest_s == pytest.approx(20, abs=0.3)


def test_a_line_that_is_lost_for_a_moment_is_one() -> None:
    laid = overlap(sound((0, 100)), sound((0, 100)), [piece(0, 50, 0), piece(52, 100, 52)])
    assert laid is not None
    assert len(laid.spans) == 1
    assert laid.share == pytest.approx(1, abs=0.01)


pieces = st.builds(
    lambda begin, length, other, density: piece(begin, begin + length, other, density=density),
    st.floats(0, 90),
    st.floats(3, 40),
    st.floats(0, 90),
    st.sampled_from([0.1, 0.3, 0.9]),
)


@given(st.lists(pieces, max_size=12))
def test_from_either_side_it_is_the_same(found: list[Piece]) -> None:
    one, other = sound((0, 130)), sound((0, 130))
    laid, turned = overlap(one, other, found), overlap(other, one, [p.turned() for p in found])
    assert (laid is None) == (turned is None)
    if laid is not None and turned is not None:
        assert laid.kind == turned.kind
        assert laid.share == pytest.approx(turned.other_share, abs=0.02)
        assert 0 <= laid.share <= 1
        assert 0 <= laid.rest_s <= 130


@given(st.lists(pieces, min_size=1, max_size=12))
def test_spans_go_forward_in_both_and_do_not_overlap(found: list[Piece]) -> None:
    laid = overlap(sound((0, 130)), sound((0, 130)), found)
    assert laid is not None
    for before, after in zip(laid.spans, laid.spans[1:], strict=False):
        assert before.end_s <= after.begin_s + 0.02
        assert before.other_end_s <= after.other_begin_s + 0.02
    assert all(s.begin_s < s.end_s and s.other_begin_s < s.other_end_s for s in laid.spans)
