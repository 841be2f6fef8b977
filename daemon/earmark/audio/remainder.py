"""A stream that is over and was not heard to its end, because its owner died or it never had one: what is still listed, and a gap for the rest."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import structlog

from earmark.audio.hls import HlsSource
from earmark.errors import SourceUnavailable, SourceUnsupported, StreamNotFound
from earmark.model import EndReason, GapReason, Missing, Piece, Segment

#: The times of events and of segments come from different clocks: less is no gap.
GAP_LEAST: Final = timedelta(seconds=1)


class Remainder:
    """A `session.Source`.

    Args:
        listed: reads what is still listed; None: nothing of it can be.
        unheard: nothing of the stream was heard yet.
        known_until: what is on record, by the wall clock: where `listed` goes on, or the stream's start; None if that is not
            known: then nothing can be said of a gap.
        over_at: when the stream ended, as far as is known: events come late, and sweeps are a minute apart. What was listed to
            its end is believed before.
        reason: why nobody heard it.
        longest_s: no gap is longer.
        last_try: an origin that does not answer is not waited for again.
    """

    lasting = False
    end_reason: EndReason = "stream_end"

    def __init__(
        self,
        *,
        listed: HlsSource | None,
        unheard: bool,
        known_until: datetime | None,
        over_at: datetime | None,
        reason: GapReason,
        longest_s: float,
        last_try: bool,
    ) -> None:
        self._listed = listed
        self._unheard = unheard
        self._known_until = known_until
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
                    if self._unheard and isinstance(piece, Segment):
                        self._unheard = False
                        yield from self._gap_until(piece.clock)
                    self._note(piece)
                    yield piece
                if self._listed.read_to_its_end:
                    return
            except (SourceUnavailable, SourceUnsupported, StreamNotFound) as error:
                if isinstance(error, SourceUnavailable) and not self._last_try:
                    raise
                structlog.get_logger().warning("stream.rest_missed", why=str(error))
        yield from self._gap_until(self._over_at)

    def _gap_until(self, until: datetime | None) -> Iterator[Piece]:
        if self._known_until and until:
            gap = until - self._known_until
            if gap >= GAP_LEAST:
                yield Missing(duration_s=min(self._longest_s, gap.total_seconds()), reason=self._reason)

    def _note(self, piece: Piece) -> None:
        if isinstance(piece, Segment) and piece.clock:
            self._known_until = piece.clock + timedelta(seconds=piece.duration_s)
        elif isinstance(piece, Missing | Segment) and self._known_until:
            self._known_until += timedelta(seconds=piece.duration_s)
