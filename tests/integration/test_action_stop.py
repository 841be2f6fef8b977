"""A broadcast is ended when its grace is over, if its play still goes on: once, by whoever is there, and on record."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from pydantic import SecretStr

from action_stage import Stage, another
from earmark.errors import AwsUnavailable, Postponed
from earmark.hits import outbox
from earmark.local.aws import AwsStandIn
from earmark.local.records import show_hit
from earmark.postgres import Pool, transaction
from earmark.settings import Database

ON = {"stop_stream": {"mode": "on"}}
STOPPED = "the stream was stopped when it had played for 24 s"


@pytest.fixture
def stage(pool: Pool, aws: AwsStandIn) -> Stage:
    return Stage(pool, aws, **ON)


def goes_on(stage: Stage, until_s: float = 125.0, **of) -> None:
    """The play is told, and heard beyond its grace."""
    stage.heard(stage.play(**of), until_s=112.0)
    stage.heard(until_s=until_s, playing=[stage.play(length_s=24.0, **of)])


def test_it_waits_for_the_end_of_its_grace_and_is_owed_from_then_on(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)

    assert stage.told() == [("ivs_stop", None, "waiting", "the stream is stopped if it still plays at 2:00 of the stream, 20 s after its begin")]
    assert stage.hit()["policy"]["dry_run"] is False
    ((wait_s,),) = stage.execute("select extract(epoch from not_before - now())::float8 from outbox where target = 'ivs_stop'")
    assert 5 < wait_s <= 10  # eight seconds to the end of the grace, and until they are heard
    with transaction(stage.pool) as connection:
        assert outbox.owed(connection).waiting == stage.execute("select count(*) from outbox")[0][0] - 1
    (item,) = stage.waiting("ivs_stop")
    with pytest.raises(Postponed, match="nobody has heard yet whether the play goes on, behind 120 s of the stream"):
        stage.sinks()["ivs_stop"].send(item)  # `earmark outbox retry` makes rows due
    assert stage.done() == []


def test_it_is_stopped_when_the_play_goes_on_and_the_hit_says_so(stage: Stage) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")

    assert stage.sinks()["ivs_stop"].send(item) == "stored"

    assert stage.done() == ["StopStream"]
    assert stage.told() == [("ivs_stop", None, "done", STOPPED)]
    assert stage.hit()["revision"] == 2  # one of its own, behind the session's
    assert stage.meter.results == [("ivs_stop", "done")]
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"  # a row that was not crossed out in time
    assert stage.done() == ["StopStream"]
    assert stage.hit()["revision"] == 2


def test_hits_show_says_what_was_done(stage: Stage, dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    stage.sinks()["ivs_stop"].send(item)
    settings = stage.settings.model_copy(update={"database": Database(dsn=SecretStr(dsn))})
    assert show_hit(stage.play().hit_id, as_json=False, settings=settings) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "stop the stream: done, " in said
    assert STOPPED in said


def test_the_session_goes_on_behind_it_and_keeps_what_was_done(stage: Stage) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    stage.sinks()["ivs_stop"].send(item)

    stage.heard(stage.play("closed", revision=2, length_s=25.0), until_s=126.0, ended=True)

    hit = stage.hit()
    assert (hit["state"], hit["revision"]) == ("closed", 3)
    assert stage.told() == [("ivs_stop", None, "done", STOPPED)]
    before = stage.execute("select body, revision, updated_at from play")
    stage.recorder = stage.ledger()  # a commit whose answer was lost is repeated, by the next owner too
    stage.heard(stage.play("closed", revision=2, length_s=25.0), until_s=126.0, ended=True)
    assert stage.execute("select body, revision, updated_at from play") == before


def test_a_session_without_actions_keeps_what_was_done(stage: Stage) -> None:
    """Switched off in between, or another kind of session: a hunt, a recording."""
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    stage.sinks()["ivs_stop"].send(item)
    stage.settings = stage.settings.model_copy(update={"stop_stream": type(stage.settings.stop_stream)()})
    stage.recorder = stage.ledger()
    stage.heard(stage.play("closed", revision=2, length_s=25.0), until_s=126.0, ended=True)
    assert stage.hit()["revision"] == 3
    assert stage.told() == [("ivs_stop", None, "done", STOPPED)]


def test_nothing_changes_while_all_is_off(pool: Pool, aws: AwsStandIn) -> None:
    stage = Stage(pool, aws)
    goes_on(stage)
    assert "actions" not in stage.hit()
    assert stage.hit()["policy"]["dry_run"] is True
    assert stage.execute("select told_besides from play") == [(None,)]
    assert {target for (target,) in stage.execute("select target from outbox")} == {"s3"}


# ------------------------------------------------------------------------------------------------ it is not stopped


def test_a_play_that_ends_within_its_grace_is_let_go(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    (item,) = stage.waiting("ivs_stop")
    stage.heard(stage.play("closed", revision=2, length_s=14.0), until_s=126.0)

    assert stage.told() == [("ivs_stop", None, "withdrawn", "it ended after 0:14, within its grace of 20 s: the stream was left alone")]
    assert stage.waiting("ivs_stop") == []
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"  # what was being sent just then
    assert stage.done() == []


def test_a_play_without_evidence_behind_its_grace_stops_nothing_until_it_has_closed(stage: Stage) -> None:
    """It ended at 118 s; that nothing follows is certain twelve seconds later."""
    stage.heard(stage.play(), until_s=112.0)
    stage.heard(until_s=126.0, playing=[stage.play(length_s=18.0)])
    (item,) = stage.waiting("ivs_stop")
    with pytest.raises(Postponed) as later:
        stage.sinks()["ivs_stop"].send(item)
    assert 0 < later.value.after_s < 10
    stage.heard(stage.play("closed", revision=2, length_s=18.0), until_s=131.0)
    assert stage.told()[0][2] == "withdrawn"
    assert stage.done() == []


def test_what_a_worker_knew_that_has_died_stops_nothing(stage: Stage) -> None:
    """Whoever takes the stream up hears first whether the play goes on."""
    goes_on(stage)
    stage.execute("update stream set heard_at = now() - interval '40 seconds'")
    (item,) = stage.waiting("ivs_stop")
    with pytest.raises(Postponed):
        stage.sinks()["ivs_stop"].send(item)
    stage.heard(until_s=600.0, playing=[stage.play(length_s=24.0)])  # eight minutes later something else is on
    with pytest.raises(Postponed):
        stage.sinks()["ivs_stop"].send(item)
    stage.heard(stage.play("closed", revision=2, length_s=24.0), until_s=612.0)
    assert stage.told()[0][2] == "withdrawn"
    assert stage.done() == []


def test_another_decision_takes_it_back(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    stage.action = "allow"
    stage.heard(stage.play(revision=2), until_s=114.0)
    assert stage.told() == [("ivs_stop", None, "withdrawn", "it is decided about otherwise by now (allow): the stream was left alone")]
    assert stage.waiting("ivs_stop") == []
    stage.action = "block"
    stage.heard(stage.play(revision=3), until_s=116.0)
    assert stage.told()[0][2] == "waiting"
    assert len(stage.waiting("ivs_stop")) == 1


def test_the_next_stream_of_the_channel_is_left_alone(stage: Stage) -> None:
    goes_on(stage)
    stage.aws.go_offline(stage.channel)
    stage.aws.go_live(stage.channel, "st-next", "")
    (item,) = stage.waiting("ivs_stop")
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"
    assert stage.told() == [("ivs_stop", None, "withdrawn", "the stream was over before it was stopped")]
    assert stage.done() == []


def test_a_stream_that_is_over_is_not_stopped(stage: Stage) -> None:
    goes_on(stage)
    stage.aws.go_offline(stage.channel)
    (item,) = stage.waiting("ivs_stop")
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"
    assert stage.told()[0][2:] == ("withdrawn", "the stream was over before it was stopped")


def test_what_nobody_has_heard_for_a_quarter_of_an_hour_is_given_up(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    (item,) = stage.waiting("ivs_stop")
    stage.execute("update action set due_at = now() - interval '20 minutes'")
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"
    assert stage.told() == [("ivs_stop", None, "withdrawn", "for 15 min nobody has heard whether it goes on: the stream was left alone")]


def test_a_worker_on_which_it_is_off_takes_it_back(stage: Stage) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    assert stage.sinks(stop_stream={"mode": "dry_run"})["ivs_stop"].send(item) == "superseded"
    assert stage.told() == [("ivs_stop", None, "withdrawn", "it was switched off meanwhile")]
    assert stage.done() == []


def test_a_dry_run_tells_and_does_nothing(pool: Pool, aws: AwsStandIn) -> None:
    stage = Stage(pool, aws, stop_stream={"mode": "dry_run"})
    goes_on(stage)
    assert stage.told() == [("ivs_stop", None, "dry_run", "dry run: the stream would be stopped if it still plays at 2:00 of the stream, 20 s after its begin")]
    assert stage.hit()["policy"]["dry_run"] is True
    assert stage.waiting("ivs_stop") == []
    assert stage.meter.results == [("ivs_stop", "dry_run")]


def test_a_hit_that_was_forgotten_stops_nothing(stage: Stage) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    stage.execute("delete from play")
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"
    assert stage.done() == []


# ------------------------------------------------------------------------------------------------ whoever does it may die, or be refused


def test_whoever_dies_behind_the_stop_leaves_it_done(stage: Stage) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    stage.execute("update action set begun_at = now()")
    stage.aws.client("ivs").stop_stream(channelArn=stage.channel)
    stage.heard(stage.play("closed", revision=2, length_s=25.0), until_s=138.0, ended=True)
    assert stage.told()[0][2] == "waiting"  # what was begun is not taken back

    assert stage.sinks()["ivs_stop"].send(item) == "stored"

    assert stage.done() == ["StopStream"]
    assert stage.told() == [("ivs_stop", None, "done", "the stream has stopped; whoever asked for that did not hear the answer")]


class Killed(BaseException):
    """The worker is gone: nothing that it would have done is done."""


def dying(call, *, after: bool):
    """The call, by somebody who dies just before it, or just behind it."""

    def die(*arguments, **named):
        if after:
            call(*arguments, **named)
        raise Killed

    return die


@pytest.mark.parametrize("after", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("where", ["live_stream_id", "delete_stream_key", "stop_stream", "tell"])
def test_wherever_a_worker_dies_the_stream_is_stopped_once_and_told(stage: Stage, monkeypatch: pytest.MonkeyPatch, where: str, after: bool) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    revoking = {"stop_stream": {"mode": "on", "revoke_key": True}}
    first = stage.sinks(**revoking)["ivs_stop"]
    if where == "live_stream_id":
        monkeypatch.setattr(first, "_live_stream_id", dying(first._live_stream_id, after=after))
    elif where == "tell":
        monkeypatch.setattr(first._telling, "tell", dying(first._telling.tell, after=after))
    else:
        client = stage.aws.client("ivs")
        monkeypatch.setattr(client, where, dying(getattr(client, where), after=after))
        monkeypatch.setattr(first, "_ivs", lambda: client)
    with pytest.raises(Killed):
        first.send(item)

    stage.sinks(**revoking)["ivs_stop"].send(item)

    assert stage.done() == ["DeleteStreamKey", "StopStream"]
    assert stage.told()[0][2] == "done"
    assert stage.hit()["revision"] == 2


def test_a_stop_that_failed_for_now_is_not_tried_behind_the_end_of_the_play(stage: Stage) -> None:
    goes_on(stage)
    stage.aws.refuse("StopStream", "StreamUnavailable", status=503)
    (item,) = stage.waiting("ivs_stop")
    with pytest.raises(AwsUnavailable, match="ivs:StopStream"):
        stage.sinks()["ivs_stop"].send(item)
    assert stage.told()[0][2] == "waiting"
    stage.heard(stage.play("closed", revision=2, length_s=25.0), until_s=138.0)
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"
    assert stage.told()[0][2:] == ("withdrawn", "the play had ended before the stream could be stopped")
    assert stage.done() == []


def test_a_refusal_is_told_with_its_remedy_and_not_repeated(stage: Stage) -> None:
    goes_on(stage)
    stage.aws.refuse("StopStream", "AccessDeniedException", message="User: earmark is not authorized")
    (item,) = stage.waiting("ivs_stop")
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"
    ((_, _, state, detail),) = stage.told()
    assert state == "failed"
    assert detail.startswith(f"ivs:StopStream of {stage.channel} was refused: AccessDeniedException: User: earmark is not authorized; allow ivs:StopStream")
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"
    assert stage.done() == []


def test_a_channel_that_was_deleted_is_told_as_that(stage: Stage) -> None:
    goes_on(stage)
    stage.aws.go_offline(stage.channel)
    stage.aws.client("ivs").delete_channel(arn=stage.channel)
    (item,) = stage.waiting("ivs_stop")
    assert stage.sinks()["ivs_stop"].send(item) == "superseded"
    assert stage.told()[0][2:] == ("failed", f"the channel {stage.channel} does not exist any more")


# ------------------------------------------------------------------------------------------------ how many, and for how long


def test_no_more_are_stopped_in_an_hour_than_may_be_however_many_workers_there_are(stage: Stage) -> None:
    limit = {"stop_stream": {"mode": "on", "per_hour_max": 2}}
    stages = [stage, *(another(stage, f"on-air-{number}") for number in range(1, 5))]
    for one in stages:
        goes_on(one)
    workers = [one.sinks(**limit)["ivs_stop"] for one in stages]
    with ThreadPoolExecutor(5) as threads:
        sent = list(threads.map(lambda pair: pair[0].send(pair[1].waiting("ivs_stop")[0]), zip(workers, stages, strict=True)))
    assert sorted(sent) == ["stored", "stored", "superseded", "superseded", "superseded"]
    assert sum(len(one.done()) for one in stages) == 2
    told = sorted(one.told()[0][2:] for one in stages)
    assert [state for state, _ in told] == ["done", "done", "refused", "refused", "refused"]
    assert told[-1][1] == "2 streams stopped in an hour is as many as stop_stream.per_hour_max allows"
    stage.execute("update action set begun_at = begun_at - interval '61 minutes' where begun_at is not null")
    late = another(stage, "an-hour-later")
    goes_on(late)
    assert late.sinks(**limit)["ivs_stop"].send(late.waiting("ivs_stop")[0]) == "stored"


def test_a_source_that_cannot_be_stopped_is_told_in_the_hit_alone(stage: Stage) -> None:
    stage.recorder = stage.ledger(lease=replace(stage.lease, stream=replace(stage.stream, source="radio", channel_arn=None)))
    stage.heard(stage.play(), until_s=112.0)
    assert stage.told() == [("ivs_stop", None, "refused", "only streams of Amazon IVS can be stopped from here, and this one's source is radio")]
    assert stage.hit()["policy"]["dry_run"] is True
    assert stage.meter.results == []
    assert stage.waiting("ivs_stop") == []


def test_what_was_refused_does_not_count(stage: Stage) -> None:
    limit = {"stop_stream": {"mode": "on", "per_hour_max": 1}}
    other = another(stage, "on-air-2")
    goes_on(stage)
    goes_on(other)
    stage.aws.refuse("StopStream", "AccessDeniedException")
    assert stage.sinks(**limit)["ivs_stop"].send(stage.waiting("ivs_stop")[0]) == "superseded"
    assert other.sinks(**limit)["ivs_stop"].send(other.waiting("ivs_stop")[0]) == "stored"


def test_without_its_key_a_broadcaster_does_not_come_back(stage: Stage) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    assert stage.sinks(stop_stream={"mode": "on", "revoke_key": True})["ivs_stop"].send(item) == "stored"
    assert stage.done() == ["DeleteStreamKey", "StopStream"]
    assert stage.told()[0][3] == f"{STOPPED}, and 1 key of the channel revoked: its broadcaster needs a new one"
    assert stage.aws.client("ivs").list_stream_keys(channelArn=stage.channel)["streamKeys"] == []


def test_a_key_that_may_not_be_revoked_does_not_save_the_stream(stage: Stage) -> None:
    goes_on(stage)
    stage.aws.refuse("DeleteStreamKey", "AccessDeniedException")
    (item,) = stage.waiting("ivs_stop")
    assert stage.sinks(stop_stream={"mode": "on", "revoke_key": True})["ivs_stop"].send(item) == "stored"
    assert stage.done() == ["StopStream"]
    detail = stage.told()[0][3]
    assert detail.startswith(f"{STOPPED}; its key was not revoked: ivs:DeleteStreamKey of arn:aws:ivs:")
    assert "allow ivs:DeleteStreamKey" in detail


def test_a_play_that_is_unwanted_at_once_is_stopped_at_once(stage: Stage) -> None:
    stage.grace_s = 0.0
    stage.heard(stage.play(), until_s=112.0)
    assert stage.told()[0][3] == "the stream is stopped at once"
    assert stage.sinks()["ivs_stop"].send(stage.waiting("ivs_stop")[0]) == "stored"


def test_a_document_that_waits_for_s3_holds_nothing_up(stage: Stage) -> None:
    goes_on(stage)
    ((after_id,),) = stage.execute("select after_id from outbox where target = 'ivs_stop'")
    assert after_id is None


def test_what_is_not_told_twice_leaves_the_hit_as_it_is(stage: Stage) -> None:
    goes_on(stage)
    (item,) = stage.waiting("ivs_stop")
    stage.sinks()["ivs_stop"].send(item)
    sent = [json.loads(body)["revision"] for (body,) in stage.execute("select body from outbox where key like %s", "%/hits/%")]
    stage.sinks(stop_stream={"mode": "off"})["ivs_stop"].send(item)
    assert stage.told()[0][2] == "done"
    assert [json.loads(body)["revision"] for (body,) in stage.execute("select body from outbox where key like %s", "%/hits/%")] == sent
