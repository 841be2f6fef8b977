"""Objects of the catalogue on record: who takes up which, for how long, and what became of it.

A row is claimed by one worker at a time, for as long as it renews; one whose worker died is due again when its time is
over. What was found out is written only if nothing was heard of the object since (`hold`); if something was, the row is
still due. So whatever comes first, the last look at the bucket is the one that counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from earmark.control.catalogue_objects import CHANNEL, Kind
from earmark.postgres import Connection, Pool, statement, transaction

#: A worker that has not renewed for so long is taken for dead.
LEASE_S: Final = 60.0
RENEW_S: Final = 15.0
#: Between two tries of what failed for now: doubles from a second.
_RETRY_S_MAX: Final = 600
_REASONS_MAX: Final = 100


class Overtaken(Exception):
    """There is news of the object, or somebody else has taken it up: what was found out about it is not written."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An object that is ours to take up, as it is on record."""

    bucket: str
    key: str
    kind: Kind
    news: int
    look: bool
    attempts: int
    happened_at: datetime | None
    state: str
    etag: str
    size: int
    content_sha256: bytes | None
    tags: Mapping[str, str] | None
    said: Mapping[str, Any] | None
    track_id: str | None
    reasons: tuple[str, ...]
    blocked_by: str | None
    noticed: bool
    last_error: str


_COLUMNS: Final = (
    "bucket, key, kind, news, look, attempts, happened_at, state, etag, size, content_sha256, tags, said, track_id, reasons, blocked_by, noticed, last_error"
)


#: Materialized, here and wherever rows are claimed: a planner that believes the table to have one row joins the other way
#: round, asks such a query once for each row of the table, and each time it locks another: one claim took them all.
CLAIM: Final = f"""
with due as materialized (
  select bucket, key from catalogue_object
   where due_at <= now() and (taken_until is null or taken_until < now())
   order by (kind = 'audio'), due_at, key limit 1 for update skip locked)
update catalogue_object o set worker = %(worker)s, taken_until = now() + make_interval(secs => %(lease_s)s), attempts = attempts + 1
  from due
 where (o.bucket, o.key) = (due.bucket, due.key)
returning {", ".join(f"o.{name}" for name in _COLUMNS.split(", "))}"""  # noqa: S608 -- names of our own columns


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What an object is, as it is written down; see the columns of `catalogue_object`."""

    state: str
    etag: str = ""
    size: int = 0
    content_sha256: bytes | None = None
    tags: Mapping[str, str] | None = None
    said: Mapping[str, Any] | None = None
    track_id: str | None = None
    reasons: Sequence[str] = ()
    blocked_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What sidecars and manifests say of one object, each the nearest first."""

    sidecar: Mapping[str, Any]
    manifest: Mapping[str, Any]


