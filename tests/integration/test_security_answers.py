"""Answers that are larger inside than outside, or say what is not so: each an error in one sentence, and never more than the limit in memory."""

import gzip
import tracemalloc
import zlib

import pytest

from audio_origin import Answer, Origin, settings
from earmark.audio.fetch import MEMBERS_MAX, Http, Reply
from earmark.audio.guard import Guard
from earmark.errors import SourceUnavailable, SourceUnsupported
from fuzz_parsers import _Server

PLAYLIST = b"#EXTM3U\n#EXTINF:2,\n1.ts\n" * 10
LIMIT = 10_000


def asked(origin: Origin, answer: Answer) -> Reply:
    origin.routes["/a"] = answer
    configured = settings(origin)
    return Http(settings=configured, guard=Guard(settings=configured)).get(origin.url("/a"), bytes_max=LIMIT)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip ", "x-gzip", "deflate", "Deflate"])
def test_what_is_compressed_is_read_whatever_the_case(origin: Origin, encoding: str) -> None:
    body = zlib.compress(PLAYLIST) if "eflate" in encoding else gzip.compress(PLAYLIST)
    assert asked(origin, Answer(body, headers={"Content-Encoding": encoding})).body == PLAYLIST


@pytest.mark.parametrize("encoding", ["", "identity", "Identity"])
def test_what_is_not_compressed_is_left_as_it_is(origin: Origin, encoding: str) -> None:
    assert asked(origin, Answer(PLAYLIST, headers={"Content-Encoding": encoding})).body == PLAYLIST


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "gzip,br", "aws-chunked", "x" * 500])
def test_an_encoding_that_is_not_read_is_named(origin: Origin, encoding: str) -> None:
    with pytest.raises(SourceUnsupported, match=r"answers in the encoding '[^']{2,20}', which is neither asked for nor read"):
        asked(origin, Answer(PLAYLIST, headers={"Content-Encoding": encoding}))


def test_half_of_a_compressed_playlist_is_none(origin: Origin) -> None:
    """It passed for the whole of one, that lists fewer segments."""
    body = gzip.compress(PLAYLIST * 20)
    for cut in (10, len(body) // 2, len(body) - 1):
        with pytest.raises(SourceUnavailable, match="broke off its answer"):
            asked(origin, Answer(body[:cut], headers={"Content-Encoding": "gzip"}))


def test_parts_of_a_compressed_answer_belong_together(origin: Origin) -> None:
    """RFC 1952: one after the other; but not without end, as each costs as much as all that follow."""
    parts = [gzip.compress(PLAYLIST) for _ in range(MEMBERS_MAX)]
    assert asked(origin, Answer(b"".join(parts), headers={"Content-Encoding": "gzip"})).body == PLAYLIST * MEMBERS_MAX
    with pytest.raises(SourceUnavailable, match="broke off its answer"):
        asked(origin, Answer(b"".join([*parts, gzip.compress(b"")]), headers={"Content-Encoding": "gzip"}))


@pytest.mark.parametrize("factor", [2, 1_000, 100_000])
def test_a_bomb_is_not_unpacked(origin: Origin, factor: int) -> None:
    """A gigabyte in a megabyte is known by the first byte beyond the limit."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packer.compress(b"\0" * LIMIT) for _ in range(factor)) + packer.flush()
    answer = Answer(body[:LIMIT] if factor > 1_000 else body, headers={"Content-Encoding": "gzip"})
    tracemalloc.start()
    try:
        with pytest.raises(SourceUnsupported, match="sends more than the 10,000 bytes"):
            asked(origin, answer)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_bomb_inside_a_bomb_is_two_encodings_and_refused_as_such(origin: Origin) -> None:
    with pytest.raises(SourceUnsupported, match="neither asked for nor read"):
        asked(origin, Answer(gzip.compress(gzip.compress(b"\0" * 1_000_000)), headers={"Content-Encoding": "gzip, gzip"}))


@pytest.mark.parametrize(
    "head, error",
    [
        (b"Content-Length: " + b"9" * 5_000, SourceUnavailable),  # more digits than Python converts
        (b"Content-Length: \xb2", SourceUnavailable),  # a digit to `str.isdigit`, and no number
        (b"Content-Length: -5", None),
        (b"Content-Length: 5, 7", SourceUnavailable),
        (b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello", SourceUnavailable),  # http.client reads less than no bytes
        (b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 5_000 + b"\r\n", SourceUnavailable),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", SourceUnavailable),
        (b"X: y\r\n" * 200 + b"Z: z", SourceUnavailable),
        (b"X: " + b"y" * 70_000, SourceUnavailable),
        (b"\0: x", None),
        (b"Location: http://[\r\n", None),
    ],
)
def test_headers_that_lie_were_tracebacks(head: bytes, error: type[Exception] | None) -> None:
    server = _Server()
    server.start()
    server.answer = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nhello"
    configured = settings(allow_private=[server.host], read_timeout_s=2, deadline_s=4)
    client = Http(settings=configured, guard=Guard(settings=configured, resolve=lambda host, _port: [host]))
    try:
        reply = client.get(f"http://{server.host}/", bytes_max=LIMIT)
    except (SourceUnavailable, SourceUnsupported) as refused:
        kind, told = type(refused), str(refused)
        assert told.isprintable()
        assert error in (None, kind)
    else:
        assert reply.body in (b"hello", b"") or error is None
    finally:
        client.close()
        server.close()
