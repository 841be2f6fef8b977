"""Who followed whom: how long a stream had no owner after its worker was killed, and what a hand-over cost it."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from faults.audit import DRIFT_S
from faults.diary_of_rows import StreamSeen
from faults.evidence import Evidence, at, head_s
from faults.fleet import Entry


@dataclass(frozen=True, kw_only=True, slots=True)
class Takeover:
    stream_id: str
    #: Of the worker that was lost.
    worker: str
    lost_at: float
    #: None: nobody took it.
    seconds: float | None
    claim: StreamSeen | None = None


def takeovers(evidence: Evidence, lost: Sequence[Entry]) -> list[Takeover]:
    """For each stream that a lost worker held: how long until another one claimed it."""
    by_stream: defaultdict[str, list[StreamSeen]] = defaultdict(list)
    for seen in evidence.stream_seen:
        if seen.what in ("claim", "release", "ended", "quarantined"):
            by_stream[seen.stream_id].append(seen)
    found = []
    for entry in lost:
        for stream_id, history in by_stream.items():
            before = [seen for seen in history if at(seen) <= entry.at]
            if not before or before[-1].what != "claim" or before[-1].owner != entry.worker:
                continue
            after = next((seen for seen in history if at(seen) > entry.at), None)
            claim = after if after is not None and after.what == "claim" else None
            if after is None or after.what == "claim":
                found.append(
                    Takeover(stream_id=stream_id, worker=entry.worker, lost_at=entry.at, seconds=None if claim is None else at(claim) - entry.at, claim=claim)
                )
    return found


#: A worker is behind a stream by two segments and a look at the playlist at most; one that is more had just taken it over.
_BEHIND_S_MAX = 6.0


def handovers(evidence: Evidence) -> list[tuple[str, float]]:
    """Of each stream that a worker handed over because it was asked to go: the gap that this cost.

    Where the worker was abreast of the stream when it was asked (what one misses that came too late, an earlier fault
    cost), and where the next owner lived to go on.
    """
    begins = {aired.stream_id: aired.begin + (head_s(evidence, aired) or 0.0) for aired in evidence.aired}
    gone = {entry.worker for entry in evidence.diary if entry.deed == "gone"}
    asked = {entry.worker: entry.at for entry in evidence.diary if entry.deed == "asked to go" and entry.worker in gone}
    by_stream: defaultdict[str, list[StreamSeen]] = defaultdict(list)
    for seen in evidence.stream_seen:
        by_stream[seen.stream_id].append(seen)
    found = []
    for stream_id, history in by_stream.items():
        row = evidence.streams.get(stream_id)
        for place, seen in enumerate(history):
            if row is None or seen.what != "release" or seen.old_owner not in asked or at(seen) < asked[seen.old_owner] or seen.state == "ended":
                continue
            known = [earlier for earlier in history[:place] if earlier.what == "commit" and at(earlier) <= asked[seen.old_owner]]
            if not known or asked[seen.old_owner] - begins[stream_id] - known[-1].position_s > _BEHIND_S_MAX:
                continue
            claim = next((later for later in history[place:] if later.what == "claim"), None)
            moved = next((later for later in history[place:] if later.what == "commit" and later.position_s > seen.position_s + DRIFT_S), None)
            if claim is not None and moved is not None and moved.fencing == claim.fencing:
                found.append((stream_id, sum(gap.end_s - gap.begin_s for gap in row.gaps if abs(gap.begin_s - seen.position_s) < DRIFT_S)))
    return found


def neighbours_restarts_max(evidence: Evidence) -> int:
    """Of the streams that lived beside the poisonous one, how often one was claimed again because the poison killed its worker."""
    poisoned = {entry.worker: entry.at for entry in evidence.diary if entry.deed == "crashed" and entry.what == "poison decoded"}
    poisonous = {aired.stream_id for aired in evidence.aired if aired.poisonous}
    restarts: Counter[str] = Counter()
    for takeover in takeovers(evidence, [Entry(at=died_at, deed="crashed", worker=worker) for worker, died_at in poisoned.items()]):
        if takeover.stream_id not in poisonous:
            restarts[takeover.stream_id] += 1
    return max(restarts.values(), default=0)


def p95(values: Sequence[float]) -> float | None:
    """The smallest value that 95 of 100 do not exceed; None of nothing."""
    ordered = sorted(values)
    return ordered[max(0, -(-95 * len(ordered) // 100) - 1)] if ordered else None
