"""Seconds and plays of many sessions, added up: of each recording, label, rights holder and channel, and of all there was to hear.

Each millisecond of a session is one of four: not heard (a gap), identified (heard, and in a play), music that no play explains,
or the rest; together they are its length. Where two plays lie over one another, each recording has those seconds, and
`overlap` has them once more than they are in `identified`, so that what recordings have less `overlap` is `identified`.
Counted in whole milliseconds, so that sums are exact whatever they are of. Pure.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias

from earmark.hits.record import Document, Line
from earmark.hits.reports.portion import Portion

#: From-to, in milliseconds.
Span: TypeAlias = tuple[int, int]


@dataclass(slots=True)
class Share:
    """What one of them has."""

    #: Plays that began in the period.
    plays: int = 0
    #: From begin to end; and of that what was heard.
    played_ms: int = 0
    heard_ms: int = 0

    def add(self, *, began: bool, played_ms: int, heard_ms: int) -> None:
        self.plays += began
        self.played_ms += played_ms
        self.heard_ms += heard_ms

    def told(self) -> Document:
        return {"plays": self.plays, "played_s": self.played_ms / 1000, "heard_s": self.heard_ms / 1000}


@dataclass(slots=True)
class Recording:
    """One of the catalogue's, as its latest play names it."""

    line: Line
    share: Share = field(default_factory=Share)


@dataclass(slots=True)
class Heard:
    """What there was to hear, and what of it was."""

    sessions: int = 0
    total_ms: int = 0
    gap_ms: int = 0
    identified_ms: int = 0
    music_ms: int = 0
    overlap_ms: int = 0
    gap_ms_by_reason: dict[str, int] = field(default_factory=dict)

    @property
    def heard_ms(self) -> int:
        return self.total_ms - self.gap_ms

    @property
    def rest_ms(self) -> int:
        return self.heard_ms - self.identified_ms - self.music_ms

    def told(self) -> Document:
        return {
            "sessions": self.sessions,
            "total_s": self.total_ms / 1000,
            "heard_s": self.heard_ms / 1000,
            "gap_s": self.gap_ms / 1000,
            "identified_s": self.identified_ms / 1000,
            "unidentified_music_s": self.music_ms / 1000,
            "rest_s": self.rest_ms / 1000,
            "overlap_s": self.overlap_ms / 1000,
            "gap_s_by_reason": {reason: ms / 1000 for reason, ms in sorted(self.gap_ms_by_reason.items())},
        }


@dataclass(slots=True)
class Channel:
    heard: Heard = field(default_factory=Heard)
    share: Share = field(default_factory=Share)


class Totals:
    """Grows by a session at a time, and no more than there are recordings and channels."""

    def __init__(self) -> None:
        self.heard = Heard()
        self.all = Share()
        self.recordings: dict[str, Recording] = {}
        self.labels: dict[str, Share] = {}
        self.rights_holders: dict[str, Share] = {}
        self.channels: dict[str, Channel] = {}

    def add(self, portion: Portion) -> None:
        cues = [(cue, (_ms(cue.begin_s), _ms(cue.end_s))) for cue in portion.cues()]
        gaps = _Gaps([span for cue, span in cues if cue.kind == "gap"])
        channel = self.channels.setdefault(portion.channel, Channel())
        shared_ms = 0
        for cue, span in cues:
            if cue.line is not None:
                heard_ms = gaps.heard_ms(span)
                shared_ms += heard_ms
                for share in (self.all, channel.share, *self._shares(cue.line)):
                    share.add(began=portion.begins(cue.line), played_ms=span[1] - span[0], heard_ms=heard_ms)
        identified_ms = sum(map(gaps.heard_ms, _union(span for cue, span in cues if cue.line)))
        for heard in (self.heard, channel.heard):
            heard.sessions += 1
            heard.total_ms += _ms(portion.end_s) - _ms(portion.begin_s)
            heard.identified_ms += identified_ms
            heard.overlap_ms += shared_ms - identified_ms
            for cue, (begin, end) in cues:
                if cue.kind == "gap":
                    heard.gap_ms += end - begin
                    heard.gap_ms_by_reason[cue.note] = heard.gap_ms_by_reason.get(cue.note, 0) + end - begin
                elif cue.kind == "unidentified" and cue.note:
                    heard.music_ms += end - begin

    def _shares(self, line: Line) -> tuple[Share, Share, Share]:
        recording = self.recordings.setdefault(line.track_id, Recording(line))
        recording.line = line
        return recording.share, self.labels.setdefault(line.label, Share()), self.rights_holders.setdefault(line.rights_holder, Share())

    def by_recording(self) -> list[Recording]:
        """Those with most seconds first; so are the others."""
        return sorted(self.recordings.values(), key=lambda one: (-one.share.heard_ms, one.line.track_id))

    def document(self) -> Document:
        return {
            "coverage": self.heard.told(),
            "all": self.all.told(),
            "by_recording": [_named(one.line) | one.share.told() for one in self.by_recording()],
            "by_label": [{"label": name} | share.told() for name, share in most_first(self.labels)],
            "by_rights_holder": [{"rights_holder": name} | share.told() for name, share in most_first(self.rights_holders)],
            "by_channel": [{"channel": name} | one.share.told() | {"coverage": one.heard.told()} for name, one in sorted(self.channels.items())],
        }


def most_first(shares: Mapping[str, Share]) -> list[tuple[str, Share]]:
    return sorted(shares.items(), key=lambda item: (-item[1].heard_ms, item[0]))


def _named(line: Line) -> Document:
    return {
        "track_id": line.track_id,
        "title": line.title,
        "artists": list(line.artists),
        "album": line.album,
        "label": line.label,
        "isrc": list(line.isrc),
        "rights_holder": line.rights_holder,
    }


class _Gaps:
    """What was not heard: spans in order, apart from one another."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = spans
        self._begins = [begin for begin, _ in spans]
        self._before = [0, *accumulate(end - begin for begin, end in spans)]

    def heard_ms(self, span: Span) -> int:
        """Of a span, what is in no gap."""
        begin, end = span
        return end - begin - (self._until(end) - self._until(begin))

    def _until(self, at: int) -> int:
        """Milliseconds of gaps before a moment."""
        over = bisect_right(self._begins, at)
        if not over:
            return 0
        return self._before[over] - max(0, self._spans[over - 1][1] - at)


def _union(spans: Iterable[Span]) -> list[Span]:
    """The same milliseconds, each once."""
    union: list[Span] = []
    for begin, end in sorted(spans):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((begin, end))
    return union


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
