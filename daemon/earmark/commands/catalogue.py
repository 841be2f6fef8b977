"""The reference recordings."""

import argparse
from pathlib import Path
from typing import Any, Literal

from earmark.commands.adding import command, group, identifier, with_catalogue
from earmark.errors import BadSettings
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
        "territories, valid_from, valid_to, copies, tags",
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
    profile = command(
        actions,
        "profile",
        _catalogue_profile,
        "Measure what the bucket's recordings are like: loudness, shares of music and speech, tempo, key; those that are due.",
    )
    profile.add_argument("track_ids", nargs="*", type=identifier, metavar="ID", help="measure these, whatever is known of them")
    profile.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core)")
    with_catalogue(profile)
    formats = command(
        actions,
        "formats",
        _catalogue_formats,
        "Make the copies in other formats that formats.targets asks for, and remove those it does not; safe to run again.",
    )
    formats.add_argument("track_ids", nargs="*", type=identifier, metavar="ID", help="of these recordings; without any, of all")
    formats.add_argument("--again", action="store_true", help="make what is there anew, and try again what failed")
    with_catalogue(formats)
    remove = command(actions, "remove", _catalogue_remove, "Take a recording out; it is not heard any more within seconds.")
    for made in (show, remove):
        made.add_argument("track_id", type=identifier, metavar="ID")
    duplicates = command(actions, "duplicates", _catalogue_duplicates, "Recordings that are the same, or share something; and ISRC clashes.")
    duplicates.add_argument("--json", action="store_true", help="JSON lines")
    duplicates.add_argument("--again", action="store_true", help="first compare those that were not yet, or by an older Earmark")
    with_catalogue(duplicates)
    export = command(
        actions, "export", _catalogue_export, "The catalogue as one file, fingerprints and all, to import elsewhere; without FILE, its descriptions as a list."
    )
    export.add_argument("file", nargs="?", metavar="FILE", help="a file (Parquet), s3://bucket/key, or - for standard output")
    export.add_argument("--format", choices=["json", "csv"], help="of the list (default: json); with a path in each row it is a manifest")
    importing = command(actions, "import", _catalogue_import, "Take in a catalogue that was exported, without its audio; safe to run again.")
    importing.add_argument("file", metavar="FILE", help="what `earmark catalogue export FILE` has written: a file, s3://bucket/key, or - for standard input")
    conflicts = importing.add_mutually_exclusive_group()
    conflicts.add_argument("--replace", action="store_true", help="recordings that are there with another sound or description become the file's")
    conflicts.add_argument("--keep", action="store_true", help="they stay as they are; without either, nothing is imported if there is one")
    for made in (add, listing, syncing, show, remove, export, importing):
        with_catalogue(made)
    _add_versions(actions)


def _add_versions(actions: Any) -> None:
    anew = command(
        actions,
        "refingerprint",
        _catalogue_refingerprint,
        "Make the catalogue anew for this Earmark's version of the fingerprint, beside the one in use; safe to run again.",
    )
    anew.add_argument("--from", nargs="+", type=Path, default=[], dest="folders", metavar="PATH", help="where the files are that did not come from the bucket")
    anew.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core)")
    anew.add_argument("--switch", action="store_true", help="when it is made, put it in the place of the one in use")
    switch = command(actions, "switch", _catalogue_switch, "Put the catalogue that was made anew in the place of the one in use, in one transaction.")
    either = switch.add_mutually_exclusive_group()
    either.add_argument("--back", action="store_true", help="to the one that was in use before")
    either.add_argument("--drop", action="store_true", help="instead, give up the one that is not in use, whichever that is")
    for made in (anew, switch):
        made.add_argument("--wait", type=_workers, default=0, metavar="N", help="switch as soon as N workers of that version stand by; for an hour at most")
        made.add_argument("--now", action="store_true", help="switch although streams are listened to, and no worker of that version stands by")
        made.add_argument("--without-missing", action="store_true", help="switch all the same: recordings whose sound is not to be had are taken out")
        with_catalogue(made)


def _workers(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of workers: 1, or more")
    return int(text)


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


def _catalogue_profile(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.profiling import profile_tracks

    return profile_tracks(arguments.track_ids, catalogue=arguments.catalogue, jobs=arguments.jobs, settings=loaded.settings)


def _catalogue_formats(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.formats import make_formats

    return make_formats(arguments.track_ids, again=arguments.again, catalogue=arguments.catalogue, settings=loaded.settings)


def _catalogue_remove(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import remove_track

    return remove_track(arguments.track_id, catalogue=arguments.catalogue, settings=loaded.settings)


def _catalogue_duplicates(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.duplicates import list_duplicates

    return list_duplicates(catalogue=arguments.catalogue, as_json=arguments.json, again=arguments.again, settings=loaded.settings)


def _catalogue_export(arguments: argparse.Namespace, loaded: Loaded) -> int:
    if arguments.file is not None:
        if arguments.format is not None:
            raise BadSettings(f"--format is of the list of descriptions, and {arguments.file} is to be the whole catalogue: leave one of them out")
        from earmark.local.portable import export_catalogue

        return export_catalogue(arguments.file, catalogue=arguments.catalogue, settings=loaded.settings)
    from earmark.local.recordings import export_tracks

    return export_tracks(catalogue=arguments.catalogue, layout=arguments.format or "json", settings=loaded.settings)


def _catalogue_import(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.portable import import_catalogue

    conflicts: Literal["refuse", "replace", "keep"] = "replace" if arguments.replace else "keep" if arguments.keep else "refuse"
    return import_catalogue(arguments.file, conflicts=conflicts, catalogue=arguments.catalogue, settings=loaded.settings)


def _catalogue_refingerprint(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.refingerprint import When, refingerprint

    when = When(wait=arguments.wait, now=arguments.now, without_missing=arguments.without_missing)
    return refingerprint(
        arguments.folders, catalogue=arguments.catalogue, jobs=arguments.jobs, when=when if arguments.switch else None, settings=loaded.settings
    )


def _catalogue_switch(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.refingerprint import When, drop, switch

    if arguments.drop:
        return drop(catalogue=arguments.catalogue, settings=loaded.settings)
    when = When(wait=arguments.wait, now=arguments.now, without_missing=arguments.without_missing)
    return switch(catalogue=arguments.catalogue, back=arguments.back, when=when, settings=loaded.settings)
