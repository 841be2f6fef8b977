"""The commands as a user types them: what they print, their exit codes, and one sentence for each wrong setting."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from earmark.cli import main
from earmark.local.aws import AwsStandIn, credentials
from earmark.local.database import create_database, database_dsn, drop_database

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def call(*argv: str, **environment: str) -> tuple[int, str, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        try:
            code = main(argv)
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def sentence(err: str) -> str:
    """The one line that a wrong invocation prints."""
    assert err.startswith("earmark: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("earmark: ").strip()


class TestWrongSettings:
    def test_an_unknown_key(self, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "earmark.toml"
        file.write_text('[results]\nbuckett = "x"\n')
        code, _, err = run("--config", str(file), "config", "check")
        assert code == 2
        assert sentence(err) == f"there is no setting results.buckett (set by {file}); known here: bucket, prefix, summary_every_s"

    def test_a_wrong_type(self, run: Run) -> None:
        code, _, err = run("config", "check", EARMARK_LEASES__TTL_S="soon")
        assert code == 2
        assert sentence(err).startswith("the setting leases.ttl_s (set by EARMARK_LEASES__TTL_S) is wrong: ")

    def test_a_settings_file_that_is_not_there(self, run: Run, tmp_path: Path) -> None:
        code, _, err = run("--config", str(tmp_path / "none.toml"), "config", "check")
        assert code == 2
        assert "cannot be read: No such file" in sentence(err)

    def test_the_daemon_without_a_dsn(self, run: Run) -> None:
        code, _, err = run("run")
        assert code == 2
        assert "set database.dsn in the settings file, or EARMARK_DATABASE__DSN" in sentence(err)

    def test_a_database_that_is_down(self, run: Run) -> None:
        code, _, err = run("db", "check", EARMARK_DATABASE__DSN="postgresql://earmark:secret@127.0.0.1:1/earmark")
        assert code == 1
        assert "127.0.0.1 port 1" in sentence(err)
        assert "secret" not in err

    def test_a_database_with_a_newer_schema(self, run: Run, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("insert into schema_migration (number, name, checksum, oldest_daemon) values (9000, 'later', 'x', 9000)")
        code, _, err = run("db", "check", EARMARK_DATABASE__DSN=dsn)
        assert code == 2
        assert "too new" in sentence(err)
        assert "upgrade Earmark" in err

    def test_a_database_that_was_never_migrated(self, run: Run, postgres_server: str) -> None:
        code, _, err = run("run", EARMARK_DATABASE__DSN=postgres_server)
        assert code == 2
        assert "is empty: run `earmark db migrate`" in sentence(err)


def daemon(**environment: str) -> subprocess.CompletedProcess[str]:
    """`earmark run` in a process of its own, because its signal handlers and its logging are the process's."""
    kept = {"PATH": "/usr/bin:/bin", "EARMARK_METRICS__PORT": "0", "EARMARK_AWS__ATTEMPTS_MAX": "1"}
    return subprocess.run([sys.executable, "-m", "earmark.cli", "run"], env={**kept, **environment}, capture_output=True, text=True, timeout=60, check=False)


def test_a_daemon_without_aws_credentials_says_so_and_ends(dsn: str, aws: AwsStandIn) -> None:
    endpoint = {name: value for name, value in credentials(aws.endpoint_url).items() if "KEY" not in name}
    done = daemon(**endpoint, EARMARK_DATABASE__DSN=dsn, EARMARK_QUEUE__URL=f"{aws.endpoint_url}/123456789012/earmark-streams")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "credentials" in sentence(done.stderr.splitlines()[-1] + "\n")


def test_a_daemon_without_a_region_says_so_and_ends(dsn: str) -> None:
    done = daemon(EARMARK_DATABASE__DSN=dsn, EARMARK_QUEUE__URL="https://sqs.us-east-1.amazonaws.com/1/q", AWS_EC2_METADATA_DISABLED="true")
    assert done.returncode == 2
    assert "set aws.region, or AWS_REGION" in sentence(done.stderr.splitlines()[-1] + "\n")


