"""A stream is heard, its worker is killed, another one hears the rest; then a recording is added that was played in it, and found."""

import json
from pathlib import Path

import numpy as np
import pytest

from earmark.cli import main
from earmark.local import music, sound
from earmark.local.aws import AwsStandIn
from earmark.local.origin import Origin
from earmark.local.worker import Worker
from service_daemon import catalogued, documents, environment_of, go_on_air, programme, rows, until

STREAM = "st-heard-before-it-was-known"
#: Of the recording that nobody knows yet, in the stream.
BEGIN_S, LENGTH_S = 8.0, 32.0


def added(dsn: str, piece: music.Piece, folder: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """By command, where the daemon of this environment runs; its track_id."""
    for name, value in {**environment, "EARMARK_LOG__LEVEL": "warning", "EARMARK_CATALOGUE__PROFILES": "false"}.items():
        monkeypatch.setenv(name, value)
    sound.write_flac(folder / "later.flac", music.render(piece), piece.track)
    assert main(["catalogue", "add", str(folder / "later.flac")]) == 0
    (track,) = rows(dsn, "select track_id from track where title = %s", [piece.track.title])
    return str(track["track_id"])


def test_a_recording_added_later_is_found_in_a_stream_whose_worker_was_killed(
    dsn: str, aws: AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (known,) = catalogued(dsn)
    unknown = music.catalogue(2)[1]
    on_air = np.concatenate([programme(known, begin_s=15, music_s=6), programme(music.render(unknown), begin_s=20, music_s=LENGTH_S)])
    deployed = aws.deploy()
    with Origin() as origin:
        environment = {**environment_of(deployed, dsn, origin), "EARMARK_LEASES__TTL_S": "3", "EARMARK_LEASES__RENEW_S": "1"}
        with Worker(environment=environment, log=tmp_path / "one.log") as one:
            go_on_air(aws, origin, STREAM, on_air)
            until(lambda: rows(dsn, "select 1 from stream where (checkpoint->>'position_s')::float8 > 20"), "half of it was heard", one)
            process = one._process
            assert process
            process.kill()
            process.wait()
        (before,) = rows(dsn, "select (checkpoint->>'position_s')::float8 as position_s from stream")
        (kept,) = rows(dsn, "select max(block_s + end_eighth / 250.0)::float8 as until_s, count(*)::int as groups from kept_group")
        assert kept["groups"] > 2
        assert kept["until_s"] == pytest.approx(before["position_s"], abs=0.5)  # what is on record as heard is kept
        with Worker(environment=environment, log=tmp_path / "two.log") as two:
            until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the stream has ended", two)
            assert rows(dsn, "select 1 from kept_group") == []
            until(lambda: not rows(dsn, "select 1 from outbox"), "everything has left", two)
            track_id = added(dsn, unknown, tmp_path, environment, monkeypatch)
            capsys.readouterr()
            assert main(["hunt", track_id, "--since", "1h", "--publish", "--json"]) == 0
            (found,) = map(json.loads, capsys.readouterr().out.splitlines())
            until(lambda: not rows(dsn, "select 1 from outbox"), "what was found has left", two)
        kept_documents = documents(aws, deployed)
        assert found["stream"]["id"] == STREAM
        assert (found["begin_s"], found["end_s"]) == (pytest.approx(BEGIN_S + 2, abs=1), pytest.approx(BEGIN_S + 2 + LENGTH_S, abs=1))
        hits = [document for key, document in kept_documents.items() if "/hits/" in key and document["reference"]["track_id"] == track_id]
        assert [(hit["state"], hit["detection"]["worker"]) for hit in hits] == [("closed", "earmark hunt")]
        assert hits[0]["hit_id"] in [line["hit_id"] for line in kept_documents[f"{STREAM}/stream.json"]["plays"]]
        assert main(["streams", "forget", STREAM]) == 0
        assert "1 session" in capsys.readouterr().out
        assert rows(dsn, "select 1 from kept_block") == []


def test_a_recording_added_later_is_found_in_a_stored_file(
    dsn: str, aws: AwsStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogued(dsn)
    unknown = music.catalogue(2)[1]
    deployed = aws.deploy()
    address = f"s3://{deployed.archive_bucket}/check/evening.wav"
    sound.write_wav(tmp_path / "evening.wav", programme(music.render(unknown), begin_s=20, music_s=LENGTH_S))
    environment = {
        **deployed.environment(),
        "EARMARK_DATABASE__DSN": dsn,
        "EARMARK_QUEUE__WAIT_S": "1",
        "EARMARK_CHECK__PLACE": f"s3://{deployed.archive_bucket}/check/",
    }
    with Worker(environment=environment, log=tmp_path / "daemon.log") as worker:
        aws.client("s3").upload_file(str(tmp_path / "evening.wav"), deployed.archive_bucket, "check/evening.wav")
        until(lambda: rows(dsn, "select 1 from stream where state = 'ended'"), "the file is checked", worker)
    track_id = added(dsn, unknown, tmp_path, environment, monkeypatch)
    capsys.readouterr()
    assert main(["hunt", track_id]) == 0
    first, _, line = capsys.readouterr().out.splitlines()
    assert first.endswith("was heard 1 time, in 0.0 h of 1 file")
    assert line.startswith(f"file  {address}  ")
    assert main(["hunt", track_id, "--json", "--publish"]) == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["stream"]["source"], found["stream"]["url"]) == ("file", address)
    assert (found["begin_s"], found["end_s"]) == (pytest.approx(1, abs=1), pytest.approx(1 + LENGTH_S, abs=1))
    assert said.err == f"earmark: {address} is a stored file: put it there once more, and what is written beside it has the play\n"
