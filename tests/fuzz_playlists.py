"""Foreign playlists, addresses and answers of a web server."""

import gzip
import json
import random
import zlib
from typing import Final

from fuzz_bytes import NUMBERS, TEXTS, foreign_text, noise, spoilt

#: Between the playlists of one input, which are read one after the other as a live one is.
NEXT: Final = "\n\u241e\n"

_STAMPS: Final = (
    "2026-03-04T05:06:07.000Z", "2026-03-04T05:06:07+02:00", "2026-03-04T05:06:07", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-12:00",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-03-04", "soon", "2026-03-04T24:00:00Z",
)  # fmt: skip
_AMOUNTS: Final = ("2.000", "2", "0", "-1", "nan", "inf", "1e308", "1e-308", "1e12", "60.0", "86401", "2,5", "0x2", "", "9" * 400, "٣")
_ADDRESSES: Final = (
    "1.ts", "/a/2.ts", "https://x.live-video.net/3.ts?token=a", "http://127.0.0.1/", "//169.254.169.254/latest/", "file:///etc/passwd", "https://[::1]/",
    "https://[::", "data:,x", "", " ", "?", "#", "\\\\x\\y", "a" * 3_000, "../" * 500,
)  # fmt: skip


def playlists(rng: random.Random) -> bytes:
    """One multivariant playlist, or up to four readings of a media playlist."""
    if rng.random() < 0.3:
        text = _master(rng)
    else:
        first = rng.choice((0, 0, 7, 100, 10**19, *NUMBERS))
        count = rng.choice((1, 3, 6, 40, 600))
        texts = []
        for _ in range(rng.choice((1, 2, 4))):
            texts.append(_media(rng, first, count))
            first = max(0, first + rng.choice((0, 1, 2, 5, 1_000, -1, -50, 10**12)))
        text = NEXT.join(texts)
    body = text.encode(errors="surrogatepass")
    if rng.random() < 0.002:
        body = _long(rng)
    return spoilt(rng, body) if rng.random() < 0.35 else body


