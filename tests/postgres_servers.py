"""PostgreSQL servers of a test's own: that can be crashed, and that follow another one as its standby.

They wait for no disk (`fsync=off`), since what is killed here are processes: what a process has written, the operating
system keeps. A commit waits for its WAL to be written all the same: what was acknowledged must be there after a crash.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from earmark.local.database import START_S, EmbeddedServer, _popen

#: A small server that starts quickly; vacuum is the tests' own, so that it comes when they expect it.
SETTINGS = (
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=16MB",
    "max_connections=40",
    "autovacuum=off",
    "wal_level=replica",
    "max_wal_senders=4",
    "wal_retrieve_retry_interval=100ms",
)
#: Stops the server once its own standard input ends, which it does when the test process is killed, too.
_KEEPER = """
exec 3<&0; folder=$1; shift
"$@" >>"$folder/log" 2>&1 3<&- & server=$!
{ cat <&3; kill -INT $server 2>/dev/null; } >/dev/null & asked=$!
wait $server; kill $asked 2>/dev/null
"""
_LIMIT_S = 30


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what other processes do, which nobody can be told of."""
    deadline, pause = time.monotonic() + _LIMIT_S, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, f"waited {_LIMIT_S} s for {what}"
        pause.wait(0.003)


class Server(EmbeddedServer):
    """A server in a folder of its own that keeps its data when it is stopped or crashes."""

    def __init__(self, *, folder: Path, settings: Sequence[str] = ()) -> None:
        super().__init__(folder=folder, temporary=True)
        self._settings = (*SETTINGS, *settings)

    @property
    def data(self) -> Path:
        return self._data

    def crash(self) -> None:
        """Kill the server and all of its processes, as a machine would that goes down; `start` recovers."""
        assert self._keeper is not None
        assert self._in_use is not None
        postmaster = int((self._data / "postmaster.pid").read_text().partition("\n")[0])
        os.kill(postmaster, signal.SIGSTOP)  # so that it has no more children meanwhile
        pids = [postmaster, *_children(postmaster)]
        for pid in pids:
            with suppress(ProcessLookupError):  # it ended by itself just now
                os.kill(pid, signal.SIGKILL)
        until(lambda: not any(pid in pids and not state.startswith("Z") for pid, _, state in _processes()), "a killed server's processes to be gone")
        self._keeper.communicate(timeout=_LIMIT_S)
        self._in_use.close()
        self._keeper = self._in_use = None

    def _launch_kept(self, options: Sequence[str]) -> None:
        words = [word for option in (*options, *self._settings) for word in ("-c", option)]
        server = [str(self._bin / "postgres"), "-D", str(self._data), *words]
        self._keeper = _popen(["sh", "-c", _KEEPER, "keeper", str(self._folder), *server], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        deadline, pause = time.monotonic() + START_S, threading.Event()
        while not self._answers():
            if self._keeper.poll() is not None or time.monotonic() > deadline:
                raise self._failure("postgres", "")
            pause.wait(0.01)

    def run(self, program: str, *arguments: str) -> None:
        """One of the programs that come with the server, as its user."""
        self._run(program, *arguments)


class Standby(Server):
    """A streaming standby of another server; made from it when it is first started."""

    def __init__(self, *, folder: Path, primary: Server, settings: Sequence[str] = ()) -> None:
        super().__init__(folder=folder, settings=settings)
        self._primary = primary

    def _initialise(self) -> None:
        if not (self._data / "PG_VERSION").exists():
            self._run("pg_basebackup", "-d", self._primary.dsn, "-D", str(self._data), "-R", "-X", "stream", "-c", "fast", "--no-sync")

    def pause(self) -> None:
        """From now on it lags."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute("select pg_wal_replay_pause()")
            until(lambda: connection.execute("select pg_get_wal_replay_pause_state()").fetchone() == ("paused",), "a standby to pause")

    def catch_up(self) -> None:
        """Replay again, as far as the primary is now."""
        with psycopg.connect(self.dsn, autocommit=True) as here, psycopg.connect(self._primary.dsn, autocommit=True) as there:
            here.execute("select pg_wal_replay_resume()")
            target = there.execute("select pg_current_wal_lsn()::text").fetchone()
            assert target is not None
            until(lambda: here.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", target).fetchone() == (True,), "a standby to catch up")


@contextmanager
def folder() -> Iterator[Path]:
    """For a server. Not below pytest's own: as root that is one which the server's user may not enter."""
    made = Path(tempfile.mkdtemp(prefix="earmark-test-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def server(*settings: str) -> Iterator[Server]:
    with folder() as made:
        running = Server(folder=made, settings=settings)
        try:
            running.start()
            yield running
        finally:
            running.stop()


@contextmanager
def standby(primary: Server, *settings: str) -> Iterator[Standby]:
    with folder() as made:
        running = Standby(folder=made, primary=primary, settings=settings)
        try:
            running.start()
            yield running
        finally:
            running.stop()


def _processes() -> Iterator[tuple[int, int, str]]:
    """pid, parent's pid, state."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        pid, parent, state = line.split()
        yield int(pid), int(parent), state


def _children(pid: int) -> list[int]:
    return [child for child, parent, _ in _processes() if parent == pid]
