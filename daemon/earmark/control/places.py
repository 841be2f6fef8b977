"""What an object in a bucket is, by where it lies: a recording, a file to check, or perhaps a segment of an archive. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Place: TypeAlias = Literal["catalogue", "check", "archive"]


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where things lie, each as `s3://bucket/prefix`; empty: nowhere."""

    #: `catalogue.place`.
    catalogue: str = ""
    #: `check.place`.
    check: str = ""
    #: `medialive.archives`: place to stream name.
    archives: Mapping[str, str] = field(default_factory=dict)

    def of(self, bucket: str, key: str) -> Place:
        """Of places within one another the inner one counts; what lies in none may be of an archive whose channel names its place."""
        address = f"s3://{bucket}/{key}"
        named: tuple[tuple[str, Place], ...] = ((self.catalogue, "catalogue"), (self.check, "check"), *((archive, "archive") for archive in self.archives))
        lies_in = [(place, kind) for place, kind in named if place and address.startswith(place)]
        return max(lies_in, key=lambda found: len(found[0]), default=("", "archive"))[1]
