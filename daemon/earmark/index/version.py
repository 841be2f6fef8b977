"""Of which version of the fingerprint the tables are that somebody reads or writes, and the gate through which all who write come.

The tables of one version are exchanged for those of another in one transaction (`index.beside`), while readers and writers
of the old version live. What keeps them apart:

* a statement that reads postings or constellations says in its answer of which version the tables are that it read. One
  statement reads one set of tables: it holds its locks on them until it is done, and the exchange, which needs them all
  before it moves any, waits for that. So an answer is of the old tables, or it is refused (`expect`), never some of both;
* who writes comes through the gate first, shared with all others who write, and then looks which version is there; the
  exchange closes it. So whoever came through writes to the tables that it saw, and is done before they are exchanged.
"""

from typing import Final

import psycopg

from earmark.errors import CatalogueMismatch
from earmark.model import FINGERPRINT_VERSION
from earmark.postgres import Connection, Pool, place, where

#: Of this Earmark.
OURS: Final = FINGERPRINT_VERSION
#: The last of a statement's columns, so that all take their locks in one order, see `beside.LOCKED`: null, as long as nothing was ever added.
OF_TABLES: Final = "(select fingerprint_version from catalogue_version)"
_GATE: Final = 0x656172_67617465


def expect(version: int | None, of: "Pool | Connection") -> None:
    """Raises CatalogueMismatch if what was read is another version's. `of`: from where."""
    if version is not None and version != OURS:
        there = place(of.info.dsn) if isinstance(of, psycopg.Connection) else where(of)
        anew = "`earmark catalogue refingerprint` makes them anew beside the old ones; or " if version < OURS else ""
        raise CatalogueMismatch(
            f"the catalogue in {there} holds fingerprints of version {version}, and this Earmark makes version {OURS}: {anew}"
            "fill a new database with `earmark db migrate` and `earmark catalogue add`, or run the Earmark that made this one"
        )


def read(connection: Connection) -> int | None:
    """None: nothing was ever added."""
    row = connection.execute(f"select {OF_TABLES}").fetchone()
    return None if row is None else row[0]


def enter(connection: Connection) -> None:
    """First in a transaction that writes to the catalogue: its tables stay the same ones until the transaction is over.

    Which those are is looked up afterwards: whoever waited here may find others than there were.
    """
    connection.execute("select pg_advisory_xact_lock_shared(%s)", [_GATE])


def close(connection: Connection) -> None:
    """Wait until nobody writes, and let nobody in until the transaction is over."""
    connection.execute("select pg_advisory_xact_lock(%s)", [_GATE])
