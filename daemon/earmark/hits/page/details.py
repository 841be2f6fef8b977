"""What `report.html` says of a play beyond its line in the table: the policy's reason, what was done, what proves it, how it sounded."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from earmark.hits.page.pictures import pictures
from earmark.hits.record import safe_name
from earmark.hits.text import clock_time, one_line
from earmark.postgres import Connection

#: Plays that are explained on a page: those with consequences first, then in order. The others have a line in its table.
PROOFS_MAX = 500
#: Actions without consequences.
_QUIET = ["track", "allow"]
_ALSO_MAX = 5
_ACTIONS_MAX = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """Some seconds that can be listened to."""

    #: From the stream's folder, or `data:`.
    address: str
    begin_s: float
    end_s: float
    #: Where it lies in the bucket, and what it has to be.
    key: str = ""
    content_type: str = ""
    sha256: str = ""
    bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """Of one play. All text is as it came."""

    hit_id: str
    track_id: str
    #: What it is, and what there is to say.
    facts: tuple[tuple[str, str], ...]
    #: Markup of our own; empty: nothing was kept that explains it.
    pictures: str = ""
    #: What lies in the stream's folder: what each is, and its address from there.
    beside: tuple[tuple[str, str], ...] = ()
    clip: Clip | None = None
    #: Where in the recording what the clip has of it is; and these seconds.
    recorded: tuple[float, float] | None = None
    preview: Clip | None = None


def load(connection: Connection, stream_id: str, proofs_max: int = PROOFS_MAX) -> dict[str, Proof]:
    """By `hit_id`, of so many plays of a stream at most."""
    rows = connection.execute(
        """
        select body, evidence from play where stream_id = %s
         order by body #>> '{policy,action}' = any(%s), begin_s, hit_id limit %s
        """,
        [stream_id, _QUIET, proofs_max],
    )
    return {body["hit_id"]: of(body, evidence) for body, evidence in rows}


def of(hit: Mapping[str, Any], evidence: Mapping[str, Any] | None) -> Proof:
    """What a hit in its newest revision and its evidence (`evidence.v1.json`) say."""
    drawn, words = "", ""
    if evidence is not None:
        try:
            drawn, words = pictures(evidence), _evidence(evidence)
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError):
            # A stream must be able to end, whatever is kept beside its plays.
            words = "what is kept is no evidence that this version can draw"
    facts, clip = [*_facts(hit), ("Evidence", words)], _clip(hit["evidence"].get("clip"))
    return Proof(
        hit_id=hit["hit_id"],
        track_id=hit["reference"]["track_id"],
        facts=tuple((label, value) for label, value in facts if value),
        pictures=drawn,
        beside=tuple(_beside(hit)),
        clip=clip,
        recorded=_recorded(hit, clip) if clip else None,
    )


def _clip(told: Any) -> Clip | None:
    """As the hit tells of it; the page lies in the stream's folder, too."""
    if not isinstance(told, Mapping) or not {"key", "begin_s", "end_s"} <= told.keys():
        return None
    key = str(told["key"])
    return Clip(
        address=f"evidence/{quote(key.rpartition('/')[2])}",
        begin_s=told["begin_s"],
        end_s=told["end_s"],
        key=key,
        content_type=told.get("content_type", ""),
        sha256=told.get("sha256", ""),
        bytes=told.get("bytes", 0),
    )


def _recorded(hit: Mapping[str, Any], clip: Clip) -> tuple[float, float]:
    """The recording's seconds that the clip has."""
    query, speed = hit["query"], hit["transform"]["speed"]
    begin_s, end_s = max(clip.begin_s, query["begin_s"]), min(clip.end_s, query["end_s"])
    zero_s = hit["reference"]["begin_s"] - speed * query["begin_s"]
    return zero_s + speed * begin_s, zero_s + speed * end_s


def _beside(hit: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name, told = safe_name(hit["hit_id"]), hit["evidence"]
    yield "hit", f"hits/{name}.json"
    if told.get("key"):
        yield "evidence", f"evidence/{name}.json"
    if told.get("picture"):
        yield "picture", f"evidence/{name}.svg"


def _facts(hit: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "In the recording", _in_the_recording(hit)
    yield "Played", _played(hit)
    policy = hit["policy"]
    yield "Policy", f"{policy['action']}: {one_line(policy['reason'], 500)}" + (f" (rule {one_line(rule)})" if (rule := policy.get("rule_id")) else "")
    yield "Done", _done(hit)
    also = hit["also_matching"]
    more = f" and {len(also) - _ALSO_MAX:,} more" if len(also) > _ALSO_MAX else ""
    yield "Also fits", ", ".join(one_line(one) for one in also[:_ALSO_MAX]) + more


def _in_the_recording(hit: Mapping[str, Any]) -> str:
    place, share = hit["reference"], hit["coverage"]["fraction_of_track"]
    length = f" of {clock_time(place['duration_s'])}" if place["duration_s"] else ""
    whole = f", {share:.0%} of it" if share is not None else ""
    alias = f", heard as {one_line(place['heard_as']['track_id'])}" if place.get("heard_as") else ""
    return f"{clock_time(place['begin_s'])}–{clock_time(place['end_s'])}{length}{whole}{alias}"


def _played(hit: Mapping[str, Any]) -> str:
    """What differs from the recording."""
    speed, cents = hit["transform"]["speed"], hit["transform"]["pitch_cents"]
    parts = [
        f"{abs(speed - 1):.1%} {'faster' if speed > 1 else 'slower'}" if abs(speed - 1) >= 0.0005 else "",
        f"{abs(cents):.0f} cents {'higher' if cents > 0 else 'lower'}" if abs(cents) >= 0.5 else "",
        f"{share:.0%} of what was heard is the recording" if (share := hit["coverage"].get("foreground_share")) is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _done(hit: Mapping[str, Any]) -> str:
    actions = hit.get("actions")
    if not isinstance(actions, list) or not actions:
        return "nothing but this record" if hit["policy"]["dry_run"] else ""
    told = [
        " ".join(part for part in (one_line(str(one.get("kind", ""))), one_line(str(one.get("state", ""))).replace("_", " "), _said(one)) if part)
        for one in actions[:_ACTIONS_MAX]
        if isinstance(one, Mapping)
    ]
    return "; ".join(told) + (f"; and {len(actions) - _ACTIONS_MAX:,} more" if len(actions) > _ACTIONS_MAX else "")


def _said(action: Mapping[str, Any]) -> str:
    """When, and what became of it."""
    at, detail = action.get("at"), action.get("detail")
    moment = f"at {at[11:19]} UTC" if isinstance(at, str) and len(at) >= 19 else ""
    said = f"({one_line(detail)})" if isinstance(detail, str) and detail else ""
    return f"{moment} {said}".strip()


def _evidence(evidence: Mapping[str, Any]) -> str:
    query, score, peaks = evidence["query"], evidence["score"], evidence["peaks"]
    place = f"{clock_time(query['begin_s'])}–{clock_time(query['end_s'])}"
    worth = f"worth {score['evidence_nats']:.0f} nats where {score['threshold_nats']:.0f} were asked for"
    return f"in {place}, {peaks['matched']:,} of the {peaks['heard']:,} peaks heard are the recording's, {worth}"
