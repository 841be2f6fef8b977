"""Foreign media: real transport streams, fMP4, packed audio and whole files, spoilt where their formats keep their structure.

Segments are of one second, so that thousands of them cost little. What an input holds besides the segment's own bytes
(fMP4's header) stands in front of them, behind four bytes that say how long it is.
"""

import functools
import random
from collections.abc import Callable, Iterator
from typing import Final

from audio_media import audio_file, coded, id3_timestamp
from fuzz_bytes import INPUT_BYTES_MAX, NUMBERS, lying, noise, spliced, spoilt

PACKET: Final = 188


def with_header(init: bytes, data: bytes) -> bytes:
    return len(init).to_bytes(4) + init + data


def header_and_rest(whole: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(whole[:4])
    return whole[4 : 4 + size], whole[4 + size :]


@functools.cache
def segments(container: str) -> tuple[tuple[bytes, bytes], ...]:
    """Real ones to begin with: header, segment."""
    made = {"duration_s": 2.0, "segment_s": 1.0}
    match container:
        case "mpegts":
            kinds = [
                coded(**made),
                coded(codec="libmp3lame", channels=1, **made),
                coded(video=True, **made),
                coded(codec="ac3", **made),
                coded(latm=True, **made),
            ]
        case "mp4":
            kinds = [coded(container="mp4", **made), coded(container="mp4", video=True, **made), coded(container="mp4", codec="libopus", **made)]
            several = (kinds[1].init, b"".join(kinds[1].segments))
            return (*((kind.init, data) for kind in kinds for data in kind.segments[:2]), several)
        case _:
            kinds = [coded(container="aac", **made), coded(container="aac", rate_hz=44_100, channels=1, **made)]
            mp3 = audio_file(container="mp3", codec="libmp3lame", duration_s=1.0, tags={"title": "Blue", "artist": "Ada"})
            return (*((kind.init, data) for kind in kinds for data in kind.segments[:2]), (b"", mp3), (b"", id3_timestamp(1 << 33) + mp3))
    return tuple((kind.init, data) for kind in kinds for data in kind.segments[:2])


# ------------------------------------------------------------------------------------------------ transport streams


def transport_stream(rng: random.Random) -> bytes:
    _, data = rng.choice(segments("mpegts"))
    for _ in range(rng.choice((1, 1, 2, 5))):
        data = rng.choice(_PACKETS)(rng, data)
    if rng.random() < 0.3:
        data = spoilt(rng, data, [other for _, other in segments("mpegts")])
    if rng.random() < 0.002:
        data *= max(1, INPUT_BYTES_MAX // max(1, len(data)))
    return with_header(b"", data)


def _packet_changed(rng: random.Random, data: bytes, change: Callable[[bytearray], None]) -> bytes:
    """In one packet, often one of the first, which are the tables; or in all of them."""
    copy, count = bytearray(data), max(1, len(data) // PACKET)
    chosen = range(count) if rng.random() < 0.05 else [rng.choice((rng.randrange(count), rng.randrange(min(4, count))))]
    for number in chosen:
        packet = copy[number * PACKET : (number + 1) * PACKET]
        if len(packet) == PACKET:
            change(packet)
            copy[number * PACKET : (number + 1) * PACKET] = packet
    return bytes(copy)


def _header(rng: random.Random, data: bytes) -> bytes:
    """Flags, the number of the stream, its counter, what there is of adaptation and payload."""

    def change(packet: bytearray) -> None:
        packet[rng.choice((0, 1, 1, 2, 3, 3))] = rng.choice((0, 0xFF, rng.randrange(256)))

    return _packet_changed(rng, data, change)


def _lengths(rng: random.Random, data: bytes) -> bytes:
    """Of the adaptation field, of a table's section, of a packet's header in the elementary stream; and its time stamps."""

    def change(packet: bytearray) -> None:
        start = 5 + packet[4] if packet[3] & 0x20 else 4
        at = rng.choice((4, 4, start, start + 1, start + 2, start + 4, start + 5, start + 7, start + 8, start + 9, start + 10, start + 13))
        if at < PACKET:
            packet[at] = rng.choice((0, 1, 0x7F, 0x80, 0xB0, 0xFF, rng.randrange(256)))

    return _packet_changed(rng, data, change)


def _order(rng: random.Random, data: bytes) -> bytes:
    """Packets dropped, doubled, swapped, or from another stream."""
    packets = [data[at : at + PACKET] for at in range(0, len(data), PACKET)]
    at, other = rng.randrange(max(1, len(packets))), rng.randrange(max(1, len(packets)))
    match rng.randrange(4):
        case 0:
            del packets[at : at + rng.choice((1, 2, 20))]
        case 1:
            packets[at:at] = packets[other : other + 1] * rng.choice((1, 3, 200))
        case 2:
            packets[at:other] = reversed(packets[at:other])
        case _:
            foreign = rng.choice(segments("mpegts"))[1]
            begin = PACKET * rng.randrange(max(1, len(foreign) // PACKET))
            packets[at:at] = [foreign[begin : begin + PACKET]]
    return b"".join(packets)


_PACKETS: Final = (_header, _header, _lengths, _lengths, _lengths, _order, spoilt)


# ------------------------------------------------------------------------------------------------ boxes of MP4

_HOLDERS: Final = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"mvex", b"moof", b"traf", b"udta", b"meta"})


def fragmented_mp4(rng: random.Random) -> bytes:
    init, data = rng.choice(segments("mp4"))
    if rng.random() < 0.5:
        init = _boxes_spoilt(rng, init)
    if rng.random() < 0.7:
        data = _boxes_spoilt(rng, data)
    if rng.random() < 0.05:
        init = rng.choice(segments("mp4"))[0]
    return with_header(init, data)


def _boxes_spoilt(rng: random.Random, data: bytes) -> bytes:
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice(_BOXES)(rng, data)
    return spoilt(rng, data) if rng.random() < 0.2 else data[:INPUT_BYTES_MAX]


def places(data: bytes, begin: int = 0, end: int | None = None, depth: int = 0) -> Iterator[tuple[int, int]]:
    """Where each box begins and ends, outer ones before those inside; as deep as anybody looks."""
    at, end = begin, len(data) if end is None else end
    while at + 8 <= end:
        size = int.from_bytes(data[at : at + 4])
        stop = min(at + size, end) if size >= 8 else end
        yield at, stop
        if data[at + 4 : at + 8] in _HOLDERS and depth < 12:
            yield from places(data, at + 8, stop, depth + 1)
        at = stop


def _box_number(rng: random.Random, data: bytes) -> bytes:
    """A number inside a box, near its beginning: version and flags, how many entries, how large each is."""
    found = [place for place in places(data) if data[place[0] + 4 : place[0] + 8] not in _HOLDERS]
    if not found:
        return data
    at, end = rng.choice(found)
    place = min(at + rng.choice((8, 12, 12, 16, 16, 20, 24, 28)), max(at, end - 4))
    value = rng.choice((*NUMBERS, rng.getrandbits(32), 200_001, 80_000_000))
    return data[:place] + value.to_bytes(4) + data[place + 4 :]


def _box_size(rng: random.Random, data: bytes) -> bytes:
    found = list(places(data))
    if not found:
        return data
    at, end = rng.choice(found)
    size = rng.choice((0, 1, 7, 8, end - at - 1, end - at + 1, len(data), (1 << 32) - 1, rng.getrandbits(32))) % (1 << 32)
    return data[:at] + size.to_bytes(4) + data[at + 4 :]


def _box_kind(rng: random.Random, data: bytes) -> bytes:
    found = list(places(data))
    if not found:
        return data
    at, _ = rng.choice(found)
    kinds = (b"moov", b"moof", b"trun", b"cmov", b"sidx", b"meta", b"uuid", b"free", b"wave", b"stsd", b"esds", b"senc", b"elst", b"mp4a", b"dref", b"\0\0\0\0")
    return data[: at + 4] + rng.choice(kinds) + data[at + 8 :]


def _box_again(rng: random.Random, data: bytes) -> bytes:
    """A box, whole, once more, left out, or put into itself again and again."""
    found = list(places(data))
    if not found:
        return data
    at, end = rng.choice(found)
    box = data[at:end]
    match rng.randrange(3):
        case 0:
            return data[:at] + box * rng.choice((2, 3, 500 if len(box) < 2_000 else 2)) + data[end:]
        case 1:
            return data[:at] + data[end:]
    for _ in range(rng.choice((1, 9, 12, 2_000))):
        box = (len(box) + 8).to_bytes(4) + box[4:8] + box if len(box) < 50_000 else box
    return data[:at] + box + data[end:]


def _sample_tables(rng: random.Random, data: bytes) -> bytes:
    """All samples of one size, as many as there are numbers, in one chunk: tables that agree with one another, and with nothing else."""
    count = rng.choice((100_000, 30_000_000, (1 << 31) - 1))
    for kind, place, value in ((b"stsz", 4, rng.choice((1, 1, 4))), (b"stsz", 8, count), (b"stsc", 12, count), (b"stts", 8, count), (b"trun", 4, count)):
        at = data.find(kind)
        if at >= 0 and rng.random() < 0.9:
            data = data[: at + 4 + place] + value.to_bytes(4) + data[at + 8 + place :]
    return data


_BOXES: Final = (_sample_tables, _box_number, _box_number, _box_number, _box_size, _box_kind, _box_again, lying)


# ------------------------------------------------------------------------------------------------ packed audio


def packed_audio(rng: random.Random) -> bytes:
    _, data = rng.choice(segments("packed"))
    for _ in range(rng.choice((1, 1, 2, 4))):
        data = rng.choice((_frame_header, _frame_header, _tag, _tag, spoilt, _other_end))(rng, data)
    if rng.random() < 0.003:
        tag = rng.choice((b"ID3\x04\0\0\0\0\0\0", b"ID3\x04\0\0\0\0\0\x01x", b"\xff\xf1\x50\x80\0\xe0\xfc"))
        data = tag * rng.choice((1_000, INPUT_BYTES_MAX // len(tag))) + data
    return with_header(b"", data)


def _frame_header(rng: random.Random, data: bytes) -> bytes:
    """Profile, rate, channels and length of an ADTS or MPEG frame."""
    at = data.find(b"\xff", rng.randrange(max(1, len(data))))
    if at < 0:
        return data
    place = at + rng.randrange(1, 7)
    return data[:place] + bytes([rng.choice((0, 0xFF, rng.randrange(256)))]) + data[place + 1 :]


def _tag(rng: random.Random, data: bytes) -> bytes:
    """A leading tag whose size, or content, is not what it says."""
    sizes = (0, 1, 10, 73, 0x0FFF_FFFF, rng.getrandbits(28))
    size = rng.choice(sizes)
    head = b"ID3" + bytes([rng.choice((2, 3, 4, 255)), 0, rng.choice((0, 0x10, 0xFF))]) + bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    body = rng.choice((b"", b"com.apple.streaming.transportStreamTimestamp\0", id3_timestamp(rng.getrandbits(64))[10:], noise(rng, 60)))
    return (head + body) * rng.choice((1, 1, 2, 30)) + data


def _other_end(rng: random.Random, data: bytes) -> bytes:
    return spliced(rng, data, rng.choice(segments("packed"))[1])


# ------------------------------------------------------------------------------------------------ files of a catalogue

_KINDS: Final[tuple[dict[str, str], ...]] = (
    {"container": "wav"}, {"container": "flac", "codec": "flac"}, {"container": "mp3", "codec": "libmp3lame"}, {"container": "mp4", "codec": "aac"},
    {"container": "ogg", "codec": "libopus"}, {"container": "matroska", "codec": "aac"}, {"container": "adts", "codec": "aac"},
    {"container": "aiff", "codec": "pcm_s16be"},
    {"container": "mp4", "codec": "alac"}, {"container": "mov", "codec": "pcm_s16le"}, {"container": "mpegts", "codec": "aac"},
    {"container": "caf", "codec": "pcm_s16le"},
)  # fmt: skip


@functools.cache
def files() -> tuple[bytes, ...]:
    """Whole ones of 3.2 s, a little more than a reference has to have."""
    tags = {"title": "Blue Sky", "artist": "Ada;Bob", "album": "First", "isrc": "GB-AYE-06-01498", "publisher": "Paper"}
    rate_hz = {"libopus": 48_000}
    return tuple(
        audio_file(**kind, duration_s=3.2, channels=1, rate_hz=rate_hz.get(kind.get("codec", ""), 22_050), tags={} if kind["container"] == "adts" else tags)  # type: ignore[arg-type]
        for kind in _KINDS
    )


def file(rng: random.Random) -> bytes:
    data = rng.choice(files())
    if data[4:8] == b"ftyp" and rng.random() < 0.7:
        data = _boxes_spoilt(rng, data)
    elif rng.random() < 0.5:
        head, rest = data[:600], data[600:]  # where formats keep what they are
        data = spoilt(rng, head) + rest
    else:
        data = spoilt(rng, data, files())
    if rng.random() < 0.02:
        data = rng.choice(
            (
                b"#EXTM3U\n#EXTINF:2,\nfile:///etc/passwd\n",
                b"ffconcat version 1.0\nfile '/etc/passwd'\n",
                b"v=0\r\nc=IN IP4 127.0.0.1\r\n",
                b"",
                noise(rng, 4_000),
            )
        )
    return data
