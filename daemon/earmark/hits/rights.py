"""What the rights holder wants done about a play: a pure decision from values.

The words are those that rights systems share (YouTube, DDEX, distributors): block, mute, monetize, track, allow,
takedown, warn, no_claim, not_submitted. Nothing is ever *done* here: a policy is told in the hit, and `dry_run` says
that nothing acted on it.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from earmark.model import Stream, Track

Action: TypeAlias = Literal["block", "mute", "monetize", "track", "allow", "takedown", "warn", "no_claim", "not_submitted"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """An action, why it was chosen (one sentence, for people), and whether it is only said, not done."""

    action: Action
    reason: str
    dry_run: bool


def decide(track: Track | None, stream: Stream) -> Policy:
    """The default: keep a record and do nothing, whatever the recording and the stream.

    `track` is None when the recording left the catalogue while it was playing.
    """
    if track is None:
        return Policy(action="track", reason="the recording is no longer in the catalogue, so its owner's wishes are unknown: on record only", dry_run=True)
    whose = f"no rule of {track.rights_holder}" if track.rights_holder else "no rule"
    return Policy(action="track", reason=f"{whose} covers this recording on {stream.source} streams: on record only", dry_run=True)
