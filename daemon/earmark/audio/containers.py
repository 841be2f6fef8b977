"""What is inside a segment: its first audio stream as coded frames, whatever they are wrapped in.

FFmpeg is never left to guess a format: it is told which one it is, gets bytes in memory and no names, and may open no
decoder but those listed here.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias, cast

import av
import av.error
from av.audio.stream import AudioStream
from av.packet import Packet

from earmark.audio import boxes, fragments, mpegts
from earmark.audio.mpegts import PTS_HZ
from earmark.errors import UnreadableAudio
from earmark.model import Container, Segment

AudioPacket: TypeAlias = "Packet[AudioStream]"

#: Codecs that are decoded when a container says they are inside; FFmpeg knows hundreds, some of them dangerous.
CODECS = frozenset({"aac", "aac_latm", "mp3float", "mp3", "mp2float", "mp2", "ac3", "eac3", "opus", "libopus", "flac", "alac"})
#: What PyAV raises on bytes that are not what they claim: FFmpeg's errors, and its own for what FFmpeg let pass.
BAD_BYTES = (av.error.FFmpegError, ValueError, LookupError, OverflowError)
#: What video looks like is of no interest: FFmpeg would read half a megabyte to find out.
_PROBE = {"analyzeduration": "0", "probesize": "32768", "codec_whitelist": ",".join(sorted(CODECS))}


class NoAudio(Exception):
    """A sound segment with nothing to hear in it."""


@dataclass(frozen=True, slots=True)
class Run:
    """Coded audio on one run of the encoder's clock: bytes that are still to be cut into frames, or frames."""

    pts: int | None
    coded: bytes | list[AudioPacket]


@dataclass(frozen=True, slots=True)
class Media:
    """The audio inside a segment."""

    #: FFmpeg's name of the decoder, and what it must know beforehand (MP4's codec configuration).
    codec: str
    extradata: bytes | None
    runs: list[Run]
    #: In frames already; else the decoder's own parser cuts them, and a frame that the segment's end cuts in two survives.
    framed: bool
    #: Read by FFmpeg's demuxer because it was not as our own reader expects.
    fallback: bool = False

    @property
    def key(self) -> tuple[str, bytes | None, bool]:
        return self.codec, self.extradata, self.framed


def unwrap(segment: Segment) -> Media:
    """The audio of a segment: by our own readers where they know what it is, else by FFmpeg's demuxer.

    Raises UnreadableAudio when it is not such a container, NoAudio when nothing in it can be heard.
    """
    match segment.container:
        case "mpegts":
            try:
                elementary = mpegts.read(segment.data)
            except mpegts.NoAudio as error:
                raise NoAudio(str(error)) from None
            except mpegts.Unexpected:
                return replace(demux(segment.data, "mpegts"), fallback=True)
            return Media(elementary.codec, None, [Run(run.pts, run.data) for run in elementary.runs], framed=False)
        case "mp4":
            try:
                sound = fragments.read(segment.init, segment.data)
            except fragments.Unexpected:
                return replace(demux(boxes.checked(segment.init + segment.data), "mp4"), fallback=True)
            return Media("aac", sound.config, [Run(run.pts, _packets(run.samples)) for run in sound.runs], framed=True)
        case "aac" | "mp3":
            pts, data = packed(segment.data)
            return Media("aac" if segment.container == "aac" else "mp3float", None, [Run(pts, data)], framed=False)


def _packets(samples: list[bytes]) -> list[AudioPacket]:
    """Without times: that of their run is what counts."""
    return [cast("AudioPacket", Packet(sample)) for sample in samples]


def demux(data: bytes, container: Container) -> Media:
    """FFmpeg's demuxer on bytes in memory, never left to guess the format.

    Raises UnreadableAudio when it is not such a container, NoAudio when nothing in it can be heard.
    """
    try:
        with av.open(io.BytesIO(data), "r", format=container, options=_PROBE, metadata_errors="ignore") as opened:
            if not opened.streams.audio:
                raise NoAudio("it has video but no audio" if opened.streams.video else "it has no audio stream")
            stream = opened.streams.audio[0]
            context = stream.codec_context
            codec = codec_name(stream)
            if codec not in CODECS:
                raise NoAudio(f"its audio is {codec or 'of a codec nobody knows'}, which is not heard here")
            packets = list(_within(opened.demux(stream), len(data)))
            return Media(codec, context.extradata, list(_split(packets)), framed=True)
    except BAD_BYTES as error:
        raise UnreadableAudio(f"it is not {container} ({reason_of(error)})") from None


def _within(packets: Iterable[AudioPacket], bytes_n: int) -> Iterator[AudioPacket]:
    """Packets that are not empty; a table may name the same bytes again and again, and would multiply them."""
    for packet in packets:
        bytes_n -= packet.size
        if bytes_n < 0:
            raise UnreadableAudio("it claims the same bytes for several samples")
        if packet.size:
            yield packet


def codec_name(stream: AudioStream) -> str:
    """FFmpeg's name of the decoder; empty when it has none (PyAV's types do not say that there may be none)."""
    return getattr(getattr(stream.codec_context, "codec", None), "name", "")


def _split(packets: list[AudioPacket]) -> Iterator[Run]:
    """Packets as runs of one clock."""
    run: list[AudioPacket] = []
    first: int | None = None
    expected: int | None = None
    for packet in packets:
        pts = _pts(packet)
        if run and pts is not None and expected is not None and not fragments.continues(pts, expected):
            yield Run(first, run)
            run, first = [], None
        if first is None and not run:
            first = pts
        run.append(packet)
        expected = None if pts is None else pts + _ticks(packet, packet.duration or 0)
    if run:
        yield Run(first, run)


def _pts(packet: AudioPacket) -> int | None:
    return None if packet.pts is None else _ticks(packet, packet.pts)


def _ticks(packet: AudioPacket, value: int) -> int:
    return round(value * packet.time_base * PTS_HZ)


#: The ID3 frame in which packed audio carries its time stamp (RFC 8216, section 3.4).
_TIMESTAMP = b"com.apple.streaming.transportStreamTimestamp\x00"


def packed(data: bytes) -> tuple[int | None, bytes]:
    """Packed audio: the time stamp of its leading ID3 tags, and the frames behind them."""
    frames_at = behind_tags(data)
    # The last one counts.
    at = data.rfind(_TIMESTAMP, 0, frames_at)
    stamp = data[at + len(_TIMESTAMP) : at + len(_TIMESTAMP) + 8]
    pts = int.from_bytes(stamp) % mpegts.PTS_MODULUS if at >= 0 and len(stamp) == 8 else None
    return pts, data[frames_at:]


def behind_tags(data: bytes) -> int:
    """Where the frames begin: behind the leading ID3 tags. (Nothing is copied on the way: a segment may be millions of them.)"""
    at = 0
    while data[at : at + 3] == b"ID3" and len(data) - at >= 10:
        at += 10 + (data[at + 6] << 21 | data[at + 7] << 14 | data[at + 8] << 7 | data[at + 9])
    return min(at, len(data))


def reason_of(error: Exception) -> str:
    text = str(getattr(error, "strerror", "") or error)
    return text[:1].lower() + text[1:]
