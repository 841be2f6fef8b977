"""A rule that asks for a length is met while the play goes on, when there is still something to be done about it."""

import pytest

from action_stage import Stage
from earmark.actions import composing
from earmark.actions.wanted import carried_out
from earmark.hits.reconsidering import Moments, Reconsidering, reconsidering
from earmark.hits.rights import by_owner
from earmark.local.aws import AwsStandIn
from earmark.policies.deciding import Deciding
from earmark.policies.document import parse
from earmark.policies.file import moments
from earmark.postgres import Pool
from hits_samples import checkpoint, explanation

POLICY = """
version = 1
[[rule]]
id = "half-a-minute"
action = "block"
[rule.when]
played_s = { min = 30 }
[[rule]]
id = "a-third-of-it"
action = "warn"
when = { played_share = { min = 0.1 }, matched_s = { max = 200 } }
"""
DECIDE = Deciding(parse(POLICY.encode(), name="policy.toml"))


@pytest.fixture
def stage(pool: Pool, aws: AwsStandIn) -> Stage:
    stage = Stage(pool, aws, stop_stream={"mode": "on"})
    decide = carried_out(DECIDE, composing.offers(stage.settings))
    stage.recorder = reconsidering(stage.ledger(decide=decide), moments(DECIDE), pool=pool)  # type: ignore[assignment]
    return stage


def written(stage: Stage) -> tuple[int, str, str | None]:
    hit = stage.hit()
    return hit["revision"], hit["policy"]["action"], hit["policy"]["rule_id"]


def note(stage: Stage, length_s: float) -> None:
    """The play goes on unchanged, as far as its session is concerned."""
    stage.recorder.note(checkpoint(101.0 + length_s, plays=(stage.play(length_s=length_s),)))


def test_what_rules_ask_of_plays_that_go_on() -> None:
    assert moments(DECIDE) == Moments(played_s=(30.0,), played_share=(0.1,))
    assert moments(by_owner) == Moments()


def test_without_a_length_there_is_nothing_to_look_at(stage: Stage) -> None:
    ledger = stage.ledger()
    assert reconsidering(ledger, Moments(), pool=stage.pool) is ledger


def test_a_play_is_decided_about_anew_when_it_has_lasted(stage: Stage) -> None:
    assert isinstance(stage.recorder, Reconsidering)
    stage.heard(stage.play(), until_s=112.0)
    assert written(stage) == (1, "track", None)
    note(stage, 20.0)
    assert written(stage) == (1, "track", None)
    note(stage, 31.0)
    assert written(stage) == (2, "block", "half-a-minute")
    assert stage.hit()["query"]["end_s"] == 131.0
    assert stage.told() == [("ivs_stop", None, "waiting", "the stream is stopped at once")]
    note(stage, 33.0)
    assert stage.hit()["revision"] == 2  # told once
    (item,) = stage.waiting("ivs_stop")
    assert stage.sinks()["ivs_stop"].send(item) == "stored"
    stage.heard(stage.play("closed", revision=2, length_s=35.0), until_s=140.0, ended=True)
    assert written(stage) == (4, "block", "half-a-minute")
    assert stage.told()[0][2] == "done"


def test_the_next_owner_looks_at_once_and_a_commit_that_fails_leaves_no_hole(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    stage.execute("update play set told_besides = 1")  # room was made, and whoever made it died
    note(stage, 31.0)
    assert written(stage)[1:] == ("block", "half-a-minute")
    revision = stage.hit()["revision"]
    stage.heard(stage.play("closed", revision=2, length_s=35.0), until_s=140.0)
    assert stage.hit()["revision"] > revision


def test_what_proves_a_play_stays_as_its_session_told_it(stage: Stage) -> None:
    stage.heard(stage.play(explanation=explanation(88.0)), until_s=112.0)
    before = stage.hit()["evidence"]
    assert before
    stage.recorder.note(checkpoint(132.0, plays=(stage.play(length_s=31.0, explanation=explanation(99.0)),)))
    assert stage.hit()["revision"] == 2
    assert stage.hit()["evidence"] == before
