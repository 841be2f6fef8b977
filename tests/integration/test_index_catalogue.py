"""Recordings in and out of a real database: idempotence, atomicity, concurrency, compaction, and the plans of the hot queries."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import psycopg
import pytest

from earmark.errors import DatabaseUnavailable, FingerprintMismatch
from earmark.fingerprint.landmarks import landmarks
from earmark.index import catalogue as catalogue_module
from earmark.index import postings, runs, statistics, stops, upkeep
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.model import Fetch, Int32, Lookup, Passage, Peaks, Postings, Resolve
from earmark.postgres import Pool, statement, transaction
from index_catalogue import DatabaseIndex, answered, expected, open_pool, peaks, recording, recording_of, track

ANY = 1_000_000


@pytest.fixture
def tracks(pool: Pool) -> Tracks:
    return Tracks(pool=pool)


@pytest.fixture
def admin(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection beside the pool, to lock, look and kill."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


def all_hashes(*constellations: Peaks) -> Int32:
    return np.unique(np.concatenate([landmarks(p).hash for p in constellations]))


def heard(pool: Pool, hashes: Int32) -> list[tuple[int, str, int]]:
    index = Index(pool=pool).open()
    found = index.answer(Lookup(hashes=hashes, postings_max=ANY))
    assert isinstance(found, Postings)
    numbers = index.answer(Resolve(track_ids=tuple(t.track_id for t in Tracks(pool=pool).all())))
    assert isinstance(numbers, dict)
    return answered(found, numbers)


def count(pool: Pool, query: str) -> int:
    with statement(pool) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


# ------------------------------------------------------------------------------------------------ adding


def test_adding_the_same_again_changes_nothing(tracks: Tracks, pool: Pool) -> None:
    one = recording("a", peaks(1, 20))
    assert tracks.add([one]) == ["added"]
    before = tracks.show("a")
    assert tracks.add([one]) == ["unchanged"]
    assert tracks.show("a") == before
    assert count(pool, "select count(*) from doc") == 1


def test_other_metadata_are_taken_over_and_the_fingerprint_stays(tracks: Tracks, pool: Pool) -> None:
    one = recording("a", peaks(1, 20))
    tracks.add([one])
    renamed = replace(one.track, title="Another", artists=("One", "Two"), isrc=("DEA012345678",))
    assert tracks.add([recording_of(renamed, one.peaks, one.content_sha256)]) == ["updated"]
    assert tracks.get(["a", "b"]) == {"a": renamed}
    assert count(pool, "select count(*) from doc") == 1


def test_the_same_audio_in_another_file_is_only_another_description(tracks: Tracks, pool: Pool) -> None:
    tracks.add([recording("a", peaks(1, 20))])
    assert tracks.add([recording("a", peaks(1, 20), content=b"tags were edited")]) == ["updated"]
    assert tracks.same_content(b"tags were edited") == ["a"]
    assert count(pool, "select count(*) from doc") == 1


def test_describe_needs_no_peaks(tracks: Tracks) -> None:
    one = recording("a", peaks(1, 20))
    renamed = replace(one.track, title="Another", duration_s=0.0)
    assert tracks.describe(renamed, content_sha256=one.content_sha256) is None
    tracks.add([one])
    assert tracks.describe(renamed, content_sha256=b"other content") is None
    assert tracks.describe(renamed, content_sha256=one.content_sha256) == "updated"
    assert tracks.get(["a"])["a"] == replace(one.track, title="Another")
    assert tracks.describe(renamed, content_sha256=one.content_sha256) == "unchanged"


def test_the_same_audio_is_recognised_under_any_name(tracks: Tracks) -> None:
    tracks.add([recording("a", peaks(1, 20)), recording("b", peaks(2, 20))])
    assert tracks.same_peaks(peaks(2, 20)) == ["b"]
    assert tracks.same_peaks(peaks(3, 20)) == []


def test_a_track_id_twice_in_one_addition_is_a_bug(tracks: Tracks) -> None:
    with pytest.raises(ValueError, match="twice"):
        tracks.add([recording("a", peaks(1, 20)), recording("a", peaks(2, 20))])


def test_list_and_show(tracks: Tracks) -> None:
    tracks.add([recording(name, peaks(seed, 300)) for seed, name in enumerate("cab")])
    assert [t.track_id for t in tracks.all()] == ["a", "b", "c"]
    entry = tracks.show("a")
    assert entry is not None
    assert entry.track == track("a", peaks(1, 300))
    assert entry.peaks == len(peaks(1, 300))
    assert entry.postings == len(expected({"a": peaks(1, 300)}, all_hashes(peaks(1, 300)), ANY))
    assert tracks.show("z") is None
    assert tracks.remove("a")
    assert not tracks.remove("a")
    assert tracks.show("a") is None


def test_all_reads_page_after_page(tracks: Tracks, pool: Pool) -> None:
    with transaction(pool) as connection:
        connection.execute(
            "insert into track (track_id, duration_s, fingerprint_version, content_sha256, peaks_sha256) "
            "select 't' || to_char(n, 'FM0000'), 1, 1, int4send(n), int4send(n) from generate_series(1, 2000) n"
        )
    assert [t.track_id for t in tracks.all()] == [f"t{n:04d}" for n in range(1, 2_001)]


def test_a_large_addition_goes_straight_into_a_run(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue_module, "BULK_POSTINGS", 1_000)
    constellations = {"a": peaks(1, 300), "b": peaks(2, 30)}
    tracks.add([recording(name, p) for name, p in constellations.items()])
    assert count(pool, "select count(*) from fresh") == 0
    assert statistics.read(pool).runs.number == 1
    assert statistics.read(pool).fresh.docs == 0
    hashes = all_hashes(*constellations.values())
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)


def test_when_much_is_fresh_a_small_addition_goes_into_a_run_too(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers hold what is fresh in memory: there is an end to it, whether anybody packs or not."""
    constellations = {str(n): peaks(n, 30) for n in range(4)}
    most = 2 * len(recording("0", constellations["0"]).postings)
    monkeypatch.setattr(catalogue_module, "FRESH_POSTINGS_MAX", most + 100)
    for name, constellation in constellations.items():
        tracks.add([recording(name, constellation)])
    assert count(pool, "select count(*) from fresh") == 2
    assert statistics.read(pool).runs.number == 2
    hashes = all_hashes(*constellations.values())
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)


