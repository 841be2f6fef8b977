"""Which mails leave a stream, on a real PostgreSQL: none lost, none twice on record, few where many would come, and one at the end of all."""

import json
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

import hits_samples as samples
import mail_situations as situations
from earmark.cli import main
from earmark.errors import DatabaseUnavailable
from earmark.hits.hunted import HuntedLedger
from earmark.hits.ledger import Ledger
from earmark.hits.mail import group
from earmark.hits.outbox import Publisher, owed
from earmark.hits.record import Place
from earmark.hits.reports import report
from earmark.hits.rights import Policy
from earmark.hits.sinks import S3Sink, SnsSink
from earmark.model import Gap, Stream, Track
from earmark.postgres import open_pool, statement, transaction
from earmark.settings import Alerts, Database, Outbox, Results
from ledger_desk import LedgerDesk

OTHER = Track(track_id="t-2", title="Second Song", artists=("Somebody",), duration_s=200.0)
TOPIC = "arn:aws:sns:us-east-1:123456789012:alerts"


def ended(position_s=300.0, **changes):
    gaps = [Gap(begin_s=200.0, end_s=220.0, reason="origin_down")]
    return samples.checkpoint(position_s, **{"state": "ended", "end_reason": "stream_end", "gaps": gaps} | changes)


ENDED = ended()


class Desk(LedgerDesk):
    """A database with one running stream, ledgers on it, and what leaves."""

    def __init__(self, pool):
        super().__init__(pool)
        ((now,),) = self.execute("select now()")
        self.clock = samples.Clock(now)

    def ledger(self, *, lease=None, decide=None, bucket="results", **alerts):
        more = {"decide": decide} if decide else {}
        return Ledger(
            pool=self.pool,
            lease=lease or self.lease,
            tracks=samples.Catalogue(samples.TRACK, OTHER),
            results=Results(bucket=bucket, prefix="eu/"),
            alerts=Alerts(**{"topic_arn": TOPIC} | alerts),
            nudge=lambda: None,
            now=self.clock,
            **more,
        )

    def forget(self):
        self.execute("delete from outbox")

    def messages(self):
        """(key, seconds until it is due, subject, the mail, the JSON) of what waits for SNS, oldest first."""
        rows = self.execute("select key, extract(epoch from due_at - created_at)::float8, attributes, body from outbox where target = 'sns' order by outbox_id")
        return [(key, due_s, attributes["subject"], *(json.loads(body)[form] for form in ("email", "default"))) for key, due_s, attributes, body in rows]

    def digests(self):
        return [message for message in self.messages() if message[0] == "digest"]

    def publisher(self, sinks, **settings):
        return Publisher(pool=self.pool, sinks=sinks, settings=Outbox(**settings), stop=threading.Event(), metrics=Uncounted(), jitter=lambda: 0.0)


class Uncounted:
    def published(self, **told):
        pass

    def owed(self, **told):
        pass


@pytest.fixture
def desk(dsn):
    with open_pool(Database(dsn=dsn)) as pool:
        yield Desk(pool)


def play(number, state="open", *, track_id=samples.TRACK.track_id, **changes):
    return samples.play(track_id, begin_s=10.0 * number, length_s=8.0, state=state, **changes)


def closed(number, **changes):
    return play(number, "closed", revision=2, **changes)


# ------------------------------------------------------------------------------------------------ at the end


def test_the_end_is_told_once_with_every_play_also_those_that_no_mail_told_of(desk):
    """Three went over the cap, one was not to be told of, one never was more than a quotation; one is of somebody else's recording."""
    silent = "t-2"

    def decide(track, _):
        return Policy(action="allow" if track.track_id == silent else "block", reason="a rule", dry_run=True, notify=track.track_id != silent)

    ledger = desk.ledger(decide=decide, per_stream_hour_max=2)
    for number in range(5):
        ledger.commit(samples.checkpoint(), [play(number)])
    ledger.commit(samples.checkpoint(), [play(6, track_id=silent), play(7, "provisional"), closed(7, quotation=True)])
    assert len(desk.messages()) == 2
    desk.forget()

    ledger.commit(ENDED, [closed(number) for number in range(5)] + [closed(6, track_id=silent)])

    ((key, due_s, subject, mail, document),) = desk.messages()
    assert (key, due_s) == ("digest", 0)
    assert subject == "late-night-radio 2026-11-21 11:59 +00:05:00 stream over: 7 plays: 6 [block], 1 [allow]"
    assert [mail.count(f"\n{at}  0:08  [") for at in ("0:00", "0:10", "0:20", "0:30", "0:40", "1:00", "1:10")] == [1] * 7
    assert "3:20  0:20  -- not heard: the origin did not answer" in mail
    assert "3 alerts went over the hourly limit" in mail
    assert mail.count("no alert was wanted") == 1
    assert mail.count("a quotation") == 1
    told = json.loads(document)
    assert (told["kind"], told["replaces"], told["coverage"]["gap_s"]) == ("digest", False, 20.0)
    assert told["plays"] == {"total": 7, "by_action": {"block": 6, "allow": 1}, "withheld": 3}


