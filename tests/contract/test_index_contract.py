"""What hearing may rely on when it asks the catalogue, of the fake that other tests use and of the real one.

The real one is asked three times: with its postings in `recent`, packed into a run, and half and half.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import pytest

import fakes
from earmark.fingerprint.landmarks import landmarks
from earmark.index import upkeep
from earmark.model import Answer, CatalogueSize, Fetch, Int32, Lookup, Passage, Peaks, Postings, Question, Reference, Relation, Resolve, Shared, Track
from index_catalogue import DatabaseIndex, answered, expected, loop, open_pool, peaks, track

ANY = 1_000_000


class Catalogue(Protocol):
    def add(self, track: Track, peaks: Peaks) -> None: ...
    def remove(self, track_id: str) -> None: ...
    def relate(self, track_no: int, relations: Sequence[Relation]) -> None: ...
    def answer(self, question: Question) -> Answer: ...
    def size(self) -> CatalogueSize: ...


class Packing(DatabaseIndex):
    """Packs after every addition, or after every other one, and merges all there is."""

    every = 1

    def add(self, described: Track, constellation: Peaks) -> None:
        super().add(described, constellation)
        if self._versions % self.every == 0:
            upkeep.upkeep(self.pool, extent="everything")


class HalfPacking(Packing):
    every = 2


class HalfMerging(DatabaseIndex):
    """Packs after every addition; of a merge one more step, a tenth of it, is done each time."""

    def add(self, described: Track, constellation: Peaks) -> None:
        super().add(described, constellation)
        for _ in range(2):
            upkeep.step(self.pool, extent="everything")


@pytest.fixture(params=["fake", "fresh", "packed", "half packed", "half merged"])
def catalogue(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalogue]:
    monkeypatch.setattr(upkeep, "_end_of_slice", lambda begin, _: min(1 << 31, begin + (1 << 31) // 10 // (1 << 16) * (1 << 16)))
    if request.param == "fake":
        yield fakes.MemoryIndex()
        return
    kinds: dict[str, Callable[..., DatabaseIndex]] = {"fresh": DatabaseIndex, "packed": Packing, "half packed": HalfPacking, "half merged": HalfMerging}
    with open_pool(request.getfixturevalue("dsn")) as pool:
        yield kinds[request.param](pool)


def fill(catalogue: Catalogue, **constellations: Peaks) -> dict[str, int]:
    for track_id, constellation in constellations.items():
        catalogue.add(track(track_id, constellation), constellation)
    numbers = catalogue.answer(Resolve(track_ids=tuple(constellations)))
    assert isinstance(numbers, dict)
    return numbers


def look_up(catalogue: Catalogue, hashes: Int32, postings_max: int = ANY) -> Postings:
    answer = catalogue.answer(Lookup(hashes=hashes, postings_max=postings_max))
    assert isinstance(answer, Postings)
    assert {answer.query.dtype, answer.track_no.dtype, answer.frame.dtype} == {np.dtype(np.int32)}
    return answer


def fetch(catalogue: Catalogue, *passages: Passage) -> list[Reference]:
    answer = catalogue.answer(Fetch(passages=passages))
    assert isinstance(answer, list)
    return answer


def same(one: Peaks, other: Peaks) -> bool:
    return all(np.array_equal(getattr(one, column), getattr(other, column)) for column in ("eighth_frames", "eighth_hz", "hashed"))


def test_every_posting_of_a_hash_is_found(catalogue: Catalogue) -> None:
    constellations = {"a": peaks(1, 40), "b": peaks(2, 60), "c": peaks(3, 20)}
    numbers = fill(catalogue, **constellations)
    hashes = np.unique(np.concatenate([landmarks(p).hash for p in constellations.values()]))
    assert len(hashes) > 2_500  # more than one statement's worth
    assert answered(look_up(catalogue, hashes), numbers) == expected(constellations, hashes, ANY)


def test_query_is_the_place_in_the_question_whatever_its_order(catalogue: Catalogue) -> None:
    constellations = {"a": peaks(1, 20), "b": peaks(2, 20)}
    numbers = fill(catalogue, **constellations)
    hashes = np.concatenate([landmarks(constellations["b"]).hash[:50][::-1], landmarks(constellations["a"]).hash[:50]])
    assert answered(look_up(catalogue, hashes), numbers) == expected(constellations, hashes, ANY)
    twice = np.concatenate([hashes, hashes[10:30]])
    assert answered(look_up(catalogue, twice), numbers) == expected(constellations, twice, ANY)


def test_unknown_hashes_have_no_postings(catalogue: Catalogue) -> None:
    fill(catalogue, a=peaks(1, 20))
    assert len(look_up(catalogue, np.array([0, 1, 2**31 - 1], np.int32))) == 0
    assert len(look_up(catalogue, np.zeros(0, np.int32))) == 0


def test_an_empty_catalogue_answers_with_nothing(catalogue: Catalogue) -> None:
    assert len(look_up(catalogue, np.arange(100, dtype=np.int32))) == 0
    assert fetch(catalogue, Passage(track_no=1, begin_frame=0, end_frame=100)) == []
    assert catalogue.answer(Resolve(track_ids=("a",))) == {}
    assert catalogue.size() == CatalogueSize(tracks=0, seconds=0, postings=0)


def test_a_hash_with_more_postings_than_asked_for_is_answered_with_none(catalogue: Catalogue) -> None:
    bar = loop(5, 8, 3)  # three postings a recording, of the hashes inside a bar
    constellations = {"a": bar, "b": bar, "c": peaks(6, 20)}
    numbers = fill(catalogue, **constellations)
    hashes = np.unique(np.concatenate([landmarks(p).hash for p in constellations.values()]))
    all_of_them = expected(constellations, hashes, ANY)
    for postings_max in (5, 6):
        few = expected(constellations, hashes, postings_max)
        assert 0 < len(few) < len(all_of_them) or postings_max == 6
        assert answered(look_up(catalogue, hashes, postings_max), numbers) == few


def test_a_recording_keeps_the_first_four_postings_of_a_hash(catalogue: Catalogue) -> None:
    constellation = loop(7, 8, 10)
    numbers = fill(catalogue, a=constellation)
    hash_ = landmarks(constellation).hash[20:21]
    found = look_up(catalogue, hash_)
    assert len(found) == 4
    assert answered(found, numbers) == expected({"a": constellation}, hash_, ANY)


def test_a_recording_of_several_parts_is_one_line(catalogue: Catalogue) -> None:
    constellation = peaks(8, 700)  # 21,875 frames
    numbers = fill(catalogue, long=constellation)
    late = landmarks(constellation)
    hashes = np.unique(late.hash[late.frame > 16_300])
    found = look_up(catalogue, hashes)
    assert int(found.frame.max()) > 2 * 8_192
    assert answered(found, numbers) == expected({"long": constellation}, hashes, ANY)


def test_a_passage_is_the_stored_constellation(catalogue: Catalogue) -> None:
    constellation = peaks(9, 700)
    (number,) = fill(catalogue, long=constellation).values()
    for begin, end in [(0, 400), (300, 301), (8_000, 8_400), (8_192, 8_193), (16_000, 16_800), (21_000, 25_000)]:
        for _ in range(2):  # from the database, then perhaps from memory
            (reference,) = fetch(catalogue, Passage(track_no=number, begin_frame=begin, end_frame=end))
            assert (reference.track_no, reference.track_id) == (number, "long")
            assert reference.duration_s == track("long", constellation).duration_s
            assert same(reference.peaks, constellation.between(begin, end)), (begin, end)


def test_passages_outside_a_recording_are_empty(catalogue: Catalogue) -> None:
    (number,) = fill(catalogue, a=peaks(10, 20)).values()
    for begin, end in [(-500, 0), (100_000, 100_400), (50, 50)]:
        (reference,) = fetch(catalogue, Passage(track_no=number, begin_frame=begin, end_frame=end))
        assert len(reference.peaks) == 0


def test_several_passages_in_one_question(catalogue: Catalogue) -> None:
    constellations = {"a": peaks(11, 60), "b": peaks(12, 60)}
    numbers = fill(catalogue, **constellations)
    asked = [Passage(track_no=numbers[t], begin_frame=b, end_frame=b + 375) for t, b in [("a", 0), ("b", 100), ("a", 700), ("a", 20)]]
    unknown = Passage(track_no=max(numbers.values()) + 1_000, begin_frame=0, end_frame=400)
    references = fetch(catalogue, *asked, unknown)
    assert len(references) == 4
    got = sorted((r.track_id, r.peaks.eighth_frames.tolist()) for r in references)
    want = [("a", 0), ("b", 100), ("a", 700), ("a", 20)]
    assert got == sorted((t, constellations[t].between(b, b + 375).eighth_frames.tolist()) for t, b in want)


def test_a_removed_recording_is_not_heard_any_more(catalogue: Catalogue) -> None:
    constellations = {"a": peaks(13, 30), "b": peaks(14, 30)}
    numbers = fill(catalogue, **constellations)
    passages = [Passage(track_no=number, begin_frame=0, end_frame=400) for number in numbers.values()]
    assert len(fetch(catalogue, *passages)) == 2
    catalogue.remove("a")
    hashes = np.unique(np.concatenate([landmarks(p).hash for p in constellations.values()]))
    assert answered(look_up(catalogue, hashes), numbers) == expected({"b": constellations["b"]}, hashes, ANY)
    assert [reference.track_id for reference in fetch(catalogue, *passages)] == ["b"]
    assert catalogue.answer(Resolve(track_ids=("a", "b", "c"))) == {"b": numbers["b"]}
    assert catalogue.size().tracks == 1


def test_a_replaced_recording_is_the_new_one(catalogue: Catalogue) -> None:
    old, new = peaks(15, 30), peaks(16, 50)
    numbers = fill(catalogue, a=old)
    passage = Passage(track_no=numbers["a"], begin_frame=0, end_frame=400)
    fetch(catalogue, passage)
    numbers = fill(catalogue, a=new)
    hashes = np.unique(np.concatenate([landmarks(old).hash, landmarks(new).hash]))
    assert answered(look_up(catalogue, hashes), numbers) == expected({"a": new}, hashes, ANY)
    (reference,) = fetch(catalogue, Passage(track_no=numbers["a"], begin_frame=0, end_frame=400))
    assert same(reference.peaks, new.between(0, 400))
    assert reference.duration_s == track("a", new).duration_s
    assert fetch(catalogue, passage) == []  # whoever follows the old one finds it gone


def test_size_counts_what_is_there(catalogue: Catalogue) -> None:
    constellations = {"a": peaks(17, 100), "b": peaks(18, 300)}
    fill(catalogue, **constellations)
    size = catalogue.size()
    assert size.tracks == 2
    assert size.seconds == pytest.approx(400, abs=1)
    hashes = np.unique(np.concatenate([landmarks(p).hash for p in constellations.values()]))
    assert size.postings == len(expected(constellations, hashes, ANY))


# ------------------------------------------------------------------------------------------------ shared passages


def stretch(begin_frame: int, end_frame: int) -> Shared:
    return Shared(begin_frame=begin_frame, end_frame=end_frame, eighth_frames=(8 * begin_frame + 3, 8 * end_frame - 3))


def relation(other_no: int, own: Shared, other: Shared, *, version: bool = False) -> Relation:
    return Relation(other_no=other_no, version=version, evidence_nats=40.0, own=(own,), others=(other,))


def shared_of(catalogue: Catalogue, track_no: int, begin_frame: int = 0, end_frame: int = 900) -> tuple[Shared, ...]:
    (reference,) = fetch(catalogue, Passage(track_no=track_no, begin_frame=begin_frame, end_frame=end_frame))
    return reference.shared


@pytest.fixture
def numbers(catalogue: Catalogue) -> dict[str, int]:
    numbers = fill(catalogue, a=peaks(20, 30), b=peaks(21, 30), c=peaks(22, 30))
    assert [shared_of(catalogue, number) for number in numbers.values()] == [(), (), ()]  # and what was read is kept
    return numbers


def test_a_passage_comes_with_the_stretches_that_lie_in_it_whole(catalogue: Catalogue, numbers: dict[str, int]) -> None:
    catalogue.relate(numbers["a"], [relation(numbers["b"], stretch(100, 300), stretch(500, 700)), relation(numbers["c"], stretch(600, 800), stretch(0, 200))])
    assert shared_of(catalogue, numbers["a"]) == (stretch(100, 300), stretch(600, 800))
    assert shared_of(catalogue, numbers["b"]) == (stretch(500, 700),)
    assert shared_of(catalogue, numbers["c"]) == (stretch(0, 200),)
    for begin, end, found in [(0, 100, 0), (0, 101, 1), (299, 300, 1), (300, 600, 0), (250, 601, 2), (10_000, 10_400, 0)]:
        assert len(shared_of(catalogue, numbers["a"], begin, end)) == found, (begin, end)


def test_what_several_share_is_one_stretch(catalogue: Catalogue, numbers: dict[str, int]) -> None:
    catalogue.relate(numbers["a"], [relation(numbers["b"], stretch(100, 300), stretch(0, 200)), relation(numbers["c"], stretch(200, 400), stretch(0, 200))])
    times = tuple(sorted(stretch(100, 300).eighth_frames + stretch(200, 400).eighth_frames))
    assert shared_of(catalogue, numbers["a"]) == (Shared(begin_frame=100, end_frame=400, eighth_frames=times),)


def test_versions_take_nothing_from_one_another(catalogue: Catalogue, numbers: dict[str, int]) -> None:
    catalogue.relate(numbers["a"], [relation(numbers["b"], stretch(0, 800), stretch(0, 800), version=True)])
    assert shared_of(catalogue, numbers["a"]) == shared_of(catalogue, numbers["b"]) == ()


def test_comparing_again_replaces_what_was_known_of_a_pair_and_of_no_other(catalogue: Catalogue, numbers: dict[str, int]) -> None:
    first = relation(numbers["b"], stretch(100, 300), stretch(500, 700))
    catalogue.relate(numbers["a"], [first])
    catalogue.relate(numbers["c"], [relation(numbers["b"], stretch(0, 100), stretch(0, 100))])
    catalogue.relate(numbers["a"], [first])
    assert shared_of(catalogue, numbers["b"]) == (stretch(0, 100), stretch(500, 700))
    catalogue.relate(numbers["b"], [relation(numbers["a"], stretch(400, 600), stretch(300, 500))])
    assert shared_of(catalogue, numbers["a"]) == (stretch(300, 500),)
    assert shared_of(catalogue, numbers["b"]) == (stretch(0, 100), stretch(400, 600))
    assert shared_of(catalogue, numbers["c"]) == (stretch(0, 100),)


def test_a_recording_that_is_removed_or_replaced_takes_what_it_shares_along(catalogue: Catalogue, numbers: dict[str, int]) -> None:
    for other in ("b", "c"):
        catalogue.relate(numbers["a"], [relation(numbers[other], stretch(100, 300), stretch(500, 700))])
    catalogue.relate(numbers["b"], [relation(numbers["c"], stretch(0, 100), stretch(0, 100))])
    catalogue.remove("a")
    assert shared_of(catalogue, numbers["b"]) == shared_of(catalogue, numbers["c"]) == (stretch(0, 100),)
    again = fill(catalogue, b=peaks(23, 30))
    assert shared_of(catalogue, again["b"]) == shared_of(catalogue, numbers["c"]) == ()


def test_what_a_recording_that_is_gone_would_share_is_nothing(catalogue: Catalogue, numbers: dict[str, int]) -> None:
    catalogue.remove("b")
    catalogue.relate(numbers["a"], [relation(numbers["b"], stretch(100, 300), stretch(500, 700))])
    catalogue.relate(numbers["b"], [relation(numbers["c"], stretch(100, 300), stretch(500, 700))])
    assert shared_of(catalogue, numbers["a"]) == shared_of(catalogue, numbers["c"]) == ()
