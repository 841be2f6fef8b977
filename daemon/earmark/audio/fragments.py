"""The audio of fragmented MP4 (ISO/IEC 14496-12, as CMAF and HLS cut it), its tables of samples read by NumPy.

FFmpeg's demuxer costs eight times as much. This reader knows just what nearly every live segment is: a header without
samples of its own, AAC, fragments of which each has its data behind it and its time in front, nothing encrypted. Anything
else raises `Unexpected`, and the caller lets FFmpeg try. What both of them read, both read the same: every rule here that
the standard does not make is FFmpeg's.

Nothing is believed before the bytes for it are there: samples have at least a byte each, lie in the data of their
fragment, and none twice; a table is as long as its box.
"""

import itertools
import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.audio.boxes import ENTRIES_MAX
from earmark.audio.mpegts import PTS_HZ, RUN_BREAK_S

#: What a segment consists of, and its header; what is in neither `moov` nor `moof` nor `mdat` says nothing of samples.
_SEGMENT: Final = frozenset({b"ftyp", b"moov", b"styp", b"sidx", b"prft", b"emsg", b"moof", b"mdat"})
_MOOV: Final = frozenset({b"mvhd", b"trak", b"mvex", b"udta", b"iods"})
_TRAK: Final = frozenset({b"tkhd", b"edts", b"mdia", b"udta"})
_MDIA: Final = frozenset({b"mdhd", b"hdlr", b"elng", b"minf"})
_MINF: Final = frozenset({b"smhd", b"dinf", b"stbl"})
#: Tables of samples, which are empty: where in each their number stands.
_EMPTY: Final = {b"stts": 4, b"stsc": 4, b"stsz": 8, b"stco": 4}
_STBL: Final = frozenset({b"stsd", b"sgpd", *_EMPTY})
#: Of pictures, which nobody looks at.
_OTHER_MINF: Final = _MINF | {b"vmhd", b"hdlr"}
_OTHER_STBL: Final = _STBL | {b"ctts", b"stss", b"co64", b"sbgp"}
#: Groups of samples (their pre-roll) change nothing for whoever decodes all of them.
_TRAF: Final = frozenset({b"tfhd", b"tfdt", b"trun", b"sbgp", b"sgpd"})
#: Of pictures, keys too.
_OTHER_TRAF: Final = _TRAF | {b"sdtp", b"subs", b"senc", b"saiz", b"saio"}
#: FFmpeg finds these in boxes in which nobody else would look for them; where one is, or reads like one, it shall look.
_MISPLACED: Final = re.compile(
    rb"moov|cmov|trak|tkhd|mdia|mdhd|hdlr\0{8}(?!mdir|mdta)|edts|elst|minf|stbl|stsd|stts|stsc|stsz|stz2|stco|co64|mvex|trex|moof|traf|trun|soun"
)
_OF_ANOTHER_TRACK: Final = re.compile(rb"moov|cmov|trak|mvex|trex|moof|traf|trun|soun")

#: In `tfhd`: where data begins is counted from the beginning of `moof`, and so it is for the first track without a word.
_BASE_IS_MOOF: Final = 0x020000
#: There, which description, how long, how large and what kind the samples are.
_DESCRIPTION, _DURATION, _SIZE, _FLAGS = 0x02, 0x08, 0x10, 0x20
#: In `trun`: fields of the run, and of each sample.
_DATA_OFFSET, _FIRST_FLAGS = 0x01, 0x04
_SAMPLE_DURATION, _SAMPLE_SIZE, _SAMPLE_FLAGS, _SAMPLE_SHIFT = 0x100, 0x200, 0x400, 0x800
#: Times beyond it overflow once they are multiplied. At 48 kHz, three million years.
_TICKS_MAX: Final = 1 << 62

#: Half a minute in which every frame is a fragment. NumPy is for long tables; of many short ones FFmpeg makes less work.
_BOXES_MAX: Final = 10_000
#: Tags that are searched for what does not belong there. A cover would be larger, and no segment has one.
_SEARCHED_BYTES_MAX: Final = 65_536

#: Where the content of a box lies.
_Span: TypeAlias = tuple[int, int]
Int64: TypeAlias = npt.NDArray[np.int64]


class Unexpected(Exception):
    """Not what this reader knows; FFmpeg may."""


