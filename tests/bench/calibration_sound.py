"""What the calibration hears: music that is not in the catalogue, degraded, and decoys of it; as constellations.

Two Debian packages of game music, as the hearing bench unpacks them under $EARBENCH_HOME/packages (5.7 h), and its
synthetic voices. A stream of one package is heard against catalogues made of the **other** one: nothing in them shares a
sample with it, so whatever is found is chance.

*Decoys* are constellations of real recordings, transposed and stretched by 2^±0.25…0.7, half of them reversed in time:
as music as music is, and no recording.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.signal
import soundfile
import soxr

from earmark.fingerprint.window import Scratch, fingerprint
from earmark.model import EIGHTHS, FINGERPRINT_VERSION, RATE_HZ, Float32, Peaks
from hearing_sounds import at_8_khz

HOME: Final = Path(os.environ.get("EARBENCH_HOME") or Path.home() / ".cache" / "earbench")
#: Jingles are no recordings that a stream plays for a while.
_SHORTEST_S: Final = 30
#: Octaves by which decoys are transposed, at least and at most: no speed hypothesis reaches so far.
_DECOY_OCTAVES: Final = (0.25, 0.7)
_SCRATCH: Final = Scratch()


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A constellation, and what it is of."""

    name: str
    #: The recording that it was made from: decides on which half it is.
    source: str
    package: str
    seconds: float
    #: Played so many times as fast as the recording.
    speed: float
    peaks: Peaks


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of a package."""

    path: Path
    package: str

    @property
    def name(self) -> str:
        return f"{self.package.partition('-')[0].removesuffix('2100')}/{self.path.stem}"


def there() -> bool:
    return (HOME / "packages").is_dir() and (HOME / "sounds" / "solo.wav").exists()


@cache
def recordings() -> tuple[Recording, ...]:
    """All music of the packages, in a fixed order."""
    found = [
        Recording(path, folder.name)
        for folder in sorted((HOME / "packages").iterdir())
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".ogg", ".opus") and soundfile.info(str(path)).duration >= _SHORTEST_S
    ]
    if len({recording.package for recording in found}) != 2:
        raise ValueError(f"{HOME / 'packages'} must hold two packages of music, so that one can be heard against the other")
    return tuple(found)


def packages() -> tuple[str, ...]:
    return tuple(dict.fromkeys(recording.package for recording in recordings()))


# ---------------------------------------------------------------------------------------------------- degraded


def _as_it_is(samples: Float32, random: np.random.Generator) -> Float32:
    return samples


def _under_speech(samples: Float32, random: np.random.Generator) -> Float32:
    """As loud as the voice: one talker, or four at once for three streams in ten."""
    voice = _voice("babble" if random.random() < 0.3 else "solo")
    talk = np.resize(np.roll(voice, int(random.integers(len(voice)))), len(samples))
    return samples + talk * np.float32(np.std(samples) / np.std(talk))


def _played(speed: float) -> Callable[[Float32, np.random.Generator], Float32]:
    return lambda samples, random: soxr.resample(samples, RATE_HZ * speed, RATE_HZ).astype(np.float32)


def _fast_under_speech(samples: Float32, random: np.random.Generator) -> Float32:
    return _under_speech(_played(1.03)(samples, random), random)


def _by_telephone(samples: Float32, random: np.random.Generator) -> Float32:
    band = scipy.signal.butter(6, (300, 3_400), "bandpass", fs=RATE_HZ, output="sos")
    return scipy.signal.sosfilt(band, samples).astype(np.float32)


def _in_a_hall(samples: Float32, random: np.random.Generator) -> Float32:
    """The sound, and a tail of noise of the same energy that falls by 60 dB in 0.6 s."""
    at_s = np.arange(int(0.9 * RATE_HZ)) / RATE_HZ
    tail = random.standard_normal(len(at_s)) * 10 ** (-3 * at_s / 0.6) * (at_s > 0.005)
    tail /= np.sqrt(np.sum(tail**2))
    tail[0] = 1
    return scipy.signal.oaconvolve(samples, tail)[: len(samples)].astype(np.float32)


#: What is done to the sound, and how fast it is then.
CONDITIONS: Final[dict[str, tuple[Callable[[Float32, np.random.Generator], Float32], float]]] = {
    "as it is": (_as_it_is, 1.0),
    "under speech as loud": (_under_speech, 1.0),
    "3 % fast": (_played(1.03), 1.03),
    "4 % slow": (_played(0.96), 0.96),
    "3 % fast, under speech as loud": (_fast_under_speech, 1.03),
    "by telephone": (_by_telephone, 1.0),
    "in a hall": (_in_a_hall, 1.0),
}
VOICES: Final = ("solo", "babble")


def decode(path: Path) -> Float32:
    """A file's sound, in mono at RATE_HZ."""
    samples, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)
    return at_8_khz(samples.mean(axis=1), rate_hz)