def test_an_end_whose_answer_was_lost_is_told_once(desk, monkeypatch):
    @contextmanager
    def unanswered(pool):
        with transaction(pool) as connection:
            yield connection
        raise DatabaseUnavailable("the connection broke after the commit was sent")

    ledger = desk.ledger()
    ledger.commit(samples.checkpoint(), [play(1)])
    with monkeypatch.context() as patch, pytest.raises(DatabaseUnavailable):
        patch.setattr("earmark.hits.ledger.transaction", unanswered)
        ledger.commit(ENDED, [closed(1)])
    first = desk.digests()

    ledger.commit(ENDED, [closed(1)])
    desk.ledger(lease=desk.take_over()).commit(ENDED, [])

    assert len(first) == 1
    assert desk.digests() == first


def test_an_end_that_fails_is_told_by_whoever_takes_the_stream_over(desk, monkeypatch):
    ledger = desk.ledger()
    ledger.commit(samples.checkpoint(), [play(1)])
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("earmark.hits.mail.mailing.digest.outgoing", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("the worker died here")))
        ledger.commit(ENDED, [closed(1)])
    assert desk.digests() == []
    assert desk.execute("select checkpoint->>'state', digest_of from stream") == [("listening", None)]

    desk.ledger(lease=desk.take_over()).commit(ENDED, [closed(1)])

    assert len(desk.digests()) == 1


def test_a_stream_that_goes_on_and_ends_again_is_told_again_only_if_there_is_more_to_tell(desk):
    ledger = desk.ledger()
    ledger.commit(ENDED, [play(1, "closed")])
    ledger.commit(samples.checkpoint(310.0), [])
    ledger.commit(ended(400.0), [])
    assert len(desk.digests()) == 1

    ledger.commit(samples.checkpoint(410.0), [play(41)])
    ledger.commit(ended(500.0), [closed(41)])

    (_, _, _, first, one), (_, _, _, second, other) = desk.digests()
    assert "takes its place" not in first
    assert "takes its place" in " ".join(second.split())
    assert "1 play of" in first
    assert "2 plays of" in second
    assert json.loads(other)["revision"] > json.loads(one)["revision"]


def hunted(desk):
    with transaction(desk.pool) as connection:
        whole = report.load(connection, samples.STREAM.stream_id)
    return HuntedLedger(
        whole=whole,
        pool=desk.pool,
        tracks=samples.Catalogue(OTHER),
        results=Results(bucket="results"),
        alerts=Alerts(topic_arn=TOPIC),
        nudge=lambda: None,
        now=desk.clock,
    )


def test_what_a_hunt_finds_later_is_told_in_a_digest_that_takes_the_place_of_the_first(desk):
    desk.ledger().commit(ENDED, [play(1, "closed")])
    desk.execute("update stream set state = 'ended', owner = null, lease_until = null")
    found = hunted(desk)
    found.put([play(5, "closed", track_id="t-2")])
    found.put([play(5, "closed", track_id="t-2")])
    (_, _, _, _, first), (_, _, _, mail, second) = desk.digests()
    assert [json.loads(document)["replaces"] for document in (first, second)] == [False, True]
    assert "2 plays of 2 recordings" in mail
    assert "Second Song" in mail


def test_of_a_stream_that_had_no_digest_a_hunt_makes_none(desk):
    desk.ledger(digest=False).commit(ENDED, [play(1, "closed")])
    desk.execute("update stream set state = 'ended', owner = null, lease_until = null")
    hunted(desk).put([play(5, "closed", track_id="t-2")])
    assert len(desk.messages()) == 1
    assert desk.digests() == []


@pytest.mark.parametrize("alerts", [{"topic_arn": ""}, {"digest": False}])
def test_who_wants_no_digest_gets_none(desk, alerts):
    desk.ledger(**alerts).commit(ENDED, [play(1, "closed")])
    assert desk.digests() == []


def test_a_digest_may_be_all_that_is_wanted(desk):
    desk.ledger(on=(), bucket="").commit(ENDED, [play(1, "open"), closed(1)])
    ((key, _, _, mail, _),) = desk.messages()
    assert key == "digest"
    assert mail.endswith("The whole: earmark report st-1A2B3C\n")


