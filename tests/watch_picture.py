"""docs/watch.svg: what `earmark watch` showed of a live stream, by its own key for a picture. The stream is generated music on an origin of this machine.

Nothing is made up: the command runs on a terminal, hears real HLS for two minutes, misses some of it because it is stopped for
a while (Ctrl-Z), and is asked for a picture when the last piece is recognised.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from earmark.local import music, sound
from earmark.local.origin import Origin
from earmark.local.speech import speech
from earmark.model import Float32
from terminal import Terminal

WIDTH, HEIGHT = 101, 24
#: Stopped at so many seconds of the stream, for so long: longer than its playlist reaches back.
STOPPED_AT_S, STOPPED_S = 58.0, 21.0
#: The last piece begins here, and is drawn when it has gone on for so long.
_LAST_AT_S, _LAST_S = 86.0, 40.0


def watch() -> str:
    with tempfile.TemporaryDirectory(prefix="earmark-picture-") as made:
        folder = Path(made)
        folder.chmod(0o755)  # as root the database runs as nobody
        pieces = music.catalogue(12)
        (folder / "music").mkdir()
        for piece in pieces:
            sound.write_flac(folder / "music" / f"{piece.track.title}.flac", music.render(piece), piece.track)
        with Origin() as origin:
            encoded = origin.encoded("late-night-radio", _programme(pieces), rate_hz=music.RATE_HZ)
            # The folder is known before the stream begins: that takes as long as it takes.
            asked = [sys.executable, "-m", "earmark.cli", "identify", next((folder / "music").iterdir()), "--catalogue", folder / "music"]
            subprocess.run(asked, env={**os.environ, "XDG_DATA_HOME": str(folder)}, stdout=subprocess.DEVNULL, timeout=300, check=True)
            broadcast = origin.put_on_air("late-night-radio", encoded)
            time.sleep(max(0.0, broadcast.on_air - time.time()))
            return _watched(broadcast.url, broadcast.begin, folder)


def _programme(pieces: list[music.Piece]) -> Float32:
    rate = music.RATE_HZ
    first, second, stranger = music.render(pieces[3]), music.render(pieces[8]), music.render(music.stranger(like=pieces[0]))
    last = sound.under_speech(sound.faster(music.render(pieces[6])[10 * rate : 60 * rate], 3), 0, seed=5)
    parts = [speech(10.0, seed=11), first[15 * rate : 35 * rate], sound.silence(2), second[30 * rate : 48 * rate], stranger[20 * rate : 56 * rate], last]
    return np.concatenate(parts)


def _watched(url: str, begin: float, folder: Path) -> str:
    arguments = ("watch", url, "--catalogue", str(folder / "music"))
    with Terminal(*arguments, rows=HEIGHT, columns=WIDTH, environment={"XDG_DATA_HOME": str(folder)}, folder=folder) as terminal:
        terminal.until(lambda lines: lines and "live" in lines[0], "the stream is heard", limit_s=120)
        terminal.watch(begin + STOPPED_AT_S - time.time())
        terminal.type(b"\x1a")
        terminal.watch(STOPPED_S)
        os.kill(terminal.process.pid, signal.SIGCONT)
        terminal.watch(begin + _LAST_AT_S + _LAST_S - time.time())
        terminal.until(lambda lines: any("false alarms" in line for line in lines[:16]), "the last piece is recognised")
        terminal.type(b"s")
        terminal.until(lambda lines: any("snapshot:" in line for line in lines), "there is a picture")
        terminal.type(b"q")
        terminal.end()
    (picture,) = folder.glob("*.svg")
    return picture.read_text(encoding="utf-8")
