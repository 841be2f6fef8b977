"""docs/what-happens-when.md promises nothing that no test holds."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
PAGE = TESTS.parent / "docs" / "what-happens-when.md"
_HEADS = ("| What happens |", "| --- |")


def test_each_line_names_a_test_that_there_is() -> None:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|") and not line.startswith(_HEADS)]
    named = [re.findall(r"`(test_\w+)` \|$", line) for line in lines]
    assert len(lines) > 30
    assert [line for line, names in zip(lines, named, strict=True) if len(names) != 1] == []
    there = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"^\s*def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)}
    assert sorted({name for (name,) in named} - there) == []
