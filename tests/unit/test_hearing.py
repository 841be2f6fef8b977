"""Samples in, plays out, on generated tunes: what is told, when, and that the cut of the stream does not matter."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import earmark.hearing
from earmark.fingerprint.window import fingerprint
from earmark.hearing import LOOK_FRAMES, STEP_FRAMES, Asking, Hearing, drive, unexplained
from earmark.matching.lines import FollowedLine, Look, Step
from earmark.model import FRAMES_PER_S, RATE_HZ, Answer, AudioChunk, Fetch, Float32, Lookup, MatchParams, Play, Question, Resolve, hit_id
from fakes import MemoryIndex
from hearing_sounds import catalogue, chunks, faster, noise, silence, tone, tune

FIRST, SECOND, OTHER = tune(1, 60), tune(2, 60), tune(3, 60)
INDEX = catalogue(first=FIRST, second=SECOND)


def part(sound: Float32, begin_s: float, end_s: float) -> Float32:
    return sound[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)]


def joined(*parts: Float32) -> Float32:
    return np.concatenate(parts)


def hearing(index: MemoryIndex, plays: tuple[Play, ...] = (), **params: float) -> Hearing:
    return Hearing(
        params=MatchParams(**params),  # type: ignore[arg-type]
        size=index.size(),
        stream_id="stream",
        source="test",
        plays=plays,
    )


def told(listener: Hearing, index: MemoryIndex, pieces: Sequence[AudioChunk], *, flush: bool = True) -> list[Play]:
    changed = [play for piece in pieces for play in drive(listener.push(piece), index.answer)]
    return changed + (drive(listener.flush(), index.answer) if flush else [])


def heard(sound: Float32, index: MemoryIndex = INDEX, *sizes: int, **params: float) -> list[Play]:
    return told(hearing(index, **params), index, chunks(sound, *(sizes or (8_000,))))


def test_a_play_is_told_then_opened_then_closed() -> None:
    told_first, opened, closed = heard(joined(noise(1, 5), part(FIRST, 10, 35), noise(2, 25)))
    assert [p.state for p in (told_first, opened, closed)] == ["provisional", "open", "closed"]
    assert [p.revision for p in (told_first, opened, closed)] == [1, 2, 3]
    assert {p.track_id for p in (told_first, opened, closed)} == {"first"}
    assert closed.begin_s == pytest.approx(5, abs=0.4)
    assert closed.end_s == pytest.approx(30, abs=0.4)
    assert closed.reference_begin_s - closed.begin_s == pytest.approx(5, abs=0.02)
    assert closed.reference_end_s - closed.end_s == pytest.approx(5, abs=0.02)
    assert closed.speed == pytest.approx(1, abs=1e-3)
    assert closed.pitch_cents == pytest.approx(0, abs=5)
    assert closed.reference_duration_s == 60
    assert closed.matched_s == pytest.approx(25, abs=1.5)
    assert not closed.quotation
    assert closed.evidence_nats > 32
    assert closed.false_alarms_per_hour < 1e-4
    assert told_first.first_heard_s == closed.first_heard_s < 16


def test_its_hit_id_is_computed_once_from_what_was_first_told() -> None:
    plays = heard(joined(silence(3), part(FIRST, 20, 45)))
    first = plays[0]
    assert {p.hit_id for p in plays} == {hit_id("stream", "first", first.reference_begin_s, first.begin_s, "test")}


def test_while_it_sounds_a_play_is_shown_as_it_is_now() -> None:
    listener = hearing(INDEX)
    told(listener, INDEX, chunks(part(FIRST, 5, 20), 8_000), flush=False)
    (then,) = listener.plays
    told(listener, INDEX, chunks(part(FIRST, 20, 30), 8_000, start_s=15), flush=False)
    (now,) = listener.plays
    assert (now.hit_id, now.begin_s) == (then.hit_id, then.begin_s)
    assert now.end_s == pytest.approx(then.end_s + 10, abs=1.5)
    assert now.matched_s > then.matched_s + 8


def test_a_recording_is_dated_from_its_first_sample_where_that_was_heard() -> None:
    closed = heard(joined(silence(4), part(FIRST, 0, 20)))[-1]
    assert closed.begin_s == pytest.approx(4, abs=0.05)
    assert closed.reference_begin_s == pytest.approx(0, abs=0.05)


PROGRAMME = joined(noise(5, 3), part(FIRST, 30, 45), part(OTHER, 0, 6), part(SECOND, 4, 22))
WHOLE = heard(PROGRAMME)


def test_the_programme_of_the_next_test_has_two_plays() -> None:
    assert [p.track_id for p in WHOLE if p.state == "closed"] == ["first", "second"]


@given(sizes=st.lists(st.integers(1, 40_000), min_size=1, max_size=6).filter(lambda sizes: sum(sizes) > 8_000))
@settings(max_examples=8, deadline=None)
def test_any_cut_of_the_stream_gives_the_same_plays(sizes: list[int]) -> None:
    assert heard(PROGRAMME, INDEX, *sizes) == WHOLE


def bridged(pieces: Sequence[AudioChunk], pauses: Sequence[int]) -> list[Play]:
    """As a session drives it whose catalogue comes and goes: at each question so many more pieces are taken in before there is an answer."""
    listener, left, turns = hearing(INDEX), list(pieces), iter(pauses)

    def answer(question: Question) -> Answer:
        for _ in range(next(turns, 0)):
            if left:
                listener.take(left.pop(0))
        return INDEX.answer(question)

    changed: list[Play] = []
    while left:
        listener.take(left.pop(0))
        changed += drive(listener.hear(), answer)
    return changed + drive(listener.flush(), answer)


@given(st.lists(st.integers(0, 40), max_size=60))
@settings(max_examples=8, deadline=None)
def test_whatever_is_taken_in_while_a_question_waits_gives_the_same_plays(pauses: list[int]) -> None:
    pieces = chunks(PROGRAMME, 8_000)
    assert bridged(pieces, pauses) == WHOLE
    assert bridged(around_a_gap(8_000), pauses) == with_gap(7_777)


@given(st.integers(300, 30_000))
@settings(max_examples=4, deadline=None)
def test_any_cut_around_a_gap_gives_the_same_plays(size: int) -> None:
    assert with_gap(size) == with_gap(7_777)


def with_gap(size: int, gap_s: float = 5.0) -> list[Play]:
    return told(hearing(INDEX), INDEX, around_a_gap(size, gap_s))


def around_a_gap(size: int, gap_s: float = 5.0) -> list[AudioChunk]:
    before, after = part(FIRST, 5, 20), part(FIRST, 20 + gap_s, 45)
    resumed = chunks(after, size, start_s=15 + gap_s)
    resumed[0] = replace(resumed[0], gap_before_s=gap_s, gap_reason="late")
    return [*chunks(before, size), *resumed]


def test_a_play_goes_on_after_a_gap() -> None:
    closed = [p for p in with_gap(8_000) if p.state == "closed"]
    assert len(closed) == 1
    assert closed[0].begin_s == pytest.approx(0, abs=0.4)
    assert closed[0].end_s == pytest.approx(40, abs=0.4)
    assert closed[0].gap_s == pytest.approx(5, abs=0.01)
    assert closed[0].matched_s == pytest.approx(35, abs=2)


def test_a_gap_that_comes_as_an_empty_chunk_is_the_same() -> None:
    before, after = chunks(part(FIRST, 5, 20), 8_000), chunks(part(FIRST, 25, 45), 8_000, start_s=20)
    told_alone = AudioChunk(samples=silence(0), start_s=20, gap_before_s=5, gap_reason="late")
    assert told(hearing(INDEX), INDEX, [*before, told_alone, *after]) == with_gap(8_000)


def test_music_that_ended_in_a_gap_is_dated_before_it() -> None:
    after = [AudioChunk(samples=noise(7, 25), start_s=80, gap_before_s=60, gap_reason="origin_down")]
    plays = told(hearing(INDEX), INDEX, [*chunks(part(FIRST, 5, 25), 8_000), *after])
    assert [p.state for p in plays] == ["provisional", "open", "closed"]
    assert plays[-1].end_s == pytest.approx(20, abs=0.4)
    assert plays[-1].gap_s == 0


def test_a_short_quotation_is_named_one() -> None:
    told_first, closed = heard(joined(part(OTHER, 0, 8), part(FIRST, 10, 16), part(OTHER, 8, 35)))
    assert (told_first.state, closed.state, closed.quotation) == ("provisional", "closed", True)
    assert (closed.begin_s, closed.end_s) == (pytest.approx(8, abs=0.5), pytest.approx(14, abs=0.8))


@pytest.mark.parametrize("after", [silence(30), OTHER[: 30 * RATE_HZ], noise(1, 30)], ids=["silence", "other music", "noise"])
@pytest.mark.parametrize("lasts_s", [5, 6, 7, 8])
def test_what_is_over_before_it_has_lasted_is_never_opened(lasts_s: int, after: Float32) -> None:
    """However long the window holds it after that."""
    told_first, closed = heard(joined(silence(5), part(FIRST, 20, 20 + lasts_s), after))
    assert (told_first.state, closed.state, closed.quotation) == ("provisional", "closed", True)
    assert closed.end_s - closed.begin_s == pytest.approx(lasts_s, abs=1.5)


def test_two_recordings_at_once_are_both_told() -> None:
    closed = [p for p in heard(part(FIRST, 5, 40) + part(SECOND, 12, 47)) if p.state == "closed"]
    assert {p.track_id: round(p.reference_begin_s - p.begin_s) for p in closed} == {"first": 5, "second": 12}
    assert all(p.matched_s > 30 and not p.also_matching for p in closed)


def test_copies_of_a_recording_are_one_play() -> None:
    copies = catalogue(**{f"copy{n}": part(FIRST, 0, 40) for n in range(10)})
    plays = heard(part(FIRST, 5, 35), copies)
    assert [p.state for p in plays] == ["provisional", "open", "closed"]
    assert len({p.hit_id for p in plays}) == 1
    assert plays[-1].also_matching
    assert plays[-1].track_id not in plays[-1].also_matching


def test_a_recording_played_again_is_another_play() -> None:
    closed = [p for p in heard(joined(part(FIRST, 0, 25), part(FIRST, 0, 25))) if p.state == "closed"]
    assert [(round(p.begin_s), round(p.end_s), round(p.reference_begin_s)) for p in closed] == [(0, 25, 0), (25, 50, 0)]
    assert len({p.hit_id for p in closed}) == 2


def test_music_played_faster_is_found_by_its_speed() -> None:
    closed = heard(faster(FIRST, 1.05))[-1]
    assert closed.track_id == "first"
    assert closed.speed == pytest.approx(1.05, abs=2e-3)
    assert closed.pitch_cents == pytest.approx(84.5, abs=4)
    assert heard(faster(FIRST, 1.05), transform_every_s=0) == []


def test_music_under_noise_is_heard() -> None:
    music = joined(silence(3), part(FIRST, 5, 35), silence(20))
    closed = heard(music + noise(4, 53, level=0.1))[-1]
    assert (closed.track_id, closed.state) == ("first", "closed")
    assert closed.end_s == pytest.approx(33, abs=0.6)


@pytest.mark.parametrize("index", [INDEX, catalogue(only=FIRST), catalogue(drone=tone(30, 220)), MemoryIndex()], ids=["two", "one", "drone", "empty"])
@pytest.mark.parametrize(
    "sound", [OTHER[:200_000], noise(3, 20), tone(20), silence(20), noise(4, 20) * 40], ids=["music", "noise", "tone", "silence", "clipped"]
)
def test_other_sound_raises_no_false_alarm(sound: Float32, index: MemoryIndex) -> None:
    index.asked.clear()
    assert heard(sound.astype(np.float32), index) == []
    seconds = len(sound) / RATE_HZ
    assert sum(len(q.hashes) for q in index.asked if isinstance(q, Lookup)) < 1_500 * seconds
    assert sum(len(q.passages) for q in index.asked if isinstance(q, Fetch)) < 20 * seconds


def test_an_open_play_is_not_looked_up() -> None:
    index = catalogue(first=FIRST)
    listener = hearing(index)
    told(listener, index, chunks(part(FIRST, 5, 25), 8_000), flush=False)
    assert listener.plays[0].state == "open"
    index.asked.clear()
    told(listener, index, chunks(part(FIRST, 25, 35), 8_000, start_s=20), flush=False)
    fresh = catalogue(first=FIRST)
    told(hearing(fresh, false_alarms_per_hour=1e-300), fresh, chunks(part(FIRST, 25, 35), 8_000), flush=False)
    hashes = [sum(len(q.hashes) for q in asked if isinstance(q, Lookup)) for asked in (index.asked, fresh.asked)]
    assert hashes[0] < hashes[1] / 5


# ---------------------------------------------------------------------------------------------- another owner


def interrupted(state_after_s: float) -> tuple[Play, ...]:
    listener = hearing(INDEX)
    told(listener, INDEX, chunks(part(FIRST, 5, 5 + state_after_s), 8_000), flush=False)
    return listener.plays


def test_a_certain_play_is_glanced_at_and_dated_as_if_it_were_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the music changes inside a play, and where another one is mixed in, it is looked at."""
    looks = {"brief": 0, "looked": 0}
    glance = FollowedLine.glance

    def counted(line: FollowedLine, step: Step) -> Look | None:
        found = glance(line, step)
        looks["looked" if found is None else "brief"] += line.play is not None
        return found

    sound = joined(noise(1, 5), FIRST, 0.7 * part(SECOND, 10, 30) + noise(3, 20), noise(2, 20))
    monkeypatch.setattr(FollowedLine, "glance", counted)
    glanced = heard(sound)
    assert min(looks.values()) > 10
    monkeypatch.setattr(FollowedLine, "glance", lambda _line, _step: None)
    looked = heard(sound)
    assert [(p.track_id, p.state) for p in glanced] == [(p.track_id, p.state) for p in looked]
    for one, other in zip(glanced, looked, strict=True):
        assert one.begin_s == pytest.approx(other.begin_s, abs=0.05)
        assert one.end_s == pytest.approx(other.end_s, abs=0.1)
        assert one.first_heard_s == other.first_heard_s


