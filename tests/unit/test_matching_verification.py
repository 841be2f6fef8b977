"""Constellations laid over one another: transformed copies are recovered, unrelated ones are chance."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from earmark.matching import histograms
from earmark.matching.verification import Alignment, Constellation, Line, align, hits_along, judge, judge_last, judge_without_best, without
from earmark.model import Peaks

SECONDS = 12
FRAMES = SECONDS * 31.25


def stars(seed: int, seconds: float = 30.0, per_s: float = 30.0) -> Constellation:
    """Peaks at random, about as many as music has."""
    rng = np.random.default_rng(seed)
    count = int(seconds * per_s)
    frame, octave = np.sort(rng.uniform(0, seconds * 31.25, count)), rng.uniform(math.log2(200), math.log2(3_600), count)
    return Constellation(frame, octave, rng.uniform(1, 8, count).astype(np.float32))


def played(reference: Constellation, line: Line, *, keep: float = 1.0, jitter: float = 0.0, seed: int = 0) -> Constellation:
    """What 12 s of a stream hear of a recording along a line, the stream's clock beginning at 0."""
    rng = np.random.default_rng(seed)
    frame = (reference.frame - line.offset) / line.slope + rng.normal(0, jitter, len(reference))
    octave = reference.octave + math.log2(line.pitch)
    order = np.argsort(frame)
    heard = Constellation(frame[order], octave[order], reference.salience[order]).between(0, FRAMES)
    return heard.take(rng.random(len(heard)) < keep)


def mixed(*parts: Constellation) -> Constellation:
    joined = Constellation.join(*parts)
    return joined.take(np.argsort(joined.frame))


def found(heard: Constellation, reference: Constellation, line: Line) -> Alignment:
    alignment = align(heard, reference, line, 0.0, FRAMES)
    assert alignment is not None
    return alignment


def test_a_constellation_keeps_how_far_its_peaks_stand_out() -> None:
    peaks = Peaks(
        eighth_frames=np.array([8, 12, 80], np.int32),
        eighth_hz=np.array([8_000, 16_000, 4_000], np.int32),
        hashed=np.array([True, False, True]),
        salience=np.array([1.5, 2.5, 3.5], np.float32),
    )
    whole = Constellation.of(peaks, 100.0)
    assert (whole.frame.tolist(), whole.salience.tolist()) == ([101, 101.5, 110], [1.5, 2.5, 3.5])
    assert (whole.octave - math.log2(1_000)).tolist() == pytest.approx([0, 1, -1])
    parts = whole.between(0, 101.5), whole.between(101.5, 110), whole.between(110, 1_000)
    assert [len(part) for part in parts] == [1, 1, 1]
    for same in (Constellation.join(*parts), Constellation.join(Constellation.none(), whole), whole.take(np.arange(3)), whole.take(np.ones(3, np.bool_))):
        assert (same.frame.tolist(), same.octave.tolist(), same.salience.tolist()) == (whole.frame.tolist(), whole.octave.tolist(), whole.salience.tolist())
        assert same.salience.dtype == np.float32
    assert len(Constellation.join(Constellation.none())) == len(Constellation.of(Peaks.none())) == 0


def test_evidence_does_not_depend_on_it() -> None:
    """Of stored peaks it is not known."""
    reference, line = stars(11), Line(pitch=1.0, slope=1.0, offset=100.0)
    heard = played(reference, line, keep=0.5, jitter=0.1)
    unknown = Constellation(reference.frame, reference.octave, np.zeros_like(reference.salience))
    with_it, without_it = found(heard, reference, line), found(heard, unknown, line)
    assert judge(with_it) == judge(without_it)
    assert with_it.line == without_it.line