def test_a_stream_without_plays_is_not_told(desk):
    ledger = desk.ledger()
    ledger.commit(samples.checkpoint(), [play(1, "provisional")])
    ledger.commit(ENDED, [])
    assert desk.messages() == []


def test_of_a_canary_nobody_is_told_at_its_end_either(desk):
    stream = replace(samples.STREAM, stream_id="canary:st-9")
    with transaction(desk.pool) as connection:
        lease = samples.insert_stream(connection, stream=stream)
    desk.ledger(lease=lease).commit(ENDED, [play(1, "closed")])
    assert desk.messages() == []


def test_each_session_of_a_source_without_an_end_has_its_own(desk):
    for day in ("2026-11-21", "2026-11-22"):
        with transaction(desk.pool) as connection:
            lease = samples.insert_stream(connection, stream=Stream(stream_id=f"radio-{day}", source="radio", channel_name="radio", started_at=samples.NOON))
        desk.ledger(lease=lease).commit(ended(end_reason="cut"), [samples.play(hit_id=day, state="closed", continues=True)])
    assert [json.loads(document)["stream"]["id"] for *_, document in desk.digests()] == ["radio-2026-11-21", "radio-2026-11-22"]
    assert all("the next session goes on with it" in mail and "goes on in the next session" in mail for _, _, _, mail, _ in desk.digests())


def test_the_digest_waits_for_the_report_that_it_links_to(desk):
    desk.ledger().commit(ENDED, [play(1, "closed")])
    ((before,),) = desk.execute("select first.key from outbox o join outbox first on first.outbox_id = o.after_id where o.key = 'digest'")
    assert before == "eu/st-1A2B3C/report.html"


def test_the_command_writes_the_mail_that_was_sent(desk, dsn, monkeypatch, capsys):
    for name, value in {"DATABASE__DSN": dsn, "RESULTS__BUCKET": "results", "RESULTS__PREFIX": "eu/", "ALERTS__TIME_ZONE": "Europe/Vienna"}.items():
        monkeypatch.setenv(f"EARMARK_{name}", value)
    monkeypatch.setenv("EARMARK_ALERTS__LINK", "https://vod.example/{stream_id}?t={broadcast_s}")
    desk.ledger(time_zone="Europe/Vienna", link="https://vod.example/{stream_id}?t={broadcast_s}").commit(ENDED, [play(1), closed(1), play(30, "closed")])
    alert, (_, _, _, mail, _) = desk.messages()

    assert main(["report", samples.STREAM.stream_id, "--format", "mail"]) == 0
    assert capsys.readouterr().out == mail
    assert "https://vod.example/st-1A2B3C?t=15\n" in mail  # it was heard from the fifth second on
    assert main(["hits", "show", alert[0]]) == 0
    shown = capsys.readouterr().out
    assert "https://vod.example/st-1A2B3C?t=15\n" in shown
    assert "2026-11-21 13:00:10 UTC+01:00" in shown


# ------------------------------------------------------------------------------------------------ several in one


def test_plays_that_come_close_together_are_told_together(desk):
    """The first at once; what begins within a minute of that mail goes when the minute is over; what comes later at once again."""
    ledger = desk.ledger(group_s=60)
    for number in range(4):
        ledger.commit(samples.checkpoint(), [play(number)])
        desk.clock.advance(10)

    first, rest = desk.messages()
    assert first[1] == 0
    assert rest[1] == pytest.approx(50, abs=0.01)
    assert "+00:00:10 now [track] 3 plays: Blue Sky Morning - The Example" in rest[2]
    assert "Times     0:10 on, still playing" in rest[3]
    document = json.loads(rest[4])
    assert document["kind"] == "group"
    hits = [body for (body,) in desk.execute("select body from play where begin_s > 0 order by begin_s")]
    assert document["hits"] == hits

    desk.clock.advance(3600)
    ledger.commit(samples.checkpoint(), [play(9)])
    assert [due_s for _, due_s, *_ in desk.messages()] == pytest.approx([0, 50, 0], abs=0.01)


def test_behind_a_mail_of_several_the_next_ones_wait_as_well(desk):
    ledger = desk.ledger(group_s=60)
    for number, after_s in enumerate((0, 20, 50, 50)):
        desk.clock.advance(after_s)
        ledger.commit(samples.checkpoint(), [play(number)])
    # At 0; those of 20 and 70 s at 60 and 120 s; that of 120 s begins when nothing waits any more, right behind a mail.
    assert [due_s for _, due_s, *_ in desk.messages()] == pytest.approx([0, 40, 50, 60], abs=0.01)


