"""Lines of plain text for people: as wide as a mail is read, wide characters counted double, scripts from right to left kept apart. Pure."""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from earmark.hits.text import columns, one_line

COLUMNS: Final = 60
LABEL_COLUMNS: Final = 10

#: First strong isolate, and its end (Unicode Standard Annex 9): what stands between does not turn what stands around it.
#: `one_line` takes those of strangers away.
_ISOLATE, _END = "\u2068", "\u2069"
_RIGHT_TO_LEFT: Final = {"R", "AL", "AN"}
_JOINER: Final = "\u200d"


def theirs(text: str, characters_max: int = 200) -> str:
    """A stranger's text within a sentence of ours: in one line, bounded, and by itself where it is written from right to left."""
    text = one_line(text, characters_max)
    return f"{_ISOLATE}{text}{_END}" if any(unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text) else text


def plain(text: str) -> str:
    """Without the isolates: for a terminal, which shows a sign in their place."""
    return text.replace(_ISOLATE, "").replace(_END, "")


def wrapped(text: str, first: str = "", rest: str = "", *, columns_max: int = COLUMNS) -> list[str]:
    """One line or more, of at most so many columns; broken between words, and within one only where it fits no line.

    `first`, `rest`: what the first line and those behind it begin with. No text: `first` alone.
    """
    lines: list[str] = []
    here, width = "", 0
    for word, glued in _pieces(text, columns_max - max(columns(first), columns(rest))):
        wide = columns(word)
        between = "" if glued or not here else " "
        room = columns_max - columns(rest if lines else first)
        if here and width + len(between) + wide > room:
            lines.append((rest if lines else first) + here)
            here, width, between = "", 0, ""
        here, width = here + between + word, width + len(between) + wide
    lines.append((rest if lines else first) + here)
    return [line.rstrip() for line in _isolated_apart(lines)]


def labelled(facts: Iterable[tuple[str, str]]) -> list[str]:
    """A column of labels, and what there is to say of each; without anything to say, no line."""
    return [line for label, value in facts if value for line in wrapped(value, f"{label:<{LABEL_COLUMNS}}", " " * LABEL_COLUMNS)]


def narrowed(text: str, columns_max: int) -> str:
    """The text, or as much of it as fits with an ellipsis."""
    if columns(text) <= columns_max:
        return text
    kept, width = "", 0
    for cluster in _clusters(text):
        width += columns(cluster)
        if width > columns_max - 1:
            break
        kept += cluster
    return kept.rstrip() + "…"


def _pieces(text: str, columns_max: int) -> Iterator[tuple[str, bool]]:
    """Words, those too wide for a line in parts; whether it belongs to the one before without a space."""
    for word in text.split():
        if columns(word) <= columns_max:
            yield word, False
            continue
        part, width, glued = "", 0, False
        for cluster in _clusters(word):
            wide = columns(cluster)
            if part and width + wide > columns_max:
                yield part, glued
                part, width, glued = "", 0, True
            part, width = part + cluster, width + wide
        yield part, glued


def _clusters(text: str) -> Iterator[str]:
    """What must not be torn apart: a character with the marks on it, people joined to a family, two letters of a flag."""
    cluster = ""
    for c in text:
        alone = cluster and not (columns(c) == 0 or cluster.endswith(_JOINER) or _is_tone(c) or (_is_flag(c) and len(cluster) == 1 and _is_flag(cluster)))
        if alone:
            yield cluster
            cluster = ""
        cluster += c
    if cluster:
        yield cluster


def _is_tone(c: str) -> bool:
    return "\U0001f3fb" <= c <= "\U0001f3ff"


def _is_flag(c: str) -> bool:
    return "\U0001f1e6" <= c <= "\U0001f1ff"


def _isolated_apart(lines: Iterable[str]) -> Iterator[str]:
    """Each line is a paragraph of its own to whatever shows it: what is open at the end of one is closed there, and opened in the next."""
    opened = False
    for line in lines:
        begin = len(line) - len(line.lstrip(" "))
        text = line[:begin] + (_ISOLATE if opened else "") + line[begin:]
        opened = text.count(_ISOLATE) > text.count(_END)
        yield text + (_END if opened else "")
