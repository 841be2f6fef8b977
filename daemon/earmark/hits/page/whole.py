"""`report.html`: one self-contained page, readable on a phone, in the dark, offline, by ear and on paper.

Everything that came from outside is escaped; a Content-Security-Policy that allows nothing but this page's own style
sheet and script (each by its hash) makes sure that nothing else runs or is fetched even if that should ever fail. The
script sorts and finds, and reads no data but the page's own text: without it the page is whole.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from html import escape
from importlib import resources

from earmark.hits.page.details import Proof
from earmark.hits.page.plays import plays_section
from earmark.hits.page.seconds import Seconds, Seen
from earmark.hits.page.timeline import COLOURS, colours_of, timeline
from earmark.hits.page.totals import totals
from earmark.hits.page.words import utc, why
from earmark.hits.record import Line, Timebase
from earmark.hits.text import clock_time, counted, one_line
from earmark.hits.unidentified import Unidentified, unidentified
from earmark.model import Checkpoint, Gap, Stream
from earmark.reserved import is_canary

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


def render(
    *,
    stream: Stream,
    checkpoint: Checkpoint,
    plays: Sequence[Line],
    updated_at: datetime,
    proofs: Mapping[str, Proof] | None = None,
    linked: bool = False,
) -> str:
    """The page, as text of a file.

    Args:
        proofs: what explains plays, by `hit_id`.
        linked: it goes into the stream's folder, and may point to what else is there.
    """
    proofs = proofs or {}
    timebase, gaps, rest = Timebase.of(checkpoint), checkpoint.gaps, unidentified(checkpoint.music, plays)
    silence, colours, total_s = checkpoint.silence, colours_of(plays), checkpoint.position_s
    seen = Seen(plays=plays, gaps=gaps, music=rest.stretches, silence=silence, speech=checkpoint.speech)
    name = one_line(stream.channel_name or stream.stream_id)
    whole = seen.between(0.0, total_s)
    sections = [
        *timeline(total_s, timebase, plays=plays, gaps=gaps, music=rest.stretches, silence=silence, seen=seen, colours=colours),
        *plays_section(plays, seen=seen, colours=colours, proofs=proofs, linked=linked),
        *totals(total_s, plays=plays, gaps=gaps, seen=seen),
        *_music(rest, timebase),
        *_gaps(gaps, timebase),
    ]
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_policy(proofs, linked=linked), quote=True)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(name)}: what was played</title>\n<style>{_style()}</style>\n</head>\n<body>",
        _header(stream, checkpoint, name, timebase),
        _contents(sections),
        f"<main>\n{_lead(plays, whole, total_s)}",
        _facts(checkpoint, plays, whole),
        *sections,
        "</main>",
        f"<footer>Made by Earmark at {utc(updated_at)}. Times are UTC; times into the stream count media seconds.{_beside(linked=linked)}</footer>",
        f"<script>{_script()}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


# ------------------------------------------------------------------------------------------------ what may run


@cache
def _style() -> str:
    sheet = resources.files("earmark").joinpath("hits", "page", "style.css").read_text(encoding="utf-8")
    return sheet + "".join(f".c{n}{{fill:var(--c{n});background:var(--c{n})}}" for n in range(COLOURS)) + "\n"


@cache
def _script() -> str:
    return resources.files("earmark").joinpath("hits", "page", "script.js").read_text(encoding="utf-8")


def _policy(proofs: Mapping[str, Proof], *, linked: bool) -> str:
    """Content-Security-Policy, level 3: a source that is a hash allows the one element whose text has it."""
    sounds = [sound.address for proof in proofs.values() for sound in (proof.clip, proof.preview) if sound]
    media = [source for source, allowed in (("data:", any(one.startswith("data:") for one in sounds)), ("'self'", linked and sounds)) if allowed]
    rules = [
        "default-src 'none'",
        f"style-src 'sha256-{_digest(_style())}'",
        f"script-src 'sha256-{_digest(_script())}'",
        *([f"media-src {' '.join(media)}"] if media else []),
        "base-uri 'none'",
        "form-action 'none'",
    ]
    return "; ".join(rules)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


# ------------------------------------------------------------------------------------------------ the head


def _header(stream: Stream, checkpoint: Checkpoint, name: str, timebase: Timebase) -> str:
    began, ended = timebase.at(0.0), timebase.at(checkpoint.position_s)
    when = f"{utc(began)} to {utc(ended)}" if began and ended else "without a clock"
    reason = (_FILE_ENDS if stream.source == "file" else _END_REASONS).get(checkpoint.end_reason or "", "for an unknown reason")
    states = {"ended": f"Finished: {reason}.", "quarantined": "In quarantine: nobody listens until somebody has looked at it."}
    status = states.get(checkpoint.state, "Still listening.")
    lines = [
        f'<header>\n<h1 dir="auto">{escape(name)}</h1>',
        f'<p class="soft"><span class="id">{escape(one_line(stream.stream_id))}</span> · {escape(stream.source)} · {when}</p>',
        f'<p class="soft">{escape(status)}</p>',
    ]
    if is_canary(stream.stream_id):
        lines.append("<p class=\"soft\">A canary: a stream of Earmark's own, by which it is watched. What was heard in it is nobody's play.</p>")
    if checkpoint.last_error:
        lines.append(f'<p class="error">Latest trouble: {escape(one_line(checkpoint.last_error, 500))}</p>')
    return "\n".join([*lines, "</header>"])


def _contents(sections: Sequence[str]) -> str:
    """Links to the parts that there are."""
    parts = (("timeline", "Timeline"), ("plays", "Plays"), ("totals", "Totals"), ("music", "Music, unidentified"), ("gaps", "Not heard"))
    there = "".join(sections)
    links = " ".join(f'<a href="#{part}">{words}</a>' for part, words in parts if f'<h2 id="{part}">' in there)
    return f'<nav aria-label="Parts of this page">{links}</nav>'


def _lead(plays: Sequence[Line], whole: Seconds, total_s: float) -> str:
    """The page in a sentence."""
    if not plays:
        return f'<p class="lead">No catalogued recording was heard in {clock_time(total_s)}.</p>'
    share = f" ({whole.catalogued_s / total_s:.1%})" if total_s else ""
    actions: dict[str, int] = {}
    for line in plays:
        if line.action not in ("track", "allow"):
            actions[line.action] = actions.get(line.action, 0) + 1
    asked = ", ".join(f"{action} for {count:,}" for action, count in sorted(actions.items(), key=lambda one: -one[1]))
    counts = f"{counted(len(plays), 'play')} of {counted(len({line.track_id for line in plays}), 'recording')}"
    says = f" The policy says {escape(asked)}." if asked else " The policy asks for nothing beyond a record of it."
    return f'<p class="lead">{counts}: {clock_time(whole.catalogued_s)} of {clock_time(total_s)}{share}.{says}</p>'


def _facts(checkpoint: Checkpoint, plays: Sequence[Line], whole: Seconds) -> str:
    total_s = checkpoint.position_s
    share = f"{checkpoint.heard_s / total_s:.1%} of the session" if total_s else ""
    recordings = len({line.track_id for line in plays})
    facts = [
        ("Length", clock_time(total_s), "of media"),
        ("Heard", clock_time(checkpoint.heard_s), share),
        ("Not heard", clock_time(checkpoint.gap_s), counted(len(checkpoint.gaps), "gap")),
        ("Plays", f"{len(plays):,}", f"of {counted(recordings, 'recording')}" if plays else "nothing from the catalogue"),
    ]
    if checkpoint.music.heard_s:
        facts.append(("Music, unidentified", clock_time(whole.music_s), f"of {clock_time(checkpoint.music.heard_s)} of music"))
    return '<dl class="facts">' + "".join(f"<div><dt>{label}</dt><dd>{value}<small>{small}</small></dd></div>" for label, value, small in facts) + "</dl>"


def _beside(*, linked: bool) -> str:
    links = [
        f'<a href="{address}">{what}</a>'
        for address, what in (("stream.json", "the summary"), ("cue-sheet.csv", "the cue sheet"), ("cut-list.json", "the cut list"))
    ]
    return f" Beside it: {', '.join(links[:-1])} and {links[-1]}." if linked else ""


# ------------------------------------------------------------------------------------------------ what was not recognised


def _music(rest: Unidentified, timebase: Timebase) -> Iterator[str]:
    if not rest.stretches:
        return
    yield '<section aria-labelledby="music">\n<h2 id="music">Music, unidentified</h2>\n<table>\n<caption class="sr">Music that no play explains</caption>'
    yield '<thead><tr><th scope="col">From</th><th scope="col">To</th><th scope="col">For</th></tr></thead>\n<tbody>'
    for number, stretch in enumerate(rest.stretches, 1):
        times = [clock_time(stretch.begin_s) + _wall(timebase, stretch.begin_s), clock_time(stretch.end_s), clock_time(stretch.end_s - stretch.begin_s)]
        yield f'<tr id="music{number}">' + "".join(f'<td class="time">{time}</td>' for time in times) + "</tr>"
    yield "</tbody>\n</table>"
    if rest.left_out:
        yield f'<p class="soft">and {rest.left_out:,} more, shorter.</p>'
    yield "</section>"


def _gaps(gaps: Sequence[Gap], timebase: Timebase) -> Iterator[str]:
    if not gaps:
        return
    yield '<section aria-labelledby="gaps">\n<h2 id="gaps">Not heard</h2>\n<table>\n<caption class="sr">Gaps, and why</caption>'
    yield '<thead><tr><th scope="col">From</th><th scope="col">For</th><th scope="col">Why</th></tr></thead>\n<tbody>'
    for gap in gaps[:_GAPS_LISTED_MAX]:
        seconds = gap.end_s - gap.begin_s
        length = f"{seconds:.1f} s" if seconds < 60 else clock_time(seconds)
        reason = escape(why(gap.reason))
        yield f'<tr><td class="time">{clock_time(gap.begin_s)}{_wall(timebase, gap.begin_s)}</td><td class="time">{length}</td><td>{reason}</td></tr>'
    yield "</tbody>\n</table>"
    if len(gaps) > _GAPS_LISTED_MAX:
        yield f'<p class="soft">and {len(gaps) - _GAPS_LISTED_MAX:,} more, all of them in the cue sheet.</p>'
    yield "</section>"


def _wall(timebase: Timebase, stream_s: float) -> str:
    moment = timebase.at(stream_s)
    return f"<small>{utc(moment)[11:]}</small>" if moment else ""
