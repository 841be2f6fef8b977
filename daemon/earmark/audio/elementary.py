"""Frames out of coded sound without a container: AAC in ADTS (ISO/IEC 13818-7, 6.2) and MPEG audio (ISO/IEC 11172-3, 2.4.2.3, and 13818-3). Pure.

A decoder's parser would cut the same bytes into the same frames; here they are counted before they are decoded, because how
long they play says when the next ones are due, and because two connections to one server are joined where their frames
are the same. What is between frames (tags, garbage, half a frame at the beginning) is left out.
"""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Codec: TypeAlias = Literal["aac", "mp3"]

#: Bytes of a header that say how long a frame is, and how long it plays.
_HEAD_BYTES = 7
#: Headers that have to follow one another before the first of them is believed: two bytes of any eleven set bits are common.
_AGREEING = 3
#: What a header may begin with: eleven set bits, and nothing in the next thirteen that means nothing.
_SYNC = re.compile(
    rb"\xff(?:[\xf0\xf1\xf8\xf9]|[\xe2-\xe7\xf2-\xf7\xfa-\xff][%b])" % b"".join(re.escape(bytes([n])) for n in range(16, 240) if n % 16 < 12), re.DOTALL
)

_AAC_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_MPEG_HZ = (44_100, 48_000, 32_000)
#: kbit/s by version (MPEG-1, or 2 and 2.5) and layer.
_KBPS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class Frame(NamedTuple):
    codec: Codec
    data: bytes
    duration_s: float


@dataclass(frozen=True, slots=True)
class _Header:
    codec: Codec
    bytes: int
    duration_s: float
    #: What does not change from frame to frame: version, layer, rate.
    kind: tuple[int, ...]


class Framer:
    """`push` bytes as they come; however they are cut, the same frames come out."""

    def __init__(self) -> None:
        self._data = b""
        self._kind: tuple[int, ...] = ()

    def push(self, data: bytes) -> list[Frame]:
        """The frames that are whole by now."""
        data = self._data + data
        frames, at = list[Frame](), 0
        while at + _HEAD_BYTES <= len(data):
            header = _header(data[at : at + _HEAD_BYTES])
            if header is None or header.kind != self._kind:
                self._kind = ()
                found = self._search(data, at)
                at = found if found >= 0 else ~found
                if found < 0:
                    break
                continue
            if at + header.bytes > len(data):
                break
            frames.append(Frame(header.codec, data[at : at + header.bytes], header.duration_s))
            at += header.bytes
        self._data = data[at:]
        return frames

    def _search(self, data: bytes, at: int) -> int:
        """Where frames begin that are believed; if that is not known yet, `~` of where to go on when there is more."""
        while begins := _SYNC.search(data, at):
            at = begins.start()
            agree = _agree(data, at)
            if agree is None:
                return ~at
            if agree:
                self._kind = agree.kind
                return at
            at += 1
        return ~max(at, len(data) - 2)


def _agree(data: bytes, at: int) -> "_Header | Literal[False] | None":
    """The first of some headers that follow one another; False: they do not; None: that is not known yet."""
    first: _Header | None = None
    for _ in range(_AGREEING):
        if at + _HEAD_BYTES > len(data):
            return None
        header = _header(data[at : at + _HEAD_BYTES])
        if header is None or (first and first.kind != header.kind):
            return False
        first = first or header
        at += header.bytes
    return first or False


def _header(head: bytes) -> _Header | None:
    if head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    if head[1] & 0xF6 == 0xF0:
        return _adts(head)
    return _mpeg(head)


def _adts(head: bytes) -> _Header | None:
    rate = head[2] >> 2 & 0x0F
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(_AAC_HZ) or size < _HEAD_BYTES:
        return None
    blocks = (head[6] & 3) + 1
    return _Header("aac", size, 1_024 * blocks / _AAC_HZ[rate], (0, head[1] & 0x08, head[2] & 0xFC))


def _mpeg(head: bytes) -> _Header | None:
    version, layer = {0: 25, 2: 2, 3: 1}.get(head[1] >> 3 & 3, 0), 4 - (head[1] >> 1 & 3)
    kbps, rate = head[2] >> 4, head[2] >> 2 & 3
    if not version or layer == 4 or not 0 < kbps < 15 or rate == 3:  # a free bit rate says nothing about a frame's length
        return None
    hz = _MPEG_HZ[rate] // {1: 1, 2: 2, 25: 4}[version]
    bits_per_s = 1_000 * _KBPS[min(version, 2), layer][kbps - 1]
    padding = head[2] >> 1 & 1
    samples = {1: 384, 2: 1_152, 3: 1_152 if version == 1 else 576}[layer]
    size = (12 * bits_per_s // hz + padding) * 4 if layer == 1 else samples // 8 * bits_per_s // hz + padding
    return _Header("mp3", size, samples / hz, (version, layer, rate))
