"""What is kept of past streams, so that a recording that is added later can be sought in them."""

from pydantic import Field

from earmark.settings.section import Section


class Hunt(Section):
    """Searching what was heard before a recording was known."""

    keep_days: int = Field(
        7,
        ge=0,
        le=3_650,
        description="what was heard of each stream is kept in PostgreSQL for so long, about a megabyte for each hour of it, and `earmark hunt` searches it; 0: nothing is kept",
    )
    keep_files: bool = Field(True, description="of stored files (check.place), too: of what streams take, so much as there are hours of files")
    keep_archives: bool = Field(
        False,
        description="of whole recordings (`earmark backfill`), too: ten thousand hours of an archive are 12 GB at once. What fills the gaps of a stream is kept with it",
    )
