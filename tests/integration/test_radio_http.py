"""A radio station over real HTTP: heads as servers send them, words, chunks, redirects, playlist files, and what must not be heard."""

import time
from collections.abc import Callable, Iterator
from http.client import HTTPException

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audio_origin import Answer, Origin, session_settings, settings
from earmark.audio.decode import StreamDecoder
from earmark.audio.fetch import Http
from earmark.audio.guard import Guard
from earmark.audio.radio import RadioSource
from earmark.audio.station import Dechunker, found_at, tune
from earmark.errors import EarmarkError, SourceUnavailable, SourceUnsupported
from earmark.model import Segment
from earmark.session import Signals, Stop
from earmark.settings import Hls
from earmark.web.addresses import host_of
from radio_station import AAC_FRAME_S, MP3_FRAME_S, Air, Mount, RadioServer, aac, mp3


@pytest.fixture
def server() -> Iterator[RadioServer]:
    with RadioServer().running() as running:
        running.begin -= 10.0
        yield running


def limits(server: RadioServer, *origins: Origin, **changes: object) -> Hls:
    return settings(*origins, **{"read_timeout_s": 2.0, "deadline_s": 4.0, "allow_private": [server.host, *(origin.host for origin in origins)], **changes})


def listened(server: RadioServer, path: str, seconds: float, *, settings: Hls | None = None) -> tuple[list[Segment], RadioSource]:
    """For so many real seconds."""
    used, signals, url = settings or limits(server), Signals(), server.url(path)
    http = Http(settings=used, guard=Guard(settings=used))
    radio = RadioSource(tune=lambda: tune(url, http, named_host=host_of(url)), signals=signals, session=session_settings())
    pieces, ends = [], time.monotonic() + seconds
    for piece in radio.pieces():
        assert isinstance(piece, Segment)
        pieces.append(piece)
        if time.monotonic() >= ends:
            signals.request(Stop.END)
    return pieces, radio


MP3 = Air(frames=mp3(6.0), frame_s=MP3_FRAME_S, loops=True, titles=[(0.0, "Ada Sample - Blue")])
AAC = Air(frames=aac(6.0), frame_s=AAC_FRAME_S, loops=True)


@pytest.mark.parametrize(
    "mount, words",
    [
        (Mount(air=MP3, metaint=16_000), True),
        (
            Mount(air=MP3, metaint=1_000, status_line=b"ICY 200 OK", headers=(b"icy-notice1:<BR>This stream needs a player<BR>", b"icy-name:Radio Example")),
            True,
        ),
        (Mount(air=MP3, metaint=8_192, chunked=True, status_line=b"HTTP/1.1 200 OK"), True),
        (Mount(air=AAC, metaint=4_096, content_type="audio/aacp"), False),
        (Mount(air=MP3, content_type="application/octet-stream", headers=()), False),
        (Mount(air=MP3, head=b"HTTP/1.0 200 OK\r\n\r\n"), False),
        (Mount(air=MP3, head=b"HTTP/1.0 200 OK\r\nicy-metaint: 0\r\n\r\n"), False),
        (Mount(air=MP3, head=b"HTTP/1.0 200 OK\r\nicy-metaint: -16\r\n\r\n"), False),
        (Mount(air=MP3, head=b"HTTP/1.0 200 OK\r\nicy-metaint: 999999999\r\n\r\n"), False),
        (Mount(air=MP3, head=b"HTTP/1.0 200 OK\r\nicy-metaint: " + b"9" * 400 + b"\r\n\r\n"), False),
        (Mount(air=MP3, head=b"HTTP/1.0 200 OK\r\nContent-Length: 5000\r\nicy-name: it says anything\r\n\r\n"), False),
    ],
    ids=[
        "icecast",
        "shoutcast",
        "chunked",
        "aac",
        "untyped",
        "no fields",
        "metaint 0",
        "metaint negative",
        "metaint huge",
        "metaint of 400 digits",
        "with a length",
    ],
)
def test_a_station_is_heard_as_its_server_sends_it(server: RadioServer, mount: Mount, words: bool) -> None:
    mount.closes_after_s = 0.2
    server.mounts["/live"] = mount
    pieces, radio = listened(server, "/live", 0.1)
    assert pieces
    sound = b"".join(piece.data for piece in pieces)
    assert mount.air
    assert sound in b"".join(mount.air.frames) * 4  # not a byte of the words is in it
    assert radio.titles.now == ("Ada Sample - Blue" if words else "")
    assert "icy-metadata: 1" in server.asked[0].lower()
    decoder = StreamDecoder(segment_s_max=60)
    samples = np.concatenate([chunk.samples for piece in pieces for chunk in decoder.push(piece)])
    assert np.abs(samples).max() > 0.05
    assert decoder.fallbacks == 0


