"""Where a play begins and ends, from the times of its hits."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.matching.dating import Gaps, Trail, walk_back, walk_on
from earmark.matching.verification import Constellation, Hits, Line

NO_GAPS = Gaps()


def dense(begin: float, end: float, per_frame: float = 0.3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    count = max(2, int((end - begin) * per_frame))
    return np.unique(np.concatenate([[begin], np.sort(rng.uniform(begin, end, count)), [end]]))


def trail_of(*parts: np.ndarray, chance: float = 0.005, gaps: Gaps = NO_GAPS) -> Trail:
    trail = Trail()
    for part in parts:
        trail.add(Hits(part, chance), gaps)
    trail.begin()
    return trail


@given(st.floats(100, 400), st.floats(200, 900), st.integers(0, 100))
@settings(max_examples=40)
def test_the_edges_are_where_the_rate_changes(begin: float, length: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    stray = [begin - 90 - rng.uniform(0, 5), begin + length + 80 + rng.uniform(0, 5)]
    trail = trail_of(np.array(stray[:1]), dense(begin, begin + length, seed=seed), np.array(stray[1:]))
    assert trail.begin_frame == begin
    assert trail.end_frame == pytest.approx(begin + length)


def test_a_stretch_talked_over_does_not_end_a_play() -> None:
    trail = trail_of(dense(0, 300), dense(900, 1_200, seed=1))
    assert (trail.begin_frame, trail.end_frame) == (0, 1_200)
    assert trail.matched_frames(NO_GAPS) == pytest.approx(600, abs=5)


def test_hits_that_chance_would_give_do_not_extend_a_play() -> None:
    # Another piece in the same key goes on matching, at the rate that pairs lie beside the line.
    trail = Trail()
    trail.add(Hits(dense(0, 300), 0.005), NO_GAPS)
    trail.begin()
    for second in range(15):
        trail.add(Hits(np.linspace(301 + 31 * second, 330 + 31 * second, 2), 0.06), NO_GAPS)
    assert trail.end_frame < 340


@pytest.mark.parametrize("per_frame, end_frame", [(0.8, 330), (0.15, 466)], ids=["a play of 25 hits a second", "one of 5"])
def test_a_few_hits_a_second_extend_a_play_that_never_had_many_more(per_frame: float, end_frame: float) -> None:
    # One a second for five seconds, with hardly any beside the line: the first of them may still be its own.
    trail = trail_of(dense(0, 300, per_frame), np.linspace(330, 466, 5))
    assert trail.end_frame == end_frame


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_under_a_loud_talker_the_end_is_still_the_plays(share: float) -> None:
    # A sixth of the hits is left for ten seconds.
    trail = trail_of(dense(0, 900, 0.6), dense(910, 910 + 310 * share, 0.1, seed=3))
    assert trail.end_frame == pytest.approx(910 + 310 * share)


def test_what_was_not_heard_does_not_count_against_a_play() -> None:
    gaps = Gaps()
    gaps.add(310, 3_000)
    trail = trail_of(dense(0, 300), np.array([3_001.0, 3_002.0, 3_005.0]), gaps=gaps)
    assert trail.end_frame == 3_005
    assert gaps.frames(trail.begin_frame, trail.end_frame) == 2_690
    assert trail_of(dense(0, 300), np.array([3_001.0, 3_002.0, 3_005.0])).end_frame == 300


def test_a_long_play_is_not_kept_hit_by_hit() -> None:
    trail = Trail()
    trail.add(Hits(dense(0, 31), 0.005), NO_GAPS)
    trail.begin()
    for second in range(1, 600):
        trail.add(Hits(dense(31.25 * second, 31.25 * (second + 1), seed=second), 0.005), NO_GAPS)
    assert len(trail._frame) < 3_000
    assert trail.matched_frames(NO_GAPS) == pytest.approx(600 * 31.25, rel=1e-3)
    assert (trail.begin_frame, trail.end_frame) == (0, 600 * 31.25)


def test_a_play_taken_up_again_keeps_what_was_known() -> None:
    trail = Trail(begin_frame=100, end_frame=900, matched_frames=700)
    assert (trail.begin_frame, trail.end_frame, trail.matched_frames(NO_GAPS)) == (100, 900, 700)
    trail.add(Hits(np.array([1_400.0]), 0.005), NO_GAPS)
    assert trail.end_frame == 900
    trail.add(Hits(dense(1_401, 1_800), 0.005), NO_GAPS)
    assert (trail.begin_frame, trail.end_frame) == (100, 1_800)


def test_a_trail_without_hits_is_empty() -> None:
    trail = Trail()
    trail.add(Hits(np.zeros(0), 0.0), NO_GAPS)
    trail.begin()
    assert (trail.begin_frame, trail.end_frame, trail.matched_frames(NO_GAPS)) == (0, 0, 0)


def test_gaps_that_are_long_past_are_forgotten() -> None:
    gaps = Gaps()
    gaps.add(0, 10)
    gaps.add(100, 110)
    gaps.forget(50)
    assert (gaps.frames(0, 200), list(gaps.heard(np.array([50.0, 105.0, 200.0])))) == (10, [50.0, 100.0, 190.0])


def stars(seed: int, begin: float, end: float) -> Constellation:
    rng = np.random.default_rng(seed)
    count = int(end - begin)
    return Constellation(np.sort(rng.uniform(begin, end, count)), rng.uniform(7.7, 11.8, count), np.full(count, 4, np.float32))


def test_a_line_is_walked_back_to_where_it_began_though_its_slope_was_a_little_off() -> None:
    # The recording begins to sound at stream frame 800; the line is only known around frame 1,700.
    reference = stars(1, 0, 2_000)
    history = Constellation.join(stars(2, 0, 800), Constellation(reference.frame + 800, reference.octave, reference.salience))
    line = Line(pitch=1.0, slope=1.003, offset=-800 - 0.003 * 1_700)
    parts = walk_back(history.between(0, 1_800), reference, line, 1_600)
    assert all(a.frame[-1] <= b.frame[0] for a, b in pairwise(parts) if len(a.frame) and len(b.frame))
    trail = trail_of(*(part.frame for part in parts))
    assert trail.begin_frame == pytest.approx(800, abs=3)


def test_a_line_is_followed_on_to_where_it_ends_though_its_slope_was_a_little_off() -> None:
    # The recording sounds from stream frame 0 to 1,000; the line is only known around frame 100.
    reference = stars(1, 0, 2_000)
    history = Constellation.join(reference.between(0, 1_000), stars(2, 1_000, 2_000))
    line = Line(pitch=1.0, slope=1.003, offset=-0.003 * 100)
    parts = walk_on(history, reference, line, 200)
    assert all(a.frame[-1] <= b.frame[0] for a, b in pairwise(parts) if len(a.frame) and len(b.frame))
    assert trail_of(*(part.frame for part in parts)).end_frame == pytest.approx(1_000, abs=3)


@pytest.mark.parametrize("back", [True, False])
def test_silence_ends_a_line_only_where_it_is_not_known_to_go_on(back: bool) -> None:
    # The music pauses for 24 s, as four steps do, between frames 400 and 1,150.
    reference = stars(1, 0, 1_600)
    history = Constellation.join(reference.between(0, 400), reference.between(1_150, 1_600))
    line, walk, from_frame = Line(pitch=1.0, slope=1.0, offset=0.0), (walk_back if back else walk_on), 1_300 if back else 300

    def reached(least_frames: float) -> float:
        frames = np.concatenate([part.frame for part in walk(history, reference, line, from_frame, least_frames=least_frames)])
        return float(frames.min() if back else frames.max())

    assert reached(0) == pytest.approx(1_150 if back else 400, abs=5)
    assert reached(1_200) == pytest.approx(0 if back else 1_600, abs=5)
