"""What is on air during a run, and the truth about it: streams that start and end, each with recordings that are in the catalogue.

Programmes are encoded once and go on air again and again under new names, so that a run costs the hearing and not the
making. The origin is the desk's own; only the way in is another one.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from earmark.local import music, origin, sound
from earmark.local.origin import Origin
from earmark.model import Float32
from faults.crash_points import POISON

#: A transport stream's packet that belongs to nothing, with the poison in it.
_POISONOUS_PACKET: Final = (b"\x47\x1f\xff\x10" + POISON).ljust(188, b"\xff")


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Some seconds of a programme in which a recording is played; times in seconds since the broadcast's first sample."""

    track_id: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Programme:
    parts: tuple[Part, ...]
    duration_s: float
    samples: Float32


@dataclass(frozen=True, kw_only=True, slots=True)
class Aired:
    """A stream that was on air."""

    stream_id: str
    channel_arn: str
    #: Unix time of its first sample.
    begin: float
    duration_s: float
    parts: tuple[Part, ...]
    poisonous: bool = False

    @property
    def end(self) -> float:
        return self.begin + self.duration_s


def programmes(rendered: Sequence[Float32], track_ids: Sequence[str], *, count: int, seed: int, music_s: float, plays: int = 2) -> list[Programme]:
    """`plays` recordings of `music_s` seconds one after the other, with silence before, between and behind."""
    generator = random.Random(f"{seed}/programmes")
    return [_programme(rendered, track_ids, generator, music_s, plays) for _ in range(count)]


def _programme(rendered: Sequence[Float32], track_ids: Sequence[str], generator: random.Random, music_s: float, plays: int) -> Programme:
    pieces, parts, at_s = [sound.silence(2)], [], 2.0
    for number in generator.sample(range(len(rendered)), plays):
        length_s = music_s * generator.uniform(0.8, 1.2)
        begin_s = generator.uniform(5, len(rendered[number]) / music.RATE_HZ - length_s - 5)
        cut = rendered[number][round(begin_s * music.RATE_HZ) : round((begin_s + length_s) * music.RATE_HZ)]
        pieces += [sound.faded(cut), sound.silence(3)]
        parts.append(Part(track_id=track_ids[number], begin_s=at_s, end_s=at_s + len(cut) / music.RATE_HZ))
        at_s += len(cut) / music.RATE_HZ + 3
    samples = np.concatenate(pieces)
    return Programme(parts=tuple(parts), duration_s=len(samples) / music.RATE_HZ, samples=samples)


class Reruns(Origin):
    """An origin whose broadcasts are encoded once, as audio alone, and go on air as often as is asked."""

    def __init__(self) -> None:
        super().__init__()
        self._encoded: list[tuple[origin._Rendition, Programme]] = []
        self._bodies: dict[str, bytes] = {}
        self._poisoned: set[str] = set()

    def encode(self, programme: Programme) -> int:
        """Its number, for `air`."""
        folder = self._folder / f"programme-{len(self._encoded)}" / "audio"
        self._encoded.append((origin._encode(folder, programme.samples, music.RATE_HZ, picture=False), programme))
        return len(self._encoded) - 1

    def air(self, number: int, stream_id: str, *, channel_arn: str = "", poisonous: bool = False) -> Aired:
        """On air from now on."""
        rendition, programme = self._encoded[number]
        begin = self._begins[stream_id] = self._now()
        self._renditions[stream_id] = {"audio": rendition}
        if poisonous:
            self._poisoned.add(stream_id)
        return Aired(
            stream_id=stream_id,
            channel_arn=channel_arn,
            begin=begin,
            duration_s=rendition.at_s[-1],
            parts=programme.parts,
            poisonous=poisonous,
        )

    def segment_times(self) -> Mapping[str, Sequence[float]]:
        """By stream: where its segments begin, in seconds since the broadcast's first sample."""
        return {stream_id: renditions["audio"].at_s for stream_id, renditions in self._renditions.items()}

    def answer(self, path: str) -> tuple[str, bytes] | None:
        found = super().answer(path)
        name, _, file = path.lstrip("/").partition("/")
        # All from the fourth on: a single one has left the playlist before it has killed often enough.
        if found and name in self._poisoned and file.endswith(".ts") and int(file[-8:-3]) >= 3:
            return found[0], found[1] + _POISONOUS_PACKET
        return found


def listed_from(playlist: bytes, at_s: Sequence[float]) -> float | None:
    """Where, in seconds since the broadcast's first sample, the oldest segment of a media playlist begins; None: it is none."""
    for line in playlist.decode(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "#EXT-X-MEDIA-SEQUENCE":
            return at_s[min(int(value), len(at_s) - 1)]
    return None
