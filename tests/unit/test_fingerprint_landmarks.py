"""Triples against their definition, worked out anchor by anchor in plain Python."""

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.fingerprint.landmarks import (
    KEEP,
    LOOKAHEAD_FRAMES,
    NOISE_LIKE_FRAMES,
    STRONG_SALIENCE,
    STRONG_TARGETS,
    TARGETS,
    Triples,
    first_postings,
    key,
    landmarks,
    noise_like,
    pack,
    questions,
    unpack,
)
from earmark.fingerprint.window import Window, fingerprint
from earmark.model import RATE_HZ, Int32, Landmarks, Peaks
from fingerprint_audio import SOUNDS, music, noise

MUSIC = fingerprint(music(31, 12))
GOLDEN = 0x9E37_79B9_7F4A_7C15


def constellation(seed: int, peaks_n: int, frames_n: int) -> Peaks:
    """Peaks anywhere, in order."""
    rng = np.random.default_rng(seed)
    cells = np.unique(np.stack([rng.integers(0, 8 * frames_n, peaks_n), rng.integers(1_440, 30_401, peaks_n)], axis=1), axis=0).astype(np.int32)
    return Peaks(
        eighth_frames=cells[:, 0].copy(),
        eighth_hz=cells[:, 1].copy(),
        hashed=rng.random(len(cells)) < 0.8,
        salience=rng.uniform(1, 8, len(cells)).astype(np.float32),
    )


CONSTELLATIONS = st.builds(constellation, st.integers(0, 2**32 - 1), st.integers(0, 160), st.integers(1, 120))


def asked(found: Landmarks) -> set[tuple[float, int]]:
    return set(zip(found.frame.tolist(), found.hash.tolist(), strict=True))


def defined(peaks: Peaks, *, targets: int = TARGETS, speed: float = 1.0, neighbours: bool = False) -> set[tuple[float, int]]:
    """(anchor frame, hash) of all triples of these peaks, by definition."""
    sparse = [(frame, hz / speed) for frame, hz, hashed in zip(peaks.frames.tolist(), peaks.hz.tolist(), peaks.hashed, strict=True) if hashed]
    found = set()
    for anchor_frame, anchor_hz in sparse:
        zone = [(frame, hz) for frame, hz in sparse if 1 <= frame - anchor_frame <= 16 and abs(math.log2(hz / anchor_hz)) <= 1.5]
        for (first_frame, first_hz), (second_frame, second_hz) in combinations(sorted(zone)[:targets], 2):
            octaves = [math.log2(hz / anchor_hz) for hz in (first_hz, second_hz)]
            cells = [(frame - anchor_frame) * speed / 2 + 0.5 for frame in (first_frame, second_frame)]
            for intervals in around(cells) if neighbours else [tuple(map(math.floor, cells))]:
                if (code := packed(anchor_hz, octaves, intervals)) is not None:
                    found.add((anchor_frame, (code * GOLDEN % 2**64) >> 33))
    return found


def around(cells: list[float]) -> list[tuple[int, int]]:
    first, second = (math.floor(cell) for cell in cells)
    sides = [1 if cell % 1 > 0.75 else -1 if cell % 1 < 0.25 else 0 for cell in cells]
    return [(first, second), (first + sides[0], second), (first, second + sides[1])]


def packed(anchor_hz: float, octaves: list[float], intervals: tuple[int, ...]) -> int | None:
    """35 bits; none where no reference can hold such a triple."""
    anchor = math.floor(6 * math.log2(anchor_hz / 100))
    per_octave = 100 * 2 ** ((anchor + 0.5) / 6) * math.log(2) / 4
    if not 5 <= anchor <= 31 or not 1 <= intervals[0] <= intervals[1] <= 8:
        return None
    code = anchor
    for ratio in octaves:
        code = code << 11 | math.floor(ratio * per_octave + 0.5) + 1_024
    for interval in intervals:
        code = code << 4 | interval
    return code


