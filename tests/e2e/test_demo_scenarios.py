"""The demo's other ways in, as `make demo SCENARIO=…` runs them: processes, buckets and exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "earmark.cli", "demo"]
LIMIT_S = 300


@pytest.mark.parametrize(
    "scenario, left",
    [
        ("archive", "*/report.html"),
        ("files", "check/evening.m4a.earmark.html"),
        ("catalogue", "catalogue/_rejected/notes.mp3.json"),
    ],
)
def test_what_comes_in_another_way_is_on_record_as_it_was(tmp_path: Path, scenario: str, left: str) -> None:
    done = subprocess.run([*COMMAND, "--scenario", scenario, "--out", str(tmp_path)], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout
    assert done.stdout.count("; heard ") == 3
    assert len(list(tmp_path.glob(f"s3/{left}"))) == 1
    said = [json.loads(line) for line in (tmp_path / "daemon.log").read_text().splitlines()]
    assert [line["event"] for line in said if line["level"] == "error"] == []


@pytest.mark.parametrize("option", ["--keep", "--kill", "--music=."])
def test_what_belongs_to_the_live_demo_is_refused_in_a_sentence(tmp_path: Path, option: str) -> None:
    done = subprocess.run([*COMMAND, "--scenario", "files", option, "--out", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "earmark: --keep, --kill and --music belong to the scenario live, not to files\n"
