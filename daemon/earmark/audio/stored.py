"""A stored object as a session's source: read by ranges, taken apart where there is time to wait, decoded where computing is done.

    ranges -> packets      on the session's thread, which waits for S3
    packets -> samples     on the compute thread, some seconds of sound a job

The samples are those of `audio.file`, to the bit, because they take the same way. A later owner goes on where the one
before it stopped: containers that know where each moment lies are sought in, from a frame whose place was noted, with
half a second before it for the decoder to settle; others are decoded again up to there, and not heard again.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.stream import Discard

from earmark.audio.boxes import ENCRYPTED
from earmark.audio.containers import BAD_BYTES, AudioPacket, codec_name, reason_of
from earmark.audio.decode import Downsampler, Fifos
from earmark.audio.file import Announced, Truncated, after, chunks_of, missing, opened, refuse_truncated
from earmark.audio.remote import RemoteFile
from earmark.errors import SourceUnsupported, UnreadableAudio
from earmark.model import RATE_HZ, AudioChunk, EndReason, Float32, Piece

#: Sound of one job: 10 to 20 ms of a processor, which is what a live stream may have to wait for.
PIECE_S: Final = 10.0
#: Of packets that do not say how long they last.
PACKETS_MAX, PACKETS_BYTES_MAX = 2_000, 4 << 20
#: Where FFmpeg goes is where it says that it is. In MP3, ADTS and TS it guesses.
SOUGHT: Final = frozenset({"aiff", "caf", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "ogg", "w64", "wav"})
#: For the decoder to settle before the place that is sought; and for the filter, before what is heard.
PREROLL_S, SETTLED_S = 0.5, 0.25


class Anchor(NamedTuple):
    """A frame: at which second of the file's sound it begins, and what its time stamp says."""

    at_s: float
    pts: int

    def __str__(self) -> str:
        return f"{self.at_s!r}@{self.pts}"

    @classmethod
    def of(cls, text: str) -> "Anchor | None":
        at_s, _, pts = text.partition("@")
        return cls(float(at_s), int(pts)) if pts else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Described:
    """What the file says of itself."""

    container: str = ""
    codec: str = ""
    rate_hz: int = 0
    channels: int = 0
    #: None: it does not say, or nobody can believe it.
    announced_s: float | None = None

    def __str__(self) -> str:
        return f"{self.codec} in {self.container}" if self.container else "file"


class Signals(Protocol):
    """`session.Signals`, as far as a file needs it."""

    @property
    def leaving(self) -> bool: ...
    @property
    def stop(self) -> object | None: ...


class Compute(Protocol):
    """`session.Compute`."""

    def run(self, function: Callable[..., Any], *args: Any) -> Any: ...


