"""What was heard before, as rows: plays and gaps, the newest first. Pure."""

from collections.abc import Iterator
from heapq import nlargest

from rich.text import Text

from earmark.hits.sure import sure_in_brief
from earmark.hits.text import clock_time, counted, speed_change
from earmark.local.watch_state import Entry, View
from earmark.model import Gap

#: Below so many columns speeds, and below so many how sure it is, are left out; from so many on there is room for album and label.
_WITH_SPEED, _WITH_SURE, _WITH_RELEASE = 44, 70, 110


def length(view: View) -> int:
    """How far one can go back."""
    return len(view.plays) - len(view.playing) + len(view.checkpoint.gaps)


def history(view: View, width: int, rows: int, offset: int) -> Iterator[Text]:
    """At most so many rows: a heading, which counts what there is no room for; then what is left behind the `offset` newest."""
    playing = {play.told.hit_id for play in view.playing}
    upto = offset + rows - 1  # in order of time, gaps are already: of a day with many only those that are needed are looked at
    past: list[Entry | Gap] = [*(entry for entry in view.plays if entry.hit_id not in playing), *view.checkpoint.gaps[-upto:]]
    listed = nlargest(upto, past, key=lambda one: (one.begin_s, one.end_s))[offset:]
    plays = len(view.plays) - len(playing) + view.forgotten
    older = length(view) - offset - len(listed) + view.forgotten
    left_out = [f"{count:,} {which}" for count, which in ((offset, "newer"), (older, "older")) if count]
    said = f"{counted(plays, 'play')} before" if plays else "nothing of the catalogue before"
    heading = said + (f" ({', '.join(left_out)})" if left_out else "")
    wide = max(4, len(clock_time(view.position_s)))
    yield row(wide, width, ("from", "to", "speed", "false alarms"), Text(heading), style="underline")
    for one in listed:
        times = clock_time(one.begin_s), clock_time(one.end_s)
        if isinstance(one, Gap):
            yield row(wide, width, (*times, "", ""), Text(f"× missed: {one.reason.replace('_', ' ')}", style="red"))
        else:
            sure = "quotation" if one.quotation else sure_in_brief(one.false_alarms_per_hour)
            yield row(wide, width, (*times, speed_change(one.speed), sure), name(one, width))


def row(wide: int, width: int, cells: tuple[str, str, str, str], what: Text, *, style: str = "") -> Text:
    """From, to, speed, how sure; and who and what. Times are `wide`.

    Words of strangers come last: wherever a terminal has another idea of how wide they are, nothing stands behind them.
    """
    begin, end, speed, sure = cells
    row = f"{begin:>{wide}} {end:>{wide}}  "
    row += f"{speed:>6}  " if width >= _WITH_SPEED else ""
    row += f"{sure:<18}  " if width >= _WITH_SURE else ""
    return Text.assemble((row, "dim"), what, style=style)


def name(entry: Entry, width: int) -> Text:
    """What and who, and where there is room what of."""
    said = Text.assemble((entry.title, "" if entry.quotation else "bold"))
    if entry.artists:
        said.append(f" – {entry.artists}")
    if width >= _WITH_RELEASE and entry.release:
        said.append(f" · {entry.release}", "dim")
    return said
