"""What has no hurry, stored files and recordings: what sessions of such share, and how one is made.

It is computed in the time that live streams leave, and stays where it is meanwhile.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from earmark.audio.decode import StreamDecoder
from earmark.compute import Background
from earmark.fingerprint.window import Scratch
from earmark.hearing import Hearing
from earmark.hits.ledger import Tracks
from earmark.model import Lease
from earmark.postgres import Pool
from earmark.session import Catalogue, Meter, Recorder, Session, Signals, Source
from earmark.settings import Settings


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

    def session(self, lease: Lease, *, source: Source, recorder: Recorder, signals: Signals, meter: Meter, hurry: bool) -> Session:
        """`hurry`: as in `Hearing`."""
        settings, stream = self.settings, lease.stream
        return Session(
            checkpoint=lease.checkpoint,
            source=source,
            decoder=StreamDecoder(segment_s_max=settings.hls.segment_s_max, start_s=lease.checkpoint.position_s),
            hearing=Hearing(
                params=settings.matching.params(),
                size=self.catalogue.size(),
                stream_id=stream.stream_id,
                source=stream.source,
                plays=lease.checkpoint.plays,
                scratch=self.scratch,
                hurry=hurry,
            ),
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