def test_a_play_that_ends_before_its_mail_leaves_is_told_as_it_is_then(desk):
    ledger = desk.ledger(group_s=60, on=("open", "closed"))
    ledger.commit(samples.checkpoint(), [play(0)])
    ledger.commit(samples.checkpoint(), [play(1)])
    ledger.commit(samples.checkpoint(), [closed(1)])

    _, waiting = desk.messages()
    assert "+00:00:10 played [track] Blue Sky Morning - The Example" in waiting[2]
    assert json.loads(waiting[4])["revision"] == 2


def test_what_waits_when_its_worker_dies_leaves_all_the_same(desk, aws):
    deployed = aws.deploy()
    desk.ledger(group_s=60, topic_arn=deployed.topic_arn, bucket="").commit(samples.checkpoint(), [play(0), play(1), play(2)])
    # Its memory is gone with it.
    publisher = desk.publisher({"sns": SnsSink(client=aws.client("sns"), topic_arn=deployed.topic_arn)})
    publisher.drain(limit_s=0.5)
    assert len(aws.mails()) == 1
    with statement(desk.pool) as connection:
        assert owed(connection).oldest_s <= 0  # it is not late, and alarms nobody

    desk.execute("update outbox set due_at = now(), not_before = now()")  # the minute is over
    assert publisher.drain(limit_s=10)

    _, mail = aws.mails()
    assert "2 plays on late-night-radio, told together" in mail.text
    second = desk.ledger(group_s=60, topic_arn=deployed.topic_arn, lease=desk.take_over(), bucket="")
    second.commit(samples.checkpoint(), [play(3)])
    ((_, due_s, *_),) = desk.messages()  # the new owner knows about when the last ones went
    assert 0 < due_s <= 60


def test_a_row_that_is_on_its_way_is_left_alone(desk):
    ledger = desk.ledger(group_s=60)
    for number in range(2):
        ledger.commit(samples.checkpoint(), [play(number)])
    desk.execute("update outbox set attempts = 1, taken_until = now() + interval '1 minute'")
    ledger.commit(samples.checkpoint(), [play(2)])
    assert [len(json.loads(document).get("hits", [1])) for *_, document in desk.messages()] == [1, 1, 1]


def test_what_still_waits_at_the_end_goes_then(desk):
    ledger = desk.ledger(group_s=600)
    for number in range(3):
        ledger.commit(samples.checkpoint(), [play(number)])
    ledger.commit(ENDED, [closed(number) for number in range(3)])
    assert desk.execute("select count(*) from outbox where target = 'sns' and due_at > now()") == [(0,)]
    assert [key == "digest" for key, *_ in desk.messages()] == [False, False, True]


def test_the_cap_counts_mails_and_not_the_plays_in_them(desk):
    ledger = desk.ledger(group_s=300, per_stream_hour_max=2)
    for number in range(10):
        ledger.commit(samples.checkpoint(), [play(number)])
        desk.clock.advance(20)
    one, rest = desk.messages()
    assert len(json.loads(rest[4])["hits"]) == 9
    assert "alert 2 of 2" in " ".join(rest[3].split())
    assert "went over" not in one[3]
    desk.forget()
    desk.ledger(group_s=300, per_stream_hour_max=3, lease=desk.take_over()).commit(samples.checkpoint(), [play(11)])
    assert len(desk.messages()) == 1  # by its successor's count it was two mails, and not ten


def test_more_plays_than_a_mail_takes_go_in_two(desk):
    ledger = desk.ledger(group_s=600)
    ledger.commit(samples.checkpoint(), [play(number) for number in range(group.PLAYS_MAX + 6)])
    assert [len(json.loads(document).get("hits", [1])) for *_, document in desk.messages()] == [1, group.PLAYS_MAX, 5]


# ------------------------------------------------------------------------------------------------ to the mailbox


