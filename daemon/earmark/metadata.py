"""What an owner says about a recording, field by field: as it is kept, or one sentence for each field that cannot be. Pure.

Identifiers are those of the industry: ISRC (ISO 3901; it has a form and no check digit), ISWC (ISO 15707) and the GTIN of a
release (GS1 General Specifications, 7.9: UPC-A, EAN-13 or GTIN-14), each of which ends with a check digit; territories
are ISO 3166-1 alpha-2 codes. White space and hyphens in identifiers are how people write them, and are taken out.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from earmark.errors import BadSettings
from earmark.hits.text import ITEMS_MAX, TEXT_MAX, is_storable, of_cell
from earmark.reserved import CANARY, is_canary
from earmark.track import COPIES, POLICIES, Track

#: The fields of `Track` that hold several texts; in CSV they are separated by `;`.
LISTS: Final = frozenset(f.name for f in fields(Track) if f.default == ())
#: What may be said of a recording, but for its track_id; a duration is measured, and what is said of it left aside.
FIELDS: Final = tuple(f.name for f in fields(Track) if f.name not in ("track_id", "duration_s"))
#: Of a track_id: PostgreSQL indexes no more than 2,704 bytes, and a character takes up to four.
ID_CHARS_MAX: Final = 500
_NOT_SAID: Final[tuple[object, ...]] = ("", None, [], ())
_YEARS: Final = (1900, 2200)
_SHOWN_MAX: Final = 60

_WORLD: Final = "WW"
_TERRITORIES: Final = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN
    CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM
    HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK
    ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW
    SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI
    VN VU WF WS YE YT ZA ZM ZW
    """.split()  # noqa: SIM905 -- a table
)


class Unfit(ValueError):
    """Why a value cannot be kept: what follows the field's name in a sentence."""


#: A text as it is kept. Raises Unfit.
_Check: TypeAlias = Callable[[str], str]


def checked(said: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What is said of a recording, as it is kept (texts, and tuples of texts), and a sentence for each field that cannot be.

    What is empty was not said. `path` and `duration_s` are passed over, so that what `earmark catalogue export` writes can be read.
    """
    kept: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in said.items():
        if name in ("path", "duration_s") or value in _NOT_SAID:
            continue
        if name not in _CHECKS:
            wrong.append(f"{shown(name)} is nothing that a recording has: it has track_id, {', '.join(FIELDS)}")
            continue
        try:
            if (text := _several(name, value) if name in LISTS else _CHECKS[name](_text(value))) not in _NOT_SAID:
                kept[name] = text
        except Unfit as unfit:
            wrong.append(f"{name} {unfit}")
    if kept.get("territories"):
        wrong += _unlikely(kept["territories"])
    if kept.get("valid_from") and kept.get("valid_to") and kept["valid_from"] >= kept["valid_to"]:
        wrong.append(f"valid_from {kept['valid_from']} is not before valid_to {kept['valid_to']}: it would never hold")
    return kept, wrong


def shown(value: object) -> str:
    """A stranger's value in a sentence: short, and quoted so that nothing in it is taken for ours."""
    text = str(value)
    return repr(text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 1] + "…")


def table(text: str, *, as_json: bool) -> list[dict[Any, Any]]:
    """The rows of a manifest, CSV or a JSON list of objects, as they are. Raises BadSettings: why it is none."""
    try:
        rows: Any = json.loads(text) if as_json else list(csv.DictReader(io.StringIO(text, newline="")))
    except RecursionError:
        raise BadSettings("it is nested too deeply") from None
    except csv.Error as error:
        raise BadSettings(f"it is not CSV, {error}") from None
    except ValueError as error:  # JSONDecodeError, or a number of more digits than Python converts
        raise BadSettings(f"it is not JSON, {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadSettings("it must be a list of objects, one for each recording, each with a path")
    # What `catalogue export` wrote so that no spreadsheet runs it is as it was.
    return rows if as_json else [{name: of_cell(cell) if isinstance(cell, str) and name != "path" else cell for name, cell in row.items()} for row in rows]


def of_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a manifest's row says: in CSV a list is texts with `;` between them."""
    return {name: [part.strip() for part in value.split(";")] if name in LISTS and isinstance(value, str) else value for name, value in row.items()}


# ------------------------------------------------------------------------------------------------ texts


def _text(value: object, characters_max: int = TEXT_MAX) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Unfit("must be text")
    text = str(value).strip()
    if not is_storable(text):
        raise Unfit("has a character that is no text (NUL, or half of a surrogate pair); take it out")
    if len(text) > characters_max:
        raise Unfit(f"has {len(text):,} characters and may have {characters_max:,}; shorten it")
    return text


def _several(name: str, value: object) -> tuple[str, ...]:
    parts: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(part, str | int) and not isinstance(part, bool) for part in parts):
        raise Unfit("must be text or a list of texts")
    if len(parts) > ITEMS_MAX:
        raise Unfit(f"has {len(parts):,} entries and may have {ITEMS_MAX}")
    return tuple(dict.fromkeys(_CHECKS[name](text) for part in parts if (text := _text(part, ID_CHARS_MAX))))


