"""A database that is away is found out by one question, and by one again now and then."""

import pytest

from earmark.errors import DatabaseUnavailable
from earmark.index.outage import _PROBED_S, _REFUSED_S, Outage

AWAY = "db.example does not answer"


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def refused(outage: Outage) -> bool:
    try:
        outage.check()
    except DatabaseUnavailable as error:
        return str(error) == AWAY
    return False


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage(clock=clock)


def test_nobody_is_refused_while_it_answers(outage: Outage) -> None:
    assert [refused(outage) for _ in range(3)] == [False] * 3


def test_after_a_failure_one_at_a_time_is_let_through(outage: Outage, clock: Clock) -> None:
    outage.failed(DatabaseUnavailable(AWAY), waited_s=10)
    assert refused(outage)
    for _ in range(3):
        clock.now_s += _REFUSED_S
        assert [refused(outage) for _ in range(3)] == [False, True, True]
        clock.now_s += 10  # as long as that takes to fail
        assert refused(outage)
        outage.failed(DatabaseUnavailable(AWAY), waited_s=10)


def test_one_that_never_comes_back_is_not_waited_for(outage: Outage, clock: Clock) -> None:
    outage.failed(DatabaseUnavailable(AWAY), waited_s=10)
    clock.now_s += _REFUSED_S
    assert [refused(outage) for _ in range(2)] == [False, True]
    clock.now_s += _PROBED_S
    assert [refused(outage) for _ in range(2)] == [False, True]


def test_a_failure_that_cost_no_wait_is_nobody_elses_business(outage: Outage) -> None:
    """A connection was broken: the next one may be sound."""
    outage.failed(DatabaseUnavailable(AWAY), waited_s=0.2)
    assert not refused(outage)


def test_an_answer_ends_it_for_all(outage: Outage, clock: Clock) -> None:
    outage.failed(DatabaseUnavailable(AWAY), waited_s=10)
    clock.now_s += _REFUSED_S
    assert not refused(outage)
    outage.over()
    assert [refused(outage) for _ in range(3)] == [False] * 3
