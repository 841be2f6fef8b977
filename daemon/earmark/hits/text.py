"""Text that strangers wrote, made fit to store and to show; times and numbers as documents write them. Pure."""

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

#: Longest text kept in a document, and most items of a list; a catalogue may hold more, nobody reads it in a hit.
TEXT_MAX = 2_000
ITEMS_MAX = 100
#: Below this the model of chance says nothing: once in a hundred million years of listening.
FALSE_ALARMS_FLOOR = 1e-12

#: NUL and lone surrogates cannot be stored in PostgreSQL; C0 controls and the last two code points not be sent by SNS.
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
#: Of those, what PostgreSQL cannot store.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
#: C1 controls, and the marks that turn the direction of text and can make one line read as another.
_INVISIBLE = re.compile("[\x80-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
#: Spreadsheets run a cell that begins so, white space aside; the wide forms are what some of them turn into the narrow ones. With apostrophes
#: in front it is text, and has to stay apart from what gets one. (OWASP, "CSV Injection".)
_FORMULA = re.compile("'*(?:\\s*[=+@\uff1d\uff0b\uff0d\uff20-]|[\t\r\n])")


def writable(text: str, characters_max: int = TEXT_MAX) -> str:
    """The text with what JSON, PostgreSQL or SNS cannot carry replaced, and cut with an ellipsis."""
    text = _UNWRITABLE.sub("\ufffd", text)
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def is_storable(text: str) -> bool:
    """PostgreSQL takes it as it is: no NUL, no lone surrogate. (Bytes of a name or an argument that are not UTF-8 are those in Python.)"""
    return _UNSTORABLE.search(text) is None


def unstorable(value: Any, *, several: bool, characters_max: int | None) -> str:
    """What keeps a field from the catalogue, for people; nothing if it can be stored. `several`: it may be a list of texts."""
    parts = list(value) if several and isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, str | int | float) for part in parts):
        return f"must be text{' or a list of texts' if several else ''}"
    if not all(is_storable(str(part)) for part in parts):
        return "has a character that is no text (NUL, or half of a surrogate pair); take it out"
    if characters_max and any(len(str(part)) > characters_max for part in parts):
        return f"is longer than {characters_max:,} characters; shorten it"
    return ""


def one_line(text: str, characters_max: int = 200) -> str:
    """For people: white space (line breaks included) collapsed, invisible controls removed, cut with an ellipsis."""
    text = " ".join(_INVISIBLE.sub("", _UNWRITABLE.sub(" ", text)).split())
    return text if len(text) <= characters_max else text[: characters_max - 1].rstrip() + "…"


def shown(text: str) -> str:
    """For a terminal: nothing that moves its cursor or changes its colours. (Bytes of a name that are not UTF-8 are left to the way out.)"""
    return "".join(c if c.isprintable() or 0xD800 <= ord(c) < 0xE000 else "\ufffd" for c in text)


def called(artists: Sequence[str], title: str, *, between: str = " - ") -> str:
    """A recording's artists and title, what there is of them."""
    return between.join(part for part in (", ".join(artists), title) if part)


def ascii_line(text: str) -> str:
    """What is left of a text in printable ASCII: accents dropped, other scripts gone. May be empty."""
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return " ".join("".join(c if c.isprintable() else " " for c in folded).split())


def as_cell(text: str) -> str:
    """For a CSV file: what a spreadsheet would run is made text by an apostrophe in front of it; `of_cell` takes it off again."""
    return "'" + text if _FORMULA.match(text) else text


def of_cell(text: str) -> str:
    """A cell as it was before `as_cell`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def columns(text: str) -> int:
    """How wide a terminal shows it: East Asian wide characters and emoji take two, marks on others and what only joins or directs take none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def rfc3339(moment: datetime) -> str:
    """UTC with `Z`, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock_time(seconds: float) -> str:
    """h:mm:ss, or m:ss below an hour; whole seconds, rounded."""
    minutes, second = divmod(max(0, round(seconds)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def speed_change(speed: float) -> str:
    """By how much the sound was faster than the recording, as "+3.0%"; never minus zero."""
    return f"{speed - 1:+z.1%}"


def dumps(document: Mapping[str, Any], *, indent: int | None = None) -> str:
    """JSON text, keys in the document's own order; never NaN or infinity."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent, separators=(",", ": ") if indent else (",", ":"))


def cleaned(value: Any, *, text_max: int = TEXT_MAX, items_max: int = ITEMS_MAX) -> Any:
    """A document with every string writable and no string or list of strings longer than that."""
    match value:
        case str():
            return writable(value, text_max)
        case Mapping():
            return {cleaned(name, text_max=text_max): cleaned(item, text_max=text_max, items_max=items_max) for name, item in value.items()}
        case list() | tuple():
            kept = value[:items_max] if value and isinstance(value[0], str) else value
            return [cleaned(item, text_max=text_max, items_max=items_max) for item in kept]
        case _:
            return value


def rounded(value: float, digits: int = 3) -> float:
    return round(value, digits) + 0.0  # + 0.0: no minus zero


def believable(per_hour: float) -> float:
    """A rate of false alarms, never lower than the model of chance can say."""
    return max(per_hour, FALSE_ALARMS_FLOOR)


def false_alarms(per_hour: float) -> float | None:
    """The same to three digits; None for what is no number, also when rounding makes the greatest of them infinite."""
    shown = float(f"{believable(per_hour):.3g}")
    return shown if math.isfinite(shown) else None


def moment_text(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None


def parsed_moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def counted(number: int, what: str) -> str:
    """1 stream, 2 streams."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
