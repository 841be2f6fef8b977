"""A live HLS origin on this machine: what was rendered beforehand is served as if it were happening now.

FFmpeg's own segmenter cuts one continuous encoding, so that decoded joins are as seamless as a real packager's. Two
renditions make choosing real: one of audio alone, one with a very small picture. A segment exists for clients from the
moment its last sample would have been recorded; the playlist is a window over the newest (RFC 8216, section 6.2.2).
"""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import m3u8
import numpy as np

from earmark.errors import EarmarkError
from earmark.local.addresses import LOOPBACK, Address
from earmark.model import Float32

SEGMENT_S = 2
WINDOW_SEGMENTS = 6
_PICTURE = (160, 90)
_PICTURES_PER_S = 10


@dataclass(frozen=True, kw_only=True)
class _Rendition:
    attributes: str
    folder: Path
    names: tuple[str, ...]
    #: Stream time at which each segment begins, and the end of the last: one more than there are segments.
    at_s: tuple[float, ...]


#: What goes on air, encoded, by the names of its renditions.
Encoded = Mapping[str, _Rendition]


@dataclass(frozen=True, kw_only=True)
class Broadcast:
    """Something on air."""

    url: str
    #: Unix time of its first sample.
    begin: float
    duration_s: float
    #: Unix time from which there is a playlist.
    on_air: float


