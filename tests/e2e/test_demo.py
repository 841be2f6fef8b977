"""The demo from outside, as `make demo` runs it: processes, files and exit code. In real time: these are the slowest tests there are."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import av
import psutil
import pytest

COMMAND = [sys.executable, "-m", "earmark.cli", "demo"]
#: Set-up, a stream of 79 s, its closing, and a machine that is busy with other tests.
LIMIT_S = 300


@pytest.fixture
def temporary() -> Iterator[Path]:
    # Not below tmp_path: as root PostgreSQL runs as somebody who may not enter that.
    folder = Path(tempfile.mkdtemp(prefix="earmark-e2e-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_each_play_is_on_record_once_though_the_daemon_is_killed_half_way(tmp_path: Path, temporary: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run([*COMMAND, "--kill", "--out", str(tmp_path)], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout
    assert "was killed (SIGKILL)" in done.stdout

    hits = [json.loads(path.read_text()) for path in tmp_path.glob("s3/*/hits/*.json")]
    assert len(hits) == 3
    assert len({hit["hit_id"] for hit in hits}) == 3
    assert {hit["state"] for hit in hits} == {"closed"}
    (summary,) = [json.loads(path.read_text()) for path in tmp_path.glob("s3/*/stream.json")]
    assert summary["state"] == "ended"
    assert summary["coverage"]["unaccounted_s"] == 0
    (report,) = tmp_path.glob("s3/*/report.html")
    assert all(hit["track"]["title"] in report.read_text() for hit in hits)
    with av.open(str(tmp_path / "stream.m4a")) as container:
        assert container.duration / 1e6 == pytest.approx(79, abs=1)
    assert (tmp_path / "mails.txt").read_text().count("To: ") == 3
    assert list(temporary.iterdir()) == []


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
