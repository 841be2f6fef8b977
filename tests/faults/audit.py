"""What was on air against what is on record: nothing lost, nothing twice, nothing unaccounted for. Pure.

**A lost hit** is one of these:

* a play that was committed (a trigger saw it, in its transaction) and whose newest revision is not in PostgreSQL, or not in
  S3, or one of whose alerts never reached the topic's subscriber; or that is not closed although its stream has ended;
* a recording that was on air, of which at least `MUST_HEAR_S` seconds without interruption were heard, or could have been
  heard, and that no play of its stream names there. *Heard* is by the stream's own record: its seconds less its gaps.
  *Could have been heard* are seconds in a gap after a takeover that the playlist still listed when the new owner first
  read it. An interruption is a gap, or a takeover: what the dead worker knew of the last seconds dies with it, as
  evidence is kept in memory and only plays are on record;
* a stream that was on air and is not on record, or has not come to its end long after the faults have ended. (A stream in
  quarantine is no lost hit: it is counted as what it is.)

What nobody could hear, because the playlist had moved on while no worker lived, is a gap with a reason, and no loss.

**Media unaccounted for** are seconds by which a stream's position is not what was heard and the gaps together; seconds by
which stream time and the media's own clock drift apart between any two commits (so a segment that vanishes without a gap is
seen, though the sum still fits); and seconds that the origin published after the first one heard and the record does not
reach, or reaches beyond.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise

from earmark.hits.mail import digest
from faults.diary_of_rows import OutboxSeen, PlaySeen, StreamSeen
from faults.evidence import Evidence, GapSeen, PlayRow, Publish, Put, StreamRow, at, head_s, offsets
from faults.programme import Aired

#: A play is confirmed after ten seconds; it takes a look or two more until the line is found.
MUST_HEAR_S = 14.0
#: A play is held for so long without evidence; a gap as long as that may part one recording into two plays.
CLOSE_S = 12.0
#: Sums of floats.
ROUNDING_S = 1e-3
#: A codec's frame at the stream's beginning or end, and clocks in milliseconds.
DRIFT_S = 0.1
#: A tail of less than a second is no gap to the daemon: the end is an event's time, by another clock (`audio.remainder.GAP_LEAST`).
TAIL_S = 1.0
#: Lines are dated to about a look.
DATED_S = 2.0


# ------------------------------------------------------------------------------------------------ lost


def lost_hits(evidence: Evidence) -> list[str]:
    return [*_decided_and_lost(evidence), *_digests_lost(evidence), *_streams_left(evidence), *_heard_and_not_told(evidence)]


def _decided_and_lost(evidence: Evidence) -> Iterator[str]:
    newest: dict[str, PlaySeen] = {}
    for seen in evidence.play_seen:
        if seen.hit_id not in newest or newest[seen.hit_id].revision < seen.revision:
            newest[seen.hit_id] = seen
    rows = {row.hit_id: row for row in evidence.plays}
    for hit_id, seen in newest.items():
        row, stream = rows.get(hit_id), evidence.streams.get(seen.stream_id)
        if row is None or row.revision < seen.revision:
            yield f"hit {hit_id} of {seen.stream_id}: revision {seen.revision} was committed, PostgreSQL has {row.revision if row else 'nothing'}"
        elif row.state != "closed" and stream is not None and stream.state == "ended":
            yield f"hit {hit_id} of {seen.stream_id}: still {row.state}, and its stream has ended"
    queued: dict[str, OutboxSeen] = {}
    received = {(message.hit_id, message.revision) for message in evidence.messages}
    for item in evidence.outbox_seen:
        if item.target == "s3" and (item.key not in queued or queued[item.key].revision < item.revision):
            queued[item.key] = item
        if item.target == "sns" and item.key != digest.KEY and (item.key, item.revision) not in received:
            yield f"hit {item.key} of {item.stream_id}: the alert of revision {item.revision} was queued and never received"
    for key, item in queued.items():
        there = evidence.objects.get(key)
        if there is None or there[0] < item.revision:
            yield f"object {key}: revision {item.revision} was queued, S3 has {there[0] if there else 'nothing'}"


def _digests_lost(evidence: Evidence) -> Iterator[str]:
    queued = {item.stream_id for item in evidence.outbox_seen if item.target == "sns" and item.key == digest.KEY}
    for stream_id in sorted(queued.difference(evidence.digests)):
        yield f"stream {stream_id}: its digest was queued and never received"


def _streams_left(evidence: Evidence) -> Iterator[str]:
    for aired in evidence.aired:
        row = evidence.streams.get(aired.stream_id)
        if row is None:
            yield f"stream {aired.stream_id}: it was on air and is not on record"
        elif row.state not in ("ended", "quarantined"):
            yield f"stream {aired.stream_id}: still {row.state} ({row.last_error or 'no error on record'}; {row.attempts} attempts)"


def _heard_and_not_told(evidence: Evidence) -> Iterator[str]:
    for aired, part, run_s in unheard_of(evidence):
        yield f"stream {aired.stream_id}: {part[2]} was heard from {part[0]:.1f} to {part[1]:.1f} s, {run_s:.1f} s of it without interruption, and is not told"


def unheard_of(evidence: Evidence, must_hear_s: float = MUST_HEAR_S) -> Iterator[tuple[Aired, tuple[float, float, str], float]]:
    """Recordings that were heard for so long in one piece and are not on record: stream, (begin, end, track), seconds in one piece."""
    told: defaultdict[tuple[str, str], list[PlayRow]] = defaultdict(list)
    for play in evidence.plays:
        told[play.stream_id, play.track_id].append(play)
    for aired in evidence.aired:
        row, head = evidence.streams.get(aired.stream_id), head_s(evidence, aired)
        if row is None or row.state == "quarantined" or head is None:
            continue
        runs = heard_in_one_piece(evidence, aired, row, head)
        for part in aired.parts:
            begin_s, end_s = part.begin_s - head, part.end_s - head
            longest_s = max((min(end_s, run[1]) - max(begin_s, run[0]) for run in runs), default=0.0)
            found = any(play.begin_s < end_s + DATED_S and play.end_s > begin_s - DATED_S for play in told[aired.stream_id, part.track_id])
            if longest_s >= must_hear_s and not found:
                yield aired, (begin_s, end_s, part.track_id), longest_s


def heard_in_one_piece(evidence: Evidence, aired: Aired, row: StreamRow, head: float) -> list[tuple[float, float]]:
    """Stretches of stream time that one worker heard, or should have, without a gap in between."""
    missed = [(gap.begin_s, gap.end_s - avoidable_s(evidence, aired, gap, head)) for gap in row.gaps]
    cuts = {seen.position_s for seen in evidence.stream_seen if seen.stream_id == aired.stream_id and seen.what == "claim"}
    edges = sorted({0.0, row.position_s, *cuts, *(edge for gap in missed for edge in gap)})
    runs = []
    for begin_s, end_s in pairwise(edges):
        middle_s = (begin_s + end_s) / 2
        if end_s <= row.position_s and not any(gap[0] <= middle_s < gap[1] for gap in missed):
            runs.append((begin_s, end_s))
    return runs


def avoidable_s(evidence: Evidence, aired: Aired, gap: GapSeen, head: float) -> float:
    """How much of the end of a gap after a takeover was still listed when the new owner read the playlist."""
    if gap.reason != "worker_lost":
        return 0.0
    claimed_at = max((at(seen) for seen in evidence.stream_seen if _is_claim_at(seen, aired, gap.begin_s)), default=None)
    committed_at = min((at(seen) for seen in evidence.stream_seen if _is_commit_behind(seen, aired, gap.end_s)), default=None)
    if claimed_at is None or committed_at is None:
        return 0.0
    read = [listing for listing in evidence.listings if listing.stream_id == aired.stream_id and claimed_at <= listing.at <= committed_at]
    if not read:
        return 0.0
    oldest_s = max(listing.from_s for listing in read) - head
    return max(0.0, gap.end_s - max(oldest_s, gap.begin_s)) if gap.end_s - oldest_s > DRIFT_S else 0.0


def _is_claim_at(seen: StreamSeen, aired: Aired, position_s: float) -> bool:
    return seen.stream_id == aired.stream_id and seen.what == "claim" and abs(seen.position_s - position_s) < DRIFT_S


def _is_commit_behind(seen: StreamSeen, aired: Aired, position_s: float) -> bool:
    return seen.stream_id == aired.stream_id and seen.what == "commit" and seen.position_s >= position_s - DRIFT_S


# ------------------------------------------------------------------------------------------------ twice


def played_twice(evidence: Evidence) -> list[str]:
    """Two hit_ids of one stream for one recording that was on air once, unless a gap as long as a play is held lies between."""
    found = []
    for aired in evidence.aired:
        row, head = evidence.streams.get(aired.stream_id), head_s(evidence, aired)
        if row is None or head is None:
            continue
        for part in aired.parts:
            begin_s, end_s = part.begin_s - head - DATED_S, part.end_s - head + DATED_S
            plays = sorted(
                (play for play in evidence.plays if _is_of(play, aired.stream_id, part.track_id) and play.begin_s < end_s and play.end_s > begin_s),
                key=lambda play: play.begin_s,
            )
            for one, other in pairwise(plays):
                between_s = sum(min(gap.end_s, other.begin_s + DATED_S) - max(gap.begin_s, one.begin_s) for gap in row.gaps if _between(gap, one, other))
                if between_s < CLOSE_S - DATED_S:
                    found.append(
                        f"stream {aired.stream_id}: {part.track_id} is told twice, {one.hit_id} {one.begin_s:.1f}-{one.end_s:.1f} s "
                        f"and {other.hit_id} {other.begin_s:.1f}-{other.end_s:.1f} s"
                    )
    return found


def _is_of(play: PlayRow, stream_id: str, track_id: str) -> bool:
    return play.stream_id == stream_id and play.track_id == track_id


def _between(gap: GapSeen, one: PlayRow, other: PlayRow) -> bool:
    return gap.end_s > one.begin_s and gap.begin_s < other.begin_s + DATED_S


def false_hits(evidence: Evidence) -> list[str]:
    """Plays of what was not on air then: no bar of this table, but nothing that should be there."""
    found = []
    aired = {stream.stream_id: stream for stream in evidence.aired}
    for play in evidence.plays:
        stream = aired.get(play.stream_id)
        head = head_s(evidence, stream) if stream else None
        parts = stream.parts if stream and head is not None else ()
        if not any(
            part.track_id == play.track_id and play.begin_s < part.end_s - (head or 0) + DATED_S and play.end_s > part.begin_s - (head or 0) - DATED_S
            for part in parts
        ):
            found.append(f"stream {play.stream_id}: {play.track_id} from {play.begin_s:.1f} to {play.end_s:.1f} s was not on air then")
    return found


def overwritten(evidence: Evidence) -> list[str]:
    """Objects over whose newer revision an older one was written, or whose one revision has two contents."""
    found, newest = [], dict[str, Put]()
    for put in evidence.puts:
        before = newest.get(put.key)
        if before is not None and put.revision < before.revision:
            found.append(f"object {put.key}: revision {put.revision} of {put.worker} was written over {before.revision} of {before.worker}")
        elif before is not None and put.revision == before.revision and put.digest != before.digest:
            found.append(f"object {put.key}: revision {put.revision} has two contents, of {before.worker} and of {put.worker}")
        if before is None or put.revision >= before.revision:
            newest[put.key] = put
    for key, put in newest.items():
        there = evidence.objects.get(key)
        if there is not None and there[0] < put.revision:
            found.append(f"object {key}: revision {put.revision} was written and S3 has {there[0]}")
    return found


def repeated(evidence: Evidence) -> int:
    """Alerts that came again, with the same hit_id, revision and state."""
    return len(evidence.messages) - len({(message.hit_id, message.revision, message.state) for message in evidence.messages})


def differing(evidence: Evidence) -> list[str]:
    """Revisions of a hit of which two different alerts came."""
    contents: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for message in evidence.messages:
        contents[message.hit_id, message.revision].add(message.digest)
    return [f"hit {hit_id}: {len(told)} different alerts of revision {revision}" for (hit_id, revision), told in contents.items() if len(told) > 1]


def why_repeated(evidence: Evidence) -> Counter[str]:
    """Repeated calls to SNS by what came between: the answer was lost, the worker died, was paused, or (`unexplained`) nothing of that."""
    reasons: Counter[str] = Counter()
    calls: defaultdict[str, list[Publish]] = defaultdict(list)
    for publish in evidence.publishes:
        calls[publish.digest].append(publish)
    for repeats in calls.values():
        for one, other in pairwise(repeats):
            deeds = {entry.deed for entry in evidence.diary if entry.worker == one.worker and one.at - 60 <= entry.at <= other.at}
            if not one.told:
                reasons["answer lost"] += 1
            elif deeds & {"crashed", "killed"}:
                reasons["worker died"] += 1
            elif deeds & {"paused", "woken"}:
                reasons["worker paused"] += 1
            else:
                reasons["not settled"] += 1
    return reasons


# ------------------------------------------------------------------------------------------------ unaccounted


def unaccounted(evidence: Evidence) -> list[tuple[float, str]]:
    """Seconds and why, by stream."""
    found = []
    for aired in evidence.aired:
        row = evidence.streams.get(aired.stream_id)
        if row is not None:
            found += [(seconds, f"stream {aired.stream_id}: {why}") for seconds, why in _unaccounted(evidence, aired, row)]
    return found


def _unaccounted(evidence: Evidence, aired: Aired, row: StreamRow) -> Iterator[tuple[float, str]]:
    off_s = row.position_s - row.heard_s - sum(gap.end_s - gap.begin_s for gap in row.gaps)
    if abs(off_s) > ROUNDING_S:
        yield abs(off_s), f"{row.position_s:.3f} s are not {row.heard_s:.3f} s heard and the gaps together: {off_s:.3f} s"
    end_s = 0.0
    for gap in row.gaps:
        if gap.begin_s < end_s - ROUNDING_S or gap.end_s > row.position_s + ROUNDING_S or gap.end_s < gap.begin_s:
            yield abs(gap.end_s - gap.begin_s), f"the gap {gap.begin_s:.3f}-{gap.end_s:.3f} s overlaps another, or the end"
        end_s = gap.end_s
    placed = list(offsets(evidence, aired))
    if not placed:
        if row.state == "ended" and row.position_s < aired.duration_s - TAIL_S:
            yield aired.duration_s - row.position_s, f"nothing of it was heard, and nothing is said about it (ended by {row.end_reason})"
        return
    head = placed[0][1]
    worst_seen, worst = max(placed, key=lambda found: abs(found[1] - head))
    if abs(worst - head) > DRIFT_S:
        yield (
            abs(worst - head),
            f"stream time and the media's clock are {worst - head:+.3f} s apart at {worst_seen.position_s:.1f} s (commit of {worst_seen.writer})",
        )
    tail_s = aired.duration_s - head - row.position_s
    # The end of a stream that nobody could hear any more is known by its event alone, which comes a little after it.
    behind_s = sum(gap.end_s - gap.begin_s for gap in row.gaps if abs(gap.end_s - row.position_s) < ROUNDING_S)
    if row.state == "ended" and (tail_s > TAIL_S or tail_s < -TAIL_S - behind_s) and abs(worst - head) <= DRIFT_S:
        yield abs(tail_s), f"the record ends {tail_s:+.3f} s before what was published (ended by {row.end_reason})"


# ------------------------------------------------------------------------------------------------ fencing


def stale_writes(evidence: Evidence) -> list[str]:
    """What PostgreSQL or S3 accepted of a worker whose lease was another's by then."""
    checkpoints = (seen for seen in evidence.stream_seen if seen.what == "commit" and not _wrote(seen.writer, seen.owner))
    plays = (play for play in evidence.play_seen if play.fencing != play.stream_fencing or not _wrote(play.writer, play.owner))
    found = [f"stream {seen.stream_id}: a checkpoint of {seen.writer}, while {seen.owner} had the lease (fencing {seen.fencing})" for seen in checkpoints]
    found += [
        f"hit {play.hit_id}: {play.writer} wrote revision {play.revision} with fencing {play.fencing}, {play.owner} had {play.stream_fencing}" for play in plays
    ]
    queued = {(item.key, item.revision, item.digest) for item in evidence.outbox_seen if item.target == "s3"}
    found += [
        f"object {put.key}: revision {put.revision} of {put.worker} was never committed"
        for put in evidence.puts
        if (put.key, put.revision, put.digest) not in queued
    ]
    return found


