"""Music minus plays: what is left, what is too short, what is too many."""

from hypothesis import given
from hypothesis import strategies as st

from earmark.hits.unidentified import BEYOND_S_MIN, BLUR_S, LISTED_MAX, UNIDENTIFIED_S_MIN, identified_s, unidentified
from earmark.model import Music, Stretch


def spans(*pairs):
    return tuple(Stretch(begin_s=begin_s, end_s=end_s) for begin_s, end_s in pairs)


def music(*pairs, heard_s=None, dropped=0):
    return Music(stretches=spans(*pairs), heard_s=sum(e - b for b, e in pairs) if heard_s is None else heard_s, dropped=dropped)


def left(music, *plays):
    return [(stretch.begin_s, stretch.end_s) for stretch in unidentified(music, spans(*plays)).stretches]


def test_music_without_plays_is_unidentified():
    assert left(music((0, 30), (100, 200))) == [(0, 30), (100, 200)]


def test_plays_are_cut_out():
    assert left(music((0, 300)), (100, 200)) == [(0, 100), (200, 300)]


def test_what_may_be_the_estimates_blur_beside_a_play_is_not_asked_about():
    assert left(music((96, 204)), (100, 200)) == []
    assert left(music((0, 300)), (0, 100), (114, 300)) == [(100, 114)]
    assert left(music((0, 300)), (0, 100), (100 + 2 * BLUR_S + BEYOND_S_MIN - 0.1, 300)) == []


def test_plays_that_overlap_or_touch_are_one():
    assert left(music((0, 300)), (150, 250), (100, 200), (120, 130)) == [(0, 100), (250, 300)]


def test_what_is_shorter_than_ten_seconds_is_not_asked_about():
    assert left(music((0, 9.9), (50, 60)), (200, 300)) == [(50, 60)]
    assert unidentified(music((0, 9.9)), ()).left_out == 0


def test_of_too_many_the_longest_are_listed_and_the_rest_counted():
    many = music(*((100 * n, 100 * n + 10 + n % 50) for n in range(LISTED_MAX + 30)), dropped=7)
    found = unidentified(many, ())
    assert len(found.stretches) == LISTED_MAX
    assert found.left_out == 37
    assert list(found.stretches) == sorted(found.stretches, key=lambda stretch: stretch.begin_s)
    assert max(s.end_s - s.begin_s for s in many.stretches if s not in found.stretches) <= min(s.end_s - s.begin_s for s in found.stretches)


def test_identified_seconds_are_those_with_a_play():
    assert identified_s(music((0, 100), (200, 300)), spans((50, 250), (60, 70))) == 100
    assert identified_s(music((0, 100), heard_s=80), spans((0, 100))) == 80
    assert identified_s(music(), spans((0, 100))) == 0


SPANS = st.lists(st.tuples(st.integers(0, 2_000), st.integers(1, 200)), max_size=12)


@given(SPANS, SPANS)
def test_what_is_left_is_music_and_no_play(stretches, plays):
    disjoint, here = [], 0
    for begin, length in sorted(stretches):
        if begin >= here:
            disjoint.append((begin, begin + length))
            here = begin + length + 1
    told = [(begin, begin + length) for begin, length in plays]

    found = left(music(*disjoint), *told)

    seconds = {second for begin, end in disjoint for second in range(begin, end)}
    known = {second for begin, end in told for second in range(begin, end)}
    rest = {int(second) for begin, end in found for second in range(int(begin), int(end))}
    assert rest <= seconds - known
    assert all(end - begin >= UNIDENTIFIED_S_MIN for begin, end in found)
    assert identified_s(music(*disjoint), spans(*told)) == len(seconds & {s for b, e in told for s in range(b, e)})
