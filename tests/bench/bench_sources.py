"""What each way in costs, and how soon what came in is known: `sources_*.py`, one after the other.

ONLY=archive,files measures only those.
"""

import importlib
from pathlib import Path
from typing import Any, Final

from bench.asked import some_of

PARTS: Final = sorted(path.stem.removeprefix("sources_") for path in Path(__file__).parent.glob("sources_*.py"))


def figures() -> list[dict[str, Any]]:
    """Measures for some ten minutes. Rows of figure, value, unit, bar, met, against, command."""
    return [row for part in some_of("ONLY", PARTS) for row in importlib.import_module(f"bench.sources_{part}").rows()]