@given(
    fields=st.lists(
        st.tuples(st.integers(0, 31), st.integers(-1_024, 1_023), st.integers(-1_024, 1_023), st.integers(0, 15), st.integers(0, 15)), min_size=1, max_size=20
    )
)
def test_unpack_is_the_inverse_of_pack(fields: list[tuple[int, ...]]) -> None:
    columns = np.array(fields, np.int64).T
    packed_ = pack(Triples(anchor=columns[0], first_ratio=columns[1], second_ratio=columns[2], first_interval=columns[3], second_interval=columns[4]))
    assert packed_.min() >= 0
    assert packed_.max() < 2**35
    back = unpack(packed_)
    found = [back.anchor, back.first_ratio, back.second_ratio, back.first_interval, back.second_interval]
    assert [column.tolist() for column in found] == columns.tolist()


@given(codes=st.lists(st.integers(0, 2**35 - 1), min_size=1, max_size=20))
def test_pack_is_the_inverse_of_unpack(codes: list[int]) -> None:
    assert pack(unpack(np.array(codes, np.int64))).tolist() == codes


@given(code=st.integers(0, 2**35 - 1))
def test_a_key_is_31_bits_of_the_product(code: int) -> None:
    found: Int32 = key(np.array([code], np.int64))
    assert found.dtype == np.int32
    assert found.tolist() == [(code * GOLDEN % 2**64) >> 33]


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS)
def test_landmarks_are_those_of_the_definition(peaks: Peaks) -> None:
    found = landmarks(peaks)
    assert asked(found) == defined(peaks)
    assert np.all(np.diff(found.frame) >= 0)


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS, speed=st.sampled_from([0.9, 0.95, 1.0, 1.05, 1.1]))
def test_questions_are_those_of_the_definition(peaks: Peaks, speed: float) -> None:
    found = questions(peaks, begin_frame=-math.inf, end_frame=math.inf, speed=speed)
    assert asked(found) == defined(peaks, speed=speed, neighbours=True)
    assert len(asked(found)) == len(found)


@settings(deadline=None, max_examples=40)
@given(peaks=CONSTELLATIONS)
def test_in_noise_the_strong_peaks_are_asked_for_beside_the_plain_triples(peaks: Peaks) -> None:
    strong = peaks.take(peaks.salience >= STRONG_SALIENCE)
    found = questions(peaks, begin_frame=0, end_frame=math.inf, noise_like=True)
    assert asked(found) == defined(peaks) | defined(strong, targets=STRONG_TARGETS, neighbours=True)
    assert len(asked(found)) == len(found)


def test_questions_hold_what_the_reference_answers() -> None:
    for noise_like_ in (False, True):
        assert asked(questions(MUSIC, begin_frame=0, end_frame=math.inf, noise_like=noise_like_)) >= asked(landmarks(MUSIC))


@settings(deadline=None, max_examples=40)
@given(cuts=st.lists(st.floats(0, 400), max_size=8), speed=st.sampled_from([0.9, 1.0, 1.05]), noise_like_=st.booleans())
def test_questions_asked_piece_by_piece_are_those_of_the_whole(*, cuts: list[float], speed: float, noise_like_: bool) -> None:
    borders = [0.0, *sorted(cuts), math.inf]
    parts = [
        questions(MUSIC.between(0, end + LOOKAHEAD_FRAMES), begin_frame=begin, end_frame=end, speed=speed, noise_like=noise_like_)
        for begin, end in pairwise(borders)
    ]
    whole = questions(MUSIC, begin_frame=0, end_frame=math.inf, speed=speed, noise_like=noise_like_)
    assert np.concatenate([part.hash for part in parts]).tolist() == whole.hash.tolist()
    assert np.concatenate([part.frame for part in parts]).tolist() == whole.frame.tolist()


