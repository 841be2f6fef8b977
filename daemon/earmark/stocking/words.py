"""What is said about recordings: in a sidecar, in a manifest, in a file's own tags; and the recording that comes of it. Pure.

Field by field the sidecar goes before the manifest, and that before the tags. A recording's track_id is the one that it is
given, else its first ISRC, else its key: so that it is the same whatever comes first, and whoever replaces the file.
"""

import json
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from earmark.errors import BadSettings
from earmark.hits.text import is_storable, writable
from earmark.metadata import checked, of_row, shown, table
from earmark.reference import Source, describe
from earmark.stocking.bucket import KEY_BYTES_MAX
from earmark.track import Track

_TAGS: Final = ("title", "artist", "album", "label", "isrc")
_TAG_CHARS_MAX: Final = 1_000
#: A manifest's rows between two calls of `beat`.
_ROWS: Final = 1_000


@dataclass(kw_only=True)
class Words:
    """What a sidecar or a manifest says."""

    #: By what it is said of: a key of the bucket; of a sidecar there is one, "".
    said: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: What of it counts for nothing, a sentence each.
    wrong: list[str] = field(default_factory=list)


def of_sidecar(data: bytes, key: str) -> Words:
    """All of it counts, or nothing."""
    try:
        content: Any = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Words(wrong=[f"{key} is not UTF-8; save it as that"])
    except RecursionError:
        return Words(wrong=[f"{key} is nested too deeply"])
    except ValueError as error:  # JSONDecodeError, or a number of more digits than Python converts
        return Words(wrong=[f"{key} is not JSON: {error}"])
    if not isinstance(content, dict):
        return Words(wrong=[f"{key} must be one JSON object, with any of a recording's fields"])
    kept, wrong = checked(content)
    return Words(wrong=[f"{key} counts for nothing: {sentence}" for sentence in wrong]) if wrong else Words(said={"": _as_json(kept)})


def of_manifest(data: bytes, key: str, beat: Callable[[], object]) -> Words:
    """Each row counts by itself: one that is wrong, and rows for one and the same file, count for nothing."""
    try:
        rows = table(data.decode("utf-8-sig"), as_json=key.endswith(".json"))
    except UnicodeDecodeError:
        return Words(wrong=[f"{key} is not UTF-8; save it as that"])
    except BadSettings as error:
        return Words(wrong=[f"{key} cannot be read: {error}"])
    words = Words(wrong=[] if rows else [f"{key} is empty: write a row for each recording, with its path"])
    first: dict[str, int] = {}
    for number, row in enumerate(rows, 1):
        if number % _ROWS == 0:
            beat()
        of, wrong = _path(row, key)
        kept, unfit = checked(of_row({name: value for name, value in row.items() if name is not None}))
        wrong += unfit
        if of and of in first:
            wrong.append(f"it is about {shown(row['path'])}, as is row {first[of]}: neither counts, leave one of them out")
            words.said.pop(of, None)
        elif of:
            first[of] = number
        words.wrong += [f"row {number} of {key} counts for nothing: {sentence}" for sentence in wrong]
        if of and not wrong:
            words.said[of] = _as_json(kept)
    return words


def _as_json(kept: Mapping[str, Any]) -> dict[str, Any]:
    """As PostgreSQL gives it back."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def _path(row: Mapping[Any, Any], key: str) -> tuple[str, list[str]]:
    """The key that a row is about."""
    if None in row:  # csv.DictReader's name for what is too much
        return "", ["it has more cells than the first line has names; put quotes around cells with commas in them"]
    path = row.get("path")
    if not isinstance(path, str) or not path.strip():
        return "", ["it has no path: write where its file is, from the manifest's folder"]
    if not is_storable(path) or len(path.encode()) > KEY_BYTES_MAX:
        return "", [f"its path {shown(path)} is none that an object can have"]
    below = posixpath.normpath(path.strip())
    if below.startswith(("/", "../")) or below in (".", ".."):
        return "", [f"its path {shown(path)} leads out of the manifest's folder"]
    return posixpath.dirname(key) + "/" * ("/" in key) + below, []


def of_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Those that are kept, as PostgreSQL can hold them."""
    return {name: writable(tags[name].replace("\0", ";"), _TAG_CHARS_MAX) for name in _TAGS if tags.get(name)}


def described(name: str, *, tags: Mapping[str, str], manifest: Mapping[str, Any], sidecar: Mapping[str, Any]) -> tuple[Track, bool]:
    """The recording of a key (from the catalogue's place on), but for its duration; and whether its owner gave it its track_id."""
    said = {**manifest, **sidecar}
    given = said.pop("track_id", None)
    track = describe(Source(path=Path(name), track_id="?", metadata=said), tags, b"", 0.0)
    return replace(track, track_id=given or (f"isrc:{track.isrc[0]}" if track.isrc else f"key:{name}")), given is not None
