"""`earmark report --since --until --channel`: what was heard of all streams in a period, row by row."""

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from earmark import postgres
from earmark.errors import BadSettings
from earmark.hits.reports import exports
from earmark.hits.reports.portion import Period, Portion
from earmark.hits.reports.selection import Selection, portions
from earmark.hits.reports.soundexchange import ReportOfUse, file_name
from earmark.hits.reports.totals import Totals
from earmark.hits.text import counted, dumps, moment_text, one_line, rfc3339
from earmark.local.desk import opened
from earmark.local.typed_times import moment
from earmark.settings import Settings

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class _Asked:
    period: Period
    channel: str
    zone: tzinfo
    made_at: datetime

    def words(self) -> str:
        """What the report is of."""
        period, channel = self.period, f", {one_line(self.channel, 60)}" if self.channel else ""
        if period.since is None and period.until is None:
            return f"all that is on record{channel}"
        since, until = (f"{at.astimezone(self.zone):%Y-%m-%d %H:%M:%S}" if at else "" for at in (period.since, period.until))
        return f"{f'from {since} ' if since else ''}{f'to {until} ' if until else ''}({self.zone}){channel}"

    def told(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "since": moment_text(self.period.since),
            "until": moment_text(self.period.until),
            "time_zone": str(self.zone),
            "channel": self.channel,
            "made_at": rfc3339(self.made_at),
        }


def across_streams(
    *, since: str | None, until: str | None, channel: str, time_zone: str | None, listeners: float | None, layout: str, settings: Settings
) -> int:
    """Raises BadSettings, DatabaseUnavailable. A period in which nothing was on air is an empty report."""
    zone, now = _zone(time_zone), datetime.now(UTC)
    period = Period(
        since=moment(since, "--since", zone, now=now) if since else None,
        until=moment(until, "--until", zone, now=now, last=True) if until else None,
    )
    if period.since and period.until and period.until <= period.since:
        raise BadSettings(f"--until {one_line(until or '')} is not after --since {one_line(since or '')}: nothing lies between them")
    asked = _Asked(period=period, channel=channel, zone=zone, made_at=now)
    with opened(None, settings) as pool, postgres.statement(pool) as connection:
        found = portions(connection, Selection(period=period, channel=channel))
        if layout == "soundexchange":
            _report_use(found, asked, listeners, settings)
        else:
            _WRITERS[layout](found, asked)
    return 0


def _text(found: Iterator[Portion], asked: _Asked) -> None:
    sys.stdout.write(exports.text(_totals(found), asked.words()))


def _json(found: Iterator[Portion], asked: _Asked) -> None:
    sys.stdout.write(dumps(asked.told() | _totals(found).document(), indent=1) + "\n")


def _totals(found: Iterator[Portion]) -> Totals:
    totals = Totals()
    for portion in found:
        totals.add(portion)
    return totals


def _csv(found: Iterator[Portion], _: _Asked) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(exports.CSV_COLUMNS)
    for portion in found:
        writer.writerows(exports.csv_rows(portion))


def _jsonl(found: Iterator[Portion], asked: _Asked) -> None:
    totals = Totals()
    for portion in found:
        sys.stdout.writelines(f"{dumps(line)}\n" for line in exports.play_lines(portion))
        totals.add(portion)
    sys.stdout.write(f"{dumps(exports.total_line(totals) | asked.told())}\n")


_WRITERS: dict[str, Callable[[Iterator[Portion], _Asked], None]] = {"text": _text, "json": _json, "csv": _csv, "jsonl": _jsonl}


def _report_use(found: Iterator[Portion], asked: _Asked, listeners: float | None, settings: Settings) -> None:
    """What it lacks is told on standard error, and what the file is to be called."""
    period, who = asked.period, settings.reporting
    if period.since is None or period.until is None:
        raise BadSettings("a report of use is of a period: say both --since and --until (SoundExchange asks for whole months)")
    since, until = _day(period.since, asked.zone), _day(period.until - timedelta(microseconds=1), asked.zone)
    report = ReportOfUse()
    for portion in found:
        report.add(portion)
    sys.stdout.writelines(report.lines(who, since=since, until=until, made_on=_day(asked.made_at, asked.zone), listeners=listeners))
    lacking = report.lacking()
    said = [
        f"SoundExchange wants this file called {file_name(who, since, until)}",
        "" if who.service and who.category else "it says neither who reports nor in which category without reporting.service and reporting.category",
        "" if who.has_head else "it has no head, which is allowed: reporting.contact, street, city, telephone and email make one",
        "" if listeners is not None else "how many listened is left empty: --listeners says it",
        f"{counted(lacking.unnamed, 'recording')} without an ISRC, and without an album and a label instead" if lacking.unnamed else "",
        f"{counted(lacking.not_ascii, 'recording')} with a text of which nothing is ASCII, left as it is" if lacking.not_ascii else "",
    ]
    for sentence in filter(None, said):
        print(f"earmark: {sentence}", file=sys.stderr)


def _day(at: datetime, zone: tzinfo) -> date:
    return at.astimezone(zone).date()


# ------------------------------------------------------------------------------------------------ what was typed


def _zone(name: str | None) -> tzinfo:
    if name is None or name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # none of that name; a path; a folder of zones
        raise BadSettings(f"there is no time zone {one_line(name)!r}: write one as Europe/Berlin, or UTC") from None
