"""The reference recordings."""

import argparse
from pathlib import Path
from typing import Any

from earmark.commands.adding import command, group, identifier, with_catalogue
from earmark.settings import Loaded


def add(commands: Any) -> None:
    actions = group(commands, "catalogue", "The reference recordings.")
    add = command(actions, "add", _catalogue_add, "Fingerprint files and folders into the catalogue; safe to run again.")
    add.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files, and folders of them; without any, what the manifest names")
    add.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="CSV or JSON with a path, from the manifest's folder, and any of track_id, title, artists, album, label, isrc, iswc, upc, rights_holder",
    )
    add.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core)")
    listing = command(actions, "list", _catalogue_list, "The recordings, one a line.")
    listing.add_argument("--json", action="store_true", help="JSON lines")
    show = command(actions, "show", _catalogue_show, "One recording, as JSON.")
    remove = command(actions, "remove", _catalogue_remove, "Take a recording out; it is not heard any more within seconds.")
    for made in (show, remove):
        made.add_argument("track_id", type=identifier, metavar="ID")
    export = command(actions, "export", _catalogue_export, "What is known of all recordings; with a path in each row it is a manifest.")
    export.add_argument("--format", choices=["json", "csv"], default="json")
    for made in (add, listing, show, remove, export):
        with_catalogue(made)


def _catalogue_add(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import add

    return add(arguments.paths, catalogue=arguments.catalogue, manifest=arguments.manifest, jobs=arguments.jobs, settings=loaded.settings)


def _catalogue_list(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import list_tracks

    return list_tracks(catalogue=arguments.catalogue, as_json=arguments.json, settings=loaded.settings)


def _catalogue_show(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import show_track

    return show_track(arguments.track_id, catalogue=arguments.catalogue, settings=loaded.settings)


def _catalogue_remove(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import remove_track

    return remove_track(arguments.track_id, catalogue=arguments.catalogue, settings=loaded.settings)


def _catalogue_export(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import export_tracks

    return export_tracks(catalogue=arguments.catalogue, layout=arguments.format, settings=loaded.settings)
