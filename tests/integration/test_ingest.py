"""Files into a real catalogue: what each becomes, and the sentence it ends with."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from audio_media import audio_file
from earmark import ingest as ingest_module
from earmark import reference
from earmark.errors import BadSettings, DatabaseUnavailable, FingerprintMismatch, UnreadableAudio
from earmark.index.catalogue import Tracks
from earmark.ingest import Result, ingest
from earmark.model import Track
from earmark.postgres import Pool, transaction
from earmark.reference import Source
from index_audio import RATE_HZ, notes, write_flac, write_wav


def run(pool: Pool, *sources: Path | Source, jobs: int = 1) -> list[Result]:
    return list(ingest(sources, pool=pool, jobs=jobs))


def outcomes(results: Sequence[Result]) -> list[str]:
    return [result.outcome for result in results]


def track_ids(pool: Pool) -> set[str]:
    return {track.track_id for track in Tracks(pool=pool).all()}


def test_a_folder_is_added_once(pool: Pool, tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / ".hidden").mkdir()
    for seed, name in enumerate(["b.wav", "a.WAV", "below/c.wav", ".hidden/d.wav", ".e.wav"]):
        write_wav(tmp_path / name, notes(seed, 4))
    (tmp_path / "cover.jpg").write_bytes(b"not looked at")
    first = run(pool, tmp_path)
    assert [result.path.name for result in first] == ["a.WAV", "b.wav", "c.wav"]
    assert outcomes(first) == ["added"] * 3
    assert all(result.track_id and result.track_id.startswith("sha256:") and len(result.track_id) == 7 + 16 for result in first)
    assert first[0].duration_s == pytest.approx(4, abs=0.01)
    assert {track.title for track in Tracks(pool=pool).all()} == {"a", "b", "c"}
    again = run(pool, tmp_path, tmp_path / "b.wav")
    assert outcomes(again) == ["unchanged"] * 3
    assert [result.track_id for result in again] == [result.track_id for result in first]


def test_what_is_known_is_not_decoded_again(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(tmp_path / "a.wav", notes(1, 4))
    run(pool, path)
    monkeypatch.setattr(ingest_module, "fingerprint_file", lambda path: pytest.fail(f"{path} was decoded"))
    assert outcomes(run(pool, path)) == ["unchanged"]


def test_tags_describe_a_recording(pool: Pool, tmp_path: Path) -> None:
    path = write_flac(tmp_path / "x.flac", notes(1, 4), title="A\tTitle ", artist="One; Two", album="Album", isrc="de-a01-23-45678", label="Label")
    (result,) = run(pool, path)
    assert result.track_id == "isrc:DEA012345678"
    track = Tracks(pool=pool).get(["isrc:DEA012345678"])["isrc:DEA012345678"]
    expected = Track(track_id=track.track_id, title="A Title", artists=("One", "Two"), album="Album", isrc=("DEA012345678",), label=track.label)
    assert replace(track, duration_s=0.0) == expected


def test_an_isrc_that_is_none_is_left_out(pool: Pool, tmp_path: Path) -> None:
    (result,) = run(pool, write_flac(tmp_path / "x.flac", notes(1, 4), isrc="unknown"))
    assert result.track_id is not None
    assert result.track_id.startswith("sha256:")


def test_what_the_owner_says_goes_before_tags(pool: Pool, tmp_path: Path) -> None:
    path = write_flac(tmp_path / "x.flac", notes(1, 4), title="Tagged", artist="Tagged", isrc="DEA012345678")
    said = {"title": "Said", "artists": ["One", "Two"], "rights_holder": "Owner", "iswc": "T-1"}
    (result,) = run(pool, Source(path=path, track_id="mine", metadata=said))
    assert result.track_id == "mine"
    track = Tracks(pool=pool).get(["mine"])["mine"]
    assert (track.title, track.artists, track.rights_holder, track.iswc, track.isrc) == ("Said", ("One", "Two"), "Owner", ("T-1",), ("DEA012345678",))
    (result,) = run(pool, Source(path=path, track_id="mine", metadata={**said, "title": "Said again"}))
    assert result.outcome == "updated"
    assert Tracks(pool=pool).get(["mine"])["mine"].title == "Said again"


def test_unknown_metadata_are_refused_with_what_is_known() -> None:
    with pytest.raises(BadSettings, match="has no composer; known are album, artists"):
        Source(path=Path("x.wav"), metadata={"composer": "x"})


def test_the_same_recording_under_two_names_is_added_once(pool: Pool, tmp_path: Path) -> None:
    sound = notes(1, 4)
    first, second = write_wav(tmp_path / "a.wav", sound), write_wav(tmp_path / "b.wav", sound)
    lossless = write_flac(tmp_path / "c.flac", sound, title="The same in another container")
    results = run(pool, first, second, lossless)
    assert outcomes(results) == ["added", "duplicate", "duplicate"]
    assert {result.track_id for result in results} == {results[0].track_id}
    assert str(first) in results[1].sentence
    assert "the same audio as" in results[2].sentence
    assert len(track_ids(pool)) == 1
    again = run(pool, second, lossless)  # in another run the first one is the one that came: the file was renamed
    assert outcomes(again) == ["updated", "duplicate"]
    assert [track.title for track in Tracks(pool=pool).all()] == ["b"]


def test_the_same_recording_with_ids_of_its_own_is_two(pool: Pool, tmp_path: Path) -> None:
    sound = notes(1, 4)
    first, second = write_wav(tmp_path / "a.wav", sound), write_wav(tmp_path / "b.wav", sound)
    assert outcomes(run(pool, Source(path=first, track_id="one"), Source(path=second, track_id="two"))) == ["added", "added"]
    assert track_ids(pool) == {"one", "two"}
    assert outcomes(run(pool, Source(path=second, track_id="two"))) == ["unchanged"]
    (result,) = run(pool, first)
    assert (result.outcome, result.track_id) == ("duplicate", "one")


def test_one_track_id_for_two_files_is_refused(pool: Pool, tmp_path: Path) -> None:
    first, second = write_wav(tmp_path / "a.wav", notes(1, 4)), write_wav(tmp_path / "b.wav", notes(2, 4))
    results = run(pool, Source(path=first, track_id="one"), Source(path=second, track_id="one"))
    assert outcomes(results) == ["added", "refused"]
    assert str(first) in results[1].sentence
    assert outcomes(run(pool, Source(path=second, track_id="one"))) == ["replaced"]  # asked for by itself, it is meant


def test_one_isrc_in_two_files_is_one_recording(pool: Pool, tmp_path: Path) -> None:
    first = write_flac(tmp_path / "a.flac", notes(1, 4), isrc="DEA012345678")
    second = write_flac(tmp_path / "b.flac", notes(2, 4), isrc="DEA012345678")
    for expected in (["added", "duplicate"], ["unchanged", "duplicate"]):
        assert outcomes(run(pool, first, second)) == expected


def bad_files(folder: Path) -> dict[str, Path]:
    """What a folder of recordings really holds, and the words its sentence must have."""
    folder.mkdir()
    made = {
        "the file is empty": folder / "empty.mp3",
        "text.mp3 is not audio": folder / "text.mp3",
        "it is silent": write_wav(folder / "silence.wav", np.zeros(10 * RATE_HZ, np.float32)),
        "different landmarks in 10 s": write_wav(folder / "tone.wav", np.sin(np.arange(10 * RATE_HZ) / 7).astype(np.float32)),
        "it is 1.0 s long, and 3 s are the least": write_wav(folder / "short.wav", notes(5, 1)),
        "is truncated": write_flac(folder / "cut.flac", notes(6, 20)),
        "video but no audio": folder / "mute.mp4",
        "is a playlist": folder / "list.m3u8",
        "no such file": folder / "missing.wav",
        "it is not a file": folder / "pipe.wav",
    }
    (folder / "empty.mp3").touch()
    (folder / "text.mp3").write_text("This is a shopping list.\n" * 1_000)
    made["is truncated"].write_bytes(made["is truncated"].read_bytes()[: made["is truncated"].stat().st_size // 2])
    (folder / "mute.mp4").write_bytes(audio_file(container="mp4", video=True, audio=False))
    (folder / "list.m3u8").write_text("#EXTM3U\n/etc/passwd\n")
    os.mkfifo(folder / "pipe.wav")
    return made


def test_a_bad_file_ends_with_a_sentence_and_stops_no_other(pool: Pool, tmp_path: Path) -> None:
    bad = bad_files(tmp_path / "bad")
    good = [write_wav(tmp_path / f"good{n}.wav", notes(n, 4)) for n in range(2)]
    results = run(pool, good[0], *bad.values(), good[1])
    assert outcomes(results) == ["added"] + ["refused"] * len(bad) + ["added"]
    for (words, path), result in zip(bad.items(), results[1:-1], strict=True):
        assert words in result.sentence
        assert str(path) in result.sentence
        assert "\n" not in result.sentence
        assert result.track_id is None
    assert len(track_ids(pool)) == 2


def test_a_file_that_may_not_be_read(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: str, flags: int) -> int:  # the superuser, who may run this, is never denied anything
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(reference, "_open_at_once", deny)
    (result,) = run(pool, write_wav(tmp_path / "a.wav", notes(1, 4)))
    assert result.sentence == f"{tmp_path}/a.wav cannot be read: permission denied"


def test_a_recording_longer_than_allowed(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "DURATION_S", (3.0, 5.0))
    results = run(pool, write_wav(tmp_path / "a.wav", notes(1, 6)), write_wav(tmp_path / "b.wav", notes(2, 5)))
    assert outcomes(results) == ["refused", "added"]
    assert "longer than" in results[0].sentence


def test_the_same_bad_file_twice(pool: Pool, tmp_path: Path) -> None:
    for name in ("a.mp3", "b.mp3"):
        (tmp_path / name).write_text("no music\n" * 100)
    results = run(pool, tmp_path)
    assert outcomes(results) == ["refused", "refused"]
    assert "which was refused" in results[1].sentence


def test_processes_give_the_same_and_in_order(pool: Pool, tmp_path: Path) -> None:
    bad = bad_files(tmp_path / "bad")
    good = [write_wav(tmp_path / f"good{n}.wav", notes(n, 4)) for n in range(4)]
    (tmp_path / "copy.wav").write_bytes(good[0].read_bytes())
    told: list[tuple[int, int, str]] = []
    sources = [*good, *bad.values(), tmp_path / "copy.wav"]
    results = list(ingest(sources, pool=pool, jobs=2, progress=lambda done, total, result: told.append((done, total, result.outcome))))
    assert [result.path for result in results] == sources
    assert outcomes(results) == ["added"] * 4 + ["refused"] * len(bad) + ["duplicate"]
    assert told == [(n + 1, len(sources), result.outcome) for n, result in enumerate(results)]


class Deadly:
    """Kills the process it is sent to."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> object:
        return os._exit, (1,)

    def __str__(self) -> str:
        return str(self._path)


