"""The fenced blocks of README.md: what a reader types, what it prints, and why some of it is typed by no test.

    ```sh            typed by a test, as it stands
    ```sh account    not typed, for the reason that WHY_NOT has under that word
    ```python        run
    ```toml          read as settings
    ```output        what the block before it prints (`missing` says how the two are compared)

A line `NAME=value    # yours` is the reader's own to write, in each of these languages: a test puts its own value there, and changes
nothing else.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt

README: Final = Path(__file__).resolve().parent.parent / "README.md"

#: The words after ```sh, and what each says.
WHY_NOT: Final[Mapping[str, str]] = {
    "account": "needs an AWS account",
    "docker": "needs Docker; the same services run as plain processes in `make rehearse ONLY=compose`",
    "minutes": "takes a quarter of an hour",
    "long": "takes as long as the rest together: `make bench-report` alone types it",
    "recording": "needs FFmpeg's program and a stream's recording; tests mute one by the same filter",
    "excerpt": "is a part of a program of the reader's own",
    "release": "needs another release of Earmark, with another fingerprint",
}
#: What a reader types, and what they look at.
_TYPED: Final = {"sh", "python", "toml"}
_SHOWN: Final = {"", "text", "json", "csv", "yaml"}
_OWN: Final = re.compile(r"""^(?P<name>[A-Za-z_]+)(?P<equals> ?= ?)(?P<quote>"?)[^\s"]+(?P=quote)(?= +# yours\b)""", re.MULTILINE)
_NUMBER: Final = re.compile(r"\d[\d,]*(?:\.\d+)?")
_ELLIPSIS: Final = "…"


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fence. `line`: of README.md, that of its first backticks."""

    line: int
    language: str
    #: After the language.
    words: tuple[str, ...]
    text: str
    #: The last heading of the second level before it.
    chapter: str
    #: What README says that it prints; None: nothing is said.
    shows: str | None = None

    @property
    def first_line(self) -> str:
        return next(iter(self.text.splitlines()), "").strip()

    @property
    def why_not(self) -> str:
        """Why no test types it; empty if one has to."""
        return "; ".join(WHY_NOT[word] for word in self.words)

    @property
    def is_typed(self) -> bool:
        """By a test, or at least by the measurement that types all that can be."""
        return set(self.words) <= {"long"}

    @property
    def is_endless(self) -> bool:
        """Whether it is only over when somebody ends it, as it says itself."""
        return "# until Ctrl-C" in self.text

    @property
    def own(self) -> tuple[str, ...]:
        """Names whose values are the reader's."""
        return tuple(found["name"] for found in _OWN.finditer(self.text))

    def typed_with(self, own: Mapping[str, str]) -> str:
        """The text, with the values of somebody. Raises KeyError for a name that they have nothing for."""

        def theirs(found: re.Match[str]) -> str:
            value = own[found["name"]]
            return f"{found['name']}{found['equals']}{json.dumps(value) if found['quote'] else shlex.quote(value)}"

        return _OWN.sub(theirs, self.text)


def blocks(page: str) -> list[Block]:
    """All that a reader types, in order. Raises ValueError for a fence that says what nobody knows, or output of nothing."""
    typed: list[Block] = []
    for block in _fences(page):
        if block.language == "output":
            if not typed or typed[-1].shows is not None:
                raise ValueError(f"README.md:{block.line}: this is the output of nothing")
            typed[-1] = replace(typed[-1], shows=block.text)
        elif block.language in _TYPED:
            if unknown := set(block.words) - set(WHY_NOT):
                raise ValueError(f"README.md:{block.line}: a block is not run because of {', '.join(WHY_NOT)}; nobody knows {unknown.pop()!r}")
            typed.append(block)
        elif block.language not in _SHOWN:
            known = ", ".join(sorted(filter(None, _TYPED | _SHOWN)))
            raise ValueError(f"README.md:{block.line}: a block is {known}, output, or a picture without a word; nobody knows {block.language!r}")
    return typed


def _fences(page: str) -> Iterator[Block]:
    chapter, heading = "", False
    for token in MarkdownIt("commonmark").parse(page):
        if token.type == "heading_open":
            heading = token.tag == "h2"
        elif token.type == "inline" and heading:
            chapter, heading = token.content, False
        elif token.type == "fence" and token.map:
            language, *words = token.info.split() or [""]
            yield Block(line=token.map[0] + 1, language=language, words=tuple(words), text=token.content, chapter=chapter)


def missing(shows: str, said: str) -> str:
    """The first line that is shown and was not said; empty if all of it was.

    A line `…` stands for any lines, `…` in a line for any text of it, a number for any number, spaces for as many as there
    are. Lines without a `…` between them follow one another; without one at its beginning or end, so does what is said begin or end.
    """
    lines = [_spaced(line) for line in said.strip().splitlines()]
    groups = _groups(shows)
    at = 0
    for number, group in enumerate(groups):
        first, last = number == 0, number == len(groups) - 1
        starts = range(at, max(at, len(lines) - len(group)) + 1)
        starts = starts[:1] if first else starts[-1:] if last else starts
        matched = {start: _matched(group, lines[start:]) for start in starts}
        found = next((start for start in starts if matched[start] == len(group)), None)
        if found is None:
            return group[max(matched.values())] or "(an empty line)"
        at = found + len(group)
    return "" if at == len(lines) else f"(the end, but {lines[at]!r} followed)"


def _groups(shows: str) -> list[list[str]]:
    """Lines that follow one another; the first and the last are empty where anything may come before and after."""
    groups: list[list[str]] = [[]]
    for line in shows.strip().splitlines():
        if line.strip() == _ELLIPSIS:
            groups.append([])
        else:
            groups[-1].append(_spaced(line))
    return groups


def _matched(group: Sequence[str], lines: Sequence[str]) -> int:
    """How many of the group's lines are there, from the first on."""
    for number, (line, said) in enumerate(zip(group, lines, strict=False)):
        if not _pattern(line).fullmatch(said):
            return number
    return min(len(group), len(lines))


def _spaced(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str) -> re.Pattern[str]:
    def loosened(words: str) -> str:
        return _NUMBER.pattern.join(re.escape(part) for part in _NUMBER.split(words))

    return re.compile(".*".join(loosened(part) for part in line.split(_ELLIPSIS)))
