"""Where the seconds of a stream went, each of them counted once; and what each recording, owner or action has of them. Pure."""

from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Generic, TypeVar

from earmark.hits.record import Line
from earmark.hits.unidentified import Told, union, without
from earmark.model import Gap, Stretch

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seconds:
    """Of a stretch of a stream; the six add up to its length."""

    #: Heard while at least one catalogued recording played.
    catalogued_s: float
    #: Heard, music, and nothing from the catalogue.
    music_s: float
    #: Heard, and there was nothing to hear.
    silence_s: float
    #: Heard while somebody spoke, and nothing else.
    speech_s: float
    #: Heard, and none of these: noise, applause, a game.
    rest_s: float
    gap_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Sum(Generic[Key]):
    """What plays that have something in common add up to."""

    key: Key
    plays: int
    #: Heard seconds of each, added: where two play at once both count.
    heard_s: float


class Seen:
    """What is known of a session, asked for stretches of it; as `hits.reports.totals` counts, which adds up many sessions.

    Args:
        plays: of those that are not on record yet (provisional ones) the seconds belong to what was heard besides.
        music: what is left of it without the plays.
        silence: where it was silent; of what plays, quiet passages belong to the play.
        speech: where somebody spoke; of it, what is none of these.
    """

    def __init__(
        self,
        *,
        plays: Sequence[Line],
        gaps: Sequence[Gap],
        music: Sequence[Stretch],
        silence: Sequence[Stretch] = (),
        speech: Sequence[Stretch] = (),
    ) -> None:
        self._told = [line for line in plays if line.state != "provisional"]
        missed = union(gaps, widened_s=0.0)
        catalogued = list(without(union(self._told, widened_s=0.0), missed))
        unidentified = list(without(list(without(union(music, widened_s=0.0), catalogued)), missed))
        taken = union([*missed, *catalogued, *unidentified], widened_s=0.0)
        silent = list(without(union(silence, widened_s=0.0), taken))
        spoken = list(without(union(speech, widened_s=0.0), union([*taken, *silent], widened_s=0.0)))
        self._gaps, self._catalogued, self._music = _Spans(missed), _Spans(catalogued), _Spans(unidentified)
        self._silence, self._speech = _Spans(silent), _Spans(spoken)
        #: Where somebody spoke and nothing else was.
        self.spoken = spoken

    def between(self, begin_s: float, end_s: float) -> Seconds:
        known = [spans.within(begin_s, end_s) for spans in (self._catalogued, self._music, self._silence, self._speech, self._gaps)]
        catalogued_s, music_s, silence_s, speech_s, gap_s = known
        rest_s = max(0.0, end_s - begin_s - sum(known))
        return Seconds(catalogued_s=catalogued_s, music_s=music_s, silence_s=silence_s, speech_s=speech_s, rest_s=rest_s, gap_s=gap_s)

    def heard_s(self, play: Told) -> float:
        """Of a play, what is no gap."""
        return play.end_s - play.begin_s - self._gaps.within(play.begin_s, play.end_s)

    def sums(self, key: Callable[[Line], Key]) -> list[Sum[Key]]:
        """Most seconds first."""
        plays: dict[Key, int] = {}
        heard_s: dict[Key, float] = {}
        for line in self._told:
            own = key(line)
            plays[own] = plays.get(own, 0) + 1
            heard_s[own] = heard_s.get(own, 0.0) + self.heard_s(line)
        return sorted((Sum(key=own, plays=plays[own], heard_s=heard_s[own]) for own in plays), key=lambda one: -one.heard_s)


def shown_s(parts: Iterable[float]) -> list[int]:
    """Whole seconds that add up to the rounded sum: of each part, where its end is when rounded, beyond its begin."""
    return [round(end) - round(begin) for begin, end in pairwise(accumulate(parts, initial=0.0))]


class _Spans:
    """Stretches in order that do not touch."""

    def __init__(self, spans: Sequence[Stretch]) -> None:
        self._spans = spans
        self._ends_s = [span.end_s for span in spans]

    def within(self, begin_s: float, end_s: float) -> float:
        """Seconds of them in a stretch."""
        length_s = 0.0
        for n in range(bisect_right(self._ends_s, begin_s), len(self._spans)):
            span = self._spans[n]
            if span.begin_s >= end_s:
                break
            length_s += min(span.end_s, end_s) - max(span.begin_s, begin_s)
        return length_s
