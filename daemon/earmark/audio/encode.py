"""A file's sound in another format: decoded, brought to what the encoder takes, encoded and written, a frame at a time.

    file ─▶ frames ─▶ rate, channels, samples of the encoder ─▶ an excerpt, or all ─▶ encoder ─▶ file

Memory does not grow with its length. What is lossless (FLAC) keeps rate and channels as they are, and 16 or 24 bits of each
sample; the others get the nearest rate that they know, and no more channels than are asked for.
"""

import errno
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import av
import numpy as np
import numpy.typing as npt
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer

from earmark.audio.containers import BAD_BYTES, codec_name, reason_of
from earmark.audio.decode import Downsampler
from earmark.audio.file import LACKING_S, LACKING_SHARE, frames_of, opened
from earmark.errors import Transient, UnreadableAudio

Codec: TypeAlias = Literal["aac", "mp3", "opus", "flac"]
#: Of which nothing of the sound gets lost.
LOSSLESS: Final = frozenset[Codec]({"flac"})

#: For people's ears no more is needed.
_RATE_HZ_MAX: Final = 48_000
#: FFmpeg's MP4 writer remembers 72 bytes of each frame until the end: that of an hour is 11 MB. What is longer is written in
#: fragments, each with an index of its own and an index of all before them, which older players do not know.
_WHOLE_S_MAX: Final = 3_600.0
_FRAGMENT_S: Final = 30
#: What is wrong with the disk, and not with the file.
_OF_THE_DISK: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
#: What WAV files and the like leave open: which channels theirs are.
_LAYOUTS: Final[Mapping[int, str]] = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
#: Samples that are handed on at once where a part is cut out.
_PIECE_SAMPLES: Final = 4_096


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    """What FFmpeg calls it, and the world."""

    encoder: str
    container: str
    suffix: str
    content_type: str
    #: Samples as the encoder takes them best; empty: that depends on the file.
    samples: str
    #: For each channel it takes no more; the others know by themselves what they can use.
    kbps_max: int = 320


_KINDS: Final[Mapping[Codec, _Kind]] = {
    "aac": _Kind(encoder="aac", container="ipod", suffix="m4a", content_type="audio/mp4", samples="fltp"),
    "mp3": _Kind(encoder="libmp3lame", container="mp3", suffix="mp3", content_type="audio/mpeg", samples="fltp"),
    "opus": _Kind(encoder="libopus", container="opus", suffix="opus", content_type="audio/ogg", samples="flt", kbps_max=256),
    "flac": _Kind(encoder="flac", container="flac", suffix="flac", content_type="audio/flac", samples=""),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoding:
    """How a file is encoded."""

    codec: Codec
    #: Of what is not lossless.
    kbps: int = 64
    channels_max: int = 2
    #: The part that is encoded: from there on, so long. Without a length: all of it.
    begin_s: float = 0.0
    length_s: float | None = None
    #: What would be larger is given up.
    bytes_max: int = 1_000_000_000
    #: What the file says of itself: title, artist.
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """What came of it."""

    duration_s: float
    rate_hz: int
    channels: int
    size_bytes: int


class NoRoom(Transient):
    """The disk takes no more, or fails: it may be tried again."""


def suffix_of(codec: Codec) -> str:
    return _KINDS[codec].suffix


def content_type_of(codec: Codec) -> str:
    """IANA's media type."""
    return _KINDS[codec].content_type


def unknown_codecs() -> list[Codec]:
    """Those that this build of FFmpeg cannot write."""
    return [codec for codec, kind in _KINDS.items() if kind.encoder not in av.codecs_available or kind.container not in av.formats_available]


def encode(file: Path, into: Path, how: Encoding, *, duration_s: float) -> Encoded:
    """`duration_s`: of the whole file, as it was measured before; what breaks off earlier now is not taken for whole.

    Raises UnreadableAudio, with a sentence that begins with the path, and NoRoom; then there may be a part of it in `into`.
    """
    part = _part(how, duration_s)
    with opened(file) as (container, name, _):
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        whole_samples = codec_name(stream).startswith("pcm_")
        try:
            made = _written(frames_of(container), into, how, part, whole_samples=whole_samples)
        except (*BAD_BYTES, OSError) as error:
            if getattr(error, "errno", None) in _OF_THE_DISK:
                raise NoRoom(f"a copy cannot be written to {into.parent}: {reason_of(error)}") from None
            raise UnreadableAudio(f"{name} cannot be written as {how.codec}: {reason_of(error)}") from None
        except _TooLarge:
            raise UnreadableAudio(f"{name} is not written as {how.codec}: that would have more than {how.bytes_max:,} bytes (formats.bytes_max)") from None
    if made is None:
        raise UnreadableAudio(f"{name} cannot be written as {how.codec}: nothing in it can be decoded")
    lacking_s = part.length_s - made.duration_s
    if lacking_s > max(LACKING_S, LACKING_SHARE * part.length_s):
        raise UnreadableAudio(f"{name} is not written as {how.codec}: it broke off after {made.duration_s:.1f} of {part.length_s:.1f} s")
    return made


def encode_samples(samples: npt.NDArray[np.int16], *, rate_hz: int, how: Encoding) -> bytes:
    """Samples int16 [n], mono, as a file of that format, in memory. Raises UnreadableAudio, with a sentence."""
    kind, file = _KINDS[how.codec], io.BytesIO()
    try:
        # The same bytes of the same sound: see `_written`.
        with av.open(file, "w", format=kind.container, container_options={"fflags": "+bitexact"}) as out:
            out.metadata.update(how.tags)
            frames = _frames(samples, rate_hz)
            first = next(frames)
            writer = _Writer(out, how, like=first, whole_samples=True)
            for frame in writer.fitted(first, frames):
                writer.write(frame)
            writer.end()
    except (*BAD_BYTES, OSError) as error:
        raise UnreadableAudio(f"{len(samples) / rate_hz:.1f} s of sound cannot be written as {how.codec}: {reason_of(error)}") from None
    except _TooLarge:
        raise UnreadableAudio(f"{len(samples) / rate_hz:.1f} s of sound are not written as {how.codec}: they have more than {how.bytes_max:,} bytes") from None
    return file.getvalue()


def _frames(samples: npt.NDArray[np.int16], rate_hz: int) -> Iterator[AudioFrame]:
    """At least one."""
    for begin in range(0, max(1, len(samples)), _PIECE_SAMPLES):
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[begin : begin + _PIECE_SAMPLES])[None, :], format="s16", layout="mono")
        frame.sample_rate = rate_hz
        yield frame


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    begin_s: float
    length_s: float
    #: Not up to the end of the file.
    ends: bool


