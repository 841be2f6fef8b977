"""Generated sound for the tests of hearing: tunes that differ, and what a stream does to them. 8 kHz, float32."""

import numpy as np

from earmark.audio.decode import Resampler
from earmark.fingerprint.window import fingerprint
from earmark.model import RATE_HZ, AudioChunk, Float32, Track
from fakes import MemoryIndex

#: Samples of a note that are made from one value of each of its partials.
_ROW = 64


def at_8_khz(sound: Float32, rate_hz: int) -> Float32:
    """All of a sound in mono, as a stream's decoder makes it."""
    resampler = Resampler(rate_hz=rate_hz)
    return np.concatenate([resampler.push(sound), resampler.flush()])


def tune(seed: int, seconds: float) -> Float32:
    """Three voices of plucked notes that never repeat: another seed is another piece."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(int((seconds + 2) * RATE_HZ))
    for octave in (1.0, 2.0, 4.0):
        start = 0.0
        brightness = rng.uniform(0.4, 1.2)
        while start < seconds:
            note = _note(rng, 110 * octave * 2 ** (rng.integers(24) / 12), rng.uniform(0.3, 1.2), brightness)
            begin = int(start * RATE_HZ)
            sound[begin : begin + len(note)] += note[: len(sound) - begin]
            start += rng.uniform(0.12, 0.45)
    sound = sound[: int(seconds * RATE_HZ)]
    return np.asarray(0.1 * sound / sound.std(), np.float32)


def _note(rng: np.random.Generator, hz: float, seconds: float, brightness: float) -> np.ndarray:
    """Partials that decay, all of them in one product: e^(a + b) is e^a times e^b, and a sine for each sample takes five times as long."""
    samples, partials = int(seconds * RATE_HZ), np.array([n for n in range(1, 10) if n * hz < 3_900])
    level, phase = np.array([(rng.uniform(0.4, 1), rng.uniform(0, 6)) for _ in partials]).T
    turning = 2j * np.pi * partials * hz - rng.uniform(2, 6)
    rows = level * partials**-brightness * np.exp(1j * phase + np.outer(np.arange(0, samples, _ROW) / RATE_HZ, turning))
    within = np.exp(np.outer(turning, np.arange(_ROW) / RATE_HZ))
    wave = (np.hstack([rows.real, rows.imag]) @ np.vstack([within.imag, within.real])).ravel()[:samples]
    attack = np.minimum(1, np.arange(RATE_HZ // 120 + 1) * 120 / RATE_HZ)
    wave[: len(attack)] *= attack
    return np.asarray(wave)


def noise(seed: int, seconds: float, level: float = 0.05) -> Float32:
    return (level * np.random.default_rng(seed).standard_normal(int(seconds * RATE_HZ))).astype(np.float32)


def silence(seconds: float) -> Float32:
    return np.zeros(int(seconds * RATE_HZ), np.float32)


def tone(seconds: float, hz: float = 440.0) -> Float32:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def faster(sound: Float32, speed: float) -> Float32:
    """Speed changes tempo and pitch, as on a turntable."""
    position = np.arange(0, len(sound) - 1, speed)
    return np.asarray(np.interp(position, np.arange(len(sound)), sound), np.float32)


def catalogue(**tracks: Float32) -> MemoryIndex:
    index = MemoryIndex()
    for track_id, sound in tracks.items():
        index.add(Track(track_id=track_id, duration_s=len(sound) / RATE_HZ), fingerprint(sound))
    return index


def chunks(sound: Float32, *sizes: int, start_s: float = 0.0) -> list[AudioChunk]:
    """The sound in chunks of so many samples, again and again."""
    cut, begin, n = [], 0, 0
    while begin < len(sound):
        size = sizes[n % len(sizes)]
        cut.append(AudioChunk(samples=sound[begin : begin + size], start_s=start_s + begin / RATE_HZ))
        begin, n = begin + size, n + 1
    return cut
