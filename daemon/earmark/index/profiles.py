"""What recordings are like, on record, and which are still to be measured.

`read` and `write` are all that anybody needs who carries profiles from one catalogue to another. The rest is a queue: an object
that became a recording is due (a trigger says so), who claims it puts it off by a lease, and who does not come back in time has
left it to the next.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from psycopg.types.json import Jsonb

from earmark.postgres import Connection
from earmark.track_profile import MEASURES, NEVER, PROFILE_VERSION, TrackProfile, not_yet, told

_COLUMNS: Final = (*MEASURES, "not_computed", "version", "features")
_CHANGES: Final = ", ".join(f"{column} = excluded.{column}" for column in _COLUMNS)
#: A worker that has not renewed for so long is taken for dead.
LEASE_S: Final = 120.0
#: Between two tries of what failed for now: doubles from a second.
_RETRY_S_MAX: Final = 600


def read(connection: Connection, track_ids: Sequence[str]) -> dict[str, TrackProfile]:
    """Profiles by track_id; of those recordings that have one."""
    rows = connection.execute(
        f"""select t.track_id, {", ".join(f"p.{column}" for column in _COLUMNS)} from track t
              join track_profile p on p.track_no = t.track_no and p.content_sha256 = t.content_sha256
             where t.track_id = any(%s) and p.version > 0""",
        [list(track_ids)],
    ).fetchall()
    return {track_id: TrackProfile(**dict(zip(_COLUMNS, values, strict=True))) for track_id, *values in rows}


def write(connection: Connection, track_id: str, profile: TrackProfile, *, content_sha256: bytes) -> bool:
    """Put a profile of these bytes on record; False, and nothing is, if the recording is gone or of other bytes by now.

    One with tempo and key stays, if what comes has the same version and neither.
    """
    named = asdict(profile)
    values = {**named, "not_computed": Jsonb({name: why for name, why in profile.not_computed.items() if name not in NEVER})}
    done = connection.execute(
        f"""
        with here as (select track_no, content_sha256 from track where track_id = %(track_id)s and content_sha256 = %(content)s for share),
        put as (
          insert into track_profile as p (track_no, content_sha256, profiled_at, {", ".join(_COLUMNS)})
          select track_no, content_sha256, now(), {", ".join(f"%({column})s" for column in _COLUMNS)} from here
          on conflict (track_no) do update
             set content_sha256 = excluded.content_sha256, profiled_at = now(), due_at = null, for_features = false, attempts = 0, last_error = '', {_CHANGES}
           where p.content_sha256 <> excluded.content_sha256 or p.version < excluded.version or p.features = '' or excluded.features <> '')
        select 1 from here""",
        {**values, "track_id": track_id, "content": content_sha256},
    ).fetchone()
    return done is not None


def shown(connection: Connection, track_id: str) -> TrackProfile:
    """For people: what is not there is said with the reason, in every case."""
    return told(read(connection, [track_id]).get(track_id) or not_yet())


# ------------------------------------------------------------------------------------------------ what is to be measured


@dataclass(frozen=True, kw_only=True)
class Due:
    """A recording that is ours to measure; `bucket` and `key`: the object that it is, None if none is."""

    track_no: int
    track_id: str
    content_sha256: bytes
    attempts: int
    last_error: str
    bucket: str | None
    key: str | None


def owe_all(connection: Connection, *, features: str) -> int:
    """All objects that were never measured, or by an older version, or without the extra that is here now; returns how many. It reads the whole catalogue."""
    return connection.execute(
        f"""
        insert into track_profile as p (track_no, content_sha256, due_at, for_features)
        select t.track_no, t.content_sha256, now(), coalesce(k.content_sha256 = t.content_sha256 and k.version >= %(version)s, false)
          from track t left join track_profile k on k.track_no = t.track_no
         where {_AN_OBJECT}
           and (k.track_no is null or k.content_sha256 <> t.content_sha256
                or (k.due_at is null and (k.version < %(version)s or (k.features = '' and %(features)s <> ''))))
        on conflict (track_no) do update
           set due_at = now(), attempts = 0, last_error = '', for_features = excluded.for_features, {_OTHER_BYTES}""",
        {"version": PROFILE_VERSION, "features": features},
    ).rowcount


def owe_again(connection: Connection, track_ids: Sequence[str]) -> list[str]:
    """These, whatever is known of them; returns those that are objects of a bucket: of the others there are no bytes."""
    rows = connection.execute(
        f"""
        insert into track_profile as p (track_no, content_sha256, due_at)
        select t.track_no, t.content_sha256, now() from track t where t.track_id = any(%(track_ids)s) and {_AN_OBJECT}
        on conflict (track_no) do update set due_at = now(), attempts = 0, last_error = '', for_features = false, {_OTHER_BYTES}
        returning (select track_id from track t where t.track_no = p.track_no)""",
        {"track_ids": list(track_ids)},
    ).fetchall()
    return [track_id for (track_id,) in rows]


_AN_OBJECT: Final = "exists (select from catalogue_object o where o.track_id = t.track_id and o.content_sha256 = t.content_sha256 and o.state = 'kept')"
_OTHER_BYTES: Final = "content_sha256 = excluded.content_sha256, version = case when p.content_sha256 = excluded.content_sha256 then p.version else 0 end"


#: The one that has been due the longest; see `stocking.rows.CLAIM`.
CLAIM: Final = f"""
with due as materialized (
  select track_no from track_profile where due_at <= now() and (not for_features or %(features)s <> '')
     and (%(only)s::text[] is null or track_no in (select track_no from track where track_id = any(%(only)s)))
   order by due_at, track_no limit 1 for update skip locked)