class Origin:
    """The server, as a context. `publish` puts something on air."""

    def __init__(self, *, now: Callable[[], float] = time.time, listen: Address = LOOPBACK, known_as: str = "") -> None:
        """`known_as`: host:port by which clients know it, if not as it listens. Raises EarmarkError when it cannot listen there."""
        self._now = now
        self._folder = Path()
        self._renditions: dict[str, Encoded] = {}
        self._begins: dict[str, float] = {}
        try:  # listens from now on, and answers once entered
            self._server = ThreadingHTTPServer((listen.host, listen.port), type("Handler", (_Handler,), {"origin": self}))
        except OSError as error:
            raise EarmarkError(f"the HLS origin cannot listen on {listen}: {error.strerror or error}; name another address, or end what has it") from None
        #: host:port, as `hls.allow_private` wants it.
        self.address = known_as or listen.reached_at(self._server.server_port)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="earmark-origin-"))
        threading.Thread(target=self._server.serve_forever, name="origin", kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def publish(self, name: str, samples: Float32, *, rate_hz: int, begin: float | None = None) -> Broadcast:
        """Put `samples` (mono float32) on air under `name`, from `begin` (Unix time), or from when they are encoded."""
        return self.put_on_air(name, self.encoded(name, samples, rate_hz=rate_hz), begin=begin)

    def encoded(self, name: str, samples: Float32, *, rate_hz: int) -> Encoded:
        """What `put_on_air` takes, as often as is wanted."""
        pictures = {"audio": False, "160p": True}
        return {rendition: _encode(self._folder / name / rendition, samples, rate_hz, picture=picture) for rendition, picture in pictures.items()}

    def put_on_air(self, name: str, encoded: Encoded, *, begin: float | None = None) -> Broadcast:
        """Under `name`, in place of what was last there; from `begin` (Unix time), or from now on."""
        begin = self._now() if begin is None else begin
        self._begins[name], self._renditions[name] = begin, encoded
        first_s = max(rendition.at_s[1] for rendition in encoded.values())
        duration_s = max(rendition.at_s[-1] for rendition in encoded.values())
        return Broadcast(url=f"http://{self.address}/{name}/master.m3u8", begin=begin, duration_s=duration_s, on_air=begin + first_s)

    def answer(self, path: str) -> tuple[str, bytes] | None:
        """Content type and body of a path, as of now; None: there is no such thing (yet, or any more)."""
        if path == "/":
            there = [name for name, encoded in list(self._renditions.items()) if all(self._listed(name, rendition) for rendition in encoded.values())]
            return ("text/plain", "".join(f"/{name}/master.m3u8\n" for name in there).encode()) if there else None
        name, _, rest = path.lstrip("/").partition("/")
        renditions = self._renditions.get(name, {})
        if rest == "master.m3u8" and all(self._listed(name, rendition) for rendition in renditions.values()) and renditions:
            return "application/vnd.apple.mpegurl", _master(renditions).encode()
        which, _, file = rest.partition("/")
        rendition = renditions.get(which)
        if rendition is None:
            return None
        listed = self._listed(name, rendition)
        if file == "media.m3u8" and listed:
            return "application/vnd.apple.mpegurl", self._media(name, rendition, listed).encode()
        # As packagers do, a little longer than they are listed: clients may be slow.
        kept = range(max(0, listed.start - WINDOW_SEGMENTS), listed.stop)
        if file in [rendition.names[number] for number in kept]:
            return "video/mp2t", (rendition.folder / file).read_bytes()
        return None

    def _listed(self, name: str, rendition: _Rendition) -> range:
        """Numbers of the segments in the window."""
        elapsed_s = self._now() - self._begins[name]
        complete = sum(end_s <= elapsed_s + 1e-3 for end_s in rendition.at_s[1:])
        return range(max(0, complete - WINDOW_SEGMENTS), complete)

    def _media(self, name: str, rendition: _Rendition, listed: range) -> str:
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{SEGMENT_S}", f"#EXT-X-MEDIA-SEQUENCE:{listed.start}"]
        for number in listed:
            begin_s, end_s = rendition.at_s[number : number + 2]
            clock = datetime.fromtimestamp(self._begins[name] + begin_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            lines += [f"#EXT-X-PROGRAM-DATE-TIME:{clock}", f"#EXTINF:{end_s - begin_s:.6f},", rendition.names[number]]
        if listed.stop == len(rendition.names):
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    origin: Origin

    def do_GET(self) -> None:
        found = self.origin.answer(self.path.partition("?")[0])
        content_type, body = found or ("text/plain", b"there is no such thing here, or not yet, or not any more\n")
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        with suppress(ConnectionError):  # who asked may have gone
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, _format: str, *_args: object) -> None:
        """Requests are no news."""


def _master(renditions: Encoded) -> str:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3"]
    for name, rendition in renditions.items():
        lines += [f"#EXT-X-STREAM-INF:{rendition.attributes}", f"{name}/media.m3u8"]
    return "\n".join(lines) + "\n"


def _encode(folder: Path, samples: Float32, rate_hz: int, *, picture: bool) -> _Rendition:
    folder.mkdir(parents=True)
    options = {"hls_time": str(SEGMENT_S), "hls_list_size": "0", "hls_segment_filename": str(folder / "%05d.ts"), "hls_playlist_type": "vod"}
    with av.open(str(folder / "all.m3u8"), "w", format="hls", options=options) as container:
        video = None
        if picture:
            video = container.add_stream("libx264", rate=_PICTURES_PER_S, options={"preset": "ultrafast", "tune": "zerolatency", "crf": "40"})
            video.width, video.height = _PICTURE
            video.pix_fmt = "yuv420p"
            video.codec_context.gop_size = _PICTURES_PER_S * SEGMENT_S
        audio = container.add_stream("aac", rate=rate_hz, layout="mono", options={"b": "64000"})
        blocks = range(0, len(samples), rate_hz // _PICTURES_PER_S)
        for number, begin in enumerate(blocks):
            if video is not None:
                container.mux(video.encode(_still(number, len(blocks))))
            block = np.ascontiguousarray(samples[begin : begin + blocks.step], np.float32)
            frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), begin
            container.mux(audio.encode(frame))
        for stream in (audio, video):
            if stream is not None:
                container.mux(stream.encode(None))
    listed = m3u8.loads((folder / "all.m3u8").read_text(encoding="utf-8")).segments
    at_s = tuple(accumulate((float(segment.duration) for segment in listed), initial=0.0))
    names = tuple(str(segment.uri) for segment in listed)
    bandwidth = max(8 * (folder / name).stat().st_size / (end_s - begin_s) for name, (begin_s, end_s) in zip(names, pairwise(at_s), strict=True))
    codecs = 'CODECS="avc1.42c00b,mp4a.40.2",RESOLUTION=160x90' if picture else 'CODECS="mp4a.40.2"'
    return _Rendition(attributes=f"BANDWIDTH={bandwidth:.0f},{codecs}", folder=folder, names=names, at_s=at_s)


def _still(number: int, total: int) -> av.VideoFrame:
    """A bar that grows with time: enough to see that it moves."""
    width, height = _PICTURE
    pixels = np.full((height, width, 3), 40, np.uint8)
    pixels[height // 2 :, : max(1, width * number // total)] = (200, 120, 60)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
    frame.pts, frame.time_base = number, Fraction(1, _PICTURES_PER_S)
    return frame
