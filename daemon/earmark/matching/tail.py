"""How much evidence chance has, counted where it is seen and extrapolated to where it is not.

Of a stream that plays nothing of the catalogue, every line that is followed all the same is chance. `Chance` collects the
lines of one such stream and says what of them would have been false alarms at a lower threshold: one for each recording
and time, with the most evidence that it had. Above some nats these fall off exponentially (docs/calibration.md), so
a `Tail` needs three figures, however much was heard: how many there were, by how much they exceed, and in how many hours.

What that says of the threshold, ten nats further on, is an extrapolation, and its error is nearly all that of the slope.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from earmark.matching.lines import FollowedLine, Look
from earmark.model import FRAMES_PER_S

#: The tail begins here: where a bucket of the metric ends, and beyond what the choice of candidates cuts off.
TAIL_NATS = 12.0
#: Fewer events say nothing of the threshold: of so many, 19 in 20 extrapolations to 28 nats are right within a factor of nine.
EVENTS_LEAST = 100
#: More evidence is not chance, but sound that is alike in both directions: it counts as this, lest one such event is taken for a slope.
CHANCE_NATS_MAX = 30.0
#: e-foldings beyond which a rate is as good as none.
_FALLEN_MAX = 300.0
#: Per hour: a line cannot begin more often than there are steps.
_LINES_MAX = 3_516.0
#: Lines of a recording that are less apart are one event: a play is closed after 12 s without evidence.
_SAME_EVENT_FRAMES = 12 * FRAMES_PER_S
#: Standard deviations that 999 of 1,000 values lie within: many processes look again and again, and somebody is told of what lies outside.
_DEVIATIONS = 3.29


@dataclass(slots=True)
class _Event:
    track_no: int
    begin_frame: float
    end_frame: float
    nats: float


@dataclass(slots=True, eq=False)
class Chance:
    """The lines of a stream of which nobody is told, with the most evidence that each of them had."""

    _seen: dict[FollowedLine, _Event] = field(default_factory=dict)

    def note(self, looks: Sequence[Look]) -> None:
        """What was seen in one step: `PlayTracker.looks`."""
        for look in looks:
            if look.alignment is None:
                continue
            end = look.alignment.end_frame
            seen = self._seen.setdefault(look.line, _Event(look.line.track_no, end, end, 0.0))
            seen.end_frame, seen.nats = end, max(seen.nats, look.evidence.nats)

    def evidence(self) -> list[float]:
        """Nats of each event, in order of their beginnings."""
        events: list[_Event] = []
        for line in sorted(self._seen.values(), key=lambda line: line.begin_frame):
            same = [e for e in events if e.track_no == line.track_no and line.begin_frame - e.end_frame <= _SAME_EVENT_FRAMES]
            if same:
                same[-1].end_frame, same[-1].nats = max(same[-1].end_frame, line.end_frame), max(same[-1].nats, line.nats)
            else:
                events.append(line)
        return [event.nats for event in events]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extrapolated:
    """False alarms per stream-hour."""

    per_hour: float
    #: 999 in 1,000 such figures have the true one between these, as far as chance in the counting goes.
    least: float
    most: float


@dataclass(slots=True, kw_only=True)
class Tail:
    """What was counted so far."""

    hours: float = 0.0
    #: Events above `TAIL_NATS`, and by how many nats they are above, all together.
    events: int = 0
    excess_nats: float = 0.0

    def add(self, evidence: Sequence[float], *, seconds: float) -> float:
        """What so many seconds gave; returns by how much it exceeded."""
        above = [min(nats, CHANCE_NATS_MAX) - TAIL_NATS for nats in evidence if nats > TAIL_NATS]
        excess_nats = math.fsum(above)
        self.hours += seconds / 3_600
        self.events += len(above)
        self.excess_nats += excess_nats
        return excess_nats

    def at(self, nats: float) -> Extrapolated | None:
        """How often chance reaches so much; None while too little was seen to say it.

        The most likely exponential (its slope without the bias that few events have), with the errors of both figures.
        """
        if self.events < EVENTS_LEAST or not self.hours or not self.excess_nats:
            return None
        further = nats - TAIL_NATS
        fallen = max(-_FALLEN_MAX, min(further * (self.events - 1) / self.excess_nats, _FALLEN_MAX))
        per_hour = min(self.events / self.hours * math.exp(-fallen), _LINES_MAX)
        factor = math.exp(_DEVIATIONS * math.sqrt((1 + fallen**2) / self.events))
        return Extrapolated(per_hour=per_hour, least=per_hour / factor, most=per_hour * factor)
