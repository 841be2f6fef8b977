"""Invented constellations, what a catalogue of them must answer, and a real one in a database."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import SecretStr

from earmark import postgres
from earmark.fingerprint.landmarks import first_postings, landmarks
from earmark.index.answers import Index
from earmark.index.catalogue import Recording, Tracks, postings_of
from earmark.index.stretches import SharedPassages
from earmark.model import EIGHTHS, FRAMES_PER_S, Answer, CatalogueSize, Int32, Peaks, Postings, Question, Relation, Track
from earmark.settings import Database

PEAKS_PER_S = 33


def peaks(seed: int, duration_s: float) -> Peaks:
    """As many peaks as music has, anywhere."""
    random = np.random.default_rng(seed)
    count = int(duration_s * PEAKS_PER_S)
    time = random.integers(0, int(duration_s * FRAMES_PER_S * EIGHTHS), count)
    hz = np.exp2(random.uniform(np.log2(1_440), np.log2(30_400), count))
    order = np.lexsort((hz, time))
    return Peaks(
        eighth_frames=time[order].astype(np.int32),
        eighth_hz=hz[order].astype(np.int32),
        hashed=random.random(count) < 0.75,
        salience=random.uniform(1, 8, count).astype(np.float32),
    )


def loop(seed: int, bar_s: float, times: int) -> Peaks:
    """The same bar again and again: every hash inside a bar occurs `times` times."""
    bar = peaks(seed, bar_s)
    bar_eighths = round(bar_s * FRAMES_PER_S) * EIGHTHS
    bars = [
        Peaks(eighth_frames=(bar.eighth_frames + n * bar_eighths).astype(np.int32), eighth_hz=bar.eighth_hz, hashed=bar.hashed, salience=bar.salience)
        for n in range(times)
    ]
    return Peaks.join(*bars)


def track(track_id: str, constellation: Peaks) -> Track:
    last = int(constellation.eighth_frames[-1]) if len(constellation) else 0
    return Track(track_id=track_id, title=f"Title of {track_id}", duration_s=last / EIGHTHS / FRAMES_PER_S)


def expected(catalogue: Mapping[str, Peaks], hashes: Int32, postings_max: int) -> list[tuple[int, str, int]]:
    """By the plainest means: (place in `hashes`, track_id, frame), sorted."""
    stored: dict[int, list[tuple[str, int]]] = {}
    for track_id, constellation in catalogue.items():
        kept = first_postings(landmarks(constellation))
        for hash_, frame in zip(kept.hash.tolist(), kept.frame.tolist(), strict=True):
            stored.setdefault(hash_, []).append((track_id, int(frame)))
    found = []
    for place, hash_ in enumerate(hashes.tolist()):
        postings = stored.get(hash_, [])
        if len(postings) <= postings_max:
            found += [(place, track_id, frame) for track_id, frame in postings]
    return sorted(found)


def answered(postings: Postings, numbers: Mapping[str, int]) -> list[tuple[int, str, int]]:
    names = {number: track_id for track_id, number in numbers.items()}
    rows = zip(postings.query.tolist(), postings.track_no.tolist(), postings.frame.tolist(), strict=True)
    return sorted((query, names[track_no], frame) for query, track_no, frame in rows)


def open_pool(dsn: str, *, pool_max: int = 4, statement_timeout_s: float = 15) -> postgres.Pool:
    return postgres.open_pool(Database(dsn=SecretStr(dsn), pool_max=pool_max, statement_timeout_s=statement_timeout_s), application_name="test")


def recording(track_id: str, constellation: Peaks, *, content: bytes | None = None) -> Recording:
    return recording_of(track(track_id, constellation), constellation, content or track_id.encode())


def recording_of(described: Track, constellation: Peaks, content: bytes) -> Recording:
    return Recording(track=described, peaks=constellation, postings=postings_of(constellation), content_sha256=content)


class DatabaseIndex:
    """The real index behind the fake one's methods; it looks for changes before every answer."""

    def __init__(self, pool: postgres.Pool) -> None:
        self.pool, self.tracks, self.shared = pool, Tracks(pool=pool), SharedPassages(pool=pool)
        self.index = Index(pool=pool, follow_every_s=0).open()
        self._versions = 0

    def add(self, described: Track, constellation: Peaks) -> None:
        self._versions += 1
        self.tracks.add([recording_of(described, constellation, b"%d" % self._versions)])

    def remove(self, track_id: str) -> None:
        self.tracks.remove(track_id)

    def relate(self, track_no: int, relations: Sequence[Relation]) -> None:
        self.shared.put(track_no, relations)

    def answer(self, question: Question) -> Answer:
        return self.index.answer(question)

    def size(self) -> CatalogueSize:
        return self.index.size()