class ObjectSource:
    """Implements `session.Source` for an object. One that is asked to stop, and not to leave, was replaced meanwhile.

    Args:
        opening: opens it; raises as `RemoteFile` does.
        resume_s, resume: stream time up to which an earlier owner heard it, and what `place` said then.
        lead_in_s: so much before that is read once more: what had begun to sound by then is not known yet.
    """

    def __init__(
        self,
        *,
        opening: Callable[[], RemoteFile],
        compute: Compute,
        signals: Signals,
        bytes_max: int,
        length_s_max: float,
        resume_s: float = 0.0,
        resume: str = "",
        lead_in_s: float = 0.0,
    ) -> None:
        self._opening, self._compute, self._signals = opening, compute, signals
        self._bytes_max, self._length_s_max = bytes_max, length_s_max
        self._resume_s, self._resume = resume_s, Anchor.of(resume)
        self._lead_in_s = lead_in_s
        self._anchors: deque[Anchor] = deque([self._resume] if self._resume else [], maxlen=64)
        self._file: RemoteFile | None = None
        self.lasting = True
        self.end_reason: EndReason = "failed"
        self.described = Described()
        #: Why what was heard is not all, in a sentence.
        self.said = ""

    @property
    def rendition(self) -> str:
        return str(self.described)

    @property
    def fetched_bytes(self) -> int:
        return self._file.fetched_bytes if self._file else 0

    @property
    def file(self) -> RemoteFile | None:
        """Once it was opened."""
        return self._file

    def place(self, position_s: float) -> str:
        """Where to go on, if everything before this stream time is on record."""
        known = [anchor for anchor in self._anchors if anchor.at_s <= position_s - self._lead_in_s - SETTLED_S]
        return str(known[-1]) if known else ""

    def pieces(self) -> Iterator[Piece]:
        """Raises UnreadableAudio and SourceUnsupported, after what could be heard, AwsUnavailable and AwsRefused."""
        self._refuse_stopped("before")
        self._file = file = self._opening()
        try:
            if file.size_bytes > self._bytes_max:
                raise SourceUnsupported(f"{file.name} has {file.size_bytes:,} bytes, more than check.bytes_max ({self._bytes_max:,}): it is not heard")
            try:
                yield from self._heard(file, self._resume)
            except _Astray:
                yield from self._heard(file, None)
        finally:
            file.close()

    def _heard(self, file: RemoteFile, begin: Anchor | None) -> Iterator[Piece]:
        with opened(file) as (container, name, announced):
            self.described = _described(container, announced)
            announced_s = self.described.announced_s or 0.0
            if announced_s > self._length_s_max:
                raise SourceUnsupported(f"{name} lasts {clock(announced_s)}, longer than check.length_s_max ({clock(self._length_s_max)}): it is not heard")
            decoding = _Decoding(name, begin if begin and _seek(container, begin) else None)
            try:
                for packets in _packets(container, name):
                    self._refuse_stopped("while")
                    if self._signals.leaving:
                        return
                    yield from self._rest(self._compute.run(decoding.push, packets))
                    self._anchors += [decoding.anchor] if decoding.anchor else []
                    if decoding.position_s > self._length_s_max:
                        raise SourceUnsupported(f"{name} is longer than check.length_s_max ({clock(self._length_s_max)}): what comes after is not heard")
                if file.failure:  # that was no end
                    raise file.failure
                yield from self._rest(self._compute.run(decoding.flush))
                refuse_truncated(name, decoding.position_s, announced)
            except Truncated as truncated:
                self.said = str(truncated)
                yield missing(decoding.position_s, truncated.lacking_s, "segment_undecodable")
            except UnreadableAudio:
                upto_s = max(decoding.position_s, self._resume_s)
                if 0 < upto_s < announced_s:
                    yield missing(upto_s, announced_s - upto_s, "segment_missing")
                raise
        self.end_reason = "endlist"

    def _rest(self, chunks: list[AudioChunk]) -> Iterator[AudioChunk]:
        for chunk in chunks:
            rest = after(chunk, self._resume_s - self._lead_in_s)
            if rest is not None:
                yield rest

    def _refuse_stopped(self, when: str) -> None:
        if self._signals.stop is not None and not self._signals.leaving:
            raise UnreadableAudio(f"it was replaced {when} it was read: what is there now is a file of its own")


