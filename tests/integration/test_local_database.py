"""The embedded PostgreSQL: starts, is shared, outlives what kills it and leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from earmark.errors import BadSettings, DatabaseUnavailable
from earmark.local import database
from earmark.local.database import EmbeddedServer, create_database, desk_folder, drop_database, ensure_database, temporary_server


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not below tmp_path: as root that is a folder which the server's user may not enter.
    folder = Path(tempfile.mkdtemp(prefix="earmark-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _postmaster(folder: Path) -> int:
    return int((folder / "data" / "postmaster.pid").read_text().partition("\n")[0])


def _answers(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn):
            return True
    except psycopg.OperationalError:
        return False


def test_what_is_written_outlives_the_server(folder: Path) -> None:
    with EmbeddedServer(folder=folder) as dsn, psycopg.connect(dsn) as connection:
        connection.execute("create table kept as select 7 as number")
    assert not _answers(dsn)
    with EmbeddedServer(folder=folder) as dsn, psycopg.connect(dsn) as connection:
        assert connection.execute("select number from kept").fetchone() == (7,)


def test_the_last_one_out_stops_a_shared_server(folder: Path) -> None:
    first, second = EmbeddedServer(folder=folder), EmbeddedServer(folder=folder)
    dsn = first.start()
    assert second.start() == dsn
    first.stop()
    assert _answers(dsn)
    second.stop()
    assert not _answers(dsn)


def test_a_server_that_was_killed_is_started_again_though_its_pid_is_somebody_elses_now(folder: Path) -> None:
    server = EmbeddedServer(folder=folder)
    with psycopg.connect(server.start()) as connection:
        connection.execute("create table kept as select 7 as number")
    pid = _postmaster(folder)
    os.kill(pid, signal.SIGKILL)
    for name in ("data/postmaster.pid", ".s.PGSQL.5432.lock"):
        path = folder / name
        path.write_text(path.read_text().replace(str(pid), str(os.getpid()), 1))
    with EmbeddedServer(folder=folder) as dsn, psycopg.connect(dsn) as connection:
        assert connection.execute("select number from kept").fetchone() == (7,)
    server.stop()


def test_an_unfinished_initdb_is_not_taken_for_a_cluster(folder: Path) -> None:
    (folder / "unfinished").mkdir()
    (folder / "unfinished" / "PG_VERSION").write_text("18\n")
    with EmbeddedServer(folder=folder, temporary=True) as dsn:
        assert _answers(dsn)


def test_a_temporary_server_goes_with_its_process_even_when_that_is_killed() -> None:
    script = "from earmark.local.database import temporary_server\nwith temporary_server() as dsn:\n    print(dsn, flush=True)\n    input()\n"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        dsn = process.stdout.readline().strip()
        folder = Path(dsn.partition("host=")[2])
        connection = psycopg.connect(dsn)
        process.kill()
        with pytest.raises(psycopg.OperationalError):  # the keeper shuts the server down under us
            connection.execute("select pg_sleep(30)")
        connection.close()
    for _ in range(500):  # moments later the folder is gone too
        if not folder.exists():
            break
        time.sleep(0.02)
    assert not folder.exists()


def test_binaries_that_its_user_cannot_reach_are_copied_not_opened_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_reachable", lambda path: "site-packages" not in path.parts)
    with EmbeddedServer(folder=folder, temporary=True) as dsn:
        assert _answers(dsn)
        command = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(_postmaster(folder))], capture_output=True, text=True, check=True).stdout
    assert command.startswith(str(folder / "wheel"))


def test_a_temporary_server_leaves_no_folder_behind() -> None:
    with temporary_server() as dsn:
        folder = Path(dsn.partition("host=")[2])
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_databases_are_cloned_and_dropped_under_their_users(postgres_server: str) -> None:
    first = create_database(postgres_server, "pattern")
    with psycopg.connect(first) as connection:
        connection.execute("create table made as select 1")
    copy = create_database(postgres_server, "copy", template="pattern")
    connection = psycopg.connect(copy)
    assert connection.execute("select count(*) from made").fetchone() == (1,)
    drop_database(postgres_server, "copy")
    connection.close()
    drop_database(postgres_server, "pattern")
    assert not _answers(copy)


def test_a_database_is_made_once(postgres_server: str) -> None:
    with psycopg.connect(ensure_database(postgres_server, "desk")) as connection:
        connection.execute("create table kept as select 1")
    with psycopg.connect(ensure_database(postgres_server, "desk")) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1,)
    drop_database(postgres_server, "desk")


def test_a_migrated_database_is_fresh_for_each_test(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        assert connection.execute("select count(*) from stream").fetchone() == (0,)


def test_a_folder_too_deep_for_a_socket_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="too deep for a Unix socket"):
        EmbeddedServer(folder=tmp_path / ("x" * 100)).start()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with EmbeddedServer(folder=folder):
        pass
    (folder / "data" / "postgresql.conf").write_text("nonsense = 1\n")
    with pytest.raises(DatabaseUnavailable, match="nonsense"):
        EmbeddedServer(folder=folder).start()
    with pytest.raises(DatabaseUnavailable, match="nonsense"):
        EmbeddedServer(folder=folder, temporary=True).start()


def test_a_server_that_was_killed_need_not_be_stopped(folder: Path) -> None:
    with EmbeddedServer(folder=folder):
        os.kill(_postmaster(folder), signal.SIGKILL)


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(database.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(BadSettings, match=r"earmark\[desk\]"):
        EmbeddedServer(folder=folder).start()


def test_the_desk_keeps_its_data_where_users_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert desk_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/earmark")
    assert desk_folder({}) == Path.home() / ".local/share/earmark"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert desk_folder({}) == Path("/var/lib/earmark")
    assert desk_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/earmark")
