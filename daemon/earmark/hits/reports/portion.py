"""A session's report, as far as it lies within a period: what reports across streams are made of. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from earmark.hits.record import Line
from earmark.hits.reports.report import Cue, StreamReport, cues


@dataclass(frozen=True, kw_only=True)
class Period:
    """From `since` on, before `until`; None: no limit."""

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Some seconds of a session, in stream time, to the millisecond."""

    report: StreamReport
    begin_s: float
    end_s: float
    #: Plays that go on from the session before, which was cut: they began there.
    continued: frozenset[str] = frozenset()

    @classmethod
    def of(cls, report: StreamReport, period: Period, *, begins_at: datetime, continued: frozenset[str] = frozenset()) -> "Portion":
        """`begins_at`: the wall clock of its first second, where its own clock does not say it."""
        zero, length_s = report.timebase.at(0.0) or begins_at, report.checkpoint.position_s
        since_s = (period.since - zero).total_seconds() if period.since else 0.0
        until_s = (period.until - zero).total_seconds() if period.until else length_s
        begin_s = min(max(0.0, since_s), length_s)
        return cls(report=report, begin_s=round(begin_s, 3), end_s=round(max(begin_s, min(length_s, until_s)), 3), continued=continued)

    @property
    def channel(self) -> str:
        """What people call it."""
        stream = self.report.stream
        return stream.channel_name or stream.channel_arn or stream.stream_id

    def begins(self, line: Line) -> bool:
        """Whether a play counts here: it began in these seconds. Of periods that follow one another, in one alone."""
        return self.begin_s <= round(line.begin_s, 3) < self.end_s and line.hit_id not in self.continued

    def cues(self) -> Iterator[Cue]:
        """Those of the cue sheet that lie here, cut where the portion begins and ends."""
        for cue in cues(self.report):
            begin_s, end_s = max(cue.begin_s, self.begin_s), min(cue.end_s, self.end_s)
            if end_s < begin_s or (end_s == begin_s and not (cue.line and self.begins(cue.line))):
                continue
            yield replace(cue, begin_s=begin_s, end_s=end_s, note=", ".join(filter(None, [cue.note, *self._notes(cue)])))

    def _notes(self, cue: Cue) -> Iterator[str]:
        if cue.line is not None:
            notes = {
                "goes on from the session before": cue.line.hit_id in self.continued,
                "began before": cue.begin_s < self.begin_s,
                "goes on after": cue.end_s > self.end_s,
            }
            yield from (note for note, applies in notes.items() if applies)
