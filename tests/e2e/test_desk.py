"""The desk's commands as a user types them: a folder of music, a clip, a live playlist; no DSN, no AWS."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from earmark.local import music, sound
from earmark.local.origin import Origin
from hits_samples import validator

EARMARK = [sys.executable, "-m", "earmark.cli"]
LIMIT_S = 120


@pytest.fixture(scope="module")
def home() -> Iterator[dict[str, str]]:
    """An environment whose desk server lives in a folder of its own, away from the machine's."""
    folder = Path(tempfile.mkdtemp(prefix="earmark-desk-"))
    folder.chmod(0o755)
    yield {**os.environ, "XDG_DATA_HOME": str(folder), "NO_COLOR": "1"}
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three generated recordings as FLAC, and what else lies in a music folder."""
    made = tmp_path_factory.mktemp("music")
    for piece in music.catalogue(3):
        sound.write_flac(made / f"{piece.track.title}.flac", music.render(piece), piece.track)
    (made / "cover.jpg").write_bytes(b"\xff\xd8\xff")
    (made / "broken.mp3").write_text("this is text named .mp3\n" * 100)
    return made


def earmark(home: dict[str, str], *argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*EARMARK, *map(str, argv)], env=home, capture_output=True, text=True, timeout=LIMIT_S, check=False)


def clip(path: Path, samples: np.ndarray) -> Path:
    piece = music.catalogue(1)[0]
    sound.write_flac(path, samples, piece.track)
    return path


def test_a_catalogue_is_made_listed_and_asked(home: dict[str, str], folder: Path, tmp_path: Path) -> None:
    added = earmark(home, "catalogue", "add", folder)
    assert added.returncode == 1  # of the files one could not be read, and that is said
    assert added.stdout in {"1 refused, 3 added\n", "3 added, 1 refused\n"}
    (refused,) = [line for line in added.stderr.splitlines() if not line.startswith("catalogue: ")]  # how far it is, where that takes seconds
    assert "broken.mp3" in refused
    again = earmark(home, "catalogue", "add", folder)
    assert "3 unchanged" in again.stdout

    listed = [json.loads(line) for line in earmark(home, "catalogue", "list", "--json").stdout.splitlines()]
    pieces = music.catalogue(3)
    assert {track["title"] for track in listed} == {piece.track.title for piece in pieces}
    track_id = pieces[1].track.track_id
    assert json.loads(earmark(home, "catalogue", "show", track_id).stdout)["track"]["track_id"] == track_id
    assert pieces[0].track.title in earmark(home, "catalogue", "export", "--format", "csv").stdout

    played = clip(tmp_path / "clip.flac", music.render(pieces[1])[20 * music.RATE_HZ : 32 * music.RATE_HZ])
    silent = clip(tmp_path / "silent.flac", np.zeros(5 * music.RATE_HZ, np.float32))
    found = earmark(home, "identify", "--json", played, silent)
    assert found.returncode == 0, found.stderr
    first, second = (json.loads(line) for line in found.stdout.splitlines())
    (match,) = first["matches"]
    assert (match["track_id"], second["matches"]) == (track_id, [])
    assert match["reference_begin_s"] - match["begin_s"] == pytest.approx(20, abs=0.1)
    assert pieces[1].track.title in earmark(home, "identify", played).stdout

    assert earmark(home, "catalogue", "remove", track_id).stdout == f"{track_id} was removed\n"
    assert "nothing that the catalogue knows" in earmark(home, "identify", played).stdout


def test_a_live_playlist_is_watched_with_a_folder_as_catalogue(home: dict[str, str], folder: Path) -> None:
    piece = music.catalogue(3)[2]
    seconds = lambda begin, end: music.render(piece)[begin * music.RATE_HZ : end * music.RATE_HZ]  # noqa: E731 -- used twice, here
    on_air = np.concatenate([sound.silence(3), seconds(15, 33), sound.silence(16)])
    earmark(home, "identify", "--catalogue", folder, folder / "cover.jpg")  # so that the folder is known before the stream starts
    with Origin() as origin:
        broadcast = origin.publish("live", on_air, rate_hz=music.RATE_HZ)
        watched = earmark(home, "watch", broadcast.url, "--catalogue", folder, "--json")
    assert watched.returncode == 0, watched.stderr
    documents = [json.loads(line) for line in watched.stdout.splitlines()]
    for document in documents:
        validator("hit").validate(document)
    assert [document["state"] for document in documents] == ["provisional", "open", "closed"]
    assert {document["track"]["title"] for document in documents} == {piece.track.title}
    told, closed = documents[0], documents[-1]
    assert told["detection"]["latency_s"] < 10  # from its start on air to the printed line, the segment's own length included
    assert closed["query"]["begin_s"] == pytest.approx(3, abs=0.5)
    assert closed["query"]["end_s"] == pytest.approx(21, abs=1)


def test_ctrl_c_ends_a_watch_without_a_traceback(home: dict[str, str], folder: Path) -> None:
    with Origin() as origin:
        broadcast = origin.publish("long", np.concatenate([music.render(music.catalogue(3)[0])[: 60 * music.RATE_HZ]]), rate_hz=music.RATE_HZ)
        with subprocess.Popen(
            [*EARMARK, "watch", broadcast.url, "--catalogue", str(folder)], env=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout
            process.stdout.readline()  # something was heard
            process.send_signal(signal.SIGINT)
            _, complained = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in complained


@pytest.mark.parametrize(
    "argv, says",
    [
        (["watch", "ftp://example.com/live.m3u8"], "is neither a file nor an http(s) URL"),
        (["watch", "/nowhere/at/all.mp3"], "/nowhere/at/all.mp3"),
        (["watch", "http://169.254.169.254/latest/meta-data"], "169.254.169.254"),
        (["watch", "http://127.0.0.1:1/live.m3u8"], "127.0.0.1"),
        (["identify", "--catalogue", "/nowhere/at/all", __file__], "is neither a folder nor a PostgreSQL DSN"),
        (["catalogue", "add", "/nowhere/at/all"], "there is no /nowhere/at/all"),
        (["catalogue", "remove", "isrc:NONE"], "has no recording isrc:NONE"),
    ],
)
def test_a_wrong_invocation_is_one_sentence(home: dict[str, str], folder: Path, argv: list[str], says: str) -> None:
    more = ["--catalogue", str(folder)] if argv[0] == "watch" else []
    done = earmark(home, *argv, *more)
    assert done.returncode in (1, 2)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("earmark: ")
    assert says in last
    assert "Traceback" not in done.stderr
