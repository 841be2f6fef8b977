"""A catalogue of up to 100,000 recordings that nobody has: a few real ones, and decoys made of them.

**What has to be right.** What a large catalogue does to hearing is chance: how many postings an asked hash has, and how often
postings that agree meet in one place. Drawing postings independently, by a measured frequency of each hash, gets the first
right and the second wrong: in music the postings of neighbouring hashes come together (a held chord, a beat), so that by
chance three votes meet far more often than a Poisson process says. So nothing is drawn. Each decoy is a whole
constellation, hashed as a reference is, and all its postings are in the index: 2,000 million at 100,000 recordings, as many
as there are for that much music, in packed columns in memory.

**What a decoy is.** Four minutes of a real recording at a tempo that is 2^0.25 to 2^0.7 times faster or slower, half of them
reversed in time, transposed by -6 to 6 semitones but not by 0. No decoy is on a line that hearing tries (tempi within
10 %, or speed within 12 %), so that a decoy which is told is a false alarm. Tempo and pitch are changed independently
and the pitch by *whole semitones*, because recordings share the tuning of their instruments: of pairs, whose cells are
absolute frequencies, hashes meet by chance .30 times in an hour of another real recording, .22 times in an hour of these decoys,
and only .09 times where decoys are transposed by any ratio (of triples .049, .038, .036: ratios do not care).

**What is still missing.** The decoys have the statistics of the real recordings they are made of, and there are only 42 of those. An album's
own style (.30 against .22) is not in them, nor are covers, remasters and samples of what is asked.
"""

import functools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Final
from unittest import mock

import numpy as np
import numpy.typing as npt

from earmark.fingerprint import pairs, triples
from earmark.fingerprint.landmarks import first_postings, key, landmarks
from earmark.fingerprint.targets import TARGET_OCTAVES, Index, most_salient, octaves
from earmark.model import (
    EIGHTHS,
    FINGERPRINT_VERSION,
    FRAMES_PER_S,
    Answer,
    CatalogueSize,
    Fetch,
    Int32,
    Landmarks,
    Lookup,
    Passage,
    Peaks,
    Postings,
    Question,
    Reference,
    Resolve,
)

#: Eighths of a hertz between which peaks are looked for, and those of a decoy must lie.
_BAND: Final = (180 * EIGHTHS, 3_800 * EIGHTHS)
_SEMITONES: Final = (-6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6)
_DECOY_S: Final = 240.0
#: A posting is 32 bits: the hash's lowest, the document's number, the frame.
_LOW_BITS, _DOCUMENT_BITS, _FRAME_BITS = 2, 17, 13
_HASH_BITS: Final = 31
#: Decoys that are hashed and sorted at once (2.5 GB of work arrays), and ranges of hashes that are merged at once.
_RUN_TRACKS, _RANGES = 2_400, 128
#: Hashes with more postings than this, per hour of catalogue, are left out: twice as many as any stop list that was tried.
_KEPT_PER_HOUR, _KEPT_LEAST = 0.3, 256

_UInt64 = npt.NDArray[np.uint64]
_UInt32 = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Real:
    """A real recording."""

    track_id: str
    duration_s: float
    peaks: Peaks


# ---------------------------------------------------------------------------------------------------- decoys


