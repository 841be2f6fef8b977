"""The ledger on a real PostgreSQL: all of a commit or nothing of it, once, in order, and only by the owner."""

import json
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest

import hits_samples as samples
from earmark.errors import DatabaseUnavailable, LeaseLost
from earmark.hits.ledger import Ledger
from earmark.hits.reports import report
from earmark.model import Checkpoint, Gap, Stream, Track
from earmark.postgres import open_pool, transaction
from earmark.settings import Alerts, Database, Results
from ledger_desk import LedgerDesk

OPEN = samples.play()
OTHER = Track(track_id="t-2", title="Second Song", artists=("Somebody",), duration_s=200.0)


class Desk(LedgerDesk):
    """A database with one running stream, and ledgers on it."""

    def __init__(self, pool):
        super().__init__(pool)
        self.clock = samples.Clock()
        self.nudges = 0

    def ledger(self, *, lease=None, results=None, alerts=None):
        return Ledger(
            pool=self.pool,
            lease=lease or self.lease,
            tracks=samples.Catalogue(samples.TRACK, OTHER),
            results=results or Results(bucket="results", prefix="eu/"),
            alerts=alerts or Alerts(topic_arn="arn:aws:sns:us-east-1:123456789012:alerts"),
            nudge=self.nudge,
            now=self.clock,
        )

    def nudge(self):
        self.nudges += 1

    def outbox(self):
        """(target, last part of the key, revision) of what waits, oldest first."""
        rows = self.execute("select target, key, revision from outbox order by outbox_id")
        return [(target, key.rpartition("/")[2], revision) for target, key, revision in rows]

    def names(self):
        return [name for _, name, _ in self.outbox()]

    def body(self, name):
        ((body,),) = self.execute("select body from outbox where key like %s order by outbox_id desc limit 1", f"%{name}")
        return json.loads(body)

    def forget(self):
        self.execute("delete from outbox")


@pytest.fixture
def desk(dsn):
    with open_pool(Database(dsn=dsn)) as pool:
        yield Desk(pool)


def test_a_commit_puts_everything_on_record(desk):
    checkpoint = samples.checkpoint(plays=(OPEN,))

    desk.ledger().commit(checkpoint, [OPEN])

    assert desk.outbox()[:2] == [("s3", f"{OPEN.hit_id}.json", 1), ("sns", OPEN.hit_id, 1)]
    assert desk.names()[2:] == ["stream.json"]
    ((stored, heard),) = desk.execute("select checkpoint::text, heard_at is not null from stream")
    assert Checkpoint.from_json(stored) == checkpoint
    assert heard
    ((body, state, revision, fencing),) = desk.execute("select body, state, revision, fencing from play")
    assert (state, revision, fencing) == ("open", 1, 1)
    assert body == desk.body(f"{OPEN.hit_id}.json")
    samples.validator("hit").validate(body)
    samples.validator("stream").validate(desk.body("stream.json"))
    assert desk.nudges == 1


def test_an_alert_waits_for_its_document(desk):
    desk.ledger().commit(samples.checkpoint(), [OPEN])

    ((before,),) = desk.execute("select first.target from outbox o join outbox first on first.outbox_id = o.after_id where o.target = 'sns'")
    assert before == "s3"


def test_who_lost_the_lease_changes_nothing(desk):
    ledger = desk.ledger()
    ledger.commit(samples.checkpoint(), [])
    desk.forget()
    desk.take_over()

    with pytest.raises(LeaseLost, match="st-1A2B3C"):
        ledger.commit(samples.checkpoint(500.0), [OPEN])

    assert desk.outbox() == []
    assert desk.execute("select 1 from play") == []
    assert desk.execute("select (checkpoint->>'position_s')::float from stream") == [(130.0,)]


def test_the_same_owner_under_an_older_token_is_not_the_owner(desk):
    older = desk.ledger()
    desk.take_over(desk.lease.owner)

    with pytest.raises(LeaseLost):
        older.commit(samples.checkpoint(), [])


def test_a_commit_that_fails_half_way_leaves_nothing(desk):
    ledger = desk.ledger()

    with pytest.raises(psycopg.errors.CheckViolation):
        ledger.commit(samples.checkpoint(), [OPEN, replace(samples.play("t-2"), state="bogus")])

    assert desk.outbox() == []
    assert desk.execute("select 1 from play") == []
    assert desk.execute("select checkpoint from stream") == [(None,)]
    assert desk.nudges == 0
    ledger.commit(samples.checkpoint(), [OPEN])  # and the ledger has not taken it for done
    assert desk.names() == [f"{OPEN.hit_id}.json", OPEN.hit_id, "stream.json"]


