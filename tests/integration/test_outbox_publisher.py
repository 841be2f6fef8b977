"""The publisher on a real PostgreSQL: nothing is lost, nothing is held up by something else, and it stops when told to."""

import itertools
import json
import threading
from contextlib import contextmanager

import psycopg
import pytest
import structlog

import hits_samples as samples
from earmark.errors import AwsRefused, AwsUnavailable
from earmark.hits import outbox
from earmark.hits.ledger import Ledger
from earmark.hits.outbox import Publisher
from earmark.hits.sinks import S3Sink, SnsSink
from earmark.postgres import open_pool, transaction
from earmark.settings import Alerts, Database, Results
from earmark.settings import Outbox as OutboxSettings

#: Long enough for a machine under load; no test waits for it unless it fails.
PATIENCE_S = 30.0


class FakeSink:
    """Remembers what it was sent; `fail` maps a key to what is raised for it, and how many times."""

    def __init__(self, log=None):
        self.log = [] if log is None else log
        self.fail = {}
        self.changed = threading.Condition()
        self.hold = None

    def send(self, item):
        if self.hold:
            self.entered.set()
            assert self.hold.wait(PATIENCE_S)
        with self.changed:
            errors = self.fail.get(item.key, [])
            error = errors.pop(0) if errors else None
            if error is None:
                self.log.append((item.target, item.key, item.revision))
            self.changed.notify_all()
        if error is not None:
            raise error
        return "stored"

    def block(self):
        self.hold, self.entered = threading.Event(), threading.Event()

    def wait_for(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.log) >= count, PATIENCE_S), f"only {self.log} was sent"


class Statistics:
    def __init__(self):
        self.results, self.told, self.lock, self.came = [], [], threading.Lock(), threading.Event()
        self.delays_s = []

    def published(self, *, target, result, seconds, delay_s=None):
        assert seconds >= 0
        assert (delay_s is not None) == (result == "sent")
        with self.lock:
            self.results.append((target, result))
            self.delays_s += [] if delay_s is None else [delay_s]

    def owed(self, *, waiting, dead, oldest_s):
        self.told.append((waiting, dead))
        self.came.set()


