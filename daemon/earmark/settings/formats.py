"""Copies of recordings in other formats."""

from typing import Literal, Self

from pydantic import Field, model_validator

from earmark.settings.api import POST_BYTES_MAX
from earmark.settings.recordings import Catalogue
from earmark.settings.section import Positive, Section

#: What MPEG-1 layer III knows (ISO/IEC 11172-3, table of `bitrate_index`).
_MP3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LOSSY_KBPS = 64
#: Below `catalogue.place`; a folder whose name begins with `_` holds no recordings.
_FOLDER = "_formats/"


class Format(Section):
    """A format that recordings are copied to."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="what it is called in `earmark catalogue show`, and its files")
    codec: Literal["aac", "mp3", "opus", "flac"] = Field(
        "aac", description="aac in .m4a, mp3, opus, or flac, which is lossless (to 24 bits): made only of recordings whose `copies` say lossless"
    )
    kbps: int | None = Field(None, ge=16, le=320, description=f"bit rate in kbit/s; without one {_LOSSY_KBPS}; a lossless copy has none")
    channels_max: Literal[1, 2] = Field(2, description="1: mono; a lossless copy keeps its channels")
    begin_s: float = Field(0, ge=0, description="an excerpt begins there; of a recording that is too short for that it is the end")
    length_s: Positive | None = Field(None, description="length of an excerpt; without one the whole recording is copied")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.codec == "flac" and self.kbps is not None:
            raise ValueError(f"the format {self.name} is lossless (flac), so it has no kbps: leave that out")
        if self.codec == "mp3" and self.kbps not in (None, *_MP3_KBPS):
            raise ValueError(f"the format {self.name} is mp3, which knows no {self.kbps} kbit/s: it knows {', '.join(map(str, _MP3_KBPS))}")
        if self.begin_s and self.length_s is None:
            raise ValueError(f"the format {self.name} begins at {self.begin_s:g} s and has no length_s: an excerpt needs one")
        return self

    @property
    def bit_rate_kbps(self) -> int:
        return self.kbps or _LOSSY_KBPS


class Formats(Section):
    """Copies of recordings in other formats, beside the catalogue; of those that are objects of catalogue.place."""

    targets: tuple[Format, ...] = Field(
        (Format(name="preview", codec="aac", kbps=64),),
        max_length=8,
        description="a table for each format that all recordings are copied to; those of one that is not listed any more are removed. None: []",
    )
    place: str = Field(
        "",
        pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/([^/].*/)?)?$",
        description="s3://bucket/folder/ where they are written to; empty: _formats/ below catalogue.place",
    )
    jobs: int = Field(
        1, ge=0, le=8, description="recordings copied at once by a worker with the role catalogue, in the time that others leave; 0: it leaves them to others"
    )
    bytes_max: int = Field(
        1_000_000_000, ge=100_000, le=POST_BYTES_MAX, description="a copy that would be larger is not made; S3 takes no more than 5 GiB at once"
    )
    attempts_max: int = Field(5, ge=1, le=50, description="tries, ever further apart, before a copy has failed; a round each night tries it again")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        names = [target.name for target in self.targets]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"formats.targets has more than one format called {twice}: each name is one format's")
        if "//" in self.place.removeprefix("s3://"):
            raise ValueError(f"formats.place ({self.place}) has two slashes in a row: write s3://bucket/folder/")
        return self


def formats_place(formats: Formats, catalogue: Catalogue) -> str:
    """Where copies are written to; empty: nowhere."""
    return formats.place or (catalogue.place + _FOLDER if catalogue.place else "")


def refuse_mixed_up(formats: Formats, catalogue: Catalogue, check: str) -> None:
    """Raises ValueError where a copy would be taken for a recording, or be checked."""
    place = formats.place
    if not place:
        return
    below = place.removeprefix(catalogue.place) if catalogue.place and place.startswith(catalogue.place) else None
    if below is not None and not below.startswith("_"):
        raise ValueError(f"formats.place ({place}) lies in catalogue.place, so copies would be taken for recordings: name a folder there that begins with _")
    if catalogue.place and catalogue.place.startswith(place):
        raise ValueError(f"formats.place ({place}) holds catalogue.place, so copies could be taken for recordings: name another folder")
    if check and place.startswith(check) and below is None:
        raise ValueError(f"formats.place ({place}) lies in check.place ({check}), so every copy would be checked: name another folder")
