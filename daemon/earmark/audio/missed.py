"""Of a recording in S3 what a session did not hear, as encoded pieces at the session's own stream time.

A gap is found in the recording by the wall clock: the session knows when its media were, by the clock that its source
gave, and the recording's playlist when each of its segments was (or its documents when the first one was). From a little
before each gap until a little behind it the segments are heard, so that a play that began earlier is recognised; all
between is passed over. What comes out is placed as in the session, but for `EARLIER_S`, because a recording may begin
before the session did, and no stream time is negative.

How exact that is: two clocks of IVS agree within some tenths of a second; where either is missing, it is the seconds by
which the session's media were late.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from earmark.audio.asking_again import patiently
from earmark.audio.hls import Signals
from earmark.audio.landing import PATIENCE_S
from earmark.audio.recording import Recording, described, key_of
from earmark.audio.segments import container_of
from earmark.errors import SourceUnsupported
from earmark.model import EndReason, Gap, Missing, Piece, Segment

#: The stream time of what is heard here is the session's and this.
EARLIER_S = 120.0
#: Segments nearer to one another follow one another: lengths in playlists are rounded.
TOGETHER_S = 0.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One segment of the recording, at the session's stream time."""

    key: str
    begin_s: float
    duration_s: float
    #: Of the playlist, where it lists one that cannot be had as it is.
    refused: bool = False

    @property
    def end_s(self) -> float:
        return self.begin_s + self.duration_s


def wanted(entries: Sequence[Entry], gaps: Sequence[Gap], *, lead_in_s: float) -> list[Entry]:
    """Those that hold any of a gap, or of the seconds around it, in order of time.

    What is around a gap of which the recording has nothing is of no use.
    """
    entries = sorted((entry for entry in entries if entry.begin_s > -EARLIER_S), key=lambda entry: entry.begin_s)
    begins = [entry.begin_s for entry in entries]
    chosen: set[int] = set()
    for gap in gaps:
        if _between(entries, begins, gap.begin_s, gap.end_s):
            chosen.update(_between(entries, begins, gap.begin_s - lead_in_s, gap.end_s + lead_in_s))
    return [entries[place] for place in sorted(chosen)]


def _between(entries: Sequence[Entry], begins: Sequence[float], begin_s: float, end_s: float) -> range:
    """The places of those that hold any of these seconds; one follows the other."""
    first = max(0, bisect_right(begins, begin_s) - 1)
    if first < len(entries) and entries[first].end_s <= begin_s:
        first += 1
    return range(first, bisect_left(begins, end_s))


def entries_of(recording: Recording, rendition: str, at_s: Callable[[datetime], float]) -> tuple[list[Entry], str]:
    """All segments of a rendition, and the name of what must precede each. `at_s`: a wall clock's stream time.

    By the playlist; without one that says when its segments were, by their number, as if all were of one length. Raises as
    `Recording` does.
    """
    naming = recording.naming(rendition)
    if naming is None:
        return [], ""
    playlist, said = recording.playlist(rendition), recording.about()
    listed = playlist.segments if playlist else ()
    began = said.started_at
    entries: list[Entry] = []
    for segment in listed:
        key, clock = key_of(segment, naming.folder), segment.clock or began
        began = clock + timedelta(seconds=segment.duration_s) if clock else None
        if clock and key:
            plain = not (segment.gap or segment.key or segment.range)
            entries.append(Entry(key=key, begin_s=at_s(clock), duration_s=segment.duration_s, refused=not plain))
    if not entries and said.started_at:
        numbers = recording.numbers(naming)
        lasted_s = said.duration_s or (said.ended_at - said.started_at).total_seconds() if said.ended_at else 0.0
        each_s = lasted_s / len(numbers) if numbers else 0.0
        begin_s = at_s(said.started_at)
        entries = [Entry(key=naming.key(n), begin_s=begin_s + place * each_s, duration_s=each_s) for place, n in enumerate(numbers) if each_s]
    return entries, naming.header and naming.folder + naming.header


class MissedSource:
    """Implements `session.Source`. `resume_s`: the session's place when its last owner left it, `EARLIER_S` included."""

    def __init__(
        self,
        *,
        recording: Recording,
        gaps: Sequence[Gap],
        at_s: Callable[[datetime], float],
        lead_in_s: float,
        audio_kbps_min: float,
        signals: Signals,
        now: Callable[[], datetime],
        resume_s: float = 0.0,
    ) -> None:
        self._recording = recording
        self._gaps = gaps
        self._at_s = at_s
        self._lead_in_s = lead_in_s
        self._audio_kbps_min = audio_kbps_min
        self._signals = signals
        self._now = now
        self._position_s = resume_s
        self._log = structlog.get_logger()

        self.lasting = True
        self.end_reason: EndReason = "failed"
        self.rendition = ""
        self.fetched_bytes = 0

    def pieces(self) -> Iterator[Piece]:
        """Raises AwsRefused, AwsUnavailable, or SourceUnsupported when there is no recording."""
        rendition = self._recording.rendition(self._recording.about(), audio_kbps_min=self._audio_kbps_min)
        if rendition is None:
            raise SourceUnsupported(f"there is no recording at {self._recording.place}: nothing of what was missed can be heard from it")
        entries, header = entries_of(self._recording, rendition, self._at_s)
        self.rendition = described(rendition)
        init = (stored := self._recording.get(header)) and stored.data if header else b""
        chosen = wanted(entries, self._gaps, lead_in_s=self._lead_in_s)
        self._log.info("recording.gaps", place=self._recording.place, gaps=len(self._gaps), segments=len(chosen), of=len(entries))
        for entry in chosen:
            if entry.end_s + EARLIER_S <= self._position_s + TOGETHER_S:
                continue  # heard by an earlier owner
            if self._signals.leaving:
                return
            yield from self._heard(entry, init or b"")
        self.end_reason = "stream_end"

    def _heard(self, entry: Entry, init: bytes) -> Iterator[Piece]:
        apart_s = entry.begin_s + EARLIER_S - self._position_s
        if apart_s > TOGETHER_S:
            self._position_s += apart_s
            yield Missing(duration_s=apart_s, reason="skipped")
        self._position_s += entry.duration_s
        try:
            stored = None if entry.refused else self._get(entry.key)
        except SourceUnsupported as error:
            self._log.warning("recording.segment_missed", reason="segment_refused", place=entry.key, why=str(error))
            stored = None
        if stored is None:
            if not self._signals.leaving:
                yield Missing(duration_s=entry.duration_s, reason="segment_missing")
            return
        self.fetched_bytes += len(stored)
        yield Segment(
            data=stored,
            container=container_of(stored, fragmented=bool(init)),
            init=init,
            duration_s=entry.duration_s,
            discontinuity=apart_s > TOGETHER_S,
            fetched_at=self._now(),
        )

    def _get(self, key: str) -> bytes | None:
        """None: there is no such segment, or we are leaving."""
        stored = patiently(lambda: self._recording.get(key), signals=self._signals, patience_s=PATIENCE_S)
        return stored.data if stored else None
