"""What a recording adds to a session that did not hear all of its stream: fewer gaps, more plays, and longer ones. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from earmark.hits.record import Document
from earmark.hits.rights import fraction_of_track
from earmark.hits.text import moment_text, parsed_moment, rfc3339, rounded
from earmark.model import Checkpoint, Explanation, Gap, Music, Play, Stretch

#: A play that was found in the recording is told only if so much of it was not heard before.
NEW_S = 1.0
#: A hit on record becomes longer by so much at least, or stays as it is.
LONGER_S = 0.5
#: What of a gap is left over at the edge of a segment, and cannot be told from rounding.
SLIVER_S = 0.005
#: A play on record and one in the recording are one if no more lies between them: live, a play outlives as much without evidence.
NEAR_S = 20.0


def heard(checkpoint: Checkpoint, *, earlier_s: float) -> list[Stretch]:
    """What a session that fills gaps has heard, at the stream time of the session whose gaps they are."""
    stretches, here_s = [], 0.0
    for begin_s, end_s in (*((gap.begin_s, gap.end_s) for gap in checkpoint.gaps), (checkpoint.position_s, checkpoint.position_s)):
        if begin_s > here_s:
            stretches.append(Stretch(begin_s=here_s - earlier_s, end_s=begin_s - earlier_s))
        here_s = end_s
    return stretches


def without(gaps: Sequence[Gap], heard: Sequence[Stretch]) -> tuple[Gap, ...]:
    """What is left of the gaps; `heard` in order, apart from one another."""
    left: list[Gap] = []
    for gap in gaps:
        here_s = gap.begin_s
        for stretch in heard:
            if stretch.end_s <= here_s or stretch.begin_s >= gap.end_s:
                continue
            if stretch.begin_s - here_s > SLIVER_S:
                left.append(replace(gap, begin_s=here_s, end_s=stretch.begin_s))
            here_s = stretch.end_s
        if gap.end_s - here_s > SLIVER_S or here_s == gap.begin_s:
            left.append(replace(gap, begin_s=here_s))
    return tuple(left)


def filled(checkpoint: Checkpoint, heard: Sequence[Stretch]) -> Checkpoint:
    """The session with fewer gaps: what they lose, the seconds heard gain."""
    gaps = without(checkpoint.gaps, heard)
    if gaps == checkpoint.gaps:
        return checkpoint
    left_s = sum(gap.end_s - gap.begin_s for gap in gaps)
    return replace(checkpoint, gaps=gaps, heard_s=checkpoint.heard_s + checkpoint.gap_s - left_s)


def with_music(music: Music, found: Sequence[Stretch], gaps: Sequence[Gap]) -> Music:
    """With what sounded like music where nothing was heard before."""
    more_s = sum(piece.end_s - piece.begin_s for piece in _pieces(found, gaps))
    return replace(music, stretches=with_stretches(music.stretches, found, gaps), heard_s=round(music.heard_s + more_s, 3))


def with_stretches(known: Sequence[Stretch], found: Sequence[Stretch], gaps: Sequence[Gap]) -> tuple[Stretch, ...]:
    """With those that were found where nothing was heard before."""
    together: list[Stretch] = []
    for stretch in sorted((*known, *_pieces(found, gaps)), key=lambda stretch: stretch.begin_s):
        if together and stretch.begin_s <= together[-1].end_s + SLIVER_S:
            together[-1] = replace(together[-1], end_s=max(together[-1].end_s, stretch.end_s))
        else:
            together.append(stretch)
    return tuple(together)


def _pieces(found: Sequence[Stretch], gaps: Sequence[Gap]) -> list[Stretch]:
    return [
        Stretch(begin_s=round(begin_s, 3), end_s=round(end_s, 3))
        for stretch in found
        for gap in gaps
        if (end_s := min(stretch.end_s, gap.end_s)) - (begin_s := max(stretch.begin_s, gap.begin_s)) > SLIVER_S
    ]


def overlap_s(begin_s: float, end_s: float, gaps: Sequence[Gap]) -> float:
    return sum(max(0.0, min(end_s, gap.end_s) - max(begin_s, gap.begin_s)) for gap in gaps)


# ------------------------------------------------------------------------------------------------ plays


def earlier(play: Play, by_s: float) -> Play:
    """The play, and what proves it, on a stream time that begins later by so much."""
    proof = play.explanation
    return replace(
        play,
        begin_s=max(0.0, play.begin_s - by_s),
        end_s=max(0.0, play.end_s - by_s),
        first_heard_s=max(0.0, play.first_heard_s - by_s),
        explanation=None if proof is None else _earlier(proof, by_s),
    )


def _earlier(proof: Explanation, by_s: float) -> Explanation:
    return replace(
        proof,
        begin_s=proof.begin_s - by_s,
        end_s=proof.end_s - by_s,
        offset_s=proof.offset_s + proof.speed * by_s,
        stream_ms=(proof.stream_ms - round(1000 * by_s)).astype(np.int32),
        others=(proof.others - [round(1000 * by_s), 0]).astype(np.int32),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """The line of a hit on record: where in the stream its recording's seconds are."""

    begin_s: float
    end_s: float
    reference_begin_s: float
    speed: float

    @classmethod
    def of(cls, hit: Mapping[str, Any]) -> "Line":
        return cls(**hit["query"], reference_begin_s=hit["reference"]["begin_s"], speed=hit["transform"]["speed"] or 1.0)

    def at(self, reference_s: float) -> float:
        return self.begin_s + (reference_s - self.reference_begin_s) / self.speed

    def holds(self, play: Play, *, inexact_s: float) -> bool:
        """Whether the play is of this line, as exactly as a second of one clock is found by the other, and near it."""
        apart_s = max(self.at(play.reference_begin_s) - self.end_s, self.begin_s - self.at(play.reference_end_s))
        return abs(self.at(play.reference_begin_s) - play.begin_s) <= inexact_s and apart_s <= NEAR_S


