"""What is on record, a page at a time: recordings, streams, and one stream with its hits."""

from collections.abc import Sequence
from typing import Any, Final

from earmark.errors import StreamNotFound
from earmark.hits.record import Document, Place
from earmark.hits.reports import report
from earmark.hits.text import one_line
from earmark.index.catalogue import Tracks
from earmark.model import Checkpoint, Track
from earmark.postgres import Pool, statement, transaction
from earmark.reserved import CANARY

#: Hits of one stream that are told, newest kept: a day of music has some four hundred, of two kilobytes each.
HITS_MAX: Final = 1_000


def tracks(pool: Pool, *, after: str, limit: int) -> list[Track]:
    """By track_id, those behind `after`, without the canary's. Raises DatabaseUnavailable."""
    with statement(pool) as connection:
        ids = [row[0] for row in connection.execute(_TRACKS, [after, CANARY, limit])]
    found = Tracks(pool=pool).get(ids)
    return [found[track_id] for track_id in ids if track_id in found]


_TRACKS: Final = "select track_id from track where track_id > %s and not starts_with(track_id, %s) order by track_id limit %s"


def streams(pool: Pool, *, after: str, limit: int, ended: bool) -> list[dict[str, Any]]:
    """Newest first, those behind the stream `after`, without canaries. Raises StreamNotFound if there is none of that name (any more), DatabaseUnavailable."""
    with statement(pool) as connection:
        place = connection.execute("select created_at, stream_id from stream where stream_id = %s", [after]).fetchone() if after else None
        if after and place is None:
            raise StreamNotFound(f"the stream {one_line(after)!r}, after which the page begins, is not on record any more: begin with the first page")
        rows = connection.execute(
            """
            select stream_id, source, state, started_at, ended_at, coalesce(end_reason, ''), checkpoint::text from stream
             where (state <> 'ended' or %(ended)s) and (%(at)s::timestamptz is null or (created_at, stream_id) < (%(at)s, %(id)s))
               and not starts_with(stream_id, %(canary)s)
             order by created_at desc, stream_id desc limit %(limit)s""",
            {"canary": CANARY, "ended": ended, "at": place[0] if place else None, "id": place[1] if place else "", "limit": limit},
        ).fetchall()
    return [_summary(row) for row in rows]


def _summary(row: Sequence[Any]) -> dict[str, Any]:
    stream_id, source, state, started_at, ended_at, end_reason, kept = row
    try:
        checkpoint = Checkpoint.from_json(kept) if kept else Checkpoint()
    except ValueError:  # by another version of Earmark
        checkpoint = Checkpoint()
    return {
        "stream_id": stream_id,
        "source": source,
        "state": state,
        "started_at": started_at,
        "ended_at": ended_at,
        "end_reason": end_reason,
        "heard_s": checkpoint.heard_s,
        "gap_s": checkpoint.gap_s,
        "playing": [play.track_id for play in checkpoint.plays],
    }


def stream(pool: Pool, stream_id: str) -> Document:
    """`stream.json` without links, and the newest hits. Raises StreamNotFound, DatabaseUnavailable."""
    with transaction(pool) as connection:
        found = report.load(connection, stream_id)
        hits = connection.execute(
            "select body, count(*) over () from play where stream_id = %s order by begin_s desc, hit_id limit %s", [stream_id, HITS_MAX]
        ).fetchall()
    document = report.document(found, Place(bucket="", prefix="", stream_id=stream_id))
    return {**document, "hits": [body for body, _ in reversed(hits)], "hits_left_out": hits[0][1] - len(hits) if hits else 0}