def _wrote(writer: str, owner: str | None) -> bool:
    """By the connection's name: `earmark WORKER`, and perhaps more behind it."""
    return owner is not None and f"{writer} ".startswith(f"earmark {owner} ")


def stolen(evidence: Evidence) -> list[str]:
    """Leases that were claimed although they had not run out."""
    return [
        f"stream {seen.stream_id}: claimed by {seen.owner} while {seen.old_owner} had it for {(seen.old_lease_until - seen.at).total_seconds():.2f} s more"
        for seen in evidence.stream_seen
        if seen.what == "claim" and seen.old_owner is not None and seen.old_lease_until is not None and seen.old_lease_until > seen.at
    ]


def late_alerts(evidence: Evidence) -> int:
    """Calls to SNS of a worker that had been paused, for what another worker had sent meanwhile."""
    first: dict[str, Publish] = {}
    late = 0
    for publish in evidence.publishes:
        before = first.setdefault(publish.digest, publish)
        if before.worker != publish.worker and any(
            entry.worker == publish.worker and entry.deed == "paused" and entry.at <= publish.at for entry in evidence.diary
        ):
            late += 1
    return late


# ------------------------------------------------------------------------------------------------ quarantine


def quarantined(evidence: Evidence) -> list[str]:
    """Streams that were set aside although nothing was wrong with them."""
    poisonous = {aired.stream_id for aired in evidence.aired if aired.poisonous}
    return [
        f"stream {row.stream_id}: in quarantine after {row.attempts} attempts: {row.last_error}"
        for row in evidence.streams.values()
        if row.state == "quarantined" and row.stream_id not in poisonous
    ]
