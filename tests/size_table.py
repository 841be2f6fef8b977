"""The table of "How big can it get" in README.md, from docs/catalogue.json.

    python tests/size_table.py [build/bench/catalogue-SIZE.json ...]

With result files of `make bench-catalogue`, what they say is put into docs/catalogue.json first. The column of a million
recordings is computed: what grows with the recordings from the largest size measured, what grows with the postings that a
hash has from the two largest.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
FIGURES: Final = ROOT / "docs" / "catalogue.json"
PAGE: Final = ROOT / "README.md"
BEGIN, END = "<!-- catalogue: tests/size_table.py -->\n", "<!-- end of catalogue -->"
MILLION: Final = 1_000_000

Figures = Mapping[str, Mapping[str, Any]]
#: What a row of the table says, the figure it is, digits, and how it grows: with recordings, with postings asked for, or not.
ROWS: Final = (
    ("postings, million", "postings of all recordings", 0, "recordings"),
    ("on disk, GB", "in all, on disk", 1, "recordings"),
    ("a recording of four minutes, packed, kB", "a recording of four minutes, packed, everything", 0, "same"),
    ("bytes per posting that is kept, packed", "bytes per posting that is kept, packed", 2, "same"),
    ("postings that a second of a stream brings", "postings of one stream-second", 0, "recordings"),
    ("look-up of one stream-second, p50, ms", "look-up of one stream-second, p50", 2, "postings"),
    ("p99, ms", "look-up of one stream-second, p99", 1, "not said"),
    ("CPU of a stream-second, 256 at once, ms", "CPU of a stream-second, 256 at once, client and server", 2, "postings"),
    ("of it on the server", "of it, server", 2, "postings"),
    ("add one recording, p50, ms", "add one recording, fingerprint apart, p50", 0, "same"),
    ("start of a process to its first look-up, s", "start of a process to its first look-up, p50", 1, "not said"),
    ("first load, minutes of one writer", "minutes to load", 0, "recordings"),
)


def read(paths: list[str]) -> dict[int, dict[str, Any]]:
    """By size, by figure: its value, bar and whether that is met."""
    found = {int(size): figures for size, figures in json.loads(FIGURES.read_text(encoding="utf-8")).items()} if FIGURES.exists() else {}
    for path in paths:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        figures = {row["figure"]: {key: row[key] for key in ("value", "unit", "bar", "met", "against")} for row in rows if row["value"] is not None}
        size = round(figures["recordings"]["value"])
        # A catalogue that was kept says nothing of its loading: what was said before stays.
        found[size] = {**found.get(size, {}), **figures}
    return dict(sorted(found.items()))


def table(figures: Mapping[int, Figures]) -> str:
    """Markdown."""
    sizes = list(figures)
    lines = [["recordings", *(f"{size:,}" for size in sizes), f"{MILLION:,}, computed"], ["---", *["---:"] * (len(sizes) + 1)]]
    for says, figure, digits, grows in ROWS:
        measured = [_value(figures[size], figure) for size in sizes]
        values = [*measured, _computed(figures, figure, grows)]
        lines.append([says, *("" if value is None else f"{value:,.{digits}f}" for value in values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _value(figures: Figures, figure: str) -> float | None:
    if figure == "minutes to load":
        rate = figures.get("load, merges and vacuum included")
        return figures["postings of all recordings"]["value"] / rate["value"] / 60 if rate else None
    if figure == "of it, server":
        return float(figures["CPU of a stream-second, 256 at once, client and server"]["value"] - figures["of it, client"]["value"])
    found = figures.get(figure)
    return None if found is None else float(found["value"])


def _computed(figures: Mapping[int, Figures], figure: str, grows: str) -> float | None:
    """For a million recordings."""
    *smaller, largest = figures
    value = _value(figures[largest], figure)
    if value is None or grows == "not said":
        return None
    if grows == "same":
        return value
    if grows == "recordings":
        return value * MILLION / largest
    less = _value(figures[smaller[-1]], figure) if smaller else None
    if less is None:
        return None
    postings = [float(figures[size]["postings of one stream-second"]["value"]) for size in (smaller[-1], largest)]
    # A share for each posting, and one for asking at all.
    each = (value - less) / (postings[1] - postings[0])
    return value + each * (postings[1] * MILLION / largest - postings[1])


def with_table(page: str, figures: Mapping[int, Figures]) -> str:
    """The page with what stands between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(figures)}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    found = read(sys.argv[1:])
    FIGURES.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(table(found))
