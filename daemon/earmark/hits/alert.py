"""A hit as an SNS message: readable as mail, parsable as JSON, filterable by attributes, and never too large.

Limits are those of the SNS Publish API: a subject of at most 100 ASCII characters without control characters, string
attributes that are not empty, 262,144 bytes for message and attributes together.
"""

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from earmark.hits.record import Outgoing, Place
from earmark.hits.text import FALSE_ALARMS_FLOOR, ascii_line, cleaned, clock_time, dumps, one_line

MESSAGE_BYTES_MAX = 256 * 1024
SUBJECT_MAX = 99
COLUMNS = 60

_HOURS_PER_YEAR = 24 * 365.25
_HOURS_PER_MILLION_YEARS = 1e6 * _HOURS_PER_YEAR
_STATES = {"provisional": "Possibly playing", "open": "Now playing", "closed": "Played"}
_LABEL_COLUMNS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Alerts of one stream in one hour of the clock (UTC): how many went, how many were only counted."""

    hour: datetime
    sent: int = 0
    withheld: int = 0

    @classmethod
    def at(cls, now: datetime) -> "Budget":
        return cls(hour=now.astimezone(UTC).replace(minute=0, second=0, microsecond=0))

    def spend(self, now: datetime, per_hour_max: int) -> tuple["Budget", str | None]:
        """One more is wanted: the budget after it, and what the alert must say of the cap (often nothing); None: withhold it."""
        here = Budget.at(now)
        budget = self if here.hour <= self.hour else replace(here, withheld=self.withheld)
        if budget.sent >= per_hour_max:
            return replace(budget, withheld=budget.withheld + 1), None
        notes = []
        if budget.withheld:
            alerts = "alert" if budget.withheld == 1 else "alerts"
            notes.append(f"{budget.withheld} earlier {alerts} of this stream went over the hourly limit and stayed unsent.")
        if budget.sent + 1 == per_hour_max:
            until = (budget.hour + timedelta(hours=1)).strftime("%H:%M")
            notes.append(f"This is alert {per_hour_max} of {per_hour_max} in this hour: further plays before {until} UTC are only put on record.")
        return replace(budget, sent=budget.sent + 1, withheld=0), " ".join(notes)


def sure_in_words(false_alarms_per_hour: float | None) -> str:
    """A rate of false alarms as people say it: "about one false alarm in 1,100 years of listening"."""
    if false_alarms_per_hour is None or not math.isfinite(false_alarms_per_hour):
        return "not known"
    if false_alarms_per_hour >= 1:
        return f"about {_two_figures(false_alarms_per_hour)} false alarm{'' if false_alarms_per_hour == 1 else 's'} in one hour of listening"
    if _hours_between(false_alarms_per_hour) > _HOURS_PER_MILLION_YEARS:
        return "less than one false alarm in a million years of listening"
    count, unit = _time_between(false_alarms_per_hour)
    return f"about one false alarm in {f'one {unit}' if count == '1' else f'{count} {unit}s'} of listening"


def sure_in_brief(false_alarms_per_hour: float | None) -> str:
    """The same for a narrow column that is headed "false alarms": "1 in 1,100 years"; 20 characters at most."""
    if false_alarms_per_hour is None or not math.isfinite(false_alarms_per_hour):
        return "not known"
    if false_alarms_per_hour >= 1:
        return f"{_two_figures(false_alarms_per_hour)} an hour"
    if _hours_between(false_alarms_per_hour) > _HOURS_PER_MILLION_YEARS:
        return "< 1 in 1M years"
    count, unit = _time_between(false_alarms_per_hour)
    return f"1 in {count} {unit}{'' if count == '1' else 's'}"


def _hours_between(false_alarms_per_hour: float) -> float:
    return 1 / max(false_alarms_per_hour, FALSE_ALARMS_FLOOR)


def _time_between(false_alarms_per_hour: float) -> tuple[str, str]:
    """How much listening there is to a false alarm, in the largest unit that fits into it."""
    hours = _hours_between(false_alarms_per_hour)
    unit, length_h = next((unit, length_h) for unit, length_h in (("year", _HOURS_PER_YEAR), ("day", 24.0), ("hour", 0.0)) if hours >= length_h)
    return _two_figures(hours / (length_h or 1.0)), unit


def _two_figures(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.12g}"


def outgoing(hit: Mapping[str, Any], *, place: Place, note: str = "") -> Outgoing:
    """The row for SNS. `note` is a sentence about the hourly limit, for the mail."""
    subject, attributes = _subject(hit), _attributes(hit)
    body = _message(hit, email(hit, place=place, note=note))
    overhead = len(subject) + sum(len((name + "String" + value).encode()) for name, value in attributes.items())
    if len(body.encode()) + overhead > MESSAGE_BYTES_MAX:
        # At most 4 bytes a character, twice, in some 50 strings of 200: well inside. The whole is in S3.
        short = cleaned(hit, text_max=200, items_max=10)
        short["stream"]["tags"] = dict(list(short["stream"]["tags"].items())[:10])
        body = _message(short | {"truncated": True}, email(short, place=place, note=note))
    return Outgoing(
        target="sns",
        stream_id=hit["stream"]["id"],
        key=hit["hit_id"],
        revision=hit["revision"],
        content_type="application/json",
        body=body,
        attributes={"subject": subject, "attributes": attributes},
    )


def _message(hit: Mapping[str, Any], mail: str) -> str:
    """`MessageStructure=json`: each protocol's own text, `default` for the rest."""
    whole = dumps(hit)
    return dumps({"default": whole, "email": mail, "sqs": whole})


