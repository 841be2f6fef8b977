"""The audio of an MPEG transport stream (ISO/IEC 13818-1), read with a few NumPy operations per segment.

FFmpeg's demuxer costs five times as much on audio and thirty times as much on muxed video (it parses what nobody
looks at). This reader knows just what nearly every live segment is: whole packets, one programme, AAC in ADTS or
MPEG audio, nothing scrambled, nothing lost. Anything else raises `Unexpected`, and the caller lets FFmpeg try.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PACKET_BYTES = 188
#: M2TS: four bytes of arrival time stamp before each packet.
STAMPED_PACKET_BYTES = 192
SYNC = 0x47
PTS_HZ = 90_000
#: Time stamps are 33 bits: they wrap every 26.5 hours.
PTS_MODULUS = 1 << 33

#: Stream types (ISO/IEC 13818-1 table 2-34) whose payload is a plain sequence of frames, and FFmpeg's decoder of them.
ELEMENTARY = {0x0F: "aac", 0x03: "mp3float", 0x04: "mp3float"}
#: Stream types that are heard, but not by this reader: LATM, AC-3, DTS, E-AC-3, and whatever registers itself (private PES).
OTHER_AUDIO = {0x11, 0x81, 0x82, 0x87, 0x06}
#: Stream types that are pictures: MPEG-1, 2 and 4, H.264, H.265, H.266.
VIDEO = {0x01, 0x02, 0x10, 0x1B, 0x24, 0x33}
#: Two time stamps of one stream further apart than this (or in the wrong order) belong to different runs of the encoder's clock.
#: Audio PES packets hold well below a second.
RUN_BREAK_S = 2.0

Bytes2d = npt.NDArray[np.uint8]


def ticks_between(earlier: int, later: int) -> int:
    """Signed, the shorter way round."""
    return (later - earlier + PTS_MODULUS // 2) % PTS_MODULUS - PTS_MODULUS // 2


class Unexpected(Exception):
    """Not what this reader knows; FFmpeg may."""


class NoAudio(Exception):
    """A sound transport stream without any audio in it."""


@dataclass(frozen=True, slots=True)
class Run:
    """Frames on one run of the encoder's clock."""

    #: Presentation time of the first whole frame, 90 kHz, 33 bits; None where there is none.
    pts: int | None
    data: bytes


@dataclass(frozen=True, slots=True)
class Elementary:
    """The first audio stream of a programme."""

    #: FFmpeg's name of the decoder: `aac` (ADTS frames) or `mp3float`.
    codec: str
    runs: tuple[Run, ...]


def read(data: bytes) -> Elementary:
    """The audio of a segment.

    Raises NoAudio when the programme lists no audio, Unexpected for everything that is not read here.
    """
    packets = _packets(data)
    pids = pids_of(packets)
    codec, pid = _first_audio(programme_of(packets, pids))
    rows = packets[pids == pid]
    if (rows[:, 1] & 0x80).any() or (rows[:, 3] & 0xC0).any():
        raise Unexpected("a packet is marked as damaged, or scrambled")
    rows, starts = _payloads(rows)
    steps = np.diff(rows[:, 3] & 0x0F) & 0x0F
    if (steps != 1).any():
        raise Unexpected("packets are missing, or sent twice")
    return Elementary(codec, _runs(rows, starts))


def _packets(data: bytes) -> Bytes2d:
    """uint8 [n, 188]; a cut-off last packet is dropped."""
    for stride, sync_at in ((PACKET_BYTES, 0), (STAMPED_PACKET_BYTES, STAMPED_PACKET_BYTES - PACKET_BYTES)):
        count = len(data) // stride
        rows = np.frombuffer(data, np.uint8, count * stride).reshape(count, stride)
        if count and (rows[:, sync_at] == SYNC).all():
            return rows[:, sync_at:]
    raise Unexpected("no sync byte at every packet")


def pids_of(packets: Bytes2d) -> npt.NDArray[np.int32]:
    return ((packets[:, 1].astype(np.int32) & 0x1F) << 8) | packets[:, 2]


@dataclass(frozen=True, slots=True)
class Programme:
    pmt_pid: int
    #: (stream type, pid), in the order of the map.
    streams: tuple[tuple[int, int], ...]


def _first_audio(programme: Programme) -> tuple[str, int]:
    for kind, pid in programme.streams:
        if kind in ELEMENTARY:
            return ELEMENTARY[kind], pid
    if any(kind in OTHER_AUDIO for kind, _ in programme.streams):
        raise Unexpected("audio of another kind, or data that may be audio")
    raise NoAudio("it has video but no audio" if any(kind in VIDEO for kind, _ in programme.streams) else "it has no audio stream")


def programme_of(packets: Bytes2d, pids: npt.NDArray[np.int32]) -> Programme:
    pat = _sections(packets[pids == 0], table_id=0x00)
    programmes = [(int.from_bytes(e[:2]), int.from_bytes(e[2:4]) & 0x1FFF) for e in (pat[i : i + 4] for i in range(5, len(pat) - 3, 4))]
    pmt_pid = next((pid for number, pid in programmes if number), None)
    if pmt_pid is None:
        raise Unexpected("no programme in the association table")
    pmt = _sections(packets[pids == pmt_pid], table_id=0x02)
    if len(pmt) < 9:
        raise Unexpected("a programme map that is too short")
    streams = []
    at = 9 + (int.from_bytes(pmt[7:9]) & 0x0FFF)
    while at + 5 <= len(pmt):
        streams.append((pmt[at], int.from_bytes(pmt[at + 1 : at + 3]) & 0x1FFF))
        at += 5 + (int.from_bytes(pmt[at + 3 : at + 5]) & 0x0FFF)
    if not streams:
        raise Unexpected("a programme map without streams")
    return Programme(pmt_pid, tuple(streams))


