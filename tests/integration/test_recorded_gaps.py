"""What a stream's session did not hear is heard from IVS's recording, once: gaps shrink, plays are found, cut ones are mended."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from control_rows import rows, run
from earmark.audio import recording as module
from earmark.control.forgetting import forget
from earmark.control.leases import Ended, Failed, HandedOver
from earmark.hits.recovered import RecoveredLedger
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool
from earmark.session import Signals, Stop
from hits_samples import validator
from recorded_world import BEGAN, CHANNEL, GAP, LENGTH_S, STREAM, World

FILL = f"{STREAM}.j8Z9O91ndcVs"


@pytest.fixture
def world(pool: Pool, aws: AwsStandIn) -> Iterator[World]:
    made = World(pool, aws)
    yield made
    made.close()


def of(world: World, number: int) -> list[dict[str, Any]]:
    return [hit for hit in world.hits() if hit["reference"]["track_id"] == world.track_ids[number]]


def test_what_was_missed_is_heard_published_and_accounted_for(world: World) -> None:
    cut, whole = world.live_play(0, begin_s=2.0, end_s=13.8), world.live_play(2, begin_s=50.0, end_s=70.0)
    world.heard_live(plays=[cut, whole])
    world.sent()
    recorder = world.recorder().whole()
    assert world.tell_ended(recorder) == "recorded"
    assert world.hear() == {FILL: Ended("stream_end")}

    checkpoint = world.checkpoint()
    assert (checkpoint.gap_s, checkpoint.heard_s) == (0, pytest.approx(LENGTH_S))
    assert [(round(one.begin_s), round(one.end_s)) for one in checkpoint.silence] == [(24, 28), (44, 48)]  # as far as it is in the gap
    assert checkpoint.speech == ()
    (first,), (second,), (third,) = (of(world, number) for number in range(3))
    for hit in world.hits():
        validator("hit").validate(hit)
    # A goes on into the gap, on its own line, under its own id.
    assert (first["hit_id"], first["revision"], first["stream"]["source"], first["state"]) == (cut.hit_id, 4, "ivs", "closed")
    assert first["query"] == {"begin_s": 2, "end_s": pytest.approx(24, abs=0.5)}
    assert first["coverage"]["matched_s"] == pytest.approx(22, abs=1.5)
    assert first["recovered"][0]["source"] == "recording"
    # B was in it: a hit of its own, of the stream as it was recorded.
    assert (second["state"], second["stream"]["source"], second["stream"]["id"]) == ("closed", "recording", STREAM)
    assert (second["query"]["begin_s"], second["query"]["end_s"]) == (pytest.approx(28, abs=0.5), pytest.approx(44, abs=0.7))
    assert datetime.fromisoformat(second["started_at"]) == pytest.approx(BEGAN + timedelta(seconds=28), abs=timedelta(seconds=0.6))
    # C was heard.
    assert (third["hit_id"], third["revision"]) == (whole.hit_id, 3)

    sent = {row["key"].removeprefix(f"{STREAM}/"): row for row in world.queued() if row["target"] == "s3"}
    assert set(sent) >= {"stream.json", "cue-sheet.csv", "cut-list.json", "report.html", f"hits/{first['hit_id']}.json", f"hits/{second['hit_id']}.json"}
    assert f"evidence/{second['hit_id']}.json" in sent
    alert, digest = [row for row in world.queued() if row["target"] == "sns"]
    assert alert["key"] == second["hit_id"]
    assert (digest["key"], json.loads(json.loads(digest["body"])["default"])["plays"]["total"]) == ("digest", 3)
    summary = json.loads(sent["stream.json"]["body"])
    validator("stream").validate(summary)
    assert (summary["coverage"]["gap_s"], summary["coverage"]["unaccounted_s"], summary["gaps"]) == (0, 0, [])
    assert len(summary["plays"]) == 3
    assert "worker_lost" not in sent["cue-sheet.csv"]["body"]


def test_a_play_that_becomes_longer_is_decided_about_anew(pool: Pool, aws: AwsStandIn, tmp_path: Path) -> None:
    rules = tmp_path / "policy.toml"
    rules.write_text('version = 1\n[[rule]]\nid = "long"\naction = "block"\nwhen = { played_s = { min = 18 } }\n')
    with closing(World(pool, aws, policy_file=str(rules))) as world:
        cut = world.live_play(0, begin_s=2.0, end_s=13.8)
        world.heard_live(plays=[cut])
        (before,) = of(world, 0)
        world.tell_ended(world.recorder().whole())
        world.hear()
        (after,) = of(world, 0)
    assert (before["policy"]["action"], before["policy"]["rule_id"]) == ("track", None)
    assert (after["hit_id"], after["policy"]["action"], after["policy"]["rule_id"]) == (cut.hit_id, "block", "long")


def test_telling_it_again_in_whatever_order_changes_nothing(world: World) -> None:
    world.heard_live()
    recorder = world.recorder().whole()
    assert world.tell_ended(recorder) == "recorded"
    assert [world.tell_ended(recorder), world.tell_ended(recorder, status="started", at=BEGAN)] == ["repeat", "repeat"]
    world.hear()
    before, hits = world.checkpoint(), world.hits()
    assert [world.tell_ended(recorder), world.tell_ended(recorder, at=BEGAN + timedelta(hours=9))] == ["repeat", "repeat"]
    assert world.open_fills() == []
    assert world.hear() == {}
    assert (world.checkpoint(), world.hits()) == (before, hits)


def test_a_recording_that_ends_before_its_streams_session_waits_for_it(world: World) -> None:
    recorder = world.recorder().whole()
    assert world.tell_ended(recorder) == "recorded"
    assert world.hear() == {}
    world.heard_live()
    run(world.pool, "update stream set state = 'running', owner = 'live', lease_until = now() + interval '1 minute'")
    assert world.open_fills() == []
    run(world.pool, "update stream set state = 'ended', owner = null, lease_until = null")
    assert world.open_fills() == [FILL]
    assert world.hear() == {FILL: Ended("stream_end")}


def test_while_its_stream_is_heard_again_nothing_is_written(world: World) -> None:
    world.heard_live()
    world.tell_ended(world.recorder().whole())
    run(world.pool, "update stream set state = 'running', owner = 'live', lease_until = now() + interval '1 minute' where stream_id = %s", STREAM)
    assert world.hear() == {FILL: Ended("not_live")}
    assert world.checkpoint().gap_s == pytest.approx(GAP[1] - GAP[0])
    # When that session has ended, too, it is opened again.
    run(world.pool, "update stream set state = 'ended', owner = null, lease_until = null, ended_at = now() + interval '1 second' where stream_id = %s", STREAM)
    assert world.open_fills() == [FILL]
    assert world.hear() == {FILL: Ended("stream_end")}
    assert world.checkpoint().gap_s == 0


def test_a_worker_that_dies_in_the_midst_of_it_costs_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it had told is on record once; the next one goes on from there."""
    cut = world.live_play(0, begin_s=2.0, end_s=13.8)
    world.heard_live(plays=[cut])
    recorder = world.recorder().whole()
    world.tell_ended(recorder)
    get, asked = module.Recording.get, []

    class Killed(BaseException):
        """SIGKILL: no hand-over, nothing written."""

    def dying(self: module.Recording, key: str, **more: Any) -> Any:
        asked.append(key)
        if key.endswith("/9.ts") and len([k for k in asked if k == key]) < 2:
            raise Killed
        return get(self, key, **more)

    monkeypatch.setattr(module.Recording, "get", dying)
    monkeypatch.setattr("earmark.hits.recovered.WRITTEN_EVERY", timedelta(0))
    (lease,) = world.leases().claim(1)
    with pytest.raises(Killed):
        world.listening.listen(lease, Signals())
    partly = world.checkpoint()
    assert 0 < partly.gap_s < GAP[1] - GAP[0]
    assert partly.heard_s + partly.gap_s == pytest.approx(LENGTH_S)
    told = world.hits()
    world.pass_time(60)
    assert world.hear("two") == {FILL: Ended("stream_end")}
    assert world.checkpoint().gap_s == 0
    assert {hit["hit_id"] for hit in told} <= {hit["hit_id"] for hit in world.hits()}
    assert [len(of(world, number)) for number in range(3)] == [1, 1, 0]
    assert of(world, 0)[0]["query"]["end_s"] == pytest.approx(24, abs=0.5)
    # What was before its checkpoint was not asked for again.
    assert asked.count(next(key for key in asked if key.endswith("/0.ts"))) == 1