class Decoys:
    """Recordings that differ from the real ones in all that hearing could follow; `number` counts from 0."""

    def __init__(self, real: list[Real]) -> None:
        self._real = real
        self._stretched = functools.lru_cache(maxsize=4_096)(self._make_stretched)

    def duration_s(self, number: int) -> float:
        return self._stretched(number // len(_SEMITONES))[0]

    def sources(self, decoys: int) -> Int32:
        """The real recording that each of the first so many decoys is made from."""
        groups = -(-decoys // len(_SEMITONES))
        source = [int(np.random.default_rng([2003, group]).integers(len(self._real))) for group in range(groups)]
        return np.repeat(source, len(_SEMITONES))[:decoys].astype(np.int32)

    def peaks(self, number: int) -> Peaks:
        group, which = divmod(number, len(_SEMITONES))
        moved = _transposed(self._stretched(group)[1], _SEMITONES[which])
        return moved.take(_in_band(moved))

    def landmarks(self, group: int) -> Iterator[Landmarks]:
        """First postings of the decoys of a group, which differ in pitch alone: an anchor's targets are the same in all of them.

        A landmark with a peak that is moved out of the band, or by rounding out of the zone (18 semitones are its very border), is left
        out. (In `peaks` its anchor may have another target then; nobody looks for those.)
        """
        peaks = self._stretched(group)[1]
        families = [(triples, peaks.hashed), (pairs, np.ones(len(peaks), np.bool_))]
        targets = [most_salient(peaks.take(mask), _all(mask), family.TARGETS) for family, mask in families]
        for semitones in _SEMITONES:
            moved = _transposed(peaks, semitones)
            inside = _in_band(moved)
            parts = [_hashed(family, moved.take(mask), inside[mask], found) for (family, mask), found in zip(families, targets, strict=True)]
            yield first_postings(Landmarks(hash=np.concatenate([p.hash for p in parts]), frame=np.concatenate([p.frame for p in parts])))

    def _make_stretched(self, group: int) -> tuple[float, Peaks]:
        random = np.random.default_rng([2003, group])
        real = self._real[int(random.integers(len(self._real)))]
        factor = 2.0 ** float(random.choice([-1, 1]) * random.uniform(0.25, 0.7))
        time = real.peaks.eighth_frames / factor
        if random.random() < 0.5:
            time = real.duration_s * FRAMES_PER_S * EIGHTHS / factor - time
        duration_s = min(_DECOY_S, real.duration_s / factor)
        time -= random.uniform(0, real.duration_s / factor - duration_s) * FRAMES_PER_S * EIGHTHS
        rounded = np.rint(time).astype(np.int32)
        order = np.lexsort((real.peaks.eighth_hz, rounded))
        order = order[(rounded[order] >= 0) & (rounded[order] < duration_s * FRAMES_PER_S * EIGHTHS)]
        kept = real.peaks.take(order)
        return duration_s, Peaks(eighth_frames=rounded[order], eighth_hz=kept.eighth_hz, hashed=kept.hashed, salience=kept.salience)


def _all(mask: npt.NDArray[np.bool_]) -> slice:
    return slice(0, int(np.count_nonzero(mask)))


def _hashed(family: ModuleType, peaks: Peaks, inside: npt.NDArray[np.bool_], targets: Index) -> Landmarks:
    """The landmarks of a family with these targets, none of whose peaks is out of the band or of the zone."""
    octave = octaves(peaks)
    within = np.abs(octave[targets] - octave[:, None]) <= TARGET_OCTAVES
    found = np.where((targets >= 0) & inside[targets] & inside[:, None] & within, targets, -1)
    found = np.take_along_axis(found, np.argsort(found < 0, axis=1, kind="stable"), axis=1)
    with mock.patch.object(family, "most_salient", return_value=found):
        packed, anchor = family.pairs(peaks, slice(0, len(peaks)), 2) if family is pairs else family.triples(peaks, slice(0, len(peaks)), 3)
    return Landmarks(hash=key(packed), frame=peaks.eighth_frames[anchor] / EIGHTHS)


def _transposed(peaks: Peaks, semitones: int) -> Peaks:
    # What is out of the band is left out later; it must not be out of all tables.
    hz = np.clip(np.rint(peaks.eighth_hz * 2 ** (semitones / 12)), 1, 4_000 * EIGHTHS).astype(np.int32)
    return Peaks(eighth_frames=peaks.eighth_frames, eighth_hz=hz, hashed=peaks.hashed, salience=peaks.salience)


def _in_band(peaks: Peaks) -> npt.NDArray[np.bool_]:
    return (peaks.eighth_hz >= _BAND[0]) & (peaks.eighth_hz <= _BAND[1])


# ----------------------------------------------------------------------------------------------------- index


class ScaleIndex:
    """Answers as the catalogue in PostgreSQL does; recordings are numbered from 0, the real ones first.

    Args:
        real: the recordings that are there.
        tracks: of the catalogue, at least as many as are real.
        folder: where the index is, or is to be made: 9 bytes for 2 postings on disk, and twice that while it is made.
    """

    def __init__(self, *, real: list[Real], tracks: int, folder: Path) -> None:
        self._real = real
        self._decoys = Decoys(real)
        #: Of each document, which is at most 8,192 frames of a recording: the recording, and its first frame.
        self._track_no, self._first_frame = _documents(real, tracks)
        if not (folder / "size.json").exists():
            _Maker(real, self._decoys, tracks, folder).make()
        size = json.loads((folder / "size.json").read_text(encoding="utf-8"))
        self.size = CatalogueSize(tracks=tracks, seconds=size["seconds"], postings=size["postings"])
        self._begin = np.load(folder / "begin.npy")
        self._posting = np.load(folder / "posting.npy")
        #: Questions of the last look-up whose hash has too many postings.
        self.stopped = 0
        #: Whose decoys are not answered: those of what is being heard at another speed may lie on a line that hearing tries.
        self.without_decoys_of: str | None = None
        self._source = np.concatenate([np.full(len(real), -1), self._decoys.sources(tracks - len(real))])

    def answer(self, question: Question) -> Answer:
        match question:
            case Lookup():
                return self._look_up(question)
            case Fetch():
                return [self._fetch(p) for p in question.passages]
            case Resolve():
                numbers = {self._track_id(n): n for n in range(len(self._real))}
                return {track_id: numbers[track_id] for track_id in question.track_ids if track_id in numbers}

    def _look_up(self, question: Lookup) -> Postings:
        hashes, inverse = np.unique(question.hashes, return_inverse=True)
        bucket = hashes >> _LOW_BITS
        low = self._begin[bucket].astype(np.int64)
        count = self._begin[bucket + 1].astype(np.int64) - low
        row = np.repeat(np.arange(len(hashes)), count)
        posting = self._posting[np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + low[row]]
        mine = posting >> (_DOCUMENT_BITS + _FRAME_BITS) == (hashes & ((1 << _LOW_BITS) - 1))[row].astype(np.uint32)
        row, posting = row[mine], posting[mine]
        found = np.bincount(row, minlength=len(hashes))
        answered = np.where(found > question.postings_max, 0, found)
        self.stopped = int(np.count_nonzero((found > question.postings_max)[inverse]))
        begin = np.cumsum(found) - found
        count = answered[inverse]
        query = np.repeat(np.arange(len(question.hashes)), count)
        where = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count) + begin[inverse][query]
        posting = posting[where]
        document = posting >> _FRAME_BITS & ((1 << _DOCUMENT_BITS) - 1)
        track_no, frame = self._track_no[document], self._first_frame[document] + (posting & ((1 << _FRAME_BITS) - 1)).astype(np.int32)
        kept = self._source[track_no] != next((n for n, r in enumerate(self._real) if r.track_id == self.without_decoys_of), len(self._real))
        return Postings(query=query[kept].astype(np.int32), track_no=track_no[kept], frame=frame[kept])

    def _fetch(self, passage: Passage) -> Reference:
        n = passage.track_no
        duration_s, peaks = (
            (self._real[n].duration_s, self._real[n].peaks)
            if n < len(self._real)
            else (self._decoys.duration_s(n - len(self._real)), self._decoys.peaks(n - len(self._real)))
        )
        return Reference(track_no=n, track_id=self._track_id(n), duration_s=duration_s, peaks=peaks.between(passage.begin_frame, passage.end_frame))

    def _track_id(self, number: int) -> str:
        return self._real[number].track_id if number < len(self._real) else f"decoy {number}"


class _Maker:
    """Makes the files of an index: sorted runs of some thousand recordings, merged a range of hashes at a time."""

    def __init__(self, real: list[Real], decoys: Decoys, tracks: int, folder: Path) -> None:
        self._real, self._decoys, self._tracks, self._folder = real, decoys, tracks, folder

    def make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        seconds = sum(r.duration_s for r in self._real) + sum(self._decoys.duration_s(n) for n in range(self._tracks - len(self._real)))
        postings = self._merge(self._runs(), max(_KEPT_LEAST, int(_KEPT_PER_HOUR * seconds / 3_600)))
        size = {"seconds": seconds, "postings": postings, "fingerprint_version": FINGERPRINT_VERSION}
        (self._folder / "size.json").write_text(json.dumps(size), encoding="utf-8")

    def _runs(self) -> list[Path]:
        """Sorted postings of so many recordings each. Runs that an earlier attempt finished are taken as they are."""
        runs = [self._folder / f"run{n}.npy" for n in range(-(-self._tracks // _RUN_TRACKS))]
        documents, _ = _documents(self._real, self._tracks)
        missing = [run for run in runs if not run.exists()]
        for run in missing:
            n = runs.index(run)
            # A document's number goes on from one to the next as its frames go on.
            postings = [
                found.hash.astype(np.uint64) << np.uint64(_DOCUMENT_BITS + _FRAME_BITS)
                | np.uint64(int(np.searchsorted(documents, number)) << _FRAME_BITS) + found.frame.astype(np.uint64)
                for number, found in self._recordings(n * _RUN_TRACKS, min((n + 1) * _RUN_TRACKS, self._tracks))
            ]
            part = run.with_suffix(".part.npy")
            merged = np.concatenate(postings)
            merged.sort()
            np.save(part, merged)
            part.rename(run)
        return runs

    def _recordings(self, begin: int, end: int) -> Iterator[tuple[int, Landmarks]]:
        """Number and landmarks of those from `begin` to before `end`."""
        for number in range(begin, min(end, len(self._real))):
            yield number, first_postings(landmarks(self._real[number].peaks))
        number = max(begin, len(self._real))
        while number < end:
            # Decoys are made in groups, the first of which may have begun in the run before.
            group, first = divmod(number - len(self._real), len(_SEMITONES))
            for found in islice(self._decoys.landmarks(group), first, first + end - number):
                yield number, found
                number += 1

    def _merge(self, runs: list[Path], kept_max: int) -> int:
        """Writes `begin.npy`, the first posting of each 2^_LOW_BITS hashes, and `posting.npy`; returns how many there were."""
        sources = [np.load(path, mmap_mode="r") for path in runs]
        buckets = 1 << (_HASH_BITS - _LOW_BITS)
        edges = [(r << _HASH_BITS) // _RANGES for r in range(_RANGES + 1)]
        cuts = [np.searchsorted(source, np.array([e << (_DOCUMENT_BITS + _FRAME_BITS) for e in edges], np.uint64)) for source in sources]
        begin = np.lib.format.open_memmap(self._folder / "begin.npy", "w+", np.uint32, (buckets + 1,))
        raw = self._folder / "posting.raw"
        total = kept = 0
        with raw.open("wb") as out:
            for r in range(_RANGES):
                part = np.concatenate([source[cut[r] : cut[r + 1]] for source, cut in zip(sources, cuts, strict=True)])
                part.sort()
                total += len(part)
                hash_ = (part >> np.uint64(_DOCUMENT_BITS + _FRAME_BITS)).astype(np.uint32)
                part = part[_rare(hash_, kept_max)]
                bucket = (part >> np.uint64(_DOCUMENT_BITS + _FRAME_BITS + _LOW_BITS)).astype(np.int64)
                first, last = edges[r] >> _LOW_BITS, edges[r + 1] >> _LOW_BITS
                begin[first:last] = kept + np.searchsorted(bucket, np.arange(first, last))
                (part & np.uint64(0xFFFF_FFFF)).astype(np.uint32).tofile(out)
                kept += len(part)
        begin[buckets] = kept
        begin.flush()
        with (self._folder / "posting.npy").open("wb") as out:
            np.lib.format.write_array_header_1_0(out, {"descr": "<u4", "fortran_order": False, "shape": (kept,)})
            with raw.open("rb") as source:
                shutil.copyfileobj(source, out, 1 << 24)
        for path in (raw, *runs):
            path.unlink()
        return total


def _documents(real: list[Real], tracks: int) -> tuple[Int32, Int32]:
    """Whose each document is, and the first frame of it: a decoy is one document."""
    parts = [range(0, int(r.peaks.frames[-1]) + 1, 1 << _FRAME_BITS) for r in real]
    track_no = np.concatenate([np.repeat(np.arange(len(real)), [len(p) for p in parts]), np.arange(len(real), tracks)])
    first_frame = np.concatenate([*parts, np.zeros(tracks - len(real), np.int64)])
    return track_no.astype(np.int32), first_frame.astype(np.int32)


def _rare(hash_: _UInt32, most: int) -> npt.NDArray[np.bool_]:
    """Which of ascending hashes occur no more than so often."""
    edges = np.flatnonzero(np.concatenate([[True], hash_[1:] != hash_[:-1], [True]])) if len(hash_) else np.zeros(1, np.intp)
    count = np.diff(edges)
    rare: npt.NDArray[np.bool_] = np.repeat(count <= most, count)
    return rare
