"""Landmarks of both families: what a reference holds, what is asked for, and that a stream asks what the whole would."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.fingerprint import landmarks as module
from earmark.fingerprint.landmarks import AGAIN, DEEP, KEEP, LIVE, Depth, first_postings, key, landmarks, pair_questions, triple_questions
from earmark.fingerprint.targets import LOOKAHEAD_FRAMES
from earmark.fingerprint.window import Window, fingerprint
from earmark.model import RATE_HZ, Int32, Landmarks, Peaks
from fingerprint_audio import SOUNDS, music
from fingerprint_definition import CONSTELLATIONS, asked, constellation, defined, defined_pairs, defined_triples, hashed

MUSIC = fingerprint(music(31, 12))
WHOLE = {name: fingerprint(samples) for name, samples in SOUNDS.items()}
DEPTHS = {"live": LIVE, "again": AGAIN, "deep": DEEP}
SPEEDS = [0.96, 1.0, 1.04]

Family = Callable[..., Landmarks]
each_family = pytest.mark.parametrize("family", [triple_questions, pair_questions], ids=["triples", "pairs"])
each_depth = pytest.mark.parametrize("depth", list(DEPTHS.values()), ids=list(DEPTHS))


def equal(one: Landmarks, other: Landmarks) -> bool:
    return np.array_equal(one.hash, other.hash) and np.array_equal(one.frame, other.frame)


def joined(*parts: Landmarks) -> Landmarks:
    return Landmarks(hash=np.concatenate([part.hash for part in parts]), frame=np.concatenate([part.frame for part in parts]))


@settings(deadline=None)
@given(code=st.integers(0, 2**41 - 1))
def test_a_key_is_31_bits_of_the_product(code: int) -> None:
    found: Int32 = key(np.array([code], np.int64))
    assert found.dtype == np.int32
    assert found.tolist() == [hashed(code)]
    assert found[0] >= 0


# ---------------------------------------------------------------------------------------------------- references


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS)
def test_landmarks_are_those_of_the_definition(peaks: Peaks) -> None:
    found = landmarks(peaks)
    assert asked(found) == defined(peaks)
    # Triples, then pairs, each in order of their anchors.
    assert np.count_nonzero(np.diff(found.frame) < 0) <= 1
    assert (found.hash.dtype, found.frame.dtype) == (np.int32, np.float64)


def test_landmarks_depend_on_salience() -> None:
    flat = Peaks(eighth_frames=MUSIC.eighth_frames, eighth_hz=MUSIC.eighth_hz, hashed=MUSIC.hashed, salience=np.zeros_like(MUSIC.salience))
    assert len(asked(landmarks(flat)) & asked(landmarks(MUSIC))) < len(landmarks(MUSIC)) / 2
    louder = Peaks(eighth_frames=MUSIC.eighth_frames, eighth_hz=MUSIC.eighth_hz, hashed=MUSIC.hashed, salience=2 * MUSIC.salience)
    assert equal(landmarks(louder), landmarks(MUSIC))


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS, at_once=st.integers(1, 20))
def test_hashed_in_parts_they_are_the_same(peaks: Peaks, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ANCHORS_AT_ONCE", at_once)
        in_parts = landmarks(peaks)
    assert equal(in_parts, landmarks(peaks))


def test_a_long_recording_is_hashed_in_parts_without_seams() -> None:
    peaks = constellation(5, 40_000, 30_000)
    assert np.count_nonzero(peaks.hashed) > 3 * 8_192
    found = asked(landmarks(peaks))
    # Around the first seam of the pairs, at 6,150 frames, and that of the triples, at 7,700.
    begin, end = 5_000.0, 9_000.0
    piece = defined(peaks.between(begin, end + LOOKAHEAD_FRAMES))
    assert {(frame, hash_) for frame, hash_ in found if begin <= frame < end} == {(frame, hash_) for frame, hash_ in piece if frame < end}


@settings(deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=60), keep=st.integers(1, 5))
def test_of_one_hash_the_earliest_postings_are_kept(rows: list[tuple[int, int]], keep: int) -> None:
    """Of equally early ones the first; triples and pairs each begin at the beginning, so they are not in order of time."""
    kept = first_postings(Landmarks(hash=np.array([hash_ for hash_, _ in rows], np.int32), frame=np.array([eighth / 8 for _, eighth in rows])), keep)
    places = [
        place
        for place, (hash_, eighth) in enumerate(rows)
        if sum(other == hash_ and (when, where) < (eighth, place) for where, (other, when) in enumerate(rows)) < keep
    ]
    assert list(zip(kept.hash.tolist(), kept.frame.tolist(), strict=True)) == [(rows[place][0], rows[place][1] / 8) for place in places]


def test_a_loop_is_said_a_few_times_and_not_fifty() -> None:
    bar = music(32, 1.024)  # 32 frames
    found = landmarks(fingerprint(np.tile(bar, 30)))
    assert np.unique(found.hash, return_counts=True)[1].max() > 20
    assert np.unique(first_postings(found).hash, return_counts=True)[1].max() == KEEP


# ---------------------------------------------------------------------------------------------------- questions


@settings(deadline=None, max_examples=60)
@given(peaks=CONSTELLATIONS, speed=st.sampled_from(SPEEDS), depth=st.sampled_from([LIVE, AGAIN, DEEP]))
def test_questions_are_those_of_the_definition(peaks: Peaks, speed: float, depth: Depth) -> None:
    of_triples, of_pairs = (family(peaks, begin_frame=-math.inf, end_frame=math.inf, speed=speed, depth=depth) for family in (triple_questions, pair_questions))
    assert asked(of_triples) == defined_triples(peaks, depth, speed=speed)
    assert asked(of_pairs) == defined_pairs(peaks, depth, speed=speed)
    for found in (of_triples, of_pairs):
        assert len(asked(found)) == len(found)
        rows = list(zip(found.frame.tolist(), found.hash.tolist(), strict=True))
        assert rows == sorted(rows)


@each_depth
def test_questions_hold_what_the_reference_answers(depth: Depth) -> None:
    reference = landmarks(MUSIC)
    questions = [asked(family(MUSIC, begin_frame=0, end_frame=math.inf, depth=depth)) for family in (triple_questions, pair_questions)]
    assert questions[0] | questions[1] >= asked(reference)


@each_family
def test_the_deeper_the_more_is_asked(family: Family) -> None:
    live, again, deep = (asked(family(MUSIC, begin_frame=0, end_frame=math.inf, depth=depth)) for depth in (LIVE, AGAIN, DEEP))
    assert live < again < deep


@each_family
@settings(deadline=None, max_examples=60)
@given(
    sound=st.sampled_from(["music", "noise", "clipped", "chord"]),
    cuts=st.lists(st.floats(0, 100), max_size=8),
    speed=st.sampled_from(SPEEDS),
    depth=st.sampled_from([LIVE, AGAIN, DEEP]),
)
def test_questions_asked_piece_by_piece_are_those_of_the_whole(family: Family, sound: str, cuts: list[float], speed: float, depth: Depth) -> None:
    borders = [0.0, *sorted(cuts), math.inf]
    parts = [
        family(WHOLE[sound].between(0, end + LOOKAHEAD_FRAMES), begin_frame=begin, end_frame=end, speed=speed, depth=depth) for begin, end in pairwise(borders)
    ]
    assert equal(joined(*parts), family(WHOLE[sound], begin_frame=0, end_frame=math.inf, speed=speed, depth=depth))


@each_family
@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS, cuts=st.lists(st.integers(0, 960).map(lambda eighth: eighth / 8), max_size=5), depth=st.sampled_from([LIVE, AGAIN, DEEP]))
def test_a_border_may_fall_on_a_peak(family: Family, peaks: Peaks, cuts: list[float], depth: Depth) -> None:
    borders = [0.0, *sorted(cuts), math.inf]
    parts = [family(peaks.between(0, end + LOOKAHEAD_FRAMES), begin_frame=begin, end_frame=end, depth=depth) for begin, end in pairwise(borders)]
    assert equal(joined(*parts), family(peaks, begin_frame=0, end_frame=math.inf, depth=depth))


@each_family
@each_depth
@pytest.mark.parametrize("name", ["music", "noise", "clipped", "interrupted", "chord"])
def test_a_stream_heard_second_by_second_asks_what_the_whole_asks(family: Family, depth: Depth, name: str) -> None:
    window, peaks, begin, parts = Window(), Peaks.none(), 0.0, []
    for second in range(0, len(SOUNDS[name]), RATE_HZ):
        peaks = Peaks.join(peaks, window.push(SOUNDS[name][second : second + RATE_HZ]))
        end = max(begin, window.final_frame - LOOKAHEAD_FRAMES)
        parts.append(family(peaks, begin_frame=begin, end_frame=end, depth=depth))
        begin = end
    peaks = Peaks.join(peaks, window.flush())
    parts.append(family(peaks, begin_frame=begin, end_frame=window.final_frame - LOOKAHEAD_FRAMES, depth=depth))
    whole = family(WHOLE[name], begin_frame=0, end_frame=math.inf, depth=depth)
    assert len(whole) or (name, family) == ("chord", triple_questions)  # steady tones: three peaks in all
    assert equal(joined(*parts), whole)


@each_family
def test_a_question_is_dated_in_the_stream_whatever_its_speed(family: Family) -> None:
    for speed in SPEEDS:
        found = family(MUSIC, begin_frame=100, end_frame=200, speed=speed, depth=AGAIN)
        assert len(found)
        assert set(found.frame.tolist()) <= set(MUSIC.between(100, 200).frames.tolist())


@each_family
@each_depth
def test_no_peaks_no_questions(family: Family, depth: Depth) -> None:
    assert len(family(Peaks.none(), begin_frame=0, end_frame=math.inf, depth=depth)) == 0
    assert len(family(MUSIC, begin_frame=1e6, end_frame=math.inf, depth=depth)) == 0


def test_no_peaks_no_landmarks() -> None:
    assert len(landmarks(Peaks.none())) == 0
    assert len(first_postings(landmarks(Peaks.none()))) == 0
