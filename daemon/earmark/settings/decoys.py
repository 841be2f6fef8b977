"""How much is listened for that cannot be there, to see what chance does."""

from pydantic import Field

from earmark.settings.section import Section


class Decoys(Section):
    """Chance, observed: streams turned round, and heard against the catalogue as it is."""

    share: float = Field(
        0.02,
        ge=0,
        le=1,
        description="share of the streams' time that is also heard backwards, against the whole catalogue, for the rate of false alarms that follows from it; "
        "costs about half as much as that share of the listening, when nothing else is to be done; 0: none",
    )
