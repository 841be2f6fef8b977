"""Postings to candidates: what agrees is found, what does not is not, whatever the order of the answers."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from earmark.matching.alignment import (
    BIN_FRAMES,
    CHANCE_CLIP,
    CHANCE_LIVE,
    PAIR_BIN_FRAMES,
    Candidate,
    Votes,
    postings_max,
    rarest,
    slopes,
    votes_least,
)
from earmark.model import FRAMES_PER_S, CatalogueSize, Postings

WINDOW = 375.0
#: So large that two votes of a few postings are never chance.
LARGE = CatalogueSize(tracks=15_000, seconds=1_000 * 3_600.0, postings=10**8)


def postings(*rows: tuple[int, int, float]) -> tuple[Postings, np.ndarray]:
    """(track, reference frame, query frame) as the answer to one question each."""
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    found = Postings(query=np.arange(len(rows), dtype=np.int32), track_no=np.array(columns[0], np.int32), frame=np.array(columns[1], np.int32))
    return found, np.array(columns[2], np.float64)


def votes(hypothesis: float = 1.0, chance_max: float = CHANCE_LIVE) -> Votes:
    return Votes.of_triples(hypothesis=hypothesis, window_frames=WINDOW, chance_max=chance_max)


def pair_votes(hypothesis: float = 1.0, chance_max: float = CHANCE_LIVE) -> Votes:
    return Votes.of_pairs(hypothesis=hypothesis, window_frames=WINDOW, chance_max=chance_max)


each_family = pytest.mark.parametrize("family", [votes, pair_votes], ids=["triples", "pairs"])
Family = Callable[..., Votes]


def proposed(table: Votes, *rows: tuple[int, int, float], size: CatalogueSize = LARGE) -> list[Candidate]:
    return list(table.add(*postings(*rows), size))


def size(tracks: int, hours: float = 1.0) -> CatalogueSize:
    return CatalogueSize(tracks=tracks, seconds=hours * 3_600, postings=tracks * 15_000)


@each_family
def test_two_landmarks_on_a_line_are_a_candidate(family: Family) -> None:
    best = proposed(family(), (7, 1_000, 10.0), (7, 1_100, 110.0), (8, 500, 20.0))[0]
    assert (best.track_no, best.votes, best.line.pitch, best.line.slope) == (7, 2, 1.0, 1.0)
    assert best.line.reference(10.0) == 1_000


@each_family
def test_a_single_landmark_is_none(family: Family) -> None:
    assert proposed(family(), (7, 1_000, 10.0), (8, 1_100, 110.0)) == []


@each_family
def test_two_landmarks_that_disagree_are_none(family: Family) -> None:
    assert proposed(family(), (7, 1_000, 10.0), (7, 1_300, 110.0)) == []


@each_family
def test_one_vote_for_each_anchor_frame(family: Family) -> None:
    # A chord gives many landmarks at once; together they are one observation.
    assert proposed(family(), (7, 1_000, 10.0), (7, 1_001, 10.25), (7, 1_002, 10.5)) == []


@each_family
def test_candidates_are_those_that_gained_a_vote(family: Family) -> None:
    table = family()
    assert proposed(table, (7, 1_000, 10.0), (7, 1_100, 110.0))
    assert proposed(table, (8, 300, 120.0)) == []
    assert [c.track_no for c in proposed(table, (7, 1_120, 130.0))][:1] == [7]


@each_family
def test_postings_that_left_the_window_do_not_vote(family: Family) -> None:
    table = family()
    proposed(table, (7, 1_000, 10.0))
    table.forget(before_frame=50.0)
    assert len(table) == 0
    assert proposed(table, (7, 1_100, 110.0)) == []


def test_a_changed_tempo_gathers_at_its_own_slope() -> None:
    heard = [float(q) for q in range(0, 370, 37)]
    full = [c.line.slope for c in proposed(votes(), *((3, round(2_000 + 1.06 * q), q) for q in heard)) if c.votes == len(heard)]
    assert 1.06 in full and all(abs(slope - 1.06) < 0.03 for slope in full)


@each_family
def test_another_speed_is_counted_around_itself(family: Family) -> None:
    heard = [float(q) for q in range(0, 370, 37)]
    best = proposed(family(0.95), *((3, round(2_000 + 0.95 * q), q) for q in heard))[0]
    assert (best.line.pitch, best.line.slope) == (0.95, 0.95)
    assert set(slopes(0.95)) == {0.95, 0.95 * 1.02, 0.95 * 0.98, 1.0}


def test_pairs_know_one_slope_and_bear_half_as_much() -> None:
    """Their frequencies would not have been found at another speed."""
    tempo_changed = [(3, round(2_000 + 1.03 * q), float(q)) for q in range(0, 370, 37)]
    assert {c.line.slope for c in proposed(pair_votes(), *tempo_changed)} == {1.0}
    assert max(c.votes for c in proposed(pair_votes(), *tempo_changed)) < 6
    assert max(c.votes for c in proposed(votes(), *tempo_changed)) == 10
    six_frames_apart = [(3, 1_000, 0.0), (3, 1_106, 100.0)]
    assert PAIR_BIN_FRAMES < 6 < BIN_FRAMES
    assert proposed(pair_votes(), *six_frames_apart) == []
    assert proposed(votes(), *six_frames_apart)


@each_family
@settings(deadline=None)
@given(offset=st.integers(-2_000, 10_000), apart=st.integers(0, 2), first=st.integers(0, 370), second=st.integers(0, 370))
def test_no_border_parts_what_is_close(family: Family, offset: int, apart: int, first: int, second: int) -> None:
    """Bins overlap by half: what lies within half of one always shares one."""
    found = proposed(family(), (1, offset + first, float(first)), (1, offset + apart + second, float(second)))
    assert any(c.line.slope == 1.0 for c in found) == (first != second)


@each_family
def test_more_votes_come_first_and_ties_go_to_the_likely_slope(family: Family) -> None:
    rows = [(1, 100, 0.0), (1, 110, 10.0), (2, 200, 0.0), (2, 210, 10.0), (2, 220, 20.0)]
    found = proposed(family(), *rows)
    assert [found[0].track_no, found[0].votes, found[0].line.slope] == [2, 3, 1.0]
    assert [c.votes for c in found] == sorted((c.votes for c in found), reverse=True)


@each_family
def test_where_chance_makes_two_agree_it_takes_three(family: Family) -> None:
    rows = [(1, 100, 0.0), (1, 110, 10.0)]
    small = size(1, hours=1 / 60)
    assert proposed(family(), *rows, size=small)
    assert proposed(family(chance_max=0.01), *rows, size=small) == []
    assert proposed(family(chance_max=0.01), *rows, (1, 120, 20.0), size=small)


rows = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 300), st.integers(0, 8 * 300).map(lambda e: e / 8)), min_size=0, max_size=40, unique=True)


@each_family
@given(found=rows, random=st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_an_answer_does_not_matter(family: Family, found: list[tuple[int, int, float]], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert proposed(family(), *found) == proposed(family(), *shuffled)


@pytest.mark.parametrize("family, tried, bin_frames", [(votes, slopes(1.0), BIN_FRAMES), (pair_votes, [1.0], PAIR_BIN_FRAMES)], ids=["triples", "pairs"])
@given(found=rows, minutes=st.sampled_from([60_000.0, 60.0, 6.0, 1.0]))
@settings(max_examples=100, deadline=None)
def test_the_shortcut_counts_what_counting_everything_would(
    family: Family, tried: list[float], bin_frames: float, found: list[tuple[int, int, float]], minutes: float
) -> None:
    least = votes_least(len(found), len(found), bin_frames=bin_frames, catalogue_s=minutes * 60, chance_max=CHANCE_LIVE)
    expected: dict[tuple[int, float, int, int], set[int]] = {}
    for track, reference, query in found:
        for slope in tried:
            for half in (0, 1):
                cell = int(np.floor((reference - slope * query + half * bin_frames / 2) / bin_frames))
                expected.setdefault((track, slope, half, cell), set()).add(int(query))
    enough = sorted((key[0], key[1], len(anchors)) for key, anchors in expected.items() if len(anchors) >= least)
    assert sorted((c.track_no, c.line.slope, c.votes) for c in proposed(family(), *found, size=size(3, minutes / 60))) == enough


@each_family
@given(found=rows, cut=st.integers(1, 39))
@settings(max_examples=40, deadline=None)
def test_votes_add_up_over_steps(family: Family, found: list[tuple[int, int, float]], cut: int) -> None:
    at_once = {(c.track_no, c.line.slope, c.votes, c.line.offset) for c in proposed(family(), *found)}
    table = family()
    proposed(table, *found[:cut])
    later = {(c.track_no, c.line.slope, c.votes, c.line.offset) for c in proposed(table, *found[cut:])}
    assert later <= at_once


def test_hostile_sound_is_cut_to_its_rarest_hashes() -> None:
    query = np.array([0] * 50 + [1] * 3 + [2] * 5, np.int32)
    flood = Postings(query=query, track_no=np.arange(58, dtype=np.int32), frame=np.zeros(58, np.int32))
    assert sorted(set(rarest(flood, 10).query)) == [1, 2]
    assert rarest(flood, 58) is flood


def test_the_stop_list_follows_the_catalogue() -> None:
    assert postings_max(size(1, 0.1)) == postings_max(size(800, 79)) == 32
    assert postings_max(size(100_000, 6_667)) == 843


def test_a_candidate_is_a_value() -> None:
    first, second = (proposed(votes(), (1, 5, 0.0), (1, 25, 20.0))[0] for _ in range(2))
    assert isinstance(first, Candidate)
    assert first == second


# ---------------------------------------------------------------------------------------------------- how many votes


COUNTS = {
    "postings": st.integers(1, 50_000),
    "share": st.floats(0, 1),
    "hours": st.floats(0.01, 10_000),
    "chance_max": st.sampled_from([CHANCE_LIVE, CHANCE_CLIP]),
}


def least(postings: int, share: float, hours: float, chance_max: float, *, bin_frames: float = BIN_FRAMES) -> int:
    return votes_least(postings, math.ceil(share * postings), bin_frames=bin_frames, catalogue_s=3_600 * hours, chance_max=chance_max)


@settings(deadline=None)
@given(**COUNTS)
def test_as_many_votes_as_chance_seldom_reaches(postings: int, share: float, hours: float, chance_max: float) -> None:
    mean, fresh = postings * BIN_FRAMES / (3_600 * hours * FRAMES_PER_S), math.ceil(share * postings)
    enough = [votes for votes in range(2, 9) if 2 * fresh * poisson.sf(votes - 2, mean) <= chance_max * (1 - 1e-9)]
    found = least(postings, share, hours, chance_max)
    assert 2 <= found <= 9
    assert found <= min([*enough, 9])
    assert found in (2, 9) or 2 * fresh * poisson.sf(found - 3, mean) > chance_max * (1 - 1e-9)


@settings(deadline=None)
@given(**COUNTS, more=st.floats(1, 10))
def test_more_postings_need_more_votes_and_larger_catalogues_fewer(postings: int, share: float, hours: float, chance_max: float, more: float) -> None:
    found = least(postings, share, hours, chance_max)
    assert least(round(more * postings), share, hours, chance_max) >= found
    assert least(postings, share, more * hours, chance_max) <= found
    assert least(postings, share, hours, more * chance_max) <= found
    assert least(postings, share, hours, chance_max, bin_frames=PAIR_BIN_FRAMES) <= found


def test_an_empty_catalogue_and_an_empty_answer_are_no_exceptions() -> None:
    assert votes_least(0, 0, bin_frames=BIN_FRAMES, catalogue_s=0.0, chance_max=CHANCE_LIVE) == 2
    assert votes_least(50, 50, bin_frames=BIN_FRAMES, catalogue_s=0.0, chance_max=CHANCE_LIVE) == 9
    assert proposed(votes(), size=size(0, 0)) == []


def at_random(rng: np.random.Generator, count: int, frames: float, begin: float, end: float) -> list[tuple[int, int, float]]:
    """Postings anywhere in a recording of so many frames."""
    return [(1, int(r), float(q)) for r, q in zip(rng.uniform(0, frames, count), rng.uniform(begin, end, count), strict=True)]


@pytest.mark.parametrize("hours, per_step", [(0.3, 200), (5, 400), (79, 600)])
def test_chance_proposes_about_as_many_as_it_may(hours: float, per_step: int) -> None:
    """Pairs that fall anywhere, a dozen seconds of them: the steps after that propose a few candidates each, seldom more."""
    rng, table, catalogue = np.random.default_rng(9), pair_votes(), size(20, hours)
    proposed_n = []
    for step in range(40):
        now = 32.0 * step
        table.forget(now - WINDOW)
        answer = at_random(rng, per_step, catalogue.seconds * FRAMES_PER_S, now, now + 32)
        proposed_n.append(len(proposed(table, *answer, size=catalogue)))
    assert np.mean(proposed_n[12:]) <= CHANCE_LIVE


@each_family
def test_a_recording_that_is_heard_is_first_among_what_chance_proposes(family: Family) -> None:
    rng = np.random.default_rng(10)
    catalogue = size(20, 0.5)
    heard = [(2, 5_000 + q, float(q)) for q in rng.permutation(370)[:14].tolist()]
    stray = at_random(rng, 600, catalogue.seconds * FRAMES_PER_S, 0, WINDOW)
    best = proposed(family(), *stray, *heard, size=catalogue)[0]
    assert (best.track_no, best.line.slope, round(best.line.offset)) == (2, 1.0, 5_000)
