"""The forward copy: constellations as they are stored, and the passages that a verification reads of them.

A peak takes four bytes: its time within its doc (16 bits, eighths of a frame, so 8,192 frames a doc), its frequency
(15 bits, eighths of a hertz) and whether it is hashed. Sorted as numbers they are sorted by time, then frequency. Each
doc knows where its slices of 256 frames (8.2 s) begin, so a verification of 12 s reads two or three slices of about
1.1 kB, by `substring` on a column that is stored uncompressed.

Slices read are kept, the most recently used ones, bounded in bytes: an open play is verified against the same few
seconds again and again, and one recording is often on many streams at once.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.alias import Alias
from earmark.index import version
from earmark.index.overlaps import spans_of
from earmark.matching.stretches import merged
from earmark.model import EIGHTHS, Passage, Peaks, Reference, Shared
from earmark.postgres import Pool, statement

FRAME_BITS: Final = 13
PART_FRAMES: Final = 1 << FRAME_BITS
SLICE_FRAMES: Final = 256
SLICES_PER_PART: Final = PART_FRAMES // SLICE_FRAMES
#: No passage is longer than 18 hours, whatever is asked for.
_SLICES_MAX: Final = 1 << 13
#: What a kept slice costs beside its peaks: key, bytes object, dictionary entry.
_OVERHEAD_BYTES: Final = 250
#: A number in a tuple, and what points to it.
_TIME_BYTES: Final = 40

Packed: TypeAlias = npt.NDArray[np.uint32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """What one row of `doc` holds of a recording."""

    part: int
    frames: int
    #: Number of peaks before each slice, and in all: 33 numbers.
    slice_starts: list[int]
    packed: bytes


def pack(peaks: Peaks) -> Packed:
    """Four bytes a peak, uint32 [n]; times are within their part. Raises ValueError for peaks that do not fit."""
    if len(peaks) and (peaks.eighth_frames.min() < 0 or peaks.eighth_hz.min() < 0 or peaks.eighth_hz.max() >= 1 << 15):
        raise ValueError("peaks must not lie before the recording's first sample, nor beyond 4,096 Hz")
    time = peaks.eighth_frames.astype(np.uint32) & np.uint32(PART_FRAMES * EIGHTHS - 1)
    packed: Packed = (time << np.uint32(16)) | (peaks.eighth_hz.astype(np.uint32) << np.uint32(1))
    return np.bitwise_or(packed, peaks.hashed, dtype=np.uint32)


def unpack(packed: Packed, first_frame: int | npt.NDArray[np.int32] = 0) -> Peaks:
    """The peaks as they were, in frames since the recording's first sample; without salience, which is not kept."""
    time: npt.NDArray[np.int32] = (packed >> np.uint32(16)).astype(np.int32) + np.int32(EIGHTHS) * first_frame
    return Peaks(
        eighth_frames=time,
        eighth_hz=((packed >> np.uint32(1)) & np.uint32(0x7FFF)).astype(np.int32),
        hashed=(packed & np.uint32(1)).astype(np.bool_),
        salience=np.zeros(len(packed), np.float32),
    )


def parts(peaks: Peaks, frames: int) -> list[Part]:
    """A recording's peaks as rows of `doc`: one for every 8,192 of its frames, at least one."""
    packed = pack(peaks)
    last_frame = int(peaks.eighth_frames[-1]) // EIGHTHS if len(peaks) else 0
    frames = max(frames, last_frame + 1)
    made = []
    for first_frame in range(0, frames, PART_FRAMES):
        borders = (first_frame + SLICE_FRAMES * np.arange(SLICES_PER_PART + 1)) * EIGHTHS
        starts = np.searchsorted(peaks.eighth_frames, borders)
        made.append(
            Part(
                part=first_frame // PART_FRAMES,
                frames=min(PART_FRAMES, frames - first_frame),
                slice_starts=(starts - starts[0]).tolist(),
                packed=packed[starts[0] : starts[-1]].astype("<u4").tobytes(),
            )
        )
    return made


def sha256(peaks: Peaks) -> bytes:
    """SHA-256 of a constellation: equal for equal audio, whatever container and tags it came in."""
    return hashlib.sha256(pack(peaks).astype("<u4").tobytes()).digest()


