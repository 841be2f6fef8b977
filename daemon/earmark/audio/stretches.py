"""The sound of a long transport stream while its bytes pass: cut out, in stretches, each a transport stream of its own.

An archive file holds up to an hour, gigabytes, most of it video. What is kept of it is one stretch of its sound. Pure.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from earmark.audio.mpegts import (
    ELEMENTARY,
    OTHER_AUDIO,
    PACKET_BYTES,
    PTS_HZ,
    PTS_MODULUS,
    RUN_BREAK_S,
    STAMPED_PACKET_BYTES,
    SYNC,
    Bytes2d,
    Programme,
    Unexpected,
    pes_of,
    pids_of,
    programme_of,
)

#: A programme's tables come several times a second.
HEAD_BYTES_MAX: Final = 8_000_000
#: Of a stretch: ten seconds of the best sound there is are less than two megabytes.
STRETCH_BYTES_MAX: Final = 8_000_000
#: Packets in a row that begin as packets do, before it is believed that they are some.
_SYNCED: Final = 3
#: The private data that may be sound, or teletext, or anything: taken where nothing else is.
_PRIVATE: Final = 0x06
#: Of an ADTS header (ISO/IEC 13818-7, 6.2), and samples of a frame.
_ADTS_RATES_HZ: Final = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_ADTS_BYTES, _ADTS_SAMPLES = 7, 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """What the head of a transport stream says of all of it."""

    #: The packets that say so; and where in a packet's bytes its sync byte is, of how many.
    data: bytes
    sync_at: int
    stride: int
    #: Of the sound; none: there is none. The stream type of the first.
    pids: tuple[int, ...]
    kind: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    data: bytes
    #: Where in the file the next one begins.
    end: int
    #: 90 kHz, 33 bits: of the first frame that begins in it, and behind the last; None where it has no time stamps.
    begin_pts: int | None = None
    end_pts: int | None = None


def tables_of(head: bytes) -> Tables | None:
    """None: they are not in these bytes, or not wholly. Raises Unexpected where these are no transport stream."""
    if len(head) < _SYNCED * STAMPED_PACKET_BYTES:
        return None
    stride, sync_at = _stride(head)
    packets = _packets(head, stride)[:, sync_at:]
    synced = packets[:, 0] == SYNC
    packets = packets[: len(packets) if synced.all() else int(np.argmin(synced))]
    pids = pids_of(packets)
    try:
        programme = programme_of(packets, pids)
    except Unexpected:
        return None
    data = b"".join(_first(packets[pids == pid]).tobytes() for pid in (0, programme.pmt_pid))
    kind, audio = _sound(programme)
    return Tables(data=data, sync_at=sync_at, stride=stride, pids=audio, kind=kind)


def begins_at(head: bytes) -> int | None:
    """The first time stamp of the sound, 90 kHz, 33 bits; None where these bytes have none. Raises Unexpected."""
    stretches = Stretches(seconds=math.inf)
    found = list(stretches.push(head))
    return found[0].begin_pts if found else stretches.begin_pts


class Stretches:
    """`push` the bytes of a file as they come, from `begin` on, then `flush`. Of a file whose head was read before, `tables` are known."""

    def __init__(self, *, seconds: float, begin: int = 0, tables: Tables | None = None) -> None:
        self._ticks = seconds * PTS_HZ
        self._tables = tables
        #: Bytes that are no whole packet yet, and where they are in the file.
        self._rest, self._at = b"", begin
        self._rows: list[Bytes2d] = []
        self._rows_n = 0
        self._given = False
        #: The first time stamp of what is kept.
        self.begin_pts: int | None = None
        #: The last two PES packets with a time stamp: where the last begins among the rows, and when both do.
        self._head: tuple[int, int] | None = None
        self._before: int | None = None

    @property
    def mute(self) -> bool:
        """There is nothing to hear in it, and no more of it has to be read."""
        return self._tables is not None and not self._tables.pids

    def push(self, data: bytes) -> Iterator[Stretch]:
        """Raises Unexpected for what is no transport stream, or one whose tables are not found."""
        self._rest += data
        if self._tables is None:
            self._tables = tables_of(self._rest)
            if self._tables is None and len(self._rest) > HEAD_BYTES_MAX:
                raise Unexpected(f"no programme tables in its first {HEAD_BYTES_MAX:,} bytes")
        if self._tables and self._tables.pids:
            yield from self._pass(self._tables)

    def flush(self) -> Iterator[Stretch]:
        """What is left at the file's end; of a file without sound its tables, which say so."""
        if self._tables is None:
            raise Unexpected("no programme tables in it")
        if self._rows_n or not self._given:
            yield self._close(self._at + len(self._rest), None)

    def _pass(self, tables: Tables) -> Iterator[Stretch]:
        while len(self._rest) >= tables.stride:
            packets = _packets(self._rest, tables.stride)
            synced = packets[:, tables.sync_at] == SYNC
            whole = len(packets) if synced.all() else int(np.argmin(synced))
            yield from self._take(packets[:whole, tables.sync_at :], tables)
            self._skip(whole * tables.stride)
            if whole < len(packets) and not self._synchronise(tables):
                return

    def _skip(self, count: int) -> None:
        self._rest, self._at = self._rest[count:], self._at + count

    def _synchronise(self, tables: Tables) -> bool:
        """To where packets begin again, behind something that is none; False: not in what is here."""
        reach = (_SYNCED - 1) * tables.stride + tables.sync_at
        data = np.frombuffer(self._rest, np.uint8)
        count = len(data) - reach
        if count > 1:
            begins = np.all([data[n * tables.stride + tables.sync_at :][:count] == SYNC for n in range(_SYNCED)], axis=0)
            begins[0] = False
            found = int(np.argmax(begins)) or count
            self._skip(found)
            return found < count
        return False

    def _take(self, packets: Bytes2d, tables: Tables) -> Iterator[Stretch]:
        places = np.flatnonzero(np.isin(pids_of(packets), tables.pids))
        rows = packets[places]
        taken = 0
        for head in np.flatnonzero((rows[:, 1] & 0x40) != 0):
            pts = _pts(rows[head])
            if pts is None:
                continue
            self._keep(rows[taken:head])
            taken = int(head)
            if self.begin_pts is not None and ((pts - self.begin_pts) % PTS_MODULUS >= self._ticks or self._rows_n * PACKET_BYTES > STRETCH_BYTES_MAX):
                yield self._close(self._at + int(places[head]) * tables.stride, pts)
            self.begin_pts = pts if self.begin_pts is None else self.begin_pts
            self._before = self._head[1] if self._head else None
            self._head = self._rows_n, pts
        self._keep(rows[taken:])
        if self._rows_n * PACKET_BYTES > 2 * STRETCH_BYTES_MAX:  # no time stamps, for long
            yield self._close(self._at + len(packets) * tables.stride, None)

    def _keep(self, rows: Bytes2d) -> None:
        if len(rows):
            self._rows.append(rows)
            self._rows_n += len(rows)

    def _close(self, end: int, next_pts: int | None) -> Stretch:
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, PACKET_BYTES), np.uint8)
        tables = self._tables.data if self._tables else b""
        stretch = Stretch(data=tables + rows.tobytes(), end=end, begin_pts=self.begin_pts, end_pts=self._end(rows, next_pts))
        self._rows, self._rows_n, self.begin_pts, self._head, self._before = [], 0, None, None, None
        self._given = True
        return stretch

    def _end(self, rows: Bytes2d, next_pts: int | None) -> int | None:
        """When the last frame ends: when the next begins, unless that is on another run of the clock."""
        if self._head is None:
            return None
        at, pts = self._head
        if next_pts is not None and 0 < (next_pts - pts) % PTS_MODULUS <= RUN_BREAK_S * PTS_HZ:
            return next_pts
        ticks = _ticks(rows[at:]) if self._tables and ELEMENTARY.get(self._tables.kind) == "aac" else 0
        if not ticks and self._before is not None:
            ticks = (pts - self._before) % PTS_MODULUS
        return (pts + (ticks if ticks <= RUN_BREAK_S * PTS_HZ else 0)) % PTS_MODULUS


