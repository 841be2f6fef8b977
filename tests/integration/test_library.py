"""The public Catalogue against a real database, with real files and sound."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

import earmark
from earmark import postgres
from earmark.errors import BadSettings, DatabaseUnavailable, SchemaMismatch, UnreadableAudio
from earmark.index.answers import Index
from earmark.library import Catalogue, Hit
from earmark.local.database import create_database, drop_database
from earmark.model import Answer, Question
from index_audio import RATE_HZ, notes, write_wav

_serial = itertools.count(1)


@pytest.fixture
def catalogue(dsn: str) -> Iterator[Catalogue]:
    with Catalogue.open(dsn) as catalogue:
        yield catalogue


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    return [write_wav(folder / f"{n}.wav", notes(n, 40)) for n in range(3)]


def test_it_is_what_the_package_offers() -> None:
    assert earmark.Catalogue is Catalogue


def test_an_empty_database_is_migrated_and_an_older_one_is_not(postgres_server: str) -> None:
    name = f"library_{next(_serial)}"
    dsn = create_database(postgres_server, name)
    try:
        Catalogue.open(dsn).close()
        with psycopg.connect(dsn) as connection:
            connection.execute("delete from schema_migration where number > 1")
        with pytest.raises(SchemaMismatch, match="earmark db migrate"):
            Catalogue.open(dsn)
    finally:
        drop_database(postgres_server, name)


def test_opening_nothing_is_a_sentence() -> None:
    with pytest.raises(BadSettings):
        Catalogue.open("no dsn at all")
    with pytest.raises(DatabaseUnavailable):
        Catalogue.open("postgresql://earmark@/music?host=/nonexistent")


def test_adding_is_idempotent(catalogue: Catalogue, files: list[Path]) -> None:
    track = catalogue.add(files[0], track_id="one", title="First", artists=["A", "B"])
    assert (track.track_id, track.title, track.artists, track.duration_s) == ("one", "First", ("A", "B"), pytest.approx(40, abs=0.01))
    assert catalogue.add(str(files[0]), track_id="one", title="First", artists=("A", "B")) == track
    assert catalogue.add(files[0], track_id="one", title="Renamed").title == "Renamed"
    assert catalogue.tracks() == [catalogue.get("one")]
    assert catalogue.size().tracks == 1
    assert catalogue.add(files[0]).track_id == "one"  # a duplicate, with no id of its own
    replaced = catalogue.add(files[1], track_id="one")
    assert replaced.title == "1"
    assert catalogue.size().tracks == 1
    assert catalogue.remove("one")
    assert not catalogue.remove("one")
    assert catalogue.get("one") is None
    assert catalogue.size().tracks == 0


def test_what_cannot_be_added_says_why(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "text.mp3").write_text("words " * 500)
    with pytest.raises(UnreadableAudio, match=r"text\.mp3"):
        catalogue.add(tmp_path / "text.mp3")
    with pytest.raises(UnreadableAudio, match="it is silent"):
        catalogue.add(write_wav(tmp_path / "silence.wav", np.zeros(10 * RATE_HZ, np.float32)))
    with pytest.raises(UnreadableAudio, match="no such file"):
        catalogue.add(tmp_path / "missing.wav")
    with pytest.raises(BadSettings, match="composer"):
        catalogue.add(tmp_path / "text.mp3", composer="x")
    with pytest.raises(UnreadableAudio, match="its title has a character that is no text"):
        catalogue.add(tmp_path / "text.mp3", title="N\0L")
    with pytest.raises(UnreadableAudio, match="its name is not UTF-8; rename it"):
        catalogue.add(os.fsdecode(b"caf\xe9.wav"))


def test_a_clip_is_identified_at_any_rate(catalogue: Catalogue, files: list[Path]) -> None:
    for path in files:
        catalogue.add(path, track_id=path.stem)
    clip = notes(1, 40)[10 * RATE_HZ : 22 * RATE_HZ]
    for rate_hz, samples in ((RATE_HZ, clip), (RATE_HZ, clip.astype(np.float64)), (8_000, np.asarray(clip[::2] * 0.5))):
        match, *_ = catalogue.identify(samples, rate_hz=rate_hz)
        assert match.track_id == "1"
        assert match.reference_begin_s - match.begin_s * match.speed == pytest.approx(10, abs=0.1)
        assert 0 <= match.begin_s < match.end_s <= 12.1
        assert match.speed == pytest.approx(1, abs=0.005)
        assert match.false_alarms_per_hour == 1e-12  # no smaller number means anything


def test_what_is_not_in_it_is_not_identified(catalogue: Catalogue, files: list[Path]) -> None:
    catalogue.add(files[0], track_id="one")
    assert catalogue.identify(notes(77, 12), rate_hz=RATE_HZ) == []
    assert catalogue.identify(np.zeros(0, np.float32), rate_hz=RATE_HZ) == []
    everything = catalogue.identify(notes(0, 40)[: 12 * RATE_HZ], rate_hz=RATE_HZ, threshold=None)
    assert everything[0].track_id == "one"
    assert catalogue.identify(notes(0, 40)[: 12 * RATE_HZ], rate_hz=RATE_HZ, threshold=1e6) == []


@pytest.mark.parametrize("samples", [np.zeros((2, 100), np.float32), np.zeros(100, np.int16)])
def test_samples_of_the_wrong_kind_are_refused(catalogue: Catalogue, samples: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one-dimensional floats"):
        catalogue.identify(samples, rate_hz=8_000)


def broadcast() -> np.ndarray:
    """Six seconds of something else, thirty of a recording, twenty of something else."""
    return np.concatenate([notes(88, 6), notes(1, 40)[5 * RATE_HZ : 35 * RATE_HZ], notes(99, 20)])


def monitored(catalogue: Catalogue, sound: np.ndarray, cut: list[int]) -> list[Hit]:
    monitor = catalogue.monitor(rate_hz=RATE_HZ, stream_id="s")
    hits = [hit for piece in np.split(sound, cut) for hit in monitor.push(piece)]
    hits += monitor.flush()
    assert monitor.flush() == []
    with pytest.raises(RuntimeError, match="flushed"):
        monitor.push(sound[:10])
    return hits


def test_a_stream_is_followed_and_its_cuts_change_nothing(catalogue: Catalogue, files: list[Path]) -> None:
    for path in files:
        catalogue.add(path, track_id=path.stem)
    sound = broadcast()
    by_the_second = monitored(catalogue, sound, list(range(RATE_HZ, len(sound), RATE_HZ)))
    closed = by_the_second[-1]
    assert {hit.track_id for hit in by_the_second} == {"1"}
    assert {hit.hit_id for hit in by_the_second} == {closed.hit_id}
    assert [hit.revision for hit in by_the_second] == sorted(hit.revision for hit in by_the_second)
    assert closed.state == "closed"
    assert closed.false_alarms_per_hour == 1e-12
    assert (closed.begin_s, closed.end_s) == (pytest.approx(6, abs=1.5), pytest.approx(36, abs=1.5))
    assert closed.reference_begin_s - closed.begin_s == pytest.approx(5 - 6, abs=0.1)
    random = np.random.default_rng(1)
    at_random = monitored(catalogue, sound, sorted(random.integers(0, len(sound), 40).tolist()))
    assert at_random == by_the_second


def test_a_database_that_is_away_for_a_moment_is_asked_again(catalogue: Catalogue, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.add(files[1], track_id="1")
    asked = itertools.count()
    answer = Index.answer

    def sometimes(self: Index, question: Question) -> Answer:
        if next(asked) % 2 == 0:
            raise DatabaseUnavailable("gone for a moment")
        return answer(self, question)

    monkeypatch.setattr(Index, "answer", sometimes)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    match, *_ = catalogue.identify(notes(1, 40)[: 12 * RATE_HZ], rate_hz=RATE_HZ)
    assert match.track_id == "1"
    monkeypatch.setattr(Index, "answer", lambda *_: (_ for _ in ()).throw(DatabaseUnavailable("gone for good")))
    with pytest.raises(DatabaseUnavailable, match="for good"):
        catalogue.identify(notes(1, 40)[: 12 * RATE_HZ], rate_hz=RATE_HZ)


def test_two_handles_see_each_other(dsn: str, catalogue: Catalogue, files: list[Path]) -> None:
    catalogue.add(files[0], track_id="one")
    with Catalogue.open(dsn) as other:
        assert other.size().tracks == 1
        assert other.identify(notes(0, 40)[: 12 * RATE_HZ], rate_hz=RATE_HZ)[0].track_id == "one"
    with postgres.open_pool(postgres.Database(dsn=dsn)) as pool:
        assert postgres.status(pool).pending == ()
