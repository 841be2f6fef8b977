"""The catalogue for notebooks, benchmarks and scripts: add recordings, find them in clips, follow a stream.

    with Catalogue.open("postgresql://…") as catalogue:
        catalogue.add("song.flac", title="…")
        for match in catalogue.identify(samples, rate_hz=44_100):
            print(match.track_id, match.begin_s, match.end_s)

Everything here goes the way a live session goes: the same resampler, fingerprint, look-ups, verification and plays.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import EllipsisType, TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from earmark import postgres
from earmark.audio.decode import Resampler
from earmark.errors import Transient, UnreadableAudio
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.hits.text import believable
from earmark.identification import Match, default_threshold_nats, identify
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.ingest import ingest
from earmark.model import RATE_HZ, Answer, AudioChunk, CatalogueSize, Float32, MatchParams, Play, PlayState, Question, Stretch, Track
from earmark.reference import Source
from earmark.settings import Database

__all__ = ["Catalogue", "Hit", "Match", "Monitor"]

#: A question is asked so often before the database's absence is somebody else's problem.
_ATTEMPTS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Hit:
    """What is known about a play now; each change of it is a new revision of the same `hit_id`."""

    hit_id: str
    revision: int
    state: PlayState
    track_id: str
    #: Seconds since the monitor's first sample.
    begin_s: float
    end_s: float
    #: Second of the recording that sounds at `begin_s`.
    reference_begin_s: float
    #: Reference seconds per stream second: 1.03 is played 3 % fast.
    speed: float
    #: Evidence, in nats against chance.
    score: float
    false_alarms_per_hour: float


class Catalogue:
    """Reference recordings in a PostgreSQL database, and what is heard of them. One thread at a time may use it."""

    def __init__(self, *, pool: postgres.Pool, params: MatchParams) -> None:
        self._pool = pool
        self._params = params
        self._tracks = Tracks(pool=pool)
        self._index = Index(pool=pool).open()

    @classmethod
    def open(cls, dsn: str, *, params: MatchParams | None = None) -> "Catalogue":
        """Connect; an empty database is migrated first.

        Args:
            dsn: a PostgreSQL connection string; the role may create tables, if the database is empty.
            params: how sure is sure; the product's defaults if none are given.

        Raises BadSettings, DatabaseUnavailable, SchemaMismatch (another version's tables), FingerprintMismatch
        (another version's catalogue).
        """
        pool = postgres.open_pool(Database(dsn=SecretStr(dsn)), application_name="earmark-library")
        try:
            if not postgres.status(pool).applied:
                postgres.migrate(dsn)
            postgres.check(pool)
            return cls(pool=pool, params=params or MatchParams())
        except BaseException:
            pool.close()
            raise

    def close(self) -> None:
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def add(self, path: str | Path, *, track_id: str | None = None, title: str | None = None, **metadata: Any) -> Track:
        """Fingerprint a file into the catalogue. Again with the same content: nothing happens, but for new metadata.

        Args:
            path: anything that FFmpeg reads.
            track_id: by default `isrc:…` if the file's tags have one, else `sha256:…` of its content. The same
                recording is then not added twice under two names: the one that is there already is returned.
            title: by default the tags', else the file's name.
            metadata: artists, album, label, isrc, iswc, upc, rights_holder.

        Raises UnreadableAudio when there is nothing to recognise in it, BadSettings for unknown metadata,
        DatabaseUnavailable.
        """
        said = metadata if title is None else {**metadata, "title": title}
        (result,) = ingest([Source(path=Path(path), track_id=track_id, metadata=said)], pool=self._pool, jobs=1)
        if result.track_id is None:
            raise UnreadableAudio(result.sentence)
        self._index.refresh()
        return self._tracks.get([result.track_id])[result.track_id]

    def remove(self, track_id: str) -> bool:
        """Take a recording out; False if it was not there."""
        removed = self._tracks.remove(track_id)
        self._index.refresh()
        return removed

    def get(self, track_id: str) -> Track | None:
        return self._tracks.get([track_id]).get(track_id)

    def tracks(self) -> list[Track]:
        """All recordings, by track_id."""
        return list(self._tracks.all())

    def size(self) -> CatalogueSize:
        return self._index.size()

    def identify(self, samples: npt.ArrayLike, *, rate_hz: int, threshold: float | EllipsisType | None = ...) -> list[Match]:
        """The recordings in a clip, best first.

        Args:
            samples: float [n], mono, in [-1, 1]; the whole clip.
            rate_hz: its sampling rate.
            threshold: evidence, in nats, that makes a match; by default what `params.false_alarms_per_hour` asks for in
                this catalogue. None: every candidate with its score, however bad.
        """
        resampler = Resampler(rate_hz=rate_hz)
        heard = np.concatenate([resampler.push(_mono(samples)), resampler.flush()])
        size = self._index.size()
        nats = default_threshold_nats(self._params, size) if isinstance(threshold, EllipsisType) else threshold
        clip = identify(fingerprint(heard), len(heard) / RATE_HZ, params=self._params, size=size, threshold_nats=nats)
        return [replace(match, false_alarms_per_hour=believable(match.false_alarms_per_hour)) for match in drive(clip, _patient(self._index.answer))]

    def monitor(self, *, rate_hz: int, stream_id: str = "monitor") -> "Monitor":
        """Follow a stream: push its samples as they come. `stream_id` goes into the hits' ids."""
        hearing = Hearing(params=self._params, size=self._index.size(), stream_id=stream_id, source="file")
        return Monitor(hearing=hearing, answer=_patient(self._index.answer), rate_hz=rate_hz)


class Monitor:
    """Listens to one stream; made by `Catalogue.monitor`. However the samples are cut, the hits are the same."""

    def __init__(self, *, hearing: Hearing, answer: Callable[[Question], Answer], rate_hz: int) -> None:
        self._hearing = hearing
        self._answer = answer
        self._resampler = Resampler(rate_hz=rate_hz)
        self._samples_n = 0
        self._flushed = False

    def push(self, samples: npt.ArrayLike) -> list[Hit]:
        """Hear the next samples, float [n], mono, in [-1, 1]; what changed."""
        if self._flushed:
            raise RuntimeError("the monitor is flushed: another stream needs another one")
        return self._hear(self._resampler.push(_mono(samples)))

    def flush(self) -> list[Hit]:
        """The stream is over: hear the rest, and close every play."""
        if self._flushed:
            return []
        self._flushed = True
        return self._hear(self._resampler.flush()) + [_hit(play) for play in drive(self._hearing.flush(), self._answer)]

    def take_music(self) -> list[Stretch]:
        """Where it sounded like music, catalogued or not, second by second, since this was last asked; known some 6 s later."""
        return self._hearing.take_music()

    def take_speech(self) -> list[Stretch]:
        """Where somebody spoke and there was no music, likewise."""
        return self._hearing.take_speech()

    def _hear(self, samples: Float32) -> list[Hit]:
        chunk = AudioChunk(samples=samples, start_s=self._samples_n / RATE_HZ)
        self._samples_n += len(samples)
        return [_hit(play) for play in drive(self._hearing.push(chunk), self._answer)]


def _mono(samples: npt.ArrayLike) -> Float32:
    given = np.asarray(samples)
    if given.ndim != 1 or not np.issubdtype(given.dtype, np.floating):
        raise ValueError(f"samples must be one-dimensional floats (mono, in [-1, 1]), not {given.ndim}-dimensional {given.dtype}")
    return given.astype(np.float32, copy=False)


def _patient(answer: Callable[[Question], Answer]) -> Callable[[Question], Answer]:
    """Questions may be asked again; what is heard half-way may not."""
    retrying = Retrying(
        stop=stop_after_attempt(_ATTEMPTS), wait=wait_random_exponential(multiplier=0.1, max=2), retry=retry_if_exception_type(Transient), reraise=True
    )

    def ask(question: Question) -> Answer:
        return retrying(answer, question)

    return ask


def _hit(play: Play) -> Hit:
    return Hit(
        hit_id=play.hit_id,
        revision=play.revision,
        state=play.state,
        track_id=play.track_id,
        begin_s=play.begin_s,
        end_s=play.end_s,
        reference_begin_s=play.reference_begin_s,
        speed=play.speed,
        score=play.evidence_nats,
        false_alarms_per_hour=believable(play.false_alarms_per_hour),
    )
