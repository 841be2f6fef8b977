"""Postings to candidates: what agrees is found, what does not is not, whatever the order of the answers."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.matching.alignment import BIN_FRAMES, Candidate, Votes, lone, postings_max, rarest, slopes, votes_least
from earmark.model import CatalogueSize, Postings

WINDOW = 375.0


def postings(*rows: tuple[int, int, float]) -> tuple[Postings, np.ndarray]:
    """(track, reference frame, query frame) as the answer to one question each."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    found = Postings(query=np.arange(len(rows), dtype=np.int32), track_no=np.array(columns[0], np.int32), frame=np.array(columns[1], np.int32))
    return found, np.array(columns[2], np.float64)


def votes(hypothesis: float = 1.0, least: int = 2) -> Votes:
    return Votes(hypothesis=hypothesis, window_frames=WINDOW, least=least)


def size(tracks: int, hours: float = 1.0) -> CatalogueSize:
    return CatalogueSize(tracks=tracks, seconds=hours * 3_600, postings=tracks * 15_000)


def test_two_landmarks_on_a_line_are_a_candidate() -> None:
    best = next(votes().add(*postings((7, 1_000, 10.0), (7, 1_100, 110.0), (8, 500, 20.0))))
    assert (best.track_no, best.votes, best.line.pitch, best.line.slope) == (7, 2, 1.0, 1.0)
    assert best.line.reference(10.0) == 1_000


def test_a_single_landmark_is_none() -> None:
    assert list(votes().add(*postings((7, 1_000, 10.0), (8, 1_100, 110.0)))) == []


def test_two_landmarks_that_disagree_are_none() -> None:
    assert list(votes().add(*postings((7, 1_000, 10.0), (7, 1_300, 110.0)))) == []


def test_one_vote_for_each_anchor_frame() -> None:
    # A chord gives many landmarks at once; together they are one observation.
    assert list(votes().add(*postings((7, 1_000, 10.0), (7, 1_001, 10.25), (7, 1_002, 10.5)))) == []


def test_candidates_are_those_that_gained_a_vote() -> None:
    table = votes()
    assert list(table.add(*postings((7, 1_000, 10.0), (7, 1_100, 110.0))))
    assert list(table.add(*postings((8, 300, 120.0)))) == []
    assert [c.track_no for c in table.add(*postings((7, 1_120, 130.0)))][:1] == [7]


def test_postings_that_left_the_window_do_not_vote() -> None:
    table = votes()
    list(table.add(*postings((7, 1_000, 10.0))))
    table.forget(before_frame=50.0)
    assert len(table) == 0
    assert list(table.add(*postings((7, 1_100, 110.0)))) == []


def test_a_changed_tempo_gathers_at_its_own_slope() -> None:
    heard = [float(q) for q in range(0, 370, 37)]
    full = [c.line.slope for c in votes().add(*postings(*((3, round(2_000 + 1.06 * q), q) for q in heard))) if c.votes == len(heard)]
    assert 1.06 in full and all(abs(slope - 1.06) < 0.03 for slope in full)


def test_another_speed_is_counted_around_itself() -> None:
    heard = [float(q) for q in range(0, 370, 37)]
    best = next(votes(0.95).add(*postings(*((3, round(2_000 + 0.95 * q), q) for q in heard))))
    assert (best.line.pitch, best.line.slope) == (0.95, 0.95)
    assert set(slopes(0.95)) == {0.95, 0.95 * 1.02, 0.95 * 0.98, 1.0}


def test_more_votes_come_first_and_ties_go_to_the_likely_slope() -> None:
    rows = [(1, 100, 0.0), (1, 110, 10.0), (2, 200, 0.0), (2, 210, 10.0), (2, 220, 20.0)]
    found = list(votes().add(*postings(*rows)))
    assert [found[0].track_no, found[0].votes, found[0].line.slope] == [2, 3, 1.0]
    assert [c.votes for c in found] == sorted((c.votes for c in found), reverse=True)


def test_least_may_be_three() -> None:
    rows = [(1, 100, 0.0), (1, 110, 10.0)]
    assert list(votes(least=3).add(*postings(*rows))) == []
    assert list(votes(least=3).add(*postings(*rows, (1, 120, 20.0))))


rows = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 300), st.integers(0, 8 * 300).map(lambda e: e / 8)), min_size=0, max_size=40, unique=True)


@given(rows, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_an_answer_does_not_matter(found: list[tuple[int, int, float]], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert list(votes().add(*postings(*found))) == list(votes().add(*postings(*shuffled)))


@given(rows)
@settings(max_examples=60, deadline=None)
def test_the_shortcut_counts_what_counting_everything_would(found: list[tuple[int, int, float]]) -> None:
    expected: dict[tuple[int, float, int, int], set[int]] = {}
    for track, reference, query in found:
        for slope in slopes(1.0):
            for half in (0, 1):
                cell = int(np.floor((reference - slope * query + half * BIN_FRAMES / 2) / BIN_FRAMES))
                expected.setdefault((track, slope, half, cell), set()).add(int(query))
    enough = sorted((key[0], key[1], len(anchors)) for key, anchors in expected.items() if len(anchors) >= 2)
    assert sorted((c.track_no, c.line.slope, c.votes) for c in votes().add(*postings(*found))) == enough


@given(rows, st.integers(1, 39))
@settings(max_examples=40, deadline=None)
def test_votes_add_up_over_steps(found: list[tuple[int, int, float]], cut: int) -> None:
    at_once = {(c.track_no, c.line.slope, c.votes, c.line.offset) for c in votes().add(*postings(*found))}
    table = votes()
    list(table.add(*postings(*found[:cut])))
    later = {(c.track_no, c.line.slope, c.votes, c.line.offset) for c in table.add(*postings(*found[cut:]))}
    assert later <= at_once


def test_a_posting_alone_is_a_candidate_when_nothing_agrees() -> None:
    found, query = postings((5, 900, 10.0), (6, 400, 20.0), (6, 410, 20.0))
    found = Postings(query=np.array([0, 1, 1], np.int32), track_no=found.track_no, frame=found.frame)
    alone = list(lone(found, query, 1.0))
    assert [(c.track_no, c.votes, c.line.reference(10.0)) for c in alone[:1]] == [(5, 1, 900.0)]
    assert len(alone) == 3


def test_hostile_sound_is_cut_to_its_rarest_hashes() -> None:
    query = np.array([0] * 50 + [1] * 3 + [2] * 5, np.int32)
    flood = Postings(query=query, track_no=np.arange(58, dtype=np.int32), frame=np.zeros(58, np.int32))
    assert sorted(set(rarest(flood, 10).query)) == [1, 2]
    assert rarest(flood, 58) is flood


def test_the_stop_list_and_the_votes_follow_the_catalogue() -> None:
    assert postings_max(size(1, 0.1)) == postings_max(size(800, 79)) == 32
    assert postings_max(size(100_000, 6_667)) == 843
    assert (votes_least(size(49_999)), votes_least(size(50_000))) == (2, 3)


def test_a_candidate_is_a_value() -> None:
    first, second = (next(votes().add(*postings((1, 5, 0.0), (1, 25, 20.0)))) for _ in range(2))
    assert isinstance(first, Candidate)
    assert first == second
