"""Real recordings to plant among drawn ones, and excerpts to ask for: the hearing bench's music if it is there, else generated."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO

import av
import numpy as np
from scipy.signal import resample_poly

from bench import bench_scale
from bench.bench_scale import Clip
from bench.calibration_sound import HOME
from bench.scale_catalogue import Real
from earmark.fingerprint.window import fingerprint
from earmark.hearing import drive
from earmark.identification import default_threshold_nats, identify
from earmark.index.answers import Index
from earmark.index.catalogue import Recording, postings_of
from earmark.local import music
from earmark.model import RATE_HZ, Float32, MatchParams, Track

_CONDITIONS = ("clean, 12 s", "aac64, 12 s")
_GENERATED, _EXCERPT_S = 12, 12.0


@dataclass(frozen=True)
class Planted:
    """Recordings, and excerpts of them."""

    real: list[Real]
    clips: list[Clip]
    what: str

    def recordings(self) -> Iterator[Recording]:
        for real in self.real:
            track = Track(track_id=real.track_id, title=real.track_id, duration_s=real.duration_s)
            yield Recording(track=track, peaks=real.peaks, postings=postings_of(real.peaks), content_sha256=real.track_id.encode())

    def count(self, condition: str) -> int:
        return sum(clip.condition == condition for clip in self.clips)


def planted() -> Planted:
    if (HOME / "queries.json").exists():
        real, clips = bench_scale.sound()
        return Planted(real, [clip for clip in clips if clip.track_id and clip.condition in _CONDITIONS], f"{len(real)} recordings of the hearing bench")
    pieces = {f"piece {n}": _at_rate(music.render(piece)) for n, piece in enumerate(music.catalogue(_GENERATED))}
    real = [Real(name, len(sound) / RATE_HZ, fingerprint(sound)) for name, sound in pieces.items()]
    return Planted(real, [clip for name, sound in pieces.items() for clip in _excerpts(name, sound)], f"{len(real)} generated recordings")


def recall(found: Planted, index: Index) -> dict[str, float]:
    """Per cent of the excerpts of each condition whose best match is their recording."""
    params, size = MatchParams(), index.size()
    right: dict[str, list[bool]] = {}
    for clip in found.clips:
        asking = identify(clip.peaks, clip.duration_s, params=params, size=size, threshold_nats=default_threshold_nats(params, size))
        matches = drive(asking, index.answer)
        right.setdefault(clip.condition, []).append(bool(matches) and matches[0].track_id == clip.track_id)
    return {condition: 100 * float(np.mean(answers)) for condition, answers in right.items()}


def _excerpts(name: str, sound: Float32) -> Iterator[Clip]:
    for begin_s in range(5, int(len(sound) / RATE_HZ - _EXCERPT_S) - 1, 10):
        excerpt = sound[int(begin_s * RATE_HZ) : int((begin_s + _EXCERPT_S) * RATE_HZ)]
        for condition, heard in zip(_CONDITIONS, (excerpt, _coded(excerpt)), strict=True):
            yield Clip(f"{name} {begin_s} {condition}", condition, name, _EXCERPT_S, fingerprint(heard))


def _at_rate(sound: Float32) -> Float32:
    ratio = Fraction(RATE_HZ, music.RATE_HZ)
    return np.asarray(resample_poly(sound, ratio.numerator, ratio.denominator), np.float32)


def _coded(excerpt: Float32) -> Float32:
    """Through AAC at 64 kbit/s, at 32 kHz."""
    at_32k, made = np.asarray(resample_poly(excerpt, 4, 1), np.float32), BytesIO()
    with av.open(made, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=32_000, layout="mono")
        stream.bit_rate = 64_000
        for begin in range(0, len(at_32k), 1024):
            frame = av.AudioFrame.from_ndarray(at_32k[None, begin : begin + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 32_000, begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    made.seek(0)
    with av.open(made) as container:
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    return np.asarray(resample_poly(decoded, 1, 4), np.float32)
