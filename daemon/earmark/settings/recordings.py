"""The reference recordings."""

from pydantic import Field

from earmark.settings.section import Section, Share


class Catalogue(Section):
    """The reference recordings."""

    shared_passages: bool = Field(True, description="compare what is added with what is there, so that a sample of both tells neither; 3 ms for a second of it")
    upkeep_share_max: Share = Field(0.2, description="share of one thread's time for packing and merging what was added; 1: as fast as it can")
