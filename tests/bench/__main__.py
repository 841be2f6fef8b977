"""`make bench`: every measurement (`bench_*.py`), as a table for people and as build/bench/NAME.json for machines.

    PYTHONPATH=tests python -m bench [NAME...]

Without a name, all but those that take hours. A measurement is a module with `figures()`, which returns rows of figure,
value, unit, bar, met, against, command; a value of None is one that this run could not fill.
"""

import importlib
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

#: Only when asked for: `make bench-calibration`, `make bench-catalogue`, `make bench-scale`.
TAKE_HOURS = {"calibration", "catalogue", "scale"}
HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main(chosen: Sequence[str]) -> int:
    names = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    if unknown := set(chosen) - set(names):
        print(f"make bench: there is no measurement {', '.join(sorted(unknown))}; there are {', '.join(names)}", file=sys.stderr)
        return 2
    circumstances = {"revision": _revision(), "processor": _processor(), "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")}
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen or sorted(set(names) - TAKE_HOURS):
        rows = importlib.import_module(f"bench.bench_{name}").figures()
        (folder / f"{name}.json").write_text(json.dumps([row | circumstances for row in rows], indent=2) + "\n", encoding="utf-8")
        _show(name, rows)
    return 0


def _show(name: str, rows: Sequence[dict[str, Any]]) -> None:
    print(f"\n{name:<56}{'value':>12}  {'unit':<10}{'bar':>10}  met")
    for row in rows:
        value = "not run" if row["value"] is None else f"{row['value']:.4g}"
        bar, met = ("", "") if row["bar"] is None else (f"{row['bar']:.4g}", "yes" if row["met"] else "NO")
        print(f"{row['figure']:<56}{value:>12}  {row['unit']:<10}{bar:>10}  {met}")


def _revision() -> str:
    asked = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor() or platform.machine())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
