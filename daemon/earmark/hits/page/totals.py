"""The sums of `report.html`: where the stream's seconds went, and who has how many of them. Pure."""

from collections.abc import Callable, Iterator, Sequence
from html import escape

from earmark.hits.page.seconds import Seen, Sum, shown_s
from earmark.hits.page.words import recording, why
from earmark.hits.record import Line
from earmark.hits.text import clock_time, one_line
from earmark.model import Gap

#: Rows of a table; what is beyond them is added up in one.
_ROWS_MAX = 200


def totals(total_s: float, *, plays: Sequence[Line], gaps: Sequence[Gap], seen: Seen) -> Iterator[str]:
    """The section; nothing of a stream without length."""
    if total_s <= 0:
        return
    yield '<section aria-labelledby="totals">\n<h2 id="totals">Totals</h2>'
    yield from _seconds(total_s, gaps, seen)
    if seen.sums(lambda line: line.action):
        catalogued_s = seen.between(0.0, total_s).catalogued_s
        groups: tuple[tuple[str, Callable[[Line], str]], ...] = (
            ("Policy", lambda line: line.action),
            ("Owner", lambda line: one_line(line.rights_holder)),
            ("Recording", lambda line: line.track_id),
        )
        names = {line.track_id: recording(line) for line in reversed(plays)}
        for what, key in groups:
            yield from _group(what, seen.sums(key), names if what == "Recording" else {}, total_s, catalogued_s)
    yield "</section>"


def _seconds(total_s: float, gaps: Sequence[Gap], seen: Seen) -> Iterator[str]:
    """Each second once: the rows add up to the length."""
    whole = seen.between(0.0, total_s)
    rows = [("Catalogued recordings", whole.catalogued_s), ("Music, unidentified", whole.music_s)]
    rows += [("Speech", whole.speech_s), ("Silence", whole.silence_s), ("Heard, nothing recognised", whole.rest_s)]
    rows += [(f"Not heard: {reason}", length_s) for reason, length_s in _by_reason(gaps, whole.gap_s)]
    yield _head("Every second, once", ("Seconds", "For", "Share"))
    for (what, length_s), whole_s in zip(rows, shown_s(length_s for _, length_s in rows), strict=True):
        if length_s > 0:
            yield _row(what, (clock_time(whole_s), _share(length_s, total_s)))
    yield f"</tbody>\n<tfoot>{_row('The stream', (clock_time(total_s), '100%'))}</tfoot></table>"


def _by_reason(gaps: Sequence[Gap], gap_s: float) -> list[tuple[str, float]]:
    reasons: dict[str, float] = {}
    for gap in gaps:
        reasons[gap.reason] = reasons.get(gap.reason, 0.0) + gap.end_s - gap.begin_s
    # Gaps do not overlap; should they, each second is still counted once.
    scale = gap_s / (sum(reasons.values()) or 1.0)
    return [(why(reason), length_s * scale) for reason, length_s in sorted(reasons.items(), key=lambda one: -one[1])]


def _group(what: str, sums: Sequence[Sum[str]], names: dict[str, str], total_s: float, catalogued_s: float) -> Iterator[str]:
    """Plays may overlap, so their seconds add up to more than are catalogued: the last rows say by how much."""
    listed, rest = sums[:_ROWS_MAX], sums[_ROWS_MAX:]
    rows = [(names.get(one.key, one.key) or "not said", one.plays, one.heard_s) for one in listed]
    if rest:
        rows.append((f"{len(rest):,} more", sum(one.plays for one in rest), sum(one.heard_s for one in rest)))
    together_s = sum(length_s for _, _, length_s in rows)
    shown = shown_s(length_s for _, _, length_s in rows)
    yield f"<details{' open' if len(rows) <= 10 else ''}><summary>By {what.lower()}</summary>"
    yield _head(f"Seconds by {what.lower()}", (what, "Plays", "For", "Share"))
    for (name, plays, length_s), whole_s in zip(rows, shown, strict=True):
        yield _row(name, (f"{plays:,}", clock_time(whole_s), _share(length_s, total_s)))
    yield "</tbody>\n<tfoot>"
    plays_n = f"{sum(plays for _, plays, _ in rows):,}"
    twice_s = sum(shown) - round(catalogued_s)
    if twice_s > 0:
        yield _row("Two at once, counted twice above", ("", f"−{clock_time(twice_s)}", f"−{_share(together_s - catalogued_s, total_s)}"))
    yield _row("Catalogued recordings", (plays_n, clock_time(catalogued_s), _share(catalogued_s, total_s))) + "</tfoot></table></details>"


def _share(part_s: float, total_s: float) -> str:
    """Of the stream; what is there at all is not told as nothing."""
    return f"{part_s / total_s:.1%}" if part_s / total_s >= 0.0005 else "&lt;0.1%"


def _head(caption: str, columns: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return f'<table class="sums"><caption class="sr">{caption}</caption>\n<thead><tr>{heads}</tr></thead>\n<tbody>'


def _row(name: str, values: Sequence[str]) -> str:
    return f'<tr><th scope="row"><bdi>{escape(name)}</bdi></th>' + "".join(f"<td>{value}</td>" for value in values) + "</tr>"
