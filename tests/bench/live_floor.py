"""The least that listening can cost: fetch, decode, resample, at live pace, with the daemon's own parts, and nothing else.

    python -m bench.live_floor PORT ORIGIN.json STREAMS SECONDS       prints a line of JSON

One thread takes stream after stream as their segments become complete: it reads the playlist, fetches the newest segment,
decodes it to 8 kHz mono and drops it. No session, no fingerprint, no catalogue, no record.
"""

import heapq
import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bench.live_window import Cut, Stream
from earmark.audio.decode import Fifos, StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.model import RATE_HZ, Segment
from earmark.settings import Hls

#: Segments are asked for so much after they are complete.
_AFTER_S: Final = 0.05
_WARM_S: Final = 6.0
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)


class _Listener:
    """One stream's."""

    def __init__(self, stream: Stream, address: str, http: Http, fifos: Fifos, *, fragmented: bool) -> None:
        self.stream, self.sequence = stream, stream.complete(time.time())
        self._http, self._url, self._fragmented = http, f"http://{address}/{stream.name}", fragmented
        self._decoder = StreamDecoder(segment_s_max=60, fifos=fifos)
        self._init = self._get("init.mp4") if fragmented else b""
        self._etag = ""

    @property
    def due_at(self) -> float:
        return self.stream.begins_at(self.sequence + 1) + _AFTER_S

    def listen(self) -> float:
        """Seconds heard."""
        reply = self._http.get(f"{self._url}/media.m3u8", bytes_max=100_000, headers={"If-None-Match": self._etag} if self._etag else {})
        self._etag = reply.headers["etag"]
        newest = reply.body.rstrip().rpartition(b"\n")[2].decode()
        segment = Segment(
            data=self._get(newest),
            init=self._init,
            container="mp4" if self._fragmented else "mpegts",
            duration_s=2.0,
            discontinuity=self.stream.is_break(self.sequence),
            fetched_at=_EPOCH,
        )
        self.sequence += 1
        return sum(len(chunk.samples) for chunk in self._decoder.push(segment)) / RATE_HZ

    def _get(self, name: str) -> bytes:
        return self._http.get(f"{self._url}/{name}", bytes_max=10_000_000).body


def listeners(origin: Path, port: int, streams: int) -> Iterator[_Listener]:
    said = json.loads(origin.read_text(encoding="utf-8"))
    settings = Hls(allow_private=(f"127.0.0.1:{port}",))
    http, fifos = Http(settings=settings, guard=Guard(settings=settings), streams_max=streams), Fifos()
    cuts = [Cut(at_s=programme["at_s"]) for programme in said["programmes"]]
    for number in range(streams):
        stream = Stream.of(number, cuts, said["epoch"])
        yield _Listener(stream, f"127.0.0.1:{port}", http, fifos, fragmented=said["programmes"][stream.programme]["suffix"] == ".m4s")


def main(port: int, origin: Path, streams: int, seconds: float) -> None:
    heap = [(one.due_at, number, one) for number, one in enumerate(listeners(origin, port, streams))]
    heapq.heapify(heap)
    begin, heard_s, cpu_s, wall_s = time.time() + _WARM_S, 0.0, time.process_time(), 0.0
    warm = False
    while heap[0][0] < begin + seconds:
        due_at, number, one = heap[0]
        if not warm and due_at >= begin:
            warm, heard_s, cpu_s, wall_s = True, 0.0, time.process_time(), time.time()
        time.sleep(max(0.0, due_at - time.time()))
        heard_s += one.listen()
        heapq.heapreplace(heap, (one.due_at, number, one))
    cpu_s, wall_s = time.process_time() - cpu_s, time.time() - wall_s
    print(json.dumps({"streams": streams, "heard_s": heard_s, "cpu_s": cpu_s, "wall_s": wall_s}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
