"""What a live origin lists at a moment: a window over the newest segments of a stream. Pure arithmetic; times are Unix times.

A stream plays a programme round and round from some segment on, in real time. A segment exists from the moment its last sample
would have been recorded, and is listed until six newer ones are (RFC 8216, section 6.2.2). Where the programme begins again
there is a discontinuity.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

WINDOW_SEGMENTS: Final = 6
#: How long segments stay after they are listed no more, in segments: clients may be slow.
KEPT_SEGMENTS: Final = 6
TARGET_S: Final = 2
#: Fractional parts of multiples of these are spread evenly, however many there are (the second one: R2 of Roberts' sequences).
_PHASE, _PLACE = (math.sqrt(5) - 1) / 2, 0.754877666246693
#: Streams are this old when the origin starts: their windows are full.
_AGE_S: Final = 2.0 * (WINDOW_SEGMENTS + 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Where a programme is cut into segments: at these seconds, the first 0, the last its end."""

    at_s: Sequence[float]

    @property
    def segments(self) -> int:
        return len(self.at_s) - 1

    @property
    def duration_s(self) -> float:
        return self.at_s[-1]

    def begin_s(self, index: int) -> float:
        """Of a segment, counted over all rounds."""
        rounds, segment = divmod(index, self.segments)
        return rounds * self.duration_s + self.at_s[segment]

    def complete(self, seconds: float) -> int:
        """How many segments, over all rounds, have ended by then."""
        rounds, within_s = divmod(seconds, self.duration_s)
        return int(rounds) * self.segments + bisect_right(self.at_s, within_s) - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """One stream: number `sequence` of its segments is segment `first + sequence` of its programme."""

    number: int
    programme: int
    cut: Cut
    #: Unix time of the first sample.
    begin: float
    first: int

    @classmethod
    def of(cls, number: int, cuts: Sequence[Cut], epoch: float) -> "Stream":
        """Stream `number` of an origin that starts at `epoch`: no two in phase, each at another place of its programme."""
        programme = number % len(cuts)
        cut = cuts[programme]
        phase_s = TARGET_S * math.modf(number * _PHASE)[0]
        return cls(number=number, programme=programme, cut=cut, begin=epoch - _AGE_S - phase_s, first=int(math.modf(number * _PLACE)[0] * cut.segments))

    @property
    def name(self) -> str:
        return f"c{self.number}"

    @property
    def shift_s(self) -> float:
        """Seconds of the programme before the stream's first sample."""
        return self.cut.at_s[self.first]

    def complete(self, now: float) -> int:
        """How many segments of the stream there have been by now."""
        # A thousandth of a second: sums of binary fractions are not to the last bit what they are of in decimals.
        return max(0, self.cut.complete(now - self.begin + self.shift_s + 1e-3) - self.first)

    def begins_at(self, sequence: int) -> float:
        """Unix time of a segment's first sample; it is complete when the next one begins."""
        return self.begin + self.cut.begin_s(self.first + sequence) - self.shift_s

    def segment(self, sequence: int) -> int:
        """Of the programme."""
        return (self.first + sequence) % self.cut.segments

    def is_break(self, sequence: int) -> bool:
        """Whether the programme begins again with this segment."""
        return sequence > 0 and self.segment(sequence) == 0

    def breaks_before(self, sequence: int) -> int:
        """EXT-X-DISCONTINUITY-SEQUENCE of a playlist that begins with this segment: breaks that are not listed any more."""
        return (self.first + max(0, sequence - 1)) // self.cut.segments if sequence else 0

    def is_served(self, sequence: int, now: float) -> bool:
        complete = self.complete(now)
        return max(0, complete - WINDOW_SEGMENTS - KEPT_SEGMENTS) <= sequence < complete


def playlist(stream: Stream, complete: int, *, suffix: str, init: str = "") -> str:
    """The media playlist after so many segments. `init`: the name of the header that precedes fMP4 segments."""
    first = max(0, complete - WINDOW_SEGMENTS)
    lines = [
        "#EXTM3U",
        f"#EXT-X-VERSION:{7 if init else 3}",
        f"#EXT-X-TARGETDURATION:{TARGET_S}",
        f"#EXT-X-MEDIA-SEQUENCE:{first}",
        f"#EXT-X-DISCONTINUITY-SEQUENCE:{stream.breaks_before(first)}",
        *([f'#EXT-X-MAP:URI="{init}"'] if init else []),
    ]
    for sequence in range(first, complete):
        lines += _entry(stream, sequence, suffix)
    return "\n".join(lines) + "\n"


def _entry(stream: Stream, sequence: int, suffix: str) -> Iterator[str]:
    begin, end = stream.begins_at(sequence), stream.begins_at(sequence + 1)
    if stream.is_break(sequence):
        yield "#EXT-X-DISCONTINUITY"
    clock = datetime.fromtimestamp(begin, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    yield f"#EXT-X-PROGRAM-DATE-TIME:{clock}"
    yield f"#EXTINF:{end - begin:.6f},"
    yield f"{sequence}{suffix}"
