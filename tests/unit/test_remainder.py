"""The end of a stream whose owner died: what is listed of it, and a gap for what is not."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from earmark.audio.remainder import Remainder
from earmark.errors import SourceUnavailable, SourceUnsupported
from earmark.model import Missing, Piece, Segment

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Listed:
    rendition, fetched_bytes = "audio only", 17

    def __init__(self, *pieces: Piece | Exception, to_its_end: bool) -> None:
        self._pieces = pieces
        self.read_to_its_end = to_its_end

    def pieces(self) -> Iterator[Piece]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def segment(begin_s: float | None = None, seconds: float = 4) -> Segment:
    return Segment(data=b"", container="mpegts", duration_s=seconds, clock=None if begin_s is None else at(begin_s), fetched_at=NOON)


def lengths(
    *listed: Piece | Exception,
    heard_s: float | None = 0,
    over_s: float | None = 20,
    last_try: bool = False,
    unheard: bool = False,
    to_its_end: bool = False,
) -> list[tuple[str, float]]:
    source: Any = Listed(*listed, to_its_end=to_its_end) if listed else None
    remainder = Remainder(
        listed=source,
        unheard=unheard,
        known_until=None if heard_s is None else at(heard_s),
        over_at=None if over_s is None else at(over_s),
        reason="worker_lost",
        longest_s=3_600,
        last_try=last_try,
    )
    return [(piece.reason if isinstance(piece, Missing) else "heard", piece.duration_s) for piece in remainder.pieces() if isinstance(piece, Missing | Segment)]


def test_what_is_listed_is_heard_and_the_rest_is_a_gap_up_to_the_end() -> None:
    assert lengths(segment(6), Missing(duration_s=2, reason="segment_missing")) == [("heard", 4), ("segment_missing", 2), ("worker_lost", 8)]


@pytest.mark.parametrize("last", [segment(16), segment(15.5)])
def test_what_is_listed_to_its_end_leaves_none(last: Segment) -> None:
    assert lengths(segment(12), last) == [("heard", 4), ("heard", 4)]


def test_behind_what_was_listed_to_its_end_is_nothing_however_late_the_end_was_told() -> None:
    assert lengths(segment(6), to_its_end=True) == [("heard", 4)]


def test_of_a_stream_that_nobody_heard_what_is_listed_is_heard_and_what_came_before_is_a_gap() -> None:
    assert lengths(segment(8), segment(12), segment(16), unheard=True, to_its_end=True) == [("worker_lost", 8), ("heard", 4), ("heard", 4), ("heard", 4)]
    assert lengths(unheard=True) == [("worker_lost", 20)]
    assert lengths(segment(0.5), heard_s=None, unheard=True) == [("heard", 4), ("worker_lost", 15.5)]


def test_without_its_clock_what_is_heard_counts_by_its_length() -> None:
    assert lengths(segment(), segment()) == [("heard", 4), ("heard", 4), ("worker_lost", 12)]


@pytest.mark.parametrize("error", [SourceUnsupported("404"), SourceUnavailable("503")])
def test_what_cannot_be_had_any_more_is_a_gap(error: Exception) -> None:
    assert lengths(segment(0), error, last_try=True) == [("heard", 4), ("worker_lost", 16)]


def test_an_origin_that_does_not_answer_now_may_do_so_the_next_time() -> None:
    with pytest.raises(SourceUnavailable):
        lengths(SourceUnavailable("503"))


@pytest.mark.parametrize("times, expected", [((None, 20), []), ((0, None), []), ((30, 20), []), ((0, 90_000), [("worker_lost", 3_600)])])
def test_a_gap_needs_two_ends_and_has_a_limit(times: Sequence[float | None], expected: list[tuple[str, float]]) -> None:
    assert lengths(heard_s=times[0], over_s=times[1]) == expected
