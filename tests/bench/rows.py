"""A figure as every measurement tells it, to people and to machines."""

import json
import operator
import platform
import subprocess
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]


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


def store(name: str, rows: Sequence[dict[str, Any]], folder: Path = ROOT / "build" / "bench") -> None:
    """As NAME.json, with the circumstances of the run."""
    circumstances = {"revision": _revision(), "processor": _processor(), "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps([row | circumstances for row in rows], indent=2) + "\n", encoding="utf-8")


def show(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """As a table."""
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
