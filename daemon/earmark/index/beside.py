"""A second set of the catalogue's tables, of another version of the fingerprint, beside the one that is in use.

    public          catalogue_version, doc, run, block, …       what everybody reads and writes
    earmark_next    the same tables, being filled               or `earmark_previous`, what was in use before

What is exchanged is what a sound was made into. Who the recordings are, with all that is said of them and keyed by them
(`track`, what refers to it, objects of the bucket, plays), stays where it is, under the same numbers: so there is nothing
to carry over, whatever is written of a recording meanwhile, and whatever refers to one in time to come. The few columns of
`track` that are of its sound are kept beside in a table of that name, and change places when the tables do.

The tables that lie beside hold the docs of a recording under its number, made from the content that `content_sha256`
names. So both sets are of the same recordings if both have the same numbers with the same contents.
"""

import re
import time
from dataclasses import dataclass
from typing import Final, Literal

from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable
from psycopg.sql import SQL, Composed, Identifier

from earmark.errors import BadSettings, SchemaMismatch
from earmark.index import aliases, version
from earmark.index.blocks import HASH_BITS
from earmark.index.catalogue import Recording, prepare, retire_docs, write_sound
from earmark.index.constellations import FRAME_BITS
from earmark.index.stretches import forget_numbers, lock
from earmark.postgres import Connection, Pool

#: What is exchanged.
TABLES: Final = (
    *("catalogue_version", "doc", "fresh", "run", "block", "merge", "stop_list"),
    *("shared_passage", "overlap", "track_alias", "put_aside"),
)
#: In the order in which readers take their locks (passages: up to `catalogue_version`; look-ups: `run`, `block` and that; who
#: follows: `doc`, that and the rest), so that hardly anybody waits in a circle.
LOCKED: Final = (
    *("track_alias", "track", "run", "block", "merge", "put_aside", "doc", "overlap", "shared_passage"),
    *("catalogue_version", "stop_list", "fresh"),
)
#: Tries to take them all: each time whoever asks waits as long as we do.
_TRIES: Final = 10
_PAUSE_S: Final = 0.5
#: Columns of `track` that are of its sound.
_OF_SOUND: Final = ("peaks_sha256", "fingerprint_version", "duration_s", "compared_no", "aligned_no")

