"""Where each decoded sample lies in stream time, and what was not heard in between.

Stream time is counted, never read off a clock: it is the samples heard plus the samples lost, so that
heard + gaps == position holds to the sample. Time stamps (PTS) and the playlist's wall clock
(EXT-X-PROGRAM-DATE-TIME) only tell of media that went missing: where they jump forward by more than their
tolerance, the jump is a gap. Where they run backwards, or jump absurdly far, an encoder's clock was set, and
nothing is concluded.
"""

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

import numpy as np

from earmark.audio.mpegts import PTS_HZ, PTS_MODULUS, ticks_between
from earmark.model import RATE_HZ, AudioChunk, ClockSource, Float32, GapReason, Segment

#: Longer than any codec frame (HE-AAC at 16 kHz: 0.128 s) and than what RTMP encoders jitter, shorter than half a segment.
PTS_TOLERANCE_S = 0.2
#: Packagers stamp wall clocks with whole seconds, or when a segment was written.
CLOCK_TOLERANCE_S = 1.5
#: A clock that jumps further than this was set; it does not tell of so much lost media.
JUMP_S_MAX = 3600.0
#: Arrival clocks further off than this have been overtaken: the stream stood still, or we were late.
ARRIVAL_SLACK_S = 10.0
#: Longer stretches are handed on in pieces, so that nobody downstream meets an hour at once.
CHUNK_SAMPLES_MAX = 10 * RATE_HZ


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamps:
    """What is known about the time of some media before it is decoded."""

    #: Presentation time of the first sample, 90 kHz, modulo 2^33; None where the container has none.
    pts: int | None
    #: Wall clock of the first sample, by the source's word.
    clock: datetime | None
    #: When it was here, and how long it claims to be: the next best clock.
    fetched_at: datetime
    duration_s: float
    #: The source said that time stamps may change here.
    discontinuity: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined(Segment):
    """Media that goes on where other media of the same clock ended: what was heard there is left out, and what lies between is a gap."""

    #: Where that ended, 90 kHz, 33 bits.
    at_pts: int

    @staticmethod
    def to(segment: Segment, *, at_pts: int) -> "Joined":
        return Joined(**{column.name: getattr(segment, column.name) for column in fields(segment)}, at_pts=at_pts)

    def heard_s(self, pts: int | None) -> float:
        """Seconds behind this time stamp that were heard before."""
        before_s = 0.0 if pts is None else ticks_between(pts, self.at_pts) / PTS_HZ
        return before_s if 0 < before_s <= JUMP_S_MAX else 0.0


