"""Recordings that share a loop: it is found, and what quotes it is taken for neither."""

from collections.abc import Collection

import numpy as np
import pytest

from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.identification import default_threshold_nats, identify
from earmark.matching.overlaps import Compared
from earmark.model import FRAMES_PER_S, RATE_HZ, Fetch, Float32, MatchParams, Passage, Resolve, Shared, Track
from earmark.relatives import RELATIVES_MAX, relatives
from fakes import MemoryIndex
from hearing_sounds import catalogue, chunks, faster, noise, silence, tune

LOOP = tune(99, 4)


def with_loop(sound: Float32, at_s: float, times: int = 4) -> Float32:
    """The loop mixed in, again and again."""
    mixed, begin, loop = sound.copy(), int(at_s * RATE_HZ), np.tile(LOOP, times)
    mixed[begin : begin + len(loop)] += loop
    return mixed


#: Recordings of a minute that share 16 s of a loop, at 20 s and at 30 s; and a third that has it and is not in the catalogue.
ONE, OTHER = with_loop(tune(1, 60), 20), with_loop(tune(2, 60), 30)
QUOTING = with_loop(tune(3, 45), 15)
STRANGERS = {f"stranger-{n}": tune(n, 40) for n in range(10, 14)}


@pytest.fixture
def index() -> MemoryIndex:
    return catalogue(one=ONE, other=OTHER, **STRANGERS)


def number(index: MemoryIndex, track_id: str) -> int:
    answer = index.answer(Resolve(track_ids=(track_id,)))
    assert isinstance(answer, dict)
    return answer[track_id]


def found(index: MemoryIndex, track_id: str, sound: Float32, known: Collection[int] = ()) -> list[Compared]:
    asking = relatives(fingerprint(sound), len(sound) / RATE_HZ, track_no=number(index, track_id), known=set(known), size=index.size())
    return drive(asking, index.answer)


def compare(index: MemoryIndex, track_id: str, sound: Float32) -> None:
    index.relate(number(index, track_id), found(index, track_id, sound))


def live(index: MemoryIndex, sound: Float32) -> set[str]:
    hearing = Hearing(params=MatchParams(), size=index.size(), stream_id="s", source="file")
    plays = [play for chunk in chunks(sound, RATE_HZ) for play in drive(hearing.push(chunk), index.answer)]
    return {play.track_id for play in plays + drive(hearing.flush(), index.answer)}


def clip(index: MemoryIndex, sound: Float32) -> set[str]:
    size = index.size()
    asking = identify(fingerprint(sound), len(sound) / RATE_HZ, params=MatchParams(), size=size, threshold_nats=default_threshold_nats(MatchParams(), size))
    return {match.track_id for match in drive(asking, index.answer)}


def seconds(stretches: tuple[Shared, ...]) -> list[tuple[float, float]]:
    return [(s.begin_frame / FRAMES_PER_S, s.end_frame / FRAMES_PER_S) for s in stretches]


def test_the_shared_stretch_is_found_in_both(index: MemoryIndex) -> None:
    (relation,) = found(index, "other", OTHER)
    assert (relation.other_no, relation.version) == (number(index, "one"), False)
    assert relation.evidence_nats > 60
    for stretches, at_s in ((relation.own, 30), (relation.others, 20)):
        ((begin_s, end_s),) = seconds(stretches)
        assert begin_s == pytest.approx(at_s, abs=2)
        assert end_s == pytest.approx(at_s + 16, abs=2)
        (stretch,) = stretches
        assert all(8 * stretch.begin_frame <= time <= 8 * stretch.end_frame for time in stretch.eighth_frames)
        assert 50 < len(stretch.eighth_frames) < 300


def test_from_either_side_it_is_the_same(index: MemoryIndex) -> None:
    (relation,), (reverse,) = found(index, "other", OTHER), found(index, "one", ONE)
    for stretches, others in ((relation.own, reverse.others), (relation.others, reverse.own)):
        assert np.array(seconds(stretches)) == pytest.approx(np.array(seconds(others)), abs=1)


def test_recordings_that_share_nothing_have_no_relatives_and_the_known_ones_are_left_out(index: MemoryIndex) -> None:
    for track_id, sound in STRANGERS.items():
        assert found(index, track_id, sound) == []
    assert found(index, "other", OTHER, known={number(index, "one")}) == []


def test_nothing_is_no_relative_of_anything() -> None:
    index = catalogue(silence=silence(10), short=tune(5, 2))
    assert found(index, "silence", silence(10)) == []
    assert found(index, "short", tune(5, 2)) == []


