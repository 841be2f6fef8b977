"""What was heard of one stream, as a cue sheet, as text, as JSON, as a page: all made from the same rows."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from earmark.errors import StreamNotFound
from earmark.hits import record
from earmark.hits.mail.alert import sure_in_words
from earmark.hits.page import whole
from earmark.hits.page.details import Proof
from earmark.hits.record import Line, Place, Timebase
from earmark.hits.text import TEXT_MAX, as_cell, called, clock_time, columns, dumps, moment_text, one_line
from earmark.hits.unidentified import identified_s, unidentified
from earmark.model import FINGERPRINT_VERSION, Checkpoint, Gap, Stream, Stretch
from earmark.postgres import Connection
from earmark.reserved import is_canary

CUE_SHEET_COLUMNS = (
    "started_at", "ended_at", "begin_s", "end_s", "duration_s", "track_id", "title", "artists", "album", "label", "isrc", "iswc", "upc",
    "rights_holder", "action", "hit_id", "kind", "note",
)  # fmt: skip
#: Shorter silences of the ledger are rounding.
_SPAN_MIN_S = 0.0005
_ROWS_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class StreamReport:
    """One session as the database has it."""

    stream: Stream
    checkpoint: Checkpoint
    #: In order of `begin_s`.
    plays: tuple[Line, ...]
    #: Who listens, or listened last.
    worker: str
    updated_at: datetime

    @property
    def timebase(self) -> Timebase:
        return Timebase.of(self.checkpoint)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cue:
    """A row of the cue sheet. *unidentified* seconds were heard and hold nothing from the catalogue; noted is where they are music."""

    kind: Literal["play", "gap", "unidentified"]
    begin_s: float
    end_s: float
    line: Line | None = None
    note: str = ""


def load(connection: Connection, stream_id: str) -> StreamReport:
    """The report of a stream, running or ended. Raises StreamNotFound."""
    row = connection.execute(
        """
        select source, channel_arn, channel_name, session_id, url, tags, started_at, checkpoint::text, coalesce(owner, ''), coalesce(heard_at, created_at),
               state = 'quarantined', last_error, coalesce(trace_id, '')
          from stream where stream_id = %s
        """,
        [stream_id],
    ).fetchone()
    if row is None:
        raise StreamNotFound(f"the stream {one_line(stream_id)!r} is not in the database: `earmark streams list` shows those that are")
    source, channel_arn, channel_name, session_id, url, tags, started_at, kept, worker, updated_at, quarantined, error, trace_id = row
    stream = Stream(
        stream_id=stream_id,
        source=source,
        channel_arn=channel_arn,
        channel_name=channel_name,
        session_id=session_id,
        url=url,
        tags=tags,
        started_at=started_at,
        trace_id=trace_id,
    )
    checkpoint = Checkpoint.from_json(kept) if kept else Checkpoint()
    if quarantined:  # nobody listens who would have written it down
        checkpoint = replace(checkpoint, state="quarantined", last_error=error)
    # Ten thousand hits at once are 125 MB, their lines a fifth of that; a cursor lives in a transaction, whether there is one already or not.
    with connection.transaction(), connection.cursor(name="plays") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute("select body from play where stream_id = %s order by begin_s, hit_id", [stream_id])
        plays = tuple(Line.of(body) for (body,) in cursor)
    return StreamReport(
        stream=stream,
        checkpoint=checkpoint,
        plays=plays,
        worker=worker,
        updated_at=updated_at,
    )


# ------------------------------------------------------------------------------------------------ the cue sheet


def cues(report: StreamReport) -> list[Cue]:
    """Plays, gaps and what is left, in order. Together they cover the session without a hole; plays may overlap.

    A provisional play is not on record yet: until it opens, its seconds count as unidentified.
    """
    plays = [Cue(kind="play", begin_s=line.begin_s, end_s=line.end_s, line=line, note=_play_note(line)) for line in report.plays if line.state != "provisional"]
    gaps = [Cue(kind="gap", begin_s=gap.begin_s, end_s=gap.end_s, note=gap.reason) for gap in report.checkpoint.gaps]
    music = unidentified(report.checkpoint.music, report.plays).stretches
    rest = [cue for span in _between(plays + gaps, report.checkpoint.position_s) for cue in _cut(*span, music)]
    return sorted(plays + gaps + rest, key=lambda cue: (cue.begin_s, cue.end_s))


def _play_note(line: Line) -> str:
    notes = {"still playing": line.state == "open", "quotation": line.quotation, "continues in the next session": line.continues}
    return ", ".join(note for note, applies in notes.items() if applies)


def _between(cues: Sequence[Cue], end_s: float) -> Iterator[tuple[float, float]]:
    """The stretches of 0 ... end_s that none of the cues covers."""
    here_s = 0.0
    for cue in sorted(cues, key=lambda cue: cue.begin_s):
        if cue.begin_s - here_s > _SPAN_MIN_S:
            yield here_s, min(cue.begin_s, end_s)
        here_s = max(here_s, cue.end_s)
    if end_s - here_s > _SPAN_MIN_S:
        yield here_s, end_s


def _cut(begin_s: float, end_s: float, music: Sequence[Stretch]) -> Iterator[Cue]:
    """begin_s ... end_s, cut where music begins and ends."""
    for stretch in music:
        from_s, to_s = max(begin_s, stretch.begin_s), min(end_s, stretch.end_s)
        if to_s - from_s > _SPAN_MIN_S:
            if from_s - begin_s > _SPAN_MIN_S:
                yield Cue(kind="unidentified", begin_s=begin_s, end_s=from_s)
            yield Cue(kind="unidentified", begin_s=from_s, end_s=to_s, note="music")
            begin_s = to_s
    if end_s - begin_s > _SPAN_MIN_S:
        yield Cue(kind="unidentified", begin_s=begin_s, end_s=end_s)


def cue_sheet_csv(report: StreamReport) -> str:
    """RFC 4180, UTF-8, a header row; lists are joined by "; "; no cell is a formula to a spreadsheet."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(CUE_SHEET_COLUMNS)
    for cue in cues(report):
        writer.writerow(cue_row(cue, report.timebase))
    return out.getvalue()