def test_a_repeated_commit_alerts_once(desk):
    """The answer to a commit was lost, so the session does it again."""
    desk.ledger().commit(samples.checkpoint(), [OPEN])
    desk.forget()

    desk.ledger().commit(samples.checkpoint(), [OPEN])

    assert desk.names() == ["stream.json"]
    assert [one["hit_id"] for one in desk.body("stream.json")["plays"]] == [OPEN.hit_id]


def test_a_commit_whose_answer_was_lost_is_remembered_when_it_is_repeated(desk, monkeypatch):
    """It took place, and all that was settled by it stays settled in the revisions that follow."""

    @contextmanager
    def unanswered(pool):
        with transaction(pool) as connection:
            yield connection
        raise DatabaseUnavailable("the connection broke after the commit was sent")

    ledger = desk.ledger()
    ledger.commit(samples.checkpoint(), [])
    with monkeypatch.context() as patch, pytest.raises(DatabaseUnavailable):
        patch.setattr("earmark.hits.ledger.transaction", unanswered)
        ledger.commit(samples.checkpoint(), [OPEN])
    first = desk.body(f"{OPEN.hit_id}.json")
    desk.clock.advance(60)

    ledger.commit(samples.checkpoint(), [OPEN])
    assert [one["hit_id"] for one in desk.body("stream.json")["plays"]] == [OPEN.hit_id]
    ledger.commit(samples.checkpoint(), [replace(OPEN, revision=2, end_s=150.0)])

    assert [revision for target, _, revision in desk.outbox() if target == "sns"] == [1]
    assert desk.body(f"{OPEN.hit_id}.json")["detection"]["latency_s"] == first["detection"]["latency_s"]


def test_an_older_revision_never_replaces_a_newer_one(desk):
    ledger = desk.ledger()
    ledger.commit(samples.checkpoint(), [replace(OPEN, revision=5, end_s=160.0)])
    desk.forget()

    ledger.commit(samples.checkpoint(), [replace(OPEN, revision=4, end_s=140.0)])

    assert desk.execute("select revision, end_s from play") == [(5, 160.0)]
    assert f"{OPEN.hit_id}.json" not in desk.names()


@pytest.mark.parametrize(
    "on, expected", [(("open",), [2]), (("closed",), [4]), (("open", "closed"), [2, 4]), (("provisional", "open", "closed"), [1, 2, 4]), ((), [])]
)
def test_each_state_alerts_once_if_asked_to(desk, on, expected):
    ledger = desk.ledger(alerts=Alerts(topic_arn="arn:aws:sns:us-east-1:123456789012:alerts", on=on))

    for revision, state in enumerate(["provisional", "open", "open", "closed"], 1):
        ledger.commit(samples.checkpoint(), [replace(OPEN, revision=revision, state=state)])

    assert [revision for target, _, revision in desk.outbox() if target == "sns"] == expected


def test_revisions_within_one_commit_are_told_in_order(desk):
    changes = [replace(OPEN, revision=revision, state=state) for revision, state in enumerate(["provisional", "open", "closed"], 1)]

    desk.ledger(alerts=Alerts(topic_arn="t", on=("open", "closed"))).commit(samples.checkpoint(), changes)

    assert [(target, revision) for target, name, revision in desk.outbox() if name != "stream.json"] == [("s3", 3), ("sns", 2), ("sns", 3)]


def test_a_play_that_closes_without_having_opened_does_not_alert(desk):
    desk.ledger().commit(samples.checkpoint(), [replace(OPEN, state="provisional")])
    desk.ledger().commit(samples.checkpoint(), [replace(OPEN, revision=2, state="closed", quotation=True)])

    assert [target for target, _, _ in desk.outbox()] == ["s3", "s3"]


