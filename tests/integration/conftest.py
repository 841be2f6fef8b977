"""What tests of a bucket that is a catalogue share.

apart    the child process that fingerprints; counts from none in each test that has a shelf
encoder  the child process that encodes
shelf    the bucket, and one job that takes up what is due when it is told to
"""

from collections.abc import Iterator
from contextlib import closing

import pytest

from earmark.local.aws import AwsStandIn
from earmark.postgres import Pool
from stocked_bucket import Shelf, WatchedApart, WatchedEncoder, shelf_of


@pytest.fixture(scope="session")
def apart() -> Iterator[WatchedApart]:
    with closing(WatchedApart()) as made:
        yield made


@pytest.fixture(scope="session")
def encoder() -> Iterator[WatchedEncoder]:
    with closing(WatchedEncoder()) as made:
        yield made


@pytest.fixture
def shelf(aws: AwsStandIn, pool: Pool, apart: WatchedApart) -> Iterator[Shelf]:
    apart.fingerprinted = 0
    with shelf_of(aws, pool, apart) as made:
        yield made
