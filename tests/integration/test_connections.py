"""Is there room for all connections that a worker may open? Asked at its start, of servers with few."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from pydantic import SecretStr
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from earmark.connections import check_connections
from earmark.errors import BadSettings
from earmark.postgres import Pool, open_pool
from earmark.settings import Database
from postgres_servers import server


@pytest.fixture(scope="module")
def small() -> Iterator[str]:
    """Twenty connections, three of them for superusers and two for those who may use them."""
    with server("max_connections=20", "superuser_reserved_connections=3", "reserved_connections=2", "max_wal_senders=0", "wal_level=minimal") as running:
        yield running.dsn


@pytest.fixture
def pools(small: str) -> Iterator[ExitStack]:
    """A test begins when the connections of the last one are gone; that is asked by a name that is ours, and so not counted."""
    with psycopg.connect(small, autocommit=True, application_name="w") as admin:
        for attempt in Retrying(retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(10), wait=wait_fixed(0.02), reraise=True):
            with attempt:
                gc.collect()  # a connection that is given back while its pool closes is not closed by psycopg_pool, but by its end
                others = admin.execute("select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()").fetchone()
                assert others == (0,)
    with ExitStack() as stack:
        yield stack


def opened(pools: ExitStack, dsn: str, name: str, pool_max: int) -> Pool:
    return pools.enter_context(open_pool(Database(dsn=SecretStr(dsn), pool_max=pool_max), application_name=name))


def test_a_worker_that_fits_is_told_nothing(small: str, pools: ExitStack) -> None:
    assert check_connections([opened(pools, small, "w", 7), opened(pools, small, "w reading", 7)], besides=1) == []


def test_a_worker_that_could_never_fill_its_pools_is_refused_in_one_sentence(small: str, pools: ExitStack) -> None:
    both = [opened(pools, small, "w", 7), opened(pools, small, "w reading", 8)]
    with pytest.raises(BadSettings) as caught:
        check_connections(both, besides=1)
    says = (
        r"allows 15 connections (20 less 5 reserved) and this worker opens up to 16: lower database.pool_max, or raise max_connections there (to 21 at least)"
    )
    assert str(caught.value).endswith(says)
    assert str(caught.value).startswith("PostgreSQL at ")
    assert check_connections(both, besides=0) == []


def test_those_who_are_there_are_counted_and_ours_are_not(small: str, pools: ExitStack) -> None:
    both = [opened(pools, small, "w", 6), opened(pools, small, "w" * 80, 6)]
    for number in range(4):
        assert len(check_connections(both, besides=1)) == (number > 2), number
        pools.enter_context(psycopg.connect(small))
    (sentence,) = check_connections(both, besides=1)
    assert "allows 15 connections (20 less 5 reserved), others have 4 of them open now, and this worker opens up to 13: lower database.pool_max, " in sentence


def test_each_server_has_room_of_its_own(small: str, postgres_server: str, pools: ExitStack) -> None:
    here, there = opened(pools, small, "w", 14), opened(pools, postgres_server, "w reading", 14)
    assert check_connections([here, there], besides=1) == []
    with pytest.raises(BadSettings, match="opens up to 16"):
        check_connections([here, there], besides=2)
    with pytest.raises(BadSettings, match="opens up to 28"):
        check_connections([here, opened(pools, small, "w reading", 14)], besides=0)


def test_one_server_by_two_addresses_is_one(small: str, pools: ExitStack) -> None:
    other = psycopg.conninfo.make_conninfo(small, options="-c timezone=Asia/Tokyo", dbname="template1")
    with pytest.raises(BadSettings, match="opens up to 16"):
        check_connections([opened(pools, small, "w", 8), opened(pools, other, "w reading", 8)], besides=0)


def test_who_may_see_little_sees_enough(small: str, pools: ExitStack) -> None:
    with psycopg.connect(small, autocommit=True, application_name="w") as admin:
        admin.execute("create role modest login")
    modest = psycopg.conninfo.make_conninfo(small, user="modest")
    both = [opened(pools, modest, "w", 6), opened(pools, modest, "w reading", 6)]
    for _ in range(4):
        pools.enter_context(psycopg.connect(small))
    (sentence,) = check_connections(both, besides=1)
    assert "others have 4 of them open now" in sentence
