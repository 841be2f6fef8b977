"""`earmark catalogue add --manifest`: what is known about recordings, as a table in CSV or JSON."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

from earmark.errors import BadSettings
from earmark.hits.text import is_storable, of_cell
from earmark.reference import Source

_LISTS = ("artists", "isrc", "iswc", "upc")
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


def _rows(manifest: Path) -> list[dict[str, Any]]:
    try:
        with manifest.open(encoding="utf-8-sig", newline="") as file:  # a line break inside a cell stays the one it is
            text = file.read()
        rows: Any = json.loads(text) if manifest.suffix.lower() == ".json" else _table(text)
    except OSError as error:
        raise BadSettings(f"the manifest {manifest} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise BadSettings(f"the manifest {manifest} cannot be read: it is not UTF-8; save it as that") from None
    except RecursionError:
        raise BadSettings(f"the manifest {manifest} cannot be read: it is nested too deeply") from None
    except csv.Error as error:
        raise BadSettings(f"the manifest {manifest} cannot be read: it is not CSV, {error}") from None
    except ValueError as error:  # JSONDecodeError, or a number of more digits than Python converts
        raise BadSettings(f"the manifest {manifest} cannot be read: it is not JSON, {error}") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise BadSettings(f"the manifest {manifest} must be a list of objects, one for each recording, each with a path")
    return rows


def _table(text: str) -> list[dict[Any, Any]]:
    """The rows of a CSV; what `catalogue export` wrote so that no spreadsheet runs it is as it was."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: of_cell(cell) if isinstance(cell, str) and name != "path" else cell for name, cell in row.items()} for row in rows]


def _source(manifest: Path, number: int, row: dict[Any, Any]) -> Source:
    where, path, track_id = f"row {number} of the manifest {manifest}", row.get("path"), row.get("track_id")
    if None in row:  # csv.DictReader's name for what is too much
        raise BadSettings(f"{where} has more cells than the first line has names: put quotes around cells with commas in them")
    if not isinstance(path, str) or not path.strip():
        raise BadSettings(f"{where} {_NO_PATH}")
    if not is_storable(path):
        raise BadSettings(f"{where} has a path that no file can have: correct it")
    said = {name: value for name, value in row.items() if name not in ("path", "track_id", "duration_s") and value not in ("", None, [])}
    lists = {name: tuple(filter(None, map(str.strip, said[name].split(";")))) for name in _LISTS if isinstance(said.get(name), str)}
    try:
        return Source(path=manifest.parent / path, track_id=None if track_id in ("", None) else str(track_id), metadata={**said, **lists})
    except BadSettings as error:
        raise BadSettings(f"{where} cannot be used: {error}") from None
