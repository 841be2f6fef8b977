"""What Amazon IVS has recorded before Earmark listened."""

import argparse
from datetime import UTC, datetime
from typing import Any

from earmark.commands.adding import command
from earmark.settings import Loaded


def add(commands: Any) -> None:
    made = command(
        commands,
        "backfill",
        _backfill,
        "Have the recordings in a bucket heard: of streams on record what was missed of them, of others everything; safe to run again.",
    )
    made.add_argument("archive", metavar="CHANNEL_ARN|s3://BUCKET/PREFIX", help="an IVS channel that is recorded, or where recordings lie")
    made.add_argument("--from", dest="since", type=_moment, metavar="TIME", help="recordings that began then or later: 2026-11-20, 2026-11-20T18:00Z")
    made.add_argument("--to", dest="until", type=_moment, metavar="TIME", help="recordings that began before")
    made.add_argument("--dry-run", action="store_true", help="list what would be heard, for how long, and what that costs; change nothing")
    made.add_argument("--no-wait", action="store_true", help="do not wait until the daemons have heard it")


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 2026-11-20, or 2026-11-20T18:00Z") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


def _backfill(arguments: argparse.Namespace, loaded: Loaded) -> int:
    from earmark.local.backfill import backfill

    return backfill(
        arguments.archive, since=arguments.since, until=arguments.until, dry_run=arguments.dry_run, wait=not arguments.no_wait, settings=loaded.settings
    )