def test_a_catalogue_of_another_fingerprint_is_refused(tracks: Tracks, pool: Pool) -> None:
    tracks.add([recording("a", peaks(1, 20))])
    tracks.check_version()
    with transaction(pool) as connection:
        connection.execute("update catalogue_version set fingerprint_version = 7")
    for refused in (tracks.check_version, Index(pool=pool).open, lambda: tracks.add([recording("b", peaks(2, 20))])):
        with pytest.raises(FingerprintMismatch, match=r"version 7, .* makes version \d.*earmark catalogue add"):
            refused()


# ------------------------------------------------------------------------------------------------ atomicity, concurrency


def blocked_pid(admin: psycopg.Connection, words: str) -> int:
    """The backend whose statement begins so and waits for a lock; waits until there is one."""
    done = threading.Event()
    for _ in range(2_000):
        row = admin.execute("select pid from pg_stat_activity where wait_event_type = 'Lock' and query ilike %s", [words + "%"]).fetchone()
        if row is not None:
            return int(row[0])
        done.wait(0.005)
    raise AssertionError(f"nothing waits in {words!r}")


def test_a_connection_killed_inside_an_addition_leaves_the_old_version(tracks: Tracks, pool: Pool, admin: psycopg.Connection, dsn: str) -> None:
    old, new = peaks(1, 30), peaks(2, 30)
    tracks.add([recording("a", old)])
    hashes = all_hashes(old, new)
    with ThreadPoolExecutor(1) as thread, psycopg.connect(dsn) as blocker:
        blocker.execute("lock table fresh in share mode")  # the addition gets as far as its postings, then waits
        adding = thread.submit(tracks.add, [recording("a", new, content=b"new")])
        admin.execute("select pg_terminate_backend(%s)", [blocked_pid(admin, "insert into fresh")])
        with pytest.raises(DatabaseUnavailable):
            adding.result(30)
        blocker.rollback()
    assert heard(pool, hashes) == expected({"a": old}, hashes, ANY)
    assert tracks.same_content(b"new") == []
    assert tracks.add([recording("a", new, content=b"new")]) == ["replaced"]
    assert heard(pool, hashes) == expected({"a": new}, hashes, ANY)


