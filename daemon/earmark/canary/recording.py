"""The canary's recording: half a minute of plucked notes that are in nobody's catalogue, the same on every machine.

Which notes follows from SHA-256, so that no version of a library changes the tune. The last bits of its samples may differ
between processors; what is compared, and kept in the catalogue as its content, is what it was made by.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from earmark.audio.decode import Resampler
from earmark.fingerprint.window import fingerprint
from earmark.index.catalogue import Recording, postings_of
from earmark.model import Float32, Track
from earmark.reserved import CANARY_RECORDING

#: As most streams have it.
RATE_HZ: Final = 48_000
DURATION_S: Final = 30.0
TRACK: Final = Track(track_id=CANARY_RECORDING, title="Earmark's canary", duration_s=DURATION_S)

_RINGS_S: Final = 0.5
_LEVEL: Final = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class _Tune:
    #: Another tune, or another sound of it, gets another name.
    name: str
    note_s: float
    lowest_hz: float
    #: Semitones.
    scale: tuple[int, ...]


#: Minor pentatonic, over two octaves.
_OURS: Final = _Tune(name="canary, first tune", note_s=0.2, lowest_hz=220.0, scale=(0, 3, 5, 7, 10, 12, 15, 17, 19, 22))
#: Before and behind it: in other steps of time and of pitch, or else some notes of it would pass for the recording going on.
_BESIDE: Final = _Tune(name="canary, what is not it", note_s=0.31, lowest_hz=201.5, scale=(0, 2, 4, 6, 8, 10, 12, 14, 16, 18))
CONTENT_SHA256: Final = hashlib.sha256(_OURS.name.encode()).digest()


@cache
def recording_samples() -> Float32:
    """Mono float32 [n] at RATE_HZ, in [-1, 1]."""
    return _played(_OURS, DURATION_S)


def other_samples(duration_s: float) -> Float32:
    """As long a piece of what is in no catalogue."""
    return _played(_BESIDE, duration_s)


def made() -> Recording:
    """As it goes into the catalogue: through the fingerprint that streams go through."""
    resampler = Resampler(rate_hz=RATE_HZ)
    heard = np.concatenate([resampler.push(recording_samples()), resampler.flush()])
    peaks = fingerprint(heard)
    return Recording(track=TRACK, peaks=peaks, postings=postings_of(peaks), content_sha256=CONTENT_SHA256)


def _played(tune: _Tune, duration_s: float) -> Float32:
    mix = np.zeros(round(duration_s * RATE_HZ), np.float32)
    for number in range(int(duration_s / tune.note_s)):
        chosen = hashlib.sha256(f"{tune.name}, note {number}".encode()).digest()
        begin = round((number * tune.note_s + chosen[0] / 255 * 0.05) * RATE_HZ)
        semitones = tune.scale[chosen[1] % len(tune.scale)] + 0.4 * (chosen[3] / 255 - 0.5)
        note = _plucked(tune.lowest_hz * 2 ** (semitones / 12), brightness=0.4 + 0.5 * chosen[2] / 255)
        end = min(len(mix), begin + len(note))
        mix[begin:end] += note[: end - begin]
    sound: Float32 = np.tanh(mix * np.float32(_LEVEL / np.sqrt(np.mean(mix**2)))).astype(np.float32)
    return sound


def _plucked(hz: float, *, brightness: float) -> Float32:
    """A string: partials of the note up to 4 kHz, the higher ones the sooner gone."""
    time_s = np.arange(round(_RINGS_S * RATE_HZ), dtype=np.float32) / np.float32(RATE_HZ)
    note = np.zeros(len(time_s), np.float32)
    for partial in range(1, int(4_000 / hz) + 1):
        note += np.float32(brightness**partial) * np.exp(time_s * np.float32(-3 - partial)) * np.sin(time_s * np.float32(2 * np.pi * hz * partial))
    note *= np.minimum(1, time_s / np.float32(0.004), dtype=np.float32)
    return note
