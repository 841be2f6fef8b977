"""Real coded audio for tests, made from generated tones with PyAV: TS, fMP4, packed AAC, MP3, with and without video."""

import functools
import io
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

Float32 = npt.NDArray[np.float32]
FRAME_SAMPLES = 1_024
#: What stored sound comes in: the suffix of its file, and which container and codec that is.
KINDS = {
    "wav": ("wav", "pcm_s16le"),
    "flac": ("flac", "flac"),
    "mp3": ("mp3", "libmp3lame"),
    "m4a": ("mp4", "aac"),
    "opus": ("ogg", "libopus"),
    "mkv": ("matroska", "aac"),
    "aac": ("adts", "aac"),
    "ts": ("mpegts", "aac"),
    "aiff": ("aiff", "pcm_s16be"),
}


@dataclass(frozen=True)
class Coded:
    """One coded signal, cut into segments as a packager cuts it."""

    container: str
    init: bytes
    segments: tuple[bytes, ...]
    durations_s: tuple[float, ...]
    rate_hz: int

    @property
    def extension(self) -> str:
        return {"mpegts": "ts", "mp4": "m4s", "aac": "aac", "mp3": "mp3"}[self.container]


def tones(duration_s: float, rate_hz: int = 48_000, channels: int = 2, seed: int = 1) -> Float32:
    """float32 [channels, n]: four sliding tones and a little noise, so that every sample differs."""
    t = np.arange(round(duration_s * rate_hz)) / rate_hz
    rng = np.random.default_rng(seed)
    mono = 0.02 * rng.standard_normal(len(t))
    for hz in rng.uniform(200, 3000, 4):
        mono += 0.1 * np.sin(2 * np.pi * hz * t + 3 * np.sin(t))
    return np.stack([mono, 0.5 * mono][:channels]).astype(np.float32)


@functools.cache
def coded(
    *,
    container: str = "mpegts",
    codec: str = "aac",
    duration_s: float = 12.0,
    rate_hz: int = 48_000,
    channels: int = 2,
    video: bool = False,
    audio: bool = True,
    segment_s: float = 2.0,
    seed: int = 1,
    latm: bool = False,
) -> Coded:
    """FFmpeg's own HLS packager, segments of about `segment_s`; packed audio is cut out of an ADTS stream."""
    if container == "aac":
        return _packed(duration_s, rate_hz, channels, segment_s, seed)
    kind = {"mpegts": "mpegts", "mp4": "fmp4"}[container]
    with tempfile.TemporaryDirectory() as folder:
        playlist = Path(folder, "list.m3u8")
        options = {"hls_time": str(segment_s), "hls_segment_type": kind, "hls_list_size": "0"}
        if latm:
            options["hls_segment_options"] = "mpegts_flags=latm"
        with av.open(str(playlist), "w", format="hls", options=options) as out:
            _encode(out, tones(duration_s, rate_hz, channels, seed) if audio else None, duration_s, codec, rate_hz, video=video)
        lines = playlist.read_text().splitlines()
        names = [line for line in lines if line and not line.startswith("#")]
        durations = [float(line.split(":")[1].rstrip(",")) for line in lines if line.startswith("#EXTINF")]
        init = Path(folder, "init.mp4").read_bytes() if container == "mp4" else b""
        return Coded(container, init, tuple(Path(folder, n).read_bytes() for n in names), tuple(durations), rate_hz)


def _encode(out: Any, samples: Float32 | None, duration_s: float, codec: str, rate_hz: int, *, video: bool) -> None:
    sound = out.add_stream(codec, rate=rate_hz) if samples is not None else None
    if sound is not None and samples is not None:
        sound.layout = "stereo" if len(samples) == 2 else "mono"
        sound.bit_rate = 64_000 * len(samples)
    picture = out.add_stream("libx264", rate=25) if video else None
    if picture is not None:
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        picture.options = {"g": "50", "preset": "ultrafast"}
        picture.thread_count = 1
    pictures = 0
    for begin in range(0, round(duration_s * rate_hz), FRAME_SAMPLES):
        if sound is not None and samples is not None:
            piece = np.ascontiguousarray(samples[:, begin : begin + FRAME_SAMPLES])
            frame = AudioFrame.from_ndarray(piece, format="fltp", layout=sound.layout.name)
            frame.sample_rate, frame.pts = rate_hz, begin
            out.mux(sound.encode(frame))
        while picture is not None and pictures / 25 <= begin / rate_hz:
            image = VideoFrame.from_ndarray(np.full((48, 64, 3), pictures % 251, np.uint8), format="rgb24")
            image.pts = pictures
            out.mux(picture.encode(image))
            pictures += 1
    for stream in (sound, picture):
        if stream is not None:
            out.mux(stream.encode(None))


