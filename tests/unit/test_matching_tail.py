"""What is counted of chance, and what follows from it for the threshold."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.matching.confidence import CHANCE, ChanceModel, false_alarms_per_hour, threshold_nats
from earmark.matching.tail import EVENTS_LEAST, TAIL_NATS, Tail
from earmark.model import CatalogueSize

SIZE = CatalogueSize(tracks=600, seconds=40 * 3_600.0, postings=0)
RATE = 1e-4


def counted(seed: int, hours: float, model: ChanceModel = CHANCE) -> Tail:
    """So many hours in which chance does what a model says, from 8 nats up."""
    random = np.random.default_rng(seed)
    events = random.poisson(hours * false_alarms_per_hour(8.0, SIZE, model))
    tail = Tail()
    tail.add((8.0 + random.exponential(1 / model.per_nat, events)).tolist(), seconds=hours * 3_600)
    return tail


def test_a_sound_model_agrees_within_the_error_that_is_told() -> None:
    """Of forty runs of 60 hours, all but one at most; and all are right within a factor of fifteen."""
    threshold = threshold_nats(RATE, SIZE)
    found = [one for seed in range(40) if (one := counted(seed, 60).at(threshold))]
    assert len(found) == 40
    assert sum(one.least <= RATE <= one.most for one in found) >= 39
    assert all(RATE / 15 < one.per_hour < RATE * 15 for one in found)


@pytest.mark.parametrize("wrong", [100.0, 0.01])
def test_a_model_that_is_wrong_by_a_factor_of_a_hundred_shows(wrong: float) -> None:
    """The daemon believes that chance is so many times as rare, or as frequent, as it is: its threshold is off by six nats."""
    believed = replace(CHANCE, lines_per_hour=CHANCE.lines_per_hour / wrong)
    threshold = threshold_nats(RATE, SIZE, believed)
    assert abs(threshold - threshold_nats(RATE, SIZE)) > 6
    for seed in range(20):
        found = counted(seed, 120).at(threshold)
        assert found is not None
        assert not found.least <= RATE <= found.most
        assert (found.least > RATE) == (wrong > 1)
        assert 1 / 15 < found.per_hour / (RATE * wrong) < 15


def test_with_few_events_nothing_is_said() -> None:
    tail = Tail()
    tail.add([TAIL_NATS + 1.0] * (EVENTS_LEAST - 1), seconds=3_600)
    assert tail.at(28.0) is None
    tail.add([TAIL_NATS + 1.0], seconds=3_600)
    assert tail.at(28.0) is not None


def test_what_lies_below_the_tail_changes_nothing_but_the_hours() -> None:
    tail = Tail()
    assert tail.add([8.1, 9.0, 11.9, 13.5, 12.5], seconds=1_800) == pytest.approx(2.0)
    assert (tail.events, tail.hours) == (2, 0.5)


def test_the_error_shrinks_as_more_is_heard() -> None:
    wide, narrow = (counted(3, hours).at(28.0) for hours in (30, 600))
    assert wide is not None
    assert narrow is not None
    assert wide.most / wide.least > 5 * narrow.most / narrow.least


def test_sound_that_is_alike_both_ways_counts_as_thirty_nats_and_no_more() -> None:
    """A test tone that beeps at the same times forwards and backwards is no chance, and one of it is not to hide the rest."""
    tail = Tail()
    assert tail.add([700.0], seconds=3_600) == 18.0


@given(st.lists(st.floats(0, 2_000), max_size=300), st.floats(0, 1e7), st.floats(-50, 500))
def test_whatever_is_counted_there_is_a_figure_or_none(evidence: list[float], seconds: float, nats: float) -> None:
    tail = Tail()
    tail.add(evidence, seconds=seconds)
    found = tail.at(nats)
    assert found is None or 0 <= found.least <= found.per_hour <= found.most < float("inf")