def cue_row(cue: Cue, timebase: Timebase) -> list[str]:
    """Its cells, in the order of CUE_SHEET_COLUMNS."""
    line = cue.line
    begin_s, end_s = round(cue.begin_s, 3), round(cue.end_s, 3)
    started_at, ended_at = when(cue, timebase)
    texts = [""] * 11
    if line:
        lists = [line.artists, line.isrc, line.iswc, line.upc]
        artists, isrc, iswc, upc = (_cell("; ".join(items)) for items in lists)
        texts = [_cell(line.track_id), _cell(line.title), artists, _cell(line.album), _cell(line.label), isrc, iswc, upc]
        texts += [_cell(line.rights_holder), line.action, line.hit_id]
    return [started_at or "", ended_at or "", f"{begin_s:.3f}", f"{end_s:.3f}", f"{end_s - begin_s:.3f}", *texts, cue.kind, cue.note]


def when(cue: Cue, timebase: Timebase) -> tuple[str | None, str | None]:
    """By the clock on the wall; of a play as its hit tells it, unless only a part of it is told of here."""
    line = cue.line
    started_at = line.started_at if line and cue.begin_s == line.begin_s else moment_text(timebase.at(cue.begin_s))
    ended_at = line.ended_at if line and cue.end_s == line.end_s else moment_text(timebase.at(cue.end_s))
    return started_at, ended_at


def _cell(text: str) -> str:
    return as_cell(one_line(text, TEXT_MAX))


# ------------------------------------------------------------------------------------------------ the other forms


def json(report: StreamReport) -> str:
    """The document of `stream.json`, without links."""
    return dumps(document(report, Place(bucket="", prefix="", stream_id=report.stream.stream_id)), indent=2) + "\n"


def document(report: StreamReport, place: Place) -> record.Document:
    """`stream.json`, as a place has it."""
    return record.stream_document(
        stream=report.stream,
        checkpoint=report.checkpoint,
        plays=report.plays,
        worker=report.worker,
        fingerprint_version=FINGERPRINT_VERSION,
        updated_at=report.updated_at,
        place=place,
    )