class TestRightInvocations:
    def test_config_show_tells_where_a_value_comes_from(self, run: Run, tmp_path: Path) -> None:
        file = tmp_path / "earmark.toml"
        file.write_text('[results]\nbucket = "hits"\n')
        code, out, _ = run("config", "show", EARMARK_CONFIG=str(file), EARMARK_LOG__LEVEL="debug")
        assert code == 0
        assert f'bucket = "hits"  # {file}' in out
        assert 'level = "debug"  # EARMARK_LOG__LEVEL' in out
        assert "ttl_s = 30.0  # default" in out

    def test_secrets_are_not_shown(self, run: Run) -> None:
        _, out, _ = run("config", "show", EARMARK_DATABASE__DSN="postgresql://earmark:secret@db/earmark")
        assert "secret" not in out

    def test_the_records_of_an_empty_database(self, run: Run, dsn: str) -> None:
        assert run("db", "migrate", EARMARK_DATABASE__DSN=dsn)[:2] == (0, "nothing to do: the schema is up to date\n")
        assert run("db", "check")[0] == 0
        assert "recordings    0" in run("db", "status")[1]
        assert run("streams", "list")[1] == "no streams now: --all shows those that have ended\n"
        assert run("outbox", "list")[1] == "nothing waits to leave, and nothing was given up\n"
        assert run("outbox", "retry")[1] == "0 rows will be tried again\n"
        code, _, err = run("report", "st-none")
        assert code == 1
        assert "'st-none' is not in the database" in sentence(err)

    def test_looking_at_an_empty_database_leaves_it_empty(self, run: Run, postgres_server: str) -> None:
        create_database(postgres_server, "looked_at")
        empty = database_dsn(postgres_server, "looked_at")
        for command in ("status", "check"):
            code, _, err = run("db", command, EARMARK_DATABASE__DSN=empty)
            assert code != 0
            assert "is empty: run `earmark db migrate`" in sentence(err)
        with psycopg.connect(empty) as connection:
            assert connection.execute("select count(*) from pg_tables where schemaname = 'public'").fetchone() == (0,)
        drop_database(postgres_server, "looked_at")

    def test_a_stream_on_record(self, run: Run, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("insert into stream (stream_id, source, wanted_at, last_error) values ('st-1', 'ivs', now(), 'no luck')")
        code, out, _ = run("streams", "list", "--json", EARMARK_DATABASE__DSN=dsn)
        assert code == 0
        assert json.loads(out)["last_error"] == "no luck"
        assert "st-1  wanted" in run("streams", "list")[1]
        for layout in ("text", "json", "csv", "html"):
            assert run("report", "st-1", "--format", layout)[0] == 0

    def test_a_quarantined_stream_is_released(self, run: Run, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                """insert into stream (stream_id, source, wanted_at, state, last_error, checkpoint)
                   values ('st-1', 'ivs', now(), 'quarantined', 'it died', '{"position_s": "far"}')"""
            )
        assert "st-1  quarantined  nothing heard yet  it died" in run("streams", "list", EARMARK_DATABASE__DSN=dsn)[1]
        assert run("streams", "release", "st-1")[:2] == (0, "st-1 is no longer in quarantine\n")
        assert "st-1  wanted" in run("streams", "list")[1]
        code, _, err = run("streams", "release", "st-1")
        assert code == 1
        assert sentence(err) == "the stream 'st-1' is not in quarantine: `earmark streams list` shows those that are"

    def test_what_has_to_leave_is_listed(self, run: Run, dsn: str) -> None:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(
                """insert into outbox (stream_id, target, key, revision, body, attempts, last_error, dead_at)
                   values ('st-1', 's3', 'st-1/stream.json', 1, '{}', 3, 'slow down', null), ('st-1', 'sns', 'hit', 1, '{}', 9, 'denied', now())"""
            )
        lines = run("outbox", "list", EARMARK_DATABASE__DSN=dsn)[1].splitlines()
        assert lines == ["1  waits     s3  st-1/stream.json  3 attempts  slow down", "2  given up  sns  hit  9 attempts  denied"]
        assert run("outbox", "retry")[1] == "1 rows will be tried again\n"