update track_profile p set due_at = now() + make_interval(secs => {LEASE_S}), attempts = attempts + 1
  from due
 where p.track_no = due.track_no
returning p.track_no, p.attempts, p.last_error"""


def claim(connection: Connection, *, features: str, only: Sequence[str] | None = None) -> Due | None:
    """The recording that has been due the longest, of those that somebody with these features can do something about, and if given, of these."""
    row = connection.execute(CLAIM, {"features": features, "only": None if only is None else list(only)}).fetchone()
    if row is None:
        return None
    track_no, attempts, last_error = row
    of = connection.execute(
        """select t.track_id, t.content_sha256, o.bucket, o.key from track t
             left join catalogue_object o on o.track_id = t.track_id and o.content_sha256 = t.content_sha256 and o.state = 'kept'
            where t.track_no = %s""",
        [track_no],
    ).fetchone()
    if of is None:
        return None
    track_id, content_sha256, bucket, key = of
    return Due(track_no=track_no, track_id=track_id, content_sha256=content_sha256, attempts=attempts, last_error=last_error, bucket=bucket, key=key)


def renew(connection: Connection, due: Due) -> None:
    """It takes longer."""
    connection.execute(f"update track_profile set due_at = now() + make_interval(secs => {LEASE_S}) where {_STILL}", _key(due))


def put_off(connection: Connection, due: Due, reason: str) -> None:
    """It could not be done for now: it is due again, the later the more often that was."""
    connection.execute(
        f"""update track_profile set last_error = %(reason)s, due_at = now() + make_interval(secs => least({_RETRY_S_MAX}, 2.0 ^ (attempts - 1)))
             where {_STILL}""",
        {**_key(due), "reason": reason},
    )


def give_back(connection: Connection, due: Due) -> None:
    """We end: somebody else may do it at once, and this try was none."""
    connection.execute(f"update track_profile set due_at = now(), attempts = attempts - 1 where {_STILL}", _key(due))


def settle(connection: Connection, due: Due) -> None:
    """Nothing is left to be done about it: it is due no more."""
    connection.execute(f"update track_profile set due_at = null where {_STILL}", _key(due))


#: What is due by now may be other bytes, of which nothing is known.
_STILL: Final = "track_no = %(track_no)s and content_sha256 = %(content)s and due_at is not null"


def _key(due: Due) -> dict[str, object]:
    return {"track_no": due.track_no, "content": due.content_sha256}


def waiting(connection: Connection) -> int:
    """How many are due, or being measured."""
    row = connection.execute("select count(*) from track_profile where due_at is not null").fetchone()
    assert row is not None
    return int(row[0])


def unmeasured(connection: Connection, track_ids: Sequence[str], *, features: str) -> dict[str, bytes]:
    """Those of these recordings that were never measured (by this version, with the extra that is here), and the SHA-256 of their bytes."""
    rows = connection.execute(
        """select t.track_id, t.content_sha256 from track t
             left join track_profile p on p.track_no = t.track_no and p.content_sha256 = t.content_sha256
            where t.track_id = any(%(track_ids)s)
              and (p.track_no is null or p.version < %(version)s or (p.features = '' and %(features)s <> ''))""",
        {"track_ids": list(track_ids), "version": PROFILE_VERSION, "features": features},
    ).fetchall()
    return dict(rows)
