"""Sound with plenty of landmarks, quickly made, and files of it."""

import wave
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame

from earmark.model import Float32, Float64

RATE_HZ = 16_000
_ROW = 64


def notes(seed: int, duration_s: float, *, rate_hz: int = RATE_HZ) -> Float32:
    """Plucked notes of random pitch, some thirty a second: float32 [n], below full scale."""
    random = np.random.default_rng(seed)
    sound = np.zeros(int(duration_s * rate_hz) + rate_hz, np.float32)
    samples = int(0.6 * rate_hz)
    decay = np.exp(-9 * np.arange(samples) / rate_hz)
    for at in np.sort(random.uniform(0, duration_s, int(30 * duration_s))):
        hz = float(np.exp2(random.uniform(np.log2(200), np.log2(3_000))))
        begin = int(at * rate_hz)
        sound[begin : begin + samples] += (decay * _sine(2 * np.pi * hz / rate_hz, samples)).astype(np.float32)
    sound = sound[: int(duration_s * rate_hz)]
    return np.asarray(sound * (0.8 / max(1e-9, float(np.abs(sound).max()))), np.float32)


def _sine(turn: float, samples: int) -> Float64:
    """sin(turn n), a fifth of the work: sin(a + b) = sin a cos b + cos a sin b."""
    row, within = turn * np.arange(0, samples, _ROW), turn * np.arange(_ROW)
    return np.asarray((np.stack([np.sin(row), np.cos(row)], axis=1) @ np.stack([np.cos(within), np.sin(within)])).ravel()[:samples])


def write_wav(path: Path, samples: Float32, *, rate_hz: int = RATE_HZ) -> Path:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(_int16(samples).tobytes())
    return path


def write_flac(path: Path, samples: Float32, *, rate_hz: int = RATE_HZ, **tags: str) -> Path:
    with av.open(str(path), "w", format="flac") as out:
        out.metadata.update(tags)
        stream = out.add_stream("flac", rate=rate_hz)
        stream.layout = "mono"
        frame = AudioFrame.from_ndarray(_int16(samples)[None, :], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    return path


def _int16(samples: Float32) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.rint(np.clip(samples, -1, 1) * 32_767).astype(np.int16)
