"""An alert as an SNS message: readable as mail, parsable as JSON, filterable by attributes, and never too large.

Limits are those of the SNS Publish API: a subject of at most 100 ASCII characters without control characters, string
attributes that are not empty, 262,144 bytes for message and attributes together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final

from earmark.hits.mail import letter, subject
from earmark.hits.mail.letter import PLAINLY, Manner
from earmark.hits.mail.lines import LABEL_COLUMNS, plain
from earmark.hits.record import Outgoing, Place
from earmark.hits.shortened import shortened
from earmark.hits.sure import sure_in_brief as sure_in_brief  # noqa: PLC0414 -- how sure, where alerts are made
from earmark.hits.sure import sure_in_words as sure_in_words  # noqa: PLC0414
from earmark.hits.text import counted, dumps, one_line

MESSAGE_BYTES_MAX: Final = 256 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Alerts of one stream in one hour of the clock (UTC): how many went, how many were only counted."""

    hour: datetime
    sent: int = 0
    withheld: int = 0

    @classmethod
    def at(cls, now: datetime) -> "Budget":
        return cls(hour=now.astimezone(UTC).replace(minute=0, second=0, microsecond=0))

    def spend(self, now: datetime, per_hour_max: int, *, zone: tzinfo = UTC, listed: bool = False) -> tuple["Budget", str | None]:
        """One more is wanted: the budget after it, and what the alert must say of the cap (often nothing); None: withhold it.

        `zone`: of the time in that sentence; `listed`: a digest will tell of what is withheld.
        """
        here = Budget.at(now)
        budget = self if here.hour <= self.hour else replace(here, withheld=self.withheld)
        if budget.sent >= per_hour_max:
            return replace(budget, withheld=budget.withheld + 1), None
        notes = []
        if budget.withheld:
            notes.append(f"{counted(budget.withheld, 'earlier alert')} of this stream went over the hourly limit and stayed unsent.")
        if budget.sent + 1 == per_hour_max:
            until = Manner(zone=zone).when(budget.hour + timedelta(hours=1))
            before = until[len("2026-11-21 ") :].replace(":00 ", " ", 1)
            then = "only put on record, and listed when the stream ends" if listed else "only put on record"
            notes.append(f"This is alert {per_hour_max} of {per_hour_max} in this hour: further plays before {before} are {then}.")
        return replace(budget, sent=budget.sent + 1, withheld=0), " ".join(notes)


def outgoing(hit: Mapping[str, Any], *, place: Place, manner: Manner = PLAINLY, note: str = "") -> Outgoing:
    """The row for SNS of one play. `note`: a sentence about the hourly limit, for the mail."""
    line, named = subject.of_hit(hit, manner=manner), attributes(hit["stream"], hit["policy"]["action"], hit["state"])
    named |= filled({"track_id": hit["reference"]["track_id"]})

    def body(hit: Mapping[str, Any]) -> str:
        return message(hit, letter.email(hit, place=place, manner=manner, note=note))

    whole = body(hit)
    return row(place.stream_id, hit["hit_id"], hit["revision"], whole if fits(whole, line, named) else body(shortened(hit)), line, named)


def text(hit: Mapping[str, Any], *, place: Place, manner: Manner = PLAINLY) -> str:
    """The mail, and what those need to know who look after Earmark: for a terminal."""
    detection, traced = hit["detection"], one_line(hit["stream"].get("trace_id", "")) or "none: it was told before streams had one"
    worker = f"{one_line(detection['worker'])}, published at {detection['published_at']}"
    said = plain(letter.email(hit, place=place, manner=manner)).rstrip()
    return f"{said}\n\n{'Trace':<{LABEL_COLUMNS}}{traced}\n{'Worker':<{LABEL_COLUMNS}}{worker}\n"


# ------------------------------------------------------------------------------------------------ a message of any kind


def message(document: Mapping[str, Any], words: str) -> str:
    """`MessageStructure=json`: the mail for people, the JSON for the rest."""
    whole = dumps(document)
    return dumps({"default": whole, "email": words, "sqs": whole})


def attributes(stream: Mapping[str, Any], action: str, state: str) -> dict[str, str]:
    """What filter policies of subscribers can ask for."""
    return filled({"action": action, "state": state, "stream_id": stream["id"], "trace_id": stream.get("trace_id", "")})


def filled(values: Mapping[str, str]) -> dict[str, str]:
    """SNS refuses empty ones, and control characters."""
    lines = {name: one_line(value, 256) for name, value in values.items()}
    return {name: line for name, line in lines.items() if line}


def bytes_of(body: str, line: str, named: Mapping[str, str]) -> int:
    """As SNS counts them."""
    return len(body.encode()) + len(line) + sum(len((name + "String" + value).encode()) for name, value in named.items())


def fits(body: str, line: str, named: Mapping[str, str]) -> bool:
    """Whether SNS takes it."""
    return bytes_of(body, line, named) <= MESSAGE_BYTES_MAX


def row(stream_id: str, key: str, revision: int, body: str, line: str, named: Mapping[str, str]) -> Outgoing:
    """`line`: the subject; `named`: the attributes."""
    return Outgoing(
        target="sns",
        stream_id=stream_id,
        key=key,
        revision=revision,
        content_type="application/json",
        body=body,
        attributes={"subject": line, "attributes": dict(named)},
    )
