"""What keeps the catalogue fast, in steps of a second or two: fresh postings are packed into runs, runs are merged.

A look-up pays for each run, a merge writes every posting again; a run is therefore merged with what is smaller unless it
is `_MERGE_RATIO` times as large as all of that. Simulated growth to a million docs, 128 at a time: 14.7 writes a posting,
3.8 runs alive on average, 6 at most (ratio 1: 7.1, 6.4 and 12; 8: 22.7, 3.1 and 4). While many recordings are loaded, runs are merged 64 of a size
at a time instead, and the rest is made up for when the load is over.

A merge moves a range of hashes at a time from its runs to their successor, each in a transaction of its own. In between,
every posting is in one of them, so that readers see no difference; a kill loses a range's work; the room that a merge
needs is that of some ranges, and a merge of hours can be spread over a day.

One process at a time does a step, under a lock that its transaction holds; any process may do the next one. Recordings
that were replaced or removed are left out of what is written, and forgotten when no run has them any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import psycopg

from earmark.index import runs, stops, version
from earmark.index.blocks import HASH_BITS, LOW_BITS_MAX, SPAN, Keys, array, digest, docs_in_span, keys, unpack_fresh
from earmark.index.docs import HELD_S
from earmark.index.runs import Run
from earmark.postgres import Connection, Pool, limit, maintenance, transaction

#: Fresh docs are packed at so many, or at so many postings; in a small catalogue, when they are a good part of it.
_PACK_DOCS, _PACK_POSTINGS = 128, 3_000_000
_PACK_DOCS_MIN: Final = 4
_PACK_SHARE: Final = 0.25
#: Packed at once, at most: 130 MB of work.
_PACK_POSTINGS_MAX: Final = 6_000_000
_MERGE_RATIO: Final = 4
#: While a load is under way, so many runs of about one size (within this factor) are merged at once.
_TIER: Final = 64
#: A load is under way if it wrote a run in the last so many minutes.
_LOADING: Final = "5 minutes"
#: What was replaced or removed is merged away when it is this share of what is stored.
_RETIRED_SHARE: Final = 0.25
#: Postings that one step of a merge moves, about: 100 MB of work, a second or two.
_SLICE_POSTINGS: Final = 4_000_000
#: Dead rows are given back after so many postings, or after this share of all: room that a merge may take.
_VACUUM_POSTINGS, _VACUUM_SHARE = 8_000_000, 1 / 16
#: An autovacuum is asked to step back after a second (deadlock_timeout).
_VACUUM_WAIT_S: Final = 10
#: A recording that was replaced stays in runs for this long: whoever has not seen that yet, on a replica that lags, is
#: answered with the old one, and not with neither.
_SEEN_S: int = HELD_S
#: Readers that have not looked for longer begin anew (`docs.STALE_S`).
_RETIRED_KEPT: Final = "1 hour"
_LOCK: Final = 0x6561726D61726C
#: A step takes seconds. Vacuum has no limit.
_STEP_S: Final = 600
_HASHES: Final = 1 << HASH_BITS
_GRAIN: Final = 1 << LOW_BITS_MAX

#: `due`: what the daemon does by itself; `everything`: until there is one run a span.
Extent = Literal["due", "everything"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step did."""

    did: Literal["packed", "merged"]
    postings: int
    docs: int = 0
    #: Rows that were not what had been written: edited by hand, or damaged on disk. They are gone now.
    damaged: int = 0


def upkeep(pool: Pool, *, extent: Extent = "due") -> list[Step]:
    """All steps that there are to do."""
    steps = []
    while step_ := step(pool, extent=extent):
        steps.append(step_)
    return steps


def step(pool: Pool, *, extent: Extent = "due") -> Step | None:
    """Do one step; None if nothing is to do, or another process is at it. Raises DatabaseUnavailable."""
    with transaction(pool) as connection:
        limit(connection, _STEP_S)
        row = connection.execute("select pg_try_advisory_xact_lock(%s)", [_LOCK]).fetchone()
        assert row is not None
        if not row[0]:
            return None
        version.enter(connection)
        version.expect(version.read(connection), pool)
        done = _pack(connection, extent) or _go_on(connection) or _begin(connection, extent)
        _forget(connection)
    if done:
        _give_back(pool, done, extent)
    return done


# ------------------------------------------------------------------------------------------------ packing


