"""What the catalogue costs: look-ups, bytes, additions; beside a plain table of postings with a B-tree.

    python -m bench.bench_index          (from tests/; prints a table)

A few hundred invented recordings of four minutes in a server of its own, warm, on this machine, without waiting for the
disk. Both layouts hold the same postings and answer the same questions in turn, so their ratio travels; milliseconds
belong to the machine and the hour, and a network adds a round trip to each question.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from index_catalogue import open_pool, peaks, recording

from earmark.fingerprint.landmarks import questions
from earmark.index.answers import Index
from earmark.index.catalogue import Tracks
from earmark.local.database import create_database, temporary_server
from earmark.model import FRAMES_PER_S, Fetch, Int32, Lookup, Passage, Resolve
from earmark.postgres import Pool, maintenance, migrate, statement, transaction

COMMAND: Final = "make bench"
_TRACKS: Final = 240
_DURATION_S: Final = 240.0
_BATCH: Final = 120
_ROUNDS: Final = 200
_POSTINGS_MAX: Final = 1_000
_NAIVE: Final = "a plain table (hash, track_no, frame) with a B-tree, same postings, same run"


def figures() -> list[dict[str, Any]]:
    """Measures for half a minute. Rows of figure, value, unit, bar, met, against, command."""
    with temporary_server() as server, _migrated(create_database(server, "bench")) as pool:
        tracks = Tracks(pool=pool)
        load_s = _load(tracks)
        index = Index(pool=pool).open()
        postings = index.size().postings
        _make_naive(pool)
        rows = [
            _row("load in bulk, landmarks and sorting included", postings / load_s / 1e6, "M postings/s"),
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


def _load(tracks: Tracks) -> float:
    begin = time.perf_counter()
    for first in range(0, _TRACKS, _BATCH):
        tracks.add([recording(f"track {n}", peaks(n, _DURATION_S)) for n in range(first, min(_TRACKS, first + _BATCH))])
    tracks.compact(everything=True)
    return time.perf_counter() - begin


def _make_naive(pool: Pool) -> None:
    """From the index itself, so that both hold the same."""
    with transaction(pool) as connection:
        connection.execute(
            """create table naive as
            select (b.bucket << r.low_bits) | get_byte(b.low, 2 * i) | (get_byte(b.low, 2 * i + 1) << 8) as hash, d.track_no,
                   (d.first_frame + (p & 8191))::int as frame
            from run r join block b using (run_id), generate_series(0, length(b.posting) / 4 - 1) i,
                 lateral (select get_byte(posting, 4 * i)::int8 | get_byte(posting, 4 * i + 1)::int8 << 8 | get_byte(posting, 4 * i + 2)::int8 << 16
                                 | get_byte(posting, 4 * i + 3)::int8 << 24 as p) q,
                 lateral (select * from doc where doc_id = r.doc_base + (p >> 13)) d
            order by d.track_no, frame"""
        )
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
    asked = questions(peaks(seed % _TRACKS, _DURATION_S), begin_frame=20 * FRAMES_PER_S, end_frame=40 * FRAMES_PER_S).hash
    return np.resize(np.random.default_rng(seed).permutation(np.unique(asked)), size)


def _ask_naive(pool: Pool, hashes: Int32) -> object:
    with statement(pool) as connection:
        return connection.execute("select hash, track_no, frame from naive where hash = any(%s)", [hashes], prepare=True, binary=True).fetchall()


def _sizes(pool: Pool, postings: int) -> list[dict[str, Any]]:
    ours = sum(_bytes(pool, table) for table in ("recent", "run", "block"))
    naive = _bytes(pool, "naive")
    return [
        _row("index, bytes per posting", ours / postings, "B", bar=15.0, against="twice the packed size at 100,000 tracks, and room for a merge"),
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
    new = [recording(f"new {n}", peaks(1_000 + n, _DURATION_S)) for n in range(20)]
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
    questions_ = [Fetch(passages=tuple(Passage(track_no=no, begin_frame=f, end_frame=f + 455) for no in list(numbers.values())[:8])) for f in range(0, 6_000, 300)]
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


def _row(figure: str, value: float, unit: str, *, bar: float | None = None, against: str = "") -> dict[str, Any]:
    return {
        "figure": figure,
        "value": round(float(value), 3),
        "unit": unit,
        "bar": bar,
        "met": None if bar is None else bool(value <= bar),
        "against": against,
        "command": COMMAND,
    }


def main() -> None:
    print(f"{'figure':<56}{'value':>10}  {'unit':<14}{'bar':>6}  met")
    for row in figures():
        bar, met = ("", "") if row["bar"] is None else (f"{row['bar']:g}", "yes" if row["met"] else "NO")
        print(f"{row['figure']:<56}{row['value']:>10.3f}  {row['unit']:<14}{bar:>6}  {met}")


if __name__ == "__main__":
    main()
