"""Sharing, as a game of numbers: whoever comes and goes, everybody ends up with a part, and nothing is moved for nothing."""

import math

from hypothesis import given
from hypothesis import strategies as st

from earmark.control.fleet import MOVED_SHARE, PATIENCE_S, SLACK, SLACK_STREAMS, Others, claimable, part, surplus

COUNTS = st.integers(0, 2_000)


def others_of(sessions: list[int], me: int) -> Others:
    rest = sessions[:me] + sessions[me + 1 :]
    return Others(workers=len(rest), sessions=sum(rest), fewest=min(rest, default=0))


def settled(sessions: list[int], waiting: int, rounds: int = 2_000, batch: int = 10) -> tuple[list[int], int, int]:
    """Rounds of one worker after the other, each by what is true then; sessions, what still waits, and how much was moved."""
    sessions, moved = list(sessions), 0
    for _ in range(rounds):
        before = list(sessions), waiting
        for me, own in enumerate(sessions):
            others = others_of(sessions, me)
            gone = surplus(own, others, waiting)
            sessions[me] -= gone
            waiting += gone
            moved += gone
            taken = min(waiting, claimable(sessions[me], others, waiting=waiting, oldest_age_s=0, most=batch))
            sessions[me] += taken
            waiting -= taken
        if before == (sessions, waiting):
            break
    return sessions, waiting, moved


@given(st.lists(COUNTS, min_size=1, max_size=8), COUNTS)
def test_everything_is_taken_and_nobody_has_a_fifth_more_than_a_part(sessions: list[int], waiting: int) -> None:
    ended, left, _ = settled(sessions, waiting)
    assert left == 0
    assert sum(ended) == sum(sessions) + waiting
    fair = math.ceil(sum(ended) / len(ended))
    assert max(ended) <= fair * (1 + SLACK) + SLACK_STREAMS
    assert min(ended) >= fair * (1 - SLACK) - SLACK_STREAMS - 1


@given(st.integers(0, 200), st.integers(1, 8))
def test_what_is_shared_already_is_not_moved(each: int, workers: int) -> None:
    ended, _, moved = settled([each] * workers, 0)
    assert (ended, moved) == ([each] * workers, 0)


def test_a_worker_that_comes_gets_its_part_little_by_little() -> None:
    own, others = 400, Others(workers=1, sessions=0, fewest=0)
    assert surplus(own, others, 0) == int(400 * MOVED_SHARE)
    ended, _, moved = settled([400, 0], 0)
    assert moved <= 201
    assert min(ended) >= 175


def test_nothing_is_moved_while_streams_wait_or_nobody_would_take_it() -> None:
    assert surplus(100, Others(workers=1, sessions=0, fewest=0), waiting=1) == 0
    assert surplus(100, Others(), waiting=0) == 0
    assert surplus(100, Others(workers=2, sessions=200, fewest=100), waiting=0) == 0


def test_who_is_alone_takes_what_there_is_room_for() -> None:
    assert claimable(0, Others(), waiting=0, oldest_age_s=0, most=10) == 10


def test_what_waits_too_long_is_taken_by_whoever_has_room() -> None:
    others = Others(workers=7, sessions=0, fewest=0)
    assert claimable(50, others, waiting=1, oldest_age_s=0, most=10) == 0
    assert claimable(50, others, waiting=1, oldest_age_s=PATIENCE_S + 0.1, most=10) == 10
    assert claimable(50, others, waiting=1, oldest_age_s=PATIENCE_S + 0.1, most=0) == 0


@given(COUNTS, COUNTS, st.integers(0, 8), COUNTS, st.integers(0, 10))
def test_no_more_is_taken_than_there_is_room_for(own: int, sessions: int, workers: int, waiting: int, most: int) -> None:
    others = Others(workers=workers, sessions=sessions if workers else 0, fewest=0)
    assert 0 <= claimable(own, others, waiting=waiting, oldest_age_s=0, most=most) <= most
    assert 0 <= surplus(own, others, waiting) <= own
    assert part(own, others, waiting) * (1 + workers) >= own + others.sessions + waiting
