"""What a measurement is asked for, by variables of the environment: `NAME=value make bench-…`. What makes no sense ends it with one sentence."""

import math
import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def number(name: str, usual: float, *, least: float = 0.0) -> float:
    """The number in the variable `name`, which is `usual` if it is not set or empty, and at least `least`."""
    return _number(name, told, least) if (told := os.environ.get(name)) else usual


def whole(name: str, usual: int, *, least: int = 0) -> int:
    """As `number`, for what is counted."""
    return _whole(name, told, least) if (told := os.environ.get(name)) else usual


def wholes(name: str, usual: str, *, least: int = 1) -> list[int]:
    """As `whole`, for a list with commas, sorted."""
    told = os.environ.get(name) or usual
    return sorted(_whole(name, part, least) for part in told.split(","))


def one_of(name: str, usual: str, known: Sequence[str]) -> str:
    """The word in the variable `name`, which has to be one that is `known`."""
    told = os.environ.get(name) or usual
    if told not in known:
        _refuse(f"{name}={told!r}: there is {', '.join(known)}")
    return told


def some_of(name: str, known: Sequence[str]) -> list[str]:
    """The words in the variable `name`, separated by commas, in the order in which they are known; all of them if it is not set or empty."""
    told = [part.strip() for part in (os.environ.get(name) or ",".join(known)).split(",")]
    if unknown := [part for part in told if part not in known]:
        _refuse(f"{name} has {unknown[0]!r}: there is {', '.join(known)}")
    return [one for one in known if one in told]


def _number(name: str, told: str, least: float) -> float:
    try:
        value = float(told)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        _refuse(f"{name}={told!r} is not a number from {least:g}")
    return value


def _whole(name: str, told: str, least: int) -> int:
    value = _number(name, told, least)
    if not value.is_integer():
        _refuse(f"{name}={told!r} is not a whole number")
    return int(value)


def _refuse(sentence: str) -> NoReturn:
    sys.stderr.write(f"{sentence}\n")
    raise SystemExit(2)