def test_a_connection_killed_inside_a_compaction_leaves_everything(tracks: Tracks, pool: Pool, admin: psycopg.Connection, dsn: str) -> None:
    constellations = {"a": peaks(1, 30), "b": peaks(2, 30)}
    tracks.add([recording(name, p) for name, p in constellations.items()])
    hashes = all_hashes(*constellations.values())
    with ThreadPoolExecutor(1) as thread, psycopg.connect(dsn) as blocker:
        blocker.execute("select from doc for update")  # the compaction gets as far as its last step
        compacting = thread.submit(upkeep.step, pool, extent="everything")
        admin.execute("select pg_terminate_backend(%s)", [blocked_pid(admin, "select from doc where doc_id = any")])
        with pytest.raises(DatabaseUnavailable):
            compacting.result(30)
        blocker.rollback()
    assert count(pool, "select count(*) from block") == 0
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)
    assert upkeep.step(pool, extent="everything") is not None
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)


def test_many_at_once_add_one_recording_once(tracks: Tracks, pool: Pool) -> None:
    start = threading.Barrier(6)

    def add(_: int) -> str:
        start.wait(10)
        return tracks.add([recording("a", peaks(1, 30))])[0]

    with ThreadPoolExecutor(6) as threads:
        outcomes = sorted(threads.map(add, range(6)))
    assert outcomes == ["added"] + ["unchanged"] * 5
    assert count(pool, "select count(*) from doc") == 1


def test_many_at_once_replace_one_recording_and_one_version_is_left(tracks: Tracks, pool: Pool) -> None:
    versions = {bytes([n]): peaks(n, 20) for n in range(5)}
    start = threading.Barrier(5)

    def add(content: bytes) -> str:
        start.wait(10)
        return tracks.add([recording("a", versions[content], content=content), recording("b", peaks(50, 20))])[0]

    with ThreadPoolExecutor(5) as threads:
        outcomes = sorted(threads.map(add, versions))
    assert outcomes == ["added"] + ["replaced"] * 4
    (content,) = [content for content in versions if tracks.same_content(content) == ["a"]]
    hashes = all_hashes(*versions.values(), peaks(50, 20))
    assert heard(pool, hashes) == expected({"a": versions[content], "b": peaks(50, 20)}, hashes, ANY)


# ------------------------------------------------------------------------------------------------ upkeep


