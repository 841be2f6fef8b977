"""Two accounts of the same audio, play by play."""

from dataclasses import replace

import pytest

import hits_samples as samples
from earmark.local.difference import Account, compare


def account(track_id: str = "t", begin_s: float = 10.0, end_s: float = 40.0, **changes: object) -> Account:
    whole = Account(
        track_id=track_id, begin_s=begin_s, end_s=end_s, state="closed", evidence_nats=100.0, reference_begin_s=begin_s + 5, speed=1.0, told_s=begin_s + 6
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def kinds(*accounts: list[Account]) -> list[tuple[str, str]]:
    return [(one.kind, one.account.track_id) for one in compare(*accounts)]


def test_equal_accounts_do_not_differ() -> None:
    both = [account("a"), account("b", 50, 70)]
    assert kinds(both, list(both)) == [("same", "a"), ("same", "b")]


def test_what_one_side_lacks_is_only_the_others() -> None:
    assert kinds([account("a"), account("b", 50, 70)], [account("a"), account("c", 80, 90)]) == [("same", "a"), ("only_before", "b"), ("only_after", "c")]


def test_another_recording_at_the_same_time_is_another_play() -> None:
    assert kinds([account("a")], [account("b")]) == [("only_before", "a"), ("only_after", "b")]


def test_the_same_recording_at_another_time_is_another_play() -> None:
    assert kinds([account("a", 0, 20)], [account("a", 30, 50)]) == [("only_before", "a"), ("only_after", "a")]


def test_plays_of_one_recording_are_paired_by_what_overlaps_most() -> None:
    split = [account("a", 0, 12), account("a", 14, 60)]
    (first, second) = compare(split, [account("a", 5, 60, reference_begin_s=10)])
    assert (first.kind, first.before) == ("only_before", split[0])
    assert (second.kind, second.before) == ("changed", split[1])


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"begin_s": 11.0, "reference_begin_s": 16.0, "told_s": 16.0}, ("begin_s",)),
        ({"end_s": 39.0}, ("end_s",)),
        ({"state": "quotation"}, ("state",)),
        ({"evidence_nats": 90.0}, ("evidence_nats",)),
        ({"reference_begin_s": 30.0}, ("reference_begin_s",)),
        ({"told_s": 20.0}, ("told_s",)),
        ({"told_s": None}, ()),
        ({"begin_s": 10.01, "end_s": 40.02, "evidence_nats": 100.5}, ()),
    ],
)
def test_what_changed_is_named(changes: dict[str, object], expected: tuple[str, ...]) -> None:
    (one,) = compare([account()], [account(**changes)])
    assert one.changed == expected
    assert one.kind == ("changed" if expected else "same")


def test_a_hit_on_record_and_the_play_it_was_made_of_tell_the_same() -> None:
    play = samples.play(state="closed", evidence_nats=88.0)
    (one,) = compare([Account.of_hit(samples.hit(play))], [Account.of_play(play)])
    assert one.kind == "same"


def test_audio_that_begins_later_is_moved_there() -> None:
    moved = account().later(100)
    assert (moved.begin_s, moved.end_s, moved.told_s, moved.reference_begin_s) == (110, 140, 116, 15)
    assert compare([account("t", 110, 140, reference_begin_s=15)], [moved])[0].kind == "same"
