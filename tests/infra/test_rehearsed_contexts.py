"""What `make rehearse` synthesises is all that can be said, in pairs: no value is forgotten there, and none is beside another one nowhere."""

from dataclasses import fields

import stack_synthesis  # first: it skips this module where CDK is not installed
from context import Context
from rehearsal.contexts import ALONG, IN_PLACES, OTHERWISE, PLACES, VALUES, complaints, context_of
from rehearsal.pairs import all_pairs, covering, pairs_of

assert stack_synthesis


def test_every_context_value_is_rehearsed_both_ways() -> None:
    assert {one.name for one in fields(Context)} == {*OTHERWISE, *IN_PLACES, *(name for along in ALONG.values() for name in along)}
    usual = Context()
    for name, value in OTHERWISE.items():
        said = {name: value, **ALONG.get(name, {})}
        assert all(getattr(Context.read(said), one) != getattr(usual, one) for one in said)
    assert {name for said in PLACES.values() for name in said if ":" not in name} == IN_PLACES


def test_each_pair_of_values_is_together_in_one_of_few_contexts() -> None:
    rows = covering(VALUES)
    assert set().union(*map(pairs_of, rows)) == all_pairs(VALUES)
    # No fewer could do: each place beside both values of another.
    assert 2 * len(PLACES) <= len(rows) <= 4 * len(PLACES)
    for row in rows:
        Context.read(context_of(row))


def test_a_template_that_is_of_another_context_is_complained_of() -> None:
    row = {**dict.fromkeys(VALUES, ""), "place": "of its own"}
    assert "a VPC is 0, not 1" in complaints(row, {})