def _packed(duration_s: float, rate_hz: int, channels: int, segment_s: float, seed: int) -> Coded:
    frames = adts_frames(tones(duration_s, rate_hz, channels, seed), rate_hz)
    per_segment = round(segment_s * rate_hz / FRAME_SAMPLES)
    groups = [frames[i : i + per_segment] for i in range(0, len(frames), per_segment)]
    begins = np.cumsum([0, *map(len, groups)])
    segments = tuple(id3_timestamp(int(b) * FRAME_SAMPLES * 90_000 // rate_hz) + b"".join(g) for b, g in zip(begins, groups, strict=False))
    return Coded("aac", b"", segments, tuple(len(g) * FRAME_SAMPLES / rate_hz for g in groups), rate_hz)


def adts_frames(samples: Float32, rate_hz: int) -> list[bytes]:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="adts") as out:
        _encode(out, samples, samples.shape[1] / rate_hz, "aac", rate_hz, video=False)
    data, frames = buffer.getvalue(), []
    while data:
        size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
        frames.append(data[:size])
        data = data[size:]
    return frames


def id3_timestamp(pts: int) -> bytes:
    """The tag in front of packed audio (RFC 8216, section 3.4)."""
    body = b"com.apple.streaming.transportStreamTimestamp\x00" + pts.to_bytes(8)
    frame = b"PRIV" + len(body).to_bytes(4) + b"\x00\x00" + body
    return b"ID3\x04\x00\x00" + bytes([0, 0, len(frame) >> 7 & 0x7F, len(frame) & 0x7F]) + frame


def audio_file(*, container: str = "wav", codec: str = "pcm_s16le", duration_s: float = 3.0, rate_hz: int = 44_100, channels: int = 2,
               tags: dict[str, str] | None = None, video: bool = False, audio: bool = True, seed: int = 1) -> bytes:  # fmt: skip
    """A whole file, as somebody would put it into a catalogue folder."""
    said = tuple((tags or {}).items())
    return _audio_file(
        container=container, codec=codec, duration_s=duration_s, rate_hz=rate_hz, channels=channels, tags=said, video=video, audio=audio, seed=seed
    )


@functools.lru_cache(maxsize=32)
def _audio_file(*, container: str, codec: str, duration_s: float, rate_hz: int, channels: int,
                tags: tuple[tuple[str, str], ...], video: bool, audio: bool, seed: int) -> bytes:  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        with av.open(str(path), "w", format=container) as out:
            out.metadata.update(dict(tags))
            samples = tones(duration_s, rate_hz, channels, seed) if audio else None
            if samples is not None and not codec.startswith("pcm") and codec not in {"flac", "libopus"}:
                _encode(out, samples, duration_s, codec, rate_hz, video=video)
            elif samples is not None:
                _encode_packed_format(out, samples, codec, rate_hz)
            else:
                _encode(out, None, duration_s, codec, rate_hz, video=video)
        return path.read_bytes()


def _encode_packed_format(out: Any, samples: Float32, codec: str, rate_hz: int) -> None:
    sound = out.add_stream(codec, rate=rate_hz)
    sound.layout = "stereo" if len(samples) == 2 else "mono"
    whole = (np.clip(samples, -1, 1) * 32_767).astype(np.int16)
    for begin in range(0, whole.shape[1], 960):
        piece = np.ascontiguousarray(whole[:, begin : begin + 960].T).reshape(1, -1)
        frame = AudioFrame.from_ndarray(piece, format="s16", layout=sound.layout.name)
        frame.sample_rate, frame.pts = rate_hz, begin
        out.mux(sound.encode(frame))
    out.mux(sound.encode(None))


def shift_pts(segment: bytes, ticks: int) -> bytes:
    """A TS segment with the presentation times of its audio moved, modulo 2^33 (packets are 188 bytes)."""
    data = bytearray(segment)
    for at in range(0, len(data), 188):
        start = at + (5 + data[at + 4] if data[at + 3] & 0x20 else 4)
        if not data[at + 1] & 0x40 or data[start : start + 3] != b"\x00\x00\x01" or not data[start + 7] & 0x80:
            continue
        stamp = data[start + 9 : start + 14]
        pts = ((stamp[0] >> 1) & 7) << 30 | (int.from_bytes(stamp[1:3]) >> 1) << 15 | int.from_bytes(stamp[3:5]) >> 1
        pts = (pts + ticks) % (1 << 33)
        data[start + 9] = stamp[0] & 0xF1 | (pts >> 30) << 1
        data[start + 10 : start + 12] = ((pts >> 15 & 0x7FFF) << 1 | 1).to_bytes(2)
        data[start + 12 : start + 14] = ((pts & 0x7FFF) << 1 | 1).to_bytes(2)
    return bytes(data)
