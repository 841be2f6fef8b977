"""The noun of the catalogue: one reference recording, as its owner describes it. Frozen, like the others in `model`."""

from dataclasses import dataclass
from typing import Final

#: What an owner may want done about a recording: keep a record, let it be, warn, block. What becomes of that, a play's policy says.
POLICIES: Final = ("track", "allow", "warn", "block")

#: What an owner's licence may allow: no copy of a recording, copies that are worse than it is, or any.
COPIES: Final = ("none", "lossy", "lossless")


@dataclass(frozen=True, kw_only=True)
class Track:
    """One reference recording, as its owner describes it."""

    track_id: str
    title: str = ""
    artists: tuple[str, ...] = ()
    album: str = ""
    label: str = ""
    isrc: tuple[str, ...] = ()
    iswc: tuple[str, ...] = ()
    upc: tuple[str, ...] = ()
    rights_holder: str = ""
    #: One of POLICIES; empty: nothing was said.
    policy: str = ""
    #: Where that holds: ISO 3166-1 alpha-2 codes, or WW and what is left out of it (-US); none: nothing was said.
    territories: tuple[str, ...] = ()
    #: Since when it holds, and the first moment at which it holds no more: RFC 3339 in UTC to the second, so that texts sort as times;
    #: empty: no limit.
    valid_from: str = ""
    valid_to: str = ""
    #: Which copies of its sound the owner's licence allows beside the catalogue, one of COPIES; empty: nothing was said, which is lossy.
    copies: str = ""
    #: The catalogue's own words for groups of recordings, that rules can name: "cleared for news".
    tags: tuple[str, ...] = ()
    duration_s: float = 0.0
