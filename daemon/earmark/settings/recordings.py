"""The reference recordings."""

from typing import Literal, Self

from pydantic import Field, model_validator

from earmark.settings.section import Positive, Section, Share


class Catalogue(Section):
    """The reference recordings."""

    shared_passages: bool = Field(
        True, description="compare what is added with what is there, so that a sample of both tells neither; about 0.3 ms for a second of it"
    )
    duplicates: Literal["reject", "link", "keep"] = Field(
        "link",
        description="what is there already by its sound, at another bitrate, cut or as an excerpt: link: an alias of the first, told as that; "
        "reject: not added; keep: a recording of its own. Asks for shared_passages",
    )
    profiles: bool = Field(
        True,
        description="measure what recordings are like (loudness, shares of music and speech, tempo and key) once they are added, and nothing else is to be done",
    )
    upkeep_share_max: Share = Field(0.2, description="share of one thread's time for packing and merging what was added; 1: as fast as it can")
    place: str = Field(
        "",
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/([^/].*/)?)?$",
        description="s3://bucket/catalogue/: the objects below it are recordings of the catalogue, and what is said about them; empty: nobody looks",
    )
    object_bytes_max: int = Field(
        1_000_000_000, gt=0, description="a longer object is rejected; one at a time, for each of the jobs, lies in the temporary folder"
    )
    object_s_max: Positive = Field(14_400, le=36_000, description="a longer recording is rejected")
    jobs: int = Field(1, ge=1, le=16, description="objects taken up at once by a worker with the role catalogue, each fingerprinted in a process of its own")
    attempts_max: int = Field(
        8, ge=1, le=50, description="tries of an object, ever further apart, before it is rejected; the nightly comparison tries it again"
    )
    reconcile_hour: int = Field(3, ge=0, le=23, description="of the day in UTC at which bucket and catalogue are compared, for the events that were lost")
    remove_share_max: Share = Field(
        0.2, description="a comparison that finds more than this share of the objects gone removes none of them, and says so; 1: believe it"
    )

    @model_validator(mode="after")
    def _one_slash_each(self) -> Self:
        if "//" in self.place.removeprefix("s3://"):
            raise ValueError(f"catalogue.place ({self.place}) has two slashes in a row: write s3://bucket/folder/")
        return self