def same(hits: Sequence[Mapping[str, Any]], play: Play, *, inexact_s: float) -> list[Mapping[str, Any]]:
    """Of the hits on record, in order of time, those of whose play this one is a part."""
    return [hit for hit in hits if hit["reference"]["track_id"] == play.track_id and Line.of(hit).holds(play, inexact_s=inexact_s)]


def longer(
    hit: Mapping[str, Any], play: Play, *, before_s: float, until_s: float, gaps: Sequence[Gap], now: datetime, worker: str, confirm_s: float
) -> Document | None:
    """The hit with what the recording adds to it, as its next revision; None: nothing, or it has it already.

    Its line stays as it was heard live, and the recording's seconds are put on it: nothing of them depends on how exactly
    one clock was found by the other. `before_s`, `until_s`: where the hits of the same play before and behind it end and begin.
    """
    known: list[Document] = hit.get("recovered", [])
    if any(piece["from"] == play.hit_id for piece in known):
        return None
    line = Line.of(hit)
    from_s, to_s = max(0.0, before_s, line.at(play.reference_begin_s)), min(until_s, line.at(play.reference_end_s))
    begin_s, end_s = min(line.begin_s, from_s), max(line.end_s, to_s)
    new_s = overlap_s(max(from_s, begin_s), min(to_s, end_s), gaps)
    if new_s < LONGER_S:
        return None
    share = min(1.0, play.matched_s / max(play.end_s - play.begin_s, 0.001))
    inside_s = overlap_s(max(from_s, line.begin_s), min(to_s, line.end_s), gaps)
    matched_s, gap_s = hit["coverage"]["matched_s"] + new_s * share, max(0.0, hit["coverage"]["gap_s"] - inside_s)
    share_of_track = fraction_of_track(matched_s, line.speed, hit["reference"]["duration_s"])
    started_at = parsed_moment(hit["started_at"])
    started_at = started_at and started_at + timedelta(seconds=begin_s - line.begin_s)
    piece = {"from": play.hit_id, "source": "recording", "begin_s": rounded(max(from_s, begin_s)), "end_s": rounded(min(to_s, end_s))}
    return {
        **hit,
        "revision": hit["revision"] + 1,
        "started_at": moment_text(started_at),
        "ended_at": moment_text(started_at + timedelta(seconds=end_s - begin_s)) if started_at and hit["state"] == "closed" else hit["ended_at"],
        "query": {"begin_s": rounded(begin_s), "end_s": rounded(end_s)},
        "reference": {
            **hit["reference"],
            "begin_s": rounded(max(0.0, line.reference_begin_s + (begin_s - line.begin_s) * line.speed)),
            "end_s": rounded(max(hit["reference"]["end_s"], line.reference_begin_s + (end_s - line.begin_s) * line.speed)),
        },
        "coverage": {
            **hit["coverage"],
            "matched_s": rounded(matched_s),
            "gap_s": rounded(gap_s),
            "fraction_of_track": None if share_of_track is None else rounded(share_of_track, 4),
        },
        "score": {**hit["score"], "matched_s": rounded(matched_s)},
        "quotation": bool(hit["quotation"] and end_s - begin_s < confirm_s),
        "detection": {**hit["detection"], "published_at": rfc3339(now), "worker": worker},
        "recovered": [*known, piece],
    }