def _part(how: Encoding, duration_s: float) -> _Part:
    """What of the file is encoded; of a file that is too short for that, its last seconds."""
    if how.length_s is None or how.length_s >= duration_s:
        return _Part(begin_s=0.0, length_s=duration_s, ends=False)
    return _Part(begin_s=min(how.begin_s, duration_s - how.length_s), length_s=how.length_s, ends=True)


def _written(frames: Iterator[AudioFrame], into: Path, how: Encoding, part: _Part, *, whole_samples: bool) -> Encoded | None:
    """None: there was no frame."""
    first = next(frames, None)
    if first is None:
        return None
    kind = _KINDS[how.codec]
    # The same bytes of the same sound: else writers put their version in, and Ogg numbers its streams at random.
    options = {"fflags": "+bitexact", **(_mp4_options(part.length_s) if kind.container == "ipod" else {})}
    with av.open(str(into), "w", format=kind.container, container_options=options) as out:
        out.metadata.update(how.tags)
        writer = _Writer(out, how, like=first, whole_samples=whole_samples)
        excerpt = _Excerpt(part, rate_hz=writer.rate_hz)
        for frame in writer.fitted(first, frames):
            for piece in excerpt.push(frame):
                writer.write(piece)
            if excerpt.over:
                break
        writer.end()
    return Encoded(duration_s=writer.samples / writer.rate_hz, rate_hz=writer.rate_hz, channels=writer.channels, size_bytes=into.stat().st_size)


def _mp4_options(length_s: float) -> dict[str, str]:
    if length_s <= _WHOLE_S_MAX:
        return {"movflags": "+faststart"}  # its index before its sound: a browser plays it as it comes
    return {"movflags": "+delay_moov+default_base_moof+global_sidx", "frag_duration": f"{_FRAGMENT_S * 1_000_000}"}


class _TooLarge(Exception):
    """It would be larger than it may be."""


