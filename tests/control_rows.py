"""Rows of the control tables, for tests of the room; time passes by dating rows back, never by waiting."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.rows import dict_row
from pydantic import SecretStr

from earmark.control.leases import Leases
from earmark.control.wanted import open_stream
from earmark.model import Stream
from earmark.postgres import Pool, open_pool, transaction
from earmark.settings import Database
from earmark.settings import Leases as LeaseSettings


@contextmanager
def pool_of(dsn: str) -> Iterator[Pool]:
    with open_pool(Database(dsn=SecretStr(dsn))) as pool:
        yield pool


def leases_of(pool: Pool, worker: str, **changed: Any) -> Leases:
    return Leases(pool=pool, worker=worker, settings=LeaseSettings(**changed))


def want(pool: Pool, *stream_ids: str, **of: Any) -> None:
    for stream_id in stream_ids:
        with transaction(pool) as connection:
            assert open_stream(connection, Stream(**{"stream_id": stream_id, "source": "ivs", **of}))


def row(pool: Pool, stream_id: str) -> dict[str, Any]:
    (found,) = rows(pool, "select * from stream where stream_id = %s", stream_id)
    return found


def rows(pool: Pool, query: str, *parameters: Any) -> list[dict[str, Any]]:
    with transaction(pool) as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, parameters).fetchall()  # type: ignore[arg-type]


def run(pool: Pool, statement: str, *parameters: Any) -> None:
    with transaction(pool) as connection:
        connection.execute(statement, parameters)  # type: ignore[arg-type]


def pass_time(pool: Pool, seconds: float) -> None:
    """Everything on record happened so many seconds earlier."""
    run(
        pool,
        """
        update stream set lease_until = lease_until - d.d, claimed_at = claimed_at - d.d, not_before = not_before - d.d, wanted_at = wanted_at - d.d,
               ended_at = ended_at - d.d, unlisted_at = unlisted_at - d.d from (select make_interval(secs => %s) as d) d""",
        seconds,
    )
    run(pool, "update sweep set swept_at = swept_at - make_interval(secs => %s)", seconds)
    run(pool, "update inbox set arrived_at = arrived_at - make_interval(secs => %s)", seconds)
