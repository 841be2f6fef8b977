"""How many of README's blocks are typed by tests as they stand, and what keeps the others from it."""

from collections import Counter
from typing import Any, Final

from bench.rows import row
from first_hour import outcomes
from readme_blocks import WHY_NOT

COMMAND: Final = "make bench-report ONLY=readme"


def rows() -> list[dict[str, Any]]:
    """Types all of them, for some three minutes; says which are not typed, and which went wrong."""
    typed, wrong, excused = 0, 0, Counter[str]()
    for outcome in outcomes():
        block = outcome.block
        typed += block.is_typed
        wrong += bool(outcome.wrong)
        excused.update(block.words[:1])
        if not block.is_typed or outcome.wrong:
            print(f"README.md:{block.line:<5} {block.first_line[:70]:<70}  {outcome.wrong or block.why_not}", flush=True)
    return [
        row(
            "README's blocks that tests type as they stand",
            (typed - wrong) / typed,
            "",
            bar=1.0,
            met=lambda value, bar: value >= bar,
            against=f"{typed - wrong} of the {typed} that need nothing else; sh, Python and TOML",
            command=COMMAND,
        ),
        *(row(f"README's blocks that say: {word}", excused[word], "blocks", against=why, command=COMMAND) for word, why in WHY_NOT.items()),
    ]
