"""What `earmark watch` shows, laid out: a view becomes as many lines as there is room for, the most telling first. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from earmark.hits.sure import sure_in_brief
from earmark.hits.text import clock_time, counted, speed_change
from earmark.local.watch_bars import SIGNS, bar, graph, strip
from earmark.local.watch_history import history, length
from earmark.local.watch_state import Playing, View
from earmark.local.watch_timeline import Kind, cells, shares

#: A live stream of which nothing has come for so long, and for more than two pieces, is said to be quiet.
QUIET_S: Final = 6.0
#: What comes is heard within this, where there is enough time; and what is longer is told in whole seconds.
_LATE_S, _PRECISE_S = 1.0, 100.0
#: An open play of which nothing was heard for so long is going, or under something louder.
_FADING_S: Final = 6.0
#: From so many lines on the evidence is drawn higher than a line: as high as that part of the screen.
_GRAPH_FROM, _GRAPH_SHARE = 20, 7
#: Below so many columns a source is not named, nor a bar drawn with the time that is left beside it.
_NAMED_FROM, _BAR_LEAST = 8, 8
#: From this rank on a part only adorns; rows of the history that go before it.
_ADORNS, _HISTORY_LEAST = 9, 4
#: What is less is no change of speed that anybody hears.
_SPEED_TOLD: Final = 0.0005
#: Seconds that a cell of the strip may stand for, and seconds of which the shares are told.
_CELLS_S: Final = (1, 2, 5, 10, 20, 30, 60)
SHARES_S: Final = 60
_NAMES: Final = {
    Kind.PLAY: "catalogued",
    Kind.MUSIC: "music",
    Kind.SPEECH: "speech",
    Kind.OTHER: "other",
    Kind.SILENCE: "silence",
    Kind.GAP: "missed",
    Kind.UNKNOWN: "",
}
KEYS: Final = "q quit   ↑↓ history   s snapshot"


class Drawing(NamedTuple):
    lines: list[Text]
    #: Rows of the history that were passed over: as far as that goes.
    offset: int


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Lines that belong together; the lower its rank, the longer it stays where it gets narrow."""

    rank: int
    lines: Sequence[Text] = field(default_factory=tuple)


