"""Objects of the catalogue whose copies are to be looked at, on record: who looks at which, what is wanted of it, what is there.

An object a row of `fan_out`, which one worker holds for as long as it renews; a copy a row of `track_format`, from before its
object is sent until that is deleted. Whoever dies leaves what is wanted behind, and the next one makes just that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

from earmark.audio.encode import Encoded
from earmark.postgres import Connection, Pool, statement, transaction
from earmark.stocking.rows import Overtaken
from earmark.stocking.targets import Copy, Master

#: A worker that has not renewed for so long is taken for dead; a gigabyte is sent in less.
LEASE_S: Final = 300.0
RENEW_S: Final = 60.0
#: Between two tries of what failed for now: doubles from ten seconds.
_RETRY_S: Final = (10.0, 3_600.0)


@dataclass(frozen=True, kw_only=True)
class Turn:
    """An object that is ours to look at."""

    bucket: str
    key: str
    news: int
    attempts: int
    last_error: str
    #: By which settings it was looked at before; see `targets.listed`.
    listed: str


@dataclass(frozen=True, kw_only=True)
class Known:
    """A copy on record."""

    bucket: str
    key: str
    name: str
    state: str
    reason: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


#: As in `Known.state`; `unwanted`: its object is to be deleted, if there is one.
Left: TypeAlias = Literal["waiting", "unwanted"]


class FanOut:
    """The rows, as one worker sees them. Every method raises DatabaseUnavailable."""

    def __init__(self, *, pool: Pool, worker: str) -> None:
        self._pool = pool
        self._worker = worker

    def claim(self, *, only: Sequence[str] | None = None) -> Turn | None:
        """The object that has waited longest; `only`: of these keys."""
        with statement(self._pool) as connection:
            row = connection.execute(
                """
                with due as materialized (
                  select bucket, key from fan_out
                   where due_at <= now() and (taken_until is null or taken_until < now()) and (%(only)s::text[] is null or key = any(%(only)s))
                   order by due_at, key limit 1 for update skip locked)
                update fan_out f set worker = %(worker)s, taken_until = now() + make_interval(secs => %(lease_s)s), attempts = attempts + 1
                  from due
                 where (f.bucket, f.key) = (due.bucket, due.key)
                returning f.bucket, f.key, news, attempts, last_error, listed""",
                {"worker": self._worker, "lease_s": LEASE_S, "only": None if only is None else list(only)},
            ).fetchone()
        if row is None:
            return None
        bucket, key, news, attempts, last_error, listed = row
        return Turn(bucket=bucket, key=key, news=news, attempts=attempts, last_error=last_error, listed=listed)

    def next_due_s(self) -> float | None:
        """How long until there is something to do; None: nothing waits."""
        with statement(self._pool) as connection:
            row = connection.execute(
                "select extract(epoch from min(greatest(due_at, taken_until)) - now())::float8 from fan_out where due_at is not null"
            ).fetchone()
        return None if row is None or row[0] is None else max(0.0, row[0])

    def renew(self, turn: Turn) -> None:
        """It takes longer. Raises Overtaken: there is news of the object, or somebody else has it."""
        with statement(self._pool) as connection:
            ours = connection.execute(
                "update fan_out set taken_until = now() + make_interval(secs => %s) where (bucket, key, worker, news) = (%s, %s, %s, %s) returning 1",
                [LEASE_S, turn.bucket, turn.key, self._worker, turn.news],
            ).fetchone()
        if ours is None:
            raise Overtaken

    def hold(self, connection: Connection, turn: Turn) -> None:
        """First in a transaction that writes what is wanted: nobody can say anything new until it is over. Raises Overtaken."""
        row = connection.execute("select news, worker from fan_out where (bucket, key) = (%s, %s) for update", [turn.bucket, turn.key]).fetchone()
        if row != (turn.news, self._worker):
            raise Overtaken

    def finish(self, turn: Turn, *, listed: str, last_error: str = "") -> None:
        """Nothing is left to be done about it, unless there is news. A row of what is no recording any more, and has no copies, goes."""
        of = {"bucket": turn.bucket, "key": turn.key, "worker": self._worker, "news": turn.news, "listed": listed, "last_error": last_error}
        with transaction(self._pool) as connection:
            connection.execute(
                """
                update fan_out
                   set worker = null, taken_until = null, attempts = case when news = %(news)s then 0 else attempts end,
                       due_at = case when news = %(news)s then null else due_at end, last_error = %(last_error)s, listed = %(listed)s
                 where (bucket, key, worker) = (%(bucket)s, %(key)s, %(worker)s)""",
                of,
            )
            connection.execute(
                """
                delete from fan_out f
                 where (bucket, key, news) = (%(bucket)s, %(key)s, %(news)s) and due_at is null
                   and not exists (select from track_format t where (t.of_bucket, t.of_key) = (f.bucket, f.key))
                   and not exists (select from catalogue_object o where (o.bucket, o.key) = (f.bucket, f.key) and o.track_id is not null)""",
                of,
            )

    def put_back(self, turn: Turn, *, reason: str = "", counted: bool = True) -> None:
        """It could not be done for now: it is due again, the later the more often that was. `counted`: against formats.attempts_max."""
        first_s, most_s = _RETRY_S
        with statement(self._pool) as connection:
            connection.execute(
                """
                update fan_out
                   set worker = null, taken_until = null, attempts = greatest(0, attempts - case when %(counted)s then 0 else 1 end),
                       last_error = coalesce(nullif(%(reason)s, ''), last_error),
                       due_at = case when %(counted)s and news = %(news)s
                                     then now() + make_interval(secs => least(%(most_s)s, %(first_s)s * 2.0 ^ (attempts - 1))) else due_at end
                 where (bucket, key, worker) = (%(bucket)s, %(key)s, %(worker)s)""",
                {
                    "bucket": turn.bucket,
                    "key": turn.key,
                    "worker": self._worker,
                    "news": turn.news,
                    "reason": reason,
                    "counted": counted,
                    "first_s": first_s,
                    "most_s": most_s,
                },
            )

    # -------------------------------------------------------------------------------------------- what is wanted

    def master(self, connection: Connection, turn: Turn, *, name: str) -> Master | None:
        """The recording that the object is; None: it is none, or its event is still to be heard."""
        row = connection.execute(
            """
            select t.track_id, t.title, t.artists, t.copies, t.duration_s, t.content_sha256
              from catalogue_object o join track t on t.track_id = o.track_id and t.content_sha256 = o.content_sha256
             where (o.bucket, o.key, o.state) = (%s, %s, 'kept')""",
            [turn.bucket, turn.key],
        ).fetchone()
        if row is None:
            return None
        track_id, title, artists, copies, duration_s, content_sha256 = row
        return Master(name=name, track_id=track_id, title=title, artists=tuple(artists), copies=copies, duration_s=duration_s, content_sha256=content_sha256)

    def want(self, connection: Connection, turn: Turn, copies: Sequence[Copy], *, bucket: str, content_sha256: bytes, again: bool) -> list[Known]:
        """These and no others are wanted of the object; what is to be done: copies that wait to be made, objects that are to be deleted.

        What is there stays as it is; what has failed, too, unless it is to be tried `again`.
        """
        of = {"bucket": bucket, "of_bucket": turn.bucket, "of_key": turn.key, "content": content_sha256, "again": again, "keys": [copy.key for copy in copies]}
        for copy in copies:
            state = "refused" if copy.refusal else "waiting"
            connection.execute(_WANT, {**of, "key": copy.key, "name": copy.name, "codec": copy.encoding.codec, "state": state, "reason": copy.refusal})
        connection.execute(f"delete from track_format where {_OTHERS} and state = 'refused'", of)  # noqa: S608 -- of our own words
        connection.execute(f"update track_format set state = 'unwanted', reason = '' where {_OTHERS}", of)  # noqa: S608 -- of our own words
        return self._left(connection, turn)

    def _left(self, connection: Connection, turn: Turn) -> list[Known]:
        rows = connection.execute(
            """select bucket, key, name, state, reason from track_format
                where (of_bucket, of_key) = (%s, %s) and state in ('waiting', 'unwanted') order by state, name""",
            [turn.bucket, turn.key],
        )
        return [Known(bucket=bucket, key=key, name=name, state=state, reason=reason) for bucket, key, name, state, reason in rows.fetchall()]

    def made(self, known: Known, encoded: Encoded) -> None:
        with statement(self._pool) as connection:
            connection.execute(
                """
                update track_format
                   set state = 'made', reason = '', size_bytes = %s, duration_s = %s, rate_hz = %s, channels = %s, made_at = now()
                 where (bucket, key, state) = (%s, %s, 'waiting')""",
                [encoded.size_bytes, encoded.duration_s, encoded.rate_hz, encoded.channels, known.bucket, known.key],
            )

    def failed(self, known: Known, reason: str) -> None:
        """It is not tried again before the settings are others, or somebody asks for it."""
        with statement(self._pool) as connection:
            connection.execute(
                "update track_format set state = 'failed', reason = %s where (bucket, key, state) = (%s, %s, 'waiting')", [reason, known.bucket, known.key]
            )

    def removed(self, known: Known) -> None:
        """Its object is gone; what is refused stays on record, with the reason."""
        with transaction(self._pool) as connection:
            where = [known.bucket, known.key]
            connection.execute("delete from track_format where (bucket, key, state, reason) = (%s, %s, 'unwanted', '')", where)
            connection.execute("update track_format set state = 'refused' where (bucket, key, state) = (%s, %s, 'unwanted')", where)

    # -------------------------------------------------------------------------------------------- all of them

    def list_anew(self, listed: str) -> None:
        """What was looked at by other settings is due."""
        with statement(self._pool) as connection:
            connection.execute("update fan_out set due_at = now(), news = news + 1, attempts = 0 where listed <> %s and due_at is null", [listed])

    def again(self, *, only: Sequence[str] | None = None, given_up: bool = False) -> None:
        """What is there, or has failed, is to be made anew. `only`: of the objects with these keys; `given_up`: of those that failed for now."""
        of: dict[str, Any] = {"only": None if only is None else list(only)}
        which = "last_error <> ''" if given_up else "(%(only)s::text[] is null or key = any(%(only)s))"
        states = "'failed'" if given_up else "'failed', 'made'"
        with transaction(self._pool) as connection:
            connection.execute(f"update fan_out set due_at = now(), news = news + 1, attempts = 0 where {which}", of)  # noqa: S608 -- of our own words
            connection.execute(
                f"""update track_format set state = 'waiting' where state in ({states})
                       and (of_bucket, of_key) in (select bucket, key from fan_out where {which})""",  # noqa: S608 -- of our own words
                of,
            )

    def now(self) -> datetime:
        """By the database's clock."""
        with statement(self._pool) as connection:
            moment: datetime = next(iter(connection.execute("select now()")))[0]
        return moment

    def missing(self, bucket: str, prefix: str, *, began: datetime, after: str, last: str, keys: Sequence[str]) -> list[str]:
        """A stretch of a listing that began then has these keys: those on record that it lacks are to be made anew, and returned."""
        of = {"bucket": bucket, "prefix": prefix, "began": began, "after": after, "last": last, "keys": list(keys)}
        with transaction(self._pool) as connection:
            lacking = [key for (key,) in connection.execute(_MISSING, of)]
            if lacking:
                connection.execute(_DUE_OF, {**of, "lacking": lacking})  # first, as whoever holds one of them does
                connection.execute(
                    "update track_format set state = 'waiting' where bucket = %(bucket)s and key = any(%(lacking)s) and state = 'made'",
                    of | {"lacking": lacking},
                )
        return lacking

    def waiting(self) -> tuple[int, float, int]:
        """Objects that are due, for how many seconds the oldest is, and copies that have failed."""
        with statement(self._pool) as connection:
            row = connection.execute(
                """
                select count(*), coalesce(extract(epoch from now() - min(due_at)), 0)::float8, (select count(*) from track_format where state = 'failed')
                  from fan_out where due_at <= now()"""
            ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]