@pytest.fixture(autouse=True)
def _seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody here lags: what is replaced may be gone from runs at once."""
    monkeypatch.setattr(upkeep, "_SEEN_S", 0)


def everything(pool: Pool) -> list[upkeep.Step]:
    return upkeep.upkeep(pool, extent="everything")


def only_pack(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as alone:
        alone.setattr(upkeep, "_begin", lambda *_: None)
        everything(pool)


def test_upkeep_keeps_every_posting_and_leaves_out_what_is_retired(tracks: Tracks, pool: Pool) -> None:
    constellations = {str(n): peaks(n, 40) for n in range(8)}
    hashes = all_hashes(*constellations.values(), peaks(99, 40))
    tracks.add([recording(name, p) for name, p in list(constellations.items())[:4]])
    assert [step.did for step in everything(pool)] == ["packed"]
    tracks.add([recording(name, p) for name, p in list(constellations.items())[4:]])
    tracks.remove("0")
    tracks.remove("5")
    constellations["1"] = peaks(99, 40)
    tracks.add([recording("1", constellations["1"], content=b"new")])
    del constellations["0"], constellations["5"]
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)
    packed, merged = everything(pool)
    assert (packed.did, packed.docs, merged.did) == ("packed", 4, "merged")
    assert count(pool, "select postings from run") == len(expected(constellations, hashes, ANY)) == statistics.read(pool).postings
    assert count(pool, "select sum(length(posting)) / 4 from block") == statistics.read(pool).postings
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)
    assert count(pool, "select count(*) from fresh") == 0
    assert statistics.read(pool).runs.number == 1
    assert everything(pool) == []


def test_a_much_larger_run_is_left_alone_unless_everything_is_asked_for(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks.add([recording("large", peaks(1, 400))])
    tracks.add([recording("small", peaks(2, 10))])
    for name in ("large", "small"):
        monkeypatch.setattr(catalogue_module, "FRESH_POSTINGS_MAX", 0)
        tracks.add([recording(name, peaks(3 if name == "large" else 4, 400 if name == "large" else 10), content=b"again")])
    monkeypatch.setattr(upkeep, "_LOADING", "0 s")
    everything(pool)
    tracks.add([recording("another", peaks(5, 10))])
    assert statistics.read(pool).runs.number == 2
    assert upkeep.upkeep(pool) == []
    assert [step.did for step in everything(pool)] == ["merged"]
    assert statistics.read(pool).runs.number == 1


def test_a_merge_is_done_a_range_of_hashes_at_a_time_and_readers_see_no_difference(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    constellations = {str(n): peaks(n, 60) for n in range(3)}
    for name, constellation in constellations.items():
        tracks.add([recording(name, constellation)])
        only_pack(pool, monkeypatch)
    monkeypatch.setattr(upkeep, "_SLICE_POSTINGS", 1_500)
    hashes = all_hashes(*constellations.values())
    steps = 0
    while upkeep.step(pool, extent="everything"):
        steps += 1
        assert heard(pool, hashes) == expected(constellations, hashes, ANY), steps
        assert count(pool, "select sum(postings) from run") == count(pool, "select sum(length(posting)) / 4 from block")
    assert steps > 5
    assert statistics.read(pool).runs.number == 1


def test_what_is_replaced_while_a_merge_is_half_way_counts_no_more(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    constellations = {"a": peaks(1, 60), "b": peaks(2, 60)}
    for name, constellation in constellations.items():
        tracks.add([recording(name, constellation)])
        only_pack(pool, monkeypatch)
    monkeypatch.setattr(upkeep, "_SLICE_POSTINGS", 4_000)
    hashes = all_hashes(*constellations.values(), peaks(3, 60))
    upkeep.step(pool, extent="everything")
    tracks.add([recording("a", peaks(3, 60), content=b"new")])
    tracks.remove("b")
    assert heard(pool, hashes) == expected({"a": peaks(3, 60)}, hashes, ANY)
    everything(pool)
    everything(pool)
    assert heard(pool, hashes) == expected({"a": peaks(3, 60)}, hashes, ANY)
    assert count(pool, "select sum(postings) from run") == statistics.read(pool).postings


def test_what_is_replaced_stays_in_runs_until_every_reader_has_seen_it(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that lags is answered with the old one or with the new one, never with neither."""
    monkeypatch.setattr(upkeep, "_SEEN_S", 60)
    now = [100.0]
    tracks.add([recording("a", peaks(1, 60)), recording("b", peaks(2, 60))])
    everything(pool)
    lagging = Index(pool=pool, follow_every_s=1, clock=lambda: now[0]).open()
    tracks.add([recording("a", peaks(3, 60), content=b"new"), recording("c", peaks(4, 60))])
    assert [step.did for step in everything(pool)] == ["packed", "merged"]
    found = lagging.answer(Lookup(hashes=all_hashes(peaks(1, 60)), postings_max=ANY))
    assert isinstance(found, Postings)
    assert len(found) == len(expected({"a": peaks(1, 60), "b": peaks(2, 60)}, all_hashes(peaks(1, 60)), ANY))
    with transaction(pool) as connection:
        connection.execute("update doc set retired_at = retired_at - interval '61 s'")
        connection.execute("update run set built_at = built_at - interval '61 s'")
    assert [step.did for step in everything(pool)] == ["merged"]
    assert everything(pool) == []
    assert count(pool, "select sum(postings) from run") == statistics.read(pool).postings
    found = lagging.answer(Lookup(hashes=all_hashes(peaks(1, 60)), postings_max=ANY))
    assert isinstance(found, Postings)
    assert len(found) == len(expected({"b": peaks(2, 60)}, all_hashes(peaks(1, 60)), ANY))


def test_docs_of_two_spans_come_into_runs_of_their_own(tracks: Tracks, pool: Pool) -> None:
    constellations = {"a": peaks(1, 20), "long": peaks(2, 600), "b": peaks(3, 20)}
    with transaction(pool) as connection:
        connection.execute("alter table doc alter doc_id restart with 524286")  # the long one has three docs: two here, one there
    tracks.add([recording(name, p) for name, p in constellations.items()])
    hashes = all_hashes(*constellations.values())
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)
    everything(pool)
    assert statistics.read(pool).runs.number == 2
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)


