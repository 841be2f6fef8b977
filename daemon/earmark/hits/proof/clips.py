"""The clip that lies beside a hit: some seconds of the stream's own sound, encoded, and what documents say of it. Pure."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from earmark.hits.outgoing import Outgoing
from earmark.hits.record import Place
from earmark.hits.text import rounded

#: How their names may end, by `evidence.clip_codec`.
SUFFIXES = {"flac": "flac", "opus": "opus"}


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Of one play."""

    hit_id: str
    #: Stream time of its first and of its last sample.
    begin_s: float
    end_s: float
    #: Of that, what was not heard and is silent here.
    gap_s: float
    codec: str
    content_type: str
    content: bytes

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def key(self, place: Place) -> str:
        return place.beside_key(self.hit_id, SUFFIXES[self.codec])

    def told(self, place: Place) -> dict[str, Any]:
        """As the hit's `evidence` names it."""
        return {
            "key": self.key(place),
            "sha256": self.sha256,
            "bytes": len(self.content),
            "content_type": self.content_type,
            # To the sample: by these seconds its peaks are laid on the stream's again.
            "begin_s": rounded(self.begin_s, 6),
            "end_s": rounded(self.end_s, 6),
            "gap_s": rounded(self.gap_s),
        }

    def outgoing(self, place: Place) -> Outgoing:
        return Outgoing(
            target="clip", stream_id=place.stream_id, key=self.key(place), revision=1, content_type=self.content_type, body="", content=self.content
        )


class Clips(Protocol):
    """Those of one session: `earmark.excerpts`. Used by one thread at a time."""

    @property
    def due(self) -> bool:
        """There are some that are not on record."""
        ...

    def ready(self) -> Sequence[Clip]:
        """Those, encoded; the same ones again until `settled`."""
        ...

    def settled(self, kept: Sequence[Clip], *, left_out: Sequence[Clip]) -> None:
        """These are on record, and for those there was no room; of others a hit on record has one already, or there is no hit."""
        ...
