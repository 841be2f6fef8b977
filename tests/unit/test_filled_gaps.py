"""What a recording adds to a session's record: fewer gaps, whatever comes twice; plays that become longer and never two."""

from dataclasses import replace
from datetime import timedelta

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.hits import filled
from earmark.model import Checkpoint, Gap, Music, Stretch
from hits_samples import NOON, checkpoint, hit, play, validator

LATER = NOON + timedelta(hours=1)


def gap(begin_s: float, end_s: float) -> Gap:
    return Gap(begin_s=begin_s, end_s=end_s, reason="worker_lost")


def spans(gaps: tuple[Gap, ...]) -> list[tuple[float, float]]:
    return [(one.begin_s, one.end_s) for one in gaps]


@pytest.mark.parametrize(
    "heard, left",
    [
        ([], [(10, 20), (40, 60)]),
        ([(0, 100)], []),
        ([(10, 20)], [(40, 60)]),
        ([(5, 15)], [(15, 20), (40, 60)]),
        ([(12, 14), (16, 50)], [(10, 12), (14, 16), (50, 60)]),
        ([(20, 40)], [(10, 20), (40, 60)]),
        ([(10.001, 20)], [(40, 60)]),
    ],
)
def test_what_was_heard_is_no_gap_any_more(heard: list[tuple[float, float]], left: list[tuple[float, float]]) -> None:
    stretches = [Stretch(begin_s=begin_s, end_s=end_s) for begin_s, end_s in heard]
    assert spans(filled.without((gap(10, 20), gap(40, 60)), stretches)) == left


_PARTS = st.lists(st.tuples(st.floats(0.01, 50), st.floats(0.01, 50)), max_size=8)


def _line(parts: list[tuple[float, float]], start_s: float = 0.0) -> list[tuple[float, float]]:
    found, here_s = [], start_s
    for apart_s, length_s in parts:
        found.append((here_s + apart_s, here_s + apart_s + length_s))
        here_s = found[-1][1]
    return found


@given(_PARTS, _PARTS, st.floats(0, 30))
def test_coverage_adds_up_after_it_and_doing_it_again_changes_nothing(gaps: list[tuple[float, float]], heard: list[tuple[float, float]], rest_s: float) -> None:
    lines = _line(gaps)
    before = checkpoint((lines[-1][1] if lines else 0.0) + rest_s, gaps=[gap(*one) for one in lines])
    stretches = [Stretch(begin_s=begin_s, end_s=end_s) for begin_s, end_s in _line(heard)]
    after = filled.filled(before, stretches)
    assert after.heard_s + after.gap_s == pytest.approx(before.position_s, abs=1e-6)
    assert after.position_s == before.position_s
    assert after.gap_s <= before.gap_s + 1e-9
    assert filled.filled(after, stretches) == after
    assert all(one.begin_s < one.end_s for one in after.gaps)
    assert all(first.end_s <= second.begin_s for first, second in zip(after.gaps, after.gaps[1:], strict=False))


def test_what_a_session_of_gaps_heard_is_what_it_did_not_pass_over() -> None:
    mine = Checkpoint(position_s=200.0, heard_s=50.0, gaps=(Gap(begin_s=0, end_s=130, reason="skipped"), Gap(begin_s=160, end_s=180, reason="skipped")))
    assert [(s.begin_s, s.end_s) for s in filled.heard(mine, earlier_s=120.0)] == [(10, 40), (60, 80)]
    assert filled.heard(Checkpoint(), earlier_s=120.0) == []


def test_music_is_added_only_where_nothing_was_heard_before() -> None:
    music = Music(stretches=(Stretch(begin_s=0, end_s=10), Stretch(begin_s=60, end_s=70)), heard_s=20)
    found = filled.with_music(music, [Stretch(begin_s=5, end_s=30), Stretch(begin_s=55, end_s=62)], [gap(10, 25), gap(50, 60)])
    assert [(s.begin_s, s.end_s) for s in found.stretches] == [(0, 25), (55, 70)]
    assert found.heard_s == 20 + 15 + 5


def test_so_are_speech_and_silence() -> None:
    found = filled.with_stretches((Stretch(begin_s=0, end_s=10),), [Stretch(begin_s=5, end_s=30)], [gap(10, 25), gap(50, 60)])
    assert [(s.begin_s, s.end_s) for s in found] == [(0, 25)]


# Plays. The hit on record is at 100 to 130, of the recording's 10 to 40.


def found_at(begin_s: float, end_s: float, *, late_s: float = 0.0, **changes: object):
    """The same play in the recording, where the clocks are off by so much."""
    return play(
        begin_s=begin_s + late_s,
        length_s=end_s - begin_s,
        state="closed",
        reference_begin_s=begin_s - 90,
        reference_end_s=end_s - 90,
        hit_id="f" * 26,
        **changes,
    )


def longer(one=None, *, gaps, before_s: float = 0.0, until_s: float = float("inf"), told=None):
    told = told or hit(play(state="closed"))
    more = filled.longer(told, one, before_s=before_s, until_s=until_s, gaps=gaps, now=LATER, worker="two", confirm_s=10)
    if more is not None:
        validator("hit").validate(more)
    return more


