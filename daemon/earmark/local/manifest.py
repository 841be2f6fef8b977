"""`earmark catalogue add --manifest`: what is known about recordings, as a table in CSV or JSON."""

import os
from pathlib import Path
from typing import Any

from earmark.errors import BadSettings
from earmark.hits.text import is_storable
from earmark.metadata import LISTS, checked, of_row, table
from earmark.reference import Source

#: What is checked here; the rest is taken as it is, as a catalogue may hold it already.
_RIGHTS = ("policy", "territories", "valid_from", "valid_to", "copies", "tags")
_NO_PATH = "has no path: write where its file is, from the manifest's folder (`catalogue export` leaves it out, as the catalogue does not know it)"


def read(manifest: Path) -> list[Source]:
    """Rows with `path` (from the manifest's folder), perhaps `track_id`, and fields of a track; lists in CSV are separated by `;`.

    Raises BadSettings that says what is wrong, and in which row.
    """
    rows = _rows(manifest)
    if not rows:
        raise BadSettings(f"the manifest {manifest} is empty: write a row for each recording, with its path")
    described: dict[str, tuple[int, Source]] = {}
    for number, row in enumerate(rows, 1):
        source = _source(manifest, number, row)
        before, _ = described.setdefault(place(source.path), (number, source))
        if before != number:
            raise BadSettings(f"the manifest {manifest} has {source.path} in row {before} and in row {number}: leave one of them out")
    return [source for _, source in described.values()]


def place(path: Path) -> str:
    """One for all spellings of a path; links stay what they are, as each may be given a track_id of its own."""
    return os.path.normpath(path.absolute())


def _rows(manifest: Path) -> list[dict[Any, Any]]:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:  # a line break inside a cell stays the one it is
            text = file.read()
    except OSError as error:
        raise BadSettings(f"the manifest {manifest} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise BadSettings(f"the manifest {manifest} cannot be read: it is not UTF-8; save it as that") from None
    try:
        return table(text, as_json=manifest.suffix.lower() == ".json")
    except BadSettings as error:
        raise BadSettings(f"the manifest {manifest} cannot be read: {error}") from None


def _source(manifest: Path, number: int, row: dict[Any, Any]) -> Source:
    where, path, track_id = f"row {number} of the manifest {manifest}", row.get("path"), row.get("track_id")
    if None in row:  # csv.DictReader's name for what is too much
        raise BadSettings(f"{where} has more cells than the first line has names: put quotes around cells with commas in them")
    if not isinstance(path, str) or not path.strip():
        raise BadSettings(f"{where} {_NO_PATH}")
    if not is_storable(path):
        raise BadSettings(f"{where} has a path that no file can have: correct it")
    said = {name: value for name, value in of_row(row).items() if name not in ("path", "track_id", "duration_s") and value not in ("", None, [])}
    lists = {name: tuple(filter(None, said[name])) for name in LISTS if isinstance(said.get(name), list) and isinstance(row[name], str)}
    rights, wrong = checked({name: said[name] for name in _RIGHTS if name in said})
    if wrong:
        raise BadSettings(f"{where} cannot be used: its {wrong[0]}")
    try:
        return Source(path=manifest.parent / path, track_id=None if track_id in ("", None) else str(track_id), metadata={**said, **lists, **rights})
    except BadSettings as error:
        raise BadSettings(f"{where} cannot be used: {error}") from None
