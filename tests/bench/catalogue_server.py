"""A PostgreSQL server as one would run it, for measurements: it waits for the disk, and its memory fits the machine."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from earmark.errors import BadSettings
from earmark.local.database import EmbeddedServer
from earmark.postgres import Pool, statement

_GIB: Final = 1 << 30
#: Beyond the table that is being loaded: the log of what was written, and room to merge in.
_WAL_GIB: Final = 12


@contextmanager
def server(folder: Path | None = None) -> Iterator[str]:
    """Yields the DSN. In a folder of one's own what is written stays; otherwise it is gone afterwards."""
    kept = folder is not None
    folder = folder or Path(tempfile.mkdtemp(prefix="earmark-bench-"))
    made = EmbeddedServer(folder=folder)
    try:
        with psycopg.connect(made.start(), autocommit=True) as connection:
            for name, value in _settings().items():
                connection.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        made.stop()
        yield made.start()
    finally:
        made.stop()
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def _settings() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "shared_buffers": f"{memory * 2 // 5 // 1024}kB",
        "max_wal_size": f"{_WAL_GIB}GB",
        "checkpoint_timeout": "15min",
        "maintenance_work_mem": "256MB",
        "random_page_cost": "1.1",
    }


def needs(folder: Path, gib: float) -> None:
    """Raises BadSettings if there is less room than that."""
    free = shutil.disk_usage(folder).free / _GIB
    if free < gib + _WAL_GIB:
        raise BadSettings(
            f"{folder} has {free:.0f} GB free, and a catalogue of this size takes up to {gib + _WAL_GIB:.0f} GB: choose a smaller SIZE, or set TMPDIR"
        )


def cpu_s(pids: Sequence[int]) -> float:
    """CPU time of processes so far, in steps of 10 ms; Linux only."""
    ticks = 0
    for pid in pids:
        columns = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(columns[11]) + int(columns[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def backends(pool: Pool) -> list[int]:
    """The server's processes that serve this database's clients."""
    with statement(pool) as connection:
        rows = connection.execute("select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'")
        return [pid for (pid,) in rows.fetchall()]


def table_bytes(pool: Pool, *tables: str) -> int:
    """With their indexes and TOAST."""
    with statement(pool) as connection:
        row = connection.execute("select coalesce(sum(pg_total_relation_size(t::regclass)), 0) from unnest(%s::text[]) t", [list(tables)]).fetchone()
    assert row is not None
    return int(row[0])


def wal_bytes(pool: Pool) -> int:
    """Written since the server was made."""
    with statement(pool) as connection:
        row = connection.execute("select pg_current_wal_lsn() - '0/0'").fetchone()
    assert row is not None
    return int(row[0])
