"""Stored files through the whole daemon: an object under `check/` is heard, and what is in it lies beside it, whatever happens meanwhile."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from earmark.local import music, sound
from earmark.local.aws import AwsStandIn, Deployment
from earmark.local.origin import Origin
from earmark.local.speech import speech
from earmark.local.worker import Worker
from earmark.model import Float32
from hits_samples import validator
from muting import filtered
from service_daemon import catalogued, documents, environment_of, go_on_air, programme, rows, until
from stored_objects import written

PLACE = "check/"


@pytest.fixture
def pieces(dsn: str) -> list[Float32]:
    return catalogued(dsn, 2)


@pytest.fixture
def deployed(aws: AwsStandIn) -> Deployment:
    return aws.deploy()


class Bucket:
    """Where files are put and their results found."""

    def __init__(self, aws: AwsStandIn, deployed: Deployment) -> None:
        self._s3, self.name = aws.client("s3"), deployed.archive_bucket

    def put(self, key: str, data: bytes) -> str:
        self._s3.put_object(Bucket=self.name, Key=PLACE + key, Body=data)
        return PLACE + key

    def delete(self, *keys: str) -> None:
        for key in keys:
            self._s3.delete_object(Bucket=self.name, Key=key)

    def there(self) -> set[str]:
        return {entry["Key"] for entry in self._s3.list_objects_v2(Bucket=self.name).get("Contents", ())}

    def get(self, key: str) -> bytes:
        return self._s3.get_object(Bucket=self.name, Key=key)["Body"].read()

    def document(self, key: str) -> dict[str, Any]:
        document = json.loads(self.get(f"{key}.earmark.json"))
        validator("check").validate(document)
        for hit in document["plays"]:
            validator("hit").validate(hit)
        assert document["coverage"]["unaccounted_s"] == 0
        return document


@pytest.fixture
def bucket(aws: AwsStandIn, deployed: Deployment) -> Bucket:
    return Bucket(aws, deployed)


def settings(deployed: Deployment, dsn: str, bucket: Bucket, **changed: str) -> dict[str, str]:
    return {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_LEASES__RENEW_S": "0.5",
        "EARMARK_LEASES__TTL_S": "2",
        "EARMARK_QUEUE__WAIT_S": "1",
        "EARMARK_CHECK__PLACE": f"s3://{bucket.name}/{PLACE}",
        **changed,
    }


def wave(path: Path, samples: Float32) -> bytes:
    sound.write_wav(path, samples)
    return path.read_bytes()


def broadcast(pieces: list[Float32]) -> Float32:
    """Talk, half a minute of one recording, talk, twenty seconds of another."""
    first, second = (programme(piece, begin_s=10, music_s=music_s, before_s=1, after_s=1) for piece, music_s in zip(pieces, (30, 20), strict=True))
    return np.concatenate([speech(8, seed=1), first, speech(6, seed=2), second])


def typed(environment: dict[str, str], *command: str) -> list[dict[str, Any]]:
    """What a command prints, as JSON lines."""
    done = subprocess.run([sys.executable, "-m", "earmark.cli", *command], env=environment, capture_output=True, text=True, check=True, timeout=120)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_file_is_heard_and_what_is_in_it_lies_beside_it(dsn, aws, deployed, bucket, pieces, tmp_path):
    heard = broadcast(pieces)
    movie = written(tmp_path / "evening.mp4", heard, rate_hz=music.RATE_HZ, container="mp4", codec="aac").read_bytes()
    ids = [piece.track.track_id for piece in music.catalogue(2)]
    policy = tmp_path / "policy.toml"
    policy.write_text(f'version = 1\n[[rule]]\nid = "not-this"\naction = "block"\nwhen = {{ track_ids = ["{ids[0]}"] }}\n')
    environment = settings(deployed, dsn, bucket, EARMARK_EVIDENCE__CLIP="true", EARMARK_POLICY__FILE=str(policy))
    with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
        key = bucket.put("evening news.mp4", movie)
        until(lambda: {f"{key}.earmark.json", f"{key}.earmark.html"} <= bucket.there(), "both are beside the file", worker)
        document = bucket.document(key)
        bucket.put("evening news.mp4", movie + b"")  # the same bytes at the same moment: nothing new
        until(lambda: rows(dsn, "select 1 from outbox") == [], "everything has left", worker)
        log = (tmp_path / "daemon.log").read_text()

    assert (document["outcome"], document["error"]) == ("heard", "")
    assert document["media"]["codec"] == "aac"
    assert document["media"]["duration_s"] == pytest.approx(len(heard) / music.RATE_HZ, abs=0.1)
    assert document["file"]["key"] == key
    assert [(hit["reference"]["track_id"], hit["state"]) for hit in document["plays"]] == [(ids[0], "closed"), (ids[1], "closed")]
    begins = [hit["query"]["begin_s"] for hit in document["plays"]]
    assert begins == pytest.approx([9.0, 47.0], abs=0.7)
    assert [hit["evidence"]["clip"]["begin_s"] for hit in document["plays"]] == pytest.approx([begin - 5 for begin in begins], abs=0.04)
    page = bucket.get(f"{key}.earmark.html").decode()
    assert "evening news.mp4" in page and "it was heard to its end" in page
    assert rows(dsn, "select count(*) n from stream")[0]["n"] == 1
    assert "Traceback" not in log
    # No alert: somebody put a file somewhere, and reads the answer beside it.
    assert rows(dsn, "select 1 from outbox where target = 'sns'") == []

    # The desk says the same of the same object, and of the file as it is here.
    desk = {**os.environ, **deployed.environment(), "EARMARK_DATABASE__DSN": dsn}
    local = tmp_path / "evening.mp4"
    remote, here = typed(desk, "identify", f"s3://{bucket.name}/{key}", str(local), "--json")
    assert remote["file"] == f"s3://{bucket.name}/{key}"
    assert remote["matches"] == here["matches"]
    matches = sorted(here["matches"], key=lambda match: match["begin_s"])
    assert [match["track_id"] for match in matches] == ids
    assert [match["begin_s"] for match in matches] == pytest.approx(begins, abs=0.5)

    # And a session at the desk hears what the daemon heard, to the millisecond.
    closed = [hit for hit in typed(desk, "watch", str(local), "--json") if hit["state"] == "closed"]
    told = ("query", "reference", "coverage", "score", "transform")
    assert [{name: hit[name] for name in told} for hit in closed] == [{name: hit[name] for name in told} for hit in document["plays"]]

    # What is blocked in it is muted by its cut list, to the frame, and the rest is left.
    (cut,) = documents(aws, deployed)[f"{document['stream_id']}/cut-list.json"]["cuts"]
    assert [(play["track_id"], play["rule_id"]) for play in cut["plays"]] == [(ids[0], "not-this")]
    command = [sys.executable, "-m", "earmark.cli", "report", document["stream_id"], "--format", "ffmpeg"]
    chain = subprocess.run(command, env=desk, capture_output=True, text=True, check=True, timeout=120).stdout
    whole, left, (begin, end) = filtered(local, "anull"), filtered(local, chain), (round(cut[name] * music.RATE_HZ) for name in ("begin_s", "end_s"))
    assert not left[begin + 256 : end].any()
    assert np.array_equal(left[:begin], whole[:begin]) and np.array_equal(left[end + 256 :], whole[end + 256 :])
    sound.write_wav(tmp_path / "muted.wav", left)
    (found,) = typed(desk, "identify", str(tmp_path / "muted.wav"), "--json")
    assert [match["track_id"] for match in found["matches"]] == ids[1:]


def test_a_worker_that_is_killed_half_way_is_gone_on_for_and_nothing_is_twice(dsn, deployed, bucket, pieces, tmp_path):
    """Ten minutes as WAV; killed as soon as some of it is on record, and taken up by the worker's next life."""
    part = broadcast(pieces)
    repeats = int(600 * music.RATE_HZ / len(part))
    data = wave(tmp_path / "long.wav", np.tile(part, repeats))
    changed = {"EARMARK_CHECK__COMMIT_EVERY_S": "0.1"}
    with Worker(environment=settings(deployed, dsn, bucket, **changed), log=tmp_path / "daemon.log") as worker:
        key = bucket.put("long.wav", data)
        with psycopg.connect(dsn, autocommit=True) as watch:
            query = "select (checkpoint->>'position_s')::float8 at_s, state from stream where (checkpoint->>'position_s')::float8 > 30"
            until(lambda: watch.execute(query).fetchone(), "half a minute of it is on record", worker)
            worker.kill()
            ((at_s, state),) = watch.execute(query).fetchall()
        assert state == "running" and 30 < at_s < 540, "it was killed half-way"
        worker.start()
        until(lambda: f"{key}.earmark.json" in bucket.there(), "the file is checked", worker)
        until(lambda: rows(dsn, "select 1 from outbox") == [], "everything has left", worker)
    document = bucket.document(key)
    assert (document["outcome"], document["gaps"]) == ("heard", [])
    assert document["coverage"]["heard_s"] == pytest.approx(repeats * len(part) / music.RATE_HZ, abs=0.01)
    ids = [piece.track.track_id for piece in music.catalogue(2)]
    assert [hit["reference"]["track_id"] for hit in document["plays"]] == ids * repeats
    expected = [repeat * len(part) / music.RATE_HZ + begin_s for repeat in range(repeats) for begin_s in (9.0, 47.0)]
    # It changes hands twice, when its worker dies and when it has been heard alone for long enough; who takes it up hears a window before that once more.
    assert [hit["query"]["begin_s"] for hit in document["plays"]] == pytest.approx(expected, abs=1.5)
    assert len({hit["hit_id"] for hit in document["plays"]}) == 2 * repeats
    claims = rows(dsn, "select fencing from stream")
    assert claims[0]["fencing"] >= 2


