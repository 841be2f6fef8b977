"""The demo from outside, as `make demo` runs it: what it does to its processes, and what it refuses. (What it shows, test_first_hour.py looks at.)"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

COMMAND = [sys.executable, "-m", "earmark.cli", "demo"]


@pytest.fixture
def temporary() -> Iterator[Path]:
    # Not below tmp_path: as root PostgreSQL runs as somebody who may not enter that.
    folder = Path(tempfile.mkdtemp(prefix="earmark-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """A shell has SIGINT ignored by what it runs in the background, and so by all of its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, temporary: Path, number: signal.Signals) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([*COMMAND, "--out", str(tmp_path)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if "Stream Start of" in line:
                break
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(started) >= 3  # PostgreSQL, the AWS stand-in, the daemon
        process.send_signal(number)
        said, complained = process.communicate(timeout=60)
    assert process.returncode == 130, said + complained
    assert "Traceback" not in complained
    _gone, alive = psutil.wait_procs(started, timeout=10)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    assert list(temporary.iterdir()) == []


def test_a_folder_without_music_is_a_wrong_invocation(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "--music", str(tmp_path), "--out", str(tmp_path / "out")], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "holds no recording" in done.stderr
