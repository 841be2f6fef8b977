"""What an operator sees of the catalogue: how much is in it, how fresh, how large, how fast, how far behind.

`read` is what `earmark db status` shows: one reading of the table of docs, of the others no more than their counters.
`Glances` is what the daemon exports every minute, from counters alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from earmark.index.blocks import HASH_BITS, SPAN
from earmark.index.docs import HELD_S
from earmark.model import FRAMES_PER_S
from earmark.postgres import Connection, Pool, limit, statement, transaction

#: A part of the catalogue's bytes on disk.
PartName = Literal["postings", "constellations", "other"]
_TABLES: Final[Mapping[PartName, tuple[str, ...]]] = {
    "postings": ("run", "block", "fresh"),
    "constellations": ("doc",),
    "other": ("track", "track_alias", "overlap", "put_aside", "merge", "stop_list", "shared_passage", "slow_look_up", "catalogue_version"),
}
#: The largest statement reads a table of some 300 bytes a recording.
_READ_S: Final = 120
_SLOW_LOOK_UPS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """What is in no run yet, and in every reader's memory."""

    docs: int
    postings: int


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What a look-up asks one after the other."""

    number: int
    postings: int
    #: Postings of the largest one.
    largest: int
    #: How many were made of what: many recordings at once (bulk), what was fresh (pack), other runs (merge).
    kinds: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Merge:
    """A merge under way."""

    #: How many are being merged.
    runs: int
    #: 0 to 1.
    done: float


@dataclass(frozen=True, kw_only=True)
class StopList:
    hashes: int
    #: Of docs in runs, but in no run; while postings that count no more wait to be merged away, at most so many.
    postings_left_out: int


@dataclass(frozen=True, kw_only=True)
class Disk:
    """Bytes on disk, free space inside them included."""

    tables: int
    indexes: int
    #: What is too long for its row, with its index: of doc the constellations.
    toast: int

    @property
    def total(self) -> int:
        return self.tables + self.indexes + self.toast


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Share of the pages read that were in the server's memory (not: in the system's), since its counters began; None: none was read."""

    block: float | None
    doc: float | None


@dataclass(frozen=True, kw_only=True)
class SlowLookUp:
    """The look-up of a worker's hour that took longest."""

    worker: str
    at: datetime
    seconds: float
    hashes: int
    postings: int


@dataclass(frozen=True, kw_only=True)
class Replication:
    standby: bool
    #: How far behind the primary; None: this is the primary, or a standby that cannot say.
    lag_s: float | None


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """The catalogue at one instant."""

    tracks: int
    hours: float
    #: Of recordings that count.
    postings: int
    fresh: Fresh
    runs: Runs
    merge: Merge | None
    #: Postings in runs, at most, of recordings that were replaced or removed; merges leave them out.
    retired_postings: int
    stop_list: StopList
    disk: Mapping[PartName, Disk]
    #: Of all parts; of the postings' part. None while there is nothing.
    bytes_per_recording: float | None
    bytes_per_posting: float | None
    #: None: nothing was ever added.
    fingerprint_version: int | None
    hash_bits: int | None
    cache: Cache
    #: Of the last two days, the slowest first.
    slow_look_ups: tuple[SlowLookUp, ...]
    replication: Replication

    @property
    def bytes(self) -> int:
        return sum(disk.total for disk in self.disk.values())