def test_another_issue_is_a_version_and_so_is_one_that_is_played_faster(index: MemoryIndex) -> None:
    for track_id, issue in {"noisy": ONE + noise(1, 60, 0.01), "edit": ONE[: 45 * RATE_HZ], "fast": faster(ONE, 1.02)}.items():
        added = catalogue(one=ONE, other=tune(2, 60), **{track_id: issue})
        (relation,) = found(added, track_id, issue)
        assert (track_id, relation.version) == (track_id, True)


def test_a_quotation_is_taken_for_neither_and_without_the_comparison_it_is(index: MemoryIndex) -> None:
    quoted = QUOTING[15 * RATE_HZ : 27 * RATE_HZ]
    assert live(index, QUOTING) & {"one", "other"}  # or this would show nothing
    assert clip(index, quoted) & {"one", "other"}
    compare(index, "other", OTHER)
    assert live(index, QUOTING) == set()
    assert clip(index, quoted) == set()


def test_each_of_the_two_is_still_found_within_the_loop_and_outside(index: MemoryIndex) -> None:
    compare(index, "other", OTHER)
    for track_id, sound, at_s in (("one", ONE, 20), ("other", OTHER, 30)):
        for begin_s in (at_s + 2, at_s - 12, at_s + 12):
            heard = sound[int(begin_s * RATE_HZ) : int((begin_s + 12) * RATE_HZ)]
            assert clip(index, heard) == {track_id}
            assert clip(index, heard + noise(4, 12, 0.07)) == {track_id}
        assert live(index, sound[at_s * RATE_HZ : (at_s + 16) * RATE_HZ]) == {track_id}


def test_two_issues_of_a_recording_do_not_silence_each_other() -> None:
    issue = ONE + noise(1, 60, 0.003)
    index = catalogue(one=ONE, issue=issue)
    compare(index, "issue", issue)
    assert clip(index, ONE[5 * RATE_HZ : 17 * RATE_HZ]) <= {"one", "issue"} != set()
    assert live(index, issue[: 20 * RATE_HZ]) & {"one", "issue"}


def test_without_the_other_recording_the_loop_is_again_its_own(index: MemoryIndex) -> None:
    compare(index, "other", OTHER)
    index.remove("other")
    assert live(index, QUOTING) == {"one"}


def test_a_relative_that_is_taken_out_meanwhile_is_none(index: MemoryIndex) -> None:
    one = number(index, "one")
    asking = relatives(fingerprint(OTHER), 60, track_no=number(index, "other"), known=set(), size=index.size())

    def answer(question: object) -> object:
        if question == Fetch(passages=(Passage(track_no=one, begin_frame=0, end_frame=675_000),)):
            index.remove("one")
        return index.answer(question)  # type: ignore[arg-type]

    assert drive(asking, answer) == []  # type: ignore[arg-type]
    assert index.answer(Resolve(track_ids=("one",))) == {}


def test_what_many_have_in_common_with_a_part_of_it_does_not_hide_the_one_that_it_is() -> None:
    """Each of a label's recordings begins with the same jingle: more of them than are compared."""
    jingle = tune(99, 10)
    rest = tune(300, 70)
    index = catalogue(**{f"copy-{n}": np.concatenate([jingle, tune(100 + n, 5)]) for n in range(RELATIVES_MAX + 2)}, one=np.concatenate([tune(301, 10), rest]))
    again = np.concatenate([jingle, rest])
    index.add(Track(track_id="again", duration_s=80), fingerprint(again))
    kinds = {relation.other_no: relation.overlap.kind for relation in found(index, "again", again)}
    assert kinds[number(index, "one")] == "same"
    assert len(kinds) <= RELATIVES_MAX


def test_the_work_is_bounded() -> None:
    """Of twenty recordings with one loop sixteen are compared."""
    index = catalogue(**{f"copy-{n}": np.concatenate([np.tile(LOOP, 2), tune(100 + n, 5)]) for n in range(20)})
    added = np.concatenate([np.tile(LOOP, 2), tune(200, 22)])
    index.add(Track(track_id="added", duration_s=30), fingerprint(added))
    index.asked.clear()
    assert 0 < len(found(index, "added", added)) <= RELATIVES_MAX
    asked = [passage for question in index.asked if isinstance(question, Fetch) for passage in question.passages]
    assert len({p.track_no for p in asked if p.end_frame > 60 * FRAMES_PER_S}) <= RELATIVES_MAX
