"""Programmes as HLS segments of real AAC, in the codecs and renditions that streams come in; made once and kept.

Sound alone and small pictures as IVS serves its lowest renditions; `muxed720`: 2.7 Mbit/s of picture and sound in one stream, as
a channel that offers nothing smaller. The picture is two seconds of noise at the rendition's bit rate, encoded once and
repeated: nobody looks at it, and it costs whoever has to skip it what any picture does.
"""

import hashlib
import inspect
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol

import av
import m3u8
import numpy as np

from bench import live_programme, live_real, live_silence
from bench.live_programme import PROGRAMME_S, Part
from bench.live_window import TARGET_S, Cut
from earmark.local import music
from earmark.model import Float32, Track

_FRAMES_PER_S: Final = 30


class Material(Protocol):
    """What programmes are made of."""

    def sources(self) -> list[bytes]: ...
    def plan(self, number: int, of: int) -> tuple[Part, ...]: ...
    def sounding(self, number: int, of: int) -> Float32: ...
    def played(self, of: int) -> Iterator[tuple[Track, Float32, int]]: ...


MATERIALS: Final[Mapping[str, Material]] = {"generated": live_programme, "real": live_real, "silence": live_silence}


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendition:
    """How a programme is encoded; `picture`: width, height and bits per second."""

    name: str
    rate_hz: int
    layout: str
    sound_bps: int
    fragmented: bool = False
    picture: tuple[int, int, int] | None = None

    @property
    def attributes(self) -> str:
        """Of EXT-X-STREAM-INF."""
        codecs = "avc1.42c01e,mp4a.40.2" if self.picture else "mp4a.40.2"
        size = f",RESOLUTION={self.picture[0]}x{self.picture[1]}" if self.picture else ""
        return f'BANDWIDTH={self.sound_bps + (self.picture[2] if self.picture else 0)},CODECS="{codecs}"{size}'

    @property
    def suffix(self) -> str:
        return ".m4s" if self.fragmented else ".ts"


_SMALL: Final = (
    Rendition(name="AAC-LC 64k stereo 48 kHz", rate_hz=48_000, layout="stereo", sound_bps=64_000),
    Rendition(name="AAC-LC 128k stereo 48 kHz", rate_hz=48_000, layout="stereo", sound_bps=128_000),
    Rendition(name="AAC-LC 64k mono 44.1 kHz", rate_hz=44_100, layout="mono", sound_bps=64_000),
    Rendition(name="AAC-LC 96k stereo 48 kHz in fMP4", rate_hz=48_000, layout="stereo", sound_bps=96_000, fragmented=True),
    Rendition(name="360p with AAC-LC 96k stereo 48 kHz", rate_hz=48_000, layout="stereo", sound_bps=96_000, picture=(640, 360, 600_000)),
)
_LARGE: Final = Rendition(name="720p with AAC-LC 128k stereo 48 kHz", rate_hz=48_000, layout="stereo", sound_bps=128_000, picture=(1_280, 720, 2_500_000))
#: Of each programme. Five of fifteen are stereo at 64k, as IVS's sound alone is.
MIXED: Final = tuple(_SMALL[kind] for kind in (0, 1, 4, 0, 2, 3, 0, 1, 4, 0, 2, 3, 0, 1, 4))
LARGE: Final = (_LARGE,) * 8
#: The cheapest to decode.
LEAST: Final = (Rendition(name="AAC-LC 32k mono 24 kHz", rate_hz=24_000, layout="mono", sound_bps=32_000),) * 2
RENDITIONS: Final = {"mixed": MIXED, "muxed720": LARGE, "least": LEAST}


@dataclass(frozen=True, kw_only=True, slots=True)
class Programme:
    """A programme that is encoded: where its segments lie in `media`, and what sounds when."""

    media: Path
    #: First byte of each segment, and the end of the last; before them, the header of fMP4.
    offsets: tuple[int, ...]
    cut: Cut
    attributes: str
    suffix: str
    parts: tuple[Part, ...]


def programmes(folder: Path, rendition: str, material: str) -> list[Programme]:
    """Those of a folder below this one; made if they are not there, in a minute or two."""
    renditions, name = RENDITIONS[rendition], f"{material}-{rendition}"
    made_by = [repr((material, PROGRAMME_S, renditions, av.__version__)), inspect.getsource(encode), inspect.getsource(_Picture)]
    key = hashlib.sha256(b"".join([*map(str.encode, made_by), *MATERIALS[material].sources()])).hexdigest()[:12]
    kept = folder / f"{name}-{key}"
    if not (kept / "done").exists():
        print(f"  encoding {len(renditions)} programmes of {PROGRAMME_S:.0f} s: a minute or two, once", file=sys.stderr, flush=True)
        for earlier in folder.glob(f"{name}-*"):
            shutil.rmtree(earlier)
        kept.mkdir(parents=True)
        # Spawned: PyAV's threads do not survive a fork.
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(partial(_make, kept, material, len(renditions)), range(len(renditions)), renditions))
        (kept / "done").touch()
    return [_read(kept, material, number, one, len(renditions)) for number, one in enumerate(renditions)]


