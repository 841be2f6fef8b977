"""How a command is declared."""

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

from earmark.errors import BadSettings
from earmark.settings import Loaded

Command: TypeAlias = Callable[[argparse.Namespace, Loaded], int]


def command(commands: Any, name: str, run: Command, summary: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary)
    made.set_defaults(command=run)
    return made


def group(commands: Any, name: str, summary: str) -> Any:
    return commands.add_parser(name, help=summary, description=summary).add_subparsers(required=True, metavar="ACTION")


def with_catalogue(made: argparse.ArgumentParser) -> None:
    made.add_argument("--catalogue", metavar="DIR|DSN", help="a folder of recordings, or a PostgreSQL DSN; default: database.dsn, or the desk's own server")


def identifier(text: str) -> str:
    """The id of a stream, a hit or a recording."""
    from earmark.hits.text import is_storable

    if not is_storable(text):
        raise BadSettings(f"the id {text.encode(errors='backslashreplace').decode()} is not UTF-8, so nothing is called that: check how it is typed")
    return text