_OTHERS: Final = "(of_bucket, of_key) = (%(of_bucket)s, %(of_key)s) and not (bucket = %(bucket)s and key = any(%(keys)s))"
_WANT: Final = """
insert into track_format as f (bucket, key, of_bucket, of_key, content_sha256, name, codec, state, reason)
values (%(bucket)s, %(key)s, %(of_bucket)s, %(of_key)s, %(content)s, %(name)s, %(codec)s, %(state)s, %(reason)s)
on conflict (bucket, key) do update
   set of_bucket = excluded.of_bucket, of_key = excluded.of_key,
       state = case when excluded.state = 'refused' then case when f.state = 'refused' then 'refused' else 'unwanted' end
                    when f.state in ('refused', 'unwanted') or (f.state = 'failed' and %(again)s) then 'waiting' else f.state end,
       reason = case when excluded.state = 'refused' then excluded.reason when f.state = 'failed' and not %(again)s then f.reason else '' end"""
_MISSING: Final = """
select key from track_format
 where state = 'made' and made_at < %(began)s and bucket = %(bucket)s and starts_with(key, %(prefix)s)
   and key > %(after)s and key <= %(last)s and not key = any(%(keys)s)"""
_DUE_OF: Final = """
update fan_out set due_at = now(), news = news + 1, attempts = 0
 where (bucket, key) in (select of_bucket, of_key from track_format where bucket = %(bucket)s and key = any(%(lacking)s))"""
