"""What is done about plays, beyond telling of them."""

from typing import Literal, TypeAlias, get_args

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from earmark.settings.section import Section

#: `dry_run`: the hit says what would be done, and nothing is.
Mode: TypeAlias = Literal["off", "dry_run", "on"]
#: `hits.rights.Action`: what a rule, or the recording's owner, says of a play.
Said: TypeAlias = Literal["block", "mute", "monetize", "track", "allow", "takedown", "warn", "no_claim", "not_submitted"]


class ActionSection(Section):
    """What every action has. Each one narrows `on` as it likes."""

    mode: Mode = Field("off", description="dry_run: hits say what would be done, and nothing is; on: it is done")
    on: tuple[Said, ...] = Field(get_args(Said), description="what has to be said of a play, by a rule or its recording's owner")

    @field_validator("on")
    @classmethod
    def _is_about_something(cls, on: tuple[Said, ...]) -> tuple[Said, ...]:
        if not on:
            raise PydanticCustomError("nothing_named", "it names nothing of which it would be done, where mode switches it off")
        return on


class StopStream(ActionSection):
    """The broadcast of an Amazon IVS channel is ended (StopStream) while a play goes on that is not wanted."""

    on: tuple[Literal["block", "takedown"], ...] = Field(("block",), description="what has to be said of a play, by a rule or its recording's owner")
    grace_s: float = Field(
        0,
        ge=0,
        le=3_600,
        description="not before so long after the play's begin, even if the rule that decided has a shorter grace_s; and not at all if the play has ended by then",
    )
    per_hour_max: int = Field(
        10, ge=1, le=10_000, description="streams stopped in an hour by all workers together; what is beyond is refused, and the hit says so"
    )
    revoke_key: bool = Field(
        False,
        description="delete the channel's stream keys first: its broadcaster cannot come back until somebody makes a new key and hands it over; "
        "without this, most encoders reconnect by themselves within seconds",
    )


class NowPlaying(ActionSection):
    """Title, artist and ids of what plays, put into an Amazon IVS stream (PutMetadata) for its player to show."""