def read(pool: Pool) -> Statistics:
    """All of it, of one snapshot; works on a standby. Raises DatabaseUnavailable."""
    with transaction(pool) as connection:
        connection.execute("set transaction isolation level repeatable read, read only")
        limit(connection, _READ_S)
        docs = _row(connection, _DOCS)
        retired = int(_row(connection, _RETIRED)["postings"])
        runs, disk = _runs(connection), _disk(connection)
        version = connection.execute("select fingerprint_version, hash_bits from catalogue_version").fetchone() or (None, None)
        stopped = _row(connection, "select coalesce(sum(length(hashes)) / 4, 0)::bigint as hashes from stop_list")["hashes"]
        fresh = Fresh(docs=docs["fresh_docs"], postings=int(docs["fresh_postings"]))
        stored, of_packed = runs.postings + fresh.postings, int(docs["postings"]) - fresh.postings + retired
        return Statistics(
            tracks=docs["tracks"],
            hours=float(docs["frames"]) / FRAMES_PER_S / 3_600,
            postings=int(docs["postings"]),
            fresh=fresh,
            runs=runs,
            merge=_merge(connection),
            retired_postings=retired,
            stop_list=StopList(hashes=stopped, postings_left_out=max(0, of_packed - runs.postings) if stopped else 0),
            disk=disk,
            bytes_per_recording=sum(part.total for part in disk.values()) / docs["tracks"] if docs["tracks"] else None,
            bytes_per_posting=disk["postings"].total / stored if stored else None,
            fingerprint_version=version[0],
            hash_bits=version[1],
            cache=_cache(connection),
            slow_look_ups=_slow_look_ups(connection),
            replication=_replication(connection),
        )


def replication(pool: Pool) -> Replication:
    """Of the server that the pool leads to."""
    with statement(pool) as connection:
        return _replication(connection)


# ------------------------------------------------------------------------------------------------ every minute


@dataclass(frozen=True, kw_only=True)
class Glance:
    runs: int
    #: 1: no merge is under way.
    merge_done: float
    #: By part.
    bytes: Mapping[str, int]
    #: Of the pages of `block` and `doc` that were read since the glance before; None: none was.
    cache_hits: float | None
    replication: Replication


class Glances:
    """What a server's counters say of the catalogue."""

    def __init__(self, *, pool: Pool) -> None:
        self._pool = pool
        self._hits, self._pages = 0, 0

    def look(self) -> Glance:
        """Raises DatabaseUnavailable. To be called by one thread."""
        with statement(self._pool) as connection:
            row = _row(connection, f"select (select count(*) from run) as runs, (select min(next_hash)::float / {1 << HASH_BITS} from merge) as done")
            hits, pages = _pages(connection)["all"]
            if pages < self._pages:  # they were reset, or the address leads to another server now
                self._hits, self._pages = 0, 0
            hits_since, pages_since = hits - self._hits, pages - self._pages
            self._hits, self._pages = hits, pages
            return Glance(
                runs=row["runs"],
                merge_done=1.0 if row["done"] is None else row["done"],
                bytes={name: part.total for name, part in _disk(connection).items()},
                cache_hits=hits_since / pages_since if pages_since else None,
                replication=_replication(connection),
            )


# ------------------------------------------------------------------------------------------------ statements

_DOCS: Final = """
select count(*) filter (where part = 0) as tracks, coalesce(sum(frames), 0) as frames, coalesce(sum(postings), 0) as postings,
       count(*) filter (where not packed) as fresh_docs, coalesce(sum(postings) filter (where not packed), 0) as fresh_postings
from doc where retired_at is null
"""
# A run that was begun a minute after a doc was retired has nothing of it.
_RETIRED: Final = f"""
select coalesce(sum(d.postings), 0) as postings
from doc d join (select doc_base / {SPAN} as span, min(built_at) as oldest from run group by 1) r
     on r.span = d.doc_id / {SPAN} and r.oldest <= d.retired_at + interval '{HELD_S} s'
where d.retired_at is not null and d.packed
"""
_SIZES: Final = """
select pg_table_size(c.oid) - toast as tables, pg_indexes_size(c.oid) as indexes, toast
from pg_class c, lateral (select coalesce(pg_total_relation_size(nullif(c.reltoastrelid, 0)), 0) as toast) t
where c.oid = %s::regclass
"""
_PAGES: Final = """
select relname, hit, hit + read as pages
from pg_statio_user_tables,
     lateral (select coalesce(heap_blks_hit, 0) + coalesce(idx_blks_hit, 0) + coalesce(toast_blks_hit, 0) + coalesce(tidx_blks_hit, 0) as hit,
                     coalesce(heap_blks_read, 0) + coalesce(idx_blks_read, 0) + coalesce(toast_blks_read, 0) + coalesce(tidx_blks_read, 0) as read) p
where relid = any('{block,doc}'::regclass[])
"""
# Nothing to replay means no lag, but not while nothing is received.
_LAG: Final = """
select case when pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() and exists (select from pg_stat_wal_receiver) then 0
            else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) end::float as lag
"""
# Aurora's readers replay no WAL, and refuse to be asked about it.
_LAG_AURORA: Final = "select max(replica_lag_in_msec)::float / 1000 as lag from aurora_replica_status() where server_id = aurora_db_instance_identifier()"