def test_a_live_stream_beside_three_long_files_misses_nothing(dsn, aws, deployed, bucket, pieces, tmp_path):
    played = programme(pieces[0], begin_s=10, music_s=16)
    long = wave(tmp_path / "long.wav", np.tile(broadcast(pieces), 4))
    with Origin() as origin:
        environment = {**settings(deployed, dsn, bucket), **environment_of(deployed, dsn, origin)}
        with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
            files = [bucket.put(f"long-{number}.wav", long) for number in range(3)]
            channel_arn = go_on_air(aws, origin, "st-live", played)
            until(lambda: rows(dsn, "select 1 from play where stream_id = 'st-live' and state <> 'provisional'"), "the live play is told", worker)
            aws.put_stream_event(channel_arn, "st-live", "Stream End")
            until(lambda: rows(dsn, "select 1 from stream where stream_id = 'st-live' and state = 'ended'"), "the live stream has ended", worker)
            until(lambda: {f"{key}.earmark.json" for key in files} <= bucket.there(), "all files are checked", worker)
    ((gaps,),) = [tuple(row.values()) for row in rows(dsn, "select checkpoint->'gaps' gaps from stream where stream_id = 'st-live'")]
    assert [gap["reason"] for gap in gaps if gap["reason"] in ("late", "skipped", "segment_missing")] == []
    for key in files:
        assert len(bucket.document(key)["plays"]) == 8


