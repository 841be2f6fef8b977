"""Does somebody speak? An estimate per step from the samples alone; pure. What is music is not asked here, and goes before it.

Two things are asked of some five seconds:

* **Does it come in syllables?** Speech gets louder and softer four times a second, whatever the language: of the loudness of
  four octaves, how deep it is modulated between 2 and 8 Hz.
* **Does it have a voice, now and then?** Vowels are periodic, at 70 to 400 Hz; hisses, bursts and pauses between them are not.
  So some of what sounds has such a period, and not all of it.

Both are old: E. Scheirer and M. Slaney, "Construction and evaluation of a robust multifeature speech/music discriminator", ICASSP
1997, for the modulation. Noise has neither; applause and shots have no voice; an engine has no syllables. What sounds like talk
without being any (a game's effects, three a second) is taken for it, and singing without instruments mostly for music.
"""

from typing import Final

import numpy as np

from earmark.model import HOP_SAMPLES, RATE_HZ, Bool, Float32, Float64

FRAME_SAMPLES: Final = 512
#: Of a step, 1.024 s; and steps on either side that count for it.
STEP_FRAMES: Final = 32
AROUND_STEPS: Final = 2
_FRAMES_PER_S: Final = RATE_HZ / HOP_SAMPLES
_EDGES_HZ: Final = (250, 500, 1_000, 2_000, 4_000)
_SYLLABLES_HZ: Final = (2.0, 8.0)
#: Periods of voices, in samples: 400 Hz down to 70 Hz.
_PERIODS: Final = slice(RATE_HZ // 400, RATE_HZ // 70 + 1)
_FFT: Final = 1_024
#: Frames at once: a megabyte of spectra.
_BLOCK_FRAMES: Final = 256
_WINDOW: Final = np.hanning(FRAME_SAMPLES).astype(np.float32)
#: What the window leaves of the likeness of samples that far apart.
_TAPER: Final = np.maximum(np.fft.irfft(np.square(np.abs(np.fft.rfft(_WINDOW, _FFT))), _FFT) / np.square(_WINDOW).sum(), 0.05)
#: A frame is as like itself one period on, if it has a voice.
_VOICED: Final = 0.6
#: Of nine steps in ten: one talker has 1.3 to 1.8, four at once 0.7 to 0.9, noise 0.15.
DEPTH_MIN: Final = 0.6
#: Talkers have 0.4 to 0.9, applause and noise 0; a hum has 1.
VOICES: Final = (0.15, 0.97)


class Talk:
    """Of one recording: `push` its samples, then ask for its `steps`. Keeps 24 bytes for each 32 ms."""

    def __init__(self, *, steps_max: int | None = None) -> None:
        """`steps_max`: so much is remembered, for something without an end; its first step is then the oldest of these."""
        self._frames_max = steps_max and steps_max * STEP_FRAMES
        self._samples = np.zeros(0, np.float32)
        self._bands: list[Float32] = []
        self._voiced: list[Float32] = []

    def push(self, samples: Float32) -> None:
        """float32 [n], any n, mono, RATE_HZ; what is no number is silence."""
        self._samples = np.concatenate([self._samples, np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)])
        frames_n = max(0, (len(self._samples) - FRAME_SAMPLES) // HOP_SAMPLES + 1)
        for first in range(0, frames_n, _BLOCK_FRAMES):
            self._frames(first, min(_BLOCK_FRAMES, frames_n - first))
        self._samples = self._samples[frames_n * HOP_SAMPLES :]
        if self._frames_max:
            self._bands = [np.concatenate(self._bands)[-self._frames_max :]] if self._bands else []
            self._voiced = [np.concatenate(self._voiced)[-self._frames_max :]] if self._voiced else []

    def _frames(self, first: int, frames_n: int) -> None:
        begin = first * HOP_SAMPLES
        rows = np.lib.stride_tricks.sliding_window_view(self._samples[begin : begin + (frames_n - 1) * HOP_SAMPLES + FRAME_SAMPLES], FRAME_SAMPLES)
        power = np.square(np.abs(np.fft.rfft(rows[::HOP_SAMPLES] * _WINDOW, _FFT)))
        edges = [round(hz * _FFT / RATE_HZ) for hz in _EDGES_HZ]
        self._bands.append(np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1).astype(np.float32))
        periodic = np.fft.irfft(power, _FFT)
        self._voiced.append(((periodic[:, _PERIODS] / _TAPER[_PERIODS]).max(axis=1) / np.maximum(periodic[:, 0], 1e-12)).astype(np.float32))

    def evidence(self, steps_n: int) -> tuple[Float64, Float64]:
        """Of each step, float64 [steps_n]: how deep its syllables are, 0 to some 2; and the share of what sounds that has a voice."""
        bands = np.concatenate([np.zeros((0, len(_EDGES_HZ) - 1), np.float32), *self._bands])
        voiced = np.concatenate([np.zeros(0, np.float32), *self._voiced])
        depth, voices = np.zeros(steps_n), np.zeros(steps_n)
        for step in range(steps_n):
            here = slice(max(0, step - AROUND_STEPS) * STEP_FRAMES, (step + AROUND_STEPS + 1) * STEP_FRAMES)
            depth[step], voices[step] = _depth(bands[here]), _voices(bands[here], voiced[here])
        return depth, voices

    def steps(self, steps_n: int) -> Bool:
        """bool [steps_n]: in which steps of 1.024 s somebody speaks."""
        depth, voices = self.evidence(steps_n)
        return (depth > DEPTH_MIN) & (voices > VOICES[0]) & (voices < VOICES[1])


def _depth(bands: Float32) -> float:
    if len(bands) < STEP_FRAMES:
        return 0.0
    level = bands.mean(axis=0, dtype=np.float64)
    spectrum = np.abs(np.fft.rfft(bands, axis=0)) / len(bands)
    hz = np.arange(len(spectrum)) * _FRAMES_PER_S / len(bands)
    syllables = spectrum[(hz >= _SYLLABLES_HZ[0]) & (hz <= _SYLLABLES_HZ[1])]
    depths = np.sqrt(2 * np.sum(np.square(syllables), axis=0)) / np.maximum(level, 1e-12)
    return float(np.mean(depths))


def _voices(bands: Float32, voiced: Float32) -> float:
    level = bands.sum(axis=1)
    sounds = level > 0.1 * level.mean() if len(level) else np.zeros(0, np.bool_)
    return float(np.mean(voiced[sounds] > _VOICED)) if sounds.any() else 0.0
