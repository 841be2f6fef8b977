"""Bytes and texts made wrong in the ways that foreign ones are: flipped, cut, doubled, spliced, with numbers that lie."""

import random
from collections.abc import Callable, Sequence
from typing import Final

#: No input of a fuzzer grows beyond it: what a parser's own limit keeps away is tried by tests of those limits.
INPUT_BYTES_MAX: Final = 4_000_000

#: Where counters, lengths and times turn over.
NUMBERS: Final = (0, 1, 2, 7, 8, 127, 128, 187, 188, 255, 256, 32_767, 32_768, 65_535, 65_536, (1 << 24) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)

#: Texts that somebody else's parser, terminal, spreadsheet, page or database takes for something else.
TEXTS: Final = (
    "", " ", "\0", "a\0b", "\r\nX-Injected: 1", "line\nline", "\x1b[31mred\x1b[0m", "\ud800", "\udfff\ud800", "\ufeff", "\u202egnp.exe", "\u2028", "\x85",
    "'; drop table stream; --", "\\", "'", '"', "%s%n", "{0}", "${jndi:ldap://x}", "../../etc/passwd", "/etc/passwd", "..", ".", "a/../b", "C:\\", "//x",
    "=1+1", "@SUM(A1)", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</title>", "&lt;", "e\u0301", "\u00e9", "\ufb01", "ｆｕｌｌ", "①", "٣",
    "null", "true", "NaN", "-inf", "1e999", "-1", "0x10", "1_000", "9" * 400, "9" * 5_000, "[" * 3_000, '{"a":' * 3_000, "a" * 10_000, "é" * 1_500, "🎵" * 600,
    "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-12:00", "2026-02-30T00:00:00Z", "2026-03-04", "24:00:00", "2026-W10-3",
    "http://169.254.169.254/", "file:///etc/passwd", "https://[::", "https://x.live-video.net:99999/", "data:,x", "https://x\\@y/", "//", "http://",
)  # fmt: skip


def spoilt(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """The bytes after one to six accidents; `others` are pieces that may end up in the midst of them."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        data = rng.choice(_ACCIDENTS)(rng, data)
        if others and rng.random() < 0.1:
            data = spliced(rng, data, rng.choice(others))
    return data[:INPUT_BYTES_MAX]


def spliced(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """The beginning of one and the end of another."""
    return data[: rng.randint(0, len(data))] + other[rng.randint(0, len(other)) :]


def noise(rng: random.Random, size: int) -> bytes:
    return rng.randbytes(size)


def _flipped(rng: random.Random, data: bytes) -> bytes:
    copy = bytearray(data)
    for _ in range(rng.choice((1, 2, 8, 64)) if copy else 0):
        copy[rng.randrange(len(copy))] ^= 1 << rng.randrange(8)
    return bytes(copy)


def _overwritten(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    new = bytes([rng.choice((0, 0xFF, 0x47, rng.randrange(256)))]) * rng.choice((1, 2, 4, 16, 300))
    return data[:at] + new + data[at + len(new) :]


def lying(rng: random.Random, data: bytes) -> bytes:
    """A number of one to eight bytes, somewhere, that is another one now."""
    size = rng.choice((1, 2, 3, 4, 4, 4, 8))
    at = rng.randint(0, max(0, len(data) - size))
    value = rng.choice((*NUMBERS, len(data), len(data) - at, rng.getrandbits(8 * size))) % (1 << 8 * size)
    return data[:at] + value.to_bytes(size, rng.choice(("big", "little"))) + data[at + size :]


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randint(0, len(data))] if rng.random() < 0.7 else data[rng.randint(0, len(data)) :]


def _without_a_piece(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + data[at + rng.choice((1, 4, 188, 1_000)) :]


def _with_a_piece_again(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    piece = data[at : at + rng.choice((1, 8, 188, 2_000))]
    return data[:at] + piece * rng.choice((1, 2, 30)) + data[at:]


def _with_noise(rng: random.Random, data: bytes) -> bytes:
    at = rng.randint(0, len(data))
    return data[:at] + noise(rng, rng.choice((1, 3, 50, 188))) + data[at:]


_ACCIDENTS: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    _flipped, _flipped, _overwritten, lying, lying, _cut, _without_a_piece, _with_a_piece_again, _with_noise,
)  # fmt: skip


def foreign_text(rng: random.Random) -> str:
    """A hostile text, or a short one of any characters."""
    if rng.random() < 0.7:
        return rng.choice(TEXTS)
    return "".join(chr(rng.choice((rng.randrange(0x20, 0x7F), rng.randrange(0x20), rng.randrange(0x11_0000)))) for _ in range(rng.randrange(12)))
