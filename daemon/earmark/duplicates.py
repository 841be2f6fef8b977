"""Is a new recording one that the catalogue has? And do its ISRCs say so too?

What two recordings have in common is known (`earmark.relatives`); here it is decided what follows. A new recording is a
*duplicate* of an older one that is the same, or that it is an excerpt of. It is none of one that it only shares a passage
with, of one that is an excerpt of *it*, and of one that is so much longer that it is a set, a mix, or a side of an album:
what is in those are recordings all the same. Nor is an excerpt with an ISRC of its own: an edit gets one.

An ISRC names one recording. So two that sound the same and have different ones clash, and so do two with the same one
that do not sound the same. Nobody can hear which of them is wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from earmark.hits.text import clock_time, speed_change
from earmark.index.overlaps import Described, two_isrcs, two_recordings
from earmark.matching.overlaps import WHOLE_SPEED, Compared, Overlap
from earmark.track import Track

#: What becomes of a duplicate: it is not added, or as an alias, or as if it were none.
Policy: TypeAlias = Literal["reject", "link", "keep"]

#: Of a recording of which an excerpt is less, the excerpt is a track on a mix.
_EXCERPT_LEAST: Final = 0.1


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """What a new recording is a duplicate of."""

    #: Not an alias itself.
    of: Described
    #: The recording that it was found to be the same as: `of`, or an alias of that; and how it lies on it.
    found: Described
    overlap: Overlap
    #: A recording with postings that all of it is in; None: it has something of its own.
    in_no: int | None


def duplicate(track: Track, relations: Sequence[Compared], known: Mapping[int, Described]) -> Duplicate | None:
    """What a recording is a duplicate of: the one that was there first.

    Args:
        track: the new one.
        relations: what it has in common with others.
        known: those, by number, and those that they are aliases of.
    """
    same = [(known[r.other_no], r.overlap) for r in relations if r.other_no in known and _same(track, r.overlap, known[r.other_no])]
    same = [(other, laid) for other, laid in same if other.of_no is None or other.of_no in known]
    if not same:
        return None
    other, laid = min(same, key=lambda one: (one[0].of_no is not None, one[1].kind != "same", one[0].track_no))
    of = other if other.of_no is None else known[other.of_no]
    family = [(o, lay) for o, lay in same if o.found and lay.whole and of.track_no in (o.track_no, o.of_no)]
    carrier = min(family, key=lambda one: (one[0].track_no != of.track_no, one[0].track_no), default=None)
    return Duplicate(of=of, found=other, overlap=laid, in_no=None if carrier is None else carrier[0].track_no)


def _same(track: Track, laid: Overlap, other: Described) -> bool:
    if laid.kind == "excerpt":
        its_own = track.isrc and other.isrc and not set(track.isrc) & set(other.isrc)
        return laid.share > laid.other_share >= _EXCERPT_LEAST and not its_own
    return laid.kind == "same"


def clashes(track: Track, relations: Iterable[Compared], known: Mapping[int, Described], same_isrc: Mapping[int, Described]) -> tuple[str, ...]:
    """What is wrong with a recording's ISRCs, beside those of others; a sentence each, without its end.

    Args:
        track: the new one.
        relations: what it has in common with others,
        known: and those, by number.
        same_isrc: recordings that carry one of its ISRCs.
    """
    alike = {r.other_no for r in relations if r.overlap.kind != "passage"}
    same = [known[r.other_no] for r in relations if r.overlap.kind == "same" and r.other_no in known]
    two = [other for other in same if other.isrc and track.isrc and not set(other.isrc) & set(track.isrc)]
    one = [other for no, other in sorted(same_isrc.items()) if no not in alike]
    return (
        *(two_isrcs(track.track_id, track.isrc, other.track_id, other.isrc) for other in two),
        *(two_recordings(min(set(track.isrc) & set(other.isrc)), track.track_id, other.track_id) for other in one),
    )


def replaces(track_id: str) -> str:
    return f"{track_id} does not sound like what it replaces: if both are recordings, one of them has a wrong ISRC"


def in_words(duplicate: Duplicate) -> str:
    """How a recording lies on another, e.g. `1:55 of it are 0:05–2:00 of isrc:X (Title), at speed +2.00 %`."""
    laid = duplicate.overlap
    begin, end = clock_time(laid.spans[0].other_begin_s), clock_time(laid.spans[-1].other_end_s)
    where = f"{clock_time(laid.overlap_s)} of it are {begin}–{end} of {called(duplicate.found)}"
    return where if abs(laid.speed - 1) <= WHOLE_SPEED else f"{where}, at speed {speed_change(laid.speed)}"


def called(described: Described) -> str:
    return f"{described.track_id} ({described.title})" if described.title else described.track_id
