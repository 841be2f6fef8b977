"""The commands; thin. What they do lives in `earmark.service` (the daemon), `earmark.library` and `earmark.local` (the desk).

Exit codes:

    0    done
    1    the work failed, whole or in part: a file that cannot be read or was refused, a database or an origin that is down
    2    what was typed or set cannot be right: options and settings, a file, folder or id that is not there, another
         version's database
    130  interrupted by Ctrl-C

An error is one sentence; a traceback reaches a user only for a bug.
"""

import argparse
import errno
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

try:  # these take a third of a second, in which somebody may change their mind
    from earmark import __version__
    from earmark.errors import BadSettings, EarmarkError, FingerprintMismatch, SchemaMismatch, StreamNotFound
    from earmark.settings import Loaded, load
    from earmark.telemetry import configure_logging
except KeyboardInterrupt:
    raise SystemExit(130) from None

#: Of the extra `desk`, as far as commands import them.
DESK_PACKAGES = {"rich", "moto", "flask"}

#: What a disk that is full, or broken, answers to a write.
_NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

Command = Callable[[argparse.Namespace, Loaded], int]


def main(argv: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text at all, and is printed all the same
    try:
        arguments = _parsed(argv)
        loaded = load(arguments.config)
        # What a command prints is its result; what it has to say besides goes to standard error. (`run` says more.)
        configure_logging(level="warning", style=loaded.settings.log.format)
        command: Command = arguments.command
        code = command(arguments, loaded)
        print(end="", flush=True)  # what cannot be written is told here; at Python's end it would be a traceback
    except (BadSettings, SchemaMismatch, FingerprintMismatch, StreamNotFound) as error:
        return _fail(error, 2)
    except EarmarkError as error:
        return _fail(error, 1)
    except ModuleNotFoundError as error:
        if error.name not in DESK_PACKAGES:
            raise
        return _fail(BadSettings(f"this command needs {error.name}, which the image leaves out: install earmark[desk]"), 2)
    except BrokenPipeError:
        _drop_output()  # the reader of our pipe has gone: nothing is wrong, and nobody is left to tell
        return 0
    except OSError as error:
        if error.errno not in _NOT_WRITTEN:
            raise
        _drop_output()
        why = (error.strerror or str(error)).lower()
        return _fail(EarmarkError(f"{error.filename or 'the output'} cannot be written: {why}; make room, or write to another place"), 1)
    except KeyboardInterrupt:
        print("earmark: interrupted", file=sys.stderr)
        return 130
    return code


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    try:
        return parser().parse_args(argv)
    finally:
        print(end="", flush=True)  # after --help nobody comes back


def _drop_output() -> None:
    """What is still buffered goes nowhere: Python would try to write it once more at its end, and complain."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _fail(error: EarmarkError, code: int) -> int:
    from earmark.hits.text import shown

    print(f"earmark: {shown(str(error))}", file=sys.stderr)
    return code


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="earmark", description="Which catalogued recording is playing in this live stream, from when to when.")
    top.add_argument("--version", action="version", version=f"earmark {__version__}")
    top.add_argument("--config", metavar="FILE", help="settings file (or EARMARK_CONFIG); EARMARK_SECTION__KEY overrides one value")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands)
    _add_demo(commands)
    _add_watch(commands)
    _add_replay(commands)
    _add_identify(commands)
    _add_catalogue(commands)
    _add_report(commands)
    _add_streams(commands)
    _add_hits(commands)
    _add_outbox(commands)
    _add_db(commands)
    _add_config(commands)
    return top


def _command(commands: Any, name: str, run: Command, summary: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    made.set_defaults(command=run)
    return made


def _group(commands: Any, name: str, summary: str) -> Any:
    return commands.add_parser(name, help=summary, description=summary).add_subparsers(required=True, metavar="ACTION")


def _with_catalogue(made: argparse.ArgumentParser) -> None:
    made.add_argument("--catalogue", metavar="DIR|DSN", help="a folder of recordings, or a PostgreSQL DSN; default: database.dsn, or the desk's own server")


def _id(text: str) -> str:
    """The id of a stream, a hit or a recording."""
    from earmark.hits.text import is_storable

    if not is_storable(text):
        raise BadSettings(f"the id {text.encode(errors='backslashreplace').decode()} is not UTF-8, so nothing is called that: check how it is typed")
    return text


# ------------------------------------------------------------------------------------------------ run, demo


def _add_run(commands: Any) -> None:
    made = _command(commands, "run", _run, "The daemon: claim streams, listen, publish hits.")
    made.add_argument("--role", default="streams", choices=["streams"], help="which duty this process has")


def _run(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.service import serve

    return serve(loaded.settings)


def _add_demo(commands: Any) -> None:
    made = _command(commands, "demo", _demo, "Everything on one machine, from the event of a stream's start to the hit in S3.")
    made.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    made.add_argument("--kill", action="store_true", help="kill the daemon half-way, start it again, and check that nothing is lost or twice")
    made.add_argument("--music", type=Path, metavar="DIR", help="play these files, 3 %% fast and under speech, instead of generated music")
    made.add_argument(
        "--out", type=Path, default=Path("build/demo"), metavar="DIR", help="where what S3 held and the mixed audio are left (default: %(default)s)"
    )


def _demo(arguments: argparse.Namespace, _loaded: Loaded) -> int:
    from earmark.local.demo import run_demo

    return run_demo(keep=arguments.keep, kill=arguments.kill, music=arguments.music, out=arguments.out)


# ------------------------------------------------------------------------------------------------ the desk


def _add_watch(commands: Any) -> None:
    made = _command(commands, "watch", _watch, "Monitor one stream or file from the desk; no AWS.")
    made.add_argument("source", metavar="URL|FILE", help="a live HLS playlist, or any file that FFmpeg reads")
    _with_catalogue(made)
    made.add_argument("--json", action="store_true", help="JSON lines instead of a live table (the default when piped)")


def _watch(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.watch import watch

    return watch(arguments.source, catalogue=arguments.catalogue, as_json=arguments.json or not sys.stdout.isatty(), settings=loaded.settings)


def _add_replay(commands: Any) -> None:
    made = _command(commands, "replay", _replay, "Run stored audio through the present settings and through others, and show what would differ.")
    made.add_argument("source", metavar="FILE|FOLDER|URL", help="any file that FFmpeg reads, a folder of segments, or an HLS playlist")
    made.add_argument(
        "--set", action="append", default=[], dest="changes", metavar="matching.KEY=VALUE", help="a setting of [matching] to try; may be given again"
    )
    made.add_argument("--against", type=_id, metavar="STREAM", help="compare with what is on record of this stream instead")
    made.add_argument("--at", type=float, default=0.0, metavar="SECONDS", help="with --against: stream time at which the audio begins (default: %(default)s)")
    _with_catalogue(made)
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
    made = _command(commands, "identify", _identify, "Which catalogued recordings are in these files, from when to when.")
    made.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _with_catalogue(made)
    made.add_argument("--json", action="store_true", help="one JSON object per file and line")


def _identify(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.recordings import identify_files

    return identify_files(arguments.files, catalogue=arguments.catalogue, as_json=arguments.json, settings=loaded.settings)


def _add_catalogue(commands: Any) -> None:
    actions = _group(commands, "catalogue", "The reference recordings.")
    add = _command(actions, "add", _catalogue_add, "Fingerprint files and folders into the catalogue; safe to run again.")
    add.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="files, and folders of them; without any, what the manifest names")
    add.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="CSV or JSON with a path, from the manifest's folder, and any of track_id, title, artists, album, label, isrc, iswc, upc, rights_holder",
    )
    add.add_argument("--jobs", type=int, metavar="N", help="processes (default: one per core)")
    listing = _command(actions, "list", _catalogue_list, "The recordings, one a line.")
    listing.add_argument("--json", action="store_true", help="JSON lines")
    show = _command(actions, "show", _catalogue_show, "One recording, as JSON.")
    remove = _command(actions, "remove", _catalogue_remove, "Take a recording out; it is not heard any more within seconds.")
    for made in (show, remove):
        made.add_argument("track_id", type=_id, metavar="ID")
    export = _command(actions, "export", _catalogue_export, "What is known of all recordings; with a path in each row it is a manifest.")
    export.add_argument("--format", choices=["json", "csv"], default="json")
    for made in (add, listing, show, remove, export):
        _with_catalogue(made)


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


# ------------------------------------------------------------------------------------------------ on record


def _add_report(commands: Any) -> None:
    made = _command(commands, "report", _report, "Plays and coverage of one stream.")
    made.add_argument("stream_id", type=_id, metavar="STREAM")
    made.add_argument("--format", choices=["text", "json", "csv", "html"], default="text")


def _report(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import report

    return report(arguments.stream_id, layout=arguments.format, settings=loaded.settings)


def _add_streams(commands: Any) -> None:
    actions = _group(commands, "streams", "Who listens to what.")
    listing = _command(actions, "list", _streams_list, "Streams with owner, lag, coverage, an estimate of what they cost, and last error.")
    listing.add_argument("--json", action="store_true", help="JSON lines")
    listing.add_argument("--all", action="store_true", help="ended ones too")
    release = _command(actions, "release", _streams_release, "End a stream's quarantine: it is listened to again.")
    forgetting = _command(
        actions, "forget", _streams_forget, "Remove everything about a stream that has ended, from the database and from S3; safe to run again."
    )
    for made in (release, forgetting):
        made.add_argument("stream_id", type=_id, metavar="ID")


def _streams_list(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import list_streams

    return list_streams(as_json=arguments.json, ended=arguments.all, settings=loaded.settings)


def _streams_release(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import release_stream

    return release_stream(arguments.stream_id, settings=loaded.settings)


def _streams_forget(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import forget_stream

    return forget_stream(arguments.stream_id, settings=loaded.settings)


def _add_hits(commands: Any) -> None:
    actions = _group(commands, "hits", "Single hits.")
    explain = _command(actions, "explain", _hits_explain, "What proves a hit: its line, its histogram of coincidences, its matched peaks.")
    explain.add_argument("hit_id", type=_id, metavar="ID")
    explain.add_argument("--json", action="store_true", help="the evidence as it lies in S3")


def _hits_explain(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import explain_hit

    return explain_hit(arguments.hit_id, as_json=arguments.json, settings=loaded.settings)


def _add_outbox(commands: Any) -> None:
    actions = _group(commands, "outbox", "What still has to leave for S3 and SNS.")
    _command(actions, "list", _outbox_list, "What waits, and what was given up, with the reason.")
    _command(actions, "retry", _outbox_retry, "Try all given-up rows again.")


def _outbox_list(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import list_outbox

    return list_outbox(settings=loaded.settings)


def _outbox_retry(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import retry_dead

    return retry_dead(settings=loaded.settings)


# ------------------------------------------------------------------------------------------------ db, config


def _add_db(commands: Any) -> None:
    actions = _group(commands, "db", "The database's schema, its size, and whether it is sound.")
    _command(actions, "migrate", _db_migrate, "Bring the schema up to date; forward only.")
    status = _command(actions, "status", _db_status, "Schema, recordings, postings, bytes, merges, slow look-ups and replication.")
    status.add_argument("--json", action="store_true", help="one JSON object")
    check = _command(
        actions, "check", _db_check, "May this version run on this database, and is every row of the catalogue what was written? Exit code 1 if not."
    )
    check.add_argument("--quick", action="store_true", help="without the rows of runs, which are most of what there is to read")


def _db_migrate(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import migrate_database

    return migrate_database(settings=loaded.settings)


def _db_status(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import database_status

    return database_status(as_json=arguments.json, settings=loaded.settings)


def _db_check(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.records import check_database

    return check_database(quick=arguments.quick, settings=loaded.settings)


def _add_config(commands: Any) -> None:
    actions = _group(commands, "config", "The effective settings.")
    _command(actions, "check", _config_check, "Are the settings right? Exit code 2 if not.")
    _command(actions, "show", _config_show, "Every setting with its value and where it comes from.")


def _config_check(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    where = sorted(set(loaded.origins.values()))
    print(f"the settings are right ({'from ' + ', '.join(where) if where else 'all defaults'})")
    return 0


def _config_show(_arguments: argparse.Namespace, loaded: Loaded) -> int:
    for section, values in loaded.settings.model_dump(mode="json").items():
        print(f"[{section}]")
        for key, value in values.items():
            origin = loaded.origins.get(f"{section}.{key}", "default")
            print(f"{key} = {json.dumps(value)}  # {origin}")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
