"""What plays is put into the stream for its player: in order, soon, or not at all."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from action_stage import Stage
from earmark.errors import AwsUnavailable, Postponed
from earmark.hits.outgoing import Outgoing
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool
from hits_samples import TRACK, Catalogue

ON = {"now_playing": {"mode": "on"}}


@pytest.fixture
def stage(pool: Pool, aws: AwsStandIn) -> Stage:
    return Stage(pool, aws, **ON)


def shown(stage: Stage) -> list[tuple[bool, str]]:
    """Whether something plays, and which hit, as the player was told."""
    told = [json.loads(done["metadata"]) for done in stage.aws.broadcasts()]
    return [(one["playing"], one["hit_id"]) for one in told]


def test_a_play_is_shown_when_it_opens_and_taken_away_when_it_closes(stage: Stage) -> None:
    sink = stage.sinks()["ivs_metadata"]
    stage.heard(stage.play("provisional"), until_s=108.0)
    assert stage.waiting("ivs_metadata") == []
    stage.heard(stage.play(revision=2), until_s=112.0)
    (begin,) = stage.waiting("ivs_metadata")
    assert sink.send(begin) == "stored"
    stage.heard(stage.play("closed", revision=3, length_s=25.0), until_s=140.0)
    _, end = stage.waiting("ivs_metadata")
    assert sink.send(end) == "stored"

    hit_id = stage.play().hit_id
    assert shown(stage) == [(True, hit_id), (False, hit_id)]
    assert json.loads(stage.aws.broadcasts()[0]["metadata"])["title"] == "Blue Sky Morning"
    assert stage.told() == [("ivs_metadata", "open", "done", ""), ("ivs_metadata", "closed", "done", "")]
    assert stage.hit()["policy"]["dry_run"] is True  # shown, and nothing done about it
    assert stage.meter.results == [("ivs_metadata", "done")] * 2


def test_what_has_a_successor_is_not_sent_behind_it(stage: Stage) -> None:
    first, second = stage.play(begin_s=100.0), stage.play(begin_s=130.0)
    stage.heard(first, until_s=112.0)
    stage.heard(second, until_s=142.0, playing=[first])
    late, newest = stage.waiting("ivs_metadata")
    sink = stage.sinks()["ivs_metadata"]
    assert sink.send(newest) == "stored"
    assert sink.send(late) == "superseded"
    assert shown(stage) == [(True, second.hit_id)]
    assert stage.told(first.hit_id) == [("ivs_metadata", "open", "withdrawn", "something newer was to be shown by then")]


def test_the_end_of_one_does_not_take_the_begin_of_another_away(stage: Stage) -> None:
    first, second = stage.play(begin_s=100.0), stage.play(begin_s=110.0)
    sink = stage.sinks()["ivs_metadata"]
    stage.heard(first, until_s=112.0)
    sink.send(stage.waiting("ivs_metadata")[0])
    stage.heard(second, until_s=122.0, playing=[first])
    stage.heard(stage.play("closed", begin_s=100.0, revision=2), until_s=124.0, playing=[second])
    _, begin, end = stage.waiting("ivs_metadata")
    assert sink.send(end) == "stored"
    assert sink.send(begin) == "stored"  # what was held up shows all the same
    assert shown(stage) == [(True, first.hit_id), (False, first.hit_id), (True, second.hit_id)]


def test_what_is_old_is_not_shown(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    stage.execute("update action set due_at = now() - interval '31 seconds'")
    assert stage.sinks()["ivs_metadata"].send(stage.waiting("ivs_metadata")[0]) == "superseded"
    assert stage.told()[0][2:] == ("withdrawn", "it could not be sent within 30 s")
    assert shown(stage) == []


def test_one_is_under_way_at_a_time(stage: Stage) -> None:
    first, second = stage.play(begin_s=100.0), stage.play(begin_s=130.0)
    stage.heard(first, until_s=112.0)
    stage.execute("update action set begun_at = now()")
    stage.heard(second, until_s=142.0, playing=[first])
    sink, (_, newest) = stage.sinks()["ivs_metadata"], stage.waiting("ivs_metadata")
    with pytest.raises(Postponed):
        sink.send(newest)
    stage.execute("update action set begun_at = now() - interval '1 minute' where begun_at is not null")  # whoever it was has died
    assert sink.send(newest) == "stored"


def test_however_many_workers_send_at_once_the_last_word_is_the_newest(stage: Stage) -> None:
    """Twelve titles within a second, by four threads: IVS would take five, and each that is sent is newer than the one before."""
    plays = [stage.play(begin_s=100.0 + number) for number in range(12)]
    for number, play in enumerate(plays):
        stage.heard(play, until_s=112.0 + number)
    items, sinks = stage.waiting("ivs_metadata"), [stage.sinks()["ivs_metadata"] for _ in range(4)]

    def send(number: int) -> bool:
        """False: it is to be tried again."""
        item: Outgoing = items[number]
        try:
            sinks[number % 4].send(item)
        except Postponed:
            return False
        return True

    left = list(range(12))
    with ThreadPoolExecutor(4) as threads:
        for _ in range(20):
            left = [number for number, gone in zip(left, threads.map(send, left), strict=True) if not gone]
    assert left == []
    order = [play.hit_id for play in plays]
    sent = [order.index(hit_id) for _, hit_id in shown(stage)]
    assert sent == sorted(sent)
    assert sent[-1] == 11


def test_a_stream_that_is_over_shows_nothing(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    stage.aws.go_offline(stage.channel)
    sink, (item,) = stage.sinks()["ivs_metadata"], stage.waiting("ivs_metadata")
    assert sink.send(item) == "superseded"
    assert stage.told()[0][2:] == ("withdrawn", "the stream was over")


def test_the_next_stream_of_the_channel_is_not_told_what_the_last_one_played(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    stage.execute("update stream set state = 'ended', owner = null, lease_until = null")
    assert stage.sinks()["ivs_metadata"].send(stage.waiting("ivs_metadata")[0]) == "superseded"
    assert stage.told()[0][2:] == ("withdrawn", "the stream had ended")
    assert shown(stage) == []


def test_what_is_throttled_is_tried_again_and_what_is_refused_is_not(stage: Stage) -> None:
    stage.heard(stage.play(), until_s=112.0)
    sink, (item,) = stage.sinks()["ivs_metadata"], stage.waiting("ivs_metadata")
    stage.aws.refuse("PutMetadata", "ThrottlingException", status=429)
    with pytest.raises(AwsUnavailable, match="ivs:PutMetadata"):
        sink.send(item)
    stage.aws.refuse("PutMetadata", "AccessDeniedException")
    assert sink.send(item) == "superseded"
    ((_, _, state, detail),) = stage.told()
    assert state == "failed"
    assert "allow ivs:PutMetadata in the role's policy" in detail


def test_whatever_strangers_call_a_recording_it_is_shown(stage: Stage) -> None:
    hostile = replace(TRACK, title="🎵<script>alert(1)</script>\r\n\u202e" * 60, artists=("=HYPERLINK()" * 100, "x" * 2_000))
    stage.recorder = stage.ledger(tracks=Catalogue(hostile))
    stage.heard(stage.play(), until_s=112.0)
    assert stage.sinks()["ivs_metadata"].send(stage.waiting("ivs_metadata")[0]) == "stored"  # IVS takes no more than a kilobyte
    told = json.loads(stage.aws.broadcasts()[0]["metadata"])
    assert told["title"].startswith("🎵<script>alert(1)</script> 🎵")  # it is text: whoever shows it shows it as text
    assert told["artist"].startswith("=HYPERLINK()")
    assert "\u202e" not in told["title"]


def test_a_dry_run_tells_and_shows_nothing(pool: Pool, aws: AwsStandIn) -> None:
    stage = Stage(pool, aws, now_playing={"mode": "dry_run"})
    stage.heard(stage.play(), until_s=112.0)
    stage.heard(stage.play("closed", revision=2), until_s=140.0)
    assert [told[1:] for told in stage.told()] == [
        ("open", "dry_run", "dry run: what plays would be put into the stream"),
        ("closed", "dry_run", "dry run: that it is over would be put into the stream"),
    ]
    assert stage.waiting("ivs_metadata") == []