class Objects:
    """The rows, as one worker sees them. Every method raises DatabaseUnavailable."""

    def __init__(self, *, pool: Pool, worker: str) -> None:
        self._pool = pool
        self._worker = worker

    def claim(self) -> Claim | None:
        """The object that has waited longest, sidecars and manifests before recordings: those are then described at once."""
        with statement(self._pool) as connection:
            row = connection.execute(CLAIM, {"worker": self._worker, "lease_s": LEASE_S}).fetchone()
        if row is None:
            return None
        named: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
        return Claim(**{**named, "reasons": tuple(named["reasons"])})

    def next_due_s(self) -> float | None:
        """How long until there is something to do; None: nothing waits."""
        with statement(self._pool) as connection:
            row = connection.execute(
                "select extract(epoch from min(greatest(due_at, taken_until)) - now())::float8 from catalogue_object where due_at is not null"
            ).fetchone()
        return None if row is None or row[0] is None else max(0.0, row[0])

    def renew(self, claim: Claim) -> None:
        """It takes longer. Raises Overtaken: then it is not worth going on."""
        with statement(self._pool) as connection:
            ours = connection.execute(
                """update catalogue_object set taken_until = now() + make_interval(secs => %s)
                    where (bucket, key, worker, news) = (%s, %s, %s, %s) returning 1""",
                [LEASE_S, claim.bucket, claim.key, self._worker, claim.news],
            ).fetchone()
        if ours is None:
            raise Overtaken

    def hold(self, connection: Connection, claim: Claim) -> None:
        """First in a transaction that writes what was found out: nobody can say anything new until it is over. Raises Overtaken."""
        row = connection.execute("select news, worker from catalogue_object where (bucket, key) = (%s, %s) for update", [claim.bucket, claim.key]).fetchone()
        if row != (claim.news, self._worker):
            raise Overtaken

    def write(self, connection: Connection, claim: Claim, finding: Finding) -> None:
        """Last in that transaction. It is still ours: see `finish`."""
        connection.execute(
            """
            update catalogue_object
               set state = %(state)s, etag = %(etag)s, size = %(size)s, content_sha256 = %(content_sha256)s, tags = %(tags)s, said = %(said)s,
                   track_id = %(track_id)s, reasons = %(reasons)s, blocked_by = %(blocked_by)s, done_at = now(), last_error = '',
                   rejected_at = case when %(state)s = 'rejected' then case when reasons = %(reasons)s then coalesce(rejected_at, now()) else now() end end
             where (bucket, key) = (%(bucket)s, %(key)s)""",
            {
                "bucket": claim.bucket,
                "key": claim.key,
                "state": finding.state,
                "etag": finding.etag,
                "size": finding.size,
                "content_sha256": finding.content_sha256,
                "tags": None if finding.tags is None else Jsonb(dict(finding.tags)),
                "said": None if finding.said is None else Jsonb(dict(finding.said)),
                "track_id": finding.track_id,
                "reasons": bounded(finding.reasons),
                "blocked_by": finding.blocked_by,
            },
        )

    def finish(self, claim: Claim, *, noticed: bool) -> bool:
        """Nothing is left to be done about it; False if there is news: then it is due still."""
        with transaction(self._pool) as connection:
            done = connection.execute(
                """
                update catalogue_object
                   set worker = null, taken_until = null, noticed = %(noticed)s, attempts = case when news = %(news)s then 0 else attempts end,
                       due_at = case when news = %(news)s then null else due_at end, look = case when news = %(news)s then false else look end
                 where (bucket, key, worker) = (%(bucket)s, %(key)s, %(worker)s)
                returning news = %(news)s""",
                {"bucket": claim.bucket, "key": claim.key, "worker": self._worker, "news": claim.news, "noticed": noticed},
            ).fetchone()
        return bool(done and done[0])

    def put_back(self, claim: Claim, *, reason: str = "", counted: bool = True) -> None:
        """It could not be done for now: it is due again, the later the more often that was. `counted`: against `catalogue.attempts_max`."""
        with statement(self._pool) as connection:
            connection.execute(
                """
                update catalogue_object
                   set worker = null, taken_until = null, attempts = attempts - case when %(counted)s then 0 else 1 end,
                       last_error = coalesce(nullif(%(reason)s, ''), last_error),
                       due_at = case when %(counted)s then now() + make_interval(secs => least(%(max_s)s, 2.0 ^ (attempts - 1))) else due_at end
                 where (bucket, key, worker) = (%(bucket)s, %(key)s, %(worker)s)""",
                {"bucket": claim.bucket, "key": claim.key, "worker": self._worker, "reason": reason, "counted": counted, "max_s": _RETRY_S_MAX},
            )

    def said_of(self, connection: Connection, claim: Claim) -> Said:
        """What is known of a recording besides its own tags.

        Of sidecars the one with its whole name goes before that without its suffix, of manifests that of the nearest folder, JSON before CSV.
        """
        sidecar = connection.execute(
            r"""
            select said from catalogue_object
             where bucket = %(bucket)s and key in (%(key)s || '.json', regexp_replace(%(key)s, '\.[^./]*$', '') || '.json')
               and kind = 'sidecar' and said is not null
             order by length(key) desc limit 1""",
            {"bucket": claim.bucket, "key": claim.key},
        ).fetchone()
        manifest = connection.execute(
            r"""
            select said from catalogue_said where (bucket, key) = (%s, %s)
             order by length(regexp_replace(manifest, '[^/]*$', '')) desc, manifest desc limit 1""",
            [claim.bucket, claim.key],
        ).fetchone()
        return Said(sidecar=sidecar[0] if sidecar else {}, manifest=manifest[0] if manifest else {})

    def tell_described(self, connection: Connection, claim: Claim) -> None:
        """The recordings that this sidecar describes are to be described anew."""
        name = claim.key.removesuffix(".json")
        self._tell(connection, "kind = 'audio' and (key = %(name)s or stem = %(name)s)", {"bucket": claim.bucket, "name": name})

    def tell_listed(self, connection: Connection, claim: Claim, keys: Sequence[str]) -> None:
        """These recordings are to be described anew."""
        self._tell(connection, "kind = 'audio' and key = any(%(keys)s)", {"bucket": claim.bucket, "keys": list(keys)})

    def _tell(self, connection: Connection, where: str, parameters: Mapping[str, object]) -> None:
        told = connection.execute(
            f"update catalogue_object set due_at = least(due_at, now()), news = news + 1, attempts = 0 where bucket = %(bucket)s and {where} returning 1",  # noqa: S608 -- of our own
            parameters,
        )
        if told.rowcount:
            connection.execute("select pg_notify(%s, '')", [CHANNEL])

    def put_said(self, connection: Connection, claim: Claim, said: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What a manifest says, by key, in place of what it said before; returns the keys of which it says something else now."""
        rows = connection.execute(
            """
            with now_said as (select key, said from unnest(%(keys)s::text[], %(said)s::jsonb[]) as t (key, said)),
            lost as (delete from catalogue_said s where bucket = %(bucket)s and manifest = %(manifest)s
                        and not exists (select from now_said n where n.key = s.key) returning key),
            put as (insert into catalogue_said as s (bucket, key, manifest, said) select %(bucket)s, key, %(manifest)s, said from now_said
                    on conflict (bucket, key, manifest) do update set said = excluded.said where s.said <> excluded.said returning key)
            select key from lost union all select key from put""",
            {"bucket": claim.bucket, "manifest": claim.key, "keys": list(said), "said": [Jsonb(dict(of)) for of in said.values()]},
        )
        return [key for (key,) in rows.fetchall()]

    def holder(self, connection: Connection, track_id: str) -> str | None:
        """The address of the object that is this recording; "" if it came otherwise (`earmark catalogue add`), None if there is no such recording."""
        row = connection.execute(
            """
            select case when o.key is null then '' else 's3://' || o.bucket || '/' || o.key end
              from track t left join catalogue_object o on o.track_id = t.track_id where t.track_id = %s""",
            [track_id],
        ).fetchone()
        return None if row is None else str(row[0])

    def same_sound(self, connection: Connection, *, content: bytes, peaks: bytes, but: Sequence[str]) -> str | None:
        """Another recording that came from the same bytes, or has the same constellation: the first to be there. Those who ask take turns."""
        for digest in sorted({content, peaks or content}):
            connection.execute("select pg_advisory_xact_lock(hashtextextended(%s, 3))", [digest.hex()])
        row = connection.execute(
            "select track_id from track where (content_sha256 = %s or peaks_sha256 = %s) and track_id <> all(%s) order by added_at, track_id limit 1",
            [content, peaks, list(but)],
        ).fetchone()
        return None if row is None else str(row[0])

    def waiting(self) -> tuple[int, float, int]:
        """How many are due, for how many seconds the oldest is, and how many are rejected."""
        with statement(self._pool) as connection:
            row = connection.execute(
                """
                select count(*) filter (where due_at <= now()), coalesce(extract(epoch from now() - min(due_at) filter (where due_at <= now())), 0)::float8,
                       count(*) filter (where state = 'rejected')
                  from catalogue_object where due_at is not null or state = 'rejected'"""
            ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]


def bounded(reasons: Sequence[str]) -> list[str]:
    """So many that somebody reads them."""
    left = len(reasons) - _REASONS_MAX
    return list(reasons) if left <= 0 else [*reasons[:_REASONS_MAX], f"and {left:,} more"]


def known(claim: Claim, **changes: Any) -> Finding:
    """What is on record of the object, but for these."""
    finding = Finding(
        state=claim.state,
        etag=claim.etag,
        size=claim.size,
        content_sha256=claim.content_sha256,
        tags=claim.tags,
        said=claim.said,
        track_id=claim.track_id,
        reasons=claim.reasons,
        blocked_by=claim.blocked_by,
    )
    return replace(finding, **changes)
