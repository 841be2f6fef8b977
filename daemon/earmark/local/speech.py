"""Generated speech: somebody who talks over the music, and says nothing.

Speech is a source (pulses or noise) through four moving formants, syllable by syllable, with the pitch contour and the
pauses of somebody who tells a long story. For vowels' formants: Peterson and Barney, JASA 24, 1952.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.local.music import LEVEL, RATE_HZ
from earmark.model import Float32

#: First four formants in Hz.
_VOWELS = (
    (730, 1090, 2440, 3400),
    (270, 2290, 3010, 3600),
    (300, 870, 2240, 3300),
    (530, 1840, 2480, 3500),
    (570, 840, 2410, 3300),
    (660, 1720, 2410, 3500),
    (490, 1350, 1690, 3300),
    (640, 1190, 2390, 3400),
)
#: What comes before a vowel: (voicing, noise, formants, seconds). No formants: those of the vowel.
_HISS, _HUSH, _PUFF, _BURST, _CLOSED, _NASAL, _GLIDE = range(7)
_ONSETS = (
    (0.0, 0.25, (5200, 6500, 7500, 9000), 0.11),
    (0.0, 0.30, (2600, 3800, 5500, 7000), 0.11),
    (0.0, 0.06, (1800, 4500, 7500, 9500), 0.09),
    (0.0, 0.50, (1500, 3000, 4200, 5500), 0.02),
    (0.0, 0.0, None, 0.06),
    (0.45, 0.0, (250, 1100, 2300, 3200), 0.07),
    (0.60, 0.0, (360, 1000, 2300, 3300), 0.06),
)
_CONSONANTS = ((_HISS,), (_HUSH,), (_PUFF,), (_CLOSED, _BURST), (_CLOSED, _BURST), (_NASAL,), (_NASAL,), (_GLIDE,), (_GLIDE,), ())
_SPEECH_HOP = 256
_SPEECH_FFT = 1024


@dataclass(frozen=True, slots=True)
class _Sound:
    seconds: float
    voicing: float
    noise: float
    formants: tuple[float, ...]
    pitch: float


def speech(seconds: float, *, seed: int = 1) -> Float32:
    """Somebody talking: mono float32 at RATE_HZ, root mean square LEVEL over what is not a pause."""
    random = np.random.default_rng(seed)
    samples = int(seconds * RATE_HZ)
    sounds = list(_story(random, seconds))
    tracks = _articulation(sounds, samples // _SPEECH_HOP + 2)
    source = _source(tracks, samples, random)
    spoken = _through_formants(source, tracks)[:samples]
    talking = np.convolve(spoken**2, np.full(64, 1 / 64), "same") > 1e-5 * np.max(spoken**2)
    return np.asarray(spoken * (LEVEL / np.sqrt(np.mean(spoken[talking] ** 2))), np.float32)


def _story(random: np.random.Generator, seconds: float) -> Iterator[_Sound]:
    voice_hz = random.uniform(95, 210)
    tract = random.uniform(0.92, 1.15)  # a shorter vocal tract raises all formants
    told_s = 0.0
    while told_s < seconds:
        syllables = int(random.integers(5, 13))
        for syllable in range(syllables):
            # Declination over the phrase, an accent here and there, a fall at the end.
            pitch = voice_hz * (1.18 - 0.3 * syllable / syllables) * random.uniform(0.94, 1.06) * (1.15 if random.random() < 0.2 else 1)
            pitch *= 0.85 if syllable == syllables - 1 else 1
            for sound in _syllable(random, float(pitch), float(tract)):
                told_s += sound.seconds
                yield sound
        pause = _Sound(float(random.choice([0.12, 0.2, 0.35, 0.55])), 0.0, 0.0, _VOWELS[6], voice_hz)
        told_s += pause.seconds
        yield pause


def _syllable(random: np.random.Generator, pitch: float, tract: float) -> Iterator[_Sound]:
    vowel = tuple(f * tract for f in _VOWELS[int(random.integers(len(_VOWELS)))])
    for kind in _CONSONANTS[int(random.integers(len(_CONSONANTS)))]:
        voicing, noise, formants, length_s = _ONSETS[kind]
        yield _Sound(length_s * random.uniform(0.8, 1.3), voicing, noise, formants or vowel, pitch)
    yield _Sound(float(random.uniform(0.07, 0.2)), float(random.uniform(0.7, 1.0)), 0.01, vowel, pitch)
    if random.random() < 0.25:
        voicing, noise, formants, length_s = _ONSETS[int(random.choice([_HISS, _NASAL]))]
        yield _Sound(length_s, voicing, noise, formants or vowel, pitch)


def _articulation(sounds: Sequence[_Sound], frames: int) -> Float32:
    """float32 [frames, 7]: voicing, noise, four formants, pitch; smoothed, as tongues move at a finite speed."""
    at = np.cumsum([0.0, *(s.seconds for s in sounds)])
    which = np.clip(np.searchsorted(at, np.arange(frames) * _SPEECH_HOP / RATE_HZ, "right") - 1, 0, len(sounds) - 1)
    values = np.array([(s.voicing, s.noise, *s.formants, s.pitch) for s in sounds])[which]
    smooth = np.hanning(9)[1:-1, None] / np.hanning(9).sum()
    padded = np.pad(values, ((3, 3), (0, 0)), "edge")
    return np.asarray(sum(padded[k : k + frames] * smooth[k] for k in range(7)), np.float32)


def _source(tracks: Float32, samples: int, random: np.random.Generator) -> Float32:
    """Glottal pulses at the pitch, and breath: what goes through the formants."""
    frames = np.arange(samples) / _SPEECH_HOP
    pitch, voicing, noise = (np.interp(frames, np.arange(len(tracks)), tracks[:, k]) for k in (6, 0, 1))
    phase = np.cumsum(pitch * (1 + 0.01 * np.repeat(random.standard_normal(samples // 400 + 1), 400)[:samples])) / RATE_HZ % 1
    # The glottis opens slowly and closes at once (Rosenberg, JASA 49, 1971); what radiates is the flow's derivative.
    flow = np.where(phase < 0.4, 0.5 - 0.5 * np.cos(np.pi * phase / 0.4), np.cos(np.pi / 2 * (phase - 0.4) / 0.16) * (phase < 0.56))
    return np.asarray(voicing * np.diff(flow, prepend=0) * 12 + noise * random.standard_normal(samples), np.float32)


def _through_formants(source: Float32, tracks: Float32) -> Float32:
    """Multiply short spectra by the four resonances, and add them up again."""
    window = np.sqrt(np.hanning(_SPEECH_FFT + 1)[:-1]).astype(np.float32)
    padded = np.pad(source, _SPEECH_FFT)
    frames = (len(padded) - _SPEECH_FFT) // _SPEECH_HOP
    hz = np.fft.rfftfreq(_SPEECH_FFT, 1 / RATE_HZ).astype(np.float32)
    out = np.zeros(len(padded), np.float32)
    for begin in range(0, frames, 512):  # in blocks, for the caches' sake
        rows = np.arange(begin, min(begin + 512, frames))
        place = rows[:, None] * _SPEECH_HOP + np.arange(_SPEECH_FFT)
        # Row r is centred half a transform after its begin, which in the unpadded source is frame r - 2.
        formants = tracks[np.clip(rows - 2, 0, len(tracks) - 1), 2:6]
        # Four poles in a row fall by 48 dB an octave; those above them, which are left out, hold the treble up.
        gain = np.repeat((1 + (hz / 1_000) ** 2)[None], len(rows), axis=0)
        for number, width_hz in enumerate((80, 110, 160, 260)):
            ratio = hz / formants[:, number, None]
            gain /= np.sqrt((1 - ratio**2) ** 2 + (ratio * width_hz / formants[:, number, None]) ** 2) + np.float32(0.02)
        gain /= gain.max(axis=1, keepdims=True)
        shaped = np.fft.irfft(np.fft.rfft(padded[place] * window, axis=1) * gain, axis=1).astype(np.float32) * window
        for row, part in zip(rows, shaped, strict=True):
            out[row * _SPEECH_HOP : row * _SPEECH_HOP + _SPEECH_FFT] += part
    return out[_SPEECH_FFT:]
