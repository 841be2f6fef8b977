"""The origin that live streams are measured with, as the process that it is: real AAC over HTTP, heard by the daemon's own parts."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import urllib3

from bench.live_floor import listeners
from bench.live_machine import TESTS
from bench.live_media import MIXED, Programme, Rendition, encode
from bench.live_origin import described
from bench.live_programme import Part
from bench.live_window import Cut, Stream
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.hls import HlsSource
from earmark.local import music
from earmark.model import Segment
from earmark.session import Signals
from earmark.settings import Hls, SessionSettings

SECONDS = 19
#: Mono, fMP4, and with a picture.
KINDS = {rendition.name: rendition for rendition in MIXED if rendition.layout == "mono" or rendition.fragmented or rendition.picture}


def programme(folder: Path, number: int, rendition: Rendition) -> Programme:
    samples = np.sin(2 * np.pi * 440 * np.arange(SECONDS * music.RATE_HZ) / music.RATE_HZ).astype(np.float32) / 4
    header, segments, seconds = encode(samples, rendition)
    media = folder / f"{number}.media"
    media.write_bytes(b"".join([header, *segments]))
    offsets = np.cumsum([len(header), *map(len, segments)]).tolist()
    cut = Cut(at_s=tuple(np.cumsum([0.0, *seconds]).round(6).tolist()))
    return Programme(
        media=media,
        offsets=tuple(offsets),
        cut=cut,
        attributes=rendition.attributes,
        suffix=rendition.suffix,
        parts=(Part(kind="talk", begin_s=0, end_s=SECONDS),),
    )


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Its port, and what it was told: a programme in each of the renditions."""
    folder = tmp_path_factory.mktemp("origin")
    told = folder / "origin.json"
    told.write_text(described([programme(folder, number, rendition) for number, rendition in enumerate(KINDS.values())], time.time()))
    command = [sys.executable, "-m", "bench.live_origin", str(told)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), told
        process.communicate()
    assert process.returncode == 0


def stream(origin: tuple[int, Path], number: int) -> Stream:
    said = json.loads(origin[1].read_text())
    return Stream.of(number, [Cut(at_s=one["at_s"]) for one in said["programmes"]], said["epoch"])


def test_connections_stay_open_and_what_is_known_is_not_sent_again(origin: tuple[int, Path]) -> None:
    with urllib3.HTTPConnectionPool("127.0.0.1", origin[0], maxsize=1, retries=False, timeout=10) as pool:
        answers = [pool.request("GET", "/c2/media.m3u8") for _ in range(2)]
        etag = answers[-1].headers["ETag"]
        again = [pool.request("GET", "/c2/media.m3u8", headers={"If-None-Match": etag}).status for _ in range(3)]
        assert 304 in again  # a new segment may have come in between
        assert pool.request("GET", "/nothing").status == 404
        assert pool.num_connections == 1
        assert pool.request("GET", "/figures").json()["asked"]["not modified"] >= 1


@pytest.mark.parametrize("number", range(len(KINDS)), ids=list(KINDS))
def test_the_daemons_own_source_follows_every_rendition(origin: tuple[int, Path], number: int) -> None:
    """What is listed already, and one segment that comes while it waits."""
    settings, signals, got = Hls(allow_private=(f"127.0.0.1:{origin[0]}",)), Signals(), list[Segment]()
    http = Http(settings=settings, guard=Guard(settings=settings))
    url = f"http://127.0.0.1:{origin[0]}/c{number}/master.m3u8"
    source = HlsSource(url_provider=lambda: url, http=http, signals=signals, settings=settings, session=SessionSettings())
    for piece in source.pieces():
        assert isinstance(piece, Segment)
        got.append(piece)
        if len(got) == 7:
            break
    http.close()
    assert got[0].container == ("mp4" if KINDS[list(KINDS)[number]].fragmented else "mpegts")
    one = stream(origin, number)
    last = got[-1]
    assert last.clock is not None
    assert (last.fetched_at.timestamp() - last.clock.timestamp() - last.duration_s) >= -0.01
    for earlier, later in pairwise(got):
        assert earlier.clock is not None
        assert later.clock is not None
        assert (later.clock - earlier.clock).total_seconds() == pytest.approx(earlier.duration_s, abs=0.002)
    assert any(last.clock.timestamp() == pytest.approx(one.begins_at(n), abs=0.002) for n in range(60))


def test_the_floor_hears_every_rendition(origin: tuple[int, Path]) -> None:
    over = threading.Event()
    for one in listeners(origin[1], origin[0], len(KINDS)):
        over.wait(max(0.0, one.due_at - time.time()))
        # Two seconds, or what is left at the programme's end; a little less, as a signal and a filter begin.
        assert 0.85 < one.listen() < 2.1
