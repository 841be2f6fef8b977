"""Which recordings there are under a prefix: folders of folders, by the time at which they began, down to those that hold media.

    ivs/v1/<account>/<channel>/<year>/<month>/<day>/<hour>/<minute>/<recording>/

Numbers are not padded. What lies under another prefix is walked just so, only that nothing is known of when it began.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from earmark.audio.recording import Recording
from earmark.errors import SourceUnsupported

#: Below a channel's folder: year, month, day, hour, minute.
_WHEN = re.compile(r"(?:^|.*/)ivs/v1/[^/]+/(?P<channel>[^/]+)(?P<when>(?:/[0-9]{1,4}){0,5})(?P<rest>(?:/[^/]+)*)/?")
#: Folders within folders; and how many folders are looked into: a year of a channel that is recorded every hour has 10,000.
DEPTH_MAX, FOLDERS_MAX = 14, 20_000


def channel_of(place: str) -> str:
    """The id of the channel that a place is of; empty if its name does not say."""
    found = _WHEN.fullmatch(place)
    return found["channel"] if found else ""


def period(prefix: str) -> tuple[datetime, datetime] | None:
    """From when to when what lies under a prefix can have begun; None: its name does not say."""
    found = _WHEN.fullmatch(prefix)
    numbers = [int(number) for number in found["when"].split("/")[1:]] if found else []
    if not numbers:
        return None
    try:
        begin = datetime(*[*numbers, *(1, 1, 0, 0)[len(numbers) - 1 :]][:5], tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError:
        return None
    match len(numbers):
        case 1:
            return begin, begin.replace(year=begin.year + 1)
        case 2:
            return begin, (begin.replace(day=28) + timedelta(days=4)).replace(day=1)
        case _:
            return begin, begin + (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1))[len(numbers) - 3]


def began(place: str) -> datetime | None:
    """To the minute, as the name of a recording's place says."""
    found = _WHEN.fullmatch(place)
    span = period(place)
    return span[0] if span and found and found["when"].count("/") == 5 else None


def recordings(root: Recording, *, since: datetime | None, until: datetime | None) -> Iterator[str]:
    """Places of all recordings under the root that began from `since` on and before `until`, in order of time.

    What has no time in its name is among them. Raises as `Recording`; SourceUnsupported when there are too many folders.
    """
    left = FOLDERS_MAX

    def walk(prefix: str, depth: int) -> Iterator[str]:
        nonlocal left
        if (left := left - 1) < 0:
            raise SourceUnsupported(f"{root.place} holds more than {FOLDERS_MAX:,} folders: name a narrower prefix, or a shorter time")
        folders, _ = root.listed(prefix, delimiter="/")
        if "media" in folders or "events" in folders:
            yield f"s3://{root.bucket}/{prefix.rstrip('/')}"
            return
        for folder in sorted(folders, key=_in_order):
            if depth < DEPTH_MAX and _within(f"{prefix}{folder}", since, until):
                yield from walk(f"{prefix}{folder}/", depth + 1)

    yield from walk(f"{root.prefix}/" if root.prefix else "", 0)


def _within(prefix: str, since: datetime | None, until: datetime | None) -> bool:
    span = period(prefix)
    return span is None or not ((since and span[1] <= since) or (until and span[0] >= until))


def _in_order(folder: str) -> tuple[int, str]:
    return (int(folder) if folder.isdecimal() and len(folder) < 10 else 0, folder)