@given(pitch=st.floats(0.975, 1.025), tempo=st.floats(-0.01, 0.01), place=st.floats(100, 400), off=st.floats(-3, 3), seed=st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_a_play_is_found_near_where_it_was_proposed(pitch: float, tempo: float, place: float, off: float, seed: int) -> None:
    truth = Line(pitch=pitch, slope=1.0 + tempo, offset=place)
    reference = stars(seed)
    proposed = Line(pitch=1.0, slope=1.0, offset=truth.reference(FRAMES / 2) - FRAMES / 2 + off)
    alignment = found(played(reference, truth, keep=0.8, jitter=0.1), reference, proposed)
    assert alignment.line.pitch == pytest.approx(pitch, rel=2e-3)
    assert alignment.line.slope == pytest.approx(truth.slope, rel=2e-3)
    assert alignment.line.reference(FRAMES / 2) == pytest.approx(truth.reference(FRAMES / 2), abs=0.3)
    assert judge(alignment).nats > 100


@given(seed=st.integers(0, 1_000))
@settings(max_examples=40, deadline=None)
def test_unrelated_sound_is_chance(seed: int) -> None:
    alignment = align(stars(seed), stars(seed + 5_000), Line(pitch=1.0, slope=1.0, offset=100.0), 0.0, FRAMES)
    assert alignment is None or judge(alignment).nats < 20


def test_quiet_music_under_other_sound_is_told_from_chance() -> None:
    reference, line = stars(1), Line(pitch=1.0, slope=1.0, offset=200.0)
    heard = mixed(played(reference, line, keep=0.15, jitter=0.1), stars(2, SECONDS))
    evidence = judge(found(heard, reference, line))
    assert evidence.nats > 30
    assert evidence.share < 0.25


def test_silence_has_no_evidence() -> None:
    line = Line(pitch=1.0, slope=1.0, offset=0.0)
    assert align(Constellation.none(), stars(1), line, 0.0, FRAMES) is None
    assert align(stars(1), Constellation.none(), line, 0.0, FRAMES) is None
    assert len(hits_along(Constellation.none(), stars(1), line, 0.0, FRAMES).frame) == 0


def test_a_loop_is_certain_though_no_second_of_it_is() -> None:
    bar = stars(3, 0.5)
    reference = Constellation.join(*[Constellation(bar.frame + 15.625 * n, bar.octave, bar.salience) for n in range(60)])
    line = Line(pitch=1.0, slope=1.0, offset=156.25)
    evidence = judge(found(played(reference, line), reference, line))
    assert evidence.second_nats < 32 < evidence.nats
    assert evidence.share > 0.7


def test_of_a_short_quotation_nothing_is_left_without_its_best_seconds() -> None:
    reference, line = stars(4), Line(pitch=1.0, slope=1.0, offset=100.0)
    quoted = played(reference, line).between(100, 200)
    alignment = found(mixed(quoted, stars(5, SECONDS)), reference, line)
    assert judge(alignment).nats > 100
    assert judge_without_best(alignment, 125).nats < 10
    whole = found(played(reference, line), reference, line)
    assert judge_without_best(whole, 125).nats > 100


def test_music_that_ended_is_not_in_the_last_seconds() -> None:
    reference, line = stars(6), Line(pitch=1.0, slope=1.0, offset=100.0)
    alignment = found(mixed(played(reference, line).between(0, 180), stars(7, SECONDS)), reference, line)
    assert judge_last(alignment, 187.5).nats < 12
    assert judge_last(found(played(reference, line), reference, line), 187.5).nats > 100


def test_what_is_explained_counts_only_once() -> None:
    reference, line = stars(8), Line(pitch=1.0, slope=1.0, offset=100.0)
    alignment = found(mixed(played(reference, line), stars(9, SECONDS)), reference, line)
    rest = without(alignment, alignment.explained())
    assert rest.heard.salience.tolist() == alignment.heard.salience[~alignment.explained()].tolist()
    assert len(rest.heard) == len(rest.heard.salience) == len(alignment.heard) - np.count_nonzero(alignment.explained())
    assert judge(rest).nats < 5
    untouched = without(alignment, np.zeros(len(alignment.heard), np.bool_))
    assert judge(untouched) == judge(alignment)


def test_hits_are_the_peaks_on_the_line_and_chance_is_what_lies_beside() -> None:
    reference, line = stars(10), Line(pitch=1.0, slope=1.0, offset=100.0)
    heard = played(reference, line).between(50, 300)
    hits = hits_along(heard, reference, line, 0.0, FRAMES)
    assert np.array_equal(hits.frame, heard.frame)
    assert hits.chance < 0.05
    assert np.array_equal(found(heard, reference, line).hits(200.0).frame, heard.between(200, 300).frame)


@given(st.integers(1, 400), st.floats(0.25, 200))
def test_the_tail_is_poisson(count: int, mean: float) -> None:
    if count <= mean:
        return
    nats = histograms._poisson_tail_nats(count, mean)
    assert math.isfinite(nats)
    exact = -poisson.logsf(count - 1, mean)
    if exact < 600:
        assert nats == pytest.approx(exact, rel=1e-6, abs=1e-6)
    else:
        assert nats > 590


@given(st.integers(0, 10_000), st.integers(5, 80))
@settings(max_examples=40, deadline=None)
def test_each_peak_counts_once_in_a_cell(seed: int, pairs: int) -> None:
    rng = np.random.default_rng(seed)
    query, reference = rng.integers(0, 12, pairs), rng.integers(0, 12, pairs)
    off, miss = rng.uniform(-40, 40, pairs).round(1), rng.uniform(0, 1, pairs)
    narrow, wide = histograms.coincidences(query, reference, off, miss)
    layout = histograms.Histograms
    for n, half_cell in enumerate(histograms.HALF_CELLS):
        for counted, limit in ((narrow, 0.35), (wide, 1.0)):
            for cell in range(-layout.half[n], layout.half[n] + 1):
                inside = (np.floor(off / (2 * half_cell) + 0.5) == cell) & (miss <= limit)
                expected = min(len(set(query[inside])), len(set(reference[inside])))
                assert counted[layout.main[n] + cell] == expected
