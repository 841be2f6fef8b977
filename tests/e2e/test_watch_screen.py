"""`earmark watch` on a terminal, as whoever sits before it sees it: a real stream, a real pseudo-terminal, keys, signals, and a terminal that is given back."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from earmark import Catalogue
from earmark.cli import main
from earmark.local import music, sound
from earmark.local.database import create_database, database_dsn, drop_database
from earmark.local.origin import Origin
from terminal import Terminal

RATE = music.RATE_HZ
#: What its owner calls a recording: orders to a terminal, mark-up, a turned direction, wide signs, signs of several parts, and much of it.
HOSTILE = "\x1b[2J\x1b]0;t\x07\x9b31m\u202e[bold red]名前 👩\u200d👧 ❤\ufe0f שלום " + "x" * 2_000
#: A screen's own: where, colours, to the end of the line, the other screen, the cursor, no new line at the edge.
ORDERS = {b"H", b"m", b"K", b"h", b"l"}


@pytest.fixture(scope="module")
def catalogue(postgres_server: str, _template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """DSN of two recordings, one of them by a hostile name."""
    create_database(postgres_server, "watched", template=_template)
    dsn = database_dsn(postgres_server, "watched")
    with Catalogue.open(dsn) as opened:
        for number, piece in enumerate(music.catalogue(2)):
            file = tmp_path_factory.mktemp("music") / f"{number}.flac"
            sound.write_flac(file, music.render(piece), piece.track)
            opened.add(file, **({"title": HOSTILE, "artists": [HOSTILE]} if number else {}))
    yield dsn
    drop_database(postgres_server, "watched")


def programme(*parts: tuple[int, int, int]) -> np.ndarray:
    """Pieces by number, from second to second; -1 is silence."""
    pieces = [music.render(piece) for piece in music.catalogue(2)]
    return np.concatenate([sound.silence(end - begin) if which < 0 else pieces[which][begin * RATE : end * RATE] for which, begin, end in parts])


def watched(source: object, catalogue: str, folder: Path, *more: str, rows: int = 24, columns: int = 80, **environment: str) -> Terminal:
    arguments = ("watch", str(source), "--catalogue", catalogue, *more)
    return Terminal(*arguments, rows=rows, columns=columns, environment={"HOME": str(folder), **environment}, folder=folder)


def given_back(terminal: Terminal) -> None:
    """The screen from before, with its cursor; what is typed is shown again."""
    assert terminal.sent.count(b"\x1b[?1049h") == terminal.sent.count(b"\x1b[?1049l") >= 1
    assert terminal.sent.rindex(b"\x1b[?1049l") > terminal.sent.rindex(b"\x1b[?25h") > terminal.sent.rindex(b"\x1b[?25l")
    assert terminal.modes == terminal.before


def test_a_live_stream_is_shown_as_it_plays_and_the_terminal_is_given_back(catalogue: str, tmp_path: Path) -> None:
    first = music.catalogue(1)[0].track
    with Origin() as origin:
        broadcast = origin.publish("live", programme((0, 10, 80)), rate_hz=RATE)
        time.sleep(max(0.0, broadcast.on_air - time.time()))
        with watched(broadcast.url, catalogue, tmp_path) as terminal:
            lines = terminal.until(lambda lines: f"♪ {first.title}" in lines, "it says what is playing")
            assert lines[0].startswith("earmark watch  127.0.0.1:") and "● live" in lines[0]
            (progress,) = [line for line in lines if "━" in line and line.endswith("left")]
            later = terminal.until(lambda lines: any(line.endswith("left") and line != progress for line in lines), "it goes on")
            assert any("nats of evidence, 27 asked for" in line for line in later)
            assert any(line.startswith("now music") for line in later) and any("catalogued" in line for line in later)

            began, sent = time.monotonic(), len(terminal.sent)
            terminal.watch(4)
            drawings = sum(when >= began for when, _ in terminal.came)
            assert drawings <= 4 * 4 + 2 and (len(terminal.sent) - sent) / 4 < 4_000  # a few lines at a time, and seldom
            assert b"\x1b[2J" not in terminal.sent and b"\x1b[J" not in terminal.sent  # nothing is cleared: nothing flickers
            assert {order[-1:] for order in terminal.orders()} <= ORDERS

            for rows, columns in ((20, 60), (5, 20), (50, 200)):
                terminal.resize(rows, columns)
                resized = terminal.until(lambda lines, rows=rows: f"♪ {first.title}" in lines and len(lines) <= rows, f"{rows} by {columns}")
                assert max(map(len, resized)) < columns
            terminal.type(b"s")
            terminal.until(lambda lines: any(line.startswith("snapshot: earmark-watch-") for line in lines), "there is a picture")
            assert first.title in next(tmp_path.glob("*.svg")).read_text(encoding="utf-8").replace("&#160;", " ")

            terminal.type(b"\x1a")
            stopped = os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED)
            assert stopped and stopped.si_code == os.CLD_STOPPED
            terminal.watch(0.2)
            given_back(terminal)  # it is the shell's now
            assert terminal.screen() == []
            os.kill(terminal.process.pid, signal.SIGCONT)
            terminal.until(lambda lines: lines and lines[0].startswith("earmark watch"), "it goes on where it was")
            terminal.type(b"xyz\x1b[A\x1b[1;5Bq")
            assert terminal.end() == 0
            given_back(terminal)
    said = terminal.screen()
    assert said[0].startswith("127.0.0.1:") and "heard" in said[0]
    assert said[-1].startswith("  0:00 …  +0.0%") and said[-1].endswith(f"{first.artists[0]} – {first.title}")


def test_ctrl_c_leaves_a_clean_terminal_and_a_summary_without_colours(catalogue: str, tmp_path: Path) -> None:
    with Origin() as origin:
        broadcast = origin.publish("live", programme((-1, 0, 60)), rate_hz=RATE)
        time.sleep(max(0.0, broadcast.on_air - time.time()))
        with watched(broadcast.url, catalogue, tmp_path, NO_COLOR="1") as terminal:
            terminal.until(lambda lines: lines and "● live" in lines[0] and any("now silence" in line for line in lines), "it is heard")
            assert terminal.interrupt() == 0
            given_back(terminal)
    colours = {order for order in terminal.orders() if order.endswith(b"m")}
    assert not [order for order in colours if any(30 <= int(n) <= 49 for n in order[2:-1].split(b";") if n)]
    said = terminal.screen()
    assert "% silence" in said[0] and said[1] == "nothing that the catalogue knows"
    assert "Traceback" not in "\n".join(said) and "^C" not in said[0]


def test_hostile_names_neither_reach_the_terminal_nor_shift_its_lines(catalogue: str, tmp_path: Path) -> None:
    file = tmp_path / "show.flac"
    sound.write_flac(file, programme((1, 5, 30), (-1, 0, 14)), music.catalogue(1)[0].track)
    with watched(file, catalogue, tmp_path) as terminal:
        assert terminal.end(limit_s=60) == 0
        given_back(terminal)
    assert {order[-1:] for order in terminal.orders()} <= ORDERS | {b"A"}
    text = terminal.text()
    assert not [bad for bad in (b"\x1b", b"\x07", "\u202e".encode(), "\x9b".encode(), b"\x9b3", "\ufe0f".encode()) if bad in text]
    said = "\n".join(terminal.screen())
    assert "1 play:" in said and "[bold red]名前" in said and said.count("xxx") < 200


def test_what_cannot_be_heard_is_one_sentence_on_a_clean_terminal(catalogue: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Origin() as origin, watched(f"http://{origin.address}/none/master.m3u8", catalogue, tmp_path, columns=160) as terminal:
        assert terminal.end(limit_s=60) == 1
        given_back(terminal)
    (sentence,) = terminal.screen()
    assert sentence.startswith("earmark: ") and "404" in sentence
    (tmp_path / "notes.mp3").write_text("this is no audio\n" * 50)
    assert main(["watch", str(tmp_path / "notes.mp3"), "--catalogue", catalogue]) == 1
    assert capsys.readouterr() == ("", f"earmark: {tmp_path}/notes.mp3 is not audio: no known format, or damaged at its beginning\n")


def test_a_terminal_that_can_only_type_gets_lines_and_a_pipe_gets_json(catalogue: str, tmp_path: Path) -> None:
    file = tmp_path / "show.flac"
    sound.write_flac(file, programme((0, 5, 25), (-1, 0, 3)), music.catalogue(1)[0].track)
    with watched(file, catalogue, tmp_path, TERM="dumb") as terminal:
        assert terminal.end(limit_s=60) == 0
    assert b"\x1b" not in terminal.sent
    lines = terminal.screen()
    assert [line.split()[1] for line in lines[:3]] == ["provisional", "open", "closed"]
    assert lines[3].startswith("show.flac: 0:23 of 0:23 heard")
    # Without a standard input, too.
    command = f'exec {sys.executable} -m earmark.cli watch {file} --catalogue "$CATALOGUE" <&-'
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "CATALOGUE": catalogue}
    piped = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert [line[:20] for line in piped.stdout.splitlines()] == ['{"schema_version": 1'] * 3
