"""Nats to false alarms and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.matching.confidence import candidates_per_hour, false_alarms_per_hour, threshold_nats
from earmark.model import CatalogueSize


def size(hours: float) -> CatalogueSize:
    return CatalogueSize(tracks=int(hours * 15), seconds=hours * 3_600, postings=0)


def test_the_default_rate_is_some_32_nats_in_the_catalogue_it_was_measured_with() -> None:
    assert threshold_nats(1e-4, CatalogueSize(tracks=836, seconds=79 * 3_600, postings=0)) == pytest.approx(32.4, abs=0.1)


@given(st.floats(1e-9, 10), st.floats(0.01, 10_000))
def test_threshold_and_rate_are_inverse(rate: float, hours: float) -> None:
    assert false_alarms_per_hour(threshold_nats(rate, size(hours)), size(hours)) == pytest.approx(rate)


@given(st.floats(0, 200), st.floats(0.1, 50), st.floats(1, 5_000))
def test_more_evidence_is_rarer_and_more_recordings_are_more_chances(nats: float, more: float, hours: float) -> None:
    assert false_alarms_per_hour(nats + more, size(hours)) <= false_alarms_per_hour(nats, size(hours))
    assert false_alarms_per_hour(nats, size(2 * hours)) >= false_alarms_per_hour(nats, size(hours))


def test_the_number_of_candidates_is_bounded_both_ways() -> None:
    assert candidates_per_hour(size(0.05)) == candidates_per_hour(size(79)) == 9_600
    assert candidates_per_hour(size(158)) == 19_200
    assert candidates_per_hour(size(1e6)) == 28_800
    assert false_alarms_per_hour(-100, size(1)) == 9_600
