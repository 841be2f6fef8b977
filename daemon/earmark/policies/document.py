"""`policy.toml`, read: the operator's licences and rules, each value checked, every mistake told in a sentence.

The conditions are those of rights systems (YouTube Content ID's `PolicyRule`: who, where, how long, what part of the
recording) and what a stream has besides: its channel and tags, the time of day, whether the recording is in the foreground.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, time, tzinfo
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from earmark.errors import BadSettings
from earmark.metadata import checked, shown
from earmark.model import SourceKind

#: Some ten thousand ISRCs; whoever has more has them in the catalogue, as labels.
BYTES_MAX: Final = 1_000_000
SENTENCES_MAX: Final = 10
_GRACE_S_MAX: Final = 3_600
#: The days of `weekdays`, in the order of datetime.weekday().
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Said = Literal["track", "allow", "warn", "block"]


def _line(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("a text in one line, and not empty")
    return text.strip()


def _isrc(text: str) -> str:
    code = re.sub(r"[\s-]", "", text).upper()
    if "*" in code or "?" in code:
        return code
    kept, wrong = checked({"isrc": code})
    if wrong:
        raise ValueError(wrong[0].removeprefix("isrc "))
    return str(kept["isrc"][0])


def _territory(text: str) -> str:
    kept, wrong = checked({"territories": text})
    if wrong or kept["territories"][0] in ("WW", "-WW") or text.startswith("-"):
        raise ValueError(f"{shown(text)} is no place where somebody watches: two letters as in DE (ISO 3166-1)")
    return str(kept["territories"][0])


def _moment(field: str, value: object) -> str:
    """As `Track.valid_from` and `valid_to` have it; TOML has dates of its own."""
    text = value.isoformat() if hasattr(value, "isoformat") else value
    kept, wrong = checked({field: text})
    if wrong:
        raise ValueError(wrong[0].removeprefix(f"{field} "))
    return str(kept.get(field, ""))


_Line = Annotated[str, Field(max_length=500), AfterValidator(_line)]
#: Names, of which `*` and `?` stand for what they stand for in a shell; capitals or not is the same.
_Names = Annotated[tuple[_Line, ...], Field(max_length=10_000)]
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


def stands_for(pattern: str, name: str) -> bool:
    """Whether a name is one of those that a pattern stands for."""
    return fnmatchcase(name.casefold(), pattern.casefold().replace("[", "[[]"))


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=True)


class Span(Part):
    """From `min` on, up to and with `max`."""

    min: float | None = Field(None, ge=0)
    max: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a span has a min, a max, or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"nothing is from {self.min:g} to {self.max:g}")
        return self


class Which(Part):
    """Of recordings and channels: of each list one has to fit, and all lists have to; an empty one asks nothing."""

    model_config = ConfigDict(strict=False)

    track_ids: _Names = ()
    isrc: Annotated[tuple[Annotated[str, AfterValidator(_isrc)], ...], Field(max_length=10_000)] = ()
    titles: _Names = ()
    artists: _Names = ()
    albums: _Names = ()
    labels: _Names = ()
    rights_holders: _Names = ()
    recording_tags: _Names = ()
    #: Names of channels, their ARNs, or a stream's id.
    channels: _Names = ()
    #: All of them; each value a name as above.
    tags: Mapping[_Line, _Line] = Field(default_factory=dict, max_length=50)
    sources: tuple[SourceKind, ...] = ()


class When(Which):
    """Everything that is named has to hold."""

    #: What the recording's owner says; "nothing" is one of them.
    owner_says: tuple[Literal["track", "allow", "warn", "block", "nothing"], ...] = ()
    #: Somebody watches in one of these.
    territories: tuple[Annotated[str, AfterValidator(_territory)], ...] = ()
    #: From the play's begin to its end; of that, seconds that were matched. A `max` holds when the play has ended, and not before.
    played_s: Span | None = None
    matched_s: Span | None = None
    #: Share of the recording that was heard, 0 to 1.
    played_share: Span | None = None
    #: The recording explains two fifths of the peaks that are heard, or more.
    foreground: bool | None = None
    #: Ended before it was more than a quotation.
    quotation: bool | None = None
    #: "22:00-06:00", when the play began, in `time_zone`.
    hours: Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$")] | None = None
    weekdays: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] = ()

    @model_validator(mode="after")
    def _shares_are_shares(self) -> Self:
        if self.played_share and max(self.played_share.min or 0, self.played_share.max or 0) > 1:
            raise ValueError("played_share is a share of the recording, from 0 to 1")
        if self.hours and self.hours[:5] == self.hours[6:]:
            raise ValueError(f"hours {self.hours} is no time at all: leave it out for the whole day")
        return self

    @property
    def clock(self) -> tuple[time, time] | None:
        return (time.fromisoformat(self.hours[:5]), time.fromisoformat(self.hours[6:])) if self.hours else None


class Licence(Which):
    """What may be played, where, until when: then nothing else is asked."""

    id: _Id
    note: Annotated[str, Field(max_length=500)] = ""
    valid_from: Annotated[str, BeforeValidator(lambda value: _moment("valid_from", value))] = ""
    #: The first moment at which it holds no more; a day by itself is the last on which it does.
    valid_to: Annotated[str, BeforeValidator(lambda value: _moment("valid_to", value))] = ""
    #: Whether somebody gets an alert all the same.
    notify: bool = False

    @model_validator(mode="after")
    def _is_of_something(self) -> Self:
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise ValueError(f"valid_from {self.valid_from} is not before valid_to {self.valid_to}: it would never hold")
        if not any(getattr(self, name) for name in Which.model_fields):
            raise ValueError('it names no recording and no channel, and would license everything; a rule with action = "allow" says that')
        return self


class Rule(Part):
    """The first one whose conditions hold decides."""

    model_config = ConfigDict(strict=False)

    id: _Id
    action: Said
    notify: bool = True
    #: What is to be done is to wait so long after the play's begin, and is not done if it has ended by then.
    grace_s: float = Field(0.0, ge=0, le=_GRACE_S_MAX)
    #: Told in the hit, for people; without it the conditions are.
    reason: Annotated[str, Field(max_length=500)] = ""
    when: When = When()


class Policies(Part):
    """All of it; without anything, owners' wishes alone are told."""

    model_config = ConfigDict(strict=False)

    version: Literal[1] = 1
    #: Told in each hit that it decided, so that one knows by which edition.
    name: Annotated[str, Field(max_length=100)] = ""
    #: Where streams are watched; a channel's tag `earmark:territories` (AT,DE) says it for that one. Empty: nobody knows.
    territories: tuple[Annotated[str, AfterValidator(_territory)], ...] = ()
    time_zone: str = "UTC"
    licence: Annotated[tuple[Licence, ...], Field(max_length=10_000)] = ()
    rule: Annotated[tuple[Rule, ...], Field(max_length=1_000)] = ()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        try:
            _ = self.zone
        except (OSError, ValueError, KeyError):
            raise ValueError(f"there is no time zone {shown(self.time_zone)}: write one as Europe/Vienna (IANA), or UTC") from None
        for kind, ids in (("licence", [of.id for of in self.licence]), ("rule", [of.id for of in self.rule])):
            if twice := [name for name, n in Counter(ids).items() if n > 1]:
                raise ValueError(f"two of them are the {kind} {twice[0]}: give each an id of its own")
        return self

    @cached_property
    def zone(self) -> tzinfo:
        return UTC if self.time_zone == "UTC" else ZoneInfo(self.time_zone)