def _pack(connection: Connection, extent: Extent) -> Step | None:
    """Fresh postings into a run for each span."""
    unpacked = connection.execute("select doc_id, postings, retired_at is null from doc where not packed order by doc_id").fetchall()
    if not _pack_is_due(connection, unpacked, extent):
        return None
    chosen = [row for row, before in zip(unpacked, np.cumsum([0, *(n for _, n, _ in unpacked)]), strict=False) if before < _PACK_POSTINGS_MAX]
    live, retired = ([doc_id for doc_id, _, alive in chosen if alive is wanted] for wanted in (True, False))
    packed = [_pack_span(connection, span, list(doc_ids)) for span, doc_ids in groupby(live, key=lambda doc_id: doc_id // SPAN)]
    # Last, because it makes whoever replaces one of these docs wait until we commit; in order, so that nobody waits in a circle.
    doc_ids = [doc_id for doc_id, _, _ in chosen]
    connection.execute("select from doc where doc_id = any(%s) order by doc_id for update", [doc_ids])
    connection.execute("update doc set packed = true, changed_xid = pg_current_xact_id() where doc_id = any(%s)", [doc_ids])
    connection.execute("update doc set postings = 0 where doc_id = any(%s)", [retired])  # they are in no run
    connection.execute("delete from fresh where doc_id = any(%s)", [doc_ids])
    return Step(did="packed", docs=len(live), postings=sum(postings for postings, _ in packed), damaged=sum(damaged for _, damaged in packed))


def _pack_is_due(connection: Connection, unpacked: Sequence[tuple[int, int, bool]], extent: Extent) -> bool:
    docs, postings = len(unpacked), sum(n for _, n, _ in unpacked)
    if not docs or extent == "everything" or docs >= _PACK_DOCS or postings >= _PACK_POSTINGS:
        return docs > 0
    row = connection.execute("select coalesce(sum(postings), 0) from run").fetchone()
    assert row is not None
    return docs >= _PACK_DOCS_MIN and postings >= _PACK_SHARE * float(row[0])


def _pack_span(connection: Connection, span: int, doc_ids: list[int]) -> tuple[int, int]:
    """How many postings were written, and how many docs have none that can be trusted: for `db check` they are docs without."""
    rows = connection.execute("select doc_id, digest, postings from fresh where doc_id = any(%s)", [doc_ids], binary=True).fetchall()
    whole = [(doc_id, unpack_fresh(packed)) for doc_id, written, packed in rows if digest(packed) == written]
    joined: Keys = np.concatenate([np.zeros(0, np.uint64), *(keys(hashes, doc_id, frames) for doc_id, (hashes, frames) in whole)])
    if len(joined):
        joined.sort()
        runs.write_run(connection, kind="pack", span=span, sorted_keys=joined)
    damaged = sorted(set(doc_ids) - {doc_id for doc_id, _ in whole})
    if damaged:
        connection.execute("update doc set postings = 0 where doc_id = any(%s)", [damaged])
    return len(joined), len(damaged)


# ------------------------------------------------------------------------------------------------ merging


def to_merge(postings: Sequence[int], *, loading: bool) -> int:
    """How many of a span's runs, the smallest first, are to be merged; fewer than two: none.

    Args:
        postings: of the runs, ascending.
        loading: many recordings are being added.
    """
    if not loading:
        before = np.cumsum(postings)
        fitting = [n + 1 for n in range(1, len(postings)) if postings[n] <= _MERGE_RATIO * before[n - 1]]
        return max(fitting, default=0)
    for n in range(_TIER, len(postings) + 1):
        if postings[n - 1] <= _TIER * max(1, postings[n - _TIER]):
            return n
    return 0


def _begin(connection: Connection, extent: Extent) -> Step | None:
    """The first step of a merge, in the first span that needs one."""
    found = connection.execute("select run_id, low_bits, doc_base, postings, kind, built_at > now() - %s::interval from run order by postings", [_LOADING])
    rows = found.fetchall()
    loading = any(kind == "bulk" and recent for *_, kind, recent in rows)
    for base in sorted({row[2] for row in rows}):
        of_span = [Run(*row[:4]) for row in rows if row[2] == base]
        worn = _retired(connection, base) > (0 if extent == "everything" else _RETIRED_SHARE * sum(run.postings for run in of_span))
        count = len(of_span) if worn or extent == "everything" else to_merge([run.postings for run in of_span], loading=loading)
        chosen = of_span[:count]
        if worn or count > 1:
            above = stops.stop_above(runs.catalogue_size(connection))
            target = runs.begin_run(connection, kind="merge", span=base // SPAN, postings_about=sum(run.postings for run in chosen))
            connection.execute("insert into merge (run_id, source_ids, stop_above) values (%s, %s, %s)", [target.run_id, [run.run_id for run in chosen], above])
            return _go_on(connection)
    return None


def _retired(connection: Connection, base: int) -> int:
    """Postings that a merge of a span's runs would leave out, at most: of docs that the oldest of them may have."""
    row = connection.execute(
        """select coalesce(sum(postings), 0) from doc
           where packed and retired_at <= now() - make_interval(secs => %(seen_s)s) and doc_id between %(first)s and %(last)s
           and exists (select from run where doc_base = %(first)s and built_at <= doc.retired_at + make_interval(secs => %(seen_s)s))""",
        {"first": base, "last": base + SPAN - 1, "seen_s": _SEEN_S},
    ).fetchone()
    assert row is not None
    return int(row[0])


def _go_on(connection: Connection) -> Step | None:
    """The next step of a merge that was begun."""
    row = connection.execute("select run_id, source_ids, next_hash, stop_above from merge order by run_id limit 1").fetchone()
    if row is None:
        return None
    run_id, source_ids, begin, above = row
    known = {run.run_id: run for run in (Run(*r) for r in connection.execute("select run_id, low_bits, doc_base, postings from run").fetchall())}
    if run_id not in known:  # somebody deleted it by hand, and what had been moved into it with it
        connection.execute("delete from merge where run_id = %s", [run_id])
        return None
    target, sources = known[run_id], [known[source_id] for source_id in source_ids if source_id in known]
    end = _end_of_slice(begin, sum(run.postings for run in sources))
    found = [runs.read(connection, source, begin, end) for source in sources]
    joined: Keys = np.concatenate([np.zeros(0, np.uint64), *(part.keys for part in found)])
    joined = joined[_live_docs(connection, target.doc_base)[docs_in_span(joined)]]
    joined.sort()
    runs.write(connection, target, joined, stopped=stops.joined(stops.read(connection)), above=above)
    for source, part in zip(sources, found, strict=True):
        connection.execute(
            "delete from block where run_id = %s and bucket between %s and %s", [source.run_id, begin >> source.low_bits, (end - 1) >> source.low_bits]
        )
        connection.execute("update run set postings = postings - %s where run_id = %s", [len(part.keys), source.run_id])
    moved = sum(len(part.keys) for part in found)
    if end < _HASHES:
        connection.execute("update merge set next_hash = %s, unvacuumed = unvacuumed + %s where run_id = %s", [end, moved, run_id])
    else:
        connection.execute("delete from merge where run_id = %s", [run_id])
        connection.execute("delete from run where run_id = any(%s) or (postings = 0 and run_id = %s)", [source_ids, run_id])
    return Step(did="merged", postings=moved, damaged=sum(len(part.damaged) for part in found))


def _end_of_slice(begin: int, postings: int) -> int:
    """Where a slice of about the right size ends, at a border of all runs' buckets."""
    left = _HASHES - begin
    slices = max(1, -(-postings // _SLICE_POSTINGS))
    return begin + min(left, max(_GRAIN, left // slices // _GRAIN * _GRAIN))


def _live_docs(connection: Connection, base: int) -> npt.NDArray[np.bool_]:
    row = connection.execute(
        """select array_send(array_agg(doc_id)) from doc
           where (retired_at is null or retired_at > now() - make_interval(secs => %s)) and doc_id between %s and %s""",
        [_SEEN_S, base, base + SPAN - 1],
        binary=True,
    ).fetchone()
    live = np.zeros(SPAN, np.bool_)
    if row is not None and row[0] is not None:
        live[array(row[0]) - base] = True
    return live


# ------------------------------------------------------------------------------------------------ tidying


def _forget(connection: Connection) -> None:
    """What nobody needs any more of docs that were retired an hour ago, and the docs once no run can have their postings."""
    # After a dump and restore the ids come from another server's count: readers would be told of these rows for ever.
    for table in ("doc", "stop_list"):
        connection.execute(f"update {table} set changed_xid = pg_current_xact_id() where changed_xid > pg_current_xact_id()")
    connection.execute(f"update doc set peaks = '' where retired_at < now() - interval '{_RETIRED_KEPT}' and peaks <> ''")
    connection.execute(
        f"""delete from doc where packed and retired_at < now() - interval '{_RETIRED_KEPT}' and (postings = 0 or not exists (
              select from run where doc_base = doc.doc_id / {SPAN} * {SPAN} and built_at <= doc.retired_at + make_interval(secs => {_SEEN_S})))"""
    )
    if connection.execute("select from doc where retired_at is null limit 1").fetchone() is None:
        stops.clear(connection)
    connection.execute("delete from slow_look_up where hour < now() - interval '2 days'")


def _give_back(pool: Pool, done: Step, extent: Extent) -> None:
    """Vacuum what a step has left dead, once there is enough of it."""
    # Giving pages back to the file system needs a lock that readers would wait for, if only for an instant.
    how = "vacuum" if extent == "everything" else "vacuum (truncate off)"
    with maintenance(pool) as connection:
        if done.did == "packed":
            _vacuum(connection, f"{how} fresh")
            return
        row = connection.execute(
            "select (select unvacuumed from merge limit 1), (select coalesce(sum(postings), 0) from run), exists (select from merge)"
        ).fetchone()
        assert row is not None
        unvacuumed, stored, under_way = row
        if (not under_way or unvacuumed > max(_VACUUM_POSTINGS, _VACUUM_SHARE * float(stored))) and _vacuum(connection, f"{how} block"):
            connection.execute("update merge set unvacuumed = 0")


def _vacuum(connection: Connection, command: str) -> bool:
    """False if somebody else vacuums that table for longer than we wait; an autovacuum steps back for us."""
    connection.execute(f"set lock_timeout = '{_VACUUM_WAIT_S}s'")
    try:
        connection.execute(command)
    except psycopg.errors.LockNotAvailable:
        return False
    finally:
        connection.execute("reset lock_timeout")
    return True
