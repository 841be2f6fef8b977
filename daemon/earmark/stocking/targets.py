"""Which copies a recording is to have, where each lies, and which of them its licence does not allow. Pure.

A copy's key is of all that is in it: the recording's bytes, the format, the tags. So an object below a key is never another
one than before; what is to be different lies elsewhere, and what lies where nothing is wanted any more is removed.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from earmark.audio.encode import LOSSLESS, Encoding, suffix_of
from earmark.hits.text import writable
from earmark.settings import Format, Formats
from earmark.stocking.bucket import folded

#: Of the way in which copies are made: raised when they are to be made anew.
_MADE_BY: Final = 1
_TAG_CHARS_MAX: Final = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Master:
    """A recording of the catalogue that is an object of its bucket."""

    #: Its key, from the catalogue's place on.
    name: str
    track_id: str
    title: str
    artists: tuple[str, ...]
    #: See `Track.copies`.
    copies: str
    duration_s: float
    content_sha256: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """One that is wanted."""

    key: str
    #: As the settings call its format.
    name: str
    encoding: Encoding
    #: Why it may not be made; empty: it may.
    refusal: str


def copies_of(master: Master, settings: Formats, *, prefix: str) -> list[Copy]:
    """`prefix`: of `settings.place`, within its bucket."""
    return [_copy(master, target, settings.bytes_max, prefix) for target in settings.targets]


def _copy(master: Master, target: Format, bytes_max: int, prefix: str) -> Copy:
    tags = {"title": master.title, "artist": "; ".join(master.artists)}
    encoding = Encoding(
        codec=target.codec,
        kbps=target.bit_rate_kbps,
        channels_max=target.channels_max,
        begin_s=target.begin_s,
        length_s=target.length_s,
        bytes_max=bytes_max,
        tags={name: writable(text, _TAG_CHARS_MAX) for name, text in tags.items() if text},
    )
    of = _digest([target.model_dump(exclude={"name"}), encoding.tags])[:8]
    ending = f"/{target.name}-{master.content_sha256.hex()[:16]}-{of}.{suffix_of(target.codec)}"
    return Copy(key=folded(prefix, master.name, ending), name=target.name, encoding=encoding, refusal=_refusal(master, target))


def _refusal(master: Master, target: Format) -> str:
    if master.copies == "none":
        return "its licence allows no copies: it says `copies: none`"
    if target.codec in LOSSLESS and master.copies != "lossless":
        return "its licence does not allow a lossless copy: `copies: lossless`, in its sidecar or its manifest, would"
    return ""


def listed(settings: Formats, place: str) -> str:
    """A digest of all in the settings that a copy depends on."""
    return _digest([place, settings.bytes_max, [target.model_dump() for target in settings.targets]])


def _digest(said: Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps([_MADE_BY, *said], sort_keys=True).encode()).hexdigest()[:32]
