"""What recordings are like: measured from a bucket's objects and from files, on record, and shown."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from control_rows import rows, run
from earmark.cli import main
from earmark.errors import AwsUnavailable, UnreadableAudio
from earmark.index import profiles
from earmark.index.catalogue import Tracks
from earmark.local import music
from earmark.local import profiling as at_the_desk
from earmark.local.aws import AwsStandIn
from earmark.local.speech import speech
from earmark.model import Float32
from earmark.postgres import Pool, statement, transaction
from earmark.profiles import musical
from earmark.profiles.file import profile_file
from earmark.stocking.child import Child
from earmark.stocking.profiling import Bench, Measuring, Profiling, Told
from earmark.track_profile import MEASURES, NEVER, PROFILE_VERSION, TrackProfile, without
from index_audio import notes, write_flac
from profile_sounds import song, tones, written
from stocked_bucket import Shelf, deadly, recording

PROFILE = TrackProfile(loudness_lufs=-14.25, sound_s=3.5, music_share=0.5, speech_share=0.25, not_computed={"key": "a reason"}, version=PROFILE_VERSION)


# ------------------------------------------------------------------------------------------------ one file


def test_a_file_is_measured_in_every_respect(tmp_path: Path) -> None:
    made = profile_file(written(tmp_path / "song.flac", song(tonic=3, mode="major", bpm=104, seconds=40), 16_000))
    assert made.loudness_lufs is not None and -30 < made.loudness_lufs < -6
    assert made.loudness_range_lu is not None and made.true_peak_dbtp is not None and -6.1 < made.true_peak_dbtp < 0
    assert made.sound_s == pytest.approx(40, abs=0.5)
    assert made.music_share is not None and made.music_share > 0.9 and made.speech_share == 0
    assert (made.key, made.mode) == ("D#", "major")
    assert made.tempo_bpm == pytest.approx(104, abs=1)
    assert (made.not_computed, made.version, made.features) == ({}, PROFILE_VERSION, musical.available())


def test_speech_is_told_from_music_and_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a minute each, with silence between them."""
    half = 30 * music.RATE_HZ
    pause, noise = np.zeros(half // 10, np.float32), (0.05 * np.random.default_rng(7).standard_normal(half)).astype(np.float32)
    samples = np.concatenate([speech(30), pause, music.render(music.catalogue(1)[0])[:half], pause, noise])
    monkeypatch.setattr(musical, "available", str)
    made = profile_file(written(tmp_path / "mixed.wav", samples, music.RATE_HZ))
    assert made.sound_s == pytest.approx(90, abs=3)
    assert made.speech_share == pytest.approx(1 / 3, abs=0.1) and made.music_share == pytest.approx(1 / 3, abs=0.1)


def test_silence_has_no_second_of_sound_and_the_reason_for_all_that_lacks(tmp_path: Path) -> None:
    made = profile_file(written(tmp_path / "silence.wav", np.zeros(48_000 * 4, np.float32)))
    assert made.sound_s == 0
    assert made.not_computed.keys() == set(MEASURES) - {"sound_s"}
    assert made.not_computed["loudness_lufs"].startswith("it is silent")
    assert made.not_computed["music_share"] == "nothing in it sounds: no 0.4 s of it are above -60 LUFS"
    assert made.not_computed["tempo_bpm"] == made.not_computed["music_share"]


@pytest.mark.parametrize(
    "samples, rate_hz, subtype",
    [
        (tones((-20, 0.3)), 48_000, "PCM_16"),
        (tones((-20, 4), channels=1), 48_000, "PCM_16"),
        (tones((-20, 4), channels=8), 48_000, "PCM_24"),
        (tones((-20, 4), rate_hz=8_000), 8_000, "PCM_U8"),
        (tones((-20, 4), rate_hz=192_000), 192_000, "PCM_32"),
        (np.clip(tones((20, 4)), -1, 1), 48_000, "PCM_16"),
        (tones((-20, 4)) + np.float32(0.5), 48_000, "FLOAT"),
        (np.where(np.arange(192_000)[:, None] % 1_000 == 7, np.nan, tones((-20, 4))).astype(np.float32), 48_000, "FLOAT"),
        (tones((-20, 4)) * np.float32(1e9), 48_000, "FLOAT"),
        (np.full((48_000, 2), np.nan, np.float32), 48_000, "DOUBLE"),
    ],
    ids=["0.3 s", "mono", "8 channels", "8 kHz", "192 kHz", "clipped", "direct current", "no numbers among them", "32-bit numbers", "no numbers at all"],
)
def test_whatever_a_file_holds_each_measure_is_there_or_the_reason_why_not(samples: Float32, rate_hz: int, subtype: str, tmp_path: Path) -> None:
    made = profile_file(written(tmp_path / "it.wav", samples, rate_hz, subtype))
    assert {name for name in MEASURES if getattr(made, name) is None} == made.not_computed.keys()
    values = [value for name in MEASURES if isinstance(value := getattr(made, name), float)]
    assert all(np.isfinite(values)) and all(made.not_computed.values())
    json.dumps(made.not_computed)


def test_what_is_no_audio_is_said_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "it.mp3"
    path.write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(UnreadableAudio, match=f"{path} is not audio"):
        profile_file(path)
    with pytest.raises(UnreadableAudio, match="it is longer than 3 s"):
        profile_file(write_flac(tmp_path / "long.flac", notes(1, 12)), longest_s=3)


def test_without_the_extra_tempo_and_key_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(musical.metadata, "version", _not_installed)
    made = profile_file(write_flac(tmp_path / "it.flac", notes(1, 12)))
    assert made.loudness_lufs is not None and made.features == ""
    assert made.not_computed["tempo_bpm"].startswith("the extra `features` (librosa) was not installed where it was measured: install earmark[features]")
    assert made.not_computed.keys() == {"tempo_bpm", "key", "mode", "key_fit"}


def _not_installed(name: str) -> str:
    raise musical.metadata.PackageNotFoundError(name)


# ------------------------------------------------------------------------------------------------ on record


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def worker(shelf: Shelf, **changed: Any) -> Profiling:
    settings = shelf.settings.model_copy(update=changed)
    return Profiling(pool=shelf.pool, s3=lambda: shelf.s3, settings=settings, worker="worker", meter=None, stop=threading.Event())


def drained(measuring: Profiling, bench: Bench) -> list[Told]:
    return list(iter(lambda: measuring.one(bench), None))


def profile_of(pool: Pool, track_id: str) -> TrackProfile:
    entry = Tracks(pool=pool).show(track_id)
    assert entry is not None
    return entry.profile


def test_each_object_that_becomes_a_recording_is_measured_once(shelf: Shelf, bench: Bench) -> None:
    shelf.has("one.flac", recording(1)).has("two.flac", recording(2))
    before = profile_of(shelf.pool, "key:one.flac")
    assert before.version == 0 and before.not_computed["loudness_lufs"].startswith("not yet: ")
    assert drained(worker(shelf), bench) == [Told(track_id="key:one.flac", outcome="measured"), Told(track_id="key:two.flac", outcome="measured")]
    made = profile_of(shelf.pool, "key:one.flac")
    assert made.loudness_lufs is not None and made.sound_s == pytest.approx(4, abs=0.5) and made.version == PROFILE_VERSION
    assert made.not_computed.items() >= NEVER.items() and "AGPL" in made.not_computed["danceability"]
    # Told again, looked at again, described otherwise: nothing is measured again.
    shelf.has("one.flac", recording(1)).has("one.flac.json", {"title": "Another"})
    assert worker(shelf).owe_all() == 0 and drained(worker(shelf), bench) == []
    assert profile_of(shelf.pool, "key:one.flac") == made


def test_a_replaced_recording_never_has_its_predecessors_profile(shelf: Shelf, bench: Bench) -> None:
    shelf.has("one.flac", recording(1))
    drained(worker(shelf), bench)
    shelf.has("one.flac", recording(2))
    assert profile_of(shelf.pool, "key:one.flac").version == 0
    assert [told.outcome for told in drained(worker(shelf), bench)] == ["measured"]
    # The same sound, louder.
    first = profile_of(shelf.pool, "key:one.flac")
    samples = notes(3, 4)
    files = [write_flac(bench.file.with_name(f"{n}.flac"), samples * np.float32(gain)).read_bytes() for n, gain in enumerate((0.5, 1.0))]
    loudness = []
    for data in files:
        shelf.has("one.flac", data)
        drained(worker(shelf), bench)
        loudness.append(profile_of(shelf.pool, "key:one.flac").loudness_lufs)
    assert loudness[1] == pytest.approx(loudness[0] + 6.02, abs=0.2) and first.loudness_lufs not in loudness
    shelf.lacks("one.flac")
    assert rows(shelf.pool, "select * from track_profile") == []


def test_a_profile_of_bytes_that_were_replaced_meanwhile_is_not_written(shelf: Shelf, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.has("one.flac", recording(1))
    measure = Measuring.measure

    def replaced_meanwhile(*arguments: Any, **named: Any) -> TrackProfile:
        made = measure(*arguments, **named)
        shelf.has("one.flac", recording(2))
        return made

    with monkeypatch.context() as once:
        once.setattr(Measuring, "measure", replaced_meanwhile)
        assert [worker(shelf).one(bench)] == [Told(track_id="key:one.flac", outcome="dropped", reason="its bytes are not in the bucket")]
    assert profile_of(shelf.pool, "key:one.flac").version == 0
    assert [told.outcome for told in drained(worker(shelf), bench)] == ["measured"]


def test_bytes_that_came_meanwhile_under_the_same_number_are_still_due(shelf: Shelf, bench: Bench) -> None:
    """The same sound with other tags: the recording keeps its number, and whoever measures the old bytes writes and settles nothing of it."""
    shelf.has("one.flac", recording(1))
    with statement(shelf.pool) as connection:
        due = profiles.claim(connection, features="")
    assert due is not None
    shelf.has("one.flac", recording(1, title="another"))
    with statement(shelf.pool) as connection:
        assert rows(shelf.pool, "select track_no from track") == [{"track_no": due.track_no}]
        assert not profiles.write(connection, due.track_id, PROFILE, content_sha256=due.content_sha256)
        for settle in (profiles.settle, profiles.renew, profiles.give_back):
            settle(connection, due)
    assert [told.outcome for told in drained(worker(shelf), bench)] == ["measured"]


def test_what_cannot_be_measured_is_said_in_one_sentence_and_not_tried_again(shelf: Shelf, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.has("one.flac", recording(1))
    monkeypatch.setattr(Measuring, "measure", _refused)
    (told,) = drained(worker(shelf), bench)
    assert told == Told(track_id="key:one.flac", outcome="failed", reason="catalogue/one.flac is not audio: a reason")
    made = profile_of(shelf.pool, "key:one.flac")
    assert made.not_computed["sound_s"] == told.reason and made.sound_s is None
    assert worker(shelf).owe_all() == 0 and drained(worker(shelf), bench) == []


def _refused(_: Measuring, path: Path, **__: Any) -> TrackProfile:
    raise UnreadableAudio(f"{path} is not audio: a reason")


def test_what_fails_for_now_is_put_off_and_given_up_after_so_many_tries(shelf: Shelf, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(*_: Any, **__: Any) -> TrackProfile:
        raise AwsUnavailable("S3 is down")

    shelf.has("one.flac", recording(1))
    monkeypatch.setattr(Measuring, "measure", down)
    told = []
    for _ in range(3):
        told += drained(worker(shelf, attempts_max=3), bench)
        run(shelf.pool, "update track_profile set due_at = due_at - interval '1 hour'")
    assert [(one.outcome, one.reason) for one in told] == [*[("postponed", "S3 is down")] * 2, ("failed", "it was tried 3 times: S3 is down")]
    assert drained(worker(shelf), bench) == []


def test_what_kills_every_worker_is_given_up(shelf: Shelf, bench: Bench) -> None:
    shelf.has("one.flac", recording(1))
    run(shelf.pool, "update track_profile set attempts = 8")
    (told,) = drained(worker(shelf), bench)
    assert (told.outcome, told.reason) == ("failed", "it was tried 8 times, and nobody lived to say why")


def test_a_file_that_kills_its_process_costs_that_file(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.has("one.flac", recording(1))
    with Bench() as bench:
        monkeypatch.setattr(bench.child, "_ask", deadly(bench.child))
        (told,) = drained(worker(shelf), bench)
    assert told.reason == "catalogue/one.flac cannot be measured: the process that decoded it died"


def test_whoever_ends_gives_back_what_is_under_way(shelf: Shelf, bench: Bench) -> None:
    shelf.has("one.flac", recording(1))
    leaving = worker(shelf)
    leaving._stop.set()
    assert [leaving.one(bench)] == [Told(track_id="key:one.flac", outcome="postponed", reason="the worker ends")]
    assert rows(shelf.pool, "select attempts, due_at <= now() as due from track_profile") == [{"attempts": 0, "due": True}]
    assert [told.outcome for told in drained(worker(shelf), bench)] == ["measured"]


def test_it_waits_until_nothing_is_due_of_the_bucket(shelf: Shelf, bench: Bench) -> None:
    shelf.has("one.flac", recording(1))
    shelf.tell(shelf.put("two.flac", recording(2)))
    measuring = worker(shelf)
    measuring._round(bench)
    assert profile_of(shelf.pool, "key:one.flac").version == 0
    shelf.settle()
    measuring._round(bench)
    assert profile_of(shelf.pool, "key:one.flac").version == profile_of(shelf.pool, "key:two.flac").version == PROFILE_VERSION


def test_an_older_profile_and_one_without_the_extra_are_made_anew_where_the_extra_is(shelf: Shelf, bench: Bench) -> None:
    shelf.has("one.flac", recording(1))
    bare, whole = worker(shelf), worker(shelf)
    bare.features, whole.features = "", "librosa 0"
    with transaction(shelf.pool) as connection:
        (content,) = [content for _, content in profiles.unmeasured(connection, ["key:one.flac"], features="").items()]
        assert profiles.write(connection, "key:one.flac", PROFILE, content_sha256=content)
    assert (bare.owe_all(), whole.owe_all()) == (0, 1)
    assert drained(bare, bench) == []  # there is nothing that it could do about it
    assert [told.outcome for told in drained(whole, bench)] == ["measured"]
    run(shelf.pool, "update track_profile set version = 0, features = 'librosa 0'")
    assert bare.owe_all() == 1


def test_who_lacks_the_extra_takes_nothing_away_and_is_done_with_it(shelf: Shelf, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.has("one.flac", recording(1))
    whole = without("a reason", features="librosa 0")
    with transaction(shelf.pool) as connection:
        assert profiles.write(connection, "key:one.flac", whole, content_sha256=bytes.fromhex(shelf.contents["key:one.flac"]))
        assert profiles.owe_again(connection, ["key:one.flac"]) == ["key:one.flac"]
    monkeypatch.setattr(Measuring, "measure", lambda *_, **__: PROFILE)
    assert [told.outcome for told in drained(worker(shelf), bench)] == ["measured"]
    assert rows(shelf.pool, "select features, due_at from track_profile") == [{"features": "librosa 0", "due_at": None}]


def test_a_profile_goes_from_one_catalogue_to_another_as_it_is(pool: Pool, shelf: Shelf) -> None:
    shelf.has("one.flac", recording(1))
    with statement(pool) as connection:
        content = bytes.fromhex(shelf.contents["key:one.flac"])
        assert profiles.write(connection, "key:one.flac", PROFILE, content_sha256=content)
        assert profiles.read(connection, ["key:one.flac", "none"]) == {"key:one.flac": PROFILE}
        assert not profiles.write(connection, "key:one.flac", PROFILE, content_sha256=b"other")
        assert not profiles.write(connection, "none", PROFILE, content_sha256=content)
        # One without tempo and key takes nothing from one that has them.
        whole = without("a reason", features="librosa 0")
        for written_now, kept in ((whole, whole), (PROFILE, whole)):
            assert profiles.write(connection, "key:one.flac", written_now, content_sha256=content)
            assert profiles.read(connection, ["key:one.flac"]) == {"key:one.flac": kept}


# ------------------------------------------------------------------------------------------------ what somebody types


@pytest.fixture
def earmark(dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)

    def run_it(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()  # what was logged before
        code = main(list(argv))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


def test_files_are_measured_when_they_are_added(earmark: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_flac(tmp_path / "it.flac", notes(1, 4), isrc="GBAYE0601498"))
    with monkeypatch.context() as off:
        off.setenv("EARMARK_CATALOGUE__PROFILES", "false")
        assert earmark("catalogue", "add", path)[:2] == (0, "1 added\n")
    shown = json.loads(earmark("catalogue", "show", "isrc:GBAYE0601498")[1])["profile"]
    assert shown["loudness_lufs"] is None and shown["not_computed"]["loudness_lufs"].startswith("not yet")
    assert earmark("catalogue", "add", path)[:2] == (0, "1 unchanged\n")
    shown = json.loads(earmark("catalogue", "show", "isrc:GBAYE0601498")[1])["profile"]
    samples, rate_hz = soundfile.read(path)
    assert shown["loudness_lufs"] is not None and shown["sound_s"] == pytest.approx(len(samples) / rate_hz, abs=0.3)
    assert shown["not_computed"].keys() >= {"danceability", "valence", "energy"}
    assert earmark("catalogue", "profile") == (0, "nothing to measure\n", "")
    code, out, err = earmark("catalogue", "profile", "isrc:GBAYE0601498")
    assert (code, out) == (1, "nothing to measure\n") and err == "earmark: isrc:GBAYE0601498 came from a file: `earmark catalogue add FILE` measures it\n"
    code, _, err = earmark("catalogue", "profile", "none")
    assert code == 2 and "the catalogue has no recording none" in err


def test_many_files_are_measured_side_by_side(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earmark: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.setattr(at_the_desk, "_WORTH_A_PROCESS_S", 4.0)
    paths = [str(write_flac(tmp_path / f"{n}.flac", notes(n, 4))) for n in range(4)]
    assert earmark("catalogue", "add", *paths, "--jobs", "2")[0] == 0
    assert rows(pool, "select count(*) as n from track_profile where version = 1 and loudness_lufs is not null") == [{"n": 4}]


def test_the_buckets_recordings_are_measured_on_demand(
    aws: AwsStandIn, shelf: Shelf, bench: Bench, earmark: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_the_desk, "Bench", lambda: nullcontext(bench))  # not a process for each command
    monkeypatch.setenv("EARMARK_AWS__ENDPOINT_URL", aws.endpoint_url)
    shelf.has("one.flac", recording(1)).has("two.flac", recording(2))
    assert earmark("catalogue", "profile", "--jobs", "1", "key:two.flac") == (0, "1 measured\n", "")
    assert earmark("catalogue", "profile", "--jobs", "1") == (0, "1 measured\n", "")
    assert earmark("catalogue", "profile", "--jobs", "1") == (0, "nothing to measure\n", "")
    shelf.s3.delete_object(Bucket="earmark-media", Key="catalogue/one.flac")
    code, out, err = earmark("catalogue", "profile", "--jobs", "1", "key:one.flac")
    assert (code, out, err) == (0, "1 dropped\n", "earmark: key:one.flac is not measured: its bytes are not in the bucket\n")


def test_a_question_that_kills_the_child_is_asked_once_more_and_given_up() -> None:
    """It has heard the question, unlike one that is killed from without."""
    with closing(Child(os._exit, name="dies")) as child, pytest.raises(UnreadableAudio, match=r"^it cannot be told: the process that decoded it died$"):
        child.answer(3, limit_s=60, beat=lambda: None, cannot="it cannot be told")


def test_a_child_that_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("earmark.stocking.child._BEGUN_S", 0.0)
    with closing(Child(time.sleep, name="sleeps")) as child:
        with pytest.raises(UnreadableAudio, match=r"^it cannot be told: it takes for ever$"):
            child.answer(600, limit_s=0.1, beat=lambda: None, cannot="it cannot be told")
        assert child._process is None


def test_the_child_ends_with_whoever_asked_it() -> None:
    with closing(Measuring()) as child, pytest.raises(ValueError, match="enough"):
        child.measure(Path("/dev/zero"), longest_s=1, beat=_enough)
    assert child._process is None


def _enough() -> None:
    raise ValueError("enough")
