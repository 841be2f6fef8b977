"""One stream or file from the desk, without AWS."""

import argparse
import sys
from pathlib import Path
from typing import Any

from earmark.commands.adding import command, identifier, with_catalogue
from earmark.settings import Loaded


def add(commands: Any) -> None:
    _add_watch(commands)
    _add_replay(commands)
    _add_identify(commands)
    _add_fingerprint(commands)


def _add_watch(commands: Any) -> None:
    made = command(commands, "watch", _watch, "Monitor one stream or file from the desk; no AWS.")
    made.add_argument("source", metavar="URL|FILE", help="a live HLS playlist, or any file that FFmpeg reads")
    with_catalogue(made)
    made.add_argument("--json", action="store_true", help="JSON lines instead of a screen (the default when piped)")


def _watch(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.watch import watch

    return watch(arguments.source, catalogue=arguments.catalogue, as_json=arguments.json or not sys.stdout.isatty(), settings=loaded.settings)


def _add_replay(commands: Any) -> None:
    made = command(commands, "replay", _replay, "Run stored audio through the present settings and through others, and show what would differ.")
    made.add_argument("source", metavar="FILE|FOLDER|URL", help="any file that FFmpeg reads, a folder of segments, or an HLS playlist")
    made.add_argument(
        "--set", action="append", default=[], dest="changes", metavar="matching.KEY=VALUE", help="a setting of [matching] to try; may be given again"
    )
    made.add_argument("--against", type=identifier, metavar="STREAM", help="compare with what is on record of this stream instead")
    made.add_argument("--at", type=float, default=0.0, metavar="SECONDS", help="with --against: stream time at which the audio begins (default: %(default)s)")
    with_catalogue(made)
    made.add_argument("--json", action="store_true", help="all plays of both sides, as one JSON object")


def _replay(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.replay import replay

    return replay(
        arguments.source,
        changes=arguments.changes,
        against=arguments.against,
        at_s=arguments.at,
        catalogue=arguments.catalogue,
        as_json=arguments.json,
        settings=loaded.settings,
    )


def _add_identify(commands: Any) -> None:
    made = command(commands, "identify", _identify, "Which catalogued recordings are in these files, from when to when.")
    made.add_argument("files", nargs="+", metavar="FILE", help="any file that FFmpeg reads, here or at s3://bucket/key")
    with_catalogue(made)
    made.add_argument("--json", action="store_true", help="one JSON object per file and line")


def _identify(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import identify_files

    return identify_files(arguments.files, catalogue=arguments.catalogue, as_json=arguments.json, settings=loaded.settings)


def _add_fingerprint(commands: Any) -> None:
    made = command(commands, "fingerprint", _fingerprint, "What is heard of a file, without its sound: can be carried elsewhere and identified there.")
    made.add_argument("file", type=Path, metavar="FILE")
    made.add_argument("--json", action="store_true", help="the peaks, as `POST /v1/identify` takes them (config/schema/fingerprint.v1.json)")


def _fingerprint(arguments: argparse.Namespace, _loaded: Loaded) -> int:
    from earmark.local.fingerprint import fingerprint

    return fingerprint(arguments.file, as_json=arguments.json)
