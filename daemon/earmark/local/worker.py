"""The daemon as a process of its own, as it runs in production: `python -m earmark.cli run`, told everything by its environment."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import urllib3

from earmark.errors import EarmarkError

READY_S = 30.0
#: After SIGTERM; sessions hand over within a segment.
STOP_S = 30.0


class WorkerFailed(EarmarkError):
    """The daemon's process ended, or never became ready."""


class Worker:
    """Starts with the context, is stopped with it; may be killed and started again in between."""

    def __init__(self, *, environment: Mapping[str, str], log: Path, roles: str = "streams") -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EARMARK_"))}
        self._port = _free_port()
        metrics = {"EARMARK_METRICS__HOST": "127.0.0.1", "EARMARK_METRICS__PORT": str(self._port)}
        self._environment = {**kept, **environment, **metrics}
        self._log = log
        self._roles = roles
        self._http = urllib3.PoolManager(retries=False, timeout=5)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        self._http.clear()

    @property
    def pid(self) -> int:
        """Of the process; 0 when there is none."""
        return self._process.pid if self._process else 0

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/metrics"

    @staticmethod
    def launch(roles: str) -> list[str]:
        """The command; rehearsals put a container's in its place."""
        return [sys.executable, "-m", "earmark.cli", "run", "--role", roles]

    def start(self) -> None:
        """Returns once the daemon says that it is ready."""
        with self._log.open("ab") as log:
            # A session of its own: the terminal's Ctrl-C is for us, and we stop it in our own order.
            command = self.launch(self._roles)
            self._process = subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + READY_S
        while not self._ready():
            self.check()
            if time.monotonic() > deadline:
                raise WorkerFailed(f"the daemon is not ready after {READY_S:.0f} s: {self._last_words()}")
            time.sleep(0.1)

    def check(self) -> None:
        """Raises WorkerFailed when the process has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise WorkerFailed(f"the daemon ended with exit code {self._process.returncode}: {self._last_words()}")

    def kill(self) -> None:
        """SIGKILL: no hand-over, no good-bye."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_S)
            except BaseException as error:  # a second Ctrl-C, too, must not leave it behind
                self.kill()
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
        self._process = None

    def metrics(self) -> str:
        """What Prometheus would scrape."""
        return self._http.request("GET", self.metrics_url).data.decode()

    def _ready(self) -> bool:
        try:
            return self._http.request("GET", self.metrics_url.replace("/metrics", "/readyz")).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return f"{lines[-1] if lines else 'it said nothing'} (all of it: {self._log})"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
