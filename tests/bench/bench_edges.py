"""How exactly is it told when a recording begins and ends? Plays cut out of recordings, into silence, other music and talk.

    [MUSIC=real] PYTHONPATH=tests python -m bench edges          prints the table, and writes build/bench/edges.json

Each play is 40 s of a recording, somewhere in it, heard as a stream by itself against all of them; in other streams it is what
comes behind it: nothing, another recording, or somebody who talks over its second half and goes on talking. Truth is where it was cut.
Generated music and talk by default; with MUSIC=real 24 tracks and the voices of the hearing bench under $EARBENCH_HOME.
"""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import soundfile

from bench.asked import one_of
from bench.rows import row
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.local import music
from earmark.local.speech import speech
from earmark.model import RATE_HZ, AudioChunk, Float32, MatchParams, Play, Track
from fakes import MemoryIndex
from hearing_sounds import at_8_khz

HOME: Final = Path(os.environ.get("EARBENCH_HOME") or Path.home() / ".cache" / "earbench")
MUSIC: Final = one_of("MUSIC", "generated", ("generated", "real"))
#: Recordings, and plays of each.
_RECORDINGS: Final = 24
_PLAYS: Final = 3
_FROM_S, _PLAY_S, _BEHIND_S = 2.0, 40.0, 25.0
_LOUD: Final = 0.05
#: What is behind the play, and by how many dB the music is louder than talk.
_BEHIND: Final = {"silence": None, "other music": None, "talk, 5 dB softer": 5.0, "talk, as loud": 0.0, "talk, 10 dB louder": -10.0}

_row: Final = partial(row, command=f"{'MUSIC=real ' if MUSIC == 'real' else ''}make bench ARGS=edges")


class Edges(NamedTuple):
    """Of one play, told minus true, in seconds."""

    begin_s: float
    end_s: float


def figures() -> list[dict[str, Any]]:
    """Measures for three minutes."""
    recordings, voice = _real() if MUSIC == "real" else _generated()
    index = MemoryIndex()
    for name, samples in recordings.items():
        index.add(Track(track_id=name, title=name, duration_s=len(samples) / RATE_HZ), fingerprint(samples))
    rows: list[dict[str, Any]] = []
    for behind in _BEHIND:
        random = np.random.default_rng(5)
        told = [_told(index, recordings, voice, name, behind, random) for _ in range(_PLAYS) for name in recordings]
        rows += _rows(behind, [one for one in told if one is not None], len(told))
    return rows


def _rows(behind: str, told: list[Edges], plays: int) -> Iterator[dict[str, Any]]:
    begins, ends = np.array(told).T
    against = f"{plays} plays of 40 s, {MUSIC} music"
    yield _row(f"then {behind}: plays found", 100 * len(told) / plays, "%", bar=100, met=lambda share, bar: share >= bar, against=against)
    yield _row(f"then {behind}: begin off by, mean", float(np.abs(begins).mean()), "s", against=against)
    yield _row(f"then {behind}: end off by, mean", float(np.abs(ends).mean()), "s", bar=0.5, against=against)
    yield _row(f"then {behind}: end too late by, at most", float(ends.max()), "s", against=against)
    yield _row(f"then {behind}: end too early by, at most", float(-ends.min()), "s", against=against)


def _told(index: MemoryIndex, recordings: dict[str, Float32], voice: Float32, name: str, behind: str, random: np.random.Generator) -> Edges | None:
    own = _cut(recordings[name], _PLAY_S, random)
    stream = np.concatenate([np.zeros(round(_FROM_S * RATE_HZ), np.float32), own, np.zeros(round(_BEHIND_S * RATE_HZ), np.float32)])
    end = round((_FROM_S + _PLAY_S) * RATE_HZ)
    if behind == "other music":
        other = str(random.choice([one for one in recordings if one != name]))
        stream[end:] = _cut(recordings[other], _BEHIND_S, random)
    elif (louder_db := _BEHIND[behind]) is not None:
        begin = end - round(_PLAY_S / 2 * RATE_HZ)
        stream[begin:] += _cut(voice, (len(stream) - begin) / RATE_HZ, random) * np.float32(10 ** (-louder_db / 20))
    plays = [play for play in _heard(index, stream) if play.track_id == name]
    if not plays:
        return None
    return Edges(min(play.begin_s for play in plays) - _FROM_S, max(play.end_s for play in plays) - _FROM_S - _PLAY_S)


def _heard(index: MemoryIndex, samples: Float32) -> list[Play]:
    hearing = Hearing(params=MatchParams(), size=index.size(), stream_id="bench", source="file")
    told: dict[str, Play] = {}
    for begin in range(0, len(samples), 2 * RATE_HZ):
        chunk = AudioChunk(samples=samples[begin : begin + 2 * RATE_HZ], start_s=begin / RATE_HZ)
        told |= {play.hit_id: play for play in drive(hearing.push(chunk), index.answer)}
    told |= {play.hit_id: play for play in drive(hearing.flush(), index.answer)}
    return list(told.values())


def _cut(samples: Float32, seconds: float, random: np.random.Generator) -> Float32:
    """So much of it, from somewhere in its midst, as loud as all others."""
    length = round(seconds * RATE_HZ)
    begin = int(random.integers(0, max(1, len(samples) - length)))
    piece = samples[begin : begin + length]
    return (piece * (_LOUD / max(1e-9, float(np.sqrt(np.mean(np.square(piece))))))).astype(np.float32)


def _generated() -> tuple[dict[str, Float32], Float32]:
    pieces = music.catalogue(_RECORDINGS)
    recordings = {piece.track.track_id: at_8_khz(music.render(piece), music.RATE_HZ) for piece in pieces}
    return recordings, at_8_khz(speech(120, seed=4), music.RATE_HZ)


def _real() -> tuple[dict[str, Float32], Float32]:
    read = partial(soundfile.read, dtype="float32")
    files = sorted((HOME / "catalogue").glob("*.wav"))
    tracks = {path.stem: at_8_khz(*read(str(path))) for path in files}
    long_enough = {name: samples for name, samples in tracks.items() if len(samples) >= 2 * _PLAY_S * RATE_HZ}
    return dict(list(long_enough.items())[:_RECORDINGS]), at_8_khz(*read(str(HOME / "sounds" / "solo.wav")))
