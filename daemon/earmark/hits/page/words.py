"""Words that the parts of `report.html` share. Pure."""

from datetime import datetime

from earmark.hits.record import Line
from earmark.hits.text import called, one_line, rfc3339

_GAP_REASONS = {
    "segment_missing": "a segment was gone before it could be fetched",
    "segment_undecodable": "a segment could not be decoded",
    "segment_refused": "a segment was refused",
    "skipped": "the playlist moved on",
    "late": "dropped to the live edge",
    "origin_down": "the origin did not answer",
    "worker_lost": "the listener was replaced",
    "discontinuity": "the encoder's clock jumped",
    "database_away": "the database was away for too long",
}


def recording(line: Line) -> str:
    """Artists and title, or what identifies it where the catalogue has neither."""
    return one_line(called(line.artists, line.title) or line.track_id)


def utc(moment: datetime) -> str:
    return rfc3339(moment)[:19].replace("T", " ") + " UTC"


def why(gap_reason: str) -> str:
    """Some seconds were not heard."""
    return _GAP_REASONS.get(gap_reason) or one_line(gap_reason)
