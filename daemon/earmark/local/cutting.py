"""`earmark report STREAM --format cuts`, `ffmpeg`, `mediaconvert`, `edl`: what of a stream its recording is to be published without."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from earmark import postgres
from earmark.errors import BadSettings
from earmark.hits.record import Timebase
from earmark.hits.reports import cut_forms, cuts
from earmark.hits.reports import report as reports
from earmark.hits.text import clock_time, counted, one_line
from earmark.local.desk import opened
from earmark.settings import Settings

#: A recording begins no further from its stream's begin.
_OFFSET_S_MAX = 31 * 86_400.0


def cut_list(stream_id: str, *, layout: str, actions: Sequence[str] | None, offset: str | None, fps: str | None, settings: Settings) -> int:
    """What was not heard is told besides, on standard error: nobody knows what plays there.

    Raises StreamNotFound, BadSettings.
    """
    rate = _rate(fps, layout) if layout in ("mediaconvert", "edl") else None
    chosen = tuple(actions or settings.cuts.actions)
    with opened(None, settings) as pool, postgres.transaction(pool) as connection:
        whole = reports.load(connection, stream_id)
        unwanted = cuts.load(connection, stream_id, chosen)
    offset_s = _offset_s(offset, whole.timebase)
    made = cuts.listed(whole, unwanted, actions=chosen, edge_s=settings.cuts.edge_s, offset_s=offset_s)
    sys.stdout.write(_as(layout, made, rate))
    if layout != "cuts" and made.unknown:
        unknown_s = sum(gap.end_s - max(gap.begin_s, offset_s) for gap in made.unknown)
        gaps = counted(len(made.unknown), "gap")
        print(f"earmark: {clock_time(unknown_s)} in {gaps} was not heard and is left as it is: --format cuts names them", file=sys.stderr)
    return 0


def _as(layout: str, made: cuts.CutList, rate: Fraction | None) -> str:
    if rate is not None:
        return cut_forms.edl(made, rate) if layout == "edl" else cut_forms.mediaconvert(made, rate)
    return cut_forms.ffmpeg(made) if layout == "ffmpeg" else cuts.text(made)


def _rate(fps: str | None, layout: str) -> Fraction:
    if fps is None:
        raise BadSettings(
            f"--format {layout} counts frames: say how many a second has (--fps 25, 29.97, 30000/1001; of sound without pictures MediaConvert counts 100)"
        )
    try:
        return cut_forms.frame_rate(fps.strip())
    except ValueError as error:
        raise BadSettings(f"--fps: {error}") from None


def _offset_s(text: str | None, timebase: Timebase) -> float:
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = _offset_at(text, timebase)
    if not abs(seconds) <= _OFFSET_S_MAX:
        raise BadSettings(f"--offset {one_line(text)} is more than a month from the stream's begin: nothing of it would be left")
    return seconds


def _offset_at(text: str, timebase: Timebase) -> float:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadSettings(f"--offset {one_line(text)!r} is neither a number of seconds nor a moment (2026-11-01T12:00:00.5Z)") from None
    seconds = cuts.offset_of(at if at.tzinfo else at.replace(tzinfo=UTC), timebase)
    if seconds is None:
        raise BadSettings("nothing says when the media of this stream were: give --offset in seconds")
    return seconds
