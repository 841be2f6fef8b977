"""Files for measurements of what is added: music as people have it, and the same at another bitrate, cut, or a little faster."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from scipy.signal import resample_poly

from earmark.local import music
from earmark.local.music import RATE_HZ
from earmark.model import Float32

#: Where the hearing bench keeps its recordings, which are nobody's but their owners'; without them, all music is generated.
REAL: Final = Path(os.environ.get("EARBENCH_HOME", "~/.cache/earbench")).expanduser() / "catalogue"
#: Encoders may take ten times as long over the same bitrate.
_FAST: Final = {"compression_level": "8", "aac_coder": "fast"}
_CODECS: Final = {"flac": ("flac", "s16"), "mp3": ("libmp3lame", "fltp"), "m4a": ("aac", "fltp")}


def encode(path: Path, sound: Float32, *, kbit_s: int | None = None) -> Path:
    """Stereo at 44.1 kHz, in what the file's name says; the channels differ as those of a mix do."""
    codec, layout = _CODECS[path.suffix[1:]]
    side = np.float32(0.3) * np.roll(sound, 441)
    stereo = np.clip(np.stack([sound + side, sound - side]) * np.float32(0.8), -1, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=RATE_HZ, options=_FAST | ({} if kbit_s is None else {"b": f"{kbit_s}k"}))
        stream.layout = "stereo"
        for begin in range(0, stereo.shape[1], 1 << 16):
            piece = stereo[:, begin : begin + (1 << 16)]
            if layout == "s16":
                frame = AudioFrame.from_ndarray(np.rint(piece.T * 32_767).astype(np.int16).reshape(1, -1), format="s16", layout="stereo")
            else:
                frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = RATE_HZ, begin
            for packet in stream.encode(frame):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    return path


def faster(sound: Float32, up: int, down: int) -> Float32:
    """Played at down / up of its speed and pitch, as on a turntable."""
    return np.asarray(resample_poly(sound, up, down), np.float32)


@cache
def _intro() -> Float32:
    return music.render(music.stranger(like=music.catalogue(1)[0]))[: 12 * RATE_HZ]


def other_intro(sound: Float32) -> Float32:
    """Its first 12 s are another piece's."""
    return np.concatenate([_intro(), sound[12 * RATE_HZ :]])


def excerpt(sound: Float32) -> Float32:
    """Sixty seconds from its middle; of what is hardly longer, two thirds."""
    length = min(60 * RATE_HZ, len(sound) * 2 // 3)
    begin = (len(sound) - length) // 2
    return sound[begin : begin + length]


#: What becomes of a recording on its way to the same catalogue again: the file's ending, its bitrate, and what is done to the sound.
VARIANTS: Final[Mapping[str, tuple[str, int | None, Callable[[Float32], Float32]]]] = {
    "MP3, 128 kbit/s": ("mp3", 128, lambda sound: sound),
    "AAC, 64 kbit/s": ("m4a", 64, lambda sound: sound),
    "5 s cut off": ("m4a", 128, lambda sound: sound[5 * RATE_HZ :]),
    "another intro": ("m4a", 128, other_intro),
    "2 % faster": ("m4a", 128, lambda sound: faster(sound, 50, 51)),
    "2 % slower": ("m4a", 128, lambda sound: faster(sound, 50, 49)),
    "60 s of it": ("m4a", 128, excerpt),
}


def read(path: Path) -> Float32:
    """A file's sound in mono at 44.1 kHz."""
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
        parts = [made.to_ndarray()[0] for frame in container.decode(audio=0) for made in resampler.resample(frame)]
    return np.concatenate(parts)