class Timeline:
    """Call `gap_before` for each piece of media, then `hear` for its samples and `passed` for its length; `lose` for what never came."""

    def __init__(self, *, start_s: float = 0.0) -> None:
        self._position = round(start_s * RATE_HZ)
        self._pts_next: float | None = None
        self._clock_next: datetime | None = None
        self._owed_s = 0.0
        #: What further missing time would be put down to: the time stamps after a loss correct its claimed length.
        self._reason: GapReason = "discontinuity"
        self._anchor: tuple[datetime, int, ClockSource] | None = None

    @property
    def position_s(self) -> float:
        """Everything before it was heard or is a gap."""
        return self._position / RATE_HZ

    def expect(self, pts: int) -> None:
        """What was heard ended here, though perhaps not in this timeline; what is missing from there on is of files."""
        if self._pts_next is None:
            self._pts_next = float(pts)
        if self._reason == "discontinuity":
            self._reason = "segment_missing"

    def gap_before(self, stamps: Stamps) -> tuple[float, GapReason]:
        """Seconds that went missing before this media (0: none), by its time stamps, and why. Nothing moves yet."""
        if stamps.discontinuity:
            return max(self._owed_s, self._by_clock(stamps)), self._reason
        by_pts = self._by_pts(stamps)
        if by_pts is not None:
            return (by_pts if by_pts > PTS_TOLERANCE_S else 0.0), self._reason
        return max(self._owed_s, self._by_clock(stamps)), self._reason

    def _by_pts(self, stamps: Stamps) -> float | None:
        """Signed jump in seconds; None when the time stamps say nothing."""
        if stamps.pts is None or self._pts_next is None:
            return None
        half = PTS_MODULUS / 2
        jump_s = ((stamps.pts - self._pts_next + half) % PTS_MODULUS - half) / PTS_HZ
        return jump_s if -PTS_TOLERANCE_S <= jump_s <= JUMP_S_MAX else None

    def _by_clock(self, stamps: Stamps) -> float:
        if stamps.clock is None or self._clock_next is None:
            return 0.0
        jump_s = (stamps.clock - self._clock_next).total_seconds()
        return jump_s if CLOCK_TOLERANCE_S < jump_s <= JUMP_S_MAX else 0.0

    def begin(self, stamps: Stamps) -> None:
        """This media starts at the present position: its clocks are read."""
        self._owed_s, self._reason = 0.0, "discontinuity"
        if stamps.pts is not None:
            self._pts_next = float(stamps.pts)
        elif stamps.discontinuity:
            self._pts_next = None
        if stamps.clock is not None:
            self._clock_next = stamps.clock
            self._anchor = stamps.clock, self._position, "program_date_time"
        elif stamps.discontinuity or self._anchor is None or self._anchor[2] == "arrival":
            self._clock_next = None
            self._anchor = self._by_arrival(stamps), self._position, "arrival"

    def _by_arrival(self, stamps: Stamps) -> datetime:
        """The earliest that anything here was seen to be, unless that has been overtaken."""
        seen = stamps.fetched_at - timedelta(seconds=stamps.duration_s)
        if stamps.discontinuity or self._anchor is None or self._anchor[2] != "arrival":
            return seen
        continued = self._wall(self._anchor)
        return continued if 0 <= (seen - continued).total_seconds() <= ARRIVAL_SLACK_S else seen

    def passed(self, media_s: float) -> None:
        """So much media, by its own count, came out of the decoder."""
        if self._pts_next is not None:
            self._pts_next += media_s * PTS_HZ
        if self._clock_next is not None:
            self._clock_next += timedelta(seconds=media_s)

    def owe(self, duration_s: float, reason: GapReason) -> None:
        """Media broke off so much before its claimed end: believed, unless the next time stamps know better."""
        self._owed_s, self._reason = max(0.0, duration_s), reason

    def hear(self, samples: Float32) -> list[AudioChunk]:
        """float32 [n], RATE_HZ: the next samples of the stream."""
        chunks = []
        for begin in range(0, len(samples), CHUNK_SAMPLES_MAX):
            piece = samples[begin : begin + CHUNK_SAMPLES_MAX]
            chunks.append(self._chunk(piece))
            self._position += len(piece)
        return chunks

    def lose(self, duration_s: float, reason: GapReason) -> list[AudioChunk]:
        """So much media was not heard. No duration means unknown: the next time stamps will tell."""
        lost = max(0, round(duration_s * RATE_HZ))
        self._position += lost
        self.passed(lost / RATE_HZ)
        self._reason = reason
        if not lost:
            return []
        return [self._chunk(np.zeros(0, np.float32), gap_before_s=lost / RATE_HZ, gap_reason=reason)]

    def settle(self) -> list[AudioChunk]:
        """No time stamps will follow: what is owed is lost."""
        owed_s, self._owed_s = self._owed_s, 0.0
        return self.lose(owed_s, self._reason)

    def _chunk(self, samples: Float32, *, gap_before_s: float = 0.0, gap_reason: GapReason | None = None) -> AudioChunk:
        anchor = self._anchor
        return AudioChunk(
            samples=samples,
            start_s=self.position_s,
            gap_before_s=gap_before_s,
            gap_reason=gap_reason,
            clock=self._wall(anchor) if anchor else None,
            clock_source=anchor[2] if anchor else "arrival",
        )

    def _wall(self, anchor: tuple[datetime, int, ClockSource]) -> datetime:
        clock, position, _ = anchor
        return clock + timedelta(seconds=(self._position - position) / RATE_HZ)