# One statement is one snapshot: never half of an old version and half of a new one. `offset 0` pins the nested loops.
_READ = f"""
select t.track_no, coalesce(p.track_id, t.track_id), t.duration_s,
       case when a.of_no is not null then json_build_array(t.track_id, p.duration_s,
         (select json_build_array(one_no, speed, spans) from overlap o
          where o.one_no = least(t.track_no, a.of_no) and o.other_no = greatest(t.track_no, a.of_no))) end,
       (select array_agg(n.track_id order by n.track_no)
        from track_alias b join track n on n.track_no = b.track_no where b.of_no = coalesce(a.of_no, t.track_no)),
       (select json_agg(json_build_array(begin_frame, end_frame, eighth_frames)) from shared_passage h where h.track_no = t.track_no and not version),
       d.part, s.first, d.slice_starts[s.first + 1:s.last + 1],
       substring(d.peaks from 1 + 4 * d.slice_starts[s.first + 1] for 4 * (d.slice_starts[s.last + 1] - d.slice_starts[s.first + 1])),
       {version.OF_TABLES}
from unnest(%(track)s::int4[], %(first)s::int4[], %(last)s::int4[]) as q (track_no, first, last)
cross join lateral (select track_no, track_id, duration_s from track where track_no = q.track_no offset 0) t
left join track_alias a on a.track_no = t.track_no
left join track p on p.track_no = a.of_no
left join lateral (select part, slice_starts, peaks from doc
                   where track_no = q.track_no and retired_at is null and part between q.first / 32 and (q.last - 1) / 32 offset 0) d on true
left join lateral (select greatest(q.first - d.part * 32, 0) as first, least(q.last - d.part * 32, 32) as last) s on true
"""


@dataclass(frozen=True, slots=True)
class _Recording:
    #: Of the recording that it is an alias of, if it is one.
    track_id: str
    duration_s: float
    aliases: tuple[str, ...]
    shared: tuple[Shared, ...]
    alias: Alias | None


#: (track_no, slice); the slice -1 stands for the `_Recording`.
_Key: TypeAlias = tuple[int, int]


class Constellations:
    """Passages of recordings, from the cache or the database. May be used by many threads.

    What a track_no stands for never changes: a recording that is replaced gets another. So the peaks that are kept stay
    true, but for the recordings that are gone; what a recording shares changes with the others.
    """

    def __init__(self, *, pool: Pool, cache_bytes: int) -> None:
        self._pool = pool
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, bytes | _Recording] = OrderedDict()
        self._kept_bytes = 0
        self._gone: set[int] = set()
        self._changes = 0

    def forget(self, track_nos: Iterable[int]) -> None:
        """These recordings were replaced or removed."""
        self._gone.update(track_nos)

    def changed(self, track_nos: Iterable[int]) -> None:
        """What is known about these recordings, beside their peaks, may be another now."""
        with self._lock:
            self._changes += 1
            for track_no in track_nos:
                if (kept := self._kept.pop((track_no, -1), None)) is not None:
                    self._kept_bytes -= _cost(kept)

    @property
    def kept_bytes(self) -> int:
        return self._kept_bytes

    def fetch(self, passages: Sequence[Passage]) -> list[Reference]:
        """One reference for each passage whose recording exists. Raises DatabaseUnavailable."""
        wanted = [(passage, _slices(passage)) for passage in passages if passage.track_no not in self._gone]
        with self._lock:
            changes = self._changes
            have = {key: kept for passage, slices in wanted for key in _keys(passage, slices) if (kept := self._touch(key)) is not None}
        missing = [(passage, slices) for passage, slices in wanted if not all(key in have for key in _keys(passage, slices))]
        if missing:
            read = self._read(missing)
            have.update(read)
            with self._lock:
                for key, kept in read.items():
                    if changes == self._changes or key[1] != -1:  # or it may have been read before the change
                        self._keep(key, kept)
        return _references([(passage, slices) for passage, slices in wanted if (passage.track_no, -1) in have], have)

    def _read(self, missing: Sequence[tuple[Passage, range]]) -> dict[_Key, bytes | _Recording]:
        parameters = {
            "track": np.array([passage.track_no for passage, _ in missing], np.int32),
            "first": np.array([slices.start for _, slices in missing], np.int32),
            "last": np.array([slices.stop for _, slices in missing], np.int32),
        }
        with statement(self._pool) as connection:
            rows = connection.execute(_READ, parameters, prepare=True, binary=True).fetchall()
        found: dict[_Key, bytes | _Recording] = {}
        for track_no, track_id, duration_s, alias, aliases, shared, part, first, starts, packed, of_version in rows:
            version.expect(of_version, self._pool)
            found[track_no, -1] = _Recording(track_id, duration_s, tuple(aliases or ()), _shared(shared) if shared else (), _alias(track_no, alias))
            if part is not None:
                number = part * SLICES_PER_PART + first
                for n, (begin, end) in enumerate(pairwise(starts)):
                    found[track_no, number + n] = packed[4 * (begin - starts[0]) : 4 * (end - starts[0])]
        for passage, slices in missing:
            if (passage.track_no, -1) in found:
                for key in _keys(passage, slices):
                    found.setdefault(key, b"")  # beyond the recording's end, or silent
        return found

    def _touch(self, key: _Key) -> bytes | _Recording | None:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def _keep(self, key: _Key, kept: bytes | _Recording) -> None:
        before = self._kept.pop(key, None)
        self._kept_bytes += _cost(kept) - (_cost(before) if before is not None else 0)
        self._kept[key] = kept
        while self._kept_bytes > self._cache_bytes:
            self._kept_bytes -= _cost(self._kept.popitem(last=False)[1])


