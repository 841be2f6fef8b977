"""What is to be done about a play: what is known of it, what was decided, and what the recording's owner said; pure.

The words are those that rights systems share (YouTube, DDEX, distributors): block, mute, monetize, track, allow,
takedown, warn, no_claim, not_submitted. Nothing is ever *done* here: a policy is told in the hit, and `dry_run` says
that nothing acted on it. What an operator's own rules say comes before (`earmark.policies`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, cast

from earmark.hits.text import parsed_moment
from earmark.model import Play, Stream, Track
from earmark.track import POLICIES

Action: TypeAlias = Literal["block", "mute", "monetize", "track", "allow", "takedown", "warn", "no_claim", "not_submitted"]

_WORLD = "WW"


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """An action, why it was chosen (one sentence, for people), and whether it is only said, not done."""

    action: Action
    reason: str
    dry_run: bool
    #: The operator's rule, or licence, that decided; None: none of them did.
    rule_id: str | None = None
    #: Whoever acts waits so long after the play's begin, and does nothing if it has ended by then.
    grace_s: float = 0.0
    #: Whether an alert tells of it.
    notify: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Circumstances:
    """What is known of a play when it is decided about; it is decided anew with each revision."""

    stream: Stream
    #: When it began; without a clock, now.
    at: datetime
    #: Whether it has ended: before, what is known of its length is the least that it can be.
    over: bool
    played_s: float
    matched_s: float
    #: Share of the recording; None: it does not say how long it is.
    played_share: float | None
    #: Share of the peaks heard that are the recording's, in its best window; None: it was heard elsewhere.
    foreground_share: float | None
    quotation: bool

    @classmethod
    def of(cls, stream: Stream, play: Play, at: datetime, *, foreground_share: float | None = None) -> "Circumstances":
        """`foreground_share`: what an earlier revision told, for a play that was taken up from another session."""
        proof = play.explanation
        return cls(
            stream=stream,
            at=at,
            over=play.state == "closed",
            played_s=play.end_s - play.begin_s,
            matched_s=play.matched_s,
            played_share=fraction_of_track(play.matched_s, play.speed, play.reference_duration_s),
            foreground_share=proof.matched_n / proof.heard_n if proof is not None and proof.heard_n else foreground_share,
            quotation=play.quotation,
        )

    @classmethod
    def told(cls, stream: Stream, hit: Mapping[str, Any]) -> "Circumstances":
        """As its hit tells them. Raises KeyError, TypeError or ValueError if it is none."""
        query, coverage = hit["query"], hit["coverage"]
        at = parsed_moment(hit["started_at"]) or parsed_moment(hit["detection"]["published_at"])
        if at is None:
            raise ValueError("it has no time")
        return cls(
            stream=stream,
            at=at,
            over=hit["state"] == "closed",
            played_s=float(query["end_s"]) - float(query["begin_s"]),
            matched_s=float(coverage["matched_s"]),
            played_share=coverage["fraction_of_track"],
            foreground_share=coverage.get("foreground_share"),
            quotation=bool(hit["quotation"]),
        )


#: `track` is None when the recording left the catalogue while it was playing.
Decide: TypeAlias = Callable[[Track | None, Circumstances], Policy]


def fraction_of_track(matched_s: float, speed: float, duration_s: float) -> float | None:
    """The share of a recording of that length that was matched, in seconds of the stream: 0 to 1; None where nobody knows how long it is."""
    return min(1.0, matched_s * speed / duration_s) if duration_s > 0 else None


def by_owner(track: Track | None, play: Circumstances, territories: Sequence[str] = ()) -> Policy:
    """What the recording's owner said, while that holds; else the default: keep a record and do nothing.

    `territories`: where the stream is watched, ISO 3166-1; empty: nobody knows, and where the owner's word holds is told, not judged.
    """
    if track is None:
        return _on_record("the recording is no longer in the catalogue, so its owner's wishes are unknown: on record only")
    owner = track.rights_holder or "its owner"
    if track.policy not in POLICIES:
        whose = f"no rule of {track.rights_holder}" if track.rights_holder else "no rule"
        return _on_record(f"{whose} covers this recording on {play.stream.source} streams: on record only")
    wish: Action = cast(Action, track.policy)
    moment = f"{play.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if track.valid_from and moment < track.valid_from:
        return _on_record(f"{owner} says {wish} from {track.valid_from} on, and this is before: on record only")
    if track.valid_to and moment >= track.valid_to:
        return _on_record(f"{owner} said {wish} until {track.valid_to}, and this is after: on record only")
    where = f" in {', '.join(track.territories)}" if track.territories else ""
    if where and territories and not any(covers(track.territories, territory) for territory in territories):
        return _on_record(f"{owner} says {wish}{where}, and this is watched in {', '.join(territories)}: on record only")
    return Policy(action=wish, reason=f"{owner} says {wish}{where}", dry_run=True)


def covers(territories: Sequence[str], territory: str) -> bool:
    """Whether what an owner named, as `Track.territories` has it, has this one in it."""
    return territory in territories or (_WORLD in territories and f"-{territory}" not in territories)


def _on_record(reason: str) -> Policy:
    return Policy(action="track", reason=reason, dry_run=True)