def _sections(rows: Bytes2d, *, table_id: int) -> bytes:
    """The one section that all these packets carry: what lies between its length field and its checksum."""
    found: set[bytes] = set()
    # Repeated many times a second, and nearly always the same but for the counter in the header.
    same = len(rows) > 1 and bool((rows[1:, 4:] == rows[0, 4:]).all()) and bool(rows[0, 1] & 0x40)
    begins = np.flatnonzero(rows[:, 1] & 0x40)[: 1 if same else None]
    for begin, end in itertools.pairwise([*begins, len(rows)]):
        body = b"".join(_payload(row) for row in rows[begin : begin + 1 if same else end])
        at = 1 + body[0] if body else 1
        if len(body) < at + 3 or body[at] != table_id:
            raise Unexpected("another table where the programme's was expected")
        length = int.from_bytes(body[at + 1 : at + 3]) & 0x0FFF
        section = body[at + 3 : at + 3 + length]
        if len(section) < length and end == len(rows) and found:
            break  # the segment ends within a table that was there before
        if length < 4 or len(section) < length:
            raise Unexpected("a table that breaks off")
        found.add(section[:-4])
    if len(found) != 1:
        raise Unexpected("no programme table, or one that changes")
    return found.pop()


def _payload(row: npt.NDArray[np.uint8]) -> bytes:
    begin = 5 + int(row[4]) if row[3] & 0x20 else 4
    return row[begin:].tobytes() if row[3] & 0x10 else b""


def _payloads(rows: Bytes2d) -> tuple[Bytes2d, npt.NDArray[np.int32]]:
    """The rows that carry payload, and where in each it starts."""
    rows = rows[(rows[:, 3] & 0x10) != 0]
    if not len(rows):
        raise Unexpected("an audio stream without payload")
    starts = np.where(rows[:, 3] & 0x20, 5 + rows[:, 4].astype(np.int32), 4)
    if (starts > PACKET_BYTES).any():
        raise Unexpected("an adaptation field longer than its packet")
    return rows, starts


def _runs(rows: Bytes2d, starts: npt.NDArray[np.int32]) -> tuple[Run, ...]:
    heads = np.flatnonzero(rows[:, 1] & 0x40)
    stamps: list[tuple[int, int]] = []  # (row, PTS) of each PES packet that has one
    for head in heads:
        start, pts = pes_of(rows[head], int(starts[head]))
        starts[head] = start
        if pts is not None:
            stamps.append((int(head), pts))
    if len(heads) and _is_loas(rows[heads[0]], int(starts[heads[0]])):
        raise Unexpected("AAC in LOAS frames where the table says ADTS")
    breaks = [
        row for (_, earlier), (row, pts) in itertools.pairwise(stamps)
        if not 0 < (pts - earlier) % PTS_MODULUS <= RUN_BREAK_S * PTS_HZ
    ]  # fmt: skip
    at_row = dict(stamps)
    # A continuation of the previous segment's last PES packet comes before the first head: its frames end there.
    firsts = [0, *breaks]
    kept = np.arange(PACKET_BYTES, dtype=np.int32) >= starts[:, None]
    runs = []
    for first, end in zip(firsts, [*breaks, len(rows)], strict=True):
        pts = at_row.get(first) if first else (stamps[0][1] if stamps else None)
        runs.append(Run(pts, rows[first:end][kept[first:end]].tobytes()))
    return tuple(runs)


def _is_loas(row: npt.NDArray[np.uint8], start: int) -> bool:
    """FFmpeg's own muxer lists LATM as if it were ADTS; its sync word is 0x2B7 (ISO/IEC 14496-3, 1.7.2)."""
    sync = row[start : start + 2]
    return len(sync) == 2 and sync[0] == 0x56 and (sync[1] & 0xE0) == 0xE0


def pes_of(row: npt.NDArray[np.uint8], start: int) -> tuple[int, int | None]:
    """Where the PES packet's payload starts, and its presentation time (ISO/IEC 13818-1, 2.4.3.6)."""
    head = row[start : start + 14].tobytes()
    if len(head) < 9 or head[:3] != b"\x00\x00\x01" or head[6] & 0xC0 != 0x80:
        raise Unexpected("no PES header where one was announced")
    if head[6] & 0x30:
        raise Unexpected("a scrambled PES packet")
    payload = start + 9 + head[8]
    if payload > PACKET_BYTES:
        raise Unexpected("a PES header that spans packets")
    if not head[7] & 0x80:
        return payload, None
    if len(head) < 14 or head[8] < 5:
        raise Unexpected("a PES header that is too short for its time stamp")
    a, b, c = head[9], int.from_bytes(head[10:12]), int.from_bytes(head[12:14])
    return payload, ((a >> 1) & 7) << 30 | (b >> 1) << 15 | c >> 1