def _stride(head: bytes) -> tuple[int, int]:
    for stride, sync_at in ((PACKET_BYTES, 0), (STAMPED_PACKET_BYTES, STAMPED_PACKET_BYTES - PACKET_BYTES)):
        packets = _packets(head[: 8 * stride], stride)
        if len(packets) and (packets[:, sync_at] == SYNC).all():
            return stride, sync_at
    raise Unexpected("no sync byte at every packet")


def _packets(data: bytes, stride: int) -> Bytes2d:
    count = len(data) // stride
    return np.frombuffer(data, np.uint8, count * stride).reshape(count, stride)


def _first(rows: Bytes2d) -> Bytes2d:
    """The packets of the first table: it begins in a packet that says so, and ends before the next such."""
    begins = np.flatnonzero(rows[:, 1] & 0x40)
    return rows[begins[0] : begins[1] if len(begins) > 1 else None]


def _sound(programme: Programme) -> tuple[int, tuple[int, ...]]:
    """The first that is read here; else what FFmpeg may know."""
    for kinds in (ELEMENTARY.keys(), OTHER_AUDIO - {_PRIVATE}):
        for kind, pid in programme.streams:
            if kind in kinds:
                return kind, (pid,)
    return _PRIVATE, tuple(pid for kind, pid in programme.streams if kind == _PRIVATE)


def _pts(row: npt.NDArray[np.uint8]) -> int | None:
    start = _start(row)
    try:
        return pes_of(row, start)[1] if start < PACKET_BYTES else None
    except Unexpected:
        return None  # whoever decodes it will say


def _start(row: npt.NDArray[np.uint8]) -> int:
    """Where the payload begins; beyond the packet where it has none."""
    if not row[3] & 0x10:
        return PACKET_BYTES
    return 5 + int(row[4]) if row[3] & 0x20 else 4


def _ticks(rows: Bytes2d) -> int:
    """How long the frames last that begin in this PES packet, if they are ADTS."""
    data = b"".join(row[pes_of(row, _start(row))[0] if not index else _start(row) :].tobytes() for index, row in enumerate(rows))
    at, frames, rate_hz = 0, 0, 0
    while 0 <= at <= len(data) - _ADTS_BYTES:
        size = (data[at + 3] & 0x03) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
        rate = data[at + 2] >> 2 & 0x0F
        if data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0 or size < _ADTS_BYTES or rate >= len(_ADTS_RATES_HZ):
            at = data.find(b"\xff", at + 1)
            continue
        frames += 1 + (data[at + 6] & 0x03)
        rate_hz = _ADTS_RATES_HZ[rate]
        at += size
    return round(frames * _ADTS_SAMPLES * PTS_HZ / rate_hz) if frames else 0
