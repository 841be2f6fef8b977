"""Somebody who types README's blocks: what is carried on from one to the next, and what counts as wrong."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import newcomer as module
from newcomer import Newcomer
from readme_blocks import Block


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    return Newcomer(tmp_path, environment={"GIVEN": "a b"})


def block(text: str, shows: str | None = None, language: str = "sh") -> Block:
    return Block(line=7, language=language, words=(), text=text, chapter="", shows=shows)


def test_folders_and_variables_are_carried_on(newcomer: Newcomer) -> None:
    newcomer.own["NAME"] = "it's"
    newcomer.types(block('mkdir there\ncd there\nNAME=nobody    # yours\nexport OTHER="$GIVEN"\n'))
    assert newcomer.types(block('echo "$NAME $OTHER $(basename "$PWD") $HOME"\n')) == f"it's a b there {newcomer.home}\n"


def test_nothing_of_this_environment_is_seen(newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_DATABASE__DSN", "postgresql://somebody@elsewhere/else")
    assert newcomer.types(block('echo "${EARMARK_DATABASE__DSN:-nothing}"\n')) == "nothing\n"


@pytest.mark.parametrize(
    "text, shows, why",
    [
        ("false\necho more\n", None, "README.md:7: exit code 1"),
        ("echo no >&2\nfalse | true\n", None, "README.md:7: exit code 1 .*no\n"),
        ("no-such-program\n", None, "README.md:7: exit code 127"),
        ("echo one\n", "two", "README.md:7: 'two' is shown and was not said"),
        ("echo one >&2\n", "one", "README.md:7: 'one' is shown and was not said"),
    ],
)
def test_what_fails_or_prints_something_else_is_wrong(newcomer: Newcomer, text: str, shows: str | None, why: str) -> None:
    with pytest.raises(AssertionError, match=f"(?s){why}"):
        newcomer.types(block(text, shows))


def test_what_is_for_ever_is_ended_by_ctrl_c_once_it_has_said_its_words(newcomer: Newcomer) -> None:
    program = "import time; print('ready', flush=True)\ntry: time.sleep(60)\nexcept KeyboardInterrupt: print('over')\n"
    (newcomer.home / "program.py").write_text(program)
    began = time.monotonic()
    assert newcomer.types(block("python3 program.py    # until Ctrl-C\necho after\n", "ready\n…\n")) == "ready\nover\nafter\n"
    assert time.monotonic() - began < 30


def test_what_does_not_end_is_ended_and_wrong(newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 0.5)
    with pytest.raises(AssertionError, match=r"README.md:7: not over after 0 s, having said\nbegun\n"):
        newcomer.types(block("echo begun\nsleep 60 & sleep 60\n"))
