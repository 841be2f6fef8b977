"""`report.html`: one self-contained page, readable on a phone, in the dark, offline and on paper. Pure.

Everything that came from outside is escaped; a Content-Security-Policy that allows nothing but this page's own style
sheet (by its hash) makes sure that nothing runs or is fetched even if that should ever fail.
"""

import base64
import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from earmark.hits.alert import sure_in_words
from earmark.hits.record import Line, Timebase
from earmark.hits.text import called, clock_time, counted, one_line, rfc3339
from earmark.hits.unidentified import Unidentified, unidentified
from earmark.model import Checkpoint, Gap, Stream, Stretch

#: Colours of recordings, in turn; two neighbours never share one.
_COLOURS = 8
#: The timeline is cut into at most this many bands, one below the other.
_BANDS_MAX = 12
_BAND_LENGTHS_S = (300, 600, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
#: Units across a band of the drawing, and down.
_WIDE, _HIGH = 1000, 24
_MUSIC_HIGH = 7
_GAPS_LISTED_MAX = 200

_END_REASONS = {
    "stream_end": "the stream ended",
    "endlist": "the playlist ended",
    "not_live": "the channel was not live",
    "silent_origin": "the origin fell silent",
    "cut": "cut here, continued in the next session",
    "failed": "it could not be listened to",
}
_FILE_ENDS = {"endlist": "it was heard to its end", "failed": "it could not be heard, or not to its end"}
_GAP_REASONS = {
    "segment_missing": "a segment was gone before it could be fetched",
    "segment_undecodable": "a segment could not be decoded",
    "segment_refused": "a segment was refused",
    "skipped": "the playlist moved on",
    "late": "dropped to the live edge",
    "origin_down": "the origin did not answer",
    "worker_lost": "the listener was replaced",
    "discontinuity": "the encoder's clock jumped",
    "database_away": "the database was away for too long",
}

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1e23;--soft:#5d6570;--paper:#fff;--card:#f4f5f7;--line:#d9dde3;--track:#e6e9ee;--gap:#b3261e;--music:#8a6d00;
--c0:#2b6cb0;--c1:#b7791f;--c2:#2f855a;--c3:#97266d;--c4:#2c7a7b;--c5:#76851a;--c6:#5a4bbd;--c7:#6b7280}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#9aa3ae;--paper:#14161a;--card:#1d2025;--line:#33383f;--track:#2a2f36;--gap:#f2857c;--music:#e3c25a;
--c0:#63a4e8;--c1:#e0b04a;--c2:#5fbf8b;--c3:#dd7fb8;--c4:#5cc4c4;--c5:#b8c75a;--c6:#a69bf3;--c7:#a3abb6}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1.5rem 1rem 4rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:0;overflow-wrap:anywhere}
h2{font-size:1.05rem;margin:2.25rem 0 .75rem}
p{margin:.25rem 0}
small,.soft{color:var(--soft);font-size:.875rem}
.id{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.8125rem;overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1.25rem 0 0}
.facts div{background:var(--card);border-radius:.5rem;padding:.625rem .875rem}
.facts dt{color:var(--soft);font-size:.8125rem}
.facts dd{margin:0;font-size:1.2rem;font-variant-numeric:tabular-nums}
.facts small{display:block}
.error{border-left:4px solid var(--gap);padding:.25rem .75rem;margin-top:1rem;overflow-wrap:anywhere}
.band{display:grid;grid-template-columns:4.25rem 1fr;align-items:center;margin:.25rem 0}
.band span{color:var(--soft);font-size:.8125rem;font-variant-numeric:tabular-nums}
.band svg{width:100%;height:1.5rem;display:block}
.heard{fill:var(--track)}.gap{fill:var(--gap)}.music{fill:var(--music)}
.legend{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.5rem 0 0 4.25rem}
.key{display:inline-block;width:.75rem;height:.75rem;border-radius:.2rem;vertical-align:-.05rem;margin-right:.4rem}
.key.heard{background:var(--track)}.key.gap{background:var(--gap)}.key.music{background:var(--music)}
table{width:100%;border-collapse:collapse}
th{text-align:left;color:var(--soft);font-size:.8125rem;font-weight:600;padding:0 .75rem .4rem 0;border-bottom:1px solid var(--line)}
td{padding:.6rem .75rem .6rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
td.time{white-space:nowrap;font-variant-numeric:tabular-nums}
tr:target td{background:var(--card)}
td small{display:block}
.tag{border:1px solid var(--line);border-radius:1rem;padding:.05rem .55rem;font-size:.8125rem;white-space:nowrap}
footer{margin-top:3rem;color:var(--soft);font-size:.8125rem}
@media(max-width:44rem){table,tbody,tr,td{display:block}thead{display:none}
tr{border-bottom:1px solid var(--line);padding:.75rem 0}tr:target{background:var(--card)}td{border:0;padding:.1rem 0}
td.time{display:inline-block;color:var(--soft);font-size:.875rem}td.time small{display:inline;margin:0 .4rem}td.time+td.time::before{content:"for "}
.facts{grid-template-columns:1fr 1fr}.band{grid-template-columns:3.5rem 1fr}.legend{margin-left:3.5rem}}
@media print{.facts div{border:1px solid var(--line)}tr{break-inside:avoid}}
""" + "".join(f".c{n}{{fill:var(--c{n});background:var(--c{n})}}" for n in range(_COLOURS))


def render(*, stream: Stream, checkpoint: Checkpoint, plays: Sequence[Line], updated_at: datetime) -> str:
    """The page, as text of a file."""
    timebase, gaps, rest = Timebase.of(checkpoint), checkpoint.gaps, unidentified(checkpoint.music, plays)
    colours = _colours(plays)
    name = one_line(stream.channel_name or stream.stream_id)
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">',
        f"<title>{escape(name)}: what was played</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        _header(stream, checkpoint, name, timebase),
        _facts(checkpoint, plays, gaps),
        *_timeline(checkpoint.position_s, plays, gaps, rest.stretches, colours),
        *_plays(plays, colours),
        *_music(rest, timebase),
        *_gaps(gaps, timebase),
        f"<footer>Made by Earmark at {_utc(updated_at)}. Times are UTC; times into the stream count media seconds.</footer>",
        "</body>\n</html>\n",
    ]
    return "\n".join(parts)


def _header(stream: Stream, checkpoint: Checkpoint, name: str, timebase: Timebase) -> str:
    began, ended = timebase.at(0.0), timebase.at(checkpoint.position_s)
    when = f"{_utc(began)} to {_utc(ended)}" if began and ended else "without a clock"
    reason = (_FILE_ENDS if stream.source == "file" else _END_REASONS).get(checkpoint.end_reason or "", "for an unknown reason")
    states = {"ended": f"Finished: {reason}.", "quarantined": "In quarantine: nobody listens until somebody has looked at it."}
    status = states.get(checkpoint.state, "Still listening.")
    lines = [
        f'<header>\n<h1 dir="auto">{escape(name)}</h1>',
        f'<p class="soft"><span class="id">{escape(one_line(stream.stream_id))}</span> · {escape(stream.source)} · {when}</p>',
        f'<p class="soft">{escape(status)}</p>',
    ]
    if checkpoint.last_error:
        lines.append(f'<p class="error">Latest trouble: {escape(one_line(checkpoint.last_error, 500))}</p>')
    return "\n".join([*lines, "</header>"])


def _facts(checkpoint: Checkpoint, plays: Sequence[Line], gaps: Sequence[Gap]) -> str:
    total_s = checkpoint.position_s
    share = f"{checkpoint.heard_s / total_s:.1%} of the session" if total_s else ""
    recordings = len({line.track_id for line in plays})
    facts = [
        ("Length", clock_time(total_s), "of media"),
        ("Heard", clock_time(checkpoint.heard_s), share),
        ("Not heard", clock_time(checkpoint.gap_s), counted(len(gaps), "gap")),
        ("Plays", f"{len(plays):,}", f"of {counted(recordings, 'recording')}" if plays else "nothing from the catalogue"),
    ]
    return '<dl class="facts">' + "".join(f"<div><dt>{label}</dt><dd>{value}<small>{small}</small></dd></div>" for label, value, small in facts) + "</dl>"


def _utc(moment: datetime) -> str:
    return rfc3339(moment)[:19].replace("T", " ") + " UTC"


def _colours(plays: Sequence[Line]) -> dict[str, int]:
    """A colour for each recording, in order of first appearance."""
    colours: dict[str, int] = {}
    for line in plays:
        colours.setdefault(line.track_id, len(colours) % _COLOURS)
    return colours


# ------------------------------------------------------------------------------------------------ the timeline


def _timeline(total_s: float, plays: Sequence[Line], gaps: Sequence[Gap], music: Sequence[Stretch], colours: dict[str, int]) -> Iterator[str]:
    if total_s <= 0:
        return
    band_s = next((length for length in _BAND_LENGTHS_S if total_s <= length * _BANDS_MAX), total_s / _BANDS_MAX)
    bars = [
        *_music_bars(music),
        *_play_bars(plays, colours),
        *(_Bar(gap.begin_s, gap.end_s, "gap", f"not heard: {_GAP_REASONS.get(gap.reason, gap.reason)}") for gap in gaps),
    ]
    yield "<section>\n<h2>Timeline</h2>"
    # A stream shorter than one band fills the width.
    width_s = min(band_s, total_s)
    for n in range(math.ceil(total_s / width_s)):
        begin_s, end_s = n * width_s, min((n + 1) * width_s, total_s)
        yield f'<div class="band"><span>{clock_time(begin_s)}</span>{_band(begin_s, end_s, width_s, bars)}</div>'
    yield '<p class="legend soft"><span><i class="key c0"></i>a recording</span><span><i class="key heard"></i>heard, nothing recognised</span>'
    yield '<span><i class="key music"></i>music, unidentified</span>'
    yield '<span><i class="key gap"></i>not heard</span></p>\n</section>'


@dataclass(frozen=True, slots=True)
class _Bar:
    """Something with a place on the timeline."""

    begin_s: float
    end_s: float
    style: str
    title: str
    #: Units from the top of the band, and down.
    top: float = 0.0
    height: float = _HIGH
    #: Where a click leads on this page; empty: nowhere.
    anchor: str = ""


def _play_bars(plays: Sequence[Line], colours: dict[str, int]) -> Iterator[_Bar]:
    for number, (line, (lane, lanes)) in enumerate(zip(plays, _lanes(plays), strict=True), 1):
        height = _HIGH / lanes
        title = f"{_name(line)}, {clock_time(line.begin_s)} to {clock_time(line.end_s)}"
        style = f"c{colours[line.track_id]}"
        yield _Bar(line.begin_s, line.end_s, style, title, top=lane * height + 1, height=height - 2, anchor=f"play{number}")


def _music_bars(music: Sequence[Stretch]) -> Iterator[_Bar]:
    """A lane of its own along the bottom."""
    for number, stretch in enumerate(music, 1):
        title = f"music, unidentified, {clock_time(stretch.begin_s)} to {clock_time(stretch.end_s)}"
        yield _Bar(stretch.begin_s, stretch.end_s, "music", title, top=_HIGH - _MUSIC_HIGH, height=_MUSIC_HIGH, anchor=f"music{number}")


def _band(begin_s: float, end_s: float, width_s: float, bars: Sequence[_Bar]) -> str:
    """The stretch of the timeline from begin_s to end_s, where width_s would fill the width."""
    scale = _WIDE / width_s
    out = [f'<rect x="0" y="0" width="{(end_s - begin_s) * scale:.1f}" height="{_HIGH}" class="heard"/>']
    for bar in bars:
        if bar.begin_s >= end_s or bar.end_s <= begin_s:
            continue
        left = (max(bar.begin_s, begin_s) - begin_s) * scale
        # At least two units wide: three seconds in two hours are still seen.
        width = max(2.0, (min(bar.end_s, end_s) - begin_s) * scale - left)
        shape = f'<rect x="{left:.1f}" y="{bar.top:.1f}" width="{width:.1f}" height="{bar.height:.1f}" class="{bar.style}">'
        shape += f"<title>{escape(bar.title)}</title></rect>"
        out.append(f'<a href="#{bar.anchor}">{shape}</a>' if bar.anchor else shape)
    label = f"{clock_time(begin_s)} to {clock_time(end_s)}"
    return f'<svg viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" role="img" aria-label="{label}">{"".join(out)}</svg>'


def _lanes(plays: Sequence[Line]) -> list[tuple[int, int]]:
    """For each play, in order of begin_s, its lane and how many there are: plays that overlap, even through others, share the height."""
    placed: list[tuple[int, int]] = []
    ends_s: list[float] = []  # of the lanes of the present heap of overlapping plays
    heap: list[int] = []
    for line in plays:
        if all(end_s <= line.begin_s for end_s in ends_s):
            placed += [(lane, len(ends_s)) for lane in heap]
            ends_s, heap = [], []
        lane = next((n for n, end_s in enumerate(ends_s) if end_s <= line.begin_s), len(ends_s))
        ends_s[lane : lane + 1] = [line.end_s]
        heap.append(lane)
    return placed + [(lane, len(ends_s)) for lane in heap]


# ------------------------------------------------------------------------------------------------ the tables


def _name(line: Line) -> str:
    return one_line(called(line.artists, line.title) or line.track_id)


def _plays(plays: Sequence[Line], colours: dict[str, int]) -> Iterator[str]:
    yield "<section>\n<h2>Plays</h2>"
    if not plays:
        yield '<p class="soft">No catalogued recording was heard.</p>\n</section>'
        return
    yield "<table>\n<thead><tr><th>From</th><th>For</th><th>Recording</th><th>Rights</th><th>How sure</th></tr></thead>\n<tbody>"
    for number, line in enumerate(plays, 1):
        yield _play_row(number, line, colours[line.track_id])
    yield "</tbody>\n</table>\n</section>"


def _play_row(number: int, line: Line, colour: int) -> str:
    title = one_line(line.title) or one_line(line.track_id)
    details = [
        ("by ", ", ".join(line.artists)),
        ("", " · ".join(part for part in (line.album, line.label) if part)),
        ("ISRC ", ", ".join(code for code in line.isrc if code not in line.track_id)),
        ("the station said: ", line.now_playing),
    ]
    small = "".join(f'<small dir="auto">{before}{escape(one_line(value))}</small>' for before, value in details if value)
    notes = {"playing": line.state == "open", "not confirmed yet": line.state == "provisional", "quotation": line.quotation, "continues": line.continues}
    tags = "".join(f' <span class="tag">{note}</span>' for note, applies in notes.items() if applies)
    wall = f"<small>{escape(line.started_at[11:19])} UTC</small>" if line.started_at else ""
    owner = f"<small>{escape(one_line(line.rights_holder))}</small>" if line.rights_holder else ""
    sure = sure_in_words(line.false_alarms_per_hour).removesuffix(" of listening")
    times = f'<td class="time">{clock_time(line.begin_s)}{wall}</td><td class="time">{clock_time(line.end_s - line.begin_s)}</td>'
    return (
        f'<tr id="play{number}">{times}'
        f'<td><i class="key c{colour}"></i><bdi>{escape(title)}</bdi>{tags}{small}<small class="id">{escape(one_line(line.track_id))}</small></td>'
        f'<td><span class="tag">{escape(line.action)}</span>{owner}</td><td>{escape(sure)}</td></tr>'
    )


def _music(rest: Unidentified, timebase: Timebase) -> Iterator[str]:
    if not rest.stretches:
        return
    yield "<section>\n<h2>Music, unidentified</h2>\n<table>\n<thead><tr><th>From</th><th>To</th><th>For</th></tr></thead>\n<tbody>"
    for number, stretch in enumerate(rest.stretches, 1):
        moment = timebase.at(stretch.begin_s)
        wall = f"<small>{_utc(moment)[11:]}</small>" if moment else ""
        times = [clock_time(stretch.begin_s) + wall, clock_time(stretch.end_s), clock_time(stretch.end_s - stretch.begin_s)]
        yield f'<tr id="music{number}">' + "".join(f'<td class="time">{time}</td>' for time in times) + "</tr>"
    yield "</tbody>\n</table>"
    if rest.left_out:
        yield f'<p class="soft">and {rest.left_out:,} more, shorter.</p>'
    yield "</section>"


def _gaps(gaps: Sequence[Gap], timebase: Timebase) -> Iterator[str]:
    if not gaps:
        return
    yield "<section>\n<h2>Not heard</h2>\n<table>\n<thead><tr><th>From</th><th>For</th><th>Why</th></tr></thead>\n<tbody>"
    for gap in gaps[:_GAPS_LISTED_MAX]:
        moment = timebase.at(gap.begin_s)
        wall = f"<small>{_utc(moment)[11:]}</small>" if moment else ""
        seconds = gap.end_s - gap.begin_s
        length = f"{seconds:.1f} s" if seconds < 60 else clock_time(seconds)
        reason = escape(_GAP_REASONS.get(gap.reason, gap.reason))
        yield f'<tr><td class="time">{clock_time(gap.begin_s)}{wall}</td><td class="time">{length}</td><td>{reason}</td></tr>'
    yield "</tbody>\n</table>"
    if len(gaps) > _GAPS_LISTED_MAX:
        yield f'<p class="soft">and {len(gaps) - _GAPS_LISTED_MAX:,} more, all of them in the cue sheet.</p>'
    yield "</section>"
