"""Generated sounds for the fingerprint's tests: seeded, 8 kHz mono float32, each hard on the front end in its own way."""

import numpy as np

from earmark.model import HOP_SAMPLES, RATE_HZ, Float32, Float64

_SCALE = (0, 3, 5, 7, 10, 12, 15, 17, 19, 22)


def music(seed: int, duration_s: float) -> Float32:
    """Decaying harmonic notes of a pentatonic scale, two voices, over a quiet breath."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.002, int(duration_s * RATE_HZ))
    for beat_s in (0.31, 0.47):
        for start in np.arange(0, duration_s - 0.1, beat_s):
            note = _note(110 * 2 ** (rng.choice(_SCALE) / 12), rng.uniform(0.5, 1.5), rng.uniform(0.3, 1, 12))
            begin = int(start * RATE_HZ)
            note = note[: len(samples) - begin]
            samples[begin : begin + len(note)] += note
    scaled: Float32 = (samples * (0.25 / np.abs(samples).max())).astype(np.float32)
    return scaled


def _note(hz: float, duration_s: float, amplitudes: Float64) -> Float64:
    time_s = np.arange(int(duration_s * RATE_HZ)) / RATE_HZ
    harmonics = np.arange(1, len(amplitudes) + 1)
    waves = np.sin(2 * np.pi * hz * harmonics[:, None] * time_s + harmonics[:, None])
    waves *= (harmonics * hz < 3_900)[:, None]
    note: Float64 = (amplitudes / harmonics) @ waves * np.exp(-4 * time_s) * np.minimum(1, time_s * 100)
    return note


def noise(seed: int, duration_s: float) -> Float32:
    return np.random.default_rng(seed).normal(0, 0.1, int(duration_s * RATE_HZ)).astype(np.float32)


def silence(duration_s: float) -> Float32:
    return np.zeros(int(duration_s * RATE_HZ), np.float32)


def constant(duration_s: float, level: float = 0.5) -> Float32:
    """Direct current."""
    return np.full(int(duration_s * RATE_HZ), level, np.float32)


def clicks(duration_s: float, every_samples: int = 4 * HOP_SAMPLES) -> Float32:
    """Single samples of full scale, in step with the frames: many frames are exactly alike."""
    samples = silence(duration_s)
    samples[::every_samples] = 1
    return samples


def tone(hz: float, duration_s: float) -> Float32:
    """A sine. A multiple of 31.25 Hz is in step with the frames, so that all of them are alike to the last bit."""
    period = np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ).astype(np.float32)
    return 0.5 * np.resize(period, int(duration_s * RATE_HZ))


def chord(duration_s: float) -> Float32:
    """As many steady tones as boxes fit into the band."""
    return sum((tone(31.25 * k, duration_s) for k in range(6, 122, 8)), start=silence(duration_s)) / np.float32(15)


def clipped(seed: int, duration_s: float) -> Float32:
    """Music driven ten times over full scale and cut off there."""
    return np.clip(40 * music(seed, duration_s), -1, 1)


def interrupted(seed: int, duration_s: float) -> Float32:
    """Music with stretches of digital silence."""
    samples = music(seed, duration_s)
    samples[np.arange(len(samples)) // 3_000 % 2 == 1] = 0
    return samples


SOUNDS: dict[str, Float32] = {
    "music": music(1, 3),
    "noise": noise(2, 3),
    "silence": silence(2),
    "constant": constant(2),
    "clicks": clicks(2),
    "click a frame": clicks(2, HOP_SAMPLES),
    "tone in step": tone(1_000, 2),
    "tone out of step": tone(777.7, 2),
    "chord": chord(2),
    "clipped": clipped(3, 3),
    "interrupted": interrupted(4, 3),
    "barely a frame": noise(5, 2_048 / RATE_HZ),
    "less than a frame": noise(6, 2_047 / RATE_HZ),
}
