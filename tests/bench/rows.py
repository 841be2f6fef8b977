"""A figure as every measurement tells it; `bench.__main__` shows and stores them."""

import operator
from collections.abc import Callable
from typing import Any


def row(
    figure: str,
    value: float | None,
    unit: str,
    *,
    command: str,
    bar: float | None = None,
    met: Callable[[float, float], bool] = operator.le,
    against: str = "",
    digits: int = 3,
) -> dict[str, Any]:
    """A row.

    Args:
        value: None where this run could not fill it.
        command: prints it.
        bar: what it should reach, if anything,
        met: and whether a value does; at most the bar, if nothing is said.
        against: what it was measured with, or beside.
        digits: after the point, of value and bar; what is met is decided before they are cut.
    """
    return {
        "figure": figure,
        "value": None if value is None else round(float(value), digits),
        "unit": unit,
        "bar": None if bar is None else round(bar, digits),
        "met": None if bar is None or value is None else bool(met(value, bar)),
        "against": against,
        "command": command,
    }
