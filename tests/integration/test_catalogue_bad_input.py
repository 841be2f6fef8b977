"""What a catalogue is given and should not be, and what happens to its database meanwhile: a sentence, and nothing half-written."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from os import environ, pathsep

import numpy as np
import psycopg
import pytest

from catalogue_kills import ANY, OPERATIONS, SOUNDS, Answers, applied, ask, by_truth, hashes_of
from earmark import postgres
from earmark.errors import DatabaseUnavailable, SchemaMismatch
from earmark.index import integrity, upkeep
from earmark.index.answers import Index
from earmark.index.blocks import unpack_fresh
from earmark.index.catalogue import Tracks
from earmark.local.database import create_database
from earmark.model import Lookup, Peaks, Postings
from earmark.postgres import Connection, Pool, migrate, shipped
from index_catalogue import open_pool, recording
from postgres_servers import Server, server

HASHES = hashes_of(*SOUNDS)


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with open_pool(dsn, pool_max=6) as pool:
        yield pool


def add(pool: Pool, **named: str) -> None:
    Tracks(pool=pool).add([recording(track_id, SOUNDS[name], content=name.encode()) for track_id, name in named.items()])


def answers(pool: Pool) -> Answers:
    """What a reader says that has just come; and nothing is wrong in the tables."""
    damage = list(integrity.check(pool))
    assert not damage, damage
    return ask(pool, Index(pool=pool).open(), HASHES)


# ------------------------------------------------------------------------------------------------ landmarks: none, and too many


def test_a_recording_without_landmarks_is_there_and_never_heard(pool: Pool) -> None:
    tracks = Tracks(pool=pool)
    add(pool, a="packed")
    assert tracks.add([recording("silent", Peaks.none())]) == ["added"]
    heard = by_truth({"a": "packed"}, HASHES, ANY)
    for step in ("", "packed", "merged"):
        if step:
            done = upkeep.step(pool, extent="everything")
            assert done and done.did == step
        found = answers(pool)
        assert {track_id: postings for track_id, postings in found.postings.items() if postings} == {"a": heard["a"]}
        assert [track.track_id for track in found.tracks] == ["a", "silent"]
        entry = tracks.show("silent")
        assert entry and (entry.peaks, entry.postings) == (0, 0)
        if step == "packed":
            add(pool, a="old")
            heard = by_truth({"a": "old"}, HASHES, ANY)
            upkeep.step(pool, extent="everything")
    assert tracks.add([recording("silent", SOUNDS["two"], content=b"sound at last")]) == ["replaced"]
    assert tracks.remove("silent")


TEN_MILLION = """
import resource, sys
import numpy as np
from earmark.index.answers import Index
from earmark.index.blocks import unpack_fresh
from earmark.index.catalogue import Recording, Tracks
from earmark.model import FRAMES_PER_S, Landmarks, Lookup
from index_catalogue import open_pool, peaks, track

random, constellation = np.random.default_rng(1), peaks(1, 36_000)
hashes = random.integers(0, 1 << 31, 10_000_000, dtype=np.int32)
frames = np.sort(random.uniform(0, 36_000 * FRAMES_PER_S - 1, len(hashes)))
given = Recording(track=track("long", constellation), peaks=constellation, postings=Landmarks(hash=hashes, frame=frames), content_sha256=b"long")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open_pool(sys.argv[1], statement_timeout_s=60) as pool:
    print(*Tracks(pool=pool).add([given]))
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * (1 if sys.platform == "darwin" else 1024))
    asked = np.unique(hashes[::500])
    found = Index(pool=pool).open().answer(Lookup(hashes=asked, postings_max=1_000))
