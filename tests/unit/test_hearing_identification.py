"""Whole clips: found whatever their length, with place and speed; nothing found where there is nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark import identification
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.identification import Match, default_threshold_nats, identify
from earmark.local import music, speech
from earmark.matching.samples import SampleModel, recording_nats
from earmark.matching.verification import Alignment, Evidence
from earmark.model import RATE_HZ, Answer, Fetch, Float32, Lookup, MatchParams, Play, Question
from fakes import MemoryIndex
from hearing_sounds import at_8_khz, catalogue, chunks, faster, noise, silence, tone, tune

FIRST, SECOND, OTHER = tune(1, 60), tune(2, 60), tune(3, 60)
INDEX = catalogue(first=FIRST, second=SECOND)
PARAMS = MatchParams()


def part(sound: Float32, begin_s: float, end_s: float) -> Float32:
    return sound[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)]


def found(sound: Float32, index: MemoryIndex = INDEX, *, everything: bool = False) -> list[Match]:
    threshold = None if everything else default_threshold_nats(PARAMS, index.size())
    questions = identify(fingerprint(sound), len(sound) / RATE_HZ, params=PARAMS, size=index.size(), threshold_nats=threshold)
    return drive(questions, index.answer)


def place(match: Match) -> float:
    """Second of the recording at the clip's first sample."""
    return match.reference_begin_s - match.begin_s * match.speed


def played(sound: Float32, index: MemoryIndex) -> list[Play]:
    """What a live session says of it, closed."""
    hearing = Hearing(params=PARAMS, size=index.size(), stream_id="stream", source="test")
    changed = [play for chunk in chunks(sound, RATE_HZ) for play in drive(hearing.push(chunk), index.answer)]
    return [play for play in changed + drive(hearing.flush(), index.answer) if play.state == "closed"]


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


def test_the_score_knows_whether_another_place_of_the_recording_matches_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[tuple[float, float]] = []

    def noted(alignment: Alignment, evidence: Evidence, samples: SampleModel, *, rival_nats: float = 0.0) -> float:
        judged.append((evidence.nats, rival_nats))
        return recording_nats(alignment, evidence, samples, rival_nats=rival_nats)

    monkeypatch.setattr(identification, "recording_nats", noted)
    loop = tune(9, 12)
    for places, rivalled in ((1, False), (2, True)):
        judged.clear()
        found(loop, catalogue(loops=np.concatenate([FIRST, *[loop, SECOND] * places])), everything=True)
        best_nats, rival_nats = max(judged)
        assert best_nats > 100
        assert (rival_nats > 0.9 * best_nats) is rivalled


def test_a_clip_that_nothing_explains_is_asked_about_in_parts_and_one_a_little_fast_only_until_it_is_found() -> None:
    def asked(sound: Float32) -> list[int]:
        INDEX.asked.clear()
        found(sound)
        return [len(question.hashes) for question in INDEX.asked if isinstance(question, Lookup)]

    unknown = asked(part(OTHER, 10, 22))
    assert len(unknown) == 2 + 2 + 4 + 6  # as it is, more deeply, at four speeds, and swept by eight speeds of 41
    assert max(unknown) < sum(unknown) / 4
    known = asked(part(FIRST, 10, 22))
    assert len(known) < 8


def test_candidates_come_best_first_and_need_no_threshold() -> None:
    matches = found(part(OTHER, 0, 12), everything=True)
    assert all(m.score < default_threshold_nats(PARAMS, INDEX.size()) for m in matches)
    assert [m.score for m in matches] == sorted((m.score for m in matches), reverse=True)


@pytest.mark.parametrize("until_s", [22, 46])
def test_another_issue_of_the_recording_is_named_with_the_match(until_s: float) -> None:
    twice = catalogue(first=FIRST, again=FIRST)
    (match,) = found(part(FIRST, 10, until_s), twice)
    assert {match.track_id, *match.also_matching} == {"again", "first"}
    assert match.matched_s == pytest.approx(until_s - 10, abs=1.0)


def test_two_recordings_at_once_are_both_found() -> None:
    assert sorted(m.track_id for m in found(part(FIRST, 5, 17) + part(SECOND, 30, 42))) == ["first", "second"]


# ------------------------------------------------------------------------------------- where matches begin and end


@pytest.fixture(scope="module")
def generated() -> dict[str, Float32]:
    """Pieces for the demo: they share scales, tempi and chords, as music does."""
    one, _, other = music.catalogue(3)
    sounds = {"one": music.render(one), "other": music.render(other), "talk": speech.speech(40, seed=3)}
    return {name: at_8_khz(sound, music.RATE_HZ) for name, sound in sounds.items()}


