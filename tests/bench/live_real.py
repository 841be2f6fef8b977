"""As `bench.live_programme`, with recordings for music: those of the hearing bench, where $EARBENCH_HOME has them.

They are at hand on few machines, but their music is music: what the hearing takes of a second of it, and how much in it is
like something else by chance, no generator knows. Strangers are cut out of the bench's streams, from where they play recordings
that its catalogue does not have.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Final

import numpy as np
import soundfile

from bench.cost_streams import HOME
from bench.live_programme import PLAYS, SOUND_S, Part, compose, perform
from earmark.local import music
from earmark.model import Float32, Track

_STREAMS: Final = 3


def there() -> bool:
    """Whether this machine has them."""
    return all((HOME / f"stream{number}.wav").exists() for number in range(_STREAMS)) and (HOME / "catalogue").exists()


def sources() -> list[bytes]:
    """What a programme depends on, beside its number."""
    names = " ".join(path.name for path in sorted((HOME / "catalogue").glob("*.wav")))
    return [names.encode(), *((HOME / f"stream{number}.json").read_bytes() for number in range(_STREAMS)), repr(compose(0, ["", ""])).encode()]


def plan(number: int, of: int) -> tuple[Part, ...]:
    """The parts of programme `number`."""
    del of
    known = _long_enough()
    return compose(number, [known[(number * PLAYS + play) % len(known)] for play in range(PLAYS)])


def sounding(number: int, of: int) -> Float32:
    """The samples of a programme: mono, at music.RATE_HZ."""
    return perform(number, plan(number, of), recording=lambda track_id: _read(f"catalogue/{track_id}.wav"), stranger=_stranger)


def played(of: int) -> Iterator[tuple[Track, Float32, int]]:
    """Recordings that have to be in the catalogue: with their samples, mono, and their rate in Hz."""
    del of
    for path in sorted((HOME / "catalogue").glob("*.wav")):
        samples = _read(f"catalogue/{path.name}")
        yield Track(track_id=path.stem, title=path.stem, duration_s=len(samples) / music.RATE_HZ), samples, music.RATE_HZ


@cache
def _long_enough() -> list[str]:
    """Recordings of which something can be played."""
    paths = sorted((HOME / "catalogue").glob("*.wav"))
    return [path.stem for path in paths if soundfile.info(str(path)).duration >= SOUND_S]


def _stranger(seed: int) -> Float32:
    """Some seconds of what is in no catalogue."""
    found = []
    for stream in range(_STREAMS):
        for play in json.loads((HOME / f"stream{stream}.json").read_text(encoding="utf-8")):
            begin_s, end_s = max([play["start_s"], *play["talk_s"]]), play["end_s"]
            if play["role"] == "negative" and end_s - begin_s >= SOUND_S:
                found.append((stream, begin_s, end_s))
    stream, begin_s, end_s = found[seed % len(found)]
    begin_s += np.random.default_rng(seed).uniform(0, end_s - begin_s - SOUND_S)
    return _read(f"stream{stream}.wav", begin_s, SOUND_S)


def _read(name: str, begin_s: float = 0.0, seconds: float | None = None) -> Float32:
    with soundfile.SoundFile(str(HOME / name)) as file:
        assert file.samplerate == music.RATE_HZ, f"{name} is not at {music.RATE_HZ} Hz"
        file.seek(round(begin_s * file.samplerate))
        samples = file.read(-1 if seconds is None else round(seconds * file.samplerate), dtype="float32", always_2d=True)
    return np.asarray(samples.mean(axis=1), np.float32)
