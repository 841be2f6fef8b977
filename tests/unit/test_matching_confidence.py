"""Nats to false alarms and back."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.matching.confidence import CHANCE, false_alarms_per_hour, threshold_nats
from earmark.model import CatalogueSize


def size(hours: float) -> CatalogueSize:
    return CatalogueSize(tracks=int(hours * 15), seconds=hours * 3_600, postings=0)


@given(st.floats(1e-9, 10), st.floats(0.01, 10_000))
def test_threshold_and_rate_are_inverse(rate: float, hours: float) -> None:
    assert false_alarms_per_hour(threshold_nats(rate, size(hours)), size(hours)) == pytest.approx(rate)


@given(st.floats(0, 200), st.floats(0.1, 50), st.floats(1, 5_000))
def test_more_evidence_is_rarer_and_more_recordings_are_more_chances(nats: float, more: float, hours: float) -> None:
    assert false_alarms_per_hour(nats + more, size(hours)) <= false_alarms_per_hour(nats, size(hours))
    assert false_alarms_per_hour(nats, size(2 * hours)) >= false_alarms_per_hour(nats, size(hours))


def test_the_figures_are_those_that_were_fitted() -> None:
    fitted = size(CHANCE.catalogue_s / 3_600)
    assert false_alarms_per_hour(CHANCE.from_nats, fitted) == pytest.approx(CHANCE.lines_per_hour)
    assert false_alarms_per_hour(CHANCE.from_nats + 1 / CHANCE.per_nat, fitted) == pytest.approx(CHANCE.lines_per_hour / math.e)


def test_a_larger_catalogue_gives_more_by_a_power_of_its_size() -> None:
    chance = replace(CHANCE, growth=0.5)
    small, large = size(10), size(1_000)
    assert false_alarms_per_hour(20, large, chance) == pytest.approx(10 * false_alarms_per_hour(20, small, chance))


def test_no_catalogue_is_small_enough_to_be_safe_nor_is_any_line_heard_more_than_once_a_step() -> None:
    assert false_alarms_per_hour(20, size(0)) == false_alarms_per_hour(20, size(CHANCE.catalogue_s_least / 3_600)) > 0
    assert false_alarms_per_hour(-100, size(1)) == CHANCE.lines_per_hour_most
