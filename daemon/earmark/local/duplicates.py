"""`earmark catalogue duplicates`: what recordings of a catalogue have in common, and ISRCs that say something else."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

from earmark.hits.text import clock_time, shown, speed_change
from earmark.index import overlaps
from earmark.index.overlaps import Pair
from earmark.local.desk import opened
from earmark.local.progress import Progress
from earmark.matching.overlaps import WHOLE_SPEED
from earmark.postgres import Pool
from earmark.relating import Relating
from earmark.settings import Settings

_WORDS: Final = {"same": "same recording", "excerpt": "excerpt", "passage": "shares a passage"}
_CLASH: Final = "isrc clash"


def list_duplicates(*, catalogue: str | None, as_json: bool, again: bool, settings: Settings) -> int:
    """A line for each pair, best first, then the ISRC clashes; and how many recordings were not compared."""
    with opened(catalogue, settings) as pool:
        if again:
            _compare(pool)
        for row in _rows(pool):
            print(json.dumps(row, ensure_ascii=False) if as_json else shown(_line(row)))
        if owed := overlaps.owed(pool):
            print(f"earmark: {owed} recordings were not compared with the others yet: `earmark catalogue duplicates --again` does that", file=sys.stderr)
    return 0


def _compare(pool: Pool) -> None:
    with Progress("compared") as progress:
        for done, of in Relating(pool=pool).again():
            progress.at("", done, of)


def _rows(pool: Pool) -> Iterator[dict[str, Any]]:
    clashes = []
    for pair in overlaps.all_pairs(pool):
        yield _row(pair)
        if (clash := overlaps.two_isrcs_of(pair)) is not None:
            clashes.append({"kind": _CLASH, "one": pair.one, "other": pair.other, "sentence": clash})
    yield from clashes
    for isrc, one, other in overlaps.one_isrc(pool):
        yield {"kind": _CLASH, "one": one, "other": other, "sentence": overlaps.two_recordings(isrc, one, other)}


def _row(pair: Pair) -> dict[str, Any]:
    beside = asdict(overlaps.beside(pair))
    return {"kind": beside.pop("kind"), "one": pair.one, **beside, "overlap_s": round(pair.overlap.overlap_s, 1), "alias": pair.alias}


def _line(row: dict[str, Any]) -> str:
    if row["kind"] == _CLASH:
        return f"{'ISRC clash':16}  {row['sentence']}"
    spans = ", ".join(
        f"{clock_time(s['begin_s'])}–{clock_time(s['end_s'])} = {clock_time(s['other_begin_s'])}–{clock_time(s['other_end_s'])}" for s in row["spans"]
    )
    speed = "" if abs(row["speed"] - 1) <= WHOLE_SPEED else f", speed {speed_change(row['speed'])}"
    alias = f"; {row['alias']} is an alias" if row["alias"] else ""
    shares = f"{100 * row['share']:.0f} % and {100 * row['other_share']:.0f} %"
    return f"{_WORDS[row['kind']]:16}  {row['one']}  {row['other']}  {spans} ({shares}{speed}){alias}"
