"""A stream of our own, with a known recording in it, that goes through everything."""

from pydantic import Field

from earmark.settings.section import Section


class Canary(Section):
    """The canary (`earmark run --role canary`, `earmark canary`): is what is played heard, found and written to S3, and how soon?"""

    interval_s: float = Field(
        600, ge=30, le=86_400, description="a round begins so long after the one before it, by whichever worker with the role canary comes first"
    )
    deadline_s: float = Field(120, ge=40, le=1_800, description="a round that is not over after this has failed; its stream lasts 24 s")
