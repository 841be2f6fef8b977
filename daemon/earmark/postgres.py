"""PostgreSQL: the pool, what its errors mean, and the schema's migrations.

Everything that talks to the database takes a `Pool` and uses `transaction` or `statement`; both turn psycopg's errors
into Earmark's, here and nowhere else:

    connection lost, pool exhausted, timed out, deadlock, read-only    DatabaseUnavailable   try again
    wrong DSN, password or database name, missing privilege            BadSettings           exit code 2
    a table or column that is not there                                SchemaMismatch        `earmark db migrate`
    anything else                                                      is a bug, and stays psycopg's

Migrations are numbered files of plain SQL, forward only, each applied in one transaction. A daemon's own number is that
of the newest migration it ships; a migration states the oldest daemon that may run on what it leaves behind, so that a
schema can be widened while older daemons still run on it.
"""

import hashlib
import math
import re
import time
import weakref
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib import resources
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql
from psycopg.adapt import Dumper
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Format, TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from earmark.errors import BadSettings, DatabaseUnavailable, EarmarkError, SchemaMismatch
from earmark.settings import Database

Connection: TypeAlias = "psycopg.Connection[TupleRow]"
Pool: TypeAlias = "ConnectionPool[psycopg.Connection[TupleRow]]"

#: A peer that vanished without a word is noticed after 20 + 3 x 5 s, and after 30 s if it owes us an answer, which keepalives
#: do not look at (tcp(7), TCP_USER_TIMEOUT, in milliseconds); what the DSN says goes before.
_KEEPALIVE = {"keepalives_idle": 20, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
#: The server itself ends what takes longer than `statement_timeout`. One that is alive to TCP and says nothing for so much
#: longer (its disk does not answer, its process is stopped) is not waited for.
_SILENT_S = 10.0
#: A transaction forgotten by its owner holds back vacuum everywhere, so the server ends it.
_IDLE_IN_TRANSACTION_S = 60
#: Whether a connection still lives is asked before it is given out. For look-ups that would be a round trip each, so one
#: that was used a moment ago is given out unasked: if it has died since, the question is asked again.
_UNCHECKED_S = 1.0
#: Two daemons that start at once migrate one after the other.
_MIGRATION_LOCK = 0x6561726D61726B  # "earmark"
_MIGRATION_LOCK_S = 60


# ------------------------------------------------------------------------------------------------ pool


class _Connection(psycopg.Connection[TupleRow]):
    """One that does not wait for an answer for ever."""

    #: None: as long as it takes.
    patience_s: float | None = None

    def wait(self, gen: Generator[Any, Any, Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        if timeout is not None or self.patience_s is None:
            return super().wait(gen, interval=interval, timeout=timeout)
        try:
            return super().wait(gen, interval=interval, timeout=self.patience_s)
        except psycopg.OperationalError as error:
            # What the server said is an answer, though a COPY that it refuses stays active until the server is ready again.
            if error.sqlstate or self.pgconn.transaction_status != TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()  # what it would still say belongs to a question that nobody asks any more
            raise psycopg.OperationalError(f"no answer for {self.patience_s:g} s") from error


def limit(connection: Connection, seconds: float, *, local: bool = True) -> None:
    """So long may a statement take: of this transaction, or (not `local`) of all until the connection is given back; 0: no limit."""
    if isinstance(connection, _Connection):
        connection.patience_s = seconds + _SILENT_S if seconds else None
    connection.execute("select set_config('statement_timeout', %s, %s)", [f"{seconds * 1000:.0f}", local])


def open_pool(database: Database, *, application_name: str = "earmark", reading: bool = False, schemas: Sequence[str] = ()) -> Pool:
    """Connections to `database.dsn`, or to `database.read_dsn` when `reading`; close it, or use it in a `with`.

    `schemas`: where tables are looked for, in that order; by default where the DSN, the role or the database says.

    Raises BadSettings without a usable DSN, DatabaseUnavailable when the server does not answer.
    """
    dsn = (database.read_dsn.get_secret_value() if reading else "") or database.dsn.get_secret_value()
    if not dsn:
        raise BadSettings("no database is named: set database.dsn in the settings file, or EARMARK_DATABASE__DSN, to a PostgreSQL connection string")
    arguments = partial(_arguments, dsn, application_name, database.connect_timeout_s, iam=database.iam)
    with translated(dsn):
        psycopg.connect(dsn, **arguments()).close()  # the pool would only say that it timed out; this says why

    def configure(connection: Connection) -> None:
        connection.adapters.register_dumper(np.ndarray, Int4Array)
        # Not by the DSN's `options`: poolers in between refuse those.
        connection.execute(
            # Compiling a plan takes longer than any of ours.
            "select set_config('idle_in_transaction_session_timeout', %s, false), set_config('jit', 'off', false)",
            [f"{_IDLE_IN_TRANSACTION_S * 1000}"],
        )
        if schemas:
            connection.execute("select set_config('search_path', %s, false)", [", ".join(sql.Identifier(name).as_string() for name in schemas)])
        limit(connection, database.statement_timeout_s, local=False)
        connection.commit()

    used_at: weakref.WeakKeyDictionary[Connection, float] = weakref.WeakKeyDictionary()

    def returned(connection: Connection) -> None:
        used_at[connection] = time.monotonic()
        if isinstance(connection, _Connection):
            connection.patience_s = database.statement_timeout_s + _SILENT_S

    def check(connection: Connection) -> None:
        if not reading or time.monotonic() - used_at.get(connection, -math.inf) > _UNCHECKED_S:
            ConnectionPool.check_connection(connection)

    pool: Pool = ConnectionPool(
        dsn,
        connection_class=_Connection,
        kwargs=arguments,  # asked for each connection: a token is soon too old for the next one
        min_size=1,
        max_size=database.pool_max,
        timeout=database.connect_timeout_s,
        configure=configure,
        check=check,
        reset=returned,
        name=application_name,
        open=False,
    )
    pool.open()
    return pool


class Int4Array(Dumper):
    """NumPy int32 [n] as PostgreSQL's int4[]: a thousand take 5 us, as a list of Python's numbers 500."""

    format = Format.BINARY
    oid = psycopg.adapters.types["int4"].array_oid

    def dump(self, obj: npt.NDArray[np.int32]) -> bytes:
        if obj.dtype != np.int32 or obj.ndim != 1:
            raise TypeError(f"only one-dimensional int32 arrays become int4[], not {obj.ndim}-dimensional {obj.dtype} ones")
        # Dimensions, a flag for nulls, the element's type; then of the one dimension its length and first index.
        head = np.array([1 if len(obj) else 0, 0, psycopg.adapters.types["int4"].oid, *([len(obj), 1] if len(obj) else [])], ">i4")
        elements = np.empty((len(obj), 2), ">i4")
        elements[:, 0], elements[:, 1] = 4, obj
        return head.tobytes() + elements.tobytes()


@contextmanager
def connected(database: Database, *, application_name: str) -> Iterator[Connection]:
    """One connection outside of any pool, in autocommit mode."""
    dsn = database.dsn.get_secret_value()
    arguments = _arguments(dsn, application_name, database.connect_timeout_s, iam=database.iam)
    with translated(dsn), psycopg.connect(dsn, autocommit=True, **arguments) as connection:
        yield connection


def _arguments(dsn: str, application_name: str, connect_timeout_s: float, *, iam: bool = False) -> dict[str, Any]:
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # libpq's own words would repeat the DSN, and with it the password.
        raise BadSettings("the database's DSN is not a PostgreSQL connection string: write postgresql://user:password@host:port/database") from None
    ours = {"application_name": application_name, "connect_timeout": max(2, round(connect_timeout_s)), **_KEEPALIVE}
    if iam:
        from earmark.aws import database_token  # noqa: PLC0415 - it takes a third of a second to import, and few have such a database

        ours["password"] = database_token(given)
    return {key: value for key, value in ours.items() if key not in given}


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    """A connection in a transaction of its own: committed at the end of the block, rolled back by an exception."""
    with translated(_dsn(pool)), pool.connection() as connection, _fit_for_use(connection):
        yield connection


@contextmanager
def statement(pool: Pool) -> Iterator[Connection]:
    """A connection in autocommit mode: each statement for itself, with no round trips for begin and commit."""
    with translated(_dsn(pool)), pool.connection() as connection, _fit_for_use(connection):
        connection.autocommit = True
        try:
            yield connection
        finally:
            with suppress(psycopg.Error):  # a broken connection is thrown away by the pool anyway
                connection.autocommit = False


@contextmanager
def maintenance(pool: Pool) -> Iterator[Connection]:
    """Like `statement`, with no limit to a statement's time: for VACUUM and its like."""
    with statement(pool) as connection:
        usual = connection.execute("select current_setting('statement_timeout')").fetchone()
        limit(connection, 0, local=False)
        try:
            yield connection
        finally:
            with suppress(psycopg.Error):
                connection.execute("select set_config('statement_timeout', %s, false)", usual)


@contextmanager
def _fit_for_use(connection: Connection) -> Iterator[None]:
    """After a fail-over the old writer's connections still live, and are read-only: they must not go back to the pool."""
    try:
        yield
    except psycopg.errors.ReadOnlySqlTransaction:
        connection.close()
        raise


# ------------------------------------------------------------------------------------------------ errors

#: SQLSTATE classes that may pass: connection, resources, operator intervention, system error; and single states:
#: serialisation failure, deadlock, lock timeout, read-only (fail-over), idle in transaction for too long.
_PASSING = ("08", "53", "57", "58", "40001", "40P01", "55P03", "25006", "25P03")
_PASSING_SENTENCES = {
    "57014": "{server} cancelled a statement: {reason} (database.statement_timeout_s)",
    "53100": "{server} has no room left on its disk: {reason}; nothing of this was written: make room there, then try again",
}
_UNKNOWN_OBJECT = ("42P01", "42703", "42704", "42883", "3F000")
_TAKEN = ("42P07", "42710")
_NOT_ALLOWED = ("28", "3D000", "42501")
#: A refused connection carries no SQLSTATE, only the server's words.
_REFUSED = re.compile(r"password authentication failed|no password supplied|does not exist|no pg_hba\.conf entry|permission denied for database")


_BLAME = re.compile(r"(?:failed: |FATAL: +|ERROR: +)(?!.*(?:failed: |FATAL: |ERROR: ))([^\n]+)")


@contextmanager
def translated(dsn: str) -> Iterator[None]:
    """psycopg's errors inside the block become Earmark's."""
    try:
        yield
    except psycopg.Error as error:
        meaning = _meaning(error, dsn)
        if meaning is None:
            raise
        raise meaning from error


def _meaning(error: psycopg.Error, dsn: str) -> EarmarkError | None:
    server, state, reason = place(dsn), error.sqlstate or "", _reason(error, dsn)
    if isinstance(error, PoolTimeout):
        return DatabaseUnavailable(f"no connection to {server} was free in time: it is down, or all connections of the pool are busy (database.pool_max)")
    if state in _PASSING_SENTENCES:
        return DatabaseUnavailable(_PASSING_SENTENCES[state].format(server=server, reason=reason))
    if state.startswith(_PASSING):
        return DatabaseUnavailable(f"{server} cannot be used now: {reason}")
    if state in _TAKEN:
        return SchemaMismatch(
            f"{server} holds something that is not Earmark's ({reason}): use an empty database, or a schema of its own in the DSN's search_path"
        )
    if state in _UNKNOWN_OBJECT:
        return SchemaMismatch(f"{server} lacks a part of the schema ({reason}): run `earmark db migrate`")
    if state.startswith(_NOT_ALLOWED) or (not state and _REFUSED.search(str(error))):
        return BadSettings(f"{server} refuses: {reason}; check the DSN and the role's privileges")
    if not state and isinstance(error, psycopg.OperationalError):
        return DatabaseUnavailable(f"{server} cannot be reached: {reason}")
    return None


def _dsn(pool: Pool) -> str:
    return pool.conninfo if isinstance(pool.conninfo, str) else pool.conninfo()


def where(pool: Pool) -> str:
    """Where a pool's connections lead, for people."""
    return place(_dsn(pool))


def place(dsn: str) -> str:
    """Where a DSN leads, for people; never with its password."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "PostgreSQL"
    host = parts.get("host") or parts.get("hostaddr") or "its default address"
    port = f" port {parts['port']}" if parts.get("port") else ""
    database = f", database {parts['dbname']}" if parts.get("dbname") else ""
    return f"PostgreSQL at {host}{port}{database}"


def _reason(error: psycopg.Error, dsn: str) -> str:
    """The last thing libpq or the server blames, on one line."""
    text = error.diag.message_primary or str(error)
    blamed = _BLAME.findall(text)
    reason: str = blamed[-1] if blamed else text.strip().partition("\n")[0]
    reason = reason.removeprefix("FATAL:").strip().rstrip(".")
    with suppress(psycopg.ProgrammingError):
        password = conninfo_to_dict(dsn).get("password")
        reason = reason.replace(str(password), "…") if password else reason
    return reason or type(error).__name__


# ------------------------------------------------------------------------------------------------ migrations


@dataclass(frozen=True, kw_only=True)
class Migration:
    number: int
    name: str
    #: Daemons that ship at least this migration may run on the schema this one leaves behind.
    oldest_daemon: int
    text: str

    def __str__(self) -> str:
        return f"{self.number:04d}_{self.name}"

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Applied:
    number: int
    name: str
    checksum: str
    oldest_daemon: int
    applied_at: datetime


@dataclass(frozen=True, kw_only=True)
class SchemaStatus:
    """What `earmark db status` says about the schema."""

    applied: tuple[Applied, ...]
    #: Names of the migrations that this daemon ships and the database lacks.
    pending: tuple[str, ...]
    #: This daemon's own number.
    daemon: int

    @property
    def version(self) -> int:
        """Number of the newest applied migration; 0: an empty database."""
        return max((applied.number for applied in self.applied), default=0)


def shipped() -> tuple[Migration, ...]:
    """The migrations of this version of Earmark, in order."""
    folder = resources.files("earmark").joinpath("migrations")
    return tuple(read_migration(entry.name, entry.read_text(encoding="utf-8")) for entry in sorted(folder.iterdir(), key=lambda entry: entry.name))


def read_migration(file_name: str, text: str) -> Migration:
    """`0001_catalogue.sql`, whose text holds a line `-- oldest-daemon: 1`."""
    named = re.fullmatch(r"(\d{4})_(\w+)\.sql", file_name)
    stated = re.search(r"^-- oldest-daemon: (\d+)$", text, re.MULTILINE)
    if named is None or stated is None:
        raise ValueError(f"the migration {file_name} must be called NNNN_name.sql and state its `-- oldest-daemon: N`")
    return Migration(number=int(named[1]), name=named[2], oldest_daemon=int(stated[1]), text=text)


_LEDGER = """
create table if not exists schema_migration (
  number        int primary key,
  name          text not null,
  checksum      text not null,
  oldest_daemon int not null,
  applied_at    timestamptz not null default now()
)"""


def migrate(dsn: str, *, migrations: Sequence[Migration] | None = None, connect_timeout_s: float = 10, iam: bool = False, owner: str = "") -> list[str]:
    """Apply what the database lacks, each migration in one transaction; returns their names.

    `owner`: whose everything will be, made where there is no such role: who connects here may make roles and databases,
    who works there needs neither.

    Raises SchemaMismatch when the database has migrations that this version cannot run on, or that were changed since.
    """
    ours = shipped() if migrations is None else tuple(migrations)
    arguments = _arguments(dsn, "earmark-migrate", connect_timeout_s, iam=iam)
    with translated(dsn), psycopg.connect(dsn, autocommit=True, **arguments) as connection:
        if owner:
            _act_as(connection, owner)
        return [str(migration) for migration in ours if _apply(connection, migration, ours)]


def _act_as(connection: Connection, owner: str) -> None:
    """From here on, by a role that may log in, and (on Amazon RDS, which has `rds_iam` for it) by tokens alone."""
    names = {"role": sql.Identifier(owner), "database": sql.Identifier(connection.info.dbname)}
    with connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        known = {name for (name,) in connection.execute("select rolname from pg_roles where rolname in (%s, 'rds_iam')", [owner])}
        changes = [] if owner in known else ["create role {role} login"]
        changes += ["grant rds_iam to {role}"] if "rds_iam" in known else []
        grants = ("grant {role} to current_user", "grant create, temporary on database {database} to {role}", "grant create, usage on schema public to {role}")
        for change in (*changes, *grants):
            connection.execute(sql.SQL(change).format(**names))
    connection.execute(sql.SQL("set role {role}").format(**names))


def _apply(connection: Connection, migration: Migration, ours: Sequence[Migration]) -> bool:
    with connection.transaction():
        connection.execute(f"set local lock_timeout = '{_MIGRATION_LOCK_S}s'; set local statement_timeout = 0; set local client_min_messages = warning")
        connection.execute("select pg_advisory_xact_lock(%s)", [_MIGRATION_LOCK])
        connection.execute(_LEDGER)
        applied = _applied(connection)
        _refuse_foreign(applied, ours)
        if any(row.number == migration.number for row in applied):
            return False
        connection.execute(migration.text.encode())  # without parameters: one message may hold many statements
        connection.execute(
            "insert into schema_migration (number, name, checksum, oldest_daemon) values (%s, %s, %s, %s)",
            [migration.number, migration.name, migration.checksum, migration.oldest_daemon],
        )
        return True


def status(pool: Pool, *, migrations: Sequence[Migration] | None = None) -> SchemaStatus:
    ours = shipped() if migrations is None else tuple(migrations)
    with transaction(pool) as connection:
        applied = _applied(connection) if _has_ledger(connection) else ()
    known = {row.number for row in applied}
    pending = tuple(str(m) for m in ours if m.number not in known)
    return SchemaStatus(applied=applied, pending=pending, daemon=_own_number(ours))


def check(pool: Pool, *, migrations: Sequence[Migration] | None = None) -> None:
    """Raises SchemaMismatch, saying what to do, unless this daemon may run on the database as it is."""
    ours = shipped() if migrations is None else tuple(migrations)
    found = status(pool, migrations=ours)
    _refuse_foreign(found.applied, ours)
    if found.pending:
        what = "is empty" if not found.applied else f"lacks the migration{'s' if len(found.pending) > 1 else ''} {', '.join(found.pending)}"
        raise SchemaMismatch(f"{where(pool)} {what}: run `earmark db migrate`")


def _refuse_foreign(applied: Sequence[Applied], ours: Sequence[Migration]) -> None:
    shipped_here, own = {m.number: m for m in ours}, _own_number(ours)
    for row in applied:
        mine = shipped_here.get(row.number)
        if mine is None and row.oldest_daemon > own:
            raise SchemaMismatch(
                f"the database's schema is too new: its migration {row.number:04d}_{row.name} asks for a daemon that knows migration {row.oldest_daemon:04d}, "
                f"and this one knows {own:04d}: upgrade Earmark"
            )
        if mine is not None and mine.checksum != row.checksum:
            raise SchemaMismatch(
                f"the database's migration {row.number:04d}_{row.name} was applied with another text than this version ships: "
                "run the version of Earmark that made this database, or begin with an empty one"
            )


def _own_number(ours: Sequence[Migration]) -> int:
    return max((m.number for m in ours), default=0)


def _has_ledger(connection: Connection) -> bool:
    row = connection.execute("select to_regclass('schema_migration') is not null").fetchone()
    return bool(row and row[0])


def _applied(connection: Connection) -> tuple[Applied, ...]:
    rows = connection.execute("select number, name, checksum, oldest_daemon, applied_at from schema_migration order by number")
    return tuple(Applied(number=n, name=name, checksum=c, oldest_daemon=o, applied_at=at) for n, name, c, o, at in rows)