def test_a_hand_over_is_taken_up_where_it_was(world: World) -> None:
    world.heard_live()
    world.tell_ended(world.recorder().whole())

    class Leaving(Signals):
        """Asked to leave once some pieces were heard."""

        looks = 0

        @property
        def leaving(self) -> bool:
            self.looks += 1
            if self.looks == 20:
                self.request(Stop.HANDOVER)
            return self.looks >= 20

    assert world.hear(signals=Leaving) == {FILL: HandedOver()}
    assert world.row(FILL)["state"] == "wanted"
    position_s = world.checkpoint(FILL).position_s
    assert position_s > 0
    assert world.hear("two") == {FILL: Ended("stream_end")}
    assert world.checkpoint().gap_s == 0
    assert len(of(world, 1)) == 1


def test_the_answer_of_its_last_commit_may_be_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.heard_live()
    world.tell_ended(world.recorder().whole())
    commit = RecoveredLedger.commit

    def twice(self: RecoveredLedger, checkpoint: Any, changed: Any) -> None:
        commit(self, checkpoint, changed)
        self._memory = None
        commit(self, checkpoint, changed)

    monkeypatch.setattr(RecoveredLedger, "commit", twice)
    assert world.hear() == {FILL: Ended("stream_end")}
    monkeypatch.undo()
    checkpoint = world.checkpoint()
    assert checkpoint.music.heard_s == pytest.approx(sum(s.end_s - s.begin_s for s in checkpoint.music.stretches))
    assert len(of(world, 1)) == 1
    *alerts, last = [row["key"] for row in world.queued() if row["target"] == "sns"]
    assert len(alerts) == len(world.hits())
    assert (last, alerts.count("digest")) == ("digest", 0)


