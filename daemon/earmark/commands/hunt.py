"""Searching what was heard before a recording was known."""

import argparse
from typing import Any

from earmark.commands.adding import command, identifier, with_catalogue
from earmark.settings import Loaded


def add(commands: Any) -> None:
    made = command(commands, "hunt", _hunt, "Was this recording played in past streams? Searches what was kept of them (hunt.keep_days).")
    made.add_argument("what", type=identifier, metavar="TRACK_ID|FILE", help="a recording of the catalogue, or any file that FFmpeg reads")
    made.add_argument("--since", metavar="TIME", help="how long ago (7d, 36h) or when (2026-11-01); default: all that is kept")
    made.add_argument("--until", metavar="TIME", help="the same; a day is the last one; default: now")
    where = made.add_mutually_exclusive_group()
    where.add_argument("--stream", type=identifier, metavar="ID", help="this stream alone")
    where.add_argument("--channel", type=identifier, metavar="NAME", help="streams of this channel: its name, or its ARN")
    with_catalogue(made)
    made.add_argument(
        "--publish", action="store_true", help="put what is not on record yet there, as hits of streams that have ended; they leave like any other"
    )
    made.add_argument("--json", action="store_true", help="one JSON object per play and line")


def _hunt(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.hunt import hunt

    return hunt(
        arguments.what,
        since=arguments.since,
        until=arguments.until,
        stream_id=arguments.stream,
        channel=arguments.channel,
        catalogue=arguments.catalogue,
        publish=arguments.publish,
        as_json=arguments.json,
        settings=loaded.settings,
    )