def test_a_fast_sender_waits_in_its_socket(server: RadioServer) -> None:
    """A hundred times the pace: what is taken is bounded by what plays, and the rest is the server's."""
    server.mounts["/fast"] = Mount(air=Air(frames=mp3(6.0), frame_s=MP3_FRAME_S, loops=True, burst_s=60.0), speed=100.0)
    pieces, radio = listened(server, "/fast", 1.5)
    assert 60.0 < sum(piece.duration_s for piece in pieces) < 105.0
    assert radio.fetched_bytes < 105 * 16_000 * 1.1


def test_a_redirect_and_a_playlist_file_lead_to_the_station(server: RadioServer, origin: Origin) -> None:
    server.mounts["/live"] = Mount(air=MP3)
    there = server.url("/live")
    for path, content_type, text in (
        ("/a.pls", "audio/x-scpls", f"[playlist]\r\nNumberOfEntries=1\r\nFile1={there}\r\nTitle1=Radio\r\n"),
        ("/b.m3u", "audio/x-mpegurl", f"#EXTM3U\n#EXTINF:-1,Radio\n{there}\n"),
        ("/c.pls", "text/plain", f"[playlist]\nfile1 = {there}\n"),
        ("/d", "audio/x-mpegurl", f"\ufeff{there}\n"),
    ):
        origin.routes[path] = Answer(text.encode(), headers={"Content-Type": content_type})
    origin.routes["/moved"] = Answer(status=302, headers={"Location": origin.url("/a.pls")})
    used = limits(server, origin)
    http = Http(settings=used, guard=Guard(settings=used))
    for path in ("/a.pls", "/b.m3u", "/c.pls", "/d", "/moved"):
        tuned = tune(origin.url(path), http, named_host=origin.host.partition(":")[0])
        assert tuned.station.name == "Radio Example"
        tuned.body.close()
        assert found_at(origin.url(path), http, settings=used, named_host=origin.host.partition(":")[0]) == "radio"


def _refused(server: RadioServer, url: str, *origins: Origin, **changes: object) -> EarmarkError:
    used = limits(server, *origins, **changes)
    with pytest.raises((SourceUnsupported, SourceUnavailable)) as told:
        tune(url, Http(settings=used, guard=Guard(settings=used)), named_host=host_of(url))
    return told.value


