"""The whole way: an object put into the bucket, its event through EventBridge and SQS, a daemon with the role catalogue, a recording that is heard."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from earmark.local import music, sound
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from media_bucket import Media
from service_daemon import documents, environment_of, go_on_air, log_lines, programme, rows, until
from stocked_bucket import SIDECAR, recording


@pytest.fixture
def worker(media: Media) -> Iterator[Worker]:
    with media.worker() as running:
        yield running


def test_objects_of_a_bucket_are_the_catalogue(dsn: str, media: Media, worker: Worker) -> None:
    def tracks() -> dict[str, str]:
        return {row["track_id"]: row["title"] for row in rows(dsn, "select track_id, title from track")}

    # Created, and described by what comes with it, in any order.
    media.put("one.flac.json", SIDECAR)
    media.put("one.flac", recording(1))
    media.put("box/two.flac", recording(2))
    media.put("box/manifest.csv", b"path,title\ntwo.flac,Second\n")
    until(lambda: tracks() == {"isrc:GBAYE0601498": "Blue Sky Morning", "key:box/two.flac": "Second"}, "two recordings", worker)
    # Replaced: another sound under the same id.
    before = rows(dsn, "select content_sha256 from track where track_id = 'key:box/two.flac'")
    media.put("box/two.flac", recording(3))
    until(lambda: rows(dsn, "select content_sha256 from track where track_id = 'key:box/two.flac'") != before, "it is replaced", worker)
    # Rejected, with the reason in the bucket and at the command line.
    media.put("broken.mp3", b"PK\x03\x04 a zip")
    notice = "catalogue/_rejected/broken.mp3.json"
    until(lambda: notice in media.listed(), "the notice", worker)
    listed = media.earmark("catalogue", "list", "--rejected").stdout.splitlines()
    assert listed[0] == f"s3://{media.bucket}/catalogue/broken.mp3" and "is not audio" in listed[1]
    (told,) = map(json.loads, media.earmark("catalogue", "list", "--rejected", "--json").stdout.splitlines())
    assert told["reasons"] == json.loads(media.get(notice))["reasons"]
    # Deleted.
    for name in ("broken.mp3", "one.flac"):
        media.delete(name)
    until(lambda: set(tracks()) == {"key:box/two.flac"}, "it is gone", worker)
    until(lambda: notice not in media.listed(), "so is the notice", worker)
    assert media.earmark("catalogue", "list", "--rejected").stdout == ""

    removed = media.earmark("catalogue", "remove", "key:box/two.flac")
    assert removed.returncode == 2 and f"s3://{media.bucket}/catalogue/box/two.flac: delete that" in removed.stderr
    metrics = worker.metrics()
    assert 'earmark_stock_objects_total{outcome="rejected"} 1.0' in metrics and "earmark_stock_seconds_count" in metrics
    assert {line["event"] for line in log_lines(media.log)} >= {"catalogue.added", "catalogue.replaced", "catalogue.removed", "catalogue.rejected"}


def test_what_the_events_forgot_is_put_right_when_somebody_asks(dsn: str, media: Media) -> None:
    media.put("one.flac", recording(1))
    media.aws.client("sqs").purge_queue(QueueUrl=media.deployed.queue_url)
    assert media.earmark("catalogue", "sync", "--dry-run").stdout.splitlines() == [
        "new      catalogue/one.flac",
        f"{media.place} holds 1 objects of the catalogue: 1 new; nothing was changed (--dry-run)",
    ]
    assert rows(dsn, "select * from catalogue_object") == []
    assert "1 wait for a worker with the role catalogue" in media.earmark("catalogue", "sync").stdout
    with media.worker() as worker:
        until(lambda: rows(dsn, "select track_id from track") == [{"track_id": "key:one.flac"}], "it is a recording", worker)


def test_a_place_that_is_none_is_refused_in_one_sentence(media: Media) -> None:
    for command in (["run", "--role", "catalogue"], ["catalogue", "sync"]):
        done = media.earmark(*command, EARMARK_CATALOGUE__PLACE="")
        assert (done.returncode, "set catalogue.place to s3://bucket/catalogue/" in done.stderr) == (2, True)
    done = media.earmark("config", "check", EARMARK_CATALOGUE__PLACE="my-bucket/catalogue")
    assert done.returncode == 2 and "catalogue.place" in done.stderr


def test_a_recording_that_is_put_into_the_bucket_while_it_plays_is_heard_with_what_its_owner_says(dsn: str, media: Media, tmp_path: Path) -> None:
    piece = music.catalogue(1)[0]
    samples = music.render(piece)
    sound.write_flac(tmp_path / "it.flac", samples, piece.track)
    said = {"policy": "block", "territories": ["DE", "AT"], "valid_from": "2020-01-01", "rights_holder": "Paper Boat"}
    rules = tmp_path / "policy.toml"
    rules.write_text('version = 1\n[[rule]]\nid = "loud"\naction = "block"\ngrace_s = 20\nwhen = { owner_says = ["block"], foreground = true }\n')
    with Origin() as origin, media.worker("streams,catalogue", EARMARK_POLICY__FILE=str(rules), **environment_of(media.deployed, dsn, origin)) as worker:
        go_on_air(media.aws, origin, "st-1", programme(samples, begin_s=10, music_s=40))
        media.put("it.flac.json", said)
        media.put("it.flac", (tmp_path / "it.flac").read_bytes())
        until(lambda: rows(dsn, "select 1 from play where state <> 'provisional'"), "it is on record", worker)
        until(lambda: not rows(dsn, "select 1 from outbox"), "it has left", worker)
        (hit,) = (document for key, document in documents(media.aws, media.deployed).items() if "/hits/" in key)
    assert hit["reference"]["track_id"] == piece.track.track_id
    assert {name: hit["track"][name] for name in said} == said | {"valid_from": "2020-01-01T00:00:00Z"}
    told = {"action": "block", "reason": "the rule loud says block after 20 s", "dry_run": True, "rule_id": "loud", "grace_s": 20.0, "notify": True}
    assert hit["policy"] == told and hit["coverage"]["foreground_share"] >= 0.4
