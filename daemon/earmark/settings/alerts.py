"""Who is told of plays, and how the mails are written."""

from datetime import UTC, tzinfo
from functools import cached_property
from string import Formatter
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from earmark.settings.section import Section

#: What `alerts.link` may have in braces.
LINK_FIELDS: Final = ("stream_id", "channel_name", "hit_id", "track_id", "started_at", "begin_s", "end_s", "begin_hms", "broadcast_s", "broadcast_hms")
_LINK_MAX: Final = 500


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _time_zone(name: str) -> str:
    try:
        _zone(name)
    except (OSError, ValueError, KeyError):
        raise PydanticCustomError("time_zone", "there is no such time zone here: write one as Europe/Vienna (IANA), or UTC") from None
    return name


def _link(template: str) -> str:
    """An address of the web, whose host is the operator's word alone, with known fields in braces."""

    def refused(why: str) -> PydanticCustomError:
        return PydanticCustomError("link", "{why}", {"why": f"an address as https://vod.example/{{stream_id}}?t={{begin_s}} is wanted: {why}"})

    if not template:
        return template
    if len(template) > _LINK_MAX or not template.isascii() or not template.isprintable() or " " in template:
        raise refused(f"{_LINK_MAX} characters of printable ASCII at most, without spaces")
    scheme, _, rest = template.partition("://")
    host = rest.partition("/")[0]
    if scheme not in ("https", "http") or not host or set(host) & set("{}?#@"):
        raise refused("it begins with https:// and a host of its own, followed by a slash")
    try:
        fields = [(name, spec, conversion) for _, name, spec, conversion in Formatter().parse(template) if name is not None]
    except ValueError:
        raise refused("a brace is left open; a brace that is meant as such is doubled") from None
    for name, spec, conversion in fields:
        if name not in LINK_FIELDS or spec or conversion:
            raise refused(f"in braces stands one of {', '.join(LINK_FIELDS)}")
    return template


class Alerts(Section):
    """The SNS topic, and the mails that go to it."""

    topic_arn: str = Field("", description="topic of the alerts; empty: none are sent")
    on: tuple[Literal["provisional", "open", "closed"], ...] = Field(
        ("open",), description="which states of a play alert: one mail per state and play, and one more when it is to be blocked by then"
    )
    per_stream_hour_max: int = Field(60, ge=0, description="alerts per stream and hour; further ones are counted, and named in the last that goes out")
    group_s: float = Field(
        0,
        ge=0,
        le=3_600,
        description="plays that begin within so many seconds of a mail of their stream wait until then, and go together in one; 0: each has its own, at once, "
        "as programs expect that read the topic",
    )
    digest: bool = Field(
        True, description="a mail at a stream's end that lists all of its plays, also those that no mail told of; none where nobody was to be told of any"
    )
    time_zone: Annotated[str, AfterValidator(_time_zone)] = Field(
        "UTC", description="of the times of day in mails, as Europe/Vienna (IANA); documents have UTC"
    )
    link: Annotated[str, AfterValidator(_link)] = Field(
        "",
        description="where a play can be watched, for its mail: an address with any of {stream_id}, {channel_name}, {hit_id}, {track_id}, {begin_s}, {end_s}, "
        "{begin_hms} (1h2m3s), {started_at}, and, counted from when the broadcast began, {broadcast_s} and {broadcast_hms}: "
        "https://vod.example/{stream_id}?t={broadcast_s}",
    )

    @cached_property
    def zone(self) -> tzinfo:
        return _zone(self.time_zone)