mine = np.flatnonzero(np.isin(hashes, asked))
want = np.stack([np.searchsorted(asked, hashes[mine]), np.floor(frames[mine])])
got = np.stack([found.query, found.frame])
print(len(mine), np.array_equal(want[:, np.lexsort(want)], got[:, np.lexsort(got)]))
"""


def test_ten_million_landmarks_go_through_in_bounded_memory(dsn: str) -> None:
    """Ten hours, at nine landmarks a frame; beside them an addition takes 14 bytes each (142 MB were measured), and must not take 32."""
    environment = environ | {"PYTHONPATH": pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", TEN_MILLION, dsn], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outcome, taken_bytes, count, same = done.stdout.split()
    assert (outcome, same) == ("added", "True")
    assert int(count) > 20_000
    assert int(taken_bytes) < 320_000_000
    with open_pool(dsn) as pool:
        with pool.connection() as connection:
            held = connection.execute("select sum(postings) filter (where packed), count(*) filter (where not packed) from doc").fetchone()
        assert held == (10_000_000, 0)  # what is not packed, readers hold in memory
        assert list(integrity.check(pool, quick=True)) == []
        assert Tracks(pool=pool).remove("long")


# ------------------------------------------------------------------------------------------------ two at once


def test_one_adds_while_another_removes(pool: Pool) -> None:
    """Again and again; meanwhile a reader hears all of a version or nothing of it."""
    add(pool, a="packed")
    rounds, over, reader = 25, threading.Event(), Index(pool=pool, follow_every_s=0).open()
    versions = {postings for name in ("old", "two") for postings in [by_truth({"x": name}, HASHES, ANY)["x"]]}
    bystander = by_truth({"a": "packed"}, HASHES, ANY)["a"]
    start = threading.Barrier(2)

    def adds() -> None:
        for n in range(rounds):
            start.wait(30)
            add(pool, x=("old", "two")[n % 2])

    def removes() -> None:
        for _ in range(rounds):
            start.wait(30)
            Tracks(pool=pool).remove("x")

    def reads() -> None:
        while not over.is_set():
            found = reader.answer(Lookup(hashes=HASHES, postings_max=ANY))
            assert isinstance(found, Postings)
            heard = [np.sort((found.query.astype(np.int64) << 32 | found.frame)[found.track_no == number]).tobytes() for number in np.unique(found.track_no)]
            assert heard.count(bystander) == 1
            assert len(heard) <= 2 and set(heard) <= {bystander, *versions}

    with ThreadPoolExecutor(3) as threads:
        reading, writing = threads.submit(reads), [threads.submit(adds), threads.submit(removes)]
        try:
            for writer in writing:
                writer.result(60)
        finally:
            over.set()
        reading.result(60)
    found = answers(pool).postings
    assert found["a"] == bystander
    assert found.keys() == {"", "a"} or found["x"] in versions
    upkeep.upkeep(pool, extent="everything")
    assert answers(pool).postings == found


# ------------------------------------------------------------------------------------------------ time-outs


@contextmanager
def locked(dsn: str, table: str) -> Iterator[None]:
    with psycopg.connect(dsn) as locker:
        locker.execute(f"lock table {table} in access exclusive mode")
        yield
        locker.rollback()


CANCELLED = r"PostgreSQL at .* cancelled a statement: canceling statement due to statement timeout \(database.statement_timeout_s\)"


@pytest.mark.parametrize("table", ["doc", "block", "stop_list"])
def test_a_look_up_that_takes_too_long_is_a_sentence_and_asked_again(pool: Pool, dsn: str, table: str) -> None:
    add(pool, a="packed")
    upkeep.step(pool, extent="everything")
    before = answers(pool)
    with open_pool(dsn, statement_timeout_s=0.2) as hasty:
        reader = Index(pool=hasty, follow_every_s=0).open()
        with locked(dsn, table), pytest.raises(DatabaseUnavailable, match=CANCELLED):
            ask(pool, reader, HASHES)
        assert ask(hasty, reader, HASHES) == before


@pytest.mark.parametrize(
    "name, table",
    [
        ("add", "track"),
        ("add", "fresh"),
        ("bulk add", "run"),
        ("bulk replace", "block"),
        ("remove", "doc"),
        ("pack", "fresh"),
        ("pack", "run"),
        ("second slice of a merge", "block"),
        ("second slice of a merge", "stop_list"),
        ("last slice of a merge", "run"),
    ],
)
def test_a_change_that_takes_too_long_changes_nothing(pool: Pool, dsn: str, name: str, table: str) -> None:
    operation = OPERATIONS[name]
    operation.prepare(pool)
    before = answers(pool)
    with open_pool(dsn, statement_timeout_s=0.2) as hasty, applied([(upkeep, "_STEP_S", 0.2)]):
        with locked(dsn, table), pytest.raises(DatabaseUnavailable, match=CANCELLED):
            operation.do(hasty)
        assert answers(pool) == before
        operation.do(hasty)
    assert answers(pool).postings == by_truth(operation.after, HASHES, ANY)


# ------------------------------------------------------------------------------------------------ a connection lost


@pytest.mark.parametrize("name", ["bulk add", "bulk replace", "pack", "first slice of a merge", "last slice of a merge"])
def test_a_connection_lost_inside_a_copy_leaves_nothing_of_it(pool: Pool, dsn: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operation, write = OPERATIONS[name], psycopg.Copy.write
    lost: list[int] = []
    operation.prepare(pool)
    before = answers(pool)
    with psycopg.connect(dsn, autocommit=True) as admin:

        def write_half(copy: psycopg.Copy, data: bytes) -> None:
            if len(data) > 1_000 and not lost:
                lost.append(copy.connection.info.backend_pid)
                write(copy, data[: len(data) // 2])
                end(admin, lost[0])
                data = data[len(data) // 2 :]
            write(copy, data)

        monkeypatch.setattr(psycopg.Copy, "write", write_half)
        with pytest.raises(DatabaseUnavailable, match="PostgreSQL at .* cannot be (used now|reached): "):
            operation.do(pool)
    assert lost
    assert answers(pool) == before
    operation.do(pool)
    assert answers(pool).postings == by_truth(operation.after, HASHES, ANY)


def end(admin: Connection, pid: int) -> None:
    """A backend, and wait until it is gone."""
    assert admin.execute("select pg_terminate_backend(%s, 30000)", [pid]).fetchone() == (True,)


# ------------------------------------------------------------------------------------------------ backups


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Server]:
    """A server whose transactions are counted from less than those of the one that is backed up."""
    with server() as running:
        yield running


@pytest.fixture(scope="module")
def backed_up() -> Iterator[Server]:
    with server() as running:
        yield running


def restored(backed_up: Server, dsn: str, elsewhere: Server, name: str) -> str:
    """A database, dumped and restored elsewhere; its DSN."""
    file, there = str(backed_up.data.parent / name), create_database(elsewhere.dsn, name)
    backed_up.run("pg_dump", "-Fc", "-f", file, "-d", dsn)
    elsewhere.run("pg_restore", "-e", "-d", there, file)
    return there


def count_on(dsn: str) -> None:
    """Ten thousand transactions, as time goes by."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("create temporary table ticks (n int)")
        connection.execute(
            "do $$ begin for n in 1..10000 loop begin insert into ticks values (n); exception when division_by_zero then null; end; end loop; end $$"
        )