def test_a_file_that_kills_its_process_is_found_out(tmp_path: Path) -> None:
    good = [write_wav(tmp_path / f"good{n}.wav", notes(n, 4)) for n in range(2)]
    with ingest_module._Workers(2) as workers:
        before = workers.begin(good[0])
        killed = workers.begin(Deadly(tmp_path / "deadly.mp3"))
        with pytest.raises(UnreadableAudio, match=r"deadly\.mp3 cannot be fingerprinted: the process that decoded it died"):
            killed.result()
        after = workers.begin(good[1])
        assert before.result().duration_s == after.result().duration_s == pytest.approx(4, abs=0.01)


def test_a_lost_database_ends_it_and_nothing_is_lost(pool: Pool, tmp_path: Path) -> None:
    paths = [write_wav(tmp_path / f"{n}.wav", notes(n, 4)) for n in range(3)]
    run(pool, paths[0])
    with transaction(pool) as connection:
        connection.execute("create function refuse() returns trigger language plpgsql as $$ begin raise exception using errcode = '57P01'; end $$")
        connection.execute("create trigger refuse before insert on doc for each row execute function refuse()")
    with pytest.raises(DatabaseUnavailable):
        run(pool, *paths)
    with transaction(pool) as connection:
        connection.execute("drop trigger refuse on doc")
    assert outcomes(run(pool, *paths)) == ["unchanged", "added", "added"]


def test_a_catalogue_of_another_version_is_refused_before_anything_is_decoded(pool: Pool, tmp_path: Path) -> None:
    run(pool, write_wav(tmp_path / "a.wav", notes(1, 4)))
    with transaction(pool) as connection:
        connection.execute("update catalogue_version set fingerprint_version = 99")
    with pytest.raises(FingerprintMismatch):
        run(pool, write_wav(tmp_path / "b.wav", notes(2, 4)))


def test_what_is_ready_is_written_together(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    batches: list[int] = []
    add = Tracks.add
    monkeypatch.setattr(Tracks, "add", lambda self, recordings: batches.append(len(recordings)) or add(self, recordings))
    monkeypatch.setattr(ingest_module, "_BATCH", 3)
    ready = {"0": True, "1": True, "2": True, "3": True, "4": False, "5": True}
    monkeypatch.setattr(ingest_module._Work, "ready", property(lambda self: ready[self._path.stem]))
    paths = [write_wav(tmp_path / f"{name}.wav", notes(n, 4)) for n, name in enumerate(ready)]
    assert outcomes(list(ingest(paths, pool=pool, jobs=1, shared_passages=False))) == ["added"] * 6
    assert batches == [3, 1, 2]