def laid_out(view: View, width: int, height: int, *, offset: int = 0, keys: bool = True, note: str = "") -> Drawing:
    """`height` lines of at most `width` columns.

    Args:
        offset: rows of the history that are passed over, from the newest on.
        keys: somebody can type.
        note: the screen's own message.
    """
    parts = [
        _Part(1, [_head(view, width)]),
        _Part(5, [_account(view, width)]),
        _Part(9, [_rule(width)]),
        *_now(view, width, height // _GRAPH_SHARE if height >= _GRAPH_FROM else 1),
        _Part(12, [Text()]),
        _Part(3, [_sounds(view, width)]),
        *(_Part(rank, [line]) for rank, line in zip((4, 8), _strip(view, width), strict=False)),
        _Part(10, [Text()]),
    ]
    foot = [_Part(6, [Text(text, style="yellow")]) for text in (note or view.note,) if text]
    foot += [_Part(11, [Text(KEYS, style="dim")])] if keys else []
    kept = _fitting([*parts, *foot], height)
    above = [line for part in parts if part in kept for line in part.lines]
    below = [line for part in foot if part in kept for line in part.lines]
    room = height - len(above) - len(below)
    offset = max(0, min(offset, length(view) - (room - 1)))
    past = list(history(view, width, room, offset)) if room > 1 else []
    lines = [*above, *past, *[Text()] * (room - len(past)), *below]
    for line in lines:
        line.no_wrap = True
        line.truncate(max(1, width), overflow="ellipsis")
    return Drawing(lines, offset)


def _fitting(parts: Sequence[_Part], height: int) -> list[_Part]:
    """Those that there is room for, by rank; some rows of the history go before what only adorns."""
    kept, used = [], 0
    for part in sorted(parts, key=lambda part: part.rank):
        if used + len(part.lines) <= height - (_HISTORY_LEAST if part.rank >= _ADORNS else 0):
            kept.append(part)
            used += len(part.lines)
    return kept


# ---------------------------------------------------------------------------------------------------- the stream


def _head(view: View, width: int) -> Text:
    state, style = _state(view)
    left, right = Text(f"earmark watch  {view.source}", style="bold"), Text(state, style=style)
    room = width - right.cell_len - 2
    if left.cell_len > room:
        left = Text(view.source, style="bold")
    if room < _NAMED_FROM:
        return right
    left.truncate(room, overflow="ellipsis", pad=True)
    return Text.assemble(left, "  ", right)


def _joined(parts: Sequence[str], width: int, *, between: str) -> str:
    """As many of them as fit, the first in any case."""
    said = ""
    for part in filter(None, parts):
        longer = said + between + part if said else part
        if said and cell_len(longer) > width:
            continue
        said = longer
    return said


def _state(view: View) -> tuple[str, str]:
    """Of the source, in some words."""
    if view.stopping:
        return "stopping", "yellow"
    if view.checkpoint.state == "ended":
        return "ended", "default"
    if not view.position_s:
        return f"○ connecting {clock_time(view.watched_s)}", "yellow"
    if view.kind == "file":
        pace = view.checkpoint.position_s / view.watched_s if view.watched_s > 0 else 0.0
        return f"● {pace:.0f} times as fast as it plays", "green"
    if view.quiet_s > max(QUIET_S, 2 * view.piece_s):
        return f"○ nothing new for {clock_time(view.quiet_s)}", "bold yellow"
    if view.clock_lag_s is not None:
        return f"● live, {_duration(abs(view.clock_lag_s))} {'behind' if view.clock_lag_s >= 0 else 'ahead'}", "green"
    late = view.lag_s is not None and view.lag_s >= _LATE_S
    return f"● live{f', heard {_duration(view.lag_s or 0.0)} after it came' if late else ''}", "yellow" if late else "green"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < _PRECISE_S else clock_time(seconds)


def _account(view: View, width: int) -> Text:
    """How far it is, how much of it was heard, how it comes, what is listened for."""
    at = view.checkpoint
    said = [clock_time(view.position_s) + (f" of {clock_time(view.length_s)}" if view.length_s > view.position_s else "")]
    if at.position_s:
        said.append(f"heard {_heard(at.heard_s, at.position_s)}")
    if at.gaps:
        said.append(f"{counted(len(at.gaps), 'gap')}, {clock_time(at.gap_s)}")
    if at.rendition and view.kind != "file":
        said.append(at.rendition)
    if at.fetched_bytes:
        said.append(f"{at.fetched_bytes / 1e6:.1f} MB")
    said.append(f"{counted(view.recordings, 'recording')} listened for")
    return Text(_joined(said, width, between="  ·  "), style="dim")


def _heard(heard_s: float, position_s: float) -> str:
    """Never rounded up to all."""
    return "100%" if position_s - heard_s < 0.01 else f"{min(heard_s / position_s * 100, 99.9):.1f}%"


def _rule(width: int) -> Text:
    return Text("─" * width, style="dim")


# ---------------------------------------------------------------------------------------------------- what is playing


def _now(view: View, width: int, graph_lines: int) -> Iterator[_Part]:
    if not view.playing:
        yield _Part(0, [Text(_nothing(view), style="dim")])
    for number, playing in enumerate(view.playing):
        title, artists, progress, evidence = _play(view, playing, width, graph_lines if number == 0 else 1)
        yield _Part(0 if number == 0 else 7, [title])
        yield _Part(7, [artists] if artists.plain.strip() else [])
        yield _Part(2 if number == 0 else 7, [progress])
        yield _Part(6 if number == 0 else 8, evidence)
    for candidate in view.candidates:
        yield _Part(
            8,
            [
                Text.assemble(
                    ("? ", "yellow"),
                    bar(candidate.nats / view.threshold_nats, 12, style="yellow"),
                    f" {candidate.nats:.0f} of {view.threshold_nats:.0f} nats  ",
                    (f"perhaps {candidate.name}", "yellow"),
                )
            ],
        )
    if view.on_air:
        yield _Part(8, [Text(f"the station says: {view.on_air}", style="dim")])


def _nothing(view: View) -> str:
    if not view.position_s:
        return "waiting for sound"
    last_s = max((entry.end_s for entry in view.plays), default=0.0)
    return f"nothing that the catalogue knows, for {clock_time(view.position_s - last_s)}"


def _play(view: View, playing: Playing, width: int, graph_lines: int) -> tuple[Text, Text, Text, list[Text]]:
    """Its title; who and what of; where it is in the recording; how sure that is."""
    told, length_s = playing.told, playing.duration_s
    lost_s = view.checkpoint.position_s - playing.at_s
    fading = lost_s > _FADING_S
    style = "bold green" if told.state == "open" and not fading else "bold yellow"
    title = Text.assemble(("♪ ", style), (told.title, style))
    artists = Text("  " + " · ".join(part for part in (told.artists, told.release) if part))
    here_s = playing.reference_s if fading else playing.reference_at(view.position_s)
    before, after = f"  {clock_time(here_s)} ", f" {clock_time(length_s)}  {clock_time((length_s - here_s) / told.speed)} left"
    if len(before) + len(after) + _BAR_LEAST > width:
        after = f" {clock_time(length_s)}"
    progress = Text.assemble(before, bar(here_s / length_s if length_s else 0.0, max(1, width - len(before) - len(after)), style=style), after)
    said = (
        f"{playing.evidence[-1]:.0f} nats of evidence, {view.threshold_nats:.0f} asked for" if playing.evidence else "",
        f"not heard for {clock_time(lost_s)}" if fading else "",
        "perhaps only quoted" if told.state == "provisional" else "",
        f"speed {speed_change(told.speed)}" if abs(told.speed - 1) >= _SPEED_TOLD else "",
        f"false alarms: {sure_in_brief(told.false_alarms_per_hour)}",
        f"since {clock_time(told.begin_s)}",
    )
    facts = [Text("  " + _joined(said, width - 2, between="  "))]
    if told.action not in ("", "track"):
        facts.append(Text(f"  {told.action}: {told.reason}", style="yellow"))
    level = view.threshold_nats
    drawn = graph(playing.evidence, width - 2, graph_lines, top=max(2 * level, *playing.evidence), level=level) if playing.evidence else []
    return title, artists, progress, [*(Text.assemble("  ", line) for line in drawn), *facts]


# ---------------------------------------------------------------------------------------------------- what it sounds like


def _told(view: View, begin_s: float) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Where plays and gaps are, as far as they reach behind `begin_s`; an open play reaches as far as the stream does."""
    ends = {play.told.hit_id: view.checkpoint.position_s for play in view.playing}
    plays = [(entry.begin_s, ends.get(entry.hit_id, entry.end_s)) for entry in view.plays if entry.end_s >= begin_s or entry.hit_id in ends]
    return plays, [(gap.begin_s, gap.end_s) for gap in takewhile(lambda gap: gap.end_s >= begin_s, reversed(view.checkpoint.gaps))]


def _sounds(view: View, width: int) -> Text:
    """What it is now, and what the last minute was: music is music here, catalogued or not."""
    end = math.floor(view.checkpoint.position_s)
    kinds = view.timeline.kinds(max(0, end - SHARES_S), end)
    if not kinds.size:
        return Text()
    now = next((Kind(kind) for kind in kinds[::-1].tolist() if kind != Kind.UNKNOWN), Kind.UNKNOWN)
    said = Text.assemble("now ", (_NAMES[now] or "nothing", SIGNS[now][1]))
    if math.isfinite(view.level_db) and now is not Kind.SILENCE:
        said.append(f", {view.level_db:.0f} dB".replace("-", "−"))
    found = shares(kinds)
    since = Text("   last minute: " if end >= SHARES_S else f"   last {end} s: ", style="dim")
    room = width - said.cell_len - since.cell_len
    lately = _joined([f"{_NAMES[kind]} {share:.0%}" for kind, share in found.items()], room, between="  ")
    return Text.assemble(said, since, lately) if found and len(lately) <= room else said


def _strip(view: View, width: int) -> list[Text]:
    """As much of the stream as fits, up to an hour or two, and what its signs mean."""
    end = math.floor(view.checkpoint.position_s)
    if end < 1:
        return []
    room = max(1, width)
    cell_s = next((cell_s for cell_s in _CELLS_S if end <= cell_s * room), _CELLS_S[-1])
    begin = max(0, -(-end // cell_s) - room) * cell_s
    plays, gaps = _told(view, begin)
    kinds = view.timeline.kinds(begin, end, plays=plays, gaps=gaps)
    found = shares(kinds)
    legend = Text.assemble((f"from {clock_time(begin)} on  ", "dim"))
    for kind in (Kind.PLAY, Kind.MUSIC, Kind.SPEECH, Kind.OTHER, Kind.SILENCE, Kind.GAP):
        if kind in found:
            name = "other music" if kind is Kind.MUSIC else _NAMES[kind]
            sign = Text.assemble(SIGNS[kind], (f" {name} {found[kind]:.0%}  ", "dim"))
            if legend.cell_len + sign.cell_len <= width + 2:  # of which the last two are blank
                legend.append_text(sign)
    return [strip(cells(kinds, cell_s)), legend]
