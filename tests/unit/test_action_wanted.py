"""Which actions a hit asks for, when, and what takes them back."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hits_samples as samples
from earmark.actions.wanted import Change, Known, Offer, carried_out, changes, is_ivs
from earmark.hits.rights import Circumstances, Policy
from earmark.model import Stream

STOP = Offer(kind="ivs_stop", dry_run=False, on=frozenset({"block"}))
SHOW = Offer(kind="ivs_metadata", dry_run=False, on=frozenset({"block", "track"}), states=("open", "closed"))
POST = Offer(kind="webhook", dry_run=False, on=frozenset({"block"}), states=("open", "closed"))
BUS = Offer(kind="eventbridge", dry_run=False, on=frozenset({"block"}), states=("closed",))
WAITS = {("ivs_stop", ""): Known(state="waiting")}
RADIO = replace(samples.STREAM, source="radio", channel_arn=None)


def hit(state: str = "open", action: str = "block", *, grace_s: float = 20.0, length_s: float = 12.0, stream: Stream = samples.STREAM) -> dict[str, Any]:
    made = samples.hit(samples.play(state=state, begin_s=100.0, length_s=length_s), stream=stream)
    made["policy"] |= {"action": action, "grace_s": grace_s}
    return made


def asked(offer: Offer, document: dict[str, Any], known: dict[tuple[str, str], Known] | None = None) -> list[Change]:
    return list(changes([offer], document, known or {}))


def test_a_stream_is_to_be_stopped_when_its_grace_is_over():
    (change,) = asked(STOP, hit(grace_s=20.0))
    assert (change.kind, change.occasion, change.state, change.due_s) == ("ivs_stop", "", "waiting", 120.0)
    assert change.detail == "the stream is stopped if it still plays at 2:00 of the stream, 20 s after its begin"


def test_the_longer_grace_holds():
    (change,) = asked(replace(STOP, grace_s=45.0), hit(grace_s=20.0))
    assert change.due_s == 145.0
    (change,) = asked(replace(STOP, grace_s=5.0), hit(grace_s=20.0))
    assert change.due_s == 120.0


def test_a_dry_run_says_what_would_be_done():
    (change,) = asked(replace(STOP, dry_run=True), hit())
    assert (change.state, change.detail) == ("dry_run", "dry run: the stream would be stopped if it still plays at 2:00 of the stream, 20 s after its begin")


@pytest.mark.parametrize("document", [hit("provisional"), hit(action="warn"), hit("closed")], ids=["provisional", "warn", "closed at once"])
def test_what_is_not_certain_not_unwanted_or_over_stops_nothing(document):
    assert asked(STOP, document) == []


def test_a_source_that_cannot_be_stopped_is_told_as_that():
    (change,) = asked(STOP, hit(stream=RADIO))
    assert (change.state, change.detail) == ("refused", "only streams of Amazon IVS can be stopped from here, and this one's source is radio")
    assert asked(STOP, hit(stream=RADIO), {("ivs_stop", ""): Known(state="refused")}) == []


def test_it_is_asked_for_once():
    assert asked(STOP, hit(), WAITS) == []
    for state in ("done", "refused", "failed"):
        assert asked(STOP, hit(), {("ivs_stop", ""): Known(state=state)}) == []


def test_a_play_that_ends_within_its_grace_is_let_go():
    (change,) = asked(STOP, hit("closed", length_s=12.0), WAITS)
    assert (change.state, change.detail) == ("withdrawn", "it ended after 0:12, within its grace of 20 s: the stream was left alone")


def test_another_decision_takes_it_back_and_a_third_asks_again():
    (change,) = asked(STOP, hit(action="allow"), WAITS)
    assert (change.state, change.detail) == ("withdrawn", "it is decided about otherwise by now (allow): the stream was left alone")
    (change,) = asked(STOP, hit(), {("ivs_stop", ""): Known(state="withdrawn")})
    assert change.state == "waiting"


def test_what_has_been_begun_is_not_taken_back():
    begun = {("ivs_stop", ""): Known(state="waiting", begun=True)}
    assert asked(STOP, hit("closed"), begun) == []
    assert asked(STOP, hit(action="allow"), begun) == []


def test_a_dry_run_tells_in_the_end_what_would_have_become_of_it():
    dry, told = replace(STOP, dry_run=True), {("ivs_stop", ""): Known(state="dry_run")}
    (change,) = asked(dry, hit("closed", length_s=12.0), told)
    assert (change.state, change.detail) == ("withdrawn", "dry run: it ended after 0:12, within its grace of 20 s: the stream was left alone")
    assert asked(dry, hit("closed", length_s=40.0), told) == []


def test_switching_it_off_takes_back_what_waits():
    (change,) = changes([SHOW], hit("open"), WAITS | {("ivs_metadata", "open"): Known(state="done")})
    assert (change.kind, change.state, change.detail) == ("ivs_stop", "withdrawn", "it was switched off meanwhile: the stream was left alone")


def test_what_plays_is_shown_and_taken_away_again():
    (begin,) = asked(SHOW, hit("open"))
    assert (begin.occasion, begin.state) == ("open", "waiting")
    known = {("ivs_metadata", "open"): Known(state="done")}
    assert asked(SHOW, hit("open"), known) == []
    (end,) = asked(SHOW, hit("closed", action="allow"), known)
    assert end.occasion == "closed"
    assert asked(SHOW, hit("closed")) == []  # it was never shown
    assert asked(SHOW, hit("open", stream=RADIO)) == []


def test_messages_go_once_for_each_state_that_is_named():
    assert [change.occasion for change in asked(POST, hit("open"))] == ["open"]
    assert asked(POST, hit("open"), {("webhook", "open"): Known(state="done")}) == []
    assert [change.occasion for change in asked(POST, hit("closed"), {("webhook", "open"): Known(state="done")})] == ["closed"]
    assert asked(BUS, hit("open")) == []
    assert asked(POST, hit("open", action="track")) == []
    (dry,) = asked(replace(POST, dry_run=True), hit("open"))
    assert (dry.state, dry.detail) == ("dry_run", "dry run: this would go to the webhook")


def test_a_canary_asks_for_nothing():
    canary = replace(samples.STREAM, stream_id="canary:1")
    assert list(changes([STOP, SHOW, POST, BUS], hit(stream=canary), WAITS)) == []


@pytest.mark.parametrize(
    "arn, ivs",
    [("arn:aws:ivs:us-east-1:1:channel/x", True), ("arn:aws:medialive:us-east-1:1:channel:7", False), ("arn:aws-cn:ivs:x:1:channel/x", True), (None, False)],
)
def test_channels_of_ivs_are_known_by_their_arn(arn, ivs):
    assert is_ivs(arn) is ivs


# ------------------------------------------------------------------------------------------------ is anything done about it?


def decided(offers, *, stream=samples.STREAM, action="block"):
    play = Circumstances.of(stream, samples.play(), samples.NOON)
    return carried_out(lambda _track, _play: Policy(action=action, reason="r", dry_run=True), offers)(samples.TRACK, play)


def test_a_decision_is_more_than_said_only_where_something_is_on_for_it():
    assert decided([]).dry_run
    assert not decided([STOP]).dry_run
    assert decided([replace(STOP, dry_run=True)]).dry_run
    assert decided([STOP], action="track").dry_run
    assert decided([STOP], stream=RADIO).dry_run
    assert not decided([POST], stream=RADIO).dry_run
    assert decided([SHOW]).dry_run  # what is shown to viewers does nothing about it
    assert decided([STOP, POST], stream=replace(samples.STREAM, stream_id="canary:1")).dry_run


# ------------------------------------------------------------------------------------------------ whatever comes in which order

REVISIONS = st.lists(st.tuples(st.sampled_from(["provisional", "open", "open", "closed"]), st.sampled_from(["block", "allow", "track"])), max_size=8)


@given(revisions=REVISIONS, dry=st.booleans(), begun_at=st.integers(0, 8))
def test_nothing_is_asked_for_twice_nor_taken_back_once_begun(revisions, dry, begun_at):
    """Revisions in any order; an action that waits is begun somewhere in between."""
    offers = [replace(offer, dry_run=dry) for offer in (STOP, SHOW, POST, BUS)]
    known: dict[tuple[str, str], Known] = {}
    for number, (state, action) in enumerate(revisions):
        if number == begun_at:
            known = {key: replace(row, begun=row.state == "waiting") for key, row in known.items()}
        before = dict(known)
        for change in changes(offers, hit(state, action), before):
            key = (change.kind, change.occasion)
            was = before.get(key)
            assert change.detail or change.state == "waiting"
            assert was is None or not was.begun
            if change.state in ("waiting", "dry_run"):
                assert (change.state == "dry_run") is dry
                assert was is None or (change.kind == "ivs_stop" and was.state == "withdrawn")
                assert change.kind == "ivs_stop" or was is None
            else:
                assert change.kind == "ivs_stop" and was is not None and was.state in ("waiting", "dry_run")
            known[key] = Known(state=change.state)
        again = list(changes(offers, hit(state, action), known))
        assert again == []  # the same revision once more changes nothing