def _make(folder: Path, material: str, of: int, number: int, rendition: Rendition) -> None:
    header, segments, seconds = encode(MATERIALS[material].sounding(number, of), rendition)
    (folder / f"{number}.media").write_bytes(b"".join([header, *segments]))
    offsets = list(accumulate(map(len, segments), initial=len(header)))
    at_s = [round(at, 6) for at in accumulate(seconds, initial=0.0)]
    (folder / f"{number}.json").write_text(json.dumps({"offsets": offsets, "at_s": at_s, "rendition": asdict(rendition)}), encoding="utf-8")


def _read(folder: Path, material: str, number: int, rendition: Rendition, of: int) -> Programme:
    found: dict[str, Any] = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
    return Programme(
        media=folder / f"{number}.media",
        offsets=tuple(found["offsets"]),
        cut=Cut(at_s=tuple(found["at_s"])),
        attributes=rendition.attributes,
        suffix=rendition.suffix,
        parts=MATERIALS[material].plan(number, of),
    )


def encode(samples: Float32, rendition: Rendition) -> tuple[bytes, list[bytes], list[float]]:
    """fMP4's header (else empty), the segments and their seconds; cut by FFmpeg's own packager out of one continuous encoding."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        options = {"hls_time": str(TARGET_S), "hls_list_size": "0", "hls_playlist_type": "vod", "hls_segment_filename": f"{folder}/%05d{rendition.suffix}"}
        if rendition.fragmented:
            options |= {"hls_segment_type": "fmp4", "hls_fmp4_init_filename": "init.mp4"}
        with av.open(f"{folder}/list.m3u8", "w", format="hls", options=options) as out:
            picture = _Picture(out, rendition.picture) if rendition.picture else None
            coded = out.add_stream("aac", rate=rendition.rate_hz, layout=rendition.layout, options={"b": str(rendition.sound_bps)})
            resampler = av.AudioResampler(format="fltp", layout=rendition.layout, rate=rendition.rate_hz, frame_size=1_024)
            for begin in range(0, len(samples), music.RATE_HZ):
                block = np.ascontiguousarray(samples[begin : begin + music.RATE_HZ])
                frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
                frame.sample_rate, frame.time_base, frame.pts = music.RATE_HZ, Fraction(1, music.RATE_HZ), begin
                if picture:
                    picture.second(begin // music.RATE_HZ)
                for part in resampler.resample(frame):
                    out.mux(coded.encode(part))
            for part in resampler.resample(None):
                out.mux(coded.encode(part))
            out.mux(coded.encode(None))
        listed = m3u8.loads((folder / "list.m3u8").read_text(encoding="utf-8")).segments
        header = (folder / "init.mp4").read_bytes() if rendition.fragmented else b""
        return header, [(folder / str(entry.uri)).read_bytes() for entry in listed], [float(entry.duration) for entry in listed]


class _Picture:
    """Two seconds of noise, encoded once."""

    def __init__(self, out: Any, picture: tuple[int, int, int]) -> None:
        width, height, bps = picture
        kbps, keyint = bps // 1_000, TARGET_S * _FRAMES_PER_S
        # A small buffer: of two seconds alone, what it holds at first would be much.
        rate = f"nal-hrd=cbr:vbv-maxrate={kbps}:vbv-bufsize={kbps // 10}:keyint={keyint}:min-keyint={keyint}:scenecut=0:repeat-headers=1"
        options = {"preset": "ultrafast", "tune": "zerolatency", "b": str(bps), "x264-params": rate}
        self._out, self._stream = out, out.add_stream("libx264", rate=_FRAMES_PER_S, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        noise, self._packets = np.random.default_rng(1), list[tuple[bytes, bool]]()
        for number in range(keyint):
            frame = av.VideoFrame.from_ndarray(noise.integers(0, 256, (height * 3 // 2, width), np.uint8), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, _FRAMES_PER_S)
            self._packets += [(bytes(packet), packet.is_keyframe) for packet in self._stream.encode(frame)]

    def second(self, second: int) -> None:
        for number in range(second * _FRAMES_PER_S, (second + 1) * _FRAMES_PER_S):
            coded, key = self._packets[number % len(self._packets)]
            packet = av.Packet(coded)
            packet.stream, packet.time_base = self._stream, Fraction(1, _FRAMES_PER_S)
            packet.pts = packet.dts = number
            packet.duration, packet.is_keyframe = 1, key
            self._out.mux(packet)