def test_nothing_is_due_for_a_few_recordings_among_many(tracks: Tracks, pool: Pool) -> None:
    assert upkeep.upkeep(pool) == []
    for n in range(3):
        tracks.add([recording(str(n), peaks(n, 20))])
        assert upkeep.upkeep(pool) == []
    tracks.add([recording("3", peaks(3, 20))])
    assert [step.did for step in upkeep.upkeep(pool)] == ["packed"]
    assert statistics.read(pool).fresh.docs == 0
    tracks.add([recording("4", peaks(4, 20))])
    assert upkeep.upkeep(pool) == []


def test_only_one_process_at_a_time_does_a_step(tracks: Tracks, pool: Pool, dsn: str) -> None:
    tracks.add([recording("a", peaks(1, 20))])
    with psycopg.connect(dsn) as other:
        other.execute("select pg_advisory_xact_lock(%s)", [upkeep._LOCK])
        assert upkeep.step(pool, extent="everything") is None
    assert upkeep.step(pool, extent="everything") is not None


def test_an_emptied_catalogue_is_empty(tracks: Tracks, pool: Pool) -> None:
    tracks.add([recording("a", peaks(1, 20))])
    everything(pool)
    tracks.remove("a")
    assert [step.did for step in upkeep.upkeep(pool)] == ["merged"]  # by itself: all that is stored is worthless
    assert count(pool, "select count(*) from block") == 0
    assert statistics.read(pool).runs.number == 0
    assert statistics.read(pool).postings == 0


def test_retired_docs_are_deleted_an_hour_later_once_no_run_has_their_postings(tracks: Tracks, pool: Pool) -> None:
    tracks.add([recording(name, peaks(seed, 20)) for seed, name in enumerate("abcdefg")])
    everything(pool)
    tracks.remove("a")
    for name in "xyz":
        tracks.add([recording(name, peaks(ord(name), 20))])
        upkeep.step(pool, extent="everything")
    assert count(pool, "select count(*) from doc where retired_at is not null") == 1
    with transaction(pool) as connection:
        connection.execute("update doc set retired_at = retired_at - interval '2 hours'")
        connection.execute("update run set built_at = built_at - interval '3 hours'")
    tracks.add([recording("w", peaks(1_000, 20))])
    upkeep.step(pool, extent="everything")
    assert count(pool, "select count(*) from doc where retired_at is not null and peaks = ''") == 1  # a run has its postings still
    everything(pool)
    tracks.add([recording("v", peaks(1_001, 20))])
    everything(pool)
    assert count(pool, "select count(*) from doc where retired_at is not null") == 0


def test_a_restored_database_is_followed_without_listing_everything_for_ever(tracks: Tracks, pool: Pool):
    tracks.add([recording("a", peaks(1, 20)), recording("b", peaks(2, 20))])
    with transaction(pool) as connection:
        connection.execute("update doc set changed_xid = '999999999'")  # as from a server with a longer past
    everything(pool)
    assert count(pool, "select count(*) from doc where changed_xid > pg_current_xact_id()") == 0
    assert Index(pool=pool).open().size().tracks == 2


def test_runs_of_one_and_two_byte_low_bits_are_read_alike(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    constellations = {str(n): peaks(n, 60) for n in range(4)}
    for low_bits, name in ((8, "0"), (3, "1"), (11, "2"), (16, "3")):
        monkeypatch.setattr(runs, "low_bits_for", lambda _, low_bits=low_bits: low_bits)
        tracks.add([recording(name, constellations[name])])
        only_pack(pool, monkeypatch)
    assert statistics.read(pool).runs.number == 4
    hashes = all_hashes(*constellations.values())
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)
    everything(pool)
    assert heard(pool, hashes) == expected(constellations, hashes, ANY)