def html(report: StreamReport, proofs: Mapping[str, Proof] | None = None, *, linked: bool = False) -> str:
    """One self-contained page: works offline, runs no script but its own, fetches nothing. `proofs` and `linked`: as `page.render` has them."""
    return whole.render(stream=report.stream, checkpoint=report.checkpoint, plays=report.plays, updated_at=report.updated_at, proofs=proofs, linked=linked)


def text(report: StreamReport) -> str:
    """For a terminal."""
    return "\n".join([*_head(report), "", *(_table(report) or ["No catalogued recording was heard."]), *_music(report)]) + "\n"


def _head(report: StreamReport) -> list[str]:
    stream, checkpoint, gaps = report.stream, report.checkpoint, report.checkpoint.gaps
    total_s = checkpoint.position_s
    started_at = moment_text(report.timebase.at(0.0))
    share = f" ({checkpoint.heard_s / total_s:.1%})" if total_s else ""
    lines = [
        f"Stream     {one_line(stream.channel_name or stream.stream_id)} ({one_line(stream.stream_id)}, {stream.source})",
        f"State      {checkpoint.state}{f': {checkpoint.end_reason}' if checkpoint.end_reason else ''}",
        f"From       {started_at or 'unknown'}",
        f"Heard      {clock_time(checkpoint.heard_s)} of {clock_time(total_s)}{share}",
        f"Not heard  {clock_time(checkpoint.gap_s)}{f' in {len(gaps)} gaps: ' if gaps else ''}{', '.join(_reasons(gaps))}",
    ]
    if is_canary(stream.stream_id):
        lines.append("Canary     a stream of Earmark's own, by which it is watched: what was heard in it is nobody's play")
    if checkpoint.music.heard_s:
        identified = clock_time(identified_s(checkpoint.music, report.plays))
        lines.append(f"Music      {clock_time(checkpoint.music.heard_s)}, of which {identified} identified")
    if checkpoint.last_error:
        lines.append(f"Error      {one_line(checkpoint.last_error)}")
    return lines


def _reasons(gaps: Sequence[Gap]) -> list[str]:
    seconds: dict[str, float] = {}
    for gap in gaps:
        seconds[gap.reason] = seconds.get(gap.reason, 0.0) + gap.end_s - gap.begin_s
    return [f"{reason} {clock_time(total_s)}" for reason, total_s in sorted(seconds.items(), key=lambda item: -item[1])]


def _table(report: StreamReport) -> list[str]:
    if not report.plays:
        return []
    rows = [("FROM", "TO", "FOR", "RECORDING", "POLICY", "STATE", "HOW SURE")]
    for line in report.plays:
        name = called(line.artists, line.title) or line.track_id
        rows.append(
            (
                clock_time(line.begin_s),
                clock_time(line.end_s),
                clock_time(line.end_s - line.begin_s),
                one_line(name, 48),
                line.action,
                line.state + (" (quotation)" if line.quotation else ""),
                sure_in_words(line.false_alarms_per_hour).removesuffix(" of listening"),
            )
        )
    widths = [max(columns(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(_aligned(row, widths)).rstrip() for row in rows]
    return [lines[0], *(line for play, row in zip(report.plays, lines[1:], strict=True) for line in (row, *_said(play, widths)))]


def _said(play: Line, widths: Sequence[int]) -> list[str]:
    """Below the recording's name, so that the two are compared."""
    return [" " * sum(width + 2 for width in widths[:3]) + f"the station said: {one_line(play.now_playing, 120)}"] if play.now_playing else []


def _music(report: StreamReport) -> Iterator[str]:
    rest = unidentified(report.checkpoint.music, report.plays)
    if rest.stretches:
        yield ""
        yield "Music, unidentified:"
    for stretch in rest.stretches:
        yield f"  from {clock_time(stretch.begin_s):>7} to {clock_time(stretch.end_s):>7}, {clock_time(stretch.end_s - stretch.begin_s)}"
    if rest.left_out:
        yield f"  and {rest.left_out} more, shorter"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Times to the right, words to the left."""
    for n, (cell, width) in enumerate(zip(row, widths, strict=True)):
        space = " " * (width - columns(cell))
        yield space + cell if n < 3 else cell + space
