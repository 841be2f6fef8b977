"""What happens to music on streams (talked over, played fast, cut), and sound in files."""

import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from scipy.signal import resample_poly

from earmark.local.music import RATE_HZ
from earmark.local.speech import speech
from earmark.model import Float32, Track


def under_speech(music: Float32, snr_db: float, *, seed: int = 1) -> Float32:
    """Somebody talks over it; `snr_db` is the level of the music over that of the speech (-5: the speech is louder)."""
    talk = speech(len(music) / RATE_HZ, seed=seed)
    talk = np.pad(talk, (0, len(music) - len(talk)))
    gain = np.sqrt(np.mean(music**2) / (np.mean(talk**2) + 1e-12)) * 10 ** (-snr_db / 20)
    return _within(music + np.float32(gain) * talk)


def faster(samples: Float32, percent: float) -> Float32:
    """Played faster as a turntable does it, pitch included: `percent` = 3 makes 103 s last 100 s."""
    ratio = Fraction(1 / (1 + percent / 100)).limit_denominator(400)
    return np.asarray(resample_poly(samples, ratio.numerator, ratio.denominator), np.float32)


def faded(samples: Float32, seconds: float = 0.05) -> Float32:
    """With short fades at both ends, as a cut would click."""
    n = min(int(seconds * RATE_HZ), len(samples) // 2)
    out = samples.copy()
    out[:n] *= np.linspace(0, 1, n, dtype=np.float32)
    out[len(out) - n :] *= np.linspace(1, 0, n, dtype=np.float32)
    return out


def silence(seconds: float) -> Float32:
    return np.zeros(int(seconds * RATE_HZ), np.float32)


def _within(samples: Float32) -> Float32:
    """Turned down if it would clip."""
    peak = float(np.max(np.abs(samples), initial=0.0))
    return (samples * np.float32(0.98 / peak) if peak > 0.98 else samples).astype(np.float32)


def write_wav(path: Path, samples: Float32) -> None:
    """16 bits, mono."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(_int16(samples).tobytes())


def write_flac(path: Path, samples: Float32, track: Track) -> None:
    """16 bits, mono, with the tags that a record company would set."""
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE_HZ, layout="mono", options={"compression_level": "0"})
        tags = {"title": track.title, "artist": ", ".join(track.artists), "album": track.album, "publisher": track.label, "copyright": track.rights_holder}
        container.metadata.update({name: text for name, text in {**tags, "ISRC": ", ".join(track.isrc)}.items() if text})
        for begin in range(0, len(samples), 4608):
            frame = av.AudioFrame.from_ndarray(_int16(samples[begin : begin + 4608])[None], format="s16", layout="mono")
            frame.sample_rate = RATE_HZ
            frame.pts = begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _int16(samples: Float32) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    return np.round(np.clip(samples, -1, 1) * 32_767).astype(np.int16)