@dataclass(frozen=True, slots=True)
class Run:
    """Samples (coded frames) on one run of the encoder's clock."""

    #: Presentation time of the first, 90 kHz; not cut to 33 bits.
    pts: int
    samples: list[bytes]


@dataclass(frozen=True, slots=True)
class Sound:
    """The first audio track."""

    #: AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
    config: bytes
    runs: list[Run]


def read(init: bytes, data: bytes) -> Sound:
    """The audio of a segment; without `init`, its header is in front of it.

    Raises Unexpected for everything that is not read here.
    """
    try:
        return _read(init, data)
    except struct.error:
        raise Unexpected("a box that is too short for what it should hold, or longer") from None


def continues(pts: int, expected: int) -> bool:
    """Whether a sample belongs to the same run of the clock as the one that ends when this one is expected."""
    return 0 <= pts - expected + PTS_HZ / 2 <= RUN_BREAK_S * PTS_HZ


def _read(init: bytes, data: bytes) -> Sound:
    track: _Track | None = None
    stretches: list[_Stretch] = []
    for piece in (init, data):
        boxes = _Boxes(piece)
        moof: _Span | None = None
        for kind, span in boxes.within((0, len(piece)), _SEGMENT):
            if kind == b"moov":
                if track:
                    raise Unexpected("two headers")
                track = _track(boxes, span)
            elif kind == b"moof":
                if moof:
                    raise Unexpected("two fragments with one piece of data")
                moof = span
            elif kind == b"mdat":
                if track is None or moof is None:
                    raise Unexpected("data without a header, or of no fragment")
                stretches += _fragment(boxes, track, moof, span)
                moof = None
        if moof:
            raise Unexpected("a fragment that has no data behind it")
    if track is None or not stretches:
        raise Unexpected("no samples")
    return Sound(track.config, _runs(track, stretches))


