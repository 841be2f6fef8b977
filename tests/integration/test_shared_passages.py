"""What recordings share, found as they are added, kept with them, shown, and heard: with files and a database."""

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest

from earmark import postgres
from earmark.cli import main
from earmark.index.catalogue import Tracks
from earmark.index.stretches import SharedPassages
from earmark.ingest import ingest
from earmark.library import Catalogue
from earmark.local.database import create_database, drop_database
from earmark.model import RATE_HZ, Float32, Relation, Shared
from earmark.reference import Source
from hearing_sounds import noise, tune
from index_audio import write_wav
from index_catalogue import open_pool, peaks, recording

_serial = itertools.count(1)
LOOP = np.tile(tune(99, 4), 4)


def with_loop(sound: Float32, at_s: float) -> Float32:
    mixed, begin = sound.copy(), int(at_s * RATE_HZ)
    mixed[begin : begin + len(LOOP)] += LOOP
    return mixed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings with a loop in common, another issue of the first, and one that has nothing to do with them."""
    made = tmp_path_factory.mktemp("recordings")
    one = with_loop(tune(1, 50), 20)
    sounds = {"one": one, "other": with_loop(tune(2, 50), 30), "issue": one + noise(1, 50, 0.003), "stranger": tune(3, 30)}
    for name, sound in sounds.items():
        write_wav(made / f"{name}.wav", 0.5 * sound, rate_hz=RATE_HZ)
    return made


def add(pool: postgres.Pool, folder: Path, *names: str, shared_passages: bool = True) -> list[str]:
    sources = [Source(path=folder / f"{name}.wav", track_id=name) for name in names]
    return [result.outcome for result in ingest(sources, pool=pool, jobs=1, shared_passages=shared_passages)]


def shares(pool: postgres.Pool, track_id: str) -> list[tuple[str, bool]]:
    entry = Tracks(pool=pool).show(track_id)
    assert entry is not None
    return sorted({(shared.other, shared.version) for shared in entry.shares})


def rows(pool: postgres.Pool) -> list[tuple[object, ...]]:
    with postgres.statement(pool) as connection:
        return connection.execute("select * from shared_passage order by 1, 2, 3").fetchall()


def test_the_later_one_finds_it_for_both_and_adding_again_changes_nothing(pool: postgres.Pool, folder: Path) -> None:
    assert add(pool, folder, "one", "stranger") == ["added", "added"]
    assert shares(pool, "one") == []
    add(pool, folder, "other")
    assert shares(pool, "one") == [("other", False)]
    assert shares(pool, "other") == [("one", False)]
    assert shares(pool, "stranger") == []
    entry = Tracks(pool=pool).show("one")
    assert entry is not None
    assert (entry.shares[0].begin_s, entry.shares[-1].end_s) == (pytest.approx(20, abs=2), pytest.approx(36, abs=2))
    before = rows(pool)
    assert add(pool, folder, "one", "other", "stranger") == ["unchanged"] * 3
    assert rows(pool) == before


def test_those_of_one_batch_find_each_other_once(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "other", "issue")
    assert shares(pool, "one") == [("issue", True), ("other", False)]
    assert shares(pool, "other") == [("issue", False), ("one", False)]


def test_removing_or_replacing_one_lifts_it_from_the_other(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "other")
    Tracks(pool=pool).remove("other")
    assert shares(pool, "one") == []
    add(pool, folder, "other")
    assert shares(pool, "one") == [("other", False)]
    (result,) = ingest([Source(path=folder / "stranger.wav", track_id="other")], pool=pool, jobs=1)
    assert result.outcome == "replaced"
    assert shares(pool, "one") == []
    assert rows(pool) == []


def test_what_was_not_compared_is_when_it_is_added_again(pool: postgres.Pool, folder: Path) -> None:
    """Left out by the setting, filled by an older Earmark, or killed between the two: it is made up for."""
    add(pool, folder, "one", "other", shared_passages=False)
    assert rows(pool) == []
    assert add(pool, folder, "one", "other", shared_passages=False) == ["unchanged"] * 2
    assert rows(pool) == []
    assert add(pool, folder, "one") == ["unchanged"]
    assert shares(pool, "other") == [("one", False)]


def test_a_quotation_is_told_as_neither_until_one_of_them_is_gone(dsn: str, folder: Path) -> None:
    quoting = np.concatenate([tune(50, 12), with_loop(tune(51, 16), 0), tune(52, 12)])
    with Catalogue.open(dsn) as catalogue:
        for name in ("one", "other", "stranger"):
            catalogue.add(folder / f"{name}.wav", track_id=name)
        monitor = catalogue.monitor(rate_hz=RATE_HZ)
        assert monitor.push(quoting) + monitor.flush() == []
        monitor = catalogue.monitor(rate_hz=RATE_HZ)
        assert {hit.track_id for hit in monitor.push(with_loop(tune(1, 50), 20)[18 * RATE_HZ :]) + monitor.flush()} == {"one"}
        catalogue.remove("one")
        monitor = catalogue.monitor(rate_hz=RATE_HZ)
        assert {hit.track_id for hit in monitor.push(quoting) + monitor.flush()} == {"other"}


def test_show_says_what_is_shared(dsn: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.setenv("EARMARK_CATALOGUE__PROFILES", "false")
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps([{"path": f"{name}.wav", "track_id": name} for name in ("one", "other")]))
    paths = [str(folder / "one.wav"), str(folder / "other.wav")]
    assert main(["catalogue", "add", *paths, "--manifest", str(manifest), "--jobs", "1"]) == 0
    capsys.readouterr()
    assert main(["catalogue", "show", "one"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["shares"]
    assert (shown["other"], shown["version"]) == ("other", False)
    assert 18 <= shown["begin_s"] < shown["end_s"] <= 38


def relation(other_no: int) -> Relation:
    stretch = Shared(begin_frame=10, end_frame=200, eighth_frames=(80, 1_000))
    return Relation(other_no=other_no, version=False, evidence_nats=50.0, own=(stretch,), others=(stretch,))


def test_removals_at_once_do_not_wait_in_a_circle(pool: postgres.Pool) -> None:
    """Each of them touches the others' rows."""
    tracks, passages = Tracks(pool=pool), SharedPassages(pool=pool)
    for turn in range(5):
        names = [f"{turn}-{n}" for n in range(6)]
        tracks.add([recording(name, peaks(100 + n, 20), content=name.encode()) for n, name in enumerate(names)])
        numbers = [owed.track_no for owed in passages.owed(names).values()]
        for number in numbers:
            passages.put(number, [relation(other) for other in numbers if other != number])
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(tracks.remove, names))
    assert rows(pool) == []


def test_an_older_catalogue_is_migrated_and_its_recordings_are_still_to_be_compared(postgres_server: str) -> None:
    name = f"shared_{next(_serial)}"
    dsn = create_database(postgres_server, name)
    older = [migration for migration in postgres.shipped() if migration.number < 4]
    try:
        postgres.migrate(dsn, migrations=older)
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "insert into track (track_id, duration_s, fingerprint_version, content_sha256, peaks_sha256) values ('a', 10, 2, 'content', 'peaks')"
            )
        assert "0004_shared_passages" in postgres.migrate(dsn)
        with open_pool(dsn) as pool:
            (owed,) = SharedPassages(pool=pool).owed(["a", "b"]).items()
            assert (owed[0], owed[1].known) == ("a", frozenset())
            SharedPassages(pool=pool).put(owed[1].track_no, [])
            assert SharedPassages(pool=pool).owed(["a", "b"]) == {}
    finally:
        drop_database(postgres_server, name)
