"""Who the daemon is in the database: a role of its own that owns everything, and that comes with a token in place of a password."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from earmark import aws, postgres
from earmark.aws import database_token
from earmark.cli import main
from earmark.errors import BadSettings
from earmark.settings import Database
from postgres_servers import server

HOST = "music.cluster-abc.eu-west-1.rds.amazonaws.com"
OF_EARMARK = "select relname, relowner::regrole::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'S', 'i')"


@pytest.fixture(scope="module")
def admin() -> Iterator[str]:
    """As RDS's: who owns the cluster is no superuser, but may make roles and owns the database."""
    with server() as running:
        with psycopg.connect(running.dsn, autocommit=True) as connection:
            connection.execute("create role boss login createrole")
            connection.execute("create role rds_iam")
            connection.execute("grant rds_iam to boss with admin option")
            connection.execute("create database music owner boss")
        yield make_conninfo(running.dsn, user="boss", dbname="music")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    aws._session.cache_clear()
    yield
    aws._session.cache_clear()


def test_everything_belongs_to_the_daemons_role_and_again_changes_nothing(admin: str) -> None:
    assert len(postgres.migrate(admin, owner="earmark")) == len(postgres.shipped())
    assert postgres.migrate(admin, owner="earmark") == []
    with psycopg.connect(make_conninfo(admin, user="earmark")) as connection:
        assert {owner for _, owner in connection.execute(OF_EARMARK)} == {"earmark"}
        granted = connection.execute("select pg_has_role('earmark', 'rds_iam', 'member')").fetchone()
    assert granted == (True,)
    with postgres.open_pool(Database(dsn=SecretStr(make_conninfo(admin, user="earmark")))) as pool:
        postgres.check(pool)


def test_the_command_takes_the_role_and_says_what_it_did(admin: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", admin)
    assert main(["db", "migrate", "--owner", "earmark"]) == 0
    assert re.search(r"applied 0001_catalogue|nothing to do", capsys.readouterr().out)


def test_the_desks_own_database_has_no_owner_to_be_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("EARMARK_DATABASE__DSN", raising=False)
    assert main(["db", "migrate", "--owner", "earmark"]) == 2
    assert "--owner is for a database that others reach" in capsys.readouterr().err


def test_a_role_that_may_make_none_is_told_so(admin: str) -> None:
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("create role nobody_special login")
    with pytest.raises(BadSettings, match="permission denied"):
        postgres.migrate(make_conninfo(admin, user="nobody_special"), owner="somebody_else")


@pytest.mark.usefixtures("key")
def test_the_token_is_the_one_that_boto3_makes() -> None:
    theirs = boto3.Session().client("rds", region_name="eu-west-1").generate_db_auth_token(DBHostname=HOST, Port=5432, DBUsername="earmark")
    ours = database_token({"host": HOST, "user": "earmark"})
    at_its_time = {"X-Amz-Date", "X-Amz-Signature"}

    def taken(token: str) -> tuple[str, dict[str, list[str]]]:
        parts = urlsplit(f"https://{token}")
        return parts.netloc + parts.path, {name: values for name, values in parse_qs(parts.query).items() if name not in at_its_time}

    assert taken(ours) == taken(theirs)
    assert set(parse_qs(urlsplit(ours).query)) >= at_its_time


@pytest.mark.usefixtures("key")
def test_each_connection_comes_with_a_token_of_its_own(admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Mapping[str, Any]] = []

    def token(connection: Mapping[str, Any]) -> str:
        made.append(connection)
        return f"token-{len(made)}"

    monkeypatch.setattr(aws, "database_token", token)
    monkeypatch.setenv("PGUSER", "boss")
    dsn = make_conninfo("", **{name: value for name, value in psycopg.conninfo.conninfo_to_dict(admin).items() if name != "user"})
    with postgres.open_pool(Database(dsn=SecretStr(dsn), iam=True, pool_max=3)) as pool, pool.connection() as one, pool.connection() as two:
        assert one.info.password != two.info.password
        assert {one.info.password, two.info.password} <= {f"token-{n + 1}" for n in range(len(made))}
    assert {connection["dbname"] for connection in made} == {"music"}


def test_without_a_host_or_a_user_there_is_nothing_to_sign_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGUSER"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadSettings, match="database.iam needs one host and a user"):
        postgres.open_pool(Database(dsn=SecretStr("dbname=music"), iam=True))


@pytest.mark.usefixtures("key")
def test_without_a_region_or_credentials_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    with pytest.raises(BadSettings, match="needs an AWS region: set AWS_REGION"):
        database_token({"host": HOST, "user": "earmark"})
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    aws._session.cache_clear()
    with pytest.raises(BadSettings, match="needs AWS credentials and there are none"):
        database_token({"host": HOST, "user": "earmark"})