class Desk:
    def __init__(self, pool):
        self.pool, self.statistics, self.sink = pool, Statistics(), FakeSink()
        self.serial = itertools.count(1)
        with transaction(pool) as connection:
            self.lease = samples.insert_stream(connection)

    def publisher(self, *, sinks=None, stop=None, **settings):
        return Publisher(
            pool=self.pool,
            sinks=sinks or {"s3": self.sink, "sns": self.sink},
            settings=OutboxSettings(**{"poll_s": 0.01, "retry_initial_s": 0.001, "retry_max_s": 3600} | settings),
            stop=stop or threading.Event(),
            metrics=self.statistics,
            jitter=lambda: 1.0,
        )

    def execute(self, query, *parameters):
        with transaction(self.pool) as connection:
            cursor = connection.execute(query.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    def queue(self, target="s3", key=None, revision=1, after_id=None):
        query = """
            insert into outbox (stream_id, target, key, revision, body, attributes, after_id)
            values ('st-1A2B3C', %s, %s, %s, '{}', '{"subject": "s", "attributes": {}}', %s) returning outbox_id"""
        ((outbox_id,),) = self.execute(query, target, key or f"key-{next(self.serial)}", revision, after_id)
        return outbox_id

    def waiting(self):
        return self.execute("select key, revision from outbox where dead_at is null order by outbox_id")

    def ledger(self, nudge=lambda: None, **deployed):
        return Ledger(
            pool=self.pool,
            lease=self.lease,
            tracks=samples.Catalogue(samples.TRACK),
            results=Results(bucket=deployed.get("bucket", "results")),
            alerts=Alerts(topic_arn=deployed.get("topic_arn", "topic"), on=("open", "closed")),
            nudge=nudge,
            now=samples.Clock(),
        )


@pytest.fixture
def desk(dsn):
    with open_pool(Database(dsn=dsn)) as pool:
        yield Desk(pool)


@contextmanager
def running(publisher, stop):
    thread = threading.Thread(target=publisher.run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        publisher.nudge()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_what_is_queued_leaves_and_is_forgotten(desk):
    for _ in range(30):
        desk.queue()

    assert desk.publisher().drain(limit_s=PATIENCE_S)

    assert sorted(key for _, key, _ in desk.sink.log) == sorted(f"key-{n}" for n in range(1, 31))
    assert desk.waiting() == []
    assert desk.statistics.results == [("s3", "sent")] * 30


def test_the_delay_is_from_the_decision_to_the_leaving(desk):
    desk.queue()
    desk.execute("update outbox set created_at = created_at - interval '90 s'")
    assert desk.publisher().drain(limit_s=PATIENCE_S)
    desk.queue()
    assert desk.publisher().drain(limit_s=PATIENCE_S)
    waited_s, at_once_s = desk.statistics.delays_s
    assert 90 <= waited_s < 90 + PATIENCE_S
    assert 0 <= at_once_s < PATIENCE_S


def test_the_document_goes_before_its_alert(desk):
    first = desk.queue("s3", "document")
    desk.queue("sns", "alert", after_id=first)
    desk.sink.fail["document"] = [AwsUnavailable("down"), AwsUnavailable("still down")]

    assert desk.publisher().drain(limit_s=PATIENCE_S)

    assert [key for _, key, _ in desk.sink.log] == ["document", "alert"]
    assert desk.statistics.results == [("s3", "failed"), ("s3", "failed"), ("s3", "sent"), ("sns", "sent")]


def test_a_bucket_that_is_gone_does_not_silence_the_alerts_for_ever(desk):
    first = desk.queue("s3", "document")
    desk.queue("sns", "alert", after_id=first)
    desk.sink.fail["document"] = [AwsRefused("no such bucket")] * 100

    assert not desk.publisher(alert_wait_s=3600).drain(limit_s=0.2)
    assert desk.sink.log == []
    desk.execute("update outbox set created_at = now() - interval '61 minutes', due_at = now()")
    assert not desk.publisher(alert_wait_s=3600).drain(limit_s=0.2)
    assert desk.sink.log == [("sns", "alert", 1)]


def test_the_alert_of_a_dead_document_goes(desk):
    first = desk.queue("s3", "document")
    desk.queue("sns", "alert", after_id=first)
    desk.execute("update outbox set dead_at = now() where target = 's3'")

    assert desk.publisher().drain(limit_s=PATIENCE_S)
    assert desk.sink.log == [("sns", "alert", 1)]


def test_what_may_pass_is_tried_again_ever_more_slowly(desk):
    desk.queue(key="slow")
    desk.sink.fail["slow"] = [AwsUnavailable(f"attempt {n}") for n in range(10)]
    publisher = desk.publisher(retry_initial_s=8, retry_max_s=40)
    waits = []
    for _ in range(5):
        publisher.drain(limit_s=0.05)
        ((wait_s, attempts, error),) = desk.execute("select extract(epoch from due_at - now())::float, attempts, last_error from outbox")
        waits.append(round(wait_s, -1) if wait_s > 12 else round(wait_s))
        assert error == f"attempt {attempts - 1}"
        desk.execute("update outbox set due_at = now()")

    assert waits == [8, 20, 30, 40, 40]


def test_what_is_refused_waits_the_longest_at_once(desk):
    desk.queue(key="denied")
    desk.sink.fail["denied"] = [AwsRefused("access denied")]

    desk.publisher(retry_max_s=500).drain(limit_s=0.05)

    ((wait_s, error),) = desk.execute("select extract(epoch from due_at - now())::float, last_error from outbox")
    assert 490 < wait_s <= 500
    assert error == "access denied"


def test_what_fails_for_too_long_is_set_aside_shown_and_brought_back(desk):
    dead_id = desk.queue(key="hopeless")
    desk.queue(key="fine")
    desk.execute("update outbox set created_at = now() - interval '4 days'")
    desk.sink.fail["hopeless"] = [AwsUnavailable(f"attempt {n}") for n in range(8)]

    assert desk.publisher(dead_after_s=259_200).drain(limit_s=PATIENCE_S)

    (row,) = outbox.list_dead(desk.pool)
    assert (row.outbox_id, row.key, row.attempts, row.last_error) == (dead_id, "hopeless", 8, "attempt 7")
    assert desk.statistics.results.count(("s3", "dead")) == 1
    assert outbox.list_waiting(desk.pool) == []
    assert outbox.retry(desk.pool) == 1
    assert outbox.list_dead(desk.pool) == []
    assert desk.publisher().drain(limit_s=PATIENCE_S)
    assert ("s3", "hopeless", 1) in desk.sink.log


def test_what_is_old_but_hardly_tried_is_not_dead(desk):
    """All workers were away for a week; the first attempt fails."""
    desk.queue(key="old")
    desk.execute("update outbox set created_at = now() - interval '7 days'")
    desk.sink.fail["old"] = [AwsUnavailable("a hiccup")]

    assert desk.publisher().drain(limit_s=PATIENCE_S)
    assert desk.sink.log == [("s3", "old", 1)]


def test_rows_can_be_retried_by_name(desk):
    one, two = desk.queue(), desk.queue()
    desk.execute("update outbox set due_at = now() + interval '1 hour', attempts = 9")

    assert outbox.retry(desk.pool, [one]) == 1
    desk.publisher().drain(limit_s=0.1)

    assert [key for key, _ in desk.waiting()] == ["key-2"]
    assert [row.outbox_id for row in outbox.list_waiting(desk.pool)] == [two]


def test_one_bad_row_holds_up_no_other(desk):
    desk.queue(key="bug")
    for _ in range(20):
        desk.queue()
    desk.sink.fail["bug"] = [ZeroDivisionError("a bug")] * 5

    desk.publisher(threads=2).drain(limit_s=1)

    assert len(desk.sink.log) == 20
    ((error,),) = desk.execute("select last_error from outbox")
    assert "ZeroDivisionError" in error


def test_workers_share_the_work_and_send_nothing_twice(desk):
    for _ in range(120):
        desk.queue()
    sinks = [FakeSink(), FakeSink(), FakeSink()]
    publishers = [desk.publisher(sinks={"s3": sink}, threads=3) for sink in sinks]
    threads = [threading.Thread(target=publisher.drain, kwargs={"limit_s": PATIENCE_S}) for publisher in publishers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)

    sent = [entry for sink in sinks for entry in sink.log]
    assert len(sent) == len(set(sent)) == 120


def test_what_a_dead_worker_had_taken_is_taken_over(desk):
    desk.queue()
    desk.execute("update outbox set taken_until = now() + interval '1 hour', attempts = 1")
    assert not desk.publisher().drain(limit_s=0.05)
    assert desk.sink.log == []

    desk.execute("update outbox set taken_until = now() - interval '1 second'")
    assert desk.publisher().drain(limit_s=PATIENCE_S)
    assert len(desk.sink.log) == 1


def test_who_was_paused_after_taking_a_row_leaves_it_to_others(desk):
    """Its process was stopped for longer than a row stays taken: by now it may have been sent."""
    desk.queue()
    paused = desk.publisher()
    (taken,) = paused._take(1)
    paused._clock = lambda: taken.taken_at + 41
    paused._send(taken)
    assert (desk.sink.log, paused._settle()) == ([], 0)

    desk.execute("update outbox set taken_until = now() - interval '1 second'")
    assert desk.publisher().drain(limit_s=PATIENCE_S)
    assert len(desk.sink.log) == 1


def test_a_newer_body_that_arrives_while_the_older_is_sent_is_not_lost(desk):
    """The older took so long that its row was given back, and got a newer body."""
    desk.queue(key="document", revision=1)
    desk.sink.block()
    stop = threading.Event()
    publisher = desk.publisher(stop=stop)
    with running(publisher, stop):
        assert desk.sink.entered.wait(PATIENCE_S)
        desk.execute("update outbox set revision = 2, taken_until = null")
        desk.sink.hold.set()
        desk.sink.wait_for(2)

    assert ("s3", "document", 2) in desk.sink.log


def test_a_newer_document_takes_dead_older_ones_with_it(desk):
    desk.queue(key="stream.json", revision=1)
    desk.execute("update outbox set dead_at = now()")
    desk.queue(key="stream.json", revision=2)
    desk.queue(key="stream.json", revision=3)
    desk.execute("update outbox set due_at = now() + interval '1 hour' where revision = 3")

    desk.publisher().drain(limit_s=0.2)

    assert desk.execute("select revision from outbox") == [(3,)]


def test_only_rows_that_can_be_sent_are_taken(desk):
    desk.queue("sns", "alert")
    desk.queue("s3", "document")

    assert desk.publisher(sinks={"s3": desk.sink}).drain(limit_s=PATIENCE_S)

    assert desk.execute("select key, attempts from outbox") == [("alert", 0)]


def test_a_nudge_wakes_it(desk):
    stop = threading.Event()
    publisher = desk.publisher(stop=stop, poll_s=3600)
    with running(publisher, stop):
        assert desk.statistics.came.wait(PATIENCE_S)  # it has looked once, and found nothing
        desk.queue()
        publisher.nudge()
        desk.sink.wait_for(1)


def test_a_commit_nudges_and_all_of_it_leaves(desk):
    stop = threading.Event()
    publisher = desk.publisher(stop=stop, poll_s=3600)
    with running(publisher, stop):
        assert desk.statistics.came.wait(PATIENCE_S)
        desk.ledger(publisher.nudge).commit(samples.checkpoint(), [samples.play()])
        desk.sink.wait_for(3)

    targets = [target for target, _, _ in desk.sink.log]
    assert sorted(targets) == ["s3", "s3", "sns"]


def test_stopping_finishes_what_is_being_sent_and_leaves_the_rest(desk):
    for _ in range(5):
        desk.queue()
    desk.sink.block()
    stop = threading.Event()
    publisher = desk.publisher(stop=stop, threads=1, poll_s=3600)
    with running(publisher, stop):
        assert desk.sink.entered.wait(PATIENCE_S)
        stop.set()
        publisher.nudge()
        desk.sink.hold.set()

    assert len(desk.sink.log) == 1
    assert len(desk.waiting()) == 4


def test_a_database_that_goes_away_is_waited_for(desk, dsn, postgres_server):
    stop, noticed = threading.Event(), threading.Event()

    def notice(_logger, _method, event):
        if event["event"] == "outbox.database_unavailable":
            noticed.set()
        raise structlog.DropEvent

    name = dsn_name(dsn)
    structlog.configure(processors=[notice])
    try:
        with open_pool(Database(dsn=dsn, connect_timeout_s=1)) as pool, psycopg.connect(postgres_server, autocommit=True) as admin:
            desk.pool = pool
            publisher = desk.publisher(stop=stop)
            with running(publisher, stop):
                desk.queue()
                desk.sink.wait_for(1)
                admin.execute(f"alter database {name} allow_connections false".encode())
                admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
                assert noticed.wait(PATIENCE_S)
                admin.execute(f"alter database {name} allow_connections true".encode())
                with psycopg.connect(dsn, autocommit=True) as connection:
                    connection.execute("insert into outbox (stream_id, target, key, revision, body) values ('s', 's3', 'after', 1, '{}')")
                desk.sink.wait_for(2)
    finally:
        structlog.reset_defaults()


def dsn_name(dsn):
    return psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]


def test_it_says_how_much_is_owed(desk):
    desk.queue()
    desk.queue()
    desk.execute("update outbox set dead_at = now() where key = 'key-1'")
    desk.execute("update outbox set created_at = now() - interval '100 seconds', due_at = now() + interval '1 hour'")

    with transaction(desk.pool) as connection:
        owed = outbox.owed(connection)
    assert (owed.waiting, owed.dead, round(owed.oldest_s)) == (1, 1, 100)

    stop = threading.Event()
    with running(desk.publisher(stop=stop), stop):
        assert desk.statistics.came.wait(PATIENCE_S)
    assert desk.statistics.told[0] == (1, 1)


def test_a_stream_from_first_commit_to_mail_and_report(desk, aws):
    """The whole room on real parts: ledger, PostgreSQL, publisher, S3 and SNS of the stand-in."""
    deployed = aws.deploy()
    s3 = aws.client("s3")
    sinks = {"s3": S3Sink(client=s3, bucket=deployed.results_bucket), "sns": SnsSink(client=aws.client("sns"), topic_arn=deployed.topic_arn)}
    ledger = desk.ledger(bucket=deployed.results_bucket, topic_arn=deployed.topic_arn)
    opened = samples.play()
    closed = samples.play(state="closed", revision=2, length_s=60.0)
    stages = [
        (samples.checkpoint(5.0), []),
        (samples.checkpoint(130.0), [opened]),
        (samples.checkpoint(180.0), [closed]),
        (samples.checkpoint(200.0, state="ended", end_reason="stream_end"), []),
    ]

    for checkpoint, changed in stages:
        ledger.commit(checkpoint, changed)
        assert desk.publisher(sinks=sinks).drain(limit_s=PATIENCE_S)

    folder = "st-1A2B3C/"
    keys = {entry["Key"] for entry in s3.list_objects_v2(Bucket=deployed.results_bucket)["Contents"]}
    assert keys == {folder + name for name in ("stream.json", f"hits/{opened.hit_id}.json", "cue-sheet.csv", "cut-list.json", "report.html")}
    hit = json.load(s3.get_object(Bucket=deployed.results_bucket, Key=f"{folder}hits/{opened.hit_id}.json")["Body"])
    summary = json.load(s3.get_object(Bucket=deployed.results_bucket, Key=f"{folder}stream.json")["Body"])
    samples.validator("hit").validate(hit)
    samples.validator("stream").validate(summary)
    samples.validator("cut-list").validate(json.load(s3.get_object(Bucket=deployed.results_bucket, Key=f"{folder}cut-list.json")["Body"]))
    assert (hit["state"], hit["revision"], summary["state"]) == ("closed", 2, "ended")
    opening, closing, digest = (mail.subject for mail in aws.mails())
    assert opening == "late-night-radio 2026-11-21 11:59 +00:01:40 now [track] Blue Sky Morning - The Example Five, Ada..."
    assert closing == opening.replace("now", "played").replace(", Ada...", ",...")
    assert digest == "late-night-radio 2026-11-21 11:59 +00:03:20 stream over: 1 play [track]"
    assert sorted([digest, closing, opening]) == [opening, closing, digest]