def _subject(hit: Mapping[str, Any]) -> str:
    track, stream = hit["track"], hit["stream"]
    title = ascii_line(track["title"]) or ascii_line(hit["reference"]["track_id"]) or "a catalogued recording"
    artist = ascii_line(", ".join(track["artists"]))
    where = ascii_line(stream["channel_name"]) or ascii_line(stream["id"])
    what = _cut(f"{title} - {artist}" if artist else title, 50)
    return _cut(f"[{hit['policy']['action']}] {_STATES[hit['state']]}: {what}" + (f" on {where}" if where else ""), SUBJECT_MAX)


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else text[: characters_max - 3].rstrip() + "..."


def _attributes(hit: Mapping[str, Any]) -> dict[str, str]:
    values = {"action": hit["policy"]["action"], "state": hit["state"], "stream_id": hit["stream"]["id"], "track_id": hit["reference"]["track_id"]}
    values["trace_id"] = hit["stream"].get("trace_id", "")
    lines = {name: one_line(value, 256) for name, value in values.items()}
    return {name: line for name, line in lines.items() if line}


def email(hit: Mapping[str, Any], *, place: Place, note: str = "") -> str:
    """The mail: no line longer than COLUMNS characters but the links, which must stay whole to be followed."""
    track = hit["track"]
    lines = _wrapped(f"{_STATES[hit['state']]}: {one_line(track['title'], 120) or 'a recording without a title'}", "", "  ")
    if track["artists"]:
        lines += _wrapped("by " + one_line(", ".join(track["artists"]), 120), "", "  ")
    lines.append("")
    for label, value in _facts(hit):
        lines += _wrapped(value, f"{label:<{_LABEL_COLUMNS}}", " " * _LABEL_COLUMNS)
    if note:
        lines += ["", *_wrapped(note, "", "")]
    if place.bucket:
        key = place.hit_key(hit["hit_id"])
        lines += ["", place.uri(key), f"https://s3.console.aws.amazon.com/s3/object/{quote(place.bucket)}?prefix={quote(key, safe='')}"]
    return "\n".join(lines) + "\n"


def text(hit: Mapping[str, Any], *, place: Place) -> str:
    """The mail, and what those need to know who look after Earmark: for a terminal."""
    detection, traced = hit["detection"], one_line(hit["stream"].get("trace_id", "")) or "none: it was told before streams had one"
    worker = f"{one_line(detection['worker'])}, published at {detection['published_at']}"
    return f"{email(hit, place=place).rstrip()}\n\n{'Trace':<{_LABEL_COLUMNS}}{traced}\n{'Worker':<{_LABEL_COLUMNS}}{worker}\n"


def _facts(hit: Mapping[str, Any]) -> list[tuple[str, str]]:
    track, stream, query, coverage, policy = hit["track"], hit["stream"], hit["query"], hit["coverage"], hit["policy"]
    length_s = query["end_s"] - query["begin_s"]
    speed_percent = (hit["transform"]["speed"] - 1) * 100
    ended = f"{_utc(hit['ended_at'])}after {clock_time(length_s)}" if hit["state"] == "closed" else f"still playing, {clock_time(length_s)} so far"
    share = f", {coverage['fraction_of_track']:.0%} of the recording" if coverage["fraction_of_track"] is not None else ""
    facts = [
        ("From", f"{_utc(hit['started_at'])}{clock_time(query['begin_s'])} into the stream"),
        ("To", ended),
        ("Stream", one_line(stream["channel_name"], 100)),
        ("", one_line(f"{stream['id']} ({stream['source']})", 150)),
        ("On air", f"the station said: {said}" if (said := one_line(stream.get("now_playing") or "", 150)) else ""),
        ("Policy", f"{policy['action']}{' (dry run)' if policy['dry_run'] else ''}: {one_line(policy['reason'])}"),
        ("How sure", sure_in_words(hit["score"]["false_alarms_per_hour"])),
        ("Heard", f"{coverage['matched_s']:.0f} s{share}"),
        ("Speed", f"{speed_percent:+.1f} %" if abs(speed_percent) >= 0.05 else ""),
        ("Note", "a short quotation" if hit["quotation"] else ""),
        ("Owner", one_line(track["rights_holder"], 100)),
        ("Album", one_line(track["album"], 100)),
        ("Label", one_line(track["label"], 100)),
        ("ISRC", one_line(", ".join(track["isrc"]), 100)),
        ("Track", one_line(hit["reference"]["track_id"], 150)),
        ("Hit", f"{one_line(hit['hit_id'])} revision {hit['revision']}"),
    ]
    return [(label, value) for label, value in facts if value]


def _utc(moment: str | None) -> str:
    return f"{moment[:10]} {moment[11:19]} UTC, " if moment else ""


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(text, COLUMNS, initial_indent=first, subsequent_indent=rest) or [first.rstrip()]