def test_whatever_cannot_be_heard_is_refused_in_a_sentence_beside_it(dsn, deployed, bucket, pieces, tmp_path):
    good = wave(tmp_path / "good.wav", broadcast(pieces)[: 20 * music.RATE_HZ])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("song.mp3", good)
    m4a = written(tmp_path / "drm.m4a", speech(3, seed=1), rate_hz=music.RATE_HZ, container="mp4", codec="aac").read_bytes()
    flac = written(tmp_path / "half.flac", broadcast(pieces)[: 20 * music.RATE_HZ], rate_hz=music.RATE_HZ, container="flac", codec="flac").read_bytes()
    long = "x" * (1_024 - len(PLACE) - len("é") * 2) + "é"
    put = {
        "zip.mp3": (tmp_path / "a.zip").read_bytes(),
        "drm.m4a": m4a.replace(b"mp4a", b"enca", 1),
        "nothing.mp3": b"",
        "half.flac": flac[: len(flac) // 2],
        "big.wav": good + bytes(2_000_000),
        "../up/and/../away.wav": good,
        'it\'s "quoted" & <b>.wav': good,
        "🎵 fête+100%.wav": good,
        long: good,
    }
    with Worker(environment=settings(deployed, dsn, bucket, EARMARK_CHECK__BYTES_MAX=str(len(good) + 1_000_000)), log=tmp_path / "daemon.log") as worker:
        keys = {name: bucket.put(name, data) for name, data in put.items()}
        bucket.put("folder/", b"")
        until(lambda: sum(key.endswith(".earmark.html") for key in bucket.there()) == len(put), "each has its page", worker)
        until(lambda: rows(dsn, "select 1 from outbox") == [], "everything has left", worker)
    refused = {name: document["error"] for name in put if name != long and (document := bucket.document(keys[name]))["outcome"] == "refused"}
    where = f"s3://{bucket.name}/"
    assert refused == {
        "zip.mp3": f"{where}{keys['zip.mp3']} is not audio: no known format, or damaged at its beginning",
        "drm.m4a": f"{where}{keys['drm.m4a']} cannot be heard: its sound is encrypted (DRM), and nobody here has the key",
        "nothing.mp3": f"{where}{keys['nothing.mp3']} is empty",
        "big.wav": f"{where}{keys['big.wav']} has {len(put['big.wav']):,} bytes, more than check.bytes_max ({len(good) + 1_000_000:,}): it is not heard",
    }
    half = bucket.document(keys["half.flac"])
    assert half["outcome"] == "partly" and "is truncated: it holds" in half["error"]
    assert [gap["reason"] for gap in half["gaps"]] == ["segment_undecodable"]
    for name in ("../up/and/../away.wav", 'it\'s "quoted" & <b>.wav', "🎵 fête+100%.wav"):
        assert bucket.document(keys[name])["outcome"] == "heard"
    # No room for the ending: the name is cut, and told apart by its digest.
    (cut,) = [key for key in bucket.there() if key.startswith(PLACE + "xxx") and key.endswith(".earmark.json")]
    assert len(cut.encode()) <= 1_024
    assert json.loads(bucket.get(cut))["file"]["key"] == keys[long]
    assert rows(dsn, "select count(*) n from stream")[0]["n"] == len(put)


def test_another_file_under_the_name_and_the_same_once_more_are_new_runs(dsn, deployed, bucket, pieces, tmp_path):
    first, second = (wave(tmp_path / "a.wav", programme(piece, begin_s=10, music_s=15)) for piece in pieces)
    ids = [piece.track.track_id for piece in music.catalogue(2)]
    with Worker(environment=settings(deployed, dsn, bucket), log=tmp_path / "daemon.log") as worker:
        key = bucket.put("a.wav", first)

        def says(track_id: str) -> bool:
            return f"{key}.earmark.json" in bucket.there() and [hit["reference"]["track_id"] for hit in bucket.document(key)["plays"]] == [track_id]

        until(lambda: says(ids[0]), "the first is told", worker)
        bucket.put("a.wav", second)
        until(lambda: says(ids[1]), "the second is told in its place", worker)
        bucket.delete(f"{key}.earmark.json", f"{key}.earmark.html")
        with psycopg.connect(dsn, autocommit=True) as connection:  # some time passes: S3's clocks are not exact
            connection.execute("update checked_file set made_at = made_at - interval '10 s'")
        bucket.put("a.wav", second)
        until(lambda: says(ids[1]) and f"{key}.earmark.html" in bucket.there(), "and once more, where results were deleted", worker)
    assert rows(dsn, "select count(*) n from stream")[0]["n"] == 3
