"""The settings of actions: off by default, and what makes no sense is told in a sentence."""

import json
from pathlib import Path
from typing import get_args

import pytest

import hits_samples as samples
from earmark.actions import composing
from earmark.actions.wanted import ActionKind
from earmark.cli import main
from earmark.errors import BadSettings
from earmark.hits.audit import ActionState
from earmark.hits.outgoing import Target
from earmark.hits.rights import Action
from earmark.settings import Settings, load
from earmark.settings.actions import Said
from earmark.telemetry import action_metrics, delay_metrics


def test_words_that_rooms_below_have_to_repeat_are_the_same():
    assert set(get_args(Said)) == set(get_args(Action))
    assert set(delay_metrics.TARGETS) == set(get_args(Target))
    assert set(action_metrics.ACTIONS) == set(get_args(ActionKind)) < set(get_args(Target))
    assert set(action_metrics.RESULTS) == set(get_args(ActionState)) - {"waiting"}


def test_nothing_is_done_unless_somebody_says_so():
    assert composing.offers(Settings()) == ()


def test_what_is_on_is_offered_as_the_settings_have_it():
    environ = {
        "EARMARK_STOP_STREAM__MODE": "dry_run",
        "EARMARK_STOP_STREAM__ON": "block,takedown",
        "EARMARK_STOP_STREAM__GRACE_S": "30",
        "EARMARK_NOW_PLAYING__MODE": "on",
        "EARMARK_EVENTBRIDGE__MODE": "on",
        "EARMARK_EVENTBRIDGE__STATES": "closed",
    }
    stop, show, bus = composing.offers(load(environ=environ).settings)
    assert (stop.kind, stop.dry_run, stop.on, stop.grace_s) == ("ivs_stop", True, {"block", "takedown"}, 30.0)
    assert (show.kind, show.dry_run, show.states) == ("ivs_metadata", False, ("open", "closed"))
    assert show.fits("track") and show.fits("no_claim")
    assert (bus.kind, bus.states) == ("eventbridge", ("closed",))


def test_a_policy_is_tried_with_what_would_be_done_about_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hit, policy = tmp_path / "hit.json", tmp_path / "policy.toml"
    hit.write_text(json.dumps(samples.hit()), encoding="utf-8")
    policy.write_text('version = 1\n[[rule]]\nid = "no"\naction = "block"\ngrace_s = 20\n', encoding="utf-8")
    monkeypatch.setenv("EARMARK_STOP_STREAM__MODE", "dry_run")
    assert main(["policy", "test", str(hit), "--file", str(policy)]) == 0
    assert "ivs_stop: dry run: the stream would be stopped if it still plays at 2:00 of the stream, 20 s after its begin" in capsys.readouterr().out
    monkeypatch.setenv("EARMARK_STOP_STREAM__MODE", "on")
    assert main(["policy", "test", str(hit), "--file", str(policy), "--json"]) == 0
    tried = json.loads(capsys.readouterr().out)
    assert (tried["policy"]["dry_run"], [action["state"] for action in tried["actions"]]) == (False, ["waiting"])


@pytest.mark.parametrize(
    "name, value, says",
    [
        (
            "STOP_STREAM__ON",
            "track",
            "the setting stop_stream.on.0 (set by EARMARK_STOP_STREAM__ON) is wrong: input should be 'block' or 'takedown', not 'track'",
        ),
        ("STOP_STREAM__ON", "", "it names nothing of which it would be done, where mode switches it off"),
        ("STOP_STREAM__MODE", "maybe", "input should be 'off', 'dry_run' or 'on', not 'maybe'"),
        ("STOP_STREAM__PER_HOUR_MAX", "0", "greater than or equal to 1"),
        ("STOP_STREAM__GRACE_S", "-1", "greater than or equal to 0"),
        ("NOW_PLAYING__ON", "blok", "not 'blok'"),
        ("NOW_PLAYING__TITLE", "x", "there is no setting now_playing.title"),
    ],
)
def test_what_makes_no_sense_is_told(name, value, says):
    with pytest.raises(BadSettings) as bad:
        load(environ={f"EARMARK_{name}": value})
    assert says in str(bad.value)
    assert "\n" not in str(bad.value)
