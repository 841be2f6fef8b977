"""Crash points: each is where its name says, a process that comes by dies there at once, and one that is not armed does not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from faults.crash_points import POINTS, VARIABLE, Plan, Point, _owner_of, wrap
from faults.launching import TESTS

#: A process with a daemon's function in it that is called three times.
SCRIPT = """
from unittest import mock
import os
from faults.crash_points import VARIABLE, Plan, arm
arm(Plan.from_json(os.environ[VARIABLE]))
from earmark.hits.outbox import Publisher
publisher = mock.Mock()
for number in range(3):
    Publisher.nudge(mock.MagicMock())
    print(number, flush=True)
"""


@pytest.mark.parametrize("name", POINTS)
def test_each_point_is_a_function_of_the_daemon(name: str) -> None:
    owner, function = _owner_of(POINTS[name].of)
    assert callable(getattr(owner, function))


def run(plan: Plan) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(TESTS), VARIABLE: plan.to_json()}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_the_nth_arrival_dies_and_says_where(tmp_path: Path) -> None:
    crashes = tmp_path / "crashes"
    done = run(Plan(worker="w1", crashes=str(crashes), points=("committed plays, publisher not told",), calls=2))
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "0\n")
    said = json.loads(crashes.read_text())
    assert (said["point"], said["worker"]) == ("committed plays, publisher not told", "w1")


def test_where_a_process_of_a_daemon_dies_the_daemon_dies_too(tmp_path: Path) -> None:
    plan = Plan(worker="w1", crashes=str(tmp_path / "crashes"), points=("committed plays, publisher not told",))
    environment = {**os.environ, "PYTHONPATH": str(TESTS), VARIABLE: plan.to_json()}
    script = SCRIPT.replace("os.environ[VARIABLE]))", "os.environ[VARIABLE]), group=True)")
    daemon = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {script!r}]); print('alive')"
    done = subprocess.run([sys.executable, "-c", daemon], env=environment, capture_output=True, text=True, timeout=60, check=False, start_new_session=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


@pytest.mark.parametrize("plan", [{"points": ("renewed",)}, {"points": ("committed plays, publisher not told",), "not_before": 4e9}, {}])
def test_who_comes_by_no_armed_point_lives(tmp_path: Path, plan: dict[str, object]) -> None:
    crashes = tmp_path / "crashes"
    done = run(Plan(worker="w1", crashes=str(crashes), **plan))
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n1\n2\n", "")
    assert crashes.read_text() == ""


class _Thing:
    def give(self, what: list[int]) -> list[int]:
        return what


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_point_counts_the_calls_that_are_meant(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    monkeypatch.setattr(_Thing, "give", _Thing.give)
    reached: list[int] = []
    wrap(Point(of=f"{__name__}:_Thing.give", when=when, counts=lambda arguments, _: bool(arguments[-1])), lambda: reached.append(1))
    assert _Thing().give([]) == []
    assert _Thing().give([1]) == [1]
    assert reached == [1]


def test_a_name_that_is_gone_is_missed() -> None:
    with pytest.raises(AttributeError):
        wrap(Point(of="earmark.hits.outbox:Publisher.no_more", when="before"), lambda: None)
