"""Migration 0005 takes a catalogue of the older layout over: each posting answers as before, every row has its digest, and upkeep goes on from there."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import psycopg
import pytest

from earmark import postgres
from earmark.index import blocks, runs, stops, upkeep, version
from earmark.index.answers import Index
from earmark.index.blocks import SPAN
from earmark.index.catalogue import _BITS, Tracks
from earmark.index.runs import Run
from earmark.local.database import create_database, drop_database
from earmark.model import Int32, Lookup, Postings
from earmark.postgres import Pool, transaction
from index_catalogue import answered, expected, open_pool, peaks, recording

ANY = 1_000_000
#: (hash, frame) of each posting of a doc.
OfDoc = list[tuple[int, int]]
#: The older layout's rows held 2,000 bytes: four a posting, and its low bits.
OLD_ROW_BYTES = 2_000


@dataclass(frozen=True)
class Doc:
    track_no: int
    part: int
    postings: OfDoc
    #: low_bits and span of the run that has them; None: they are in `recent`.
    run: tuple[int, int] | None
    retired: bool = False


def any_postings(seed: int, count: int, hashes: int) -> OfDoc:
    random = np.random.default_rng(seed)
    return list(zip(random.integers(0, hashes, count).tolist(), random.integers(0, 8_192, count).tolist(), strict=True))


def often(hash_: int, count: int) -> OfDoc:
    return [(hash_, frame) for frame in range(count)]


#: By doc_id. Hash 999 has 300 postings in one bucket, behind some 390 others of it: its rows are cut at 400 (333 if low bits
#: take two bytes), in the middle of it. Hash 70,000 has so many in a bucket by itself.
DOCS: Mapping[int, Doc] = {
    1: Doc(101, 0, any_postings(1, 700, 1 << 10) + often(999, 300), (8, 0)),
    2: Doc(101, 1, any_postings(2, 300, 1 << 10) + often(70_000, 1_000), (8, 0)),
    3: Doc(102, 0, any_postings(3, 500, 1 << 10), (8, 0), retired=True),
    4: Doc(103, 0, any_postings(4, 400, 1 << 10) + often(999, 300), (12, 0)),
    5: Doc(104, 0, [*any_postings(5, 900, 1 << 31), (2**31 - 1, 8_191), (0, 0)], (12, 0)),
    6: Doc(105, 0, any_postings(6, 100, 1 << 8), (0, 0)),
    7: Doc(106, 0, any_postings(7, 300, 1 << 11) + often(999, 3), None),
    8: Doc(107, 0, [*any_postings(8, 300, 1 << 31), (2**31 - 1, 8_191)], None),
    9: Doc(108, 0, any_postings(9, 200, 1 << 10) + often(999, 20), None, retired=True),
    10: Doc(109, 0, [], None),
    SPAN + 5: Doc(110, 0, any_postings(10, 700, 1 << 17), (16, 1)),
    SPAN + 6: Doc(111, 0, any_postings(11, 200, 1 << 17), None),
}
HASHES: Int32 = np.unique(np.array([hash_ for doc in DOCS.values() for hash_, _ in doc.postings] + [5_000_000], np.int32))


def fill(connection: psycopg.Connection) -> None:
    """As the daemon of migration 0004 left it."""
    connection.execute("insert into catalogue_version (fingerprint_version, hash_bits, frame_bits) values (%s, %s, %s)", (version.OURS, *_BITS))
    for doc_id, doc in DOCS.items():
        connection.execute(
            "insert into doc (doc_id, track_no, part, first_frame, frames, postings, slice_starts, peaks, packed, retired_at) overriding system value "
            "values (%s, %s, %s, %s, 8192, %s, array_fill(0, array[33]), '', %s, case when %s then now() end)",
            [doc_id, doc.track_no, doc.part, doc.part * 8_192, len(doc.postings), doc.run is not None, doc.retired],
        )
        if doc.run is None:
            with connection.cursor() as cursor:
                cursor.executemany("insert into recent (hash, doc_id, frame) values (%s, %s, %s)", [(hash_, doc_id, frame) for hash_, frame in doc.postings])
    connection.execute("select setval(pg_get_serial_sequence('doc', 'doc_id'), %s)", [max(DOCS)])
    connection.execute("select setval(pg_get_serial_sequence('track', 'track_no'), 1000)")
    for low_bits, span in sorted({doc.run for doc in DOCS.values() if doc.run is not None}):
        write_run(connection, low_bits, span)


def keys_of(low_bits: int, span: int) -> blocks.Keys:
    parts = [(doc_id, np.array(doc.postings, np.int32)) for doc_id, doc in DOCS.items() if doc.run == (low_bits, span)]
    return np.sort(np.concatenate([blocks.keys(columns[:, 0], doc_id, columns[:, 1]) for doc_id, columns in parts]))


def write_run(connection: psycopg.Connection, low_bits: int, span: int) -> None:
    keys = keys_of(low_bits, span).tolist()
    row = connection.execute(
        "insert into run (low_bits, doc_base, postings) values (%s, %s, %s) returning run_id", [low_bits, span * SPAN, len(keys)]
    ).fetchone()
    width = 1 if low_bits <= 8 else 2
    of_row = OLD_ROW_BYTES // (4 + width)
    buckets: dict[int, list[int]] = {}
    for key in keys:
        buckets.setdefault(key >> 32 >> low_bits, []).append(key)
    rows = [
        (
            row[0],
            bucket,
            begin // of_row,
            b"".join((key >> 32 & (1 << low_bits) - 1).to_bytes(width, "little") for key in of_bucket[begin : begin + of_row]),
            b"".join((key & 0xFFFF_FFFF).to_bytes(4, "little") for key in of_bucket[begin : begin + of_row]),
        )
        for bucket, of_bucket in buckets.items()
        for begin in range(0, len(of_bucket), of_row)
    ]
    with connection.cursor() as cursor:
        cursor.executemany("insert into block (run_id, bucket, part, low, posting) values (%s, %s, %s, %s, %s)", rows)


@pytest.fixture
def pool(postgres_server: str) -> Iterator[Pool]:
    """Of a database that was filled before migration 0005, and has it now."""
    dsn = create_database(postgres_server, "test_0005")
    try:
        postgres.migrate(dsn, migrations=postgres.shipped()[:4])
        with psycopg.connect(dsn) as connection:
            fill(connection)
        assert postgres.migrate(dsn)[0] == "0005_catalogue_at_scale"
        with open_pool(dsn) as pool:
            yield pool
    finally:
        drop_database(postgres_server, "test_0005")


def truth() -> list[tuple[int, int, int]]:
    """(hash, track_no, frame in the recording) of every posting that counts."""
    return sorted((hash_, doc.track_no, doc.part * 8_192 + frame) for doc in DOCS.values() if not doc.retired for hash_, frame in doc.postings)


def heard(pool: Pool) -> list[tuple[int, int, int]]:
    found = Index(pool=pool).open().answer(Lookup(hashes=HASHES, postings_max=ANY))
    assert isinstance(found, Postings)
    return sorted(zip(HASHES[found.query].tolist(), found.track_no.tolist(), found.frame.tolist(), strict=True))


def all_of(pool: Pool, query: str) -> list[tuple]:
    with transaction(pool) as connection:
        return connection.execute(query, binary=True).fetchall()


def test_every_posting_answers_as_before(pool: Pool) -> None:
    assert heard(pool) == truth()
    index = Index(pool=pool).open()
    assert index.size().tracks == len({doc.track_no for doc in DOCS.values() if not doc.retired})
    assert index.size().postings == len(truth())
    many = sum(hash_ == 999 for hash_, *_ in truth())
    assert many >= 603
    assert [len(index.answer(Lookup(hashes=np.array([999], np.int32), postings_max=most))) for most in (many, many - 1)] == [many, 0]


def test_each_row_holds_what_it_held_and_has_its_digest(pool: Pool) -> None:
    rows = all_of(pool, "select run_id, part, digest, head, posting from block")
    assert all(digest == blocks.digest(head, posting) for _, _, digest, head, posting in rows)
    assert max(part for _, part, *_ in rows) == 2
    assert max(count for *_, head, _ in rows for count in head[1::2]) == 255
    with transaction(pool) as connection:
        known = connection.execute("select low_bits, doc_base, run_id, postings from run order by run_id").fetchall()
        assert [row[0] for row in known] == [0, 8, 12, 16]
        for low_bits, doc_base, run_id, postings in known:
            read = runs.read(connection, Run(run_id, low_bits, doc_base, postings), 0, 1 << 31)
            assert read.keys.tolist() == keys_of(low_bits, doc_base // SPAN).tolist()
            assert (len(read.keys), read.damaged) == (postings, ())


def test_what_was_in_no_run_is_fresh_and_what_was_retired_there_is_gone(pool: Pool) -> None:
    fresh = {doc_id: (digest, postings) for doc_id, digest, postings in all_of(pool, "select doc_id, digest, postings from fresh")}
    assert sorted(fresh) == [7, 8, 10, SPAN + 6]
    for doc_id, found in fresh.items():
        columns = np.array(DOCS[doc_id].postings, np.int32).reshape(-1, 2)
        packed = blocks.pack_fresh(columns[:, 0], columns[:, 1])
        assert found == (blocks.digest(packed), packed)
    assert all_of(pool, "select doc_id, postings from doc where packed and retired_at is not null order by doc_id") == [(3, 500), (9, 0)]
    assert all_of(pool, "select doc_id from doc where not packed order by doc_id") == [(7,), (8,), (10,), (SPAN + 6,)]
    assert all_of(pool, "select to_regclass('recent')::text, to_regclass('block_before')::text") == [(None, None)]


def test_upkeep_goes_on_from_there(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stops, "_ABOVE_LEAST", ANY)
    monkeypatch.setattr(upkeep, "_SEEN_S", 0)
    monkeypatch.setattr(upkeep, "_end_of_slice", lambda begin, _: min(1 << 31, (begin + (1 << 29)) if begin else 1 << 16))
    steps = []
    while step := upkeep.step(pool, extent="everything"):
        steps.append(step)
        assert heard(pool) == truth(), len(steps)
    assert sum(step.damaged for step in steps) == 0
    assert {step.did for step in steps} == {"packed", "merged"}
    assert all_of(pool, "select count(*), sum(postings) from run") == [(2, len(truth()))]
    assert all_of(pool, "select sum(length(posting)) / 4 from block") == [(len(truth()),)]
    assert all_of(pool, "select count(*) from fresh") == [(0,)]


def test_recordings_can_be_added_and_removed_as_ever(pool: Pool) -> None:
    tracks, constellations = Tracks(pool=pool), {"a": peaks(1, 20), "b": peaks(2, 20)}
    tracks.add([recording(name, constellation) for name, constellation in constellations.items()])
    tracks.remove("b")
    upkeep.upkeep(pool, extent="everything")
    index = Index(pool=pool).open()
    hashes = np.unique(recording("a", constellations["a"]).postings.hash)
    found = index.answer(Lookup(hashes=hashes, postings_max=ANY))
    (number,) = all_of(pool, "select track_no from track")[0]
    added = found.track_no == number
    assert answered(Postings(query=found.query[added], track_no=found.track_no[added], frame=found.frame[added]), {"a": number}) == expected(
        {"a": constellations["a"]}, hashes, ANY
    )
    stopped = {hash_ for hash_, times in Counter(hash_ for hash_, *_ in truth()).items() if times > 512}
    assert stopped == {999, 70_000}  # the merge found them, and nobody asks for them any more
    assert [row for row in heard(pool) if row[1] != number] == [row for row in truth() if row[0] not in stopped]


@pytest.mark.parametrize("value", [b"", b"\0", b"abc", bytes(range(256)) * 9], ids=len)
def test_the_server_makes_the_same_digests(dsn: str, value: bytes) -> None:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(f"select {blocks.DIGEST.format('%s::bytea')}", [value]).fetchone()
    assert row == (blocks.digest(value),)


def test_digests_are_numbers_of_either_sign() -> None:
    digests = [blocks.digest(bytes([n])) for n in range(50)]
    assert min(digests) < 0 < max(digests)
    assert all(-(2**31) <= digest < 2**31 for digest in digests)