#: Not in use yet, or not any more.
Kind = Literal["next", "previous"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Beside:
    """The tables beside those in use."""

    kind: Kind
    #: Where those in use are.
    home: str
    version: int

    @property
    def schema(self) -> str:
        return schema_of(self.home, self.kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lacking:
    """A recording that is not among the tables beside, or with another content."""

    track_no: int
    track_id: str
    content_sha256: bytes
    #: The object of a bucket that it came from; empty: it was added from a disk.
    bucket: str = ""
    key: str = ""
    version: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Differences:
    """How the recordings beside differ from those in use; each empty: not at all."""

    lacking: tuple[Lacking, ...]
    #: Numbers that are in use no more, or with another content.
    superfluous: tuple[int, ...]
    #: Recordings that are an alias here and not there, or of another one.
    aliases: tuple[int, ...]
    #: That were not compared with the others, where those in use were.
    uncompared: int

    def __bool__(self) -> bool:
        return bool(self.lacking or self.superfluous or self.aliases or self.uncompared)


def schema_of(home: str, kind: Kind) -> str:
    return f"{'earmark' if home == 'public' else home}_{kind}"


def home_of(connection: Connection) -> str:
    """The schema of the tables in use."""
    row = connection.execute("select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass('stream')").fetchone()
    if row is None:
        raise SchemaMismatch("the database has none of Earmark's tables: run `earmark db migrate`")
    return str(row[0])


def find(connection: Connection) -> Beside | None:
    """Raises SchemaMismatch if there is more than one."""
    home = home_of(connection)
    kinds: tuple[Kind, ...] = ("next", "previous")
    there = [kind for kind in kinds if connection.execute("select to_regnamespace(quote_ident(%s))", [schema_of(home, kind)]).fetchone() != (None,)]
    if not there:
        return None
    if len(there) > 1:
        names = " and ".join(schema_of(home, kind) for kind in there)
        raise SchemaMismatch(f"the database has both schemas {names}, of which one at most is Earmark's own doing: drop the one that is not needed")
    schema = schema_of(home, there[0])
    table = Identifier(schema, "catalogue_version")
    known = connection.execute("select to_regclass(%s)", [table.as_string()]).fetchone() != (None,)
    row = connection.execute(SQL("select fingerprint_version from {}").format(table)).fetchone() if known else None
    if row is None:
        raise SchemaMismatch(f"the schema {schema} does not say of which version of the fingerprint it is, so it is not Earmark's: drop it, or rename it")
    return Beside(kind=there[0], home=home, version=row[0])


def bytes_about(connection: Connection) -> int:
    """What the tables beside will need on the database's disk, about: as much as those in use."""
    row = connection.execute("select sum(pg_total_relation_size(name::regclass))::bigint from unnest(%s::text[]) name", [list(TABLES)]).fetchone()
    return int(row[0]) if row else 0


def progress(connection: Connection, beside: Beside) -> tuple[int, int]:
    """How many recordings are beside, and the bytes that their tables take."""
    count = connection.execute(SQL("select count(*) from {}").format(Identifier(beside.schema, "track"))).fetchone()
    size = connection.execute(
        "select sum(pg_total_relation_size(oid))::bigint from pg_class where relnamespace = to_regnamespace(quote_ident(%s)) and relkind = 'r'",
        [beside.schema],
    ).fetchone()
    assert count is not None
    assert size is not None
    return int(count[0]), int(size[0])


# ------------------------------------------------------------------------------------------------ made, and dropped


def make(connection: Connection) -> Beside:
    """Empty tables like those in use, for this Earmark's version. In a transaction of its own."""
    home = home_of(connection)
    made = Beside(kind="next", home=home, version=version.OURS)
    connection.execute(SQL("create schema {}").format(Identifier(made.schema)))
    for table in TABLES:
        _make_table(connection, made, table)
    for table, name, definition in _foreign_keys(connection, home, inside=True):
        _add_constraint(connection, made.schema, table, name, _leading_to(definition, made.schema))
    # Of the recordings, what their sound was made into; the other columns come along, and nobody looks at them.
    columns: dict[str, Composed | Identifier] = {"track": Identifier(made.schema, "track"), "like": Identifier(home, "track")}
    connection.execute(SQL("create table {track} (like {like} including storage, primary key (track_no))").format(**columns))
    _grant(connection, made, "track")
    connection.execute(
        SQL("insert into {} (fingerprint_version, hash_bits, frame_bits) values (%s, %s, %s)").format(Identifier(made.schema, "catalogue_version")),
        [made.version, HASH_BITS, FRAME_BITS],
    )
    return made


def _make_table(connection: Connection, made: Beside, table: str) -> None:
    """With its constraints, its identities, its indexes under their own names, how it is stored, and who may use it."""
    of = f"{Identifier(made.home).as_string()}.{Identifier(table).as_string()}"
    options = ", ".join(next(iter(connection.execute("select reloptions from pg_class where oid = %s::regclass", [of])))[0] or ())
    storing = f" with ({options})" if options else ""
    there, like = Identifier(made.schema, table), Identifier(made.home, table)
    connection.execute(SQL("create table {} (like {} including all excluding indexes)").format(there, like) + _ours(storing))
    rows = connection.execute(
        """select c.relname, pg_get_indexdef(i.indexrelid), pg_get_constraintdef(n.oid)
             from pg_index i join pg_class c on c.oid = i.indexrelid left join pg_constraint n on n.conindid = i.indexrelid and n.contype in ('p', 'u', 'x')
            where i.indrelid = %s::regclass order by c.relname""",
        [of],
    ).fetchall()
    for name, definition, constraint in rows:
        if constraint:
            _add_constraint(connection, made.schema, table, name, constraint)
        else:
            connection.execute(_ours(re.sub(r" ON (?:ONLY )?\S+ USING ", lambda _: f" ON {there.as_string()} USING ", definition, count=1)))
    _grant(connection, made, table)


def _grant(connection: Connection, made: Beside, table: str) -> None:
    rows = connection.execute(
        """select a.privilege_type, case when a.grantee = 0 then 'public' else quote_ident(r.rolname) end
             from pg_class c, aclexplode(c.relacl) a left join pg_roles r on r.oid = a.grantee
            where c.oid = %s::regclass and a.grantee <> c.relowner""",
        [f"{Identifier(made.home).as_string()}.{Identifier(table).as_string()}"],
    ).fetchall()
    for privilege, grantee in rows:
        connection.execute(SQL("grant {} on {} to {}").format(_ours(privilege), Identifier(made.schema, table), _ours(grantee)))


def drop(connection: Connection, beside: Beside) -> None:
    """The tables beside, and all that is in them."""
    connection.execute(SQL("drop schema {} cascade").format(Identifier(beside.schema)))


def _foreign_keys(connection: Connection, schema: str, *, inside: bool) -> list[tuple[str, str, str]]:
    """Table, name and definition: those between tables that are exchanged, or those from them to others."""
    rows = connection.execute(
        """select t.relname, n.conname, pg_get_constraintdef(n.oid), o.relname
             from pg_constraint n join pg_class t on t.oid = n.conrelid join pg_namespace s on s.oid = t.relnamespace join pg_class o on o.oid = n.confrelid
            where n.contype = 'f' and s.nspname = %s and t.relname = any(%s) order by 1, 2""",
        [schema, list(TABLES)],
    ).fetchall()
    return [(table, name, definition) for table, name, definition, other in rows if (other in TABLES) is inside]


def _leading_to(definition: str, schema: str) -> str:
    """A foreign key's definition, to the table of that name in a schema."""
    return re.sub(r" REFERENCES (?:\S+\.)?(\w+)\(", lambda found: f" REFERENCES {Identifier(schema).as_string()}.{found[1]}(", definition, count=1)


def _add_constraint(connection: Connection, schema: str, table: str, name: str, definition: str) -> None:
    connection.execute(SQL("alter table {} add constraint {} ").format(Identifier(schema, table), Identifier(name)) + _ours(definition))


def _ours(text: str) -> sql.SQL:
    """The server's own words, given back to it."""
    return SQL(text)


# ------------------------------------------------------------------------------------------------ filled


def differences(connection: Connection, beside: Beside) -> Differences:
    """Works from any connection; of one snapshot only under the gate."""
    names = {"mine": Identifier(beside.schema, "track"), "theirs": Identifier(beside.home, "track")}
    lacking = connection.execute(
        SQL("""
        select t.track_no, t.track_id, t.content_sha256, coalesce(o.bucket, ''), coalesce(o.key, ''), coalesce(o.version, '')
          from {theirs} t left join {mine} s on s.track_no = t.track_no and s.content_sha256 = t.content_sha256
          left join {object} o on o.track_id = t.track_id and o.kind = 'audio' and o.content_sha256 = t.content_sha256
         where s.track_no is null
         order by exists (select from {alias} a where a.track_no = t.track_no), t.track_no""").format(
            **names, object=Identifier(beside.home, "catalogue_object"), alias=Identifier(beside.home, "track_alias")
        )
    ).fetchall()
    superfluous = connection.execute(
        SQL("""
        select s.track_no from {mine} s left join {theirs} t on t.track_no = s.track_no and t.content_sha256 = s.content_sha256
         where t.track_no is null order by 1""").format(**names)
    ).fetchall()
    uncompared = connection.execute(
        SQL("""
        select count(*) from {mine} s join {theirs} t using (track_no)
         where s.compared_no is distinct from s.track_no and t.compared_no is not distinct from t.track_no""").format(**names)
    ).fetchone()
    return Differences(
        lacking=tuple(
            Lacking(track_no=no, track_id=track_id, content_sha256=content, bucket=bucket, key=key, version=of_object)
            for no, track_id, content, bucket, key, of_object in lacking
        ),
        superfluous=tuple(no for (no,) in superfluous),
        aliases=tuple(no for no, *_ in _unlike_aliases(connection, beside)),
        uncompared=uncompared[0] if uncompared else 0,
    )


def _unlike_aliases(connection: Connection, beside: Beside) -> list[tuple[int, int | None, int | None, int | None]]:
    """Of recordings that are on both sides: number, of whom it is an alias there and in whom it is, and of whom here."""
    return connection.execute(
        SQL("""
        select track_no, t.of_no, t.in_no, s.of_no
          from {theirs} t full join {mine} s using (track_no)
         where (t.of_no is distinct from s.of_no or (t.in_no is null and s.in_no is not null))
           and track_no in (select track_no from {track}) and (t.of_no is null or t.of_no in (select track_no from {track}))
         order by track_no""").format(
            mine=Identifier(beside.schema, "track_alias"), theirs=Identifier(beside.home, "track_alias"), track=Identifier(beside.schema, "track")
        )
    ).fetchall()


def put(connection: Connection, pool: Pool, beside: Beside, lacking: Lacking, recording: Recording) -> bool:
    """What a recording's sound was made into; False if it was replaced or removed meanwhile.

    Args:
        connection: in a transaction of its own, of
        pool: which leads to the tables beside, and so do the names in the functions that are called here.
    """
    prepared = prepare(recording)
    lock(connection, [lacking.track_id])
    _enter(connection, beside)
    names = {"mine": Identifier(beside.schema, "track"), "theirs": Identifier(beside.home, "track")}
    made = connection.execute(
        SQL("insert into {mine} select * from {theirs} where track_no = %s and content_sha256 = %s on conflict do nothing").format(**names),
        [lacking.track_no, lacking.content_sha256],
    )
    if not made.rowcount:
        return False
    connection.execute(
        SQL("update {mine} set fingerprint_version = %s, peaks_sha256 = %s, duration_s = %s, compared_no = null, aligned_no = null where track_no = %s").format(
            **names
        ),
        [beside.version, prepared.peaks_sha256, prepared.track.duration_s, lacking.track_no],
    )
    write_sound(connection, pool, lacking.track_no, prepared)
    _link(connection, beside, lacking.track_no)  # at once, as long as its postings can be put aside
    return True


def _link(connection: Connection, beside: Beside, track_no: int) -> None:
    """Make it an alias of whom it is one of where it is in use, if that is here."""
    row = connection.execute(SQL("select of_no, in_no from {} where track_no = %s").format(Identifier(beside.home, "track_alias")), [track_no]).fetchone()
    if row:
        of_no, in_no = row
        there = {
            no
            for (no,) in connection.execute(
                SQL("select track_no from {} where track_no = any(%s)").format(Identifier(beside.schema, "track")), [[of_no, in_no]]
            )
        }
        if of_no in there:
            aliases.link(connection, track_no, of_no, in_no=in_no if in_no in there else None)


def _enter(connection: Connection, beside: Beside) -> None:
    """Raises SchemaMismatch if the tables that names without a schema lead to are not those beside: dropped meanwhile, or behind a pooler that forgets."""
    version.enter(connection)
    row = connection.execute(
        "select relnamespace::regnamespace = to_regnamespace(quote_ident(%s)) from pg_class where oid = to_regclass('doc')", [beside.schema]
    ).fetchone()
    if row is None or not row[0] or version.read(connection) != beside.version:
        raise SchemaMismatch(
            f"the tables of version {beside.version} in the schema {beside.schema} are not to be reached: they were exchanged or dropped meanwhile, "
            "or a pooler mixes connections up, past which database.dsn has to lead for this"
        )


def follow(connection: Connection, beside: Beside) -> None:
    """What is in use no more goes, and aliases are what they are where they are in use."""
    connection.execute("select set_config('search_path', %s, true)", [", ".join(Identifier(name).as_string() for name in (beside.schema, beside.home))])
    _enter(connection, beside)
    aliases.lock_pairs(connection)
    superfluous = list(differences(connection, beside).superfluous)
    if superfluous:
        forget_numbers(connection, superfluous)
        retire_docs(connection, superfluous)
        connection.execute(SQL("delete from {} where track_no = any(%s)").format(Identifier(beside.schema, "track")), [superfluous])
    unlike = _unlike_aliases(connection, beside)
    for track_no, _, _, here in unlike:
        if here is not None:
            aliases.unlink(connection, track_no)
    for track_no, of_no, _, _ in unlike:
        if of_no is not None:
            _link(connection, beside, track_no)


# ------------------------------------------------------------------------------------------------ exchanged


def exchange(connection: Connection, beside: Beside, *, lock_wait_s: float) -> Beside:
    """The tables beside come into use, and those in use lie beside; the gate is closed, and nothing differs. What lies beside then.

    Until the last locks are taken, everybody goes on reading. Those are waited for no longer than `lock_wait_s` at once, since
    whoever asks meanwhile waits, too. Raises psycopg's LockNotAvailable if they are not to be had.
    """
    row = connection.execute(SQL("select fingerprint_version from {}").format(Identifier(beside.home, "catalogue_version"))).fetchone()
    if row is None:
        raise BadSettings("the catalogue is empty: there is nothing to exchange")
    kind: Kind = "previous" if beside.kind == "next" else "next"
    left = Beside(kind=kind, home=beside.home, version=row[0])
    leading_out = _foreign_keys(connection, beside.home, inside=False)
    for table, name, definition in leading_out:
        _add_constraint(connection, beside.schema, table, name, _leading_to(definition, beside.home))
    _swap_columns(connection, beside)
    connection.execute(SQL("create schema {}").format(Identifier(left.schema)))
    _lock(connection, beside, lock_wait_s)
    for table, name, _ in leading_out:
        connection.execute(SQL("alter table {} drop constraint {}").format(Identifier(beside.home, table), Identifier(name)))
    for table in TABLES:
        connection.execute(SQL("alter table {} set schema {}").format(Identifier(beside.home, table), Identifier(left.schema)))
        connection.execute(SQL("alter table {} set schema {}").format(Identifier(beside.schema, table), Identifier(beside.home)))
    connection.execute(SQL("alter table {} set schema {}").format(Identifier(beside.schema, "track"), Identifier(left.schema)))
    connection.execute(SQL("drop schema {}").format(Identifier(beside.schema)))
    return left


def _lock(connection: Connection, beside: Beside, wait_s: float) -> None:
    """Keep everybody from the tables in use. Who holds one meanwhile, or waits in a circle with us, is waited for in several tries."""
    connection.execute("select set_config('lock_timeout', %s, true)", [f"{wait_s * 1000:.0f}"])
    tables = SQL(", ").join(Identifier(beside.home, table) for table in LOCKED)
    for left in range(_TRIES - 1, -1, -1):
        try:
            with connection.transaction():
                connection.execute(SQL("lock table {} in access exclusive mode").format(tables))
        except (LockNotAvailable, DeadlockDetected):
            if not left:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _swap_columns(connection: Connection, beside: Beside) -> None:
    """Both updates see what was there before either."""

    def taken(of: str) -> Composed:
        return SQL(", ").join(SQL("{} = {}").format(Identifier(column), Identifier(of, column)) for column in _OF_SOUND)

    connection.execute(
        SQL("""
        with used as (update {theirs} t set {of_mine} from {mine} s where s.track_no = t.track_no)
        update {mine} s set {of_theirs} from {theirs} t where t.track_no = s.track_no""").format(
            theirs=Identifier(beside.home, "track"), mine=Identifier(beside.schema, "track"), of_mine=taken("s"), of_theirs=taken("t")
        )
    )
