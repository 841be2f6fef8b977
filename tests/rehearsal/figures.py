"""What a part of the rehearsal comes to: rows as every measurement's, or the reason why it cannot be done here."""

import operator
from collections.abc import Callable
from typing import Any

from bench.rows import row


class NotHere(Exception):
    """What a part wants and this machine, or whoever runs it, has not. A sentence."""


def figure(
    part: str, name: str, value: float | None, unit: str, *, bar: float | None = None, met: Callable[[float, float], bool] = operator.le, against: str = ""
) -> dict[str, Any]:
    return row(name, value, unit, bar=bar, met=met, against=against, command=f"make rehearse ONLY={part}")
