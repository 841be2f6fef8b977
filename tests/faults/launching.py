"""The process that starts daemons (`faults.launcher`), as its parent sees it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
_LIMIT_S = 60.0


class Launcher:
    """The process of `faults.launcher`."""

    def __init__(self, *, log: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "EARMARK_"))}
        # One thread for the numbers: a process of many could not be forked.
        threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        path = os.pathsep.join([str(Path(__file__).parent / "injected"), str(TESTS)])
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faults.launcher"],
            env={**kept, **threads, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self._ended: list[dict[str, Any]] = []
        self._started: dict[int, int] = {}
        self._condition = threading.Condition()
        self._number = 0
        self._reader = threading.Thread(target=self._read, name="launcher", daemon=True)
        self._reader.start()

    def start(self, environment: Mapping[str, str], log: Path) -> int:
        assert self._process.stdin is not None
        self._number += 1
        self._process.stdin.write(json.dumps({"number": self._number, "environment": environment, "log": str(log)}) + "\n")
        self._process.stdin.flush()
        with self._condition:
            there = self._condition.wait_for(lambda: self._number in self._started, _LIMIT_S)
            assert there, f"the launcher of workers does not answer: see {self._log.name}"
            return self._started.pop(self._number)

    def said(self) -> Sequence[dict[str, Any]]:
        with self._condition:
            ended, self._ended = self._ended, []
            return ended

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_LIMIT_S)
        self._reader.join(_LIMIT_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            with self._condition:
                if "started" in said:
                    self._started[said["started"]] = said["pid"]
                else:
                    self._ended.append(said)
                self._condition.notify_all()
