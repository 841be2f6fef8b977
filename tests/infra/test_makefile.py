"""The doors on a machine that lacks something: one sentence that says what, and nothing half done."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed on this machine")

#: Stands for an interpreter: runs what it is asked by a real one, in which the version or a module has been changed.
STAND_IN = """#!/bin/sh
if [ "$1" = -V ]; then echo Python {shown}; exit; fi
if [ "$1" = -c ]; then shift; code=$1; shift
  exec {real} -c 'import sys; sys.version_info = {version} + ("final", 0); {before}
exec(sys.argv.pop(1))' "$code" "$@"; fi
exec {real} "$@"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with our Makefile in it, and a PATH of its own."""
    folder = tmp_path / "check out"
    (folder / "bin").mkdir(parents=True)
    (folder / "requirements").mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("requirements/dev.lock", "pyproject.toml"):
        (folder / name).touch()
        os.utime(folder / name, ns=(0, 0))
    for tool in ("sh", "cat", "echo", "mkdir", "rm", "touch", "find", "test"):
        path = shutil.which(tool)
        assert path
        (folder / "bin" / tool).symlink_to(path)
    return folder


def interpreter(checkout: Path, name: str, *, version: tuple[int, int, int], before: str = "pass") -> None:
    path = checkout / "bin" / name
    path.write_text(STAND_IN.format(real=sys.executable, shown=".".join(map(str, version)), version=version, before=before), encoding="utf-8")
    path.chmod(0o755)


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout)}
    assert MAKE
    return subprocess.run([MAKE, *arguments], cwd=checkout, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_without_a_goal_it_says_which_doors_there_are(checkout: Path):
    done = make(checkout)
    assert done.returncode == 0
    assert [door for door in ("make demo", "make test", "make bench", "make clean") if door not in done.stdout] == []
    assert not (checkout / ".venv").exists()


def test_no_python_at_all_is_one_sentence(checkout: Path):
    done = make(checkout, "demo")
    assert done.returncode != 0
    assert "Earmark needs Python 3.11 to 3.14; 'python3' is not there" in done.stderr
    assert "PYTHON=python3.12 demo" in done.stderr


def test_an_old_python_is_named_with_its_version(checkout: Path):
    interpreter(checkout, "python3", version=(3, 9, 2))
    done = make(checkout, "test")
    assert done.returncode != 0
    assert "'python3' is Python 3.9.2" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_python_that_was_asked_for_is_not_replaced_by_another(checkout: Path):
    interpreter(checkout, "python3", version=(3, 12, 0))
    interpreter(checkout, "python3.10", version=(3, 10, 1))
    done = make(checkout, "demo", "PYTHON=python3.10")
    assert done.returncode != 0
    assert "'python3.10' is Python 3.10.1" in done.stderr


def test_an_old_python3_is_passed_over_for_a_newer_one(checkout: Path):
    """It gets as far as the lock, which is not there."""
    interpreter(checkout, "python3", version=(3, 9, 2))
    interpreter(checkout, "python3.12", version=(3, 12, 1), before='sys.modules["ensurepip"] = None')
    done = make(checkout, "demo")
    assert "make: python3.12 cannot make virtual environments" in done.stderr


def test_a_python_without_its_venv_module_says_what_to_install(checkout: Path):
    interpreter(checkout, "python3", version=(3, 11, 2), before='sys.modules["ensurepip"] = None')
    done = make(checkout, "demo")
    assert done.returncode != 0
    assert "apt-get install python3.11-venv" in done.stderr
    assert not (checkout / ".venv").exists()


def test_what_is_up_to_date_is_not_done_again(checkout: Path):
    """With every stamp in place nothing is installed: pip here would fail, since there is none."""
    folder = checkout / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name in ("python", "earmark"):
        (folder / name).write_text(f'#!/bin/sh\nif [ "$1" = -V ]; then echo Python 3.11.2; else echo {name} was called with "$@"; fi\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    (checkout / ".venv" / ".python").write_text(f"{checkout} Python 3.11.2\n", encoding="utf-8")
    for order, name in enumerate((".python", ".packages", ".earmark"), 1):
        (checkout / ".venv" / name).touch()
        os.utime(checkout / ".venv" / name, ns=(order * 10**9,) * 2)
    done = make(checkout, "demo", "MUSIC=/some where/else", "KEEP=1", "KILL=1", "ARGS=--json")
    assert done.stdout == "earmark was called with demo --music /some where/else --keep --kill --json\n", done.stderr
    assert done.stderr == ""


def test_clean_leaves_what_is_ours(checkout: Path):
    for name in (".venv", "build", "daemon/earmark/__pycache__", "tests", "infra/cdk/cdk.out"):
        (checkout / name).mkdir(parents=True)
    done = make(checkout, "clean")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in checkout.iterdir()) == ["Makefile", "bin", "daemon", "infra", "pyproject.toml", "requirements", "tests"]
    assert not (checkout / "daemon" / "earmark" / "__pycache__").exists()
