"""The command `earmark`: what was typed is run (`earmark.commands`), and what goes wrong is told.

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
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

try:  # these take a third of a second, in which somebody may change their mind
    from earmark import __version__
    from earmark.commands import backfill, canary, catalogue, daemon, desk, hunt, policy, records, tokens, upkeep
    from earmark.commands.adding import Command
    from earmark.errors import BadSettings, EarmarkError, FingerprintMismatch, SchemaMismatch, StreamNotFound
    from earmark.settings import load
    from earmark.telemetry import configure_logging
except KeyboardInterrupt:
    raise SystemExit(130) from None

#: Of the extra `desk`, as far as commands import them.
DESK_PACKAGES = {"rich", "moto", "flask", "pyarrow"}

#: What a disk that is full, or broken, answers to a write.
_NOT_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def main(argv: Sequence[str] | None = None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be no text at all, and is printed all the same
    try:
        arguments = _parsed(argv)
        loaded = load(arguments.config)
        # What a command prints is its result; what it has to say besides goes to standard error. (`run` says more.)
        configure_logging(level="warning", style=loaded.settings.log.format, repeats_max=loaded.settings.log.repeats_max)
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
    for room in (daemon, desk, catalogue, backfill, hunt, records, policy, canary, tokens, upkeep):
        room.add(commands)
    return top


if __name__ == "__main__":
    sys.exit(main())
