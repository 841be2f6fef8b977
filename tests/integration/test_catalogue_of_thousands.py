"""Three thousand recordings with the statistics of music: loaded, grown, replaced, removed, merged, and every answer right."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from bench.catalogue import Generator
from earmark.index import stops, upkeep
from earmark.index.answers import Index
from earmark.index.catalogue import Recording, Tracks
from earmark.model import Fetch, Int32, Landmarks, Lookup, Passage, Postings, Resolve, Track
from earmark.postgres import Pool
from index_catalogue import open_pool

LOADED, BATCH, GROWN, CHANGED = 3_000, 1_000, 40, 25
#: Of twenty seconds, so that it takes as long.
GENERATOR = Generator(duration_s=20)
ANY = 1_000_000


def made(number: int, version: int = 0) -> Recording:
    """A recording, and versions of it that have nothing in common."""
    drawn = number + 100_000 * version
    hashes, frames = GENERATOR.postings(drawn)
    return Recording(
        track=Track(track_id=f"track {number}", duration_s=20.0),
        peaks=GENERATOR.peaks(drawn),
        postings=Landmarks(hash=hashes, frame=frames.astype(np.float64)),
        content_sha256=b"%d" % drawn,
    )


class Truth:
    """What the catalogue should hold, by the plainest means."""

    def __init__(self) -> None:
        self.recordings: dict[str, Recording] = {}

    def answers(self, asked: Int32, numbers: dict[str, int], stopped: set[int]) -> Counter[tuple[int, int, int]]:
        wanted = np.array([h for h in asked.tolist() if h not in stopped], np.int32)
        place = {h: n for n, h in enumerate(asked.tolist())}
        kept = [recording.postings for recording in self.recordings.values()]
        hashes, frames = (np.concatenate(parts) for parts in zip(*((postings.hash, postings.frame) for postings in kept), strict=True))
        track_nos = np.repeat([numbers[track_id] for track_id in self.recordings], [len(postings) for postings in kept])
        mine = wanted[np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)] == hashes
        rows = zip(hashes[mine].tolist(), track_nos[mine].tolist(), frames[mine].astype(int).tolist(), strict=True)
        return Counter((place[hash_], track_no, frame) for hash_, track_no, frame in rows)


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, statement_timeout_s=60) as pool:
        yield pool


def test_every_answer_of_three_thousand_recordings_is_right_whatever_happens_to_them(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "_ABOVE_LEAST", 40)  # of so short ones few hashes are in more
    tracks, truth = Tracks(pool=pool), Truth()

    def add(recordings: list[Recording]) -> None:
        tracks.add(recordings)
        truth.recordings |= {recording.track.track_id: recording for recording in recordings}

    reader = Index(pool=pool, follow_every_s=0).open()  # from the beginning, beside one that comes later
    for begin in range(0, LOADED, BATCH):
        add([made(number) for number in range(begin, begin + BATCH)])
    upkeep.upkeep(pool)
    check(pool, truth, reader)
    for number in range(LOADED, LOADED + GROWN):
        add([made(number)])
    for number in range(0, LOADED, LOADED // CHANGED):
        add([made(number, version=1)])
        tracks.remove(f"track {number + 1}")
        del truth.recordings[f"track {number + 1}"]
    check(pool, truth, reader)
    upkeep.upkeep(pool)
    check(pool, truth, reader)
    upkeep.upkeep(pool, extent="everything")
    check(pool, truth, reader)
    check(pool, truth, Index(pool=pool).open())


def check(pool: Pool, truth: Truth, reader: Index) -> None:
    random = np.random.default_rng(len(truth.recordings))
    some = [recording for n, recording in enumerate(truth.recordings.values()) if n % 97 == 0]
    asked = np.unique(np.concatenate([GENERATOR.second(n) for n in range(10)] + [random.choice(r.postings.hash, 50) for r in some]))
    numbers = reader.answer(Resolve(track_ids=tuple(truth.recordings)))
    assert isinstance(numbers, dict)
    assert set(numbers) == {track.track_id for track in Tracks(pool=pool).all()} == set(truth.recordings)
    found = reader.answer(Lookup(hashes=asked, postings_max=ANY))
    assert isinstance(found, Postings)
    assert len(found) > 5_000
    answered = Counter(zip(found.query.tolist(), found.track_no.tolist(), found.frame.tolist(), strict=True))
    stopped = set(reader.stop_list.tolist())
    assert answered == truth.answers(asked, numbers, stopped)
    assert 0 < len(stopped) < 5_000
    passages = tuple(Passage(track_no=numbers[r.track.track_id], begin_frame=100, end_frame=400) for r in some)
    fetched = reader.answer(Fetch(passages=passages))
    assert isinstance(fetched, list)
    for recording, reference in zip(some, fetched, strict=True):
        assert reference.track_id == recording.track.track_id
        assert reference.peaks.eighth_hz.tolist() == recording.peaks.between(100, 400).eighth_hz.tolist()
    size = reader.size()
    assert (size.tracks, size.postings) == (len(truth.recordings), sum(len(r.postings) for r in truth.recordings.values()))