def test_a_play_that_a_gap_cut_in_two_is_still_two_hits_that_meet(world: World) -> None:
    """Neither is taken back, and no third comes: the first one goes on to where the second begins."""
    first, second = world.live_play(0, begin_s=2.0, end_s=7.8), world.live_play(0, begin_s=16.2, end_s=24.0, hit_id="0tail".ljust(26, "a"))
    world.heard_live(gaps=[(8.0, 16.0)], plays=[first, second])
    world.tell_ended(world.recorder().whole())
    world.hear()
    one, other = of(world, 0)
    assert (one["hit_id"], other["hit_id"]) == (first.hit_id, second.hit_id)
    assert one["query"]["end_s"] == pytest.approx(other["query"]["begin_s"], abs=0.01)
    assert other["query"]["end_s"] == pytest.approx(24, abs=0.5)


# What the recording lacks


def test_what_the_recording_does_not_have_stays_a_gap(world: World) -> None:
    world.heard_live()
    recorder = world.recorder(lacking=frozenset({7, 8})).whole()
    world.tell_ended(recorder)
    assert world.hear() == {FILL: Ended("stream_end")}
    checkpoint = world.checkpoint()
    assert checkpoint.gap_s == pytest.approx(8, abs=0.2)
    (left,) = checkpoint.gaps
    assert (left.begin_s, left.end_s, left.reason) == (pytest.approx(28, abs=0.2), pytest.approx(36, abs=0.2), "worker_lost")
    assert checkpoint.heard_s + checkpoint.gap_s == pytest.approx(LENGTH_S)


@pytest.mark.parametrize("what", ["no dates", "no playlist", "no master", "half a playlist"])
def test_without_what_says_when_segments_were_they_are_placed_by_their_lengths(world: World, what: str) -> None:
    world.heard_live()
    recorder = world.recorder(dated=what != "no dates").whole()
    playlists = {"no playlist": "media/hls/360p30/playlist.m3u8", "no master": "media/hls/master.m3u8"}
    if what in playlists:
        world.s3.delete_object(Bucket=recorder.bucket, Key=f"{recorder.prefix}/{playlists[what]}")
    if what == "half a playlist":
        recorder.put("media/hls/360p30/playlist.m3u8", "#EXTM3U\n#EXT-X-TARG")
    world.tell_ended(recorder)
    assert world.hear() == {FILL: Ended("stream_end")}
    assert world.checkpoint().gap_s == 0
    (hit,) = of(world, 1)
    # The documents say when it began in whole seconds.
    assert hit["query"]["begin_s"] == pytest.approx(28, abs=1.2)


def test_a_recording_that_is_not_there_is_given_up_and_says_so(world: World) -> None:
    world.heard_live()
    world.tell_ended(world.recorder())
    outcome = world.hear()[FILL]
    assert isinstance(outcome, Ended)
    assert outcome.reason == "failed"
    assert "there is no recording at s3://" in outcome.error
    assert world.checkpoint().gap_s == pytest.approx(GAP[1] - GAP[0])


def test_a_bucket_that_may_not_be_read_is_asked_again_and_then_given_up(world: World) -> None:
    world.heard_live()
    world.tell_ended(world.recorder(bucket="somebody-elses"))
    for failures in range(10):
        outcome = world.hear()[FILL]
        assert isinstance(outcome, Failed), failures
        assert "NoSuchBucket" in outcome.error
        assert world.hear() == {}  # a back-off lies between
        world.pass_time(3_600)
    outcome = world.hear()[FILL]
    assert isinstance(outcome, Ended)
    assert "could not be heard in 10 tries" in outcome.error
    assert "NoSuchBucket" in outcome.error


