"""A claim takes as many rows as it says, whatever the planner believes of the table."""

from collections.abc import Callable

import psycopg
import pytest

from control_rows import rows
from earmark.hits.outbox import TAKE
from earmark.index import profiles
from earmark.postgres import Pool, statement, transaction
from earmark.stocking.fan_out import FanOut
from earmark.stocking.rows import Objects


def _object(pool: Pool) -> object:
    return Objects(pool=pool, worker="one").claim()


def _copies(pool: Pool) -> object:
    return FanOut(pool=pool, worker="one").claim()


def _profile(pool: Pool) -> object:
    with transaction(pool) as connection:  # what is due has no recording here, of which it would read next
        return connection.execute(profiles.CLAIM, {"features": "", "only": None}).fetchone()


def _sending(pool: Pool) -> object:
    with statement(pool) as connection:
        return connection.execute(TAKE, {"rows_max": 1, "taken_s": 60, "alert_wait_s": 60, "targets": ["s3"]}).fetchone()


@pytest.mark.parametrize(
    "claim, waiting, taken",
    [
        (_object, "catalogue_object (bucket, key, kind, sequencer) select 'b', n, 'audio', ''", "worker is not null"),
        (_copies, "fan_out (bucket, key) select 'b', n", "worker is not null"),
        (_profile, "track_profile (track_no, content_sha256, due_at) select n, '', now()", "due_at > now()"),
        (_sending, "outbox (stream_id, target, key, revision, body) select 's', 's3', n, 1, ''", "taken_until is not null"),
    ],
)
def test_a_claim_takes_one_row_of_a_table_that_had_one_row_when_it_was_analyzed(
    pool: Pool, dsn: str, claim: Callable[[Pool], object], waiting: str, taken: str
) -> None:
    """Then a nested loop the wrong way round is the cheapest plan, and what is on its inner side is asked again for each row."""
    table = waiting.split(maxsplit=1)[0]
    with psycopg.connect(dsn, autocommit=True, options="-c session_replication_role=replica") as connection:  # of a profile without its recording
        add = f"insert into {waiting} from generate_series(%s::int, %s::int) n"
        connection.execute(add, [1, 1])
        connection.execute(f"vacuum analyze {table}")
        connection.execute(add, [2, 5])
    for so_far in range(1, 6):
        assert claim(pool) is not None
        assert rows(pool, f"select count(*) from {table} where {taken}") == [{"count": so_far}]
    assert claim(pool) is None
