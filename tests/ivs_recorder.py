"""Records as Amazon IVS does: segments, playlists that follow them, documents; at once, or as a stream is on.

The layout is that of the IVS user guide ("Auto-Record to Amazon S3"); segments, numbers and time stamps are as real recordings have
them: `0.ts`, `1.ts`, ... `10.ts`, a wall clock for each in the playlist, an end list once it is over.
"""

import json
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import av
import m3u8
import numpy as np

from earmark.local import music
from earmark.local.aws import ACCOUNT
from earmark.model import Float32

BUCKET = "recordings"
RENDITIONS = ("360p30",)


@dataclass(frozen=True)
class Encoded:
    segments: tuple[bytes, ...]
    durations_s: tuple[float, ...]


def encoded(samples: Float32, *, segment_s: float, rate_hz: int = music.RATE_HZ) -> Encoded:
    """TS segments cut out of one continuous AAC encoding."""
    with tempfile.TemporaryDirectory() as folder:
        options = {"hls_time": str(segment_s), "hls_list_size": "0", "hls_segment_filename": f"{folder}/%d.ts", "hls_playlist_type": "vod"}
        with av.open(f"{folder}/list.m3u8", "w", format="hls", options=options) as out:
            stream = out.add_stream("aac", rate=48_000, layout="mono", options={"b": "64000"})
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None, :]), format="fltp", layout="mono")
            frame.sample_rate = rate_hz
            for resampled in av.AudioResampler(format="fltp", layout="mono", rate=48_000, frame_size=1024).resample(frame):
                out.mux(stream.encode(resampled))
            out.mux(stream.encode(None))
        listed = m3u8.loads(Path(folder, "list.m3u8").read_text()).segments
        return Encoded(tuple(Path(folder, str(s.uri)).read_bytes() for s in listed), tuple(float(s.duration) for s in listed))


@dataclass
class Recorder:
    """One recording. `began`: of its first sample."""

    s3: Any
    channel_arn: str
    began: datetime
    media: Encoded
    recording_id: str = "j8Z9O91ndcVs"
    bucket: str = BUCKET
    renditions: tuple[str, ...] = RENDITIONS
    #: Numbers of segments that are never written.
    lacking: frozenset[int] = frozenset()
    #: Whether playlists say when each segment was.
    dated: bool = True
    landed: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def prefix(self) -> str:
        at = self.began.astimezone(UTC)
        channel_id = self.channel_arn.rpartition("/")[2]
        return f"ivs/v1/{ACCOUNT}/{channel_id}/{at.year}/{at.month}/{at.day}/{at.hour}/{at.minute}/{self.recording_id}"

    @property
    def place(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def duration_s(self) -> float:
        return sum(self.media.durations_s)

    def put(self, name: str, body: bytes | str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{name}", Body=body.encode() if isinstance(body, str) else body)

    def begin(self) -> None:
        self.put("events/recording-started.json", self._document("RECORDING_STARTED"))

    def land(self, number: int) -> None:
        for rendition in self.renditions:
            if number not in self.lacking:
                self.put(f"media/hls/{rendition}/{number}.ts", self.media.segments[number])
        self.landed = number + 1

    def list(self, *, ended: bool = False) -> None:
        """The playlists, up to what has landed."""
        variants = "".join(f"#EXT-X-STREAM-INF:BANDWIDTH=600000,RESOLUTION=640x{name[:3]}\n{name}/playlist.m3u8\n" for name in self.renditions)
        self.put("media/hls/master.m3u8", "#EXTM3U\n#EXT-X-VERSION:3\n" + variants)
        lines, at = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:12", "#EXT-X-PLAYLIST-TYPE:EVENT", "#EXT-X-MEDIA-SEQUENCE:0"], self.began
        for number in range(self.landed):
            if self.dated:
                lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{at.astimezone(UTC).isoformat(timespec='milliseconds').replace('+00:00', 'Z')}")
            lines += [f"#EXTINF:{self.media.durations_s[number]:.3f},", f"{number}.ts"]
            at += timedelta(seconds=self.media.durations_s[number])
        for rendition in self.renditions:
            self.put(f"media/hls/{rendition}/playlist.m3u8", "\n".join([*lines, *(["#EXT-X-ENDLIST"] if ended else [])]) + "\n")

    def end(self, status: str = "ended") -> None:
        self.put(f"events/recording-{status}.json", self._document(f"RECORDING_{status.upper()}"))

    def whole(self) -> "Recorder":
        """All of it at once, as it lies there afterwards."""
        self.begin()
        for number in range(len(self.media.segments)):
            self.land(number)
        self.list(ended=True)
        self.end()
        return self

    def live(self, *, delay_s: float = 0.3) -> "Recorder":
        """On a thread: each segment lands so long after its last sample."""
        self._thread = threading.Thread(target=self._live, args=(delay_s,), daemon=True)
        self._thread.start()
        return self

    def join(self) -> None:
        if self._thread:
            self._thread.join(60)

    def stop(self) -> None:
        self._stop.set()
        self.join()

    def _live(self, delay_s: float) -> None:
        self.begin()
        at = self.began.timestamp()
        for number, duration_s in enumerate(self.media.durations_s):
            at += duration_s
            if self._stop.wait(max(0.0, at + delay_s - time.time())):
                return
            self.land(number)
        self.list(ended=True)
        self.end()

    def _document(self, status: str) -> str:
        renditions = [{"path": name, "playlist": "playlist.m3u8", "resolution_height": int(name[:3]), "resolution_width": 640} for name in self.renditions]
        media: dict[str, Any] = {"path": "media/hls", "playlist": "master.m3u8", "renditions": renditions}
        document: dict[str, Any] = {
            "version": "v1",
            "recording_started_at": f"{self.began.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "channel_arn": self.channel_arn,
            "recording_status": status,
            "media": {"hls": media, "thumbnails": {"path": "media/thumbnails"}},
        }
        if status != "RECORDING_STARTED":
            document["recording_ended_at"] = f"{self.began.astimezone(UTC) + timedelta(seconds=self.duration_s):%Y-%m-%dT%H:%M:%SZ}"
            media["duration_ms"] = round(1000 * self.duration_s)
        return json.dumps(document)


@cache
def silence_encoded(seconds: float, segment_s: float) -> Encoded:
    return encoded(np.zeros(round(seconds * music.RATE_HZ), np.float32), segment_s=segment_s)