def test_a_gap_at_the_streams_very_beginning_is_filled_from_the_segment_that_began_before_it(world: World) -> None:
    """The recording is a little older than the session."""
    world.heard_live(gaps=[(0.0, 6.0)], position_s=LENGTH_S - 3, heard_s=LENGTH_S - 9)
    # Stream time 0 is the recording's third second.
    run(world.pool, "update stream set checkpoint = checkpoint || jsonb_build_object('clock', %s::text)", (BEGAN + timedelta(seconds=LENGTH_S)).isoformat())
    world.tell_ended(world.recorder().whole())
    assert world.hear() == {FILL: Ended("stream_end")}
    assert world.checkpoint().gap_s == 0
    (hit,) = of(world, 0)
    assert hit["query"]["begin_s"] == 0  # it began before, and no stream time is negative
    assert hit["query"]["end_s"] == pytest.approx(21, abs=0.5)


def test_a_session_whose_clock_is_that_of_arrival_is_filled_as_far_as_that_goes(world: World) -> None:
    """Seven seconds late, as a player is: what is on record is recognised all the same, and stays one play."""
    cut = world.live_play(0, begin_s=2.0, end_s=13.8)
    world.heard_live(plays=[cut], clock=BEGAN + timedelta(seconds=LENGTH_S + 7), clock_source="arrival")
    world.tell_ended(world.recorder().whole())
    assert world.hear() == {FILL: Ended("stream_end")}
    (hit,) = of(world, 0)
    assert (hit["hit_id"], hit["query"]["end_s"]) == (cut.hit_id, pytest.approx(24, abs=0.5))
    assert of(world, 1)[0]["query"]["begin_s"] == pytest.approx(28 - 7, abs=0.6)


def test_a_session_without_a_clock_or_without_gaps_asks_for_nothing(world: World) -> None:
    world.heard_live(clock=None)
    world.heard_live("st-complete", gaps=[])
    world.tell_ended(world.recorder().whole(), STREAM, "st-complete", "st-never-heard-of")
    assert world.hear() == {}


def test_a_recording_of_another_channel_fills_nothing(world: World) -> None:
    world.heard_live()
    assert world.tell_ended(world.recorder(channel_arn=CHANNEL + "X").whole()) == "recorded"
    assert world.hear() == {}


def test_all_streams_that_were_merged_into_one_recording_are_filled_from_it(world: World) -> None:
    world.heard_live()
    world.heard_live("st-before", gaps=[(26.0, 46.0)])
    world.tell_ended(world.recorder().whole(), STREAM, "st-before")
    assert set(world.hear()) == {FILL, "st-before.j8Z9O91ndcVs"}
    assert [world.checkpoint(stream_id).gap_s for stream_id in (STREAM, "st-before")] == [0, 0]
    assert [len(world.hits(stream_id)) for stream_id in (STREAM, "st-before")] == [2, 1]


def test_if_the_settings_say_so_gaps_are_left(world: World) -> None:
    world.heard_live()
    assert world.tell_ended(world.recorder().whole(), fill_gaps=False) == "recorded"
    assert world.hear() == {}


def test_forgetting_a_stream_forgets_what_was_to_be_heard_for_it(world: World) -> None:
    world.heard_live()
    world.tell_ended(world.recorder().whole())
    forget(world.pool, STREAM, results=None)
    assert rows(world.pool, "select * from stream") == []


def test_live_streams_come_first_and_what_waits_in_the_background_asks_for_no_worker(world: World) -> None:
    world.heard_live()
    world.tell_ended(world.recorder().whole())
    run(world.pool, "insert into stream (stream_id, source, channel_arn, wanted_at) values ('st-live', 'ivs', %s, now())", CHANNEL)
    leases = world.leases()
    assert leases.waiting().streams == 1
    assert [lease.stream.stream_id for lease in leases.claim(1)] == ["st-live"]
    assert [lease.stream.stream_id for lease in leases.claim(5)] == [FILL]
    assert world.metrics.registry.get_sample_value("earmark_media_seconds_total", {"result": "heard"}) in (None, 0)


def test_what_is_heard_so_is_counted_by_itself(world: World) -> None:
    world.heard_live()
    world.tell_ended(world.recorder().whole())
    world.hear()
    value = world.metrics.registry.get_sample_value
    assert value("earmark_recording_seconds_total", {"of": "gap"}) == pytest.approx(GAP[1] - GAP[0] + 2 * 15, abs=9)
    assert value("earmark_media_seconds_total", {"result": "heard"}) in (None, 0)
    gets, lists = (value("earmark_recording_requests_total", {"operation": operation}) or 0 for operation in ("get", "list"))
    assert gets < 25
    assert lists <= 2
    assert value("earmark_cost_usd_total", {"kind": "requests"}) == pytest.approx(0.4e-6 * gets + 5e-6 * lists)
