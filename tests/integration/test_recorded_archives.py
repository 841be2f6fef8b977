"""Archives of recordings: what there is, what of it is on record, and `earmark backfill` as a user types it, also wrongly."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from control_rows import rows, run
from earmark.cli import main
from earmark.control import archives
from earmark.control.archives import Planned
from earmark.control.leases import Ended
from earmark.local import aws as local_aws
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool, transaction
from ivs_recorder import BUCKET, Recorder, silence_encoded
from recorded_world import BEGAN, CHANNEL, LENGTH_S, STREAM, World


@pytest.fixture
def world(pool: Pool, aws: AwsStandIn) -> Iterator[World]:
    made = World(pool, aws)
    yield made
    made.close()


def plan(world: World, recorder: Recorder) -> Planned:
    from earmark.audio.recording import Recording

    said = Recording(s3=world.s3, place=recorder.place, bytes_max=1_000_000).about()
    with transaction(world.pool) as connection:
        return archives.plan(connection, archives.shelved(recorder.place, said))


def have_heard(world: World, planned: Planned) -> list[str]:
    with transaction(world.pool) as connection:
        return archives.open_planned(connection, planned)


def test_a_recording_of_a_stream_that_nobody_knows_is_heard_whole_and_once(world: World) -> None:
    recorder = world.recorder().whole()
    planned = plan(world, recorder)
    name = "AbCdef1G2hij-20261120T180541Z-j8Z9O91ndcVs"
    assert (planned.plan, planned.stream_ids, planned.hear_s) == ("whole", (name,), pytest.approx(LENGTH_S, abs=0.1))
    assert rows(world.pool, "select * from stream") == []  # to plan is to look
    assert have_heard(world, planned) == [name]
    assert (plan(world, recorder).plan, have_heard(world, planned)) == ("waits", [])
    assert world.hear() == {name: Ended("stream_end")}
    assert (plan(world, recorder).plan, have_heard(world, planned)) == ("heard", [])
    assert world.checkpoint(name).heard_s == pytest.approx(LENGTH_S, abs=0.1)
    hits = world.hits(name)
    assert [hit["reference"]["track_id"] for hit in hits] == world.track_ids
    assert {hit["stream"]["source"] for hit in hits} == {"recording"}
    assert datetime.fromisoformat(hits[0]["started_at"]) == pytest.approx(BEGAN + timedelta(seconds=2), abs=timedelta(seconds=0.6))
    assert [row for row in world.queued() if row["target"] == "sns"] == []
    summary = json.loads(next(row["body"] for row in world.queued() if row["key"] == f"{name}/stream.json"))
    assert (summary["source"], summary["state"]) == ("recording", "ended")
    assert datetime.fromisoformat(summary["heard_from_at"]) == pytest.approx(BEGAN, abs=timedelta(seconds=0.05))


def test_of_a_stream_on_record_only_its_gaps_are_heard_though_no_event_told_of_the_recording(world: World) -> None:
    world.heard_live(gaps=[(26.0, 46.0)])
    recorder = world.recorder().whole()
    planned = plan(world, recorder)
    assert (planned.plan, planned.hear_s) == ("gaps", 20)
    fill = f"{STREAM}.j8Z9O91ndcVs"
    assert have_heard(world, planned) == [fill]
    assert plan(world, recorder).plan == "waits"
    assert world.hear() == {fill: Ended("stream_end")}
    assert world.checkpoint().gap_s == 0
    assert (plan(world, recorder).plan, have_heard(world, planned)) == ("heard", [])


def test_a_stream_that_heard_all_of_it_and_one_that_is_still_on_are_left_alone(world: World) -> None:
    world.heard_live(gaps=[])
    recorder = world.recorder().whole()
    assert plan(world, recorder).plan == "heard"
    run(world.pool, "update stream set state = 'running', owner = 'live', lease_until = now() + interval '1 minute'")
    assert plan(world, recorder).plan == "live"


def test_a_recording_that_has_not_ended_is_left_alone(world: World) -> None:
    recorder = world.recorder()
    recorder.begin()
    assert plan(world, recorder).plan == "live"


def test_what_was_given_up_is_heard_when_the_command_is_given_again(world: World) -> None:
    world.heard_live()
    recorder = world.recorder().whole()
    assert have_heard(world, plan(world, recorder))
    run(world.pool, "update stream set state = 'ended', end_reason = 'failed', last_error = 'denied', ended_at = now() where parent is not null")
    planned = plan(world, recorder)
    assert (planned.plan, have_heard(world, planned)) == ("gaps", [f"{STREAM}.j8Z9O91ndcVs"])


def test_one_that_ended_in_a_failure_has_what_landed_until_then(world: World) -> None:
    recorder = world.recorder()
    recorder.begin()
    for number in range(5):
        recorder.land(number)
    recorder.list()
    recorder.end("failed")
    planned = plan(world, recorder)
    assert planned.plan == "whole"
    (name,) = have_heard(world, planned)
    assert world.hear() == {name: Ended("stream_end")}
    assert world.checkpoint(name).heard_s == pytest.approx(20, abs=0.2)


# As a user types it


@pytest.fixture
def typed(world: World, dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    for name, value in {**local_aws.credentials(world.aws.endpoint_url), "EARMARK_DATABASE__DSN": dsn}.items():
        monkeypatch.setenv(name, value)

    def run_it(*words: str) -> tuple[int, str, str]:
        try:
            code = main(["backfill", *words])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run_it


def test_a_dry_run_lists_and_changes_nothing(world: World, typed) -> None:
    world.recorder().whole()
    world.recorder(began=BEGAN + timedelta(days=1), recording_id="second", media=silence_encoded(24, 6)).whole()
    code, out, err = typed(f"s3://{BUCKET}/ivs/v1", "--dry-run")
    assert (code, err) == (0, "")
    first, second, total = out.splitlines()
    assert first.startswith("2026-11-20 18:05:41      1:12  s3://recordings/ivs/v1/123456789012/AbCdef1G2hij/2026/11/20/18/5/j8Z9O91ndcVs  all of it (1:12)")
    assert "second" in second
    assert total.startswith("2 recordings to be heard, 0.03 hours: some US$ 0.0")
    assert rows(world.pool, "select * from stream") == rows(world.pool, "select * from recording") == []


def test_the_channels_own_bucket_is_found_and_so_is_the_time(world: World, typed) -> None:
    arn = world.aws.put_channel("AbCdef1G2hij", recording_bucket=BUCKET)
    assert arn == CHANNEL
    world.recorder().whole()
    code, out, _ = typed(arn, "--from", "2026-11-20T18:00Z", "--to", "2026-11-20T18:06Z", "--no-wait")
    assert code == 0
    assert out.splitlines()[-1] == "1 session to be heard"
    assert [row["background"] for row in rows(world.pool, "select * from stream")] == [True]
    code, _, err = typed(arn, "--from", "2026-11-20T18:06Z")
    assert (code, "no recording began in that time under s3://recordings/ivs/v1/123456789012/AbCdef1G2hij" in err) == (2, True)


@pytest.mark.parametrize(
    "words, code, why",
    [
        (["s3://recordings/ivs", "--from", "2026-11-21", "--to", "2026-11-20"], 2, "is not before --to"),
        (["s3://recordings/ivs", "--from", "2026-11-20", "--to", "2026-11-20"], 2, "is not before --to"),
        (["s3://recordings/ivs", "--from", "yesterday"], 2, "'yesterday' is no time"),
        (["s3://recordings/nothing/here"], 2, "there is no recording under s3://recordings/nothing/here"),
        (["s3://no-such-bucket/ivs"], 1, "NoSuchBucket"),
        (["recordings/ivs"], 2, "is neither the ARN of an IVS channel"),
        (["s3://"], 2, "is neither the ARN of an IVS channel"),
        (["arn:aws:ivs:us-east-1:123456789012:channel/unknown"], 2, "does not exist"),
        ([], 2, "the following arguments are required"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(typed, words: list[str], code: int, why: str) -> None:
    got, out, err = typed(*words)
    assert (got, out) == (code, "")
    assert why in err
    assert "Traceback" not in err


def test_a_channel_that_is_not_recorded_is_said_to_be(world: World, typed) -> None:
    code, _, err = typed(world.aws.put_channel("plain"))
    assert (code, "is not recorded now" in err) == (2, True)


def test_a_recording_in_another_channels_folder_is_left_out(world: World, typed) -> None:
    good = world.recorder().whole()
    world.recorder(recording_id="forged").whole()
    forged = json.loads(world.recorder()._document("RECORDING_ENDED")) | {"channel_arn": CHANNEL + "X"}
    world.s3.put_object(Bucket=BUCKET, Key=f"{good.prefix.rpartition('/')[0]}/forged/events/recording-ended.json", Body=json.dumps(forged).encode())
    code, out, err = typed(f"s3://{BUCKET}/ivs", "--dry-run")
    assert (code, out.count("all of it"), "lies in another channel's folder" in err) == (0, 1, True)


def test_among_many_objects_a_recording_is_found(world: World, typed) -> None:
    """Listed by folders: what is in them is not looked at."""
    recorder = world.recorder(media=silence_encoded(24, 6)).whole()
    for number in range(150):
        world.s3.put_object(Bucket=BUCKET, Key=f"{recorder.prefix}/media/thumbnails/thumb{number}.jpg", Body=b"")
    code, out, _ = typed(f"s3://{BUCKET}", "--dry-run")
    assert (code, out.count("all of it")) == (0, 1)


def test_without_a_daemon_the_command_says_who_is_missing_and_waits(world: World, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.local.backfill.NOBODY_S", -1.0)
    world.recorder().whole()

    looks = []

    def look(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            world.hear()

    monkeypatch.setattr("earmark.local.backfill.time.sleep", look)
    monkeypatch.setattr("earmark.local.backfill.archives.listeners", lambda _: 0)
    code, out, err = typed(f"s3://{BUCKET}/ivs")
    assert code == 0
    assert err.count("nobody listens: start `earmark run`") == 1
    assert out.splitlines()[-1] == "1 session heard, 0.02 hours; 0 failed"


def test_a_session_that_failed_is_told_and_so_is_the_exit_code(world: World, typed, monkeypatch: pytest.MonkeyPatch) -> None:
    world.recorder(media=silence_encoded(24, 6), lacking=frozenset(range(10))).whole()
    looks = iter(range(20))
    monkeypatch.setattr("earmark.local.backfill.time.sleep", lambda _: (next(looks), world.hear()))
    code, out, err = typed(f"s3://{BUCKET}/ivs")
    assert code == 1
    assert "holds no segment that can be heard" in err
    assert out.splitlines()[-1].endswith("1 failed")
