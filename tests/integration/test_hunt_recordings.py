"""What was heard in recordings is searched, too: where it fills a stream's gaps as the stream's, of whole archives if the settings say so."""

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from control_rows import rows
from earmark.audio.recording import Recording
from earmark.cli import main
from earmark.control import archives
from earmark.control.leases import Ended
from earmark.index.catalogue import Tracks
from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool, transaction
from earmark.settings.hunt import Hunt
from index_catalogue import recording_of
from recorded_world import PLAYS, STREAM, World, _peaks, music, rendered

#: Lies in the gap, and is known to nobody when that is heard.
UNKNOWN = 1
_, BEGIN_S, END_S, FROM_S = PLAYS[UNKNOWN]


@pytest.fixture
def world(pool: Pool, aws: AwsStandIn, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    made = World(pool, aws)
    Tracks(pool=pool).remove(made.track_ids[UNKNOWN])
    yield made
    made.close()


def hunted(world: World, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    piece = music.catalogue(3)[UNKNOWN]
    track = replace(piece.track, duration_s=len(rendered(UNKNOWN)) / music.RATE_HZ)
    Tracks(pool=world.pool).add([recording_of(track, _peaks(UNKNOWN), track.track_id.encode())])
    capsys.readouterr()  # the log
    assert main(["hunt", piece.track.track_id, *arguments]) == 0
    return capsys.readouterr().out


def test_what_filled_a_gap_is_searched_as_the_streams_own_and_told_as_a_recordings(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.heard_live()
    recorder = world.recorder().whole()
    world.tell_ended(recorder)
    assert list(world.hear().values()) == [Ended("stream_end")]
    assert {row["stream_id"] for row in rows(world.pool, "select stream_id from kept_block")} == {STREAM}
    assert rows(world.pool, "select 1 from kept_group") == []
    (found,) = map(json.loads, hunted(world, capsys, "--json", "--publish").splitlines())
    assert (found["stream"]["id"], found["stream"]["source"]) == (STREAM, "recording")
    assert (found["begin_s"], found["end_s"]) == (pytest.approx(BEGIN_S, abs=0.7), pytest.approx(END_S, abs=0.7))
    assert found["reference_begin_s"] - found["begin_s"] == pytest.approx(FROM_S - BEGIN_S, abs=0.2)
    (hit,) = [hit for hit in world.hits() if hit["reference"]["track_id"] == world.track_ids[UNKNOWN]]
    assert (hit["stream"]["id"], hit["stream"]["source"], hit["detection"]["worker"]) == (STREAM, "recording", "earmark hunt")
    told = hunted(world, capsys)
    assert "was heard 1 time, 1 of them on record already, in 0.0 h of 1 stream" in told
    assert told.splitlines()[-1].startswith("recording  late st-recorded")


@pytest.mark.parametrize("kept", [False, True])
def test_whole_archives_are_searched_if_the_settings_say_so(world: World, capsys: pytest.CaptureFixture[str], kept: bool) -> None:
    world.settings = world.settings.model_copy(update={"hunt": Hunt(keep_archives=kept)})
    world.listening.close()
    world.listening = world._listening()
    recorder = world.recorder().whole()
    said = Recording(s3=world.s3, place=recorder.place, bytes_max=1_000_000).about()
    with transaction(world.pool) as connection:
        (name,) = archives.open_planned(connection, archives.plan(connection, archives.shelved(recorder.place, said)))
    assert world.hear() == {name: Ended("stream_end")}
    assert {row["stream_id"] for row in rows(world.pool, "select stream_id from kept_block")} == ({name} if kept else set())
    if kept:
        told = hunted(world, capsys)
        assert told.splitlines()[0].endswith("was heard 1 time, in 0.0 h of 1 recording")
        assert name in told.splitlines()[-1]
    else:
        assert main(["hunt", world.track_ids[0]]) == 2
        assert "nothing of whole recordings (hunt.keep_archives)" in capsys.readouterr().err
