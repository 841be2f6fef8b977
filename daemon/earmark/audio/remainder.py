"""The end of a stream that went on unheard, because its owner died: what is still listed of it, and a gap up to its end."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import structlog

from earmark.audio.hls import HlsSource
from earmark.errors import SourceUnavailable, SourceUnsupported, StreamNotFound
from earmark.model import EndReason, GapReason, Missing, Piece, Segment

#: The times of events and of segments come from different clocks: less is no gap.
_GAP_LEAST_S: Final = 1.0


class Remainder:
    """A `session.Source`.

    Args:
        listed: reads what is still listed; None: nothing of it can be.
        heard_until: by the wall clock, and None if that is not known: then nothing can be said of a gap.
        over_at: when the stream ended.
        reason: why nobody heard it.
        longest_s: no gap is longer.
        last_try: an origin that does not answer is not waited for again.
    """

    lasting = False
    end_reason: EndReason = "stream_end"

    def __init__(
        self, *, listed: HlsSource | None, heard_until: datetime | None, over_at: datetime | None, reason: GapReason, longest_s: float, last_try: bool
    ) -> None:
        self._listed = listed
        self._heard_until = heard_until
        self._over_at = over_at
        self._reason = reason
        self._longest_s = longest_s
        self._last_try = last_try

    @property
    def rendition(self) -> str:
        return self._listed.rendition if self._listed else ""

    @property
    def fetched_bytes(self) -> int:
        return self._listed.fetched_bytes if self._listed else 0

    def pieces(self) -> Iterator[Piece]:
        """Raises SourceUnavailable, unless it is the last try: what is listed now may be had with the next."""
        if self._listed:
            try:
                for piece in self._listed.pieces():
                    self._note(piece)
                    yield piece
            except (SourceUnavailable, SourceUnsupported, StreamNotFound) as error:
                if isinstance(error, SourceUnavailable) and not self._last_try:
                    raise
                structlog.get_logger().info("stream.rest_is_gone", why=str(error))
        if self._heard_until and self._over_at:
            gap_s = min(self._longest_s, (self._over_at - self._heard_until).total_seconds())
            if gap_s >= _GAP_LEAST_S:
                yield Missing(duration_s=gap_s, reason=self._reason)

    def _note(self, piece: Piece) -> None:
        if isinstance(piece, Segment) and piece.clock:
            self._heard_until = piece.clock + timedelta(seconds=piece.duration_s)
        elif isinstance(piece, Missing | Segment) and self._heard_until:
            self._heard_until += timedelta(seconds=piece.duration_s)
