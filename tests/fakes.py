"""Stand-ins for what the daemon reaches over a wire. The contract suites run against them and against the real ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from earmark.fingerprint.landmarks import first_postings, landmarks
from earmark.matching.stretches import merged
from earmark.model import FRAMES_PER_S, Answer, CatalogueSize, Fetch, Int32, Lookup, Peaks, Postings, Question, Reference, Relation, Resolve, Shared, Track


@dataclass(frozen=True)
class _Recording:
    track: Track
    peaks: Peaks
    hash: Int32
    frame: Int32


class MemoryIndex:
    """A catalogue in memory, with everything that the one in PostgreSQL promises about its answers."""

    def __init__(self) -> None:
        self._recordings: dict[int, _Recording] = {}
        self._next_no = 1
        #: What recordings share: by the pair's numbers, of the first.
        self._shared: dict[tuple[int, int], tuple[Shared, ...]] = {}
        #: Postings by ascending hash: hash, recording, frame; made when first asked for.
        self._sorted: tuple[Int32, Int32, Int32] | None = None
        #: Every question that was asked, in order.
        self.asked: list[Question] = []

    def add(self, track: Track, peaks: Peaks) -> None:
        """Add a recording, or replace the one with this track_id by a new one."""
        self.remove(track.track_id)
        found = first_postings(landmarks(peaks))
        frame = np.floor(found.frame).astype(np.int32)
        self._recordings[self._next_no] = _Recording(track, peaks, found.hash, frame)
        self._next_no += 1
        self._sorted = None

    def remove(self, track_id: str) -> None:
        for track_no in self._resolve((track_id,)).values():
            del self._recordings[track_no]
            self._shared = {pair: shared for pair, shared in self._shared.items() if track_no not in pair}
            self._sorted = None

    def relate(self, track_no: int, relations: Sequence[Relation]) -> None:
        """Say what a recording shares with others, in place of what was said of those before."""
        for relation in relations:
            if not {track_no, relation.other_no} <= set(self._recordings):
                continue
            for pair, shared in (((track_no, relation.other_no), relation.own), ((relation.other_no, track_no), relation.others)):
                self._shared[pair] = () if relation.version else shared

    def size(self) -> CatalogueSize:
        recordings = self._recordings.values()
        return CatalogueSize(tracks=len(recordings), seconds=sum(_duration_s(r) for r in recordings), postings=sum(len(r.hash) for r in recordings))

    def answer(self, question: Question) -> Answer:
        self.asked.append(question)
        match question:
            case Lookup():
                return self._look_up(question)
            case Fetch():
                return [self._fetch(p.track_no, p.begin_frame, p.end_frame) for p in question.passages if p.track_no in self._recordings]
            case Resolve():
                return self._resolve(question.track_ids)

    def _look_up(self, question: Lookup) -> Postings:
        hash_, track_no, frame = self._postings()
        low = np.searchsorted(hash_, question.hashes, "left")
        count = np.searchsorted(hash_, question.hashes, "right") - low
        count[count > question.postings_max] = 0
        query = np.repeat(np.arange(len(question.hashes)), count)
        where: npt.NDArray[np.intp] = np.arange(len(query)) - np.repeat(np.cumsum(count) - count, count) + low[query]
        return Postings(query=query.astype(np.int32), track_no=track_no[where], frame=frame[where])

    def _fetch(self, track_no: int, begin_frame: int, end_frame: int) -> Reference:
        recording = self._recordings[track_no]
        return Reference(
            track_no=track_no,
            track_id=recording.track.track_id,
            duration_s=_duration_s(recording),
            peaks=recording.peaks.between(begin_frame, end_frame),
            shared=tuple(s for s in self._shared_of(track_no) if s.end_frame > begin_frame and s.begin_frame < end_frame),
        )

    def _shared_of(self, track_no: int) -> tuple[Shared, ...]:
        return merged([s for (one, _), shared in self._shared.items() if one == track_no for s in shared])

    def _resolve(self, track_ids: tuple[str, ...]) -> dict[str, int]:
        return {r.track.track_id: track_no for track_no, r in self._recordings.items() if r.track.track_id in track_ids}

    def _postings(self) -> tuple[Int32, Int32, Int32]:
        if self._sorted is None:
            parts = [(r.hash, np.full(len(r.hash), track_no, np.int32), r.frame) for track_no, r in self._recordings.items()]
            hash_, track_no, frame = (np.concatenate([p[k] for p in parts] or [np.zeros(0, np.int32)]) for k in range(3))
            order = np.argsort(hash_, kind="stable")
            self._sorted = hash_[order], track_no[order], frame[order]
        return self._sorted


def _duration_s(recording: _Recording) -> float:
    if recording.track.duration_s:
        return recording.track.duration_s
    frames = recording.peaks.frames
    return math.ceil(frames[-1]) / FRAMES_PER_S if len(frames) else 0.0
