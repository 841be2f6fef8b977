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
        help="CSV or JSON with a path, from the manifest's folder, and any of track_id, title, artists, album, label, isrc, iswc, upc, rights_holder, policy, "
        "territories, valid_from, valid_to",
    )
    add.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core)")
    listing = command(actions, "list", _catalogue_list, "The recordings, one a line.")
    listing.add_argument("--json", action="store_true", help="JSON lines")
    listing.add_argument("--rejected", action="store_true", help="instead, the objects of the bucket that are not in the catalogue, and why")
    syncing = command(
        actions, "sync", _catalogue_sync, "Compare catalogue and bucket now, for events that were lost; workers with the role catalogue do the rest."
    )
    syncing.add_argument("--dry-run", action="store_true", help="say what differs, and change nothing")
    syncing.add_argument("--retry", action="store_true", help="try again what was rejected, too")
    show = command(actions, "show", _catalogue_show, "One recording, as JSON.")
    remove = command(actions, "remove", _catalogue_remove, "Take a recording out; it is not heard any more within seconds.")
    for made in (show, remove):
        made.add_argument("track_id", type=identifier, metavar="ID")
    duplicates = command(actions, "duplicates", _catalogue_duplicates, "Recordings that are the same, or share something; and ISRC clashes.")
    duplicates.add_argument("--json", action="store_true", help="JSON lines")
    duplicates.add_argument("--again", action="store_true", help="first compare those that were not yet, or by an older Earmark")
    with_catalogue(duplicates)
    export = command(actions, "export", _catalogue_export, "What is known of all recordings; with a path in each row it is a manifest.")
    export.add_argument("--format", choices=["json", "csv"], default="json")
    for made in (add, listing, syncing, show, remove, export):
        with_catalogue(made)


def _catalogue_add(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import add

    return add(arguments.paths, catalogue=arguments.catalogue, manifest=arguments.manifest, jobs=arguments.jobs, settings=loaded.settings)


def _catalogue_list(arguments: argparse.Namespace, loaded: Loaded) -> int:
    if arguments.rejected:
        from earmark.local.stock import list_rejected

        return list_rejected(catalogue=arguments.catalogue, as_json=arguments.json, settings=loaded.settings)
    from earmark.local.recordings import list_tracks

    return list_tracks(catalogue=arguments.catalogue, as_json=arguments.json, settings=loaded.settings)


def _catalogue_sync(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.stock import sync

    return sync(catalogue=arguments.catalogue, dry_run=arguments.dry_run, retry=arguments.retry, settings=loaded.settings)


def _catalogue_show(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import show_track

    return show_track(arguments.track_id, catalogue=arguments.catalogue, settings=loaded.settings)


def _catalogue_remove(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import remove_track

    return remove_track(arguments.track_id, catalogue=arguments.catalogue, settings=loaded.settings)


def _catalogue_duplicates(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.duplicates import list_duplicates

    return list_duplicates(catalogue=arguments.catalogue, as_json=arguments.json, again=arguments.again, settings=loaded.settings)


def _catalogue_export(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import export_tracks

    return export_tracks(catalogue=arguments.catalogue, layout=arguments.format, settings=loaded.settings)