def _media(rng: random.Random, first: int, count: int) -> str:
    lines = ["#EXTM3U", f"#EXT-X-TARGETDURATION:{rng.choice(('2', '6', *_AMOUNTS))}", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
    odd = rng.choice((0.0, 0.02, 0.3))
    for number in range(count):
        if rng.random() < odd:
            lines.append(_odd_tag(rng))
        lines.append(f"#EXTINF:{rng.choice(_AMOUNTS) if rng.random() < odd else '2.000'},{foreign_text(rng) if rng.random() < odd else ''}")
        lines.append(rng.choice(_ADDRESSES) if rng.random() < odd else f"{first + number}.ts")
    if rng.random() < 0.3:
        lines.append("#EXT-X-ENDLIST")
    return rng.choice(("\n", "\n", "\r\n")).join(lines) + rng.choice(("\n", ""))


def _odd_tag(rng: random.Random) -> str:
    uri, amount = rng.choice(_ADDRESSES), rng.choice(_AMOUNTS)
    return rng.choice(
        (
            f"#EXT-X-PROGRAM-DATE-TIME:{rng.choice(_STAMPS)}",
            "#EXT-X-DISCONTINUITY",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{amount}",
            "#EXT-X-GAP",
            f"#EXT-X-BYTERANGE:{amount}@{rng.choice(NUMBERS)}",
            f"#EXT-X-BYTERANGE:{rng.choice(NUMBERS)}",
            f'#EXT-X-KEY:METHOD={rng.choice(("AES-128", "NONE", "SAMPLE-AES", ""))},URI="{uri}",IV=0x{rng.getrandbits(rng.choice((8, 128, 200))):x}',
            f'#EXT-X-MAP:URI="{uri}",BYTERANGE="{amount}@0"',
            f"#EXT-X-MEDIA-SEQUENCE:{amount}",
            f"#EXT-X-{foreign_text(rng)}:{foreign_text(rng)}",
            foreign_text(rng),
            f'#EXT-X-PART:DURATION={amount},URI="{uri}"',
        )
    )


def _master(rng: random.Random) -> str:
    lines = ["#EXTM3U", "#EXT-X-VERSION:6"]
    for _ in range(rng.choice((1, 3, 8, 200))):
        attributes = {
            "BANDWIDTH": "1280000",
            "CODECS": '"avc1.64001f,mp4a.40.2"',
            "RESOLUTION": "640x360",
            "AUDIO": '"a"',
            "FRAME-RATE": "30.000",
        }
        for name in [name for name in attributes if rng.random() < 0.2]:
            attributes[name] = rng.choice((*_AMOUNTS, '"', "'", '"a', "x", "640x", "640xabc", "1x" * 500, foreign_text(rng)))
        chosen = [f"{name}={value}" for name, value in attributes.items() if rng.random() < 0.9]
        lines += [f"#EXT-X-STREAM-INF:{','.join(chosen)}", rng.choice(("v.m3u8", *_ADDRESSES))]
        if rng.random() < 0.3:
            kind = rng.choice(("AUDIO", "VIDEO", "SUBTITLES", "CLOSED-CAPTIONS", ""))
            lines.append(f'#EXT-X-MEDIA:TYPE={kind},GROUP-ID="a",NAME="{rng.choice(TEXTS)[:200]}",DEFAULT=YES,URI="{rng.choice(_ADDRESSES)}"')
        if rng.random() < 0.1:
            lines.append(_odd_tag(rng))
        if rng.random() < 0.05:
            kinds = ("SESSION-KEY", "SESSION-DATA", "I-FRAME-STREAM-INF", "DATERANGE", "CONTENT-STEERING", "START", "DEFINE", "SERVER-CONTROL", "SKIP", "TILES")
            lines.append(f"#EXT-X-{rng.choice(kinds)}:{','.join(chosen)}")
    return "\n".join(lines)


def _long(rng: random.Random) -> bytes:
    """As long as a playlist may be, of one thing: a bomb to whoever takes more time, or room, than the bytes have."""
    piece = rng.choice(
        (
            "#EXTINF:2,\n1.ts\n", "#EXTINF:", "a=", 'A="', "'", '"', ",", "A", "=", '#EXT-X-KEY:A="', "\n", "\u2028", "../", "#EXT-X-STREAM-INF:\nv\n",
            "#EXT-X-DISCONTINUITY\n#EXTINF:2,\n1.ts\n", "#EXT-X-BYTERANGE:1\n#EXTINF:2,\nx\n", "#EXT-X-MAP:URI=a\n", "%", "@", "[",
        )
    )  # fmt: skip
    head = rng.choice(("#EXTM3U\n", "#EXTM3U\n#EXT-X-STREAM-INF:", '#EXTM3U\n#EXT-X-STREAM-INF:CODECS="', "#EXTM3U\n#EXT-X-KEY:", "#EXTM3U\n#EXTINF:2,\n"))
    return (head + piece * (1_000_000 // len(piece))).encode()[:1_000_000]


# ------------------------------------------------------------------------------------------------ addresses

_HOSTS: Final = (
    "x.live-video.net", "127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "169.254.169.254", "localhost",
    "x.live-video.net.", "x.live-video.net@127.0.0.1", "127.0.0.1\\.live-video.net", "①②⑦.⓪.⓪.①", "x.live-video.net%00", "a" * 70 + ".live-video.net",
    "x.live-video.net:80:80", "%31%32%37.0.0.1", "ｌive-video.net", ".live-video.net", "x..live-video.net", "xn--.live-video.net", "\u0000.live-video.net",
)  # fmt: skip


def address(rng: random.Random) -> bytes:
    """A JSON array: the address, and what its host resolves to."""
    scheme = rng.choice(("https", "http", "HTTPS", "ftp", "file", "", "javascript", foreign_text(rng)[:30]))
    user = rng.choice(("", "", "", "user@", "user:pass@", "x.live-video.net@", foreign_text(rng)[:30] + "@"))
    port = rng.choice(("", "", ":443", ":0", ":65536", ":-1", ":٣", ":" + "9" * 300, ":"))
    rest = rng.choice(("/", "/a?b=c#d", "", "?x", "\\x", "/" + foreign_text(rng)[:200]))
    host = rng.choice(("x.live-video.net", rng.choice(_HOSTS), rng.choice(_HOSTS), foreign_text(rng)[:300]))
    parts = [scheme, rng.choice(("://", ":", ":/", "//", ":///")), user, host, port, rest]
    usual = ("https", "://", "", "x.live-video.net", "", "/")
    text = "".join(part if rng.random() < 0.5 else plain for part, plain in zip(parts, usual, strict=True))
    if rng.random() < 0.1:
        text = spoilt(rng, text.encode(errors="surrogatepass")).decode(errors="surrogateescape")[:5_000]
    resolved = [rng.choice(("93.184.216.34", "127.0.0.1", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "fec0::1")) for _ in range(rng.choice((0, 1, 2)))]
    return json.dumps([text, resolved]).encode()


# ------------------------------------------------------------------------------------------------ answers

_BODY: Final = b"#EXTM3U\n#EXTINF:2,\n1.ts\n" * 20


def answer(rng: random.Random) -> bytes:
    """What a web server sends, from the status line to the last byte."""
    status = rng.choice(("200 OK", "200 OK", "200 OK", "206 Partial Content", "302 Found", "301 Moved", "304 Not Modified", "404 Not Found", "500 Oops"))
    status = rng.choice((status, status, status, "100 Continue", "101 Switching", "999 ?", "-1", "200", foreign_text(rng)[:40]))
    body = rng.choice((_BODY, b"", noise(rng, 300), _BODY * 200))
    encoding = rng.choice(("", "", "", "gzip", "GZIP", "deflate", "br", "gzip, gzip", "x-gzip", foreign_text(rng)[:20]))
    if encoding.lower().startswith(("gzip", "x-gzip", "deflate")) and rng.random() < 0.9:
        packed = gzip.compress(rng.choice((body, b"0" * 3_000_000)), 6) if "gzip" in encoding.lower() else zlib.compress(body)
        body = spoilt(rng, packed) if rng.random() < 0.3 else packed
    headers = [f"HTTP/1.{rng.choice('1109')} {status}"]
    length = rng.choice((str(len(body)), str(len(body)), "", str(rng.choice(NUMBERS)), "-1", "1, 2", "²", "9" * 5_000, "1_0", "+5", " 7 "))
    if length:
        headers.append(f"Content-Length: {length}")
    if encoding:
        headers.append(f"Content-Encoding: {encoding}")
    if rng.random() < 0.2:
        headers.append(f"Transfer-Encoding: {rng.choice(('chunked', 'chunked, chunked', 'gzip', 'CHUNKED'))}")
        body = rng.choice(
            (b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), b"ffffffffffffffff\r\n" + body, b"-5\r\n" + body, b"z\r\n", b"9" * 5_000 + b"\r\n" + body)
        )
    if rng.random() < 0.6 and status[:1] == "3":
        headers.append(f"Location: {rng.choice((*_ADDRESSES, '/again', foreign_text(rng)))}")
    if rng.random() < 0.3:
        headers.append(rng.choice((f"ETag: {foreign_text(rng)[:100]}", "X: y" * 20_000, "X:\r\n folded", "no colon", ": empty", "X\0: y", "Set-Cookie: a=b")))
    if rng.random() < 0.02:
        headers += [f"X-{n}: y" for n in range(300)]
    whole = "\r\n".join(headers).encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body
    return spoilt(rng, whole) if rng.random() < 0.3 else whole