@cache
def _voice(name: str) -> Float32:
    return decode(HOME / "sounds" / f"{name}.wav")


def prepare(recording: Recording) -> None:
    """Fingerprint a recording in every condition; what is there already is not made again."""
    if all(_kept(recording.name, condition).exists() for condition in CONDITIONS):
        return
    samples = decode(recording.path)
    for number, (condition, (degrade, _)) in enumerate(CONDITIONS.items()):
        if not _kept(recording.name, condition).exists():
            _keep(recording.name, condition, degrade(samples, np.random.default_rng([number, *recording.name.encode()])))


def prepare_voice(name: str) -> None:
    if not _kept(name, "as it is").exists():
        _keep(name, "as it is", _voice(name))


def heard(recording: Recording, condition: str = "as it is") -> Sound:
    """A stream of a recording in a condition."""
    seconds, peaks = _load(_kept(recording.name, condition))
    name = f"{recording.name}, {condition}"
    return Sound(name=name, source=recording.name, package=recording.package, seconds=seconds, speed=CONDITIONS[condition][1], peaks=peaks)


def voice(name: str, package: str) -> Sound:
    """Speech alone; `package` names the side it is counted to."""
    seconds, peaks = _load(_kept(name, "as it is"))
    return Sound(name=f"voices, {name}", source=name, package=package, seconds=seconds, speed=1.0, peaks=peaks)


def _kept(name: str, condition: str) -> Path:
    return HOME / "constellations" / f"v{FINGERPRINT_VERSION}" / f"{name.replace('/', ' ')}, {condition}.npz"


def _keep(name: str, condition: str, samples: Float32) -> None:
    path = _kept(name, condition)
    path.parent.mkdir(parents=True, exist_ok=True)
    peaks = fingerprint(samples, scratch=_SCRATCH)
    columns: dict[str, Any] = {field: getattr(peaks, field) for field in ("eighth_frames", "eighth_hz", "hashed", "salience")}
    part = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(part, seconds=len(samples) / RATE_HZ, **columns)
    part.rename(path)


def _load(path: Path) -> tuple[float, Peaks]:
    with np.load(path) as kept:
        columns = {field: kept[field] for field in ("eighth_frames", "eighth_hz", "hashed", "salience")}
        return float(kept["seconds"]), Peaks(**columns)


# ---------------------------------------------------------------------------------------------------- decoys


def decoy(sound: Sound, seed: tuple[int, ...]) -> Sound:
    """A constellation like this one that is of no recording."""
    random = np.random.default_rng(seed)
    factor = 2.0 ** float(random.choice([-1, 1]) * random.uniform(*_DECOY_OCTAVES))
    peaks = sound.peaks
    frames, hz = peaks.eighth_frames / factor, peaks.eighth_hz * factor
    if random.random() < 0.5:
        frames = frames.max() - frames
    inside = (hz > 180 * EIGHTHS) & (hz < 3_800 * EIGHTHS)
    frames, hz = np.rint(frames[inside]).astype(np.int32), np.rint(hz[inside]).astype(np.int32)
    order = np.lexsort((hz, frames))
    moved = Peaks(eighth_frames=frames[order], eighth_hz=hz[order], hashed=peaks.hashed[inside][order], salience=peaks.salience[inside][order])
    name = f"decoy {'.'.join(map(str, seed))} of {sound.source}"
    return Sound(name=name, source=sound.source, package=sound.package, seconds=sound.seconds / factor, speed=1.0, peaks=moved)


def decoys(package: str, *, seed: int) -> Iterator[tuple[Recording, tuple[int, ...]]]:
    """Without end: what to make the next decoy of a package from."""
    sources = [recording for recording in recordings() if recording.package == package]
    number = 0
    while True:
        yield sources[number % len(sources)], (seed, number)
        number += 1
