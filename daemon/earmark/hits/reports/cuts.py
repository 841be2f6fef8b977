"""The cut list: what of a stream its policies want out of its recording, from when to when, and what nobody heard.

`cut-list.json`, as `config/schema/cut-list.v1.json` has it. A play is cut out whole if its policy says one of the actions that
were asked for, unless it ended within its rule's grace. Seconds are those of the stream, or, with an offset, of a
recording that begins so much later. Nothing is cut here: `cut_forms` writes the list for programs that do.
"""

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from earmark.hits.filled import NEAR_S
from earmark.hits.record import Document, Place, Timebase
from earmark.hits.reports.report import StreamReport
from earmark.hits.text import cleaned, dumps, moment_text, rfc3339, rounded
from earmark.model import Gap, Stretch
from earmark.postgres import Connection

SCHEMA_VERSION: Final = 1
#: Two plays of a recording are on one line if its seconds run on from one to the other, as exactly as this.
_SAME_LINE_S: Final = 1.0
#: A gap beside a cut may hold more of the same.
_BESIDE_S: Final = 1.0
#: Cuts that lie closer would touch, to the millisecond.
_APART_S: Final = 0.002
_ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Unwanted:
    """A play that is to go."""

    hit_id: str
    state: str
    track_id: str
    title: str
    artists: tuple[str, ...]
    isrc: tuple[str, ...]
    rights_holder: str
    action: str
    reason: str
    rule_id: str | None
    #: Stream time; and where the recording is at its begin, and how fast it goes.
    begin_s: float
    end_s: float
    reference_begin_s: float
    speed: float

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> "Unwanted":
        track, policy = hit["track"], hit["policy"]
        return cls(
            hit_id=hit["hit_id"],
            state=hit["state"],
            track_id=hit["reference"]["track_id"],
            title=track["title"],
            artists=tuple(track["artists"]),
            isrc=tuple(track["isrc"]),
            rights_holder=track["rights_holder"],
            action=policy["action"],
            reason=policy["reason"],
            rule_id=policy.get("rule_id"),
            **hit["query"],
            reference_begin_s=hit["reference"]["begin_s"],
            speed=hit["transform"]["speed"] or 1.0,
        )

    def is_gone_on_with(self, later: "Unwanted") -> bool:
        """Whether a later play of the same recording is where this one would be by then, a moment after its end: it was talked over."""
        break_s = later.begin_s - self.end_s
        runs_s = (later.begin_s - self.begin_s) * self.speed
        return 0 <= break_s <= NEAR_S and abs(later.reference_begin_s - self.reference_begin_s - runs_s) <= _SAME_LINE_S


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Some seconds that are to go, and all that plays in them."""

    begin_s: float
    end_s: float
    plays: tuple[Unwanted, ...]


@dataclass(frozen=True, kw_only=True)
class CutList:
    """Of one session; its times are the stream's."""

    report: StreamReport
    actions: tuple[str, ...]
    edge_s: float
    #: In order, apart from one another, within the session.
    cuts: tuple[Cut, ...]
    #: What was not heard and is in no cut, in order.
    unknown: tuple[Gap, ...]
    #: The second of the stream at which the recording begins that is to be cut; negative: it begins earlier.
    offset_s: float = 0.0

    @property
    def length_s(self) -> float:
        """Seconds of the recording up to the session's end."""
        return max(0.0, self.report.checkpoint.position_s - self.offset_s)

    def spans(self) -> list[tuple[float, float]]:
        """From-to of the cuts in seconds of the recording, outwards to the millisecond; what lies before its begin is left out."""
        spans = [(_down(max(0.0, cut.begin_s - self.offset_s)), _up(cut.end_s - self.offset_s)) for cut in self.cuts]
        return [(begin_s, end_s) for begin_s, end_s in spans if end_s > begin_s]


def load(connection: Connection, stream_id: str, actions: Collection[str]) -> list[Unwanted]:
    """Plays on record whose policy says one of the actions, in order; those that ended within the grace of their rule are left out."""
    with connection.transaction(), connection.cursor(name="unwanted") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        cursor.execute(_UNWANTED, [stream_id, list(actions)])
        return [Unwanted.of(hit) for (hit,) in cursor]


_UNWANTED = """
select body from play
 where stream_id = %s and state <> 'provisional' and body->'policy'->>'action' = any(%s)
   and end_s - begin_s >= coalesce((body->'policy'->>'grace_s')::float8, 0)
 order by begin_s, hit_id"""


def listed(report: StreamReport, plays: Iterable[Unwanted], *, actions: Sequence[str], edge_s: float, offset_s: float = 0.0) -> CutList:
    """The cut list of a session. Pure."""
    cuts = cut(plays, edge_s=edge_s, until_s=report.checkpoint.position_s)
    unknown = [left for gap in report.checkpoint.gaps for left in _outside(gap, cuts) if left.end_s > offset_s]
    return CutList(report=report, actions=tuple(actions), edge_s=edge_s, offset_s=offset_s, cuts=tuple(cuts), unknown=tuple(unknown))


