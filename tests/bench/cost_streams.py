"""What is listened to when costs are measured: minutes of streams as segments of AAC, and a catalogue in memory.

The hearing bench's streams and catalogue under $EARBENCH_HOME (default ~/.cache/earbench) if they are there, else generated
pieces, every second one under a talker.
"""

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import av
import numpy as np
import soundfile
from av.audio.frame import AudioFrame

from earmark.fingerprint.window import Scratch, fingerprint
from earmark.local import music
from earmark.local.speech import speech
from earmark.model import RATE_HZ, Float32, Peaks, Segment, Track
from fakes import MemoryIndex
from hearing_sounds import at_8_khz

HOME: Final = Path(os.environ.get("EARBENCH_HOME") or Path.home() / ".cache" / "earbench")
SEGMENT_S: Final = 2.0
#: So much is heard of each stream, from its beginning.
SECONDS: Final = 600
_GENERATED: Final = 8
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_SCRATCH: Final = Scratch()


Spans: TypeAlias = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Programme:
    """Some minutes of a stream."""

    segments: tuple[Segment, ...]
    seconds: float
    #: Begin and end, in seconds, of music that is in the catalogue, and of what is said over any.
    music: Spans
    talk: Spans


@dataclass(frozen=True)
class Sounds:
    """Streams, and the catalogue that some of their music is in."""

    source: str
    streams: tuple[Programme, ...]
    index: MemoryIndex


@cache
def sounds() -> Sounds:
    """Read, or generated, and coded: half a minute."""
    if not all((HOME / f"stream{n}.wav").exists() for n in range(3)):
        return _generated()
    recordings = ((path.stem, *soundfile.read(str(path), dtype="float32")) for path in sorted((HOME / "catalogue").glob("*.wav")))
    return Sounds("the development streams", tuple(_stream(n) for n in range(3)), _catalogue(recordings))


def _stream(number: int) -> Programme:
    with soundfile.SoundFile(str(HOME / f"stream{number}.wav")) as file:
        samples, rate_hz = file.read(SECONDS * file.samplerate, dtype="float32"), file.samplerate
    plays = json.loads((HOME / f"stream{number}.json").read_text(encoding="utf-8"))
    known = tuple((play["start_s"], play["end_s"]) for play in plays if play["role"] == "catalogue")
    talk = tuple((play["talk_s"][0], play["talk_s"][1]) for play in plays if play["talk_s"])
    return Programme(_coded(samples, rate_hz), len(samples) / rate_hz, known, talk)


def _generated() -> Sounds:
    pieces = music.catalogue(_GENERATED)
    rendered = [music.render(piece) for piece in pieces]
    index = _catalogue((piece.track.track_id, sound, music.RATE_HZ) for piece, sound in zip(pieces, rendered, strict=True))
    return Sounds("generated music, no bench found", (_programme([music.render(music.stranger(like=pieces[0])), *rendered[::2]]),), index)


def _programme(parts: Iterable[Float32]) -> Programme:
    """Parts with pauses of 10 s, every second one talked over; all but the first are in the catalogue."""
    heard: list[Float32] = []
    known: list[tuple[float, float]] = []
    talk: list[tuple[float, float]] = []
    begin_s = 0.0
    for n, part in enumerate(parts):
        seconds = len(part) / music.RATE_HZ
        if n % 2:
            part = part + speech(seconds, seed=n)[: len(part)]  # noqa: PLW2901
            talk.append((begin_s, begin_s + seconds))
        if n:
            known.append((begin_s, begin_s + seconds))
        heard += [part, np.zeros(10 * music.RATE_HZ, np.float32)]
        begin_s += seconds + 10
    return Programme(_coded(np.concatenate(heard), music.RATE_HZ), begin_s, tuple(known), tuple(talk))


def _catalogue(recordings: Iterable[tuple[str, Float32, int]]) -> MemoryIndex:
    index = MemoryIndex()
    for track_id, samples, rate_hz in recordings:
        peaks, seconds = _peaks(samples, rate_hz)
        index.add(Track(track_id=track_id, duration_s=seconds), peaks)
    return index


def _peaks(samples: Float32, rate_hz: int) -> tuple[Peaks, float]:
    mono = samples if samples.ndim == 1 else samples.mean(axis=1)
    heard = at_8_khz(mono, rate_hz)
    return fingerprint(heard, scratch=_SCRATCH), len(heard) / RATE_HZ


def _coded(samples: Float32, rate_hz: int) -> tuple[Segment, ...]:
    """Stereo AAC of 64 kb/s in MPEG-TS, as IVS sends it for its lowest rendition."""
    stereo = samples if samples.ndim == 2 else np.stack([samples, samples], axis=1)
    with tempfile.TemporaryDirectory() as folder:
        options = {"hls_time": str(SEGMENT_S), "hls_list_size": "0"}
        with av.open(str(Path(folder, "list.m3u8")), "w", format="hls", options=options) as out:
            sound = out.add_stream("aac", rate=rate_hz, layout="stereo")
            sound.bit_rate = 64_000
            for begin in range(0, len(stereo), 1_024):
                frame = AudioFrame.from_ndarray(np.ascontiguousarray(stereo[begin : begin + 1_024].T), format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = rate_hz, begin
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
        lines = Path(folder, "list.m3u8").read_text(encoding="utf-8").splitlines()
        durations = [float(line.partition(":")[2].rstrip(",")) for line in lines if line.startswith("#EXTINF")]
        parts = [Path(folder, line).read_bytes() for line in lines if line and not line.startswith("#")]
    return tuple(Segment(data=data, container="mpegts", duration_s=seconds, fetched_at=_EPOCH) for data, seconds in zip(parts, durations, strict=True))
