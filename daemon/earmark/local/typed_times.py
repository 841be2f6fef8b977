"""Times as people type them after --since and --until."""

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from earmark.errors import BadSettings
from earmark.hits.text import one_line

_AGO = re.compile(r"([0-9]{1,5})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def moment(text: str, option: str, zone: tzinfo = UTC, *, now: datetime, last: bool = False) -> datetime:
    """A day is its first moment, or (`last`) the first after it; where nothing says so, times are the zone's. Raises BadSettings."""
    said = text.strip()
    if ago := _AGO.fullmatch(said):
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        if _DAY.fullmatch(said):
            return datetime.combine(date.fromisoformat(said) + timedelta(days=last), time.min, tzinfo=zone).astimezone(UTC)
        at = datetime.fromisoformat(said)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        how = "write a day (2026-11-01), a moment (2026-11-01T12:00:00Z) or how long ago (7d, 36h, 90m)"
        raise BadSettings(f"{option} {one_line(text)!r} is no time: {how}") from None