class _Boxes:
    """Walks the boxes of some bytes; not for ever."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._seen = 0
        self._entries = 0

    def within(self, span: _Span, known: Collection[bytes]) -> Iterator[tuple[bytes, _Span]]:
        """Every box there, as it is known: they fill the place to the byte."""
        at, end = span
        while at < end:
            size, kind = struct.unpack_from(">I4s", self.data, at)
            self._seen += 1
            if size < 8 or at + size > end or kind not in known or self._seen > _BOXES_MAX:
                raise Unexpected("a box that is not known in its place, or not whole")
            yield kind, (at + 8, at + size)
            at += size

    def each(self, span: _Span, known: Collection[bytes], *needed: bytes) -> dict[bytes, _Span]:
        """The same where there is one of each kind."""
        found: dict[bytes, _Span] = {}
        for kind, inner in self.within(span, known):
            if kind in found:
                raise Unexpected(f"two {kind.decode()} boxes where one belongs")
            found[kind] = inner
        if any(kind not in found for kind in needed):
            raise Unexpected(f"none of the boxes {b', '.join(needed).decode()}, or not all of them")
        return found

    def content(self, span: _Span) -> bytes:
        return self.data[slice(*span)]

    def claim(self, entries: int) -> None:
        """So many samples more, in all no more than a segment has."""
        self._entries += entries
        if not entries or self._entries > ENTRIES_MAX:
            raise Unexpected("a table of nothing, or more samples than any segment has")

    def refuse(self, pattern: re.Pattern[bytes], span: _Span) -> None:
        if span[1] - span[0] > _SEARCHED_BYTES_MAX or pattern.search(self.data, *span):
            raise Unexpected("boxes in a place where they do not belong")


# ------------------------------------------------------------------------------------------------ header


@dataclass(frozen=True, slots=True)
class _Track:
    track_id: int
    #: Ticks a second, and how many of them what is heard first is away from the beginning of the track's clock.
    timescale: int
    shift: int
    config: bytes
    #: Which sample description, how long and how large samples are unless their fragment says otherwise.
    defaults: tuple[int, int, int]
    #: All tracks that fragments may have parts of.
    known: frozenset[int]


def _track(boxes: _Boxes, moov: _Span) -> _Track:
    """The first audio track of the header."""
    traks: list[_Span] = []
    found: dict[bytes, _Span] = {}
    for kind, span in boxes.within(moov, _MOOV):
        if kind == b"trak":
            traks.append(span)
        elif kind in found or (kind == b"mvhd" and traks):
            raise Unexpected("a header that is not in order")
        else:
            found[kind] = span
    if b"mvhd" not in found or b"mvex" not in found:
        raise Unexpected("no fragments announced")
    for kind in found.keys() & {b"udta", b"iods"}:
        boxes.refuse(_MISPLACED, found[kind])
    announced = _announced(boxes, found[b"mvex"])
    known: set[int] = set()
    ours: _Track | None = None
    for span in traks:
        trak = boxes.each(span, _TRAK, b"tkhd", b"mdia")
        mdia = boxes.each(trak[b"mdia"], _MDIA, b"mdhd", b"hdlr", b"minf")
        track_id, handler = _after_times(boxes, trak[b"tkhd"]), boxes.content(mdia[b"hdlr"])[8:12]
        if track_id in known or track_id not in announced or handler not in (b"soun", b"vide"):
            raise Unexpected("two tracks of one number, one without fragments, or one of neither sound nor pictures")
        known.add(track_id)
        if b"udta" in trak:
            boxes.refuse(_MISPLACED, trak[b"udta"])
        if ours or handler == b"vide":
            _pass_by(boxes, mdia[b"minf"])
            continue
        timescale = _after_times(boxes, mdia[b"mdhd"])
        shift = _shift(boxes, trak[b"edts"], timescale, _after_times(boxes, found[b"mvhd"])) if b"edts" in trak else 0
        ours = _Track(track_id, timescale, shift, _config(boxes, mdia[b"minf"]), announced[track_id], frozenset(announced))
    if ours is None or len(known) < len(announced):
        raise Unexpected("no audio track, or fragments of a track that there is not")
    return ours


def _pass_by(boxes: _Boxes, minf: _Span) -> None:
    """A track that is not read: all there is to know is that it ends where it says, and FFmpeg, too, finds its end there."""
    boxes.refuse(_OF_ANOTHER_TRACK, minf)
    stbl = boxes.each(minf, _OTHER_MINF, b"stbl")[b"stbl"]
    begin, end = boxes.each(stbl, _OTHER_STBL, b"stsd")[b"stsd"]
    boxes.each((begin + 8, end), (boxes.data[begin + 12 : begin + 16],))


def _after_times(boxes: _Boxes, span: _Span) -> int:
    """The number behind the times of creation and change: the track's in `tkhd`, ticks a second in `mvhd` and `mdhd`."""
    content = boxes.content(span)
    if content[:1] not in (b"\0", b"\1"):
        raise Unexpected("a version nobody knows")
    (number,) = struct.unpack_from(">I", content, 20 if content[0] else 12)
    if not 0 < number < 1 << 31:
        raise Unexpected("a track without a number, or without a clock")
    return int(number)


