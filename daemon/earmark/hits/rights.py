"""What the rights holder wants done about a play: a pure decision from values.

The words are those that rights systems share (YouTube, DDEX, distributors): block, mute, monetize, track, allow,
takedown, warn, no_claim, not_submitted. Nothing is ever *done* here: a policy is told in the hit, and `dry_run` says
that nothing acted on it.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, TypeAlias, cast

from earmark.model import Stream, Track
from earmark.track import POLICIES

Action: TypeAlias = Literal["block", "mute", "monetize", "track", "allow", "takedown", "warn", "no_claim", "not_submitted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """An action, why it was chosen (one sentence, for people), and whether it is only said, not done."""

    action: Action
    reason: str
    dry_run: bool


def decide(track: Track | None, stream: Stream, at: datetime | None = None) -> Policy:
    """What the recording's owner said, while that holds; else the default: keep a record and do nothing.

    `track` is None when the recording left the catalogue while it was playing. `at` is when the play began; without a clock,
    now. Where the stream is watched nobody knows here: territories are told in the hit, for whoever does.
    """
    if track is None:
        return Policy(action="track", reason="the recording is no longer in the catalogue, so its owner's wishes are unknown: on record only", dry_run=True)
    owner = track.rights_holder or "its owner"
    if track.policy in POLICIES:
        wish: Action = cast(Action, track.policy)
        moment = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if at else ""
        if moment and track.valid_from and moment < track.valid_from:
            return Policy(action="track", reason=f"{owner} says {wish} from {track.valid_from} on, and this is before: on record only", dry_run=True)
        if moment and track.valid_to and moment >= track.valid_to:
            return Policy(action="track", reason=f"{owner} said {wish} until {track.valid_to}, and this is after: on record only", dry_run=True)
        where = f" in {', '.join(track.territories)}" if track.territories else ""
        return Policy(action=wish, reason=f"{owner} says {wish}{where}", dry_run=True)
    whose = f"no rule of {track.rights_holder}" if track.rights_holder else "no rule"
    return Policy(action="track", reason=f"{whose} covers this recording on {stream.source} streams: on record only", dry_run=True)
