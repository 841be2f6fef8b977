"""What is put into a stream for its player to show: a few hundred bytes of JSON, of one play's begin or end; pure.

    {"earmark": 1, "playing": true, "hit_id": "...", "track_id": "...", "title": "...", "artist": "..."}
    {"earmark": 1, "playing": false, "hit_id": "..."}

A player shows what it was told last, and takes away what has that `hit_id`: of two plays at once, the one that began later.
"""

import json
import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from earmark.hits.text import dumps, one_line

#: Amazon IVS takes 1 KB in a request (API reference, "PutMetadata"), whichever of the two that is.
BYTES_MAX: Final = 1_000
#: A longer id is not told: half of one names nothing.
_ID_BYTES_MAX: Final = 300
_TEXT_MAX: Final = 300
_VERSION: Final = 1


def metadata(hit: Mapping[str, Any]) -> str:
    """At most BYTES_MAX bytes of UTF-8; title and artist are cut to fit."""
    known = {"earmark": _VERSION, "playing": hit["state"] != "closed", "hit_id": hit["hit_id"]}
    if not known["playing"]:
        return dumps(known)
    track_id = hit["reference"]["track_id"]
    known["track_id"] = track_id if _size(track_id) <= _ID_BYTES_MAX else None
    title, artist = one_line(hit["track"]["title"], _TEXT_MAX), one_line(", ".join(hit["track"]["artists"]), _TEXT_MAX)
    room = BYTES_MAX - len(dumps({**known, "title": "", "artist": ""}).encode())
    title = _fitting(title, room - min(_size(artist), room // 2))
    return dumps({**known, "title": title, "artist": _fitting(artist, room - _size(title))})


def _size(text: str) -> int:
    """Bytes in the document, escapes included, quotation marks not."""
    return len(json.dumps(text, ensure_ascii=False).encode()) - 2


def _fitting(text: str, bytes_max: int) -> str:
    """Cut with an ellipsis, and not within what is shown as one sign where that can be told."""
    if _size(text) <= bytes_max:
        return text
    kept = ""
    for sign in text:
        if _size(kept + sign + "…") > bytes_max:
            break
        kept += sign
    while kept and unicodedata.category(kept[-1]) in ("Mn", "Me", "Cf"):
        kept = kept[:-1]
    return kept.rstrip() + "…"