def test_a_backup_from_a_server_with_a_longer_past_is_followed(backed_up: Server, elsewhere: Server) -> None:
    dsn = create_database(backed_up.dsn, "long_past")
    migrate(dsn)
    count_on(dsn)
    with open_pool(dsn) as pool:
        OPERATIONS["second slice of a merge"].prepare(pool)  # with all there can be: runs, a merge half done, fresh ones, retired ones
        before = answers(pool)
    with open_pool(restored(backed_up, dsn, elsewhere, "long_past")) as pool:
        postgres.check(pool)
        reader = Index(pool=pool, follow_every_s=0).open()
        assert ask(pool, reader, HASHES) == answers(pool) == before
        with pool.connection() as connection:
            assert connection.execute("select bool_and(changed_xid > pg_current_xact_id()) from doc").fetchone() == (True,)
        add(pool, y="old", z="three")
        Tracks(pool=pool).remove("a")
        now = {"b": "fresh", "x": "long", "y": "old", "z": "three"}
        assert ask(pool, reader, HASHES).postings == by_truth(now, HASHES, ANY)
        upkeep.upkeep(pool, extent="everything")
        assert ask(pool, reader, HASHES).postings == answers(pool).postings == by_truth(now, HASHES, ANY)
        with pool.connection() as connection:
            assert connection.execute("select bool_or(changed_xid > pg_current_xact_id()) from doc").fetchone() == (False,)
        add(pool, a="packed")
        assert ask(pool, reader, HASHES).postings == by_truth({**now, "a": "packed"}, HASHES, ANY)


def test_a_backup_of_an_older_version_is_told_to_migrate_and_then_goes_on(pool: Pool, backed_up: Server, elsewhere: Server) -> None:
    add(pool, a="packed")
    dsn = create_database(backed_up.dsn, "older")
    migrate(dsn, migrations=shipped()[:4])
    with pool.connection() as new, psycopg.connect(dsn) as older:
        as_of_migration_4(new, older)
    dsn = restored(backed_up, dsn, elsewhere, "older")
    with open_pool(dsn) as there:
        with pytest.raises(SchemaMismatch, match=r"PostgreSQL at .*, database older lacks the migrations 0005_catalogue_at_scale.*: run `earmark db migrate`"):
            postgres.check(there)
        for use in (lambda: Index(pool=there).open(), lambda: add(there, b="fresh"), lambda: upkeep.step(there)):
            with pytest.raises(SchemaMismatch, match=r"lacks a part of the schema .*: run `earmark db migrate`"):
                use()
        migrate(dsn)
        postgres.check(there)
        assert answers(there).postings == by_truth({"a": "packed"}, HASHES, ANY)
        add(there, a="old", b="fresh")
        upkeep.upkeep(there, extent="everything")
        assert answers(there).postings == by_truth({"a": "old", "b": "fresh"}, HASHES, ANY)


def as_of_migration_4(new: Connection, older: Connection) -> None:
    """Recordings that are in no run, as they lay then: a row a posting."""
    for table in ("catalogue_version", "track", "doc"):
        known = [column.name for column in older.execute(f"select * from {table} limit 0").description or ()]
        for row in new.execute(f"select {', '.join(known)} from {table}").fetchall():
            older.execute(f"insert into {table} overriding system value values ({', '.join(['%s'] * len(row))})", row)
    for doc_id, packed in new.execute("select doc_id, postings from fresh").fetchall():
        for hash_, frame in zip(*unpack_fresh(packed), strict=True):
            older.execute("insert into recent (hash, doc_id, frame) values (%s, %s, %s)", [int(hash_), doc_id, int(frame)])
    for column in ("track.track_no", "doc.doc_id"):
        older.execute("select setval(pg_get_serial_sequence(split_part(%(c)s, '.', 1), split_part(%(c)s, '.', 2)), 1000)", {"c": column})
