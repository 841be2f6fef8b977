"""When to read a live playlist again: soon after its next segment is there. Pure: times in, a time out.

RFC 8216, section 6.3.4, has a client wait for the target duration after a change, and for half of it after none. Whoever
does just that is late for ever by as much as its first reading was: half a segment in the mean. Segments come at the pace
at which they play, so each reading says something of all of them: what it lists was there by then, and what it does not list
yet was not. Between the two lies the moment at which the newest one appeared. A few readings halve what is between them
until it is little, and from then on each comes a little after a segment.

There are no more readings than before, one a segment. The wait after a change may be shorter than the target duration by a
quarter: targets are segments' lengths rounded up, and while the moment is sought readings move.
"""

import math
from typing import Final

#: In seconds: the moment is known well enough; a reading comes so long after it; and by so much it may come differently from time to time.
_KNOWN_S: Final = 0.2
_AFTER_S: Final = 0.1
_JITTER_S: Final = 0.3
#: Of the target duration: the shortest wait after a change. Segments that are shorter come several at a time, and a length
#: beyond the second is wrong: both are read by the target alone.
_SHARE: Final = 0.75
_SHARE_MAX: Final = 1.25


class Pace:
    """Of the readings of one playlist. Times are seconds of one clock."""

    def __init__(self) -> None:
        #: The newest segment that is listed appeared after the first, and by the second.
        self._after, self._by = -math.inf, math.inf
        self._read_at = -math.inf

    def forget(self) -> None:
        """Nothing is known of the moment any more: it is another playlist, or the last reading was held up."""
        self._after, self._by = -math.inf, math.inf

    def next(self, at: float, *, new_s: float, segment_s: float, target_s: float) -> float:
        """When to begin the next reading.

        Args:
            at: when this one began.
            new_s: seconds of what it lists and the one before did not, more than 0; or 0: nothing.
            segment_s: of a usual segment.
            target_s: EXT-X-TARGETDURATION.
        """
        news, least_s = new_s > 0, target_s if new_s > 0 else target_s / 2
        self._learn(at, new_s=new_s, segment_s=segment_s)
        if not _SHARE * target_s <= segment_s <= _SHARE_MAX * target_s or math.isinf(self._by):
            return at + least_s
        if not news:
            return max(at + least_s, self._by + _AFTER_S + segment_s)
        known = self._by - self._after <= _KNOWN_S
        aim = (self._by + _AFTER_S if known else (self._after + self._by) / 2) + segment_s
        # Too soon: then the moment after that; two segments are read together once.
        return aim if aim >= at + _SHARE * least_s else aim + segment_s

    def _learn(self, at: float, *, new_s: float, segment_s: float) -> None:
        before, self._read_at = self._read_at, at
        if new_s > at - before + 2 * segment_s:  # faster than it plays: several were late, or this is no live stream
            self.forget()
            return
        if new_s > 0:
            self._after, self._by = self._after + new_s, min(self._by + new_s, at)
        self._after = max(self._after, at - segment_s)  # else the next one would be listed
        if self._after <= self._by:
            return
        if new_s > 0 and self._after - self._by < _JITTER_S:
            self._by = self._after
        else:  # one was late, or is
            self.forget()
