"""A stored file as samples: anything FFmpeg reads, opened through Python, decoded in bounded pieces.

A file is somebody else's too. FFmpeg takes a text with the right words in it for a playlist and opens what it names,
local files and URLs alike; so it is given bytes and no name, and may only use formats that hold media themselves.
"""

import io
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.container import InputContainer

from earmark.audio import boxes, riff
from earmark.audio.containers import BAD_BYTES, codec_name, reason_of
from earmark.audio.decode import Downsampler, Fifos
from earmark.audio.remote import RemoteFile
from earmark.audio.timeline import CHUNK_SAMPLES_MAX
from earmark.errors import SourceUnsupported, UnreadableAudio
from earmark.model import RATE_HZ, AudioChunk, EndReason, Float32, GapReason, Piece

#: Containers that hold their media themselves. Not among them, on purpose: hls, dash, concat, sdp, and all that names other files.
FORMATS = "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,loas,matroska,mov,mp3,mp4,mpc,mpc8,mpeg,mpegts,ogg,rm,tak,truehd,tta,voc,w64,wav,webm,wv"
_OPTIONS = {"format_whitelist": FORMATS, "protocol_whitelist": "none"}
#: Seconds of samples in a chunk.
CHUNK_S = 5
#: Containers whose header says how much there is, and means it; elsewhere FFmpeg only estimates.
MEASURED = frozenset({"aiff", "ape", "caf", "flac", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2", "tta", "w64", "wav", "wv"})
#: A file is truncated if it lacks more than this of what its header says: codecs pad, encoders round.
LACKING_S, LACKING_SHARE = 1.0, 0.01
#: Different names of one thing, as the containers have them.
TAGS = {
    "tsrc": "isrc",
    "publisher": "label",
    "organization": "label",
    "tpub": "label",
    "album artist": "album_artist",
    "albumartist": "album_artist",
    "barcode": "upc",
    "ean/upn": "upc",
    "upc/ean": "upc",
}


#: A file here, or one that is open: of the system's, in memory, far away.
Readable: TypeAlias = str | Path | BinaryIO | RemoteFile


class Truncated(UnreadableAudio):
    """There is less in the file than its header says; what there was has been read."""

    def __init__(self, message: str, *, lacking_s: float) -> None:
        super().__init__(message)
        self.lacking_s = lacking_s


def read_samples(file: Readable, *, tap: Callable[[AudioFrame], object] = lambda _: None) -> Iterator[AudioChunk]:
    """The file's first sound, mono at RATE_HZ, in chunks of a few seconds; memory does not grow with its length.

    `tap` is given each decoded frame, with all its channels and at its own rate, before that becomes mono.

    Raises UnreadableAudio (missing, no permission, empty, not audio; `Truncated` after the last chunk), SourceUnsupported
    (video without sound).
    """
    with opened(file) as (container, name, announced):
        container.streams.audio[0].codec_context.thread_count = 1
        position, held = 0, list[Float32]()
        for part in _decoded(container, name, tap):
            held.append(part)
            if sum(map(len, held)) >= CHUNK_S * RATE_HZ:
                yield from (chunk := chunks_of(held, position))
                position, held = position + sum(len(c.samples) for c in chunk), []
        yield from (chunk := chunks_of(held, position))
        position += sum(len(c.samples) for c in chunk)
    refuse_truncated(name, position / RATE_HZ, announced)


def refuse_truncated(name: str, heard_s: float, announced: "Announced") -> None:
    """Raises Truncated where so much of a file, heard to its end, is less than it announces, and UnreadableAudio where it is nothing."""
    if not heard_s:
        raise UnreadableAudio(f"{name} holds no audio that can be decoded")
    announced_s = announced(heard_s)
    lacking_s = announced_s - heard_s
    if lacking_s > max(LACKING_S, LACKING_SHARE * announced_s):
        raise Truncated(f"{name} is truncated: it holds {heard_s:.1f} s of the {announced_s:.1f} s that it announces", lacking_s=lacking_s)


def _decoded(container: InputContainer, name: str, tap: Callable[[AudioFrame], object]) -> Iterator[Float32]:
    downsampler: Downsampler | None = None
    fifos = Fifos()
    try:
        for frame in frames_of(container):
            tap(frame)
            if downsampler is None or downsampler.format != (frame.format.name, frame.layout.name, frame.sample_rate):
                yield from downsampler.flush() if downsampler else []
                downsampler = Downsampler(like=frame, fifos=fifos)
            yield from downsampler.push(frame)
    except BAD_BYTES as error:
        raise UnreadableAudio(f"{name} is not audio: its samples cannot be brought to {RATE_HZ} Hz ({reason_of(error)})") from None
    if downsampler:
        yield from downsampler.flush()


def frames_of(container: InputContainer) -> Iterator[AudioFrame]:
    """Bad packets are passed over, as any player does; a container that breaks off ends the file."""
    packets = container.demux(container.streams.audio[0])
    with suppress(*BAD_BYTES, OSError):  # OSError: what reading the file ended with
        for packet in packets:
            with suppress(*BAD_BYTES):
                yield from packet.decode()


def chunks_of(held: list[Float32], position: int) -> list[AudioChunk]:
    """Parts that follow one another, from a sample on, as chunks of a bounded length."""
    samples = np.concatenate(held) if held else np.zeros(0, np.float32)
    cuts = range(0, len(samples), CHUNK_SAMPLES_MAX)
    return [AudioChunk(samples=samples[cut : cut + CHUNK_SAMPLES_MAX], start_s=(position + cut) / RATE_HZ) for cut in cuts]


def length_s(file: Readable) -> float:
    """About how long it is, by its header, which may be wrong; 0 if that does not say. Raises as `read_samples`."""
    with opened(file) as (container, _, announced):
        return announced(0.0) or float((container.duration or 0) / av.time_base)


def read_tags(file: Readable) -> dict[str, str]:
    """Title, artist, album, isrc, label and whatever else the file says of itself; names in lower case.

    What the container says goes before what the stream says (Ogg has its tags there). Raises as `read_samples`.
    """
    with opened(file) as (container, _, _):
        tags: dict[str, str] = {}
        for said in (container.metadata, container.streams.audio[0].metadata):
            for key, value in said.items():
                name = key.strip().lower()
                if value.strip():
                    tags.setdefault(TAGS.get(name, name), value.strip())
                    tags.setdefault(name, value.strip())
        return tags


class Signals(Protocol):
    """`session.Signals`, as far as a file needs it."""

    @property
    def leaving(self) -> bool: ...


class FileSource:
    """Implements `session.Source` for a stored file. `resume_s`: stream time up to which an earlier owner heard it."""

    def __init__(self, *, path: str | Path, signals: Signals, resume_s: float = 0.0) -> None:
        self._path = Path(path)
        self._signals = signals
        self._resume_s = resume_s
        self.lasting = True
        self.end_reason: EndReason = "failed"
        self.rendition = "file"
        self.fetched_bytes = 0

    def pieces(self) -> Iterator[Piece]:
        """Raises UnreadableAudio and SourceUnsupported."""
        end_s = 0.0
        try:
            for chunk in read_samples(self._path):
                if self._signals.leaving:
                    return
                end_s = chunk.end_s
                rest = after(chunk, self._resume_s)
                if rest is not None:
                    yield rest
        except Truncated as truncated:
            yield missing(end_s, truncated.lacking_s, "segment_undecodable")
        self.fetched_bytes = self._path.stat().st_size
        self.end_reason = "endlist"


def missing(begin_s: float, length_s: float, reason: GapReason) -> AudioChunk:
    """So much of a file that is not heard."""
    return AudioChunk(samples=np.zeros(0, np.float32), start_s=begin_s + length_s, gap_before_s=length_s, gap_reason=reason)


def after(chunk: AudioChunk, begin_s: float) -> AudioChunk | None:
    """What of a chunk lies behind a place."""
    skip = round((begin_s - chunk.start_s) * RATE_HZ)
    if skip <= 0:
        return chunk
    if skip >= len(chunk.samples):
        return None
    return AudioChunk(samples=chunk.samples[skip:], start_s=chunk.start_s + skip / RATE_HZ)


# ---------------------------------------------------------------------------------------------- opening


class _Nameless(io.RawIOBase):
    """Bytes without a name: FFmpeg guesses formats from names, and resolves other names against them."""

    def __init__(self, file: BinaryIO | RemoteFile) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def read(self, size: int = -1, /) -> bytes:
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Below zero for a place that no file has: FFmpeg goes where a damaged header says, and takes that for an answer."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1

    def tell(self) -> int:
        return self._file.tell()


#: From the seconds that were in a file to the seconds that it announces.
Announced: TypeAlias = Callable[[float], float]


@contextmanager
def opened(file: Readable) -> Iterator[tuple[InputContainer, str, Announced]]:
    """The container, which has an audio stream; the file's name for messages; how long it says it is."""
    if not isinstance(file, str | Path):
        name = str(getattr(file, "name", "the file"))
        file.seek(0)
        with _container(file, name) as container:
            yield container, name, _announced(container, file)
        return
    try:
        opened = Path(file).open("rb")  # noqa: SIM115 - closed below; an error while the file is in use is not one of opening it
    except OSError as error:
        raise UnreadableAudio(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    with opened, _container(opened, str(file)) as container:
        yield container, str(file), _announced(container, opened)


@contextmanager
def _container(file: BinaryIO | RemoteFile, name: str) -> Iterator[InputContainer]:
    try:
        begins = file.read(64)
        file.seek(0)
    except OSError as error:
        raise UnreadableAudio(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if not begins:
        raise UnreadableAudio(f"{name} is empty")
    _check_claims(file, name)
    try:
        container = av.open(_Nameless(file), "r", options=_OPTIONS, metadata_errors="replace")
    except (*BAD_BYTES, OSError) as error:
        if begins.lstrip(b"\xef\xbb\xbf").startswith(b"#EXTM3U"):
            raise SourceUnsupported(f"{name} is a playlist, which names media and holds none: give its http address instead") from None
        raise UnreadableAudio(f"{name} is not audio: {_why(error)}") from None
    with container:
        if not container.streams.audio:
            if container.streams.video:
                raise SourceUnsupported(f"{name} has video but no audio: there is nothing to hear")
            raise UnreadableAudio(f"{name} is not audio: there is no sound in it")
        if not codec_name(container.streams.audio[0]):
            raise UnreadableAudio(f"{name} is in a codec that nobody here knows")
        yield container


def _check_claims(file: BinaryIO | RemoteFile, name: str) -> None:
    """Before FFmpeg believes what tables and lists claim: a file of 40 kB may cost it gigabytes. Of other formats this looks at a few bytes."""
    try:
        data: boxes.Readable = file if isinstance(file, RemoteFile) else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # no file of the system's: it is in memory anyway
        data = file.read()
        file.seek(0)
    try:
        boxes.check_file(data)
        riff.check_file(data)
    except UnreadableAudio as error:
        raise UnreadableAudio(f"{name} is not audio: {error}") from None
    except SourceUnsupported as error:
        raise SourceUnsupported(f"{name} cannot be heard: {error}") from None
    finally:
        if isinstance(data, mmap.mmap):
            data.close()


def _announced(container: InputContainer, file: BinaryIO | RemoteFile) -> Announced:
    if container.format.name == "wav":
        # FFmpeg reckons with what is there; the header knows what should be.
        share = _riff_share(file)
        return lambda heard_s: heard_s * share
    measured = container.format.name in MEASURED or (container.format.name == "mp3" and _counted(file))
    seconds = float(container.duration / av.time_base) if container.duration and measured else 0.0
    return lambda _: seconds


def _riff_share(file: BinaryIO | RemoteFile) -> float:
    """Bytes that a RIFF file should have, for each that it has; 1 where its header does not know (streamed, or beyond 4 GB)."""
    here = file.tell()
    file.seek(0)
    head = file.read(8)
    there = file.seek(0, io.SEEK_END)
    file.seek(here)
    should = int.from_bytes(head[4:8], "little") + 8
    return should / there if head[:4] == b"RIFF" and 8 < should < 0xFFFF_FFFF and should > there else 1.0


def _counted(file: BinaryIO | RemoteFile) -> bool:
    """Whether an MP3 file begins with a frame that says how many follow; else its length is FFmpeg's guess."""
    here = file.tell()
    file.seek(0)
    head = file.read(10)
    if head[:3] == b"ID3" and len(head) == 10:
        file.seek(10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]))
    first = file.read(4096)
    file.seek(here)
    return b"Xing" in first or b"Info" in first


def _why(error: Exception) -> str:
    if isinstance(error, av.error.InvalidDataError):
        return "no known format, or damaged at its beginning"
    if isinstance(error, av.error.ArgumentError):
        return "a format that is not read here"
    return str(getattr(error, "strerror", "") or error).lower()
