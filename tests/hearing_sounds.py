"""Generated sound for the tests of hearing: tunes that differ, and what a stream does to them. 8 kHz, float32."""

import numpy as np

from earmark.audio.decode import Resampler
from earmark.fingerprint.window import fingerprint
from earmark.model import RATE_HZ, AudioChunk, Float32, Track
from fakes import MemoryIndex


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
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    partials = [n for n in range(1, 10) if n * hz < 3_900]
    wave = sum(rng.uniform(0.4, 1) * n**-brightness * np.sin(2 * np.pi * n * hz * time + rng.uniform(0, 6)) for n in partials)
    envelope = np.minimum(1, time * 120) * np.exp(-time * rng.uniform(2, 6))
    return np.asarray(wave * envelope)


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
