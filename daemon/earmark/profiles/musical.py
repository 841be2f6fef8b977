"""Tempo, key and mode of a recording, by librosa (the extra `features`), from the samples that the fingerprint is made of.

* **Tempo**: the autocorrelation (`librosa.autocorrelate`) of `librosa.onset.onset_strength`, and of its periods the one that stands out
  most, weighed as librosa weighs tempi: where half or twice as fast is as good, what is nearer to 120 beats a minute. Eight of
  these periods on, the same peak says it eight times as exactly. One tempo for all of it: the mean of what changes a little, and
  nothing of use for what changes much.
* **Key and mode**: the mean of `librosa.feature.chroma_cqt`, tuned to where the recording's own peaks lie, and of the 24 profiles
  of C. Krumhansl and E. Kessler (1982) the one that it correlates with best. One key for all of it, major or minor: other modes are told as the
  nearer of the two, and a key's dominant, parallel and relative keys are what it is mistaken for.

Nothing is called that numba compiles with `guvectorize`, as beat tracking, peak picking and librosa's own tuning are: from a cache
that two processes have written at once such functions end the process (numba issue 10128).

librosa is imported when it is first needed, which takes seconds: in the process that measures, and nowhere else.
"""

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from earmark.model import RATE_HZ, Float32, Float64, Peaks
from earmark.track_profile import Mode

#: What is listened to: three minutes in the middle of the first ten.
HEARD_S: Final = 180.0
KEPT_S: Final = 600.0
#: Less has no tempo and no key that could be told.
LEAST_S: Final = 8.0
#: 8 ms: a beat has fifty and more.
_ONSET_HOP: Final = 64
_ONSET_FFT: Final = 512
_ONSETS_PER_S: Final = RATE_HZ / _ONSET_HOP
_TEMPI_BPM: Final = (40.0, 240.0)
#: As `librosa.feature.tempo` has them: what is an octave off counts for six tenths.
_USUAL_BPM, _USUAL_OCTAVES = 120.0, 1.0
#: Onsets that are alike from beat to beat by less than this have no beat: those of noise and speech are not.
_BEAT_MIN: Final = 0.1
_CHROMA_HOP: Final = 512
#: C2, the lowest note; five octaves end below half of the rate.
_LOWEST_HZ: Final = 65.406
_OCTAVES: Final = 5
#: Notes that fit no key better than this are of none: those of noise and of speech do not.
_FIT_MIN: Final = 0.5

KEYS: Final = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
#: How well each of the twelve notes, from the tonic up, fits a key, by listeners' judgement: Krumhansl and Kessler, Psychological Review 89, 1982.
_PROFILES: Final[Mapping[Mode, tuple[float, ...]]] = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


@dataclass(frozen=True, kw_only=True)
class Key:
    key: str
    mode: Mode
    fit: float


def available() -> str:
    """What measures: "librosa 0.11.0"; empty without the extra. Imports nothing."""
    try:
        return f"librosa {metadata.version('librosa')}"
    except metadata.PackageNotFoundError:
        return ""


def excerpt(samples: Float32) -> Float32:
    """What of them is listened to."""
    over = max(0, len(samples) - round(HEARD_S * RATE_HZ))
    return samples[over // 2 : len(samples) - (over - over // 2)]


def tempo_bpm(samples: Float32) -> float | None:
    """Of float32 [n], mono, RATE_HZ; None if no beat stands out."""
    librosa = _librosa()
    with _quietly():
        onsets = librosa.onset.onset_strength(y=samples, sr=RATE_HZ, hop_length=_ONSET_HOP, n_fft=_ONSET_FFT, n_mels=64, fmax=RATE_HZ / 2)
        onsets = onsets - onsets.mean()
        # More than eight periods of the slowest.
        alike = librosa.autocorrelate(onsets, max_size=round(10 * 60 / _TEMPI_BPM[0] * _ONSETS_PER_S))
    if not alike[0] > 0:
        return None
    # What is further on has fewer onsets to be compared.
    alike = alike / alike[0] / (1 - np.arange(len(alike)) / len(onsets))
    slow, fast = (60 * _ONSETS_PER_S / bpm for bpm in _TEMPI_BPM)
    periods = np.arange(math.ceil(fast), math.floor(slow))
    usual = np.exp(-0.5 * np.square(np.log2(60 * _ONSETS_PER_S / periods / _USUAL_BPM) / _USUAL_OCTAVES))
    period = float(periods[np.argmax(alike[periods] * usual)])
    if alike[round(period)] < _BEAT_MIN:
        return None
    for times in (1, 2, 4, 8):  # each peak says more exactly where the next one is
        if times * period < len(onsets) / 2:  # beyond, there is too little to be compared
            period = _peak(alike, times * period) / times
    return 60 * _ONSETS_PER_S / period


def _peak(values: Float64, near: float) -> float:
    """Where the highest value within two places of `near` is, between the places: through it and its neighbours goes a parabola."""
    begin = round(near) - 2
    top = begin + int(np.argmax(values[begin : begin + 5]))
    before, at, after = values[top - 1 : top + 2]
    bent = before - 2 * at + after
    return top if bent >= 0 else top + float(np.clip(0.5 * (before - after) / bent, -0.5, 0.5))


def key_of(samples: Float32, *, tuning: float = 0.0) -> Key | None:
    """Of float32 [n], mono, RATE_HZ; None if no key fits. `tuning`: see `tuning_of`."""
    librosa = _librosa()
    with _quietly():
        chroma = librosa.feature.chroma_cqt(
            y=samples, sr=RATE_HZ, hop_length=_CHROMA_HOP, fmin=_LOWEST_HZ, n_octaves=_OCTAVES, bins_per_octave=36, tuning=3 * tuning
        )
    best = best_key(np.mean(chroma, axis=1, dtype=np.float64))
    return best if best is not None and best.fit >= _FIT_MIN else None


def tuning_of(peaks: Peaks) -> float:
    """By how many semitones, -0.5 to 0.5, the notes of a recording lie above those of an A of 440 Hz."""
    around = np.exp(2j * np.pi * 12 * np.log2(np.maximum(peaks.hz, 1) / 440)).sum()
    return float(np.angle(around) / (2 * np.pi))


def best_key(notes: Float64) -> Key | None:
    """The key that fits float64 [12], how much there is of C, C#, ... B, best; None if all are alike."""
    if not np.all(np.isfinite(notes)) or np.ptp(notes) <= 0:
        return None
    fits = {(tonic, mode): _fit(notes, np.roll(profile, tonic)) for mode, profile in _PROFILES.items() for tonic in range(12)}
    (tonic, mode), fit = max(fits.items(), key=lambda item: item[1])
    return Key(key=KEYS[tonic], mode=mode, fit=fit)


def _fit(notes: Float64, profile: "npt.NDArray[np.float64]") -> float:
    return float(np.corrcoef(notes, profile)[0, 1])


def keep_compiled(folder: Path) -> None:
    """What numba compiles for librosa it keeps beside it; where that cannot be written, as in a container, in a folder of ours."""
    found = util.find_spec("librosa")
    if found is not None and found.origin and not os.access(Path(found.origin).parent, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(folder))


def _librosa() -> Any:
    with _quietly():
        import librosa  # noqa: PLC0415 -- an extra, and seconds of importing
    return librosa


@contextmanager
def _quietly() -> Iterator[None]:
    """What librosa warns of, short inputs and empty bands, is no news to anybody."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
