"""`make bench`: every measurement (`bench_*.py`), as a table for people and as build/bench/NAME.json for machines.

    PYTHONPATH=tests python -m bench [NAME...]

Without a name, all but those that take long. A measurement is a module with `figures()`, which returns rows of figure,
value, unit, bar, met, against, command; a value of None is one that this run could not fill.
"""

import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.rows import show, store

#: Only when asked for: `make bench-calibration`, `make bench-catalogue`, `make bench-report`, `make bench-scale`, `make bench-sources`, `make bench-streams`.
TAKE_LONG = {"calibration", "catalogue", "report", "scale", "sources", "streams"}
HERE = Path(__file__).parent


def main(chosen: Sequence[str]) -> int:
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    if unknown := set(chosen) - set(names):
        print(f"make bench: there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: the servers and daemons that a measurement started are ended
    for name in chosen or sorted(set(names) - TAKE_LONG):
        rows = importlib.import_module(f"bench.bench_{name}").figures()
        store(name, rows)
        show(name, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
