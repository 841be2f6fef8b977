"""The table of plays in `report.html`, and what explains each of them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from earmark.hits.page.details import Clip, Proof
from earmark.hits.page.seconds import Seen
from earmark.hits.record import Line
from earmark.hits.sure import sure_in_words
from earmark.hits.text import clock_time, one_line

#: Columns: how the script sorts by them (by their order, by `data-v`, or by their text), and what they are called.
_COLUMNS = (("order", "From"), ("number", "For"), ("text", "Recording"), ("text", "Owner"), ("text", "Policy"), ("number", "How sure"))
#: How to read what a play's "Evidence" shows.
_READING = (
    "Under <b>Evidence</b>, the drawing on the left has a dot for each sound that the stream and the recording share: across, when the stream had it; "
    "up, where the recording has it. They lie on one line because the same things came in the same order. The drawing on the right counts them: the "
    "spike is how many coincide there; beside it, how many would if the recording were shifted a little, which is chance. A <i>nat</i> of evidence "
    "makes a play 2.7 times as likely."
)


def plays_section(plays: Sequence[Line], *, seen: Seen, colours: Mapping[str, int], proofs: Mapping[str, Proof], linked: bool) -> Iterator[str]:
    """`linked`: the page lies in the stream's folder, beside what it points to."""
    yield '<section aria-labelledby="plays">\n<h2 id="plays">Plays</h2>'
    if not plays:
        yield '<p class="soft">No catalogued recording was heard.</p>\n</section>'
        return
    yield _finder(plays)
    if any(proof.pictures for proof in proofs.values()):
        yield f'<details class="reading"><summary>How to read the evidence</summary><p>{_READING}</p></details>'
    heads = "".join(f'<th scope="col" role="columnheader" data-sort="{kind}">{name}</th>' for kind, name in _COLUMNS)
    yield (
        '<table id="list" role="table">\n<caption class="sr">Plays of catalogued recordings</caption>'
        f'\n<thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
    )
    for number, line in enumerate(plays, 1):
        yield _play(number, line, colours[line.track_id], seen.heard_s(line), proofs.get(line.hit_id), linked=linked)
    yield "</table>"
    if proofs and len(proofs) < len(plays):
        shown = f"{len(proofs):,} of {len(plays):,} plays are explained here, those with consequences first"
        yield f'<p class="soft">{shown}; `earmark hits explain` draws any.</p>'
    yield "</section>"


def _finder(plays: Sequence[Line]) -> str:
    """Hidden until the script, which does the work, shows it."""
    actions = "".join(f"<option>{escape(action)}</option>" for action in sorted({line.action for line in plays}))
    return (
        '<form id="finder" role="search" aria-label="Find plays" hidden>'
        '<label>Find <input id="words" type="search" autocomplete="off" spellcheck="false" maxlength="200"></label>'
        f'<label>Policy <select id="action"><option value="">all</option>{actions}</select></label>'
        '<button type="button" id="unfold" aria-pressed="false">Show all evidence</button>'
        '<p id="found" role="status"></p></form>'
    )


def _play(number: int, line: Line, colour: int, heard_s: float, proof: Proof | None, *, linked: bool) -> str:
    """A group of its own: its line, and what explains it. The script adds up `data-s`."""
    wall = f"<small>{escape(line.started_at[11:19])} UTC</small>" if line.started_at else ""
    length_s = line.end_s - line.begin_s
    rate = line.false_alarms_per_hour
    sortable = f' data-v="{rate:.3g}"' if rate is not None else ""
    sure = sure_in_words(rate).removesuffix(" of listening").removeprefix("about ")
    owner = f"<bdi>{escape(one_line(line.rights_holder, 100))}</bdi>" if line.rights_holder else ""
    cells = (
        f'<td role="cell" class="time">{clock_time(line.begin_s)}{wall}</td><td role="cell" class="time" data-v="{length_s:.1f}">{clock_time(length_s)}</td>'
        f'<th scope="row" role="rowheader"><i class="key c{colour}"></i>{_recording(line)}</th><td role="cell" class="owner">{owner}</td>'
        f'<td role="cell"><span class="tag {escape(line.action)}">{escape(line.action)}</span></td>'
        f'<td role="cell" class="sure"{sortable}>{escape(sure)}</td>'
    )
    more = f'<tr role="row" class="more"><td role="cell" colspan="6">{_explained(proof, linked=linked)}</td></tr>' if proof else ""
    return f'<tbody id="play{number}" role="rowgroup" data-s="{heard_s:.1f}"><tr role="row">{cells}</tr>{more}</tbody>'


def _recording(line: Line) -> str:
    title = one_line(line.title) or one_line(line.track_id)
    artists = one_line(", ".join(line.artists), 100)
    details = [
        ("", " · ".join(part for part in (artists and f"by {artists}", one_line(line.album, 45), one_line(line.label, 45)) if part)),
        ("ISRC ", ", ".join(code for code in line.isrc if code not in line.track_id)),
        ("the station said: ", line.now_playing),
    ]
    small = "".join(f"<small>{before}{escape(one_line(value))}</small>" for before, value in details if value)
    notes = {"playing": line.state == "open", "not confirmed yet": line.state == "provisional", "quotation": line.quotation, "continues": line.continues}
    tags = "".join(f' <span class="tag">{note}</span>' for note, applies in notes.items() if applies)
    return f'<bdi>{escape(title)}</bdi>{tags}{small}<small class="id">{escape(one_line(line.track_id))}</small>'


def _explained(proof: Proof, *, linked: bool) -> str:
    clips = (("In the stream", proof.clip), ("In the recording", proof.preview))
    sounds = [_sound(what, clip) for what, clip in clips if clip and (linked or _is_whole(clip))]
    heard = f'<div class="sounds">{"".join(sounds)}</div>' if sounds else ""
    facts = "".join(f"<div><dt>{label}</dt><dd>{escape(value)}</dd></div>" for label, value in proof.facts)
    links = " · ".join(f'<a href="{address}">{what}</a>' for what, address in proof.beside) if linked else ""
    named = f'<div><dt>Hit</dt><dd><span class="id">{escape(one_line(proof.hit_id))}</span>{f" {links}" if links else ""}</dd></div>'
    return f"<details><summary>Evidence</summary>{heard}{proof.pictures}<dl>{facts}{named}</dl></details>"


def _is_whole(clip: Clip) -> bool:
    """It is in the page itself."""
    return clip.address.startswith("data:")


def _sound(what: str, clip: Clip) -> str:
    name = f"{what} {clock_time(clip.begin_s)}–{clock_time(clip.end_s)}"
    return f'<figure><figcaption>{name}</figcaption><audio controls preload="none" src="{escape(clip.address)}" aria-label="{name}"></audio></figure>'
