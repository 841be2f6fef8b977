"""Were the hits right? What was on air on each stream and when, against what was told of it. Pure; times are Unix times."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bench.live_programme import Part
from bench.live_window import TARGET_S, WINDOW_SEGMENTS, Stream

#: A hit may begin so much before its recording does, and end so much after it: dates are estimates, and so are fades.
_SLACK_S: Final = 3.0
#: A play that was heard for less is not demanded of anybody.
DEMANDED_S: Final = 20.0
#: Who joins a stream hears what is listed already.
_LISTED_S: Final = TARGET_S * (WINDOW_SEGMENTS + 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class OnAir:
    """A recording that sounded on a stream."""

    stream: int
    track_id: str
    begin: float
    end: float
    #: Nobody talked over it.
    clean: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """A hit, as its document says; `at`: when it was first in S3. One that is not `firm` is provisional still, or a quotation."""

    stream: int
    track_id: str
    begin: float
    end: float | None
    at: float
    firm: bool = True

    @classmethod
    def of(cls, document: Mapping[str, Any], stream: int, at: float) -> "Told":
        ended = document["ended_at"]
        return cls(
            stream=stream,
            track_id=document["reference"]["track_id"],
            begin=datetime.fromisoformat(document["started_at"]).timestamp(),
            end=datetime.fromisoformat(ended).timestamp() if ended else None,
            at=at,
            firm=document["state"] != "provisional" and not document["quotation"],
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Listened:
    """A stream, the parts of its programme, and from when to when it was listened to."""

    stream: Stream
    parts: Sequence[Part]
    begin: float
    end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Of all streams together."""

    #: Plays that had to be told, and those of them that were.
    clean: int
    clean_found: int
    covered: int
    covered_found: int
    #: Firm hits of what was not on air then; and those that begin before it did, or end after it, in the windows.
    wrong: tuple[Told, ...]
    misdated: tuple[Told, ...]
    #: Of clean plays: from a play's first second to its hit in S3; and from when that second could be had, its segment being complete.
    after_begin_s: tuple[float, ...]
    after_listed_s: tuple[float, ...]


def on_air(stream: Stream, parts: Sequence[Part], begin: float, end: float) -> Iterator[OnAir]:
    """Recordings of the catalogue that sounded on a stream between two moments, whole or in part; begin and end are their own."""
    period_s = stream.cut.duration_s
    zero = stream.begin - stream.shift_s
    for rounds in range(int((begin - zero) // period_s), int((end - zero) // period_s) + 1):
        for part in parts:
            from_, to = (zero + rounds * period_s + at for at in (part.begin_s, part.end_s))
            if part.track_id and from_ < end and to > begin:
                yield OnAir(stream=stream.number, track_id=part.track_id, begin=from_, end=to, clean=part.kind == "music")


def judge(streams: Mapping[int, Listened], told: Sequence[Told], windows: Sequence[tuple[float, float]]) -> Verdict:
    """What was told at any time must be right; what begins, and could be told, within one of the windows must be told."""
    found: dict[int, list[Told]] = {number: [hit for hit in told if hit.stream == number] for number in streams}
    wrong, misdated, right = [hit for hit in told if hit.stream not in streams], list[Told](), list[tuple[OnAir, float]]()
    missed: list[OnAir] = []
    for number, one in streams.items():
        played = list(on_air(one.stream, one.parts, one.begin - _LISTED_S - _SLACK_S, one.end + _SLACK_S))
        astray = [hit for hit in found[number] if hit.firm and not any(_is_of(hit, play) for play in played)]
        wrong += [hit for hit in astray if not any(_meet(hit, play) for play in played)]
        misdated += [hit for hit in astray if any(_meet(hit, play) for play in played) and any(begin <= hit.at <= end for begin, end in windows)]
        for play in played:
            if not any(max(begin, one.begin) <= play.begin and play.begin + DEMANDED_S <= min(end, one.end) for begin, end in windows):
                continue
            hits = [hit.at for hit in found[number] if _meet(hit, play)]
            if hits:
                right.append((play, min(hits)))
            else:
                missed.append(play)
    clean = [(play, at) for play, at in right if play.clean]
    return Verdict(
        clean=len(clean) + sum(play.clean for play in missed),
        clean_found=len(clean),
        covered=len(right) - len(clean) + sum(not play.clean for play in missed),
        covered_found=len(right) - len(clean),
        wrong=tuple(wrong),
        misdated=tuple(misdated),
        after_begin_s=tuple(at - play.begin for play, at in clean),
        after_listed_s=tuple(at - _listed_at(streams[play.stream].stream, play.begin) for play, at in clean),
    )


def _meet(hit: Told, play: OnAir) -> bool:
    """Whether the recording was on air while it was told to be."""
    return hit.track_id == play.track_id and hit.begin < play.end + _SLACK_S and (hit.end is None or hit.end > play.begin - _SLACK_S)


def _is_of(hit: Told, play: OnAir) -> bool:
    """Whether the hit lies within the play; as long as it is open, it need not have ended."""
    ended = play.begin if hit.end is None else hit.end
    return hit.track_id == play.track_id and play.begin - _SLACK_S <= hit.begin < play.end and ended <= play.end + _SLACK_S


def _listed_at(stream: Stream, moment: float) -> float:
    """When the segment that holds a moment was complete."""
    return stream.begins_at(stream.complete(moment) + 1)
