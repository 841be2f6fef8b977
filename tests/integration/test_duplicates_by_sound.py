"""Recordings that the catalogue has already, by their sound: with files, codecs and a database."""

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hits_samples
from bench.added_sound import VARIANTS, encode
from earmark import postgres, relating
from earmark.cli import main
from earmark.duplicates import Policy
from earmark.fingerprint.window import fingerprint
from earmark.hearing import Hearing, drive
from earmark.identification import Match, default_threshold_nats, identify
from earmark.index import integrity
from earmark.index.answers import Index
from earmark.index.catalogue import Entry, Tracks
from earmark.index.overlaps import all_pairs, owed
from earmark.ingest import Result, ingest
from earmark.library import Catalogue
from earmark.local import music
from earmark.local.database import create_database, drop_database
from earmark.model import RATE_HZ, Checkpoint, Float32, MatchParams, Play
from earmark.reference import Source
from earmark.relating import Relating
from earmark.relatives import relatives
from hearing_sounds import at_8_khz, catalogue, chunks, faster, noise, silence, tune
from index_audio import write_flac, write_wav
from index_catalogue import open_pool
from index_twins import TWINS, twin

_serial = itertools.count(1)
ONE = tune(1, 60)
#: What becomes of it, none of which is another recording; and what is one.
SAME = {
    "noisy": ONE + noise(1, 60, 0.002),
    "trimmed": ONE[5 * RATE_HZ :],
    "intro": np.concatenate([tune(2, 12), ONE[6 * RATE_HZ :]]),
    "fast": faster(ONE, 1.02),
    "slow": faster(ONE, 0.98),
    "excerpt": ONE[20 * RATE_HZ : 45 * RATE_HZ],
    "padded": np.concatenate([silence(20), ONE, silence(20)]),
}
OTHERS = {
    "stranger": tune(3, 60),
    "sampled": tune(4, 60) + np.concatenate([silence(20), 0.7 * np.tile(ONE[10 * RATE_HZ : 14 * RATE_HZ], 4), silence(24)]),
    "medley": np.concatenate([tune(5, 50), ONE[: 20 * RATE_HZ], tune(6, 50)]),
}
PAIRS = {"noisy", "trimmed", "intro", "fast", "slow", "excerpt", "padded"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recordings")
    for name, sound in {"one": ONE, **SAME, **OTHERS}.items():
        write_wav(made / f"{name}.wav", 0.5 * np.asarray(sound, np.float32), rate_hz=RATE_HZ)
    return made


def add(pool: postgres.Pool, folder: Path, *names: str, duplicates: Policy = "link", jobs: int = 1) -> list[Result]:
    sources = [Source(path=folder / f"{name}.wav", track_id=name) for name in names]
    return list(ingest(sources, pool=pool, jobs=jobs, duplicates=duplicates))


def outcomes(results: list[Result]) -> list[str]:
    return [result.outcome for result in results]


def show(pool: postgres.Pool, track_id: str) -> Entry:
    entry = Tracks(pool=pool).show(track_id)
    assert entry is not None
    return entry


def pairs(pool: postgres.Pool, *, alike: bool = True) -> set[tuple[str, str]]:
    return {(min(p.one, p.other), max(p.one, p.other)) for p in all_pairs(pool) if p.alike or not alike}


def heard(pool: postgres.Pool, sound: Float32) -> list[Match]:
    index, params = Index(pool=pool).open(), MatchParams()
    size = index.size()
    asking = identify(fingerprint(sound), len(sound) / RATE_HZ, params=params, size=size, threshold_nats=default_threshold_nats(params, size))
    return drive(asking, index.answer)


def told(pool: postgres.Pool, sound: Float32) -> list[tuple[str, tuple[str, ...]]]:
    return [(match.track_id, match.also_matching) for match in heard(pool, sound)]


# ---------------------------------------------------------------------------------------------- found, and handled


def test_what_is_there_already_becomes_an_alias_of_the_first(pool: postgres.Pool, folder: Path) -> None:
    assert outcomes(add(pool, folder, "one", *OTHERS)) == ["added"] * 4
    results = add(pool, folder, *SAME)
    assert outcomes(results) == ["linked"] * len(SAME)
    assert {show(pool, name).alias_of for name in SAME} == {"one"}
    assert set(show(pool, "one").aliases) == set(SAME)
    assert all(show(pool, name).alias_of is None for name in OTHERS)
    for result in results:
        assert f"was added as {result.track_id}, an alias of one (one): " in result.sentence
    assert "0:55 of it are 0:05–1:00 of one (one)" in results[1].sentence
    assert "at speed +2.0%" in results[3].sentence
    assert list(integrity.check(pool)) == []


def test_how_they_lie_on_one_another_is_on_record(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", *SAME)
    lies = {beside.other: beside for beside in show(pool, "one").overlaps}
    assert {name: lies[name].kind for name in PAIRS} == {name: "excerpt" if name == "excerpt" else "same" for name in PAIRS}
    (span,) = lies["trimmed"].spans
    assert (span.begin_s, span.other_begin_s) == (pytest.approx(5, abs=0.6), pytest.approx(0, abs=0.6))
    assert span.end_s - span.begin_s == pytest.approx(55, abs=1.5)
    (span,) = lies["excerpt"].spans
    assert (span.begin_s, span.end_s) == (pytest.approx(20, abs=0.6), pytest.approx(45, abs=0.6))
    assert (lies["excerpt"].share, lies["excerpt"].other_share) == (pytest.approx(25 / 60, abs=0.03), pytest.approx(1, abs=0.03))
    assert lies["fast"].speed == pytest.approx(1 / 1.02, abs=0.0005)
    assert lies["slow"].speed == pytest.approx(1 / 0.98, abs=0.0005)
    assert lies["padded"].spans[0].other_begin_s == pytest.approx(20, abs=0.6)


def test_only_what_has_something_of_its_own_keeps_its_postings(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", *SAME)
    looked_up = {name for name in SAME if show(pool, name).postings}
    assert looked_up == {"intro", "fast", "slow"}
    assert all(show(pool, name).peaks for name in SAME)


def test_rejected_ones_are_not_added_and_told_with_the_others_id_and_title(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one")
    results = add(pool, folder, *SAME, duplicates="reject")
    assert outcomes(results) == ["duplicate"] * len(SAME)
    assert {result.track_id for result in results} == {"one"}
    assert results[1].sentence == f"{folder / 'trimmed.wav'} is not added: 0:55 of it are 0:05–1:00 of one (one)"
    assert [track.track_id for track in Tracks(pool=pool).all()] == ["one"]
    assert outcomes(add(pool, folder, *OTHERS, duplicates="reject")) == ["added"] * 3


def test_kept_ones_are_recordings_of_their_own_and_related(pool: postgres.Pool, folder: Path) -> None:
    results = add(pool, folder, "one", "noisy", "trimmed", duplicates="keep")
    assert outcomes(results) == ["added"] * 3
    assert pairs(pool) == {("noisy", "one"), ("noisy", "trimmed"), ("one", "trimmed")}
    assert {(s.other, s.version) for s in show(pool, "one").shares} == {("noisy", True), ("trimmed", True)}
    assert show(pool, "noisy").alias_of is None


def test_a_shared_passage_is_no_duplicate(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", *OTHERS)
    assert pairs(pool) == set()
    assert {("medley", "one"), ("one", "sampled")} <= pairs(pool, alike=False)
    assert not any("stranger" in pair for pair in pairs(pool, alike=False))


def test_every_codec_and_cut_is_found_in_real_files(pool: postgres.Pool, tmp_path: Path) -> None:
    piece = music.catalogue(2)[0]
    sound = music.render(piece)[: 60 * music.RATE_HZ]
    (first,) = ingest([Source(path=encode(tmp_path / "one.flac", sound), track_id="one")], pool=pool, jobs=1)
    assert first.outcome == "added"
    for name, (ending, kbit_s, change) in VARIANTS.items():
        path = encode(tmp_path / f"again.{ending}", change(sound), kbit_s=kbit_s)
        (result,) = ingest([Source(path=path, track_id=name)], pool=pool, jobs=1, duplicates="link")
        assert (name, result.outcome) == (name, "linked")
        assert show(pool, name).alias_of == "one"
    stranger = encode(tmp_path / "stranger.mp3", music.render(music.stranger(1, like=piece))[: 36 * music.RATE_HZ], kbit_s=128)
    (result,) = ingest([Source(path=stranger, track_id="stranger")], pool=pool, jobs=1, duplicates="link")
    assert result.outcome == "added"


def test_duplicates_of_one_run_and_the_same_file_twice(pool: postgres.Pool, folder: Path, tmp_path: Path) -> None:
    """Also when processes fingerprint them at the same time."""
    copy = tmp_path / "copy.wav"
    copy.write_bytes((folder / "one.wav").read_bytes())
    sources = [
        Source(path=folder / "one.wav", track_id="one"),
        Source(path=folder / "noisy.wav", track_id="noisy"),
        Source(path=copy),
        Source(path=folder / "one.wav"),
    ]
    results = list(ingest(sources, pool=pool, jobs=2, duplicates="link"))
    assert outcomes(results) == ["added", "linked", "duplicate"]  # a path is taken once
    assert outcomes(list(ingest([Source(path=copy, track_id="again")], pool=pool, jobs=1, duplicates="link"))) == ["linked"]
    assert show(pool, "again").alias_of == "one"
    assert outcomes(add(pool, folder, "one", "noisy")) == ["unchanged"] * 2


def test_a_loop_of_itself_is_one_recording_and_no_other(pool: postgres.Pool, tmp_path: Path) -> None:
    bar = tune(9, 4)
    sounds = {"loop": np.tile(bar, 12), "quoting": np.concatenate([tune(10, 30), bar, tune(11, 30)]), "longer": np.tile(bar, 14)}
    for name, sound in sounds.items():
        write_wav(tmp_path / f"{name}.wav", 0.5 * sound, rate_hz=RATE_HZ)
    assert outcomes(add(pool, tmp_path, "loop", "quoting", "longer")) == ["added", "added", "linked"]
    assert show(pool, "longer").alias_of == "loop"


def test_of_two_processes_that_add_one_recording_at_once_one_becomes_the_others_alias(dsn: str, pool: postgres.Pool, tmp_path: Path) -> None:
    context = get_context("spawn")
    start, told = context.Barrier(2), context.Queue()
    processes = [context.Process(target=twin, args=(tmp_path, dsn, number, start, told), daemon=True) for number in range(2)]
    for process in processes:
        process.start()
    said = sorted(told.get(timeout=60) for _ in range(2 * TWINS))
    for process in processes:
        process.join(30)
    for seed in range(TWINS):
        mine = {name: outcome for number, name, outcome in said if number == seed}
        assert sorted(mine.values()) == ["added", "linked"]
        (first,) = [name for name, outcome in mine.items() if outcome == "added"]
        (second,) = set(mine) - {first}
        assert (show(pool, first).alias_of, show(pool, second).alias_of, show(pool, first).aliases) == (None, first, (second,))
    assert len(pairs(pool)) == TWINS
    assert list(integrity.check(pool)) == []


@pytest.mark.parametrize("policy", ["link", "reject", "keep"])
def test_many_at_once_end_as_they_would_one_after_the_other(dsn: str, pool: postgres.Pool, tmp_path: Path, policy: Policy) -> None:
    """Each in a thread with connections of its own, as in a process."""
    names = [f"copy {number}" for number in range(5)]
    for number, name in enumerate(names):
        write_wav(tmp_path / f"{name}.wav", 0.5 * (tune(90, 12) + noise(number, 12, 0.002)), rate_hz=RATE_HZ)
    start = threading.Barrier(len(names))

    def added(name: str) -> str:
        with open_pool(dsn) as own:
            start.wait(30)
            (result,) = add(own, tmp_path, name, duplicates=policy)
            return result.outcome

    for _ in range(3):
        with ThreadPoolExecutor(len(names)) as threads:
            ends = sorted(threads.map(added, names))
        rest = {"link": "linked", "reject": "duplicate", "keep": "added"}[policy]
        assert ends == sorted(["added", *[rest] * (len(names) - 1)])
        there = [track.track_id for track in Tracks(pool=pool).all()]
        assert len(there) == (1 if policy == "reject" else len(names))
        assert sum(show(pool, name).alias_of is None for name in there) == (len(names) if policy == "keep" else 1)
        assert len(pairs(pool)) == (0 if policy == "reject" else 10)
        for name in there:
            Tracks(pool=pool).remove(name)


def test_who_cannot_see_what_has_come_writes_in_the_end(pool: postgres.Pool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that is far behind."""
    monkeypatch.setattr(relating, "_BEHIND_S", 0.01)
    monkeypatch.setattr(relating, "_TRIES_MAX", 3)
    add(pool, folder, "one")
    tries = []

    def behind(connection: postgres.Connection, since: str) -> set[int]:
        tries.append(since)
        return {999_999}

    monkeypatch.setattr(relating, "came_since", behind)
    assert outcomes(add(pool, folder, "noisy", "stranger")) == ["linked", "added"]
    assert len(tries) == 2 * 2


# ---------------------------------------------------------------------------------------------- told in the seconds of the first


def test_what_is_heard_by_an_alias_is_told_in_the_seconds_of_the_first(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "fast")
    (fast,) = heard(pool, SAME["fast"][10 * RATE_HZ : 40 * RATE_HZ])
    assert (fast.track_id, fast.heard_as and fast.heard_as.track_id, fast.heard_as and fast.heard_as.placed) == ("one", "fast", True)
    assert fast.reference_begin_s == pytest.approx(1.02 * (10 + fast.begin_s), abs=0.05)
    assert fast.speed == pytest.approx(1.02, abs=0.001)
    assert fast.heard_as and (fast.heard_as.begin_s, fast.heard_as.speed) == (pytest.approx(10 + fast.begin_s, abs=0.05), pytest.approx(1, abs=0.001))
    (own,) = heard(pool, ONE[10 * RATE_HZ : 40 * RATE_HZ])
    assert (own.track_id, own.reference_begin_s, own.heard_as) == ("one", pytest.approx(10 + own.begin_s, abs=0.05), None)


def test_seconds_that_only_the_alias_has_are_told_as_the_aliass(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "intro")
    (opening,) = heard(pool, SAME["intro"][2 * RATE_HZ : 10 * RATE_HZ])
    assert (opening.track_id, opening.reference_begin_s) == ("one", pytest.approx(2, abs=0.2))
    assert opening.heard_as and (opening.heard_as.track_id, opening.heard_as.placed) == ("intro", False)
    (whole,) = heard(pool, SAME["intro"])
    # 12 s of its own, then the other from its sixth second on.
    assert whole.heard_as and (whole.heard_as.begin_s, whole.heard_as.end_s) == (pytest.approx(0, abs=0.3), pytest.approx(66, abs=0.5))
    assert whole.reference_begin_s == pytest.approx(6, abs=1.2)


def test_where_it_is_not_known_how_they_lie_on_one_another_the_hit_says_so(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "fast")
    with postgres.transaction(pool) as connection:
        connection.execute("delete from overlap")
    (fast,) = heard(pool, SAME["fast"][10 * RATE_HZ : 40 * RATE_HZ])
    assert (fast.track_id, fast.reference_begin_s) == ("one", pytest.approx(10, abs=0.4))
    assert fast.reference_begin_s - fast.begin_s == pytest.approx(10, abs=0.02)
    assert fast.heard_as and not fast.heard_as.placed


def test_a_live_play_of_an_alias_is_told_taken_up_and_closed_in_the_seconds_of_the_first(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "fast")
    index = Index(pool=pool).open()
    sound = np.concatenate([noise(1, 3), SAME["fast"][10 * RATE_HZ : 45 * RATE_HZ], noise(2, 20)]).astype(np.float32)

    def session(begin_s: float, end_s: float, plays: tuple[Play, ...] = ()) -> tuple[list[Play], tuple[Play, ...]]:
        listener = Hearing(params=MatchParams(), size=index.size(), stream_id="s", source="file", plays=plays)
        pieces = chunks(sound[int(begin_s * RATE_HZ) : int(end_s * RATE_HZ)], 8_000, start_s=begin_s)
        changed = [play for piece in pieces for play in drive(listener.push(piece), index.answer)]
        return changed, Checkpoint.from_json(Checkpoint(plays=listener.plays).to_json()).plays

    begun, (handed_over,) = session(0, 20)
    rest, left = session(20, len(sound) / RATE_HZ, (handed_over,))
    assert left == ()
    plays = [*begun, *rest]
    assert {(play.hit_id, play.track_id) for play in plays} == {(plays[0].hit_id, "one")}
    closed = plays[-1]
    assert closed.state == "closed"
    assert (closed.begin_s, closed.end_s) == (pytest.approx(3, abs=0.4), pytest.approx(38, abs=0.6))
    assert (closed.reference_begin_s, closed.reference_end_s) == (pytest.approx(10.2, abs=0.4), pytest.approx(45.9, abs=0.6))
    assert (closed.speed, closed.reference_duration_s) == (pytest.approx(1.02, abs=0.002), pytest.approx(60, abs=0.1))
    assert closed.pitch_cents == pytest.approx(1_200 * np.log2(1.02), abs=3)
    assert closed.heard_as and (closed.heard_as.track_id, closed.heard_as.end_s) == ("fast", pytest.approx(45, abs=0.5))
    document = hits_samples.hit(closed)
    hits_samples.validator("hit").validate(document)
    assert document["reference"]["heard_as"]["placed"] is True
    assert (document["reference"]["begin_s"], document["reference"]["track_id"]) == (pytest.approx(10.2, abs=0.4), "one")


# ---------------------------------------------------------------------------------------------- heard


def test_hearing_reports_the_first_and_lists_the_aliases(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "noisy", "intro", "stranger")
    assert told(pool, ONE[10 * RATE_HZ : 40 * RATE_HZ]) == [("one", ("noisy", "intro"))]
    assert told(pool, SAME["intro"][: 11 * RATE_HZ]) == [("one", ("noisy", "intro"))]
    assert told(pool, SAME["intro"]) == [("one", ("noisy", "intro"))]
    assert told(pool, OTHERS["stranger"][: 20 * RATE_HZ]) == [("stranger", ())]


def test_a_live_stream_is_told_once_with_its_aliases(dsn: str, pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "noisy", "intro")
    with Catalogue.open(dsn) as opened:
        monitor = opened.monitor(rate_hz=RATE_HZ)
        hits = monitor.push(np.asarray(SAME["intro"], np.float32)) + monitor.flush()
    assert {(hit.track_id, hit.hit_id) for hit in hits} == {("one", hits[0].hit_id)}
    assert hits[-1].end_s - hits[-1].begin_s > 55


# ---------------------------------------------------------------------------------------------- chains, removals, replacements


def test_a_duplicate_of_a_duplicate_is_linked_to_the_first(pool: postgres.Pool, folder: Path, tmp_path: Path) -> None:
    add(pool, folder, "one", "intro")
    write_wav(tmp_path / "opening.wav", 0.5 * SAME["intro"][: 11 * RATE_HZ], rate_hz=RATE_HZ)  # only the alias has it
    (result,) = add(pool, tmp_path, "opening")
    assert result.outcome == "linked"
    assert "an alias of one (one)" in result.sentence
    assert "of intro (intro)" in result.sentence
    assert show(pool, "opening").alias_of == "one"
    assert show(pool, "opening").postings == 0
    Tracks(pool=pool).remove("intro")  # which its landmarks were in
    assert show(pool, "opening").postings > 0
    assert told(pool, SAME["intro"][: 11 * RATE_HZ]) == [("one", ("opening",))]


def test_when_the_first_is_removed_its_first_alias_takes_its_place(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "noisy", "intro", "padded")
    assert Tracks(pool=pool).remove("one")
    assert show(pool, "noisy").alias_of is None
    assert show(pool, "noisy").postings > 0
    assert set(show(pool, "noisy").aliases) == {"intro", "padded"}
    assert show(pool, "padded").postings == 0
    assert told(pool, ONE[10 * RATE_HZ : 40 * RATE_HZ]) == [("noisy", ("intro", "padded"))]
    assert list(integrity.check(pool)) == []
    for name in ("noisy", "intro"):
        Tracks(pool=pool).remove(name)
    assert told(pool, ONE[10 * RATE_HZ : 40 * RATE_HZ]) == [("padded", ())]
    assert list(integrity.check(pool)) == []


def test_when_the_first_becomes_another_recording_its_alias_takes_its_place(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "noisy")
    (result,) = ingest([Source(path=folder / "stranger.wav", track_id="one")], pool=pool, jobs=1, duplicates="link")
    assert result.outcome == "replaced"
    assert show(pool, "noisy").alias_of is None
    assert told(pool, ONE[10 * RATE_HZ : 40 * RATE_HZ]) == [("noisy", ())]
    assert told(pool, OTHERS["stranger"][: 20 * RATE_HZ]) == [("one", ())]


def test_when_the_first_is_replaced_by_another_issue_of_it_it_keeps_its_aliases(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "noisy", "trimmed")
    (result,) = ingest([Source(path=folder / "padded.wav", track_id="one")], pool=pool, jobs=1, duplicates="link")
    assert result.outcome == "replaced"
    assert {show(pool, name).alias_of for name in ("noisy", "trimmed")} == {"one"}
    assert {show(pool, name).postings for name in ("noisy", "trimmed")} == {0}
    assert told(pool, ONE[10 * RATE_HZ : 40 * RATE_HZ]) == [("one", ("noisy", "trimmed"))]
    assert list(integrity.check(pool)) == []


def test_an_alias_that_is_removed_or_replaced_leaves_the_first_alone(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "noisy", "trimmed")
    Tracks(pool=pool).remove("noisy")
    (result,) = ingest([Source(path=folder / "stranger.wav", track_id="trimmed")], pool=pool, jobs=1, duplicates="link")
    assert result.outcome == "replaced"
    assert (show(pool, "one").aliases, show(pool, "trimmed").alias_of) == ((), None)
    assert told(pool, ONE[10 * RATE_HZ : 40 * RATE_HZ]) == [("one", ())]


def test_removals_of_a_family_at_once_do_not_wait_in_a_circle(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", *SAME)
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(Tracks(pool=pool).remove, ["one", *SAME]))
    with postgres.statement(pool) as connection:
        for table in ("track", "track_alias", "overlap"):
            assert connection.execute(f"select count(*) from {table}").fetchone() == (0,)


# ---------------------------------------------------------------------------------------------- order, and what is owed

SOUNDS = {
    "one": ONE,
    "trimmed": SAME["trimmed"],
    "intro": SAME["intro"],
    "excerpt": SAME["excerpt"],
    "medley": OTHERS["medley"],
    "stranger": OTHERS["stranger"],
}
PEAKS = {name: fingerprint(np.asarray(sound, np.float32)) for name, sound in SOUNDS.items()}


def kinds(order: list[str]) -> dict[tuple[str, str], str]:
    """By adding them one after the other to a catalogue in memory."""
    found, index = dict[tuple[str, str], str](), catalogue()
    names = dict[int, str]()
    for number, name in enumerate(order, 1):
        asking = relatives(PEAKS[name], len(SOUNDS[name]) / RATE_HZ, track_no=-1, known=(), size=index.size())
        for relation in drive(asking, index.answer):
            other = names[relation.other_no]
            found[min(name, other), max(name, other)] = relation.overlap.kind
        index.add(music.Track(track_id=name, duration_s=len(SOUNDS[name]) / RATE_HZ), PEAKS[name])
        names[number] = name
    return found


@settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
@given(st.permutations(sorted(SOUNDS)))
def test_the_order_of_adding_does_not_change_the_pairs(order: list[str]) -> None:
    assert kinds(order) == {
        ("intro", "one"): "same",
        ("one", "trimmed"): "same",
        ("intro", "trimmed"): "same",
        ("excerpt", "one"): "excerpt",
        ("excerpt", "intro"): "excerpt",
        ("excerpt", "trimmed"): "excerpt",
        ("medley", "one"): "passage",
        ("medley", "trimmed"): "passage",
        ("intro", "medley"): "passage",
    }


def test_links_are_made_in_any_order_and_all_pairs_are_on_record(pool: postgres.Pool, folder: Path) -> None:
    """An alias without postings is compared with a third one all the same."""
    add(pool, folder, "padded", "noisy", "one")
    assert pairs(pool) == {("noisy", "one"), ("noisy", "padded"), ("one", "padded")}
    assert set(show(pool, "padded").aliases) == {"noisy", "one"}


def test_what_an_older_earmark_compared_is_laid_over_again_from_what_is_stored(pool: postgres.Pool, folder: Path) -> None:
    add(pool, folder, "one", "trimmed", "sampled", "stranger", duplicates="keep")
    before = pairs(pool, alike=False)
    with postgres.transaction(pool) as connection:
        connection.execute("delete from overlap")
        connection.execute("update track set aligned_no = null, compared_no = case when track_id = 'one' then null else compared_no end")
    assert owed(pool) == 4
    assert [done for done, _ in Relating(pool=pool).again()] == [1, 2, 3, 4]
    assert pairs(pool, alike=False) == before
    assert owed(pool) == 0


def test_an_older_catalogue_is_migrated_and_owes_its_pairs(postgres_server: str) -> None:
    name = f"duplicates_{next(_serial)}"
    dsn = create_database(postgres_server, name)
    try:
        postgres.migrate(dsn, migrations=[migration for migration in postgres.shipped() if migration.number < 8])
        with psycopg.connect(dsn) as connection:
            connection.execute(
                """insert into track (track_id, duration_s, fingerprint_version, content_sha256, peaks_sha256, isrc)
                   values ('a', 10, 2, 'content', 'peaks', '{A}'), ('b', 10, 2, 'content', 'peaks', '{A}')"""
            )
        assert "0013_duplicates" in postgres.migrate(dsn)
        with open_pool(dsn) as opened:
            assert owed(opened) == 2
            assert list(all_pairs(opened)) == []
    finally:
        drop_database(postgres_server, name)


# ---------------------------------------------------------------------------------------------- ISRCs


def test_an_isrc_on_two_recordings_and_two_on_one_are_reported(pool: postgres.Pool, folder: Path) -> None:
    sources = [
        Source(path=folder / "one.wav", track_id="one", metadata={"isrc": ("DEA012300001",)}),
        Source(path=folder / "noisy.wav", track_id="noisy", metadata={"isrc": ("DEA012300002",)}),
        Source(path=folder / "stranger.wav", track_id="stranger", metadata={"isrc": ("DEA012300001",)}),
    ]
    one, noisy, stranger = ingest(sources, pool=pool, jobs=1, duplicates="link")
    two_isrcs = "noisy and one are one recording, and have two ISRCs, DEA012300002 and DEA012300001: one of them is wrong"
    two_recordings = "stranger and one have one ISRC, DEA012300001, and are two recordings: one of them has a wrong one"
    assert (one.clashes, noisy.clashes, stranger.clashes) == ((), (two_isrcs,), (two_recordings,))
    assert (noisy.outcome, stranger.outcome) == ("linked", "added")
    assert show(pool, "noisy").isrc_clashes == (two_isrcs,)
    assert show(pool, "stranger").isrc_clashes == ("one and stranger have one ISRC, DEA012300001, and are two recordings: one of them has a wrong one",)
    assert len(show(pool, "one").isrc_clashes) == 2


def test_files_with_one_isrc_that_do_not_sound_alike_are_told(pool: postgres.Pool, tmp_path: Path) -> None:
    rate_hz = RATE_HZ
    first = write_flac(tmp_path / "a.flac", 0.5 * tune(21, 20), rate_hz=rate_hz, isrc="DEA012345678")
    second = write_flac(tmp_path / "b.flac", 0.5 * tune(22, 20), rate_hz=rate_hz, isrc="DEA012345678")
    same = write_flac(tmp_path / "c.flac", 0.4 * tune(21, 20), rate_hz=rate_hz, isrc="DEA012345678")
    results = list(ingest([first, second, same], pool=pool, jobs=1, duplicates="link"))
    assert outcomes(results) == ["added", "duplicate", "duplicate"]
    assert [bool(result.clashes) for result in results] == [False, True, False]
    assert str(second) in results[1].clashes[0]
    (again,) = ingest([second], pool=pool, jobs=1, duplicates="link")
    assert again.outcome == "replaced"
    assert again.clashes == ("isrc:DEA012345678 does not sound like what it replaces: if both are recordings, one of them has a wrong ISRC",)


# ---------------------------------------------------------------------------------------------- as a user does it


def test_the_listing_and_show_say_it(dsn: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.setenv("EARMARK_CATALOGUE__PROFILES", "false")
    names = ("one", "fast", "sampled", "excerpt", "stranger")
    manifest = folder / "manifest.json"
    isrc = {"one": "DEA012300001", "fast": "DEA012300002", "stranger": "DEA012300001"}
    manifest.write_text(json.dumps([{"path": f"{name}.wav", "track_id": name, "isrc": isrc.get(name, "")} for name in names]))
    assert main(["catalogue", "add", "--manifest", str(manifest), "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert "3 added, 2 linked" in said.out
    assert "fast.wav was added as fast, an alias of one (one): " in said.err
    assert "have two ISRCs" in said.err
    assert main(["catalogue", "duplicates"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:16].strip() for line in lines[:3]] == ["same recording", "excerpt", "excerpt"]
    assert {line[:16].strip() for line in lines[3:]} == {"shares a passage", "ISRC clash"}
    assert "speed" in lines[0]
    assert "is an alias" in lines[0]
    assert main(["catalogue", "duplicates", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["kind"] for row in rows][:3] == ["same", "excerpt", "excerpt"]
    assert sum(row["kind"] == "isrc clash" for row in rows) == 2
    (whole,) = (row for row in rows if (row["one"], row["other"]) == ("excerpt", "one"))  # the shorter one first
    assert whole["spans"][0]["other_begin_s"] == pytest.approx(20, abs=0.6)
    assert main(["catalogue", "show", "fast"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["alias_of"], shown["overlaps"][0]["other"]) == ("one", "one")
    assert shown["isrc_clashes"]
    assert main(["catalogue", "remove", "one"]) == 0
    assert capsys.readouterr().out == "one was removed; fast, an alias of it, is a recording of its own now\n"


def test_the_setting_decides_and_again_is_done_on_request(dsn: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", dsn)
    monkeypatch.setenv("EARMARK_CATALOGUE__PROFILES", "false")
    monkeypatch.setenv("EARMARK_CATALOGUE__DUPLICATES", "reject")
    paths = [str(folder / f"{name}.wav") for name in ("one", "trimmed")]
    assert main(["catalogue", "add", *paths, "--jobs", "1"]) == 0
    said = capsys.readouterr()
    assert "1 added, 1 duplicate" in said.out
    assert "trimmed.wav is not added: 0:55 of it are 0:05–1:00 of sha256:" in said.err
    monkeypatch.setenv("EARMARK_CATALOGUE__SHARED_PASSAGES", "false")
    assert main(["catalogue", "add", paths[1], "--jobs", "1"]) == 0
    capsys.readouterr()
    assert main(["catalogue", "duplicates"]) == 0
    assert "1 recordings were not compared with the others yet" in capsys.readouterr().err
    assert main(["catalogue", "duplicates", "--again"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("same recording")
    assert "not compared" not in said.err
    monkeypatch.setenv("EARMARK_CATALOGUE__DUPLICATES", "sometimes")
    assert main(["catalogue", "duplicates"]) == 2


def test_files_at_the_sampling_rate_of_records_are_compared_as_they_are(pool: postgres.Pool, tmp_path: Path) -> None:
    """A recording at 44.1 kHz, and what a stream at 8 kHz makes of it."""
    sound = music.render(music.catalogue(3)[2])[: 40 * music.RATE_HZ]
    write_wav(tmp_path / "high.wav", sound, rate_hz=music.RATE_HZ)
    write_wav(tmp_path / "low.wav", at_8_khz(sound, music.RATE_HZ), rate_hz=RATE_HZ)
    assert outcomes(add(pool, tmp_path, "high", "low")) == ["added", "linked"]
