"""The audit of a run finds what is wrong: each kind of damage, done to a record that is right, is told; and the right one is clean."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from faults import audit, successions
from faults.diary_of_rows import OutboxSeen, PlaySeen, StreamSeen
from faults.evidence import Evidence, GapSeen, Listing, Message, PlayRow, Publish, Put, StreamRow, before_first_s
from faults.fleet import Entry
from faults.programme import Aired, Part

BEGIN = 1_800_000_000.0
STREAM = "st-1"
AIRED = Aired(
    stream_id=STREAM,
    channel_arn="arn",
    begin=BEGIN,
    duration_s=60,
    parts=(Part(track_id="isrc:A", begin_s=2, end_s=28), Part(track_id="isrc:B", begin_s=31, end_s=57)),
)


def at(second: float) -> datetime:
    return datetime.fromtimestamp(BEGIN + second, UTC)


def seen(what: str, second: float, **changed: Any) -> StreamSeen:
    fields: dict[str, Any] = {
        "writer": "earmark w1",
        "owner": "w1",
        "fencing": 1,
        "state": "running",
        "position_s": second,
        "heard_s": second,
        "clock": at(second),
    }
    return StreamSeen(**{"place": round(second * 10), "at": at(second), "what": what, "stream_id": STREAM, **fields, **changed})


def play_seen(hit_id: str, revision: int, state: str, **changed: Any) -> PlaySeen:
    fields: dict[str, Any] = {"writer": "earmark w1", "owner": "w1", "fencing": 1, "stream_fencing": 1, "begin_s": 2.0, "end_s": 28.0, "track_id": "isrc:A"}
    return PlaySeen(**{"place": revision, "at": at(20), "stream_id": STREAM, "hit_id": hit_id, "revision": revision, "state": state, **fields, **changed})


def queued(target: str, key: str, revision: int, digest: str) -> OutboxSeen:
    return OutboxSeen(place=revision, at=at(20), writer="earmark w1", stream_id=STREAM, target=target, key=key, revision=revision, digest=digest)


def put(key: str, revision: int, digest: str, worker: str = "w1") -> Put:
    return Put(at=BEGIN + 20, worker=worker, key=key, revision=revision, digest=digest)


HIT = f"{STREAM}/hits/hit-a.json"


@pytest.fixture
def clean() -> Evidence:
    """One stream, heard from its first sample to its last by one worker; both recordings told."""
    return Evidence(
        aired=(AIRED,),
        streams={STREAM: StreamRow(stream_id=STREAM, state="ended", position_s=60, heard_s=60, end_reason="stream_end")},
        plays=(
            PlayRow(hit_id="hit-a", stream_id=STREAM, track_id="isrc:A", revision=2, state="closed", begin_s=2, end_s=28),
            PlayRow(hit_id="hit-b", stream_id=STREAM, track_id="isrc:B", revision=1, state="closed", begin_s=31, end_s=57),
        ),
        stream_seen=(seen("claim", 0, clock=None), *(seen("commit", second) for second in range(2, 62, 2)), seen("ended", 60, owner=None)),
        play_seen=(play_seen("hit-a", 1, "open"), play_seen("hit-a", 2, "closed"), play_seen("hit-b", 1, "closed", track_id="isrc:B")),
        outbox_seen=(queued("s3", HIT, 1, "one"), queued("s3", HIT, 2, "two"), queued("sns", "hit-a", 1, "mail")),
        puts=(put(HIT, 1, "one"), put(HIT, 2, "two")),
        objects={HIT: (2, "two")},
        messages=(Message(hit_id="hit-a", revision=1, state="open", digest="said"),),
        publishes=(Publish(at=BEGIN + 21, worker="w1", digest="mail", told=True),),
    )


def taken_over(clean: Evidence, gap: GapSeen, *, from_s: float) -> Evidence:
    """w1 died before the gap; w2 claimed, and read a playlist that began at `from_s`."""
    row = replace(clean.streams[STREAM], gaps=(gap,), heard_s=60 - (gap.end_s - gap.begin_s))
    before = [kept for kept in clean.stream_seen if kept.position_s <= gap.begin_s and kept.what != "ended"]
    claim = seen("claim", gap.begin_s, owner="w2", fencing=2, at=at(gap.end_s), writer="earmark w2")
    after = [
        replace(kept, owner="w2", writer="earmark w2", fencing=2, at=at(kept.position_s + 2))
        for kept in clean.stream_seen
        if kept.what == "commit" and kept.position_s >= gap.end_s
    ]
    listing = Listing(at=BEGIN + gap.end_s + 1, stream_id=STREAM, from_s=from_s)
    return replace(clean, streams={STREAM: row}, stream_seen=(*before, claim, *after), listings=(listing,))


def test_a_right_record_is_clean(clean: Evidence) -> None:
    assert audit.lost_hits(clean) == audit.played_twice(clean) == audit.overwritten(clean) == audit.differing(clean) == audit.false_hits(clean) == []
    assert audit.unaccounted(clean) == []
    assert audit.stale_writes(clean) == audit.stolen(clean) == audit.quarantined(clean) == []
    assert audit.repeated(clean) == audit.late_alerts(clean) == before_first_s(clean) == 0


# ------------------------------------------------------------------------------------------------ lost


def test_a_committed_play_that_is_gone(clean: Evidence) -> None:
    (found,) = audit.lost_hits(replace(clean, plays=clean.plays[1:], aired=(replace(AIRED, parts=()),)))
    assert found == "hit hit-a of st-1: revision 2 was committed, PostgreSQL has nothing"


def test_a_play_that_never_closed(clean: Evidence) -> None:
    (found,) = audit.lost_hits(replace(clean, plays=(replace(clean.plays[0], state="open"), clean.plays[1])))
    assert found == "hit hit-a of st-1: still open, and its stream has ended"


@pytest.mark.parametrize("objects, has", [({}, "nothing"), ({HIT: (1, "one")}, "1")])
def test_an_object_that_never_got_to_s3(clean: Evidence, objects: dict[str, tuple[int, str]], has: str) -> None:
    (found,) = audit.lost_hits(replace(clean, objects=objects))
    assert found == f"object {HIT}: revision 2 was queued, S3 has {has}"


def test_an_alert_that_nobody_received(clean: Evidence) -> None:
    (found,) = audit.lost_hits(replace(clean, messages=()))
    assert found == "hit hit-a of st-1: the alert of revision 1 was queued and never received"


def test_a_digest_that_nobody_received(clean: Evidence) -> None:
    sent = replace(clean, outbox_seen=(*clean.outbox_seen, queued("sns", "digest", 9, "all of it")), digests=[STREAM])
    assert audit.lost_hits(sent) == []
    (found,) = audit.lost_hits(replace(sent, digests=[]))
    assert found == "stream st-1: its digest was queued and never received"


def test_a_recording_that_was_heard_and_not_told(clean: Evidence) -> None:
    (found,) = audit.lost_hits(replace(clean, plays=clean.plays[:1], play_seen=clean.play_seen[:2]))
    assert found == "stream st-1: isrc:B was heard from 31.0 to 57.0 s, 26.0 s of it without interruption, and is not told"


def test_a_recording_that_nobody_could_hear_is_no_loss(clean: Evidence) -> None:
    """The playlist had moved on when the next owner came."""
    evidence = taken_over(clean, GapSeen(begin_s=32, end_s=50, reason="worker_lost"), from_s=50)
    assert audit.lost_hits(replace(evidence, plays=clean.plays[:1], play_seen=clean.play_seen[:2])) == []
    assert audit.unaccounted(evidence) == []


def test_a_recording_that_the_playlist_still_listed_is_one(clean: Evidence) -> None:
    evidence = taken_over(clean, GapSeen(begin_s=32, end_s=50, reason="worker_lost"), from_s=34)
    (found,) = audit.lost_hits(replace(evidence, plays=clean.plays[:1], play_seen=clean.play_seen[:2]))
    assert "isrc:B was heard from 31.0 to 57.0 s, 23.0 s of it without interruption" in found


def test_a_recording_heard_in_pieces_is_no_loss(clean: Evidence) -> None:
    """Every worker that heard some of it died soon."""
    cuts = [seen("claim", position_s, owner="w1", clock=None) for position_s in (38.0, 46.0)]
    evidence = replace(clean, stream_seen=(*clean.stream_seen, *cuts), plays=clean.plays[:1], play_seen=clean.play_seen[:2])
    assert audit.lost_hits(evidence) == []
    assert [round(run_s) for _, _, run_s in audit.unheard_of(evidence, 8)] == [11]


def test_a_stream_that_is_not_on_record_or_not_over(clean: Evidence) -> None:
    assert "stream st-1: it was on air and is not on record" in audit.lost_hits(replace(clean, streams={}))
    left = {STREAM: replace(clean.streams[STREAM], state="wanted", attempts=3)}
    assert "stream st-1: still wanted (no error on record; 3 attempts)" in audit.lost_hits(replace(clean, streams=left))


# ------------------------------------------------------------------------------------------------ twice


def test_one_recording_under_two_hit_ids(clean: Evidence) -> None:
    other = replace(clean.plays[0], hit_id="hit-x", begin_s=15)
    (found,) = audit.played_twice(replace(clean, plays=(*clean.plays, other)))
    assert "isrc:A is told twice, hit-a" in found


def test_two_plays_with_a_long_gap_between_them_are_two(clean: Evidence) -> None:
    evidence = taken_over(clean, GapSeen(begin_s=8, end_s=22, reason="worker_lost"), from_s=22)
    plays = (replace(clean.plays[0], end_s=8), replace(clean.plays[0], hit_id="hit-x", begin_s=22), clean.plays[1])
    assert audit.played_twice(replace(evidence, plays=plays)) == []
    short = taken_over(clean, GapSeen(begin_s=8, end_s=12, reason="worker_lost"), from_s=12)
    assert len(audit.played_twice(replace(short, plays=plays))) == 1


def test_a_play_of_what_was_not_on_air(clean: Evidence) -> None:
    assert len(audit.false_hits(replace(clean, plays=(*clean.plays, replace(clean.plays[0], hit_id="hit-x", begin_s=40, end_s=50))))) == 1


def test_an_older_revision_over_a_newer_one(clean: Evidence) -> None:
    (over, there) = audit.overwritten(replace(clean, puts=(*clean.puts, put(HIT, 1, "one", "w2")), objects={HIT: (1, "one")}))
    assert over == f"object {HIT}: revision 1 of w2 was written over 2 of w1"
    assert there == f"object {HIT}: revision 2 was written and S3 has 1"


def test_one_revision_with_two_contents(clean: Evidence) -> None:
    (found,) = audit.overwritten(replace(clean, puts=(*clean.puts, put(HIT, 2, "other", "w2"))))
    assert found == f"object {HIT}: revision 2 has two contents, of w1 and of w2"


def test_alerts_that_repeat_and_alerts_that_differ(clean: Evidence) -> None:
    same = replace(clean, messages=(*clean.messages, *clean.messages))
    assert (audit.repeated(same), audit.differing(same)) == (1, [])
    differing = replace(clean, messages=(*clean.messages, replace(clean.messages[0], digest="else")))
    assert audit.differing(differing) == ["hit hit-a: 2 different alerts of revision 1"]


@pytest.mark.parametrize(
    "told, deed, why", [(False, "gone", "answer lost"), (True, "crashed", "worker died"), (True, "paused", "worker paused"), (True, "started", "not settled")]
)
def test_why_an_alert_came_again(clean: Evidence, told: bool, deed: Any, why: str) -> None:
    again = Publish(at=BEGIN + 50, worker="w2", digest="mail", told=True)
    evidence = replace(clean, publishes=(replace(clean.publishes[0], told=told), again), diary=(Entry(at=BEGIN + 30, deed=deed, worker="w1"),))
    assert audit.why_repeated(evidence) == {why: 1}


# ------------------------------------------------------------------------------------------------ unaccounted


def test_a_second_that_is_neither_heard_nor_a_gap(clean: Evidence) -> None:
    ((seconds, why),) = audit.unaccounted(replace(clean, streams={STREAM: replace(clean.streams[STREAM], heard_s=59)}))
    assert seconds == 1
    assert "60.000 s are not 59.000 s heard and the gaps together: 1.000 s" in why


def test_a_segment_that_vanished_though_the_sum_fits(clean: Evidence) -> None:
    """Two seconds of media went by from 30 s on, and stream time did not."""
    late = [replace(kept, position_s=kept.position_s - 2) if kept.position_s > 30 else kept for kept in clean.stream_seen]
    row = replace(clean.streams[STREAM], position_s=58, heard_s=58)
    ((seconds, why),) = audit.unaccounted(replace(clean, stream_seen=late, streams={STREAM: row}))
    assert seconds == pytest.approx(2)
    assert "+2.000 s apart" in why


def test_an_end_that_was_on_air_and_is_not_on_record(clean: Evidence) -> None:
    row = replace(clean.streams[STREAM], position_s=56, heard_s=56)
    ((seconds, why),) = audit.unaccounted(replace(clean, stream_seen=[kept for kept in clean.stream_seen if kept.position_s <= 56], streams={STREAM: row}))
    assert seconds == pytest.approx(4)
    assert "ends +4.000 s before what was published" in why


def test_a_stream_of_which_nobody_heard_anything(clean: Evidence) -> None:
    row = StreamRow(stream_id=STREAM, state="ended", end_reason="stream_end")
    ((seconds, why),) = audit.unaccounted(replace(clean, stream_seen=(), streams={STREAM: row}))
    assert seconds == 60
    assert "nothing of it was heard, and nothing is said about it" in why


def test_gaps_that_overlap(clean: Evidence) -> None:
    gaps = (GapSeen(begin_s=10, end_s=14, reason="skipped"), GapSeen(begin_s=12, end_s=16, reason="late"))
    ((seconds, _),) = audit.unaccounted(replace(clean, streams={STREAM: replace(clean.streams[STREAM], gaps=gaps, heard_s=52)}))
    assert seconds == 4


# ------------------------------------------------------------------------------------------------ fencing and takeovers


def test_writes_of_a_worker_that_was_only_paused(clean: Evidence) -> None:
    checkpoint = seen("commit", 40, writer="earmark w0")
    play = play_seen("hit-a", 3, "closed", writer="earmark w0", fencing=0)
    (of_stream, of_play) = audit.stale_writes(replace(clean, stream_seen=(*clean.stream_seen, checkpoint), play_seen=(*clean.play_seen, play)))
    assert of_stream == "stream st-1: a checkpoint of earmark w0, while w1 had the lease (fencing 1)"
    assert of_play == "hit hit-a: earmark w0 wrote revision 3 with fencing 0, w1 had 1"
    (of_object,) = audit.stale_writes(replace(clean, puts=(*clean.puts, put(HIT, 3, "never", "w0"))))
    assert of_object == f"object {HIT}: revision 3 of w0 was never committed"


def test_a_worker_is_not_taken_for_one_whose_name_begins_alike(clean: Evidence) -> None:
    checkpoint = seen("commit", 40, writer="earmark w11 reading")
    assert len(audit.stale_writes(replace(clean, stream_seen=(*clean.stream_seen, checkpoint)))) == 1
    assert audit.stale_writes(replace(clean, stream_seen=(*clean.stream_seen, replace(checkpoint, writer="earmark w1 alone")))) == []


def test_a_lease_that_was_claimed_before_its_time(clean: Evidence) -> None:
    claim = seen("claim", 30, owner="w2", fencing=2, old_owner="w1", old_lease_until=at(31.5))
    assert audit.stolen(replace(clean, stream_seen=(*clean.stream_seen, claim))) == ["stream st-1: claimed by w2 while w1 had it for 1.50 s more"]


def test_an_alert_that_left_late(clean: Evidence) -> None:
    diary = (Entry(at=BEGIN + 19, deed="paused", worker="w1"), Entry(at=BEGIN + 24, deed="woken", worker="w1"))
    publishes = (Publish(at=BEGIN + 22, worker="w2", digest="mail", told=True), Publish(at=BEGIN + 24, worker="w1", digest="mail", told=True))
    assert audit.late_alerts(replace(clean, publishes=publishes, diary=diary)) == 1
    assert audit.late_alerts(replace(clean, publishes=publishes)) == 0


def test_how_long_a_takeover_took(clean: Evidence) -> None:
    evidence = taken_over(clean, GapSeen(begin_s=32, end_s=40, reason="worker_lost"), from_s=40)
    (takeover,) = successions.takeovers(evidence, [Entry(at=BEGIN + 33, deed="killed", worker="w1")])
    assert (takeover.stream_id, takeover.seconds) == (STREAM, pytest.approx(7))
    (never,) = successions.takeovers(evidence, [Entry(at=BEGIN + 45, deed="killed", worker="w2")])
    assert never.seconds is None
    assert successions.takeovers(evidence, [Entry(at=BEGIN + 45, deed="killed", worker="w1")]) == []


def test_the_gap_of_a_hand_over(clean: Evidence) -> None:
    evidence = taken_over(clean, GapSeen(begin_s=32, end_s=36, reason="worker_lost"), from_s=36)
    release = seen("release", 32, owner=None, old_owner="w1", at=at(32.5), state="wanted")
    place = next(place for place, kept in enumerate(evidence.stream_seen) if kept.owner == "w2")
    history = (*evidence.stream_seen[:place], release, *evidence.stream_seen[place:])
    asked, gone = Entry(at=BEGIN + 32, deed="asked to go", worker="w1"), Entry(at=BEGIN + 33, deed="gone", worker="w1")
    assert successions.handovers(replace(evidence, stream_seen=history, diary=(asked, gone))) == [(STREAM, 4)]
    assert successions.handovers(replace(evidence, stream_seen=history, diary=(asked,))) == []  # it died on its way out


def test_quarantine_is_for_the_poisonous_one(clean: Evidence) -> None:
    set_aside = replace(clean, streams={STREAM: replace(clean.streams[STREAM], state="quarantined")})
    assert len(audit.quarantined(set_aside)) == 1
    assert audit.quarantined(replace(set_aside, aired=(replace(AIRED, poisonous=True),))) == []


@pytest.mark.parametrize("values, expected", [([], None), ([3.0], 3.0), (list(range(1, 101)), 95), (list(range(1, 21)), 19)])
def test_the_95th_of_a_hundred(values: list[float], expected: float | None) -> None:
    assert successions.p95(values) == expected
