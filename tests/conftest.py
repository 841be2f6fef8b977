"""What tests share: a real PostgreSQL, an AWS stand-in, and an environment in which nothing of the machine's own shows.

    postgres_server   DSN of a running server of this test process's own, without any of our tables
    dsn               DSN of a fresh, migrated database; gone after the test
    pool              connections to it
    aws               the AWS stand-in: .endpoint_url, .client("s3"), .deploy(), IVS channels, events and mails; empty for each test
    origin            an HTTP origin on loopback, without any routes
    skip_unless       skip_unless("promtool") -> its path, or the test is skipped with one sentence

With CI=true a skip is a failure: what was not run was not tested.
"""

import itertools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from audio_origin import Origin
from control_rows import pool_of
from earmark.local.aws import AwsStandIn
from earmark.local.database import create_database, database_dsn, drop_database, temporary_server
from earmark.postgres import Pool, migrate

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("earmark", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "earmark")
TEMPLATE = "template_earmark"
_serial = itertools.count(1)
#: tmpfs, on Linux; a container often has 64 MB of it, which is too little for a server.
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES_MIN = 6_000_000_000


#: Files that wait are all begun before so much of the rest is left: the last to end are short ones.
_WAITING_BY = 0.85


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that wait for streams come among those that compute: several at a time then keep every core busy to the end."""
    files = [list(tests) for _, tests in itertools.groupby(items, key=lambda item: item.path)]
    waiting = [tests for tests in files if "e2e" in tests[0].path.parts]
    computing = [tests for tests in files if "e2e" not in tests[0].path.parts]
    places = [_WAITING_BY * n / len(waiting) for n in range(len(waiting))] + [n / len(computing) for n in range(len(computing))]
    order = sorted(zip(places, [*waiting, *computing], strict=True), key=lambda placed: placed[0])
    items[:] = [test for _, tests in order for test in tests]


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """Nobody's settings, profiles or credentials reach a test; calls to the real AWS would be refused."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("EARMARK_", "AWS_", "PG"))]:
            patch.delenv(name)
        for name, value in {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(autouse=True)
def _logs() -> Iterator[None]:
    """A command that a test runs in this process sets logging up for its own stderr, which is closed with the test."""
    handlers = logging.root.handlers[:]
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    logging.root.handlers[:] = handlers


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """DSN of the `postgres` database of a server of this process's own (with pytest-xdist: one per worker).

    It lies in memory where there is room: a database for each test costs 0.02 CPU seconds there, and 0.3 on a disk.
    """
    with temporary_server(_MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES_MIN else None) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def _template(postgres_server: str) -> str:
    migrate(create_database(postgres_server, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def dsn(postgres_server: str, _template: str) -> Iterator[str]:
    name = f"test_{next(_serial)}"
    create_database(postgres_server, name, template=_template)
    yield database_dsn(postgres_server, name)
    drop_database(postgres_server, name)


@pytest.fixture
def pool(dsn: str) -> Iterator[Pool]:
    with pool_of(dsn) as opened:
        yield opened


@pytest.fixture(scope="session")
def aws() -> Iterator[AwsStandIn]:
    with AwsStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin().running() as running:
        yield running


@pytest.fixture(autouse=True)
def _empty_aws(request: pytest.FixtureRequest) -> None:
    if "aws" in request.fixturenames:
        request.getfixturevalue("aws").reset()


@pytest.fixture(scope="session")
def skip_unless() -> Callable[[str], str]:
    """`skip_unless(tool)` gives the path of a program of the system, or skips the test."""

    def find(tool: str) -> str:
        path = shutil.which(tool)
        if path is None:
            pytest.skip(f"{tool} is not installed on this machine")
        return path

    return find


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield
    if report.skipped and _in_ci() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI=true does not allow: {report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report: pytest.CollectReport = yield
    if report.skipped and _in_ci():
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} skipped as a whole, which CI=true does not allow: {report.longrepr}"
    return report
