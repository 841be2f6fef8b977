"""The nouns of an alias: a recording that is another one, heard by its own sound and told as that. Frozen, like those in `model`."""

from dataclasses import dataclass
from typing import Final

#: Where two recordings cease to agree is known to about a second: so far a span is believed beyond its ends.
_REACH_S: Final = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Seconds of a recording, and those of another that they are."""

    begin_s: float
    end_s: float
    other_begin_s: float
    other_end_s: float

    def turned(self) -> "Span":
        """As the other one sees it."""
        return Span(begin_s=self.other_begin_s, end_s=self.other_end_s, other_begin_s=self.begin_s, other_end_s=self.end_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class Alias:
    """Which recording one is by its own name, and how it lies on the one that it is told as."""

    track_id: str
    #: Of the one that it is told as.
    of_duration_s: float
    #: Seconds of that one for a second of its own.
    speed: float = 1.0
    #: In order, apart in both; none: the two were never laid over one another.
    spans: tuple[Span, ...] = ()

    def placed(self, begin_s: float, end_s: float) -> tuple[float, float] | None:
        """Where in the one that it is told as some of its seconds are: from the first to the last that the two have in common.

        None where they have none in common, or it is not known.
        """
        if not any(span.begin_s - _REACH_S <= end_s and begin_s <= span.end_s + _REACH_S for span in self.spans):
            return None
        return self._at(begin_s), max(self._at(begin_s), self._at(end_s))

    def _at(self, own_s: float) -> float:
        """By the nearest span; of what is in none, where that one begins or ends."""
        span = min(self.spans, key=lambda span: max(span.begin_s - own_s, own_s - span.end_s))
        near_s = min(max(own_s, span.begin_s - _REACH_S), span.end_s + _REACH_S)
        slope = (span.other_end_s - span.other_begin_s) / (span.end_s - span.begin_s)
        return min(max(0.0, span.other_begin_s + slope * (near_s - span.begin_s)), self.of_duration_s)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeardAs:
    """By which alias a recording was heard, in that alias's own terms."""

    track_id: str
    begin_s: float
    end_s: float
    duration_s: float
    #: Its seconds per stream second, and stream pitch over its pitch in cents.
    speed: float
    pitch_cents: float
    #: Told are the seconds of the recording that is named. False: the alias's own, because nobody knows where in that one they are.
    placed: bool