def test_a_document_that_still_waits_is_replaced_by_its_newer_self(desk):
    ledger = desk.ledger()
    for revision in (1, 2, 3):
        ledger.commit(samples.checkpoint(), [replace(OPEN, revision=revision, end_s=130.0 + revision)])

    assert [(name, revision) for _, name, revision in desk.outbox() if name != "stream.json"] == [(f"{OPEN.hit_id}.json", 3), (OPEN.hit_id, 1)]
    assert desk.names().count("stream.json") == 1
    assert desk.body(f"{OPEN.hit_id}.json")["query"]["end_s"] == 133.0


def test_a_document_that_is_being_sent_is_left_alone(desk):
    ledger = desk.ledger()
    ledger.commit(samples.checkpoint(), [OPEN])
    desk.execute("update outbox set taken_until = now() + interval '1 minute'")

    ledger.commit(samples.checkpoint(), [replace(OPEN, revision=2)])

    assert [revision for _, name, revision in desk.outbox() if name == f"{OPEN.hit_id}.json"] == [1, 2]
    assert desk.names().count("stream.json") == 2


def test_the_cap_of_an_hour_counts_what_it_withholds(desk):
    ledger = desk.ledger(alerts=Alerts(topic_arn="t", per_stream_hour_max=2))
    plays = [samples.play(begin_s=100.0 + n) for n in range(5)]
    for play in plays[:4]:
        ledger.commit(samples.checkpoint(), [play])

    alerts = desk.execute("select body::json->>'email' from outbox where target = 'sns' order by outbox_id")
    assert len(alerts) == 2
    assert "alert 2 of 2" in " ".join(alerts[1][0].split())

    desk.forget()
    desk.clock.advance(3600)
    ledger.commit(samples.checkpoint(), [plays[4]])

    ((mail,),) = desk.execute("select body::json->>'email' from outbox where target = 'sns'")
    assert "2 earlier alerts" in " ".join(mail.split())


def test_a_new_owner_goes_on_counting(desk):
    alerts = Alerts(topic_arn="t", per_stream_hour_max=2)
    ((now,),) = desk.execute("select now()")
    desk.clock.now = now
    desk.ledger(alerts=alerts).commit(samples.checkpoint(), [samples.play(begin_s=100.0), samples.play(begin_s=101.0)])
    desk.forget()

    desk.ledger(lease=desk.take_over(), alerts=alerts).commit(samples.checkpoint(), [samples.play(begin_s=102.0)])

    assert "sns" not in [target for target, _, _ in desk.outbox()]


def test_a_new_owner_repeats_nothing_and_forgets_nothing(desk):
    """What was settled when the play was first told stays, even if the next owner's clock disagrees by a minute."""
    desk.ledger().commit(samples.checkpoint(), [OPEN, samples.play("t-2", begin_s=10.0, state="closed")])
    first = desk.body(f"{OPEN.hit_id}.json")
    desk.forget()
    desk.clock.advance(60)

    shifted = replace(samples.checkpoint(190.0), clock=samples.NOON, clock_source="arrival")
    desk.ledger(lease=desk.take_over()).commit(shifted, [replace(OPEN, revision=2, end_s=150.0)])

    second = desk.body(f"{OPEN.hit_id}.json")
    assert second["started_at"] == first["started_at"]
    assert {name: second["detection"][name] for name in ("first_heard_at", "latency_s", "clock")} == {
        name: first["detection"][name] for name in ("first_heard_at", "latency_s", "clock")
    }
    assert second["detection"]["worker"] == "worker-2"
    assert "sns" not in [target for target, _, _ in desk.outbox()]
    assert [one["title"] for one in desk.body("stream.json")["plays"]] == ["Second Song", "Blue Sky Morning"]


def test_the_summary_is_written_at_once_then_only_as_often_as_asked(desk):
    ledger = desk.ledger(results=Results(bucket="results", summary_every_s=10))
    written = []
    for second in range(22):
        ledger.commit(samples.checkpoint(100.0 + second), [])
        if desk.names() == ["stream.json"]:
            written.append(second)
            desk.forget()
        desk.clock.advance(1)

    assert written == [0, 10, 20]


def test_the_summary_is_written_when_something_changed(desk):
    ledger, gap = desk.ledger(), Gap(begin_s=10.0, end_s=12.0, reason="late")
    for changes in ({}, {"gaps": [gap]}, {"gaps": [gap], "last_error": "slow"}, {"gaps": [gap], "last_error": "slow", "rendition": "source"}):
        ledger.commit(samples.checkpoint(**changes), [])
        assert desk.names() == ["stream.json"]
        desk.forget()

    ledger.commit(samples.checkpoint(131.0, gaps=[gap], last_error="slow", rendition="source"), [])
    assert desk.names() == []


