"""What the catalogue costs: look-ups, bytes, additions; beside a plain table of postings with a B-tree.

    make bench ARGS=index

Invented recordings of four minutes, in a server of its own, warm, on this machine, without waiting for the disk. Their
notes share keys, tempi and overtones, so that a hash has as many postings as in a catalogue of real music that is larger:
four times for triples, sixteen times for pairs (collision entropy across recordings 20.3 bits instead of 22.2, and 15.6
instead of 19.6). Both layouts hold the same postings and answer the same questions in turn, so their ratio travels;
milliseconds belong to the machine and the hour, and a network adds a round trip.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import numpy as np

from bench.rows import row
from earmark.fingerprint.landmarks import first_postings, landmarks, pair_questions, triple_questions
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.database import create_database, temporary_server
from earmark.model import EIGHTHS, FRAMES_PER_S, Fetch, Int32, Lookup, Passage, Peaks, Resolve
from earmark.postgres import Pool, maintenance, migrate, statement, transaction
from index_catalogue import open_pool, recording

COMMAND: Final = "make bench"
_row: Final = partial(row, command=COMMAND)
_TRACKS: Final = 240
_DURATION_S: Final = 240.0
_BATCH: Final = 120
_ROUNDS: Final = 200
_POSTINGS_MAX: Final = 1_000
_NAIVE_ROW: Final = np.dtype([("columns", ">i2"), ("n1", ">i4"), ("hash", ">i4"), ("n2", ">i4"), ("track_no", ">i4"), ("n3", ">i4"), ("frame", ">i4")])
_NAIVE: Final = "a plain table (hash, track_no, frame) with a B-tree, fetched as rows; same postings, same run"


def figures() -> list[dict[str, Any]]:
    """Measures for half a minute. Rows of figure, value, unit, bar, met, against, command."""
    with temporary_server() as server, _migrated(create_database(server, "bench")) as pool:
        tracks = Tracks(pool=pool)
        load_s = _load(tracks)
        index = Index(pool=pool).open()
        postings = index.size().postings
        _make_naive(pool)
        rows = [
            _row("load in bulk, landmarks and one merge included", postings / load_s / 1e6, "M postings/s"),
            *_look_ups(pool, index),
            *_sizes(pool, postings),
            *_changes(pool, tracks, index),
            *_passages(index),
        ]
        rows += _compaction(tracks, postings)
        return rows


@contextmanager
def _migrated(dsn: str) -> Iterator[Pool]:
    migrate(dsn)
    with open_pool(dsn, statement_timeout_s=600) as pool:
        yield pool


def _song(seed: int) -> Peaks:
    """Overtones of notes of a scale, on the sixteenths of a beat, a little out of time and tune."""
    random = np.random.default_rng(seed)
    slot_eighths = 60 / random.choice([92, 104, 112, 126]) / 4 * FRAMES_PER_S * EIGHTHS
    count = int(_DURATION_S * 33)
    slot = random.integers(1, int(_DURATION_S * FRAMES_PER_S * EIGHTHS / slot_eighths), count)
    time_eighths = np.rint(slot * slot_eighths + random.normal(0, 2, count)).astype(np.int32)
    degree = np.array([0, 2, 4, 5, 7, 9, 11])[random.integers(0, 7, count)] + 12 * random.integers(0, 3, count) + random.integers(0, 12)
    overtone = random.choice([1, 2, 3, 4, 5, 6], count, p=[0.25, 0.25, 0.2, 0.12, 0.1, 0.08])
    eighth_hz = np.rint((110 * np.exp2(degree / 12) * overtone + random.normal(0, 1, count)) * EIGHTHS).astype(np.int32)
    order = np.lexsort((eighth_hz, time_eighths))
    order = order[(eighth_hz[order] > 1_440) & (eighth_hz[order] < 30_400)]
    hashed = random.random(len(order)) < 0.75
    salience = (1 + random.exponential(2.5, len(order))).astype(np.float32)
    return Peaks(eighth_frames=time_eighths[order], eighth_hz=eighth_hz[order], hashed=hashed, salience=salience)


def _load(tracks: Tracks) -> float:
    recordings = [recording(f"track {n}", _song(n)) for n in range(_TRACKS)]
    begin = time.perf_counter()
    for first in range(0, _TRACKS, _BATCH):
        tracks.add(recordings[first : first + _BATCH])
    tracks.compact(everything=True)
    return time.perf_counter() - begin


def _make_naive(pool: Pool) -> None:
    """The same postings, as anyone would store them."""
    with transaction(pool) as connection:
        connection.execute("create table naive (hash int4, track_no int4, frame int4)")
        with connection.cursor() as cursor, cursor.copy("copy naive from stdin (format binary)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for n in range(_TRACKS):
                kept = first_postings(landmarks(_song(n)))
                rows = np.zeros(len(kept), _NAIVE_ROW)
                rows["columns"], rows["n1"], rows["n2"], rows["n3"] = 3, 4, 4, 4
                rows["hash"], rows["track_no"], rows["frame"] = kept.hash, n, kept.frame
                copy.write(rows.tobytes())
            copy.write(b"\xff\xff")
        connection.execute("create index naive_hash on naive (hash)")
    with maintenance(pool) as connection:
        connection.execute("vacuum analyze")


# ------------------------------------------------------------------------------------------------ measures


def _look_ups(pool: Pool, index: Index) -> list[dict[str, Any]]:
    rows = []
    for size in (64, 1_000):
        asked = [_hashes(seed, size) for seed in range(_ROUNDS)]
        ours, naive = _in_turn(
            [
                lambda hashes: index.answer(Lookup(hashes=hashes, postings_max=_POSTINGS_MAX)),
                lambda hashes: _ask_naive(pool, hashes),
            ],
            asked,
        )
        found = np.mean([len(index.answer(Lookup(hashes=hashes, postings_max=_POSTINGS_MAX)).query) for hashes in asked[:20]])  # type: ignore[union-attr]
        rows += [
            _row(f"look-up of {size} hashes, p50", np.median(ours), "ms", bar={64: 2.0, 1_000: 20.0}[size], against="a second's budget of one process"),
            _row(f"look-up of {size} hashes, p99", np.quantile(ours, 0.99), "ms"),
            _row(f"plain table, {size} hashes, p50", np.median(naive), "ms"),
            _row(f"look-up of {size} hashes over the plain table", np.median(ours) / np.median(naive), "ratio", bar=1.0, against=_NAIVE),
            _row(f"postings found for {size} hashes", float(found), "postings"),
        ]
    return rows


def _hashes(seed: int, size: int) -> Int32:
    """What a stream asks while one of the recordings plays, a few seconds of it at once."""
    song = _song(seed % _TRACKS)
    asked = [family(song, begin_frame=20 * FRAMES_PER_S, end_frame=40 * FRAMES_PER_S).hash for family in (triple_questions, pair_questions)]
    return np.resize(np.random.default_rng(seed).permutation(np.unique(np.concatenate(asked))), size)


def _ask_naive(pool: Pool, hashes: Int32) -> object:
    with statement(pool) as connection:
        return connection.execute("select hash, track_no, frame from naive where hash = any(%s)", [hashes], prepare=True, binary=True).fetchall()


def _sizes(pool: Pool, postings: int) -> list[dict[str, Any]]:
    ours = sum(_bytes(pool, table) for table in ("recent", "run", "block"))
    with statement(pool) as connection:
        # Each row with its line pointer and its entry in the primary key.
        packed = connection.execute("select sum(pg_column_size(b.*) + 4 + 20) from block b").fetchone()
    assert packed is not None
    naive = _bytes(pool, "naive")
    return [
        _row("index packed, bytes per posting", float(packed[0]) / postings, "B", bar=8.0, against="5.8 at 10,000 tracks, where blocks are fuller"),
        _row("index as it lies on disk after a merge, bytes per posting", ours / postings, "B"),
        _row("plain table, bytes per posting", naive / postings, "B"),
        _row("index over the plain table, bytes", ours / naive, "ratio", bar=0.5, against=_NAIVE),
        _row("constellations, bytes per recording", _bytes(pool, "doc") / _TRACKS, "B"),
    ]


def _bytes(pool: Pool, table: str) -> int:
    with statement(pool) as connection:
        row = connection.execute("select pg_total_relation_size(%s::regclass)", [table]).fetchone()
    assert row is not None
    return int(row[0])


def _changes(pool: Pool, tracks: Tracks, index: Index) -> list[dict[str, Any]]:
    new = [recording(f"new {n}", _song(1_000 + n)) for n in range(20)]
    add = [_ms(lambda r=r: tracks.add([r])) for r in new]
    seen = _ms(index.refresh)
    again = [_ms(lambda r=r: tracks.add([r])) for r in new[:5]]
    remove = [_ms(lambda r=r: tracks.remove(r.track.track_id)) for r in new[:10]]
    return [
        _row("add one recording, landmarks included, p50", np.median(add), "ms", bar=200.0, against="a fingerprint of it takes longer"),
        _row("add it again, p50", np.median(again), "ms"),
        _row("remove one, p50", np.median(remove), "ms"),
        _row("read 20 additions in a reader", seen, "ms"),
    ]


def _passages(index: Index) -> list[dict[str, Any]]:
    numbers = index.answer(Resolve(track_ids=tuple(f"track {n}" for n in range(_TRACKS))))
    assert isinstance(numbers, dict)
    questions_ = [
        Fetch(passages=tuple(Passage(track_no=no, begin_frame=f, end_frame=f + 455) for no in list(numbers.values())[:8])) for f in range(0, 6_000, 300)
    ]
    cold = [_ms(lambda q=q: index.answer(q)) for q in questions_]
    warm = [_ms(lambda q=q: index.answer(q)) for q in questions_]
    return [
        _row("8 passages of 12 s from the database, p50", np.median(cold), "ms"),
        _row("8 passages of 12 s from memory, p50", np.median(warm), "ms", bar=2.0, against="what verifying them takes"),
    ]


def _compaction(tracks: Tracks, postings: int) -> list[dict[str, Any]]:
    took_s = _ms(lambda: tracks.compact(everything=True)) / 1e3
    return [_row("merge everything into one run, vacuum included", postings / took_s / 1e6, "M postings/s")]


# ------------------------------------------------------------------------------------------------ means


def _in_turn(calls: list[Callable[[Int32], object]], asked: list[Int32]) -> list[list[float]]:
    """Milliseconds of each call, which take turns; the first few, which prepare statements, do not count."""
    took: list[list[float]] = [[] for _ in calls]
    for hashes in asked:
        for call, times in zip(calls, took, strict=True):
            times.append(_ms(lambda call=call, hashes=hashes: call(hashes)))
    return [times[10:] for times in took]


def _ms(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3
