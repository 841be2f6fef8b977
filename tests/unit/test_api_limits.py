"""How often somebody may ask."""

from hypothesis import given
from hypothesis import strategies as st

from earmark.api.limits import Buckets, neighbourhood


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_half_a_minutes_worth_may_come_at_once_and_then_it_is_told_how_long_to_wait():
    clock = Clock()
    buckets = Buckets(per_minute=60, clock=clock)
    assert [buckets.take("a") for _ in range(30)] == [0] * 30
    assert buckets.take("a") == 1.0
    assert buckets.take("b") == 0
    clock.now += 1
    assert buckets.take("a") == 0


def test_who_waits_as_long_as_is_said_may_ask():
    clock = Clock()
    buckets = Buckets(per_minute=7, clock=clock)
    for _ in range(50):
        if wait_s := buckets.take("a"):
            clock.now += wait_s + 1e-9
            assert buckets.take("a") == 0


@given(st.integers(1, 1_000), st.lists(st.floats(0, 30), min_size=1, max_size=200))
def test_however_somebody_asks_it_is_never_more_than_was_allowed(per_minute: int, pauses_s: list[float]):
    clock = Clock()
    buckets, taken, began = Buckets(per_minute=per_minute, clock=clock), 0, clock.now
    for pause_s in pauses_s:
        clock.now += pause_s
        taken += buckets.take("a") == 0
        assert taken <= max(1, per_minute / 2) + per_minute * (clock.now - began) / 60 + 1e-6


def test_only_so_many_names_are_remembered_and_the_oldest_goes_first():
    buckets = Buckets(per_minute=2, names_max=3, clock=Clock())
    assert [buckets.take(name) > 0 for name in "aabcd"] == [False, True, False, False, False]
    assert len(buckets._left) == 3
    assert buckets.take("a") == 0


def test_a_network_of_one_customer_counts_as_one():
    assert neighbourhood("192.0.2.7") == "192.0.2.7"
    assert neighbourhood("2001:db8:1:2:3:4:5:6") == neighbourhood("2001:db8:1:2::1") == "2001:db8:1:2::"
    assert neighbourhood("2001:db8:1:3::1") != neighbourhood("2001:db8:1:2::1")
    assert neighbourhood("::ffff:192.0.2.7") == "192.0.2.7"
    assert neighbourhood("' or 1=1") == "unknown"
