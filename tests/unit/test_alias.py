"""Where an alias's seconds are in the recording that it is told as."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.alias import Alias, Span
from earmark.matching.aliases import as_heard, as_told
from hits_samples import play

#: Ten seconds of its own, half a minute, five of its own, and a minute at another place.
LAID = Alias(
    track_id="alias",
    of_duration_s=120.0,
    speed=1.0,
    spans=(
        Span(begin_s=10.0, end_s=40.0, other_begin_s=0.0, other_end_s=30.0),
        Span(begin_s=45.0, end_s=105.0, other_begin_s=60.0, other_end_s=120.0),
    ),
)


@pytest.mark.parametrize(
    "own, other",
    [
        ((12.0, 30.0), (2.0, 20.0)),
        ((10.0, 105.0), (0.0, 120.0)),
        ((0.0, 30.0), (0.0, 20.0)),  # from where the two begin to agree
        ((39.0, 50.0), (29.0, 65.0)),
        ((42.0, 50.0), (31.0, 65.0)),
        ((104.5, 110.0), (119.5, 120.0)),
        ((9.5, 9.9), (0.0, 0.0)),  # where they begin to agree is known to a second
        ((0.0, 8.0), None),
        ((41.5, 43.5), None),
        ((107.0, 110.0), None),
    ],
)
def test_seconds_in_common_have_a_place_and_others_have_none(own: tuple[float, float], other: tuple[float, float] | None) -> None:
    assert LAID.placed(*own) == (None if other is None else pytest.approx(other))


def test_without_a_comparison_nothing_is_known() -> None:
    assert Alias(track_id="alias", of_duration_s=120.0).placed(0.0, 200.0) is None


@given(st.lists(st.floats(-5, 130), min_size=2, max_size=2).map(sorted))
def test_a_place_is_in_the_recording_and_ends_behind_its_beginning(own: list[float]) -> None:
    placed = LAID.placed(*own)
    assert placed is None or 0 <= placed[0] <= placed[1] <= LAID.of_duration_s


@given(st.floats(0, 100), st.floats(1, 60), st.sampled_from([LAID, Alias(track_id="alias", of_duration_s=9.0)]))
def test_what_is_told_can_be_taken_up_again(reference_s: float, length_s: float, alias: Alias) -> None:
    own = play(reference_begin_s=reference_s, reference_end_s=reference_s + length_s, reference_duration_s=110.0)
    told = as_told(own, alias)
    heard, again = as_heard(told)
    assert (heard.reference_begin_s, heard.reference_end_s, heard.reference_duration_s) == (own.reference_begin_s, own.reference_end_s, 110.0)
    assert (heard.speed, heard.pitch_cents) == (own.speed, own.pitch_cents)
    assert again is not None and again.track_id == "alias"
    if told.heard_as and told.heard_as.placed:
        assert again.placed(reference_s, reference_s + length_s) in (None, pytest.approx((told.reference_begin_s, told.reference_end_s), abs=1.1))
    else:
        assert again.placed(0.0, 1e6) is None


def test_one_that_is_no_alias_is_what_it_is() -> None:
    assert as_heard(play()) == (play(), None)