def _row(connection: Connection, query: str) -> dict[str, Any]:
    cursor = connection.execute(query)
    row = cursor.fetchone()
    assert row is not None
    assert cursor.description is not None
    return {column.name: value for column, value in zip(cursor.description, row, strict=True)}


def _runs(connection: Connection) -> Runs:
    rows = connection.execute("select kind, count(*), sum(postings)::bigint, max(postings) from run group by kind order by kind").fetchall()
    return Runs(
        number=sum(number for _, number, _, _ in rows),
        postings=sum(postings for _, _, postings, _ in rows),
        largest=max((largest for *_, largest in rows), default=0),
        kinds={kind: number for kind, number, _, _ in rows},
    )


def _merge(connection: Connection) -> Merge | None:
    row = connection.execute("select cardinality(source_ids), next_hash from merge order by run_id limit 1").fetchone()
    return Merge(runs=row[0], done=row[1] / (1 << HASH_BITS)) if row else None


def _disk(connection: Connection) -> dict[PartName, Disk]:
    sizes: dict[PartName, Disk] = {}
    for part in get_args(PartName):
        rows = [connection.execute(_SIZES, [table]).fetchone() or (0, 0, 0) for table in _TABLES[part]]
        tables, indexes, toast = (sum(column) for column in zip(*rows, strict=True))
        sizes[part] = Disk(tables=int(tables), indexes=int(indexes), toast=int(toast))
    return sizes


def _pages(connection: Connection) -> dict[str, tuple[int, int]]:
    """Per table, and of both, how many pages were in memory, and how many were read at all."""
    found = {name: (int(hit), int(pages)) for name, hit, pages in connection.execute(_PAGES).fetchall()}
    return {**found, "all": (sum(hit for hit, _ in found.values()), sum(pages for _, pages in found.values()))}


def _cache(connection: Connection) -> Cache:
    pages = _pages(connection)

    def share(table: str) -> float | None:
        hit, of = pages.get(table, (0, 0))
        return hit / of if of else None

    return Cache(block=share("block"), doc=share("doc"))


def _slow_look_ups(connection: Connection) -> tuple[SlowLookUp, ...]:
    rows = connection.execute("select worker, at, seconds, hashes, postings from slow_look_up order by seconds desc, at limit %s", [_SLOW_LOOK_UPS]).fetchall()
    return tuple(
        SlowLookUp(worker=worker, at=at.astimezone(UTC), seconds=seconds, hashes=hashes, postings=postings) for worker, at, seconds, hashes, postings in rows
    )


def _replication(connection: Connection) -> Replication:
    row = _row(connection, "select pg_is_in_recovery() as standby, to_regprocedure('aurora_replica_status()') is not null as aurora")
    if not row["standby"]:
        return Replication(standby=False, lag_s=None)
    lag_s = _row(connection, _LAG_AURORA if row["aurora"] else _LAG)["lag"]
    return Replication(standby=True, lag_s=None if lag_s is None else max(0.0, lag_s))
