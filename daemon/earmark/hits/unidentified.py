"""Music that no play explains: the list of what to ask about. Pure."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from earmark.model import Music, Stretch

#: Shorter ones are jingles, or the estimate's own doubt.
UNIDENTIFIED_S_MIN = 10.0
#: The estimate looks at 5 s on either side: music may seem to begin so much before a play, and to last so much longer. So of
#: what is left some seconds must be further from any play.
BLUR_S, BEYOND_S_MIN = 5.0, 3.0
#: Listed in `stream.json`, the longest kept.
LISTED_MAX = 200


class Told(Protocol):
    """A play."""

    @property
    def begin_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Unidentified:
    #: In order of time.
    stretches: tuple[Stretch, ...]
    #: How many more there were: shorter ones than those listed, and what the session dropped.
    left_out: int


def unidentified(music: Music, plays: Sequence[Told]) -> Unidentified:
    """Stretches of music of 10 s and more that are left without the plays told, quotations and provisional ones included."""
    left = list(without(music.stretches, union(plays, widened_s=0.0)))
    beyond = [s for s in without(music.stretches, union(plays, widened_s=BLUR_S)) if _length_s(s) >= BEYOND_S_MIN]
    ends = [s.end_s for s in beyond]
    rest = []
    for s in left:
        next_beyond = bisect_right(ends, s.begin_s)
        if _length_s(s) >= UNIDENTIFIED_S_MIN and next_beyond < len(beyond) and beyond[next_beyond].begin_s < s.end_s:
            rest.append(s)
    longest = sorted(rest, key=lambda s: -_length_s(s))[:LISTED_MAX]
    return Unidentified(stretches=tuple(sorted(longest, key=lambda s: s.begin_s)), left_out=len(rest) - len(longest) + music.dropped)


def identified_s(music: Music, plays: Sequence[Told]) -> float:
    """Seconds of the music during which a play was told."""
    told = union(plays, widened_s=0.0)
    length_s, left_s = (sum(map(_length_s, some)) for some in (music.stretches, without(music.stretches, told)))
    # Stretches bridge what lies between them, and seconds count once.
    return max(0.0, min(music.heard_s, length_s - left_s))


def _length_s(stretch: Stretch) -> float:
    return stretch.end_s - stretch.begin_s


def union(plays: Sequence[Told], *, widened_s: float) -> list[Stretch]:
    """Where any play is, as stretches in order that do not touch."""
    union: list[Stretch] = []
    for line in sorted(plays, key=lambda line: line.begin_s):
        begin_s, end_s = line.begin_s - widened_s, line.end_s + widened_s
        if union and begin_s <= union[-1].end_s:
            last = union.pop()
            begin_s, end_s = last.begin_s, max(last.end_s, end_s)
        union.append(Stretch(begin_s=begin_s, end_s=end_s))
    return union


def without(stretches: Sequence[Stretch], taken: Sequence[Stretch]) -> Iterator[Stretch]:
    """What is left of `stretches`, both in order."""
    first = 0
    for stretch in stretches:
        here_s = stretch.begin_s
        while first < len(taken) and taken[first].end_s <= here_s:
            first += 1
        for other in taken[first:]:
            if other.begin_s >= stretch.end_s:
                break
            if other.begin_s > here_s:
                yield Stretch(begin_s=here_s, end_s=other.begin_s)
            here_s = max(here_s, other.end_s)
        if stretch.end_s > here_s:
            yield Stretch(begin_s=here_s, end_s=stretch.end_s)
