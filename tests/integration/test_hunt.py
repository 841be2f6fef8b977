"""What was heard is kept with the session's position, searched by `earmark hunt`, published, and gone when it is too old."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hits_samples as samples
from control_rows import leases_of, rows, run
from earmark.cli import main
from earmark.control.forgetting import forget
from earmark.control.retention import Retention
from earmark.errors import BadSettings, LeaseLost
from earmark.fingerprint.kept import Keeper, expand, pack, unpack
from earmark.fingerprint.window import Window, fingerprint
from earmark.hits import kept as module
from earmark.hits.kept import KeptRows
from earmark.hits.ledger import Ledger
from earmark.hits.outbox import Publisher
from earmark.hits.positions import Positions
from earmark.hits.sinks import S3Sink
from earmark.index.catalogue import Tracks
from earmark.local import music, sound
from earmark.local.aws import AwsStandIn
from earmark.local.typed_times import moment
from earmark.model import FINGERPRINT_VERSION, FRAMES_PER_S, RATE_HZ, Checkpoint, Float32, Lease, Peaks
from earmark.postgres import Pool, transaction
from earmark.settings import Alerts, Results
from earmark.settings import Outbox as OutboxSettings
from earmark.settings import Retention as RetentionSettings
from hearing_sounds import at_8_khz, noise, tune
from hits_samples import NOON, STREAM, validator
from index_catalogue import recording_of

PIECE = music.catalogue(1)[0]
ID = STREAM.stream_id
#: Where in the programme the piece is, and where in the piece that is.
BEGIN_S, FROM_S, LENGTH_S = 12.0, 30.0, 40.0
Run = Callable[..., tuple[int, str, str]]


@cache
def piece() -> Float32:
    return at_8_khz(music.render(PIECE), music.RATE_HZ)


@cache
def programme() -> Float32:
    part = piece()[int(FROM_S * RATE_HZ) : int((FROM_S + LENGTH_S) * RATE_HZ)]
    return np.concatenate([tune(3, BEGIN_S), part, noise(4, 5)])


class Worker:
    """A session without a source: what it hears goes on record as in the daemon."""

    def __init__(self, pool: Pool, lease: Lease, *, results: Results | None = None, start_s: float = 0.0) -> None:
        self.keeper = Keeper()
        self.positions = Positions(pool=pool, worker=lease.owner)
        self.ledger = Ledger(
            pool=pool,
            lease=lease,
            tracks=Tracks(pool=pool),
            results=results or Results(),
            alerts=Alerts(),
            nudge=lambda: None,
            now=samples.Clock(NOON + timedelta(minutes=10)),
            positions=self.positions,
            kept=KeptRows(stream_id=lease.stream.stream_id, keeper=self.keeper),
        )
        self.position_s = start_s
        self.ledger.commit(self.checkpoint(), ())
        self.front = self.keeper.run(start_s, Window())

    def checkpoint(self, **changes: Any) -> Checkpoint:
        return samples.checkpoint(self.position_s, **changes)

    def hear(self, sound_: Float32, *, every: int = 16_000) -> None:
        for begin in range(0, len(sound_), every):
            self.front.push(sound_[begin : begin + every])
            self.position_s += len(sound_[begin : begin + every]) / RATE_HZ
            self.ledger.note(self.checkpoint())
            self.positions.write()

    def end(self) -> None:
        self.front.flush()
        self.ledger.commit(self.checkpoint(state="ended", end_reason="stream_end"), ())


def lease_of(pool: Pool, **of: Any) -> Lease:
    with transaction(pool) as connection:
        return samples.insert_stream(connection, **of)


def over(pool: Pool) -> None:
    run(pool, "update stream set state = 'ended', owner = null, lease_until = null, ended_at = now()")


def heard(pool: Pool, **more: Any) -> None:
    """A stream in which the piece was played before anybody knew it, and which is over."""
    worker = Worker(pool, lease_of(pool), **more)
    worker.hear(programme())
    worker.end()
    over(pool)


def add(pool: Pool) -> str:
    track = replace(PIECE.track, duration_s=len(piece()) / RATE_HZ)
    Tracks(pool=pool).add([recording_of(track, fingerprint(piece()), b"piece")])
    return PIECE.track.track_id


def peaks_of(pool: Pool) -> Peaks:
    """All that is kept in whole blocks, as of one run from second 0."""
    blocks = rows(pool, "select begin_s, peaks from kept_block order by begin_s")
    return Peaks.join(*(_later(unpack(expand(block["peaks"])), block["begin_s"]) for block in blocks))


def _later(peaks: Peaks, seconds: float) -> Peaks:
    frames = np.int32(round(seconds * FRAMES_PER_S * 8))
    return Peaks(eighth_frames=peaks.eighth_frames + frames, eighth_hz=peaks.eighth_hz, hashed=peaks.hashed, salience=peaks.salience)


def counts(pool: Pool) -> tuple[int, int]:
    return tuple(rows(pool, f"select count(*) as n from kept_{table}")[0]["n"] for table in ("group", "block"))  # type: ignore[return-value]


@pytest.fixture
def hunt(dsn: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)

    def call(*argv: object) -> tuple[int, str, str]:
        code = main(["hunt", *map(str, argv)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


# ------------------------------------------------------------------------------------------------ keeping


def test_what_was_heard_is_on_record_with_the_position_and_put_together_at_the_end(pool: Pool) -> None:
    worker = Worker(pool, lease_of(pool))
    worker.hear(programme()[: 20 * RATE_HZ])
    groups, blocks = counts(pool)
    assert (groups, blocks) == (10, 0)
    known = rows(pool, "select max(end_eighth) / 8 as frame, min(fingerprint_version) as version from kept_group")[0]
    assert known == {"frame": pytest.approx(20 * FRAMES_PER_S - 10, abs=2), "version": FINGERPRINT_VERSION}
    worker.hear(programme()[20 * RATE_HZ :])
    worker.end()
    assert counts(pool) == (0, 1)
    expected, found = unpack(pack(fingerprint(programme()))), peaks_of(pool)
    for column in ("eighth_frames", "eighth_hz", "hashed", "salience"):
        assert np.array_equal(getattr(found, column), getattr(expected, column))
    (block,) = rows(pool, "select stream_id, begin_s, begin_at, fingerprint_version from kept_block")
    assert block == {"stream_id": ID, "begin_s": 0.0, "begin_at": NOON, "fingerprint_version": FINGERPRINT_VERSION}


def test_whoever_takes_a_stream_up_finds_what_was_kept_and_goes_on(pool: Pool) -> None:
    cut = 20 * RATE_HZ
    first = Worker(pool, lease_of(pool))
    first.hear(programme()[:cut])  # and dies
    second = Worker(pool, Lease(stream=STREAM, owner="worker-1", fencing=1, checkpoint=Checkpoint()), start_s=20.0)
    assert counts(pool) == (0, 1)
    second.hear(programme()[cut:])
    second.end()
    assert counts(pool) == (0, 2)
    runs = [Window().push(programme()[:cut]), fingerprint(programme()[cut:])]
    assert len(peaks_of(pool)) == sum(len(peaks) for peaks in runs)


def test_a_worker_that_lost_its_lease_keeps_nothing_more(pool: Pool) -> None:
    worker = Worker(pool, lease_of(pool))
    worker.hear(programme()[: 4 * RATE_HZ])
    before = counts(pool)
    run(pool, "update stream set fencing = 2, owner = 'another'")
    with pytest.raises(LeaseLost):
        worker.hear(programme()[4 * RATE_HZ : 12 * RATE_HZ])
    with pytest.raises(LeaseLost):
        worker.ledger.commit(worker.checkpoint(), ())
    assert counts(pool) == before


def test_silence_leaves_no_row(pool: Pool) -> None:
    worker = Worker(pool, lease_of(pool))
    worker.hear(sound.silence(1)[: 8 * RATE_HZ] * 0)
    worker.end()
    assert counts(pool) == (0, 0)


def test_what_was_not_written_is_written_with_the_next(pool: Pool) -> None:
    """A note that nobody put on record, because the database was away, is part of the next one."""
    worker = Worker(pool, lease_of(pool))
    for n in range(3):
        worker.front.push(programme()[n * 16_000 : (n + 1) * 16_000])
        worker.position_s += 2
        worker.ledger.note(worker.checkpoint())
    worker.positions.write()
    assert counts(pool) == (3, 0)
    worker.positions.write()
    worker.end()
    assert counts(pool) == (0, 1)


# ------------------------------------------------------------------------------------------------ hunting


def test_a_recording_that_is_added_later_is_found_with_its_seconds(pool: Pool, hunt: Run) -> None:
    heard(pool)
    track_id = add(pool)
    code, out, err = hunt(track_id)
    assert (code, err) == (0, "")
    first, headings, line = out.splitlines()
    assert first.endswith(f"{PIECE.track.title} was heard 1 time, in 0.0 h of 1 stream")
    assert headings.split()[:5] == ["kind", "where", "from", "to", "at"]
    assert line.startswith("stream  ") and ID in line
    assert "2026-11-21 12:00:1" in line
    assert line.endswith("new")
    (found,) = map(json.loads, hunt(track_id, "--json")[1].splitlines())
    assert (found["stream"]["id"], found["track"]["track_id"], found["on_record_as"]) == (ID, track_id, None)
    assert (found["begin_s"], found["end_s"]) == (pytest.approx(BEGIN_S, abs=0.7), pytest.approx(BEGIN_S + LENGTH_S, abs=0.7))
    assert found["reference_begin_s"] - found["begin_s"] == pytest.approx(FROM_S - BEGIN_S, abs=0.05)
    assert found["false_alarms_per_hour"] < 1e-4
    assert datetime.fromisoformat(found["started_at"]) == NOON + timedelta(seconds=found["begin_s"])


def test_a_file_is_hunted_without_the_catalogue(pool: Pool, hunt: Run, tmp_path: Path) -> None:
    heard(pool)
    path = tmp_path / "new single.flac"
    sound.write_flac(path, music.render(PIECE), PIECE.track)
    code, out, _ = hunt(path)
    assert (code, out.splitlines()[0]) == (0, "new single was heard 1 time, in 0.0 h of 1 stream")
    other = tmp_path / "other.flac"
    sound.write_flac(other, music.render(music.stranger(like=PIECE))[: 60 * music.RATE_HZ], PIECE.track)
    assert hunt(other) == (0, "other was not heard in 0.0 h of 1 stream\n", "")


def test_a_stream_that_is_still_on_is_searched_up_to_now(pool: Pool, hunt: Run) -> None:
    worker = Worker(pool, lease_of(pool))
    worker.hear(programme()[: 40 * RATE_HZ])
    assert counts(pool)[1] == 0
    (found,) = map(json.loads, hunt(add(pool), "--json")[1].splitlines())
    assert found["end_s"] == pytest.approx(40, abs=1.5)


def test_what_is_searched_can_be_narrowed(pool: Pool, hunt: Run) -> None:
    heard(pool)
    track_id = add(pool)
    for narrow in (("--since", "2026-11-21"), ("--stream", ID), ("--channel", STREAM.channel_name), ("--channel", STREAM.channel_arn)):
        code, out, err = hunt(track_id, *narrow)
        assert (code, "was heard 1 time" in out) == (0, True), err
    for narrow in (("--until", "2026-11-20"), ("--stream", "other"), ("--channel", "other")):
        code, out, err = hunt(track_id, *narrow)
        assert (code, out) == (2, "")
        assert "nothing is kept of any such stream in that time" in err


def test_what_is_on_record_already_says_so(pool: Pool, hunt: Run) -> None:
    heard(pool)
    track_id = add(pool)
    known = samples.hit(samples.play(track_id, begin_s=BEGIN_S, length_s=LENGTH_S, state="closed"))
    run(
        pool,
        "insert into play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, fencing) values (%s, %s, %s, 1, 'closed', %s, %s, %s, 1)",
        known["hit_id"], ID, track_id, BEGIN_S, BEGIN_S + LENGTH_S, json.dumps(known),
    )  # fmt: skip
    _, out, _ = hunt(track_id)
    assert "was heard 1 time, 1 of them on record already" in out
    assert out.splitlines()[-1].endswith(known["hit_id"])


# ------------------------------------------------------------------------------------------------ publishing


def test_what_was_found_leaves_as_a_hit_of_its_stream(pool: Pool, hunt: Run, aws: AwsStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="results")
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", "results")
    monkeypatch.setenv("EARMARK_ALERTS__TOPIC_ARN", "arn:aws:sns:us-east-1:123456789012:alerts")
    heard(pool, results=Results(bucket="results"))
    run(pool, "delete from outbox")
    track_id = add(pool)
    assert hunt(track_id, "--publish")[0] == 0
    (alert,) = rows(pool, "select subject from (select attributes->>'subject' as subject from outbox where target = 'sns') a")
    assert alert
    publish(pool, s3)
    keys = {entry["Key"].removeprefix(f"{ID}/").partition("/")[0] for entry in s3.list_objects_v2(Bucket="results")["Contents"]}
    assert keys == {"hits", "evidence", "stream.json", "cue-sheet.csv", "cut-list.json", "report.html"}
    (play,) = rows(pool, "select hit_id, state, body from play")
    document = json.loads(s3.get_object(Bucket="results", Key=f"{ID}/hits/{play['hit_id']}.json")["Body"].read())
    validator("hit").validate(document)
    assert (document["state"], document["detection"]["worker"], document["stream"]["source"]) == ("closed", "earmark hunt", "ivs")
    assert document["query"]["begin_s"] == pytest.approx(BEGIN_S, abs=0.7)
    told = json.loads(s3.get_object(Bucket="results", Key=f"{ID}/stream.json")["Body"].read())
    validator("stream").validate(told)
    assert [line["hit_id"] for line in told["plays"]] == [play["hit_id"]]
    _, out, _ = hunt(track_id, "--publish")  # again
    assert "1 of them on record already" in out
    assert rows(pool, "select count(*) as n from outbox where target = 's3'")[0]["n"] == 0
    assert len(rows(pool, "select 1 from play")) == 1


def publish(pool: Pool, s3: Any) -> None:
    class Uncounted:
        def published(self, **_: Any) -> None: ...
        def owed(self, **_: Any) -> None: ...

    sinks: Any = {"s3": S3Sink(client=s3, bucket="results")}
    assert Publisher(pool=pool, sinks=sinks, settings=OutboxSettings(), stop=threading.Event(), metrics=Uncounted()).drain(limit_s=30)


def test_a_stream_that_is_still_on_is_not_written_to(pool: Pool, hunt: Run) -> None:
    Worker(pool, lease_of(pool)).hear(programme()[: 40 * RATE_HZ])
    code, out, err = hunt(add(pool), "--publish")
    assert (code, "was heard 1 time" in out) == (1, True)
    assert err == f"earmark: the stream {ID} is still on, and its session writes its record: publish when it has ended\n"
    assert rows(pool, "select 1 from play") == []


# ------------------------------------------------------------------------------------------------ wrong input


def test_what_cannot_be_hunted_is_told_in_one_sentence(pool: Pool, hunt: Run) -> None:
    heard(pool)
    track_id = add(pool)
    for argv, says in (
        (("no-such-track",), "the catalogue has no recording no-such-track, and there is no such file"),
        ((track_id, "--since", "tomorrow"), "--since 'tomorrow' is no time: write a day (2026-11-01), a moment"),
        ((track_id, "--since", "2999-01-01"), "--since 2999-01-01 is in the future"),
        ((track_id, "--since", "1h", "--until", "2h"), "--until 2h is before --since 1h"),
        ((track_id, "--stream", "nobody"), "nothing is kept of any such stream in that time"),
    ):
        code, out, err = hunt(*argv)
        assert (code, out) == (2, "")
        assert says in err
        assert len(err.splitlines()) == 1
    run(pool, "update track set duration_s = 7201")
    assert "is longer than 2 hours, and is not hunted as a whole: cut it into recordings" in hunt(track_id)[2]


def test_where_nothing_is_kept_it_says_why(pool: Pool, hunt: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    track_id = add(pool)
    assert "what a worker hears is kept for hunt.keep_days, 7" in hunt(track_id)[2]
    monkeypatch.setenv("EARMARK_HUNT__KEEP_DAYS", "0")
    code, _, err = hunt(track_id)
    assert code == 2
    assert "hunt.keep_days is 0, so nothing is kept" in err


def test_a_file_cannot_be_published(pool: Pool, hunt: Run, tmp_path: Path) -> None:
    heard(pool)
    path = tmp_path / "single.flac"
    sound.write_flac(path, music.render(PIECE)[: 30 * music.RATE_HZ], PIECE.track)
    code, _, err = hunt(path, "--publish")
    assert code == 2
    assert "add it to the catalogue first" in err
    path.write_bytes(b"no sound")
    assert hunt(path)[0] == 1


def test_what_another_version_kept_is_not_searched(pool: Pool, hunt: Run) -> None:
    heard(pool)
    run(pool, "update kept_block set fingerprint_version = 1")
    code, _, err = hunt(add(pool))
    assert code == 2
    assert "is of another version of the fingerprint, and cannot be searched by this Earmark" in err


def test_a_damaged_block_costs_that_block(pool: Pool, hunt: Run) -> None:
    heard(pool)
    run(pool, "insert into kept_block select stream_id, 1000, frames, begin_at, fingerprint_version, '\\x00', peaks from kept_block")
    code, out, err = hunt(add(pool))
    assert (code, "was heard 1 time" in out) == (0, True)
    assert err.startswith(f"earmark: {ID} from 16:40: a sketch of ")
    assert err.rstrip().endswith("it is left out")


@pytest.mark.parametrize("text, at", [("7d", -7 * 24), ("36h", -36), ("90m", -1.5), ("2026-11-21", -12), ("2026-11-21T11:00:00Z", -1)])
def test_a_time_is_how_long_ago_or_when(text: str, at: float) -> None:
    assert moment(text, "--since", now=NOON) == NOON + timedelta(hours=at)


def test_a_day_is_the_last_one_after_until() -> None:
    assert moment("2026-11-21", "--until", now=NOON, last=True) == NOON + timedelta(hours=12)


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 days", "2026-13-01", "٧d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadSettings, match="is no time"):
        moment(text, "--since", now=NOON)


# ------------------------------------------------------------------------------------------------ going


def test_what_is_too_old_goes_and_with_no_days_all_of_it(pool: Pool) -> None:
    heard(pool)
    run(pool, "insert into kept_block select stream_id, 1000, frames, begin_at, fingerprint_version, sketch, peaks, now() - interval '8 days' from kept_block")
    run(pool, "insert into kept_group values ('gone', 0, 0, 8, 1, '', now() - interval '8 days')")
    counted: dict[str, int] = {}

    class Meter:
        def removed(self, table: str, rows: int) -> None:
            counted[table] = counted.get(table, 0) + rows

        def removal_failed(self) -> None: ...
        def oldest(self, table: str, age_s: float) -> None:
            counted[f"age of {table}"] = round(age_s)

    def prune(days: int) -> None:
        run(pool, "update sweep set swept_at = swept_at - interval '600 s'")
        retention = Retention(pool=pool, settings=RetentionSettings(), erasure=None, keep_days=days, meter=Meter(), stop=threading.Event())
        assert retention.prune() is not None
        retention.tell_ages()

    prune(7)
    assert counts(pool) == (0, 1)
    assert counted["kept"] == 2
    assert counted["age of kept"] < 60
    prune(0)
    assert counts(pool) == (0, 0)


def test_a_stream_that_is_forgotten_loses_what_was_kept_of_it(pool: Pool) -> None:
    heard(pool)
    run(pool, "insert into kept_group values (%s, 0, 0, 8, 1, '', now()), ('other', 0, 0, 8, 1, '', now())", ID)
    forgotten = forget(pool, ID, results=None)
    assert (forgotten.rows["kept_block"], forgotten.rows["kept_group"]) == (1, 1)
    assert [row["stream_id"] for row in rows(pool, "select stream_id from kept_group union all select stream_id from kept_block")] == ["other"]


def test_hunts_read_sketches_by_the_primary_key(pool: Pool) -> None:
    heard(pool)
    wanted = {"fps": FRAMES_PER_S, "version": 1, "stream_id": ID, "after_s": -1.0, "since": NOON, "until": datetime.now(UTC)}
    with transaction(pool) as connection:
        connection.execute("set local enable_seqscan = off")
        plan = "\n".join(line for (line,) in connection.execute(f"explain {module._DRAWN}", wanted).fetchall())  # type: ignore[arg-type]
    assert "kept_block_pkey" in plan
    assert leases_of(pool, "anyone")
