"""A worker that hears sound from a test, with what lies beside its hits on record, in a database and a bucket that are real."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

import hits_samples as samples
from earmark.excerpts import Excerpts
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.hits.ledger import Ledger
from earmark.hits.record import Place
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.proof import Passages
from earmark.model import RATE_HZ, AudioChunk, Checkpoint, Float32, Lease, MatchParams, Peaks, Play, Stream, Track
from earmark.postgres import Pool, transaction
from earmark.settings import Alerts, Evidence, Results
from earmark.verifying import Verdict, on_record, verify
from hearing_sounds import chunks
from index_catalogue import recording_of

#: Of recordings that were stocked before.
_FINGERPRINTS: dict[bytes, Peaks] = {}
NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)


class Clipped:
    """A meter."""

    def __init__(self) -> None:
        self.kept = self.left_out = 0

    def clipped(self, *, kept: int = 0, left_out: int = 0) -> None:
        self.kept += kept
        self.left_out += left_out


def stock(pool: Pool, sounds: dict[str, Float32], **named: Any) -> None:
    """Recordings, by track_id."""
    for track_id, sound in sounds.items():
        content = hashlib.sha256(sound.tobytes()).digest()
        if content not in _FINGERPRINTS:
            _FINGERPRINTS[content] = fingerprint(sound)
        track = Track(**{"track_id": track_id, "title": f"Title of {track_id}", "artists": ("The Example Five",), "duration_s": len(sound) / RATE_HZ, **named})
        Tracks(pool=pool).add([recording_of(track, _FINGERPRINTS[content], content)])


@dataclass
class Worker:
    """Hears one stream, a second at a time unless it is said otherwise."""

    pool: Pool
    evidence: Evidence = field(default_factory=lambda: Evidence(clip=True))
    stream: Stream = samples.STREAM
    owner: str = "worker-1"
    bucket: str = "results"
    start_s: float = 0.0
    plays: tuple[Play, ...] = ()
    fencing: int = 1
    new: bool = True

    def __post_init__(self) -> None:
        if self.new:
            with transaction(self.pool) as connection:
                samples.insert_stream(connection, stream=self.stream, owner=self.owner, fencing=self.fencing)
        self.meter, self.leaving = Clipped(), False
        lease = Lease(stream=self.stream, owner=self.owner, fencing=self.fencing, checkpoint=Checkpoint(plays=self.plays))
        self.excerpts = Excerpts(settings=self.evidence, plays=self.plays, leaving=lambda: self.leaving, meter=self.meter) if self.evidence.clip else None
        self.index = Index(pool=self.pool).open()
        self.hearing = Hearing(
            params=MatchParams(),
            size=self.index.size(),
            stream_id=self.stream.stream_id,
            source=self.stream.source,
            plays=self.plays,
            keep=self.excerpts.run if self.excerpts else None,
            told=self.excerpts.told if self.excerpts else None,
        )
        self.ledger = Ledger(
            pool=self.pool,
            lease=lease,
            tracks=Tracks(pool=self.pool),
            results=Results(bucket=self.bucket),
            alerts=Alerts(),
            nudge=lambda: None,
            now=samples.Clock(NOON + timedelta(hours=1)),
            evidence=self.evidence,
            clips=self.excerpts,
        )
        self.position_s = self.start_s

    def hear(self, sound: Float32, *sizes: int) -> "Worker":
        for chunk in chunks(sound, *(sizes or (RATE_HZ,)), start_s=self.position_s):
            self._commit(chunk)
        return self

    def miss(self, seconds: float) -> "Worker":
        """A gap."""
        self.position_s += seconds
        chunk = AudioChunk(samples=np.zeros(0, np.float32), start_s=self.position_s, gap_before_s=seconds, gap_reason="segment_missing")
        self._commit(chunk)
        return self

    def _commit(self, chunk: AudioChunk) -> None:
        self.position_s = chunk.end_s
        changed = drive(self.hearing.push(chunk), self.index.answer)
        self.ledger.commit(self.checkpoint(), changed)

    def checkpoint(self, **changed: Any) -> Checkpoint:
        return Checkpoint(
            **{
                "state": "listening",
                "position_s": self.position_s,
                "heard_s": self.position_s,
                "clock": NOON + timedelta(seconds=self.position_s),
                "clock_source": "program_date_time",
                "plays": self.hearing.plays,
                **changed,
            }
        )

    def end(self) -> "Worker":
        changed = drive(self.hearing.flush(), self.index.answer)
        self.ledger.commit(self.checkpoint(state="ended", end_reason="stream_end"), changed)
        return self

    def hand_over(self) -> "Worker":
        """To another worker, that goes on where this one is."""
        self.leaving = True
        self.ledger.commit(self.checkpoint(), ())
        with transaction(self.pool) as connection:
            connection.execute("update stream set owner = 'worker-2', fencing = %s where stream_id = %s", [self.fencing + 1, self.stream.stream_id])
        return replace(self, owner="worker-2", fencing=self.fencing + 1, start_s=self.position_s, plays=self.hearing.plays, new=False)

    @property
    def place(self) -> Place:
        return Place(bucket=self.bucket, prefix="", stream_id=self.stream.stream_id)


def verdict_of(pool: Pool, hit_id: str, read: Any = None) -> Verdict:
    with transaction(pool) as connection:
        record = on_record(connection, hit_id)
    assert record is not None
    return verify(record, Passages(pool), MatchParams(), read=read)


def hits(pool: Pool) -> Sequence[dict[str, Any]]:
    """In their newest revisions, in order."""
    with transaction(pool) as connection:
        return [body for (body,) in connection.execute("select body from play order by begin_s, hit_id").fetchall()]


def waiting_objects(pool: Pool) -> dict[str, bytes]:
    """What waits for S3, by key, in its newest revision: what would be read from there."""
    with transaction(pool) as connection:
        rows = connection.execute("select key, coalesce(content, convert_to(body, 'utf8')) from outbox where target in ('s3', 'clip') order by revision")
        return {key: bytes(content) for key, content in rows.fetchall()}
