"""What has no hurry, stored files and recordings: what sessions of such share, and how one is made.

It is computed in the time that live streams leave, and stays where it is meanwhile.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from earmark.audio.decode import StreamDecoder
from earmark.audio.file import after
from earmark.compute import Background
from earmark.excerpts import Excerpts, excerpts
from earmark.excerpts import Meter as ClipMeter
from earmark.fingerprint.kept import Keeper
from earmark.fingerprint.window import Scratch
from earmark.hearing import Hearing
from earmark.hits.audit import Act
from earmark.hits.ledger import Tracks
from earmark.hits.rights import Decide
from earmark.model import AudioChunk, Lease, Piece
from earmark.postgres import Pool
from earmark.session import Catalogue, Decoder, Meter, Recorder, Session, Signals, Source
from earmark.settings import Settings


class LeadIn:
    """Implements `session.Decoder`: what an earlier owner of the session heard is heard once more, and not handed on to be counted.

    The last owner may have heard a recording begin that nobody was told of yet. Without its first seconds it would be told
    from where this owner goes on; with the window before that, from where it begins.
    """

    def __init__(self, decoder: Decoder, hearing: Hearing, *, until_s: float) -> None:
        self._decoder, self._hearing, self._until_s = decoder, hearing, until_s

    def push(self, piece: Piece) -> list[AudioChunk]:
        return self._new(self._decoder.push(piece))

    def flush(self) -> list[AudioChunk]:
        return self._new(self._decoder.flush())

    def _new(self, chunks: Sequence[AudioChunk]) -> list[AudioChunk]:
        new: list[AudioChunk] = []
        for chunk in chunks:
            rest = after(chunk, self._until_s)
            known_n = len(chunk.samples) - (len(rest.samples) if rest else 0)
            if known_n:
                self._hearing.take(AudioChunk(samples=chunk.samples[:known_n], start_s=chunk.start_s))
            if rest:
                new.append(rest)
        return new


@dataclass(frozen=True, kw_only=True)
class Unhurried:
    """Of one worker."""

    settings: Settings
    pool: Pool
    #: boto3's client, which is made when it is first needed.
    s3: Callable[[], Any]
    catalogue: Catalogue
    tracks: Tracks
    compute: Background
    #: The compute thread's.
    scratch: Scratch
    nudge: Callable[[], None]
    decide: Decide
    act: Act
    meter: ClipMeter

    def keeper(self, lease: Lease, *, wanted: bool) -> Keeper | None:
        """Of a session whose seconds hunts will search."""
        return Keeper(lease.checkpoint.position_s) if wanted and self.settings.hunt.keep_days else None

    def clips(self, lease: Lease, signals: Signals, keeper: Keeper | None, *, earlier_s: float = 0.0) -> Excerpts | None:
        """Of a session whose clips are to be made. What it hears goes through `keeper` as well."""
        keep = keeper.run if keeper else None
        return excerpts(self.settings, lease, keep=keep, earlier_s=earlier_s, leaving=lambda: signals.leaving, meter=self.meter)

    def session(
        self,
        lease: Lease,
        *,
        source: Source,
        recorder: Recorder,
        signals: Signals,
        meter: Meter,
        hurry: bool,
        keeper: Keeper | None = None,
        clips: Excerpts | None = None,
    ) -> Session:
        """`hurry`: as in `Hearing`. `keeper`, `clips`: the recorder's."""
        settings, stream, position_s = self.settings, lease.stream, lease.checkpoint.position_s
        hearing = Hearing(
            params=settings.matching.params(),
            size=self.catalogue.size(),
            stream_id=stream.stream_id,
            source=stream.source,
            plays=lease.checkpoint.plays,
            heard_s=position_s,
            scratch=self.scratch,
            hurry=hurry,
            keep=clips.run if clips else keeper.run if keeper else None,
            told=clips.told if clips else None,
        )
        return Session(
            checkpoint=lease.checkpoint,
            source=source,
            decoder=LeadIn(StreamDecoder(segment_s_max=settings.hls.segment_s_max, start_s=position_s), hearing, until_s=position_s),
            hearing=hearing,
            catalogue=self.catalogue,
            recorder=recorder,
            compute=self.compute,
            signals=signals,
            meter=meter,
            now=now,
            buffer_s=settings.session.buffer_s,
        )


def now() -> datetime:
    return datetime.now(UTC)
