"""`earmark replay` as a user types it: generated music, real PostgreSQL, a threshold that is changed."""

import json
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

import hits_samples as samples
from audio_origin import Answer, Origin
from earmark.cli import main
from earmark.hits.ledger import Ledger
from earmark.local import music, sound
from earmark.local.replay import Listeners
from earmark.model import AudioChunk, Float32, Play
from earmark.postgres import open_pool, transaction
from earmark.settings import Alerts, Database, Results
from service_daemon import catalogued

Run = Callable[..., tuple[int, str, str]]
#: More evidence than music under a talker has besides its best four seconds, and less than clear music.
STRICT = "matching.left_nats=150"


def part(samples_: Float32, begin_s: float, end_s: float) -> Float32:
    return samples_[round(begin_s * music.RATE_HZ) : round(end_s * music.RATE_HZ)]


@pytest.fixture
def catalogue(dsn: str, monkeypatch: pytest.MonkeyPatch) -> list[Float32]:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    return catalogued(dsn, 2)


@pytest.fixture
def on_air(catalogue: list[Float32]) -> Float32:
    """Twenty clear seconds of one recording, and fifteen of another under a louder talker."""
    drowned = sound.under_speech(part(catalogue[1], 20, 35), -5)
    return np.concatenate([sound.silence(2), part(catalogue[0], 10, 30), sound.silence(14), drowned, sound.silence(14)])


@pytest.fixture
def recorded(on_air: Float32, tmp_path: Path) -> Path:
    path = tmp_path / "show.flac"
    sound.write_flac(path, on_air, samples.TRACK)
    return path


