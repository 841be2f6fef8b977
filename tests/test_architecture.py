"""The house rules that a machine can check. Who may import whom is in pyproject.toml, and checked by import-linter."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "daemon" / "earmark"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)

#: Lines of code: without blank lines, comments and docstrings, of which there can hardly be too many.
MODULE_LINES_MAX = 315
FUNCTION_LINES_MAX = 60
#: Names that say nothing about what is inside.
NOTHING_NAMES = {
    "base",
    "common",
    "core",
    "handler",
    "handlers",
    "helper",
    "helpers",
    "manager",
    "managers",
    "misc",
    "shared",
    "tools",
    "types",
    "util",
    "utils",
}
#: What does no IO and does not know the time, as design has it; import-linter holds each of them to it.
PURE = {
    "earmark.audio.polyphase",
    "earmark.audio.timeline",
    "earmark.control.messages",
    "earmark.fingerprint",
    "earmark.hearing",
    "earmark.hits.record",
    "earmark.hits.rights",
    "earmark.identification",
    "earmark.matching",
    "earmark.model",
}


def tracked() -> list[Path]:
    """Every file of the repository, and those that are about to be."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    return sorted(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def _code(tree: ast.AST, source: str) -> set[int]:
    """The numbers of the lines that are code."""
    prose = {number for number, line in enumerate(source.splitlines(), 1) if not line.strip() or line.lstrip().startswith("#")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            prose |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return set(range(1, len(source.splitlines()) + 1)) - prose


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_and_its_functions_can_be_read_in_one_go(path: Path):
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    code = _code(tree, source)
    assert len(code) <= MODULE_LINES_MAX
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    long = {node.name: lines for node in functions if (lines := len(code & set(range(node.lineno, (node.end_lineno or 0) + 1)))) > FUNCTION_LINES_MAX}
    assert long == {}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_what_it_is_and_does_nothing_when_imported(path: Path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    assert [ast.unparse(node) for node in tree.body if isinstance(node, ast.For | ast.While | ast.With | ast.Global)] == []
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Global)] == []


def test_names_say_what_is_inside():
    parts = {name(path): {part.removesuffix(".py").strip("_") for part in path.relative_to(ROOT).parts} for path in tracked() if path.suffix == ".py"}
    assert {path: found for path, words in parts.items() if (found := words & NOTHING_NAMES)} == {}


@pytest.mark.parametrize("path", ROOMS, ids=name)
def test_a_room_introduces_itself_in_one_sentence_and_holds_no_code(path: Path):
    """At most, it says again what it shows to others (`from x import y as y`)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    sentence = ast.get_docstring(tree) or ""
    assert re.fullmatch(r"[^\n]+[.?!]|[^\n]+; pure\.", sentence)
    for node in tree.body[1:]:
        assert isinstance(node, ast.ImportFrom)
        assert all(alias.name == alias.asname for alias in node.names)


def test_every_pure_module_is_held_to_it():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    (pure,) = (contract for contract in contracts if "prometheus_client" in contract.get("forbidden_modules", []))
    there = {module for module in PURE if (path := ROOT / "daemon" / module.replace(".", "/")).is_dir() or path.with_suffix(".py").exists()}
    assert there - set(pure["source_modules"]) == set()


def test_nothing_points_to_the_machine_it_was_written_on():
    homes = re.compile(r"(?<![\w.$~}-])/(?:work|root/\.\w+|home/\w+|Users/\w+)/")
    assert {name(path): found for path, text in _texts() if (found := homes.findall(text))} == {}


def test_no_package_registry_is_named():
    """Where packages come from is a matter of each machine's own pip, npm and apt; the locks say which they are."""
    registries = re.compile(r"(?:pypi|pythonhosted|npmjs|(?:deb|security|ftp)\.debian|archive\.ubuntu|docker|quay|ghcr|gcr)\.(?:org|com|io)\b")
    assert {name(path): found for path, text in _texts() if (found := registries.findall(text))} == {}


def test_no_sound_is_in_the_repository():
    """Tests make their own, from a seed: nobody's rights, and nothing to download."""
    suffixes = {".aac", ".aiff", ".flac", ".m2ts", ".m4a", ".mka", ".mkv", ".mp3", ".mp4", ".ogg", ".opus", ".pcm", ".raw", ".ts", ".wav", ".webm"}
    assert [name(path) for path in tracked() if path.suffix.lower() in suffixes] == []
    magic = (b"RIFF", b"fLaC", b"OggS", b"ID3", b"\xff\xf1", b"\xff\xfb")
    assert [name(path) for path in tracked() if path.read_bytes()[:4].startswith(magic)] == []


def test_no_file_is_large():
    assert {name(path): size for path in tracked() if (size := path.stat().st_size) > 400_000} == {}


def test_test_files_have_names_of_their_own():
    """pytest imports them by path, people find them by name."""
    seen: dict[str, list[str]] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        seen.setdefault(path.name, []).append(name(path))
    assert {paths[0]: paths for paths in seen.values() if len(paths) > 1} == {}
