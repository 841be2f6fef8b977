"""Reports across streams, as rows: a cue sheet with a stream in front of each, lines of JSON, a table for people. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from earmark.hits.record import Document
from earmark.hits.reports.portion import Portion
from earmark.hits.reports.report import CUE_SHEET_COLUMNS, cue_row, when
from earmark.hits.reports.totals import Recording, Share, Totals, most_first
from earmark.hits.text import TEXT_MAX, as_cell, called, clock_time, columns, counted, one_line

CSV_COLUMNS: Final = ("stream_id", "channel", "source", *CUE_SHEET_COLUMNS)
#: Shown to people of each kind, those with most seconds.
SHOWN_MAX: Final = 20
_NAME_MAX: Final = 56


def csv_rows(portion: Portion) -> Iterator[list[str]]:
    """The cue sheet of these seconds, as CSV_COLUMNS has them: they cover them without a hole; no cell is a formula."""
    stream = portion.report.stream
    head = [as_cell(one_line(text, TEXT_MAX)) for text in (stream.stream_id, portion.channel, stream.source)]
    for cue in portion.cues():
        yield [*head, *cue_row(cue, portion.report.timebase)]


def play_lines(portion: Portion) -> Iterator[Document]:
    """A document for each play."""
    stream = portion.report.stream
    for cue in portion.cues():
        line = cue.line
        if line is None:
            continue
        started_at, ended_at = when(cue, portion.report.timebase)
        yield {
            "kind": "play",
            "stream_id": stream.stream_id,
            "channel": portion.channel,
            "channel_arn": stream.channel_arn,
            "source": stream.source,
            "started_at": started_at,
            "ended_at": ended_at,
            "begin_s": round(cue.begin_s, 3),
            "end_s": round(cue.end_s, 3),
            "duration_s": round(round(cue.end_s, 3) - round(cue.begin_s, 3), 3),
            "hit_id": line.hit_id,
            "state": line.state,
            "track_id": line.track_id,
            "title": line.title,
            "artists": list(line.artists),
            "album": line.album,
            "label": line.label,
            "isrc": list(line.isrc),
            "iswc": list(line.iswc),
            "upc": list(line.upc),
            "rights_holder": line.rights_holder,
            "action": line.action,
            "quotation": line.quotation,
            "continues": line.continues,
            "began_here": portion.begins(line),
            "note": cue.note,
        }


def total_line(totals: Totals) -> Document:
    """What comes behind the plays."""
    return {"kind": "total", "channels": len(totals.channels), "recordings": len(totals.recordings), **totals.all.told(), "coverage": totals.heard.told()}


def text(totals: Totals, asked: str) -> str:
    """For a terminal; `asked`: what the report is of, in words."""
    heard = totals.heard
    share = f" ({heard.heard_ms / heard.total_ms:.1%})" if heard.total_ms else ""
    reasons = sorted(heard.gap_ms_by_reason.items(), key=lambda item: -item[1])
    lines = [
        f"Report      {asked}",
        f"Sessions    {heard.sessions:,} of {counted(len(totals.channels), 'channel')}",
        f"Heard       {_clock(heard.heard_ms)} of {_clock(heard.total_ms)}{share}",
        f"Not heard   {_clock(heard.gap_ms)}{': ' if reasons else ''}{', '.join(f'{reason} {_clock(ms)}' for reason, ms in reasons)}",
        f"Identified  {_clock(heard.identified_ms)}, {counted(totals.all.plays, 'play')} of {counted(len(totals.recordings), 'recording')}",
        f"Music       {_clock(heard.music_ms)} that no play explains",
        f"The rest    {_clock(heard.rest_ms)}",
    ]
    if heard.overlap_ms:
        lines.append(f"Together    {_clock(heard.overlap_ms)} in which recordings lie over one another: below they have it each")
    recordings = [(_called(one), one.share) for one in totals.by_recording()]
    for title, shares in (
        ("RECORDING", recordings),
        ("LABEL", most_first(totals.labels)),
        ("RIGHTS HOLDER", most_first(totals.rights_holders)),
        ("CHANNEL", most_first({name: channel.share for name, channel in totals.channels.items()})),
    ):
        if shares and totals.recordings:
            lines += ["", *_table(title, shares)]
    return "\n".join(lines) + "\n"


def _called(one: Recording) -> str:
    return called(one.line.artists, one.line.title) or one.line.track_id


def _table(title: str, shares: Sequence[tuple[str, Share]]) -> Iterator[str]:
    rows = [(title, "PLAYS", "HEARD")]
    rows += [(one_line(name, _NAME_MAX) or "(not said)", f"{share.plays:,}", _clock(share.heard_ms)) for name, share in shares[:SHOWN_MAX]]
    if len(shares) > SHOWN_MAX:
        more = [share for _, share in shares[SHOWN_MAX:]]
        rows.append((f"and {len(more):,} more", f"{sum(share.plays for share in more):,}", _clock(sum(share.heard_ms for share in more))))
    width, plays, heard = (max(columns(row[n]) for row in rows) for n in range(3))
    for name, number, length in rows:
        yield f"{name}{' ' * (width - columns(name))}  {number:>{plays}}  {length:>{heard}}"


def _clock(ms: int) -> str:
    return clock_time(ms / 1000)