def test_the_summary_grows_in_revision_across_owners_and_restarts(desk):
    revisions = []
    for lease in (desk.lease, desk.lease, None):
        desk.ledger(lease=lease or desk.take_over()).commit(samples.checkpoint(), [])
        revisions += [revision for _, _, revision in desk.outbox()]
        desk.forget()

    assert len(revisions) == 3
    assert revisions == sorted(set(revisions))


def test_the_end_brings_cue_sheet_cut_list_and_report(desk):
    ledger = desk.ledger()
    ledger.commit(samples.checkpoint(), [OPEN])
    gaps = [Gap(begin_s=200.0, end_s=220.0, reason="origin_down")]

    ledger.commit(samples.checkpoint(300.0, gaps=gaps, state="ended", end_reason="stream_end"), [replace(OPEN, revision=2, state="closed", end_s=190.0)])

    kinds = dict(desk.execute("select split_part(key, '/', 3), content_type from outbox where target = 's3' and key not like '%%/hits/%%'"))
    assert kinds == {
        "stream.json": "application/json",
        "cue-sheet.csv": "text/csv; charset=utf-8",
        "cut-list.json": "application/json",
        "report.html": "text/html; charset=utf-8",
    }
    cut_list = desk.body("cut-list.json")
    samples.validator("cut-list").validate(cut_list)
    assert (cut_list["cuts"], [gap["reason"] for gap in cut_list["unknown"]]) == ([], ["origin_down"])
    summary = desk.body("stream.json")
    samples.validator("stream").validate(summary)
    assert (summary["state"], summary["end_reason"], summary["playing"]) == ("ended", "stream_end", [])
    ((sheet,),) = desk.execute("select body from outbox where key like '%%cue-sheet.csv'")
    lines = [line.split(",") for line in sheet.splitlines()[1:]]
    assert sum(float(line[4]) for line in lines) == pytest.approx(300.0)
    ((page,),) = desk.execute("select body from outbox where key like '%%report.html'")
    assert "Blue Sky Morning" in page


def test_without_bucket_or_topic_nothing_is_queued_for_it(desk):
    desk.ledger(results=Results()).commit(samples.checkpoint(), [OPEN])
    assert [(target, name) for target, name, _ in desk.outbox()] == [("sns", OPEN.hit_id)]
    assert desk.execute("select after_id from outbox") == [(None,)]
    desk.forget()

    desk.ledger(alerts=Alerts()).commit(samples.checkpoint(state="ended"), [samples.play("t-2")])
    assert {target for target, _, _ in desk.outbox()} == {"s3"}
    desk.forget()
    before = desk.nudges

    desk.ledger(results=Results(), alerts=Alerts()).commit(samples.checkpoint(state="ended"), [samples.play("t-2", begin_s=1.0)])
    assert desk.outbox() == []
    assert desk.nudges == before
    assert len(desk.execute("select 1 from play")) == 3


def test_a_recording_that_left_the_catalogue_is_still_on_record(desk):
    desk.ledger().commit(samples.checkpoint(), [samples.play("gone")])

    hit = desk.body(".json")
    samples.validator("stream").validate(hit)
    ((body,),) = desk.execute("select body from play")
    samples.validator("hit").validate(body)
    assert (body["track"]["title"], body["reference"]["track_id"]) == ("", "gone")


def test_hostile_text_is_stored_and_reported(desk):
    evil = "a\x00b\ud800<script>\n🎵"
    stream = Stream(stream_id="../../x 🎵", source="hls", channel_name=evil.replace("\x00", "").replace("\ud800", ""))
    with transaction(desk.pool) as connection:
        lease = samples.insert_stream(connection, stream=stream)

    desk.ledger(lease=lease).commit(samples.checkpoint(last_error=evil, rendition=evil, state="ended"), [samples.play("t-2", state="open")])

    keys = [key for (key,) in desk.execute("select key from outbox where target = 's3'")]
    assert all(key.startswith("eu/x") and ".." not in key and key.isascii() for key in keys)
    with transaction(desk.pool) as connection:
        loaded = report.load(connection, stream.stream_id)
    assert loaded.stream.stream_id == stream.stream_id
    assert report.html(loaded).count("<script") == 1  # its own
