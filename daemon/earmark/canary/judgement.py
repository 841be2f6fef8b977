"""Is a hit the one that a round of the canary was to give?"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from earmark.canary.broadcast import LEAD_S, Broadcast
from earmark.canary.recording import TRACK
from earmark.hits.text import one_line, parsed_moment

#: Where in the recording a play is, is known to 25 ms. Where it begins and ends is known to half a second, but for one in twenty, in
#: which what plays beside it passes for it by chance: of 160 parts between tunes, noise and silence the worst was 1.8 s off.
PLACE_S: Final = 1.0
EDGE_S: Final = 2.0
#: Sixteen seconds of it have 790 to 1,900, wherever they are taken from it; with so little something is lost on the way.
SCORE_NATS_MIN: Final = 300.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Expected:
    """What was on air."""

    broadcast: Broadcast
    #: Wall clock of the stream's first sample, as its playlist says.
    began_at: datetime
    #: Seconds after that until somebody had taken the stream: what was on air before may be missed.
    claimed_s: float = 0.0


def wrong_with(hits: Mapping[str, Mapping[str, Any]], expected: Expected) -> str:
    """What is wrong with the hits of a round, by key, each as it was closed; empty: nothing."""
    if len(hits) != 1:
        tracks = ", ".join(one_line(str(hit["reference"]["track_id"]), 60) for hit in hits.values())
        return f"there are {len(hits)} hits where one was to be: {tracks}"
    (hit,) = hits.values()
    track_id, score = hit["reference"]["track_id"], hit["score"]["evidence_nats"]
    if track_id != TRACK.track_id:
        return f"{one_line(str(track_id), 60)} was heard, and {TRACK.track_id} was on air"
    if hit["stream"].get("canary") is not True:
        return "its hit does not say that it is a canary's, so a worker is of a version that does not know canaries and may alert people"
    return _wrong_times(hit, expected) or (f"its evidence is {score:.0f} nats, less than {SCORE_NATS_MIN:.0f}" if score < SCORE_NATS_MIN else "")


def _wrong_times(hit: Mapping[str, Any], expected: Expected) -> str:
    """By the stream's own clock, so that it does not matter when it was joined, or that somebody's clock jumped."""
    on_air, reference = expected.broadcast, hit["reference"]
    began_at, ended_at = parsed_moment(hit["started_at"]), parsed_moment(hit["ended_at"])
    if began_at is None or ended_at is None:
        return "its hit has no times, although the playlist has"
    late_s = (began_at - expected.began_at - timedelta(seconds=on_air.begin_s)).total_seconds()
    if not -EDGE_S <= late_s <= EDGE_S + max(0.0, expected.claimed_s - LEAD_S):
        return f"it was heard from {late_s:+.1f} s beside where it began"
    over_s = (ended_at - expected.began_at - timedelta(seconds=on_air.end_s)).total_seconds()
    if abs(over_s) > EDGE_S:
        return f"it was heard until {over_s:+.1f} s beside where it ended"
    off_s = reference["begin_s"] - on_air.reference_begin_s - late_s
    if abs(off_s) > PLACE_S:
        return f"it was taken for a place {off_s:+.1f} s beside that of the recording which was on air"
    return ""
