"""The table of docs/how-it-hears.md: systems on the development bench, from docs/bench.json.

    python tests/hearing_table.py [RESULT.json]

With a result file of the bench, Earmark's column is put into docs/bench.json first. All systems are judged on the same
excerpts, the first `excerpts` of each condition, so that columns can be compared pair by pair.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
FIGURES: Final = DOCS / "bench.json"
PAGE: Final = DOCS / "how-it-hears.md"
BEGIN, END = "<!-- bench: tests/hearing_table.py -->\n", "<!-- end of bench -->"

EARMARK: Final = "Earmark"
#: A row for people: what it is, and the bench's conditions that it is made of.
ROWS: Final = (
    ("clean / −20 dB", ("clean 12", "gain-20 12")),
    ("AAC 64k / AAC 32k mono / MP3 48k", ("aac64 12", "aac32 12", "mp3_48 12")),
    ("white noise 10 / 5 / 0 dB", ("white10 12", "white5 12", "white0 12")),
    ("pink noise 10 / 5 / 0 dB", ("pink10 12", "pink5 12", "pink0 12")),
    ("over speech +5 / 0 / −5 / −10 dB", ("speech+5 12", "speech0 12", "speech-5 12", "speech-10 12")),
    ("sound effects 0 dB", ("sfx0 12",)),
    ("300–3400 Hz / reverb 0.6 s", ("telephone 12", "reverb 12")),
    ("speed +2 / +5 / +10 %", ("speed+2 12", "speed+5 12", "speed+10 12")),
    ("speed −2 / −5 / −10 %", ("speed-2 12", "speed-5 12", "speed-10 12")),
    ("tempo +5 / −5 / +10 / −10 %", ("tempo+5 12", "tempo-5 12", "tempo+10 12", "tempo-10 12")),
    ("pitch +1 / −1 semitone", ("pitch+1 12", "pitch-1 12")),
    ("live: 3 % fast, speech 0 dB, AAC 64k", ("live 12",)),
    ("6 s: clean / AAC 64k / speech 0 dB / live", ("clean 6", "aac64 6", "speech0 6", "live 6")),
    ("3 s: clean / AAC 64k / speech 0 dB / live", ("clean 3", "aac64 3", "speech0 3", "live 3")),
)
#: A report counts for a play until so long after its end.
_AFTER_S: Final = 12


def measured(result: Mapping[str, Any], excerpts: int) -> dict[str, Any]:
    """A system's column, from a result file of the bench."""
    queries = [query for query in result["queries"] if query["n"] < excerpts]
    negatives = [query for query in queries if query["role"] == "negative"]
    highest = max((query["score"] for query in negatives if query["score"] is not None), default=float("-inf"))
    right: dict[str, list[bool]] = {}
    for query in queries:
        if query["role"] == "catalogue":
            found = query["top"] == query["track"] and query["score"] is not None and query["score"] > highest
            right.setdefault(f"{query['condition']} {query['length_s']}", []).append(found)
    if short := [condition for condition, answers in right.items() if len(answers) != excerpts]:
        raise ValueError(f"the result file has not {excerpts} excerpts of {', '.join(short)}: run the whole bench")
    return {
        "recall_percent": {condition: round(100 * sum(answers) / excerpts) for condition, answers in right.items()},
        "false_positives_percent": round(100 * sum(query["accepted"] for query in negatives) / len(negatives), 1),
        **_streams(result["streams"]),
    }


def _streams(streams: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    plays, delays, false = 0, [], 0
    for stream in streams:
        rightly = 0
        for truth in (truth for truth in stream["truth"] if truth["role"] == "catalogue"):
            plays += 1
            first = [p["first_s"] for p in stream["plays"] if p["track"] == truth["track"] and truth["start_s"] < p["first_s"] <= truth["end_s"] + _AFTER_S]
            rightly += len(first)
            delays += [first[0] - truth["start_s"]] if first else []
        false += len(stream["plays"]) - rightly
    return {
        "plays_found": len(delays),
        "plays": plays,
        "detection_s": round(median(delays), 1),
        "false_detections_per_hour": round(false / sum(stream["hours"] for stream in streams), 1),
    }


def table(figures: Mapping[str, Any]) -> str:
    """Markdown."""
    systems: Mapping[str, Mapping[str, Any]] = figures["systems"]
    rows = [["% right without a false positive", *systems], ["---"] * (1 + len(systems))]
    rows += [[said, *(" / ".join(str(s["recall_percent"][c]) for c in conditions) for s in systems.values())] for said, conditions in ROWS]
    rows.append(["false positives at its own default decision, %", *(f"{s['false_positives_percent']:g}" for s in systems.values())])
    streams = [f"{s['plays_found']} / {s['detection_s']:g} / {s['false_detections_per_hour']:g}" for s in systems.values()]
    rows.append([f"streams: plays found of {max(s['plays'] for s in systems.values())} / median s to detection / false per hour", *streams])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def with_table(page: str, figures: Mapping[str, Any]) -> str:
    """The page with what stands between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(figures)}\n\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    for path in sys.argv[1:]:
        figures["systems"][EARMARK] = measured(json.loads(Path(path).read_text(encoding="utf-8")), figures["excerpts"])
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")
    print(table(figures))