def test_a_hash_of_too_many_recordings_is_put_on_the_stop_list_and_asked_for_no_more(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "_ABOVE_LEAST", 6)
    monkeypatch.setattr(stops, "_MARGIN", 0.0)
    common, others = peaks(1, 20), {str(n): peaks(n, 20) for n in range(10, 13)}
    versions = {f"version {n}": common.take(np.arange(len(common)) != 50 * n) for n in range(8)}  # eight of nearly the same
    tracks.add([recording(name, p) for name, p in {**versions, **others}.items()])
    hashes = all_hashes(common, *others.values())
    assert heard(pool, hashes) == expected(versions | others, hashes, ANY)
    everything(pool)
    index = Index(pool=pool).open()
    found, whole = heard(pool, hashes), expected(versions | others, hashes, ANY)
    often = {place for place, n in Counter(place for place, _, _ in whole).items() if n > 6}
    assert len(often) > 100
    assert found == [row for row in whole if row[0] not in often]
    assert count(pool, "select sum(postings) from doc") - count(pool, "select postings from run") == len(whole) - len(found)
    assert len(index.stop_list) == len(often)
    # What is added later is not asked for by these hashes either, and left out when it is packed.
    tracks.add([recording("late", common)])
    assert heard(pool, hashes) == [row for row in expected(versions | others | {"late": common}, hashes, ANY) if row[0] not in often]
    everything(pool)
    assert heard(pool, hashes) == [row for row in expected(versions | others | {"late": common}, hashes, ANY) if row[0] not in often]


def test_the_stop_list_of_an_emptied_catalogue_is_empty(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "_ABOVE_LEAST", 0)
    monkeypatch.setattr(stops, "_MARGIN", 0.0)
    tracks.add([recording("a", peaks(1, 20))])
    index = Index(pool=pool, follow_every_s=0).open()
    everything(pool)
    index.refresh()
    assert len(index.stop_list) == len(all_hashes(peaks(1, 20)))
    tracks.remove("a")
    tracks.add([recording("b", peaks(2, 20))])
    everything(pool)
    index.refresh()
    assert len(index.stop_list) == len(all_hashes(peaks(1, 20), peaks(2, 20)))  # what is on it stays on it,
    tracks.remove("b")
    everything(pool)
    index.refresh()
    assert len(index.stop_list) == 0  # until nothing is left