def _track_id(text: str) -> str:
    if is_canary(text):
        raise Unfit(f"begins with {CANARY!r}, as the canary's alone does")
    return _text(text, ID_CHARS_MAX)


# ------------------------------------------------------------------------------------------------ identifiers


def _isrc(text: str) -> str:
    code = _plain(text)
    if len(code) != 12:
        raise Unfit(f"{shown(text)} has {len(code)} characters and must have 12, as in GBAYE0601498 (ISO 3901)")
    if not re.fullmatch(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}", code):
        raise Unfit(f"{shown(text)} is none: two letters, three letters or digits and seven digits make one, as in GBAYE0601498 (ISO 3901)")
    return code


def _iswc(text: str) -> str:
    code = _plain(text).replace(".", "")
    if not re.fullmatch(r"T[0-9]{10}", code):
        raise Unfit(f"{shown(text)} is none: T and ten digits make one, as in T-034.524.680-1 (ISO 15707)")
    should = -(1 + sum(place * int(digit) for place, digit in enumerate(code[1:10], 1))) % 10
    if int(code[10]) != should:
        raise Unfit(f"{shown(text)} has the check digit {code[10]} and should have {should}: a digit of it is wrong (ISO 15707)")
    return code


def _upc(text: str) -> str:
    code = _plain(text)
    if not re.fullmatch(r"[0-9]{12,14}", code):
        raise Unfit(f"{shown(text)} is none: 12 digits (UPC), 13 (EAN) or 14 (GTIN) make one")
    should = -sum(int(digit) * (3, 1)[place % 2] for place, digit in enumerate(reversed(code[:-1]))) % 10
    if int(code[-1]) != should:
        raise Unfit(f"{shown(text)} has the check digit {code[-1]} and should have {should}: a digit of it is wrong (GS1)")
    return code


def _plain(text: str) -> str:
    return re.sub(r"[\s\u2010-\u2013-]", "", text).upper()


# ------------------------------------------------------------------------------------------------ rights


def _policy(text: str) -> str:
    if text.lower() not in POLICIES:
        raise Unfit(f"{shown(text)} is none: there is {', '.join(POLICIES)}")
    return text.lower()


def _copies(text: str) -> str:
    if text.lower() not in COPIES:
        raise Unfit(f"{shown(text)} is none: there is {', '.join(COPIES)}, for the copies that its licence allows")
    return text.lower()


def _territory(text: str) -> str:
    code = text.strip().upper()
    if code != _WORLD and code.removeprefix("-") not in _TERRITORIES:
        raise Unfit(f"{shown(text)} is none: two letters as in DE (ISO 3166-1), WW for everywhere, or -US for what is left out of that")
    return code


def _unlikely(territories: Sequence[str]) -> list[str]:
    """What each of the codes may be, and all of them together cannot."""
    left_out = [code for code in territories if code.startswith("-")]
    named = [code for code in territories if code != _WORLD and code not in left_out]
    if left_out and _WORLD not in territories:
        return [f"territories has {left_out[0]} and no WW that it could be left out of"]
    if named and _WORLD in territories:
        return [f"territories has WW, which is everywhere, and {named[0]} besides: leave one of them out"]
    return []


def _from(text: str) -> str:
    return _written(_moment(text)[0])


def _to(text: str) -> str:
    """The first moment at which it holds no more; a day by itself is the last one on which it holds."""
    moment, is_day = _moment(text)
    return _written(moment + timedelta(days=1) if is_day else moment)


def _moment(text: str) -> tuple[datetime, bool]:
    """In UTC, and whether it is a day by itself. RFC 3339, section 5.6; a day as ISO 8601 has it."""
    is_day = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text) is not None
    if not is_day and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{5,16}([Zz]|[+-][0-9]{2}:[0-9]{2})?", text):
        raise Unfit(f"{shown(text)} is no date: write 2026-01-31, or 2026-01-31T12:00:00Z (RFC 3339)")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        raise Unfit(f"{shown(text)} is a date that no calendar has") from None
    if not _YEARS[0] <= moment.year < _YEARS[1]:  # beyond it lie overflows
        raise Unfit(f"{shown(text)} lies beyond the years {_YEARS[0]} to {_YEARS[1] - 1}")
    if not is_day and moment.tzinfo is None:
        raise Unfit(f"{shown(text)} does not say in which time zone: write Z at its end for UTC, or +01:00 (RFC 3339)")
    return moment.replace(tzinfo=UTC) if is_day else moment.astimezone(UTC), is_day


def _written(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


_CHECKS: Final[Mapping[str, _Check]] = {
    **dict.fromkeys(("title", "artists", "album", "label", "rights_holder", "tags"), _text),
    "track_id": _track_id,
    "isrc": _isrc,
    "iswc": _iswc,
    "upc": _upc,
    "policy": _policy,
    "territories": _territory,
    "valid_from": _from,
    "valid_to": _to,
    "copies": _copies,
}