def _slices(passage: Passage) -> range:
    first = max(0, passage.begin_frame) // SLICE_FRAMES
    end = -(-max(0, passage.end_frame) // SLICE_FRAMES)
    return range(first, max(first + 1, min(end, first + _SLICES_MAX)))


def _keys(passage: Passage, slices: range) -> list[_Key]:
    return [(passage.track_no, number) for number in (-1, *slices)]


def _cost(kept: bytes | _Recording) -> int:
    if isinstance(kept, bytes):
        return _OVERHEAD_BYTES + len(kept)
    return _OVERHEAD_BYTES + len(kept.track_id) + sum(map(len, kept.aliases)) + sum(_OVERHEAD_BYTES + _TIME_BYTES * len(s.eighth_frames) for s in kept.shared)


def _shared(rows: Sequence[tuple[int, int, Sequence[int]]]) -> tuple[Shared, ...]:
    return merged([Shared(begin_frame=begin, end_frame=end, eighth_frames=tuple(times)) for begin, end, times in rows])


def _alias(track_no: int, row: Sequence[Any] | None) -> Alias | None:
    """A recording that is one: its own name, and how it lies on the one that it is told as, if that is on record."""
    if row is None:
        return None
    track_id, of_duration_s, laid = row
    if laid is None:
        return Alias(track_id=track_id, of_duration_s=of_duration_s)
    one_no, speed, edges = laid
    spans = spans_of(edges)
    return (
        Alias(track_id=track_id, of_duration_s=of_duration_s, speed=speed, spans=spans)
        if one_no == track_no
        else Alias(track_id=track_id, of_duration_s=of_duration_s, speed=1 / speed, spans=tuple(span.turned() for span in spans))
    )


def _references(passages: Sequence[tuple[Passage, range]], have: Mapping[_Key, bytes | _Recording]) -> list[Reference]:
    """The passages of recordings that exist, all taken apart at once."""
    pieces, first_frame, of_passage = [], [], []
    for n, (passage, slices) in enumerate(passages):
        for number in slices:
            piece = have[passage.track_no, number]
            assert isinstance(piece, bytes)
            pieces.append(piece)
            first_frame.append(number // SLICES_PER_PART * PART_FRAMES)
            of_passage.append(n)
    length = np.fromiter(map(len, pieces), np.int64, len(pieces)) // 4
    peaks = unpack(np.frombuffer(b"".join(pieces), "<u4"), np.repeat(first_frame, length).astype(np.int32))
    mine = np.repeat(of_passage, length).astype(np.int64)
    begin, end = (EIGHTHS * np.array([getattr(passage, edge) for passage, _ in passages], np.int64) for edge in ("begin_frame", "end_frame"))
    inside = (peaks.eighth_frames >= begin[mine]) & (peaks.eighth_frames < end[mine]) if len(mine) else np.zeros(0, np.bool_)
    peaks, ends = peaks.take(inside), np.cumsum(np.bincount(mine[inside], minlength=len(passages))).tolist()
    return [
        _reference(passage, have[passage.track_no, -1], peaks.take(slice(begin_n, end_n)))
        for (passage, _), (begin_n, end_n) in zip(passages, pairwise([0, *ends]), strict=True)
    ]


def _reference(passage: Passage, recording: bytes | _Recording, peaks: Peaks) -> Reference:
    assert isinstance(recording, _Recording)
    shared = tuple(s for s in recording.shared if s.end_frame > passage.begin_frame and s.begin_frame < passage.end_frame)
    return Reference(
        track_no=passage.track_no,
        track_id=recording.track_id,
        duration_s=recording.duration_s,
        peaks=peaks,
        shared=shared,
        aliases=recording.aliases,
        alias=recording.alias,
    )
