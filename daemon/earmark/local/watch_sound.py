"""How loud a stream is, and whether somebody speaks in it: looked at on the way from the decoder to the ear."""

import math
from collections.abc import Callable
from typing import Final, Protocol

import numpy as np

from earmark.fingerprint.talk import AROUND_STEPS, Talk
from earmark.model import RATE_HZ, AudioChunk, Float32, Piece
from earmark.session import Decoder

#: What is quieter, as a root mean square over a second, is silence.
SILENCE_DB: Final = -60.0
#: Samples that should follow one another may be told to lie so far apart: times are rounded.
_JUMP_S: Final = 0.016


class Sounded(Protocol):
    """Told of each whole second: in stream time, its level in dB against full scale, and whether somebody speaks in the last five."""

    def __call__(self, second: int, *, level_db: float, speech: bool) -> None: ...


class Sounding:
    """Implements `session.Decoder` by another one, and passes on what that decodes as it is."""

    def __init__(self, decoder: Decoder, *, told: Sounded) -> None:
        self._decoder = decoder
        self._told = told
        self._start_again(0.0)

    def push(self, piece: Piece) -> list[AudioChunk]:
        return self._listen(lambda: self._decoder.push(piece))

    def flush(self) -> list[AudioChunk]:
        return self._listen(self._decoder.flush)

    def _listen(self, decoded: Callable[[], list[AudioChunk]]) -> list[AudioChunk]:
        chunks = decoded()
        for chunk in chunks:
            self._take(chunk)
        return chunks

    def _start_again(self, at_s: float) -> None:
        self._talk = Talk()
        self._rest = np.zeros(0, np.float32)
        self._rest_at_s = at_s

    def _take(self, chunk: AudioChunk) -> None:
        if abs(chunk.start_s - self._rest_at_s - len(self._rest) / RATE_HZ) > _JUMP_S:
            if len(self._rest) >= RATE_HZ / 2:  # most of a second, before something that was not heard
                self._hear(self._rest)
            self._start_again(chunk.start_s)
        self._rest = np.concatenate([self._rest, chunk.samples])
        whole = len(self._rest) // RATE_HZ
        for samples in self._rest[: whole * RATE_HZ].reshape(whole, RATE_HZ):
            self._hear(samples)
            self._rest_at_s += 1.0
        self._rest = self._rest[whole * RATE_HZ :]

    def _hear(self, samples: Float32) -> None:
        self._talk.push(samples)
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        level_db = 10 * math.log10(power) if power > 0 and math.isfinite(power) else -math.inf
        self._told(round(self._rest_at_s), level_db=level_db, speech=self._talk.speaks(max(0, self._talk.steps_n - 1 - AROUND_STEPS)))