def test_a_row_that_was_edited_by_hand_is_left_out_and_counted(tracks: Tracks, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    constellations = {"a": peaks(1, 60), "b": peaks(2, 60)}
    for name, constellation in constellations.items():
        tracks.add([recording(name, constellation)])
        only_pack(pool, monkeypatch)
    with transaction(pool) as connection:
        connection.execute(
            "update block set posting = set_byte(posting, 2, 255 - get_byte(posting, 2)) where (run_id, bucket) in (select run_id, bucket from block limit 3)"
        )
        connection.execute("update block set head = head || '\\x0102' where (run_id, bucket) in (select run_id, bucket from block offset 3 limit 1)")
    hashes = all_hashes(*constellations.values())
    whole = expected(constellations, hashes, ANY)
    assert len(set(heard(pool, hashes)) & set(whole)) > 0.9 * len(whole)
    steps = everything(pool)
    assert sum(step.damaged for step in steps) == 4
    found = heard(pool, hashes)
    assert set(found) < set(whole)
    assert len(found) > 0.9 * len(whole)


@pytest.mark.parametrize("edit", ["postings || '\\x00'", "set_byte(postings, 5, 255)", "set_byte(postings, 0, 255)"])
def test_a_fresh_row_that_was_edited_by_hand_is_left_out_and_counted(tracks: Tracks, pool: Pool, edit: str) -> None:
    constellations = {"a": peaks(1, 60), "b": peaks(2, 60)}
    tracks.add([recording(name, constellation) for name, constellation in constellations.items()])
    with transaction(pool) as connection:
        connection.execute(f"update fresh set postings = {edit} where doc_id = (select min(doc_id) from fresh)")
    hashes = all_hashes(*constellations.values())
    rest = expected({"b": constellations["b"]}, hashes, ANY)
    assert heard(pool, hashes) == rest
    (packed,) = everything(pool)
    assert (packed.docs, packed.damaged) == (2, 1)
    assert heard(pool, hashes) == rest


def test_recordings_without_landmarks_make_no_run(tracks: Tracks, pool: Pool) -> None:
    tracks.add([recording("silent", peaks(1, 0))])
    assert [step.did for step in everything(pool)] == ["packed"]
    assert count(pool, "select count(*) from run") == 0
    assert [t.track_id for t in tracks.all()] == ["silent"]


# ------------------------------------------------------------------------------------------------ following


def test_a_reader_sees_an_addition_once_it_looks_again(tracks: Tracks, pool: Pool) -> None:
    now = [100.0]
    index = Index(pool=pool, follow_every_s=1, clock=lambda: now[0]).open()
    constellation = peaks(1, 20)
    tracks.add([recording("a", constellation)])
    question = Lookup(hashes=all_hashes(constellation), postings_max=ANY)
    assert len(index.answer(question)) == 0
    assert index.size().tracks == 0
    now[0] += 1
    assert len(index.answer(question)) > 0
    assert index.size().tracks == 1
    tracks.remove("a")
    now[0] += 1
    assert len(index.answer(question)) == 0


def test_the_size_as_last_known_is_there_at_once_whatever_the_database_does(tracks: Tracks, dsn: str) -> None:
    """Sessions and the metrics page ask for it: a database that is away must not hold them up."""
    with open_pool(dsn) as closed:
        index = Index(pool=closed, follow_every_s=0).open()
        tracks.add([recording("a", peaks(1, 20))])
        assert index.last_size.tracks == 0
        index.refresh()
    assert index.last_size.tracks == 1


def test_a_transaction_that_commits_late_is_not_missed(tracks: Tracks, pool: Pool, dsn: str) -> None:
    index = Index(pool=pool, follow_every_s=0).open()
    with psycopg.connect(dsn) as late:
        late.execute(
            "insert into doc (track_no, part, first_frame, frames, postings, slice_starts, peaks) values (777, 0, 0, 10, 0, array_fill(0, array[33]), '')"
        )
        tracks.add([recording("a", peaks(1, 20))])  # a younger transaction and a higher doc_id, committed before
        assert index.size().tracks == 1
        late.commit()
    assert index.size().tracks == 2


def test_who_has_not_looked_for_long_starts_anew(tracks: Tracks, pool: Pool) -> None:
    now = [100.0]
    index = Index(pool=pool, follow_every_s=1, clock=lambda: now[0]).open()
    tracks.add([recording("a", peaks(1, 20))])
    now[0] += 1
    (number,) = index.answer(Resolve(track_ids=("a",))).values()
    passage = Fetch(passages=(Passage(track_no=number, begin_frame=0, end_frame=400),))
    assert len(index.answer(passage)) == 1
    tracks.remove("a")
    with transaction(pool) as connection:
        connection.execute("delete from doc")
    now[0] += 3_600
    assert index.answer(passage) == []
    assert index.size().tracks == 0


def test_the_cache_of_constellations_is_bounded(tracks: Tracks, pool: Pool) -> None:
    tracks.add([recording("a", peaks(1, 250))])
    index = Index(pool=pool, follow_every_s=0, cache_bytes=5_000).open()
    (number,) = index.answer(Resolve(track_ids=("a",))).values()
    for begin in range(0, 7_000, 500):
        (reference,) = index.answer(Fetch(passages=(Passage(track_no=number, begin_frame=begin, end_frame=begin + 500),)))
        assert len(reference.peaks) == len(peaks(1, 250).between(begin, begin + 500))
        assert index._constellations.kept_bytes <= 5_000


def test_a_passage_in_memory_is_not_read_again(tracks: Tracks, pool: Pool, admin: psycopg.Connection) -> None:
    tracks.add([recording("a", peaks(1, 60))])
    index = Index(pool=pool, follow_every_s=3_600).open()
    (number,) = index.answer(Resolve(track_ids=("a",))).values()
    passage = Fetch(passages=(Passage(track_no=number, begin_frame=100, end_frame=500),))
    first = index.answer(passage)
    admin.execute("update doc set peaks = ''")
    again = index.answer(passage)
    assert first[0].peaks.eighth_hz.tolist() == again[0].peaks.eighth_hz.tolist()


# ------------------------------------------------------------------------------------------------ plans


@pytest.fixture(scope="module")
def _many_rows() -> str:
    """As many rows as a few hundred recordings have, of nothing in particular."""
    return """
    insert into run (low_bits, doc_base, postings) values (16, 0, 1), (8, 0, 1);
    insert into block (run_id, bucket, part, digest, head, posting) select 1 + n % 2, n, 0, 0, '\\x0001', '\\x00000000' from generate_series(1, 60000) n;
    insert into fresh (doc_id, digest, postings) select n, 0, '' from generate_series(1, 20000) n;
    insert into stop_list (part, hashes) select n, '' from generate_series(0, 127) n;
    insert into doc (track_no, part, first_frame, frames, postings, slice_starts, peaks, packed)
      select n, 0, 0, 8192, 1000, array_fill(0, array[33]), '', true from generate_series(1, 20000) n;
    insert into track (track_id, duration_s, fingerprint_version, content_sha256, peaks_sha256)
      select 't' || n, 1, 1, int4send(n), int4send(n) from generate_series(1, 20000) n;
    insert into shared_passage (track_no, other_no, begin_frame, end_frame, eighth_frames, version, evidence_nats)
      select n, n + 1, 0, 100, '{}', false, 30 from generate_series(1, 19999) n;
    """


def plan(admin: psycopg.Connection, query: str, types: str, values: str) -> str:
    """Of the prepared statement as it is reused: the generic plan."""
    admin.execute("set plan_cache_mode = force_generic_plan")
    admin.execute(f"prepare hot ({types}) as {query}")
    return "\n".join(row[0] for row in admin.execute(f"explain execute hot ({values})"))


@pytest.mark.parametrize("analyzed", [False, True])
def test_the_hot_query_descends_indexes(admin: psycopg.Connection, _many_rows: str, analyzed: bool) -> None:
    admin.execute(_many_rows)
    if analyzed:
        admin.execute("analyze")
    text = plan(admin, postings.LOOK_UP.replace("%(hashes)s", "$1"), "int4[]", "'{1,70000,999999,2000000000}'")
    assert "Seq Scan on block" not in text, text
    assert "block_pkey" in text, text
    assert text.count("->  Sort") == text.count("Sort Key: ((h.h >> ") == 1, text  # the hashes, not what they find


def test_a_passage_is_found_by_index(admin: psycopg.Connection, _many_rows: str) -> None:
    from earmark.index.constellations import _READ

    admin.execute(_many_rows)
    admin.execute("analyze")
    query = _READ.replace("%(track)s", "$1").replace("%(first)s", "$2").replace("%(last)s", "$3")
    text = plan(admin, query, "int4[], int4[], int4[]", "'{5,6}', '{0,1}', '{2,3}'")
    # There are no aliases: a table of no rows is read by looking at it.
    for empty in ("track_alias", "overlap", "catalogue_version"):
        text = text.replace(f"Seq Scan on {empty}", "")
    assert "Seq Scan" not in text, text


def test_following_reads_only_what_changed(admin: psycopg.Connection, _many_rows: str) -> None:
    from earmark.index.docs import _CHANGED, _FRESH

    admin.execute(_many_rows)
    admin.execute("analyze")
    for query, types, values in ((_CHANGED, "text", "'999999999'"), (_FRESH, "int[]", "'{5,6}'")):
        text = plan(admin, query.replace("%s", "$1"), types, values).replace("Seq Scan on catalogue_version", "")
        assert "Seq Scan" not in text, text
        admin.execute("deallocate hot")


def test_the_real_index_and_the_database_agree_after_a_storm(pool: Pool) -> None:
    """Additions, replacements, removals and compactions in any order, while another thread keeps asking."""
    random = np.random.default_rng(4)
    index = DatabaseIndex(pool)
    truth: dict[str, Peaks] = {}
    over = threading.Event()
    faults: list[BaseException] = []
    hashes = all_hashes(*(peaks(seed, 10) for seed in range(12)))

    def ask() -> None:
        try:
            while not over.is_set():
                found = index.answer(Lookup(hashes=hashes[:500], postings_max=ANY))
                assert isinstance(found, Postings)
                rows = np.stack([found.query, found.track_no, found.frame])
                assert len(np.unique(rows, axis=1)[0]) <= rows.shape[1]
        except BaseException as error:  # handed to the test
            faults.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for step in range(30):
            name = str(random.integers(0, 5))
            if random.random() < 0.25 and name in truth:
                index.remove(name)
                del truth[name]
            else:
                truth[name] = peaks(step % 12, 10)
                index.add(track(name, truth[name]), truth[name])
            if random.random() < 0.3:
                upkeep.upkeep(pool, extent="everything" if random.random() < 0.3 else "due")
    finally:
        over.set()
        asking.join()
    assert not faults
    numbers = index.answer(Resolve(track_ids=tuple(truth)))
    found = index.answer(Lookup(hashes=hashes, postings_max=ANY))
    assert isinstance(found, Postings)
    assert isinstance(numbers, dict)
    assert answered(found, numbers) == expected(truth, hashes, ANY)