@pytest.fixture(scope="module")
def pieces(generated: dict[str, Float32]) -> MemoryIndex:
    return catalogue(one=generated["one"], other=generated["other"])


@pytest.mark.parametrize("first, second", [("one", "other"), ("other", "one")])
@pytest.mark.parametrize("talk", [False, True], ids=["", "talked over"])
def test_a_piece_of_the_same_scale_before_or_after_a_match_moves_neither_end(
    generated: dict[str, Float32], pieces: MemoryIndex, first: str, second: str, talk: bool
) -> None:
    spoken = generated["talk"][: 25 * RATE_HZ] * talk
    clip = np.concatenate([silence(2), part(generated[first], 10, 30), part(generated[second], 20, 45) + spoken, silence(14)])
    matches = sorted(found(clip, pieces), key=lambda m: m.begin_s)
    assert [m.track_id for m in matches] == [first, second]
    assert [m.begin_s for m in matches] == pytest.approx([2, 22], abs=0.5)
    assert [m.end_s for m in matches] == pytest.approx([22, 47], abs=0.5)
    assert [place(m) for m in matches] == pytest.approx([8, -2], abs=0.01)
    assert [m.speed for m in matches] == pytest.approx([1, 1], abs=2e-4)
    plays = sorted(played(clip, pieces), key=lambda p: p.begin_s)
    assert [m.begin_s for m in matches] == pytest.approx([p.begin_s for p in plays], abs=0.3)


@given(st.floats(0, 20), st.floats(13.6, 35), st.floats(0, 20), st.floats(0, 20))
@settings(max_examples=15, deadline=None, derandomize=True)
def test_a_match_in_silence_begins_and_ends_where_the_music_does(before_s: float, lasts_s: float, from_s: float, after_s: float) -> None:
    (match,) = found(np.concatenate([silence(before_s), part(SECOND, from_s, from_s + lasts_s), silence(after_s)]))
    assert match.begin_s == pytest.approx(before_s, abs=0.6)
    assert match.end_s == pytest.approx(before_s + lasts_s, abs=0.6)
    assert place(match) == pytest.approx(from_s - before_s, abs=0.02)


def test_a_match_goes_on_under_a_talker_at_either_end(generated: dict[str, Float32], pieces: MemoryIndex) -> None:
    spoken = np.concatenate([4 * generated["talk"][: 15 * RATE_HZ], silence(20), 4 * generated["talk"][15 * RATE_HZ : 30 * RATE_HZ]])
    (match,) = found(np.concatenate([silence(10), part(generated["one"], 10, 60) + spoken, silence(10)]), pieces)
    assert match.begin_s == pytest.approx(10, abs=1.5)
    assert match.end_s == pytest.approx(60, abs=1.5)
    assert place(match) == pytest.approx(0, abs=0.01)


def test_a_recording_that_fades_in_is_heard_from_its_first_sample() -> None:
    faded = FIRST.copy()
    faded[: 4 * RATE_HZ] *= np.linspace(0, 1, 4 * RATE_HZ, dtype=np.float32) ** 4
    (match,) = found(np.concatenate([noise(1, 8), part(faded, 0, 25), silence(5)]), catalogue(first=faded))
    assert match.begin_s == pytest.approx(8, abs=0.02)
    assert match.reference_begin_s == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("seed, before_s", [(2, 4.0), (3, 5.5), (6, 4.0)])
def test_a_line_that_windows_found_twice_is_one_match(seed: int, before_s: float) -> None:
    # The first window holds noise as well, and its line is too steep for all of the others to go on from it.
    (match,) = found(np.concatenate([noise(seed, before_s), part(FIRST, 5, 40), noise(seed + 50, 2)]))
    assert match.begin_s == pytest.approx(before_s, abs=1)
    assert place(match) == pytest.approx(5 - before_s, abs=0.005)


def test_a_recording_that_is_taken_out_before_it_can_be_dated_is_still_told() -> None:
    index = catalogue(first=FIRST)

    def answer(question: Question) -> Answer:
        # Dating asks for more than any window does.
        if isinstance(question, Fetch) and any(p.end_frame - p.begin_frame > 1_000 for p in question.passages):
            index.remove("first")
        return index.answer(question)

    clip = part(FIRST, 10, 45)
    nats = default_threshold_nats(PARAMS, index.size())
    (match,) = drive(identify(fingerprint(clip), 35, params=PARAMS, size=index.size(), threshold_nats=nats), answer)
    assert index.size().tracks == 0
    assert (match.begin_s, match.end_s) == pytest.approx((0, 35), abs=0.5)
