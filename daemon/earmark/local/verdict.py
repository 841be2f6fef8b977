"""What was heard against what was on air: a pure comparison, line by line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from earmark.hits.mail.alert import sure_in_words
from earmark.local.programme import Part, Programme

#: A play's begin comes from its line of evidence, its end is the last evidence on it: under speech both are a little inside.
BEGIN_TOLERANCE_S = 5.0
END_TOLERANCE_S = 6.0
REFERENCE_TOLERANCE_S = 0.5
SPEED_TOLERANCE = 0.005


@dataclass(frozen=True, kw_only=True)
class Finding:
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok     ' if self.ok else 'WRONG  '}{self.text}"


def judge(
    programme: Programme, hits: Sequence[Mapping[str, Any]], *, summary: Mapping[str, Any] | None, told_after_s: Mapping[str, float] | None = None
) -> list[Finding]:
    """One finding per thing on air, and a last one for coverage.

    Args:
        hits: the documents of the stream's plays, in their last revision.
        summary: `stream.json`.
        told_after_s: seconds from going on air (stream time 0) until a `hit_id` was first to be read in S3; None: it was not on air in real time.
    """
    findings = [_heard(part, hits, told_after_s) if part.track else _unheard(part, hits) for part in programme.parts]
    findings += [_uncalled_for(hit) for hit in hits if not any(_is_of(hit, part) for part in programme.plays)]
    return [*findings, _covered(programme, summary)]


def _is_of(hit: Mapping[str, Any], part: Part) -> bool:
    """Of the same recording, and for the most part at the same time."""
    begin_s, end_s = hit["query"]["begin_s"], hit["query"]["end_s"]
    common_s = min(end_s, part.end_s) - max(begin_s, part.begin_s)
    return part.track is not None and hit["reference"]["track_id"] == part.track.track_id and common_s > (end_s - begin_s) / 2


def _heard(part: Part, hits: Sequence[Mapping[str, Any]], told_after_s: Mapping[str, float] | None) -> Finding:
    title = f"{part.track.title if part.track else ''}, {part.what}: on air {part.begin_s:.0f}-{part.end_s:.0f} s"
    found = [hit for hit in hits if _is_of(hit, part)]
    if len(found) != 1:
        return Finding(ok=False, text=f"{title}, {'never heard' if not found else f'on record {len(found)} times'}")
    (hit,) = found
    query, reference, speed = hit["query"], hit["reference"], hit["transform"]["speed"]
    wrong = []
    if abs(query["begin_s"] - part.begin_s) > BEGIN_TOLERANCE_S or abs(query["end_s"] - part.end_s) > END_TOLERANCE_S:
        wrong.append("begin or end is off")
    if abs(speed - part.speed) > SPEED_TOLERANCE:
        wrong.append(f"the speed was {part.speed:.3f}")
    wanted_s = part.reference_begin_s + (query["begin_s"] - part.begin_s) * part.speed
    if abs(reference["begin_s"] - wanted_s) > REFERENCE_TOLERANCE_S:
        wrong.append(f"that was the recording from {wanted_s:.1f} s")
    if hit["state"] != "closed":
        wrong.append(f"it is still {hit['state']}")
    facts = [
        f"{title}; heard {query['begin_s']:.1f}-{query['end_s']:.1f} s, from {reference['begin_s']:.1f} s of the recording at speed {speed:.3f}",
        *([f"in S3 after {told_after_s[hit['hit_id']] - part.begin_s:.1f} s"] if told_after_s is not None else []),
        sure_in_words(hit["score"]["false_alarms_per_hour"]),
    ]
    return Finding(ok=not wrong, text="; ".join(facts + wrong))


def _unheard(part: Part, hits: Sequence[Mapping[str, Any]]) -> Finding:
    where = f"{part.what}: on air {part.begin_s:.0f}-{part.end_s:.0f} s"
    begun = [hit for hit in hits if part.begin_s + 0.5 < hit["query"]["begin_s"] < part.end_s - 0.5]
    if begun:
        return Finding(ok=False, text=f"{where}, taken for {' and '.join(hit['track']['title'] for hit in begun)}")
    return Finding(ok=True, text=f"{where}, rightly not reported")


def _uncalled_for(hit: Mapping[str, Any]) -> Finding:
    query = hit["query"]
    return Finding(ok=False, text=f"{hit['track']['title']} was reported {query['begin_s']:.1f}-{query['end_s']:.1f} s and was not on air")


def _covered(programme: Programme, summary: Mapping[str, Any] | None) -> Finding:
    if summary is None:
        return Finding(ok=False, text="the stream has no summary")
    coverage, length_s = summary["coverage"], programme.parts[-1].end_s
    gaps = ", ".join(f"{seconds:.1f} s {reason}" for reason, seconds in coverage["gap_s_by_reason"].items())
    missed = f"{coverage['gap_s']:.1f} s missed{f' ({gaps})' if gaps else ''}"
    text = f"the stream is {summary['state']} ({summary['end_reason']}); {coverage['heard_s']:.1f} s heard, {missed}"
    whole = summary["state"] == "ended" and abs(coverage["unaccounted_s"]) < 0.001 and abs(coverage["total_s"] - length_s) < 2.5
    return Finding(ok=whole, text=f"{text}, of {length_s:.1f} s on air; every second accounted for" if whole else f"{text}, of {length_s:.1f} s on air")
