"""Sound of which it is known what it is like: signals of the EBU's tests, and songs of a given tempo and key."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from earmark.model import Float32

RATE_HZ = 48_000
#: Semitones above the tonic: I, IV, V, I; in minor with the leading note, as cadences have it.
_CADENCES = {
    "major": ((0, 4, 7), (5, 9, 12), (7, 11, 14), (0, 4, 7)),
    "minor": ((0, 3, 7), (5, 8, 12), (7, 11, 14), (0, 3, 7)),
}


def tones(*parts: tuple[float, float], hz: float = 1_000, rate_hz: int = RATE_HZ, channels: int = 2) -> Float32:
    """One sine after the other, (peak in dBFS, seconds) each, the same in every channel: float32 [n, channels]."""
    levels = np.concatenate([np.full(round(seconds * rate_hz), 10 ** (dbfs / 20)) for dbfs, seconds in parts])
    sine = levels * np.sin(2 * np.pi * hz * np.arange(len(levels)) / rate_hz)
    return np.repeat(sine[:, None], channels, axis=1).astype(np.float32)


def in_channels(levels_dbfs: Sequence[float], seconds: float) -> Float32:
    """A sine of its own peak in each channel."""
    return np.concatenate([tones((dbfs, seconds), channels=1) for dbfs in levels_dbfs], axis=1)


def song(*, tonic: int, mode: str, bpm: float, seconds: float, rate_hz: int = 16_000) -> Float32:
    """A cadence again and again, a chord for two beats, each struck, with a click on every beat; tonic 0 is C: float32 [n]."""
    random = np.random.default_rng(tonic + round(bpm))
    beat = 60 / bpm
    out = np.zeros(round((seconds + 2) * rate_hz), np.float32)
    at = np.arange(round(1.9 * beat * rate_hz)) / rate_hz
    click = (0.5 * random.standard_normal(round(0.03 * rate_hz)) * np.linspace(1, 0, round(0.03 * rate_hz))).astype(np.float32)
    for number in range(int(seconds / beat)):
        begin = round(number * beat * rate_hz)
        out[begin : begin + len(click)] += click
        if number % 2 == 0:
            chord = _CADENCES[mode][number // 2 % 4]
            for note in (chord[0] - 12, *chord):
                hz = 261.626 * 2 ** ((tonic + note) / 12)
                out[begin : begin + len(at)] += sum(np.sin(2 * np.pi * k * hz * at) / k for k in (1, 2, 3)) * np.exp(-2 * at) * 0.15
    out = out[: round(seconds * rate_hz)]
    return np.asarray(out * (0.5 / np.abs(out).max()), np.float32)


def written(path: Path, samples: Float32, rate_hz: int = RATE_HZ, subtype: str = "PCM_24") -> Path:
    """float32 [n] or [n, channels] as a file; what goes beyond full scale, and what is no number, stays in a subtype FLOAT."""
    soundfile.write(path, samples, rate_hz, subtype=subtype)
    return path
