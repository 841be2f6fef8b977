"""Does somebody speak? An estimate per step from the samples alone; pure. What is music is not asked here, and goes before it.

Two things are asked of some five seconds:

* **Does it come in syllables?** Speech gets louder and softer four times a second, whatever the language: of the loudness of
  four octaves, how deep it is modulated between 2 and 8 Hz.
* **Does it have a voice, now and then?** Vowels are periodic, at 70 to 400 Hz; hisses, bursts and pauses between them are not.
  So some of what sounds has such a period, and not all of it.

Both are old: E. Scheirer and M. Slaney, "Construction and evaluation of a robust multifeature speech/music discriminator", ICASSP
1997, for the modulation. Noise has neither; applause and shots have no voice; an engine has no syllables. What sounds like talk
without being any (a game's effects, three a second) is taken for it, and singing without instruments mostly for music.

**The same however the samples were cut**: a step's frames are transformed together, in an array of one shape (`spectrogram` says why).
"""

from typing import Final, NamedTuple

import numpy as np
import scipy.fft

from earmark.model import HOP_SAMPLES, RATE_HZ, Float32

FRAME_SAMPLES: Final = 512
#: Of a step, 1.024 s; and steps on either side that count for it.
STEP_FRAMES: Final = 32
AROUND_STEPS: Final = 2
_STEP_SAMPLES: Final = STEP_FRAMES * HOP_SAMPLES
#: All samples of a step's frames: the last ones reach into the next step.
_REACH_SAMPLES: Final = (STEP_FRAMES - 1) * HOP_SAMPLES + FRAME_SAMPLES
_FRAMES_PER_S: Final = RATE_HZ / HOP_SAMPLES
_EDGES_HZ: Final = (250, 500, 1_000, 2_000, 4_000)
_SYLLABLES_HZ: Final = (2.0, 8.0)
#: Periods of voices, in samples: 400 Hz down to 70 Hz.
_PERIODS: Final = slice(RATE_HZ // 400, RATE_HZ // 70 + 1)
#: A frame and its longest period, 626, and what transforms fast.
_FFT: Final = 640
_EDGES: Final = [round(hz * _FFT / RATE_HZ) for hz in _EDGES_HZ]
_WINDOW: Final = np.hanning(FRAME_SAMPLES).astype(np.float32)
#: What the window leaves of the likeness of samples that far apart.
_TAPER: Final = np.maximum(np.fft.irfft(np.square(np.abs(np.fft.rfft(_WINDOW, _FFT))), _FFT) / np.square(_WINDOW).sum(), 0.05)[_PERIODS].astype(np.float32)
#: Of so many frames one is asked whether it has a voice.
_ASKED: Final = 2
#: A frame is as like itself one period on, if it has a voice.
_VOICED: Final = 0.6
#: Of full scale: files that hold whole numbers have 32,768; much more would overflow when squared, and is cut off.
LOUDEST: Final = 1e6
#: Of nine steps in ten: one talker has 1.3 to 1.8, four at once 0.7 to 0.9, noise 0.15.
DEPTH_MIN: Final = 0.6
#: Talkers have 0.4 to 0.9, a synthesiser that speaks up to 0.98, applause and noise 0; a hum has 1.
VOICES: Final = (0.15, 0.985)


class _Step(NamedTuple):
    """What is kept of a step: 576 bytes."""

    #: float32 [STEP_FRAMES, 4]: the power of each octave; of the last step of a run there may be fewer frames.
    octaves: Float32
    #: float32 [STEP_FRAMES / 2]: how like itself every other frame is, one period on.
    voiced: Float32


_SILENCE: Final = _Step(np.zeros((STEP_FRAMES, len(_EDGES) - 1), np.float32), np.zeros(STEP_FRAMES // _ASKED, np.float32))


class Talk:
    """Listens to one contiguous run of samples: `push` them, and ask of one step after another, in order."""

    def __init__(self) -> None:
        self._samples = np.zeros(0, np.float32)
        self._steps: list[_Step] = []
        #: The number of the first that is kept.
        self._first = 0

    @property
    def steps_n(self) -> int:
        """Steps that were heard; they end where those of `musicness` do."""
        return self._first + len(self._steps)

    def push(self, samples: Float32) -> None:
        """float32 [n], any n, mono, RATE_HZ; what is no number is silence."""
        if not np.abs(samples).max(initial=0.0) <= LOUDEST:  # nor is it if one of them is no number
            samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0).clip(-LOUDEST, LOUDEST)
        self._samples = np.concatenate([self._samples, samples])
        begin = 0
        while len(self._samples) >= begin + _REACH_SAMPLES:
            self._steps.append(_heard(self._samples[begin : begin + _REACH_SAMPLES]))
            begin += _STEP_SAMPLES
        self._samples = self._samples[begin:].copy() if begin else self._samples

    def flush(self) -> None:
        """The run is over: of its last step, the frames that there are."""
        frames_n = (len(self._samples) - FRAME_SAMPLES) // HOP_SAMPLES + 1
        if frames_n > 0:
            octaves, voiced = _heard(np.concatenate([self._samples, np.zeros(_REACH_SAMPLES - len(self._samples), np.float32)]))
            self._steps.append(_Step(octaves[:frames_n], voiced[: -(-frames_n // _ASKED)]))
        self._samples = self._samples[:0]

    def speaks(self, step: int) -> bool:
        """Whether somebody speaks in a step, by the five around it as far as they were heard. Steps that lie further back are forgotten."""
        depth, voices = self.evidence(step)
        return depth > DEPTH_MIN and VOICES[0] < voices < VOICES[1]

    def evidence(self, step: int) -> tuple[float, float]:
        """Of what `speaks` asks: how deep the syllables are, 0 to some 2; and the share of what sounds that has a voice."""
        self.forget(step)
        around = self._steps[: step + AROUND_STEPS + 1 - self._first]
        octaves = np.concatenate([_SILENCE.octaves[:0], *(one.octaves for one in around)])
        voiced = np.concatenate([_SILENCE.voiced[:0], *(one.voiced for one in around)])
        return _depth(octaves), _voices(octaves, voiced)

    def forget(self, step: int) -> None:
        """Of no step before this one will be asked."""
        past = min(step - AROUND_STEPS - self._first, len(self._steps))
        if past > 0:
            del self._steps[:past]
            self._first += past


def _heard(samples: Float32) -> _Step:
    """Of float32 [_REACH_SAMPLES]."""
    if not samples.any():
        return _SILENCE
    frames = np.ndarray((STEP_FRAMES, FRAME_SAMPLES), np.float32, samples, 0, (HOP_SAMPLES * samples.itemsize, samples.itemsize))
    spectrum = scipy.fft.rfft(frames * _WINDOW, _FFT)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    alike = scipy.fft.irfft(power[::_ASKED], _FFT)
    voiced = (alike[:, _PERIODS] / _TAPER).max(axis=1) / np.maximum(alike[:, 0], 1e-12)
    return _Step(np.add.reduceat(power[:, : _EDGES[-1]], _EDGES[:-1], axis=1), voiced)


def _depth(octaves: Float32) -> float:
    if len(octaves) < STEP_FRAMES:
        return 0.0
    level = octaves.mean(axis=0, dtype=np.float64)
    spectrum = np.abs(np.fft.rfft(octaves, axis=0)) / len(octaves)
    hz = np.arange(len(spectrum)) * _FRAMES_PER_S / len(octaves)
    syllables = spectrum[(hz >= _SYLLABLES_HZ[0]) & (hz <= _SYLLABLES_HZ[1])]
    depths = np.sqrt(2 * np.sum(np.square(syllables), axis=0)) / np.maximum(level, 1e-12)
    return float(np.mean(depths))


def _voices(octaves: Float32, voiced: Float32) -> float:
    level = octaves.sum(axis=1)[::_ASKED]
    sounds = level > 0.1 * level.mean() if len(level) else np.zeros(0, np.bool_)
    return float(np.mean(voiced[sounds] > _VOICED)) if sounds.any() else 0.0