@pytest.mark.parametrize("late_s, speed, expected", [(0, 1.0, True), (2.5, 1.0, True), (-2.5, 1.0, True), (8, 1.0, False)])
def test_one_line_is_told_from_another_as_exactly_as_clocks_agree(late_s: float, speed: float, expected: bool) -> None:
    assert bool(filled.same([hit()], found_at(120, 160, late_s=late_s, speed=speed), inexact_s=3)) is expected


def test_another_recording_or_one_far_away_is_another_play() -> None:
    assert not filled.same([hit()], replace(found_at(120, 160), track_id="other"), inexact_s=3)
    assert not filled.same([hit()], found_at(160, 190), inexact_s=3)
    assert filled.same([hit()], found_at(145, 190), inexact_s=3)


@pytest.mark.parametrize("late_s", [0, 2.0, -2.0])
def test_a_play_that_goes_on_into_the_gap_becomes_longer_on_its_own_line(late_s: float) -> None:
    more = longer(found_at(116, 171, late_s=late_s), gaps=[gap(131, 170)])
    assert more is not None
    assert (more["hit_id"], more["revision"], more["state"], more["stream"]["source"]) == (hit()["hit_id"], 2, "closed", "ivs")
    assert more["query"] == {"begin_s": 100, "end_s": 171}
    assert more["reference"]["end_s"] == 81
    assert more["coverage"]["matched_s"] == pytest.approx(30 + 39, abs=0.01)
    assert more["recovered"] == [{"from": "f" * 26, "source": "recording", "begin_s": 116, "end_s": 171}]
    assert more["ended_at"] > hit(play(state="closed"))["ended_at"]


def test_a_play_that_began_in_the_gap_begins_earlier() -> None:
    more = longer(found_at(91, 112), gaps=[gap(80, 99)])
    assert more is not None
    assert (more["query"], more["reference"]["begin_s"]) == ({"begin_s": 91, "end_s": 130}, 1)
    assert more["coverage"]["matched_s"] == pytest.approx(30 + 8)
    assert (more["started_at"], more["ended_at"]) < (hit()["started_at"], hit()["ended_at"] or "Z")


def test_what_else_was_told_of_a_play_stays_when_it_becomes_longer() -> None:
    told = hit(play(state="closed"))
    told["coverage"]["foreground_share"] = 0.7
    more = longer(found_at(116, 171), gaps=[gap(131, 170)], told=told)
    assert more is not None
    assert more["coverage"]["foreground_share"] == 0.7
    assert more["coverage"]["fraction_of_track"] == pytest.approx(69 / 240, abs=1e-3)


def test_a_gap_inside_a_play_is_no_gap_of_it_any_more() -> None:
    more = longer(found_at(100, 130), gaps=[gap(110, 118)], told=hit(play(state="closed", gap_s=8, matched_s=22)))
    assert more is not None
    assert more["query"] == {"begin_s": 100, "end_s": 130}
    assert (more["coverage"]["gap_s"], more["coverage"]["matched_s"]) == (0, pytest.approx(30))


def test_of_a_play_that_the_gap_cut_in_two_the_first_half_ends_where_the_second_begins() -> None:
    more = longer(found_at(116, 190), gaps=[gap(131, 170)], until_s=172)
    assert more is not None and more["query"]["end_s"] == 172


def test_what_was_heard_before_adds_nothing() -> None:
    assert longer(found_at(105, 125), gaps=[gap(131, 170)]) is None
    assert longer(found_at(105, 131.3), gaps=[gap(131, 170)]) is None


def test_the_same_play_found_again_adds_nothing() -> None:
    more = longer(found_at(116, 171), gaps=[gap(131, 170)])
    assert longer(found_at(116, 171), gaps=[gap(131, 170)], told=more) is None


def test_a_quotation_that_goes_on_for_long_is_none() -> None:
    quoted = hit(play(state="closed", length_s=6, quotation=True))
    more = longer(found_at(100, 140), gaps=[gap(106, 138)], told=quoted)
    assert more is not None and more["quotation"] is False


@given(st.floats(60, 200), st.floats(5, 90), st.floats(-3, 3), st.floats(0, 100), st.floats(1, 60))
def test_a_longer_hit_is_never_shorter_and_always_valid(begin_s: float, length_s: float, late_s: float, gap_s: float, gap_length_s: float) -> None:
    gaps = [gap(60 + gap_s, 60 + gap_s + gap_length_s)]
    told = hit(play(state="closed"))
    more = filled.longer(
        told, found_at(begin_s, begin_s + length_s, late_s=late_s), before_s=0.0, until_s=float("inf"), gaps=gaps, now=LATER, worker="two", confirm_s=10
    )
    if more is not None:
        try:
            validator("hit").validate(more)
        except jsonschema.ValidationError as error:
            pytest.fail(error.message)
        assert more["query"]["begin_s"] <= told["query"]["begin_s"]
        assert more["query"]["end_s"] >= told["query"]["end_s"]
