"""When playlists are read: soon after each segment, no more often than one a segment, and never in a hurry."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, cycle, islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.pace import Pace

LISTED = 6


@dataclass(frozen=True)
class Reading:
    at: float
    #: Of each segment that is new: how long ago it appeared.
    ages: list[float]


def readings(
    lengths: list[float], target_s: float, *, phase_s: float = 0.0, late_s: Callable[[int], float] = lambda _n: 0.0, of: int = 200, held_up_s: float = 0.0
) -> Iterator[Reading]:
    """Of a stream whose segments appear when they are complete, or later; the first answer comes `held_up_s` after it was asked for."""
    durations = list(islice(cycle(lengths), of + 40))
    complete = list(accumulate(durations, initial=phase_s))[1:]
    appeared = list(accumulate((at + late_s(n) for n, at in enumerate(complete)), max))
    pace, at, had = Pace(), complete[20] - held_up_s / 2, 0
    while had < of:
        answered, held_up_s = at + held_up_s, 0.0
        there = sum(when <= answered for when in appeared)
        new = list(range(had or max(0, there - LISTED), there))
        yield Reading(at, [answered - appeared[n] for n in new])
        listed, had = durations[max(0, there - LISTED) : there], there
        at = pace.next(at, new_s=sum(durations[n] for n in new), segment_s=sorted(listed)[len(listed) // 2], target_s=target_s)


@given(target_s=st.integers(1, 10), share=st.floats(0.8, 1), phase_s=st.floats(0, 10), jitter_s=st.floats(0, 0.1), random=st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_readings_come_soon_after_each_segment(target_s: int, share: float, phase_s: float, jitter_s: float, random) -> None:
    read = list(readings([share * target_s], target_s, phase_s=phase_s, late_s=lambda _n: random.uniform(0, jitter_s)))
    settled = read[20:]
    ages = [age for reading in settled for age in reading.ages]
    assert sum(ages) / len(ages) < 0.45
    assert len(settled) < 1.1 * len(ages)


@pytest.mark.parametrize("held_up_s", [0.1, 0.2, 0.25])
def test_a_first_answer_that_took_long_does_not_make_all_readings_come_just_before_a_segment(held_up_s: float) -> None:
    settled = list(readings([2.0], 2, held_up_s=held_up_s))[20:]
    assert max(age for reading in settled for age in reading.ages) < 0.45


@given(
    lengths=st.lists(st.floats(0.5, 6), min_size=1, max_size=5),
    late=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.2, 1.0, 7.0]), min_size=1, max_size=50),
    target_s=st.integers(1, 8),
)
def test_no_wait_is_shorter_than_three_quarters_of_the_target_after_a_change_and_half_of_it_after_none(lengths, late, target_s) -> None:
    read = list(readings(lengths, target_s, late_s=lambda n: late[n % len(late)]))
    for reading, following in pairwise(read):
        waited_s = following.at - reading.at
        assert waited_s >= (0.75 if reading.ages else 0.5) * target_s - 1e-6
        # Nor does anybody sleep over what comes.
        assert waited_s <= 2 * max(target_s, *lengths) + 1


@pytest.mark.parametrize("length_s, target_s", [(2.0, 6), (2.0, 1)], ids=["shorter", "longer"])
def test_segments_that_are_not_as_long_as_the_target_says_are_read_by_the_target(length_s: float, target_s: float) -> None:
    read = list(readings([length_s], target_s))
    assert {round(following.at - reading.at, 6) for reading, following in pairwise(read)} <= {target_s, target_s / 2}


def test_a_list_that_runs_faster_than_it_plays_is_read_by_the_target() -> None:
    pace, at = Pace(), 0.0
    waits = []
    for _ in range(10):
        following = pace.next(at, new_s=200.0, segment_s=2.0, target_s=2.0)
        waits.append(following - at)
        at = following
    assert waits[1:] == [2.0] * 9


def test_a_short_segment_now_and_then_changes_nothing() -> None:
    """The last one before an advertisement, or of an encoder that begins anew."""
    read = list(readings([*[2.005] * 30, 0.021], 2))
    assert all(age < 0.4 for reading in read[10:] for age in reading.ages)


def test_after_a_stall_the_moment_is_found_again() -> None:
    read = list(readings([2.0], 2, late_s=lambda n: 30.0 if n == 60 else 0.0))
    stalled = next(n for n, reading in enumerate(read) if len(reading.ages) > 10)
    assert all(age < 0.4 for reading in read[stalled - 10 : stalled - 5] for age in reading.ages)
    assert all(age < 0.4 for reading in read[stalled + 10 :] for age in reading.ages)


def test_who_forgets_goes_by_the_target_until_there_is_news() -> None:
    pace = Pace()
    assert pace.next(10.0, new_s=6.0, segment_s=2.0, target_s=2.0) == 13.0  # the middle of what is possible, two segments on
    pace.forget()
    assert pace.next(13.0, new_s=0.0, segment_s=2.0, target_s=2.0) == 14.0
    assert pace.next(14.0, new_s=4.0, segment_s=2.0, target_s=2.0) > 15.4
