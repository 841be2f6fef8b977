"""What people read: the report, its evidence, cuts, mails, and README; `report_*.py`, one after the other.

ONLY=page,mails measures only those.
"""

import importlib
from pathlib import Path
from typing import Any, Final

from bench.asked import some_of

PARTS: Final = sorted(path.stem.removeprefix("report_") for path in Path(__file__).parent.glob("report_*.py"))


def figures() -> list[dict[str, Any]]:
    """Measures for some minutes. Rows of figure, value, unit, bar, met, against, command."""
    return [row for part in some_of("ONLY", PARTS) for row in importlib.import_module(f"bench.report_{part}").rows()]