def _shift(boxes: _Boxes, edts: _Span, timescale: int, timescale_of_all: int) -> int:
    """The edit list: silence first or not, then the rest from a certain tick on."""
    content = boxes.content(boxes.each(edts, (b"elst",), b"elst")[b"elst"])
    version, count = struct.unpack_from(">B3xI", content)
    edits = list(struct.iter_unpack(">QqI" if version == 1 else ">IiI", content[8:48]))
    if version > 1 or len(edits) != count or len(content) != 8 + (20 if version else 12) * count:
        raise Unexpected("an edit list that is longer than it says, or than two edits")
    silence = edits.pop(0)[0] if edits and edits[0][1] == -1 else 0
    if len(edits) > 1 or any(begin < 0 for _, begin, _ in edits) or max([silence, *(begin for _, begin, _ in edits)]) >= 1 << 31:
        raise Unexpected("edits within the sound, or of times that nobody needs")
    return int((edits[0][1] if edits else 0) - (silence * timescale + timescale_of_all // 2) // timescale_of_all)


def _announced(boxes: _Boxes, mvex: _Span) -> dict[int, tuple[int, int, int]]:
    """The defaults of each track that will have fragments."""
    trexes = [struct.unpack(">4x4I4x", boxes.content(span)) for kind, span in boxes.within(mvex, (b"mehd", b"trex")) if kind == b"trex"]
    announced = {track_id: (description, duration, size) for track_id, description, duration, size in trexes}
    if len(announced) < len(trexes):
        raise Unexpected("two announcements of one track's fragments")
    return announced


def _config(boxes: _Boxes, minf: _Span) -> bytes:
    """AAC's, out of the only sample description."""
    found = boxes.each(minf, _MINF, b"stbl")
    if b"dinf" in found:
        boxes.refuse(_MISPLACED, found[b"dinf"])
    stbl = boxes.each(found[b"stbl"], _STBL, b"stsd", *_EMPTY)
    for kind, at in _EMPTY.items():
        if boxes.content(stbl[kind])[at : at + 4] != bytes(4):
            raise Unexpected("samples in the header")
    begin, end = stbl[b"stsd"]
    if boxes.content((begin, begin + 8)) != bytes(7) + b"\1":
        raise Unexpected("several sample descriptions")
    begin, end = boxes.each((begin + 8, end), (b"mp4a",), b"mp4a")[b"mp4a"]
    # Six bytes reserved and two of a reference; version 0 of an AudioSampleEntry has 20 bytes before the boxes inside.
    if end - begin < 28 or boxes.content((begin + 8, begin + 10)) != bytes(2):
        raise Unexpected("QuickTime's description of samples")
    return _specific(boxes.content(boxes.each((begin + 28, end), (b"esds", b"btrt"), b"esds")[b"esds"]))


def _specific(esds: bytes) -> bytes:
    """The decoder's configuration, out of descriptors within descriptors (ISO/IEC 14496-1, 7.2.6)."""
    stream = _descriptor(esds[4:], 0x03)
    if stream[2:3] != b"\0":
        raise Unexpected("a stream that depends on another")
    decoder = _descriptor(stream[3:], 0x04)
    config = _descriptor(decoder[13:], 0x05)
    # AAC LC, by itself or (5: SBR) with a rate of its own behind; 15 is a rate that is none of the usual.
    bits = int.from_bytes(config[:3].ljust(3, b"\0"))
    kind, rate, inner_rate, inner = bits >> 19, bits >> 15 & 15, bits >> 7 & 15, bits >> 2 & 31
    if decoder[:1] != b"\x40" or len(config) < 2 or not (kind == 2 or (kind == 5 and inner == 2 and inner_rate < 13)) or rate > 12:
        raise Unexpected("another codec than AAC LC, or more than that")
    return config


def _descriptor(data: bytes, tag: int) -> bytes:
    size = 0
    for at, byte in enumerate(data[1:5], start=2):
        size = size << 7 | byte & 0x7F
        if byte < 0x80:
            if data[0] != tag or not 0 < size <= len(data) - at:
                break
            return data[at : at + size]
    raise Unexpected("another descriptor than expected, or one cut off")


# ------------------------------------------------------------------------------------------------ fragments


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Samples that follow one upon the other: those of a `trun` box."""

    #: In ticks: when the first one is due, and the last; how long that one lasts.
    first: int
    last: int
    last_duration: int
    samples: list[bytes]


def _fragment(boxes: _Boxes, track: _Track, moof: _Span, mdat: _Span) -> list[_Stretch]:
    """What a fragment has of the track."""
    found: list[list[_Stretch]] = []
    trafs = [span for kind, span in boxes.within(moof, (b"mfhd", b"traf")) if kind == b"traf"]
    for span in trafs:
        flags, track_id = struct.unpack_from(">8xII", boxes.data, span[0])
        if track_id not in track.known:
            raise Unexpected("a part of a track that there is not")
        ours = track_id == track.track_id
        traf = list(boxes.within(span, _TRAF if ours else _OTHER_TRAF))
        if [number for number, (kind, _) in enumerate(traf) if kind == b"tfhd"] != [0]:
            raise Unexpected("a part of a fragment that does not begin by saying of which track")
        if ours and not flags & _BASE_IS_MOOF and span != trafs[0]:
            raise Unexpected("samples that begin where those of another track end")
        if ours:
            found.append(_stretches(boxes, track, traf, moof[0] - 8, mdat))
    if len(found) > 1:
        raise Unexpected("a fragment with two parts of one track")
    return found[0] if found else []


def _stretches(boxes: _Boxes, track: _Track, traf: list[tuple[bytes, _Span]], base: int, mdat: _Span) -> list[_Stretch]:
    defaults = _defaults_here(track, boxes.content(traf[0][1]))
    timed = [kind for kind, _ in traf if kind in (b"tfdt", b"trun")]
    if timed[:1] != [b"tfdt"] or timed.count(b"tfdt") > 1:
        raise Unexpected("samples without a time in front, or with two")
    due, (free, end) = 0, mdat
    stretches: list[_Stretch] = []
    for kind, span in traf:
        if kind == b"tfdt":
            # FFmpeg's muxer writes times before zero, and its demuxer takes them for what they are.
            (due,) = struct.unpack(">4xq" if boxes.content(span)[:1] == b"\1" else ">4xI", boxes.content(span))
        if kind != b"trun":
            continue
        offset, durations, sizes = _table(boxes, span, defaults)
        if not 1 <= durations.min() <= durations.max() <= track.timescale or sizes.min() < 1 or abs(due) > _TICKS_MAX:
            raise Unexpected("a sample of nothing, or of more than a second, or at the end of time")
        edges = [base + offset, *(base + offset + np.cumsum(sizes)).tolist()]
        if not free <= edges[0] <= edges[-1] <= end:
            raise Unexpected("samples elsewhere than in the data of their fragment, or twice")
        free, ends, last = edges[-1], due + int(durations.sum()), int(durations[-1])
        stretches.append(_Stretch(due, ends - last, last, [boxes.data[first:after] for first, after in itertools.pairwise(edges)]))
        due = ends
    return stretches


def _defaults_here(track: _Track, tfhd: bytes) -> tuple[int, int]:
    """How long the samples of this fragment are, and how large, where nothing is said of each."""
    flags, *told = struct.unpack(f">I4x{len(tfhd[8:24]) // 4}I", tfhd)
    fields = [field for field in (_DESCRIPTION, _DURATION, _SIZE, _FLAGS) if flags & field]
    if flags & ~(_BASE_IS_MOOF | sum(fields)) or len(told) != len(fields):
        raise Unexpected("a fragment that counts from elsewhere, or says what is not known")
    here = dict(zip((_DESCRIPTION, _DURATION, _SIZE), track.defaults, strict=True)) | dict(zip(fields, told, strict=True))
    if here[_DESCRIPTION] != 1:
        raise Unexpected("samples of another description than the first")
    return here[_DURATION], here[_SIZE]


def _table(boxes: _Boxes, trun: _Span, defaults: tuple[int, int]) -> tuple[int, Int64, Int64]:
    """Where the data of a run begins, from its base; ticks and bytes of each sample."""
    flags, count, offset = struct.unpack_from(">IIi", boxes.data, trun[0])
    fields = [field for field in (_SAMPLE_DURATION, _SAMPLE_SIZE, _SAMPLE_FLAGS, _SAMPLE_SHIFT) if flags & field]
    at = trun[0] + (16 if flags & _FIRST_FLAGS else 12)
    # The first byte is a version, 0 or 1: of the signs of what is zero here.
    if not flags & _DATA_OFFSET or flags & 0xFEFFFFFF & ~(_DATA_OFFSET | _FIRST_FLAGS | sum(fields)) or at + 4 * len(fields) * count != trun[1]:
        raise Unexpected("a run of samples that does not say where they are, or how many")
    boxes.claim(count)
    table = dict(zip(fields, np.frombuffer(boxes.data, ">u4", len(fields) * count, at).reshape(count, len(fields)).T.astype(np.int64), strict=True))
    if _SAMPLE_SHIFT in table and table[_SAMPLE_SHIFT].any():
        raise Unexpected("sound that is presented in another order")
    durations, sizes = (
        table[field] if field in table else np.full(count, default) for field, default in zip((_SAMPLE_DURATION, _SAMPLE_SIZE), defaults, strict=True)
    )
    return offset, durations, sizes


def _runs(track: _Track, stretches: list[_Stretch]) -> list[Run]:
    """Raises Unexpected where time runs backwards: FFmpeg decodes what is there a second time, and drops it."""
    runs: list[Run] = []
    expected, last = 0, -2 * _TICKS_MAX
    for stretch in stretches:
        if stretch.first <= last:
            raise Unexpected("fragments whose times overlap")
        pts = _pts(track, stretch.first - track.shift)
        if runs and continues(pts, expected):
            runs[-1].samples.extend(stretch.samples)
        else:
            runs.append(Run(pts, stretch.samples))
        last = stretch.last
        expected = _pts(track, last - track.shift) + _pts(track, stretch.last_duration)
    return runs


def _pts(track: _Track, ticks: int) -> int:
    return round(Fraction(ticks * PTS_HZ, track.timescale))