@pytest.mark.parametrize("name", ["music", "noise", "clipped", "interrupted", "chord"])
def test_a_stream_heard_second_by_second_asks_what_the_whole_asks(name: str) -> None:
    window, peaks, begin, parts = Window(), Peaks.none(), 0.0, []
    for second in range(0, len(SOUNDS[name]), RATE_HZ):
        peaks = Peaks.join(peaks, window.push(SOUNDS[name][second : second + RATE_HZ]))
        end = max(begin, window.final_frame - LOOKAHEAD_FRAMES)
        parts.append(questions(peaks, begin_frame=begin, end_frame=end))
        begin = end
    peaks = Peaks.join(peaks, window.flush())
    parts.append(questions(peaks, begin_frame=begin, end_frame=window.final_frame - LOOKAHEAD_FRAMES))
    whole = questions(fingerprint(SOUNDS[name]), begin_frame=0, end_frame=math.inf)
    assert np.concatenate([part.hash for part in parts]).tolist() == whole.hash.tolist()
    assert np.concatenate([part.frame for part in parts]).tolist() == whole.frame.tolist()


@pytest.mark.parametrize("speed", [0.9, 0.95, 1.05, 1.1])
def test_a_hypothesis_undoes_the_speed(speed: float) -> None:
    """A reference played `speed` times as fast, to the eighth: most of its landmarks are asked for again."""
    inside = MUSIC.take((MUSIC.hz > 200) & (MUSIC.hz < 3_400))
    heard = Peaks(
        eighth_frames=np.rint(inside.eighth_frames / speed).astype(np.int32),
        eighth_hz=np.rint(inside.eighth_hz * speed).astype(np.int32),
        hashed=inside.hashed,
        salience=inside.salience,
    )
    found = questions(heard, begin_frame=0, end_frame=math.inf, speed=speed)
    reference = landmarks(inside)
    plain = questions(heard, begin_frame=0, end_frame=math.inf)
    share, plain_share = (float(np.mean(np.isin(reference.hash, asked_.hash))) for asked_ in (found, plain))
    assert share > 0.75
    assert plain_share < share - 0.2
    assert set(found.frame.tolist()) <= set(heard.frames.tolist())


def test_no_peaks_no_landmarks() -> None:
    assert len(landmarks(Peaks.none())) == 0
    assert len(first_postings(landmarks(Peaks.none()))) == 0
    assert len(questions(Peaks.none(), begin_frame=0, end_frame=math.inf)) == 0
    assert len(questions(Peaks.none(), begin_frame=0, end_frame=math.inf, noise_like=True)) == 0
    assert not noise_like(Peaks.none())


def test_a_long_recording_is_hashed_in_parts_without_seams() -> None:
    peaks = constellation(5, 40_000, 30_000)
    found = asked(landmarks(peaks))
    begin, end = 6_000.0, 9_000.0  # somewhere around the first seam
    piece = defined(peaks.between(begin, end + LOOKAHEAD_FRAMES))
    assert {(frame, hash_) for frame, hash_ in found if begin <= frame < end} == {(frame, hash_) for frame, hash_ in piece if frame < end}
    assert np.count_nonzero(peaks.hashed) > 3 * 8_192


@given(hashes=st.lists(st.integers(0, 5), max_size=60), keep=st.integers(1, 5))
def test_of_one_hash_the_first_postings_are_kept(hashes: list[int], keep: int) -> None:
    kept = first_postings(Landmarks(hash=np.array(hashes, np.int32), frame=np.arange(len(hashes)) / 8), keep)
    expected = [(hash_, k / 8) for k, hash_ in enumerate(hashes) if hashes[:k].count(hash_) < keep]
    assert list(zip(kept.hash.tolist(), kept.frame.tolist(), strict=True)) == expected


def test_a_loop_is_said_a_few_times_and_not_fifty() -> None:
    bar = music(32, 1.024)  # 32 frames
    found = first_postings(landmarks(fingerprint(np.tile(bar, 30))))
    assert np.unique(found.hash, return_counts=True)[1].max() == KEEP


def test_white_noise_is_noise_like_and_music_is_not() -> None:
    assert noise_like(fingerprint(noise(33, 4)))
    assert not noise_like(MUSIC.between(0, NOISE_LIKE_FRAMES))
