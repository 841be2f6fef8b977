"""What is heard in plain lines: where a terminal can show no more, and as what is left when a screen is closed."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from earmark.hits.sure import sure_in_brief
from earmark.hits.text import called, clock_time, counted, speed_change
from earmark.local.watch_state import Entry, View, words
from earmark.local.watch_timeline import Kind, shares
from earmark.model import Checkpoint

#: Plays in a summary, the last ones.
SUMMARY_MAX: Final = 50


def line(stream_s: float, kind: str, text: str) -> str:
    """Something that happened, and when in the stream."""
    return f"  {clock_time(max(0.0, stream_s)):>8}  {kind:<12}{words(text, 300)}"


def hit_line(stream_s: float, hit: Mapping[str, Any]) -> str:
    """A new revision of a hit."""
    track, query = hit["track"], hit["query"]
    name = called(track["artists"], track["title"], between=" – ") or hit["reference"]["track_id"]
    since = f"from {query['begin_s']:.1f} s" + (f" to {query['end_s']:.1f} s" if hit["state"] == "closed" else "")
    return line(stream_s, hit["state"], f"{words(name)}, {since}{', a quotation' if hit['quotation'] and hit['state'] == 'closed' else ''}")


class Documents:
    """A line of JSON for each revision of a hit."""

    def tell(self, hit: Mapping[str, Any]) -> None:
        print(json.dumps(hit, ensure_ascii=False), flush=True)

    def show(self, checkpoint: Checkpoint) -> None: ...


class Lines:
    """A line for each revision of a hit and for each gap, as they come."""

    def __init__(self) -> None:
        self._at = Checkpoint()

    def tell(self, hit: Mapping[str, Any]) -> None:
        print(hit_line(self._at.position_s, hit), flush=True)

    def show(self, checkpoint: Checkpoint) -> None:
        if len(checkpoint.gaps) > len(self._at.gaps):
            gap = checkpoint.gaps[-1]
            print(line(gap.begin_s, "missed", f"{clock_time(gap.end_s - gap.begin_s)}: {gap.reason.replace('_', ' ')}"), flush=True)
        self._at = checkpoint


def summary(view: View) -> list[str]:
    """What was heard, once it is over; nothing if that was nothing at all."""
    at = view.checkpoint
    if at.position_s <= 0:
        return []
    missed = f", {counted(len(at.gaps), 'gap')} of {clock_time(at.gap_s)} in all" if at.gaps else ""
    found = shares(view.timeline.kinds(0, math.ceil(at.position_s)))
    sounded = ", ".join(f"{share:.0%} {_NAMES[kind]}" for kind, share in found.items() if kind in _NAMES)
    plays, playing = view.plays, {play.told.hit_id for play in view.playing}
    count = len(plays) + view.forgotten
    lines = [f"{view.source}: {clock_time(at.heard_s)} of {clock_time(at.position_s)} heard{missed}" + (f"; {sounded}" if sounded else "")]
    if count > SUMMARY_MAX:
        lines.append(f"{counted(count, 'play')}, of which these are the last {SUMMARY_MAX}:")
    elif count:
        lines.append(f"{counted(count, 'play')}:")
    else:
        lines.append("nothing that the catalogue knows")
    listed = sorted(plays, key=lambda entry: entry.begin_s)[-SUMMARY_MAX:]
    rows = [_cells(entry, still=entry.hit_id in playing) for entry in listed]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [*lines, *(f"  {_aligned(row, widths)}  {entry.name}" for row, entry in zip(rows, listed, strict=True))]


_NAMES: Final = {Kind.MUSIC: "music", Kind.SPEECH: "speech", Kind.SILENCE: "silence", Kind.OTHER: "something else"}


def _cells(entry: Entry, *, still: bool) -> tuple[str, str, str, str]:
    sure = "a quotation" if entry.quotation else sure_in_brief(entry.false_alarms_per_hour)
    return clock_time(entry.begin_s), "…" if still else clock_time(entry.end_s), speed_change(entry.speed), sure


def _aligned(row: tuple[str, str, str, str], widths: list[int]) -> str:
    """Numbers to the right, words to the left."""
    begin, end, speed, sure = (cell.rjust(wide) for cell, wide in zip(row, widths, strict=True))
    return f"{begin} {end}  {speed}  {sure.strip():<{widths[3]}}"
