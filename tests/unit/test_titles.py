"""What was on air when, by the station's word."""

from hypothesis import given
from hypothesis import strategies as st

from earmark.titles import KEPT, Title, Titles


def _said(*titles: tuple[float, str]) -> Titles:
    told = Titles()
    for begin_s, text in titles:
        told.say(begin_s, text)
    return told


def test_a_play_has_the_title_that_was_on_air_for_most_of_it() -> None:
    told = _said((0, "News"), (100, "Ada Sample - Blue"), (280, "Advertisement"))
    assert told.during(95, 280) == "Ada Sample - Blue"  # titles come a few seconds late
    assert told.during(50, 60) == "News"
    assert told.during(270, 300) == "Advertisement"
    assert told.now == "Advertisement"


def test_a_title_that_comes_back_counts_for_all_of_its_time() -> None:
    told = _said((0, "Show"), (40, "Jingle"), (90, "Show"))
    assert told.during(0, 130) == "Show"


def test_where_nothing_was_said_there_is_no_title() -> None:
    assert Titles().during(0, 10) == ""
    told = _said((0, "Show"), (10, ""))
    assert (told.now, told.during(20, 30), told.during(8, 20)) == ("", "", "Show")
    assert told.during(5, 5) == ""


def test_what_is_said_twice_was_said_once_and_what_is_said_anew_of_a_moment_holds() -> None:
    told = _said((0, "One"), (5, "One"), (9, "Two"), (9, "Three"))
    assert told.newest(9) == [Title(0, "One"), Title(9, "Three")]


@given(st.lists(st.tuples(st.floats(0, 1e5), st.text(max_size=5)), max_size=200), st.floats(0, 1e5), st.floats(0, 1e5))
def test_titles_are_bounded_and_in_order_whatever_is_said(said: list[tuple[float, str]], one: float, other: float) -> None:
    told = _said(*said)
    kept = told.newest(1_000)
    assert len(kept) <= KEPT
    assert [title.begin_s for title in kept] == sorted({title.begin_s for title in kept})
    assert told.during(min(one, other), max(one, other)) in {"", *(text for _, text in said)}
