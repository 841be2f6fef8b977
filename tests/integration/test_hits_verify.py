"""What lies beside a hit proves it: kept with checksums in a real bucket, computed again by `earmark hits verify`, drawn by `hits explain`."""

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from botocore.exceptions import ClientError
from psycopg.types.json import Json

import hits_samples as samples
from control_rows import rows, run
from earmark.aws import Clients
from earmark.cli import main
from earmark.control.forgetting import Results
from earmark.control.retention import Retention
from earmark.errors import AwsRefused, AwsUnavailable
from earmark.hits.outbox import Publisher
from earmark.hits.sinks import FileSink, S3Sink
from earmark.index.catalogue import Tracks
from earmark.local.aws import AwsStandIn
from earmark.model import FINGERPRINT_VERSION, RATE_HZ, Float32
from earmark.postgres import Pool, transaction
from earmark.settings import Evidence
from earmark.settings import Outbox as OutboxSettings
from earmark.settings import Retention as RetentionSettings
from evidence_world import Worker, hits, stock, verdict_of, waiting_objects
from hearing_sounds import noise, tune

PIECE, SECOND = tune(1, 60), tune(2, 30)
#: The piece from 8 s on.
ON_AIR = np.concatenate([noise(1, 8), PIECE[5 * RATE_HZ : 45 * RATE_HZ], noise(2, 16)])
CLIPS = Evidence(clip=True)
NO_PEAKS = {"score": {"threshold_nats": 1}, "track_id": "first", "fingerprint_version": FINGERPRINT_VERSION, "matched": {}}
Run = Callable[..., tuple[int, str, str]]


@dataclass
class World:
    pool: Pool
    s3: Any

    def hear(self, evidence: Evidence = CLIPS, sound: Float32 = ON_AIR) -> dict[str, Any]:
        """A stream, to its end; its one hit, whose evidence is in the bucket."""
        stock(self.pool, {"first": PIECE, "second": SECOND})
        Worker(self.pool, evidence).hear(sound, 8 * RATE_HZ).end()
        self.publish()
        return self.hit

    @property
    def hit(self) -> dict[str, Any]:
        (hit,) = hits(self.pool)
        return hit

    def publish(self, **sinks: Any) -> bool:
        class Uncounted:
            def published(self, **_: Any) -> None: ...
            def owed(self, **_: Any) -> None: ...

        sink = S3Sink(client=self.s3, bucket="results")
        sending: Any = sinks or {"s3": sink, "clip": sink}
        settings = OutboxSettings(poll_s=0.05, retry_initial_s=0.05, retry_max_s=0.1)
        return Publisher(pool=self.pool, sinks=sending, settings=settings, stop=threading.Event(), metrics=Uncounted()).drain(limit_s=1.0 if sinks else 20.0)

    def key(self, kind: str) -> str:
        proof = self.hit["evidence"]
        return str(proof["key"] if kind == "peaks" else proof[kind]["key"])

    def read(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket="results", Key=key)["Body"].read())

    def write(self, key: str, content: bytes) -> None:
        self.s3.put_object(Bucket="results", Key=key, Body=content)

    def change_hit(self, **evidence: Any) -> None:
        run(self.pool, "update play set body = jsonb_set(body, '{evidence}', %s::jsonb)", Json(evidence))


@pytest.fixture(scope="module")
def client(aws: AwsStandIn) -> Any:
    return aws.client("s3")


@pytest.fixture
def world(pool: Pool, client: Any, aws: AwsStandIn) -> World:
    client.create_bucket(Bucket="results")
    return World(pool, client)


