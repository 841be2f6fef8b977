"""How much memory live streams take, in a process of its own: what others left behind would be taken for theirs.

    python -m session_memory STREAMS      prints bytes: a stream's, and what as many again take after these have ended

Each stream has its session on its thread, a live playlist, stereo AAC in transport stream segments that are fetched anew
for each, decoder, fingerprint, matching and an open play. There are no sockets, and no database.
"""

import os
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from audio_media import coded, tones
from earmark.audio.decode import Fifos, StreamDecoder
from earmark.audio.fetch import Reply
from earmark.audio.hls import HlsSource
from earmark.compute import Compute
from earmark.fingerprint.window import Scratch
from earmark.hearing import Hearing
from earmark.model import Checkpoint, GapReason, Play
from earmark.process import share_one_heap
from earmark.session import Session, Signals, Stop
from earmark.settings import SessionSettings, Settings
from earmark.telemetry import configure_logging
from hearing_sounds import at_8_khz, catalogue

#: Of which a session hears all when it begins; afterwards nothing more is listed, and it waits.
_MEDIA_S: Final = 16.0
_WARM_STREAMS: Final = 8
_PATIENCE_S: Final = 120.0


class Origin:
    """A live playlist that stands still; each answer's body is its own."""

    def __init__(self) -> None:
        media = coded(duration_s=_MEDIA_S)
        self._segments = media.segments
        lines = [line for number, seconds in enumerate(media.durations_s) for line in (f"#EXTINF:{seconds:.6f},", f"{number}.ts")]
        self._playlist = "\n".join(["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:0", *lines]).encode()

    def get(self, url: str, *, bytes_max: int, named_host: str = "", headers: Mapping[str, str] | None = None, once: bool = False) -> Reply:
        assert bytes_max and named_host
        if headers and "If-None-Match" in headers:
            return Reply(304, b"", {"etag": "same"}, url)
        name = url.rpartition("/")[2]
        body = self._playlist if name.endswith("m3u8") else bytes(memoryview(self._segments[int(name.removesuffix(".ts"))]))
        return Reply(200, body, {"etag": "same"} if name.endswith("m3u8") else {}, url)


class Counts:
    """Stands for the metrics and for the record."""

    def __init__(self) -> None:
        self._heard_s, self._plays = 0.0, set[str]()
        self._more = threading.Condition()

    def heard(self, *, media_s: float, lag_s: float | None, clock_lag_s: float | None) -> None:
        del lag_s, clock_lag_s
        with self._more:
            self._heard_s += media_s
            self._more.notify_all()

    def commit(self, checkpoint: Checkpoint, changed: Sequence[Play]) -> None:
        del checkpoint
        with self._more:
            self._plays |= {play.hit_id for play in changed}
            self._more.notify_all()

    def note(self, checkpoint: Checkpoint) -> float:
        return checkpoint.position_s

    def missed(self, *, media_s: float, reason: GapReason) -> None:
        raise AssertionError(f"{media_s} s are missing: {reason}")

    def told(self, play: Play, *, latency_s: float) -> None: ...
    def music(self, *, media_s: float, identified: bool) -> None: ...

    def wait(self, *, streams: int, heard_s: float) -> None:
        """Until all were heard, and a play was told on each."""
        with self._more:
            done = self._more.wait_for(lambda: self._heard_s >= heard_s and len(self._plays) == streams, _PATIENCE_S)
            assert done, f"{self._heard_s:.0f} of {heard_s:.0f} s were heard, with {len(self._plays)} of {streams} plays"


class Streams:
    """All that sessions share, and the sessions."""

    def __init__(self) -> None:
        # What the playlist lists has been heard before the end is told.
        self._settings = Settings(session=SessionSettings(end_grace_s=0.1))
        self._origin, self._counts = Origin(), Counts()
        self._index = catalogue(tones=at_8_khz(tones(_MEDIA_S)[0], 48_000))
        self._compute = Compute().start()
        self._scratch, self._fifos = Scratch(), Fifos()
        self._started, self._running = 0, list[tuple[threading.Thread, Signals]]()

    def start(self, count: int) -> None:
        """And wait until they have heard everything."""
        for number in range(self._started, self._started + count):
            signals = Signals()
            thread = threading.Thread(target=self._listen, args=(f"stream-{number}", signals), daemon=True)
            self._running.append((thread, signals))
            thread.start()
        self._started += count
        # The last milliseconds are still in the decoder and the resampler.
        self._counts.wait(streams=self._started, heard_s=(_MEDIA_S - 1) * self._started)

    def end(self) -> None:
        for _, signals in self._running:
            signals.request(Stop.END)
        for thread, _ in self._running:
            thread.join()
        self._running.clear()

    def close(self) -> None:
        self.end()
        self._compute.close()

    def _listen(self, stream_id: str, signals: Signals) -> None:
        settings = self._settings
        source = HlsSource(
            url_provider=lambda: f"http://origin/{stream_id}/media.m3u8",
            http=self._origin,
            signals=signals,
            settings=settings.hls,
            session=settings.session,
            operator_named=True,
        )
        size = self._index.size()
        hearing = Hearing(params=settings.matching.params(), size=size, stream_id=stream_id, source="hls", scratch=self._scratch)
        session = Session(
            checkpoint=Checkpoint(),
            source=source,
            decoder=StreamDecoder(segment_s_max=settings.hls.segment_s_max, fifos=self._fifos),
            hearing=hearing,
            catalogue=self._index,
            recorder=self._counts,
            compute=self._compute,
            signals=signals,
            meter=self._counts,
            now=lambda: datetime.now(UTC),
            buffer_s=settings.session.buffer_s,
        )
        session.run()


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123 -- as small as can be: it is measured
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(count: int) -> None:
    share_one_heap()
    configure_logging(level="warning", style="json")
    streams = Streams()
    streams.start(_WARM_STREAMS)  # what is made once is there now
    before = resident_bytes()
    streams.start(count)
    listening = resident_bytes()
    streams.end()
    streams.start(_WARM_STREAMS + count)
    print((listening - before) // count, resident_bytes() - listening, flush=True)  # noqa: T201 -- this is how it is told
    streams.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