@pytest.fixture
def replay(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*argv: object) -> tuple[int, str, str]:
        code = main(["replay", *map(str, argv)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_a_stricter_threshold_removes_a_play(recorded: Path, replay: Run) -> None:
    code, out, err = replay(recorded, "--set", STRICT, "--json")
    assert code == 0, err
    found = json.loads(out)
    clear, drowned = found["plays"]
    assert (clear["kind"], clear["track_id"]) == ("changed", music.catalogue(2)[0].track.track_id)
    # A play that opens later is looked at in full for longer, and may be seen at a better moment.
    assert set(clear["changed"]) in ({"told_s"}, {"told_s", "evidence_nats"})
    assert clear["after"]["told_s"] > clear["before"]["told_s"]
    assert (drowned["kind"], drowned["track_id"]) == ("only_before", music.catalogue(2)[1].track.track_id)
    assert drowned["before"]["begin_s"] == pytest.approx(36, abs=4)
    assert drowned["after"] is None
    assert found["counts"] == {"same": 0, "changed": 1, "only_before": 1, "only_after": 0}
    assert found["heard_s"] == pytest.approx(65, abs=0.1)
    assert found["after"] == STRICT


def test_the_difference_is_a_table_for_people(recorded: Path, replay: Run) -> None:
    code, out, _ = replay(recorded, "--set", STRICT)
    assert code == 0
    assert f"Before  the present settings\nAfter   {STRICT}\n" in out
    assert "0 the same, 1 changed, 1 only before, 0 only after\n" in out
    assert any(line.startswith("only before") and music.catalogue(2)[1].track.title in line and "closed" in line for line in out.splitlines())
    assert "told at" in out


def test_settings_that_change_nothing_change_nothing(recorded: Path, replay: Run) -> None:
    code, out, _ = replay(recorded, "--set", "matching.lines_max=5", "--set", "matching.close_s=12.0")
    assert code == 0
    assert out.endswith("\n\n2 the same, 0 changed, 0 only before, 0 only after\n")


def segmented(folder: Path, on_air: Float32, *, fragmented: bool) -> Path:
    """A VOD playlist and its segments, of 2 s."""
    folder.mkdir()
    options = {"hls_time": "2", "hls_playlist_type": "vod", "hls_segment_filename": str(folder / ("part_%d.m4s" if fragmented else "part_%d.ts"))}
    if fragmented:
        options |= {"hls_segment_type": "fmp4", "hls_fmp4_init_filename": "init.mp4"}
    with av.open(str(folder / "all.m3u8"), "w", format="hls", options=options) as container:
        stream = container.add_stream("aac", rate=music.RATE_HZ, layout="mono")
        for begin in range(0, len(on_air), 1024):
            frame = av.AudioFrame.from_ndarray(on_air[None, begin : begin + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = music.RATE_HZ, begin, Fraction(1, music.RATE_HZ)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return folder


@pytest.mark.parametrize("fragmented", [False, True])
def test_a_vod_playlist_and_a_folder_of_its_segments(on_air: Float32, replay: Run, tmp_path: Path, fragmented: bool) -> None:
    folder = segmented(tmp_path / "segments", part(on_air, 0, 36), fragmented=fragmented)
    origin = Origin()
    origin.routes.update({f"/{path.name}": Answer(path.read_bytes()) for path in folder.iterdir()})
    with origin.running():
        answers = [replay(source, "--set", "matching.confirm_s=30", "--json") for source in (origin.url("/all.m3u8"), folder)]
    for code, out, err in answers:
        assert code == 0, err
        found = json.loads(out)
        assert (found["heard_s"], found["gap_s"]) == (pytest.approx(36, abs=0.1), 0)
        (one,) = found["plays"]
        assert (one["before"]["state"], one["after"]["state"], one["kind"]) == ("closed", "quotation", "changed")
        assert one["before"]["end_s"] == pytest.approx(22, abs=0.5)


def test_what_is_on_record_of_a_stream_is_compared_with_a_recording_of_it(dsn: str, recorded: Path, replay: Run) -> None:
    """The file begins ten seconds into the stream."""
    track = music.catalogue(2)[0].track
    there = samples.play(track.track_id, begin_s=12.0, length_s=20.0, state="closed", evidence_nats=50.0)
    gone = samples.play("gone", begin_s=20.0, length_s=15.0, state="closed")
    elsewhere = samples.play("elsewhere", begin_s=500.0, length_s=15.0, state="closed")
    record(dsn, there, gone, elsewhere)

    code, out, err = replay(recorded, "--against", samples.STREAM.stream_id, "--at", "10", "--json")

    assert code == 0, err
    found = json.loads(out)
    assert found["before"] == f"what is on record of {samples.STREAM.stream_id}"
    assert found["after"] == "the present settings"
    known, lost, new = found["plays"]
    assert (known["kind"], known["track_id"], known["before"]["begin_s"]) == ("changed", track.track_id, 12.0)
    assert {"begin_s", "end_s"}.isdisjoint(known["changed"]) or known["after"]["begin_s"] == pytest.approx(12, abs=0.5)
    assert "evidence_nats" in known["changed"]
    assert (lost["kind"], lost["track_id"]) == ("only_before", "gone")
    assert (new["kind"], new["track_id"]) == ("only_after", music.catalogue(2)[1].track.track_id)
    assert new["after"]["begin_s"] == pytest.approx(46, abs=4)


def record(dsn: str, *plays: Play) -> None:
    with open_pool(Database(dsn=dsn)) as pool:  # type: ignore[arg-type]
        with transaction(pool) as connection:
            lease = samples.insert_stream(connection)
        Ledger(
            pool=pool,
            lease=lease,
            tracks=samples.Catalogue(),
            results=Results(),
            alerts=Alerts(),
            nudge=lambda: None,
            now=samples.Clock(),
        ).commit(samples.checkpoint(), plays)


@pytest.mark.parametrize(
    "argv, code, says",
    [
        (["st-1A2B3C", "--set", STRICT], 2, "Earmark keeps what it heard of one, not its audio, so give a recording of it: `earmark replay FILE --against"),
        (["ftp://example.com/x.m3u8", "--set", STRICT], 2, "is neither a file nor an http(s) URL"),
        ([__file__], 2, "there is nothing to compare"),
        ([__file__, "--set", STRICT], 1, "is not audio"),
        ([__file__, "--set", "matching.threshold=1"], 2, "there is no setting matching.threshold (set by --set); known here: "),
        ([__file__, "--set", "matching.confirm_s=soon"], 2, "the setting matching.confirm_s (set by --set) is wrong: input should be a valid number"),
        ([__file__, "--set", "matching.confirm_s"], 2, "cannot be tried: write matching.KEY=VALUE"),
        ([__file__, "--set", "leases.ttl_s=3"], 2, "only settings of matching can be"),
        ([__file__, "--against", "st-none"], 2, "the stream 'st-none' is not in the database"),
    ],
)
def test_what_is_wrong_is_one_sentence(catalogue: list[Float32], replay: Run, argv: list[str], code: int, says: str) -> None:
    done, out, err = replay(*argv)
    assert (done, out) == (code, "")
    assert err.count("\n") == 1
    assert says in err


def test_an_empty_folder_and_an_empty_catalogue(dsn: str, replay: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    assert "the catalogue is empty" in replay(tmp_path, "--set", STRICT)[2]
    catalogued(dsn)
    code, _, err = replay(tmp_path, "--set", STRICT)
    assert code == 2
    assert "holds no segments" in err


def test_what_a_folder_has_besides_good_segments_is_told(on_air: Float32, replay: Run, tmp_path: Path) -> None:
    folder = segmented(tmp_path / "segments", part(on_air, 0, 12), fragmented=False)
    (folder / "part_2.ts").write_bytes(b"not a segment" * 100)
    (folder / "later").mkdir()
    (folder / ".hidden").touch()
    (folder / "cover.jpg").touch()
    code, out, err = replay(folder, "--set", STRICT)
    assert code == 0
    assert out.startswith("Heard   0:10 of ")
    *beside, spoilt = err.splitlines()
    assert beside == [
        f"earmark: {folder}/all.m3u8 is not heard: by its name it is not a segment",
        f"earmark: {folder}/cover.jpg is not heard: by its name it is not a segment",
        f"earmark: {folder}/later is not heard: it is a folder, and folders in folders are not searched",
    ]
    assert spoilt.startswith("earmark: the segment part_2.ts is not heard: ")

    for number in range(20):
        (folder / f"{number:02}.txt").touch()
    lines = replay(folder, "--set", STRICT)[2].splitlines()
    assert len(lines) == 11
    assert lines[0].startswith(f"earmark: {folder}/00.txt is not heard: ")
    assert lines[-1] == "earmark: and 14 more"


def test_ctrl_c_leaves_no_comparison_of_a_part(recorded: Path, replay: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []

    def push(listeners: Listeners, chunk: AudioChunk) -> None:
        heard.append(chunk)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Listeners, "push", push)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests before this one left
    try:
        assert replay(recorded, "--set", STRICT, "--json") == (130, "", "earmark: interrupted\n")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(heard) == 1
