"""What the tables of an MP4 claim to list, found out before anybody believes it.

A `trun` box says how many samples follow, and with no field per sample that is all it says: eighty million, in four
bytes, cost FFmpeg seconds and gigabytes before it has read one of them. So the boxes (ISO/IEC 14496-12) are walked
first, as FFmpeg walks them, and what they claim in all must be what a segment can hold.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from earmark.errors import SourceUnsupported, UnreadableAudio

#: Entries of one kind of table, of all tracks of a segment. A minute of AAC has 2,800 samples, of Opus at 2.5 ms 24,000,
#: of video 3,600. FFmpeg makes 8 MB of 200,000.
ENTRIES_MAX: Final = 200_000
#: Chunks times the samples of the fullest: where samples are PCM FFmpeg reckons with nothing else. Chunks are about alike.
CHUNKED_MAX: Final = 10 * ENTRIES_MAX
#: An hour in fragments of a second has 50,000.
BOXES_MAX: Final = 100_000
#: FFmpeg goes no deeper either.
DEPTH_MAX: Final = 10
#: The same of a whole file, which may be a day of sound (at 2.5 ms a sample: 35 million) in fragments of a second. FFmpeg makes 700 MB of them.
FILE_ENTRIES_MAX: Final = 20_000_000
FILE_BOXES_MAX: Final = 1_000_000
#: How much fuller than the others the fullest chunk of a file may be.
FILE_CHUNKS_UNEVEN: Final = 8

#: Boxes that hold boxes, to FFmpeg.
_HOLDERS: Final = frozenset(
    {b"moov", b"hoov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"mvex", b"moof", b"traf", b"udta", b"meta", b"ilst", b"tref", b"sinf", b"schi"}
)
#: Boxes in which FFmpeg finds others in ways of its own. Nobody puts a table of samples there.
_ODD: Final = frozenset({b"stsd", b"wave", b"iprp", b"iinf", b"jp2h"})
#: Tables whose entries FFmpeg believes in, and where in each their number stands (32 bits).
_TABLES: Final = {
    b"trun": 4, b"stsz": 8, b"stz2": 8, b"stts": 4, b"ctts": 4, b"stsc": 4, b"stco": 4, b"co64": 4, b"stss": 4, b"stps": 4, b"elst": 4, b"senc": 4,
    b"saiz": 5, b"saio": 4,
}  # fmt: skip
#: Tables in which 8 bytes come first if the first flag is set.
_TYPED: Final = frozenset({b"saiz", b"saio"})
#: A header within a header, which may be compressed: then a few bytes are gigabytes.
_INNER: Final = frozenset({b"cmov", b"mvhd"})


#: Why a file whose sound is encrypted is not heard.
ENCRYPTED: Final = "its sound is encrypted (DRM), and nobody here has the key"
#: As a sample entry calls such sound: by a common scheme, or by a shop of old.
_ENCRYPTED: Final = frozenset({b"enca", b"drms"})


class Readable(Protocol):
    """What boxes are read of: bytes, a mapped file, a file that is far away."""

    def __len__(self) -> int: ...
    def __getitem__(self, where: slice, /) -> bytes: ...
    def find(self, what: bytes, begin: int = ..., end: int = ..., /) -> int: ...


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    #: Where its content lies; as far as its parent goes.
    begin: int
    end: int
    depth: int
    #: Where the content of the box around it begins.
    inside: int


def checked(data: bytes) -> bytes:
    """The same segment, without its index: that may call anything a fragment, and none is needed.

    Raises UnreadableAudio where its tables claim more than any segment holds. What is no MP4 at all passes: FFmpeg says
    so at once.
    """
    claimed: Counter[bytes] = Counter()
    fullest, indices = 0, list[int]()
    for number, box in enumerate(_walk(data)):
        if number == BOXES_MAX:
            raise UnreadableAudio(f"it has more than {BOXES_MAX:,} boxes: no segment is cut as fine as that")
        _refuse_what_hides(data, box)
        if box.kind == b"sidx":
            indices.append(box.begin - 4)
        elif box.kind in _TABLES:
            claimed[box.kind] += _entries(data, box)
            if claimed[box.kind] > ENTRIES_MAX:
                _refuse(f"{claimed[box.kind]:,} entries in its {box.kind.decode()} boxes", data)
            if box.kind == b"stsc":
                fullest = max(fullest, _fullest(data, box))
    chunked = fullest * (claimed[b"stco"] + claimed[b"co64"])
    if chunked > CHUNKED_MAX:
        _refuse(f"up to {chunked:,} samples in its chunks", data)
    return _renamed(data, indices) if indices else data


@dataclass(slots=True)
class _Samples:
    """What the boxes of one `stbl` say of its samples."""

    #: All of one size: how many there are. Else a table lists them.
    alike: int = 0
    #: Each lasts one tick, as those of PCM do: FFmpeg reckons with chunks then, not with samples.
    ticks: bool = False
    #: Samples of the fullest chunk, and chunks.
    fullest: int = 0
    chunks: int = 0


def check_file(data: Readable) -> None:
    """Of a whole file: it must not claim more samples than it has bytes, nor more than anybody records.

    Raises UnreadableAudio, or SourceUnsupported (its sound is encrypted). What is no MP4 at all passes.
    """
    claimed: Counter[bytes] = Counter()
    told: dict[int, _Samples] = {}
    for number, box in enumerate(_walk(data)):
        if number == FILE_BOXES_MAX:
            raise UnreadableAudio(f"it has more than {FILE_BOXES_MAX:,} boxes: no file is cut as fine as that")
        _refuse_what_hides(data, box)
        if box.kind == b"sidx":
            _check_index(data, box)
        if box.kind == b"stsd" and data[box.begin + 12 : box.begin + 16] in _ENCRYPTED:
            raise SourceUnsupported(ENCRYPTED)
        if box.kind in _TABLES:
            alike = _tell(data, box, told.setdefault(box.inside, _Samples()))
            claimed[box.kind] += 0 if alike else _entries(data, box)
            if claimed[box.kind] > min(len(data), FILE_ENTRIES_MAX):
                _refuse(f"{claimed[box.kind]:,} entries in its {box.kind.decode()} boxes", data, "a file")
    for samples in told.values():
        if samples.alike > FILE_ENTRIES_MAX and not samples.ticks:
            _refuse(f"{samples.alike:,} samples", data, "a file")
        if samples.fullest * samples.chunks > max(CHUNKED_MAX, FILE_CHUNKS_UNEVEN * len(data)):
            _refuse(f"up to {samples.fullest * samples.chunks:,} samples in its chunks", data, "a file")


def _check_index(data: Readable, box: _Box) -> None:
    """FFmpeg believes the number of entries, however short the index is. Version 1 has times of 8 bytes."""
    at = box.begin + (30 if data[box.begin : box.begin + 1] == b"\1" else 22)
    if 12 * int.from_bytes(data[at : at + 2]) > box.end - box.begin:
        _refuse("more entries in its index than the index has room for", data, "a file")


def _tell(data: Readable, box: _Box, samples: _Samples) -> bool:
    """Keep what a box says of the samples; whether it says it without a table."""
    _, size, count, each = (int.from_bytes(data[at : at + 4]) for at in range(box.begin, box.begin + 16, 4))
    match box.kind:
        case b"stsz" if size:
            if size * count > len(data):
                _refuse(f"{count:,} samples of {size:,} bytes", data, "a file")
            samples.alike = max(samples.alike, count)
            return True
        case b"stts":
            samples.ticks = (size, each) == (1, 1)  # one entry
        case b"stsc":
            samples.fullest = max(samples.fullest, _fullest(data, box))
        case b"stco" | b"co64":
            samples.chunks += _entries(data, box)
    return False


def _refuse(what: str, data: Readable, whole: str = "a segment") -> None:
    raise UnreadableAudio(f"it claims {what}, which is more than {len(data):,} bytes of {whole} can hold")


def _refuse_what_hides(data: Readable, box: _Box) -> None:
    if box.kind == b"cmov" or (box.kind in (b"free", b"hoov") and data[box.begin + 4 : box.begin + 8] in _INNER):
        raise UnreadableAudio("its header is compressed or hidden, which that of a segment never is")
    if box.kind in _ODD and any(data.find(kind, box.begin, box.end) >= 0 for kind in _TABLES):
        raise UnreadableAudio(f"its {box.kind.decode()} box has a table of samples inside, where none belongs")


def _walk(data: Readable) -> Iterator[_Box]:
    """Every box that FFmpeg would look into, an outer one before those inside."""
    held = [_Box(b"", 0, len(data), 0, 0)]
    while held:
        parent = held.pop()
        at = _first(data, parent)
        while at + 8 <= parent.end:
            size, begin = int.from_bytes(data[at : at + 4]), at + 8
            if size == 1 and at + 16 <= parent.end:
                size, begin = int.from_bytes(data[at + 8 : at + 16]), at + 16
            elif size == 0:
                size = parent.end - at
            if size < begin - at:
                break
            box = _Box(data[at + 4 : at + 8], begin, min(at + size, parent.end), parent.depth + 1, parent.begin)
            yield box
            if box.kind in _HOLDERS and box.depth <= DEPTH_MAX:
                held.append(box)
            at += size


def _first(data: Readable, parent: _Box) -> int:
    """Where the first box inside begins. In a `meta` box that is its `hdlr`: some writers put four bytes before, some do not."""
    if parent.kind != b"meta":
        return parent.begin
    return next((at for at in range(parent.begin, parent.end - 7, 4) if data[at + 4 : at + 8] == b"hdlr"), parent.end)


def _entries(data: Readable, box: _Box) -> int:
    at = box.begin + _TABLES[box.kind]
    if box.kind in _TYPED and int.from_bytes(data[box.begin : box.begin + 4]) & 1:
        at += 8
    return int.from_bytes(data[at : at + 4])


def _fullest(data: Readable, box: _Box) -> int:
    """Samples of the fullest chunk that a `stsc` box tells of: the second of three numbers in each entry."""
    begin = box.begin + 8
    count = min(_entries(data, box), max(0, box.end - begin) // 12)
    words = np.frombuffer(data[begin : begin + 12 * count], ">u4")
    return int(words[1::3].max(initial=0))


def _renamed(data: bytes, indices: list[int]) -> bytes:
    copy = bytearray(data)
    for at in indices:
        copy[at : at + 4] = b"skip"
    return bytes(copy)
