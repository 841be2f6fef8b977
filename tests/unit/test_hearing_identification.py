"""Whole clips: found whatever their length, with place and speed; nothing found where there is nothing."""

import numpy as np
import pytest

from earmark.fingerprint.window import fingerprint
from earmark.hearing import drive
from earmark.identification import Match, default_threshold_nats, identify
from earmark.model import RATE_HZ, Float32, MatchParams
from fakes import MemoryIndex
from hearing_sounds import catalogue, faster, noise, silence, tone, tune

FIRST, SECOND, OTHER = tune(1, 60), tune(2, 60), tune(3, 60)
INDEX = catalogue(first=FIRST, second=SECOND)
PARAMS = MatchParams()


def part(sound: Float32, begin_s: float, end_s: float) -> Float32:
    return sound[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)]


def found(sound: Float32, index: MemoryIndex = INDEX, *, everything: bool = False) -> list[Match]:
    threshold = None if everything else default_threshold_nats(PARAMS, index.size())
    questions = identify(fingerprint(sound), len(sound) / RATE_HZ, params=PARAMS, size=index.size(), threshold_nats=threshold)
    return drive(questions, index.answer)


@pytest.mark.parametrize("seconds", [3, 6, 12, 13, 20, 45])
def test_a_clip_of_any_length_is_found_with_its_place(seconds: int) -> None:
    (match,) = found(part(SECOND, 7, 7 + seconds))
    assert match.track_id == "second"
    assert match.reference_begin_s - match.begin_s == pytest.approx(7, abs=0.02)
    assert match.begin_s == pytest.approx(0, abs=0.5)
    assert match.end_s == pytest.approx(seconds, abs=0.5)
    assert match.speed == pytest.approx(1, abs=3e-3)
    assert match.score > default_threshold_nats(PARAMS, INDEX.size())
    assert match.false_alarms_per_hour < PARAMS.false_alarms_per_hour


@pytest.mark.parametrize("speed", [0.91, 0.95, 1.04, 1.1])
def test_a_changed_speed_is_told(speed: float) -> None:
    (match,) = found(faster(part(FIRST, 20, 34), speed)[: 12 * RATE_HZ])
    assert match.speed == pytest.approx(speed, abs=3e-3)
    assert match.reference_begin_s - match.begin_s * match.speed == pytest.approx(20, abs=0.05)


@pytest.mark.parametrize(
    "sound",
    [OTHER[: 12 * RATE_HZ], OTHER[: 30 * RATE_HZ], noise(1, 12), tone(12), silence(12), silence(0)],
    ids=["music", "long", "noise", "tone", "silence", "nothing"],
)
def test_nothing_is_found_where_there_is_nothing(sound: Float32) -> None:
    assert found(sound) == []


def test_an_empty_catalogue_knows_nothing() -> None:
    assert found(part(FIRST, 0, 12), MemoryIndex()) == []


def test_a_long_clip_has_several_matches() -> None:
    matches = found(np.concatenate([noise(1, 5), part(FIRST, 5, 30), part(OTHER, 0, 10), part(SECOND, 20, 45)]))
    by_time = sorted(matches, key=lambda m: m.begin_s)
    assert [m.track_id for m in by_time] == ["first", "second"]
    # Other music of the same scale before a match may move its beginning by a second or two, never its place.
    assert [m.begin_s for m in by_time] == pytest.approx([5, 40], abs=2)
    assert [m.end_s for m in by_time] == pytest.approx([30, 65], abs=0.5)
    assert [m.reference_begin_s - m.begin_s for m in by_time] == pytest.approx([0, -20], abs=0.02)
    assert matches == sorted(matches, key=lambda m: -m.score)


def test_a_quotation_is_no_match_but_a_candidate() -> None:
    clip = np.concatenate([part(OTHER, 0, 5), part(FIRST, 10, 13), part(OTHER, 5, 9)])
    assert found(clip) == []
    best = found(clip, everything=True)[0]
    assert best.track_id == "first"
    assert best.score > default_threshold_nats(PARAMS, INDEX.size())


def test_candidates_come_best_first_and_need_no_threshold() -> None:
    matches = found(part(OTHER, 0, 12), everything=True)
    assert all(m.score < default_threshold_nats(PARAMS, INDEX.size()) for m in matches)
    assert [m.score for m in matches] == sorted((m.score for m in matches), reverse=True)


def test_another_issue_of_the_recording_is_a_match_too() -> None:
    twice = catalogue(first=FIRST, again=FIRST)
    assert sorted(m.track_id for m in found(part(FIRST, 10, 22), twice)) == ["again", "first"]


def test_two_recordings_at_once_are_both_found() -> None:
    assert sorted(m.track_id for m in found(part(FIRST, 5, 17) + part(SECOND, 30, 42))) == ["first", "second"]
