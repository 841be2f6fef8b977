"""The source of what cannot even be asked for."""

from collections.abc import Iterator
from dataclasses import dataclass

from earmark.errors import Permanent
from earmark.model import EndReason, Piece


@dataclass(frozen=True)
class RefusedSource:
    """Implements `session.Source`: its session says so on record, and ends."""

    error: Permanent
    lasting: bool = True
    end_reason: EndReason = "failed"
    rendition: str = ""
    fetched_bytes: int = 0

    def pieces(self) -> Iterator[Piece]:
        raise self.error
