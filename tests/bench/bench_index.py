"""What the catalogue costs at a thousand recordings: `bench.bench_catalogue` in short."""

from typing import Any

from bench import bench_catalogue


def figures() -> list[dict[str, Any]]:
    """Measures for two minutes. Rows of figure, value, unit, bar, met, against, command."""
    return bench_catalogue.short()
