"""What Amazon IVS records of its channels by itself."""

from typing import Literal

from pydantic import Field

from earmark.settings.section import Positive, Section


class AutoRecord(Section):
    """Amazon IVS's recordings in S3 (Auto-Record): heard in place of the stream, or where the stream was not heard."""

    source: Literal["playback", "recording"] = Field(
        "playback",
        description="how IVS streams are heard: played, which IVS bills as a view, or from their recording in S3 as it lands, some 15 s later; a channel's tag earmark:source goes before this",
    )
    channels: dict[str, Literal["playback", "recording"]] = Field(
        default_factory=dict, description="the same for single channels, by ARN or by the id at its end; goes before the tag"
    )
    wait_s: Positive = Field(60, description="a recording that has not turned up so long after its stream was taken on is not waited for: the stream is played")
    gap_wait_s: Positive = Field(30, description="how long a missing segment is waited for while later ones are there, before it is a gap")
    end_grace_s: Positive = Field(60, description="after the stream's end was announced, the last segments may still land")
    fill_gaps: bool = Field(True, description="when a recording has ended, the seconds that the stream's session did not hear are heard from it")
    archive_alerts: bool = Field(
        False, description="send the alerts of `alerts` for plays in whole recordings too, which `earmark backfill` has heard; for gaps they are sent"
    )
    lead_in_s: float = Field(15, ge=0, le=60, description="heard before and behind each gap, so that what plays across its edges is recognised")
    recordings_max: int = Field(
        2, ge=0, le=16, description="finished recordings that one worker hears at once, in the time that streams leave; 0: it leaves them to others"
    )
