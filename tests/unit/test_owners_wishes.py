"""What an owner says about a recording becomes a play's policy, while it holds."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from earmark.hits.rights import Circumstances, Policy, by_owner
from earmark.model import Track
from hits_samples import STREAM, TRACK, hit, play, validator

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
HOLDS = replace(
    TRACK, policy="block", territories=("WW", "-US"), valid_from="2026-01-01T00:00:00Z", valid_to="2027-01-01T00:00:00Z", tags=("cleared for news",)
)


def decide(track: Track, at: datetime) -> Policy:
    return by_owner(track, Circumstances.of(STREAM, play(), at))


def test_nothing_said_is_on_record_only() -> None:
    assert decide(TRACK, NEW_YEAR).action == "track"


@pytest.mark.parametrize("policy", ["track", "allow", "warn", "block"])
def test_what_the_owner_says_is_what_is_told_and_nothing_is_done(policy: str) -> None:
    decided = decide(replace(HOLDS, policy=policy), NEW_YEAR)
    assert (decided.action, decided.dry_run) == (policy, True)
    assert decided.reason == f"Paper Boat Rights Ltd says {policy} in WW, -US"


@pytest.mark.parametrize(
    "at, action, says",
    [
        (NEW_YEAR - timedelta(seconds=1), "track", "says block from 2026-01-01T00:00:00Z on, and this is before"),
        (NEW_YEAR, "block", "says block"),
        (datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "block", "says block"),
        (datetime(2027, 1, 1, tzinfo=UTC), "track", "said block until 2027-01-01T00:00:00Z, and this is after"),
        (datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), "track", "and this is before"),
    ],
)
def test_a_wish_holds_from_its_first_moment_until_its_last(at: datetime, action: str, says: str) -> None:
    decided = decide(HOLDS, at)
    assert decided.action == action and says in decided.reason


def test_a_word_that_nobody_knows_is_no_policy() -> None:
    assert decide(replace(HOLDS, policy="explode"), NEW_YEAR).action == "track"


def test_the_hit_tells_all_of_it() -> None:
    told = hit(track=HOLDS)
    validator("hit").validate(told)
    assert {name: told["track"][name] for name in ("policy", "territories", "valid_from", "valid_to", "tags")} == {
        "policy": "block",
        "territories": ["WW", "-US"],
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_to": "2027-01-01T00:00:00Z",
        "tags": ["cleared for news"],
    }