@pytest.fixture
def verify(dsn: str, client: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", "results")
    monkeypatch.setattr(Clients, "s3", client)  # to make one takes longer than to verify a hit

    def run(*arguments: str, action: str = "verify") -> tuple[int, str, str]:
        code = main(["hits", action, *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


# ------------------------------------------------------------------------------------------------ what lies there


def test_beside_a_hit_lie_its_peaks_its_picture_and_its_clip_each_with_its_checksum(world: World) -> None:
    hit = world.hear()
    samples.validator("hit").validate(hit)
    proof = hit["evidence"]
    folder = f"{samples.STREAM.stream_id}/evidence/{hit['hit_id']}"
    assert [proof["key"], proof["picture"]["key"], proof["clip"]["key"]] == [f"{folder}.json", f"{folder}.svg", f"{folder}.flac"]
    for told in (proof, proof["picture"], proof["clip"]):
        content = world.read(told["key"])
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (told["sha256"], told["bytes"])
    assert json.loads(world.read(f"{samples.STREAM.stream_id}/hits/{hit['hit_id']}.json"))["evidence"] == proof
    evidence = json.loads(world.read(proof["key"]))
    samples.validator("evidence").validate(evidence)
    assert (evidence["clip"], evidence["picture"]) == (proof["clip"], proof["picture"])
    assert len(evidence["matched"]["stream_s"]) + len(evidence["others"]["stream_s"]) == evidence["peaks"]["heard"]
    assert world.s3.head_object(Bucket="results", Key=proof["clip"]["key"])["ContentType"] == "audio/flac"
    assert proof["clip"]["begin_s"] == pytest.approx(hit["query"]["begin_s"] - 5, abs=0.04)
    assert proof["clip"]["end_s"] - proof["clip"]["begin_s"] == pytest.approx(30, abs=0.04)


def test_by_default_there_is_no_clip_and_without_a_picture_none(world: World) -> None:
    hit = world.hear(Evidence(picture=False))
    assert set(hit["evidence"]) == {"key", "sha256", "bytes"}
    assert [entry["Key"].rpartition(".")[2] for entry in world.s3.list_objects_v2(Bucket="results", Prefix="st-1A2B3C/evidence/")["Contents"]] == ["json"]
    assert Evidence().clip is False


def test_the_picture_is_one_document_without_a_script_that_draws_every_peak(world: World, verify: Run, tmp_path: Path) -> None:
    hit = world.hear(Evidence())
    picture = world.read(world.key("picture")).decode()
    root = ET.fromstring(picture)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "title", "desc", "style", "text", "path", "line", "rect"}
    assert not {name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name}
    assert "url(" not in picture and "@import" not in picture
    evidence = json.loads(world.read(world.key("peaks")))
    found = [element.get("d", "") for element in root.iter() if element.get("class") == "dots found"]
    assert sorted(path.count("M") for path in found) == [1, len(evidence["matched"]["stream_s"]), len(evidence["matched"]["stream_s"])]
    code, out, err = verify(hit["hit_id"], "--svg", str(tmp_path / "why.svg"), action="explain")
    assert (code, out, "shows why" in err) == (0, "", True)
    assert (tmp_path / "why.svg").read_text(encoding="utf-8") == picture
    code, out, err = verify(hit["hit_id"], "--svg", str(tmp_path / "nowhere" / "why.svg"), action="explain")
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_retention_takes_all_of_it(world: World) -> None:
    hit = world.hear()
    run(world.pool, "update stream set state = 'ended', ended_at = now(), owner = null, lease_until = null")
    run(world.pool, "update play set updated_at = now() - interval '31 days'")

    class Meter:
        def removed(self, *_: Any) -> None: ...
        def removal_failed(self) -> None: ...
        def oldest(self, *_: Any) -> None: ...

    erasure = Results(s3=world.s3, bucket="results", prefix="")
    Retention(pool=world.pool, settings=RetentionSettings(), erasure=erasure, meter=Meter(), stop=threading.Event()).prune()
    assert "Contents" not in world.s3.list_objects_v2(Bucket="results", Prefix="st-1A2B3C/evidence/")
    verdict = verdict_of(world.pool, hit["hit_id"])
    assert (verdict.holds, "retention.evidence_days" in verdict.reason) == (False, True)


# ------------------------------------------------------------------------------------------------ it holds


@pytest.mark.parametrize("codec", ["flac", "opus"])
def test_a_hit_holds_by_its_clip_and_by_its_peaks(codec: Any, world: World, verify: Run) -> None:
    hit = world.hear(Evidence(clip=True, clip_codec=codec))
    code, out, err = verify(hit["hit_id"])
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == ["Hit", "Recording", "Evidence", "Told", "Again", "Again", "Verdict"]
    assert out.count(": what it was") == 4
    assert "Verdict    it holds: " in out and "The Example Five - Title of first (first)" in out
    code, out, _ = verify(hit["hit_id"], "--json")
    told = json.loads(out)
    by = {score["by"]: score["nats"] for score in told["scores"]}
    assert (code, told["holds"], list(by)) == (0, True, ["clip", "peaks"])
    assert by["peaks"] == pytest.approx(told["told_nats"], rel=0.01)
    assert by["clip"] > told["told_nats"] * (0.8 if codec == "flac" else 0.5)
    assert {part["name"]: part["state"] for part in told["parts"]} == dict.fromkeys(["the record", "the peaks", "the picture", "the clip"], "intact")


def test_without_a_clip_it_holds_by_its_peaks_and_without_a_bucket_by_what_postgresql_has(world: World, verify: Run, monkeypatch) -> None:
    hit = world.hear(Evidence())
    assert verify(hit["hit_id"])[0] == 0
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", "")
    code, out, _ = verify(hit["hit_id"])
    assert (code, "nats by the peaks" in out, "no bucket is set" in out) == (0, True, True)


def test_what_is_on_its_way_is_said_to_be(world: World, verify: Run) -> None:
    stock(world.pool, {"first": PIECE})
    Worker(world.pool, CLIPS).hear(ON_AIR, 8 * RATE_HZ).end()
    code, out, _ = verify(world.hit["hit_id"])
    assert (code, out.count("on its way to S3")) == (0, 3)


def test_what_is_missing_is_said_and_the_rest_is_judged(world: World, verify: Run) -> None:
    hit = world.hear()
    for number, kind in enumerate(("peaks", "picture", "clip"), 1):
        world.s3.delete_object(Bucket="results", Key=world.key(kind))
        code, out, _ = verify(hit["hit_id"])
        assert (code, f"the {kind}: not there" in out, out.count(": not there")) == (0, True, number)
        assert ("nats by the clip" in out) is (kind != "clip")


def test_a_bucket_that_cannot_be_read_is_said_and_the_rest_is_judged(world: World, verify: Run, monkeypatch) -> None:
    hit = world.hear()
    monkeypatch.setenv("EARMARK_RESULTS__BUCKET", "nobodys-bucket")
    code, out, _ = verify(hit["hit_id"])
    assert (code, out.count("not read: s3:GetObject"), "nats by the peaks" in out) == (0, 3, True)
    for error in (AwsRefused("s3:GetObject was refused: AccessDenied"), AwsUnavailable("no answer")):

        def refused(_key: str, error: Exception = error) -> bytes:
            raise error

        verdict = verdict_of(world.pool, hit["hit_id"], refused)
        assert (verdict.holds, [part.state for part in verdict.parts]) == (True, ["intact", *["not read"] * 3])


def test_of_a_version_without_checksums_and_other_peaks_it_holds_by_its_line_and_says_so(world: World, verify: Run) -> None:
    world.hear(Evidence(picture=False))
    run(world.pool, "update play set evidence = (evidence::jsonb - 'others' - 'recording')::json")
    world.change_hit(key=world.key("peaks"))
    code, out, _ = verify(world.hit["hit_id"])
    assert (code, out.count("without a checksum"), "nats by the line" in out, "only the peaks on the line" in out) == (0, 2, True, True)
    (told,) = rows(world.pool, "select (evidence->'score'->>'evidence_nats')::float8 as nats from play")
    (score,) = verdict_of(world.pool, world.hit["hit_id"]).scores
    assert score.nats <= told["nats"]


def test_of_an_alias_its_own_sound_is_asked_for(world: World, verify: Run) -> None:
    """Told as a recording that is not even there."""
    hit = world.hear()
    run(world.pool, """update play set evidence = (evidence::jsonb || '{"track_id": "the one", "heard_as": "first"}')::json""")
    whole = {"track_id": "first", "begin_s": 5.0, "end_s": 45.0, "duration_s": 60.0, "placed": True}
    reference = {**hit["reference"], "track_id": "the one", "begin_s": 500.0, "end_s": 540.0, "heard_as": whole}
    run(world.pool, "update play set body = jsonb_set(body, '{reference}', %s::jsonb)", Json(reference))
    world.change_hit(**{name: part for name, part in hit["evidence"].items() if name not in ("sha256", "key")})
    code, out, _ = verify(hit["hit_id"])
    assert (code, "nats by the clip" in out, "nats by the peaks" in out, "replaced" in out) == (0, True, True, False)


def test_by_another_version_of_the_fingerprint_the_clip_is_heard_anew(world: World, verify: Run) -> None:
    hit = world.hear()
    run(world.pool, "update play set evidence = jsonb_set(evidence::jsonb, '{fingerprint_version}', '99')::json")
    world.change_hit(**{name: part for name, part in hit["evidence"].items() if name not in ("sha256", "key")})
    code, out, _ = verify(hit["hit_id"])
    assert (code, "version 99 of the fingerprint" in out, "nats by the clip" in out, "nats by the peaks" in out) == (0, True, True, False)
    world.s3.delete_object(Bucket="results", Key=world.key("clip"))
    code, out, _ = verify(hit["hit_id"])
    assert (code, "cannot be computed again" in out) == (1, True)


# ------------------------------------------------------------------------------------------------ it does not


def test_what_was_altered_by_a_byte_does_not_hold(world: World, verify: Run) -> None:
    hit = world.hear()
    for kind in ("peaks", "picture", "clip"):
        whole = world.read(world.key(kind))
        content = bytearray(whole)
        content[len(content) // 2] ^= 1
        world.write(world.key(kind), bytes(content))
        code, out, _ = verify(hit["hit_id"])
        assert (code, f"the {kind}: ALTERED: its SHA-256 is" in out) == (1, True)
        assert f"IT DOES NOT HOLD: its evidence is not what it was when it was told: the {kind}" in out
        world.write(world.key(kind), whole)
    assert verify(hit["hit_id"])[0] == 0


def test_a_record_that_was_altered_does_not_hold(world: World, verify: Run) -> None:
    hit = world.hear(Evidence())
    run(world.pool, "update play set evidence = jsonb_set(evidence::jsonb, '{score,threshold_nats}', '1')::json")
    code, out, _ = verify(hit["hit_id"])
    assert (code, "the record: ALTERED" in out) == (1, True)


def test_a_record_that_is_no_evidence_does_not_hold(world: World, verify: Run) -> None:
    with transaction(world.pool) as connection:
        samples.insert_stream(connection)
    body = samples.hit(samples.play())
    stock(world.pool, {"first": PIECE})
    run(
        world.pool,
        """insert into play (hit_id, stream_id, track_id, revision, state, begin_s, end_s, body, fencing)
           values (%s, %s, 'first', 1, 'closed', 0, 1, %s, 1)""",
        body["hit_id"],
        samples.STREAM.stream_id,
        Json(body),
    )
    for record in ("{}", "[]", '"text"', "1", '{"score": 1}', json.dumps(NO_PEAKS)):
        run(world.pool, "update play set evidence = %s::json", record)
        code, out, err = verify(body["hit_id"])
        assert (code, err, "IT DOES NOT HOLD: what is on record is no evidence that this version can read" in out) == (1, "", True)


def test_a_recording_that_has_left_or_was_replaced_is_said(world: World, verify: Run) -> None:
    hit = world.hear()
    stock(world.pool, {"first": tune(9, 60)})
    code, out, _ = verify(hit["hit_id"])
    assert (code, "was replaced since" in out, "IT DOES NOT HOLD" in out) == (1, True, True)
    stock(world.pool, {"first": PIECE})
    assert verify(hit["hit_id"])[0] == 0
    Tracks(pool=world.pool).remove("first")
    code, out, _ = verify(hit["hit_id"])
    assert (code, "the recording first is not in the catalogue (any more)" in out) == (1, True)
    Tracks(pool=world.pool).remove("second")
    assert verify(hit["hit_id"])[0] == 1


def test_sound_that_is_not_the_recording_does_not_hold(world: World, verify: Run) -> None:
    """A clip of another stream, its checksum put right."""
    hit = world.hear()
    Worker(world.pool, CLIPS, stream=samples.Stream(stream_id="other", source="hls"), bucket="results").hear(
        np.concatenate([noise(5, 8), SECOND, noise(6, 16)]), 8 * RATE_HZ
    ).end()
    another = next(content for key, content in waiting_objects(world.pool).items() if key.endswith(".flac"))
    run(world.pool, "delete from play where stream_id = 'other'")
    world.write(world.key("clip"), another)
    clip = {**hit["evidence"]["clip"], "sha256": hashlib.sha256(another).hexdigest()}
    world.change_hit(**{**hit["evidence"], "clip": clip})
    code, out, _ = verify(hit["hit_id"])
    assert (code, "nats by the clip are less than" in out) == (1, True)


def test_a_clip_that_is_no_sound_is_said_and_the_peaks_are_judged(world: World, verify: Run) -> None:
    hit = world.hear()
    for content in (b"", b"no sound at all", b"fLaC" + bytes(200)):
        world.write(world.key("clip"), content)
        world.change_hit(**{**hit["evidence"], "clip": {**hit["evidence"]["clip"], "sha256": hashlib.sha256(content).hexdigest()}})
        code, out, _ = verify(hit["hit_id"])
        assert (code, "the clip cannot be heard" in out, "nats by the peaks" in out) == (0, True, True)


def test_a_hit_that_is_not_known_and_one_of_which_nothing_is_kept(world: World, verify: Run) -> None:
    code, out, err = verify("nothing")
    assert (code, out, err.count("\n"), "there is no hit 'nothing'" in err) == (2, "", 1, True)
    hit = world.hear(Evidence())
    run(world.pool, "update play set evidence = null")
    code, out, _ = verify(hit["hit_id"])
    assert (code, "nothing is kept that proves it" in out) == (1, True)


# ------------------------------------------------------------------------------------------------ on its way


class Refusing:
    """A bucket that takes everything but evidence."""

    def __init__(self, s3: Any) -> None:
        self._s3, self.refuses = s3, True

    def put_object(self, **arguments: Any) -> Any:
        if self.refuses and "/evidence/" in arguments["Key"]:
            answer: Any = {"Error": {"Code": "AccessDenied", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(answer, "PutObject")
        return self._s3.put_object(**arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)


def test_a_bucket_that_refuses_evidence_takes_the_hit_and_the_alert_goes_out(world: World) -> None:
    stock(world.pool, {"first": PIECE})
    Worker(world.pool, CLIPS).hear(ON_AIR, 8 * RATE_HZ).end()
    refusing = Refusing(world.s3)
    sink = S3Sink(client=refusing, bucket="results")
    assert world.publish(s3=sink, clip=sink) is False
    key = f"st-1A2B3C/hits/{world.hit['hit_id']}.json"
    assert json.loads(world.read(key))["state"] == "closed"
    left = rows(world.pool, "select key, last_error, dead_at from outbox order by key")
    assert [row["key"].rpartition(".")[2] for row in left] == ["flac", "json", "svg"]
    assert all("/evidence/" in row["key"] and "AccessDenied" in row["last_error"] and row["dead_at"] is None for row in left)
    refusing.refuses = False
    world.publish()
    assert rows(world.pool, "select 1 from outbox") == []
    assert hashlib.sha256(world.read(world.key("clip"))).hexdigest() == world.hit["evidence"]["clip"]["sha256"]


def test_clips_that_wait_have_a_bound_and_hits_beyond_it_go_without(world: World) -> None:
    stock(world.pool, {"first": PIECE})
    worker = Worker(world.pool, Evidence(clip=True, waiting_bytes_max=1_000_000))
    run(world.pool, "insert into outbox (stream_id, target, key, revision, body, content) values ('x', 'clip', 'x', 1, '', %s)", bytes(999_999))
    worker.hear(ON_AIR, 8 * RATE_HZ).end()
    assert (worker.meter.kept, worker.meter.left_out, "clip" in world.hit["evidence"]) == (0, 1, False)
    assert verdict_of(world.pool, world.hit["hit_id"]).holds


def test_a_hit_tells_of_its_clip_while_its_play_goes_on(world: World) -> None:
    stock(world.pool, {"first": PIECE})
    worker = Worker(world.pool, CLIPS).hear(ON_AIR[: 38 * RATE_HZ])
    assert (world.hit["state"], world.hit["revision"], "clip" in world.hit["evidence"]) == ("open", 3, True)
    world.publish()
    key = f"st-1A2B3C/hits/{world.hit['hit_id']}.json"
    told = json.loads(world.read(key))
    samples.validator("hit").validate(told)
    assert (told["revision"], told["evidence"], told["track"]["title"]) == (3, world.hit["evidence"], "Title of first")
    assert told["evidence"]["sha256"] == hashlib.sha256(world.read(world.key("peaks"))).hexdigest()
    worker.hear(ON_AIR[38 * RATE_HZ :]).end()
    world.publish()
    told = json.loads(world.read(key))
    assert (told["state"], told["revision"], told["evidence"]["clip"]) == ("closed", 4, world.hit["evidence"]["clip"])
    assert verdict_of(world.pool, told["hit_id"], world.read).holds


def test_the_next_owner_names_the_clip_of_the_one_before(world: World, verify: Run) -> None:
    stock(world.pool, {"first": PIECE})
    cut = 30 * RATE_HZ
    first = Worker(world.pool, CLIPS).hear(ON_AIR[:cut], 8 * RATE_HZ)
    assert "clip" not in world.hit["evidence"]
    second = first.hand_over()
    clip = world.hit["evidence"]["clip"]
    assert clip["end_s"] == pytest.approx(30, abs=3)
    second.hear(ON_AIR[cut:], 8 * RATE_HZ).end()
    assert (world.hit["state"], world.hit["evidence"]["clip"]) == ("closed", clip)
    assert (second.meter.kept, second.meter.left_out) == (0, 0)
    assert len(rows(world.pool, "select 1 from outbox where target = 'clip'")) == 1
    world.publish()
    assert verify(world.hit["hit_id"])[0] == 0


def test_a_worker_that_died_leaves_the_clip_to_the_next(world: World, verify: Run) -> None:
    stock(world.pool, {"first": PIECE})
    first = Worker(world.pool, CLIPS).hear(ON_AIR[: 24 * RATE_HZ], 8 * RATE_HZ)
    first.excerpts = first.ledger._clips = None  # whatever it had is gone with it
    second = first.hand_over()
    second.hear(ON_AIR[24 * RATE_HZ :], 8 * RATE_HZ).end()
    clip = world.hit["evidence"]["clip"]
    assert (clip["begin_s"], clip["end_s"]) == pytest.approx((24.0, 54.0), abs=0.05)
    world.publish()
    code, out, _ = verify(world.hit["hit_id"])
    assert (code, "nats by the clip" in out) == (0, True)


def test_a_gap_in_a_clip_is_said_and_it_holds(world: World, verify: Run) -> None:
    stock(world.pool, {"first": PIECE})
    worker = Worker(world.pool, CLIPS).hear(ON_AIR[: 20 * RATE_HZ], 8 * RATE_HZ).miss(4)
    worker.hear(ON_AIR[24 * RATE_HZ :], 8 * RATE_HZ).end()
    assert world.hit["evidence"]["clip"]["gap_s"] == pytest.approx(4, abs=0.05)
    world.publish()
    assert verify(world.hit["hit_id"])[0] == 0


def test_what_is_put_on_record_twice_is_there_once(world: World) -> None:
    """The answer of a commit was lost."""
    stock(world.pool, {"first": PIECE})
    worker = Worker(world.pool, CLIPS)
    assert worker.excerpts is not None
    settled = worker.excerpts.settled
    worker.excerpts.settled = lambda kept, *, left_out: None  # type: ignore[method-assign]
    worker.hear(ON_AIR, 8 * RATE_HZ)
    worker.ledger._memory = None
    worker.ledger.commit(worker.checkpoint(), ())
    worker.excerpts.settled = settled  # type: ignore[method-assign]
    worker.end()
    assert len(rows(world.pool, "select 1 from outbox where target = 'clip'")) == 1
    assert worker.excerpts.due is False


def test_at_the_desk_a_clip_is_a_file_in_a_folder(world: World, tmp_path: Path) -> None:
    stock(world.pool, {"first": PIECE})
    Worker(world.pool, CLIPS).hear(ON_AIR, 8 * RATE_HZ).end()
    sink: Mapping[str, Any] = {"s3": (folder := FileSink(folder=tmp_path)), "clip": folder}
    assert world.publish(**sink)
    told = world.hit["evidence"]["clip"]
    assert hashlib.sha256((tmp_path / told["key"]).read_bytes()).hexdigest() == told["sha256"]