def test_sixty_plays_of_an_hour_make_no_more_mails_than_the_cap_and_a_complete_digest(desk, aws):
    """With the settings as they come, on real parts: PostgreSQL, publisher, S3 and SNS of the stand-in."""
    deployed = aws.deploy()
    sinks = {"s3": S3Sink(client=aws.client("s3"), bucket=deployed.results_bucket), "sns": SnsSink(client=aws.client("sns"), topic_arn=deployed.topic_arn)}
    ledger = desk.ledger(
        topic_arn=deployed.topic_arn, bucket=deployed.results_bucket, time_zone="Europe/Vienna", link="https://vod.example/{stream_id}?t={begin_s}"
    )
    plays = [samples.play(begin_s=60.0 * number, length_s=40.0) for number in range(60)]
    for one in plays:
        ledger.commit(samples.checkpoint(one.end_s), [one])
        desk.clock.now = desk.clock.now.replace(minute=plays.index(one))
    ended = samples.checkpoint(3_600.0, state="ended", end_reason="stream_end")
    ledger.commit(ended, [replace(one, state="closed", revision=2) for one in plays])
    assert desk.publisher(sinks).drain(limit_s=60)

    mails = aws.mails()
    *alerts, digest = sorted(mails, key=lambda mail: mail.subject)
    assert len(alerts) == 60  # one per play, and the cap
    assert "stream over: 60 plays" in digest.subject
    assert [f"https://vod.example/st-1A2B3C?t={60 * number}\n" in digest.text for number in range(60)] == [True] * 60
    assert [mail.text.split("From      ")[1].split(" into")[0] for mail in alerts[:3]] == ["0:00", "1:00", "2:00"]
    assert "2026-11-21 13:00:00 UTC+01:00" in digest.text
    folder = Place(bucket=deployed.results_bucket, prefix="eu/", stream_id=samples.STREAM.stream_id)
    assert aws.client("s3").head_object(Bucket=folder.bucket, Key=folder.report_key)
    queue, received = aws.client("sqs"), []
    while batch := queue.receive_message(QueueUrl=deployed.alerts_queue_url, MaxNumberOfMessages=10).get("Messages"):
        received += batch
        queue.delete_message_batch(
            QueueUrl=deployed.alerts_queue_url, Entries=[{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(batch)]
        )
    assert sorted(json.loads(message["Body"])["hit_id"] for message in received) == sorted(one.hit_id for one in plays)  # programs get hits, no digest


def test_each_situation_arrives_as_it_was_written(aws):
    deployed = aws.deploy()
    sink, sent = SnsSink(client=aws.client("sns"), topic_arn=deployed.topic_arn), [make() for make in situations.SITUATIONS.values()]
    for item in sent:
        assert sink.send(item) == "stored"
    assert [(mail.subject, mail.text) for mail in aws.mails()] == [(item.attributes["subject"], json.loads(item.body)["email"]) for item in sent]


def test_ten_thousand_plays_of_a_stream_end_in_one_mail_that_says_how_many_it_has_not(desk, aws):
    deployed = aws.deploy()
    ledger = desk.ledger(topic_arn=deployed.topic_arn, bucket="", on=())
    ledger.commit(samples.checkpoint(), [play(0, "closed")])
    desk.execute("""
        insert into play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, fencing)
        select 'h' || n, stream_id, track_id, 1, 'closed', 4 * n, 4 * n + 3,
               body || jsonb_build_object('hit_id', 'h' || n, 'query', jsonb_build_object('begin_s', 4 * n, 'end_s', 4 * n + 3)), fencing
          from play, generate_series(1, 9999) n""")

    ledger.commit(samples.checkpoint(40_000.0, state="ended", end_reason="stream_end"), [])

    assert desk.publisher({"sns": SnsSink(client=aws.client("sns"), topic_arn=deployed.topic_arn)}).drain(limit_s=20)
    (mail,) = aws.mails()
    assert mail.subject.endswith(" stream over: 10,000 plays [track]")
    listed = mail.text.count("[track] Blue Sky Morning")
    assert listed > 2_000
    assert f"And {10_000 - listed:,} more lines" in mail.text


def test_a_filter_for_what_is_blocked_lets_the_digest_of_such_a_stream_through(desk, aws):
    deployed = aws.deploy()
    policy = {"FilterPolicy": json.dumps({"action": ["block"]})}
    aws.client("sns").subscribe(TopicArn=deployed.topic_arn, Protocol="email", Endpoint="blockers@example.com", Attributes=policy)

    def decide(track, _):
        return Policy(action="block" if track.track_id == "t-2" else "track", reason="a rule", dry_run=True)

    ledger = desk.ledger(topic_arn=deployed.topic_arn, bucket="", decide=decide)
    ledger.commit(ENDED, [play(1), play(2, track_id="t-2"), closed(1), closed(2, track_id="t-2")])
    assert desk.publisher({"sns": SnsSink(client=aws.client("sns"), topic_arn=deployed.topic_arn)}).drain(limit_s=10)
    subjects = [mail.subject for mail in aws.mails() if mail.to == "blockers@example.com"]
    assert ["[block] Second Song" in subject or "stream over: 2 plays: 1 [block], 1 [track]" in subject for subject in subjects] == [True, True]