class _Writer:
    """One encoder, and its file."""

    def __init__(self, out: OutputContainer, how: Encoding, *, like: AudioFrame, whole_samples: bool) -> None:
        """Raises ValueError for a rate at which no sound is recorded, or more channels than the format knows."""
        if like.sample_rate not in Downsampler.RATES_HZ:
            raise ValueError(f"its rate is {like.sample_rate:,} Hz")
        kind = _KINDS[how.codec]
        lossless = how.codec in LOSSLESS
        self.rate_hz = like.sample_rate if lossless else _rate_hz(kind.encoder, like.sample_rate)
        self.channels = like.layout.nb_channels if lossless else min(how.channels_max, like.layout.nb_channels)
        if self.channels not in _LAYOUTS:
            raise ValueError(f"it has {self.channels} channels")
        named = lossless and "channels" not in like.layout.name
        self._layout = like.layout.name if named else _LAYOUTS[self.channels]
        self._format = kind.samples or _integers(like, whole=whole_samples)
        of: dict[str, Any] = {"layout": self._layout, "format": self._format}
        if not lossless:
            of["bit_rate"] = 1_000 * min(how.kbps, kind.kbps_max * self.channels)
        stream = out.add_stream(kind.encoder, rate=self.rate_hz, **of)
        assert isinstance(stream, AudioStream)
        self._out, self._stream = out, stream
        self._bytes_left = how.bytes_max
        #: Of each channel, written.
        self.samples = 0

    def fitted(self, first: AudioFrame, others: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
        """Frames as the encoder takes them, though a file may change its rate, or its channels, on its way."""
        resampler, format_now = self._resampler(), _format(first)
        for frame in _chained(first, others):
            if _format(frame) != format_now:
                yield from _given(resampler.resample(None))
                resampler, format_now = self._resampler(), _format(frame)
            # Time stamps may jump, or lie: time is counted in samples.
            frame.pts, frame.time_base = None, Fraction(1, frame.sample_rate)
            yield from _given(resampler.resample(frame))
        yield from _given(resampler.resample(None))

    def write(self, frame: AudioFrame) -> None:
        frame.pts, frame.time_base = self.samples, Fraction(1, self.rate_hz)
        self.samples += frame.samples
        self._mux(frame)

    def end(self) -> None:
        self._mux(None)

    def _mux(self, frame: AudioFrame | None) -> None:
        for packet in self._stream.encode(frame):
            self._bytes_left -= packet.size
            if self._bytes_left < 0:
                raise _TooLarge
            self._out.mux(packet)

    def _resampler(self) -> AudioResampler:
        # Of many channels two without clipping: see `decode`.
        return AudioResampler(format=self._format, layout=self._layout, rate=self.rate_hz, options={"rematrix_maxval": "1.0"})


def _chained(first: AudioFrame, others: Iterator[AudioFrame]) -> Iterator[AudioFrame]:
    yield first
    yield from others


def _given(frames: list[Any]) -> Iterator[AudioFrame]:
    """A resampler with nothing to do says None at the end."""
    yield from (frame for frame in frames if frame is not None)


def _format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _rate_hz(encoder: str, rate_hz: int) -> int:
    """The lowest that loses nothing, of those that the encoder knows and ears can use."""
    known = sorted(rate for rate in av.Codec(encoder, "w").audio_rates or () if rate <= _RATE_HZ_MAX)
    return next((rate for rate in known if rate >= rate_hz), known[-1])


def _integers(like: AudioFrame, *, whole: bool) -> str:
    """As FLAC has them. What a lossy decoder makes has no more than 16 bits worth keeping; PCM (`whole`) may have 24."""
    return "s16" if like.format.bits <= 16 or (like.format.name.startswith(("flt", "dbl")) and not whole) else "s32"


class _Excerpt:
    """Of frames that follow one another, so much, from a place on; to the sample."""

    def __init__(self, part: _Part, *, rate_hz: int) -> None:
        self._skip = round(part.begin_s * rate_hz)
        self._left: int | None = round(part.length_s * rate_hz) if part.ends else None
        self._fifo = AudioFifo()

    @property
    def over(self) -> bool:
        return self._left == 0

    def push(self, frame: AudioFrame) -> Iterator[AudioFrame]:
        if self._left is None:
            yield frame
            return
        frame.pts = None
        self._fifo.write(frame)
        while self._skip and (skipped := self._fifo.read(min(self._skip, _PIECE_SAMPLES), partial=True)):
            self._skip -= skipped.samples
        while self._left and not self._skip and (piece := self._fifo.read(min(self._left, _PIECE_SAMPLES), partial=True)):
            self._left -= piece.samples
            yield piece
