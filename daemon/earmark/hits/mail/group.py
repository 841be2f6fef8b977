"""Plays that were told together, in one mail: each recording once, with all its times. Pure.

Programs find each hit whole in `hits`, as it would have come by itself (`config/schema/alert.v1.json`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from earmark.hits.mail import alert, letter, subject
from earmark.hits.mail.letter import Manner
from earmark.hits.mail.lines import labelled, theirs, wrapped
from earmark.hits.outgoing import Outgoing
from earmark.hits.record import Place
from earmark.hits.shortened import shortened
from earmark.hits.sure import sure_in_words
from earmark.hits.text import clock_time, counted, dumps

#: Plays of one mail: whoever has more reads the digest. Hits are some 3 kB, and are sent twice.
PLAYS_MAX: Final = 30


def outgoing(hits: Sequence[Mapping[str, Any]], *, place: Place, manner: Manner, note: str = "") -> Outgoing:
    """The row for SNS of several plays of one stream; under the id of the first, which must stay it."""
    first, told = hits[0], sorted(hits, key=lambda hit: (hit["query"]["begin_s"], hit["hit_id"]))
    line = subject.of_group(told, manner=manner)
    state = min((hit["state"] for hit in hits), key=list(letter.STATES).index)
    named = alert.attributes(first["stream"], subject.gravest_first(hit["policy"]["action"] for hit in hits)[0], state)
    words = _email(told, place=place, manner=manner, note=note)

    def body(documents: Sequence[Mapping[str, Any]], **more: bool) -> str:
        whole = {"schema_version": 1, "kind": "group", "hit_id": first["hit_id"], "revision": first["revision"], "hits": documents, **more}
        return alert.message(whole, words)

    small = 2 * sum(len(dumps(hit)) for hit in told) <= alert.MESSAGE_BYTES_MAX  # giants are not written out to see that they are
    whole = body(told) if small else ""
    if not whole or not alert.fits(whole, line, named):
        whole = body([shortened(hit) for hit in told], truncated=True)
    if not alert.fits(whole, line, named):  # then programs find them in S3
        whole = body([{"hit_id": hit["hit_id"], "revision": hit["revision"]} for hit in told], truncated=True)
    return alert.row(place.stream_id, first["hit_id"], first["revision"], whole, line, named)


def _email(hits: Sequence[Mapping[str, Any]], *, place: Place, manner: Manner, note: str) -> str:
    first = hits[0]["stream"]
    where = theirs(first["channel_name"], 100) or theirs(first["id"], 100)
    lines = wrapped(f"{counted(len(hits), 'play')} on {where}, told together", "", "  ")
    for number, plays in enumerate(_by_recording(hits), 1):
        lines += ["", *_entry(number, plays, manner)]
    lines += ["", *labelled([("Stream", f"{theirs(first['id'], 150)} ({first['source']})")])]
    lines += ["", *wrapped(note)] if note else []
    if place.bucket:
        folder = place.folder + "hits/"
        lines += ["", "Each hit as JSON, by its id:", place.uri(folder)]
        lines += ["", f"The report, at the {letter.kind(first['source'])}'s end:", letter.opened(place, place.report_key)]
    return "\n".join(lines) + "\n"


def _by_recording(hits: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    plays: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for hit in hits:
        plays.setdefault((hit["reference"]["track_id"], hit["policy"]["action"], hit["policy"]["reason"]), []).append(hit)
    return list(plays.values())


def _entry(number: int, plays: Sequence[Mapping[str, Any]], manner: Manner) -> Iterator[str]:
    track = plays[0]["track"]
    yield from wrapped(f"{number}. {theirs(track['title'], 120) or 'a recording without a title'}", "", "   ")
    if track["artists"]:
        yield from wrapped("by " + theirs(", ".join(track["artists"]), 120), "   ", "      ")
    yield from labelled(_facts(plays, manner))
    if watch := letter.watched(plays[0], manner):
        yield from ("Watch it:", watch)


def _facts(plays: Sequence[Mapping[str, Any]], manner: Manner) -> Iterator[tuple[str, str]]:
    """Of one recording, of which the policy says the same each time."""
    first, track = plays[0], plays[0]["track"]
    for number, hit in enumerate(plays):
        query, label = hit["query"], "" if number else "Times" if len(plays) > 1 else "Time"
        until = f"to {clock_time(query['end_s'])}" if hit["state"] == "closed" else "on, still playing"
        yield label, f"{clock_time(query['begin_s'])} {until}{' (a quotation)' if hit['quotation'] else ''}"
        yield "", manner.when(hit["started_at"]) or "time of day not known"
    rates = [hit["score"]["false_alarms_per_hour"] for hit in plays]
    yield "How sure", sure_in_words(None if None in rates else max(rates))
    yield "Policy", f"{first['policy']['action']}: {theirs(first['policy']['reason'])}"
    done = letter.done_briefly([action for hit in plays for action in hit.get("actions") or ()])
    yield "Done", done or letter.undone(first)
    yield "Owner", theirs(track["rights_holder"], 100)
    yield "ISRC", theirs(", ".join(track["isrc"]), 100)
    yield "Track", theirs(first["reference"]["track_id"], 150)
    yield "Hit" if len(plays) == 1 else "Hits", ", ".join(theirs(hit["hit_id"], 40) for hit in plays)