def clock(seconds: float) -> str:
    """h:mm:ss."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


class _Astray(Exception):
    """The frame that was sought is not where it should be."""


class _Decoding:
    """Packets of one file to samples; called by the compute thread."""

    def __init__(self, name: str, begin: Anchor | None) -> None:
        self._name = name
        self._sought = begin
        #: Sound of the frames so far, and samples that were made of it.
        self._frames_s = begin.at_s if begin else 0.0
        self._position = round(self._frames_s * RATE_HZ)
        self._fifos = Fifos()
        self._downsampler: Downsampler | None = None
        #: The first frame of the last packets.
        self.anchor: Anchor | None = None

    @property
    def position_s(self) -> float:
        return self._position / RATE_HZ

    def push(self, packets: list[AudioPacket]) -> list[AudioChunk]:
        """Bad packets are passed over, as any player does. Raises UnreadableAudio, _Astray."""
        self.anchor = None
        parts: list[Float32] = []
        for packet in packets:
            frames: list[AudioFrame] = []
            with suppress(*BAD_BYTES):
                frames = packet.decode()
            for frame in frames:
                if self._sought and not self._found(frame, self._sought):
                    continue
                if self.anchor is None and frame.pts is not None and _in_step(self._frames_s, frame.sample_rate):
                    self.anchor = Anchor(self._frames_s, frame.pts)
                parts += self._downsampled(frame)
                self._frames_s += frame.samples / frame.sample_rate
        return self._chunks(parts)

    def flush(self) -> list[AudioChunk]:
        """The sound ends here."""
        if self._sought:
            raise _Astray
        return self._chunks(self._downsampler.flush() if self._downsampler else [])

    def _found(self, frame: AudioFrame, sought: Anchor) -> bool:
        if frame.pts is None or frame.pts > sought.pts:
            raise _Astray
        if frame.pts < sought.pts:
            return False
        self._sought = None
        return True

    def _downsampled(self, frame: AudioFrame) -> list[Float32]:
        try:
            parts: list[Float32] = []
            if self._downsampler is None or self._downsampler.format != (frame.format.name, frame.layout.name, frame.sample_rate):
                parts = self._downsampler.flush() if self._downsampler else []
                self._downsampler = Downsampler(like=frame, fifos=self._fifos)
            return parts + self._downsampler.push(frame)
        except BAD_BYTES as error:
            raise UnreadableAudio(f"{self._name} is not audio: its samples cannot be brought to {RATE_HZ} Hz ({reason_of(error)})") from None

    def _chunks(self, parts: list[Float32]) -> list[AudioChunk]:
        chunks = chunks_of(parts, self._position)
        self._position += sum(len(chunk.samples) for chunk in chunks)
        return chunks


def _in_step(at_s: float, rate_hz: int) -> bool:
    """Whether a filter that begins here makes the samples that one from the beginning makes: some seconds apart at 44.1 kHz, at 48 every third frame."""
    return round(at_s * rate_hz) % (rate_hz // math.gcd(rate_hz, RATE_HZ)) == 0


def _packets(container: InputContainer, name: str) -> Iterator[list[AudioPacket]]:
    """Of the first sound, some seconds at a time; what else is in the file is not even read, where its container says where it is."""
    stream = container.streams.audio[0]
    stream.codec_context.thread_count = 1
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    tick_s = float(stream.time_base or 0)  # a fraction each time costs as much as the packet
    held, held_s, held_bytes = list[AudioPacket](), 0.0, 0
    with suppress(*BAD_BYTES, OSError):  # a container that breaks off ends the file
        for packet in container.demux(stream):
            if not held and packet.has_sidedata("encryption_info"):
                raise SourceUnsupported(f"{name} cannot be heard: {ENCRYPTED}")
            held.append(packet)
            held_s += (packet.duration or 0) * tick_s
            held_bytes += packet.size
            if held_s >= PIECE_S or len(held) >= PACKETS_MAX or held_bytes >= PACKETS_BYTES_MAX:
                yield held
                held, held_s, held_bytes = [], 0.0, 0
    if held:
        yield held


def _seek(container: InputContainer, begin: Anchor) -> bool:
    stream = container.streams.audio[0]
    if container.format.name not in SOUGHT or not stream.time_base:
        return False
    try:
        # Plain samples have no frames but those that reading them makes.
        preroll_s = 0.0 if codec_name(stream).startswith("pcm_") else PREROLL_S
        container.seek(begin.pts - round(preroll_s / stream.time_base), stream=stream)
    except (*BAD_BYTES, OSError):
        raise _Astray from None
    return True


def _described(container: InputContainer, announced: Announced) -> Described:
    stream = container.streams.audio[0]
    announced_s = announced(0.0)
    if not announced_s and container.format.name == "wav" and container.duration:
        announced_s = announced(container.duration / av.time_base)
    return Described(
        container=container.format.name,
        codec=codec_name(stream),
        rate_hz=stream.codec_context.sample_rate or 0,
        channels=stream.codec_context.layout.nb_channels,
        announced_s=announced_s or None,
    )
