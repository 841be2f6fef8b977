"""A report of use for SoundExchange: which recordings, how often, on which channel. Pure.

Source: 37 CFR 370.4(d)(2), what a report holds, and (e), in which form: fields apart by `|`, texts between `^`, lines that end
with a carriage return, a head of fourteen rows or none, and the name of the file. How many people listened Earmark
does not know: who does says so; else those fields stay empty, and channel and play frequency are there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from earmark.hits.record import Line
from earmark.hits.reports.portion import Portion
from earmark.hits.text import as_cell, ascii_line, one_line
from earmark.settings import Reporting

COLUMNS: Final = (
    "NAME_OF_SERVICE", "TRANSMISSION_CATEGORY", "FEATURED_ARTIST", "SOUND_RECORDING_TITLE", "ISRC", "ALBUM_TITLE", "MARKETING_LABEL",
    "ACTUAL_TOTAL_PERFORMANCES", "AGGREGATE_TUNING_HOURS", "CHANNEL_OR_PROGRAM_NAME", "PLAY_FREQUENCY",
)  # fmt: skip
_TEXT, _FIELD, _ROW = "^", "|", "\r\n"
_CELL_MAX: Final = 255


@dataclass(slots=True)
class _Use:
    line: Line
    plays: int = 0


@dataclass(frozen=True, kw_only=True)
class Lacking:
    """What SoundExchange will ask about."""

    #: Recordings with neither an ISRC nor an album and a label.
    unnamed: int
    #: With a text of which nothing is ASCII, which a report has to be.
    not_ascii: int


@dataclass(slots=True)
class ReportOfUse:
    """Grows by a session at a time, and no more than there are recordings on each channel."""

    #: By channel and track_id.
    _uses: dict[tuple[str, str], _Use] = field(default_factory=dict)

    def add(self, portion: Portion) -> None:
        for line in portion.report.plays:
            if line.state != "provisional" and portion.begins(line):
                use = self._uses.setdefault((portion.channel, line.track_id), _Use(line))
                use.line = line
                use.plays += 1

    def lines(self, who: Reporting, *, since: date, until: date, made_on: date, listeners: float | None) -> Iterator[str]:
        """Each with its end. `until`: the last day. `listeners`: on average, to each play."""
        if who.has_head:
            yield from (f"{row}{_ROW}" for row in self._head(who, since, until, made_on))
        for (channel, _), use in sorted(self._uses.items(), key=lambda item: (item[0][0], -item[1].plays, item[0][1])):
            line = use.line
            performances = "" if listeners is None else f"{round(listeners * use.plays)}"
            texts = [who.service, who.category, ", ".join(line.artists), line.title, "".join(line.isrc[:1]), line.album, line.label]
            yield _FIELD.join([*map(_text, texts), performances, "", _text(channel), f"{use.plays}"]) + _ROW

    def lacking(self) -> Lacking:
        lines = {use.line.track_id: use.line for use in self._uses.values()}.values()
        return Lacking(
            unnamed=sum(not line.isrc and not (line.album and line.label) for line in lines),
            not_ascii=sum(any(text and not ascii_line(text) for text in (line.title, *line.artists, line.album, line.label)) for line in lines),
        )

    def __len__(self) -> int:
        return len(self._uses)

    def _head(self, who: Reporting, since: date, until: date, made_on: date) -> list[str]:
        address = [who.service, who.contact, who.street, who.city, who.telephone, who.email]
        days = [f"{day:%Y%m%d}" for day in (since, until, made_on)]
        return [*map(_plain, address), *days, f"{len(self)}", _TEXT, _FIELD, "", _FIELD.join(COLUMNS)]


def file_name(who: Reporting, since: date, until: date) -> str:
    """As SoundExchange wants it: the service's name, the first and the last day."""
    return f"{''.join(c for c in ascii_line(who.service) if c.isalnum()) or 'Service'}{since:%d%m%Y}-{until:%d%m%Y}.txt"


def _text(text: str) -> str:
    """Between its marks, which are in no text."""
    cell = _plain(text)
    return f"{_TEXT}{as_cell(cell)}{_TEXT}" if cell else ""


def _plain(text: str) -> str:
    """In ASCII as far as something is left of it, in one line, without what marks texts and fields."""
    line = one_line(text, _CELL_MAX)
    return one_line((ascii_line(line) or line).replace(_TEXT, " ").replace(_FIELD, "/"), _CELL_MAX)
