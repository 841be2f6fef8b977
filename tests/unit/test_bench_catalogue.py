"""Catalogues that are drawn at random have what was measured in music, and are the same every time."""

import json

import numpy as np
import numpy.typing as npt
import pytest

from bench.catalogue import FAMILIES, POPULARITY, Family, Generator, families
from earmark.fingerprint.landmarks import KEEP, key
from earmark.index.constellations import pack, unpack
from earmark.model import FRAMES_PER_S, Int32, Peaks


def measured(figure: str) -> npt.NDArray[np.float64]:
    return np.array(json.loads(POPULARITY.read_text(encoding="utf-8"))[figure])


def hashes_of(family: str, number: int) -> Int32:
    """All hashes of a class, by its place from the most popular one."""
    values = families()[family].values
    place = len(values) - 1 - number
    first = (FAMILIES.index(family) << 7 | place) << 32
    return key(first + np.arange(values[place]))


def same(one: Peaks, other: Peaks) -> bool:
    return all(np.array_equal(getattr(one, column), getattr(other, column)) for column in ("eighth_frames", "eighth_hz", "hashed"))


def most_of_one(hashes: Int32) -> int:
    return int(np.unique(hashes, return_counts=True)[1].max())


@pytest.fixture(scope="module")
def recordings() -> list[tuple[Int32, Int32]]:
    generator = Generator()
    return [generator.postings(number) for number in range(60)]


@pytest.mark.parametrize("name", FAMILIES)
def test_what_was_measured_is_whole(name: str):
    found, family = json.loads(POPULARITY.read_text(encoding="utf-8"))[name], families()[name]
    for shares in (family.share, family.asked, family.values * family.probability, found["repeats"]):
        assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert family.repeats.sum(axis=1) == pytest.approx(np.ones(len(family.values)), abs=1e-4)
    assert family.repeats.shape[1] == KEEP
    assert np.all(family.values > 0) and np.all(np.diff(family.probability) > 0)


def test_a_recording_is_the_same_whenever_it_is_drawn(recordings: list[tuple[Int32, Int32]]):
    again = Generator()
    second, peaks = again.second(3), again.peaks(3)
    for number in (3, 1):
        for drawn, before in zip(again.postings(number), recordings[number], strict=True):
            assert np.array_equal(drawn, before)
    assert np.array_equal(again.seconds(4)[3], second)
    assert same(again.peaks(3), peaks)


@pytest.mark.parametrize("other, number", [(Generator(), 4), (Generator(seed=1), 3)])
def test_another_number_or_seed_is_another_recording(recordings: list[tuple[Int32, Int32]], other: Generator, number: int):
    shared = np.isin(other.postings(number)[0], recordings[3][0])
    assert 0 < np.mean(shared) < 0.2
    assert not np.array_equal(other.second(number), Generator().second(3))
    assert not same(other.peaks(number), Generator().peaks(3))


def test_postings_are_sorted_inside_the_recording_and_few_of_each_hash(recordings: list[tuple[Int32, Int32]]):
    for hashes, frames in recordings:
        assert hashes.dtype == frames.dtype == np.int32
        assert hashes.min() >= 0
        assert frames[0] >= 0 and frames[-1] < 240 * FRAMES_PER_S
        assert np.all(np.diff(frames) >= 0)
    assert max(most_of_one(hashes) for hashes, _ in recordings) == KEEP


def test_recordings_have_as_many_postings_as_were_measured(recordings: list[tuple[Int32, Int32]]):
    per_s = measured("recordings_per_s")[:, :2].sum(axis=1)
    drawn = [len(hashes) / 240 for hashes, _ in recordings]
    assert np.mean(drawn) == pytest.approx(np.mean(per_s), rel=0.07)
    assert min(drawn) > 0.95 * min(per_s) and max(drawn) < 1.05 * max(per_s)


@pytest.mark.parametrize("name", FAMILIES)
def test_popular_hashes_are_as_popular_as_was_measured(recordings: list[tuple[Int32, Int32]], name: str):
    family: Family = families()[name]
    different = np.concatenate([np.unique(hashes) for hashes, _ in recordings])
    # The top classes together: enough of them in all recordings to count.
    top = np.concatenate([hashes_of(name, number) for number in range(6)])
    per_s = measured("recordings_per_s")[:, FAMILIES.index(name)].mean() / family.repeats_mean
    expected = family.share[-6:].sum() * per_s * 240 * len(recordings)
    assert np.isin(different, top).sum() == pytest.approx(expected, rel=0.12)
    rare = np.isin(different, hashes_of(name, 12)).sum() / family.values[-13]
    assert np.isin(different, top).sum() / len(top) > 10 * rare


def test_popular_hashes_are_repeated_more_often(recordings: list[tuple[Int32, Int32]]):
    popular = hashes_of("pairs", 3)
    counts = [np.unique(hashes, return_counts=True) for hashes, _ in recordings]
    mine = np.concatenate([count[np.isin(different, popular)] for different, count in counts])
    assert mine.mean() > np.concatenate([count for _, count in counts]).mean() + 0.2


def test_a_long_recording_keeps_no_more_of_a_hash_than_a_short_one():
    hashes, frames = Generator(duration_s=2_400).postings(0)
    assert frames[-1] > 240 * FRAMES_PER_S
    assert most_of_one(hashes) == KEEP
    assert Generator(duration_s=2_400).duration_s(0) == 2_400


def test_peaks_can_be_stored():
    for number in range(20):
        peaks = Generator().peaks(number)
        assert same(unpack(pack(peaks)), peaks)
        assert np.all(np.diff(peaks.eighth_frames.astype(np.int64) << 15 | peaks.eighth_hz) > 0)
        assert 20 < len(peaks) / 240 < 45
        assert 0.6 < np.mean(peaks.hashed) < 0.8
        assert peaks.frames[-1] < 240 * FRAMES_PER_S
        assert peaks.eighth_hz.min() >= 1_440 and peaks.eighth_hz.max() <= 30_400


def test_a_second_asks_for_different_hashes():
    seconds = Generator().seconds(400)
    for asked in seconds:
        assert asked.dtype == np.int32
        assert asked[0] >= 0 and np.all(np.diff(asked) > 0)
        assert 40 < len(asked) < 260
    assert np.mean([len(asked) for asked in seconds]) == pytest.approx(measured("asked_per_s").sum(axis=1).mean(), rel=0.05)


def test_as_many_questions_are_answered_as_was_measured(recordings: list[tuple[Int32, Int32]]):
    stored = np.sort(np.concatenate([hashes for hashes, _ in recordings]))
    asked = np.concatenate(Generator().seconds(400))
    found = stored[np.searchsorted(stored, asked[asked <= stored[-1]])] == asked[asked <= stored[-1]]
    questions = measured("asked_per_s").mean(axis=0)
    expected = 0.0
    for place, family in enumerate(families().values()):
        different = measured("recordings_per_s")[:, place].mean() / family.repeats_mean * 240 * len(recordings)
        expected += questions[place] / questions.sum() * (family.asked @ -np.expm1(-different * family.probability))
    assert np.sum(found) / len(asked) == pytest.approx(expected, rel=0.08)
