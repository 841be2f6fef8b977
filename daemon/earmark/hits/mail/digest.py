"""The mail at a stream's end: all of its plays, also those that no mail told of, and what of the stream was not heard.

As long as SNS takes it, each play has some lines of its own; with more plays one line each; then as many as fit, and it says
how many more there are and where.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from earmark.hits.mail import alert, letter, subject
from earmark.hits.mail.letter import Manner
from earmark.hits.mail.lines import COLUMNS, labelled, narrowed, plain, theirs, wrapped
from earmark.hits.outgoing import Outgoing
from earmark.hits.page.words import why
from earmark.hits.record import Document, Line, Place
from earmark.hits.reports import report
from earmark.hits.sure import sure_in_brief
from earmark.hits.text import cleaned, clock_time, counted, dumps, one_line
from earmark.hits.unidentified import identified_s, unidentified
from earmark.model import Gap, Stream
from earmark.postgres import Connection

#: In the outbox, in place of a play's id: a stream has one.
KEY: Final = "digest"
#: Shorter gaps, and of more than so many the shorter ones, are in the sums alone.
_GAP_S_LEAST, _GAPS_MAX = 10.0, 100
#: Nobody's mail of these would fit with several lines a play.
_IN_FULL_MAX: Final = 3_000
_ENDS: Final = {
    "stream_end": "its broadcast ended",
    "endlist": "its playlist ended",
    "not_live": "its channel is not on air any more",
    "silent_origin": "its origin had nothing new for too long",
    "cut": "cut here: the next session goes on with it",
    "failed": "it could not be listened to any longer",
}


@dataclass(frozen=True, kw_only=True)
class Digest:
    """What a session has to tell when it is over."""

    whole: report.StreamReport
    #: The plays of which nobody was to be told when they were on.
    silent: frozenset[str] = frozenset()
    #: What was done about plays, by `hit_id`.
    actions: Mapping[str, Sequence[Mapping[str, Any]]]

    @cached_property
    def plays(self) -> tuple[Line, ...]:
        """In order; one that never opened, nor was a quotation, is not on record."""
        return tuple(line for line in self.whole.plays if line.state != "provisional")

    @property
    def wanted(self) -> bool:
        """Whether there is a play that people are to know of."""
        return any(line.hit_id not in self.silent for line in self.plays)

    @cached_property
    def mark(self) -> str:
        """The same for two digests that tell of the same plays the same."""
        told = [
            [
                line.hit_id,
                line.begin_s,
                line.end_s,
                line.action,
                line.title,
                line.artists,
                [letter.deed(action) for action in self.actions.get(line.hit_id, ())],
            ]
            for line in self.plays
        ]
        return hashlib.sha256(dumps({"plays": told}).encode()).hexdigest()


def load(connection: Connection, stream_id: str) -> Digest:
    """Of a session as it is on record, within this transaction. Raises StreamNotFound."""
    query = """
        select hit_id, coalesce(body->'policy'->>'notify', 'true') = 'false', coalesce(body->'actions', '[]')
          from play where stream_id = %s and (body->'policy'->>'notify' = 'false' or body ? 'actions')"""
    rows = connection.execute(query, [stream_id]).fetchall()
    return Digest(
        whole=report.load(connection, stream_id),
        silent=frozenset(hit_id for hit_id, silent, _ in rows if silent),
        actions={hit_id: actions for hit_id, _, actions in rows if actions},
    )


def outgoing(digest: Digest, *, place: Place, manner: Manner, revision: int, withheld: int = 0, again: bool = False) -> Outgoing:
    """The row for SNS, of a session with plays.

    Args:
        revision: greater than that of any digest of this stream before.
        withheld: alerts that went over the hourly limit, and of which no other one has told.
        again: there was a digest before, which told of fewer plays or others.
    """
    document = _document(digest, place=place, revision=revision, withheld=withheld, again=again)
    stream, by_action = document["stream"], document["plays"]["by_action"]
    line = subject.of_end(stream, by_action, ended_s=digest.whole.checkpoint.position_s, manner=manner)
    named = alert.attributes(stream, subject.gravest_first(by_action)[0], "ended")
    head = list(_head(digest, manner, withheld=withheld, again=again))
    foot = list(_foot(digest, place))

    def body(entries: Sequence[str]) -> str:
        return alert.message(document, "\n".join([*head, "", *entries, *foot]) + "\n")

    for entries in _layouts(digest, manner):
        whole = body(entries)
        if alert.fits(whole, line, named):
            return alert.row(place.stream_id, KEY, revision, whole, line, named)
    fewer = _as_many_as_fit(entries, room=alert.MESSAGE_BYTES_MAX - alert.bytes_of(body([]), line, named), place=place)
    return alert.row(place.stream_id, KEY, revision, body(fewer), line, named)


def text(digest: Digest, *, place: Place, manner: Manner) -> str:
    """The mail for a terminal, of a session that is over or is still on; whole, however many plays it has."""
    entries = next(_layouts(digest, manner)) if digest.plays else ["No catalogued recording was heard."]
    return plain("\n".join([*_head(digest, manner, withheld=0, again=False), "", *entries, *_foot(digest, place)])) + "\n"


def _document(digest: Digest, *, place: Place, revision: int, withheld: int, again: bool) -> Document:
    """For programs, as `config/schema/alert.v1.json` has it: how it was in sum. What there is of each play they find in `stream.json`."""
    whole = report.document(digest.whole, place)
    stream = cleaned(whole["stream"], text_max=200)
    stream["tags"] = dict(list(stream["tags"].items())[:10])
    return {
        "schema_version": 1,
        "kind": "digest",
        "revision": revision,
        "replaces": again,
        "stream": stream,
        **{name: whole[name] for name in ("state", "started_at", "ended_at", "end_reason", "coverage")},
        "plays": {"total": len(digest.plays), "by_action": dict(Counter(play.action for play in digest.plays)), "withheld": withheld},
        "links": whole["links"],
    }


# ------------------------------------------------------------------------------------------------ what is said of the whole


def _head(digest: Digest, manner: Manner, *, withheld: int, again: bool) -> Iterator[str]:
    stream, recordings = digest.whole.stream, len({play.track_id for play in digest.plays})
    name = theirs(stream.channel_name, 100) or theirs(stream.stream_id, 100)
    yield from wrapped(f"{name}: {counted(len(digest.plays), 'play')} of {counted(recordings, 'recording')}", "", "  ")
    yield ""
    if again:
        yield from wrapped(f"There is more of this {letter.kind(stream.source)} than the digest before said. This one takes its place.")
        yield ""
    yield from labelled(_facts(digest, manner))
    if withheld:
        unsent = f"{counted(withheld, 'alert')} went over the hourly limit and stayed unsent. Their plays are here, too."
        yield from ("", *wrapped(unsent))


def _facts(digest: Digest, manner: Manner) -> Iterator[tuple[str, str]]:
    stream, checkpoint, timebase = digest.whole.stream, digest.whole.checkpoint, digest.whole.timebase
    total_s, gaps = checkpoint.position_s, checkpoint.gaps
    yield "Stream", f"{theirs(stream.stream_id, 150)} ({stream.source})"
    yield "From", manner.when(timebase.at(0.0)) or "time of day not known"
    yield "To", manner.when(timebase.at(total_s))
    yield "Ended", "where the file ends" if stream.source == "file" and checkpoint.end_reason == "endlist" else _ENDS.get(checkpoint.end_reason or "", "")
    yield "Why", theirs(checkpoint.last_error) if checkpoint.end_reason == "failed" else ""
    yield "Heard", f"{clock_time(checkpoint.heard_s)} of {clock_time(total_s)}{f' ({_share(checkpoint.heard_s / total_s)})' if total_s else ''}"
    yield "Not heard", f"{clock_time(checkpoint.gap_s)} in {counted(len(gaps), 'gap')}:" if gaps else ""
    for reason, missed_s in sorted(_by_reason(gaps).items(), key=lambda item: -item[1]):
        yield "", f"{clock_time(missed_s)} {why(reason)}"
    if checkpoint.music.heard_s:
        yield "Music", f"{clock_time(checkpoint.music.heard_s)}, {clock_time(identified_s(checkpoint.music, digest.plays))} of it identified"
        rest = unidentified(checkpoint.music, digest.plays)
        yield "", f"{counted(len(rest.stretches) + rest.left_out, 'part')} unidentified: the report has them" if rest.stretches else ""
    said = Counter(play.action for play in digest.plays)
    yield "Policy", ", ".join(f"{theirs(action, 40)} {said[action]}" for action in subject.gravest_first(said))
    done = Counter(letter.deed(action) for actions in digest.actions.values() for action in actions)
    yield "Done", "; ".join(f"{deed} ({number})" for deed, number in done.most_common(10)) or "nothing was done (dry run)"


def _share(share: float) -> str:
    """Never rounded up to all of it."""
    return f"{min(share, 0.999):.1%}" if share < 1 else "100%"


def _by_reason(gaps: Sequence[Gap]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for gap in gaps:
        seconds[gap.reason] = seconds.get(gap.reason, 0.0) + gap.end_s - gap.begin_s
    return seconds


def _foot(digest: Digest, place: Place) -> Iterator[str]:
    if place.bucket:
        yield from ("", "The report:", letter.opened(place, place.report_key))
        yield from ("", "The cue sheet:", letter.opened(place, place.cue_sheet_key))
        yield from ("", "All of it, with each hit as JSON and what proves it:", place.uri(place.folder))
    else:
        yield from ("", *wrapped(f"The whole: earmark report {one_line(digest.whole.stream.stream_id)}"))


# ------------------------------------------------------------------------------------------------ what is said of each play


def _layouts(digest: Digest, manner: Manner) -> Iterator[list[str]]:
    """The plays and the longer gaps in order, in more words and in fewer."""
    longest = sorted(digest.whole.checkpoint.gaps, key=lambda gap: gap.begin_s - gap.end_s)[:_GAPS_MAX]
    gaps = [gap for gap in longest if gap.end_s - gap.begin_s >= _GAP_S_LEAST]
    rows: list[Line | Gap] = sorted([*digest.plays, *gaps], key=lambda row: (row.begin_s, row.end_s))
    wide = max(len(clock_time(row.begin_s)) for row in rows)
    long = max(len(clock_time(row.end_s - row.begin_s)) for row in rows)

    def begun(row: Line | Gap) -> str:
        return f"{clock_time(row.begin_s):>{wide}}  {clock_time(row.end_s - row.begin_s):>{long}}  "

    title = f"{'AT':>{wide}}  {'FOR':>{max(3, long)}}  WHAT"
    if len(digest.plays) <= _IN_FULL_MAX:
        yield [title, *(line for row in rows for line in (*_entry(row, begun(row), digest, manner), ""))][:-1]
    yield [title, *(narrowed(begun(row) + _in_brief(row), COLUMNS) for row in rows)]


def _entry(row: Line | Gap, begun: str, digest: Digest, manner: Manner) -> Iterator[str]:
    yield from wrapped(_in_brief(row) if isinstance(row, Gap) else f"[{theirs(row.action, 40)}] {_title(row)}", begun, " " * len(begun))
    if isinstance(row, Gap):
        return
    notes = {"a quotation": row.quotation, "goes on in the next session": row.continues, "no alert was wanted": row.hit_id in digest.silent}
    told = [
        "by " + theirs(", ".join(row.artists), 120) if row.artists and row.title else "",
        manner.when(row.started_at),
        f"false alarms: {sure_in_brief(row.false_alarms_per_hour)}",
        ", ".join(note for note, applies in notes.items() if applies),
        letter.done_briefly(digest.actions.get(row.hit_id, ())),
    ]
    for text in filter(None, told):
        yield from wrapped(text, " " * len(begun), " " * (len(begun) + 2))
    if watch := _watched(row, digest.whole.stream, manner):
        yield watch


def _watched(line: Line, stream: Stream, manner: Manner) -> str:
    return manner.watch(
        stream_id=stream.stream_id,
        channel_name=stream.channel_name,
        hit_id=line.hit_id,
        track_id=line.track_id,
        begin_s=line.begin_s,
        end_s=line.end_s,
        started_at=line.started_at,
    )


def _in_brief(row: Line | Gap) -> str:
    if isinstance(row, Gap):
        return f"-- not heard: {why(row.reason)}"
    artists = theirs(", ".join(row.artists), 60) if row.title else ""
    return f"[{theirs(row.action, 40)}] {_title(row)}{f' - {artists}' if artists else ''}"


def _title(line: Line) -> str:
    return theirs(line.title, 120) or theirs(line.track_id, 120)


def _as_many_as_fit(entries: Sequence[str], *, room: int, place: Place) -> list[str]:
    """One line a play: those that fit, and how many do not."""
    room -= 300  # for what is said then
    kept: list[str] = []
    for entry in entries:
        room -= len(dumps({"": entry}).encode()) - len('{"":"') + len("\\n") - len('"}')
        if room < 0:
            break
        kept.append(entry)
    where = "they are in the cue sheet and the report, below" if place.bucket else "the report has them all"
    return [*kept, "", *wrapped(f"And {len(entries) - len(kept):,} more lines that did not fit into this mail: {where}.")]