def cut(plays: Iterable[Unwanted], *, edge_s: float, until_s: float) -> list[Cut]:
    """The plays, widened by the edge on both sides, those that then touch or overlap as one; within 0 ... `until_s`. Pure.

    Where a recording goes on behind a break in which nothing of it was heard, the break is cut out, too.
    """
    spans: list[tuple[float, float, Unwanted]] = []
    latest: dict[str, Unwanted] = {}
    for play in sorted(plays, key=lambda play: (play.begin_s, play.hit_id)):
        before = latest.get(play.track_id)
        begin_s = before.end_s if before and before.is_gone_on_with(play) else play.begin_s
        spans.append((max(0.0, begin_s - edge_s), min(until_s, play.end_s + edge_s), play))
        if before is None or play.end_s > before.end_s:
            latest[play.track_id] = play
    merged: list[tuple[float, float, list[Unwanted]]] = []
    for begin_s, end_s, play in sorted(spans, key=lambda span: span[0]):
        if end_s <= begin_s:
            continue
        if merged and begin_s <= merged[-1][1] + _APART_S:
            from_s, to_s, together = merged[-1]
            together.append(play)
            merged[-1] = (from_s, max(to_s, end_s), together)
        else:
            merged.append((begin_s, end_s, [play]))
    return [Cut(begin_s=begin_s, end_s=end_s, plays=tuple(together)) for begin_s, end_s, together in merged]


def _outside(gap: Gap, cuts: Sequence[Cut]) -> Iterator[Gap]:
    """What of a gap is in no cut."""
    here_s = gap.begin_s
    for near in range(bisect_left(cuts, here_s, key=lambda cut: cut.end_s), len(cuts)):
        if cuts[near].begin_s >= gap.end_s:
            break
        if cuts[near].begin_s > here_s:
            yield replace(gap, begin_s=here_s, end_s=cuts[near].begin_s)
        here_s = cuts[near].end_s
    if here_s < gap.end_s:
        yield replace(gap, begin_s=here_s)


# ------------------------------------------------------------------------------------------------ the document


def text(cut_list: CutList, place: Place | None = None) -> str:
    """`cut-list.json`; with links, if it is kept in a place."""
    return dumps(document(cut_list, place), indent=1) + "\n"


def document(cut_list: CutList, place: Place | None = None) -> Document:
    """Cut list v1."""
    report, offset_s = cut_list.report, cut_list.offset_s
    checkpoint, stream, timebase = report.checkpoint, report.stream, report.timebase
    cuts = [_cut(one, timebase, offset_s) for one in cut_list.cuts if one.end_s > offset_s]
    unknown = [_unknown(gap, gap.reason, cut_list.cuts, timebase, offset_s) for gap in cut_list.unknown]
    if offset_s < 0:
        unknown.insert(0, _unknown(Stretch(begin_s=offset_s, end_s=0.0), "before_the_session", cut_list.cuts, timebase, offset_s))
    head = {
        "stream": {
            "id": stream.stream_id,
            "channel_arn": stream.channel_arn,
            "channel_name": stream.channel_name,
            "session_id": stream.session_id,
            **({"trace_id": stream.trace_id} if stream.trace_id else {}),
            "source": stream.source,
        },
        "state": checkpoint.state,
        "begins_at": moment_text(timebase.at(offset_s)),
        "clock": checkpoint.clock_source,
        "offset_s": rounded(offset_s),
        "length_s": rounded(cut_list.length_s),
        "edge_s": rounded(cut_list.edge_s),
        "actions": list(cut_list.actions),
        "cut_s": rounded(sum(one["duration_s"] for one in cuts)),
        "unknown_s": rounded(sum(one["duration_s"] for one in unknown)),
        "updated_at": rfc3339(report.updated_at),
        "links": {"stream": place.uri(place.stream_key), "report": place.uri(place.report_key)} if place and place.bucket else {},
    }
    return {"schema_version": SCHEMA_VERSION, **cleaned(head), "cuts": cuts, "unknown": unknown}


def _cut(cut: Cut, timebase: Timebase, offset_s: float) -> Document:
    said = {play.action for play in cut.plays}
    return {
        **_from_to(cut.begin_s, cut.end_s, timebase, offset_s),
        "actions": sorted(said),
        "plays": [_play(play, offset_s) for play in cut.plays],
    }


def _play(play: Unwanted, offset_s: float) -> Document:
    """Its texts are those of its hit, which are clean and bounded."""
    return {
        "hit_id": play.hit_id,
        "state": play.state,
        "begin_s": rounded(play.begin_s - offset_s),
        "end_s": rounded(play.end_s - offset_s),
        "track_id": play.track_id,
        "title": play.title,
        "artists": list(play.artists),
        "isrc": list(play.isrc),
        "rights_holder": play.rights_holder,
        "action": play.action,
        "reason": play.reason,
        "rule_id": play.rule_id,
    }


def _unknown(gap: Gap | Stretch, reason: str, cuts: Sequence[Cut], timebase: Timebase, offset_s: float) -> Document:
    near = bisect_left(cuts, gap.begin_s - _BESIDE_S, key=lambda cut: cut.end_s)
    beside = near < len(cuts) and cuts[near].begin_s <= gap.end_s + _BESIDE_S
    return {**_from_to(gap.begin_s, gap.end_s, timebase, offset_s), "reason": reason, "beside_a_cut": beside}


def _from_to(begin_s: float, end_s: float, timebase: Timebase, offset_s: float) -> Document:
    begin_s = max(begin_s, offset_s)
    from_s, to_s = _down(begin_s - offset_s), _up(end_s - offset_s)
    return {
        "begin_s": from_s,
        "end_s": to_s,
        "duration_s": rounded(to_s - from_s),
        "started_at": moment_text(timebase.at(begin_s)),
        "ended_at": moment_text(timebase.at(end_s)),
    }


def _down(seconds: float) -> float:
    return math.floor(round(seconds * 1000, 3)) / 1000 + 0.0


def _up(seconds: float) -> float:
    return math.ceil(round(seconds * 1000, 3)) / 1000 + 0.0


def offset_of(moment: datetime, timebase: Timebase) -> float | None:
    """The second of the stream that goes with a wall-clock time; None: the stream has no clock."""
    begins_at = timebase.at(0.0)
    return (moment - begins_at).total_seconds() if begins_at else None