def parse(data: bytes, *, name: str) -> Policies:
    """What is in the file of that name. Raises BadSettings: which rule, which value, why."""
    if len(data) > BYTES_MAX:
        raise BadSettings(f"the policy file {shown(name)} has more than {BYTES_MAX:,} bytes: keep lists of recordings in the catalogue, as labels or tags")
    try:
        tree = tomllib.loads(data.decode())
    except RecursionError:
        raise BadSettings(f"the policy file {shown(name)} is nested too deeply") from None
    except ValueError as error:  # no UTF-8, no TOML, or a number of more digits than Python converts
        raise BadSettings(f"the policy file {shown(name)} is not TOML: {shown(error)}") from None
    if "version" not in tree:
        raise BadSettings(f"the policy file {shown(name)} does not say of which version it is: write version = 1 at its top")
    try:
        return Policies.model_validate(tree)
    except ValidationError as error:
        wrong = error.errors()
        sentences = [_sentence(one, tree) for one in wrong[:SENTENCES_MAX]]
        more = [f"and {len(wrong) - SENTENCES_MAX} more"] if len(wrong) > SENTENCES_MAX else []
        raise BadSettings(f"the policy file {shown(name)}: " + "; ".join([*sentences, *more])) from None


def _sentence(error: Any, tree: Mapping[str, Any]) -> str:
    owner, path = "", [str(part) for part in error["loc"]]
    if len(error["loc"]) > 1 and isinstance(error["loc"][1], int):  # an entry of a list of tables
        (kind, number), path = error["loc"][:2], [part for part in path[2:] if not part.isdecimal()]
        entry = tree[kind][number]
        owner = f"the {kind} {shown(entry['id'])}" if isinstance(entry, dict) and entry.get("id") else f"the {kind} number {number + 1}"
    if error["type"] == "extra_forbidden":
        return f"{owner or 'it'} knows no {shown(path[-1])}"
    said = error["ctx"]["error"] if error["type"] == "value_error" else error["msg"][0].lower() + error["msg"][1:]
    value = "" if error["type"] in ("missing", "value_error") else f", not {shown(error['input'])}"
    where = ", ".join(part for part in (owner, ".".join(path)) if part)
    return f"{where}: {said}{value}" if where else f"{said}{value}"