def test_each_step_is_looked_at_while_a_line_is_undecided_and_every_other_one_else(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[tuple[float, bool]] = []
    look = Hearing._look

    def counted(self: Hearing, run: Any, anchors_end: float) -> Asking:
        before = run.looked_frame
        changed = yield from look(self, run, anchors_end)
        looks.append((run.looked_frame - before, self._tracker.undecided))
        return changed

    monkeypatch.setattr(Hearing, "_look", counted)
    sound = joined(noise(1, 10), part(FIRST, 10, 40), noise(2, 20.3))
    first = heard(sound)[0]
    *whole, (rest, _) = looks
    after_undecided = {frames for (frames, _), (_, undecided) in zip(whole[1:], whole, strict=False) if undecided}
    assert after_undecided == {STEP_FRAMES}
    assert {frames for (frames, _), (_, undecided) in zip(whole[1:], whole, strict=False) if not undecided} == {LOOK_FRAMES}
    assert 0 < rest < LOOK_FRAMES  # what is left at the end of the sound is looked at, too

    monkeypatch.setattr(earmark.hearing, "LOOK_FRAMES", STEP_FRAMES)
    assert first.first_heard_s - heard(sound)[0].first_heard_s <= STEP_FRAMES / FRAMES_PER_S


def test_what_has_no_hurry_is_asked_about_less_often_and_the_same_is_found() -> None:
    sound = joined(noise(1, 21), part(FIRST, 10, 30), noise(2, 27))
    closed, asked = [], []
    for hurry in (True, False):
        before = len(INDEX.asked)
        listener = Hearing(params=MatchParams(), size=INDEX.size(), stream_id="stream", source="test", hurry=hurry)
        closed.append([(p.hit_id, p.begin_s, p.end_s) for p in told(listener, INDEX, chunks(sound, 8_000)) if p.state == "closed"])
        asked.append(len(INDEX.asked) - before)
    assert closed[0] == closed[1] != []
    assert asked[1] < 0.8 * asked[0]


def test_the_more_is_explained_the_less_is_asked_about_and_first_what_stands_out() -> None:
    peaks = fingerprint(FIRST)
    begin, end = 300.0, 600.0
    anchors = len(peaks.between(begin, end))
    random = np.random.default_rng(1).random(len(peaks))
    asked = [unexplained(peaks, random < share, begin, end).between(begin, end) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    left = [len(peaks.take(random >= share).between(begin, end)) / anchors for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert [len(some) / anchors for some in asked] == pytest.approx([0.9 * share**3 for share in left], abs=0.01)
    rest = peaks.take(random >= 0.5).between(begin, end)
    assert asked[2].salience.min() >= np.sort(rest.salience)[-len(asked[2])]


@pytest.mark.parametrize("after_s", [8.0, 20.0], ids=["provisional", "open"])
def test_the_next_owner_takes_a_play_up_and_closes_it(after_s: float) -> None:
    (handed_over,) = interrupted(after_s)
    listener = hearing(INDEX, plays=(handed_over,))
    assert listener.plays == (handed_over,)
    music = chunks(joined(part(FIRST, 5 + after_s + 2, 45), noise(1, 20)), 8_000, start_s=after_s + 2)
    music[0] = replace(music[0], gap_before_s=2.0, gap_reason="worker_lost")
    plays = told(listener, INDEX, music)
    assert {p.hit_id for p in plays} == {handed_over.hit_id}
    assert [p.revision for p in plays] == list(range(handed_over.revision + 1, handed_over.revision + 1 + len(plays)))
    closed = plays[-1]
    assert (closed.state, closed.quotation) == ("closed", False)
    assert closed.begin_s == handed_over.begin_s
    assert closed.reference_begin_s == pytest.approx(handed_over.reference_begin_s, abs=0.05)
    assert closed.end_s == pytest.approx(40, abs=0.5)
    assert closed.gap_s == pytest.approx(2, abs=0.01)
    assert closed.first_heard_s == handed_over.first_heard_s


def test_a_play_whose_music_is_over_is_closed_where_the_last_owner_heard_it() -> None:
    (handed_over,) = interrupted(20.0)
    closed = told(hearing(INDEX, plays=(handed_over,)), INDEX, chunks(noise(1, 30), 8_000, start_s=20))[-1]
    assert (closed.hit_id, closed.state) == (handed_over.hit_id, "closed")
    assert closed.end_s == pytest.approx(handed_over.end_s, abs=1.5)


def test_a_play_whose_recording_is_gone_is_closed_at_once() -> None:
    (handed_over,) = interrupted(20.0)
    index = catalogue(second=SECOND)
    (closed,) = told(hearing(index, plays=(handed_over,)), index, chunks(part(FIRST, 25, 26), 8_000, start_s=20), flush=False)
    assert (closed.hit_id, closed.state, closed.revision) == (handed_over.hit_id, "closed", handed_over.revision + 1)
    assert closed.end_s == pytest.approx(handed_over.end_s)


def test_a_recording_removed_while_it_plays_is_closed() -> None:
    index = catalogue(first=FIRST)
    listener = hearing(index)
    told(listener, index, chunks(part(FIRST, 0, 20), 8_000), flush=False)
    index.remove("first")
    closed = told(listener, index, chunks(part(FIRST, 20, 60), 8_000, start_s=20), flush=False)
    assert [p.state for p in closed] == ["closed"]


def test_flush_without_a_sample_closes_what_was_handed_over() -> None:
    (handed_over,) = interrupted(20.0)
    (closed,) = drive(hearing(INDEX, plays=(handed_over,)).flush(), INDEX.answer)
    assert (closed.state, closed.hit_id) == ("closed", handed_over.hit_id)


def test_what_had_begun_and_was_not_told_is_dated_from_where_it_begins_if_the_window_before_is_heard_again() -> None:
    sound = joined(noise(1, 20), part(FIRST, 20, 45), noise(2, 20))
    begun = hearing(INDEX)
    assert told(begun, INDEX, chunks(sound[: 22 * RATE_HZ], 8_000), flush=False) == []
    begins = {}
    for lead_in_s in (0, 12):
        from_s = 22 - lead_in_s
        listener = Hearing(params=MatchParams(), size=INDEX.size(), stream_id="stream", source="test", heard_s=22)
        plays = told(listener, INDEX, chunks(sound[from_s * RATE_HZ :], 8_000, start_s=from_s))
        assert {p.hit_id for p in plays} == {plays[0].hit_id}
        begins[lead_in_s] = plays[-1].begin_s
        assert all(stretch.begin_s >= 22 for stretch in listener.take_music())
    assert begins == {0: pytest.approx(22, abs=0.4), 12: pytest.approx(20, abs=0.4)}


@pytest.mark.parametrize("after_s", [8.0, 20.0], ids=["provisional", "open"])
def test_of_a_play_that_was_told_nothing_is_counted_twice_when_the_window_before_is_heard_again(after_s: float) -> None:
    (handed_over,) = interrupted(after_s)
    from_s = max(0.0, after_s - 12)
    rest = joined(part(FIRST, 5 + from_s, 45), noise(1, 20))
    plays = told(hearing(INDEX, plays=(handed_over,)), INDEX, chunks(rest, 8_000, start_s=from_s))
    whole = heard(joined(part(FIRST, 5, 45), noise(1, 20)))[-1]
    closed = plays[-1]
    assert {p.hit_id for p in plays} == {handed_over.hit_id}
    assert (closed.begin_s, closed.end_s) == (pytest.approx(whole.begin_s, abs=0.1), pytest.approx(whole.end_s, abs=0.1))
    assert closed.matched_s == pytest.approx(whole.matched_s, abs=0.6)


def test_a_play_that_was_told_and_closed_is_not_told_again_when_the_window_behind_it_is() -> None:
    sound = joined(part(FIRST, 10, 35), noise(2, 30))
    closed_s = next(second for second in range(26, 56) if heard_until(sound, second)[-1].state == "closed")
    for position_s in (closed_s, closed_s + 1, closed_s + 3):
        from_s = position_s - 12
        listener = Hearing(params=MatchParams(), size=INDEX.size(), stream_id="stream", source="test", heard_s=position_s)
        assert told(listener, INDEX, chunks(sound[from_s * RATE_HZ :], 8_000, start_s=from_s)) == []


def heard_until(sound: Float32, end_s: int) -> list[Play]:
    return told(hearing(INDEX), INDEX, chunks(sound[: end_s * RATE_HZ], 8_000), flush=False)


# ---------------------------------------------------------------------------------------------- driving


def test_computing_goes_through_run_and_waiting_does_not() -> None:
    depth, waited_inside = [0], []

    def run(function: object, *args: object) -> object:
        depth[0] += 1
        try:
            return function(*args)  # type: ignore[operator]
        finally:
            depth[0] -= 1

    def answer(question: Question) -> Answer:
        waited_inside.append(depth[0])
        return INDEX.answer(question)

    listener = hearing(INDEX)
    plays = [p for chunk in chunks(part(FIRST, 5, 20), 8_000) for p in drive(listener.push(chunk), answer, run)]
    assert plays
    assert set(waited_inside) == {0}


def test_a_failed_answer_ends_the_push() -> None:
    class Gone(Exception):
        pass

    def answer(question: Question) -> Answer:
        raise Gone

    listener = hearing(INDEX)
    pushing = listener.push(AudioChunk(samples=part(FIRST, 5, 10), start_s=0))
    with pytest.raises(Gone):
        drive(pushing, answer)
    with pytest.raises(StopIteration):
        next(pushing)


def test_the_recordings_of_plays_are_resolved_in_one_question() -> None:
    (play,) = interrupted(20.0)
    index = catalogue(first=FIRST)
    other = replace(play, hit_id="other")
    told(hearing(index, plays=(play, other)), index, [AudioChunk(samples=silence(0.1), start_s=20)], flush=False)
    assert index.asked == [Resolve(track_ids=("first",))]


def test_a_catalogue_that_grows_meanwhile_is_asked_for_more() -> None:
    index = catalogue(first=FIRST)
    listener, size = hearing(index), index.size()
    told(listener, index, chunks(part(OTHER, 0, 5), 8_000), flush=False)
    listener.resize(replace(size, tracks=100_000, seconds=100_000 * 240.0))
    before = len(index.asked)
    told(listener, index, chunks(part(OTHER, 5, 10), 8_000, start_s=5), flush=False)
    small, grown = ({q.postings_max for q in asked if isinstance(q, Lookup)} for asked in (index.asked[:before], index.asked[before:]))
    assert max(small) < min(grown)
