"""Postings on their way into the database: single ones into `recent`, sorted batches into runs.

A *key* is a posting as one number: hash (31 bits) << 32 | doc_in_span (19) << 13 | frame (13). Sorted keys are cut into
buckets (by the hash's upper bits), buckets into blocks of at most 2,000 bytes. All of it is binary COPY, put together in
NumPy.

`compact` turns what lies in `recent`, and those runs that are not much larger, into one new run. Readers never wait for
it and never see half of it; a kill inside leaves everything as it was.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import psycopg

from earmark.index.constellations import FRAME_BITS
from earmark.index.postings import DOC_BITS, HASH_BITS, low_type
from earmark.model import Int32
from earmark.postgres import Connection, Pool, maintenance, statement, transaction

Keys: TypeAlias = npt.NDArray[np.uint64]

SPAN: Final = 1 << DOC_BITS
#: Fewer postings a block cost bytes, more cost reading: 150 is where both are near their least.
_BLOCK_POSTINGS: Final = 150
_BLOCK_BYTES_MAX: Final = 2_000
_LOW_BITS_MAX: Final = 16
#: A run is merged with what is smaller unless it is this many times as large as all of that together: 11.7 writes a
#: posting on the way to a million tracks, and 3.2 runs alive on average (simulated; 1: 5.6 and 5.4; 8: 17.8 and 2.7).
_MERGE_RATIO: Final = 4
#: Postings in memory at once while runs are built: 32 MB of keys, and about as much again twice while they are sorted.
_RANGE_POSTINGS: Final = 4_000_000
_COPY_POSTINGS: Final = 500_000
#: Compaction is due at so many docs in `recent`, or, in a small catalogue, when they are a good part of it.
_DUE_DOCS: Final = 500
_DUE_DOCS_MIN: Final = 4
_DUE_SHARE: Final = 0.25
#: ... or when bulk additions have left so many runs.
_DUE_RUNS: Final = 8
_COMPACTION_LOCK: Final = 0x6561726D61726C
#: A merge of the largest run (4.8 G postings) takes minutes; an hour is a hang.
_LONG_S: Final = 3_600
_RETIRED_KEPT: Final = "1 hour"

_COPY_BEGIN: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END: Final = b"\xff\xff"
_RECENT_ROW: Final = np.dtype([("columns", ">i2"), ("n1", ">i4"), ("hash", ">i4"), ("n2", ">i4"), ("doc_id", ">i4"), ("n3", ">i4"), ("frame", ">i2")])
_BLOCK_HEAD: Final = np.dtype(
    [("columns", ">i2"), ("n1", ">i4"), ("run_id", ">i4"), ("n2", ">i4"), ("bucket", ">i4"), ("n3", ">i4"), ("part", ">i2"), ("low_n", ">i4")]
)


def keys(hashes: Int32, doc_id: int, frames: Int32) -> Keys:
    """Postings of one doc as keys."""
    place = np.uint64((doc_id & (SPAN - 1)) << FRAME_BITS) | frames.astype(np.uint64)
    return (hashes.astype(np.uint64) << np.uint64(32)) | place


# ------------------------------------------------------------------------------------------------ recent


def copy_recent(connection: Connection, postings: Sequence[tuple[int, Int32, Int32]]) -> None:
    """(doc_id, hashes, frames) into `recent`, in order of the hash: each index page is then written once."""
    rows = np.zeros(sum(len(hashes) for _, hashes, _ in postings), _RECENT_ROW)
    rows["columns"], rows["n1"], rows["n2"], rows["n3"] = 3, 4, 4, 2
    rows["hash"] = _joined([hashes for _, hashes, _ in postings])
    rows["frame"] = _joined([frames for _, _, frames in postings])
    rows["doc_id"] = np.repeat([doc_id for doc_id, _, _ in postings], [len(hashes) for _, hashes, _ in postings])
    rows = rows[np.argsort(rows["hash"], kind="stable")]
    with connection.cursor() as cursor, cursor.copy("copy recent (hash, doc_id, frame) from stdin (format binary)") as copy:
        copy.write(_COPY_BEGIN)
        for begin in range(0, len(rows), _COPY_POSTINGS):
            copy.write(rows[begin : begin + _COPY_POSTINGS].tobytes())
        copy.write(_COPY_END)


def _joined(parts: Sequence[Int32]) -> Int32:
    return np.concatenate(parts) if parts else np.zeros(0, np.int32)


# ------------------------------------------------------------------------------------------------ runs


def low_bits_for(postings: int) -> int:
    """So that a bucket holds about 150 postings, if hashes were spread evenly."""
    return min(_LOW_BITS_MAX, max(0, round(math.log2(_BLOCK_POSTINGS * 2.0**HASH_BITS / max(1, postings)))))


def write_run(connection: Connection, *, span: int, postings_about: int, ranges: Iterable[Keys]) -> int:
    """Write one run; returns its postings.

    Args:
        span: which 2^19 doc_ids.
        postings_about: how many there will be at most; decides the buckets.
        ranges: sorted keys, range after range; a bucket must not be split between two.
    """
    low_bits = low_bits_for(postings_about)
    row = connection.execute("insert into run (low_bits, doc_base, postings) values (%s, %s, 0) returning run_id", [low_bits, span * SPAN]).fetchone()
    assert row is not None
    run_id, postings = int(row[0]), 0
    with connection.cursor() as cursor:
        for sorted_keys in ranges:
            with cursor.copy("copy block (run_id, bucket, part, low, posting) from stdin (format binary)") as copy:
                copy.write(_COPY_BEGIN)
                for piece in _block_rows(sorted_keys, run_id, low_bits):
                    copy.write(piece)
                copy.write(_COPY_END)
            postings += len(sorted_keys)
    connection.execute("update run set postings = %s where run_id = %s", [postings, run_id])
    return postings


def _block_rows(sorted_keys: Keys, run_id: int, low_bits: int) -> Iterator[bytes]:
    """Rows of `block` for binary COPY, some thousand at a time."""
    if not len(sorted_keys):
        return
    width = low_type(low_bits)
    hashes = sorted_keys >> np.uint64(32)
    bucket = (hashes >> np.uint64(low_bits)).astype(np.int32)
    low = (hashes & np.uint64((1 << low_bits) - 1)).astype(width).tobytes()
    posting = sorted_keys.astype("<u4").tobytes()
    begin, part = _block_starts(bucket, _BLOCK_BYTES_MAX // (4 + width.itemsize))
    end = np.append(begin[1:], len(sorted_keys))
    head = np.zeros(len(begin), _BLOCK_HEAD)
    head["columns"], head["n1"], head["n2"], head["n3"] = 5, 4, 4, 2
    head["run_id"], head["bucket"], head["part"] = run_id, bucket[begin], part
    head["low_n"] = (end - begin) * width.itemsize
    heads, posting_n = head.tobytes(), ((end - begin) * 4).astype(">i4").tobytes()
    size, bytes_of_head = 0, _BLOCK_HEAD.itemsize
    pieces: list[bytes] = []
    for n, (a, b) in enumerate(zip(begin.tolist(), end.tolist(), strict=True)):
        pieces += (
            heads[n * bytes_of_head : (n + 1) * bytes_of_head],
            low[a * width.itemsize : b * width.itemsize],
            posting_n[4 * n : 4 * n + 4],
            posting[4 * a : 4 * b],
        )
        size += b - a
        if size > _COPY_POSTINGS:
            yield b"".join(pieces)
            size, pieces = 0, []
    yield b"".join(pieces)


def _block_starts(bucket: Int32, block_postings_max: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]:
    """Where blocks begin, and the part of its bucket each one is."""
    new = np.ones(len(bucket), np.bool_)
    new[1:] = bucket[1:] != bucket[:-1]
    start = np.flatnonzero(new)
    within = np.arange(len(bucket)) - np.repeat(start, np.diff(np.append(start, len(bucket))))
    begin = np.flatnonzero(within % block_postings_max == 0)
    return begin, within[begin] // block_postings_max


# ------------------------------------------------------------------------------------------------ compaction


@dataclass(frozen=True, kw_only=True)
class Compaction:
    """What a compaction did."""

    docs: int
    runs_merged: int
    postings: int


@dataclass(frozen=True, slots=True)
class _Run:
    run_id: int
    low_bits: int
    doc_base: int
    postings: int


def compact_if_due(pool: Pool) -> Compaction | None:
    """Compact when look-ups begin to feel what lies in `recent`; None if nothing was due, or another process is at it."""
    with statement(pool) as connection:
        row = connection.execute(
            "select docs, recent, runs, packed from (select count(*) as docs, coalesce(sum(postings), 0) as recent from doc where not packed) d, "
            "(select count(*) as runs, coalesce(sum(postings), 0) as packed from run) r"
        ).fetchone()
    assert row is not None
    docs, recent, runs, packed = row
    if docs >= _DUE_DOCS or runs >= _DUE_RUNS or (docs >= _DUE_DOCS_MIN and recent >= _DUE_SHARE * float(packed)):
        return compact(pool)
    return None


def compact(pool: Pool, *, everything: bool = False) -> Compaction | None:
    """Pack what lies in `recent`, and the smaller runs (all of them if `everything`), into one new run per span.

    Returns None if another process is at it. Afterwards the dead rows are vacuumed, outside the transaction.
    """
    with transaction(pool) as connection:
        connection.execute("select set_config('statement_timeout', %s, true)", [f"{_LONG_S * 1000}"])
        row = connection.execute("select pg_try_advisory_xact_lock(%s)", [_COMPACTION_LOCK]).fetchone()
        assert row is not None
        if not row[0]:
            return None
        done = [_compact_span(connection, span, docs, everything=everything) for span, docs in _spans(connection).items()]
        # After a dump and restore the ids come from another server's count: readers would be told of these docs for ever.
        connection.execute("update doc set changed_xid = pg_current_xact_id() where changed_xid > pg_current_xact_id()")
        connection.execute(f"delete from doc where packed and retired_at < now() - interval '{_RETIRED_KEPT}'")
    result = Compaction(docs=sum(d.docs for d in done), runs_merged=sum(d.runs_merged for d in done), postings=sum(d.postings for d in done))
    _tidy(pool, result)
    return result


def _tidy(pool: Pool, done: Compaction) -> None:
    with maintenance(pool) as connection:
        for table, touched in (("recent", done.docs), ("block", done.runs_merged)):
            if touched:
                connection.execute(f"vacuum (skip_locked) {table}")
        # Vacuum gives an emptied table's file back, but never its index's. Made anew it takes no time, unless somebody
        # reads it for long: then the next compaction will do it.
        row = connection.execute("select pg_relation_size('recent') = 0 and pg_relation_size('recent_hash') > 100000").fetchone()
        if row is not None and row[0]:
            with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
                connection.execute("set local lock_timeout = '100ms'")
                connection.execute("reindex index recent_hash")


def _spans(connection: Connection) -> dict[int, list[tuple[int, int]]]:
    """Docs that are not packed, as (doc_id, postings), by span; spans that only have runs are listed too."""
    spans: dict[int, list[tuple[int, int]]] = {span: [] for (span,) in connection.execute("select distinct doc_base >> %s from run", [DOC_BITS])}
    for doc_id, postings in connection.execute("select doc_id, postings from doc where not packed order by doc_id").fetchall():
        spans.setdefault(doc_id >> DOC_BITS, []).append((doc_id, postings))
    return spans


def _compact_span(connection: Connection, span: int, docs: list[tuple[int, int]], *, everything: bool) -> Compaction:
    recent = sum(postings for _, postings in docs)
    runs = _to_merge(connection, span, recent, everything=everything)
    if not docs and len(runs) < 2 and not everything:
        return Compaction(docs=0, runs_merged=0, postings=0)
    doc_ids = [doc_id for doc_id, _ in docs]
    about = recent + sum(run.postings for run in runs)
    written = write_run(connection, span=span, postings_about=about, ranges=_ranges(connection, span, doc_ids, runs, about))
    run_ids = [run.run_id for run in runs]
    connection.execute("delete from block where run_id = any(%s)", [run_ids])
    connection.execute("delete from run where run_id = any(%s) or (postings = 0 and doc_base = %s)", [run_ids, span * SPAN])
    connection.execute("delete from recent where doc_id = any(%s)", [doc_ids])
    # Last, because it makes whoever replaces one of these docs wait until we commit; in order, so that nobody waits in a circle.
    connection.execute("select from doc where doc_id = any(%s) order by doc_id for update", [doc_ids])
    connection.execute("update doc set packed = true where doc_id = any(%s)", [doc_ids])
    return Compaction(docs=len(docs), runs_merged=len(runs), postings=written)


def _to_merge(connection: Connection, span: int, recent: int, *, everything: bool) -> list[_Run]:
    """The longest list of the smallest runs whose last one is not much larger than the rest and `recent` together."""
    rows = connection.execute("select run_id, low_bits, doc_base, postings from run where doc_base = %s order by postings", [span * SPAN])
    runs = [_Run(*row) for row in rows]
    if everything:
        return runs
    before = np.cumsum([recent, *(run.postings for run in runs)])
    fitting = [n for n, run in enumerate(runs, 1) if run.postings <= _MERGE_RATIO * before[n - 1]]
    return runs[: max(fitting, default=0)]


def _ranges(connection: Connection, span: int, doc_ids: list[int], runs: list[_Run], about: int) -> Iterator[Keys]:
    """Sorted keys of the docs and runs that are live, a range of hashes at a time, cut between the widest buckets."""
    live = _live_docs(connection, span)
    count = min(1 << (HASH_BITS - _LOW_BITS_MAX), -(-about // _RANGE_POSTINGS) or 1)
    borders = [(n << (HASH_BITS - _LOW_BITS_MAX)) // count << _LOW_BITS_MAX for n in range(count + 1)]
    for begin, end in pairwise(borders):
        found = [_recent_keys(connection, doc_ids, begin, end), *(_run_keys(connection, run, begin, end) for run in runs)]
        joined: Keys = np.concatenate(found)
        joined = joined[live[(joined & np.uint64(0xFFFF_FFFF)) >> np.uint64(FRAME_BITS)]]
        joined.sort()
        yield joined


def _live_docs(connection: Connection, span: int) -> npt.NDArray[np.bool_]:
    row = connection.execute(
        "select string_agg(int4send(doc_id), ''::bytea) from doc where retired_at is null and doc_id between %s and %s",
        [span * SPAN, (span + 1) * SPAN - 1],
        binary=True,
    ).fetchone()
    live = np.zeros(SPAN, np.bool_)
    if row is not None and row[0]:
        live[np.frombuffer(row[0], ">i4").astype(np.int64) - span * SPAN] = True
    return live


def _recent_keys(connection: Connection, doc_ids: list[int], begin: int, end: int) -> Keys:
    row = connection.execute(
        f"""select string_agg(int8send((hash::int8 << 32) | ((doc_id & {SPAN - 1})::int8 << {FRAME_BITS}) | frame), ''::bytea)
            from recent where doc_id = any(%s) and hash between %s and %s""",
        [doc_ids, begin, end - 1],
        binary=True,
    ).fetchone()
    return np.frombuffer((row and row[0]) or b"", ">u8").astype(np.uint64)


def _run_keys(connection: Connection, run: _Run, begin: int, end: int) -> Keys:
    rows: list[tuple[Any, ...]] = connection.execute(
        "select bucket, low, posting from block where run_id = %s and bucket between %s and %s",
        [run.run_id, begin >> run.low_bits, (end - 1) >> run.low_bits],
        binary=True,
    ).fetchall()
    if not rows:
        return np.zeros(0, np.uint64)
    bucket, low, posting = zip(*rows, strict=True)
    places = np.frombuffer(b"".join(posting), "<u4").astype(np.uint64)
    length = [len(piece) // 4 for piece in posting]
    hashes = (np.repeat(np.array(bucket, np.uint64), length) << np.uint64(run.low_bits)) | np.frombuffer(b"".join(low), low_type(run.low_bits)).astype(
        np.uint64
    )
    return (hashes << np.uint64(32)) | places
