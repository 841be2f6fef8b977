"""What the streams of a measurement play, and the truth about it: minutes of music that is in the catalogue, music that is not, talk, silence.

A third of the time a recording of the catalogue sounds, which is a normal day of a talk show with music; on one programme in
four somebody talks over one of the two. Generated, and the same everywhere.
"""

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, assert_never

import numpy as np

from earmark.local import music, sound
from earmark.local import speech as spoken
from earmark.local.speech import speech
from earmark.model import Float32, Track

#: Of a programme; it begins and ends in talk, and is played round and round.
PROGRAMME_S: Final = 300.0
#: Recordings of the catalogue that are played: two in a programme.
PLAYS: Final = 2
#: So long, and from so many seconds of the recording on.
_PLAY_S, _FROM_S = (44.0, 56.0), (3.0, 12.0)
#: What is played, and strangers' music, has to last so long.
SOUND_S: Final = 68.5
Kind = Literal["music", "under talk", "stranger", "talk", "silence"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some seconds of a programme."""

    kind: Kind
    begin_s: float
    end_s: float
    #: Of the recording, if it is one of the catalogue.
    track_id: str = ""
    #: Where in the recording it begins.
    from_s: float = 0.0


def sources() -> list[bytes]:
    """What a programme depends on, beside its number."""
    return [Path(module.__file__ or "").read_bytes() for module in (music, sound, spoken, sys.modules[__name__])]


def plan(number: int, of: int) -> tuple[Part, ...]:
    """The parts of programme `number` of so many."""
    return compose(number, [piece.track.track_id for piece in _pieces(of)[number * PLAYS : (number + 1) * PLAYS]])


def sounding(number: int, of: int) -> Float32:
    """The samples of a programme: mono, at music.RATE_HZ."""
    by_id = {piece.track.track_id: piece for piece in _pieces(of)}
    like = _pieces(of)[number * PLAYS]
    return perform(
        number,
        plan(number, of),
        recording=lambda track_id: music.render(by_id[track_id]),
        stranger=lambda seed: music.render(music.stranger(seed, like=like)),
    )


def played(of: int) -> Iterator[tuple[Track, Float32, int]]:
    """Recordings that have to be in the catalogue: with their samples, mono, and their rate in Hz."""
    for piece in _pieces(of):
        yield piece.track, music.render(piece), music.RATE_HZ


@cache
def _pieces(programmes: int) -> tuple[music.Piece, ...]:
    """That so many programmes play."""
    return tuple(music.catalogue(programmes * PLAYS))


# ------------------------------------------------------------------------------------------------ of whatever music


def compose(number: int, track_ids: Sequence[str]) -> tuple[Part, ...]:
    """A programme that plays PLAYS recordings of SOUND_S and more: parts one behind the other, PROGRAMME_S in all."""
    chance = random.Random(f"programme {number}")
    plays = [chance.uniform(*_PLAY_S) for _ in range(PLAYS)]
    second: Kind = "under talk" if number % 4 == 3 else "music"
    strangers, pauses = [chance.uniform(45, 60), chance.uniform(25, 40)], [chance.uniform(6, 10), chance.uniform(8, 14)]
    talk_s = PROGRAMME_S - sum(plays) - sum(strangers) - sum(pauses)
    shares = [chance.uniform(0.8, 1.2) for _ in range(3)]
    talks = [talk_s * share / sum(shares) for share in shares]
    order: list[tuple[Kind, float]] = [
        ("talk", talks[0]),
        ("music", plays[0]),
        ("silence", pauses[0]),
        ("stranger", strangers[0]),
        ("talk", talks[1]),
        (second, plays[1]),
        ("silence", pauses[1]),
        ("stranger", strangers[1]),
        ("talk", talks[2]),
    ]
    return tuple(_parts(order, iter(track_ids), chance))


def _parts(order: Sequence[tuple[Kind, float]], track_ids: Iterator[str], chance: random.Random) -> Iterator[Part]:
    begin_s = 0.0
    for kind, seconds in order:
        track_id = next(track_ids) if kind in ("music", "under talk") else ""
        yield Part(kind=kind, begin_s=begin_s, end_s=begin_s + seconds, track_id=track_id, from_s=chance.uniform(*_FROM_S) if track_id else 0.0)
        begin_s += seconds


def perform(number: int, parts: Sequence[Part], *, recording: Callable[[str], Float32], stranger: Callable[[int], Float32]) -> Float32:
    """The samples of a programme; recordings by their track_id, and strangers by a number, last SOUND_S and more at music.RATE_HZ."""
    return np.concatenate([_sound(part, 100 * number + place, recording, stranger) for place, part in enumerate(parts)])


def _sound(part: Part, seed: int, recording: Callable[[str], Float32], stranger: Callable[[int], Float32]) -> Float32:
    samples = round(part.end_s * music.RATE_HZ) - round(part.begin_s * music.RATE_HZ)
    match part.kind:
        case "silence":
            return np.zeros(samples, np.float32)
        case "talk":
            made = speech(samples / music.RATE_HZ + 0.1, seed=seed)
        case "stranger":
            made = stranger(seed)
        case "music" | "under talk":
            begin = round(part.from_s * music.RATE_HZ)
            made = recording(part.track_id)[begin : begin + samples]
            made = sound.under_speech(made, 0.0, seed=seed) if part.kind == "under talk" else made
        case _:
            assert_never(part.kind)
    assert len(made) >= samples, f"{part} is too short: {len(made)} samples of {samples}"
    return sound.faded(made[:samples])