def test_where_a_station_leads_is_judged_as_everywhere(server: RadioServer, origin: Origin) -> None:
    origin.routes["/to-metadata"] = Answer(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data/"})
    origin.routes["/to-file.pls"] = Answer(b"[playlist]\nFile1=file:///etc/passwd\n", headers={"Content-Type": "audio/x-scpls"})
    origin.routes["/to-private.m3u"] = Answer(f"{server.url('/live')}\n".encode(), headers={"Content-Type": "audio/x-mpegurl"})
    origin.routes["/to-other.m3u"] = Answer(b"https://elsewhere.example/live\n", headers={"Content-Type": "audio/x-mpegurl"})
    origin.routes["/round.pls"] = Answer(f"[playlist]\nFile1={origin.url('/round.pls')}\n".encode(), headers={"Content-Type": "audio/x-scpls"})
    only = {"allow_private": [origin.host]}
    assert "metadata service: that is never fetched" in str(_refused(server, origin.url("/to-metadata"), origin, **only))
    assert "begins with file:" in str(_refused(server, origin.url("/to-file.pls"), origin, **only))
    assert "hls.allow_hosts" in str(_refused(server, origin.url("/to-other.m3u"), origin, **only))
    assert "name one another" in str(_refused(server, origin.url("/round.pls"), origin, **only))
    # Of the same host, but another port: by plain http only where the operator named that pair.
    assert "plain http" in str(_refused(server, origin.url("/to-private.m3u"), origin, **only))
    assert server.asked == []


HLS = b"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\na.ts\n"


@pytest.mark.parametrize(
    "answer, sentence",
    [
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "serves is text/html: of radio stations only MP3 and AAC (in ADTS) are heard"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: application/ogg\r\n\r\nOggS", "serves is application/ogg: of radio stations"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 4000000\r\n\r\n", "is 4,000,000 bytes long: that is a stored file"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\n\r\n" + HLS, "is an HLS playlist, and no radio station: its kind is hls"),
        (b"HTTP/1.0 200 OK\r\nContent-Type: audio/x-scpls\r\n\r\n[playlist]\n", "names no station"),
        (b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n", "of radio stations"),
        (b"ICY 401 Service Unavailable\r\n\r\n", "answered 401 for the station"),
        (b"HTTP/1.0 200 OK\r\n" + b"icy-notice: x\r\n" * 200, "broke off its answer"),
        (b"HTTP/1.0 200 OK\r\nicy-name: " + b"x" * 70_000, "broke off its answer"),
        (b"220 ProFTPD ready\r\n\r\n", "broke off its answer"),
        (b"", "broke off its answer"),
    ],
)
def test_what_is_no_station_is_refused_in_a_sentence(server: RadioServer, answer: bytes, sentence: str) -> None:
    server.mounts["/x"] = Mount(answer=answer)
    assert sentence in str(_refused(server, server.url("/x")))


def test_a_head_without_end_has_a_deadline(origin: Origin) -> None:
    origin.routes["/x"] = Answer(hangs=True)
    used = settings(origin)
    began = time.monotonic()
    with pytest.raises(SourceUnavailable, match="did not answer in time"):
        tune(origin.url("/x"), Http(settings=used, guard=Guard(settings=used)), named_host="127.0.0.1")
    assert time.monotonic() - began < 5.0


def test_what_is_at_an_address_is_found_out_by_looking(server: RadioServer, origin: Origin) -> None:
    server.mounts |= {"/mp3": Mount(air=MP3, metaint=500), "/untyped": Mount(air=AAC, head=b"ICY 200 OK\r\n\r\n")}
    origin.routes |= {
        "/live": Answer(HLS, headers={"Content-Type": "text/plain"}),
        "/page": Answer(b"<html>a player</html>", headers={"Content-Type": "text/html"}),
        "/empty": Answer(b""),
    }
    used = limits(server, origin)
    http = Http(settings=used, guard=Guard(settings=used))
    found: Callable[[str], str] = lambda url: found_at(url, http, settings=used, named_host="127.0.0.1")  # noqa: E731
    assert [found(server.url("/mp3")), found(server.url("/untyped")), found(origin.url("/live"))] == ["radio", "radio", "hls"]
    with pytest.raises(SourceUnsupported, match="neither an HLS playlist nor a radio station of MP3 or AAC: it begins with '<html>a player</html"):
        found(origin.url("/page"))
    with pytest.raises(SourceUnsupported, match="begins with ''"):
        found(origin.url("/empty"))
    with pytest.raises(SourceUnavailable, match="answered 404"):
        found(origin.url("/none"))


def test_a_station_that_breaks_off_is_joined_again_where_its_frames_are_the_same(server: RadioServer) -> None:
    server.mounts["/live"] = Mount(air=MP3, metaint=4_000, closes_after_s=0.7)
    pieces, radio = listened(server, "/live", 3.0)
    assert len(server.asked) >= 2
    assert b"".join(piece.data for piece in pieces) in b"".join(mp3(6.0)) * 4
    assert radio.titles.now == "Ada Sample - Blue"


@given(body=st.lists(st.binary(min_size=1, max_size=300), max_size=6), cuts=st.lists(st.integers(0, 5_000), max_size=10), extension=st.booleans())
def test_any_cutting_of_chunks_gives_the_same_body(body: list[bytes], cuts: list[int], extension: bool) -> None:
    sent = b"".join(b"%x%b\r\n%b\r\n" % (len(part), b";a=b" if extension else b"", part) for part in body) + b"0\r\n\r\n"
    edges = [0, *sorted(cut % (len(sent) + 1) for cut in cuts), len(sent)]
    apart = Dechunker()
    assert b"".join(apart.push(sent[begin:end]) for begin, end in zip(edges, edges[1:], strict=False)) == b"".join(body)  # noqa: RUF007
    assert apart.over


@pytest.mark.parametrize("sent", [b"zz\r\n", b"5\r\nabcdefgh\r\n", b"\r\n", b"x" * 2_000])
def test_broken_chunks_are_an_error(sent: bytes) -> None:
    with pytest.raises(HTTPException):
        Dechunker().push(sent)
